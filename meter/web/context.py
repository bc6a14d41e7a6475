"""What every handler works with, and the two things that all of them do: authorise and answer."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from ledger.note import Signer
from meter import auth, store
from meter.intake import Intake
from meter.metrics import Metrics
from meter.problems import Problem


@dataclass(frozen=True, slots=True)
class Context:
    """One running service."""

    intake: Intake
    readers: store.Readers
    metrics: Metrics
    checkpoints: Signer


CONTEXT: Final = web.AppKey("context", Context)


async def authorise(request: web.Request) -> str:
    """Give the id of the authority's token that the request carries. Raises `unauthorized`."""
    token_id, digest = auth.parse_header(request.headers.get(hdrs.AUTHORIZATION, ""))
    async with store.reading(request.app[CONTEXT].readers) as connection:
        known = await store.token(connection, token_id)
    if known is None or not auth.same_digest(known[1], digest):
        raise Problem("unauthorized", "no such token")
    return token_id


def json_response(value: Any, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
