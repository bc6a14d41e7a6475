"""The decision of a witness that is asked to cosign a checkpoint (C2SP tlog-witness).

The log posts to `add-checkpoint` the size that it believes the witness has signed last, the proof
that the tree has only grown since then, an empty line, and its new checkpoint:

    old 2
    THnQ1i989cqIdBVfLTuHXyYl2iuzq8hrvWgz8lupDlE=

    example.com/log
    3
    OF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=

    — example.com/log 1FXFIdzWOMUF5pSezGt/DmachpVXciLFKKnZ+sgRl97K9vchkGNZ+yCxWnHYduoRdIk6cnzBL/mXmCHblaLJwlXARAI=

`judge` decides as C2SP demands. The checks come in this order, the first that fails is the answer,
and only `size_conflict` has the content type `text/x.tlog.size`:

    400  malformed       the body is no such request (`AddCheckpoint.parse`)
    404  unknown_log     the witness does not know the origin
    403  bad_signature   no known key of the log has signed, or the signature of one is wrong
    400  old_is_larger   `old` is larger than the new tree
    409  size_conflict   `old` is not the size signed last; the body is that size
    422  bad_root        the new tree has no entries, and another root than the empty tree
    422  fork            the new tree has the size signed last, and another root
    422  bad_proof       the hashes do not lead from the root signed last to the new one

A fork is the log's own fault: it has signed two checkpoints that exclude each other, so keep both
notes. A bad proof may come from anyone.

A log that changes its key has two for a while, and one signature by a known key is enough: the
witness may learn of the new key before or after the log signs with it. The tree signed last belongs
to the log, not to a key, so a new key cannot take anything back.

Nothing is signed or stored here. The caller holds a lock from before `judge` until the accepted
tree is durable, and only then cosigns and answers. Otherwise two requests at once can shrink a log.
"""  # noqa: E501 (a signature line is as long as it is)

import re
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from ledger.errors import BadNote, BadProof, LedgerError
from ledger.note import (
    MAX_NOTE_BYTES,
    MAX_SIZE,
    Checkpoint,
    Verifier,
    claimed_checkpoint,
    open_note,
    parse_number,
)
from ledger.proof import check_hashes, format_hashes, parse_hashes, split_head
from ledger.tlog import EMPTY_ROOT, check_consistency

# The size and the hashes take up to 2,860 bytes.
MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + 4_096

SIZE_TYPE: Final = "text/x.tlog.size"  # of a body that is the size signed last, and nothing more

_HEAD: Final = re.compile(r"old (?P<old>.+)\n(?P<hashes>(?:.+\n)*)")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A well-formed request that is not verified yet."""

    old: int
    hashes: tuple[bytes, ...]
    note: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.old <= MAX_SIZE:
            raise BadProof(f"no log has {self.old} entries")
        check_hashes(self.hashes)
        claimed_checkpoint(self.note)

    @property
    def origin(self) -> str:
        """The log that the request claims to come from."""
        return claimed_checkpoint(self.note).origin

    def format(self) -> bytes:
        return f"old {self.old}\n{format_hashes(self.hashes)}\n".encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> "AddCheckpoint":
        """Read the body of a request. Raises `BadProof` or `BadNote`; see `malformed`."""
        if len(data) > MAX_REQUEST_BYTES:
            raise BadProof(f"a request has at most {MAX_REQUEST_BYTES} bytes")
        head, note = split_head(data)
        if not (match := _HEAD.fullmatch(head)):
            raise BadProof("a request is an old size and hashes, one to a line")
        return cls(parse_number(match["old"]), parse_hashes(match["hashes"]), note)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The tree of one log that the witness has signed last."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The log has signed this checkpoint, and its tree begins with the one signed last."""

    checkpoint: Checkpoint

    @property
    def witnessed(self) -> Witnessed:
        return Witnessed(self.checkpoint.size, self.checkpoint.root)


Reason = Literal[
    "malformed",
    "unknown_log",
    "bad_signature",
    "old_is_larger",
    "size_conflict",
    "bad_root",
    "fork",
    "bad_proof",
]

_STATUS: Final[dict[Reason, int]] = {
    "malformed": 400,
    "unknown_log": 404,
    "bad_signature": 403,
    "old_is_larger": 400,
    "size_conflict": 409,
    "bad_root": 422,
    "fork": 422,
    "bad_proof": 422,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, sent to the log. C2SP has no `reason`: it is for the witness's own records."""

    reason: Reason
    body: str

    @property
    def status(self) -> int:
        return _STATUS[self.reason]

    @property
    def content_type(self) -> str:
        """Return the exact header value; C2SP wants no parameter after the type of a size."""
        is_size = self.reason == "size_conflict"
        return SIZE_TYPE if is_size else "text/plain; charset=utf-8"


def judge(
    request: AddCheckpoint, known: Witnessed | None, keys: Collection[Verifier]
) -> Accepted | Refused:
    """Decide whether to cosign; `known` and `keys` are of the log `request.origin`.

    A log without keys is not known. The tree signed last may be sent again, and is accepted again.
    """
    if not keys:
        return _refused("unknown_log", f"{request.origin!r:.200} is not a log known here")
    try:
        checkpoint = _open_signed(request.note, keys)
    except BadNote as error:
        return _refused("bad_signature", error.detail)
    return _judge_growth(request, known or Witnessed(0, EMPTY_ROOT), checkpoint)


def malformed(error: LedgerError) -> Refused:
    """Return the answer to a body that `AddCheckpoint.parse` refuses."""
    return _refused("malformed", error.detail)


def monitoring_path(origin: str) -> str:
    """Return the path, below the monitoring prefix, of what a witness signed last of a log."""
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


def _open_signed(data: bytes, keys: Collection[Verifier]) -> Checkpoint:
    """Return the checkpoint of a note that its log has signed with one of these keys at least."""
    note = open_note(data, keys)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin not in {signature.name for signature in note.signatures}:
        raise BadNote(f"{checkpoint.origin!r:.200} itself has not signed its checkpoint")
    return checkpoint


def _judge_growth(
    request: AddCheckpoint, known: Witnessed, checkpoint: Checkpoint
) -> Accepted | Refused:
    if request.old > checkpoint.size:
        return _refused("old_is_larger", f"old {request.old} is larger than {checkpoint.size}")
    if request.old != known.size:
        return _refused("size_conflict", f"{known.size}")
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return _refused("bad_root", "a tree without entries has one root, and this is another")
    if checkpoint.size == known.size and checkpoint.root != known.root:
        return _refused("fork", f"another root of {known.size} entries has been signed")
    try:
        check_consistency(known.size, known.root, checkpoint.size, checkpoint.root, request.hashes)
    except BadProof as error:
        return _refused("bad_proof", error.detail)
    return Accepted(checkpoint)


def _refused(reason: Reason, line: str) -> Refused:
    return Refused(reason, f"{line}\n")
