"""Read our test vectors (tests/vectors/README.md) with `aics-tlog`, and print its answers.

python aics_vectors.py FOLDER

prints a JSON object by format and name, with the content of a vector, or null for a refusal.
"""

import json
import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

from aics_tlog import bundle, checkpoint, hashing, note, tiles, tree

NAMES = (
    "canonical",
    "tree",
    "inclusion",
    "consistency",
    "key",
    "note",
    "checkpoint",
    "cosignature",
)


class Refused(ValueError):  # noqa: N818 - it says what happened
    """A refusal without an exception of its own."""


def main(folder):
    answers = {}
    for name in NAMES:
        file = json.loads((Path(folder) / f"{name}.json").read_text("utf-8"))
        answers[name] = {
            vector["name"]: answer(
                READERS[name], file["given"] | vector.get("given", {}), vector["bytes"]
            )
            for vector in file["vectors"]
        }
    json.dump(answers, sys.stdout)


def answer(read, given, encoded):
    try:
        return read(given, b64decode(encoded))
    except ValueError:
        return None


def read_canonical(_, data):
    value = bundle._strict_json(data)
    if bundle.canonical_json(value) != data:
        raise Refused
    return {"value": value, "leaf": hashing.leaf_hash(data).hex()}


def read_tree(given, data):
    entries = split(data)
    if len(entries) != given["count"]:
        raise Refused
    files = tiles.materialise_tiles(entries)
    return {
        "root": tree.MerkleTree(entries).root().hex(),
        "leaves": [hashing.leaf_hash(each).hex() for each in entries],
        "files": {path: sha256(content).hexdigest() for path, content in files.items()},
    }


def split(data):
    """Read framed entries; a bundle holds up to 256."""
    entries = []
    while data:
        end, count = 0, 0
        while end < len(data) and count < 256:
            end, count = end + 2 + int.from_bytes(data[end : end + 2], "big"), count + 1
        entries += tiles.parse_entry_bundle(data[:end])
        data = data[end:]
    return entries


def read_inclusion(given, data):
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    hashes = hashes_of(data)
    if not tree.verify_inclusion(leaf, given["index"], given["size"], hashes, root):
        raise Refused
    return {"hashes": [value.hex() for value in hashes]}


def read_consistency(given, data):
    old, new = bytes.fromhex(given["old_root"]), bytes.fromhex(given["new_root"])
    hashes = hashes_of(data)
    if not tree.verify_consistency(given["old_size"], given["new_size"], old, new, hashes):
        raise Refused
    return {"hashes": [value.hex() for value in hashes]}


def hashes_of(data):
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def read_key(given, data):
    found = note.parse_vkey(data.decode())
    if found.key_type != {"log": 1, "cosigner": 4}[given["kind"]]:
        raise Refused
    return {
        "name": found.name,
        "type": found.key_type,
        "id": found.key_id.hex(),
        "public_key": found.public_key.hex(),
    }


def read_note(given, data):
    keys = [note.parse_vkey(vkey) for vkey in given["vkeys"]]
    found = note.parse_note(data)
    if not note.verify_note(found, keys):
        raise Refused
    known = {(key.name, key.key_id) for key in keys}
    pairs = [(each.name, each.key_id) for each in found.signatures]
    signers = [f"{name}+{key_id.hex()}" for name, key_id in pairs if (name, key_id) in known]
    return {"text": found.text, "signers": signers}


def read_checkpoint(given, data):
    return told(verified(given, data, []))


def read_cosignature(given, data):
    found = verified(given, data, [note.parse_vkey(vkey) for vkey in given["cosigners"]])
    return {**told(found), "times": found.timestamps}


def verified(given, data, witnesses):
    key = note.parse_vkey(given["vkey"])
    found = checkpoint.verify_checkpoint(
        note.parse_note(data), key, witnesses, expected_origin=key.name
    )
    if not found.ok:
        raise Refused
    return found


def told(found):
    return {"origin": found.origin, "size": found.size, "root": found.root.hex()}


READERS = {name: globals()[f"read_{name}"] for name in NAMES}

main(*sys.argv[1:])
