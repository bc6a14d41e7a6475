"""Foreign programs read our test vectors and come to the same answers.

A vector says which programs accept it though our readers refuse it (`lax`), and which refuse it
though it is good (`strict`). A reason that no longer holds is a failure too.
"""

import json
import re
import shutil
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from pymerkle import InclusionProof, InmemoryTree, InvalidChallenge, InvalidProof
from pymerkle import verify_inclusion as verify_by_pymerkle

from tests.interop.programs import (
    HERE,
    INSTALLED,
    Refused,
    aics_environment,
    need,
    run,
    run_go,
    run_node,
)
from tests.vectors.vector import HOME

# The content of a vector by format and name, or None for a refusal.
Answers = dict[str, dict[str, dict[str, Any] | None]]
Given = dict[str, Any]
Read = Callable[[Given, bytes], dict[str, Any]]

# The bytes before the 32 of an Ed25519 key in its DER (RFC 8410).
SPKI = bytes.fromhex("302a300506032b6570032100")
BATCH_TYPE = b"application/vnd.kashi.usage-batch+json"
RECEIPT_TYPE = b"application/vnd.kashi.receipt+json"
WORKED = "the worked example"


def vectors(name: str) -> list[dict[str, Any]]:
    """Return the stored vectors of a format, each with all that is given."""
    file = json.loads((HOME / f"{name}.json").read_text("utf-8"))
    return [each | {"given": file["given"] | each.get("given", {})} for each in file["vectors"]]


def go(scratch: Path) -> Answers:
    return json.loads(run_go(scratch, "vectors.go", HOME))


def sigstore(_: Path) -> Answers:
    return json.loads(run_node("vectors.js", HOME))


def aics_tlog(_: Path) -> Answers:
    need("aics_tlog", (INSTALLED / "python/aics_tlog").is_dir())
    return json.loads(
        run(sys.executable, HERE / "aics_vectors.py", HOME, environment=aics_environment())
    )


def rfc_8785(_: Path) -> Answers:
    kinds = [each for each in vectors("entry") if "must" in each]
    return {
        "canonical": answers(vectors("canonical"), read_canonical),
        "entry": answers(kinds, read_canonical),
    }


def pymerkle(_: Path) -> Answers:
    small = [each for each in vectors("inclusion") if each["given"]["size"] < 1_000]
    return {
        "tree": answers(vectors("tree"), read_tree),
        "inclusion": answers(small, read_inclusion),
    }


def openssl(scratch: Path) -> Answers:
    """Return whether signatures hold, where the format shows what they cover."""
    need("openssl", shutil.which("openssl"))
    asked = {"envelope": envelope, "receipt": receipt, "note": note, "cosignature": cosignature}
    return {
        name: {
            vector["name"]: {} if enough(holds(scratch, *each) for each in found) else None
            for vector in vectors(name)
            if (found := [*signatures(vector)])
        }
        for name, signatures in asked.items()
        # Two keys may sign a receipt; a provider may know only one.
        for enough in [any if name == "receipt" else all]
    }


PROGRAMS = {
    "go": go,
    "sigstore": sigstore,
    "aics-tlog": aics_tlog,
    "rfc8785": rfc_8785,
    "pymerkle": pymerkle,
    "openssl": openssl,
}


@cache
def judged_by(program: str, scratch: Path) -> Answers:
    return PROGRAMS[program](scratch)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_foreign_program_agrees_on_each_vector_that_it_reads(scratch, program):
    judged = judged_by(program, scratch)
    wrong = [each for name in judged for each in differences(program, name, judged[name])]
    assert wrong == [], "\n".join(wrong)
    for found in judged.values():
        assert any(found.values()) or {} in found.values()


def differences(program: str, name: str, found: dict[str, Any]) -> Iterator[str]:
    for vector in vectors(name):
        if vector["name"] not in found:
            continue
        answer, must = found[vector["name"]], vector.get("must")
        told = f"{name}, {vector['name']!r}: {program}"
        differs = program in vector.get("strict" if must else "lax", {})
        if must is None:
            if (answer is None) == differs:
                yield f"{told} {'refuses' if differs else 'accepts'} it"
        elif (answer is not None and agrees(answer, must)) == differs:
            yield f"{told} {'agrees' if differs else f'says {answer!r:.200}'}"


def agrees(answer: dict[str, Any], must: dict[str, Any]) -> bool:
    """Return whether a program, which may know less, gives the expected answer."""
    return all(answer[field] == must[field] for field in answer.keys() & must.keys())


def test_a_planted_difference_is_found():
    (text,) = [each["must"]["text"] for each in vectors("note") if each["name"] == WORKED]
    for found in (
        {WORKED: None},
        {WORKED: {"text": text + "more"}},
        {"another origin": {"text": text}},
        {"a known key signs twice, the same": None},
    ):
        assert [*differences("go", "note", found)] != []
    assert [*differences("go", "note", {WORKED: {"text": text}, "another origin": None})] == []


def test_each_program_that_a_vector_names_reads_its_format(scratch):
    named = {
        (program, name)
        for name in (path.stem for path in HOME.glob("*.json"))
        for vector in vectors(name)
        for program in (*vector.get("lax", {}), *vector.get("strict", {}))
    }
    read = {(program, name) for program in PROGRAMS for name in judged_by(program, scratch)}
    assert named
    assert named <= read


