"""The whole story of a submission, from bytes to a durable answer:

    bytes -> envelope -> verified batch -> decide(state, batch, now) -> entries, receipt
          -> append -> commit -> answer

One sequencer takes what waits, decides it in order and commits it as one group: segment, envelopes,
receipts, record ids, read models and head move together or not at all, and no group is decided on
an uncommitted one. An answer is given only after the commit is durable. When a commit fails, or
nobody knows whether it failed, the epoch is raised (its row lock waits out the old commit), the
state is thrown away and loaded again: never a guess. Whoever sends the same again gets the stored
answer.
"""

import asyncio
import base64
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import msgspec

from ledger import store as ledger_store
from ledger.canon import encode
from ledger.log import Log
from ledger.store import Inconsistent, LostEpoch
from meter.host import logs
from meter.host.keys import Keys
from meter.host.metrics import Metrics, Tally
from meter.host.watermark import Watermark
from meter.rules.commands import (
    AddLogKey,
    AddReceiptKey,
    Command,
    RetireLogKey,
    fingerprint_of,
)
from meter.rules.decide import RECORDS_PER_STEP, Decided, batched, deciding
from meter.rules.decide_command import Answer, answer_of, decide_command
from meter.rules.entries import FLOORED_CLASSES, Entry
from meter.rules.evolve import evolve
from meter.rules.kinds.kind import Existing, Stamp
from meter.rules.kinds.table import BY_COMMAND
from meter.rules.measure import days_of, days_of_batch, work_of
from meter.rules.state import DeviceTimeId, State, StoredBatch
from meter.tables import connections, load, rows, write
from meter.tables.load import Answered, Named
from meter.tables.registry import Registry
from meter.tables.rows import Written
from meter.values.problems import Problem
from meter.wire.batch import SignedBatch
from meter.wire.dsse import ReceiptSigner, sign_receipt
from meter.wire.receipt import Before

MAX_QUEUE_BYTES: Final = 64 * 1024 * 1024  # beyond this the service says 503 rather than swell
MAX_GROUP_BYTES: Final = 4 * 1024 * 1024  # bounds a commit's time; one batch may exceed it
COMMAND_BYTES: Final = 4_096  # what a command counts for in the queue
RETRY_SECONDS: Final = 0.5  # between attempts to reach the database again
BREATH_SECONDS: Final = 0.0003  # so long a group may hold up others before it lets them move on
MAX_LOGGED_BATCHES: Final = 20  # of a group, by entry and digest; the ledger names them all

_log: Final = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    signed: SignedBatch
    size_bytes: int
    outcome: "asyncio.Future[StoredBatch]"


@dataclass(frozen=True, slots=True)
class _Command:
    command: Command
    by: str
    request: str | None
    salt: str
    outcome: "asyncio.Future[Answer]"
    size_bytes: int = COMMAND_BYTES


_Submission = _Batch | _Command
_Outcome = StoredBatch | Answer | Problem


@dataclass(slots=True)
class _Group:
    """What a group collects while it is decided."""

    before: Before
    requests: dict[str, Answered]
    written: Written = field(default_factory=Written)
    conflicts: list[SignedBatch] = field(default_factory=list)
    batches: dict[str, str] = field(default_factory=dict)  # digests by entry
    tally: Tally = field(default_factory=Tally)


