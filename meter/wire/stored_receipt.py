r"""A stored receipt: one file with a batch, its receipt, and the proof of both for offline use.

    {"kind":"kashi-receipt/v1","envelope":"…","receipt":"…",
     "signature":"keyid=\"receipt-1\", sig=:…:",
     "proof":{"checkpoint":"kashi.example/shenzhen\n57\n…\n\n— kashi.example/shenzhen …\n",
       "before":["<base64>"],
       "entries":[{"index":40,"entry":"{\"at\":1740790800000000,…}","hashes":["<base64>"]},
         {"index":0,…},{"index":3,…}]}}

`envelope`, `receipt`, `signature`, `checkpoint` and each `entry` are texts that hold the exact
bytes as UTF-8: the envelope as it was posted, the body and the `Kashi-Signature` of the response,
the signed note of the log, the ledger's entries. Hashes are base64.

A proof has one checkpoint. Each entry comes with the hashes that lead from it to the root (RFC 9162
section 2.1.3), so `index`, `hashes` and `checkpoint` make a `.tlog-proof`. The first entry is the
batch's own. The others name the keys: that of the receipt (entry 0, or a `receipt_key`) and that of
the provider. `before` shows that the tree of the checkpoint extends the tree that the receipt names
(section 2.1.4). A file without `proof` was stored before its batch was published.

Nothing is verified here: that is for `meter/auditor/receipt_check.py`.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ledger.errors import CannotCheck
from ledger.note import claimed_checkpoint
from ledger.tlog import Proving
from meter.values.strict import check_unique_keys
from meter.wire.batch import MAX_BATCH_BYTES
from meter.wire.receipt import place_of

KIND: Final = "kashi-receipt/v1"
# An envelope in quotes, a receipt of 5,000 results, and room for spaces in the JSON.
MAX_FILE_BYTES: Final = 4 * MAX_BATCH_BYTES


class BadReceiptFile(CannotCheck):
    """A file that is not a stored receipt."""

    code = "bad_receipt_file"


class ProvedEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry, and the hashes that lead from it to the root of the checkpoint."""

    index: int
    entry: str
    hashes: list[str]


class ReceiptProof(Struct, frozen=True, forbid_unknown_fields=True):
    """A proof that the log holds the entries and extends the receipt's `before`."""

    checkpoint: str
    before: list[str]
    entries: list[ProvedEntry]


class StoredReceipt(Struct, frozen=True, forbid_unknown_fields=True):
    """A batch and its receipt as a provider keeps them, with their proof."""

    kind: Literal["kashi-receipt/v1"]
    envelope: str
    receipt: str
    signature: str
    proof: ReceiptProof | UnsetType = UNSET

    def format(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


def store(envelope: bytes, receipt: bytes, signature: str) -> StoredReceipt:
    """Return a stored receipt without a proof. Raises `ValueError` for bytes that are not UTF-8."""
    return StoredReceipt(KIND, envelope.decode(), receipt.decode(), signature)


def parse(data: bytes) -> StoredReceipt:
    """Return a stored receipt from its file. Raises `BadReceiptFile`."""
    try:
        stored = msgspec.json.decode(data, type=StoredReceipt)
        check_unique_keys(data)  # other readers may take the other of two
    except (ValueError, RecursionError) as error:
        raise BadReceiptFile(f"not a stored receipt: {error}") from None
    return stored


def with_proof(
    stored: StoredReceipt, note: bytes, tree: Proving, entries: Mapping[int, bytes]
) -> StoredReceipt:
    """Return the receipt with its proof; `entries` are the batch's own and those of the keys.

    Raises `BadProof` where the tree or its checkpoint is too small.
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
