"""The stored vectors are those that the command writes, and our readers give their answers."""

import ast
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.note import private_key
from meter.client import registration
from meter.rules.kinds.table import BY_NAME
from tests.ledger import example
from tests.services import ORIGIN, provider_body, serving
from tests.test_shape import imports, top
from tests.vectors import plain
from tests.vectors.envelope import KEYID, sealed, written
from tests.vectors.formats import formats
from tests.vectors.readers import READERS, Refused, read
from tests.vectors.vector import HOME

README = (HOME / "README.md").read_text(encoding="utf-8")
STORED = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(HOME.glob("*.json"))}
# Their vectors are taken from a ledger that the rules wrote; all others are made without our code.
WITH_OUR_CODE = {"entry.py", "readers.py", "test_vectors.py"}


def test_what_is_stored_is_what_the_command_writes():
    made = {each.path: each.encode() for each in formats()}
    assert sorted(made) == sorted(HOME.glob("*.json"))
    changed = [path.name for path, data in made.items() if path.read_bytes() != data]
    assert changed == [], "run `make vectors`, and look at what changed"


@pytest.mark.parametrize("name", STORED)
def test_our_reader_answers_as_each_vector_tells(name):
    wrong = [*differences(name)]
    assert wrong == [], "\n".join(wrong)


def differences(name: str) -> Iterator[str]:
    for vector in STORED[name]["vectors"]:
        given = STORED[name]["given"] | vector.get("given", {})
        try:
            answer = read(name, given, b64decode(vector["bytes"]))
        except Refused as refused:
            if vector.get("code") != refused.code:
                yield f"{vector['name']}: refused as {refused.code}"
            continue
        if "must" not in vector or not answer.items() >= vector["must"].items():
            yield f"{vector['name']}: read as {answer!r:.500}"


@pytest.mark.parametrize("name", STORED)
def test_a_file_has_the_form_that_the_readme_tells(name):
    file = STORED[name]
    assert list(file) == ["format", "about", "given", "vectors"]
    assert file["format"] == name
    names = [vector["name"] for vector in file["vectors"]]
    assert len(set(names)) == len(names)
    for vector in file["vectors"]:
        assert vector.keys() <= {
            *("name", "bytes", "given", "must", "code", "why", "lax", "strict")
        }
        assert ("must" in vector) != ("code" in vector)
        assert ("code" in vector) == ("why" in vector)
        assert b64encode(b64decode(vector["bytes"])).decode() == vector["bytes"]
        assert all(abs(number) < 2**53 for number in numbers(vector))
    assert {"must" in vector for vector in file["vectors"]} == {True, False}


def numbers(value: Any) -> Iterator[int]:
    match value:
        case int():
            yield value
        case dict():
            for item in value.values():
                yield from numbers(item)
        case list():
            for item in value:
                yield from numbers(item)


def test_vectors_are_made_without_the_code_that_they_test():
    for path in sorted(HOME.glob("*.py")):
        packages = {top(name) for name in imports(ast.parse(path.read_text("utf-8")))}
        if path.name not in WITH_OUR_CODE:
            assert packages.isdisjoint({"ledger", "meter"}), path.name


def test_the_readme_names_each_format_with_its_codes():
    rows = dict(re.findall(r"^\| `(\w+)\.json` \|.*\| (.*) \|$", README, re.MULTILINE))
    assert list(rows) == [each.name for each in formats()] == list(READERS)
    del rows["entry"]
    for name, told in rows.items():
        codes = {vector["code"] for vector in STORED[name]["vectors"] if "code" in vector}
        assert set(re.findall(r"`(\w+)`", told)) == codes


def test_the_example_of_the_readme_is_one_of_the_vectors():
    (example,) = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert json.loads(example) in STORED["inclusion"]["vectors"]


def test_the_readme_tells_the_seed_of_each_key():
    told = {int(first, 16) for first in re.findall(r"\| `([0-9a-f]{2})` \|$", README, re.MULTILINE)}
    keys = [value for value in vars(plain).values() if isinstance(value, plain.Key | plain.NoteKey)]
    assert told == {getattr(each, "key", each).first for each in keys}


def test_the_worked_example_is_that_of_the_other_tests():
    """Independent implementations accept these bytes."""
    worked = {
        ("key", "the worked example: a log"): example.LOG_VKEY.encode(),
        ("key", "the worked example: a witness"): example.WITNESS_VKEY.encode(),
        ("note", "the worked example"): example.SIGNED,
        ("checkpoint", "the worked example"): example.SIGNED,
        ("cosignature", "the worked example"): example.COSIGNED,
        ("proof", "the worked example"): example.PROOF,
    }
    for (name, told), data in worked.items():
        (vector,) = [each for each in of(name) if each["name"] == told]
        assert b64decode(vector["bytes"]) == data


def test_there_is_an_entry_of_each_kind():
    kinds = {each["must"]["value"]["kind"] for each in of("entry") if "must" in each}
    assert kinds == set(BY_NAME)


def of(name: str) -> list[dict[str, Any]]:
    return STORED[name]["vectors"]


async def test_a_service_refuses_what_is_posted_with_the_same_codes(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.ask("/v1/providers", **provider_body())
        seed = bytes(range(plain.PROVIDER.first, plain.PROVIDER.first + 32))
        body = registration(private_key(seed), ORIGIN, "pcl", KEYID)
        assert body["public_key"] == STORED["envelope"]["given"]["keys"][KEYID]
        await service.ask("/v1/providers/pcl/keys", **body)
        for vector in of("envelope"):
            answer = await service.post("/v1/usage", b64decode(vector["bytes"]), None)
            # A good envelope may hold any payload, and here holds no batch for this ledger.
            codes = [vector["code"]] if "code" in vector else ["bad_batch", "wrong_log"]
            assert answer.code in codes, vector["name"]
        for vector in of("batch"):
            envelope = written(sealed(b64decode(vector["bytes"])))
            answer = await service.post("/v1/usage", envelope, None)
            assert answer.code == vector.get("code", "wrong_log"), vector["name"]
