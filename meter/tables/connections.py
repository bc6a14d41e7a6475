"""Connections to PostgreSQL: the writer's, and the pool of readers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, cast

import asyncpg

from ledger import store as ledger_store
from ledger.errors import LedgerError
from ledger.queries import load
from ledger.store import UnsafeServer
from meter.host.turns import CONNECTIONS
from meter.tables import faults, sessions
from meter.tables.sessions import Address
from meter.values.problems import Problem

_SQL: Final = load("meter.tables")

Connection = asyncpg.Connection
Readers = asyncpg.Pool

# Beside the writer's connection: one for each seat of a query, and one for looking up tokens.
MAX_READERS: Final = CONNECTIONS
# Until a query is told that there is no connection for it, old or new. It needs one for its token
# and one for its answer, and its client hears of either within five seconds.
PATIENCE_SECONDS: Final = 2.0
# For one statement of a query, on a server that has gone silent.
STATEMENT_SECONDS: Final = 30.0
WRITER: Final = "kashi-writer"


class NoLedger(LedgerError):  # noqa: N818 - the name says what is wrong
    """The database holds no ledger that we may use."""

    code = "no_ledger"


async def connect(
    address: Address,
    *,
    owner: bool = False,
    writer: bool = False,
    patience_seconds: float | None = None,
) -> Connection:
    """Connect as the service, whose role may append but never change; `owner` may set up.

    A `writer` carries a name, so that the next writer can end it where it hangs. A
    statement that takes longer than `patience_seconds` raises `TimeoutError`. Raises `NoLedger`,
    and `DatabaseFault` where the server refuses us or cannot be reached.
    """
    name, role = WRITER if writer else "kashi", sessions.NO_ROLE if owner else address.roles.service
    connection = await sessions.open_session(
        address, sessions.settings_of(name, role), patience_seconds
    )
    if not owner:
        await _check_ledger(connection)
    return connection


async def _check_ledger(connection: Connection) -> None:
    try:
        found = await ledger_store.exists(connection)
    except BaseException:
        connection.terminate()
        raise
    if not found:
        await connection.close()
        raise NoLedger("the database holds no ledger: make one with kashi init")


async def time_elsewhere(connection: Connection) -> int | None:
    """Return the time on the database's host, microseconds; None where that is this host."""
    now: int | None = await connection.fetchval(_SQL["time_elsewhere"])
    return now


async def connect_readers(address: Address) -> Readers:
    """Open connections for queries."""
    settings = sessions.settings_of("kashi-read", address.roles.service)
    return await asyncpg.create_pool(
        address.dsn,
        min_size=0,
        max_size=MAX_READERS,
        command_timeout=STATEMENT_SECONDS,
        server_settings=settings,
        connection_class=_Reader,
        init=partial(sessions.check_settings, settings=settings),
    )


class _Reader(asyncpg.Connection):
    """A connection for queries, which leave nothing behind to reset."""

    def get_reset_query(self) -> str:
        return ""


@asynccontextmanager
async def reading(readers: Readers, *, snapshot: bool = True) -> AsyncIterator[Connection]:
    """Take a connection for one query, in one snapshot; a single statement needs none.

    Raises `Problem` `unavailable`.
    """
    try:
        async with _borrow(readers) as connection:
            if not snapshot:
                yield connection
                return
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection
    except (*faults.AWAY, faults.DatabaseFault, UnsafeServer) as error:
        raise Problem("unavailable", "the database is away") from error


class Probe:
    """Whether the database answers queries and takes writes; who asks at once shares the look."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._looking: asyncio.Task[bool] | None = None

    async def check(self) -> None:
        """Raise `Problem` `unavailable` unless it does."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._takes_writes())
            self._looking.add_done_callback(_heard)
        if not await asyncio.shield(self._looking):
            raise Problem("unavailable", "the database takes no writes")

    async def _takes_writes(self) -> bool:
        async with reading(self._readers, snapshot=False) as connection:
            return await ledger_store.takes_writes(connection)


def _heard(task: "asyncio.Task[bool]") -> None:
    """Take note of an outcome that nobody may have waited for."""
    if not task.cancelled():
        task.exception()


_releases: Final[set["asyncio.Task[None]"]] = set()  # held until they are done


@asynccontextmanager
async def _borrow(readers: Readers) -> AsyncIterator[Connection]:
    """Take a connection; a task gives it back, so that no response waits for that."""
    connection = await readers.acquire(timeout=PATIENCE_SECONDS)
    try:
        yield cast("Connection", connection)
    except asyncpg.InvalidSQLStatementNameError:
        connection.terminate()  # its session has lost what was prepared: no query would succeed
        raise
    finally:
        release = asyncio.create_task(_release(readers, connection))
        _releases.add(release)
        release.add_done_callback(_releases.discard)


async def _release(readers: Readers, connection: Any) -> None:
    with suppress(*faults.AWAY):  # the query has raised it already
        await readers.release(connection)
