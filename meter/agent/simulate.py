"""A simulated provider: a cluster that runs training jobs for contracts and reports their usage.

It is a whole and honest peer, not a stand-in: it has a key, a numbered stream and a clock, and its
jobs occupy nodes of eight cards. It keeps its own count of each contract's device-time, to compare
with what a service metered. The same seed gives the same jobs and the same records, byte for byte.

    cluster = Cluster(seed=7, stream=…, rentals=[Rental("TC-2025-0001", "ascend-910b", 16, …)], …)
    cluster.run_until(now)              # jobs begin and end
    batch = cluster.report()            # the next slice of every job, a final one where it ended
    envelope = cluster.stream.sign(batch)
    batch = cluster.apply_void(cluster.failed[:1], "node failed, not charged")

A job's records are contiguous slices: each begins where the one before it ended.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meter.client import Stream
from meter.values.strict import Instant
from meter.wire.batch import Batch, Record, Void

CARDS_PER_NODE: Final = 8
MILLI_PER_NODE: Final = CARDS_PER_NODE * 1_000

# What jobs are like: most take hours, some days, and a contract's next one comes soon after.
_SHORTEST_SECONDS: Final = 20 * 60
_LONGEST_SECONDS: Final = 60 * 3600
_LONGEST_GAP_SECONDS: Final = 3600
_FIRST_JOB: Final = 4_200
_ENDINGS: Final = ("COMPLETED",) * 17 + ("FAILED", "TIMEOUT", "NODE_FAIL")


@dataclass(frozen=True, slots=True)
class Rental:
    """What a contract rents: at most `nodes` at a time; jobs begin in `[start, until)`."""

    contract: str
    device: str
    nodes: int
    start: int
    until: int


@dataclass(slots=True)
class Job:
    """A job on its nodes. `begin` and `end` are known once it runs; seconds since 1970 UTC."""

    id: str
    rental: Rental
    nodes: int
    seconds: int
    ending: str
    begin: int = 0
    reported_until: int = 0
    slices: int = 0

    @property
    def end(self) -> int:
        return self.begin + self.seconds


@dataclass(slots=True)
class _Queue:
    """A rental's next job, which waits for `ready_at` and then for free nodes."""

    rental: Rental
    ready_at: int
    job: Job


class Cluster:
    """The provider. `clock` is what its jobs live by; it moves only by `run_until`.

    `device_time` is its own count, thousandths × seconds by contract, taken from the occupied nodes
    and not from the records. `failed` are the last records of jobs that a broken node ended.
    """

    def __init__(
        self, *, seed: int, stream: Stream, nodes: int, rentals: Sequence[Rental], clock: int
    ) -> None:
        self.stream = stream
        self.nodes = nodes
        self.clock = clock
        self.device_time: dict[str, int] = {rental.contract: 0 for rental in rentals}
        self.running: list[Job] = []
        self.failed: list[Record] = []
        self._ended: list[Job] = []
        self._jobs = 0
        self._random = random.Random(seed)  # noqa: S311 - it must be predictable
        self._queues = [
            _Queue(rental, max(rental.start, clock), self._new_job(rental)) for rental in rentals
        ]

    def run_until(self, now: int) -> None:
        """Let jobs begin and end up to and including `now`."""
        while (moment := self._next_moment()) <= now:
            self._move_clock(moment)
            self._end_jobs()
            self._begin_jobs()
            if moment == now:
                break
        self._move_clock(now)

    def report(self) -> Batch:
        """Return the usage since the last report as the stream's next batch, which may be empty."""
        jobs = sorted([*self.running, *self._ended], key=lambda job: job.id)
        records = [self._slice(job) for job in jobs if job.reported_until < self._seen_until(job)]
        self._ended.clear()
        return self.stream.next_batch(records)

    def apply_void(self, records: Iterable[Record], reason: str) -> Batch:
        """Return a batch that voids accepted records; they no longer count here either."""
        voids = []
        for record in records:
            voids.append(Void(record.id, reason))
            self.device_time[record.contract] -= record.milli_devices * (record.end - record.start)
        return self.stream.next_batch([], voids)

    @property
    def idle(self) -> bool:
        """Return whether all jobs are done and reported, and no more will come."""
        over = all(queue.rental.until <= self.clock for queue in self._queues)
        return over and not self.running and not self._ended

    # Jobs

    def _next_moment(self) -> int:
        """Return when something happens next, far away where nothing does."""
        ends = [job.end for job in self.running]
        ready = [queue.ready_at for queue in self._queues]
        arrivals = [moment for moment in ready if moment > self.clock]
        startable = [self.clock for queue in self._queues if self._has_room(queue)]
        return min([*ends, *arrivals, *startable], default=2**62)

    def _move_clock(self, moment: int) -> None:
        """Let time pass, and count it for the contracts whose nodes are occupied."""
        for job in self.running:
            in_use = job.nodes * MILLI_PER_NODE * (moment - self.clock)
            self.device_time[job.rental.contract] += in_use
        self.clock = moment

    def _end_jobs(self) -> None:
        self._ended += [job for job in self.running if job.end <= self.clock]
        self.running = [job for job in self.running if job.end > self.clock]

    def _begin_jobs(self) -> None:
        for queue in self._queues:
            while self._has_room(queue):
                queue.job.begin = queue.job.reported_until = self.clock
                self.running.append(queue.job)
                queue.ready_at = self.clock + self._random.randrange(_LONGEST_GAP_SECONDS)
                queue.job = self._new_job(queue.rental)

    def _has_room(self, queue: _Queue) -> bool:
        """Return whether the waiting job can begin: it is due, and rental and cluster have room."""
        rented = sum(job.nodes for job in self.running if job.rental is queue.rental)
        occupied = sum(job.nodes for job in self.running)
        return (
            queue.ready_at <= self.clock < queue.rental.until
            and rented + queue.job.nodes <= queue.rental.nodes
            and occupied + queue.job.nodes <= self.nodes
        )

    def _new_job(self, rental: Rental) -> Job:
        self._jobs += 1
        most = min(rental.nodes, self.nodes)
        sizes = [nodes for nodes in (1, 1, 2, 4, 8, 16) if nodes <= most]
        hours = self._random.choice((1, 3, 6, 12, 24, _LONGEST_SECONDS // 3600))
        return Job(
            id=f"slurm:{_FIRST_JOB + self._jobs}",
            rental=rental,
            nodes=self._random.choice(sizes),
            seconds=self._random.randint(_SHORTEST_SECONDS, hours * 3600),
            ending=self._random.choice(_ENDINGS),
        )

    # Records

    def _seen_until(self, job: Job) -> int:
        return min(job.end, self.clock)

    def _slice(self, job: Job) -> Record:
        """Return the part of a job that is not reported yet."""
        final = job.end <= self.clock
        record = Record(
            id=f"{job.id}:{job.slices}",
            contract=job.rental.contract,
            device=job.rental.device,
            milli_devices=job.nodes * MILLI_PER_NODE,
            start=Instant(job.reported_until),
            end=Instant(self._seen_until(job)),
            run=job.id,
            state=job.ending if final else "RUNNING",
            final=final,
        )
        job.reported_until = record.end
        job.slices += 1
        if final and job.ending == "NODE_FAIL":
            self.failed.append(record)
        return record


def simulated_key(seed: int) -> Ed25519PrivateKey:
    """Return a provider's key that anyone can make from the seed, for ledgers that are not real."""
    return Ed25519PrivateKey.from_private_bytes(sha256(b"simulated provider %d" % seed).digest())
