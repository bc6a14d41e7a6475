"""What backs a contract, an award, a claim or a firm: one folder, checked without the ledger.

    README.md                 what the folder is, and how to check it, also by hand
    about.json                the log, the subject, all files
    checkpoint                the log's signed note, with its cosignatures
    entries/000041.json       the exact bytes of an entry
    entries/000041.tlog-proof that the checkpoint's tree holds it (C2SP tlog-proof)
    batches/000040.json       a batch, its receipt, and the proof of both (`wire/stored_receipt.py`)
    keys/pcl-1.pem            a key that signed a batch or a receipt, for openssl

It holds nothing of other firms: entries are those that the firm itself may read (`views/told.py`),
and a batch is there where all that it asks for is the firm's. Other batches are named in
`about.json` by number. The same log and subject give the same bytes.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import UNSET

from ledger.errors import BadNote, BadProof, CannotCheck, Violation
from ledger.files import make_private, open_private
from ledger.note import Verifier, claimed_checkpoint
from ledger.proof import Proof, check
from meter.auditor.papers.log import WRONG_FORM, KeptEntry, VerifiedLog, check_version
from meter.auditor.papers.target import new_folder
from meter.auditor.receipt_check import Trust, policy_of
from meter.auditor.receipt_check import check as check_receipt
from meter.rules.entries import AnyEntry, BatchAccepted, ClaimEntered
from meter.rules.state import State
from meter.rules.subjects import subjects_of
from meter.values.strict import decode
from meter.values.worded import worded
from meter.views.events import Viewer
from meter.views.told import is_told
from meter.wire import dsse, stored_receipt
from meter.wire.batch import Batch
from meter.wire.dsse import BATCH_TYPE, parse_signature_header
from meter.wire.stored_receipt import StoredReceipt

_KIND: Final = "kashi-evidence/v1"
_OF_ITEMS: Final = ("contract:", "award:")
_README: Final = """# Evidence from a ledger · 账本证据包

| | |
|---|---|
| ledger · 账本 | {origin} |
| entries · 条目数 | {size} |
| root · 树根 | `{root}` |
| subject · 对象 | {subject} |
| entries here · 本包条目 | {count} |

`entries/` holds exact bytes and, beside each, the proof that the signed tree holds them.
`batches/` holds what providers signed, with receipts. The log's key has to come from elsewhere:
whoever made this folder could have made a key.

`entries/` 为条目原始字节及其在已签名哈希树中的证明；
`batches/` 为供应方签名的批次与回执。账本公钥须另行取得。

Check all of it · 全部核验:

    kashi audit check . --vkey log.vkey

By hand · 手工核验: the leaf hash of an entry is

    (printf '\\0'; cat entries/000041.json) | sha256sum

