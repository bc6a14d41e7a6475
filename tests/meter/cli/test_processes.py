"""The commands as real processes, where signals and a database of their own matter."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from meter.host.data_folder import DATABASE_VARIABLE
from meter.wire.dsse import parse_signature_header
from tests.books import ALPHA, PROGRAMME, record
from tests.commands import PROGRAM, environment, good, kashi, only_line, told
from tests.conftest import memory_folder
from tests.processes import NOON, ORIGIN, Process, init
from tests.services import HOUR, contract_body, coupon_body, enterprise_body, provider_body


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
