"""What a page says on paper beside its figures: the time they are about, and the newest checkpoint.

On a screen it is hidden. The checkpoint is shown as it claims to be: no signature is verified here.
"""

from dataclasses import dataclass
from types import SimpleNamespace

from meter.api.log import get_checkpoint
from meter.api.responses import AsOf
from meter.api.routes import Ask
from meter.console import formats, view
from meter.console.formats import Language
from meter.values.problems import Problem
from meter.values.units import day_of, day_start, format_date, parse_date, year_start


@dataclass(frozen=True, slots=True)
class Paper:
    """The time that a page is about as people write it, and the state of the ledger behind it."""

    period: str
    as_of: AsOf
    ledger: view.Ledger | None


async def paper(ask: Ask, period: str, as_of: AsOf) -> Paper:
    """Return what a page says on paper."""
    return Paper(period, as_of, await newest_checkpoint(ask))


async def newest_checkpoint(ask: Ask) -> view.Ledger | None:
    """Return the published ledger, or None before anything is published."""
    try:
        checkpoint = await get_checkpoint(ask)
    except Problem:
        return None
    assert isinstance(checkpoint.body, bytes), "it was read from a file"
    return view.ledger(checkpoint.body)


def period_of_year(year: int, language: Language) -> str:
    """Return the first and the last day of a year."""
    last = day_start(day_of(year_start(year + 1)) - 1)
    first = format_date(year_start(year))
    return f"{formats.date(first, language)} – {formats.date(format_date(last), language)}"


def period_between(begin: str, end: str, w: SimpleNamespace, language: Language) -> str:
    """Return the days of a list, of which `end` is the first one after it; empty is open."""
    if not begin and not end:
        return str(w.period_all)
    last = format_date(parse_date(end) - 1) if end else ""
    days = (formats.date(day, language) if day else "…" for day in (begin, last))
    return " – ".join(days)
