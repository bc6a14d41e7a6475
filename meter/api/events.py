"""GET /v1/events: what happens to a subject, as it happens (server-sent events, HTML standard 9.2).

A stream begins where `Last-Event-ID` (or `after` in the URL) says, or with the next event. At its
start and with each heartbeat it sends its place in a line `id:` alone; that makes no event, but a
client sends it back when it connects again. Entries are read from the ledger after their commit. So
a missed event is still there, and the service keeps nothing for a reader: one that does not read is
cut off, and resumes.
"""

import asyncio
import contextlib
import socket
from typing import Annotated, Final

from aiohttp import hdrs, web
from msgspec import Meta, Struct

from ledger import canon
from ledger import store as ledger_store
from meter.api.routes import EVENTS, Ask, Route
from meter.host.breath import Breath
from meter.rules.kinds.table import read_entry
from meter.rules.state import CouponId, State
from meter.tables.balances import past_balance
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.views.events import Position, Viewer, Walk, apply_to_balances
from meter.views.past import PastBalance

LAST_EVENT_ID: Final = "Last-Event-ID"
HEARTBEAT_SECONDS: Final = 15.0  # shorter than what proxies wait for; the token is checked again
WRITE_SECONDS: Final = 30.0  # for a reader to make room
SEND_BUFFER_BYTES: Final = 64 * 1024  # what the kernel holds for a reader
CHUNK_BYTES: Final = 64 * 1024  # of events, made before the reader has room for them
MAX_BALANCES: Final = 1_000  # of coupons, that a stream remembers
ENDS: Final = (ConnectionError, TimeoutError, Problem)  # of a stream


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to begin: after the event of this id, `-1` for the start of the ledger."""

    after: Annotated[str, Meta(max_length=32)] = ""


async def get_events(ask: Ask) -> web.StreamResponse:
    """Stream a subject's events until the reader leaves, its token ends, or the service stops."""
    assert ask.who is not None, "events are not public"
    context = ask.context
    walk = Walk(Viewer(ask.who.role, ask.who.subject), begin(ask))
    with context.streams.count_open(ask.reader()):
        response = await open_stream(ask)
        if ask.request.method == hdrs.METH_HEAD:
            return response
        # After any end the reader comes again with the id that it saw last.
        with contextlib.suppress(*ENDS):
            await _follow(ask, walk, response)
    return response


async def open_stream(ask: Ask) -> web.StreamResponse:
    """Begin a stream; of one that is not read, little waits in memory."""
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: EVENTS,
            hdrs.CACHE_CONTROL: "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold events back
        }
    )
    await response.prepare(ask.request)
    _bound_buffer(ask.request)
    return response


def begin(ask: Ask) -> Position:
    """Return where a stream begins. Raises `malformed`."""
    size = ask.context.registry.now.size
    event_id = ask.request.headers.get(LAST_EVENT_ID, ask.query.after)
    if not event_id:
        return Position(size)
    try:
        position = Position.after(event_id)
    except ValueError as error:
        raise Problem("malformed", str(error)) from None
    if position > Position(size):
        raise Problem("malformed", f"entry {event_id} is not there yet")
    return position


def _bound_buffer(request: web.Request) -> None:
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


async def _follow(ask: Ask, walk: Walk, response: web.StreamResponse) -> None:
    """Write events, page by page; between them, heartbeats."""
    committed, loop = ask.context.submissions.watermark, asyncio.get_running_loop()
    heartbeat_at = loop.time()
    while not committed.closed:
        if loop.time() >= heartbeat_at:
            await ask.check_still_admitted()
            await write(ask.request, response, _place(walk.position))
            heartbeat_at = loop.time() + HEARTBEAT_SECONDS
        if walk.position.entry < committed.size:
            await _write_page(ask, walk, response, committed.size)
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(heartbeat_at):
                await committed.beyond(walk.position.entry)


def _place(position: Position) -> bytes:
    """Return the line of the stream's place; within an entry the last event had it already."""
    if position.seen:
        return b":\n\n"
    return b":\nid: %d\n\n" % (position.entry - 1)


async def _write_page(ask: Ask, walk: Walk, response: web.StreamResponse, size: int) -> None:
    context = ask.context
    entries = await context.streams.page(context.readers, walk.position.entry, size, ask.turn)
    state = context.registry.now.state  # it knows all below the watermark
    missing = walk.missing(state, entries)
    if missing:
        walk.balances |= await _balances(ask, state, missing, walk.position.entry)
    waiting = bytearray()
    for entry in entries:
        for event in walk.take(state, entry):
            waiting += event.encode()
        if len(waiting) >= CHUNK_BYTES:
            await write(ask.request, response, bytes(waiting))
            waiting.clear()
    await write(ask.request, response, bytes(waiting))
    if len(walk.balances) > MAX_BALANCES:
        walk.balances.clear()


async def _balances(
    ask: Ask, state: State, coupons: set[CouponId], number: int
) -> dict[CouponId, PastBalance]:
    """Read coupons as they stood before an entry: as of its group's start, then entry by entry."""
    async with ask.reading() as connection:
        start = await ledger_store.segment_start(connection, number)
        balances = {
            coupon: await past_balance(connection, state, coupon, start)
            for coupon in sorted(coupons)
        }
        breath = Breath()
        async for place, data in ledger_store.entries(connection, start, number):
            await breath.take()  # a group may have thousands
            apply_to_balances(balances, state, place, read_entry(canon.decode(data)))
    return balances


async def write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write to a reader that takes it; cut off one that does not. Raises one of `ENDS`."""
    if not data:
        return
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise


ROUTES: Final = (
    Route(
        "GET",
        "/v1/events",
        get_events,
        "Events of the token's subject, as they happen",
        EVENTS,
        roles=(*OFFICIALS, "enterprise", "provider"),
        query=EventsQuery,
        ends_with_succession=True,
    ),
)
