"""`kashi export` and `kashi verify`: the verdict, its exit code, and what cannot be checked."""

import asyncio
import contextlib
import functools
import http.server
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from ledger.note import Signer, Verifier
from meter.host.data_folder import DATABASE_VARIABLE
from tests.books import record, void
from tests.commands import good, kashi, told
from tests.services import HOUR, ask, serving
from tests.sites import web_server


@dataclass
class Exported:
    """An exported ledger, its key, and a provider's receipt of it."""

    data: Path
    out: Path
    vkey: Path
    receipt: Path
    size: int


@pytest.fixture
def exported(database, tmp_path, monkeypatch) -> Exported:
    receipt = tmp_path / "receipt.json"

    async def fill() -> None:
        async with serving(database, tmp_path) as service:
            await service.open_books()
            for seq in (1, 2, 4):
                voids = [void("r1")] if seq == 4 else []
                answer = await service.usage(
                    [record(f"r{seq}", "A", *HOUR, 64_000)], voids, seq=seq
                )
                receipt.write_bytes(answer.body)
                receipt.with_name("receipt.json.sig").write_text(answer.headers["Kashi-Signature"])

    asyncio.run(fill())
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    data, out = tmp_path / "kashi", tmp_path / "out"
    assert good(kashi("export", "--data", data, out)).startswith("14 entries, root ")
    return Exported(data, out, data / "log.vkey", receipt, 14)


def verify(exported: Exported, *words: object) -> Result:
    return kashi("verify", exported.out, "--vkey", exported.vkey, *words)


def test_a_good_export_verifies_with_exit_code_0(exported):
    output = good(verify(exported))
    assert "good: root " in output
    # A number that no batch filled is no fault.
    assert "gap: pcl, stream main: no batches 3 to 3" in output
    key = exported.vkey.read_text().strip()
    assert "good: root " in good(kashi("verify", exported.out, "--vkey", key))


def test_the_verdict_can_be_had_as_json(exported):
    verdict = json.loads(good(verify(exported, "--json", "--receipt", exported.receipt)))
    assert (verdict["verdict"], verdict["size"], verdict["receipts"]) == ("good", exported.size, 1)
    assert verdict["origin"] == "kashi.test/service"
    assert verdict["findings"] == []
    assert verdict["gaps"] == [{"provider": "pcl", "stream": "main", "first": 3, "last": 3}]
    assert 14 in [check["count"] for check in verdict["checks"]]


def test_a_changed_byte_is_exit_code_1_and_names_the_entry(exported):
    (bundle,) = (exported.out / "tile" / "entries").rglob("*.p/*")
    data = bundle.read_bytes()
    assert data.count(b'"cost":28800') == 3
    bundle.write_bytes(data.replace(b'"cost":28800', b'"cost":28801', 1))
    result = verify(exported)
    assert result.exit_code == 1
    assert "VIOLATED: entry 8" in result.stdout
    result = verify(exported, "--json")
    assert result.exit_code == 1
    verdict = json.loads(result.stdout)
    assert verdict["verdict"] == "violated"
    assert verdict["findings"][0]["entry"] == 8


def test_any_file_changed_is_exit_code_1_and_one_cut_short_or_taken_away_2(exported):
    for path in sorted(exported.out.rglob("*")):
        if path.is_dir():
            continue
        data = path.read_bytes()
        half = len(data) // 2
        path.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
        # Of a checkpoint, it may be that nothing is left to go by.
        assert verify(exported).exit_code in ((1, 2) if path.name == "checkpoint" else (1,)), path
        path.write_bytes(data[:-1])
        assert verify(exported).exit_code == 2, path
        path.write_bytes(data + b"\n")
        assert verify(exported).exit_code in (1, 2), path
        path.unlink()
        result = verify(exported)
        assert result.exit_code == 2, path
        assert "VIOLATED" not in result.stdout
        if path.name != "checkpoint":
            assert "could not check: " in result.stdout
            assert "copy all but the checkpoint into it once more" in result.stdout
        path.write_bytes(data)
    assert verify(exported).exit_code == 0


def test_what_cannot_be_checked_is_exit_code_2(exported, tmp_path):
    key = exported.vkey.read_text().strip()
    for source, vkey in (
        (tmp_path / "missing", exported.vkey),
        (exported.vkey, exported.vkey),
        (exported.out, tmp_path / "missing"),
        (exported.out, "nonsense"),
        (exported.out, "a+b+c"),
        (exported.out, key[:-1]),
        (exported.out, key + "A"),
        (exported.out, exported.data / "receipt.key"),
        (exported.out, exported.data / "log.key"),
        (exported.out, exported.out),
        (exported.out, "x" * 5000),
        ("http://127.0.0.1:1/nothing", exported.vkey),
        ("http://", exported.vkey),
    ):
        line = told(kashi("verify", source, "--vkey", vkey), 2)
        assert "PRIVATE+KEY" not in line, vkey
    (tmp_path / "empty").mkdir()
    told(kashi("verify", tmp_path / "empty", "--vkey", exported.vkey), 2)


