"""The commands of whoever runs a ledger: what they make, print and refuse."""

import asyncio
import signal
import stat

import pytest

from meter.host.data_folder import DATABASE_VARIABLE
from meter.values.units import parse_instant
from tests.books import ALPHA
from tests.commands import good, kashi, told
from tests.processes import NOON, ORIGIN, Process, init
from tests.services import ask, stored_entries


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