# Python packages


def answers(asked: list[dict[str, Any]], read: Read) -> dict[str, Any]:
    return {
        vector["name"]: attempt(read, vector["given"], b64decode(vector["bytes"]))
        for vector in asked
    }


def attempt(read: Read, *words: Any) -> dict[str, Any] | None:
    try:
        return read(*words)
    except (ValueError, RecursionError, InvalidChallenge, InvalidProof):
        return None


def read_canonical(_: Given, data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if rfc8785.dumps(value) != data:
        raise ValueError("another spelling")
    return {"value": value}


def read_tree(given: Given, data: bytes) -> dict[str, Any]:
    tree = InmemoryTree(algorithm="sha256")
    for entry in split(data, given["count"]):
        tree.append_entry(entry)
    leaves = [tree.get_leaf(number + 1).hex() for number in range(given["count"])]
    return {"root": tree.get_root().hex(), "leaves": leaves}


def split(data: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count):
        end = 2 + int.from_bytes(data[:2], "big")
        if len(data) < 2 or len(data) < end:
            raise ValueError("the bundle ends before its last entry")
        yield data[2:end]
        data = data[end:]
    if data:
        raise ValueError("the bundle goes on")


def read_inclusion(given: Given, data: bytes) -> dict[str, Any]:
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    index, size = given["index"] + 1, given["size"]  # it counts from one
    hashes = [data[at : at + 32] for at in range(0, len(data), 32)]
    # Its proofs say on which side each hash stands: the same in every tree of that size.
    rule = tree_of(size).prove_inclusion(index).rule
    proof = InclusionProof("sha256", True, size, index, rule, [leaf, *hashes])
    verify_by_pymerkle(leaf, root, proof, index, size)
    return {"hashes": [value.hex() for value in hashes]}


def tree_of(size: int) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for _ in range(size):
        tree.append_entry(b"")
    return tree


# Signatures, by openssl: key, message, signature


Signed = tuple[bytes, bytes, bytes]


def envelope(vector: dict[str, Any]) -> Iterator[Signed]:
    if vector.get("code", "bad_signature") == "bad_signature":
        document = json.loads(b64decode(vector["bytes"]))
        (signature,) = document["signatures"]
        key = vector["given"]["keys"].get(signature["keyid"])
        if key is not None:  # without the key there is nothing to ask
            message = pae(BATCH_TYPE, b64decode(document["payload"]))
            yield b64decode(key), message, b64decode(signature["sig"])


def receipt(vector: dict[str, Any]) -> Iterator[Signed]:
    header = vector["given"]["header"]
    parts = [*re.finditer(r'keyid="[\w.-]+", sig=:([A-Za-z0-9+/]{85}[AQgw]==):', header)]
    is_whole = header == ", ".join(part[0] for part in parts) and len(parts) <= 2
    if is_whole and vector.get("code", "bad_receipt_signature") == "bad_receipt_signature":
        message = pae(RECEIPT_TYPE, b64decode(vector["bytes"]))
        for part in parts:
            yield b64decode(vector["given"]["key"]), message, b64decode(part[1])


def note(vector: dict[str, Any]) -> Iterator[Signed]:
    if "must" in vector:
        text = vector["must"]["text"].encode()
        for key_id, key in map(key_of, vector["given"]["vkeys"]):
            for blob in blobs(b64decode(vector["bytes"]), key_id):
                yield key, text, blob


def cosignature(vector: dict[str, Any]) -> Iterator[Signed]:
    if "must" in vector:
        must = vector["must"]
        root = b64encode(bytes.fromhex(must["root"])).decode()
        text = f"{must['origin']}\n{must['size']}\n{root}\n"
        for key_id, key in map(key_of, vector["given"]["cosigners"]):
            for blob in blobs(b64decode(vector["bytes"]), key_id):
                seconds = int.from_bytes(blob[:8], "big")
                yield key, f"cosignature/v1\ntime {seconds}\n{text}".encode(), blob[8:]


def pae(kind: bytes, body: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def key_of(vkey: str) -> tuple[str, bytes]:
    """Return the name with the id, and the key."""
    name, key_id, encoded = vkey.split("+", 2)
    return f"{name}+{key_id}", b64decode(encoded)[1:]


def blobs(signed: bytes, key_id: str) -> Iterator[bytes]:
    """Yield the bytes behind the id of a key's lines."""
    for name, encoded in re.findall(r"— (\S+) (\S+)\n", signed.decode()):
        blob = b64decode(encoded)
        if f"{name}+{blob[:4].hex()}" == key_id:
            yield blob[4:]


def holds(scratch: Path, key: bytes, message: bytes, signature: bytes) -> bool:
    for name, data in {"key": SPKI + key, "message": message, "signature": signature}.items():
        (scratch / name).write_bytes(data)
    words = ["-pubin", "-keyform", "DER", "-inkey", scratch / "key"]
    words += ["-rawin", "-in", scratch / "message", "-sigfile", scratch / "signature"]
    try:
        run("openssl", "pkeyutl", "-verify", *words)
    except Refused:
        return False
    return True
