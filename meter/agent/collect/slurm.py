"""Read runs from Slurm's accounting, by its own commands.

`sacct` has the runs, `squeue` what runs now, and `sdiag` whether the accounting is up to date. Seen
on Slurm 22.05: for seconds after an outage of slurmdbd, `sacct` succeeds and lacks a run that has
ended, or shows it running. So a reading says what it lacks (`Reading.faults`), also what `squeue`
still shows of runs that `sacct` has not heard of. A run without an end is open only where `squeue`
has the same run of the same start.

A run is (cluster, JobIDRaw, Submit). A job id is used again after a requeue, and a resized job has
two rows of one start; the later run begins when it was submitted, which is when it was resized.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Final

from meter.agent.usage import Reading, Run, Standing

FIELDS: Final = (
    *("Cluster", "JobIDRaw", "JobID", "DBIndex", "Account", "Partition", "State", "Submit"),
    *("Start", "End", "ElapsedRaw", "Suspended", "AllocTRES", "NodeList"),
)
SQUEUE: Final = ("squeue", "-h", "-o", "%A|%T|%S|%e")
SEPARATOR: Final = "\x1f"
SAMPLES: Final = 10  # of the queue to slurmdbd, which is seldom empty on a busy cluster
_SAMPLE_PAUSE_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 300
# What these hold would change the output, or the cluster that is asked.
_FOREIGN: Final = re.compile(r"(SACCT|SQUEUE|SINFO|SLURM_CLUSTERS)")
_NO_TIME: Final = frozenset({"", "0", "None", "Unknown"})
_RUNNING: Final = frozenset({"RUNNING", "SUSPENDED"})
# Jobs of other states have not begun, and show when they are expected to.
_BEGAN: Final = _RUNNING | {"COMPLETING", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}
_ENDED: Final = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}
    | {"BOOT_FAIL", "DEADLINE"}
)
_SHOWN: Final = 5  # of the runs that the accounting lacks
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_QUEUE: Final = re.compile(r"^DBD Agent queue size:\s*(\d+)$", re.MULTILINE)
_CLOCK: Final = re.compile(r"^sdiag output at .*\((\d+)\)$", re.MULTILINE)
_JOBS: Final = re.compile(r"^Jobs running:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command printed; `fault` is empty where it did its work and complained of nothing."""

    text: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the controller says of itself: its clock, messages for slurmdbd, running jobs."""

    at: int
    queue: int
    running: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A job as `squeue` shows it."""

    raw: str
    state: str
    start: str
    end: str

    @property
    def changed_at(self) -> int | None:
        """Return when it began or ended last; None where it never ran."""
        if self.start in _NO_TIME or not _NUMBER.fullmatch(self.start):
            return None
        if self.state in _BEGAN:
            return int(self.start)
        # What was cancelled before it began has one time for both.
        is_run = self.state in _ENDED and self.end != self.start and _NUMBER.fullmatch(self.end)
        return int(self.end) if is_run else None


async def read(cluster: str, since: int, otherwise_at: int, settle_seconds: int) -> Reading:
    """Return what Slurm knows of the runs since an instant.

    `otherwise_at` is the time of the reading where the controller does not tell its own. What
    `squeue` shows for longer than `settle_seconds` has to be in the accounting.
    """
    diagnosis, faults = await diagnose(SAMPLES)
    # Before sacct: what ends in between is not confirmed, which is right.
    squeue = await run(*SQUEUE, "-t", "all")
    sacct = await run(*sacct_command(since))
    rows, broken = rows_of(sacct.text, cluster)
    shown, unread = shown_by(squeue.text)
    faults += [each.fault for each in (squeue, sacct) if each.fault] + broken + unread
    if diagnosis is not None and diagnosis.queue:
        faults.append(f"sdiag: {diagnosis.queue} messages wait for slurmdbd")
    if diagnosis is not None and not sacct.fault:
        faults += missing_in(rows, shown, diagnosis.at - settle_seconds)
    return Reading(
        at=otherwise_at if diagnosis is None else diagnosis.at,
        since=since,
        runs=runs_of(rows, confirmed_by(shown)),
        faults=tuple(faults),
    )


def sacct_command(since: int) -> tuple[str, ...]:
    """Return the command; without a state, as `-s` would drop running jobs."""
    start = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    options = ("-a", "-X", "-D", "-P", "-n", "--noconvert", f"--delimiter={SEPARATOR}")
    return ("sacct", *options, "-S", start, "-E", "now", f"--format={','.join(FIELDS)}")


async def diagnose(samples: int = 1) -> tuple[Diagnosis | None, list[str]]:
    """Return what the controller says, with an empty queue if one sample has it; and faults."""
    found: Diagnosis | None = None
    for left in reversed(range(samples)):
        output = await run("sdiag")
        numbers = [each.search(output.text) for each in (_CLOCK, _QUEUE, _JOBS)]
        if output.fault or None in numbers:
            return None, [output.fault or "sdiag: its output is not known"]
        found = Diagnosis(*(int(each[1]) for each in numbers if each))
        if not found.queue or not left:
            break
        await asyncio.sleep(_SAMPLE_PAUSE_SECONDS)
    return found, []


