"""A firm's pages of statements: what a month booked, each amount with its entries, and as a file.

The figures are the API's own answer. A page lists so many lines; the file has all.
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Final

from aiohttp import web
from msgspec import UNSET

from meter.api.context import PART
from meter.api.get_own import get_enterprise
from meter.api.get_statement import StatementView, get_statement
from meter.api.routes import Ask, answer
from meter.console import page
from meter.console.csv_file import csv_file
from meter.console.enterprise import RETRY_SECONDS, ROLES, SILENCE_SECONDS
from meter.console.entry_words import KINDS
from meter.console.formats import Language
from meter.console.paper import paper, period_between
from meter.console.words import spoken
from meter.values.units import MICROSECONDS, add_months, format_date

LISTED: Final = 60  # amounts, and entries
_FIGURES: Final = (
    *("cost", "withheld", "ineligible", "entitled", "issued", "granted", "claimed", "paid"),
)


async def show_statement(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what a month booked, by contract and by entry."""
    async with ask.at_once() as asked:
        firm = (await answer(asked, get_enterprise)).enterprise
        found = await _statement(asked)
    made, w = found.statement, spoken(language)
    first = f"{made.month}-01"
    days = first, add_months(first, 1)
    return page.show(
        ask,
        "enterprise_statement.html",
        language,
        firm=firm,
        base=f"/{language}/enterprises/{firm.uscc}",
        tab="contracts",
        coupon=None,
        made=made,
        found=found,
        names=_names(made.lines),
        words=_words(w),
        kinds={name: getattr(text, language) for name, text in KINDS.items()},
        listed=LISTED,
        first=-1 if made.first is UNSET else made.first,
        last=made.last,
        earlier=add_months(first, -1)[:7],
        later=days[1][:7] if made.over else "",
        paper=await paper(ask, period_between(*days, w, language), found.as_of),
        part=PART in ask.request.query,
        silence=SILENCE_SECONDS,
        retry=RETRY_SECONDS,
    )


async def export_lines(ask: Ask, language: Language) -> web.StreamResponse:
    """Return the lines of a statement as CSV."""
    w, found = spoken(language), await _statement(ask)
    head = [
        *(w.entry, w.booked_at, w.kind_of_entry, w.record_id, w.contract, w.service_month),
        *(w.correction, *_words(w).values()),
    ]
    rows = (
        [
            *(str(line.entry), line.at, line.kind, line.id, line.contract, line.service),
            w.correction if line.correction else "",
            *(getattr(line.figures, name) for name in _FIGURES),
        ]
        for line in found.statement.lines
    )
    name = f"statement-{found.statement.month}.csv"
    return page.download(ask, name, csv_file(head, rows))


async def _statement(ask: Ask) -> StatementView:
    """Return the statement of the month that is asked for, or of the ledger's month."""
    month = ask.request.query.get("month") or _today(ask)
    found: StatementView = await answer(ask, get_statement, month=month)
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


_BASE: Final = "enterprises/{uscc}/statements"
ROUTES: Final = (
    *page.pages(_BASE, show_statement, ROLES),
    *page.pages(f"{_BASE}.csv", export_lines, ROLES),
)
