"""A writer of exported ledgers: honest, and dishonest where a test wants it to be.

    writer = Writer()
    writer.activate()
    ...
    with writer.group():
        writer.post([record(...)])
        writer.post([record(...)])
    report = verify(writer.export(folder), writer.verifier, Audit())

It is a service without a database: the real rules decide commands and batches, and the log, the
keys, the receipts and the checkpoint are real. A lie is told before it is hashed or signed, so that
book, tree and checkpoint are consistent with it. There are four ways to lie:

    bent(thing, ...)    decide on a state that the entries do not lead to
    writer.tell         write something else in place of an entry, or nothing
    writer.tell_batch   write other entries of a batch, or another receipt (`with_receipt`)
    writer.tell_files   put other files beside a batch, or beside a digest of the state

`writer.twin()` is a second writer that goes on from the same history.
"""

import copy
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from ledger.book import Book
from ledger.canon import encode
from ledger.folder import FolderWriter
from ledger.log import Log
from ledger.note import Checkpoint, Signer, Verifier, sign
from ledger.tlog import Frontier, leaf_hash
from meter.rules.decide import Decided, decide
from meter.rules.entries import FLOORED_CLASSES, Entry, Genesis, ReceiptKey, StateDigested
from meter.rules.plain import Run
from meter.rules.snapshot import files_of, write
from meter.rules.state import StoredBatch, signing
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.receipt import Before
from tests.books import ORIGIN, Books, log_signer, public_text, salt_of, signer

LATER_SIGNERS = {
    each.verifier.format(): each for each in (log_signer("log-2"), log_signer("log-3"))
}

# Written in place of an entry; with None nothing is written.
Told = Entry | Mapping[str, Any] | bytes | None


