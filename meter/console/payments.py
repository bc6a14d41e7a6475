"""Payments by the bank: the list of ordered claims as a file, and the results that come back.

Every line of the results is checked before any is booked, and a line that was booked before is
known by its claim and reference. A payment is entered; one that came back is proposed, for two
persons give that.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec
from aiohttp import web

from meter.api.get_claims import ClaimsQuery, get_claim, get_claims
from meter.api.get_official import PartiesQuery, get_enterprises
from meter.api.post import give
from meter.api.responses import ClaimSummary, ClaimView
from meter.api.routes import Ask, answer, answers
from meter.console import form, page
from meter.console.bank_file import Due, Fault, Line, Planned, plan, read, write
from meter.console.formats import Language
from meter.http.forms import WITH_FILES
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import MICROSECONDS, format_date

LISTED: Final = 1_000


async def show_payments(ask: Ask, language: Language) -> web.StreamResponse:
    """Show which claims wait for the bank."""
    return page.show(ask, "payments.html", language, **await _values(ask))


async def export_payments(ask: Ask, _language: Language) -> web.StreamResponse:
    """Return them as the list for the bank."""
    return page.download(ask, "payments.csv", write(await _due(ask)))


async def send_results(ask: Ask, language: Language) -> web.StreamResponse:
    """Check the results of the bank, or book them as they were confirmed."""
    text, step = ask.form.get("file", ""), ask.form.get("step", "")
    if not step:  # of a form without anything nothing was confirmed
        return page.show_again(ask, "payments.html", language, 409, **await _values(ask))
    try:
        lines, faults = read(text)
    except Problem as problem:
        whole = Fault(1, problem.code, problem.detail)
        return _again(ask, language, problem.status, await _values(ask), [whole])
    async with ask.at_once() as asked:
        checked = [await _checked(asked, line) for line in lines]
    faults += [each for each in checked if isinstance(each, Fault)]
    plans = [each for each in checked if isinstance(each, Planned)]
    values = await _values(ask)
    if faults:
        return _again(ask, language, 422, values, sorted(faults, key=lambda each: each.number))
    sealed = form.seal(*map(str, plans))
    if step != "book" or ask.form.get(form.SEAL) != sealed:
        shown = {"plans": plans, "seal": sealed, "text": text, "stale": step == "book"}
        status = 409 if step == "book" else 200
        return page.show_again(ask, "payments.html", language, status, **values | shown)
    booked = [await _booked(ask, each) for each in plans]
    return page.show_again(
        ask, "payments.html", language, 200, **await _values(ask) | {"booked": booked}
    )


async def _values(ask: Ask) -> dict[str, Any]:
    return {
        "due": await _due(ask),
        "plans": [],
        "faults": [],
        "booked": [],
        "seal": "",
        "text": "",
        "stale": False,
    }


def _again(
    ask: Ask, language: Language, status: int, values: dict[str, Any], faults: list[Fault]
) -> web.Response:
    return page.show_again(ask, "payments.html", language, status, **values | {"faults": faults})


async def _due(ask: Ask) -> list[Due]:
    """Return the ordered claims, with the names of whom to pay."""
    async with ask.at_once() as asked:
        query = ClaimsQuery(state="ordered", limit=LISTED)
        ordered: list[ClaimSummary] = [
            each async for found in answers(asked, get_claims, query) for each in found.claims
        ]
        names = await _names(asked, {each.payee for each in ordered})
        return [
            Due(each.id, each.payee, names[each.payee], each.cash, str(each.newest))
            for each in ordered
        ]


async def _names(ask: Ask, wanted: Iterable[str]) -> dict[str, str]:
    """Return the names of enterprises."""
    found = dict.fromkeys(wanted, "")
    if found:
        async for part in answers(ask, get_enterprises, PartiesQuery(limit=LISTED)):
            found |= {each.uscc: each.name for each in part.enterprises if each.uscc in found}
    return found


async def _checked(ask: Ask, line: Line) -> Planned | Fault:
    """Return what is done for a line as the claims stand, or what is wrong with it."""
    try:
        claim: ClaimView = await answer(ask, get_claim, claim=line.claim)
    except Problem as problem:
        return Fault(line.number, problem.code, problem.detail)
    found = plan(line, claim, format_date(ask.context.clock.counted() // MICROSECONDS))
    if isinstance(found, Fault) or found.plan != "pay":
        return found
    query = ClaimsQuery(bank_reference=line.bank_reference)
    others = (await answer(ask, get_claims, query)).claims
    return replace(found, others=tuple(each.id for each in others))


async def _booked(ask: Ask, planned: Planned) -> Planned:
    """Book a line; returns where it is shown, or the problem that it met meanwhile."""
    line = planned.line
    key = f"bank-{line.result}-{line.claim}-{line.bank_reference}"[:120]
    try:
        if planned.plan == "pay":
            body = {"bank_reference": line.bank_reference, "paid_on": line.date}
            await give(ask, "/v1/claims/{claim}/payment", body, key, claim=line.claim)
            return replace(planned, path=f"claims/{line.claim}")
        if planned.plan == "return":
            returned = {"claim": line.claim, "returned_on": line.date, "reason": line.reason}
            proposed = {"command": "payment_return", "body": returned, "reason": line.reason}
            response = await give(ask, "/v1/proposals", proposed, key)
            return replace(planned, path=f"proposals/{msgspec.json.decode(response.body)['entry']}")
    except Problem as problem:
        return replace(planned, problem=problem)
    return planned


ROUTES: Final = (
    *page.pages("payments", show_payments, OFFICIALS),
    *page.pages("payments.csv", export_payments, OFFICIALS),
    *page.forms("payments", send_results, ("authority",), body=WITH_FILES),
)
