"""What a stored receipt proves to a reader who trusts a key of the log, and has nothing else.

    verdict = check(parse(data), Trust([policy_of([verifier])]))

    the envelope is a batch, and the receipt answers it, result by result
    the log has signed the checkpoint, and enough witnesses too where a policy asks for them
    the batch's entry is in the checkpoint's tree, and names this envelope and this receipt
    the tree goes on from the one that the receipt names
    the receipt is signed by keys that entries of the same tree name, and the envelope by one

Each check is good, bad, or unchecked because something is missing. The verdict is good only if the
signatures of receipt and batch were checked too. One checkpoint of a trusted log
is enough: the entry holds the digests, so no claim of the file is believed. A later proof
(`ledger.proof`, of the same entry) shows that a checkpoint of years later still holds the batch;
the signers of the older one may then be unknown.

These checks cannot show that the rules were kept: only the verification of the whole ledger does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Final, Literal

from ledger import canon, ed25519
from ledger.errors import LedgerError, NotSigned, NotWitnessed, Violation
from ledger.note import Checkpoint, Verifier, decode_base64, split_note
from ledger.proof import Proof
from ledger.quorum import Log, TrustPolicy, open_trusted
from ledger.report import Conclusion
from ledger.tlog import check_consistency
from meter.rules.entries import BatchAccepted, Entry, Genesis, KeyRegistered, ReceiptKeyAdded
from meter.rules.kinds.table import read_entry
from meter.values.problems import Problem
from meter.values.strict import decode
from meter.values.worded import worded
from meter.wire import dsse
from meter.wire.batch import Batch
from meter.wire.dsse import BATCH_TYPE, RECEIPT_TYPE, Envelope
from meter.wire.receipt import Receipt, WrongReceipt, receipt_for
from meter.wire.stored_receipt import ProvedEntry, ReceiptProof, StoredReceipt

Outcome = Literal["good", "bad", "unchecked"]

_NO_PROOF: Final = worded("the file holds no proof")
_RECEIPT_SIGNATURE: Final = worded("receipt's signature")
_PROVIDER_SIGNATURE: Final = worded("provider's signature")


@dataclass(frozen=True, slots=True)
class Trust:
    """What the reader trusts: a checkpoint must fulfil each of `policies`.

    The raw keys are for files in which no proved entry names them.
    """

    policies: Sequence[TrustPolicy]
    receipt_key: bytes | None = None
    provider_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check; a bad one has a `code`."""

    name: str
    outcome: Outcome
    detail: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks in order, and whether they show that the log holds the batch."""

    checks: list[Check]
    proved: bool

    @property
    def unsigned(self) -> list[str]:
        """Return the signatures that were not checked."""
        signatures = (_RECEIPT_SIGNATURE, _PROVIDER_SIGNATURE)
        return [
            check.name
            for check in self.checks
            if check.name in signatures and check.outcome != "good"
        ]

    @property
    def conclusion(self) -> Conclusion:
        """Return good only where no signature was taken on trust."""
        if any(check.outcome == "bad" for check in self.checks):
            return "violated"
        return "good" if self.proved and not self.unsigned else "not_checked"


def policy_of(verifiers: Iterable[Verifier]) -> TrustPolicy:
    """Return the policy that trusts a log by any of these keys, without witnesses."""
    logs = tuple(Log(verifier) for verifier in dict.fromkeys(verifiers))
    return TrustPolicy(logs=logs, witnesses=(), groups=(), quorum=None)


def check(stored: StoredReceipt, trust: Trust, later: Proof | None = None) -> Verdict:
    """Return what a stored receipt proves; `later` is a newer proof of its batch's entry."""
    checking = _Checking(stored, trust, later)
    for name, step in checking.steps():
        checking.note(name, step)
    return Verdict(checking.checks, checking.proved)


class _Unchecked(Exception):  # noqa: N818 - it says what happened
    """Something that a check needs is missing."""


