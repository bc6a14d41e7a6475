"""An audit by ranges: several workers decide parts of one log, each from a snapshot that it claims.

A ledger names the digest of its rules' state every so many entries, and the snapshot lies beside
that entry (`rules/snapshot.py`). A worker decides the range from one such entry to the next, both
included. It begins from the snapshot beside the first, and must come to the digest in the last.

    entries   0 ……… 100,000 ……… 200,000 ……… 240,000
    worker 1  decides ──────┤
    worker 2  reads         ├─ decides ─┤
    worker 3  reads                     ├── decides

Worker 1 begins from nothing, so what it passes is right, and so is the snapshot from which worker 2
begins; and so on. If all pass, the log is decided as by one who begins at entry 0, whoever lied.
If any does not, the caller has the whole decided by one: the verdict and the first wrong entry are
those of the single run.

What a snapshot does not have, a worker takes from the entries before its range, which others judge:
it reads them once and decides none of them (`Past`).

    registrations   all of them; their digest stands in the snapshot
    records         those that a batch or a command of the range names
    batches         those whose provider, stream and number a batch of the range has
    requests        the idempotency keys that a command of the range has
    device-time     that of the days on which the range's records count: each record before that
                    touches one is counted again, and taken out again with its void
    usage by day    that of contracts whose terms the range changes, and of days that it sums up
    the last batch  where it ends, and on which size its group was built

So it looks first at what its range names (`Names`). Quarter-hours are independent of one another,
so the days that it has are whole, and the others are never asked about. Both looks are at the bytes
that are proved. What it keeps grows with its range, with the registrations, and with the records
that were ever voided or released.

Questions, gaps and the batches of receipts need all entries: `Reading` sees to them in one process,
and decides none of them.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from ledger import canon
from ledger.errors import LedgerError, Violation
from ledger.report import Check
from ledger.tlog import Tree, leaf_hash
from meter.auditor.replay import BROKEN_RULES, Audit, check_snapshot, files_beside
from meter.auditor.shares import (
    DECIDED_RECORD,
    NAMED_ENTRY,
    PROVED_ENTRY,
    READ_BEFORE,
    READ_ENTRY,
    REPLAYED_BATCH,
    SIGNATURES,
    TOTALLED_ENTRY,
)
from meter.rules.entries import (
    AnyEntry,
    BatchAccepted,
    DailyTime,
    DaySummarised,
    PurchaseAccepted,
    RecordReleased,
    RecordVoided,
    StateDigested,
    UsageAccepted,
)
from meter.rules.evolve import register
from meter.rules.kinds.table import BY_ENTRY, read_entry, record_of_command
from meter.rules.measure import (
    added,
    admit,
    by_day,
    free,
    meter_of,
    occupy,
    still_withheld,
    work_of,
)
from meter.rules.purchases import measured_purchase
from meter.rules.snapshot import resume
from meter.rules.state import (
    AcceptedRecord,
    BatchId,
    DayOfStream,
    RecordId,
    RequestId,
    State,
    StoredBatch,
    Touched,
)
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, parse_date
from meter.wire.dsse import BATCH_TYPE, parse
from meter.wire.receipt import EntryRange, parse_receipt

_Day = tuple[str, str, int]  # provider, device kind, UTC day since 1970

NO_RANGE: Final = (0, 0)

_DAY: Final = DAY_SECONDS * MICROSECONDS

# As canonical JSON has them.
_USAGE: Final = b'"kind":"usage"'
_BATCH: Final = b'"kind":"batch"'
_VOID: Final = b'"kind":"void"'
_RELEASE: Final = b'"kind":"release"'
_DIGEST: Final = b'"kind":"state_digest"'
_WITHHELD: Final = b'"withheld":['


class Source(Protocol):
    """The entries of a log, which can be read more than once. Methods raise `LedgerError`."""

    @property
    def size(self) -> int:
        """The number of entries."""

    def entries(self, first: int, end: int) -> Iterable[bytes]:
        """Yield the entries from a number until another one."""

    def with_files(self, first: int, end: int) -> Iterable[tuple[bytes, list[bytes]]]:
        """Yield the same, each with the files beside it."""


class _Usage(msgspec.Struct, gc=False):
    """What tells whether a usage entry matters to a range; `start` and `end` in microseconds."""

    kind: Literal["usage"]
    provider: str
    id: str
    contract: str
    device: str
    start: int
    end: int


class _Item(msgspec.Struct, gc=False):
    """A void, record or purchase of a batch."""

    id: str


class _Summary(msgspec.Struct, gc=False):
    day: str


class _Batch(msgspec.Struct, gc=False):
    """What a batch names; whoever decides it reads it strictly."""

    provider: str
    stream: str
    seq: int
    voids: list[_Item] = []
    records: list[_Item] = []
    purchases: list[_Item] = []
    summary: _Summary | UnsetType = UNSET


_usage: Final = msgspec.json.Decoder(_Usage)
_batch: Final = msgspec.json.Decoder(_Batch)
_whole_usage: Final = msgspec.json.Decoder(UsageAccepted)


class Names:
    """What the entries of a range name, and so what matters of the entries before them.

    `undone` are the records that the range voids or releases, and `undone_before` those before it.
    `days` are those of its usage entries. A record of which the ledger has none needs no days: if
    the rules accept it, the receipt is another one, however much of it fits.
    """

    def __init__(self) -> None:
        self.records: set[RecordId] = set()
        self.undone: set[RecordId] = set()
        self.undone_before: set[RecordId] = set()
        self.batches: set[BatchId] = set()
        self.days: set[_Day] = set()
        self.all_days = False
        self.requests: set[str] = set()
        self.amended: set[str] = set()
        self.stream_days: set[DayOfStream] = set()
        self._looked_at: list[tuple[int, int, bytes]] = []

    @classmethod
    def of(cls, source: Source, first: int, end: int) -> "Names":
        """Return what the entries of a range name."""
        names, hashes = cls(), sha256()
        for data, files in source.with_files(first, end):
            hashes.update(leaf_hash(data))
            names._add(data, files)
        names._looked_at.append((first, end, hashes.digest()))
        names._look_back(source, first)
        return names

    @classmethod
    def of_all(cls, source: Source) -> "Names":
        """Return what matters to somebody who asks about all days and undone records."""
        names = cls()
        names.all_days = True
        names._look_back(source, source.size)
        return names

    def check(self, tree: Tree) -> None:
        """Raise `Violation` where other entries were looked at than stand in a tree."""
        for first, end, digest in self._looked_at:
            if tree.leaf_digest(first, end) != digest:
                raise Violation("changed", "it was changed while it was verified")

    def _look_back(self, source: Source, first: int) -> None:
        """Find what was undone before the range, and the days of what it undoes.

        What was withheld of a record stands in no entry whole: it follows from those days.
        """
        hashes = sha256()
        for data in source.entries(0, first):
            hashes.update(leaf_hash(data))
            if _USAGE in data:
                if self.undone and _WITHHELD in data:
                    usage = _usage.decode(data)
                    if (usage.provider, usage.id) in self.undone:
                        self.days.update(_days_of(usage))
            elif _VOID in data or _RELEASE in data:
                entry = _read(data)
                if isinstance(entry, RecordVoided | RecordReleased):
                    self.undone_before.add((entry.provider, entry.id))
        self._looked_at.append((0, first, hashes.digest()))

    def _add(self, data: bytes, files: list[bytes]) -> None:
        if _USAGE in data:
            self.days.update(_days_of(_usage.decode(data)))
            return
        entry = _read(data)
        if isinstance(entry, BatchAccepted):
            envelope, *_ = files_beside(entry, files)
            self._add_batch(_batch.decode(parse(envelope, BATCH_TYPE).payload))
        request = getattr(entry, "request", UNSET)
        if request is not UNSET:
            self.requests.add(request)
        record = record_of_command(entry)
        if record is not None:
            self.records.add(record)
        if BY_ENTRY[type(entry)].changes_terms:
            self.amended.add(entry.contract)  # type: ignore[union-attr]
        if isinstance(entry, RecordVoided | RecordReleased):
            self.undone.add((entry.provider, entry.id))

    def _add_batch(self, batch: _Batch) -> None:
        provider = batch.provider
        self.batches.add((provider, batch.stream, batch.seq))
        for items in (batch.voids, batch.records, batch.purchases):
            self.records.update((provider, item.id) for item in items)
        if batch.summary is not UNSET:
            day = day_of(parse_date(batch.summary.day))
            self.stream_days.add((provider, batch.stream, day))


class Past:
    """The state that entries lead to, as far as it matters to `names`: read, and not decided.

    It believes them. `state` has registrations, records, batches and device-time in use.
    """

    def __init__(self, state: State, names: Names) -> None:
        self.state = state
        self.requests: set[RequestId] = set()
        self.names = names
        self._last_batch: tuple[BatchAccepted, list[bytes]] | None = None
        self._usage = Touched()
        self._streams = {(provider, stream) for provider, stream, _ in names.stream_days}

    def entry(self, number: int, data: bytes, files: list[bytes]) -> AnyEntry | None:
        """Read the next entry; return it unless it is usage that does not matter."""
        if _USAGE in data:
            return self._read_usage(number, data)
        entry = _read(data)
        match entry:
            case BatchAccepted():
                self._note_batch(number, entry, files)
            case PurchaseAccepted():
                self._note_purchase(number, entry)
            case RecordVoided() | RecordReleased():
                self._note_request(entry)
                self._undo(number, entry)
            case DaySummarised():
                self._note_summary(number, entry)
            case _:
                self._note_request(entry)
                if BY_ENTRY[type(entry)].rows == "registration":
                    register(self.state, number, entry)
                    self.state.add_registration(number, data)
        self.state.last_at = entry.at
        return entry

    def last_batch(self) -> tuple[int, int]:
        """Return the size on which the group of the last batch was built, and the one after it."""
        if self._last_batch is None:
            return 0, 0
        entry, files = self._last_batch
        _, receipt, _ = files_beside(entry, files)
        place = parse_receipt(receipt).entries
        return entry.before, place.first + place.count

    def resume(self, snapshot: bytes) -> None:
        """Take the totals from a snapshot. Raises `BadSnapshot`."""
        state = self.state
        resume(state, snapshot)
        state.touched.usage = self._usage.usage

    def _note_request(self, entry: AnyEntry) -> None:
        request = getattr(entry, "request", UNSET)
        if request in self.names.requests:
            self.requests.add((self.state.people.owner_of(entry.by), request))

    def _note_batch(self, number: int, entry: BatchAccepted, files: list[bytes]) -> None:
        self._last_batch = entry, files
        self.state.stream = entry.stream
        name = entry.provider, entry.stream, entry.seq
        if name in self.names.batches:
            _, receipt, signature = files_beside(entry, files)
            place = EntryRange(number, 0)  # nobody asks how many entries follow
            self.state.batches[name] = StoredBatch(place, entry.payload, receipt, signature)

    def _note_summary(self, number: int, entry: DaySummarised) -> None:
        name = entry.provider, entry.stream, day_of(parse_date(entry.day))
        if name in self.names.stream_days:
            self.state.summaries[name] = number

    def _read_usage(self, number: int, data: bytes) -> UsageAccepted | None:
        names = self.names
        usage: _Usage | UsageAccepted
        usage = (_whole_usage if names.all_days else _usage).decode(data)
        counts = self._counts(usage)
        if not (counts or self._matters(usage.provider, usage.id, usage.contract)):
            if (usage.provider, self.state.stream) not in self._streams:
                return None
            first, last = (day_of(at // MICROSECONDS) for at in (usage.start, usage.end - 1))
            stream = usage.provider, self.state.stream
            if not any((*stream, day) in names.stream_days for day in range(first, last + 1)):
                return None
        entry = usage if isinstance(usage, UsageAccepted) else _whole_usage.decode(data)
        self._accept(number, entry, entry.fits, self._admit(entry) if counts else [])
        return entry

    def _counts(self, usage: _Usage | UsageAccepted) -> bool:
        names = self.names
        return names.all_days or not names.days.isdisjoint(_days_of(usage))

    def _matters(self, provider: str, name: str, contract: str) -> bool:
        names, record = self.names, (provider, name)
        return record in names.records or record in names.undone_before or contract in names.amended

    def _admit(self, entry: UsageAccepted) -> Any:
        """Count a record's device-time again; return what is withheld of it."""
        meter = meter_of(self.state, self.state.contracts[entry.contract], entry.device)
        if entry.withheld is not UNSET:
            return admit(meter, work_of(entry)).withheld
        occupy(meter, work_of(entry), [], meter.counted_since)
        return []

    def _note_purchase(self, number: int, entry: PurchaseAccepted) -> None:
        if self._matters(entry.provider, entry.id, entry.contract):
            fits = measured_purchase(entry, by_days=entry.by_days).fits
            self._accept(number, entry, fits, [])

    def _accept(
        self,
        number: int,
        entry: UsageAccepted | PurchaseAccepted,
        fits: DailyTime,
        withheld: Any,
    ) -> None:
        record = AcceptedRecord(number, entry, fits, withheld, stream=self.state.stream)
        self._add_usage(record, 1)
        name = entry.provider, entry.id
        if name in self.names.records or name in self.names.undone_before:
            self.state.records[name] = record

    def _undo(self, number: int, entry: RecordVoided | RecordReleased) -> None:
        record = self.state.records[entry.provider, entry.id]
        usage = record.usage
        self._add_usage(record, -1)
        if isinstance(usage, UsageAccepted) and self._counts(usage):
            contract = self.state.contracts[usage.contract]
            meter, work = meter_of(self.state, contract, usage.device), work_of(usage)
            free(meter, work, still_withheld(record), record.entry)
            if isinstance(entry, RecordReleased):
                occupy(meter, work, [], record.entry)
        if isinstance(entry, RecordVoided):
            record.voided = number
        else:
            record.fits = added([*record.fits, *entry.withheld])
            record.released = number
            self._add_usage(record, 1)

    def _add_usage(self, record: AcceptedRecord, sign: int) -> None:
        """Add a record to its contract's usage by day, or take it off, by what its entries say."""
        if not (self.names.amended or self.names.stream_days):
            return
        usage = record.usage
        fits = dict(record.fits)
        whole, withheld = fits, {}
        if isinstance(usage, UsageAccepted):
            whole = dict(by_day(work_of(usage)))
            if usage.withheld is not UNSET and record.released is None:
                withheld = dict(usage.withheld)
        for day, time in whole.items():
            self._usage.add_records(
                usage.contract,
                (day, usage.device, record.stream),
                sign,
                (sign * time, sign * fits.get(day, 0), sign * withheld.get(day, 0)),
            )


