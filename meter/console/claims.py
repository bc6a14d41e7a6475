"""A firm's pages of claims: what it may claim and has claimed, a new claim, and its confirmation.

The figures are answers of the API at each step: while papers are filled in, before the claim is
confirmed, and after. The form holds the idempotency key, so a double click enters it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from meter.api.claim_responses import PayableView
from meter.api.context import PART
from meter.api.get_claims import ItemQuery, OwnClaimsQuery, get_accounts, get_own_claims
from meter.api.get_own import get_enterprise
from meter.api.get_payable import DraftQuery, get_draft
from meter.api.past import Asked
from meter.api.post import check_body, give
from meter.api.responses import AsOf, EnterpriseView
from meter.api.routes import Ask, answer
from meter.console import claims_view as view
from meter.console import form, page
from meter.console.csv_file import csv_file
from meter.console.enterprise import RETRY_SECONDS, ROLES, SILENCE_SECONDS
from meter.console.export import EXPORTED, everything
from meter.console.formats import Language
from meter.console.paper import paper, period_between
from meter.console.past import read_as_of
from meter.console.statements import awards_of
from meter.console.words import spoken, words
from meter.host.sign_in import new_secret
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.strict import convert_query

LISTED: Final = 1_000  # claims, and items with their years
_ENTER: Final = "/v1/claims"
# The buttons of a form: those that fill it in further, that show it for confirmation, and the last.
_FILLING: Final = ("recalculate", "change", "more-invoices", "more-payments")
_CONTINUE: Final = "continue"
_SUBMIT: Final = "submit"
# What may be refused with the ledger as it is, and is told at the form; the rest is a page's.
AT_FORM: Final = (400, 403, 404, 409, 413, 422)


class ClaimsOf(Struct, frozen=True):
    """As of when claims are shown."""

    as_of: Asked = ""


async def show_claims(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what may be claimed by item and year, and the claims that were made, or had been."""
    async with ask.at_once() as asked:
        firm = (await answer(asked, get_enterprise)).enterprise
        claims = await answer(asked, get_own_claims, _list_query(ask, LISTED))
        shown: dict[str, Any] = {} if ask.query.as_of else await _claimable(asked, firm.uscc)
    return await _show(
        ask,
        "enterprise_claims.html",
        language,
        firm,
        as_of=claims.as_of,
        asked_as_of=ask.query.as_of,
        past=claims.as_of if ask.query.as_of else None,
        claims=claims.claims[::-1],
        more=claims.more,
        **shown,
    )


async def _claimable(ask: Ask, uscc: str) -> dict[str, Any]:
    """Return what may be claimed now, which nobody answers as of the past."""
    found = await answer(ask, get_accounts, ItemQuery(limit=LISTED))
    awards = await awards_of(ask, uscc)
    return {"accounts": found.accounts, "more_accounts": found.more, "awards": awards}


def _list_query(ask: Ask, limit: int) -> OwnClaimsQuery:
    return OwnClaimsQuery(limit=limit, as_of=read_as_of(ask.query.as_of))


async def export_claims(ask: Ask, language: Language) -> web.StreamResponse:
    """Return the claims as CSV."""
    w = spoken(language)
    head = [
        *(w.claim, w.entry, w.claim_item, w.programme, w.year, w.claim_state, w.claim_asked),
        *(w.claim_approved, w.claim_cash, w.claim_payee),
    ]
    claims = await everything(ask, get_own_claims, "claims", _list_query(ask, EXPORTED))
    rows = (
        [
            *(each.id, str(each.entry), each.item, each.programme, str(each.year)),
            *(getattr(w, f"state_{each.state}"), each.asked, each.approved, each.cash),
            each.payee,
        ]
        for each in claims
    )
    return page.download(ask, "claims.csv", csv_file(head, rows))


async def show_new(ask: Ask, language: Language) -> web.StreamResponse:
    """Show the form of a claim for an item and year."""
    values = dict(ask.request.query)
    async with ask.at_once() as asked:
        draft = await _draft(asked, values)
        count = len((await answer(asked, get_own_claims, OwnClaimsQuery(limit=LISTED))).claims)
    name = f"CL-{draft.firm.uscc[-6:]}-{values.get('year', '')}-{count + 1}"
    return await _show_form(ask, language, draft, form.Filled({"id": name, **values}))


