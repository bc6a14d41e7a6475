"""The lease of a leader: which of several instances may take a ledger over, and until when.

One row of the database says who has it, by the database's clock. It is renewed each second. Where
that ends, another instance takes it, and then raises the epoch. The lease keeps instances from
taking over from one another all the time; what may be committed, the epoch alone decides. So a
leader that was stopped past its lease does no harm when it wakes.
"""

import asyncio
import contextlib
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
        while not await self._try(self._take):  # noqa: ASYNC110 - the database tells nobody
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
            if await self._try(lambda connection: self._renew(connection, is_loaded())):
                renewed_at = began
            elif time.monotonic() - renewed_at > LEASE_SECONDS:
                raise LostEpoch("the lease could not be renewed")
            await asyncio.sleep(RENEW_SECONDS)

    async def release(self) -> None:
        """Give the lease back, so that nobody waits for its end."""
        await self._try(self._release)
        await self._close()

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

    async def _try(self, ask: Callable[[Connection], Awaitable[bool]]) -> bool:
        """Ask the database, and return no where it is away. Raises `LostEpoch`."""
        try:
            if self._connection is None:
                self._connection = await self._connect()
            return await ask(self._connection)
        except LostEpoch:
            raise
        except _AWAY as error:
            _log.warning("lease_unknown", holder=self.holder, detail=str(error))
            await self._close()
            return False

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is not used again
                await connection.close(timeout=1)
