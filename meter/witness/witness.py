"""A witness: it cosigns a checkpoint only if the log has only grown (C2SP tlog-witness).

DIR/witness.key            its key (0600), as `ledger.cosign` writes it
DIR/witness.vkey           the public half, for trust policies
DIR/logs                   the vkeys of its logs, one to a line; a log may have several
DIR/HASH/checkpoint        what it signed last of a log, with the log's signature lines and its own
DIR/HASH/evidence/*.json   what contradicts that, though the log has signed it too (`Evidence`)

HASH is the hex SHA-256 of the log's origin. What `ledger.witnessing` accepts is durable before
it is answered; so a crash can lose an answer that was not sent, and none that was.

What was signed of a log outlasts the log's keys. It is read back by the witness' own line, for the
log's key may be gone from `logs` by then; the log's lines were verified before they were kept.

A witness whose DIR is restored from a backup could sign a second history: it needs a new key
instead. One process holds DIR. HTTP and waiting are the server's (`witness.server`).
"""

import logging
import os
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Literal, Self, get_args

import msgspec

from ledger.cosign import Cosigner, add_cosignatures, cosigning_times
from ledger.errors import BadFolder, BadKey, BadNote, BadProof, MissingFile
from ledger.files import DISK, Files, lock, make_private
from ledger.folder import DRAFT
from ledger.note import (
    Checkpoint,
    Verifier,
    claimed_checkpoint,
    format_signature,
    open_note,
    split_note,
)
from ledger.witnessing import (
    Accepted,
    AddCheckpoint,
    Refused,
    Witnessed,
    judge,
    malformed,
    monitoring_path,
)
from meter.host.data_folder import DataFolder

# For each log and kind: a lying log could fill the disk, and its first lies are enough.
MAX_EVIDENCE: Final = 1_000

Clock = Callable[[], int]  # seconds since 1970
Logs = dict[str, list[Verifier]]  # the keys of each log by its origin

