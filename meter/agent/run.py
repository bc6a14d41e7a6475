"""The agent: a reading of the scheduler becomes slices, batches and posts.

    async with Agent(read_config(file)) as agent:
        outcome = await agent.once()

One round reads, writes down what was seen and what follows from it in one transaction, and posts
what is unsent. Whatever stops it, the next round goes on: what was written is posted, what was not
is read again.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NoReturn, Self

from meter.agent.collect import job_file, kubernetes, slurm
from meter.agent.config import (
    Config,
    FileSettings,
    KubernetesSettings,
    SlurmSettings,
    read_config,
)
from meter.agent.plan import Slice, plan, vanished
from meter.agent.push import Report, Reporter
from meter.agent.slice import Rhythm, Span
from meter.agent.status import Status, status_of
from meter.agent.store import Spool
from meter.agent.summary import due_days, summary_of
from meter.agent.usage import Reading, Run
from meter.client import (
    ATTEMPTS,
    FIRST_PAUSE_SECONDS,
    ClientError,
    Stream,
    load_key,
    record_fields,
)
from meter.values.units import DAY_SECONDS, day_of
from meter.wire.batch import Record, Void

# Rows change, and appear, long after the fact.
LOOK_BACK_SECONDS: Final = 2 * DAY_SECONDS
# What ended at the very edge of the look-back may be missing without being gone.
_EDGE_SECONDS: Final = 60

Collect = Callable[[int], Awaitable[Reading]]


@dataclass(slots=True)
class Outcome:
    """What one round did: the reading, what follows from it, and what was settled."""

    reading: Reading
    records: list[Record] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)
    report: Report = field(default_factory=Report)
    clock_ahead_seconds: dict[str, float] = field(default_factory=dict)  # of `slurm`, `service`
    faults: list[str] = field(default_factory=list)

    @property
    def has_more(self) -> bool:
        """Return whether there is more to read now."""
        part = self.reading.part
        return part is not None and part.has_more and not self.faults

    def add(self, later: "Outcome") -> None:
        """Take in what came of reading on."""
        self.reading = later.reading
        self.records += later.records
        self.voids += later.voids
        self.report = _both(self.report, later.report)
        self.clock_ahead_seconds |= later.clock_ahead_seconds
        self.faults += later.faults


class Agent:
    """The agent of one stream; use it as `async with Agent(config) as agent`.

    Entering raises `ClientError` (`in_use`, `other_stream`, `spool`), `ValueError` and `OSError`.
    """

    def __init__(
        self,
        config: Config,
        *,
        collect: Collect | None = None,
        attempts: int = ATTEMPTS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.spool = Spool(Path(config.spool))
        self._config = config
        self._rhythm: Rhythm = config.source.rhythm
        self._collect = collect or self._read
        service, provider = config.service, config.provider
        stream = Stream(
            log=service.log,
            genesis=service.genesis,
            provider=provider.id,
            name=provider.stream,
            keyid=provider.keyid,
            key=load_key(Path(provider.key)),
        )
        self._reporter = Reporter(
            service.url,
            stream,
            service.receipt_key,
            self.spool,
            token=config.token,
            tls=config.tls,
            attempts=attempts,
            first_pause_seconds=first_pause_seconds,
            # The spool gives each number once: if one is taken, the spool is not the newest.
            max_seq_conflicts=0,
        )

    async def __aenter__(self) -> Self:
        await self._reporter.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reporter.__aexit__()

    async def once(self, *, is_dry: bool = False) -> Outcome:
        """Read, write down, post, until nothing is left to read. A dry round changes nothing.

        Raises `ClientError` `spool` only: other faults are in the outcome.
        """
        outcome = await self._once(is_dry=is_dry)
        while outcome.has_more and not is_dry:
            outcome.add(await self._once(is_dry=False))
        return outcome

    async def _once(self, *, is_dry: bool) -> Outcome:
        now = time.time()
        outcome = Outcome(await self._collect(self._since()))
        if self._config.source.clock is not None:
            outcome.clock_ahead_seconds[self._config.source.clock] = now - outcome.reading.at
        outcome.faults += outcome.reading.faults
        with self.spool.change(is_undone=is_dry):
            self._take(outcome)
        if is_dry:
            return outcome
        try:
            await self._post(outcome)
            with self.spool.change():
                # Their voids are answered now.
                self._judge_all(self.spool.unfinished(), outcome)
            await self._post(outcome)
            await self._sum_up(outcome)
        except ClientError as error:
            if error.code == "spool":
                raise
            outcome.faults.append(_told(error))
        outcome.clock_ahead_seconds["service"] = self._reporter.clock_ahead_seconds
        return outcome

    async def prove(self) -> None:
        """Fetch and keep the proofs that the spool lacks. Raises `ClientError`."""
        check_token(self._config)
        await self._reporter.prove()

    async def read(self, since: int) -> Reading:
        """Return all that the scheduler says of what counts, and ended since."""
        match self._config.source:
            case FileSettings() as settings:
                reading = await self._read_file(settings, None, sys.maxsize)
            case KubernetesSettings() as settings:  # changes alone are not all
                reading = await self._read_pods(settings, None)
            case SlurmSettings():
                reading = await self._collect(since - LOOK_BACK_SECONDS)
        runs = {id_: run for id_, run in reading.runs.items() if self._counts(run)}
        return replace(reading, runs=runs)

    def sees_again(self, run: Run) -> bool:
        """Return whether the next round sees a run of which the spool knows nothing."""
        is_slurm = isinstance(self._config.source, SlurmSettings)
        return not is_slurm or run.end is None or run.end >= self._since()

    def _counts(self, run: Run) -> bool:
        """Return whether a run did not end before all that is reported."""
        return run.end is None or run.end > self._config.source.since

    async def _read(self, since: int) -> Reading:
        match self._config.source:
            case SlurmSettings(cluster=cluster, settle_seconds=settle_seconds):
                return await slurm.read(cluster, since, int(time.time()), settle_seconds)
            case FileSettings() as settings:
                cursor = self.spool.fact("cursor")
                return await self._read_file(settings, cursor, job_file.MAX_LINES)
            case KubernetesSettings() as settings:
                return await self._read_pods(settings, self.spool.fact("cursor"))

    async def _read_pods(self, settings: KubernetesSettings, cursor: str | None) -> Reading:
        known = self.spool.unended(kubernetes.prefix_of(settings))
        return await kubernetes.read(settings, known, cursor, int(time.time()))

    @staticmethod
    async def _read_file(settings: FileSettings, cursor: str | None, max_lines: int) -> Reading:
        places = Path(settings.path), Path(settings.mapping)
        return await asyncio.to_thread(job_file.read, *places, cursor, max_lines)

    def _since(self) -> int:
        """Return how far back the next reading looks."""
        known = self.spool.fact("complete_at")
        complete_at = self._config.source.since if known is None else int(known)
        oldest = self.spool.oldest_open
        return min(complete_at, complete_at if oldest is None else oldest) - LOOK_BACK_SECONDS

    async def _post(self, outcome: Outcome) -> None:
        """Post what is unsent, and add what comes of it to a round's report."""
        outcome.report = _both(outcome.report, await self._reporter.report())

    async def _sum_up(self, outcome: Outcome) -> None:
        """Sum up the days that are over, after all that was unsent was answered."""
        if not outcome.reading.is_complete or outcome.has_more:
            return
        days = due_days(self.spool, outcome.reading.at)
        if days:
            with self.spool.change():
                for day in days:
                    self._reporter.enqueue_summary(summary_of(self.spool, day))
            await self._post(outcome)

    def _take(self, outcome: Outcome) -> None:
        """Write down a reading and what follows from it, within one change."""
        reading, digest = outcome.reading, self._config.map_digest
        is_same_map = self.spool.fact("map") == digest
        settled = self.spool.settled(reading.since) if is_same_map and reading.runs else {}
        self.spool.set_fact("map", digest)
        if reading.part is not None:
            self.spool.keep_part(reading.part, reading.at)
        new = {id_: run for id_, run in reading.runs.items() if settled.get(id_) != run}
        for run in new.values():
            if self._counts(run):
                self.spool.see(self._told_apart(run, reading), reading.at)
        gone: set[str] = set()
        if reading.is_complete:
            self.spool.set_fact("complete_at", str(reading.at))
            if self.spool.fact("first_day") is None:
                self.spool.set_fact("first_day", str(day_of(reading.at)))
        ids = new.keys() | self.spool.unsettled()
        if reading.cursor is not None:
            self.spool.set_fact("cursor", reading.cursor)
            if not is_same_map:  # what was told before is not told again
                ids |= self.spool.runs_since(self._config.source.since)
        elif reading.is_complete:
            gone = self.spool.runs_since(reading.since + _EDGE_SECONDS) - reading.runs.keys()
        self._judge_all(ids | gone, outcome, gone)

    def _told_apart(self, run: Run, reading: Reading) -> Run:
        """Return a run of a file, as `twice` where the file told another job of this name.

        What was read before the file was read anew may have been mended: then a run that overlaps
        what it was is the same job.
        """
        found = None if reading.part is None else self.spool.run(run.id)
        if reading.part is None or found is None:
            return run
        before, known = found
        if reading.part.is_anew or not self.spool.is_of_this_pass(run.id):
            spans = [each.span for each in known.standing]
            is_one = run.end is None or not spans or _overlap(spans, (run.begin, run.end))
        else:
            is_one = before.begin == run.begin and before.standing != "twice"
        return run if is_one else replace(run, standing="twice")

    def _judge_all(self, ids: set[str], outcome: Outcome, gone: Collection[str] = ()) -> None:
        """Report what is due of runs, and put it into batches."""
        records, voids = len(outcome.records), len(outcome.voids)
        for id_ in sorted(ids):
            self._judge(id_, outcome, is_gone=id_ in gone)
        due = outcome.records[records:], outcome.voids[voids:]
        outcome.report.not_taken.extend(self._reporter.enqueue(*due))

    def _judge(self, id_: str, outcome: Outcome, *, is_gone: bool) -> None:
        """Report what is due of a run, or see that it is gone from the accounting."""
        found = self.spool.run(id_)
        if found is None:  # it ended before the agent's time
            return
        run, known = found
        if is_gone and (known.slices or run.end is None):
            run = replace(run, standing="gone" if known.slices else "doubtful")
            self.spool.stand(id_, run.standing)
        is_shown = id_ in outcome.reading.runs
        if run.standing == "gone":
            made = vanished(run, known)
        elif run.standing == "doubtful" or (run.end is None and not is_shown):
            return  # it may have ended
        else:
            made = plan(run, known, self._config.map, self._rhythm, outcome.reading.at)
            if run.standing == "unseen" and made.question is None:
                self.spool.stand(id_, "ended")
        self.spool.apply(run, known, made)
        outcome.records += [each.record() for each in made.slices]
        outcome.voids += voids_of(made.voids, run)


