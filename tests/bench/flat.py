"""A large ledger against a small one: rates, memory and recovery.

One ledger is filled from nothing. The rate is measured when it is small and when it is large, in
windows of equally many records, and the same questions are asked of both; on the large one, under
full load, the balance question is asked on a connection of its own, bodies of the largest size are
thrown at it, and service and database are killed. At last the ledger is exported and its read
models are rebuilt.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp

from meter.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS
from tests.bench import questions
from tests.bench.load import Feeds, Supply, Window, closed_loop, percentile
from tests.bench.report import Bar, Curve, Line, Say, Section, Table, ms, spread
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service
from tests.bench.workload import (
    BEGINS,
    HOUR_SECONDS,
    PROVIDERS,
    YEAR,
    Stream,
    contract_id,
    enterprise_of,
)
from tests.books import PROGRAMME, record

BATCH_RECORDS, CLIENTS = 500, 8
STEP_RECORDS = 50_000  # the ledger grows by so many at once, for the curve
LOADS = ((BATCH_RECORDS, CLIENTS), (1, 64))  # full load: records a batch, clients
MOST, MOST_SINGLE = 80_000, 8_000  # records a second that no load reaches here
BALANCE = f"/v1/enterprises/{enterprise_of(0)}/balance?programme={PROGRAMME}&year={YEAR}"
UNDER_LOAD_SECONDS = 1.0  # before something is killed

BAR_FLAT = 0.9
BAR_MEMORY_BYTES = 400 * 2**20
BAR_RESTART_SECONDS = 10
BAR_BALANCE_SECONDS = 0.005
MIB = 2**20


@dataclass
class Findings:
    """The results so far; rates in records a second, times in seconds."""

    small: list[float] = field(default_factory=list)
    large: list[float] = field(default_factory=list)
    growth: list[tuple[float, float]] = field(default_factory=list)  # entries, rate
    balances: dict[str, list[float]] = field(default_factory=dict)  # by load
    peaks: list[tuple[str, int]] = field(default_factory=list)  # bytes, after what
    restarts: dict[str, list[float]] = field(default_factory=dict)  # by what was killed
    asked: list[questions.Found] = field(default_factory=list)  # small, large
    entries: int = 0
    works: dict[str, float] = field(default_factory=dict)  # entries a second, by command


class Growing:
    """A ledger with its service and its load."""

    def __init__(self, server: Server, ledger: Ledger, scale: Scale, say: Say) -> None:
        self.server = server
        self.ledger = ledger
        self.scale = scale
        self.say = say
        self.feeds = Feeds()
        self.supply = Supply(self.feeds, CLIENTS, BATCH_RECORDS)
        self.found = Findings()
        self.service: Service

    async def windows(self, name: str) -> list[float]:
        """Measure the rate over windows of equally many records."""
        rates = []
        for _ in range(self.scale.rounds):
            self.say(f"the rate at {name} entries", 0.0)
            rates.append((await self.load(self.scale.flat_window)).rate)
        return rates

    async def grow(self, entries: int) -> None:
        """Load until the ledger has this many entries."""
        while (size := await self.size()) < entries:
            self.say(f"{size:,} entries", 0.7 * size / self.scale.flat_large)
            window = await self.load(min(STEP_RECORDS, entries - size))
            self.found.growth.append((size, window.rate))

    async def load(self, records: int) -> Window:
        self.supply.top_up(records)
        return await closed_loop(self.service, self.supply)

    async def size(self) -> int:
        """Ask the ledger's signed checkpoint how many entries there are."""
        url = f"{self.service.url}/log/checkpoint"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return int((await answer.text()).splitlines()[1])

    @asynccontextmanager
    async def under_load(self, supply: Supply) -> AsyncIterator["asyncio.Task[Window]"]:
        """Let all clients post as fast as they can during the body; yields their task."""
        loading = asyncio.create_task(closed_loop(self.service, supply))
        await asyncio.sleep(UNDER_LOAD_SECONDS * min(1.0, self.scale.window_seconds))
        assert not loading.done(), "there was too little to post"
        try:
            yield loading
        finally:
            loading.cancel()
            with suppress(asyncio.CancelledError, RuntimeError, OSError):
                await loading


