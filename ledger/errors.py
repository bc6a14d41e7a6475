"""The errors of the ledger, each with a stable code and a sentence for people.

A promise: whatever bytes they are given, the pure modules raise no exception but a `LedgerError`.
Any other is a bug.
"""

# ruff: noqa: N818 (the names say what is wrong; "Error" would say it twice)


class LedgerError(Exception):
    """An error with a stable code; its `str()` is `code: detail`."""

    code = "ledger_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class NotCanonical(LedgerError):
    """Bytes or a value outside the canonical JSON of entries."""

    code = "not_canonical"


class BadProof(LedgerError):
    """Hashes that do not lead to the root."""

    code = "bad_proof"


class BadNote(LedgerError):
    """A signed note, or its checkpoint, that is malformed or lacks a valid signature."""

    code = "bad_note"


class NotSigned(BadNote):
    """A note that none of the known keys has signed."""

    code = "not_signed"


class NotWitnessed(LedgerError):
    """A checkpoint of the log that too few witnesses have cosigned."""

    code = "not_witnessed"


class BadPosting(LedgerError):
    """A posting that is not `[from, to, fen]` between two accounts."""

    code = "bad_posting"


class FloorBroken(LedgerError):
    """An entry that would take an account of a floored class below zero."""

    code = "floor_broken"

    def __init__(self, account: str, balance: int) -> None:
        super().__init__(f"{account} would stand at {balance} fen")
        self.account = account
        self.balance = balance


class BadAppend(LedgerError):
    """An entry that the log cannot take as its next."""

    code = "bad_append"


class BadBundle(LedgerError):
    """A bundle whose framing breaks at entry number `entry`, counted from 0 within the bundle."""

    code = "bad_bundle"

    def __init__(self, detail: str, entry: int) -> None:
        super().__init__(detail)
        self.entry = entry


class CutBundle(BadBundle):
    """A bundle that ends too early, as one does that is still being copied."""

    code = "incomplete_file"


class BadFolder(LedgerError):
    """A file or folder that is in the way, unreadable, or not what its name promises."""

    code = "bad_folder"


class MissingFile(BadFolder):
    """A file that is not there."""

    code = "missing_file"


class CutFile(BadFolder):
    """A file that ends too early, as one does that is still being copied."""

    code = "incomplete_file"


class CannotCheck(LedgerError):
    """No verdict is possible: there is no folder, no checkpoint or no key."""

    code = "cannot_check"


class NoCheckpoint(CannotCheck):
    """A file in the place of a checkpoint that is none, as the page of a portal is."""

    code = "no_checkpoint"


class OtherKey(CannotCheck):
    """A checkpoint that another key has signed than the one that is trusted."""

    code = "other_key"


class BadKey(CannotCheck):
    """The text of a key that cannot be read."""

    code = "bad_key"


class WeakKey(BadKey):
    """A public key whose signatures prove nothing (`ledger.ed25519`)."""

    code = "weak_key"


class BadPolicy(CannotCheck):
    """A trust policy that cannot be read at line number `line`; None if it ends too early."""

    code = "bad_trust_policy"

    def __init__(self, detail: str, line: int | None) -> None:
        super().__init__(detail if line is None else f"line {line}: {detail}")
        self.line = line


class Violation(LedgerError):
    """A broken rule, found by a judge; without `entry`, by the entry being judged."""

    def __init__(self, code: str, detail: str, entry: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.entry = entry
