r"""Evidence of a monitor: two checkpoints that a log signed, and what they prove together.

    {"kind":"fork","at":1740801600,"ours":"kashi.example/city\n9\n…","theirs":"kashi.example/city…",
     "root":"<base64>","hashes":["<base64>"]}

`ours` is the checkpoint of the monitor's copy, `theirs` the other one, both as they were served.
The tree of the larger has the `root` at the size of the smaller: the `hashes` prove that (RFC 9162
section 2.1.4). If the smaller has another root, the log signed two histories: a `fork`. If it has
this root, the log showed fewer entries than it had: a `rollback`. Which of the two was shown last,
only the monitor says.

Anyone with the file and the log's keys can check it without the log. A witness's file of evidence
(`witness.witness`) is read too: it holds two notes; an `unproved` one proves nothing.
"""

from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from ledger.errors import BadNote, BadProof, CannotCheck, LedgerError, NotSigned, OtherKey
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, decode_base64, open_note
from ledger.report import Conclusion
from ledger.tlog import check_consistency

Kind = Literal["fork", "rollback"]

# Two notes, and a path of hashes.
MAX_EVIDENCE_BYTES: Final = 4 * 1024 * 1024


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of evidence; `at` is in seconds since 1970."""

    kind: Kind
    at: int
    ours: str
    theirs: str
    root: str
    hashes: list[str]

    def format(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"


class _OfWitness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of evidence by a witness."""

    kind: Literal["fork", "unproved"]
    at: int
    signed: str
    offered: str
    old: int
    hashes: list[str]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The conclusion from a file of evidence: good where it proves what it says."""

    conclusion: Conclusion
    detail: str


def of(  # noqa: PLR0913, PLR0917 - the fields of a file
    kind: Kind, at: int, ours: bytes, theirs: bytes, root: bytes, hashes: Sequence[bytes]
) -> Evidence:
    """Return the evidence of two notes; the larger's tree has this root at the smaller's size."""
    texts = [b64encode(each).decode() for each in hashes]
    return Evidence(kind, at, ours.decode(), theirs.decode(), b64encode(root).decode(), texts)


def read(data: bytes) -> Evidence:
    """Return the evidence of a monitor's file or a witness's. Raises `CannotCheck`."""
    try:
        either = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if "offered" not in either:
            return msgspec.json.decode(data, type=Evidence)
        theirs = msgspec.json.decode(data, type=_OfWitness)
        root = claimed_checkpoint(theirs.signed.encode()).root
    except (ValueError, RecursionError, BadNote) as error:
        raise CannotCheck(f"not a file of evidence: {error}") from None
    if theirs.kind == "unproved":
        raise CannotCheck("a witness found no proof between two checkpoints: ask the log for one")
    return of("fork", theirs.at, theirs.signed.encode(), theirs.offered.encode(), root, ())


def read_file(path: Path) -> Evidence:
    """Return the evidence of a file. Raises `CannotCheck` and `OSError`."""
    with path.open("rb") as file:
        data = file.read(MAX_EVIDENCE_BYTES + 1)
    if len(data) > MAX_EVIDENCE_BYTES:
        raise CannotCheck(f"{path} has more than {MAX_EVIDENCE_BYTES} bytes")
    return read(data)


def check(evidence: Evidence, keys: Collection[Verifier]) -> Judgement:
    """Return what a file proves to whoever trusts these keys of a log. Raises `OtherKey`."""
    try:
        ours, theirs = (_open(text, keys) for text in (evidence.ours, evidence.theirs))
        if ours.origin != theirs.origin:
            raise BadNote(f"the checkpoints are of {ours.origin!r:.200} and {theirs.origin!r:.200}")
        # Where both have one size, each is the whole of itself.
        smaller, larger = sorted((theirs, ours), key=lambda each: each.size)
        root = decode_base64(evidence.root)
        hashes = [decode_base64(each) for each in evidence.hashes]
        if smaller.size == 0:
            raise BadProof("a tree without entries proves nothing")
        check_consistency(smaller.size, root, larger.size, larger.root, hashes)
    except OtherKey:
        raise
    except LedgerError as error:
        return Judgement("violated", f"the evidence is false: {error}")
    return _conclude(evidence, smaller, larger, root)


def _conclude(
    evidence: Evidence, smaller: Checkpoint, larger: Checkpoint, root: bytes
) -> Judgement:
    forked = smaller.root != root
    if evidence.kind == "rollback":
        if forked:
            return Judgement("violated", "the evidence is false: the two are a fork, no rollback")
        return Judgement(
            "not_checked",
            f"{larger.origin} signed a checkpoint of {larger.size} entries, and an older checkpoint"
            f" of {smaller.size}; which was shown last, only the monitor says",
        )
    if not forked:
        return Judgement("violated", "the evidence is false: one checkpoint goes on from the other")
    sizes = f"{smaller.size} and {larger.size}" if smaller.size < larger.size else f"{larger.size}"
    return Judgement(
        "good",
        f"{larger.origin} signed two histories: its checkpoints of {sizes} entries exclude each"
        " other",
    )


def _open(text: str, keys: Collection[Verifier]) -> Checkpoint:
    note = text.encode()
    try:
        opened = open_note(note, keys)
    except NotSigned:
        checkpoint = claimed_checkpoint(note)
        detail = f"no key that you name signed the checkpoint of {checkpoint.size} entries"
        raise OtherKey(detail) from None
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin not in {each.name for each in opened.signatures}:
        raise BadNote(f"{checkpoint.origin!r:.200} itself did not sign its checkpoint")
    return checkpoint
