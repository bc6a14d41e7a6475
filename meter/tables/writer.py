"""The one connection that writes a ledger, under the epoch that it holds.

Where a commit fails, or nobody knows whether it failed, the connection is given up and the ledger
taken over anew: raising the epoch waits out the old commit (its row lock), and the state is loaded
from what is stored. So an outcome is never guessed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ledger import store as ledger_store
from ledger.log import Log
from ledger.store import Inconsistent, LostEpoch
from meter.host import logs
from meter.host.metrics import Metrics
from meter.rules.entries import FLOORED_CLASSES
from meter.rules.state import State
from meter.tables import connections, load, write
from meter.tables.group import Group
from meter.tables.registry import Registry

RETRY_SECONDS: Final = 0.5  # between attempts to reach the database again

_log: Final = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The log and the state as they are stored."""

    log: Log
    state: State


class Writer:
    """Takes a ledger over, and commits group by group until another writer takes it over.

    `holder` is whose lease it begins under, empty where it waits for no turn.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[connections.Connection]],
        metrics: Metrics,
        registry: Registry,
        holder: str = "",
    ) -> None:
        self._connect = connect
        self._holder = holder
        self._metrics = metrics
        self._registry = registry
        self._confirmed = 0  # entries that were committed here
        self.connection: connections.Connection
        self.epoch: int | None = None

    async def start(self) -> Loaded:
        """Take the ledger over from whoever writes it. Raises `LedgerError`."""
        self.connection = await self._connect()
        await ledger_store.check_server(self.connection)
        return await self._load()

    async def recover(self, on_failure: Callable[[], None]) -> Loaded:
        """Connect and load anew, for as long as it takes; `on_failure` is called at each failure.

        Raises `LostEpoch` where another has taken over since, `Inconsistent`.
        """
        while True:
            with contextlib.suppress(Exception):  # it is not used again
                await self.connection.close(timeout=1)
            try:
                self.connection = await self._connect()
                return await self._load()
            except (LostEpoch, Inconsistent):
                raise
            except Exception as error:  # noqa: BLE001 - the database is not back yet
                _log.warning("not_recovered", exc_info=error)
                on_failure()
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close(timeout=5)

    async def commit(self, log: Log, state: State, group: Group) -> None:
        """Write a group whole, then the refused batches to be kept. Raises `LostEpoch`."""
        entries, epoch = log.take_group(), self.held_epoch()
        if entries.count:
            with self._metrics.commit_seconds.time():
                await write.commit(self.connection, epoch, entries, state, group.written)
            self._confirmed = log.size
            self._registry.take(log.size, group.written.registrations)
        else:  # a commit would notice; what was refused from an old state must not be told
            await ledger_store.check_epoch(self.connection, epoch)
        for signed in group.conflicts:
            await write.keep_seq_conflict(self.connection, signed)

    async def _load(self) -> Loaded:
        head = await ledger_store.take_over(self.connection, self.epoch, self._holder)
        if head.size < self._confirmed:
            detail = f"it holds {head.size} entries of {self._confirmed} that it confirmed"
            raise Inconsistent(f"the database has lost what was committed: {detail}")
        self.epoch = head.epoch
        await ledger_store.confirm(self.connection)
        log = await ledger_store.load_log(self.connection, head, FLOORED_CLASSES)
        self._confirmed = head.size
        await self._registry.at(self.connection, head.size)
        return Loaded(log, await load.load_state(self.connection, head))

    def held_epoch(self) -> int:
        """Return the epoch that it writes under."""
        assert self.epoch is not None, "start() took the ledger over"
        return self.epoch