class Writer(Books):
    """`leaves` and `files` are the written entries, `receipts` and `signatures` the answers."""

    def __init__(
        self,
        now: str = "2025-03-01T12:00:00+08:00",
        floors: tuple[str, ...] = FLOORED_CLASSES,
        genesis: Mapping[str, Any] | None = None,
        persons: Sequence[str] = ("op",),
    ) -> None:
        """Begin a ledger; the writer checks these `floors`, `genesis` changes entry 0."""
        self.signer = log_signer("log")
        self.receipt_signer = dsse.ReceiptSigner("receipt-1", signer("receipts"))
        self.log = Log(Frontier(), Book(floors), 0)
        self._floors = floors
        self.leaves: list[bytes] = []
        self.files: dict[int, list[bytes]] = {}
        self.signatures: list[str] = []
        self.tell: Callable[[int, Entry], Told] = lambda _, entry: entry
        self.tell_batch: Callable[[Decided], Decided] = lambda decided: decided
        self.tell_files: Callable[[list[bytes]], list[bytes]] = lambda files: files
        self._genesis = genesis or {}
        self._before: Before | None = None
        super().__init__(now, persons)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Decide all batches inside on the same tree, like batches of one commit."""
        self._before = self._here()
        try:
            yield
        finally:
            self._before = None

    def send(self, data: bytes) -> bytes:
        """Take an envelope, decide it, write the entries, and answer."""
        signed = parse_batch(dsse.parse(data, dsse.BATCH_TYPE), data)
        before, salt = self._before or self._here(), salt_of(data)
        decided = decide(self.state, signed, self.now, before, salt, by_groups=self.by_groups)
        if isinstance(decided, StoredBatch):
            self.receipts.append(decided.receipt)
            self.signatures.append(decided.signature)
            return decided.receipt
        decided = self.tell_batch(decided)
        receipt, signature = decided.receipt, self._sign(decided.receipt)
        self.receipts.append(receipt)
        self.signatures.append(signature)
        batch = signed.batch
        self.state.batches[batch.provider, batch.stream, batch.seq] = StoredBatch(
            decided.place, signed.payload_sha256, receipt, signature
        )
        own, *others = decided.parts
        assert isinstance(own, Entry)
        self.entries += decided.entries
        self._write(own, self.tell_files([data, receipt, signature.encode()]))
        for part in others:
            if isinstance(part, Run):  # of these, no lie is told
                self.log.extend(part.entries, part.at, part.postings)
                self.leaves += part.entries
            else:
                self._write(part)
        return receipt

    def write(self, told: Told, files: list[bytes] | None = None) -> int:
        """Write something without deciding it; returns its number."""
        data = told if isinstance(told, bytes) else encode(told)
        self._add(data, self.log.last_at, [], files or [])
        return len(self.leaves) - 1

    def twin(self) -> "Writer":
        """Return another writer with the same history and a future of its own."""
        twin = copy.copy(self)
        twin.state = copy.deepcopy(self.state)
        book = Book(self._floors, self.log.book.balances)
        frontier = Frontier.over(b"".join(map(leaf_hash, self.leaves)))
        twin.log = Log(frontier, book, self.log.last_at)
        twin.leaves, twin.files = list(self.leaves), dict(self.files)
        twin.entries, twin.receipts = list(self.entries), list(self.receipts)
        twin.signatures = list(self.signatures)
        return twin

    def export(self, folder: Path) -> Path:
        """Write the folder and sign its checkpoint."""
        out = FolderWriter(folder)
        for number, data in enumerate(self.leaves):
            out.add(data, self.files.get(number, ()))
        out.finish(self.checkpoint().encode())
        return folder

    def checkpoint(self) -> str:
        """Sign all that was written, with all keys that have to sign."""
        text = Checkpoint(ORIGIN, self.log.size, self.log.root()).format()
        return sign(text, *self._log_signers()).decode()

    @property
    def verifier(self) -> Verifier:
        """The newest key that signs checkpoints."""
        return self._log_signers()[-1].verifier

    def _log_signers(self) -> list[Signer]:
        keys = signing(self.state.log_keys, self.log.size)
        return [LATER_SIGNERS.get(vkey, self.signer) for vkey in keys]

    def _sign(self, receipt: bytes) -> str:
        """Sign the receipt of the next batch."""
        signers = [
            self.receipt_signer
            if keyid == "receipt-1"
            else dsse.ReceiptSigner(keyid, signer(keyid))
            for keyid in signing(self.state.receipt_keys, self.log.size)
        ]
        return dsse.sign_receipt(receipt, signers)

    def _append(self, entry: Entry) -> int:
        if isinstance(entry, Genesis):
            key = ReceiptKey("receipt-1", "ed25519", public_text(self.receipt_signer.key))
            vkey = self.signer.verifier.format()
            changes = {"log_key": vkey, "receipt_key": key} | self._genesis
            entry = msgspec.structs.replace(entry, **changes)
        files = (
            self.tell_files(files_of(write(self.state))) if isinstance(entry, StateDigested) else []
        )
        number = super()._append(entry)
        self._write(entry, files)
        return number

    def _write(self, entry: Entry, files: list[bytes] | None = None) -> None:
        told = self.tell(len(self.leaves), entry)
        if told is None:
            return
        data = told if isinstance(told, bytes) else encode(told)
        # To the log, a lie counts as the entry that it replaces.
        self._add(data, entry.at, entry.postings, files or [])

    def _add(self, data: bytes, at: int, postings: list[Any], files: list[bytes]) -> None:
        number = self.log.append(data, at, postings)
        self.leaves.append(data)
        if files:
            self.files[number] = files

    def _here(self) -> Before:
        return Before(self.log.size, b64encode(self.log.root()).decode())


@contextmanager
def bent(thing: Any, **attributes: Any) -> Iterator[None]:
    """Change attributes of something in a state while a lie is told."""
    kept = {name: getattr(thing, name) for name in attributes}
    for name, value in attributes.items():
        setattr(thing, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(thing, name, value)


def with_receipt(decided: Decided, change: Callable[[dict[str, Any]], None]) -> Decided:
    """Return a batch with another receipt; its entry holds the right hash of it."""
    receipt = json.loads(decided.receipt)
    change(receipt)
    data = msgspec.json.encode(receipt)
    own, *others = decided.entries
    own = msgspec.structs.replace(own, receipt=sha256(data).hexdigest())
    return Decided(decided.place, [own, *others], data, decided.results)
