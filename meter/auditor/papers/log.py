"""A log that was verified in this run, and its entries.

A paper rests on the very bytes that were judged, whatever happens to the folder afterwards: each
entry that the audit has passed is kept in a temporary file, a line each, since canonical JSON has
no line feed. So memory does not grow with the log.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from ledger.errors import BadNote, CannotCheck, LedgerError
from ledger.files import open_private
from ledger.note import Checkpoint, claimed_checkpoint
from ledger.progress import Progress
from ledger.tlog import Tree
from meter.auditor.log_keys import missing_signers
from meter.auditor.replay import ATTACHMENTS, Audit
from meter.auditor.verdict import Verdict, verify_source
from meter.rules.entries import AnyEntry
from meter.rules.kinds.table import read_entry
from meter.rules.state import State

PROGRAM: Final = f"kashi {version('kashi')}"
# What is raised by JSON of others that is not of the form which it should have.
WRONG_FORM: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError),
    RecursionError,
)


class NotGood(LedgerError):  # noqa: N818 - the name says what is wrong
    """No paper is made from a log that is not good; `verdict` says why."""

    code = "not_good"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"the log is {verdict.conclusion}")
        self.verdict = verdict


def check_version(program: object) -> None:
    """Raise `CannotCheck` for a paper of another version, which may draw the same otherwise."""
    here = PROGRAM
    if program != here:
        raise CannotCheck(f"{program} made it, and this is {here}: check it by that version")


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """An entry, its number and its exact bytes."""

    number: int
    entry: AnyEntry
    data: bytes


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A good log of `size` entries; `root` is in hex. It can be read inside the `with` alone."""

    verdict: Verdict
    state: State
    tree: Tree
    kept: Path
    envelopes: Path
    places: Mapping[int, tuple[int, int]]  # of a batch's envelope: where it begins, and its length

    @property
    def origin(self) -> str:
        return self.verdict.report.origin

    @property
    def size(self) -> int:
        return self.verdict.report.size

    @property
    def root(self) -> str:
        return self.verdict.report.root.hex()

    def about(self) -> dict[str, Any]:
        """Return what each paper says of the log, and which program made it."""
        return {"origin": self.origin, "size": self.size, "root": self.root, "program": PROGRAM}

    def has_signed(self, note: bytes) -> bool:
        """Return whether a note is the log's own checkpoint, maybe cosigned by others than here.

        Copies differ in that: witnesses may come late, and an export has none.
        """
        try:
            claimed = claimed_checkpoint(note)
        except BadNote:
            return False
        own = Checkpoint(self.origin, self.size, self.verdict.report.root)
        return claimed == own and not missing_signers(note, self.state.log_keys, self.size)

    def check_comparable(self, made_of: Checkpoint) -> None:
        """Raise `CannotCheck` where a paper is of this very log, with fewer or more entries.

        That a log has grown accuses nobody. A log of another history is left to the comparison.
        """
        size, here = made_of.size, self.size
        is_shorter = size < here and self.tree.root(size) == made_of.root
        if is_shorter or (size > here and made_of.origin == self.origin):
            raise CannotCheck(
                f"it was made of {size} entries, and this copy of the log has {here}:"
                " compare it with the copy that it was made of"
            )

    def envelope(self, number: int) -> bytes:
        """Return the envelope of a batch, by the number of its entry."""
        start, length = self.places[number]
        with self.envelopes.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def entries(self) -> Iterator[KeptEntry]:
        """Yield all entries, in order."""
        with self.kept.open("rb") as lines:
            for number, line in enumerate(lines):
                data = line[:-1]
                yield KeptEntry(number, read_entry(msgspec.json.decode(data)), data)


class _KeepingAudit(Audit):
    """An audit that writes down each entry that it has passed, and each envelope."""

    def __init__(self, kept: BinaryIO, envelopes: BinaryIO, **parts: Any) -> None:
        super().__init__(**parts)
        self.places: dict[int, tuple[int, int]] = {}
        self._kept = kept
        self._envelopes = envelopes

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        super().entry(number, data, fields, attachments, tree)
        self._kept.write(data + b"\n")
        if len(attachments) == len(ATTACHMENTS):  # a batch's, not a snapshot
            envelope = attachments[ATTACHMENTS.index("envelope")]
            self.places[number] = self._envelopes.tell(), len(envelope)
            self._envelopes.write(envelope)


@contextmanager
def verified(
    source: str, vkey: str, token: str | None, progress: Progress
) -> Iterator[VerifiedLog]:
    """Verify a folder or a URL, and yield the log. Raises `NotGood` and `CannotCheck`."""
    audits: list[_KeepingAudit] = []
    with tempfile.TemporaryDirectory(prefix="kashi-papers-") as folder:
        paths = Path(folder) / "entries", Path(folder) / "envelopes"
        with (
            open_private(paths[0], new=True) as kept,
            open_private(paths[1], new=True) as envelopes,
        ):

            def make_audit(**parts: Any) -> Audit:
                audits.append(_KeepingAudit(kept, envelopes, **parts))
                return audits[0]

            verdict = verify_source(source, vkey, (), token, progress, make_audit=make_audit)
        if verdict.conclusion != "good":
            raise NotGood(verdict)
        audit = audits[0]
        yield VerifiedLog(verdict, audit.state, audit.tree, *paths, audit.places)
