"""The whole story of a submission, from bytes to a durable response:

    bytes -> envelope -> verified batch -> decide(state, batch, now) -> entries, receipt
          -> append -> commit -> response

One sequencer takes what waits, decides it in order and commits it as one group: segment, envelopes,
receipts, record ids, read models and head move together or not at all, and no group is decided on
an uncommitted one. A response goes out only after the commit is durable. When a commit fails, or
nobody knows whether it failed, the state is thrown away and loaded again (`tables/writer.py`):
never a guess. Whoever sends the same again gets the stored response.

The bytes are verified before they come here (`rules/verified.py`); what waits does so in
`host/waiting.py`.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Final

import msgspec

from ledger.canon import encode
from ledger.log import Log
from ledger.store import LostEpoch
from meter.host import logs
from meter.host.breath import Breath
from meter.host.clock import WatchedClock
from meter.host.keys import Keys
from meter.host.metrics import Metrics
from meter.host.submission import BatchSubmission, CommandSubmission, Submission
from meter.host.waiting import Outcome, Waiting
from meter.host.watermark import Watermark
from meter.rules.commands import Asked, fingerprint_of
from meter.rules.decide import RECORDS_PER_STEP, Decided, Decision
from meter.rules.decide_command import (
    CommandResponse,
    decide_command,
    entries_following,
    response_to,
)
from meter.rules.entries import Entry
from meter.rules.evolve import evolve
from meter.rules.kinds.kind import Existing, Stamp
from meter.rules.plain import Run
from meter.rules.state import State, StoredBatch
from meter.rules.two_persons import command_asked_for
from meter.tables.connections import Connection
from meter.tables.group import Group, begin_group
from meter.tables.load import Answered
from meter.tables.registry import Registry
from meter.tables.writer import Loaded, Writer
from meter.values.problems import Problem
from meter.wire.batch import SignedBatch
from meter.wire.dsse import ReceiptSigner, sign_receipt

MAX_LOGGED_BATCHES: Final = 20  # of a group, by entry and digest; the ledger names them all

_log: Final = logs.logger(__name__)


class Intake:
    """The sequencer of one ledger. Owns the state, the log's head and the writing connection.

    `randomness` returns fresh hex for salts; `holder` is whose lease it begins under, if anybody's.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one argument for each part
        self,
        connect: Callable[[], Awaitable[Connection]],
        keys: Keys,
        clock: WatchedClock,
        randomness: Callable[[], str],
        metrics: Metrics,
        registry: Registry,
        holder: str = "",
    ) -> None:
        self.writer = Writer(connect, metrics, registry, holder)
        self._keys = keys
        self._receipt_signers: list[ReceiptSigner] = []  # those that sign now
        self._clock = clock
        self._randomness = randomness
        self._metrics = metrics
        self.waiting = Waiting(metrics)
        self._breath = Breath()
        self._log: Log
        self.state = State()
        self.watermark = Watermark()
        self._loaded = False
        metrics.ready.set_function(lambda: self.ready)
        metrics.clock_ahead.set_function(lambda: clock.ahead_seconds(self.state.last_at))

    # What callers see

    @property
    def ready(self) -> bool:
        """Whether it can commit."""
        return self._loaded and self._clock.is_right

    @property
    def is_busy(self) -> bool:
        """Whether submissions wait or are decided."""
        return self.waiting.is_busy

    @property
    def hears_first(self) -> bool:
        """Whether this process knows of each commit before anybody is answered."""
        return True

    async def batch(self, signed: SignedBatch) -> StoredBatch:
        """Return the receipt of a verified batch once it is durable. Raises `Problem`."""
        submission = BatchSubmission(signed, self._randomness())
        self.waiting.put(submission)
        return await submission.outcome

    async def command(self, command: Asked, by: str, request: str | None) -> CommandResponse:
        """Return the answer to the authority's command once it is durable. Raises `Problem`."""
        submission = CommandSubmission(command, by, request, self._randomness())
        self.waiting.put(submission)
        return await submission.outcome

    # The sequencer

    async def start(self) -> None:
        """Take the ledger over and load the state. Raises `LedgerError`."""
        self._begin_with(await self.writer.start())

    async def run(self) -> None:
        """Decide and commit, group by group, until cancelled or shut out (`LostEpoch`)."""
        try:
            while True:
                await self._process(await self.waiting.next_group())
        except LostEpoch:
            _log.error("epoch_lost", epoch=self.writer.epoch, size=self.watermark.size)
            raise
        finally:  # nobody is left to answer what waits, or what still comes
            self._loaded = False
            self.watermark.close()
            self.waiting.close("this service ends")

    async def stop(self) -> None:
        """Close the connection; `run` has ended before."""
        await self.writer.close()

    async def _process(self, group: list[Submission]) -> None:
        """Commit a group and answer it; one that fails is taken apart, so one cannot hurt all."""
        try:
            outcomes = await self._commit(group)
        except LostEpoch:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the stored ledger is the truth
            _log.exception("not_committed", first=self.watermark.size, submissions=len(group))
            await self._recover()
            if len(group) == 1:
                detail = f"not committed, or not known to be: {type(error).__name__}"
                self.waiting.refuse(group, detail)
                return
            for submission in group:
                if not submission.outcome.done():  # refused while the database was away
                    await self._process([submission])
            return
        for submission, outcome in zip(group, outcomes, strict=True):
            self.waiting.settle(submission, outcome)

    async def _commit(self, submissions: list[Submission]) -> list[Outcome]:
        """Decide a group in order and commit it whole."""
        began = time.perf_counter()
        group = await begin_group(self.writer.connection, self.state, self._log, submissions)
        outcomes = [await self._decide(submission, group) for submission in submissions]
        await self.writer.commit(self._log, self.state, group)
        self.state.forget()
        self._announce(group, len(submissions), time.perf_counter() - began)
        return outcomes

    def _announce(self, group: Group, submissions: int, seconds: float) -> None:
        """Count and log a group that is durable, and wake whoever waits for it."""
        size = self._log.size
        self._metrics.count_group(group.tally, submissions, size, self.state.pools)
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

    async def _decide(self, submission: Submission, group: Group) -> Outcome:
        await self._breath.take()
        try:
            now = group.instant(max(self._clock.now(), self.state.last_at))
            if isinstance(submission, BatchSubmission):
                return await self._decide_batch(submission, now, group)
            return await self._decide_command(submission, now, group)
        except Problem as problem:
            if problem.code == "seq_conflict" and isinstance(submission, BatchSubmission):
                group.conflicts.append(submission.signed)
            return problem

    async def _decide_batch(
        self, submission: BatchSubmission, now: int, group: Group
    ) -> StoredBatch:
        signed = submission.signed
        decision = Decision(self.state, signed, now, group.before, submission.salt, by_groups=True)
        while decision.result is None:
            decision.step()
            await self._breath.take()
        decided = decision.result
        if isinstance(decided, StoredBatch):
            return decided
        await self._append_batch(decided, group)
        with self._metrics.sign_seconds.time():
            signature = sign_receipt(decided.receipt, self._receipt_signers)
        batch = signed.batch
        stored = StoredBatch(decided.place, signed.payload_sha256, decided.receipt, signature)
        self.state.batches[batch.provider, batch.stream, batch.seq] = stored
        group.note_batch(signed, stored, decided)
        return stored

    async def _append_batch(self, decided: Decided, group: Group) -> None:
        for index, part in enumerate(decided.parts, 1):
            if isinstance(part, Run):
                group.note_run(part, self._log.extend(part.entries, part.at, part.postings))
                await self._breath.take()
            else:
                self._append(part, group)
                if index % RECORDS_PER_STEP == 0:
                    await self._breath.take()

    async def _decide_command(
        self, submission: CommandSubmission, now: int, group: Group
    ) -> CommandResponse:
        asked, key = submission.command, submission.request
        request = key if key is not None else f"auto-{submission.salt}"
        fingerprint, owner = fingerprint_of(asked), self.state.people.owner_of(submission.by)
        answer = group.answer_to((owner, request), fingerprint)
        if answer is not None:
            return answer
        command = command_asked_for(self.state, asked)
        root = self._log.root()
        checkpoint = self._keys.last_checkpoint(command, self.state, self._log.size, root)
        stamp = Stamp(now, submission.by, request, submission.salt, checkpoint)
        entry = decide_command(self.state, asked, stamp)
        if isinstance(entry, Existing):
            body = msgspec.json.encode({"entry": entry.entry})
            return CommandResponse(200, body, replayed=False)
        self._keys.check_private_key(command)
        number = self._append(entry, group)
        evolve(self.state, entry)
        await self._append_following(number, entry, group)
        self._receipt_signers = self._keys.receipt_signers(self.state, self.state.size)
        body = msgspec.json.encode(response_to(self.state, number, entry))
        group.note_request((owner, request), Answered(fingerprint, number, body))
        return CommandResponse(201, body, replayed=False)

    async def _append_following(self, number: int, entry: Entry, group: Group) -> None:
        following = entries_following(self.state, number, entry)
        for index, each in enumerate(following, 1):
            self._append(each, group)
            evolve(self.state, each)
            if index % RECORDS_PER_STEP == 0:
                await self._breath.take()

    def _append(self, entry: Entry, group: Group) -> int:
        """Append an entry, note its rows, and return its number."""
        data = encode(entry)
        number = self._log.append(data, entry.at, entry.postings)
        group.note_entry(self.state, number, entry, data)
        return number

    # After a failure

    async def _recover(self) -> None:
        """Load again from what is stored, for as long as it takes. Raises `LostEpoch`."""
        self._loaded = False
        refuse = partial(self.waiting.refuse_all, "the database is away")
        self._begin_with(await self.writer.recover(refuse))
        self._metrics.recoveries.inc()
        _log.warning("recovered", epoch=self.writer.epoch, size=self.watermark.size)

    def _begin_with(self, loaded: Loaded) -> None:
        self._log, self.state = loaded.log, loaded.state
        self._receipt_signers = self._keys.receipt_signers(self.state, self.state.size)
        self._metrics.set_ledger(self._log.size, self.state.pools)
        self.watermark.move(self._log.size)
        self._loaded = True
