"""Pages of months: a firm confirms a closed one or disputes a record; officials see what waits.

A provider sees what closed ones cost its customers.
A form holds its idempotency key, so a double click does it once. What the authority does about a
month or a dispute is one of its acts, to which the lists lead (`acts.py`).
"""

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

from aiohttp import web
from msgspec import UNSET

from meter.api.context import PART
from meter.api.cursor import Limit, PageQuery
from meter.api.get_enterprise import get_enterprise_contracts
from meter.api.get_months import (
    Decision,
    DisputePage,
    DisputesQuery,
    MonthPage,
    MonthSummary,
    get_disputes,
    get_month,
    get_months,
)
from meter.api.get_own import get_enterprise, get_provider
from meter.api.post import give
from meter.api.routes import Ask, answer
from meter.console import form, page
from meter.console.claims import AT_FORM
from meter.console.enterprise import MAX_CONTRACTS, RETRY_SECONDS, SILENCE_SECONDS
from meter.console.formats import Language
from meter.console.paper import paper, period_between
from meter.console.words import spoken, words
from meter.host.sign_in import new_secret
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_moment

SHOWN: Final = 12  # months of a page, the newest
LISTED: Final = 100  # disputes of a page


class DisputesShown(PageQuery, frozen=True, forbid_unknown_fields=False):
    """Which disputes are shown."""

    limit: Limit = LISTED


class MonthsShown(DisputesShown, frozen=True):
    """Those in one state, or all; the open ones first of all."""

    state: Decision | Literal["all"] = "open"


async def show_own(ask: Ask, language: Language) -> web.StreamResponse:
    """Show a firm's months and disputes, and the form of a dispute, filled in by a link's query."""
    given = {name: ask.request.query.get(name, "") for name in ("contract", "id")}
    return page.show(ask, "enterprise_months.html", language, **await _own(ask, language, given))


async def send_own(ask: Ask, language: Language) -> web.StreamResponse:
    """Confirm a month, or dispute a record."""
    values = ask.form
    try:
        if values.get("step") == "confirm":
            name, body = {"month": values.get("month", "")}, {"enterprise": ask.path("uscc")}
            await give(ask, "/v1/months/{month}/confirm", body, values.get("key", ""), **name)
        else:
            await _dispute(ask)
    except Problem as problem:
        if problem.status not in AT_FORM:
            raise
        shown = await _own(ask, language, values, problem)
        return page.show_again(ask, "enterprise_months.html", language, problem.status, **shown)
    return page.see_other(f"/{language}/enterprises/{ask.path('uscc')}/months")


async def _dispute(ask: Ask) -> None:
    """Dispute the record of a form, with the provider of its contract. Raises `Problem`."""
    body = {name: ask.form.get(name, "").strip() for name in ("contract", "id", "reason")}
    contracts = await answer(ask, get_enterprise_contracts, PageQuery(limit=MAX_CONTRACTS))
    providers = {each.id: each.provider for each in contracts.contracts}
    body["provider"] = providers.get(body["contract"], "")
    await give(ask, "/v1/records/dispute", body, ask.form.get("key", ""))


async def _own(
    ask: Ask, language: Language, given: Any, problem: Problem | None = None
) -> dict[str, Any]:
    """Return what a firm's page shows, with a form as it was sent."""
    async with ask.at_once() as asked:
        firm = (await answer(asked, get_enterprise)).enterprise
        contracts = await answer(asked, get_enterprise_contracts, PageQuery(limit=MAX_CONTRACTS))
        found = await answer(asked, get_months)
        months = await _closed(asked, found.months)
        disputes = await _disputes(asked)
    filled = form.Filled(given) if problem is None else _refused(given, problem, language)
    now = format_moment(ask.context.clock.counted())
    return {
        "firm": firm,
        "base": f"/{language}/enterprises/{firm.uscc}",
        "tab": "claims",
        "coupon": None,
        "paper": await paper(ask, period_between("", "", spoken(language), language), found.as_of),
        "part": PART in ask.request.query,
        "silence": SILENCE_SECONDS,
        "retry": RETRY_SECONDS,
        "months": [(each, _may_answer(each, now)) for each in months],
        "page": disputes,
        "link": _link(ask),
        "contracts": [each.id for each in contracts.contracts],
        "form": filled,
        "code": "" if problem is None else problem.code,
        "key": new_secret(),
    }


async def _disputes(ask: Ask) -> DisputePage:
    """Return a page of disputes, the newest first; of the open ones, who has waited longest."""
    state = ask.query.state if isinstance(ask.query, MonthsShown) else "all"
    query = DisputesQuery(
        after=getattr(ask.query, "after", ""),
        limit=LISTED,
        decision=UNSET if state == "all" else state,
        order="oldest" if state == "open" else "newest",
    )
    found: DisputePage = await answer(ask, get_disputes, query)
    return found


def _link(ask: Ask) -> str:
    """Return what stands in the URL, without the place of a page of disputes."""
    given = ask.request.query.items()
    return urlencode([(name, text) for name, text in given if name not in ("after", "limit", PART)])


def _refused(given: Mapping[str, str], problem: Problem, language: Language) -> form.Filled:
    detail = page.told(problem.detail, language)
    return form.refused(given, problem, detail, words(language))


async def _closed(ask: Ask, months: list[MonthSummary]) -> list[MonthPage]:
    """Return the newest closed months with their sums, of what is shown to whom asks."""
    closed = [each.month for each in months if each.state == "closed"][:SHOWN]
    one = PageQuery(limit=1)  # its sums are of all lines
    return [await answer(ask, get_month, one, month=name) for name in closed]


async def show_served(ask: Ask, language: Language) -> web.StreamResponse:
    """Show a provider what its customers were charged by month."""
    async with ask.at_once() as asked:
        provider = await answer(asked, get_provider)
        found = await answer(asked, get_months)
        months = await _closed(asked, found.months)
    return page.show(
        ask,
        "provider_months.html",
        language,
        provider=provider,
        base=f"/{language}/providers/{provider.id}",
        tab="months",
        page=found,
        months=months,
        paper=await paper(ask, period_between("", "", spoken(language), language), found.as_of),
    )


def _may_answer(month: MonthPage, now: str) -> bool:
    """Return whether a firm may still confirm a month, at an instant."""
    return not month.confirmed and now < str(month.about.answer_until)


async def show_all(ask: Ask, language: Language) -> web.StreamResponse:
    """Show officials the months, and disputes."""
    async with ask.at_once() as asked:
        months = await answer(asked, get_months)
        disputes = await _disputes(asked)
    return page.show(
        ask,
        "months.html",
        language,
        months=months.months[: SHOWN + 1],
        oldest=_to_close(months.months),
        page=disputes,
        state=ask.query.state,
        link=_link(ask),
        as_of=months.as_of,
    )


def _to_close(months: list[MonthSummary]) -> str:
    """Return the oldest month that is over and not closed, if there is one."""
    return next((each.month for each in reversed(months) if each.state == "over"), "")


ROUTES: Final = (
    *page.pages("enterprises/{uscc}/months", show_own, ("enterprise",), DisputesShown),
    *page.forms("enterprises/{uscc}/months", send_own, ("enterprise",)),
    *page.pages("providers/{provider}/months", show_served, ("provider",)),
    *page.pages("months", show_all, OFFICIALS, MonthsShown),
)
