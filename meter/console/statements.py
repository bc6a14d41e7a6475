"""Pages of statements: what a month booked, each amount with its entries, and as a file.

They are of a firm, a provider, a contract or an award; a contract's has the layout of whom it is
shown to.

The figures are the API's own answer. A page lists so many lines; the file has all.
"""

from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any, Final

from aiohttp import web
from msgspec import UNSET

from meter.api.context import PART
from meter.api.cursor import PageQuery
from meter.api.get import get_contract
from meter.api.get_awards import get_award, get_enterprise_awards
from meter.api.get_own import get_enterprise, get_provider
from meter.api.get_statement import (
    StatementView,
    get_award_statement,
    get_contract_statement,
    get_provider_statement,
    get_statement,
)
from meter.api.routes import Ask, Handler, answer, answers
from meter.console import page
from meter.console.csv_file import csv_file
from meter.console.enterprise import RETRY_SECONDS, SILENCE_SECONDS
from meter.console.entry_words import KINDS
from meter.console.formats import Language
from meter.console.paper import paper, period_between
from meter.console.words import spoken
from meter.values.roles import OFFICIALS, Role
from meter.values.units import MICROSECONDS, add_months, format_date

LISTED: Final = 60  # amounts, and entries
LINKED: Final = 1_000  # awards that are asked for at once
_FIGURES: Final = (
    *("cost", "withheld", "ineligible", "entitled", "issued", "granted", "claimed", "paid"),
)


