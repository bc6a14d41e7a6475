"""Verification: entries a second, on one core and on two, with the rules and of the log alone.

Two ledgers are filled, exported, and verified in turn on one core and on two, each time by a new
process (`verifying`). In single-record batches each entry brings two Ed25519 signatures to check.
The rules run compiled, and as they are written. With the rules, every usage entry is decided again,
and usage entries are counted; for the log alone, all entries are counted.
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
from tests.bench.verifying import LOG_ALONE, WITH_RULES

BATCH_RECORDS = 500
BAR_OF_LOG = 0.4  # of the log alone
BAR_TWO_CORES = 1.7
BAR_LOG_ALONE = 80_000
CORES = (1, 2)
AS_WRITTEN = "as-written"
CHECKED = {
    WITH_RULES: "with the rules: usage entries",
    AS_WRITTEN: "with the rules as written, not compiled",
    LOG_ALONE: "the log alone: all entries",
}


@dataclass
class Rates:
    """Entries a second in the verification of one ledger, by number of cores."""

    entries: int = 0  # that are counted
    by_cores: dict[int, list[float]] = field(default_factory=lambda: {each: [] for each in CORES})

    @property
    def gain(self) -> float:
        """The speed on two cores, divided by that on one."""
        return median(self.by_cores[2]) / median(self.by_cores[1])


@dataclass
class Case:
    """A ledger whose batches hold this many records."""

    name: str
    records: int
    clients: int
    wanted: int  # usage entries
    usage: int = 0
    folder: Path = field(init=False)
    vkey: Path = field(init=False)
    rates: dict[str, Rates] = field(default_factory=lambda: {each: Rates() for each in CHECKED})

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

    async def verify(self, checked: str, cores: int) -> None:
        pure = checked == AS_WRITTEN
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.verifying"),
            *(self.folder, self.vkey, str(cores), WITH_RULES if pure else checked),
            env=os.environ | {"KASHI_PURE": "1" if pure else ""},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, "the verification failed"
        verified, rates = json.loads(out), self.rates[checked]
        rates.entries = verified["size"] if checked == LOG_ALONE else self.usage
        rates.by_cores[cores].append(rates.entries / verified["seconds"])


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
            for checked in CHECKED:
                for cores in CORES:
                    what = f"verify {checked}, {case.records} a batch, {cores} cores"
                    say(what, number / scale.rounds)
                    await case.verify(checked, cores)
    return Section("audit", [_table(cases)], _bars(cases[0]))


def _table(cases: list[Case]) -> Table:
    head = (
        *("records a batch", "what is checked and counted", "entries"),
        *("one core, entries/s", "two cores", "two / one"),
    )
    rows = [
        (
            f"{case.records:,}",
            what,
            f"{case.rates[checked].entries:,}",
            spread(case.rates[checked].by_cores[1]),
            spread(case.rates[checked].by_cores[2]),
            f"{case.rates[checked].gain:.2f}",
        )
        for case in cases
        for checked, what in CHECKED.items()
    ]
    return Table(head, rows)


def _bars(case: Case) -> list[Bar]:
    rules, log = case.rates[WITH_RULES], case.rates[LOG_ALONE]
    ratio = median(rules.by_cores[1]) / median(log.by_cores[1])
    what, wanted = f"audit with replay, {case.records} records a batch", f"≥ {BAR_OF_LOG:g}"
    named = f"{what}, one core ÷ the log alone"
    bars = [Bar(named, wanted, f"{ratio:.2f}", ratio >= BAR_OF_LOG)]
    if len(os.sched_getaffinity(0)) >= max(CORES):
        met = rules.gain >= BAR_TWO_CORES
        wanted = f"≥ {BAR_TWO_CORES} × one core"
        bars.append(Bar(f"{what}, two cores", wanted, f"{rules.gain:.2f} ×", met))
        rate, what = median(log.by_cores[2]), "verification of the log alone, two cores"
        wanted = f"≥ {BAR_LOG_ALONE:,} entries/s"
        bars.append(Bar(what, wanted, f"{rate:,.0f}/s", rate >= BAR_LOG_ALONE))
    return bars