async def run(
    file: Path, every_seconds: float, tell: Callable[[Outcome | None, Status | None, str], None]
) -> NoReturn:
    """Run a round now and then, for ever; tell of each its outcome, the status, and the trouble.

    A round reads the file anew, and has the spool only meanwhile: so the map can be changed and a
    correction approved at any time. A fault that stops a round does not stop the next.
    """
    while True:
        began = time.monotonic()
        try:
            async with Agent(read_config(file)) as agent:
                outcome = await agent.once()
                tell(outcome, status_of(agent.spool), "")
        except (ClientError, OSError, ValueError) as error:
            tell(None, None, str(error))
        await asyncio.sleep(max(0.0, began + every_seconds - time.monotonic()))


def _overlap(spans: list[Span], other: Span) -> bool:
    """Return whether a stretch overlaps what lies between the ends of others."""
    return min(spans)[0] < other[1] and other[0] < max(end for _, end in spans)


def voids_of(slices: list[Slice], run: Run) -> list[Void]:
    """Return what takes back the slices that the ledger may hold."""
    reason = f"{run.id} is {run.state} until {run.end}, by the accounting"
    return [Void(each.id, reason) for each in slices if each.standing in ("sent", "held")]


def _both(one: Report, later: Report) -> Report:
    return Report(one.receipts + later.receipts, one.not_taken + later.not_taken, later.waiting)


def lines_of(outcome: Outcome) -> list[dict[str, object]]:
    """Return what a round would post, as JSON."""
    lines: list[dict[str, object]] = []
    lines += ({"void": each.id, "reason": each.reason} for each in outcome.voids)
    lines += (record_fields(each) for each in outcome.records)
    return lines


def check_token(config: Config) -> None:
    """Raise `ClientError` `no_token` where the agent's file names none."""
    if config.token is None:
        detail = "the service tells this to the provider's token alone: name its file in [service]"
        raise ClientError("no_token", detail)


def _told(error: ClientError) -> str:
    if error.code == "seq_conflict":
        return f"{error}: this spool is not the stream's newest; kashi agent adopt makes it so"
    return str(error)
