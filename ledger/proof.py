"""Proof files: one entry of a log, for checking without the log (C2SP tlog-proof, `.tlog-proof`).

A file holds its kind, the index of the entry, the hashes from the entry's sibling up to the last
below the root, an empty line, and the log's checkpoint as a signed note. The second of the entries
`alpha`, `beta` and `gamma` has the proof

    c2sp.org/tlog-proof@v1
    index 1
    KhWNiv1I4/iMtBld/bKp5IF9lfpX/TREDZP5quXE+Cs=
    THnQ1i989cqIdBVfLTuHXyYl2iuzq8hrvWgz8lupDlE=

    example.com/log
    3
    OF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=

    — example.com/log 1FXFIdzWOMUF5pSezGt/DmachpVXciLFKKnZ+sgRl97K9vchkGNZ+yCxWnHYduoRdIk6cnzBL/mXmCHblaLJwlXARAI=
    — example.com/w1 S6+3EAAAAABpVbkA9ttiY9BmmzcHmrzGLP/Qy+x9ZqN0l38T+ccP7vUpBk4OUA5pkYJHWBcNu2llOlsbW7ap/Rgu6ZH2HdO0M4WuCg==

A line `extra` with base64 may stand before the index. Nobody has signed it, so it proves nothing.
The entry itself is not in the file: the checker has it from elsewhere.
"""  # noqa: E501 (a signature line is as long as it is)

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.cosign import CosignatureVerifier, Cosigned, open_cosigned
from ledger.errors import BadProof
from ledger.note import (
    MAX_NOTE_BYTES,
    MAX_SIZE,
    Checkpoint,
    Verifier,
    claimed_checkpoint,
    decode_base64,
    parse_number,
)
from ledger.tlog import HASH_BYTES, check_inclusion, leaf_hash

# The height of a tree of nearly 2^63 entries; C2SP tlog-witness has the same limit.
MAX_HASHES: Final = 63

# Context for a reader, such as the file that the entry is about; not the place for large data.
MAX_EXTRA_BYTES: Final = 65_536

# The extra data and the hashes take up to 90,300 bytes in base64.
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 100_000

_KIND: Final = "c2sp.org/tlog-proof@v1"
_HEAD: Final = re.compile(
    rf"{re.escape(_KIND)}\n(?:extra (?P<extra>.+)\n)?index (?P<index>.+)\n(?P<hashes>(?:.+\n)*)"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """An unchecked proof that entry number `index` is in the tree of the checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint_note: bytes
    extra: bytes = b""

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_SIZE:
            raise BadProof(f"no log has an entry {self.index}")
        check_hashes(self.hashes)
        claimed_checkpoint(self.checkpoint_note)
        if len(self.extra) > MAX_EXTRA_BYTES:
            raise BadProof(f"the extra data has at most {MAX_EXTRA_BYTES} bytes")

    def format(self) -> bytes:
        extra = f"extra {b64encode(self.extra).decode()}\n" if self.extra else ""
        head = f"{_KIND}\n{extra}index {self.index}\n{format_hashes(self.hashes)}\n"
        return head.encode() + self.checkpoint_note

    @classmethod
    def parse(cls, data: bytes) -> "Proof":
        """Read a proof file. Raises `BadProof`, or `BadNote` for its checkpoint and base64."""
        if len(data) > MAX_PROOF_BYTES:
            raise BadProof(f"a proof has at most {MAX_PROOF_BYTES} bytes")
        head, note = split_head(data)
        if not (match := _HEAD.fullmatch(head)):
            raise BadProof(f"a proof is {_KIND}, an index and hashes, one to a line")
        return cls(
            index=parse_number(match["index"]),
            hashes=parse_hashes(match["hashes"]),
            checkpoint_note=note,
            extra=decode_base64(match["extra"] or ""),
        )

    def check_entry(self, entry: bytes, checkpoint: Checkpoint) -> None:
        """Raise `BadProof` unless the log of this checkpoint holds the entry at the index."""
        check_inclusion(leaf_hash(entry), self.index, checkpoint.size, checkpoint.root, self.hashes)


def check(
    proof: Proof, entry: bytes, verifier: Verifier, cosigners: Iterable[CosignatureVerifier] = ()
) -> Cosigned:
    """Raise `BadNote` or `BadProof` unless the log has signed a tree that holds the entry.

    The result names the `cosigners` that have signed. None of them has to, but a wrong line of one
    raises `BadNote`. For a quorum, open the note with `ledger.quorum.open_trusted`, and then call
    `Proof.check_entry`.
    """
    cosigned = open_cosigned(proof.checkpoint_note, verifier, cosigners)
    proof.check_entry(entry, cosigned.checkpoint)
    return cosigned


def check_hashes(hashes: Iterable[bytes]) -> None:
    """Raise `BadProof` unless these can be the hashes of a proof of any kind."""
    lengths = [len(value) for value in hashes]
    if len(lengths) > MAX_HASHES or any(length != HASH_BYTES for length in lengths):
        raise BadProof(f"a proof is at most {MAX_HASHES} hashes of {HASH_BYTES} bytes")


def split_head(data: bytes) -> tuple[str, bytes]:
    """Return the lines before the first empty line, and the note after it. Raises `BadProof`."""
    head, empty_line, note = data.partition(b"\n\n")
    if not empty_line or not head.isascii():
        raise BadProof("a proof is lines of ASCII, an empty line and a checkpoint")
    return head.decode() + "\n", note


def format_hashes(hashes: Iterable[bytes]) -> str:
    """Return the hashes in base64, one to a line, each with its line feed."""
    return "".join(f"{b64encode(value).decode()}\n" for value in hashes)


def parse_hashes(lines: str) -> tuple[bytes, ...]:
    """Read what `format_hashes` returns. Raises `BadNote` for anything but base64."""
    return tuple(decode_base64(line) for line in lines.split("\n")[:-1])
