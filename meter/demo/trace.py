"""Usage out of a cluster trace: the CSV form of cluster-trace-gpu-2023-pods.csv (alibaba/clusterdata).

    name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
    openb-pod-0001,6000,12288,1,460,,LS,Running,427061,12902960,427061

One line is one task; times are whole seconds from the beginning of the trace. A task with GPUs that
was scheduled and deleted held `num_gpu × gpu_milli` thousandths of a device from `scheduled_time` to
`deletion_time`; any other is skipped, and counted by the reason. `Totals.of` counts the same once
more, straight from the columns and with nothing of `parse`, to compare a ledger with.

Pure: text in, values out.
"""  # noqa: E501 (the header is as long as it is)

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Self

from msgspec import UNSET

from meter.values.strict import Instant
from meter.wire.batch import MAX_RECORD_SECONDS, Record

COLUMNS: Final = (
    *("name", "num_gpu", "gpu_milli", "gpu_spec", "qos", "pod_phase"),
    *("deletion_time", "scheduled_time"),
)
NO_DEVICE: Final = "without a GPU"
NEVER_SCHEDULED: Final = "never scheduled"
NEVER_DELETED: Final = "never deleted"
NO_TIME: Final = "deleted as soon as scheduled"
REASONS: Final = (NO_DEVICE, NEVER_SCHEDULED, NEVER_DELETED, NO_TIME)
OTHER_QOS: Final = "other"

_NAME: Final = re.compile(r"[\x21-\x7e]{1,100}")  # leaves room in a record id for the slice
_NUMBER: Final = re.compile(r"([0-9]{1,10})(?:\.0+)?", re.ASCII)  # some versions write "12.0"


class TraceError(Exception):
    """A trace that cannot be read, with a stable code; `detail` names the line."""

    code = "bad_trace"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{self.code}: {detail}")
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Task:
    """A task that held devices in `[start, end)`, seconds from the trace's beginning."""

    name: str
    milli_devices: int
    gpu_spec: str
    qos: str
    phase: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The tasks in order of their start, and how many were skipped for each of `REASONS`."""

    tasks: list[Task]
    skipped: Mapping[str, int]

    @property
    def start(self) -> int:
        return self.tasks[0].start

    @property
    def end(self) -> int:
        return max(task.end for task in self.tasks)


@dataclass(frozen=True, slots=True)
class Rule:
    """The contract and device kind of each task; see `place`.

    `contracts` are those of each qos, with `OTHER_QOS` for all that it does not name.
    """

    contracts: Mapping[str, tuple[str, ...]]
    devices: tuple[str, ...]

    def place(self, task: Task) -> tuple[str, str]:
        """Choose contract and device by bytes 0 and 1 of sha256("<gpu_spec>/<name>")."""
        contracts = self.contracts.get(task.qos) or self.contracts[OTHER_QOS]
        digest = sha256(f"{task.gpu_spec}/{task.name}".encode()).digest()
        return contracts[digest[0] % len(contracts)], self.devices[digest[1] % len(self.devices)]


def parse(text: str) -> Trace:
    """Read a trace. Raises `TraceError`, also where no task is left."""
    tasks: dict[str, Task] = {}
    skipped = dict.fromkeys(REASONS, 0)
    for number, row in _rows(text):
        try:
            task = _task(row)
        except ValueError as error:
            raise TraceError(f"line {number}: {error}") from None
        if isinstance(task, str):
            skipped[task] += 1
        elif task.name in tasks:
            raise TraceError(f"line {number}: a second task {task.name}")
        else:
            tasks[task.name] = task
    if not tasks:
        raise TraceError("no task of it held a GPU from one moment to a later one")
    return Trace(sorted(tasks.values(), key=lambda task: (task.start, task.name)), skipped)


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each line's number and its columns by name."""
    lines = _lines(text)
    header = next(lines, [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise TraceError(f"line 1: no column {', '.join(missing)}")
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise TraceError(f"line {number}: {len(line)} columns, not {len(header)}")
        yield number, dict(zip(header, line, strict=True))


def _lines(text: str) -> Iterator[list[str]]:
    lines = csv.reader(text.splitlines())
    try:
        yield from lines
    except csv.Error as error:  # a field has a largest size
        raise TraceError(f"line {lines.line_num}: {error}") from None


def _task(row: Mapping[str, str]) -> Task | str:
    """Return the task of a row, or the reason to skip it. Raises `ValueError`."""
    milli_devices = _number(row, "num_gpu") * _number(row, "gpu_milli")
    if milli_devices == 0:
        return NO_DEVICE
    if not row["scheduled_time"]:
        return NEVER_SCHEDULED
    start = _number(row, "scheduled_time")
    if not row["deletion_time"]:
        return NEVER_DELETED
    end = _number(row, "deletion_time")
    if end < start:
        raise ValueError("deleted before it was scheduled")
    if end == start:
        return NO_TIME
    for name in ("name", "pod_phase"):
        if not _NAME.fullmatch(row[name]):
            raise ValueError(f"{name} is not 1 to 100 visible ASCII: {row[name]!r:.50}")
    spec, qos = row["gpu_spec"], row["qos"]
    return Task(row["name"], milli_devices, spec, qos, row["pod_phase"], start, end)


def _number(row: Mapping[str, str], column: str) -> int:
    match = _NUMBER.fullmatch(row[column])
    if match is None:
        raise ValueError(f"{column} is not a whole number: {row[column]!r:.50}")
    return int(match[1])


def records(trace: Trace, rule: Rule, begins: int) -> list[Record]:
    """Return the trace's usage in order of its start; its first task starts at `begins`.

    A task that is longer than a record may be becomes several, each beginning where the one before
    it ended.
    """
    shift = begins - trace.start
    made = [record for task in trace.tasks for record in _slices(task, rule.place(task), shift)]
    return sorted(made, key=lambda record: (record.start, record.id))


def _slices(task: Task, place: tuple[str, str], shift: int) -> Iterator[Record]:
    contract, device = place
    for index, start in enumerate(range(task.start, task.end, MAX_RECORD_SECONDS)):
        end = min(start + MAX_RECORD_SECONDS, task.end)
        yield Record(
            id=f"{task.name}:{index}",
            contract=contract,
            device=device,
            milli_devices=task.milli_devices,
            start=Instant(start + shift),
            end=Instant(end + shift),
            run=task.name,
            state=task.phase if end == task.end else UNSET,
            final=end == task.end,
        )


@dataclass(slots=True)
class Totals:
    """The totals of a trace. `device_time` is thousandths × seconds."""

    device_time: int = 0
    tasks: int = 0
    records: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, text: str) -> Self:
        """Count straight from the columns of a text that `parse` has taken."""
        totals = cls()
        for row in csv.DictReader(text.splitlines()):
            gpus, milli, scheduled, deleted = (
                row[name].partition(".")[0]
                for name in ("num_gpu", "gpu_milli", "scheduled_time", "deletion_time")
            )
            devices = int(gpus) * int(milli)
            seconds = int(deleted) - int(scheduled) if devices and scheduled and deleted else 0
            if devices * seconds > 0:
                totals.device_time += devices * seconds
                totals.tasks += 1
                totals.records += -(-seconds // MAX_RECORD_SECONDS)
            elif devices == 0:
                totals.skipped[NO_DEVICE] += 1
            else:
                missing = (not scheduled, not deleted, True)
                totals.skipped[REASONS[1:][missing.index(True)]] += 1
        return totals
