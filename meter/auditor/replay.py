"""Audit a ledger by its rules: decide everything again and compare the bytes.

`Audit` is the `Replay` that `ledger.verify` drives, entry by entry, over bytes it has proved. Each
command of the authority and each signed batch is decided again, on the state that the entries
before it give and with the entry's own `at`; the result must be the very entries and the very
receipt that the ledger holds. So a wrong amount, a wrong refusal, a revoked key or a dropped record
is found, and its entry named. Beside it run independent sums (`auditor.sums`), so that one bug
cannot hide in both. An audit cannot see two things offline: in whose hands a token was, and a batch
that no entry names. Such a batch is a gap in its stream, which `gaps` reports; a receipt proves it
(`check_receipt`).
"""

import base64
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, assert_never

import msgspec

from ledger.canon import spell
from ledger.errors import BadNote, LedgerError, Violation
from ledger.note import Checkpoint, Verifier, open_note, split_note
from ledger.report import Check
from ledger.tlog import Tree
from meter.auditor.accepted import Accepted, ReadTile
from meter.auditor.shares import REPLAYING, Shares
from meter.auditor.sum_records import is_of_record
from meter.auditor.sums import Sums
from meter.rules import entries
from meter.rules.decide import Decided, decide
from meter.rules.decide_command import decide_command, entries_following
from meter.rules.entries import AnyEntry, BatchAccepted, Entry
from meter.rules.evolve import evolve, register
from meter.rules.kinds.kind import Existing, Stamp
from meter.rules.kinds.service_keys import check_first_keys
from meter.rules.kinds.table import read_entry, record_of_command
from meter.rules.month_book import Numbers
from meter.rules.snapshot import digest_of, files_of
from meter.rules.state import BatchId, RecordId, RequestId, State, StoredBatch, signing
from meter.rules.two_persons import asked_by, check_genesis
from meter.values.problems import Problem
from meter.values.worded import worded
from meter.views.decisions import Decision, decision_of
from meter.views.flags import Question, Questions
from meter.wire.batch import parse_batch
from meter.wire.dsse import (
    BATCH_TYPE,
    RECEIPT_TYPE,
    Envelope,
    is_signed_by,
    parse,
    parse_signature_header,
)
from meter.wire.receipt import Before, parse_receipt

ATTACHMENTS: Final = ("envelope", "receipt", "signature")

