"""The public page: what is set aside and issued, and how the ledger is verified."""

from typing import Final

from aiohttp import web

from meter.api.get_provider import get_receipt_key
from meter.api.get_public import get_public
from meter.api.routes import Ask
from meter.console import page, view
from meter.console.formats import Language, date
from meter.console.paper import newest_checkpoint


async def show_public(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what is set aside and issued, and how the ledger is verified."""
    totals, receipt_key = await get_public(ask), await get_receipt_key(ask)
    return page.show(
        ask,
        "public.html",
        language,
        programmes=view.programmes(totals, language),
        before=date(totals.before, language),
        ledger=await newest_checkpoint(ask),
        keys=ask.context.registry.now.log_keys(),
        receipt_key=receipt_key,
        base=page.site_of(ask),
    )


ROUTES: Final = page.pages("", show_public)