# Two roots of one size; or a larger tree, without hashes that lead to it from the one signed.
Kind = Literal["fork", "unproved"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_log: Final = logging.getLogger(__name__)


class Evidence(msgspec.Struct, frozen=True):
    """A file of evidence: two notes that a log has signed, `signed` cosigned here, and the request.

    A `fork` is proof by itself. What is `unproved` may be a bad proof by anyone beside a checkpoint
    that is good: ask the log for a proof between the two. It has none if it has forked.
    """

    kind: Kind
    at: int
    signed: str
    offered: str
    old: int
    hashes: list[str]


def initialise(folder: Path, name: str) -> str:
    """Make a witness in an empty folder; return its vkey. Raises `BadFolder` and `BadKey`."""
    key = Cosigner.from_seed(name, secrets.token_bytes(32))
    make_private(folder)
    if any(folder.iterdir()):
        raise BadFolder(f"{folder} holds something already")
    vkey = key.verifier.format()
    DISK.append(folder / "witness.vkey", [f"{vkey}\n".encode()])
    DISK.append(folder / "logs", [])
    DataFolder(folder).write_secret(folder / "witness.key", key.format())
    DISK.sync_folder(folder)
    DISK.sync_folder(folder.parent)
    return vkey


def trust(folder: Path, vkey: str) -> str:
    """Add a key of a log, from the next start on; return its origin. Raises `BadKey`."""
    verifier = Verifier.parse(vkey)
    known = _read_logs(folder).get(verifier.name, [])
    _check_distinct([*known, verifier])
    # Only a new log gets a folder: the missing folder of a known log has been lost.
    if not known:
        _make_room(folder / monitoring_path(verifier.name))
    logs = folder / "logs"
    # An editor may have left the last line without its end.
    ended = _read(logs)[-1:] in ("", "\n")
    DISK.append(logs, [f"{'' if ended else chr(10)}{vkey}\n".encode()])
    return verifier.name


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed last of a log, and when; `note` has the log's lines and ours alone."""

    note: bytes
    checkpoint: Checkpoint
    time: int

    @property
    def witnessed(self) -> Witnessed:
        return Witnessed(self.checkpoint.size, self.checkpoint.root)


class Witness:
    """An open folder. Threads may share it: each log has a lock of its own.

    with Witness.open(folder, clock) as witness:
        answer = witness.add_checkpoint(body)
    """

    def __init__(self, folder: Path, key: Cosigner, logs: Logs, clock: Clock, files: Files) -> None:
        self._folder, self._key, self._clock, self._files = folder, key, clock, files
        self._held = ExitStack()
        self._logs = logs
        self._paths = {monitoring_path(origin): origin for origin in logs}
        # Held from before the judgement until what was accepted is durable.
        self._locks = {origin: Lock() for origin in logs}
        self._signed: dict[str, Signed] = {}
        self.evidence: dict[str, Counter[Kind]] = {}

    @classmethod
    def open(cls, folder: Path, clock: Clock, files: Files = DISK) -> Self:
        """Open a folder, also after a crash.

        Raises `MissingFile`, `BadKey` or `BadNote` where it is damaged, `BadFolder` where another
        process has it.
        """
        key = Cosigner.parse(_read(folder / "witness.key").strip())
        witness = cls(folder, key, _read_logs(folder), clock, files)
        with ExitStack() as held:
            held.callback(os.close, _lock(folder))
            witness._load()
            witness._held = held.pop_all()
        return witness

    @property
    def name(self) -> str:
        return self._key.name

    @property
    def signed(self) -> dict[str, Signed]:
        """What was signed last, by origin."""
        return dict(self._signed)

    def signed_at(self, path: str) -> Signed | None:
        """Return what was signed last of the log that has this `monitoring_path`."""
        return self._signed.get(self._paths.get(path, ""))

    def add_checkpoint(self, body: bytes) -> str | Refused:
        """Return the cosignature line for a request, or the refusal. Raises `OSError`.

        Where it raises, no signature has left the witness; the log may ask again.
        """
        try:
            request = AddCheckpoint.parse(body)
        except (BadProof, BadNote) as error:
            return malformed(error)
        with self._locks.get(request.origin, nullcontext()):
            signed = self._signed.get(request.origin)
            keys = self._logs.get(request.origin, [])
            answer = judge(request, signed.witnessed if signed else None, keys)
            if isinstance(answer, Accepted):
                return self._sign(request.note, answer.checkpoint, signed)
            if signed and (kind := _contradiction(request, answer, signed)):
                self._keep(kind, request, signed)
            return answer

    def close(self) -> None:
        """Unlock the folder for another process."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _load(self) -> None:
        for path, origin in self._paths.items():
            checkpoint = self._folder / path
            if not _evidence(checkpoint).is_dir():
                raise MissingFile(f"{checkpoint.parent}: what was signed of {origin} is lost")
            # A name that a crash left may not be safe yet, and will soon be shown.
            self._files.sync_folder(checkpoint.parent)
            if checkpoint.exists():
                self._signed[origin] = self._read_signed(checkpoint, origin)
            self.evidence[origin] = Counter(
                {kind: len([*_evidence(checkpoint).glob(f"{kind}-*.json")]) for kind in KINDS}
            )

    def _read_signed(self, path: Path, origin: str) -> Signed:
        note = path.read_bytes()
        checkpoint = claimed_checkpoint(note)
        times = cosigning_times(note, [self._key.verifier])
        if self.name not in times or checkpoint.origin != origin:
            raise BadNote(f"{path} is not of {origin}, or not signed by {self.name}")
        if keys := _keys_with_lines(note, self._logs[origin]):
            open_note(note, keys)  # or others would be shown a wrong line
        return Signed(note, checkpoint, times[self.name])

    def _sign(self, note: bytes, checkpoint: Checkpoint, before: Signed | None) -> str:
        # A clock that ran back must not date the larger tree before the smaller one.
        time = max(self._clock(), before.time if before else 0)
        line = self._key.cosign(checkpoint.format(), time)
        bare = _without_other_lines(note, self._logs[checkpoint.origin])
        signed = Signed(add_cosignatures(bare, [line]), checkpoint, time)
        if signed != before:
            self._write(self._folder / monitoring_path(checkpoint.origin), signed.note)
            self._signed[checkpoint.origin] = signed
        return line

    def _keep(self, kind: Kind, request: AddCheckpoint, signed: Signed) -> None:
        """Keep evidence; a failure here must not turn a refusal into a fault."""
        origin, offered = request.origin, claimed_checkpoint(request.note)
        both = f"{signed.checkpoint.format()}{offered.format()}"
        name = f"{kind}-{sha256(both.encode()).hexdigest()[:32]}.json"
        path = _evidence(self._folder / monitoring_path(origin)) / name
        try:
            if self.evidence[origin][kind] < MAX_EVIDENCE and not path.exists():
                _log.error("%s of size %d: %s, see %s", kind.upper(), offered.size, origin, path)
                self._write(path, self._evidence_file(kind, request, signed))
                self.evidence[origin][kind] += 1
        except OSError as error:
            _log.exception("evidence not kept: %s", error.strerror)

    def _evidence_file(self, kind: Kind, request: AddCheckpoint, signed: Signed) -> bytes:
        evidence = Evidence(
            kind=kind,
            at=self._clock(),
            signed=signed.note.decode(),
            offered=_without_other_lines(request.note, self._logs[request.origin]).decode(),
            old=request.old,
            hashes=[b64encode(each).decode() for each in request.hashes],
        )
        return msgspec.json.format(msgspec.json.encode(evidence)) + b"\n"

    def _write(self, path: Path, data: bytes) -> None:
        """Make or replace a file durably; after a crash it is whole."""
        draft = path.with_name(f"{path.name}{DRAFT}")
        if draft.exists():
            self._files.remove(draft)
        self._files.append(draft, [data])
        self._files.rename(draft, path)
        self._files.sync_folder(path.parent)


def _evidence(checkpoint: Path) -> Path:
    return checkpoint.with_name("evidence")


def _make_room(checkpoint: Path) -> None:
    for each in (checkpoint.parent, _evidence(checkpoint)):
        if not each.is_dir():
            DISK.make_folder(each)
        DISK.sync_folder(each.parent)


def _read_logs(folder: Path) -> Logs:
    logs: Logs = {}
    for line in filter(None, _read(folder / "logs").splitlines()):
        verifier = Verifier.parse(line)
        logs.setdefault(verifier.name, []).append(verifier)
    for keys in logs.values():
        _check_distinct(keys)
    return logs


def _check_distinct(keys: Collection[Verifier]) -> None:
    """Raise `BadKey` where two keys of a log have one id: nobody could tell their lines apart."""
    known: set[bytes] = set()
    for key in keys:
        if key.key_id in known:
            raise BadKey(f"{key.name} has a key of the id {key.key_id.hex()} here already")
        known.add(key.key_id)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"there is no {file}; run kashi witness init first") from None


def _lock(folder: Path) -> int:
    """Lock a folder: two processes at once could sign two trees of one size."""
    try:
        return lock(folder)
    except BlockingIOError:
        raise BadFolder(f"another process has {folder}") from None


def _keys_with_lines(note: bytes, keys: Collection[Verifier]) -> list[Verifier]:
    """Return those of a log's keys that have a line in a note, right or wrong."""
    named = {(each.name, each.key_id) for each in split_note(note)[1]}
    return [key for key in keys if (key.name, key.key_id) in named]


def _without_other_lines(note: bytes, keys: Collection[Verifier]) -> bytes:
    """Return the note without the lines of others, which may be anything."""
    opened = open_note(note, keys)
    by_id = {key.key_id: key for key in keys}
    lines = (format_signature(by_id[each.key_id], each.signature) for each in opened.signatures)
    return f"{opened.text}\n{''.join(lines)}".encode()


def _contradiction(request: AddCheckpoint, refused: Refused, signed: Signed) -> Kind | None:
    """Return what a refused checkpoint is evidence of, if its log has signed it."""
    if refused.reason == "bad_signature":
        return None
    offered, known = claimed_checkpoint(request.note), signed.checkpoint
    if offered.size == 0:
        return None  # its root can only be wrong, and is no other history
    # Whatever old size was named with it.
    if offered.size == known.size and offered.root != known.root:
        return "fork"
    if refused.reason == "bad_proof" and offered.size > known.size > 0:
        return "unproved"
    return None
