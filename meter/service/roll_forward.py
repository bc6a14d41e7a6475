"""Roll a database forward from the log's published folder, through the normal rules:

    checkpoint of ours -> entries, envelopes, receipts -> decide again, compare the bytes
        -> prove that the checkpoint begins with them -> commit

For a database from a backup, or an empty one. Others have seen the entries that it lacks, so the
ledger may not go on without them. The audit judges each entry (`auditor.replay`), and the
functions that the service writes with write it, group by group: a damaged folder leaves the
database at its last good group, and after a crash it is run again.

A batch's entry names the size before its group, a command's does not: a command outside the groups
of batches becomes a group of its own.

No folder holds these, and they stay lost: tokens, who signs in to the pages and what was done
there, who wants which alerts, signed batches whose number was taken (`meter.seq_conflict`), and
what was committed but not published, a quarter of a second at most. The receipts for that, which
providers hold, prove the loss.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import msgspec
from msgspec import UNSET

from ledger import canon
from ledger import store as ledger_store
from ledger.errors import BadProof, LedgerError, MissingFile, Violation
from ledger.folder import FolderReader
from ledger.log import Log
from ledger.note import Checkpoint
from ledger.progress import Progress
from ledger.publish import OtherRoot
from ledger.tiles import Tile, level_tiles
from ledger.tlog import Tree, check_consistency
from ledger.verify import by_entry
from meter.auditor.replay import Audit
from meter.rules.commands import fingerprint_of
from meter.rules.decide_command import response_to
from meter.rules.entries import (
    FLOORED_CLASSES,
    BatchAccepted,
    RecordDisputed,
    RecordReleased,
    RecordVoided,
    StateDigested,
)
from meter.rules.kinds.table import BY_ENTRY, read_entry
from meter.rules.measure import days_of_batch, days_of_record
from meter.rules.state import State
from meter.rules.two_persons import asked_by
from meter.tables import connections, load, rows
from meter.tables.load import Named
from meter.tables.rows import Written
from meter.tables.write import commit
from meter.values.problems import Problem
from meter.wire.batch import SignedBatch, parse_batch
from meter.wire.dsse import BATCH_TYPE, parse
from meter.wire.receipt import parse_receipt


async def roll_forward(
    connection: connections.Connection,
    reader: FolderReader,
    checkpoint: Checkpoint,
    progress: Progress | None = None,
) -> None:
    """Bring a database that is behind forward to the folder's checkpoint, one of this log.

    `progress` gets the size that the ledger has, and will have. Raises `OtherRoot` where the
    database is of another history, `BadFolder` or `BadBundle` where the folder is damaged, and
    `Violation` where an entry is not what the rules give.
    """
    writer = _Writer(connection, reader, checkpoint)
    await writer.take_over()
    writer.prove("the database is of another history, or the folder is damaged")
    for group in _groups(_submissions(_entries(reader, writer.size, checkpoint.size))):
        await writer.write(group)
        if progress is not None:
            progress(writer.size, checkpoint.size)


@dataclass(frozen=True, slots=True)
class _Held:
    """An entry as the folder holds it, and the files beside it."""

    number: int
    data: bytes
    fields: dict[str, Any]
    files: list[bytes]


@dataclass(frozen=True, slots=True)
class _Submission:
    """The entries of one submission: a command's and what follows, or a batch's and its records'.

    `entry` is the first one, decoded.
    """

    held: list[_Held]
    entry: Any
    signed: SignedBatch | None

    @property
    def first(self) -> int:
        return self.held[0].number


class _Writer:
    """Decides what the folder holds again, and writes it. Owns the log's head and the state."""

    def __init__(
        self, connection: connections.Connection, reader: FolderReader, checkpoint: Checkpoint
    ) -> None:
        self._connection = connection
        self._reader, self._checkpoint = reader, checkpoint
        self._audit = Audit(with_sums=False, with_questions=False)  # which need all that was before

    async def take_over(self) -> None:
        """Become the only writer, and load the state at the database's end."""
        head = await ledger_store.take_over(self._connection)
        self._epoch = head.epoch
        self._log: Log = await ledger_store.load_log(self._connection, head, FLOORED_CLASSES)
        self._state = self._audit.state = await load.load_state(self._connection, head)

    @property
    def size(self) -> int:
        return self._log.size

    async def write(self, group: list[_Submission]) -> None:
        """Write a group, all of it or nothing."""
        written = Written()
        # A tree keeps the tiles that it has read, so each group has its own.
        tree = self._reader.tree(self._checkpoint.size)
        for submission in group:
            with _at(submission.first):
                await self._load(submission)
            for held in submission.held:
                with _at(held.number):
                    self._take(held, submission, written, cast("Tree", tree))
        self._audit.finish()
        self.prove("the folder is damaged")
        entries = self._log.take_group()
        await commit(self._connection, self._epoch, entries, self._state, written)
        self._state.forget()

    def prove(self, otherwise: str) -> None:
        """Prove that the checkpoint's tree begins with what we have. Raises `OtherRoot`."""
        size, root, signed = self._log.size, self._log.root(), self._checkpoint
        try:
            proof = self._reader.tree(signed.size).consistency_proof(size, signed.size)
            check_consistency(size, root, signed.size, signed.root, proof)
        except BadProof:
            detail = f"{size} entries do not lead to the root of {signed.size}"
            raise OtherRoot(f"{detail}: {otherwise}") from None

    async def _load(self, submission: _Submission) -> None:
        """Load what a submission names, as far as this group does not hold it already."""
        state, signed = self._state, submission.signed
        named = _named(state, submission)
        records = frozenset(named.records)
        named.records -= state.records.keys()
        if await load.load_named(self._connection, state, named):
            raise Violation("request_reused", "an earlier entry of its person carries its request")
        days = set(days_of_batch(state, signed.batch)) if signed else set()
        for record in (state.records[name] for name in records if name in state.records):
            days.update(days_of_record(state, record))
        await load.load_device_time(self._connection, state, days)

    def _take(self, held: _Held, submission: _Submission, written: Written, tree: Tree) -> None:
        """Judge an entry, append it, and note its rows."""
        state, number = self._state, held.number
        self._audit.entry(number, held.data, held.fields, held.files, tree)
        entry = read_entry(held.fields)
        self._log.append(held.data, entry.at, entry.postings)
        rows.note_rows(written, state, number, entry, held.data)
        if isinstance(entry, StateDigested):
            written.snapshots.append((number, b"".join(held.files)))
        if held.number != submission.first:
            return
        if submission.signed is not None:
            self._note_batch(submission.signed, written)
        elif BY_ENTRY[type(entry)].command is not None:
            self._note_request(entry, number, written)

    def _note_batch(self, signed: SignedBatch, written: Written) -> None:
        batch = signed.batch
        stored = self._state.batches[batch.provider, batch.stream, batch.seq]
        answer = parse_receipt(stored.receipt)
        rows.note_batch(written, signed, stored, [*answer.voids, *answer.results])

    def _note_request(self, entry: Any, number: int, written: Written) -> None:
        """Note the answer to a command anew, for a repetition under the same key."""
        answer = msgspec.json.encode(response_to(self._state, number, entry))
        fingerprint, owner = fingerprint_of(asked_by(entry)), self._state.people.owner_of(entry.by)
        written.requests.append((owner, entry.request, fingerprint, number, answer))


