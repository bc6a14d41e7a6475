"""Verification with full replay: usage entries a second, on one core and on two.

Two ledgers are filled, exported, and verified in turn on one core and on two, each time by a new
process (`verifying`). In single-record batches each entry brings two Ed25519 signatures to check.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.load import Feeds, Supply, closed_loop
from tests.bench.report import Bar, Say, Section, Table, spread
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server

BATCH_RECORDS = 500
BAR_RATE = 40_000
BAR_TWO_CORES = 1.3
CORES = (1, 2)


@dataclass
class Case:
    """A ledger whose batches hold so many records."""

    name: str
    records: int
    clients: int
    wanted: int  # usage entries
    usage: int = 0
    folder: Path = field(init=False)
    vkey: Path = field(init=False)
    rates: dict[int, list[float]] = field(default_factory=lambda: {cores: [] for cores in CORES})

    async def fill(self, server: Server) -> None:
        """Make the ledger and export it."""
        ledger = await Ledger.make(server, self.name)
        supply = Supply(Feeds(), self.clients, self.records)
        async with ledger.serving() as service:
            while self.usage < self.wanted:
                supply.top_up(self.wanted - self.usage)
                self.usage += (await closed_loop(service, supply)).records
        self.folder, self.vkey = server.folder / f"{self.name}.export", ledger.data.log_vkey
        await ledger.kashi("export", str(self.folder))

    async def verify(self, cores: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.verifying"),
            *(self.folder, self.vkey, str(cores)),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, "the verification failed"
        self.rates[cores].append(self.usage / json.loads(out)["seconds"])

    @property
    def gain(self) -> float:
        """How much faster two cores are than one."""
        return median(self.rates[2]) / median(self.rates[1])


async def run(server: Server, scale: Scale, say: Say) -> Section:
    cases = [
        Case("batches", BATCH_RECORDS, 8, scale.audited_in_batches),
        Case("singles", 1, 64, scale.audited_singly),
    ]
    for case in cases:
        say(f"fill and export a ledger, {case.records} a batch", 0.0)
        await case.fill(server)
    for number in range(scale.rounds):
        for case in cases:
            for cores in CORES:
                say(f"verify, {case.records} a batch, {cores} cores", number / scale.rounds)
                await case.verify(cores)
    return Section("audit", [_table(cases)], _bars(cases[0]))


def _table(cases: list[Case]) -> Table:
    head = ("records a batch", "usage entries", "one core, entries/s", "two cores", "two / one")
    rows = [
        (
            f"{case.records:,}",
            f"{case.usage:,}",
            spread(case.rates[1]),
            spread(case.rates[2]),
            f"{case.gain:.2f}",
        )
        for case in cases
    ]
    return Table(head, rows)


def _bars(case: Case) -> list[Bar]:
    rate, what = median(case.rates[1]), f"audit with replay, {case.records} records a batch"
    wanted = f"≥ {BAR_RATE:,} usage entries/s"
    bars = [Bar(f"{what}, one core", wanted, f"{rate:,.0f}/s", rate >= BAR_RATE)]
    if len(os.sched_getaffinity(0)) >= max(CORES):
        met = case.gain >= BAR_TWO_CORES
        wanted = f"≥ {BAR_TWO_CORES} × one core"
        bars.append(Bar(f"{what}, two cores", wanted, f"{case.gain:.2f} ×", met))
    return bars