def test_a_checkpoint_that_another_key_signed_is_exit_code_2_with_both_named(exported):
    wrong = Signer.from_seed("kashi.test/service", bytes(32)).verifier
    line = told(kashi("verify", exported.out, "--vkey", wrong.format()), 2)
    assert line.startswith("could not check: other_key: ")
    for key in (wrong, Verifier.parse(exported.vkey.read_text().strip())):
        assert key.label in line


def test_receipts_are_held_against_the_ledger(exported, tmp_path):
    assert "receipts" in good(verify(exported, "--receipt", exported.receipt))
    data = exported.receipt.read_bytes()
    signature = exported.receipt.with_name("receipt.json.sig").read_text()

    def held(body: bytes, header: str | None) -> Result:
        path = tmp_path / "other.json"
        path.write_bytes(body)
        beside = tmp_path / "other.json.sig"
        beside.unlink(missing_ok=True)
        if header is not None:
            beside.write_text(header)
        return verify(exported, "--receipt", exported.receipt, "--receipt", path)

    assert held(data, signature + "\n").exit_code == 0
    for body, header in (
        (data.replace(b'"granted":"144.00"', b'"granted":"145.00"'), signature),
        (data, signature.replace("receipt-1", "receipt-2")),
        (data, signature[:20]),
        (data, ""),
        (b"", signature),
        (b"\xff", signature),
    ):
        result = held(body, header)
        # A receipt that is none, or not signed, accuses nobody.
        assert result.exit_code == 2, body
        assert "VIOLATED" not in result.stdout
        assert f"could not check: {tmp_path / 'other.json'}: " in result.stdout
    told(held(data, None), 2)


def test_a_receipt_that_is_newer_than_an_export_accuses_nobody(database, tmp_path, monkeypatch):
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    receipt, vkey = tmp_path / "receipt.json", tmp_path / "kashi" / "log.vkey"

    def held(export: str) -> Result:
        return kashi("verify", tmp_path / export, "--vkey", vkey, "--receipt", receipt)

    async def fill() -> None:
        async with serving(database, tmp_path) as service:
            await service.open_books()
            words = ("export", "--data", service.folder.path)
            good(await asyncio.to_thread(kashi, *words, tmp_path / "before"))
            answer = await service.usage([record("r", "A", *HOUR, 64_000)])
            receipt.write_bytes(answer.body)
            receipt.with_name("receipt.json.sig").write_text(answer.headers["Kashi-Signature"])
            good(await asyncio.to_thread(kashi, *words, tmp_path / "after"))

    asyncio.run(fill())
    assert held("after").exit_code == 0
    result = held("before")
    assert result.exit_code == 2
    assert f"could not check: {receipt}: newer_receipt: " in result.stdout
    assert "verify a newer checkpoint" in result.stdout


def test_export_refuses_a_folder_that_holds_something(exported):
    assert told(kashi("export", "--data", exported.data, exported.out))
    assert verify(exported).exit_code == 0


def test_rebuild_says_what_it_did_and_a_changed_ledger_is_one_line(exported, database, tmp_path):
    assert good(kashi("rebuild", "--data", exported.data)).startswith("14 entries replayed, root ")

    async def change() -> None:
        await ask(database, "ALTER TABLE ledger.segment DISABLE TRIGGER USER")
        await ask(
            database,
            "UPDATE ledger.segment SET bundle = set_byte(bundle, 40, get_byte(bundle, 40) # 1)"
            " WHERE first = 7",
        )

    asyncio.run(change())
    assert "inconsistent" in told(kashi("rebuild", "--data", exported.data))
    assert "inconsistent" in told(kashi("export", "--data", exported.data, tmp_path / "again"))


@contextlib.contextmanager
def published(folder: Path):
    """Serve a folder's files over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with web_server(functools.partial(Quiet, directory=str(folder))) as url:
        yield url


def test_a_published_folder_is_verified_from_its_url(exported):
    with published(exported.out.parent) as url:
        for address in (f"{url}/out", f"{url}/out/"):
            output = good(kashi("verify", address, "--vkey", exported.vkey))
            assert "good: root " in output
        result = kashi(
            "verify", f"{url}/out", "--vkey", exported.vkey, "--receipt", exported.receipt, "--json"
        )
        assert json.loads(good(result))["receipts"] == 1
        told(kashi("verify", f"{url}/nothing", "--vkey", exported.vkey), 2)
        (batches,) = (exported.out / "batches").rglob("*.p/*")
        good_bytes = batches.read_bytes()
        batches.write_bytes(good_bytes.replace(b"payload", b"Payload", 1))
        assert kashi("verify", f"{url}/out", "--vkey", exported.vkey).exit_code == 1
        batches.write_bytes(good_bytes[:-100])
        assert kashi("verify", f"{url}/out", "--vkey", exported.vkey).exit_code == 2
        batches.unlink()
        assert kashi("verify", f"{url}/out", "--vkey", exported.vkey).exit_code == 2
        (exported.out / "checkpoint").write_bytes(b"nonsense")
        line = told(kashi("verify", f"{url}/out", "--vkey", exported.vkey), 2)
        assert line.startswith("could not check: no_checkpoint: ")
