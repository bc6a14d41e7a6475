"""Making a ledger and starting its service: keys, clocks, and early refusals."""

import asyncio
import logging
import shutil
import stat
import time
from hashlib import sha256
from typing import Any

import pytest

from ledger.note import Signer, Verifier
from meter.host.clock import SYSTEM_CLOCK, clock_from
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.tokens import Identity
from meter.intake import Intake
from meter.rules.entries import FLOORED_CLASSES
from meter.service import admin, setup
from meter.service import running as service_running
from meter.service.setup import SetupError, check_test_clock
from meter.tables.connections import NoLedger
from meter.tables.faults import DatabaseFault
from meter.values.units import MICROSECONDS
from tests.books import ALPHA, PROGRAMME
from tests.services import ORIGIN, Clock, ask, coupon_body, moved, serving, stored_entries


@pytest.fixture
def folder(database, tmp_path, monkeypatch):
    """A folder for a ledger whose database is empty."""
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    return DataFolder(tmp_path / "kashi")


async def refused(awaitable) -> str:
    with pytest.raises(SetupError) as error:
        await awaitable
    assert "\n" not in str(error.value)
    return error.value.code


async def start(folder: DataFolder, **settings: Any) -> None:
    async with service_running.running(folder, **settings):
        pass


async def test_a_new_ledger_begins_with_a_genesis_that_names_its_keys(folder, database):
    await setup.initialise(folder, ORIGIN, setup.TRIAL, moved(Clock("2025-03-01T12:00:00+08:00")))
    (genesis,) = await stored_entries(database)
    assert genesis.origin == ORIGIN
    assert genesis.log_key == folder.log_vkey.read_text().strip()
    assert genesis.floors == list(FLOORED_CLASSES)
    assert (genesis.by, genesis.request) == ("authority-1", "init")
    assert genesis.at == 1_740_801_600_000_000
    assert len(bytes.fromhex(genesis.salt)) == 16
    signer = Signer.parse(folder.log_key.read_text().strip())
    assert signer.verifier == Verifier.parse(genesis.log_key)
    assert signer.name == ORIGIN == setup.read_origin(folder)


async def test_secrets_are_for_their_owner_alone(folder, database):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in folder.path.iterdir()
        if path.is_file()
    }
    secrets = {"log.key", "receipt.key", "authority.token"}
    assert modes.keys() == secrets | {"log.vkey", "origin"}
    assert {modes[name] for name in secrets} == {0o600}
    kept = await ask(database, "SELECT id, role, secret FROM meter.token")
    token = folder.token_of("authority").read_text().strip()
    assert [tuple(row) for row in kept] == [
        ("authority-1", "authority", sha256(token.partition(".")[2].encode()).digest())
    ]


async def test_two_ledgers_have_nothing_secret_in_common(folder, tmp_path, database):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    await ask(database, "DROP SCHEMA ledger CASCADE")
    await ask(database, "DROP SCHEMA meter CASCADE")
    other = DataFolder(tmp_path / "other")
    await setup.initialise(other, ORIGIN, setup.TRIAL)
    for name in ("log.key", "log.vkey", "receipt.key", "authority.token"):
        assert (folder.path / name).read_text() != (other.path / name).read_text()


async def test_a_folder_that_holds_something_is_left_alone(folder, database):
    folder.path.mkdir()
    (folder.path / "mine").write_text("x")
    assert await refused(setup.initialise(folder, ORIGIN, setup.TRIAL)) == "not_empty"
    assert [path.name for path in folder.path.iterdir()] == ["mine"]
    assert await ask(database, "SELECT to_regclass('ledger.head')::text AS t") == [(None,)]


async def test_a_database_that_holds_a_ledger_is_left_alone(folder, tmp_path, database):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    before = await stored_entries(database)
    other = DataFolder(tmp_path / "b")
    assert await refused(setup.initialise(other, ORIGIN, setup.TRIAL)) == "exists"
    assert await stored_entries(database) == before
    await start(folder)


