"""The answers of our readers to stored vectors: what a good one holds, or the code of a refusal.

Each reader takes `given` and the bytes, as the README describes for implementers in other
languages, and answers with the fields of `must`. Most readers raise a refusal with its code. Where
a pure reader raises `ValueError`, the code is that of its caller, which is named beside it.
"""

import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from ledger import canon
from ledger.bundle import decode_bundle, encode_bundle
from ledger.cosign import CosignatureVerifier, Cosigned, open_cosigned
from ledger.errors import LedgerError
from ledger.folder import FolderWriter
from ledger.note import Checkpoint, Verifier, open_checkpoint, open_note, sign
from ledger.proof import Proof, check
from ledger.tiles import Tile, tiles_of
from ledger.tlog import Tree, check_consistency, check_inclusion, leaf_hash, split_hashes
from ledger.verify import verify
from meter import client
from meter.auditor.replay import Audit
from meter.rules.kinds.table import read_entry
from meter.values.problems import Problem
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.dsse import BATCH_TYPE, Envelope
from tests.fuzz import ledgers

Given = Mapping[str, Any]
Answer = dict[str, Any]


class Refused(Exception):  # noqa: N818 - it says what happened
    """The bytes are refused with a stable code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read(name: str, given: Given, data: bytes) -> Answer:
    """Return the answer of a reader to the bytes of a format. Raises `Refused`."""
    try:
        return READERS[name](given, data)
    except (LedgerError, Problem, client.BadReceipt) as error:
        raise Refused(error.code) from error


# Sent over the wire


def envelope(given: Given, data: bytes) -> Answer:
    """Read an envelope like `meter/intake.py`, before its payload is read."""
    keys = {keyid: b64decode(key) for keyid, key in given["keys"].items()}
    found = dsse.parse(data, BATCH_TYPE)
    if found.keyid not in keys:
        raise Refused("bad_signature")
    if not dsse.is_signed_by(keys[found.keyid], BATCH_TYPE, found.payload, found.signature):
        raise Refused("bad_signature")
    return {
        "keyid": found.keyid,
        "payload": b64encode(found.payload).decode(),
        "signature": found.signature.hex(),
        "signed": sha256(dsse.pae(BATCH_TYPE, found.payload)).hexdigest(),
    }


def batch(_: Given, data: bytes) -> Answer:
    signed = parse_batch(Envelope(BATCH_TYPE, data, "pcl-2025a", b""), b"")
    return {"id": signed.payload_sha256, "batch": _fields(signed.batch)}


def receipt(given: Given, data: bytes) -> Answer:
    """Read an answer like the client: the signature first, then the receipt."""
    client._check_signature(data, given["header"], b64decode(given["key"]))
    # The client has the envelope that it sent, and does not check its signature.
    sent = {"payloadType": BATCH_TYPE, "payload": given["payload"]}
    sent["signatures"] = [{"keyid": "pcl-2025a", "sig": ""}]
    found = client._receipt_for(msgspec.json.encode(sent), data)
    signers = [keyid for keyid, _ in dsse.parse_signature_header(given["header"])]
    return {"receipt": msgspec.to_builtins(found), "signers": signers}


def _fields(value: Any) -> Any:
    """Return the fields that were given, and those of lists within them."""
    match value:
        case Struct():
            fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
            return {name: _fields(item) for name, item in fields if item is not UNSET}
        case list():
            return [_fields(item) for item in value]
        case _:
            return value


# Held by a ledger


def canonical(_: Given, data: bytes) -> Answer:
    value = canon.decode(data)
    assert canon.encode(value) == data
    return {"value": value, "leaf": leaf_hash(data).hex()}


def entry(given: Given, data: bytes) -> Answer:
    """Judge a ledger of a genesis and this entry, like `kashi verify`."""
    if "genesis" in given:
        _replay(b64decode(given["genesis"]), data)
    value = canon.decode(data)
    assert canon.encode(read_entry(value)) == data
    return {"value": value, "leaf": leaf_hash(data).hex()}


def _replay(*entries: bytes) -> None:
    """Raise `Refused` with the fault of the last entry in a ledger of these."""
    signer = ledgers.story().signer
    with tempfile.TemporaryDirectory(prefix="kashi-vectors-") as name:
        writer = FolderWriter(Path(name))
        for data in entries:
            writer.add(data)
        text = Checkpoint(signer.name, writer.size, writer.root()).format()
        writer.finish(sign(text, signer))
        report = verify(Path(name), signer.verifier, Audit())
    for problem in report.findings:
        assert problem.entry == len(entries) - 1
        raise Refused(problem.code)


# Trees


def tree(given: Given, data: bytes) -> Answer:
    entries = decode_bundle(data, given["count"])
    grown = Tree()
    grown.extend(b"".join(map(leaf_hash, entries)))
    return {
        "root": grown.root().hex(),
        "leaves": [leaf_hash(each).hex() for each in entries],
        "files": {
            tile.path: sha256(_file(tile, entries, grown)).hexdigest()
            for tile in tiles_of(grown.size)
        },
    }


def _file(tile: Tile, entries: list[bytes], grown: Tree) -> bytes:
    if tile.level == "entries":
        return encode_bundle(entries[tile.first : tile.first + tile.width])
    return grown.tile_hashes(tile.level, tile.index, tile.width)


def inclusion(given: Given, data: bytes) -> Answer:
    hashes = split_hashes(data)
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    check_inclusion(leaf, given["index"], given["size"], root, hashes)
    return {"hashes": [value.hex() for value in hashes]}


def consistency(given: Given, data: bytes) -> Answer:
    hashes = split_hashes(data)
    old, new = bytes.fromhex(given["old_root"]), bytes.fromhex(given["new_root"])
    check_consistency(given["old_size"], old, given["new_size"], new, hashes)
    return {"hashes": [value.hex() for value in hashes]}


# Signed


def key(given: Given, data: bytes) -> Answer:
    kind = {"log": Verifier, "cosigner": CosignatureVerifier}[given["kind"]]
    found = kind.parse(data.decode())
    return {
        "name": found.name,
        "type": found.key_type[0],
        "id": found.key_id.hex(),
        "public_key": found.public_key.hex(),
    }


def note(given: Given, data: bytes) -> Answer:
    found = open_note(data, map(Verifier.parse, given["vkeys"]))
    signers = [f"{each.name}+{each.key_id.hex()}" for each in found.signatures]
    return {"text": found.text, "signers": signers}


def checkpoint(given: Given, data: bytes) -> Answer:
    return _checkpoint_fields(open_checkpoint(data, Verifier.parse(given["vkey"])))


def cosignature(given: Given, data: bytes) -> Answer:
    return _cosigned(open_cosigned(data, *_keys(given)))


def proof(given: Given, data: bytes) -> Answer:
    found = Proof.parse(data)
    return {
        "index": found.index,
        "hashes": [value.hex() for value in found.hashes],
        "extra": b64encode(found.extra).decode(),
        **_cosigned(check(found, b64decode(given["entry"]), *_keys(given))),
    }


def _keys(given: Given) -> tuple[Verifier, list[CosignatureVerifier]]:
    return Verifier.parse(given["vkey"]), [*map(CosignatureVerifier.parse, given["cosigners"])]


def _cosigned(found: Cosigned) -> Answer:
    return _checkpoint_fields(found.checkpoint) | {"times": found.times}


def _checkpoint_fields(found: Checkpoint) -> Answer:
    return {"origin": found.origin, "size": found.size, "root": found.root.hex()}


READERS: dict[str, Callable[[Given, bytes], Answer]] = {
    each.__name__: each
    for each in (
        *(envelope, batch, receipt, canonical, entry, tree, inclusion, consistency),
        *(key, note, checkpoint, cosignature, proof),
    )
}
