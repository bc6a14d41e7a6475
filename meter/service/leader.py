"""The leader's side of its fronts: it takes what they verified, and tells them what is durable.

    async with serving_fronts(folder, intake, published, metrics) as fronts:
        ...

What a front hands over counts as verified. So a front is a process of the same account, for only
the folder's owner can reach the socket; or, with `serving_machines`, it has a certificate of the
same cluster (`host/cluster.py`). The messages are in `host/handover.py`.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from meter.host import logs
from meter.host.data_folder import DataFolder
from meter.host.handover import (
    BatchMessage,
    CommandMessage,
    Connection,
    FromFront,
    FromLeader,
    MetricsAsked,
    MetricsTold,
    MetricsWanted,
    Moved,
    Outcome,
    command_of,
    outcome_message,
    signed_batch,
)
from meter.host.merged_metrics import counted, merged
from meter.host.metrics import Metrics
from meter.host.watermark import Watermark
from meter.intake import Intake
from meter.rules.decide_command import CommandResponse
from meter.tables.registry import Registry
from meter.values.problems import Problem

BEAT_SECONDS: Final = 1.0  # a front that hears nothing for some of these takes no posts
HANDSHAKE_SECONDS: Final = 2.0
METRICS_SECONDS: Final = 1.0  # for a front to tell its metrics; else its last ones count
# Answers that a front does not take. One that hangs would have the leader swell.
MAX_UNTAKEN_BYTES: Final = 64 * 1024 * 1024

_log: Final = logs.logger(__name__)


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a path of a file that the system takes as a socket's name, of 107 bytes at most."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def serving_fronts(
    folder: DataFolder, intake: Intake, registry: Registry, published: Watermark, metrics: Metrics
) -> AsyncIterator["Fronts"]:
    """Take fronts at the socket of a data folder."""
    fronts, place = Fronts(intake, registry, published, metrics), folder.leader_socket
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: Connection(FromFront, fronts.meet), sock=_bound(place)
    )
    ours = place.stat().st_ino
    try:
        async with _served(fronts, server):
            yield fronts
    finally:
        with contextlib.suppress(FileNotFoundError):
            if place.stat().st_ino == ours:  # and not that of a leader that came after us
                place.unlink()


@contextlib.asynccontextmanager
async def serving_machines(
    fronts: "Fronts", bound: socket.socket, context: ssl.SSLContext
) -> AsyncIterator[None]:
    """Take fronts of all machines of a cluster at a bound socket, over TLS."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(FromFront, fronts.meet),
        sock=bound,
        ssl=context,
        ssl_handshake_timeout=HANDSHAKE_SECONDS,
    )
    async with _served(fronts, server):
        yield


@contextlib.asynccontextmanager
async def _served(fronts: "Fronts", server: asyncio.AbstractServer) -> AsyncIterator[None]:
    telling = asyncio.create_task(fronts.tell())
    try:
        yield
    finally:
        telling.cancel()
        server.close()
        fronts.end()


