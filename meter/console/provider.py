"""A provider's pages: streams and keys, batches, what was refused and withheld, contracts.

Each page asks the API's own handlers, all within one snapshot. Each list is also a file.
"""

from typing import Annotated, Any, Final

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta, Struct

from meter.api.cursor import PageQuery
from meter.api.get_own import get_provider
from meter.api.get_provider import get_batches, get_envelope, get_rejected, get_stream, get_streams
from meter.api.get_served import get_own_withheld, get_served
from meter.api.past import PastQuery
from meter.api.proofs import get_stored_receipt
from meter.api.routes import Ask, Handler, answer, with_etag
from meter.console import export, page
from meter.console import provider_view as view
from meter.console.csv_file import csv_file
from meter.console.formats import Language
from meter.console.paper import paper
from meter.console.past import read_as_of
from meter.console.words import spoken
from meter.console.words.advice import ADVICE_ZH
from meter.values.roles import OFFICIALS

LISTED: Final = 50  # lines of a list
MAX_STREAMS: Final = 100  # whose batches are led to
GAPPY: Final = 10  # streams whose gaps are shown
GAPS: Final = 20  # of each of them
ROLES: Final = (*OFFICIALS, "provider")


class StreamOf(PageQuery, frozen=True, forbid_unknown_fields=False):
    """Whose batches are listed, and where the list goes on; the first stream's by default."""

    stream: Annotated[str, Meta(max_length=64)] = ""


class PlaceOf(PageQuery, frozen=True, forbid_unknown_fields=False):
    """Where a list goes on."""


class ContractsOf(PastQuery, frozen=True, forbid_unknown_fields=False):
    """Where the list of contracts goes on, and as of when it is."""


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
    rotation = view.rotation(provider)
    found = {"provider": provider, "page": streams, "lines": lines, "rotation": rotation}
    return await _show(ask, "", language, found)


async def show_batches(ask: Ask, language: Language) -> web.StreamResponse:
    """Show the batches of a stream with their files, the newest first."""
    async with ask.at_once() as asked:
        provider = await answer(asked, get_provider)
        streams = await answer(asked, get_streams, PageQuery(limit=MAX_STREAMS))
        names = [each.stream for each in streams.streams]
        name = ask.query.stream or next(iter(names), "")
        page_of = streams
        if name:
            page_of = await answer(asked, get_batches, _place(ask), stream=name)
    found = {"provider": provider, "page": page_of, "streams": names, "stream": name}
    found["asked"] = ask.query.stream  # a place belongs to one query
    return await _show(ask, "batches", language, found)


async def send_envelope(ask: Ask, _language: Language) -> web.StreamResponse:
    """Send a batch as it was signed."""
    return await _send_file(ask, get_envelope, "dsse.json")


async def send_receipt(ask: Ask, _language: Language) -> web.StreamResponse:
    """Send a batch with its receipt, and the proof of both."""
    return await _send_file(ask, get_stored_receipt, "proved.json")


async def _send_file(ask: Ask, handler: Handler, ending: str) -> web.StreamResponse:
    """Send what a route of the API answers about a batch, as a file that has its name."""
    found = await answer(ask, handler)
    body = msgspec.json.encode(found) if isinstance(found, Struct) else found.body
    name = f"{ask.path('digest')}.{ending}"
    headers = {
        **page.HEADERS,
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
    }
    return with_etag(ask.request, body, headers)


