r"""A stored receipt: one file with a batch, the answer to it, and what proves both offline.

    {"kind":"kashi-receipt/v1","envelope":"…","receipt":"…",
     "signature":"keyid=\"receipt-1\", sig=:…:",
     "proof":{"checkpoint":"kashi.example/shenzhen\n57\n…\n\n— kashi.example/shenzhen …\n",
       "before":["<base64>"],
       "entries":[{"index":40,"entry":"{\"at\":1740790800000000,…}","hashes":["<base64>"]},
         {"index":0,…},{"index":3,…}]}}

`envelope`, `receipt`, `signature`, `checkpoint` and each `entry` are texts whose UTF-8 are the very
bytes: the envelope as it was posted, the body and the `Kashi-Signature` of the answer, the signed
note of the log, the ledger's entries. Hashes are base64.

All of a proof belongs to its one checkpoint. Each entry has the hashes that lead from it to the
root (RFC 9162 section 2.1.3), so `index`, `hashes` and `checkpoint` are what a `.tlog-proof` holds.
The first entry is the batch's own; after it come those that name the keys: of the receipt (entry 0,
or a `receipt_key`) and of the provider. `before` shows that the tree of the checkpoint goes on from
the one that the receipt names (section 2.1.4). Without `proof` the file is a receipt that was
stored before anything was published of its batch.

Nothing here is believed: `meter.receipt_check` says what it proves.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ledger.errors import CannotCheck
from ledger.note import claimed_checkpoint
from ledger.tlog import Proving
from meter.wire.batch import MAX_BATCH_BYTES
from meter.wire.receipt import place_of

KIND: Final = "kashi-receipt/v1"
# An envelope in quotes, a receipt of 5,000 results, and room for whoever writes JSON with spaces.
MAX_FILE_BYTES: Final = 4 * MAX_BATCH_BYTES


class BadReceiptFile(CannotCheck):
    """A file that is no stored receipt."""

    code = "bad_receipt_file"


class ProvedEntry(Struct, frozen=True):
    """An entry, and the hashes that lead from it to the root of the checkpoint."""

    index: int
    entry: str
    hashes: list[str]


class ReceiptProof(Struct, frozen=True):
    """That entries are in the log, and that it goes on from the receipt's `before`."""

    checkpoint: str
    before: list[str]
    entries: list[ProvedEntry]


class StoredReceipt(Struct, frozen=True):
    """What a provider keeps of a batch."""

    kind: Literal["kashi-receipt/v1"]
    envelope: str
    receipt: str
    signature: str
    proof: ReceiptProof | UnsetType = UNSET

    def format(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


def store(envelope: bytes, receipt: bytes, signature: str) -> StoredReceipt:
    """Put together what was sent and what was answered. Raises `ValueError` for what is no text."""
    return StoredReceipt(KIND, envelope.decode(), receipt.decode(), signature)


def parse(data: bytes) -> StoredReceipt:
    """Read a file. Raises `BadReceiptFile`."""
    try:
        return msgspec.json.decode(data, type=StoredReceipt)
    except (ValueError, RecursionError) as error:
        raise BadReceiptFile(f"this is no stored receipt: {error}") from None


def with_proof(
    stored: StoredReceipt, note: bytes, tree: Proving, entries: Mapping[int, bytes]
) -> StoredReceipt:
    """Add what proves a receipt by a checkpoint; `entries` are the batch's own and the keys'.

    Raises `BadProof` where the tree does not reach so far.
    """
    size = claimed_checkpoint(note).size
    place = place_of(stored.receipt.encode())
    own = place.entries.first
    numbers = [own, *sorted(set(entries) - {own})]
    proved = [
        ProvedEntry(
            number, entries[number].decode(), _hashes_text(tree.inclusion_proof(number, size))
        )
        for number in numbers
    ]
    before = _hashes_text(tree.consistency_proof(place.before.size, size))
    proof = ReceiptProof(note.decode(), before, proved)
    return msgspec.structs.replace(stored, proof=proof)


def _hashes_text(hashes: Iterable[bytes]) -> list[str]:
    return [b64encode(value).decode() for value in hashes]