# As canonical JSON has them.
_BATCH: Final = b'"kind":"batch"'
_DIGEST: Final = b'"kind":"state_digest"'


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a stream that no batch has filled, both ends included.

    `since` is when a batch with a later number showed that they are missing, in microseconds.
    """

    provider: str
    stream: str
    first: int
    last: int
    since: int = field(default=0, compare=False)


class _Results(msgspec.Struct):
    """The results of a receipt, which may hold anything else."""

    voids: list[Any]
    results: list[Any]


class Totals:
    """The independent sums alone, as a replay that can run in a process of its own."""

    def __init__(self) -> None:
        self._sums = Sums()

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,  # noqa: ARG002 - the sums read the bytes for themselves
        attachments: list[bytes],  # noqa: ARG002 - those are the audit's
        tree: Tree,  # noqa: ARG002
    ) -> None:
        """Add the next entry, whose form is not checked yet."""
        try:
            if not is_of_record(data):
                read_entry(msgspec.json.decode(data))
            self._sums.entry(number, data)
        except BROKEN_RULES as error:
            raise _violation(error) from None

    def finish(self) -> None:
        """Compare the totals."""
        self._sums.finish()

    @property
    def checks(self) -> Sequence[Check]:
        """Count the totals that were compared."""
        return [Check("sums", self._sums.compared)]


class Signatures:
    """The signatures of batches and receipts alone, as a replay that can run in another process.

    Of several `processes` it is the one with a number, and checks what `Shares` gives it.
    """

    def __init__(self, process: int = 0, processes: int = 1) -> None:
        self._process = process
        self._shares = Shares(processes)
        self._signatures = 0
        self._state = State()  # knows the keys alone

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,  # noqa: ARG002 - few are decoded
        attachments: list[bytes],
        tree: Tree,  # noqa: ARG002
    ) -> None:
        """Take a key, or check what is beside a batch."""
        if is_of_record(data):
            return
        try:
            self._entry(number, read_entry(msgspec.json.decode(data)), attachments)
        except BROKEN_RULES as error:
            raise _violation(error) from None

    def finish(self) -> None:
        """Do nothing: each signature is judged by itself."""

    @property
    def checks(self) -> Sequence[Check]:
        """Count the signatures of envelopes and receipts."""
        return [Check("signatures", self._signatures)]

    def _entry(self, number: int, entry: AnyEntry, attachments: list[bytes]) -> None:
        if isinstance(entry, BatchAccepted):
            if self._shares.checker(entry) == self._process:
                envelope, receipt, signature = files_beside(entry, attachments)
                _check_envelope_signature(self._state, parse(envelope, BATCH_TYPE))
                signed = _check_receipt_signature(self._state, number, receipt, signature)
                self._signatures += 1 + signed
        elif isinstance(entry, _OF_SIGNERS):
            register(self._state, number, entry)
        elif not isinstance(entry, _OF_NO_SIGNER):
            assert_never(entry)


# The entries that name the keys of batches and receipts, and all others.
_OF_SIGNERS = (
    entries.Genesis | entries.KeyRegistered | entries.ReceiptKeyAdded | entries.ReceiptKeyRetired
)
_OF_NO_SIGNER = (
    entries.PolicyActivated
    | entries.BudgetSet
    | entries.AccessDigested
    | entries.StateDigested
    | entries.YearClosed
    | entries.MonthClosed
    | entries.MonthListed
    | entries.MonthConfirmed
    | entries.DisputeEntry
    | entries.PoolAllocated
    | entries.ProviderRegistered
    | entries.ProviderEnlisted
    | entries.ProviderAmended
    | entries.EnterpriseAmended
    | entries.EnterpriseRegistered
    | entries.EnterpriseSucceeded
    | entries.KeyRevoked
    | entries.LogKeyAdded
    | entries.LogKeyRetired
    | entries.PersonEntry
    | entries.ProposalEntry
    | entries.ContractEntry
    | entries.ContractFunded
    | entries.CouponEntry
    | entries.CouponsExpired
    | entries.ClaimEntry
    | entries.AwardEntry
    | entries.ProjectEntry
    | entries.RecordEntry
    | entries.DaySummarised
)


class Audit:
    """A replay of one ledger from its first entry. Methods raise `Violation`.

    Of several `processes` it is the first one, and checks its share of the signatures; the caller
    runs `Signatures` for the others over the same entries, and `Totals` where it is not
    `with_sums`. Without `with_questions`, a replay may begin from a loaded state. `by_groups`
    judges plain records together, as the service does: an audit by the reference is the stronger
    one. Where it can `read` the log again, it keeps where records stand, and no receipts.
    """

    def __init__(
        self,
        *,
        with_sums: bool = True,
        processes: int = 1,
        with_questions: bool = True,
        by_groups: bool = False,
        read: ReadTile | None = None,
    ) -> None:
        self.state = State()
        self.sums = Sums() if with_sums else None
        self.tree = Tree()
        self._shares = Shares(processes)
        self._by_groups = by_groups
        self._accepted = None if read is None else Accepted(read)
        self._signatures = 0
        # The entries that are still to come of the last batch, or follow from the last command.
        self._expected: deque[bytes] = deque()
        self._made_by = 0
        self._batch_end = 0
        self._before = 0
        self._requests: set[RequestId] = set()
        self._streams: dict[tuple[str, str], Numbers] = {}
        self._receipts: dict[BatchId, bytes] = {}  # their SHA-256
        self._questions = Questions(self.state) if with_questions else None
        self.decisions: list[Decision] = []  # those that somebody should look at

    def foresees(self, data: bytes) -> bool:
        """Return whether the last batch, decided again, gave these very bytes as the next entry."""
        return bool(self._expected) and self._expected[0] == data

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        """Judge the next entry; `tree` is that of all entries before it."""
        self.tree = tree  # the same one each time, and whole when the last entry is in
        try:
            if self.foresees(data) and not attachments:
                self._expected.popleft()
            else:
                self._entry(number, data, fields, attachments, tree)
            if self.sums is not None:
                self.sums.entry(number, data)
        except BROKEN_RULES as error:
            raise _violation(error) from None

    def finish(self) -> None:
        """Judge the whole."""
        if self._expected:
            raise Violation(
                "batch_incomplete",
                f"{len(self._expected)} entries that follow from it are missing",
                self._made_by,
            )
        if self.sums is not None:
            self.sums.finish()

    @property
    def checks(self) -> Sequence[Check]:
        """Count the totals, unless another judge compares them, and its share of the signatures."""
        sums = [Check("sums", self.sums.compared)] if self.sums is not None else []
        return [*sums, Check("signatures", self._signatures)]

    def begin_after(self, requests: set[RequestId], before: int, batch_end: int) -> None:
        """Begin at an entry: the requests so far, the last batch's `before`, and where it ends."""
        self._requests, self._before, self._batch_end = requests, before, batch_end

    def note(self, number: int, entry: Entry) -> None:
        """Take an entry that others decide into the gaps and the questions."""
        if isinstance(entry, BatchAccepted):
            self._note_batch(entry)
        self._ask_about(number, entry)

    def gaps(self) -> list[Gap]:
        """Return the numbers below each stream's last that no batch has filled."""
        return [
            Gap(*name, *gap)
            for name, stream in sorted(self._streams.items(), key=lambda item: item[0])
            for gap in stream.gaps
        ]

    def questions(self) -> list[Question]:
        """Return the money moves that are lawful and that somebody should be able to explain."""
        return [] if self._questions is None else self._questions.found()

    def check_receipt(self, receipt: bytes, signature: str, tree: Tree) -> None:
        """Check a provider's receipt against the audited ledger. Raises `Violation`.

        A well-signed receipt proves that the ledger was changed if the ledger does not hold the
        batch with these very bytes, or if `before` is not a tree of this ledger. A receipt of later
        entries, or without its signature, proves nothing.
        """
        try:
            claim = parse_receipt(receipt)
        except ValueError as error:
            raise Violation("bad_receipt_file", _printable(str(error))) from None
        first, before = claim.entries.first, claim.before
        newer = Violation(
            "newer_receipt", f"it is of entry {first}, and the checkpoint of {tree.size} entries"
        )
        try:
            _check_receipt_signature(self.state, first, receipt, signature)
        except Violation as error:
            # A later entry may name the key that signed.
            raise (
                newer if first >= tree.size else Violation("receipt_not_signed", error.detail)
            ) from None
        # First the stronger proof: on another branch the batch will be missing too.
        if 0 <= before.size <= tree.size and before != _before(tree, before.size):
            raise Violation("forked", f"another tree had size {before.size}")
        if first >= tree.size:
            raise newer
        held = self._receipts.get((claim.provider, claim.stream, claim.seq))
        if held != sha256(receipt).digest():
            provider, stream, seq = claim.provider, claim.stream, claim.seq
            detail = (
                f"the ledger does not hold the batch of {provider}, stream {stream}, number {seq}"
            )
            raise Violation("batch_left_out", _printable(detail))

    def _entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        if attachments and _BATCH not in data and _DIGEST not in data:
            raise Violation("extra_attachment", "only batches and digests have files beside them")
        if self._expected:
            _compare(self._expected.popleft(), data)
            return
        assert fields is not None, "nothing is foreseen"
        entry = read_entry(fields)
        if isinstance(entry, BatchAccepted):
            self._batch(number, entry, data, attachments, tree)
        elif isinstance(entry, entries.Genesis):
            self._genesis(number, entry)
        elif isinstance(entry, entries.StateDigested):
            self._command(number, entry, data, fields, tree)
            check_snapshot(entry, attachments)
        else:
            self._command(number, entry, data, fields, tree)

    def _genesis(self, number: int, entry: entries.Genesis) -> None:
        if number != 0:
            raise Violation("second_genesis", "only entry 0 begins a ledger")
        if sorted(entry.floors) != sorted(entries.FLOORED_CLASSES):
            raise Violation("wrong_floors", f"the floors are {', '.join(entry.floors)}")
        if entry.postings:
            raise Violation("not_as_decided", "a genesis moves no money")
        check_first_keys(entry)
        check_genesis(entry)
        evolve(self.state, entry)

    def _command(
        self, number: int, entry: Entry, data: bytes, fields: dict[str, Any], tree: Tree
    ) -> None:
        """Decide an authority's command again."""
        request = fields.get("request")
        if self.state.genesis is None or request is None or "batch" in fields:
            raise Violation("unexpected_entry", f"a {entry.kind} entry has no place here")
        owner = self.state.people.owner_of(entry.by)
        if (owner, request) in self._requests:
            detail = f"an earlier entry of its person carries request {request!r}"
            raise Violation("request_reused", detail)
        self._requests.add((owner, request))
        checkpoint = ""
        if isinstance(entry, entries.LogKeyRetired):
            checkpoint = entry.checkpoint
            self._check_last_checkpoint(number, checkpoint, tree)
        stamp = Stamp(entry.at, entry.by, request, entry.salt, checkpoint)
        named = record_of_command(entry)
        with self._holding([] if named is None else [named], tree):
            decided = decide_command(self.state, asked_by(entry), stamp)
            if isinstance(decided, Existing):
                raise Violation("repeated", f"entry {decided.entry} says the same")
            _compare(spell(decided), data)
            evolve(self.state, entry)
            self._look_at(number, entry)
        following = entries_following(self.state, number, entry)
        for place, made in enumerate(following, number + 1):
            evolve(self.state, made)
            self._look_at(place, made)
            self._expected.append(spell(made))
        self._made_by = number

    def _holding(self, names: Iterable[RecordId], tree: Tree) -> AbstractContextManager[None]:
        """Hold the records of these names in the state for a while, and all that are accepted."""
        if self._accepted is None:
            return nullcontext()  # the state has all
        return self._accepted.held(self.state, tree, names)

    def _look_at(self, number: int, entry: Entry) -> None:
        self._ask_about(number, entry)
        decision = decision_of(self.state, number, entry)
        if decision is not None:
            self.decisions.append(decision)

    def _ask_about(self, number: int, entry: Entry) -> None:
        if self._questions is not None:
            self._questions.entry(number, entry)

    def _check_last_checkpoint(self, number: int, checkpoint: str, tree: Tree) -> None:
        """Check the last checkpoint that a log key signs against all entries before it."""
        assert self.state.genesis is not None, "a command follows it"
        text = Checkpoint(self.state.genesis.origin, number, tree.root(number)).format()
        keys = [Verifier.parse(vkey) for vkey in signing(self.state.log_keys, number)]
        try:
            stated, signatures = split_note(checkpoint.encode())
            open_note(checkpoint.encode(), keys)
        except BadNote as error:
            raise Violation("wrong_checkpoint", _printable(str(error))) from None
        if stated != text or [each.key_id for each in signatures] != [key.key_id for key in keys]:
            raise Violation("wrong_checkpoint", "it is not that of all entries before, or unsigned")

    def _batch(
        self, number: int, entry: BatchAccepted, data: bytes, attachments: list[bytes], tree: Tree
    ) -> None:
        """Open the batch's envelope, decide it again, compare entry and receipt."""
        envelope, receipt, signature = files_beside(entry, attachments)
        # A batch belongs to the group of the last one, or to a group that began after that batch.
        if entry.before != self._before and not self._batch_end <= entry.before <= number:
            raise Violation("wrong_before", f"the group cannot build on size {entry.before}")
        self._before = entry.before
        before = _before(tree, entry.before)
        opened = parse(envelope, BATCH_TYPE)
        is_checked_here = self._shares.checker(entry) == REPLAYING
        if is_checked_here:
            _check_envelope_signature(self.state, opened)
        signed = parse_batch(opened, envelope)
        with self._holding(((entry.provider, each) for each in signed.batch.item_ids), tree):
            decided = decide(
                self.state, signed, entry.at, before, entry.salt, by_groups=self._by_groups
            )
            if not isinstance(decided, Decided):
                raise Violation("batch_twice", "the number of the stream was filled before")
            for place, made in enumerate(decided.entries, number):
                self._ask_about(place, made)
        if receipt != decided.receipt:
            raise Violation("wrong_receipt", _first_difference(receipt, decided.receipt))
        own, *others = decided.spelled
        _compare(own, data)
        if is_checked_here:
            self._signatures += 1 + _check_receipt_signature(self.state, number, receipt, signature)
        # Whoever keeps no records asks for no receipt either.
        told = (receipt, signature) if self._accepted is None else (b"", "")
        stored = StoredBatch(decided.place, signed.payload_sha256, *told)
        self.state.batches[self._note_batch(entry)] = stored
        self._expected.extend(others)
        self._made_by = number
        self._batch_end = number + len(decided.entries)

    def _note_batch(self, batch: BatchAccepted) -> BatchId:
        """Note the number of a batch and its receipt; return its name."""
        stream = sys.intern(batch.provider), sys.intern(batch.stream)
        self._streams.setdefault(stream, Numbers()).fill(batch.seq, batch.at)
        name = *stream, batch.seq
        self._receipts[name] = bytes.fromhex(batch.receipt)
        return name


