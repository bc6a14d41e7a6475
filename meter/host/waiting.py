"""The submissions that wait for the sequencer, in the queue or in the group that is decided now.

Each gets one outcome, which is counted.
"""

from typing import Final

from meter.host.metrics import Metrics
from meter.host.queue import Queue
from meter.host.submission import BatchSubmission, Submission
from meter.rules.decide_command import CommandResponse
from meter.rules.state import StoredBatch
from meter.values.problems import Problem

MAX_QUEUE_BYTES: Final = 64 * 1024 * 1024  # beyond this the service says 503 rather than swell
# Bounds a commit's time, and so how long a flood of one provider delays another; one batch may
# exceed it. Larger groups take no more records a second.
MAX_GROUP_BYTES: Final = 1024 * 1024

Outcome = StoredBatch | CommandResponse | Problem


class Waiting:
    """The queue and the group in hand of one sequencer."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queue: Queue[Submission] = Queue(MAX_QUEUE_BYTES)
        metrics.queue_bytes.set_function(lambda: self._queue.size_bytes)
        self._in_hand: list[Submission] = []

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_busy(self) -> bool:
        """Whether any submission has no outcome yet."""
        return bool(self._queue) or any(not each.outcome.done() for each in self._in_hand)

    def put(self, submission: Submission) -> None:
        """Add to the queue. Raises `Problem`: `busy` when full, `unavailable` when closed."""
        try:
            self._queue.put(submission)
        except Problem as problem:
            self._count(submission, problem)
            raise

    async def next_group(self) -> list[Submission]:
        """Wait for submissions; return the next ones, which are in hand from now on."""
        await self._queue.wait()
        self._in_hand = self._queue.take(MAX_GROUP_BYTES)
        return self._in_hand

    def settle(self, submission: Submission, outcome: Outcome) -> None:
        """Count an outcome, and set it."""
        self._count(submission, outcome)
        submission.settle(outcome)  # type: ignore[arg-type]  # a batch's outcome is a receipt

    def refuse(self, group: list[Submission], detail: str) -> None:
        """Refuse those of a group that have no outcome yet; their senders may ask again."""
        for submission in group:
            if not submission.outcome.done():
                self.settle(submission, Problem("unavailable", detail))

    def refuse_all(self, detail: str) -> None:
        """Refuse all submissions that wait."""
        self.refuse(self._in_hand, detail)
        while self._queue:
            self.refuse(self._queue.take(MAX_GROUP_BYTES), detail)

    def close(self, reason: str) -> None:
        """Refuse all submissions that wait, and all later ones."""
        self._queue.close(reason)
        self.refuse_all(reason)

    def _count(self, submission: Submission, outcome: Outcome) -> None:
        if isinstance(outcome, StoredBatch):
            self._metrics.good_batches.inc()
            return
        label = outcome.code if isinstance(outcome, Problem) else "ok"
        batch = isinstance(submission, BatchSubmission)
        (self._metrics.batches if batch else self._metrics.commands).labels(label).inc()