@pytest.mark.parametrize(
    "origin",
    [
        *("", "/", "https://kashi.example", "Kashi.example", "kashi.example/", "kashi example"),
        *("kashi.example//x", "kashi.example/a b", "kashi.example/\n", "kashi.example\n", "-a"),
        *("kashi.example/x+y", "深圳.example", "a" * 201, "kashi.example:x/y", "a:1:2"),
    ],
)
async def test_an_origin_is_a_url_without_its_scheme(tmp_path, origin):
    folder = DataFolder(tmp_path / "kashi")
    assert await refused(setup.initialise(folder, origin, setup.TRIAL)) == "bad_origin"
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("kashi.example", True),
        ("kashi.example/shenzhen", True),
        ("kashi.test:8080/x", True),
        ("a.b.test", True),
        ("test", True),
        ("example", True),
        ("kashi.shenzhen.gov.cn/x", False),
        ("kashi.shenzhen.gov.cn/x.test", False),
        ("kashi.shenzhen.gov.cn/.example", False),
        ("kashi.testing", False),
        ("kashitest", False),
        ("kashi.example.com", False),
        ("notexample/x", False),
    ],
)
def test_a_test_clock_is_for_test_and_example_hosts(origin, allowed):
    if allowed:
        check_test_clock(origin)
        return
    with pytest.raises(SetupError) as error:
        check_test_clock(origin)
    assert error.value.code == "real_origin"


def test_a_test_clock_runs_on_from_its_instant_and_the_systems_is_now():
    clock = clock_from(1_000_000_000)
    first = clock.now()
    time.sleep(0.02)
    second = clock.now()
    assert 1_000_000_000_000_000 <= first < first + 20_000 <= second < first + 10_000_000
    assert abs(SYSTEM_CLOCK.now() - time.time_ns() // 1_000) < 1_000_000


async def test_nothing_starts_without_keys_or_without_a_ledger(folder, database):
    assert await refused(start(folder)) == "no_ledger"
    assert await refused(admin.export_to(folder, folder.path / "out")) == "no_ledger"
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    await ask(database, "DROP SCHEMA ledger CASCADE")
    for attempt in (
        start(folder),
        admin.export_to(folder, folder.path / "out"),
        admin.rebuild_in(folder),
        admin.add_token(folder, Identity("b", "auditor")),
    ):
        with pytest.raises(NoLedger, match="kashi init"):
            await attempt


async def test_a_database_that_refuses_us_is_told_in_one_line(folder, database, monkeypatch):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    monkeypatch.setenv(DATABASE_VARIABLE, database.replace("kashi_test_", "missing_"))
    with pytest.raises(DatabaseFault, match="does not exist"):
        await start(folder)
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://x@/y?host=/nonexistent")
    with pytest.raises(DatabaseFault, match="No such file"):
        await start(folder)


@pytest.mark.parametrize("name", ["log.key", "receipt.key"])
async def test_other_keys_are_refused_before_the_running_service_is_shut_out(
    database, tmp_path, name, monkeypatch
):
    async with serving(database, tmp_path) as running:
        wrong = DataFolder(tmp_path / "wrong")
        shutil.copytree(running.folder.path, wrong.path)
        if name == "log.key":
            wrong.log_key.write_text(Signer.from_seed(ORIGIN, bytes(32)).format())
        else:
            wrong.receipt_key.write_text("A" * 43 + "=")
        monkeypatch.setenv(DATABASE_VARIABLE, database)
        assert await refused(start(wrong, clock=moved(running.clock))) == "wrong_keys"
        await running.open_books()
        assert (await running.get("/readyz")).status == 200


async def test_tokens_have_names_of_their_own(folder):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    officer = Identity("officer-2", "auditor")
    assert (await admin.add_token(folder, officer)).startswith("officer-2.")
    for name in ("officer-2", "authority-1"):
        assert await refused(admin.add_token(folder, Identity(name, "auditor"))) == "exists"
    for name in ("", "a b", "é", "a\n", "-a", "x" * 65):
        assert await refused(admin.add_token(folder, Identity(name, "auditor"))) == "bad_name"


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        *[("authority", "pcl"), ("auditor", ALPHA), ("provider", ""), ("enterprise", "")],
        *[("provider", "a:b"), ("enterprise", "pcl"), ("enterprise", f"{ALPHA[:-1]}0")],
    ],
)
async def test_a_subject_is_for_providers_and_enterprises_and_needed_there(
    folder, role, subject, database
):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    assert await refused(admin.add_token(folder, Identity("a", role, subject))) == "bad_subject"
    # The name is still free.
    fitting = {"provider": "pcl", "enterprise": ALPHA}.get(role, "")
    name = "authority-1" if role == "authority" else "a"
    await ask(database, "DELETE FROM meter.token WHERE id = 'authority-1'")
    await admin.add_token(folder, Identity(name, role, fitting))