# What the rules raise about an entry, and what reads it before anybody has decoded it.
BROKEN_RULES: Final = (
    *(Problem, ValueError, LookupError, ArithmeticError, LedgerError),
    RecursionError,
)


def _violation(error: Exception) -> Violation:
    match error:
        case Violation():
            return error
        case Problem():
            return Violation("not_allowed", _printable(f"{error.code}: {error.detail}"))
        case _:
            return Violation("malformed_entry", _printable(f"{type(error).__name__}: {error}"))


def check_files(data: bytes, attachments: list[bytes]) -> None:
    """Raise `Violation` where an entry has other files beside it than it names.

    A signature needs the keys of the state, so the replay checks it, as it does a malformed entry.
    """
    if _BATCH not in data and _DIGEST not in data:
        return
    try:
        entry = read_entry(msgspec.json.decode(data))
    except BROKEN_RULES:
        return
    if isinstance(entry, BatchAccepted):
        files_beside(entry, attachments)
    elif isinstance(entry, entries.StateDigested):
        check_snapshot(entry, attachments)


def check_snapshot(entry: entries.StateDigested, attachments: list[bytes]) -> None:
    """Raise `Violation` where the files beside a digest are not those of its snapshot."""
    if not attachments:
        raise Violation("missing_attachment", "beside a digest lies the snapshot of the state")
    snapshot = b"".join(attachments)
    if digest_of(snapshot) != entry.sha256 or files_of(snapshot) != attachments:
        raise Violation("wrong_snapshot", "the snapshot is not the one that the entry names")