and the lines of its `.tlog-proof` lead from it to the root of `checkpoint` (RFC 9162, section
2.1.3.2). The `envelope` of a batch is a DSSE envelope that a key in `keys/` has signed:

    openssl pkeyutl -verify -rawin -pubin -inkey keys/KEYID.pem -in PAE -sigfile SIGNATURE
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A firm by its USCC, and what of it: all, an item (contract or award), or a claim for one."""

    firm: str
    item: str = ""
    claim: str = ""

    def __str__(self) -> str:
        parts = ("claim", self.claim), ("item", self.item), ("enterprise", self.firm)
        return ", ".join(f"{name} {value}" for name, value in parts if value)

    def holds(self, state: State, entry: AnyEntry) -> bool:
        """Return whether an entry of the firm is about the subject, or about the firm alone."""
        if not self.item:
            return True
        name = entry.id if isinstance(entry, ClaimEntered) else getattr(entry, "claim", UNSET)
        if self.claim and isinstance(name, str) and name != self.claim:
            return False
        about = {each for each in subjects_of(state, entry) if each.startswith(_OF_ITEMS)}
        return not about or bool(about & {f"{kind}{self.item}" for kind in _OF_ITEMS})


def subject_of(state: State, kind: str, name: str) -> Subject:
    """Return a subject by its kind: `enterprise`, `item` or `claim`. Raises `ValueError`."""
    if kind == "enterprise":
        if name not in state.enterprises:
            raise ValueError(worded(f"no enterprise {name!r:.80}"))
        return Subject(state.last_successor(name))
    item = name
    if kind == "claim":
        claim = state.claims.claim(name)
        if claim is None:
            raise ValueError(worded(f"no claim {name!r:.80}"))
        item = claim.entered.item
    if item in state.awards:
        firm = state.awards[item].made.enterprise
    elif item in state.contracts:
        firm = state.contracts[item].agreed.enterprise
    else:
        raise ValueError(worded(f"no contract or award {item!r:.80}"))
    return Subject(state.last_successor(firm), item, name if kind == "claim" else "")


def write_package(log: VerifiedLog, subject: Subject, target: Path) -> int:
    """Write the folder of a subject; return the number of entries. Raises `BadTarget`."""
    with new_folder(target) as draft:
        names = []
        for name, data in _files(log, subject, log.verdict.note):
            path = draft / name
            make_private(path.parent)
            with open_private(path, new=True) as file:
                file.write(data)
            names.append(name)
    return sum(name.endswith(".tlog-proof") for name in names)


def check_package(folder: Path, verifier: Verifier) -> int:
    """Return how many entries of a package are proved by a key of the log.

    Raises `Violation` `wrong_package` for what does not fit, and `CannotCheck`.
    """
    about = read_about(folder)
    note = _read(folder, "checkpoint")
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if found != sorted(about["files"]):
        raise Violation("wrong_package", "its files are not those that about.json names")
    proved = 0
    for name in about["files"]:
        if name.endswith(".tlog-proof"):
            _check_entry(folder, name, note, verifier)
            proved += 1
        elif name.startswith("batches/"):
            _check_batch(folder, name, note, verifier)
    return proved


def compare(folder: Path, log: VerifiedLog) -> None:
    """Raise `Violation` `wrong_package` where a log gives another folder, and `CannotCheck`."""
    told_note = _read(folder, "checkpoint")
    with contextlib.suppress(BadNote):  # what is no checkpoint is not what the log gives
        log.check_comparable(claimed_checkpoint(told_note))
    note = told_note if log.has_signed(told_note) else log.verdict.note
    about = read_about(folder)
    check_version(about.get("program"))
    told = about["subject"]
    try:
        subject = Subject(told["enterprise"], told["item"], told["claim"])
        made = dict(_files(log, subject, note))
    except (KeyError, TypeError) as error:
        raise CannotCheck(f"about.json names no subject: {error!r:.200}") from None
    for name, data in made.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            raise Violation("wrong_package", f"{name} is not what the log gives")
    if len(made) != sum(path.is_file() for path in folder.rglob("*")):
        raise Violation("wrong_package", "there are files that the log does not give")


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `about.json` of a package says. Raises `CannotCheck`."""
    try:
        about: dict[str, Any] = json.loads(_read(folder, "about.json"))
        if about["kind"] != _KIND or not all(isinstance(each, str) for each in about["files"]):
            raise ValueError("another kind of folder")
    except WRONG_FORM as error:
        raise CannotCheck(f"{folder} is no evidence package: {error!r:.200}") from None
    return about


