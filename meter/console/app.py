"""The routes of the console: pages of the application that also serves the API.

URLs name the language and the subject: `/zh/`, `/en/account`. `/` leads to one's own start.
"""

from dataclasses import replace
from typing import Final

from aiohttp import web

from meter.api.app import Pages
from meter.api.changes import get_changes
from meter.api.events import EventsQuery
from meter.api.routes import EVENTS, Ask, Route
from meter.console import (
    access_log,
    acts,
    alerts,
    authority,
    claims,
    enterprise,
    log,
    months,
    notices,
    page,
    payments,
    people,
    provider,
    public,
    registers,
    reviews,
    sign_in,
    statements,
    theme,
    tokens,
    verify,
)
from meter.console.formats import LANGUAGES, Language
from meter.values.problems import Problem


async def get_asset(ask: Ask) -> web.StreamResponse:
    """Return the style or the icon, under the hash of its content."""
    return page.asset(ask.path("asset"))


async def show_nothing(_: Ask, _language: Language) -> web.StreamResponse:
    """Say that no page has this address. Raises `not_found`."""
    raise Problem("not_found", "no page has this address")


async def get_language(ask: Ask) -> web.StreamResponse:
    """Lead from `/zh` to the first page in that language."""
    return page.see_other(f"{ask.request.path}/")


_STREAM: Final = Route(
    "GET",
    "/events",
    get_changes,
    "That something changed, as it changes",
    EVENTS,
    roles=sign_in.EVERYBODY,
    query=EventsQuery,
    ends_with_succession=True,
    kind="page",
)
ROUTES: Final = (
    *sign_in.ROUTES,
    *public.ROUTES,
    *enterprise.ROUTES,
    *statements.ROUTES,
    *people.ROUTES,
    *tokens.ROUTES,
    *access_log.ROUTES,
    *verify.ROUTES,
    *log.ROUTES,
    *provider.ROUTES,
    *authority.ROUTES,
    *acts.ROUTES,
    *registers.ROUTES,
    *theme.ROUTES,
    *claims.ROUTES,
    *reviews.ROUTES,
    *payments.ROUTES,
    *notices.ROUTES,
    *months.ROUTES,
    *alerts.ROUTES,
    page.one_page("/assets/{asset}", get_asset),
    _STREAM,
    *(page.one_page(f"/{language}", get_language) for language in LANGUAGES),
    # Whatever no page before it has.
    *(replace(route, takes_rest=True) for route in page.pages("{rest}", show_nothing)),
)
PAGES: Final = Pages(ROUTES, page.show_problem)
