"""What the ledger refuses, with a code that stays and a sentence that helps.

A promise: on whatever bytes, the pure modules raise a `LedgerError` or nothing. Any other exception
is a bug of theirs.
"""

# ruff: noqa: N818 (the names say what is wrong; "Error" would say it twice)


class LedgerError(Exception):
    """Something is not as it must be; `str()` is `code: detail`."""

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
    """A signed note, or the checkpoint in it, that is malformed or not signed as it must be."""

    code = "bad_note"


class NotWitnessed(LedgerError):
    """A checkpoint of the log that too few witnesses have cosigned."""

    code = "not_witnessed"


class BadPosting(LedgerError):
    """A posting that is not `[from, to, fen]` between two accounts."""

    code = "bad_posting"


class FloorBroken(LedgerError):
    """An entry would take an account below zero that may not go there."""

    code = "floor_broken"

    def __init__(self, account: str, balance: int) -> None:
        super().__init__(f"{account} would stand at {balance} fen")
        self.account = account
        self.balance = balance


class BadAppend(LedgerError):
    """An entry that the log cannot take as its next."""

    code = "bad_append"


class BadBundle(LedgerError):
    """A bundle whose framing broke at its entry number `entry`, counted from the bundle's first."""

    code = "bad_bundle"

    def __init__(self, detail: str, entry: int) -> None:
        super().__init__(detail)
        self.entry = entry


class BadFolder(LedgerError):
    """A file or folder that is in the way, unreadable, or not what its name promises."""

    code = "bad_folder"


class MissingFile(BadFolder):
    """A file that is not there."""

    code = "missing_file"


class CannotCheck(LedgerError):
    """There is nothing to give a verdict on: no folder, no checkpoint, no key."""

    code = "cannot_check"


class BadKey(CannotCheck):
    """The text of a key that cannot be read."""

    code = "bad_key"


class BadPolicy(CannotCheck):
    """A trust policy that cannot be read, at its line number `line`; None if it ends too early."""

    code = "bad_trust_policy"

    def __init__(self, detail: str, line: int | None) -> None:
        super().__init__(detail if line is None else f"line {line}: {detail}")
        self.line = line


class Violation(LedgerError):
    """A rule that an entry breaks, told by a `Replay`; without `entry`, the one being replayed."""

    def __init__(self, code: str, detail: str, entry: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.entry = entry
