"""The snapshot of the rules' state: its bytes, and how long the sequencer takes for it.

A ledger of two years has a record a month for each contract; its months are closed, or none is. The
rules run in this process alone, and processor time is measured. `meter/intake.py` computes a
snapshot twice for each digest: for its entry, and to publish it.
"""

import time
from dataclasses import dataclass, field
from statistics import median

from meter.rules.evolve import state_of
from meter.rules.snapshot import write
from meter.values.units import add_months
from tests.bench.report import Bar, Say, Section, Table, ms
from tests.bench.scale import Scale
from tests.bench.servers import Server
from tests.books import Books, lifted, opened, record, uscc_of
from tests.snapshots import registrations

MONTHS = 24
RECORDS = 250  # of a batch
PER_FIRM = 10  # contracts
SNAPSHOTS_PER_ROUND = 5
BAR_SECONDS = 0.05


@dataclass
class Case:
    """A ledger with so many contracts; times in seconds."""

    contracts: int
    closed: bool
    size: int = 0
    registered: int = 0  # bytes
    written: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    def measure(self, snapshots: int) -> None:
        """Write a snapshot again and again, and begin from it."""
        books = self._used()
        known = registrations(books.entries)
        self.registered = sum(len(data) for _, data in known)
        for _ in range(snapshots):
            began = time.process_time()
            snapshot = write(books.state)
            self.written.append(time.process_time() - began)
            self.size = len(snapshot)
            began = time.process_time()
            state_of(snapshot, known)
            self.begun.append(time.process_time() - began)

    def _used(self) -> Books:
        books = opened(lifted(pool="900000000.00"), now="2025-01-01T12:00:00+08:00")
        for number in range(-(-self.contracts // PER_FIRM)):
            books.enterprise(uscc_of(100 + number))
        for number in range(self.contracts):
            books.contract(f"contract-{number:04}", enterprise=uscc_of(100 + number // PER_FIRM))
        for place in range(MONTHS):
            first = add_months("2025-01-01", place)
            if place and self.closed:
                books.at(f"{first}T01:00:00+08:00").close_month(add_months(first, -1)[:7])
            books.at(f"{first}T12:00:00+08:00")
            usage = [
                record(f"{place}-{number}", f"contract-{number:04}", *_hour(first), 8_000)
                for number in range(self.contracts)
            ]
            for start in range(0, len(usage), RECORDS):
                books.post(usage[start : start + RECORDS])
        return books

    def row(self) -> tuple[str, ...]:
        months = "closed" if self.closed else "open"
        kilobytes = (f"{size / 1_000:,.0f}" for size in (self.size, self.registered))
        times = (ms(median(each)) for each in (self.written, self.begun))
        return f"{self.contracts:,}", months, *kilobytes, *times


def _hour(day: str) -> tuple[str, str]:
    return f"{day}T08:00:00+08:00", f"{day}T09:00:00+08:00"


async def run(_server: Server, scale: Scale, say: Say) -> Section:
    cases = [Case(count, closed) for count in scale.snapshot_contracts for closed in (True, False)]
    for place, case in enumerate(cases):
        say(f"{case.contracts:,} contracts", place / len(cases))
        case.measure(SNAPSHOTS_PER_ROUND * scale.rounds)
    head = ("contracts", "24 months", "snapshot, kB", "registrations, kB", "write, ms", "begin, ms")
    largest = cases[-2]
    bar = Bar(
        f"a snapshot with {largest.contracts:,} contracts, whose months are closed, is written",
        f"< {ms(BAR_SECONDS)} ms",
        f"{ms(median(largest.written))} ms",
        median(largest.written) < BAR_SECONDS,
    )
    return Section("snapshots", [Table(head, [case.row() for case in cases])], [bar])
