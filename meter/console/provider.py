"""A provider's pages: streams and keys, what was refused and withheld, contracts.

Each page asks the API's own handlers, all within one snapshot.
"""

from typing import Any, Final

from aiohttp import web

from meter.api.cursor import PageQuery
from meter.api.get_own import get_provider
from meter.api.get_provider import get_rejected, get_stream, get_streams
from meter.api.get_served import get_own_withheld, get_served
from meter.api.routes import Ask, Handler, answer
from meter.console import page
from meter.console import provider_view as view
from meter.console.formats import Language
from meter.console.paper import paper
from meter.console.words import spoken
from meter.values.roles import OFFICIALS

LISTED: Final = 50  # lines of a list
GAPPY: Final = 10  # streams whose gaps are shown
GAPS: Final = 20  # of each of them
ROLES: Final = (*OFFICIALS, "provider")


class PlaceOf(PageQuery, frozen=True, forbid_unknown_fields=False):
    """Where a list goes on."""


async def show_overview(ask: Ask, language: Language) -> web.StreamResponse:
    """Show streams with their gaps, keys and enlistments."""
    async with ask.at_once() as asked:
        provider = await answer(asked, get_provider)
        streams = await answer(asked, get_streams, _place(ask))
        gappy = [each.stream for each in streams.streams if each.missing][:GAPPY]
        gaps = {
            name: await answer(asked, get_stream, PageQuery(limit=GAPS), stream=name)
            for name in gappy
        }
    lines = [view.stream_line(each, gaps.get(each.stream)) for each in streams.streams]
    found = {"provider": provider, "page": streams, "lines": lines}
    return await _show(ask, "", language, found)


async def show_refused(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what was refused, and what to do about it."""
    return await _list(ask, "refused", language, get_rejected)


async def show_withheld(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what waits for a reviewer, with the quarter-hours that were full."""
    return await _list(ask, "withheld", language, get_own_withheld)


async def show_contracts(ask: Ask, language: Language) -> web.StreamResponse:
    """Show contracts with what they cost."""
    return await _list(ask, "contracts", language, get_served)


async def _list(ask: Ask, tab: str, language: Language, handler: Handler) -> web.StreamResponse:
    """Show one list of the API."""
    async with ask.at_once() as asked:
        provider = await answer(asked, get_provider)
        found = await answer(asked, handler, _place(ask))
    return await _show(ask, tab, language, {"provider": provider, "page": found})


async def _show(
    ask: Ask, tab: str, language: Language, found: dict[str, Any]
) -> web.StreamResponse:
    """Show the page of a tab, whose template has its name."""
    template = f"provider_{tab}.html" if tab else "provider.html"
    base = f"/{language}/providers/{ask.path('provider')}"
    on_paper = await paper(ask, spoken(language).period_all, found["page"].as_of)
    return page.show(ask, template, language, base=base, tab=tab, paper=on_paper, **found)


def _place(ask: Ask) -> PageQuery:
    return PageQuery(after=ask.query.after, limit=LISTED)


_BASE: Final = "providers/{provider}"
ROUTES: Final = (
    *page.pages(_BASE, show_overview, ROLES, PlaceOf),
    *page.pages(f"{_BASE}/refused", show_refused, ROLES, PlaceOf),
    *page.pages(f"{_BASE}/withheld", show_withheld, ROLES, PlaceOf),
    *page.pages(f"{_BASE}/contracts", show_contracts, ROLES, PlaceOf),
)
