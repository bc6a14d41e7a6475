"""The parts that each handler works with, and who stands behind a request.

The API takes bearer tokens only, pages and forms the cookie of a session only.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web

from ledger import store as ledger_store
from ledger.store import Head
from meter.api.pulse import Pulse
from meter.api.streams import Streams
from meter.api.submit import Submissions
from meter.host.clock import WatchedClock
from meter.host.kept import Kept
from meter.host.metrics import Metrics
from meter.host.sign_in import COOKIE, Session
from meter.host.tokens import Identity, parse_header
from meter.host.turns import Spare, Turns
from meter.host.watermark import Watermark
from meter.tables import connections, tokens
from meter.tables.access_log import AccessLog
from meter.tables.alerts import AlertBook
from meter.tables.days import DaysOfUse
from meter.tables.registry import Registered, Registry
from meter.tables.sign_ins import SignIns
from meter.tables.token_use import TokenUse
from meter.values.problems import Problem

# Returns the metrics of all processes of a service, in the text format.
AllMetrics = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Context:
    """One running service, or a front of one."""

    submissions: Submissions
    registry: Registry
    readers: connections.Readers
    probe: connections.Probe
    metrics: Metrics
    all_metrics: AllMetrics
    log_folder: Path
    published: Watermark
    clock: WatchedClock
    streams: Streams
    token_use: TokenUse
    access_log: AccessLog
    sign_ins: SignIns
    cursor_key: bytes
    alerts: AlertBook
    turns: Turns = field(default_factory=Turns)
    days: DaysOfUse = field(default_factory=DaysOfUse)
    spare: Spare = field(default_factory=Spare)
    pulse: Pulse = field(default_factory=Pulse)
    kept: Kept[Any] = field(default_factory=Kept)  # what pages say

    async def snapshot(self, connection: connections.Connection) -> tuple[Head, Registered]:
        """Return the head that a connection's snapshot sees, and what is registered by then."""
        head = await ledger_store.head(connection)
        return head, await self.registry.at(connection, head.size)

    async def catch_up(self) -> None:
        """Know all that is committed by now, whoever was told of it. Raises `unavailable`."""
        if not self.submissions.hears_first:
            async with connections.reading(self.readers, snapshot=False) as connection:
                await self.snapshot(connection)

    def last_successor(self, uscc: str) -> str:
        """Return who stands in an enterprise's place by the last commit; else itself."""
        return self.registry.now.state.last_successor(uscc)

    def has_person(self, who: Identity) -> bool:
        """Return whether the ledger knows who stands behind a token of the authority."""
        people = self.registry.now.state.people
        return who.role != "authority" or people.person_of(who.token_id) is not None


CONTEXT: Final = web.AppKey("context", Context)
PART: Final = "part"  # in a page's query: only this part of it


async def authenticate(context: Context, request: web.Request) -> Identity:
    """Return the identity of the request's token. Raises `unauthorized`."""
    token_id, digest = parse_header(request.headers.get(hdrs.AUTHORIZATION, ""))
    async with connections.reading(context.readers, snapshot=False) as connection:
        known = await tokens.token(connection, token_id)
        if not context.submissions.hears_first:
            await context.snapshot(connection)
    now = context.clock.counted()
    if known is None or not known.admits(digest, now) or not context.has_person(known.identity):
        raise Problem("unauthorized", "no such token, or it is no longer valid")
    context.token_use.note(token_id, now)
    return known.identity


async def session_of(request: web.Request, *, is_used: bool) -> Session | None:
    """Return the session of the request's cookie, while its person may be signed in."""
    context = request.app[CONTEXT]
    secret, now = request.cookies.get(COOKIE, ""), context.clock.counted()
    session = await context.sign_ins.session(secret, now, is_used=is_used)
    if session is not None:
        await context.catch_up()
    return session if session is not None and context.has_person(session.who) else None
