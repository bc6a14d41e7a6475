"""The lease of a leader: which of several instances may take a ledger over, and until when.

One row of the database says who has it, by the database's clock. It is renewed each second. Where
that ends, another instance takes it, and then raises the epoch. The lease keeps instances from
taking over from one another all the time; what may be committed, the epoch alone decides. So a
leader that was stopped past its lease does no harm when it wakes.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ledger import store as ledger_store
from ledger.errors import LedgerError
from ledger.store import LostEpoch
from meter.host import logs
from meter.tables import faults
from meter.tables.connections import Connection

LEASE_SECONDS: Final = 3.0
RENEW_SECONDS: Final = 1.0
# Of the first one: while a state is loaded, nothing may be renewed for a while.
LOADING_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.25  # between looks at a lease that another has
STATEMENT_SECONDS: Final = 1.0  # on a server that has gone silent
RENEWAL_SECONDS: Final = 1.5  # for one attempt to renew, with a new connection if need be
TAKING_SECONDS: Final = 30.0  # for one attempt to take, which may try several hosts

_AWAY: Final = (*faults.DRIVER, OSError, LedgerError)

_log: Final = logs.logger(__name__)


class Lease:
    """One turn of an instance as leader: it is taken once, and kept until another has it.

    `address` is where it is reached as leader, HOST:PORT. `connect` opens a connection whose
    statements take a second at most.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], address: str) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self.address = address
        self.holder = f"{address}/{secrets.token_hex(8)}"

    async def take(self) -> None:
        """Wait until the lease is ours, for as long as it takes."""
        while not await self._try(self._take, TAKING_SECONDS):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        _log.info("lease_taken", holder=self.holder)

    async def keep(self, is_loaded: Callable[[], bool]) -> None:
        """Renew the lease each second.

        Raises `LostEpoch` once another has it, or where the database is away for so long that
        another may have it.
        """
        renewed_at = time.monotonic()
        while True:
            began = time.monotonic()
            if await self._try(
                lambda connection: self._renew(connection, is_loaded()), RENEWAL_SECONDS
            ):
                renewed_at = began
                await asyncio.sleep(RENEW_SECONDS)
                continue
            if time.monotonic() - renewed_at > LEASE_SECONDS:
                raise LostEpoch("the lease could not be renewed")
            await asyncio.sleep(LOOK_SECONDS)

    async def release(self) -> None:
        """Give the lease back, so that nobody waits for its end."""
        self._leave_connection()  # on which a renewal may have been cancelled
        await self._try(self._release, RENEWAL_SECONDS)
        self._leave_connection()

    async def _take(self, connection: Connection) -> bool:
        return await ledger_store.take_lease(connection, self.holder, self.address, LOADING_SECONDS)

    async def _renew(self, connection: Connection, is_loaded: bool) -> bool:
        await ledger_store.renew_lease(
            connection, self.holder, LEASE_SECONDS, may_shorten=is_loaded
        )
        return True

    async def _release(self, connection: Connection) -> bool:
        await ledger_store.release_lease(connection, self.holder)
        return True

    async def _try(
        self, ask: Callable[[Connection], Awaitable[bool]], limit_seconds: float
    ) -> bool:
        """Ask the database, and return no where it is away. Raises `LostEpoch`."""
        try:
            async with asyncio.timeout(limit_seconds):
                if self._connection is None:
                    self._connection = await self._connect()
                return await ask(self._connection)
        except LostEpoch:
            raise
        except _AWAY as error:
            detail = f"{type(error).__name__} {error}".strip()
            _log.warning("lease_unknown", holder=self.holder, detail=detail)
            self._leave_connection()
            return False

    def _leave_connection(self) -> None:
        """End the connection without a word, which nobody may be there to hear."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
