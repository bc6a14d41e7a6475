"""The page that verifies an entry, or a stored receipt, by a script in the browser."""

from typing import Final

from aiohttp import web

from meter.api.get_own import NUMBER
from meter.api.routes import Ask
from meter.console import page
from meter.console.formats import Language


async def show_verify(ask: Ask, language: Language) -> web.StreamResponse:
    """Show the page; `?entry=` names an entry to begin with."""
    entry = ask.request.query.get("entry", "")
    await ask.context.catch_up()
    return page.show(
        ask,
        "verify.html",
        language,
        keys=ask.context.registry.now.log_keys(),
        entry=entry if NUMBER.fullmatch(entry) else "",
    )


ROUTES: Final = page.pages("verify", show_verify)