async def test_only_a_token_that_opens_something_can_be_revoked(folder):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    assert await refused(admin.revoke_token(folder, "nobody")) == "no_token"
    await admin.revoke_token(folder, "authority-1")
    assert await refused(admin.revoke_token(folder, "authority-1")) == "no_token"
    # Entries name it, so its name is never given to another.
    again = Identity("authority-1", "authority")
    assert await refused(admin.add_token(folder, again)) == "exists"


async def test_a_token_expires_by_the_services_clock(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as running:
        monkeypatch.setenv(DATABASE_VARIABLE, database)
        until = running.clock.now + 60 * MICROSECONDS
        text = await admin.add_token(running.folder, Identity("a", "auditor"), until)
        header = f"Bearer {text}"
        assert (await running.get("/v1/entries", Authorization=header)).status == 200
        running.clock.advance(59)
        assert (await running.get("/v1/entries", Authorization=header)).status == 200
        running.clock.advance(1)
        assert (await running.get("/v1/entries", Authorization=header)).code == "unauthorized"


async def test_a_token_is_revoked_from_the_next_request_on(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as running:
        monkeypatch.setenv(DATABASE_VARIABLE, database)
        text = await admin.add_token(running.folder, Identity("a", "auditor"))
        header = f"Bearer {text}"
        assert (await running.get("/v1/entries", Authorization=header)).status == 200
        await admin.revoke_token(running.folder, "a")
        assert (await running.get("/v1/entries", Authorization=header)).code == "unauthorized"
        assert (await running.get("/v1/entries")).status == 200


async def test_the_secret_of_a_token_is_neither_stored_nor_logged(
    database, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    async with serving(database, tmp_path) as running:
        monkeypatch.setenv(DATABASE_VARIABLE, database)
        await running.ask("/v1/tokens", id="officer-2", holder="authority")
        text = await admin.add_token(running.folder, Identity("officer-2", "authority"))
        await running.open_books()
        header = f"Bearer {text}"
        await running.post("/v1/policies", {"nonsense": 1}, Authorization=header)
        await running.post("/v1/coupons", coupon_body(2025, "1.00"), Authorization=header)
        for wrong in (f"{text}x", text.partition(".")[2], text.replace(".", " ")):
            await running.get("/v1/entries", Authorization=f"Bearer {wrong}")
        monkeypatch.setattr(Intake, "command", fail)
        policy = {"programme": PROGRAMME, "version": "2024-12"}
        assert (await running.post("/v1/policies", policy)).status == 500
        tokens = [text, running.folder.token_of("authority").read_text().strip()]
    secrets = [token.partition(".")[2] for token in tokens]
    tables = await ask(
        database,
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables"
        " WHERE table_schema IN ('ledger', 'meter')",
    )
    assert "meter.token" in {table["name"] for table in tables}
    for table in tables:
        rows = await ask(database, f"SELECT t::text AS row FROM {table['name']} AS t")
        kept = "".join(row["row"] for row in rows)
        for secret in secrets:
            assert secret not in kept
            assert secret.encode().hex() not in kept
    assert "fault" in caplog.text
    assert not any(secret in caplog.text for secret in secrets)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    holding = {path.name for path in files if secrets[1].encode() in path.read_bytes()}
    assert holding == {"authority.token"}
    assert not any(secrets[0].encode() in path.read_bytes() for path in files)


async def fail(*_: Any) -> None:
    raise KeyError("a fault of ours")


async def test_a_service_that_cannot_listen_leaves_the_ledger_usable(folder, database):
    await setup.initialise(folder, ORIGIN, setup.TRIAL)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(OSError, match="address already in use"):
        async with service_running.running(folder, service_running.Endpoint(port=port)):
            pass
    server.close()
    async with service_running.running(folder) as running:
        assert running.intake.ready
    left = await ask(
        database,
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name"
        " LIKE 'kashi%' AND datname = current_database()",
    )
    assert left[0]["n"] == 0
