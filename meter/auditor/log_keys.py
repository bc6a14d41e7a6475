"""Whether a log's own keys signed its checkpoint, for a reader who trusts one of them.

The log's entries name its keys, and each is valid for a range of sizes: from the entry that names
it to the one that retires it (`rules.state.ServiceKey`). All that are valid at a size sign its
checkpoint. One trusted key is enough, even a retired one: the entry that retires a key holds
the checkpoint of all entries before it under that key's signature, and so proves the entry that
names the next.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ledger.canon import decode
from ledger.errors import LedgerError, OtherKey
from ledger.folder import FolderReader
from ledger.note import Verifier, claimed_checkpoint, open_checkpoint, split_note
from ledger.report import Finding
from ledger.tiles import CHECKPOINT, level_tiles
from meter.rules.state import ServiceKey, signing


def signing_key(folder: Path, note: bytes, trusted: Verifier) -> Verifier:
    """Return a key that signed a folder's checkpoint: the trusted one, or another of the log's.

    Nothing proves these entries yet, and anyone can name keys. So the folder is verified with the
    returned key, and then `key_findings` checks the trusted one. Raises `OtherKey` where the log's
    keys signed, and no entry names the trusted one.
    """
    signed = {(each.name, each.key_id) for each in split_note(note)[1]}
    if (trusted.name, trusted.key_id) in signed:
        return trusted
    named: list[Verifier] = []
    with contextlib.suppress(LedgerError, OSError):  # the verification finds what is wrong
        named.extend(_named_keys(FolderReader(folder, grows=True), note))
    signers = [key for key in named if (key.name, key.key_id) in signed]
    if signers and trusted not in named:
        raise OtherKey(
            f"{' and '.join(key.label for key in signers)} signed the checkpoint, a key of this"
            f" log's, and not {trusted.label}, which none of its entries names; if that is a newer"
            " key, the checkpoint is of before the change"
        )
    return next(iter(signers), trusted)


def _named_keys(reader: FolderReader, note: bytes) -> Iterator[Verifier]:
    """Yield the log keys that the entries of a folder name, the oldest first."""
    for tile in level_tiles("entries", claimed_checkpoint(note).size):
        for data in reader.iter_entries(tile):
            if b'"kind":"genesis"' in data or b'"kind":"log_key"' in data:
                fields = decode(data)
                yield Verifier.parse(str(fields.get("vkey", fields.get("log_key"))))


def key_findings(
    note: bytes, trusted: Verifier, keys: Mapping[str, ServiceKey], size: int
) -> list[Finding]:
    """Return the faults in the keys under a checkpoint of a log that was audited up to a size.

    `keys` are those that the audited entries name, by vkey.
    """
    if trusted.format() not in keys:
        detail = f"the trusted key is none of the log's: {', '.join(keys)}"
        return [Finding("wrong_log_key", detail, entry=0)]
    missing = missing_signers(note, keys, size)
    if not missing:
        return []
    detail = f"the checkpoint of size {size} must be signed by {', '.join(missing)}"
    return [Finding("wrong_log_key", detail, file=CHECKPOINT)]


def missing_signers(note: bytes, keys: Mapping[str, ServiceKey], size: int) -> list[str]:
    """Return the keys, by vkey, that must sign the checkpoint of a size and have not."""
    return [vkey for vkey in signing(keys, size) if not _has_signed(note, vkey, size)]


def _has_signed(data: bytes, vkey: str, size: int) -> bool:
    try:
        return open_checkpoint(data, Verifier.parse(vkey)).size == size
    except LedgerError:
        return False
