"""A front of a service: it does HTTP, and hands what is to be decided to the leader.

It verifies envelopes, reads batches and commands, and answers questions from committed rows. It
holds no private key and no state of its own: whatever happens to it, nothing is lost that was
answered. While the leader is away, what is posted gets 503 `unavailable`.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from typing import Final, cast

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
RETRY_SECONDS: Final = 0.1  # between looks for a leader that is away
# What this front may have handed over without an answer; beyond it, it says 503 `busy`.
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
COMMAND_BYTES: Final = 4_096  # what a command counts for

_AWAY: Final = "the leader is away: send it again"

_log: Final = logs.logger(__name__)


class Forwarding:
    """The leader, as a front sees it; it stands behind the port of `api/submit.py`."""

    hears_first = False

    def __init__(
        self, folder: DataFolder, registry: Registry, readers: connections.Readers, metrics: Metrics
    ) -> None:
        self._path = folder.leader_socket
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
        self._stirred = asyncio.Event()
        self.watermark = Watermark()
        self.published = Watermark()

    # What the API sees

    @property
    def ready(self) -> bool:
        """Whether the leader can commit, as far as was heard."""
        return self._is_there() and self._standing.ready

    async def batch(self, signed: SignedBatch) -> StoredBatch:
        """Return the receipt of a verified batch once it is durable. Raises `Problem`."""
        number, deadline = next(self._numbers), _deadline()
        message = batch_message(number, deadline, signed)
        return cast("StoredBatch", await self._ask(number, message, len(signed.envelope)))

    async def command(self, command: Asked, by: str, request: str | None) -> CommandResponse:
        """Return the answer to the authority's command once it is durable. Raises `Problem`."""
        number, deadline = next(self._numbers), _deadline()
        message = command_message(number, deadline, command, by, request)
        return cast("CommandResponse", await self._ask(number, message, COMMAND_BYTES))

    async def all_metrics(self) -> bytes:
        """Return the public metrics of the leader and its fronts. Raises `Problem`."""
        number, deadline = next(self._numbers), _deadline()
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

    def _is_there(self) -> bool:
        silent = time.monotonic() - self._heard_at
        return self._connection is not None and silent < SILENT_SECONDS

    # What the leader says

    def heard(self, message: FromLeader) -> None:
        """Take a message. Raises `BadMessage`."""
        self._heard_at = time.monotonic()
        if isinstance(message, Moved):
            self._standing = message
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
        loop = asyncio.get_running_loop()
        while True:
            self._lost.clear()
            try:
                with short_path(self._path) as name:
                    await loop.create_unix_connection(
                        lambda: Connection(FromLeader, self._meet), name
                    )
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._lost.wait()

    def _meet(self, connection: Connection) -> "Forwarding":
        self._connection = connection
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


def _deadline() -> int:
    return time.monotonic_ns() + round(DEADLINE_SECONDS * 1e9)


@contextlib.asynccontextmanager
async def fronting(
    folder: DataFolder, address: Address, clock: Clock, host: str, port: int
) -> AsyncIterator[tuple[str, WatchedClock]]:
    """Serve as a front at a shared port; yield its URL and its clock."""
    metrics, registry, watched = Metrics(), Registry(), WatchedClock(clock)
    async with contextlib.AsyncExitStack() as stack:
        readers = await connections.connect_readers(address)
        stack.push_async_callback(readers.close)
        leader = Forwarding(folder, registry, readers, metrics)
        for work in (leader.stay_connected(), leader.follow()):
            stack.callback(asyncio.create_task(work).cancel)
        parts = Answering(
            *(folder, readers, leader, registry, leader.published, watched),
            *(metrics, leader.all_metrics),
        )
        url = await stack.enter_async_context(answering(parts, host, port, shared=True))
        yield url, watched
