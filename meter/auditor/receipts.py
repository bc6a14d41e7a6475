"""Keep stored receipts, bring their proofs up to date, verify them: the work of `kashi receipt`.

`wire.stored_receipt` has the form of the file, `auditor.receipt_check` what it proves.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from rich.cells import set_cell_size
from rich.console import Console

from ledger import ed25519
from ledger.errors import BadNote, BadProof, CannotCheck
from ledger.note import Checkpoint, claimed_checkpoint, decode_base64
from ledger.proof import MAX_PROOF_BYTES, Proof
from meter.auditor.receipt_check import Trust, Verdict, check, policy_of
from meter.auditor.verdict import read_key, read_policy, replace_file
from meter.client import ClientError, Service, SignedReceipt
from meter.languages import Speech
from meter.values.worded import worded
from meter.wire import dsse, stored_receipt
from meter.wire.dsse import BATCH_TYPE
from meter.wire.stored_receipt import MAX_FILE_BYTES, StoredReceipt

_OUTCOMES: Final = {
    "good": worded("good"),
    "bad": worded("bad"),
    "unchecked": worded("unchecked"),
}
_STYLES: Final = {"good": "green", "bad": "bold red", "unchecked": "yellow"}
_CONCLUSIONS: Final = {
    "good": worded("good: the log holds this batch and this answer to it, and both are signed"),
    "violated": worded("VIOLATED"),
    "not_checked": worded("NOT PROVED: nothing here shows that the log holds this batch"),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the caller trusts, as a command line has it; the keys are base64 of 32 bytes."""

    vkeys: tuple[str, ...] = ()
    policy: Path | None = None
    receipt_key: str | None = None
    provider_key: str | None = None


def verify(path: Path, known: Known, later: Path | None = None) -> Verdict:
    """Return what a stored receipt proves. Raises `CannotCheck`."""
    return check(read(path), _trust(known), _read_proof(later) if later else None)


def read(path: Path) -> StoredReceipt:
    """Read a stored receipt. Raises `CannotCheck`."""
    return stored_receipt.parse(read_bytes(path, MAX_FILE_BYTES))


def keep(path: Path, envelope: bytes, answer: SignedReceipt) -> None:
    """Store a batch and its receipt, unless they are there. Raises `CannotCheck` for others."""
    new = stored_receipt.store(envelope, answer.body, answer.signature)
    if not path.exists():
        replace_file(path, new.format())
    elif read(path).receipt != new.receipt:
        raise CannotCheck(f"{path} holds another receipt, and is not overwritten")


def show(verdict: Verdict, console: Console, speech: Speech) -> None:
    """Print each check on a line, then the conclusion."""
    for each in verdict.checks:
        outcome = set_cell_size(speech.say(_OUTCOMES[each.outcome]), 9)
        code = f"{each.code}: " if each.code else ""
        console.print(
            f"{outcome}  {speech.retell(each.name)}: {code}{speech.retell(each.detail)}",
            style=_STYLES[each.outcome],
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(
        _conclusion(verdict, speech), style="bold", highlight=False, markup=False, soft_wrap=True
    )


def _conclusion(verdict: Verdict, speech: Speech) -> str:
    if verdict.conclusion == "not_checked" and verdict.proved:
        return speech.say(
            "NOT CHECKED: the log holds this batch, but nothing here shows the {unsigned}",
            unsigned=speech.say(" and ").join(map(speech.say, verdict.unsigned)),
        )
    return speech.say(_CONCLUSIONS[verdict.conclusion])


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as plain values."""
    return {
        "verdict": verdict.conclusion,
        "checks": [
            {
                "name": each.name,
                "outcome": each.outcome,
                **({"code": each.code} if each.code else {}),
                "detail": each.detail,
            }
            for each in verdict.checks
        ],
    }


async def prove(url: str, path: Path, token: str | None) -> Checkpoint:
    """Replace a stored receipt's proof by one from the log's newest checkpoint.

    Raises `Refused`, `Unreachable`, or `ClientError` where the new proof is of another receipt or
    no newer: then the file stays as it is, for it may be evidence.
    """
    old = read(path)
    async with Service(url, token) as service:
        new = await service.proved(_digest(old))
    if (new.receipt, new.signature) != (old.receipt, old.signature):
        raise ClientError("other_receipt", "the service has stored another answer to this batch")
    newer = _checkpoint(new)
    if old.proof:
        _check_newer(_checkpoint(old), newer)
    replace_file(path, new.format())
    return newer


def _trust(known: Known) -> Trust:
    policies = [policy_of(map(read_key, known.vkeys))] if known.vkeys else []
    if known.policy:
        policies.append(read_policy(known.policy))
    if not policies:
        raise CannotCheck("name the log's key, or a trust policy")
    keys = (_raw_key(text) for text in (known.receipt_key, known.provider_key))
    return Trust(policies, *keys)


def _raw_key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        public_key = decode_base64(text)
    except BadNote:
        raise CannotCheck(f"{text!r:.100} is not the base64 of a public key") from None
    ed25519.check(public_key)
    return public_key


def _read_proof(path: Path) -> Proof:
    try:
        return Proof.parse(read_bytes(path, MAX_PROOF_BYTES))
    except (BadProof, BadNote) as error:
        raise CannotCheck(f"{path} holds no proof: {error.detail}") from None


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """Return a file of at most so many bytes. Raises `CannotCheck`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise CannotCheck(f"{path} cannot be read: {error}") from None
    if len(data) > limit_bytes:
        raise CannotCheck(f"{path} has more than {limit_bytes} bytes")
    return data


def _digest(stored: StoredReceipt) -> str:
    return sha256(dsse.parse(stored.envelope.encode(), BATCH_TYPE).payload).hexdigest()


def _checkpoint(stored: StoredReceipt) -> Checkpoint:
    if not stored.proof:
        raise ClientError("not_kashi", "the service sent no proof")
    return claimed_checkpoint(stored.proof.checkpoint.encode())


def _check_newer(old: Checkpoint, new: Checkpoint) -> None:
    if new.size < old.size or (new.size == old.size and new.root != old.root):
        raise ClientError("rolled_back", f"the proof in the file is by {old.size} entries already")
