"""A group while it is decided: the rows to write, and the figures to count."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Raw

from ledger.log import Log
from meter.host.metrics import Tally
from meter.host.submission import BatchSubmission, Submission
from meter.rules import snapshot
from meter.rules.decide import Decided
from meter.rules.decide_command import CommandResponse
from meter.rules.entries import Entry, StateDigested
from meter.rules.measure import days_of_batches
from meter.rules.plain import Run
from meter.rules.state import RequestId, State, StoredBatch
from meter.tables import load, rows
from meter.tables.connections import Connection
from meter.tables.load import Answered, Named
from meter.tables.rows import Written
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, day_of, day_start
from meter.wire.batch import SignedBatch
from meter.wire.receipt import Before


@dataclass(slots=True)
class Group:
    """A group on the tree `before` it; `requests` are the idempotency keys that were used.

    Its entries are of `earliest` or later, so that an instant which a response names, asked for as
    `as_of`, never includes a later group.
    """

    before: Before
    earliest: int
    requests: dict[RequestId, Answered]
    written: Written = field(default_factory=Written)
    conflicts: list[SignedBatch] = field(default_factory=list)
    batches: dict[str, str] = field(default_factory=dict)  # digests by entry
    tally: Tally = field(default_factory=Tally)
    latest: int | None = None

    def instant(self, now: int) -> int:
        """Return the instant of the next entry, from `now`, which is no earlier than the last one.

        All entries of a group are of one Shanghai day, so that rows by day follow from its totals.
        """
        now = max(now, self.earliest)
        if self.latest is None:
            self.latest = day_start(day_of(now // MICROSECONDS) + 1) * MICROSECONDS - 1
        return min(now, self.latest)

    def note_entry(self, state: State, number: int, entry: Entry, data: bytes) -> None:
        """Note the rows and the money of an entry; a command's is not in the state yet."""
        rows.note_rows(self.written, state, number, entry, data)
        if isinstance(entry, StateDigested):
            self.written.snapshots.append((number, snapshot.write(state)))
        self.tally.add(entry.postings)

    def note_run(self, run: Run, first: int) -> None:
        """Note the rows and the money of entries of plain records."""
        rows.note_run(self.written, run, first)
        self.tally.add(run.postings)
        self.tally.plain += len(run.entries)

    def note_batch(self, signed: SignedBatch, stored: StoredBatch, decided: Decided) -> None:
        """Note a batch's own row and its results."""
        rows.note_batch(self.written, signed, stored, decided.results)
        self.batches[str(stored.entries.first)] = signed.payload_sha256
        self.tally.results.update(
            "accepted" if isinstance(result, Raw) else result.status for result in decided.results
        )

    def note_request(self, request: RequestId, answered: Answered) -> None:
        """Note the answer to a command under its idempotency key."""
        self.requests[request] = answered
        self.written.requests.append((*request, *answered))

    def answer_to(self, request: RequestId, fingerprint: str) -> CommandResponse | None:
        """Return the answer that a key has. Raises `Problem` `idempotency_conflict`."""
        answered = self.requests.get(request)
        if answered is None:
            return None
        if answered.fingerprint != fingerprint:
            raise Problem("idempotency_conflict", f"entry {answered.entry} used this key")
        return CommandResponse(201, answered.answer, replayed=True)


async def begin_group(
    connection: Connection, state: State, log: Log, submissions: Iterable[Submission]
) -> Group:
    """Load what the submissions name into the state, and begin their group."""
    named, batches = Named(), []
    for each in submissions:
        if isinstance(each, BatchSubmission):
            named.add_batch(each.signed.batch)
            batches.append(each.signed.batch)
        else:
            named.add_command(state, each.command, each.by, each.request)
    requests = await load.load_named(connection, state, named)
    await load.load_device_time(connection, state, days_of_batches(state, batches))
    before = Before(log.size, base64.b64encode(log.root()).decode())
    return Group(before, state.last_at + 1, requests)
