"""The routes of the console: pages of the application that also serves the API.

URLs name the language: `/zh/`, `/en/`. `/` leads to the one that the browser prefers.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from msgspec import Struct

from meter.api.get_provider import get_receipt_key
from meter.api.get_public import get_public
from meter.api.log import get_checkpoint
from meter.api.routes import Ask, Handler, Route
from meter.console import page, view
from meter.console.formats import LANGUAGES, Language, date
from meter.values.problems import Problem


class AnyQuery(Struct, frozen=True):
    """Whatever stands after the question mark: links that are shared get something there."""


_Page = Callable[[Ask, Language], Awaitable[web.StreamResponse]]


async def get_start(ask: Ask) -> web.StreamResponse:
    """Lead to the public page in the language that the browser prefers."""
    language = page.preferred(ask.request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
    headers = {hdrs.LOCATION: f"/{language}/", hdrs.VARY: hdrs.ACCEPT_LANGUAGE, **page.HEADERS}
    return web.Response(status=302, headers=headers)


async def get_asset(ask: Ask) -> web.StreamResponse:
    """Return the style or the icon, under the hash of its content."""
    return page.asset(ask.path("asset"))


async def _public(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what is set aside and issued, and how the ledger is verified."""
    totals, receipt_key = await get_public(ask), await get_receipt_key(ask)
    return page.show(
        ask.request,
        "public.html",
        language,
        programmes=view.programmes(totals, language),
        before=date(totals.before, language),
        ledger=await _ledger(ask),
        keys=ask.context.registry.now.log_keys(),
        receipt_key=receipt_key,
        base=f"{ask.request.scheme}://{ask.request.host}",
    )


async def _ledger(ask: Ask) -> view.Ledger | None:
    """Return the published ledger, or None before anything is published."""
    try:
        checkpoint = await get_checkpoint(ask)
    except Problem:
        return None
    assert isinstance(checkpoint.body, bytes), "it was read from a file"
    return view.ledger(checkpoint.body)


def _shown(show: _Page, language: Language) -> Handler:
    """Return a handler that shows a page in a language, or the page of its problem."""

    async def handle(ask: Ask) -> web.StreamResponse:
        try:
            return await show(ask, language)
        except Problem as problem:
            return page.show_problem(problem, language)

    return handle


def _page(path: str, handler: Handler) -> Route:
    return Route("GET", path, handler, "A page", "text/html", query=AnyQuery)


PAGES: Final[dict[str, _Page]] = {"": _public}  # by their path below the language
ROUTES: Final = (
    _page("/", get_start),
    _page("/assets/{asset}", get_asset),
    *(
        _page(f"/{language}/{path}", _shown(show, language))
        for path, show in PAGES.items()
        for language in LANGUAGES
    ),
)
