"""Whoever reads a public key refuses a weak one; and a provider's key proves that somebody has it.

The weak keys are made by the tests' own arithmetic (`tests/vectors/curve.py`).
"""

import base64
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from ledger.note import Verifier
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.cli.main import main
from meter.rules.commands import AddLogKey
from meter.rules.entries import Entry, Genesis, ReceiptKey
from meter.rules.verified import verified
from meter.values.problems import Problem
from meter.wire import dsse, possession, stored_receipt
from tests.books import ORIGIN, Books, log_signer, public_text, record, signer
from tests.commanding import refusal
from tests.services import HOUR, key_body, provider_body, serving
from tests.services import ORIGIN as SERVED
from tests.vectors import curve
from tests.vectors.plain import base64 as in_base64
from tests.writer import Writer, bent

GOOD = log_signer("log").verifier.public_key
WEAK = curve.weak_keys(GOOD)
IDENTITY = curve.encode(curve.IDENTITY)
# It holds for every message, for whoever takes the identity as a key.
FORGED = IDENTITY + bytes(32)
# One of each sort, where all of them would take long.
SORTS = {
    name: WEAK[name]
    for sort in (curve.small(), curve.respelled(), curve.mixed(GOOD), curve.off())
    for name in [list(sort)[-1]]
} | {"the identity": IDENTITY}

weak_keys = pytest.mark.parametrize("key", WEAK.values(), ids=WEAK)
sorts_of_weak_keys = pytest.mark.parametrize("key", SORTS.values(), ids=SORTS)


def vkey(key: bytes, name: str = ORIGIN) -> str:
    """Return the text of a log's key, whatever its bytes are."""
    good = Verifier(name, GOOD)
    object.__setattr__(good, "public_key", key)
    return good.format()


def opened(writer: Books | None = None) -> Any:
    writer = writer or Books()
    writer.activate()
    writer.provider()
    return writer


# The rules


@weak_keys
def test_no_weak_key_is_registered(key):
    books, text = opened(), in_base64(key)
    assert refusal(books.key, public_key=text).code == "weak_key"
    assert refusal(books.add_receipt_key, public_key=text).code == "weak_key"
    assert refusal(books.ask, AddLogKey, vkey=vkey(key)).code == "weak_key"


def test_the_same_registrations_with_good_keys_are_taken():
    books = opened()
    books.key(public_key=public_text(signer("pcl-1")))
    books.add_receipt_key(public_key=public_text(signer("other")))
    books.ask(AddLogKey, vkey=vkey(log_signer("log-2").verifier.public_key))