class _Reader(ABC):
    """A judge that decodes for itself, and reads a log a second time from `source`.

    Whatever goes wrong is a `LedgerError`: what lies before a range may be any lie, and who decides
    the whole says what is wrong.
    """

    def __init__(self, source: Source, audit: Audit) -> None:
        self.audit = audit
        self._source = source
        self._past: Past | None = None

    def foresees(self, _: bytes) -> bool:
        """Return True: it decodes for itself what it needs."""
        return True

    def entry(
        self,
        number: int,
        data: bytes,
        _: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        """Take in the next entry. Raises `LedgerError`."""
        try:
            self._take(number, data, attachments, tree)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            raise Violation("malformed_entry", f"{type(error).__name__}: {error}") from None

    @abstractmethod
    def _take(self, number: int, data: bytes, attachments: list[bytes], tree: Tree) -> None:
        """Read or judge the next entry."""


class Range(_Reader):
    """The judge of the entries from `first` until `end`, among all that it is shown.

    It reads the entries before, and its own, a second time from `source`. Its first entry and its
    last one are digests of the state, unless they are the first and the last of the log.
    """

    def __init__(self, source: Source, first: int, end: int) -> None:
        super().__init__(source, Audit(with_sums=False, with_questions=False))
        self._first, self._end = first, end

    def finish(self) -> None:
        """Judge the whole range."""
        self.audit.finish()

    @property
    def checks(self) -> Sequence[Check]:
        """Count the signatures."""
        return self.audit.checks

    def _take(self, number: int, data: bytes, attachments: list[bytes], tree: Tree) -> None:
        if number >= self._end:
            return
        if number < self._first:
            self._before().entry(number, data, attachments)
            return
        if number == self._first and self._past is not None:
            self._resume(self._past, data, attachments)
        fields = None if self.audit.foresees(data) else canon.decode(data)
        self.audit.entry(number, data, fields, attachments, tree)
        if number == self._end - 1 and self._past is not None:
            self._past.names.check(tree)

    def _before(self) -> Past:
        if self._past is None:
            names = Names.of(self._source, self._first, self._end)
            self._past = Past(self.audit.state, names)
        return self._past

    def _resume(self, past: Past, data: bytes, attachments: list[bytes]) -> None:
        """Begin from the snapshot beside the first entry."""
        entry = _read(data)
        if not isinstance(entry, StateDigested):
            raise Violation("not_as_decided", "a range begins at a digest")
        check_snapshot(entry, attachments)
        past.resume(b"".join(attachments))
        self.audit.begin_after(past.requests, *past.last_batch())


class Reading(_Reader):
    """What an audit by ranges leaves: keys, questions, gaps, and the batches that receipts prove.

    It believes all entries; `audit` has decided none of them, and knows what they say. A range may
    be judged beside that.
    """

    def __init__(self, source: Source, own: Range | None = None) -> None:
        super().__init__(source, Audit(with_sums=False))
        self._own = own

    def finish(self) -> None:
        """Check that what it looked at first is what it read, and judge its range."""
        if self._own is not None:
            self._own.finish()
        if self._past is not None:
            self._past.names.check(self.audit.tree)

    @property
    def checks(self) -> Sequence[Check]:
        """Count what its range does."""
        return () if self._own is None else self._own.checks

    def _take(self, number: int, data: bytes, attachments: list[bytes], tree: Tree) -> None:
        self.audit.tree = tree
        if self._own is not None:
            self._own.entry(number, data, None, attachments, tree)
        if self._past is None:
            self._past = Past(self.audit.state, Names.of_all(self._source))
        entry = self._past.entry(number, data, attachments)
        if entry is not None:
            self.audit.note(number, entry)


def survey(source: Source) -> tuple[list[int], int]:
    """Return the numbers of a log's digests, none where it is damaged, and its count of batches."""
    digests, batches = [], 0
    try:
        for number, data in enumerate(source.entries(0, source.size)):
            if _BATCH in data:
                batches += 1
            elif _DIGEST in data and isinstance(_read(data), StateDigested):
                digests.append(number)
    except BROKEN_RULES:
        return [], 0
    return digests, batches


def split(digests: Sequence[int], batches: int, size: int, processes: int) -> list[tuple[int, int]]:
    """Return the ranges of at least three processes, first entry and end.

    The first process reads all as well, the second proves the bytes, the third adds up. The longest
    takes as little time as borders at digests allow; one that is busy enough has an empty range.
    Ranges share an entry at each border.
    """
    deciding = batches * (REPLAYED_BATCH + SIGNATURES) + (size - batches) * DECIDED_RECORD
    looking = size * NAMED_ENTRY
    others = (READ_ENTRY, PROVED_ENTRY, TOTALLED_ENTRY)
    busy = [*(each * size for each in others), *(0 for _ in range(processes - len(others)))]
    ends = [0, *digests, size]

    def reached(time: int) -> list[int]:
        """Return the borders if each process may work for so many microseconds."""
        places = [0]
        for other in busy:
            place = places[-1]
            left = max(0, time - other - READ_BEFORE * place)
            work = deciding + looking if place else deciding
            places.append(ends[bisect_right(ends, place + left * size // work) - 1])
        return places

    enough = range(deciding + looking + sum(busy) + 1)
    borders = reached(bisect_left(enough, size, key=lambda time: reached(time)[-1]))
    return [
        (first, end if end == size else end + 1) if first < end else NO_RANGE
        for first, end in pairwise(borders)
    ]


def _days_of(usage: _Usage | UsageAccepted) -> list[_Day]:
    provider, device = usage.provider, usage.device
    first, last = usage.start // _DAY, (usage.end - 1) // _DAY
    if first == last:  # as nearly all are
        return [(provider, device, first)]
    return [(provider, device, day) for day in range(first, last + 1)]


def _read(data: bytes) -> AnyEntry:
    return read_entry(msgspec.json.decode(data))
