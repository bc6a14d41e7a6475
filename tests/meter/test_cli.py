"""The command line: its output, its exit codes, and real processes where signals matter."""

import asyncio
import contextlib
import functools
import http.server
import json
import os
import signal
import stat
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from ledger.note import Signer, Verifier
from meter.host.data_folder import DATABASE_VARIABLE
from meter.values.units import parse_instant
from meter.wire.dsse import parse_signature_header
from tests.books import ALPHA, PROGRAMME, record, void
from tests.commands import PROGRAM, environment, good, kashi, only_line, told
from tests.conftest import memory_folder
from tests.services import (
    HOUR,
    ask,
    contract_body,
    coupon_body,
    enterprise_body,
    provider_body,
    serving,
    stored_entries,
)
from tests.sites import web_server

ORIGIN = "kashi.test/cli"
NOON = "2025-03-01T12:00:00+08:00"


@pytest.fixture
def data(database, tmp_path, monkeypatch) -> Path:
    """A folder for a ledger in an empty database of its own."""
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    return tmp_path / "data"


def init(data: Path, *words: str) -> Result:
    return kashi("init", "--data", data, "--origin", ORIGIN, "--one-person", *words)


# Making a ledger


def test_init_makes_a_ledger_and_says_where_its_keys_are(data):
    output = good(init(data))
    assert str(data / "log.vkey") in output
    assert str(data / "authority.token") in output
    assert (data / "log.vkey").read_text().startswith(f"{ORIGIN}+")
    assert (data / "authority.token").read_text().startswith("authority-1.")
    for name in ("log.key", "receipt.key", "authority.token"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    # Secrets are not printed.
    secrets = [(data / name).read_text().strip() for name in ("log.key", "authority.token")]
    assert not any(secret in output for secret in secrets)


def test_init_refuses_a_folder_that_holds_something(data):
    data.mkdir()
    (data / "mine").write_text("x")
    assert "not_empty" in told(init(data))
    assert [path.name for path in data.iterdir()] == ["mine"]


def test_what_python_and_the_system_say_has_a_code_too(data, tmp_path):
    words = ("init", "--data", data, "--origin", ORIGIN, "--one-person")
    said = told(kashi(*words, "--contract-limit", "500.5"))
    assert said == "kashi: malformed: not an amount in yuan with two decimals: '500.5'\n"
    key = tmp_path / "pcl.key"
    make = ("provider", "keygen", "--log", ORIGIN, "--provider", "pcl", "--keyid", "k", key)
    good(kashi(*make))
    assert told(kashi(*make)) == f"kashi: system_failed: {key}: File exists\n"


def test_a_list_that_cannot_be_made_is_no_empty_one(tmp_path):
    for of in ("token", "person"):
        assert "no_ledger" in told(kashi(of, "list", "--data", tmp_path / "none"))


def test_init_refuses_a_second_ledger_in_one_database(data, tmp_path):
    good(init(data))
    again = kashi("init", "--data", tmp_path / "b", "--origin", ORIGIN, "--one-person")
    assert "exists" in told(again)


def test_init_names_persons_with_a_token_each_and_recovers_one(data, database):
    words = ("init", "--data", data, "--now", NOON)
    assert "bad_persons" in told(kashi(*words, "--origin", ORIGIN))
    assert "bad_persons" in told(kashi(*words, "--origin", ORIGIN, "--persons", "wang"))
    real = ("--origin", "kashi.shenzhen.gov.cn/x", "--one-person")
    assert "real_origin" in told(kashi("init", "--data", data, *real))
    limit = ("--contract-limit", "500.5")
    assert "two decimals" in told(kashi(*words, "--origin", ORIGIN, "--one-person", *limit))
    limit = ("--contract-limit", "500.50")
    output = good(kashi(*words, "--origin", ORIGIN, "--persons", "wang,li", *limit))
    for name in ("wang", "li"):
        assert f"a token for {name}:  {data / name}.token" in output
        assert (data / f"{name}.token").read_text().startswith(f"{name}-1.")
    (genesis,) = asyncio.run(stored_entries(database))
    assert [(each.id, each.token) for each in genesis.persons] == [
        ("wang", "wang-1"),
        ("li", "li-1"),
    ]
    assert (genesis.one_person, genesis.contract_limit) == (False, 50_050)
    recover = ("person", "--data", data, "--now", NOON, "--recover")
    assert f"zhao-1 is in {data}/zhao.token" in good(kashi(*recover, "zhao"))
    assert "looks_alike" in told(kashi(*recover, "Zhao"))
    assert (data / "zhao.token").read_text().startswith("zhao-1.")
    assert stat.S_IMODE((data / "zhao.token").stat().st_mode) == 0o600
    assert asyncio.run(stored_entries(database))[-1].kind == "person_recovery"


def test_a_test_clock_is_refused_for_a_real_ledger(data):
    real = "kashi.shenzhen.gov.cn/x"
    words = ("--data", data, "--origin", real, "--persons", "wang,li", "--now", NOON)
    assert "real_origin" in told(kashi("init", *words))
    assert not data.exists()
    good(kashi("init", "--data", data, "--origin", real, "--persons", "wang,li"))
    assert "real_origin" in told(kashi("serve", "--data", data, "--port", 0, "--now", NOON))


@pytest.mark.parametrize("origin", ["kashi.example/shenzhen", "kashi.test"])
def test_a_test_clock_gives_the_instant_of_entry_0(data, database, origin):
    good(kashi("init", "--data", data, "--origin", origin, "--one-person", "--now", NOON))
    ((last_at,),) = asyncio.run(ask(database, "SELECT last_at FROM ledger.head"))
    assert 0 <= last_at - 1_740_801_600_000_000 < 60_000_000


def test_a_start_with_a_wrong_clock_says_what_the_last_entry_says(data, database):
    good(init(data, "--now", NOON))
    serve = ("serve", "--data", data, "--port", 0)
    for now in ("2025-03-09T12:00:00+08:00", "2025-02-28T12:00:00+08:00"):
        refused = told(kashi(*serve, "--now", now))
        assert "wrong_clock" in refused
        assert "the last entry, 0 (genesis), is of 2025-03-01T12:00:0" in refused
        assert "--clock-is-right" in refused
    process = Process(data, database)  # with the flag
    assert process.url.startswith("http")
    process.end(signal.SIGKILL)


def test_nonsense_is_one_line_and_no_traceback(data, tmp_path, monkeypatch):
    words = ("init", "--data", data, "--origin", "https://x", "--one-person")
    assert "bad_origin" in told(kashi(*words))
    assert "no_ledger" in told(kashi("serve", "--data", data))
    assert "no_ledger" in told(kashi("export", "--data", data, tmp_path / "out"))
    assert "no_ledger" in told(kashi("token", "add", "--data", data, "x"))
    assert "no_ledger" in told(kashi("rebuild", "--data", data))
    assert "instant" in told(init(data, "--now", "yesterday"))
    good(init(data))
    assert "bad_name" in told(kashi("token", "add", "--data", data, "a b"))
    assert "exists" in told(kashi("token", "add", "--data", data, "authority-1"))
    assert "no such day" in told(kashi("serve", "--data", data, "--now", "2025-13-01T00:00:00Z"))
    for address in ("postgresql://x@/missing?host=/nonexistent", "nonsense", "postgresql://:x"):
        monkeypatch.setenv(DATABASE_VARIABLE, address)
        assert told(kashi("serve", "--data", data, "--database-seconds", 0))
    assert kashi("serve", "--data", data, "--port", 65536).exit_code == 2
    assert kashi("nothing").exit_code == 2


def test_token_prints_a_token_that_the_service_takes(data, database):
    good(init(data, "--now", NOON))
    officer = ("token", "add", "--data", data, "officer-2")
    assert "not_named" in told(kashi(*officer))
    token = good(kashi(*officer, "--role", "auditor")).strip()
    assert token.startswith("officer-2.")
    expires = ("--expires", "2026-01-01T00:00:00+08:00")
    good(
        kashi(
            "token",
            "add",
            "--data",
            data,
            "centre",
            "--role",
            "provider",
            "--subject",
            "pcl",
            *expires,
        )
    )
    shown = "SELECT id, role, subject, expires_at FROM meter.token ORDER BY id"
    assert [tuple(row) for row in asyncio.run(ask(database, shown))] == [
        ("authority-1", "authority", "", None),
        ("centre", "provider", "pcl", 1_767_196_800_000_000),
        ("officer-2", "auditor", "", None),
    ]


def test_a_token_is_revoked_once_and_nonsense_makes_none(data, database):
    good(init(data, "--now", NOON))
    good(kashi("token", "add", "--data", data, "auditor-1", "--role", "auditor"))
    assert good(kashi("token", "revoke", "--data", data, "auditor-1")) == ""
    rows = asyncio.run(ask(database, "SELECT id FROM meter.token WHERE revoked_at IS NOT NULL"))
    assert [row["id"] for row in rows] == ["auditor-1"]
    assert "no_token" in told(kashi("token", "revoke", "--data", data, "auditor-1"))
    assert "no_token" in told(kashi("token", "revoke", "--data", data, "nobody"))
    assert "exists" in told(kashi("token", "add", "--data", data, "auditor-1", "--role", "auditor"))
    for other in ("Auditor-1", "auditor-1."):
        assert "looks_alike" in told(kashi("token", "add", "--data", data, other))
    words = ("token", "add", "--data", data, "a")
    assert "bad_subject" in told(kashi(*words, "--role", "provider"))
    assert "bad_subject" in told(kashi(*words, "--role", "enterprise", "--subject", ""))
    assert "bad_subject" in told(kashi(*words, "--subject", "pcl"))
    assert "bad_subject" in told(kashi(*words, "--role", "auditor", "--subject", ALPHA))
    assert "instant" in told(kashi(*words, "--expires", "tomorrow"))
    assert kashi(*words, "--role", "king").exit_code == 2
    (left,) = asyncio.run(ask(database, "SELECT count(*) FROM meter.token"))
    assert left["count"] == 2


def test_a_token_for_a_party_that_nobody_registered_is_made_and_told_of(data):
    good(init(data, "--now", NOON))
    for role, subject in (("provider", "plc"), ("enterprise", ALPHA)):
        words = ("token", "add", "--data", data, f"for-{role}", "--role", role)
        result = kashi(*words, "--subject", subject)
        assert good(result).startswith(f"for-{role}.")
        assert result.stderr.startswith(
            f"kashi: unknown_{role}: the ledger has no {role} {subject}"
        )
    assert kashi("token", "add", "--data", data, "a", "--role", "auditor").stderr == ""


def test_token_list_shows_every_token_and_no_secret(data, database):
    good(init(data, "--now", NOON))
    words = ("token", "add", "--data", data)
    firm = ("--role", "enterprise", "--subject", ALPHA, "--expires", "2030-01-01T00:00:00+08:00")
    secrets = [
        good(kashi(*words, *more)).strip().partition(".")[2]
        for more in (("b-auditor", "--role", "auditor"), ("c-firm", *firm))
    ]
    good(kashi("token", "revoke", "--data", data, "b-auditor"))
    used = "UPDATE meter.token SET used_at = 1740801600000000 WHERE id = 'authority-1'"
    asyncio.run(ask(database, used))
    shown = good(kashi("token", "list", "--data", data))
    assert not [secret for secret in secrets if secret in shown]
    head, *rows = [line.split("\t") for line in shown.splitlines()]
    assert head == ["id", "role", "subject", "made", "expires", "last used", "revoked"]
    assert [[*row[:3], *row[4:6]] for row in rows] == [
        ["authority-1", "authority", "-", "-", NOON],
        ["b-auditor", "auditor", "-", "-", "-"],
        ["c-firm", "enterprise", ALPHA, "2030-01-01T00:00:00+08:00", "-"],
    ]
    assert [row[6] != "-" for row in rows] == [False, True, False]
    assert all(parse_instant(row[3]) for row in rows)


def test_help_names_every_command():
    output = good(kashi("--help"))
    for name in (
        "init",
        "serve",
        "token",
        "export",
        "verify",
        "monitor",
        "rebuild",
        "demo",
        "provider",
    ):
        assert f"\n  {name}" in output
        assert good(kashi(name, "--help"))
    for name in ("keygen", "sign", "post"):
        assert f"\n  {name}" in good(kashi("provider", "--help"))
    assert good(kashi("--version"))


# Exporting and verifying


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


# Real processes, with a database of their own


class Process:
    """A `kashi serve` of its own."""

    def __init__(self, data: Path, database: str | None) -> None:
        self.data = data
        words = ("--data", str(data), "--port", "0", "--now", NOON, "--clock-is-right")
        self.process = subprocess.Popen(
            [*PROGRAM, "serve", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(database),
        )
        self.line = self.process.stdout.readline()
        self.url = self.line.rpartition(" ")[2].strip()

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; returns the exit status and the errors that were printed."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for the end; returns the exit code, and the stderr without the logs."""
        _, errors = self.process.communicate(timeout=30)
        lines = errors.splitlines(keepends=True)
        assert all(json.loads(line)["event"] for line in lines if line.startswith("{"))
        return self.process.returncode, "".join(line for line in lines if line[0] != "{")

    def postmaster(self) -> int:
        return int((self.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def request(self, path: str, body: object = None, token: str | None = None):
        """Send a GET, or a POST with a body; returns status and answer."""
        token = token or (self.data / "authority.token").read_text().strip()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"k{time.monotonic_ns()}"}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def run(*words: object) -> subprocess.CompletedProcess:
    """Run a command in a process of its own, with the embedded database."""
    return subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )


def one_line(ended: subprocess.CompletedProcess) -> str:
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    return only_line(ended.stderr)


@pytest.fixture(scope="module")
def home():
    """A ledger with an embedded database and a provider's key, made once."""
    with memory_folder() as folder:
        words = ("--data", folder / "data", "--origin", ORIGIN, "--one-person", "--now", NOON)
        made = run("init", *words)
        assert made.returncode == 0, made.stderr
        yield folder


@contextlib.contextmanager
def served(home: Path, database: str | None = None):
    """Serve the ledger, and end the process in any case."""
    process = Process(home / "data", database)
    try:
        assert process.line.startswith(f"{ORIGIN} listens on http://127.0.0.1:"), process.wait()
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while lives(pid):
        assert time.monotonic() < deadline, pid
        time.sleep(0.02)


def register(process: Process, key: str) -> None:
    """Do what the authority does before a provider can post; harmless when repeated."""
    enterprise, contract = enterprise_body(), contract_body("A")
    enterprise["kind"] = enterprise.pop("applicant")
    contract |= {"from": contract.pop("starts"), "until": contract.pop("ends")}
    for path, body in (
        ("/v1/policies", {"programme": PROGRAMME, "version": "2024-12"}),
        ("/v1/providers", provider_body()),
        ("/v1/providers/pcl/keys", json.loads(key)),
        ("/v1/enterprises", enterprise),
        ("/v1/contracts", contract),
        ("/v1/coupons", coupon_body(2025, "1000.00")),
    ):
        status, answer = process.request(path, body)
        assert status in (200, 201), answer


def signed(home: Path, seq: int) -> Path:
    """Write a batch, sign it with the command, keep its envelope."""
    key, made = home / "pcl.key", home / "pcl.json"
    if not key.exists():
        names = ("--log", ORIGIN, "--provider", "pcl", "--keyid", "pcl-1")
        ended = run("provider", "keygen", *names, key)
        assert ended.returncode == 0, ended.stderr
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        made.write_text(ended.stdout)
    batch, envelope = home / f"{seq}.json", home / f"{seq}.dsse"
    usage = [record(f"r{seq}.{n}", "A", *HOUR, 1_000) for n in range(3)]
    batch.write_text(
        json.dumps({"log": ORIGIN, "provider": "pcl", "stream": "s", "seq": seq, "records": usage})
    )
    ended = run("provider", "sign", "--key", key, "--keyid", "pcl-1", batch)
    assert ended.returncode == 0, ended.stderr
    envelope.write_text(ended.stdout)
    return envelope


def post(process: Process, envelope: Path) -> tuple[str, str]:
    """Post an envelope with the command; returns the receipt and its signature header."""
    ended = run("provider", "post", process.url, envelope)
    assert ended.returncode == 0, ended.stderr
    header = ended.stderr.strip().removeprefix("Kashi-Signature: ")
    assert [keyid for keyid, _ in parse_signature_header(header)] == ["receipt-1"]
    return ended.stdout.rstrip("\n"), header


def test_commands_beside_a_running_service_join_its_database_or_are_refused(home, tmp_path):
    with served(home) as process:
        second = run("serve", "--data", home / "data", "--port", "0")
        assert "in_use" in one_line(second)
        assert "in_use" in one_line(run("rebuild", "--data", home / "data"))
        words = ("--data", home / "data", "--origin", ORIGIN, "--one-person")
        assert "not_empty" in one_line(run("init", *words))
        process.request("/v1/tokens", {"id": "officer-2", "holder": "authority"})
        token = run("token", "add", "--data", home / "data", "officer-2")
        assert token.returncode == 0, token.stderr
        status, _ = process.request("/v1/entries", token=token.stdout.strip())
        assert status == 200
        exported = run("export", "--data", home / "data", tmp_path / "beside")
        assert exported.returncode == 0, exported.stderr
        verified = run("verify", tmp_path / "beside", "--vkey", home / "data" / "log.vkey")
        assert verified.returncode == 0, verified.stdout
        # All that did not end the service or its database.
        envelope = signed(home, 1)
        register(process, (home / "pcl.json").read_text())
        receipt, _ = post(process, envelope)
        assert json.loads(receipt)["results"][0]["status"] == "accepted"
        assert process.end(signal.SIGTERM) == (0, "")
    exported = run("export", "--data", home / "data", tmp_path / "stopped")
    assert exported.returncode == 0, exported.stderr
    rebuilt = run("rebuild", "--data", home / "data")
    assert rebuilt.returncode == 0, rebuilt.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_and_its_database_in_order(home, number):
    with served(home) as process:
        postmaster = process.postmaster()
        assert lives(postmaster)
        assert (home / "data" / "postgres.dsn").exists()
        assert process.request("/readyz") == (200, {"status": "ready"})
        assert process.end(number) == (0, "")
        assert not lives(postmaster)
        assert not (home / "data" / "postgres.dsn").exists()
        assert (
            "database system is shut down"
            in (home / "data" / "postgres" / "postgres.log").read_text()
        )


def test_after_a_kill_the_next_service_has_every_answered_batch(home):
    with served(home) as process:
        envelopes = [signed(home, seq) for seq in (11, 12)]
        register(process, (home / "pcl.json").read_text())
        first = [post(process, envelope) for envelope in envelopes]
        postmaster = process.postmaster()
        process.process.kill()
        process.process.communicate()
    with served(home) as process:
        assert process.postmaster() != postmaster
        until_gone(postmaster)
        assert [post(process, envelope) for envelope in envelopes] == first
        _, page = process.request("/v1/entries?limit=1000")
        ids = [each["entry"].get("id") for each in page["entries"]]
        for seq in (11, 12):
            assert [ids.count(f"r{seq}.{n}") for n in range(3)] == [1, 1, 1]
        _, balance = process.request(
            f"/v1/enterprises/{ALPHA}/balance?programme={PROGRAMME}&year=2025"
        )
        assert balance["granted"] == balance["entitled"] != "0.00"
        assert process.end(signal.SIGTERM) == (0, "")


def test_a_service_ends_with_one_line_when_its_embedded_database_does(home):
    with served(home) as process:
        postmaster = process.postmaster()
        os.kill(postmaster, signal.SIGINT)
        until_gone(postmaster)
        code, errors = process.wait()
        assert code == 1
        assert "kashi: database_ended: " in errors
        assert "Traceback" not in errors


def test_a_failed_init_leaves_nothing_that_would_stand_in_the_way_of_the_next(
    home, database, monkeypatch
):
    monkeypatch.setenv(DATABASE_VARIABLE, database.replace("kashi_test_", "missing_"))
    folder = home / "failed"
    told(kashi("init", "--data", folder, "--origin", ORIGIN, "--one-person"))
    assert not any(folder.iterdir())
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    good(kashi("init", "--data", folder, "--origin", ORIGIN, "--one-person"))


def test_a_second_service_on_a_shared_database_ends_the_first_with_one_line(
    database, tmp_path, monkeypatch
):
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    good(init(tmp_path / "data", "--now", NOON))
    with served(tmp_path, database) as old, served(tmp_path, database) as new:
        body = {"programme": PROGRAMME, "version": "2024-12"}
        status, answer = old.request("/v1/policies", body)
        assert (status, answer["code"]) == (503, "unavailable")
        code, errors = old.wait()
        assert code == 1
        assert errors.startswith("kashi: lost_epoch: ")
        assert "Traceback" not in errors
        assert new.request("/v1/policies", body)[0] == 201
        assert new.end(signal.SIGTERM) == (0, "")


def test_provider_commands_fail_in_one_line(tmp_path):
    key, batch = tmp_path / "key", tmp_path / "batch.json"
    names = ("--log", ORIGIN, "--provider", "pcl", "--keyid")
    assert "a b" in told(kashi("provider", "keygen", *names, "a b", key))
    assert not key.exists()
    good(kashi("provider", "keygen", *names, "pcl-1", key))
    before = key.read_text()
    told(kashi("provider", "keygen", *names, "pcl-1", key))
    assert key.read_text() == before
    batch.write_text("{}")
    told(kashi("provider", "sign", "--key", key, "--keyid", "a", batch))
    assert "seed" in told(kashi("provider", "sign", "--key", batch, "--keyid", "a", batch))