async def show_of_firm(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what a month booked for a firm, by contract and by entry."""
    async with ask.at_once() as asked:
        found = await _statement(asked, get_statement)
        layout = await _layout_of_firm(asked, language, ask.path("uscc"))
        awards = await awards_of(asked, ask.path("uscc"))
    return await _show(ask, language, found, layout, awards)


async def show_of_provider(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what a month cost a provider's customers, by contract and by entry."""
    async with ask.at_once() as asked:
        found = await _statement(asked, get_provider_statement)
        layout = await _layout_of_provider(asked, language, ask.path("provider"))
    return await _show(ask, language, found, layout)


async def show_of_contract(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what a month booked under a contract, among its firm's pages or its provider's own."""
    assert ask.who is not None, "the page is not public"
    async with ask.at_once() as asked:
        found = await _statement(asked, get_contract_statement)
        contract = await answer(asked, get_contract)
        if ask.who.role == "provider":
            layout = await _layout_of_provider(asked, language, contract.provider)
        else:
            layout = await _layout_of_firm(asked, language, contract.enterprise)
    return await _show(ask, language, found, layout)


async def show_of_award(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what a month booked for an award, among its firm's pages."""
    async with ask.at_once() as asked:
        found = await _statement(asked, get_award_statement)
        award = await answer(asked, get_award)
        layout = await _layout_of_firm(asked, language, award.enterprise)
    return await _show(ask, language, found, layout, {award.id})


async def awards_of(ask: Ask, uscc: str) -> set[str]:
    """Return the ids of a firm's awards, whose statements have another address than contracts'."""
    return {
        each.id
        async for part in answers(ask, get_enterprise_awards, PageQuery(limit=LINKED), uscc=uscc)
        for each in part.awards
    }


async def _layout_of_firm(ask: Ask, language: Language, uscc: str) -> dict[str, Any]:
    """Return what a firm's pages have around them, and where entries are read."""
    base = f"/{language}/enterprises/{uscc}"
    return {
        "layout": "enterprise_base.html",
        "firm": (await answer(ask, get_enterprise, uscc=uscc)).enterprise,
        "base": base,
        "entries": f"{base}/entries",
        "coupon": None,
        "part": PART in ask.request.query,
        "silence": SILENCE_SECONDS,
        "retry": RETRY_SECONDS,
    }


async def _layout_of_provider(ask: Ask, language: Language, name: str) -> dict[str, Any]:
    """Return the same for a provider's pages; it reads no entry that grants."""
    assert ask.who is not None, "the page is not public"
    return {
        "layout": "provider_base.html",
        "provider": await answer(ask, get_provider, provider=name),
        "base": f"/{language}/providers/{name}",
        "entries": "" if ask.who.role == "provider" else f"/{language}/entries",
    }


async def _show(
    ask: Ask,
    language: Language,
    found: StatementView,
    layout: dict[str, Any],
    awards: Collection[str] = (),
) -> web.StreamResponse:
    """Show a statement; `awards` are those of its items that are no contracts."""
    made, w = found.statement, spoken(language)
    first = f"{made.month}-01"
    days = first, add_months(first, 1)
    return page.show(
        ask,
        "statement.html",
        language,
        **layout,
        tab="contracts",
        here=ask.request.path,
        made=made,
        page=found,
        awards=awards,
        names=_names(made.lines),
        words=_words(w),
        kinds={name: getattr(text, language) for name, text in KINDS.items()},
        command=_command(found),
        listed=LISTED,
        first=-1 if made.first is UNSET else made.first,
        last=made.last,
        earlier=add_months(first, -1)[:7],
        later=days[1][:7] if made.over else "",
        paper=await paper(ask, period_between(*days, w, language), found.as_of),
    )


def _command(found: StatementView) -> str:
    """Return what makes the same from the log."""
    made = found.statement
    asked = f"--month {made.month} --{made.subject.kind} {made.subject.id} --format json"
    if made.subject.kind == "contract" and made.totals.granted is UNSET:
        asked += " --costs-alone"
    return f"kashi audit statement LOG FILE --vkey VKEY {asked}"


def _export(handler: Handler) -> page.Show:
    """Return what sends the lines of a statement as CSV, with the figures that it tells."""

    async def send(ask: Ask, language: Language) -> web.StreamResponse:
        w, made = spoken(language), (await _statement(ask, handler)).statement
        names = [name for name in _FIGURES if getattr(made.totals, name) is not UNSET]
        words = _words(w)
        head = [
            *(w.entry, w.booked_at, w.kind_of_entry, w.record_id, w.contract, w.service_month),
            *(w.correction, *(words[name] for name in names)),
        ]
        rows = (
            [
                *(str(line.entry), line.at, line.kind, line.id, line.contract, line.service),
                w.correction if line.correction else "",
                *(getattr(line.figures, name) for name in names),
            ]
            for line in made.lines
        )
        return page.download(ask, f"statement-{made.month}.csv", csv_file(head, rows))

    return send


async def _statement(ask: Ask, handler: Handler) -> StatementView:
    """Return the statement of the month that is asked for, or of the ledger's month."""
    month = ask.request.query.get("month") or _today(ask)
    found: StatementView = await answer(ask, handler, month=month)
    return found


def _today(ask: Ask) -> str:
    return format_date(ask.context.clock.counted() // MICROSECONDS)[:7]


def _words(w: SimpleNamespace) -> dict[str, str]:
    """Return what the figures are called, in their order."""
    called = (w.cost, w.withheld, w.ineligible, w.entitled, w.issued, w.granted)
    return dict(zip(_FIGURES, (*called, w.claimed_sum, w.paid_sum), strict=True))


def _names(lines: Iterable[Any]) -> list[str]:
    """Return the figures that any line has."""
    return [
        name
        for name in _FIGURES
        if any(getattr(line.figures, name) not in (UNSET, "0.00") for line in lines)
    ]


_PAGES: Final[tuple[tuple[str, page.Show, Handler, tuple[Role, ...]], ...]] = (
    ("enterprises/{uscc}", show_of_firm, get_statement, (*OFFICIALS, "enterprise")),
    ("providers/{provider}", show_of_provider, get_provider_statement, (*OFFICIALS, "provider")),
    (
        "contracts/{contract}",
        show_of_contract,
        get_contract_statement,
        (*OFFICIALS, "enterprise", "provider"),
    ),
    ("awards/{award}", show_of_award, get_award_statement, (*OFFICIALS, "enterprise")),
)
ROUTES: Final = tuple(
    route
    for base, show, handler, roles in _PAGES
    for ending, what in (("", show), (".csv", _export(handler)))
    for route in page.pages(f"{base}/statements{ending}", what, roles)
)