def _files(log: VerifiedLog, subject: Subject, note: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a package by their names, those that name others last."""
    names, count = ["README.md", "about.json"], 0
    shared: list[int] = []
    keys: dict[str, bytes] = {}
    for name, data in _entry_files(log, subject, note):
        yield name, data
        names.append(name)
        count += name.endswith(".json")
    for number, batch in _batches(log, subject, note).items():
        if batch is None:
            shared.append(number)
            continue
        name = f"batches/{number:06d}.json"
        yield name, batch.format()
        names.append(name)
        keys.update(_keys_of(log.state, batch))
    for keyid, raw in sorted(keys.items()):
        name = f"keys/{keyid}.pem"
        yield name, _pem(raw)
        names.append(name)
    yield "checkpoint", note
    names.append("checkpoint")
    readme = _README.format(**log.about(), subject=subject, count=count)
    yield "README.md", readme.encode()
    about = {
        "kind": _KIND,
        **log.about(),
        "subject": {"enterprise": subject.firm, "item": subject.item, "claim": subject.claim},
        "shared_batches": shared,
        "files": sorted(names),
    }
    yield "about.json", (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode()


def _entry_files(log: VerifiedLog, subject: Subject, note: bytes) -> Iterator[tuple[str, bytes]]:
    for kept in _told(log, subject):
        name = f"entries/{kept.number:06d}"
        hashes = log.tree.inclusion_proof(kept.number, log.size)
        yield f"{name}.json", kept.data
        yield f"{name}.tlog-proof", Proof(kept.number, tuple(hashes), note).format()


def _told(log: VerifiedLog, subject: Subject) -> Iterator[KeptEntry]:
    """Yield the entries that the firm may read and that are about the subject."""
    reader = Viewer("enterprise", subject.firm)
    for kept in log.entries():
        if is_told(log.state, log.size, kept.number, kept.entry, reader) and subject.holds(
            log.state, kept.entry
        ):
            yield kept


def _batches(log: VerifiedLog, subject: Subject, note: bytes) -> dict[int, StoredReceipt | None]:
    """Return the batches of the subject's records; None where one asks for others' too."""
    wanted = {
        batch
        for kept in _told(log, subject)
        if isinstance(batch := getattr(kept.entry, "batch", None), int)
    }
    state = log.state
    keys = {each.entry for each in state.receipt_keys.values()}
    keys |= {each.entry for each in state.keys.values()}
    found = {kept.number: kept for kept in log.entries() if kept.number in wanted | keys}
    return {number: _stored(log, subject, number, found, note) for number in sorted(wanted)}


def _stored(
    log: VerifiedLog, subject: Subject, number: int, found: Mapping[int, KeptEntry], note: bytes
) -> StoredReceipt | None:
    """Return a batch with its receipt and their proof, where it is the firm's."""
    state, entry = log.state, found[number].entry
    assert isinstance(entry, BatchAccepted), "a record names it as its batch"
    data = log.envelope(number)
    envelope = dsse.parse(data, BATCH_TYPE)
    if not _is_firms(state, subject.firm, decode(envelope.payload, Batch)):
        return None
    held = state.batches[entry.provider, entry.stream, entry.seq]
    keys = [state.receipt_keys[name].entry for name, _ in parse_signature_header(held.signature)]
    numbers = {number, *keys, state.keys[envelope.keyid].entry}
    stored = stored_receipt.store(data, held.receipt, held.signature)
    proved = {each: found[each].data for each in numbers}
    return stored_receipt.with_proof(stored, note, log.tree, proved)


def _is_firms(state: State, firm: str, batch: Batch) -> bool:
    """Return whether all that a batch asks for is of one firm's contracts."""
    asked = {each.contract for each in batch.records}
    asked |= {each.contract for each in batch.purchases}
    for void in batch.voids:
        record = state.records.get((batch.provider, void.id))
        asked.add("" if record is None else record.usage.contract)
    known = [state.contracts.get(name) for name in asked]
    return all(
        each is not None and state.last_successor(each.agreed.enterprise) == firm for each in known
    )


def _keys_of(state: State, batch: StoredReceipt) -> Mapping[str, bytes]:
    keyid = dsse.parse(batch.envelope.encode(), BATCH_TYPE).keyid
    found = {keyid: state.keys[keyid].public_key}
    for name, _ in parse_signature_header(batch.signature):
        found[name] = dsse.decode_base64(state.receipt_keys[name].public_key)
    return found


def _pem(raw: bytes) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _check_entry(folder: Path, name: str, note: bytes, verifier: Verifier) -> None:
    data = _read(folder, name.removesuffix(".tlog-proof") + ".json")
    try:
        proof = Proof.parse(_read(folder, name))
        check(proof, data, verifier)
    except (BadProof, BadNote) as error:
        raise Violation("wrong_package", f"{name}: {error}") from None
    if proof.checkpoint_note != note or name != f"entries/{proof.index:06d}.tlog-proof":
        raise Violation("wrong_package", f"{name} is of another checkpoint or entry")


def _check_batch(folder: Path, name: str, note: bytes, verifier: Verifier) -> None:
    stored = stored_receipt.parse(_read(folder, name))
    verdict = check_receipt(stored, Trust([policy_of([verifier])]))
    if verdict.conclusion != "good":
        (bad, *_) = [each for each in verdict.checks if each.outcome != "good"]
        raise Violation("wrong_package", f"{name}: {bad.name}: {bad.detail}")
    if stored.proof is UNSET or stored.proof.checkpoint.encode() != note:
        raise Violation("wrong_package", f"{name} is of another checkpoint")


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise CannotCheck(f"{name} cannot be read: {error}") from None