async def show_refused(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what was refused, and what to do about it."""
    return await _list(ask, "refused", language, get_rejected)


async def show_withheld(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what waits for a reviewer, with the quarter-hours that were full."""
    return await _list(ask, "withheld", language, get_own_withheld)


async def show_contracts(ask: Ask, language: Language) -> web.StreamResponse:
    """Show contracts with what they cost, or did."""
    return await _list(ask, "contracts", language, get_served)


async def _list(ask: Ask, tab: str, language: Language, handler: Handler) -> web.StreamResponse:
    """Show one list of the API."""
    async with ask.at_once() as asked:
        provider = await answer(asked, get_provider)
        page_ = await answer(asked, handler, _place(ask))
    found = {"provider": provider, "page": page_, "asked_as_of": getattr(ask.query, "as_of", "")}
    return await _show(ask, tab, language, found)


async def _show(
    ask: Ask, tab: str, language: Language, found: dict[str, Any]
) -> web.StreamResponse:
    """Show the page of a tab, whose template has its name."""
    template = f"provider_{tab}.html" if tab else "provider.html"
    csv = tab or "streams"
    base = f"/{language}/providers/{ask.path('provider')}"
    on_paper = await paper(ask, spoken(language).period_all, found["page"].as_of)
    named = {"base": base, "tab": tab, "csv": csv, "paper": on_paper, "advice_zh": ADVICE_ZH}
    return page.show(ask, template, language, **named, **found)


def _place(ask: Ask, limit: int = LISTED) -> PageQuery:
    after, as_of = ask.query.after, getattr(ask.query, "as_of", None)
    if as_of is None:
        return PageQuery(after=after, limit=limit)
    return PastQuery(after=after, limit=limit, as_of=read_as_of(as_of))


# Each list as a file: its handler, the name of its items, and their fields in the order of columns.
_LISTS: Final[dict[str, tuple[Handler, str, tuple[str, ...]]]] = {
    "streams": (get_streams, "streams", ("stream", "last", "batches", "missing", "time")),
    "batches": (
        get_batches,
        "batches",
        ("seq", "time", "entry", "batch", "records", "purchases", "voids"),
    ),
    "refused": (
        get_rejected,
        "rejected",
        ("batch", "stream", "seq", "what", "id", "contract", "status", "code", "detail", "advice"),
    ),
    "withheld": (
        get_own_withheld,
        "withheld",
        ("entry", "time", "id", "contract", "starts", "ends", "device_hours", "amount"),
    ),
    "contracts": (
        get_served,
        "contracts",
        (
            *("id", "contract_no", "programme", "enterprise", "name", "starts", "ends"),
            *("cost", "withheld", "ineligible"),
        ),
    ),
}


def _export(name: str) -> page.Show:
    """Return what sends all lines of a list as CSV; its head has the names of the API."""
    handler, items, fields = _LISTS[name]

    async def send(ask: Ask, _language: Language) -> web.StreamResponse:
        names = {}
        if name == "batches":
            first = (await answer(ask, get_streams, PageQuery(limit=1))).streams
            if not first:
                return page.download(ask, f"{name}.csv", csv_file(fields, []))
            names = {"stream": ask.query.stream or first[0].stream}
        query = _place(ask, export.EXPORTED)
        lines = await export.everything(ask, handler, items, query, **names)
        rows = [[str(getattr(line, field)) for field in fields] for line in lines]
        return page.download(ask, f"{name}.csv", csv_file(fields, rows))

    return send


_BASE: Final = "providers/{provider}"
ROUTES: Final = (
    *page.pages(_BASE, show_overview, ROLES, PlaceOf),
    *page.pages(f"{_BASE}/batches", show_batches, ROLES, StreamOf),
    *(
        route
        for name in _LISTS
        for query in (ContractsOf if name == "contracts" else StreamOf,)
        for route in page.pages(f"{_BASE}/{name}.csv", _export(name), ROLES, query)
    ),
    *page.pages("batches/{digest}/envelope", send_envelope, ROLES),
    *page.pages("batches/{digest}/receipt", send_receipt, ROLES),
    *page.pages(f"{_BASE}/refused", show_refused, ROLES, PlaceOf),
    *page.pages(f"{_BASE}/withheld", show_withheld, ROLES, PlaceOf),
    *page.pages(f"{_BASE}/contracts", show_contracts, ROLES, ContractsOf),
)
