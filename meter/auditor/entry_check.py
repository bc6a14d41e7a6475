"""What an entry file proves to a reader who trusts a key of the log, and has nothing else.

An entry file is a `.tlog-proof` whose line `extra` holds the entry's bytes, as the console gives
it; or a proof with the entry beside it. It shows that the log holds these bytes under this number,
and not that the rules were kept: for that, the whole ledger is verified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import BadNote, BadProof, CannotCheck
from ledger.note import Checkpoint
from ledger.proof import MAX_EXTRA_BYTES, MAX_PROOF_BYTES, Proof
from ledger.quorum import TrustPolicy, open_trusted
from meter.auditor.receipt_check import policy_of
from meter.auditor.receipts import read_bytes
from meter.auditor.verdict import read_key, read_policy


@dataclass(frozen=True, slots=True)
class Proved:
    """An entry that the log of a trusted checkpoint holds under a number."""

    index: int
    entry: bytes
    checkpoint: Checkpoint


def check_file(file: Path, entry: Path | None, vkeys: Sequence[str], policy: Path | None) -> Proved:
    """Return what an entry file proves, with the keys and files as a command line has them.

    Raises as `check` does.
    """
    policies = [policy_of(map(read_key, vkeys))] if vkeys else []
    if policy:
        policies.append(read_policy(policy))
    data = None if entry is None else read_bytes(entry, MAX_EXTRA_BYTES)
    return check(read_bytes(file, MAX_PROOF_BYTES), data, policies)


def check(data: bytes, entry: bytes | None, policies: Sequence[TrustPolicy]) -> Proved:
    """Return what an entry file proves; `entry` stands for the one in the file.

    Raises `BadProof` and `BadNote` where it proves nothing, `NotSigned` and `NotWitnessed` where no
    trusted key has signed, `CannotCheck` without an entry or a policy, and for what is no entry
    file at all: the page of a captive portal accuses nobody.
    """
    try:
        proof = Proof.parse(data)
    except (BadProof, BadNote) as error:
        raise CannotCheck(f"not an entry file: {error.detail}") from None
    entry = entry or proof.extra
    if not entry:
        raise CannotCheck("the proof holds no entry: name its file with --entry")
    if not policies:
        raise CannotCheck("name the log's key, or a trust policy")
    checkpoints = [open_trusted(proof.checkpoint_note, each).checkpoint for each in policies]
    proof.check_entry(entry, checkpoints[0])
    return Proved(proof.index, entry, checkpoints[0])
