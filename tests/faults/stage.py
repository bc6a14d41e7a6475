"""One ledger with its processes, and rounds of load with a fault in the midst of each.

    async with staged(Ground(), seed=0, folder=folder) as stage:
        await stage.round(lambda: kill(stage.service))
        ...
        found = await stage.check()

A fault is there when `inject` returns. One that goes on together with the load sets `injected`
before that. A round is over when every client has the answer to each of its steps; then each
receipt is looked up in the database. `check` compares everything with an export.
"""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from meter.host.data_folder import DataFolder
from meter.values.units import parse_instant
from tests.faults.checker import Export, Findings, Totals, check_export, check_receipts
from tests.faults.clients import Clients, Evidence
from tests.faults.load import NOW, ORIGIN, Load, Step, taken
from tests.faults.processes import (
    PATIENCE_SECONDS,
    FakeClock,
    Server,
    Service,
    SmallDisk,
    Stuck,
    environment_for,
    kashi,
    until,
)
from tests.faults.proxy import Proxy

STEPS = 12  # of each actor in a round
HELD_BACK = 4  # of these, held back until the fault is there, so that some come after it
# After so many answers of a round the fault comes, so that it falls amid work on any machine; and a
# little later than the answer, so that it falls anywhere in a commit.
FAULT_AFTER_ANSWERS = (5, 45)
FAULT_DELAY_SECONDS = 0.01
TAKE_OVER_SECONDS = 20.0  # a second service must have the ledger by then

Inject = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Ground:
    """The machine of a stage: by default a PostgreSQL of its own, apart from the service."""

    embedded: bool = False  # the service runs its PostgreSQL itself
    disk_bytes: int | None = None  # PostgreSQL's folder lies on a disk of this size
    fake_clock: bool = False  # the service lives by a clock that can be moved
    monotonic_too: bool = False
    fronts: int = 0  # of each service; 0 is one process


