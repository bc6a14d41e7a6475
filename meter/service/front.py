"""A front of a service: it does HTTP, and hands what is to be decided to the leader.

It verifies envelopes, reads batches and commands, and answers questions from committed rows. It
holds no private key and no state of its own: whatever happens to it, nothing is lost that was
answered. While the leader is away, what is posted gets 503 `unavailable`.
"""

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Protocol, cast

from ledger import store as ledger_store
from ledger.errors import LedgerError
from ledger.folder import FolderReader
from ledger.note import claimed_checkpoint
from meter.host import logs
from meter.host.clock import Clock, WatchedClock
from meter.host.data_folder import DataFolder
from meter.host.handover import (
    Connection,
    FromFront,
    FromLeader,
    MetricsAsked,
    MetricsTold,
    MetricsWanted,
    Moved,
    Outcome,
    batch_message,
    command_message,
    outcome_of,
)
from meter.host.metrics import Metrics
from meter.host.watermark import Watermark
from meter.rules.commands import Asked
from meter.rules.decide_command import CommandResponse
from meter.rules.state import StoredBatch
from meter.service.leader import BEAT_SECONDS, short_path
from meter.service.serving import Answering, answering
from meter.tables import connections
from meter.tables.registry import Registry
from meter.tables.sessions import Address
from meter.values.problems import Problem
from meter.wire.batch import SignedBatch

# From the post to its answer; a client waits as long (`meter.client`).
DEADLINE_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 5 * BEAT_SECONDS  # after which the leader takes nothing
LOOK_SECONDS: Final = 0.5  # between looks whether the leader is still the leader
CONNECT_SECONDS: Final = 2.0  # to the leader of another machine
RETRY_SECONDS: Final = 0.1  # between looks for a leader that is away
# What this front may have handed over without an answer; beyond it, it says 503 `busy`.
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
COMMAND_BYTES: Final = 4_096  # what a command counts for

_AWAY: Final = "the leader is away: send it again"

_log: Final = logs.logger(__name__)


class Way(Protocol):
    """How a front reaches the leader.

    Over one that `drops_silent`, nobody is waited for who says nothing.
    """

    drops_silent: bool

    async def connect(self, make: Callable[[], Connection]) -> str:
        """Connect; return which leader it is. Raises `OSError` or `Problem` where there is none."""
        ...

    async def leads_to(self, leader: str) -> bool:
        """Return whether this is the leader still, as far as can be learned."""
        ...


class SocketWay:
    """The way to a leader of this machine, which is whoever answers there."""

    drops_silent = False

    def __init__(self, folder: DataFolder) -> None:
        self._path = folder.leader_socket

    async def connect(self, make: Callable[[], Connection]) -> str:
        """Connect. Raises `OSError`."""
        with short_path(self._path) as name:
            await asyncio.get_running_loop().create_unix_connection(make, name)
        return ""

    async def leads_to(self, _leader: str) -> bool:
        """Return true: a process that hangs may go on."""
        return True


class ClusterWay:
    """The way to whoever has the lease, on any machine of a cluster, over TLS."""

    drops_silent = True

    def __init__(self, readers: connections.Readers, context: ssl.SSLContext) -> None:
        self._readers = readers
        self._context = context

    async def connect(self, make: Callable[[], Connection]) -> str:
        """Connect; return the holder's name. Raises `OSError` or `Problem`."""
        found = await self._holder()
        if found is None:
            raise Problem("unavailable", _AWAY)
        holder, address = found
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().create_connection(
                make, host.strip("[]"), int(port), ssl=self._context
            )
        return holder

    async def leads_to(self, leader: str) -> bool:
        """Return whether nobody else has the lease, as far as the database tells."""
        try:
            found = await self._holder()
        except Problem:
            return True
        return found is None or found[0] == leader

    async def _holder(self) -> tuple[str, str] | None:
        async with connections.reading(self._readers, snapshot=False) as connection:
            return await ledger_store.lease_holder(connection)