class Intake:
    """The sequencer of one ledger. Owns the state, the log's head and the writing connection.

    `clock` gives microseconds since 1970 UTC; `randomness` gives fresh hex for salts.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one argument for each part
        self,
        connect: Callable[[], Awaitable[connections.Connection]],
        keys: Keys,
        clock: Callable[[], int],
        randomness: Callable[[], str],
        metrics: Metrics,
        registry: Registry,
    ) -> None:
        self._connect = connect
        self._registry = registry
        self._keys = keys
        self._receipts: list[ReceiptSigner] = []  # those that sign now
        self._clock = clock
        self._randomness = randomness
        self._metrics = metrics
        self._queue: deque[_Submission] = deque()
        self._queue_bytes = 0
        self._waiting = asyncio.Event()
        self._deciding: list[_Submission] = []
        self._ended = False
        self._breathed = 0.0
        self._epoch: int | None = None
        self.state = State()
        self.watermark = Watermark()
        self.ready = False
        metrics.ready.set_function(lambda: self.ready)

    # What callers see

    async def batch(self, signed: SignedBatch) -> StoredBatch:
        """Take a verified batch; return the receipt once it is durable. Raises `Problem`."""
        outcome: asyncio.Future[StoredBatch] = asyncio.get_running_loop().create_future()
        try:
            self._enqueue(_Batch(signed, len(signed.envelope), outcome))
        except Problem as problem:
            self._metrics.batches.labels(problem.code).inc()
            raise
        return await outcome

    async def command(self, command: Command, by: str, request: str | None) -> Answer:
        """Carry out a command of the authority; give the answer once it is durable."""
        outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._enqueue(_Command(command, by, request, self._randomness(), outcome))
        except Problem as problem:
            self._metrics.commands.labels(problem.code).inc()
            raise
        return await outcome

    # The sequencer

    async def start(self) -> None:
        """Take the ledger over and load the state. Raises `LedgerError`."""
        async with connections.told_as_away():
            self._connection = await self._connect()
            await ledger_store.check_durability(self._connection)
            await self._load(None)

    async def run(self) -> None:
        """Decide and commit, group by group, until cancelled or shut out (`LostEpoch`)."""
        try:
            while True:
                await self._waiting.wait()
                self._deciding = self._take_group()
                await self._settle(self._deciding)
        except LostEpoch:
            _log.error("epoch_lost", epoch=self._epoch, size=self.watermark.size)
            raise
        finally:  # nobody is left to answer what waits, or what still comes
            self._ended = True
            self.ready = False
            self.watermark.close()
            self._refuse_waiting("this service ends")

    async def stop(self) -> None:
        """Close the connection; `run` has ended before."""
        await self._connection.close(timeout=5)

    async def _settle(self, group: list[_Submission]) -> None:
        """Commit a group and answer it; one that fails is taken apart, so one cannot hurt all."""
        try:
            outcomes = await self._commit(group)
        except LostEpoch:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the stored ledger is the truth
            _log.exception("not_committed", first=self.watermark.size, submissions=len(group))
            await self._recover()
            if len(group) == 1:
                self._refuse(group, f"not committed, or not known to be: {type(error).__name__}")
                return
            for submission in group:
                if not submission.outcome.done():  # refused while the database was away
                    await self._settle([submission])
            return
        for submission, outcome in zip(group, outcomes, strict=True):
            self._finish(submission, outcome)

    async def _commit(self, submissions: list[_Submission]) -> list[_Outcome]:
        """Decide a group in order and commit it whole."""
        began = time.perf_counter()
        requests = await load.load_named(self._connection, self.state, _names(submissions))
        days = _days(self.state, submissions)
        await load.load_device_time(self._connection, self.state, days)
        root = base64.b64encode(self._log.root()).decode()
        group = _Group(Before(self._log.size, root), requests)
        outcomes = [await self._decide(submission, group) for submission in submissions]
        await self._write(group)
        self.state.forget()
        self._tell(group, len(submissions), time.perf_counter() - began)
        return outcomes

    def _tell(self, group: _Group, submissions: int, seconds: float) -> None:
        """Count and log a group that is durable, and wake who waits for it."""
        size = self._log.size
        self._registry.take(size, group.written.registrations)
        self._metrics.committed(group.tally, submissions, size, self.state.pools)
        count = size - group.before.size
        (_log.info if count else _log.debug)(
            "group",
            first=group.before.size,
            count=count,
            submissions=submissions,
            ms=round(seconds * 1_000, 1),
            batches=dict(islice(group.batches.items(), MAX_LOGGED_BATCHES)),
        )
        self.watermark.move(size)

    async def _decide(self, submission: _Submission, group: _Group) -> _Outcome:
        now = max(self._clock(), self.state.last_at)
        await self._breathe()
        try:
            if isinstance(submission, _Batch):
                return await self._decide_batch(submission.signed, now, group)
            return self._decide_command(submission, now, group)
        except Problem as problem:
            if problem.code == "seq_conflict" and isinstance(submission, _Batch):
                group.conflicts.append(submission.signed)
            return problem

    async def _decide_batch(self, signed: SignedBatch, now: int, group: _Group) -> StoredBatch:
        decided = await self._decided(signed, now, group.before)
        if isinstance(decided, StoredBatch):
            return decided
        number = self._log.size
        for part in batched(decided.entries, RECORDS_PER_STEP):
            for entry in part:
                self._append(entry, group)
            await self._breathe()
        batch = signed.batch
        with self._metrics.signature_seconds.labels("sign").time():
            signature = sign_receipt(decided.receipt, self._receipts)
        stored = StoredBatch(signed.payload_sha256, decided.receipt, signature)
        self.state.batches[batch.provider, batch.stream, batch.seq] = stored
        rows.note_batch(group.written, signed, number, stored, decided.results)
        group.batches[str(number)] = signed.payload_sha256
        group.tally.results.update(result.status for result in decided.results)
        return stored

    async def _decided(
        self, signed: SignedBatch, now: int, before: Before
    ) -> Decided | StoredBatch:
        steps = deciding(self.state, signed, now, before)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                decided: Decided | StoredBatch = end.value
                return decided
            await self._breathe()

    async def _breathe(self) -> None:
        """Let requests and answers move on, where deciding has held them up for a while."""
        if time.perf_counter() - self._breathed > BREATH_SECONDS:
            await asyncio.sleep(0)
            self._breathed = time.perf_counter()

    def _decide_command(self, submission: _Command, now: int, group: _Group) -> Answer:
        command, key = submission.command, submission.request
        fingerprint = fingerprint_of(command)
        answered = group.requests.get(key) if key is not None else None
        if answered is not None:
            if answered.fingerprint != fingerprint:
                raise Problem("idempotency_conflict", f"entry {answered.entry} used this key")
            return Answer(201, answered.answer)
        request = key if key is not None else f"auto-{submission.salt}"
        stamp = Stamp(now, submission.by, request, submission.salt, self._last_checkpoint(command))
        entry = decide_command(self.state, command, stamp)
        if isinstance(entry, Existing):
            return Answer(200, msgspec.json.encode({"entry": entry.entry}))
        self._check_private_key(command)
        number = self._append(entry, group)
        evolve(self.state, entry)
        self._receipts = self._receipt_signers()
        body = msgspec.json.encode(answer_of(self.state, number, entry))
        group.requests[request] = Answered(fingerprint, number, body)
        group.written.requests.append((request, fingerprint, number, body))
        return Answer(201, body)

    def _last_checkpoint(self, command: Command) -> str:
        """Sign what the ledger holds, where a log key signs for the last time."""
        if not isinstance(command, RetireLogKey):
            return ""
        return self._keys.checkpoint(self.state, self._log.size, self._log.root()).decode()

    def _check_private_key(self, command: Command) -> None:
        """Refuse a key that could not sign what comes after its entry."""
        if isinstance(command, AddLogKey):
            self._keys.log_key(command.vkey)
        if isinstance(command, AddReceiptKey):
            self._keys.receipt_key(command.public_key)

    def _receipt_signers(self) -> list[ReceiptSigner]:
        return self._keys.receipt_signers(self.state, self.state.size)

    def _append(self, entry: Entry, group: _Group) -> int:
        """Give an entry its bytes and its number, and note its rows."""
        data = encode(entry)
        number = self._log.append(data, entry.at, entry.postings)
        rows.note_rows(group.written, self.state, number, entry, data)
        group.tally.add(entry.postings)
        return number

    async def _write(self, group: _Group) -> None:
        entries, epoch = self._log.take_group(), self._epoch_held()
        if entries.count:
            with self._metrics.commit_seconds.time():
                await write.commit(self._connection, epoch, entries, self.state, group.written)
        else:  # a commit would notice; what was refused from an old state must not be answered
            await ledger_store.check_epoch(self._connection, epoch)
        for signed in group.conflicts:
            batch = signed.batch
            await write.keep_seq_conflict(
                self._connection,
                (batch.provider, batch.stream, batch.seq),
                signed.payload_sha256,
                signed.envelope,
            )

    # After a failure

    async def _recover(self) -> None:
        """Raise the epoch and load again, for as long as it takes. Raises `LostEpoch`."""
        self.ready = False
        while True:
            with contextlib.suppress(Exception):  # it is given up either way
                await self._connection.close(timeout=1)
            try:
                self._connection = await self._connect()
                await self._load(self._epoch)
            except (LostEpoch, Inconsistent):
                raise
            except Exception as error:  # noqa: BLE001 - the database is not back yet
                _log.warning("not_recovered", exc_info=error)
                self._refuse_waiting("the database is away")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._metrics.recoveries.inc()
                _log.warning("recovered", epoch=self._epoch, size=self.watermark.size)
                return

    async def _load(self, mine: int | None) -> None:
        head = await ledger_store.take_over(self._connection, mine)
        if head.size < self.watermark.size:
            detail = f"it holds {head.size} entries of {self.watermark.size} that it confirmed"
            raise Inconsistent(f"the database has lost what was committed: {detail}")
        self._epoch = head.epoch
        self._log: Log = await ledger_store.load_log(self._connection, head, FLOORED_CLASSES)
        self.state = await load.load_state(self._connection, head)
        await self._registry.at(self._connection, head.size)
        self._receipts = self._receipt_signers()
        self._metrics.standing(head.size, self.state.pools)
        self.watermark.move(head.size)
        self.ready = True

    def _epoch_held(self) -> int:
        assert self._epoch is not None, "start() took the ledger over"
        return self._epoch

    # The queue

    def _enqueue(self, submission: _Submission) -> None:
        if self._ended:
            raise Problem("unavailable", "this service ends")
        if self._queue_bytes + submission.size_bytes > MAX_QUEUE_BYTES:
            raise Problem("busy", f"{self._queue_bytes} bytes wait already")
        self._queue.append(submission)
        self._count_queue(submission.size_bytes)
        self._waiting.set()

    def _take_group(self) -> list[_Submission]:
        group: list[_Submission] = []
        size_bytes = 0
        while self._queue and (not group or size_bytes < MAX_GROUP_BYTES):
            group.append(self._queue.popleft())
            size_bytes += group[-1].size_bytes
        self._count_queue(-size_bytes)
        if not self._queue:
            self._waiting.clear()
        return group

    def _count_queue(self, change_bytes: int) -> None:
        self._queue_bytes += change_bytes
        self._metrics.queue_bytes.set(self._queue_bytes)

    def _refuse_waiting(self, detail: str) -> None:
        """Tell all who have no answer yet that there is none; they may ask again."""
        self._refuse(self._deciding, detail)
        while self._queue:
            self._refuse(self._take_group(), detail)

    def _refuse(self, group: list[_Submission], detail: str) -> None:
        for submission in group:
            if not submission.outcome.done():
                self._finish(submission, Problem("unavailable", detail))

    def _finish(self, submission: _Submission, outcome: _Outcome) -> None:
        label = outcome.code if isinstance(outcome, Problem) else "ok"
        batch = isinstance(submission, _Batch)
        (self._metrics.batches if batch else self._metrics.commands).labels(label).inc()
        if submission.outcome.done():
            return  # the client went away; what was committed stays committed
        if isinstance(outcome, Problem):
            submission.outcome.set_exception(outcome)
        else:
            submission.outcome.set_result(outcome)  # type: ignore[arg-type]


def _names(submissions: list[_Submission]) -> Named:
    """Collect what the submissions name, to be looked up together."""
    named = Named()
    for submission in submissions:
        if isinstance(submission, _Batch):
            named.add_batch(submission.signed.batch)
            continue
        if submission.request is not None:
            named.requests.add(submission.request)
        command: Any = submission.command
        if BY_COMMAND[type(command)].names_record:
            named.records.add((command.provider, command.id))
    return named


def _days(state: State, submissions: list[_Submission]) -> set[tuple[DeviceTimeId, int]]:
    """Collect the days whose device-time in use the submissions need or change.

    The records that they void or release are in the state already.
    """
    found: set[tuple[DeviceTimeId, int]] = set()
    for submission in submissions:
        if isinstance(submission, _Batch):
            found.update(days_of_batch(state, submission.signed.batch))
    for known in state.records.values():
        found.update(days_of(state.contracts[known.usage.contract], work_of(known.usage)))
    return found
