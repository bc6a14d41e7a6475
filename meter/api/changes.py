"""GET /events: that something changed, for whoever has a page open (server-sent events).

    id: 41
    data: {"entries":42}

The page then fetches its own figures. Entries are not read for it: the index of segments knows
whom each concerns. One look a second at most is made for all streams together, so what is committed
within it is told once. A stream begins where `Last-Event-ID` says, or with the next commit.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import hdrs, web
from msgspec import UNSET

from meter.api import events
from meter.api.pulse import Change
from meter.api.routes import Ask
from meter.host.tokens import Identity
from meter.rules.state import State


async def get_changes(ask: Ask) -> web.StreamResponse:
    """Tell of changes until the reader leaves, its session ends, or the service stops."""
    assert ask.who is not None, "what changes is not public"
    seen = events.begin(ask).entry
    subjects = _subjects(ask.context.registry.now.state, ask.who)
    with ask.context.streams.count_open(ask.reader()), ask.context.pulse.following(subjects):
        response = await events.open_stream(ask)
        if ask.request.method == hdrs.METH_HEAD:
            return response
        # After any end the reader comes again with the id that it saw last.
        with contextlib.suppress(*events.ENDS):
            await _follow(ask, ask.who, seen, response)
    return response


def _subjects(state: State, who: Identity) -> frozenset[str]:
    """Return under what the index has what concerns a reader; for an official that is all."""
    match who.role:
        case "enterprise":
            return frozenset(_subjects_of_firm(state, who.subject))
        case "provider":
            return frozenset({f"provider:{who.subject}"})
        case _:
            return frozenset()


def _subjects_of_firm(state: State, uscc: str) -> Iterator[str]:
    """Yield a firm, whomever it succeeded, and the projects that it has an award for."""
    for each in state.firm_of(uscc):
        yield f"enterprise:{each}"
        enterprise = state.enterprises.get(each)  # a person may come before the firm
        for award in () if enterprise is None else enterprise.awards:
            if award.made.project is not UNSET:
                yield f"project:{award.made.project}"


async def _follow(ask: Ask, who: Identity, seen: int, response: web.StreamResponse) -> None:
    """Write that something changed beyond the first `seen` entries; between, heartbeats."""
    committed, loop = ask.context.submissions.watermark, asyncio.get_running_loop()
    heartbeat_at = loop.time()
    while not committed.closed:
        if loop.time() >= heartbeat_at:
            await ask.check_still_admitted()
            await events.write(ask.request, response, b":\nid: %d\n\n" % (seen - 1))
            heartbeat_at = loop.time() + events.HEARTBEAT_SECONDS
        change = await _next(ask, seen, heartbeat_at)
        if change is None:
            continue
        # With what the firm has by now: what is not looked for yet is told.
        if change.concerns(_subjects(ask.context.registry.now.state, who), seen):
            line = b'id: %d\ndata: {"entries":%d}\n\n' % (change.size - 1, change.size)
            await events.write(ask.request, response, line)
        seen = max(seen, change.size)


async def _next(ask: Ask, seen: int, until: float) -> Change | None:
    """Wait for a look beyond the first `seen` entries, or until a time of the loop's clock."""
    context = ask.context
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            return await context.pulse.beyond(context.readers, context.submissions.watermark, seen)
    return None