class Forwarding:
    """The leader, as a front sees it; it stands behind the port of `api/submit.py`."""

    hears_first = False

    def __init__(
        self, way: Way, registry: Registry, readers: connections.Readers, metrics: Metrics
    ) -> None:
        self._way = way
        self._registry = registry
        self._readers = readers
        self._metrics = metrics
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._numbers = itertools.count()
        self._questions: dict[int, asyncio.Future[Outcome]] = {}
        self._waiting_bytes = 0
        self._standing = Moved(0, 0, 0, ready=False)
        self._heard_at = 0.0
        self._clock_ahead = 0  # of ours, the leader's: nanoseconds
        self._stirred = asyncio.Event()
        self.watermark = Watermark()
        self.published = Watermark()

    # What the API sees

    @property
    def ready(self) -> bool:
        """Whether the leader can commit, as far as was heard."""
        return self._is_there() and self._standing.ready

    @property
    def is_busy(self) -> bool:
        """Whether the leader has not answered all submissions of this front."""
        return bool(self._questions)

    async def batch(self, signed: SignedBatch) -> StoredBatch:
        """Return the receipt of a verified batch once it is durable. Raises `Problem`."""
        number, deadline = next(self._numbers), self._deadline()
        message = batch_message(number, deadline, signed)
        return cast("StoredBatch", await self._ask(number, message, len(signed.envelope)))

    async def command(self, command: Asked, by: str, request: str | None) -> CommandResponse:
        """Return the answer to the authority's command once it is durable. Raises `Problem`."""
        number, deadline = next(self._numbers), self._deadline()
        message = command_message(number, deadline, command, by, request)
        return cast("CommandResponse", await self._ask(number, message, COMMAND_BYTES))

    async def all_metrics(self) -> bytes:
        """Return the public metrics of the leader and its fronts. Raises `Problem`."""
        number, deadline = next(self._numbers), self._deadline()
        answer = await self._ask(number, MetricsWanted(number, deadline), COMMAND_BYTES)
        return cast("CommandResponse", answer).body

    async def _ask(self, number: int, message: FromFront, size_bytes: int) -> Outcome:
        connection = self._connection
        if connection is None or not self._is_there():
            raise Problem("unavailable", _AWAY)
        held = max(self._waiting_bytes, connection.unsent_bytes)
        if held + size_bytes > MAX_WAITING_BYTES:
            raise Problem("busy", f"{held} bytes wait for the leader already")
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        self._waiting_bytes += size_bytes
        connection.say(message)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                outcome = await answer
        except TimeoutError:
            raise Problem("unavailable", "the leader did not answer in time") from None
        finally:
            del self._questions[number]
            self._waiting_bytes -= size_bytes
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def _deadline(self) -> int:
        return time.monotonic_ns() + round(DEADLINE_SECONDS * 1e9) + self._clock_ahead

    def _is_there(self) -> bool:
        silent = time.monotonic() - self._heard_at
        return self._connection is not None and silent < SILENT_SECONDS

    # What the leader says

    def heard(self, message: FromLeader) -> None:
        """Take a message. Raises `BadMessage`."""
        self._heard_at = time.monotonic()
        if isinstance(message, Moved):
            self._standing = message
            if message.clock:  # the least delayed message is the nearest to the truth
                ahead = message.clock - time.monotonic_ns()
                self._clock_ahead = max(self._clock_ahead or ahead, ahead)
            self._stirred.set()
        elif isinstance(message, MetricsAsked):
            self._say(MetricsTold(self._metrics.text()))
        else:
            self._settle(message.number, outcome_of(message))

    def _settle(self, number: int, outcome: Outcome) -> None:
        """Answer a question; nobody may wait for it any more."""
        question = self._questions.get(number)
        if question is not None and not question.done():
            question.set_result(outcome)

    def _say(self, message: FromFront) -> None:
        assert self._connection is not None, "what was heard came over it"
        self._connection.say(message)

    def lost(self) -> None:
        """Tell all who wait that the leader has gone: nobody knows what became of their posts."""
        fault = "" if self._connection is None else self._connection.fault
        self._connection = None
        _log.warning("leader_lost", waiting=len(self._questions), detail=fault)
        for number in list(self._questions):
            self._settle(number, Problem("unavailable", _AWAY))
        self._lost.set()

    # The tasks of a front

    async def stay_connected(self) -> None:
        """Find the leader, and each that follows it."""
        while True:
            self._lost.clear()
            try:
                leader = await self._way.connect(lambda: Connection(FromLeader, self._meet))
            except (OSError, Problem):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._until_lost(leader)

    async def _until_lost(self, leader: str) -> None:
        """Wait for the end of a connection, and end it where it leads to the leader no more."""
        lost = asyncio.create_task(self._lost.wait())
        while not lost.done():
            await asyncio.wait([lost], timeout=LOOK_SECONDS)
            connection = self._connection  # which may be lost while the database is asked
            if connection is not None and await self._is_to_be_left(leader):
                connection.end()
                await lost

    async def _is_to_be_left(self, leader: str) -> bool:
        if self._way.drops_silent and not self._is_there():
            return True
        return not await self._way.leads_to(leader)

    def _meet(self, connection: Connection) -> "Forwarding":
        self._connection = connection
        self._clock_ahead = 0
        self._heard_at = time.monotonic()
        _log.info("leader_found")
        return self

    async def follow(self) -> None:
        """Move the watermarks as the leader tells, once this process knows what is registered."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            told = self._standing
            try:
                await self._learn(told)
            except Problem:  # the database is away
                self._stirred.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if told.size > self.watermark.size:
                self.watermark.move(told.size)
            if told.published > self.published.size:
                self.published.move(told.published)

    async def _learn(self, told: Moved) -> None:
        """Know the registrations of the first entries, as many as the ledger has."""
        if told.registered <= self._registry.newest + 1:
            self._registry.take(told.size, [])
            return
        async with connections.reading(self._readers, snapshot=False) as connection:
            await self._registry.at(connection, told.size)


async def follow_folder(log: Path, published: Watermark) -> None:
    """Move a watermark with the checkpoint that this machine's folder shows."""
    while True:
        with contextlib.suppress(OSError, LedgerError):  # there is none yet
            note = await asyncio.to_thread(FolderReader(log).checkpoint)
            size = claimed_checkpoint(note).size
            if size > published.size:
                published.move(size)
        await asyncio.sleep(RETRY_SECONDS)


