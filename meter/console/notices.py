"""The public notice (公示): which claims are under it, and how to object."""

from typing import Final

from aiohttp import web

from meter.api.get_notices import get_notices
from meter.api.routes import Ask
from meter.console import page
from meter.console.formats import Language


async def show_notices(ask: Ask, language: Language) -> web.StreamResponse:
    """Show the claims under public notice to anybody."""
    found = await get_notices(ask)
    return page.show(ask, "notices.html", language, on=found.on, notices=found.notices)


ROUTES: Final = page.pages("notices", show_notices)