@sorts_of_weak_keys
def test_a_weak_key_that_the_state_held_all_the_same_would_verify_nothing(key):
    books = opened()
    books.key()
    payload = b'{"log":"kashi.test/books","provider":"pcl","stream":"s","seq":1}'
    document = msgspec.json.decode(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1")))
    document["signatures"][0]["sig"] = in_base64(FORGED)
    with bent(books.state.keys["pcl-1"], public_key=key), pytest.raises(Problem) as refused:
        verified(books.state.keys, msgspec.json.encode(document))
    assert refused.value.code == "bad_signature"


# The service


async def test_a_service_takes_neither_a_weak_key_nor_what_it_would_have_signed(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.ask("/v1/providers", **provider_body())
        path, good = "/v1/providers/pcl/keys", key_body("pcl-1")
        for key in SORTS.values():
            answer = await service.post(path, good | {"public_key": in_base64(key)})
            assert (answer.status, answer.code) == (422, "weak_key")
        # The signature of the proof is one that the identity would have made of anything.
        forged = {"public_key": in_base64(IDENTITY), "proof": in_base64(FORGED)}
        assert (await service.post(path, good | forged)).code == "weak_key"
        assert await posted(service) == "bad_signature"
        await service.ask(path, **good)
        assert await posted(service) == "bad_signature"
        assert [each.kind for each in await service.entries()] == ["genesis", "provider", "key"]


async def posted(service) -> str:
    """Post a record under the forged signature; return the code of the answer."""
    document = msgspec.json.decode(service.envelope([record("r", "A", *HOUR, 1_000)]))
    document["signatures"][0]["sig"] = in_base64(FORGED)
    return (await service.post("/v1/usage", msgspec.json.encode(document), None)).code


# The audit


def violation(writer: Writer) -> tuple[str, int | None, str]:
    """Export a ledger and return what its verification finds first."""
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        (problem,) = verify(Path(folder), writer.verifier, Audit()).findings
    return problem.code, problem.entry, problem.detail


def lying(kind: str, **changes: str) -> tuple[Writer, int]:
    """Return a writer who tells other fields of the entry of one kind, and that entry's number."""
    writer = opened(Writer())
    told = []

    def tell(number: int, entry: Entry) -> Entry:
        if entry.kind != kind:
            return entry
        told.append(number)
        return msgspec.structs.replace(entry, **changes)

    writer.tell = tell
    writer.key()
    writer.add_log_key()
    writer.add_receipt_key()
    (number,) = told
    return writer, number


@sorts_of_weak_keys
@pytest.mark.parametrize("kind", ["key", "receipt_key", "log_key"])
def test_a_ledger_that_names_a_weak_key_is_violated(kind, key):
    changes = {"vkey": vkey(key)} if kind == "log_key" else {"public_key": in_base64(key)}
    writer, number = lying(kind, **changes)
    code, entry, detail = violation(writer)
    assert (code, entry) == ("not_allowed", number)
    assert detail.startswith("weak_key: ")


@sorts_of_weak_keys
def test_a_ledger_that_begins_with_a_weak_key_is_violated(key):
    receipt_key = ReceiptKey("receipt-1", "ed25519", in_base64(key))
    for lie in ({"log_key": vkey(key)}, {"receipt_key": receipt_key}):
        code, entry, detail = violation(Writer(genesis=lie))
        assert (code, entry) == ("not_allowed", 0)
        assert detail.startswith("weak_key: ")


def test_a_ledger_begins_with_a_key_of_its_own_name():
    lie = {"log_key": vkey(GOOD, "kashi.test/other")}
    code, entry, detail = violation(Writer(genesis=lie))
    assert (code, entry) == ("not_allowed", 0)
    assert "its name is not kashi.test/books" in detail


def test_the_same_ledger_with_good_keys_is_good():
    writer, _ = lying("key")
    assert isinstance(writer.entries[0], Genesis)
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        assert verify(Path(folder), writer.verifier, Audit()).ok


# The commands


@sorts_of_weak_keys
def test_no_command_takes_a_weak_key(tmp_path, key):
    file = tmp_path / "file"
    file.write_bytes(stored())
    policy = tmp_path / "trust"
    policy.write_text(f"log {vkey(key)}\nquorum none\n")
    text, good = vkey(key), vkey(GOOD)
    run("witness", "init", "--data", tmp_path / "witness", "--name", "w.test/w")
    away = "http://127.0.0.1:9"  # nobody listens there, and nobody is asked
    for words in (
        ("verify", tmp_path, "--vkey", text),
        ("verify", tmp_path, "--vkey", good, "--policy", policy),
        ("monitor", away, "--vkey", text, "--data", tmp_path / "monitor"),
        ("receipt", "verify", file, "--vkey", text),
        ("receipt", "verify", file, "--policy", policy),
        ("receipt", "verify", file, "--vkey", good, "--receipt-key", in_base64(key)),
        ("receipt", "verify", file, "--vkey", good, "--provider-key", in_base64(key)),
        ("provider", "post", "--receipt-key", in_base64(key), away, file),
        ("witness", "trust", "--data", tmp_path / "witness", text),
    ):
        code, told = run(*words)
        assert code != 0, words
        assert "the public key is" in told, (words, told)
        assert told.count("\n") == 1, told


def stored() -> bytes:
    """Return the file of a receipt without a proof, which nothing but the named keys can check."""
    writer = opened(Writer())
    writer.key()
    number = len(writer.leaves)
    writer.post([record("r", "A", *HOUR, 1_000)])
    envelope, receipt, signature = writer.files[number]
    return stored_receipt.store(envelope, receipt, signature.decode()).format()


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.stderr


# Proof of possession


TEXT = b"kashi key possession\nkashi.test/books\npcl\npcl-2\n"


def proof_of(name: str, text: bytes) -> str:
    return base64.b64encode(signer(name).sign(text)).decode()


def test_a_proof_is_the_keys_own_signature_over_the_four_lines():
    proof = possession.prove(signer("pcl-2"), ORIGIN, "pcl", "pcl-2")
    assert proof == proof_of("pcl-2", TEXT)
    books = opened()
    number = books.key("pcl-2", proof=proof)
    assert books.entries[number].proof == proof
    assert books.key("pcl-2", proof=proof) == number


@pytest.mark.parametrize(
    "proof",
    [
        proof_of("pcl-1", TEXT),
        proof_of("pcl-2", TEXT.replace(b"kashi.test/books", b"kashi.test/other")),
        proof_of("pcl-2", TEXT.replace(b"\npcl\n", b"\nncl\n")),
        proof_of("pcl-2", TEXT.replace(b"pcl-2", b"pcl-1")),
        proof_of("pcl-2", TEXT[:-1]),
        proof_of("pcl-2", TEXT.replace(b"\n", b"\r\n")),
        proof_of("pcl-2", dsse.pae(dsse.BATCH_TYPE, TEXT)),
        in_base64(FORGED),
        in_base64(bytes(64)),
    ],
)
def test_without_the_keys_own_proof_it_is_not_registered(proof):
    problem = refusal(opened().key, "pcl-2", proof=proof)
    assert problem.code == "bad_proof"
    assert repr(TEXT.decode()) in problem.detail


async def test_a_service_says_what_a_proof_signs(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.ask("/v1/providers", **provider_body())
        path, good = "/v1/providers/pcl/keys", key_body("pcl-1")
        answer = await service.post(path, good | {"proof": key_body("pcl-1", "ncl")["proof"]})
        assert (answer.status, answer.code) == (422, "bad_proof")
        assert f"kashi key possession\\n{SERVED}\\npcl\\npcl-1\\n" in answer.json["detail"]
        for wrong in ("", "A" * 84, "!" * 88, "A" * 85 + "B=="):
            answer = await service.post(path, good | {"proof": wrong})
            assert (answer.status, answer.code) == (400, "malformed")
        assert (
            await service.post(path, good | {"proof": "A" * 88})
        ).code == "bad_proof"  # 66 bytes
        without = {name: value for name, value in good.items() if name != "proof"}
        assert (await service.post(path, without)).code == "malformed"
        await service.ask(path, **good)


def test_a_ledger_whose_key_has_no_proof_is_violated():
    writer, number = lying("key", proof=in_base64(FORGED))
    code, entry, detail = violation(writer)
    assert (code, entry) == ("not_allowed", number)
    assert detail.startswith("bad_proof: ")