async def run(*command: str) -> Output:
    """Run one of Slurm's commands; it is asked in English, in UTC, in seconds since 1970."""
    environment = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    environment |= {"TZ": "UTC", "LC_ALL": "C.UTF-8", "SLURM_TIME_FORMAT": "%s"}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return Output("", f"{command[0]}: {error.strerror}")
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            out, complaint = await process.communicate()
    except TimeoutError:
        return Output("", f"{command[0]}: no answer within {_TIMEOUT_SECONDS} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = " ".join(complaint.decode(errors="replace").split())
    if process.returncode:
        return Output("", f"{command[0]}: exit {process.returncode}: {told:.500}")
    return Output(out.decode(errors="replace"), f"{command[0]}: {told:.500}" if told else "")


# What the commands print


Row = Mapping[str, str]


def rows_of(text: str, cluster: str) -> tuple[list[Row], list[str]]:
    """Return the whole rows of this cluster that `sacct` printed, and what is wrong with others."""
    rows: list[Row] = []
    faults = []
    for line in filter(None, text.split("\n")):
        values = line.split(SEPARATOR)
        row = dict(zip(FIELDS, values, strict=False))
        if len(values) != len(FIELDS) or not _is_whole(row):
            faults.append(f"sacct: a row is not whole: {line:.200}")
        elif row["Cluster"] != cluster:
            faults.append(f"sacct: a row is of the cluster {row['Cluster']:.40}, not {cluster}")
        else:
            rows.append(row)
    return rows, faults


def _is_whole(row: Row) -> bool:
    numbers = ("JobIDRaw", "Submit", "ElapsedRaw")
    times = (row["Start"], row["End"])
    return (
        all(_NUMBER.fullmatch(row[name]) for name in numbers)
        and all(each in _NO_TIME or _NUMBER.fullmatch(each) for each in times)
        and bool(row["State"])
    )


def shown_by(squeue: str) -> tuple[list[Shown], list[str]]:
    """Return the jobs that `squeue` printed, and what is wrong with other lines."""
    shown = []
    faults = []
    for line in filter(None, squeue.split("\n")):
        values = line.split("|")
        if len(values) == len(fields(Shown)):
            shown.append(Shown(*values))
        else:
            faults.append(f"squeue: a row is not whole: {line:.200}")
    return shown, faults


def confirmed_by(shown: Iterable[Shown]) -> set[tuple[str, str]]:
    """Return (JobIDRaw, Start) of what runs or is suspended."""
    return {(each.raw, each.start) for each in shown if each.state in _RUNNING}


def missing_in(rows: Iterable[Row], shown: Iterable[Shown], until: int) -> list[str]:
    """Return the fault that `sacct` lacks begins or ends which came before an instant."""
    known = {(row["JobIDRaw"], row["Start"]) for row in rows}
    unended = {(row["JobIDRaw"], row["Start"]) for row in rows if row["End"] in _NO_TIME}
    missing = []
    for each in shown:
        run_, changed_at = (each.raw, each.start), each.changed_at
        is_late = run_ not in known or (each.state in _ENDED and run_ in unended)
        if changed_at is not None and changed_at <= until and is_late:
            missing.append(each.raw)
    if not missing:
        return []
    named = ", ".join(missing[:_SHOWN])
    return [f"sacct is behind squeue by {len(missing)} runs: {named}"]


def runs_of(rows: Iterable[Row], confirmed: set[tuple[str, str]]) -> dict[str, Run]:
    """Return the runs that began, by id."""
    began = [row for row in rows if row["Start"] not in _NO_TIME]
    newest: dict[str, int] = {}
    for row in began:
        newest[row["JobIDRaw"]] = max(int(row["Submit"]), newest.get(row["JobIDRaw"], 0))
    runs: dict[str, Run] = {}
    for row in began:
        is_newest = int(row["Submit"]) == newest[row["JobIDRaw"]]
        is_confirmed = is_newest and (row["JobIDRaw"], row["Start"]) in confirmed
        made = _run(row, is_confirmed=is_confirmed)
        runs[made.id] = replace(made, standing="twice") if made.id in runs else made
    return runs


def _run(row: Row, *, is_confirmed: bool) -> Run:
    start, submit = int(row["Start"]), int(row["Submit"])
    begin = max(start, submit)
    end = None if row["End"] in _NO_TIME else max(begin, int(row["End"]))
    unended: Standing = "open" if is_confirmed else "doubtful"
    return Run(
        id=f"slurm:{row['Cluster']}:{row['JobIDRaw']}:{submit}",
        account=row["Account"],
        partition=row["Partition"],
        state=row["State"][:128],
        allocation=row["AllocTRES"],
        begin=begin,
        end=end,
        # What passed before a resizing is counted in its later row too.
        ran=max(0, int(row["ElapsedRaw"]) - (begin - start)),
        was_suspended=row["State"].startswith("SUSPENDED") or any(map(int, _digits(row))),
        standing=unended if end is None else "ended",
    )


def _digits(row: Row) -> Iterator[str]:
    """Yield the digits of how long a run was suspended, as `1-02:03:04`."""
    return filter(str.isdecimal, row["Suspended"])


def missing_fields(helpformat: str) -> Sequence[str]:
    """Return the fields that this Slurm's `sacct --helpformat` does not have."""
    known = set(helpformat.split())
    return [name for name in FIELDS if name not in known]