def _named(state: State, submission: _Submission) -> Named:
    named, entry = Named(), submission.entry
    if submission.signed is not None:
        named.add_batch(submission.signed.batch)
    elif isinstance(entry, RecordVoided | RecordReleased | RecordDisputed):
        named.records.add((entry.provider, entry.id))
    elif BY_ENTRY[type(entry)].changes_terms:
        named.amended.add(entry.contract)
    elif BY_ENTRY[type(entry)].names_numbers:
        named.numbers = True
    if BY_ENTRY[type(entry)].command is not None and entry.request is not UNSET:
        named.requests.add((state.people.owner_of(entry.by), entry.request))
    return named


def _entries(reader: FolderReader, start: int, size: int) -> Iterator[_Held]:
    """Yield the folder's entries from `start` on. Raises `BadFolder` or `BadBundle`."""
    for tile in level_tiles("entries", size):
        if tile.first + tile.width <= start:
            continue
        files = by_entry(_attachments(reader, tile), tile.width)
        for number, data in enumerate(reader.iter_entries(tile), tile.first):
            beside = next(files)
            if number >= start:
                with _at(number):
                    fields = canon.decode(data)
                yield _Held(number, data, fields, beside)


def _attachments(reader: FolderReader, tile: Tile) -> Iterator[tuple[int, bytes]]:
    try:
        yield from reader.iter_attachments(tile.beside("batches"))
    except MissingFile:  # the audit reports those that a batch lacks
        return


def _submissions(entries: Iterator[_Held]) -> Iterator[_Submission]:
    """Yield the submissions: an entry together with those that name it as their first."""
    for first, together in groupby(entries, _first_of):
        held = list(together)
        with _at(first):
            entry = read_entry(held[0].fields)
            signed = _read_batch(held[0]) if isinstance(entry, BatchAccepted) else None
        yield _Submission(held, entry, signed)


def _first_of(held: _Held) -> Any:
    """Return the number of the batch, allocation or closing that an entry follows, or its own."""
    named = (held.fields.get(name) for name in ("batch", "allocation", "closing"))
    return next((number for number in named if number is not None), held.number)


def _read_batch(held: _Held) -> SignedBatch:
    """Return a batch, whose signature the audit will check."""
    if not held.files:
        raise Violation("missing_attachment", "beside a batch lies its envelope")
    return parse_batch(parse(held.files[0], BATCH_TYPE), held.files[0])


def _groups(submissions: Iterator[_Submission]) -> Iterator[list[_Submission]]:
    """Yield groups of what was committed together, as far as that is known."""
    group: list[_Submission] = []  # up to the last batch that was seen
    before = -1
    loose: list[_Submission] = []  # commands since
    for submission in submissions:
        entry = submission.entry
        if not isinstance(entry, BatchAccepted):
            loose.append(submission)
        elif entry.before == before:
            group += [*loose, submission]
            loose = []
        else:
            if group:
                yield group
            yield from ([command] for command in loose if command.first < entry.before)
            group = [*(command for command in loose if command.first >= entry.before), submission]
            before = entry.before
            loose = []
            if group[0].first != before:
                raise Violation("wrong_before", f"entry {submission.first}: no group begins there")
    if group:
        yield group
    yield from ([command] for command in loose)


@contextmanager
def _at(number: int) -> Iterator[None]:
    """Raise each error again as a `Violation` that names the entry."""
    try:
        yield
    except (LedgerError, Problem) as error:
        raise Violation(error.code, f"entry {number}: {error.detail}", number) from error
    except ValueError as error:
        raise Violation("malformed_entry", f"entry {number}: {error}", number) from error
