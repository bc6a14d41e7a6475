"""All lines of a list, for a file."""

from typing import Any, Final

from msgspec import Struct

from meter.api.routes import Ask, Handler, answers
from meter.values.problems import Problem

EXPORTED: Final = 1_000  # lines that are asked for at once
MAX_EXPORTED: Final = 100_000


async def everything(
    ask: Ask, handler: Handler, items: str, query: Struct, **names: str
) -> list[Any]:
    """Return the items of all pages of a list, from one snapshot. Raises `too_large`."""
    found: list[Any] = []
    async with ask.at_once() as asked:
        async for part in answers(asked, handler, query, **names):
            found += getattr(part, items)
            if part.more and len(found) >= MAX_EXPORTED:
                raise Problem("too_large", f"more than {MAX_EXPORTED} lines: choose fewer days")
    return found
