"""Clients that hold a connection and do not behave: slow, silent, deaf, or gone halfway.

They speak HTTP by hand. All that they post was answered before, so their answer must be the stored
receipt, and half a body must change nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.faults.clients import Kept
from tests.faults.processes import PATIENCE_SECONDS, Stuck

EACH = 16  # of every kind
DRIP_BYTES = 30  # of the body, kept back to be sent one by one
DRIP_SECONDS = 1.0
DEAF_REQUESTS = 400  # for some 100 kB each, more than any buffer on the way holds

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def crowd(port: int, kept: list[Kept], over: asyncio.Event) -> AsyncIterator[list[str]]:
    """Hold bad connections while the body runs, then let the slow ones finish.

    `over` is set when the others are done. Yields a list of complaints, complete after the end.
    """
    complaints: list[str] = []
    sent = (kept * EACH)[:EACH]
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> Connection:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.transport.abort)
            return reader, writer

        for _ in range(EACH):
            await connect()  # says nothing, ever
        for _ in range(EACH):
            _be_deaf(await connect())
        halves = [await _go_halfway(await connect(), each) for each in sent]
        slow = [asyncio.create_task(_drip(await connect(), each, over)) for each in sent]
        yield complaints
        async with asyncio.timeout(PATIENCE_SECONDS):
            complaints += [text for text in await asyncio.gather(*slow, *halves) if text]


def _be_deaf(connection: Connection) -> None:
    """Ask for much and read nothing."""
    _, writer = connection
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: kashi\r\n\r\n" * DEAF_REQUESTS)


async def _go_halfway(connection: Connection, kept: Kept) -> asyncio.Task[str]:
    """Send half a body and end it."""
    reader, writer = connection
    body = kept.post.envelope
    writer.write(_head(body) + body[: len(body) // 2])
    writer.write_eof()
    return asyncio.create_task(_no_receipt(reader))


async def _no_receipt(reader: asyncio.StreamReader) -> str:
    answer = await reader.read()
    return "half a body got a receipt" if answer.startswith(b"HTTP/1.1 200") else ""


async def _drip(connection: Connection, kept: Kept, over: asyncio.Event) -> str:
    """Send the last bytes one a second until the others are done, then the rest."""
    reader, writer = connection
    body = kept.post.envelope
    writer.write(_head(body) + body[:-DRIP_BYTES])
    rest = body[-DRIP_BYTES:]
    while len(rest) > 1 and not over.is_set():
        writer.write(rest[:1])
        rest = rest[1:]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), DRIP_SECONDS)
    if not over.is_set():
        raise Stuck("the others were not served while some were slow")
    writer.write(rest)
    answer = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(len(kept.body))
    good = answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n" + kept.body)
    return "" if good else f"a slow client got {answer[:200]!r}"


def _head(body: bytes) -> bytes:
    return b"POST /v1/usage HTTP/1.1\r\nHost: kashi\r\nContent-Length: %d\r\n\r\n" % len(body)
