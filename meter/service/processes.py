"""A service of several processes: a leader and its fronts, and one that keeps them running.

The keeper holds the embedded database and the number of the port, and starts the others. One that a
signal kills (`kill -9`, want of memory) is started again; one that ends by itself, as where the
ledger was taken over, ends the service. All end with the keeper: each reads a pipe that ends then.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from meter.host import logs
from meter.host.clock import SYSTEM_CLOCK, Clock, WatchedClock, clock_from
from meter.host.cluster import front_context
from meter.host.data_folder import DataFolder
from meter.host.metrics import Metrics
from meter.service.cluster import Instance, check_cluster, end_task
from meter.service.front import fronting
from meter.service.leader import serving_fronts
from meter.service.running import (
    Endpoint,
    Witnessing,
    first_end,
    leading,
    listening_to_operator,
    settle_interpreter,
    until_interrupted,
    wait_for_writes,
)
from meter.service.serving import cursor_key_of
from meter.service.setup import Database, open_database, read_origin

Role = Literal["leader", "front"]

PAUSE_SECONDS: Final = 0.2  # before a process is started again
# For what runs to be answered and published; `kashi.service` waits longer.
STOP_SECONDS: Final = 30.0
_COMMAND: Final = (sys.executable, "-c", "from meter.cli.main import main; main()", "part")

_log: Final = logs.logger(__name__)


class Cluster(Struct, frozen=True, kw_only=True):
    """One instance of several: where it takes fronts as leader, empty if it never leads."""

    leader_address: str


class Settings(Struct, frozen=True, kw_only=True):
    """What each process of a service is started with.

    `test_clock` has the instant that a test's clock began from (seconds), and what the steady clock
    said then (microseconds). `cluster` is there where several machines serve one ledger.
    """

    data: str
    group_reads_log: bool
    host: str
    port: int
    own: Endpoint | None
    witnessing: Witnessing
    test_clock: tuple[int, int] | None
    clock_is_right: bool
    log_level: str
    cluster: Cluster | None = None

    @property
    def folder(self) -> DataFolder:
        """The data folder."""
        return DataFolder(Path(self.data), self.group_reads_log)

    @property
    def clock(self) -> Clock:
        """The clock that all processes share."""
        clock = SYSTEM_CLOCK if self.test_clock is None else clock_from(*self.test_clock)
        return replace(clock, is_confirmed=self.clock_is_right)


class Ready(Struct, frozen=True):
    """What a process says once it serves."""

    url: str = ""


class Ended(Exception):  # noqa: N818 - the name says what happened
    """A process of the service has ended by itself, and has said why."""

    def __init__(self, role: Role, status: int) -> None:
        super().__init__(f"the {role} has ended with status {status}")
        self.status = status


# The processes


async def lead(settings: Settings) -> None:
    """Be the leader until interrupted, or of several instances one that may become it."""
    if settings.cluster is None:
        await _lead(settings)
    else:
        await _take_turns(settings, settings.cluster)


async def _take_turns(settings: Settings, cluster: Cluster) -> None:
    folder, metrics, watched = settings.folder, Metrics(), WatchedClock(settings.clock)
    async with contextlib.AsyncExitStack() as stack:
        opened = open_database(folder, read_origin(folder), join=True)
        database = await stack.enter_async_context(opened)
        instance = Instance(folder, database, settings.clock, settings.witnessing, metrics)
        turns = asyncio.create_task(
            instance.take_turns(cluster.leader_address)
            if cluster.leader_address
            else instance.copy_only()
        )
        stack.push_async_callback(end_task, turns)
        own = listening_to_operator(metrics, instance.all_metrics, settings.own)
        _say_ready(await stack.enter_async_context(own), watched)
        await until_interrupted(watched, turns)


async def _lead(settings: Settings) -> None:
    folder, metrics = settings.folder, Metrics()
    async with contextlib.AsyncExitStack() as stack:
        opened = open_database(folder, read_origin(folder), join=True)
        database = await stack.enter_async_context(opened)
        leader = await stack.enter_async_context(
            leading(folder, database.address, settings.clock, settings.witnessing, metrics)
        )
        fronts = await stack.enter_async_context(
            serving_fronts(folder, leader.intake, leader.registry, leader.published, metrics)
        )
        url = await stack.enter_async_context(
            listening_to_operator(metrics, fronts.all_metrics, settings.own)
        )
        ended = asyncio.create_task(first_end(leader.tasks, database))
        stack.callback(ended.cancel)
        _say_ready(url, leader.clock)
        await until_interrupted(leader.clock, ended)


async def front(settings: Settings) -> None:
    """Be a front until interrupted."""
    folder = settings.folder
    context = None if settings.cluster is None else front_context(folder)
    place = settings.host, settings.port
    async with (
        open_database(folder, read_origin(folder), join=True) as database,
        fronting(folder, database.address, settings.clock, *place, context) as (url, clock),
    ):
        never: asyncio.Task[None] = asyncio.create_task(_wait_for_ever())
        _say_ready(url, clock)
        await until_interrupted(clock, never)
        never.cancel()


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()


def _say_ready(url: str, clock: WatchedClock) -> None:
    """Tell the keeper, and end with it. From now on it may pass on that the clock is right."""
    settle_interpreter()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, clock.confirm)
    sys.stdout.buffer.write(msgspec.json.encode(Ready(url)) + b"\n")
    sys.stdout.flush()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _end_at_the_end_of_input)


def _end_at_the_end_of_input() -> None:
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        signal.raise_signal(signal.SIGTERM)


# The keeper


@contextlib.asynccontextmanager
async def keeping(
    settings: Settings, fronts: int, patience_seconds: float
) -> AsyncIterator["Kept"]:
    """Run a leader and its fronts. Raises `Ended` where one has ended by itself."""
    folder = settings.folder
    if settings.cluster is not None:
        check_cluster(folder, may_lead=bool(settings.cluster.leader_address))
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(folder, read_origin(folder)))
        await wait_for_writes(database.address, patience_seconds)
        cursor_key_of(folder)
        port = stack.enter_context(_held_port(settings.host, settings.port))
        settings = msgspec.structs.replace(settings, port=port)
        kept = Kept(database)
        stack.push_async_callback(kept.stop)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, kept.pass_on, signal.SIGUSR1)
        metrics_url = (await kept.start("leader", settings)).url
        started = [kept.start("front", settings) for _ in range(fronts)]
        urls = [each.url for each in await asyncio.gather(*started)]
        kept.url, kept.metrics_url = urls[0], metrics_url
        _log.info("started", url=kept.url, fronts=fronts)
        yield kept
        _log.info("stopping")


@contextlib.contextmanager
def _held_port(host: str, port: int) -> Iterator[int]:
    """Hold a port that processes of ours share, and that nobody else listens at; yield its number.

    Raises `OSError`. Without the first look, fronts of two services could share one port.
    """
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, proto) as look:
        look.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        look.bind(address)
        found = look.getsockname()
    with socket.socket(family, kind, proto) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(found)
        yield int(found[1])


class Kept:
    """The processes that are kept running, the leader first."""

    def __init__(self, database: Database) -> None:
        self.url = ""
        self.metrics_url = ""
        self._database = database
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: dict[asyncio.Task[None], asyncio.subprocess.Process] = {}

    async def start(self, role: Role, settings: Settings) -> Ready:
        """Start a process and keep it; return what it says. Raises `Ended`."""
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._keep(role, settings, ready))
        self._tasks.append(task)
        task.add_done_callback(lambda _: ready.cancel())
        await asyncio.wait([ready])
        if task.done():
            task.result()
        return ready.result()

    async def wait(self) -> None:
        """Wait for SIGINT or SIGTERM; raise what ends the service before."""
        lost = asyncio.create_task(first_end(self._tasks, self._database))
        loop = asyncio.get_running_loop()
        interrupted = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted.set)
        waiting = asyncio.create_task(interrupted.wait())
        await asyncio.wait([waiting, lost], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if lost.done():
            lost.result()
        lost.cancel()

    async def stop(self) -> None:
        """End the fronts, and then the leader, which answers them until then."""
        for tasks in (self._tasks[1:], self._tasks[:1]):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal to all processes that are ready: before, it would kill them."""
        for process in self._ready.values():
            process.send_signal(number)

    async def _keep(self, role: Role, settings: Settings, ready: "asyncio.Future[Ready]") -> None:
        """Run a process, and again where a signal has killed it. Raises `Ended`."""
        task = asyncio.current_task()
        assert task is not None, "start() made it"
        words = (*_COMMAND, role, msgspec.json.encode(settings).decode())
        while True:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # an interrupt at the terminal is only for us
            )
            try:
                await _hear_ready(process, ready)
                self._ready[task] = process
                status = await process.wait()
            except BaseException:
                await _end(process)
                raise
            finally:
                self._ready.pop(task, None)
            if status >= 0:
                raise Ended(role, status)
            _log.error("process_killed", role=role, signal=signal.Signals(-status).name)
            await asyncio.sleep(PAUSE_SECONDS)


async def _hear_ready(process: asyncio.subprocess.Process, ready: "asyncio.Future[Ready]") -> None:
    """Wait until a process says that it is ready, or has ended."""
    assert process.stdout is not None, "it is a pipe"
    line = await process.stdout.readline()
    if line and not ready.done():
        ready.set_result(msgspec.json.decode(line, type=Ready))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process, at last by force."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
