"""One of several instances that serve a ledger: it leads when its turn comes, else it copies.

    copy what the leader publishes -> take the lease -> lead -> lose the lease -> copy …

Whoever has the lease (`tables.lease`) raises the epoch and takes fronts of all machines. Where it
loses one or the other, or the database at the wrong moment, it waits for its next turn with
everything loaded anew. Its own front (`service.front`) reaches the leader as those of other
machines do.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from ledger.store import LostEpoch
from meter.host import logs
from meter.host.clock import Clock
from meter.host.cluster import leader_context
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder, database_url
from meter.host.keys import Keys
from meter.host.metrics import Metrics
from meter.host.watermark import Watermark
from meter.publish.copy import Copying
from meter.publish.folder import PATIENCE_SECONDS
from meter.service.leader import Fronts, serving_machines
from meter.service.running import Witnessing, first_end, leading, look
from meter.service.setup import Database, SetupError
from meter.tables import connections, faults
from meter.tables.faults import DatabaseFault
from meter.tables.lease import STATEMENT_SECONDS, Lease
from meter.values.problems import Problem

RETRY_SECONDS: Final = 0.5  # after a turn that ended by a fault of the database
# What ends a turn, and not the instance.
_PASSING: Final = (*faults.AWAY, LostEpoch, DatabaseFault)

_log: Final = logs.logger(__name__)


def check_cluster(folder: DataFolder, *, may_lead: bool) -> None:
    """Raise `SetupError` or `BadCertificate` for an instance that lacks what all share."""
    if database_url() is None:
        raise SetupError("no_shared_database", f"{DATABASE_VARIABLE} names the one of all machines")
    keys = [] if may_lead else folder.signing_keys
    if keys:
        names = ", ".join(each.name for each in keys)
        raise SetupError("keys_here", f"a machine that never leads must not hold {names}")
    leader_context(folder)


class Instance:
    """An instance of a cluster, in one process beside its fronts."""

    def __init__(
        self,
        folder: DataFolder,
        database: Database,
        clock: Clock,
        witnessing: Witnessing,
        metrics: Metrics,
    ) -> None:
        self._folder = folder
        self._database = database
        self._clock = clock
        self._witnessing = witnessing
        self._metrics = metrics
        self._fronts: Fronts | None = None  # while it leads

    async def copy_only(self) -> None:
        """Keep the folder in step, and never lead. Raises `LedgerError`."""
        await self._copy_until(lambda _: asyncio.Event().wait())

    async def take_turns(self, address: str) -> None:
        """Lead whenever the lease is free; `address` is HOST:PORT, where others reach it.

        Raises `SetupError`, also where a key that signs is not here, and `LedgerError` where the
        folder is of another history.
        """
        context = leader_context(self._folder)
        await self._look()
        while True:
            with _bound(address) as taking:
                host = address.rpartition(":")[0]
                lease = Lease(self._connect_shortly, f"{host}:{taking.getsockname()[1]}")
                await self._copy_until(partial(_take_once_there, lease))
                try:
                    await self._lead(lease, taking, context)
                except _PASSING as error:
                    _log.warning("turn_ended", holder=lease.holder, detail=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        """Raise `SetupError` where this instance could not lead; wait for a database that is away.

        A process that was killed may begin again in the midst of a fail-over.
        """
        while True:
            try:
                await look(self._database.address, Keys(self._folder), self._clock)
            except _PASSING as error:
                _log.warning("database_awaited", detail=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def all_metrics(self) -> bytes:
        """Return the public metrics of the leader and all fronts. Raises `Problem`."""
        if self._fronts is None:
            raise Problem("unavailable", "this instance does not lead")
        return await self._fronts.all_metrics()

    async def _copy_until(self, event: Callable[[Watermark], Awaitable[Any]]) -> None:
        """Copy what the leader publishes until something comes true. Raises `LedgerError`.

        The event is told how much the folder shows.
        """
        copying = Copying(self._folder.log, self._connect_patiently)
        waiting = asyncio.ensure_future(event(copying.published))
        work = asyncio.create_task(copying.run())
        try:
            await asyncio.wait([waiting, work], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            await end_task(waiting)
            await end_task(work)
            await copying.stop()

    async def _lead(self, lease: Lease, taking: socket.socket, context: ssl.SSLContext) -> None:
        """Lead until the turn ends, by an exception."""
        parts = (self._folder, self._database.address, self._clock, self._witnessing, self._metrics)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(lease.release)
            keeping = asyncio.create_task(lease.keep(lambda: self._fronts is not None))
            stack.push_async_callback(end_task, keeping)
            leader = await stack.enter_async_context(leading(*parts, lease.holder))
            parts_of_fronts = (leader.intake, leader.registry, leader.published, self._metrics)
            self._fronts = fronts = Fronts(*parts_of_fronts, are_here=False)
            stack.callback(self._leave_fronts)
            await stack.enter_async_context(serving_machines(fronts, taking, context))
            _log.info("leading", holder=lease.holder, epoch=leader.intake.writer.epoch)
            await first_end([*leader.tasks, keeping], self._database)

    def _leave_fronts(self) -> None:
        self._fronts = None

    async def _connect_shortly(self) -> connections.Connection:
        return await connections.connect(self._database.address, patience_seconds=STATEMENT_SECONDS)

    async def _connect_patiently(self) -> connections.Connection:
        return await connections.connect(self._database.address, patience_seconds=PATIENCE_SECONDS)


async def _take_once_there(lease: Lease, published: Watermark) -> None:
    """Take the lease, but never with a folder that shows nothing: it would prove nothing."""
    await published.beyond(0)
    await lease.take()


async def end_task(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and wait for its end, however it ends."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _bound(address: str) -> socket.socket:
    """Return a socket that nobody is taken at yet. Raises `OSError`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family, kind, proto, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(place)
    return made