async def show_payable(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what the papers of a form would let be approved: a part of its page."""
    async with ask.at_once() as asked:
        draft = await _draft(asked, view.unfolded(ask.request.query))
    return page.show(ask, "claim_draft.html", language, **draft.figures())


async def send_new(ask: Ask, language: Language) -> web.StreamResponse:
    """Show the form with new figures, show what is to be confirmed, or enter the claim."""
    values, step = view.unfolded(ask.form), ask.form.get("step", "")
    async with ask.at_once() as asked:
        draft = await _draft(asked, values)
    if step in _FILLING or view.is_turn(step):
        return await _show_form(ask, language, draft, form.Filled(values))
    body = view.claim_body(values)
    try:
        check_body(_ENTER, body)
        if draft.problem is not None:
            raise draft.problem
        if step != _SUBMIT or values.get(form.SEAL) != draft.seal:
            return await _show_confirmation(ask, language, draft)
        await give(ask, _ENTER, body, values.get("key", ""))
    except Problem as problem:
        if problem.status not in AT_FORM:
            raise
        detail = page.told(problem.detail, language)
        filled = view.refused(values, problem, detail, words(language))
        return await _show_form(ask, language, draft, filled, problem)
    return page.see_other(f"/{language}/claims/{body['id']}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A claim that is being filled in: its fields, and what it may be paid or why nobody knows."""

    firm: EnterpriseView
    values: Mapping[str, str]
    as_of: AsOf
    payable: PayableView | None
    problem: Problem | None

    @property
    def seal(self) -> str:
        """What stands for the claim and its figures as they are confirmed."""
        assert self.payable is not None, "what is not known is not confirmed"
        money = self.payable
        figures = (money.limit, money.claimed, money.can_be_approved, money.bound)
        return form.seal(msgspec.json.encode(view.claim_body(self.values)).decode(), *figures)

    def figures(self) -> dict[str, Any]:
        """Return what shows its figures."""
        incomplete = view.incomplete(self.values)
        return {"payable": self.payable, "problem": self.problem, "incomplete": incomplete}


async def _draft(ask: Ask, values: Mapping[str, str]) -> Draft:
    """Return a claim as a form has it. Raises `not_found`, `unknown_enterprise`."""
    firm = (await answer(ask, get_enterprise)).enterprise
    as_of = (await answer(ask, get_own_claims, OwnClaimsQuery(limit=1))).as_of
    asked = {name: values.get(name, "") for name in ("item", "year")}
    asked |= {kind.field: view.parts(values, kind) for kind in view.KINDS}
    more = {"amount": view.asked(values), "delivery": view.delivery(values)}
    asked |= {name: text for name, text in more.items() if text}
    try:
        query = convert_query(asked, DraftQuery)
        payable = await answer(ask, get_draft, query)
    except ValueError as error:
        return Draft(firm, values, as_of, None, Problem("malformed", str(error)))
    except Problem as problem:
        return Draft(firm, values, as_of, None, problem)
    return Draft(firm, values, as_of, payable, None)


async def _show_form(
    ask: Ask,
    language: Language,
    draft: Draft,
    filled: form.Filled,
    refusal: Problem | None = None,
) -> web.Response:
    status = 200 if refusal is None else refusal.status
    shown = [view.shown(filled.values, kind, filled.faults) for kind in view.KINDS]
    if ask.request.method == "POST" and not ask.form.get("step"):
        status = 409  # nothing was confirmed by it: it is out of date, and not wrong
    money = draft.payable
    return await _show(
        ask,
        "claim_new.html",
        language,
        draft.firm,
        status,
        as_of=draft.as_of,
        form=filled,
        code="" if refusal is None else refusal.code,
        shown=shown,
        folded=view.folded(filled.values, shown),
        most=view.MAX_PAPERS,
        defaults={} if money is None else {"seller": money.seller, "buyer": money.buyer},
        **draft.figures(),
    )


async def _show_confirmation(ask: Ask, language: Language, draft: Draft) -> web.Response:
    """Show what is to be confirmed: asked for, or again where the figures have changed."""
    is_stale = ask.form.get("step") != _CONTINUE
    left_out = {"step", "key", form.SEAL, *filter(view.is_of_row, draft.values)}
    return await _show(
        ask,
        "claim_confirm.html",
        language,
        draft.firm,
        409 if is_stale else 200,
        as_of=draft.as_of,
        body=view.claim_body(draft.values),
        kept={name: text for name, text in draft.values.items() if text and name not in left_out}
        | view.folded(draft.values),
        seal=draft.seal,
        key=ask.form.get("key") or new_secret(),
        stale=is_stale,
        **draft.figures(),
    )


async def _show(  # noqa: PLR0913 - a page, and whose it is
    ask: Ask,
    template: str,
    language: Language,
    firm: EnterpriseView,
    status: int = 200,
    *,
    as_of: AsOf,
    **values: Any,
) -> web.Response:
    """Return a page below an enterprise's tabs."""
    shown = {
        "firm": firm,
        "base": _base(language, firm),
        "tab": "claims",
        "coupon": None,
        "paper": await paper(ask, period_between("", "", spoken(language), language), as_of),
        "part": PART in ask.request.query,
        "silence": SILENCE_SECONDS,
        "retry": RETRY_SECONDS,
        **values,
    }
    if ask.request.method == "GET":
        return page.show(ask, template, language, **shown)
    return page.show_again(ask, template, language, status, **shown)


def _base(language: Language, firm: EnterpriseView) -> str:
    return f"/{language}/enterprises/{firm.uscc}"


_BASE: Final = "enterprises/{uscc}/claims"
_CLAIMANTS: Final[tuple[Role, ...]] = ("authority", "enterprise")
ROUTES: Final = (
    *page.pages(_BASE, show_claims, ROLES, ClaimsOf),
    *page.pages(f"{_BASE}.csv", export_claims, ROLES, ClaimsOf),
    *page.pages(f"{_BASE}/new", show_new, _CLAIMANTS),
    *page.pages(f"{_BASE}/payable", show_payable, _CLAIMANTS),
    *page.forms(f"{_BASE}/new", send_new, _CLAIMANTS),
)