def files_beside(entry: BatchAccepted, attachments: list[bytes]) -> tuple[bytes, bytes, str]:
    """Return envelope, receipt and signature of a batch. Raises `Violation` for others."""
    if len(attachments) < len(ATTACHMENTS):
        raise Violation("missing_attachment", f"beside a batch lie {', '.join(ATTACHMENTS)}")
    if len(attachments) > len(ATTACHMENTS):
        raise Violation("extra_attachment", f"beside a batch lie only {', '.join(ATTACHMENTS)}")
    envelope, receipt, signature = attachments
    if sha256(envelope).hexdigest() != entry.envelope:
        raise Violation("wrong_envelope", "the envelope is not the one that the entry names")
    if sha256(receipt).hexdigest() != entry.receipt:
        raise Violation("wrong_receipt", "the receipt is not the one that the entry names")
    return envelope, receipt, signature.decode("ascii", "replace")


def _check_envelope_signature(state: State, envelope: Envelope) -> None:
    """Check an envelope by the key that the ledger registered."""
    key = state.keys.get(envelope.keyid)
    if key is None or not is_signed_by(
        key.public_key, BATCH_TYPE, envelope.payload, envelope.signature
    ):
        raise Violation("bad_signature", f"not a signature of key {envelope.keyid}")


def _check_receipt_signature(state: State, number: int, receipt: bytes, header: str) -> int:
    """Check the header by the keys that sign a receipt of this number; return how many they are."""
    if state.genesis is None:
        raise Violation("no_genesis", "the ledger has no entry 0")
    keys = signing(state.receipt_keys, number)
    try:
        signatures = parse_signature_header(header)
        raw = [base64.b64decode(key.public_key) for key in keys.values()]
    except ValueError as error:
        raise Violation("bad_receipt_signature", str(error)) from None
    if [keyid for keyid, _ in signatures] != list(keys):
        names = " and ".join(keys) or "no key"
        raise Violation("bad_receipt_signature", f"{names} must sign, and nothing else")
    if not all(
        is_signed_by(key, RECEIPT_TYPE, receipt, signature)
        for key, (_, signature) in zip(raw, signatures, strict=True)
    ):
        raise Violation("bad_receipt_signature", "the receipt key did not sign this receipt")
    return len(keys)