async def run(server: Server, scale: Scale, say: Say) -> Section:
    growing = Growing(server, await Ledger.make(server, "flat"), scale, say)
    found = growing.found
    growing.service = await growing.ledger.serve()
    try:
        await growing.grow(scale.flat_small)
        await _ask_questions(growing)
        found.small = await growing.windows(f"{scale.flat_small:,}")
        await growing.grow(scale.flat_large)
        await _ask_questions(growing)
        found.large = await growing.windows(f"{scale.flat_large:,}")
        found.peaks.append(("load", growing.service.peak_bytes()))
        await _ask_balances(growing)
        await _throw_bodies(growing)
        await _kill(growing)
        found.entries = await growing.size()
    finally:
        await growing.service.stop()
    await _work(growing)
    return Section("flat", _tables(found, scale), _bars(found, scale), [_curve(found)])


# All questions, while nothing is posted


async def _ask_questions(growing: Growing) -> None:
    entries = await growing.size()
    growing.say(f"questions at {entries:,} entries", 0.7 * entries / growing.scale.flat_large)
    times = max(1, growing.scale.questions // 10)
    growing.found.asked.append(await questions.ask_all(growing.service, entries, times))


# The balance question under full load


async def _ask_balances(growing: Growing) -> None:
    """Ask from a process of its own, which the load generator does not hold up."""
    scale, service = growing.scale, growing.service
    seconds = scale.rounds * scale.window_seconds
    for records, clients in LOADS:
        name = f"{records:,} a batch, {clients} clients"
        growing.say(f"balance queries under load, {name}", 0.7)
        supply = Supply(growing.feeds, clients, records)
        supply.top_up(round((seconds + 2) * (MOST_SINGLE if records == 1 else MOST)))
        async with growing.under_load(supply) as loading:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.bench.asking"),
                *(service.url, BALANCE, str(seconds)),
                env=os.environ | {"KASHI_TOKEN": service.token},
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await process.communicate()
            assert not loading.done(), "the load ended before the questions did"
        assert process.returncode == 0, "the questions failed"
        growing.found.balances[name] = json.loads(out)


# Bodies of the largest size


async def _throw_bodies(growing: Growing) -> None:
    """Post the largest batches that there can be, and what only looks like one, all at once."""
    stream = growing.feeds.stream(PROVIDERS[0])
    bodies = {
        "valid": [_largest(stream, number) for number in range(growing.scale.bodies)],
        "garbage": [bytes(MAX_BATCH_BYTES)] * growing.scale.bodies,
        "nested": [b"[" * MAX_BATCH_BYTES] * growing.scale.bodies,
        "forged": [_forged(stream)] * growing.scale.bodies,
    }
    wanted = {"valid": 200, "garbage": 400, "nested": 400, "forged": 401}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
        for kind, each in bodies.items():
            growing.say(f"{len(each)} bodies of 8 MiB, {kind}", 0.75)
            url = f"{growing.service.url}/v1/usage"
            statuses = await asyncio.gather(*(_status(http, url, body) for body in each))
            assert set(statuses) <= {wanted[kind], 503}, (kind, statuses)
    growing.found.peaks.append(
        (f"{growing.scale.bodies} bodies of 8 MiB at once", growing.service.peak_bytes())
    )


async def _status(http: aiohttp.ClientSession, url: str, body: bytes) -> int:
    async with http.post(url, data=body) as answer:
        await answer.read()
        return answer.status


def _largest(stream: Stream, number: int) -> bytes:
    """Sign as many records as a batch may hold, with texts as long as they may be."""
    records = [
        json.dumps(
            record(
                f"{number:04}:{each:04}:".ljust(128, "x"),
                contract_id(0),
                BEGINS,
                BEGINS + HOUR_SECONDS,
                8_000,
                run="r" * 128,
                state="𠮷" * 128,
            ),
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for each in range(MAX_BATCH_ITEMS)
    ]
    # Base64 writes four bytes for three; the rest of the envelope is short.
    return stream.seal_texts(records, padded_bytes=(MAX_BATCH_BYTES - 1_024) // 4 * 3).data


def _forged(stream: Stream) -> bytes:
    """Change one byte that was signed."""
    data = bytearray(_largest(stream, 0))
    place = data.index(b'"payload":"') + 1_000_000
    data[place] = ord("A") if data[place] != ord("A") else ord("B")
    return bytes(data)


# Kills and restarts


async def _kill(growing: Growing) -> None:
    """Kill the service under load, alone and together with the database, and start again."""
    for name, with_database in (("the service", False), ("service and PostgreSQL", True)):
        times = growing.found.restarts[name] = []
        for _ in range(growing.scale.restarts):
            growing.say(f"{name} killed under load", 0.8)
            times.append(await _restart_seconds(growing, with_database=with_database))


async def _restart_seconds(growing: Growing, *, with_database: bool) -> float:
    """Return the time from the first start of a process to the next accepted batch."""
    port = growing.service.port
    growing.supply.top_up(2 * MOST)
    async with growing.under_load(growing.supply):
        await growing.service.kill()
        if with_database:
            await growing.server.kill()
    growing.supply = Supply(growing.feeds, CLIENTS, BATCH_RECORDS)
    growing.supply.top_up(1)
    began = time.perf_counter()
    if with_database:
        await growing.server.postgres.start()
    growing.service = await growing.ledger.serve(port)
    async with aiohttp.ClientSession() as http:
        url = f"{growing.service.url}/v1/usage"
        assert await _status(http, url, growing.supply.take().data) == 200
    return time.perf_counter() - began


# Export and rebuild


async def _work(growing: Growing) -> None:
    out = Path(growing.server.folder) / "flat.export"
    for command, words in (("export", (str(out),)), ("rebuild", ())):
        growing.say(f"kashi {command}", 0.85)
        began = time.perf_counter()
        await growing.ledger.kashi(command, *words)
        growing.found.works[command] = growing.found.entries / (time.perf_counter() - began)


# As text


def _tables(found: Findings, scale: Scale) -> list[Table]:
    rates = [
        (f"records/s at {scale.flat_small:,} entries", spread(found.small)),
        (f"records/s at {scale.flat_large:,} entries", spread(found.large)),
        *((f"peak memory after {what}, MiB", f"{peak / MIB:,.0f}") for what, peak in found.peaks),
        *(
            (f"{what} killed, s to the next receipt", _seconds(times))
            for what, times in found.restarts.items()
        ),
        *(
            (f"`kashi {command}` of {found.entries:,} entries, entries/s", f"{rate:,.0f}")
            for command, rate in found.works.items()
        ),
    ]
    queries = [
        (load, f"{len(times):,}", ms(percentile(times, 0.5)), ms(percentile(times, 0.99)))
        for load, times in found.balances.items()
    ]
    return [
        Table(("measured", "figure"), rates),
        Table(("load", "balance queries", "p50 ms", "p99 ms"), queries),
        questions.table(*found.asked, (scale.flat_small, scale.flat_large)),
    ]


def _seconds(times: list[float]) -> str:
    return f"{median(times):.1f} ({min(times):.1f}–{max(times):.1f})"


def _bars(found: Findings, scale: Scale) -> list[Bar]:
    ratio = median(found.large) / median(found.small)
    peak = max(peak for _, peak in found.peaks)
    restart = max(max(times) for times in found.restarts.values())
    slowest = max(percentile(times, 0.5) for times in found.balances.values())
    large, small = f"{scale.flat_large:,}", f"{scale.flat_small:,}"
    return [
        Bar(
            f"rate at {large} entries",
            f"≥ {BAR_FLAT} × that at {small}",
            f"{ratio:.2f} ×",
            ratio >= BAR_FLAT,
        ),
        Bar(
            "peak resident memory of the service",
            f"< {BAR_MEMORY_BYTES // MIB} MiB",
            f"{peak / MIB:,.0f} MiB",
            peak < BAR_MEMORY_BYTES,
        ),
        Bar(
            f"restart at {large} entries, killed under load",
            f"< {BAR_RESTART_SECONDS} s",
            f"{restart:.1f} s at most",
            restart < BAR_RESTART_SECONDS,
        ),
        Bar(
            "balance under full load, median",
            f"< {ms(BAR_BALANCE_SECONDS)} ms",
            f"{ms(slowest)} ms under the worse load",
            slowest < BAR_BALANCE_SECONDS,
        ),
    ]


def _curve(found: Findings) -> Curve:
    line = Line(f"{BATCH_RECORDS} records a batch, {CLIENTS} clients", found.growth)
    return Curve(
        "rate-by-entries", "Records a second, by size of the ledger", "entries", "records/s", [line]
    )