def _bound(path: Path) -> socket.socket:
    """Return a socket that nobody but our account can reach, in the place of an earlier one."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with short_path(path) as name:
            made.bind(name)
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(mask)
    return made


class Fronts:
    """The fronts that are connected, and what those that have gone had counted."""

    def __init__(
        self,
        intake: Intake,
        registry: Registry,
        published: Watermark,
        metrics: Metrics,
        *,
        are_here: bool = True,
    ) -> None:
        self._intake = intake
        self._are_here = are_here  # and have this machine's clock
        self._registry = registry
        self._published = published
        self._metrics = metrics
        self._connected: set[_Front] = set()
        self._left = b""

    def meet(self, connection: Connection) -> "_Front":
        """Take a front in."""
        front = _Front(self, self._intake, connection)
        self._connected.add(front)
        connection.say(self._standing())
        return front

    def leave(self, front: "_Front") -> None:
        """Keep what a front had counted; a process that follows it begins with nothing."""
        self._connected.discard(front)
        self._left = merged([self._left, counted(front.metrics)])

    async def tell(self) -> None:
        """Tell all fronts of each commit, of each publication, and that the leader is there."""
        while not (self._intake.watermark.closed or self._published.closed):
            told = self._standing()
            for front in self._connected:
                front.say(told)
            await self._change_from(told)

    def _standing(self) -> Moved:
        size, published = self._intake.watermark.size, self._published.size
        clock = 0 if self._are_here else time.monotonic_ns()
        return Moved(size, published, self._registry.newest + 1, self._intake.ready, clock)

    async def _change_from(self, told: Moved) -> None:
        """Wait until something is to be told, or a beat."""
        moves = [
            asyncio.create_task(self._intake.watermark.beyond(told.size)),
            asyncio.create_task(self._published.beyond(told.published)),
        ]
        try:
            await asyncio.wait(moves, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in moves:
                each.cancel()

    async def all_metrics(self) -> bytes:
        """Return the public metrics of leader and fronts together (text format)."""
        asked = [asyncio.create_task(front.ask_for_metrics()) for front in self._connected]
        if asked:
            await asyncio.wait(asked, timeout=METRICS_SECONDS)
        for each in asked:
            each.cancel()
        told = [front.metrics for front in self._connected]
        return merged([self._metrics.text(), *told, self._left])

    def end(self) -> None:
        """End all connections."""
        for front in list(self._connected):
            front.end()


class _Front:
    """One front that is connected."""

    def __init__(self, fronts: Fronts, intake: Intake, connection: Connection) -> None:
        self._fronts = fronts
        self._intake = intake
        self._connection = connection
        self._answers: set[asyncio.Task[None]] = set()  # held until they are said
        self._told = asyncio.Event()
        self.metrics = b""  # as it told them last

    def heard(self, message: FromFront) -> None:
        """Take a message. Raises `BadMessage`."""
        match message:
            case BatchMessage(number=number, deadline=deadline):
                batch = self._intake.batch(signed_batch(message))
                self._begin(number, deadline, batch)
            case CommandMessage(number=number, deadline=deadline, by=by, request=request):
                command = self._intake.command(command_of(message), by, request)
                self._begin(number, deadline, command)
            case MetricsWanted(number=number, deadline=deadline):
                self._begin(number, deadline, self._all_metrics())
            case MetricsTold(text=text):
                self.metrics = text
                self._told.set()

    def lost(self) -> None:
        """Take leave; what it handed over is decided all the same."""
        self._fronts.leave(self)
        if self._connection.fault:
            _log.error("bad_message", detail=self._connection.fault)

    def say(self, message: FromLeader) -> None:
        """Send a message; a front that takes nothing is cut off."""
        self._connection.say(message)
        if self._connection.unsent_bytes > MAX_UNTAKEN_BYTES:
            self.end()

    def end(self) -> None:
        """End the connection."""
        self._connection.end()

    async def ask_for_metrics(self) -> None:
        """Have the front tell its metrics."""
        self._told.clear()
        self.say(MetricsAsked())
        await self._told.wait()

    async def _all_metrics(self) -> CommandResponse:
        return CommandResponse(200, await self._fronts.all_metrics(), replayed=False)

    def _begin(self, number: int, deadline: int, work: Coroutine[Any, Any, Outcome]) -> None:
        answer = asyncio.create_task(self._answer(number, deadline, work))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, number: int, deadline: int, work: Coroutine[Any, Any, Outcome]) -> None:
        """Do what was asked for, and answer, unless the front waits no more."""
        seconds = (deadline - time.monotonic_ns()) / 1e9
        if seconds <= 0:
            work.close()
            return
        try:
            async with asyncio.timeout(seconds):
                outcome = await work
        except TimeoutError:
            return
        except Problem as problem:
            outcome = problem
        self.say(outcome_message(number, outcome))
