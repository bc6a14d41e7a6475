"""Audits by ranges: how much faster more processes are, in a model.

Two ledgers with fifty digests of their state are verified in parts, one part after the other and
in this process alone: as one process does it, as several that share the signatures, and as several
that decide a range each. In the model, parts that several processes do take the processor time that
they take here. So the gain is the time of one process, divided by that of the longest part. What it
costs to start processes and to send their results is left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from ledger import verify as verifying
from ledger.folder import FolderReader
from ledger.note import Verifier, open_checkpoint
from ledger.verify import FolderEntries, Replay
from meter.auditor.ranges import Range, Reading, split, survey
from meter.auditor.replay import Audit
from meter.auditor.verdict import judges_beside, judges_by_ranges, no_collections
from meter.values.units import MICROSECONDS, parse_instant
from tests.bench.report import Bar, Curve, Line, Say, Section, Table
from tests.bench.scale import Scale
from tests.bench.servers import Server
from tests.books import DEVICE, lifted, record
from tests.writer import Writer

DIGESTS = 50
CONTRACTS = 40
RECORDS_AN_HOUR = 400
START = "2025-01-01T00:00:00+08:00"
SHARED, BY_RANGES = "shared signatures", "ranges"
PROCESSES = ((2, SHARED), (4, SHARED), (4, BY_RANGES), (8, BY_RANGES), (16, BY_RANGES))
BARS = {2: 1.8, 4: 3.3}


@dataclass
class Case:
    """A ledger whose batches hold so many records; processor time in seconds."""

    records: int
    entries: int
    folder: Path
    verifier: Verifier = field(init=False)
    alone: list[float] = field(default_factory=list)
    longest: dict[tuple[int, str], list[float]] = field(
        default_factory=lambda: {each: [] for each in PROCESSES}
    )

    def fill(self) -> None:
        """Write the ledger: an hour of usage follows on the other, and some is taken back."""
        writer, start, count = Writer(START), parse_instant(START), 0
        writer.by_groups = True
        every = max(1, self.entries // DIGESTS)
        writer.activate(lifted(pool="900000000.00"))
        writer.provider(devices={DEVICE: 10_000_000})
        writer.key()
        writer.enterprise()
        for number in range(CONTRACTS):
            writer.contract(f"C{number}", amount="100000000.00")
        for batch in range(self.entries // self.records):
            taken = range(count, count + self.records)
            count += self.records
            hours = [start + each // RECORDS_AN_HOUR * 3_600 for each in taken]
            writer.at(max(writer.now, (hours[-1] + 7_200) * MICROSECONDS))
            usage = [
                record(f"r{each}", f"C{each % CONTRACTS}", hour, hour + 3_600, 8_000 + each)
                for each, hour in zip(taken, hours, strict=True)
            ]
            voids = [{"id": f"r{taken[0] - 50}", "reason": "it failed"}] if batch % 99 == 98 else []
            writer.post(usage, voids, stream=f"s{batch % 10}", seq=batch // 10 + 1)
            if count // every > taken[0] // every:
                writer.digest_state()
        writer.export(self.folder)
        self.verifier = writer.verifier

    def measure(self) -> None:
        """Verify it in parts."""
        reader = FolderReader(self.folder)
        checkpoint = open_checkpoint(reader.checkpoint(), self.verifier)
        source = verifying._Source(reader, checkpoint)
        entries = FolderEntries(reader, checkpoint.size)
        audit = Audit(read=reader.entries)
        self.alone.append(seconds(partial(verifying._judge_on_one, source, audit, (), nobody)))
        for processes, how in PROCESSES:
            if how == SHARED:
                here, beside = (
                    partial(Audit, with_sums=False, processes=processes, read=reader.entries),
                    judges_beside(processes),
                )
            else:
                own, *ranges = split(*survey(entries), entries.size, processes)
                here, beside = (
                    partial(Reading, entries, Range(entries, *own)),
                    judges_by_ranges(entries, ranges),
                )
            proving, *others = (beside[start :: processes - 1] for start in range(processes - 1))
            works = [
                partial(verifying._judge_on_one, source, None, proving, nobody, is_replayed=True),
                partial(replayed, source, here),
                *(
                    partial(verifying._judge_apart, source, each, is_replayed=True)
                    for each in others
                ),
            ]
            looking = 0.0 if how == SHARED else seconds(partial(survey, entries))
            self.longest[processes, how].append(looking + max(map(seconds, works)))

    def gain(self, processes: int, how: str) -> float:
        return median(self.alone) / median(self.longest[processes, how])


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of some work."""
    with no_collections():
        began = time.process_time()
        done = work()
        taken = time.process_time() - began
    judged = done[1] if isinstance(done, tuple) else done
    assert getattr(judged, "finding", None) is None
    return taken


def replayed(source: verifying._Source, make: Callable[[], Replay]) -> object:
    """Do the part of the process that verifies."""
    replay = make()
    return verifying._judge(source, [replay], replay, nobody)


def nobody(_done: int) -> None:
    """Show no progress."""


async def run(_server: Server, scale: Scale, say: Say) -> Section:
    with TemporaryDirectory() as folder:
        cases = [
            Case(
                min(500, scale.audited_in_batches), scale.audited_in_batches, Path(folder) / "many"
            ),
            Case(1, scale.audited_singly, Path(folder) / "singly"),
        ]
        for place, case in enumerate(cases):
            say(f"{case.records} records a batch", place / len(cases))
            case.fill()
            for _ in range(scale.rounds):
                case.measure()
    head = ("records a batch", "entries", "processes", "how", "longest part, s", "gain, model")
    rows = [
        (f"{case.records:,}", f"{case.entries:,}", *told)
        for case in cases
        for told in [("1", "alone", f"{median(case.alone):.2f}", "1.00"), *rows_of(case)]
    ]
    bars = [
        Bar(
            f"audit by {processes} processes, {case.records} records a batch, model",
            f"≥ {wanted} × one",
            f"{best(case, processes):.2f} ×",
            best(case, processes) >= wanted,
        )
        for case in cases
        for processes, wanted in BARS.items()
    ]
    return Section("ranges", [Table(head, rows)], bars, [curve(cases)])


def rows_of(case: Case) -> list[tuple[str, ...]]:
    return [
        (str(processes), how, f"{median(times):.2f}", f"{case.gain(processes, how):.2f}")
        for (processes, how), times in case.longest.items()
    ]


def best(case: Case, processes: int) -> float:
    return max(case.gain(*each) for each in PROCESSES if each[0] == processes)


def curve(cases: list[Case]) -> Curve:
    """Draw the gain by ranges against processes."""
    lines = [
        Line(
            f"{case.records} a batch",
            [
                (1, 1.0),
                *((count, case.gain(count, how)) for count, how in PROCESSES if how == BY_RANGES),
            ],
        )
        for case in cases
    ]
    title = "Gain of an audit by ranges, in the model"
    return Curve("audit-by-processes", title, "processes", "× one process", lines)
