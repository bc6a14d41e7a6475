"""Who asked what: counted by minute in memory, written about once a minute, and never changed.

A question waits for nothing of this. A stop writes what was counted; a process that is killed loses
what it counted since it wrote last, a minute's at most while the database takes it. Where nobody
knows whether a commit succeeded, its rows are written again, and count twice.

A day that is over is closed, and its rows are those of its digest for ever (`close_days`). A row
that comes later belongs to the next day.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import asyncpg
from msgspec import structs

from ledger import canon
from ledger.queries import load
from meter.host import logs
from meter.rules.entries import AccessDigested
from meter.rules.kinds.table import read_entry
from meter.tables.connections import Connection, Readers, reading
from meter.tables.faults import told
from meter.tables.pages import Page
from meter.values.problems import Problem
from meter.values.units import day_of, parse_date
from meter.wire.access_log import Access, DayDigest, day_of_access

PAUSE_SECONDS: Final = 60.0
_PREFETCH: Final = 1_000  # rows that are read at once
MAX_COUNTED: Final = 10_000  # rows in memory, a few MB; then they are written at once
MAX_READ: Final = 100_000  # rows for one page, whatever is sought: some tenth of a second
# Rows of one token and minute that say what they are about. Rows are kept for months, so whoever
# asks without end must not fill the disk with them.
MAX_ABOUT: Final = 1_000
MANY: Final = ("*",)  # what all further ones of that minute are about

_SQL: Final = load("meter.tables", "access_log.sql")
_log: Final = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Sought:
    """Which rows are asked for: of days, half-open; empty texts leave nothing out."""

    starts: int
    ends: int
    token: str = ""
    person: str = ""
    subject: str = ""
    route: str = ""


class AccessLog:
    """The questions that one process was asked since it wrote last."""

    def __init__(self, connections: Readers) -> None:
        self._connections = connections
        self._counted: Counter[Access] = Counter()
        self._minute = -1
        self._about: Counter[str] = Counter()  # rows of the minute by token
        self._due = asyncio.Event()
        self._ends = False

    def note(self, access: Access) -> None:
        """Count a question."""
        self._counted[self._kept(access)] += 1
        if len(self._counted) >= MAX_COUNTED:
            self._due.set()

    def _kept(self, access: Access) -> Access:
        """Return the row of a question; of a token with too many it does not say about what."""
        if access.at != self._minute:
            self._minute, self._about = access.at, Counter()
        if access in self._counted:
            return access
        self._about[access.token] += 1
        if self._about[access.token] <= MAX_ABOUT:
            return access
        return structs.replace(access, subjects=MANY)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write minute by minute, and at the end what is left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._ends = True
            self._due.set()
            await task
            if self._counted:
                _log.error("access_log_lost", rows=len(self._counted))

    async def _run(self) -> None:
        while not self._ends:
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._due.wait()
            self._due.clear()
            await self._write()
        await self._write()  # what was counted during the last one

    async def _write(self) -> None:
        """Write what was counted; what cannot be written waits for the next time."""
        counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            async with reading(self._connections, snapshot=False) as connection:
                await _add(connection, counted)
        except (Problem, asyncpg.PostgresError) as error:
            _log.warning("access_log_not_written", exc_info=error)
            self._counted.update(counted)


async def _add(connection: Connection, counted: Counter[Access]) -> None:
    rows = [
        (
            day_of_access(each.at),
            each.at,
            each.token,
            each.person,
            each.role,
            each.route,
            " ".join(each.subjects),  # none holds a space
            count,
        )
        for each, count in counted.items()
    ]
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(_SQL["lock_open_days"])
        await connection.execute(_SQL["add_accesses"], *map(list, zip(*rows, strict=True)))


async def close_days(connection: Connection, last: int) -> None:
    """Close the days until one: who adds rows has ended, or adds them to a later day.

    Raises `DatabaseFault`.
    """
    with told():
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(_SQL["lock_all_days"])
            await connection.execute(_SQL["close_access_day"], last)


async def closed_day(connection: Connection) -> tuple[int, DayDigest] | None:
    """Return the first closed day that has rows and no digest, with their digest.

    The rows of one minute are in memory at a time. Raises `DatabaseFault`.
    """
    with told():
        day = await connection.fetchval(_SQL["next_closed_day"], await _last_day(connection))
        if day is None:
            return None
        digest, minute = DayDigest(), list[Access]()
        async for row in connection.cursor(_SQL["accesses_of_day"], day, prefetch=_PREFETCH):
            access = _access(row)
            if minute and access.at != minute[0].at:
                await asyncio.to_thread(digest.add, minute)
                minute = []
            minute.append(access)
        digest.add(minute)
        return day, digest


async def _last_day(connection: Connection) -> int:
    """Return the last day whose digest is an entry, -1 while there is none."""
    return max(await _newest_digests(connection, 1), default=-1)


async def digests(
    connection: Connection, day: int, last_at: int
) -> dict[int, tuple[int, AccessDigested]]:
    """Return digests by day with the numbers of their entries, from a day on.

    `last_at` is when the newest entry was made, in microseconds.
    """
    return await _newest_digests(connection, max(1, day_of_access(last_at) - day))


async def _newest_digests(
    connection: Connection, count: int
) -> dict[int, tuple[int, AccessDigested]]:
    found = {}
    for number, data in await connection.fetch(_SQL["newest_access_digests"], count):
        entry = read_entry(canon.decode(data))
        assert isinstance(entry, AccessDigested), "it is stored under its kind"
        found[day_of(parse_date(entry.day))] = number, entry
    return found


Place = tuple[int, int, int]  # day, `at` and number of a row


async def accesses(
    connection: Connection, sought: Sought, after: Place, limit: int
) -> tuple[Page[tuple[Place, Access]], Place]:
    """Return rows after a place, by day, in the order of their minutes, and how far was read.

    What is sought may be rare, so a page may have few of them, or none, and more follow.
    """
    asked = (sought.starts, sought.ends, sought.token, sought.person, sought.subject, sought.route)
    rows = await connection.fetch(_SQL["accesses"], *asked, *after, limit + 1, MAX_READ)
    found = [(_place(row), _access(row)) for row in rows if row["is_sought"]]
    if len(found) > limit:
        return Page(found[:limit], more=True), found[limit - 1][0]
    more = bool(rows) and rows[-1]["is_last"]
    return Page(found, more), _place(rows[-1]) if rows else after


def _place(row: asyncpg.Record) -> Place:
    return row["day"], row["at"], row["number"]


async def all_accesses(
    connection: Connection, sought: Sought
) -> AsyncGenerator[list[tuple[Place, Access]]]:
    """Yield the rows that are asked for, part by part, all as they stand now."""
    after: Place = (0, 0, 0)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        while True:
            page, after = await accesses(connection, sought, after, _PREFETCH)
            yield page.items
            if not page.more:
                return


async def prune(connection: Connection, day: int) -> int:
    """Delete the rows of the days before one, as the owner; return how many there were.

    Days without a digest stay. Raises `asyncpg.PostgresError` where the database keeps them yet.
    """
    done = await connection.execute(_SQL["prune_accesses"], day, await _last_day(connection))
    return int(done.rpartition(" ")[2])


def _access(row: asyncpg.Record) -> Access:
    fields = {name: row[name] for name in Access.__struct_fields__}
    return Access(**fields | {"subjects": tuple(row["subjects"])})
