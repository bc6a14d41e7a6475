"""The reader's choice between light and dark, which the browser keeps; else its system decides."""

from typing import Final
from urllib.parse import unquote

from aiohttp import web

from meter.api.routes import Ask
from meter.console import page
from meter.console.formats import Language
from meter.host.sign_in import local_page

SECONDS: Final = 365 * 86_400


async def send_theme(ask: Ask, language: Language) -> web.StreamResponse:
    """Keep the choice, and lead back to the page on which it was made.

    What is no theme leaves it to the system.
    """
    chosen = page.known_theme(ask.form.get("theme", ""))
    back = local_page(unquote(ask.form.get("back", "")))
    response = page.see_other(back or f"/{language}/")
    seconds = 0 if chosen == page.SYSTEM else SECONDS
    page.set_cookie(response, page.THEME_COOKIE, chosen, seconds)
    return response


ROUTES: Final = page.forms("theme", send_theme)
