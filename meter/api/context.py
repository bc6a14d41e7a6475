"""What every handler works with, and who it is that asks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from meter.api.streams import Streams
from meter.host.keys import Keys
from meter.host.metrics import Metrics
from meter.host.tokens import Identity, parse_header
from meter.host.watermark import Committed
from meter.intake import Intake
from meter.tables import connections, tokens
from meter.values.problems import Problem


@dataclass(frozen=True, slots=True)
class Context:
    """One running service; `clock` gives microseconds since 1970 UTC."""

    intake: Intake
    readers: connections.Readers
    metrics: Metrics
    keys: Keys
    log_folder: Path
    published: Committed
    clock: Callable[[], int]
    streams: Streams


CONTEXT: Final = web.AppKey("context", Context)


async def authenticate(request: web.Request) -> Identity:
    """Give whom the request's token stands for. Raises `unauthorized`."""
    context = request.app[CONTEXT]
    token_id, digest = parse_header(request.headers.get(hdrs.AUTHORIZATION, ""))
    async with connections.reading(context.readers, snapshot=False) as connection:
        known = await tokens.token(connection, token_id)
    if known is None or not known.admits(digest, context.clock()):
        raise Problem("unauthorized", "no such token, or no longer")
    return known.identity
