"""The outbox: batches on their way, what was answered, and records that wait.

Two stores have this form: a folder, here, and the agent's spool (`store.py`). In the folder each
batch is a file. A record that was refused for a reason that passes waits in `waiting.jsonl`, one a
line. `due` is when it is sent again, in seconds since 1970:

    {"code":"in_future","detail":"…","tries":1,"due":1740790860,"item":{"id":"slurm:4211:0",…}}
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ledger.files import make_private, open_private
from meter.client import (
    ClientError,
    Stream,
    VerifiedReceipt,
)
from meter.values.strict import decode
from meter.wire.batch import Batch
from meter.wire.stored_receipt import StoredReceipt


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A record or void that the ledger lacks, or holds otherwise, and the reason.

    `code` is one of the receipt's (`meter.wire`: `conflict` too), that of a refused batch, or
    `malformed` where it was not worth sending. Once corrected, it can be reported anew.
    """

    item: Mapping[str, Any]
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Waiting(NotTaken):
    """A record that was refused `tries` times for a reason that passes; it is sent when `due`."""

    tries: int
    due: int


class Outbox(Protocol):
    """What a reporter keeps; each call is durable once it returns, or once its `change` ends."""

    def open(self, stream: Stream) -> None:
        """Lock it for this process; raise `stream.last_seq` to the highest number in it.

        Raises `ClientError` `in_use` or `other_stream`.
        """

    def close(self) -> None: ...

    def change(self) -> contextlib.AbstractContextManager[None]:
        """Group changes: all or none where the store can, else in their order."""

    def unsent(self) -> Sequence[int]:
        """Return the numbers of batches without a receipt, in order."""

    def payload(self, seq: int) -> bytes: ...

    def put(self, seq: int, payload: bytes) -> None:
        """Write a batch, or another in its place."""

    def drop(self, seq: int) -> None: ...

    def keep(self, seq: int, receipt: VerifiedReceipt) -> None:
        """Write a batch's receipt: it is settled."""

    def unproved(self) -> Sequence[int]:
        """Return the numbers of batches with a receipt and without a proof."""

    def answer(self, seq: int) -> tuple[bytes, str]:
        """Return a receipt and its signature."""

    def keep_proof(self, seq: int, stored: StoredReceipt) -> None: ...

    def waiting(self) -> dict[str, Waiting]:
        """Return the records that wait, by id."""

    def wait(self, waiting: Mapping[str, Waiting]) -> None:
        """Let exactly these records wait."""

    def note(self, item: NotTaken) -> None:
        """Write down what was not taken."""


def as_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class FolderOutbox:
    """A folder; each change is durable and atomic."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsent: list[int] = []
        self._waiting: dict[str, Waiting] = {}  # by the record's id

    def open(self, stream: Stream) -> None:
        make_private(self._folder)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ClientError("in_use", f"{self._folder} is in use by another process") from None
        try:
            self._read(stream)
        except BaseException:
            self.close()
            raise

    def _read(self, stream: Stream) -> None:
        names = {path.name for path in self._folder.iterdir()}
        numbers = [
            int(name[: -len(".batch.json")]) for name in names if name.endswith(".batch.json")
        ]
        self._unsent = sorted(seq for seq in numbers if f"{seq}.receipt.json" not in names)
        stream.last_seq = max([stream.last_seq, *numbers])
        if "waiting.jsonl" in names:
            lines = (self._folder / "waiting.jsonl").read_bytes().splitlines()
            self._waiting = {each.item["id"]: each for each in map(_read_waiting, lines)}
        for seq in self._unsent:
            batch = decode(self.payload(seq), Batch)
            if (batch.log, batch.provider, batch.stream) != (
                *(stream.log, stream.provider, stream.name),
            ):
                raise ClientError("other_stream", f"{self._folder} holds batches of {batch.stream}")

    def close(self) -> None:
        os.close(self._lock)

    def change(self) -> contextlib.AbstractContextManager[None]:
        """Group changes, whose order is what a crash leaves whole."""
        return contextlib.nullcontext()

    def unsent(self) -> Sequence[int]:
        return list(self._unsent)

    def payload(self, seq: int) -> bytes:
        return self._file(seq).read_bytes()

    def put(self, seq: int, payload: bytes) -> None:
        write_file(self._file(seq), payload)
        if seq not in self._unsent:
            self._unsent.append(seq)

    def drop(self, seq: int) -> None:
        self._file(seq).unlink()
        self._unsent.remove(seq)

    def keep(self, seq: int, receipt: VerifiedReceipt) -> None:
        """Write signature and receipt; the receipt comes last, as a mark that all is done."""
        file = self._folder / f"{seq}.receipt.json"
        write_file(file.with_name(file.name + ".sig"), receipt.signature.encode())
        write_file(file, receipt.body)
        self._unsent.remove(seq)

    def unproved(self) -> Sequence[int]:
        names = {path.name for path in self._folder.iterdir()}
        answered = (
            int(name.removesuffix(".receipt.json"))
            for name in names
            if name.endswith(".receipt.json")
        )
        return sorted(seq for seq in answered if f"{seq}.proved.json" not in names)

    def answer(self, seq: int) -> tuple[bytes, str]:
        file = self._folder / f"{seq}.receipt.json"
        return file.read_bytes(), file.with_name(file.name + ".sig").read_text(encoding="ascii")

    def keep_proof(self, seq: int, stored: StoredReceipt) -> None:
        write_file(self._folder / f"{seq}.proved.json", stored.format())

    def waiting(self) -> dict[str, Waiting]:
        return dict(self._waiting)

    def wait(self, waiting: Mapping[str, Waiting]) -> None:
        if waiting != self._waiting:
            lines = (as_json(asdict(each)) + b"\n" for each in waiting.values())
            write_file(self._folder / "waiting.jsonl", b"".join(lines))
            self._waiting = dict(waiting)

    def note(self, item: NotTaken) -> None:
        line = as_json({"code": item.code, "detail": item.detail, "item": item.item})
        with open_private(self._folder / "refused.jsonl", append=True) as stream:
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _file(self, seq: int) -> Path:
        return self._folder / f"{seq}.batch.json"


def _read_waiting(line: bytes) -> Waiting:
    return Waiting(**json.loads(line))


def write_file(file: Path, data: bytes) -> None:
    """Write a file durably, whole or not at all."""
    draft = file.with_name(file.name + ".new")
    with open_private(draft) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
