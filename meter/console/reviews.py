"""A claim's page: its papers, what can be approved and what binds, its acts; and the form of each.

Officials see who acted; the authority acts, the firm may withdraw. A form is filled in, then its
figures before and after are confirmed, then the command is given, or proposed where it needs two
persons.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, structs

from meter.api.claim_responses import ClaimStepsView, PayableView
from meter.api.get_claims import ClaimsQuery, get_claim, get_claims
from meter.api.get_payable import ReviewQuery, get_claim_payable, get_claim_steps
from meter.api.post import check_body, give
from meter.api.post_preview import answered
from meter.api.responses import ClaimView
from meter.api.routes import Ask, answer
from meter.console import claims_view as view
from meter.console import form, page
from meter.console.claims import AT_FORM
from meter.console.csv_file import csv_file
from meter.console.entry_words import KINDS
from meter.console.export import EXPORTED, everything
from meter.console.formats import Language
from meter.console.past import read_as_of
from meter.console.words import spoken, words
from meter.host.sign_in import new_secret
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Fen
from meter.values.units import DAY_SECONDS, MICROSECONDS, format_date, parse_money

LISTED: Final = 50  # claims of a page
ROLES: Final = (*OFFICIALS, "enterprise")
_CONFIRM: Final = "confirm"
Found = tuple[ClaimView, PayableView, ClaimStepsView]


async def show_list(ask: Ask, language: Language) -> web.StreamResponse:
    """Show claims in all their states or in one, now or in the past."""
    query = _list_query(ask)
    found = await answer(ask, get_claims, query)
    return page.show(
        ask,
        "claims.html",
        language,
        claims=found.claims,
        state=ask.request.query.get("state", ""),
        asked_as_of=ask.request.query.get("as_of", ""),
        next=found.next if found.more else "",
        as_of=found.as_of,
    )


async def export_list(ask: Ask, language: Language) -> web.StreamResponse:
    """Return the same claims as CSV."""
    w = spoken(language)
    head = [
        *(w.claim, w.entry, w.found_enterprise, w.claim_item, w.programme, w.year),
        *(w.claim_state, w.claim_asked, w.claim_approved, w.claim_cash, w.claim_payee),
    ]
    rows = [
        [
            *(each.id, str(each.entry), each.enterprise, each.item, each.programme),
            *(str(each.year), getattr(w, f"state_{each.state}"), each.asked, each.approved),
            *(each.cash, each.payee),
        ]
        for each in await everything(
            ask, get_claims, "claims", structs.replace(_list_query(ask), limit=EXPORTED)
        )
    ]
    return page.download(ask, "claims.csv", csv_file(head, rows))


def _list_query(ask: Ask) -> ClaimsQuery:
    given = {name: ask.request.query.get(name, "") for name in ("state", "after", "as_of")}
    asked = {name: text for name, text in given.items() if text}
    if "as_of" in asked:
        asked["as_of"] = read_as_of(asked["as_of"])
    try:
        return msgspec.convert({"limit": LISTED} | asked, ClaimsQuery)
    except msgspec.ValidationError as error:
        raise Problem("malformed", f"in the URL: {error}") from None


async def show_claim(ask: Ask, language: Language) -> web.StreamResponse:
    """Show a claim, what may be paid for it, and what was done with it."""
    async with ask.at_once() as asked:
        found = await _found(asked)
    return page.show(ask, "claim.html", language, **_shown(ask, language, *found))


async def _found(ask: Ask, query: ReviewQuery | None = None) -> Found:
    claim = await answer(ask, get_claim)
    payable = await answer(ask, get_claim_payable, query)
    return claim, payable, await answer(ask, get_claim_steps)


def _shown(
    ask: Ask, language: Language, claim: ClaimView, payable: PayableView, steps: ClaimStepsView
) -> dict[str, Any]:
    assert ask.who is not None, "claims are not public"
    for_firm = ask.who.role == "enterprise"
    acts = () if ask.who.role == "auditor" else view.acts_for(claim.state, for_firm=for_firm)
    return {
        "claim": claim,
        "payable": payable,
        "steps": steps.steps,
        "kinds": {name: getattr(text, language) for name, text in KINDS.items()},
        "acts": [act for act in acts if _makes_sense(act, claim)],
        "papers": view.papers(claim.invoices, claim.payments),
        "official": not for_firm,
        "incomplete": 0,
        "problem": None,
    }


def _makes_sense(act: view.Act, claim: ClaimView) -> bool:
    if act.name == "resolve":
        return any(not each.resolved for each in claim.objections)
    return act.name != "payment-return" or claim.cash != "0.00"


class ActPage:
    """The page and the form of one act."""

    def __init__(self, act: view.Act) -> None:
        self.act = act

    async def show(self, ask: Ask, language: Language) -> web.StreamResponse:
        """Show the form of the act with the figures of now."""
        async with ask.at_once() as asked:
            found = await _found(asked)
        filled = form.Filled(_defaults(ask, found[1]))
        values = self._values(ask, language, found, filled, is_confirmed=False)
        return page.show(ask, "claim_act.html", language, **values)

    async def send(self, ask: Ask, language: Language) -> web.StreamResponse:
        """Show what is to be confirmed, or give the command."""
        values = ask.form
        async with ask.at_once() as asked:
            claim = await answer(asked, get_claim)
            papers = view.papers(claim.invoices, claim.payments)
            try:
                found = await _found(asked, _review(self.act, values, papers))
            except Problem as problem:
                if problem.code != "malformed":
                    raise
                return self._again(ask, language, await _found(asked), problem)
        body, names = view.act_body(self.act, values, papers)
        names["claim"] = claim.id
        try:
            check_body(self.act.path, body, **names)
            if values.get("step") == _CONFIRM and values.get(form.SEAL) == self._seal(found):
                return page.see_other(f"/{language}/{await self._given(ask, claim, body, names)}")
        except Problem as problem:
            before = None if problem.code == "idempotency_conflict" else await _before(ask, found)
            if before is not None:  # by the first of two clicks
                return page.see_other(f"/{language}/{before}")
            if problem.status not in AT_FORM:
                raise
            return self._again(ask, language, found, problem)
        before = await _before(ask, found)
        if before is not None:
            return page.see_other(f"/{language}/{before}")
        return self._confirmation(ask, language, found)

    async def _given(
        self, ask: Ask, claim: ClaimView, body: dict[str, Any], names: Mapping[str, str]
    ) -> str:
        """Give the command, or propose it; returns the path of what shows it."""
        key = ask.form.get("key", "")
        try:
            await give(ask, self.act.path, body, key, **names)
        except Problem as problem:
            if problem.code != "two_persons_needed":
                raise
            proposed = {"command": self.act.kind, "body": {**body, **names}}
            if "reason" in body:
                proposed["reason"] = body["reason"]
            response = await give(ask, "/v1/proposals", proposed, key)
            return f"proposals/{msgspec.json.decode(response.body)['entry']}"
        return f"claims/{claim.id}"

    def _confirmation(self, ask: Ask, language: Language, found: Found) -> web.Response:
        """Show what is to be confirmed: asked for, or again where the figures have changed."""
        is_stale = ask.form.get("step") in (None, _CONFIRM)
        values = self._values(ask, language, found, form.Filled(ask.form), is_confirmed=True)
        return page.show_again(
            ask,
            "claim_act.html",
            language,
            409 if is_stale else 200,
            **values | {"stale": is_stale},
        )

    def _again(self, ask: Ask, language: Language, found: Found, problem: Problem) -> web.Response:
        detail = page.told(problem.detail, language)
        filled = form.refused(ask.form, problem, detail, words(language))
        values = self._values(ask, language, found, filled, is_confirmed=False)
        # Of a form without anything nothing was confirmed: so it is out of date, and not wrong.
        status = problem.status if ask.form.get("step") else 409
        return page.show_again(
            ask, "claim_act.html", language, status, **values | {"code": problem.code}
        )

    def _values(
        self, ask: Ask, language: Language, found: Found, filled: form.Filled, *, is_confirmed: bool
    ) -> dict[str, Any]:
        claim, payable, _ = found
        return _shown(ask, language, *found) | {
            "act": self.act,
            "form": filled,
            "is_possible": claim.state in self.act.states,
            "is_confirmed": is_confirmed or self.act.is_of_one_step,
            "seal": self._seal(found),
            "key": filled.value("key") or new_secret(),
            "stale": False,
            "code": "",
            "changes": view.changes(self.act, claim, payable, filled.values),
            "open_objections": [each.entry for each in claim.objections if not each.resolved],
        }

    def _seal(self, found: Found) -> str:
        """Return what stands for the figures that are confirmed."""
        claim, payable, _ = found
        figures = (payable.limit, payable.claimed_then, payable.can_be_approved, payable.cash)
        return form.seal(self.act.name, claim.state, str(claim.newest), *figures)


def _defaults(ask: Ask, payable: PayableView) -> dict[str, str]:
    """Return what a form has before anybody filled it in."""
    today = ask.context.clock.counted() // MICROSECONDS
    ends = today + payable.notice_days * DAY_SECONDS
    return {
        "amount": payable.can_be_approved,
        "from": format_date(today),
        "until": format_date(ends),
        "paid_on": format_date(today),
        "returned_on": format_date(today),
    }


async def _before(ask: Ask, found: Found) -> str | None:
    """Return the path of what this very form has made before: a step, or a proposal."""
    key, (claim, _, steps) = ask.form.get("key", ""), found
    entry = await answered(ask, key) if key else None
    if entry is None:
        return None
    is_step = any(each.entry == entry for each in steps.steps)
    return f"claims/{claim.id}" if is_step else f"proposals/{entry}"


def _review(act: view.Act, values: Mapping[str, str], papers: Sequence[view.Paper]) -> ReviewQuery:
    """Return the question of what a reviewer would allow."""
    if act.name != "approve":
        return ReviewQuery()
    amount = view.asked(values)
    disallowed = view.disallowed_query(view.disallowed(values, papers))
    return ReviewQuery(disallowed, Fen(parse_money(amount)) if amount else UNSET)


_CODES: Final = ("same_person", "two_persons_needed")
ROUTES: Final = (
    *page.pages("claims", show_list, OFFICIALS),
    *page.pages("claims.csv", export_list, OFFICIALS),
    *page.pages("claims/{claim}", show_claim, ROLES),
    *(
        route
        for act in view.ACTS
        for shown in (ActPage(act),)
        for roles in (("enterprise",) if act.for_firm else ("authority",),)
        for route in (
            *page.pages(f"claims/{{claim}}/{act.name}", shown.show, roles),
            *page.forms(f"claims/{{claim}}/{act.name}", shown.send, roles, codes=_CODES),
        )
    ),
)