@dataclass(slots=True)
class _Checking:
    """The steps of a check; each may use what earlier ones found good."""

    stored: StoredReceipt
    trust: Trust
    later: Proof | None
    checks: list[Check] = field(default_factory=list)
    proved: bool = False
    envelope: Envelope | None = None
    batch: Batch | None = None
    receipt: Receipt | None = None
    checkpoint: Checkpoint | None = None
    entries: dict[int, Entry] = field(default_factory=dict)  # those that a trusted tree holds

    def steps(self) -> Iterable[tuple[str, Callable[[], str]]]:
        yield worded("receipt"), self.check_answer
        yield worded("checkpoint"), self.check_checkpoint
        for entry in self.proof().entries if self.stored.proof else ():
            yield worded(f"entry {entry.index}"), partial(self.check_inclusion, entry)
        if self.later is not None:
            yield worded("later checkpoint"), self.check_later
        yield worded("batch"), self.check_batch
        yield worded("growth"), self.check_growth
        yield _RECEIPT_SIGNATURE, self.check_receipt_signature
        yield _PROVIDER_SIGNATURE, self.check_provider_signature

    def note(self, name: str, step: Callable[[], str]) -> None:
        try:
            self.checks.append(Check(name, "good", step()))
        except _Unchecked as unchecked:
            self.checks.append(Check(name, "unchecked", str(unchecked)))
        except LedgerError as error:
            self.checks.append(Check(name, "bad", error.detail, error.code))

    # The steps, in their order

    def check_answer(self) -> str:
        data = self.stored.envelope.encode()
        try:
            self.envelope = dsse.parse(data, BATCH_TYPE)
            self.batch = decode(self.envelope.payload, Batch)
            self.receipt = receipt_for(self.envelope.payload, self.stored.receipt.encode())
        except (Problem, WrongReceipt) as error:
            raise Violation(error.code, error.detail) from None
        except ValueError as error:
            raise Violation("bad_batch", str(error)) from None
        answer = self.receipt
        return worded(
            f"answers the batch of {answer.provider}, stream {answer.stream}, number {answer.seq}"
        )

    def check_checkpoint(self) -> str:
        self.checkpoint, told = self.open_checkpoint(self.proof().checkpoint.encode())
        return told

    def check_inclusion(self, entry: ProvedEntry) -> str:
        if self.checkpoint is None:
            raise _Unchecked("the checkpoint is not trusted")
        proof = Proof(entry.index, _hashes(entry.hashes), self.proof().checkpoint.encode())
        proof.check_entry(entry.entry.encode(), self.checkpoint)
        read = _read(entry)
        self.entries[entry.index] = read
        return worded(f"is in the tree: {read.kind}")

    def check_later(self) -> str:
        assert self.later is not None, "it is a step only then"
        own = self.own_entry()
        if self.later.index != own.index:
            raise Violation("other_entry", f"it proves entry {self.later.index}, not {own.index}")
        checkpoint, told = self.open_checkpoint(self.later.checkpoint_note)
        self.later.check_entry(own.entry.encode(), checkpoint)
        self.entries[own.index] = _read(own)
        older = self.checkpoint
        if older and older.size == checkpoint.size and older.root != checkpoint.root:
            raise Violation("forked", f"the log has signed two trees of {older.size} entries")
        return worded(f"holds the batch's entry: {told}")

    def check_batch(self) -> str:
        entry = self.entries.get(self.own_entry().index)
        if entry is None:
            raise _Unchecked("its entry is not proved")
        expected = self.expected()
        found = {name: getattr(entry, name, None) for name in expected}
        other = [name for name in expected if found[name] != expected[name]]
        if other or not isinstance(entry, BatchAccepted):
            raise Violation("not_as_entered", f"the entry has another {', '.join(other)}")
        self.proved = True
        return worded("the ledger holds this envelope and this receipt")

    def check_growth(self) -> str:
        proof, before = self.proof(), self.answer().before
        if self.checkpoint is None:
            raise _Unchecked("the checkpoint is not trusted")
        size, root = self.checkpoint.size, self.checkpoint.root
        check_consistency(
            before.size, decode_base64(before.root), size, root, _hashes(proof.before)
        )
        return worded(f"its {before.size} entries grew to those of the checkpoint")

    def check_receipt_signature(self) -> str:
        try:
            signatures = dsse.parse_signature_header(self.stored.signature)
        except ValueError as error:
            raise Violation("bad_receipt_signature", str(error)) from None
        named = dict(filter(None, map(_receipt_key_of, self.entries.values())))
        if named:
            self.check_all(signatures, named)
            signers = ", ".join(keyid for keyid, _ in signatures)
            return worded(f"by {signers}, which the ledger names")
        if self.trust.receipt_key is None:
            raise _Unchecked("no proved entry names the key: name it with --receipt-key")
        if not any(self.has_signed(self.trust.receipt_key, each) for _, each in signatures):
            raise Violation("bad_receipt_signature", "the receipt key has not signed this")
        return worded("by the receipt key that you name")

    def check_provider_signature(self) -> str:
        if self.envelope is None:
            raise _Unchecked("the envelope cannot be read")
        key, told = self.provider_key(self.envelope.keyid)
        if not dsse.is_signed_by(key, BATCH_TYPE, self.envelope.payload, self.envelope.signature):
            raise Violation("bad_signature", f"no signature {told}")
        return told

    # What they need

    def proof(self) -> ReceiptProof:
        if not self.stored.proof:
            raise _Unchecked(_NO_PROOF)
        return self.stored.proof

    def answer(self) -> Receipt:
        if self.receipt is None:
            raise _Unchecked("the receipt answers no batch here")
        return self.receipt

    def own_entry(self) -> ProvedEntry:
        """Return the batch's own entry, proved or not."""
        first = self.answer().entries.first
        for entry in self.proof().entries:
            if entry.index == first:
                return entry
        raise _Unchecked(f"the file does not hold entry {first}")

    def open_checkpoint(self, data: bytes) -> tuple[Checkpoint, str]:
        """Return a checkpoint that fulfils all policies, and its description."""
        cosigners: dict[str, int] = {}
        for policy in self.trust.policies:
            try:
                cosigned = open_trusted(data, policy)
            except NotSigned:
                signers = " and ".join(each.label for each in split_note(data)[1])
                raise _Unchecked(f"{signers} signed it, and no key that you name") from None
            except NotWitnessed as error:
                raise _Unchecked(error.detail) from None
            cosigners |= cosigned.times
        checkpoint = cosigned.checkpoint
        if checkpoint.origin != self.answer().log:
            detail = f"it is of {checkpoint.origin!r:.200}, the receipt of {self.answer().log!r}"
            raise Violation("other_log", detail)
        origin, size = checkpoint.origin, checkpoint.size
        if not cosigners:
            return checkpoint, worded(f"signed by {origin} at {size} entries")
        witnesses = ", ".join(cosigners)
        told = worded(f"signed by {origin} at {size} entries, cosigned by {witnesses}")
        return checkpoint, told

    def expected(self) -> Mapping[str, object]:
        """Return the fields that the batch's entry must have."""
        receipt = self.answer()
        assert self.envelope is not None, "the receipt answers it"
        assert self.batch is not None, "the receipt answers it"
        return {
            "provider": receipt.provider,
            "stream": receipt.stream,
            "seq": receipt.seq,
            "by": self.envelope.keyid,
            "payload": sha256(self.envelope.payload).hexdigest(),
            "envelope": sha256(self.stored.envelope.encode()).hexdigest(),
            "receipt": sha256(self.stored.receipt.encode()).hexdigest(),
            "before": receipt.before.size,
            "voids": len(self.batch.voids),
            "records": len(self.batch.records),
            "purchases": len(self.batch.purchases),
        }

    def check_all(self, signatures: list[tuple[str, bytes]], keys: Mapping[str, bytes]) -> None:
        """Check that each signature is by a key that the ledger names."""
        for keyid, signature in signatures:
            if keyid not in keys or not self.has_signed(keys[keyid], signature):
                detail = f"this is no signature of a key {keyid} that the proved entries name"
                raise Violation("bad_receipt_signature", detail)

    def has_signed(self, key: bytes, signature: bytes) -> bool:
        return dsse.is_signed_by(key, RECEIPT_TYPE, self.stored.receipt.encode(), signature)

    def provider_key(self, keyid: str) -> tuple[bytes, str]:
        for entry in self.entries.values():
            if isinstance(entry, KeyRegistered) and entry.keyid == keyid:
                if entry.provider != self.answer().provider:
                    raise Violation("provider_mismatch", f"key {keyid} is {entry.provider}'s")
                return _key(entry.public_key), worded(f"by {keyid}, which the ledger names")
        if self.trust.provider_key is None:
            raise _Unchecked("no proved entry names the key: name it with --provider-key")
        return self.trust.provider_key, worded("by the provider's key that you name")


def _hashes(texts: list[str]) -> tuple[bytes, ...]:
    return tuple(map(decode_base64, texts))


def _read(entry: ProvedEntry) -> Entry:
    try:
        return read_entry(canon.decode(entry.entry.encode()))
    except ValueError as error:
        raise Violation("bad_entry", str(error), entry.index) from None


def _receipt_key_of(entry: Entry) -> tuple[str, bytes] | None:
    """Return name and key where an entry names one that signs receipts."""
    match entry:
        case Genesis(receipt_key=key):
            return key.keyid, _key(key.public_key)
        case ReceiptKeyAdded():
            return entry.keyid, _key(entry.public_key)
    return None


def _key(text: str) -> bytes:
    """Return the key that an entry names. Raises `BadNote`, `BadKey`, `WeakKey`."""
    public_key = decode_base64(text)
    ed25519.check(public_key)
    return public_key