@contextlib.asynccontextmanager
async def fronting(  # noqa: PLR0913, PLR0917 - one argument for each part
    folder: DataFolder,
    address: Address,
    clock: Clock,
    host: str,
    port: int,
    cluster: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[str, WatchedClock]]:
    """Serve as a front at a shared port; yield its URL and its clock.

    With `cluster`, the leader may be on any machine, and the folder is this machine's copy.
    """
    metrics, registry, watched = Metrics(), Registry(), WatchedClock(clock)
    async with contextlib.AsyncExitStack() as stack:
        readers = await connections.connect_readers(address)
        stack.push_async_callback(readers.close)
        way = SocketWay(folder) if cluster is None else ClusterWay(readers, cluster)
        leader = Forwarding(way, registry, readers, metrics)
        published = leader.published if cluster is None else Watermark()
        works = [leader.stay_connected(), leader.follow()]
        if cluster is not None:
            works.append(follow_folder(folder.log, published))
        for work in works:
            stack.callback(asyncio.create_task(work).cancel)
        parts = Answering(
            folder=folder,
            readers=readers,
            submissions=leader,
            registry=registry,
            published=published,
            clock=watched,
            metrics=metrics,
            all_metrics=leader.all_metrics,
        )
        url = await stack.enter_async_context(answering(parts, host, port, shared=True))
        yield url, watched
