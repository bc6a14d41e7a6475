"""The service against the floor program (`floor.py`), measured side by side, as ratios.

Rounds alternate: a window of the service, a window of the floor program, at 500 records a batch and
with single records. Processor time is that of the process and its children, and of PostgreSQL. For
single records a verification and a signature by OpenSSL, on one core of this machine, are the
measure. COPY of bare rows is no floor of this job: even the floor program does not come near it.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bench.load import Feeds, Supply, Window, closed_loop
from tests.bench.report import Bar, Say, Section, Table, spread
from tests.bench.scale import Scale
from tests.bench.servers import STOP_PATIENCE_SECONDS, Ledger, Server, Service, cpu_seconds

MICRO = 1e6
SIGNED_BYTES = 300  # about as long as a batch of one record
# What to reach, and what to aim at, by figure.
BARS = {
    "500 a batch, processor time ÷ floor": (2.5, "most"),
    "500 a batch, rate ÷ floor": (0.6, "least"),
    "single records, processor time ÷ (a verification + a signature)": (2.3, "most"),
    "single records, rate ÷ verifications a second of one core": (0.28, "least"),
}


@dataclass(frozen=True)
class Case:
    records: int
    clients: int
    most: int  # records a second, which neither reaches here

    @property
    def name(self) -> str:
        return f"{self.records} a batch, {self.clients} clients"


CASES = (Case(500, 8, 90_000), Case(1, 64, 8_000))


@dataclass
class Side:
    """One program's windows of one case: records a second, and microseconds of CPU a record."""

    rates: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)

    def add(self, window: Window, own: float, database: float) -> None:
        self.rates.append(window.rate)
        self.own.append(MICRO * own / window.records)
        self.database.append(MICRO * database / window.records)


@dataclass
class Sides:
    kashi: Side = field(default_factory=Side)
    floor: Side = field(default_factory=Side)

    @property
    def cpu_ratio(self) -> float:
        return median(self.kashi.own) / median(self.floor.own)

    @property
    def rate_ratio(self) -> float:
        return median(self.kashi.rates) / median(self.floor.rates)


async def run(server: Server, scale: Scale, say: Say) -> Section:
    ledger, measured = await Ledger.make(server, "ratios"), {case: Sides() for case in CASES}
    feeds = Feeds(), Feeds()
    verified, signed = _openssl_seconds(scale.profile_seconds / 4)
    async with ledger.serving() as kashi, floor_program(server) as floor:
        for number in range(scale.rounds + 1):  # the first is to warm up
            for case, sides in measured.items():
                say(case.name, number / (scale.rounds + 1))
                for program, fed, side in (
                    (kashi, feeds[0], sides.kashi),
                    (floor, feeds[1], sides.floor),
                ):
                    found = await _window(server, program, fed, case, scale.window_seconds)
                    if number:
                        side.add(*found)
    figures = _figures(measured, verified, signed)
    return Section("ratios", [_table(measured), _openssl(verified, signed)], _bars(figures))


@asynccontextmanager
async def floor_program(server: Server) -> AsyncIterator[Service]:
    """Run the floor program on a database of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.floor", await server.create("floor")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert "listens on " in line, "the floor program did not start"
    try:
        yield Service(line.split()[-1], process, "")
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), STOP_PATIENCE_SECONDS)


async def _window(
    server: Server, program: Service, feeds: Feeds, case: Case, seconds: float
) -> tuple[Window, float, float]:
    """Return a window, and the CPU seconds of the program and of PostgreSQL within it."""
    supply = Supply(feeds, case.clients, case.records)
    supply.top_up(round(case.most * seconds))
    own, database = program.cpu_seconds(), cpu_seconds(server.postgres.pid)
    window = await closed_loop(program, supply, seconds)
    own, database = program.cpu_seconds() - own, cpu_seconds(server.postgres.pid) - database
    return window, own, database


def _openssl_seconds(seconds: float) -> tuple[float, float]:
    """Return how long a verification and a signature take on one core."""
    key, message = Ed25519PrivateKey.generate(), bytes(SIGNED_BYTES)
    signature, public = key.sign(message), key.public_key()
    return (
        _each(lambda: public.verify(signature, message), seconds),
        _each(lambda: key.sign(message), seconds),
    )


def _each(do: object, seconds: float) -> float:
    assert callable(do)
    count, began = 0, time.process_time()
    while time.process_time() < began + seconds:
        for _ in range(50):
            do()
        count += 50
    return (time.process_time() - began) / count


def _figures(measured: dict[Case, Sides], verified: float, signed: float) -> dict[str, float]:
    large, single = measured.values()
    floor = MICRO * (verified + signed)
    found = (
        large.cpu_ratio,
        large.rate_ratio,
        median(single.kashi.own) / floor,
        median(single.kashi.rates) * verified,
    )
    return dict(zip(BARS, found, strict=True))


def _bars(figures: dict[str, float]) -> list[Bar]:
    bars = []
    for what, figure in figures.items():
        limit, side = BARS[what]
        met = figure <= limit if side == "most" else figure >= limit
        wanted = f"{'≤' if side == 'most' else '≥'} {limit:g}"
        bars.append(Bar(what, wanted, f"{figure:.2f}", met))
    return bars


def _table(measured: dict[Case, Sides]) -> Table:
    head = (
        "case",
        "program",
        "records/s",
        "CPU µs a record",
        "PostgreSQL µs",
        "CPU ÷ floor",
        "rate ÷ floor",
    )
    rows = []
    for case, sides in measured.items():
        for name, side in (("kashi", sides.kashi), ("floor", sides.floor)):
            ratios = (
                (f"{sides.cpu_ratio:.2f}", f"{sides.rate_ratio:.2f}")
                if name == "kashi"
                else ("", "")
            )
            cpu = f"{median(side.own):,.1f}", f"{median(side.database):,.1f}"
            rows.append((case.name, name, spread(side.rates), *cpu, *ratios))
    return Table(head, rows)


def _openssl(verified: float, signed: float) -> Table:
    rows = [
        ("a verification", f"{MICRO * verified:,.1f}", f"{1 / verified:,.0f}"),
        ("a signature", f"{MICRO * signed:,.1f}", f"{1 / signed:,.0f}"),
    ]
    return Table(("Ed25519 by OpenSSL, one core", "µs", "a second"), rows)
