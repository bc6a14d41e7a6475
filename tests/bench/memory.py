"""The memory of an audit: what each of its parts holds in a log and in one twice as long.

Each part runs in a new process. Its memory is the most that was resident, less what was before it
began. What an entry more costs is the difference of both logs, divided by that of their entries.
"""

import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ledger import verify as verifying
from ledger.folder import FolderReader
from ledger.note import open_checkpoint
from ledger.verify import FolderEntries
from meter.auditor.ranges import Range, Reading, survey
from meter.auditor.replay import Audit, Totals
from tests.bench.ranges import Case, nobody
from tests.bench.report import Say, Section, Table
from tests.bench.scale import Scale
from tests.bench.servers import Server

BATCH_RECORDS = 500
RANGES = 10  # of the shorter log
MIB = 1 << 20


async def run(_server: Server, scale: Scale, say: Say) -> Section:
    records = min(BATCH_RECORDS, scale.audited_in_batches // 4)
    lengths = scale.audited_in_batches // 2, scale.audited_in_batches
    held: list[dict[str, int]] = []
    sizes: list[int] = []
    with TemporaryDirectory() as folder:
        for place, length in enumerate(lengths):
            say(f"{length:,} entries", place / len(lengths))
            case = Case(records, length, Path(folder) / str(length))
            case.fill()
            parts, size = parts_of(case, lengths[0] // RANGES)
            held.append({name: bytes_of(part) for name, part in parts.items()})
            sizes.append(size)
    head = ("part", *(f"{size:,} entries: MiB" for size in sizes), "an entry more, bytes")
    rows = [row(name, [each[name] for each in held], sizes) for name in held[0]]
    return Section("memory", [Table(head, rows)])


def row(name: str, held: list[int], sizes: list[int]) -> tuple[str, ...]:
    an_entry = (held[1] - held[0]) / (sizes[1] - sizes[0])
    return name, *(f"{each / MIB:,.0f}" for each in held), f"{an_entry:,.0f}"


def parts_of(case: Case, span: int) -> tuple[dict[str, Callable[[], object]], int]:
    """Return the parts of an audit, one a range of some `span` entries, and the log's size."""
    reader = FolderReader(case.folder)
    source = verifying._Source(reader, open_checkpoint(reader.checkpoint(), case.verifier))
    size = source.checkpoint.size
    entries = FolderEntries(reader, size)
    first = max((each for each in survey(entries)[0] if each <= size - span), default=0)
    ranged = partial(Range, entries, first, size)

    def apart(judge: Callable[[], verifying.Judge]) -> Callable[[], object]:
        return partial(verifying._judge_apart, source, [judge], is_replayed=True)

    return {
        "all in one process": partial(_alone, source),
        "the bytes and the books": partial(verifying._judge_on_one, source, None, (), nobody),
        "the sums": apart(Totals),
        "questions and receipts": apart(partial(Reading, entries)),
        "the last range, of one length": apart(ranged),
    }, size


def bytes_of(part: Callable[[], object]) -> int:
    """Return the memory of a part in a process of its own."""
    return _in_process("spawn", _bytes_in_fork, part)


def _bytes_in_fork(part: Callable[[], object]) -> int:
    # What was loaded here is there before anything is counted.
    return _in_process("fork", _held_by, part)


def _in_process(
    method: Literal["spawn", "fork"],
    ask: Callable[[Callable[[], object]], int],
    part: Callable[[], object],
) -> int:
    """Return what a question about a part is answered by a process that begins for it."""
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, context, initializer=gc.disable) as pool:
        return pool.submit(ask, part).result()


def _held_by(part: Callable[[], object]) -> int:
    before = _most_resident()
    done = part()
    judged = done[1] if isinstance(done, tuple) else done
    assert isinstance(judged, verifying._Judgement), "an audit's part judges"
    assert judged.finding is None, judged.finding
    return _most_resident() - before


def _most_resident() -> int:
    # Not by `getrusage`, which counts what the process was before it was Python.
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if "VmHWM" in line)


def _alone(source: verifying._Source) -> object:
    return verifying._judge_on_one(source, Audit(read=source.reader.entries), (), nobody)