class Stage:
    """The target of faults; `found` are the findings so far, `steps` the steps of each actor."""

    server: Server | None = None
    disk: SmallDisk | None = None
    clock: FakeClock | None = None
    clients: Clients

    def __init__(self, ground: Ground, seed: int, folder: Path) -> None:
        self.ground = ground
        self.folder = folder
        self.data = DataFolder(folder / "data")
        self.load = Load(seed)
        self.evidence = Evidence()
        self.found = Findings()
        self.services: list[Service] = []
        self.steps = 0
        self.longest_gap_seconds = 0.0
        self.injected = asyncio.Event()
        self.worked = asyncio.Event()
        self._seed = seed
        self._random = random.Random(seed)
        self._proxy: Proxy | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def service(self) -> Service:
        """The service that was started last."""
        return self.services[-1]

    @property
    def dsn(self) -> str:
        """The address of the database, without any proxy."""
        if self.server is not None:
            return self.server.dsn
        return self.data.postgres_dsn.read_text(encoding="utf-8").strip()

    # What faults use

    async def round(
        self, inject: Inject | None = None, steps: int = STEPS, copied: int = 0, copies: int = 1
    ) -> None:
        """Let each actor take its next steps, with a fault in their midst. Raises `Stuck`.

        The steps of the actor `copied` are sent by many clients at once.
        """
        first, known = len(self.evidence.moments), set(self.evidence.receipts)
        self.injected.clear()
        self.worked.clear()
        parts = enumerate(taken(self.load.actors, steps))
        work = [self._work(part, copies if actor == copied else 1) for actor, part in parts]
        await _run_both(self._work_all(work), self._inject(inject, first))
        self.steps += steps
        gap_seconds = self.evidence.longest_gap_seconds(first)
        self.longest_gap_seconds = max(self.longest_gap_seconds, gap_seconds)
        new = [kept for id_, kept in self.evidence.receipts.items() if id_ not in known]
        self.found += await check_receipts(self.dsn, new)

    async def another_service(self) -> None:
        """Start one more service on the same ledger, known to the clients. Raises `Stuck`."""
        await self._start_service(TAKE_OVER_SECONDS)
        await self.clients.know(self.service.url)

    async def retire(self, service: Service) -> None:
        """Stop a service for good; one that was shut out has ended already."""
        self.clients.forget(service.url)
        await service.stop()

    async def stand_between(self) -> Proxy:
        """Put a proxy between service and server, once; a new service uses it."""
        if self._proxy is None:
            proxy = Proxy(self.folder / "proxy", self.server.dsn)
            self._proxy = await self._stack.enter_async_context(proxy)
            direct = self.service
            await self.another_service()
            await self.retire(direct)
        return self._proxy

    async def check(self) -> Findings:
        """Compare all evidence with an export, and its sums with those of a run without faults."""
        folder = await self.export()
        found, totals = await check_export(
            folder, self.data.log_vkey, self.evidence, self.load.device_time()
        )
        self.found += found
        expected = await totals_without_faults(self._seed, self.steps)
        self.found += Findings(wrong=totals.differences(expected))
        return self.found

    async def export(self) -> Path:
        folder = self.folder / "export"
        await kashi("export", "--data", self.data.path, folder, environment=self._environment())
        return folder

    # A round

    async def _work(self, steps: list[Step], copies: int) -> None:
        for left, step in zip(reversed(range(len(steps))), steps, strict=True):
            if left < HELD_BACK:
                await self.injected.wait()
            await asyncio.gather(*(self.clients.carry_out(step) for _ in range(copies)))

    async def _work_all(self, work: Iterable[Awaitable[None]]) -> None:
        await asyncio.gather(*work)
        self.worked.set()

    async def _inject(self, inject: Inject | None, first: int) -> None:
        if inject is not None:
            wanted = first + self._random.randint(*FAULT_AFTER_ANSWERS)
            await until(lambda: len(self.evidence.moments) >= wanted, f"{wanted} answers")
            await asyncio.sleep(self._random.uniform(0, FAULT_DELAY_SECONDS))
            await inject()
        self.injected.set()

    # Processes

    async def open(self) -> None:
        """Make the ledger, start its processes, and make the cast known."""
        self.folder.chmod(0o711)  # the account that runs an embedded database passes through
        await self._lay_ground()
        words = ("--data", self.data.path, "--origin", ORIGIN, "--one-person")
        await kashi("init", *words, *self._clock_words(), environment=self._environment())
        await self._start_service(PATIENCE_SECONDS)
        token = self.data.token_of("authority").read_text(encoding="utf-8").strip()
        clients = Clients(token, await _receipt_key(self.service.url), self.evidence)
        self.clients = await self._stack.enter_async_context(clients)
        await self.clients.know(self.service.url)
        for command in self.load.opening():
            await self.clients.carry_out(command)
        if self.evidence.complaints:
            raise Stuck(f"the cast was refused: {self.evidence.complaints}")

    async def close(self) -> None:
        await self._stack.aclose()

    async def _lay_ground(self) -> None:
        place = self.folder
        if self.ground.disk_bytes is not None:
            self.disk = SmallDisk(self.folder / "disk", self.ground.disk_bytes)
            place = self._stack.enter_context(self.disk).folder
        if self.ground.fake_clock:
            self.clock = FakeClock(self.folder / "clock", monotonic=self.ground.monotonic_too)
            self.clock.set(parse_instant(NOW))
        if not self.ground.embedded:
            self.server = Server(place / "postgres")
            self._stack.push_async_callback(self.server.stop)
            await self.server.start()

    async def _start_service(self, patience_seconds: float) -> None:
        log = self.folder / f"serve-{len(self.services)}.log"
        words = (*self._clock_words(), *self._fronts_words())
        service = Service(self.data.path, log, self._environment(), *words)
        self.services.append(service)
        self._stack.push_async_callback(service.abandon)
        await service.start(patience_seconds)

    def _clock_words(self) -> tuple[str, ...]:
        # A restart begins at another time than the one before ended at, and that is meant.
        now = () if self.ground.fake_clock else ("--now", NOW)
        return (*now, "--clock-is-right")

    def _fronts_words(self) -> tuple[str, ...]:
        return ("--fronts", str(self.ground.fronts)) if self.ground.fronts else ()

    def _environment(self) -> dict[str, str]:
        clock = {} if self.clock is None else self.clock.environment
        if self._proxy is not None:
            return environment_for(self._proxy.dsn, clock)
        return environment_for(None if self.server is None else self.server.dsn, clock)


@contextlib.asynccontextmanager
async def staged(ground: Ground, seed: int, folder: Path) -> AsyncIterator[Stage]:
    """Open a stage in an empty folder."""
    stage = Stage(ground, seed, folder)
    try:
        await stage.open()
        yield stage
    finally:
        await stage.close()


async def _run_both(load: Awaitable[None], fault: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(2 * PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(load)
            tasks.create_task(fault)
    except TimeoutError:
        raise Stuck("the load did not get through after the fault") from None
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _receipt_key(url: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/receipt-key") as response:
        return (await response.json())["public_key"]


# The same load, without faults

_known: dict[tuple[int, int], Totals] = {}


async def totals_without_faults(seed: int, steps: int) -> Totals:
    """Return the totals of the same load without faults; run once for each length."""
    if (seed, steps) not in _known:
        with tempfile.TemporaryDirectory(prefix="kashi-faults-") as name:
            async with staged(Ground(), seed, Path(name)) as stage:
                await stage.round(steps=steps)
                _known[seed, steps] = Export.read(await stage.export()).totals()
    return _known[seed, steps]