def _before(tree: Tree, size: int) -> Before:
    return Before(size, base64.b64encode(tree.root(size)).decode())


def _compare(ours: bytes, data: bytes) -> None:
    """Compare an entry with what the rules give."""
    if ours == data:
        return
    ruled: dict[str, Any] = msgspec.json.decode(ours)
    fields: dict[str, Any] = msgspec.json.decode(data)
    different = (
        name for name in ruled.keys() | fields.keys() if ruled.get(name) != fields.get(name)
    )
    names = sorted(different, key=lambda name: (name != "kind", name))
    told = "; ".join(_difference(name, fields.get(name), ruled.get(name)) for name in names[:3])
    raise Violation("not_as_decided", told or "the entry differs from what the rules give")


def _difference(name: str, stated: Any, ruled: Any) -> str:
    """Return what a field says and must say; for a long list, the first item that differs."""
    lists = isinstance(stated, list) and isinstance(ruled, list)
    if lists and len(stated) == len(ruled) > 1:
        pairs = enumerate(zip(stated, ruled, strict=True))
        place, (stated, ruled) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
        name = f"{name}[{place}]"
    # By `repr`, for the same reason as in `_printable`; and texts may be long.
    return worded(f"{name} is {stated!r:.200}, not {ruled!r:.200}")


def _first_difference(receipt: bytes, ruled: bytes) -> str:
    """Return the first result in which a receipt differs from what the rules give."""
    ours = msgspec.json.decode(ruled, type=_Results)
    try:
        theirs = msgspec.json.decode(receipt, type=_Results)
    except (ValueError, RecursionError):
        return worded("it is not a receipt")
    pairs = zip(ours.voids + ours.results, theirs.voids + theirs.results, strict=False)
    for mine, stated in pairs:
        if mine != stated:
            return worded(f"the receipt says {stated!r:.300}, the rules give {mine!r:.300}")
    return worded("the receipt is not what the rules give")


def _printable(text: str) -> str:
    """Return a text without control characters, which names in a ledger may hold."""
    return text if text.isprintable() else ascii(text)
