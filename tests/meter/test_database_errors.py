"""Whatever the database refuses, a command ends with one line; a signal ends it cleanly."""

import asyncio
import contextlib
import inspect
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from meter.cli import common
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.postgres import find_binaries, find_program
from meter.tables import connections, faults
from meter.tables.sessions import check_settings
from meter.values.problems import Problem
from tests.commands import (
    PROGRAM,
    code,
    elsewhere,
    environment,
    good,
    kashi,
    only_line,
    started,
    told,
)
from tests.conftest import execute
from tests.services import ask

ORIGIN = "kashi.test/errors"
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def empty(database, tmp_path, monkeypatch) -> Path:
    """A folder for a ledger in an empty database of ours."""
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    return tmp_path / "data"


@pytest.fixture
def data(empty) -> Path:
    good(init(empty))
    return empty


def init(data: Path):
    return kashi("init", "--data", data, "--origin", ORIGIN, "--one-person")


def serve(data: Path):
    return kashi("serve", "--data", data, "--port", 0, "--database-seconds", 0)


def name_of(dsn: str) -> str:
    return urlsplit(dsn).path[1:]


# One line


def test_a_read_only_database_is_told_by_every_command_that_writes(
    empty, postgres, database, spare, tmp_path
):
    name = name_of(database)
    execute(postgres, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert code(told(init(empty))) == "read_only"
    execute(postgres, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    good(init(empty))
    execute(postgres, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    for result in (
        serve(empty),
        kashi("rebuild", "--data", empty),
        kashi("token", "add", "--data", empty, "clerk-2", "--role", "auditor"),
    ):
        assert code(told(result)) == "read_only"
    # What only reads works.
    good(kashi("export", "--data", empty, tmp_path / "out"))
    good(kashi("backup", "--data", empty, tmp_path / "backup"))
    good(kashi("recover", "--data", empty))
    execute(postgres, f"ALTER DATABASE {name_of(spare)} SET default_transaction_read_only = on")
    with elsewhere(spare):
        assert code(told(kashi("recover", "--data", empty))) == "read_only"


def test_a_dump_restored_without_owners_and_privileges_is_told_by_every_command(
    data, database, spare, tmp_path, monkeypatch
):
    major = find_binaries().version[0]
    dump = tmp_path / "dump"
    words = ("--format=custom", "--schema=ledger", "--schema=meter", f"--file={dump}")
    subprocess.run([find_program("pg_dump", major), database, *words], check=True)
    words = ("--no-owner", "--no-privileges", f"--dbname={spare}")
    subprocess.run([find_program("pg_restore", major), *words, dump], check=True)
    monkeypatch.setenv(DATABASE_VARIABLE, spare)
    for result in (
        serve(data),
        kashi("rebuild", "--data", data),
        kashi("recover", "--data", data),
        kashi("token", "add", "--data", data, "clerk-2", "--role", "auditor"),
        kashi("export", "--data", data, tmp_path / "out"),
        kashi("backup", "--data", data, tmp_path / "backup"),
    ):
        assert code(told(result)) == "missing_privilege"


def test_a_database_of_another_encoding_is_refused_before_anything_is_made(
    empty, postgres, database, monkeypatch
):
    name = f"{name_of(database)}_latin"
    provider = "LOCALE_PROVIDER libc LOCALE 'C'"
    execute(postgres, f"CREATE DATABASE {name} ENCODING 'LATIN1' {provider} TEMPLATE template0")
    latin = urlsplit(database)._replace(path=f"/{name}").geturl()
    try:
        monkeypatch.setenv(DATABASE_VARIABLE, latin)
        line = told(init(empty))
        tables = asyncio.run(ask(latin, "SELECT FROM pg_namespace WHERE nspname = 'ledger'"))
    finally:
        execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")
    assert code(line) == "wrong_encoding"
    assert "LATIN1" in line
    assert tables == []


def test_a_database_without_the_language_of_the_guards_is_told(empty, database):
    execute(database, "DROP EXTENSION plpgsql")
    line = told(init(empty))
    assert code(line) == "missing_object"
    assert "plpgsql" in line
    execute(database, "CREATE EXTENSION plpgsql")
    good(init(empty))


def test_a_database_whose_tables_are_others_is_told(data, database):
    execute(database, "ALTER TABLE ledger.head RENAME COLUMN epoch TO other")
    assert code(told(serve(data))) == "wrong_schema"
    execute(database, "ALTER TABLE ledger.head RENAME COLUMN other TO epoch")
    execute(database, "DROP TABLE meter.pool")
    assert code(told(serve(data))) == "wrong_schema"


@pytest.mark.parametrize(
    ("change", "code_of_it"),
    [
        (lambda url: url._replace(path="/no_such_database"), "no_database"),
        (lambda url: url._replace(netloc="nobody@"), "login_refused"),
        (lambda url: url._replace(query="host=/nonexistent"), "unavailable"),
        (lambda url: url._replace(scheme="mysql"), "bad_database_url"),
    ],
)
def test_a_database_that_cannot_be_entered_is_told_by_every_command(
    data, database, tmp_path, change, code_of_it
):
    with elsewhere(change(urlsplit(database)).geturl()):
        for result in (
            kashi("init", "--data", tmp_path / "new", "--origin", ORIGIN, "--one-person"),
            serve(data),
            kashi("rebuild", "--data", data),
            kashi("recover", "--data", data),
            kashi("export", "--data", data, tmp_path / "out"),
            kashi("backup", "--data", data, tmp_path / "backup"),
        ):
            assert code(told(result)) == code_of_it


def test_a_backup_whose_dump_cannot_be_read_is_told(data, spare, tmp_path, monkeypatch):
    good(kashi("backup", "--data", data, tmp_path / "backup"))
    (tmp_path / "backup" / "database.dump").write_text("no dump")
    monkeypatch.setenv(DATABASE_VARIABLE, spare)
    (tmp_path / "new").mkdir()
    line = told(kashi("recover", "--data", tmp_path / "new", "--from", tmp_path / "backup"))
    assert code(line) == "backup_failed"


def test_every_error_that_the_driver_knows_has_a_code_and_a_sentence_of_one_line():
    kinds = [
        kind
        for _, kind in inspect.getmembers(asyncpg.exceptions, inspect.isclass)
        if issubclass(kind, asyncpg.PostgresError)
    ]
    assert len(kinds) > 200
    for kind in [*kinds, asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError]:
        with pytest.raises(faults.DatabaseFault) as fault, faults.told():
            raise kind("two\nlines")
        assert re.fullmatch(r"[a-z_]+: [a-z].*two lines\)?", str(fault.value)), kind
    for kind, expected in {
        asyncpg.TooManyConnectionsError: "unavailable",
        asyncpg.AdminShutdownError: "unavailable",
        asyncpg.CannotConnectNowError: "unavailable",
        asyncpg.InvalidPasswordError: "login_refused",
        asyncpg.DiskFullError: "unavailable",
        asyncpg.UntranslatableCharacterError: "wrong_encoding",
        asyncpg.UniqueViolationError: "database_failed",
    }.items():
        assert faults.fault_of(kind("x")).code == expected


async def test_a_connection_that_ends_while_its_settings_are_read_is_a_database_away(database):
    async def end_and_check(session: asyncpg.Connection) -> None:
        with contextlib.suppress(*faults.DRIVER):
            await session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await check_settings(session, {})

    async with asyncpg.create_pool(database, min_size=0, max_size=1, init=end_and_check) as readers:
        with pytest.raises(Problem) as refused:
            async with connections.reading(readers):
                pytest.fail("it was read")
    assert refused.value.code == "unavailable"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("init", "--origin", ORIGIN, "--one-person"), "asyncpg"),
        (("serve",), "asyncpg"),
        (("serve",), "prometheus_client"),
        (("token", "add", "clerk"), "asyncpg"),
        (("export", "OUT"), "asyncpg"),
        (("backup", "OUT"), "asyncpg"),
        (("recover",), "asyncpg"),
        (("rebuild",), "asyncpg"),
        (("demo",), "structlog"),
    ],
)
def test_an_installation_without_the_server_names_the_extra(tmp_path, words, missing):
    absent = f"import sys; sys.modules[{missing!r}] = None; {PROGRAM[-1]}"
    ended = subprocess.run(
        [sys.executable, "-c", absent, *words, "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert ended.returncode == 1
    line = only_line(ended.stderr)
    assert code(line) == "missing_extra"
    assert missing in line
    assert "pip install 'kashi[server]'" in line
    assert list(tmp_path.iterdir()) == []


# Signals


@contextlib.contextmanager
def locked(dsn: str, table: str) -> Iterator[None]:
    """Hold a table, so that whoever needs it has to wait; a catalog only against writers."""
    mode = "SHARE" if table.startswith("pg_catalog.") else "ACCESS EXCLUSIVE"

    async def hold() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"BEGIN; LOCK TABLE {table} IN {mode} MODE")
        held.append(connection)

    held: list[asyncpg.Connection] = []
    with asyncio.Runner() as runner:
        runner.run(hold())
        try:
            yield
        finally:
            held[0].terminate()


def until_it_waits(dsn: str, process: subprocess.Popen[str]) -> None:
    """Wait until a process waits for a lock in the database."""
    waiting = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 30
    while not asyncio.run(ask(dsn, waiting)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupted(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal; the command says so in one line, with an exit code that tells which."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + number, ""), errors
    assert only_line(errors) == (
        f"kashi: interrupted: {signal.Signals(number).name} came before the end\n"
    )


def nobody_is_connected(dsn: str) -> None:
    others = (
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    deadline = time.monotonic() + 20
    while found := asyncio.run(ask(dsn, others)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "waits_for",
    [
        ("ledger.segment", "export", "OUT"),
        ("ledger.segment", "backup", "OUT"),
        ("meter.registration", "serve", "--port", "0"),
        ("ledger.segment", "rebuild"),
        ("meter.token", "token", "add", "clerk-2", "--role", "auditor"),
    ],
    ids=lambda each: each[1],
)
def test_a_signal_ends_a_command_in_one_line_and_the_next_try_works(
    data, database, tmp_path, number, waits_for
):
    table, *words = waits_for
    words = [str(tmp_path / word) if word == "OUT" else word for word in words]
    with locked(database, table):
        process = started(database, *words, "--data", data)
        until_it_waits(database, process)
        interrupted(process, number)
    nobody_is_connected(database)
    if words[0] == "export":
        shutil.rmtree(tmp_path / "OUT", ignore_errors=True)
    if words[0] != "serve":
        good(kashi(*words, "--data", data))
    process = started(database, "serve", "--port", "0", "--data", data)
    assert process.stdout.readline().startswith(f"{ORIGIN} listens on ")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("table", ["pg_catalog.pg_namespace", "pg_catalog.pg_proc"])
def test_a_signal_ends_init_and_leaves_nothing_behind(empty, database, number, table):
    with locked(database, table):
        process = started(database, "init", "--data", empty, "--origin", ORIGIN, "--one-person")
        until_it_waits(database, process)
        interrupted(process, number)
    assert list(empty.iterdir()) == []
    nobody_is_connected(database)
    good(init(empty))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_recovery_which_then_begins_again(data, spare, tmp_path, number):
    good(kashi("backup", "--data", data, tmp_path / "backup"))
    new = tmp_path / "new"
    new.mkdir(mode=0o700)
    words = ("recover", "--data", new, "--from", tmp_path / "backup")
    with locked(spare, "pg_catalog.pg_proc"):
        process = started(spare, *words)
        until_it_waits(spare, process)
        interrupted(process, number)
    nobody_is_connected(spare)
    with elsewhere(spare):
        assert "nothing to recover: 1 entries" in good(kashi(*words))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_init_and_its_embedded_database(number):
    with tempfile.TemporaryDirectory(prefix="kashi-test-") as name:
        data = Path(name) / "data"
        Path(name).chmod(0o711)
        process = started(None, "init", "--data", data, "--origin", ORIGIN, "--one-person")
        pid_file = data / "postgres" / "data" / "postmaster.pid"
        while not pid_file.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        interrupted(process, number)
        assert list(data.iterdir()) == []
        again = started(None, "init", "--data", data, "--origin", ORIGIN, "--one-person")
        output, errors = again.communicate(timeout=60)
        assert (again.returncode, errors) == (0, ""), output


def test_a_signal_that_comes_within_a_callback_of_the_loop_ends_the_command_too():
    def callback() -> None:
        raise common._Ended(signal.SIGTERM)

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(60)

    with pytest.raises(common._Ended):
        asyncio.run(wait())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_a_verification_is_no_verdict(data, number):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/log"
        process = started(None, "verify", url, "--vkey", data / "log.vkey")
        silent.accept()
        interrupted(process, number)


HALF_MADE = """
import os, signal
from meter.cli import common

class Half:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        self.made = True

    def __del__(self):
        print(self.made)

try:
    with common._signals_raise():
        Half()
except common._Ended as end:
    print(end.number.name)
"""


def test_what_a_signal_leaves_half_made_does_not_complain():
    command = [sys.executable, "-c", HALF_MADE]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("SIGTERM\n", "")


# A backup begins again


def test_an_interrupted_backup_can_be_begun_again(data, database, spare, tmp_path, monkeypatch):
    out, words = tmp_path / "backup", ("backup", "--data", data, tmp_path / "backup")
    with locked(database, "ledger.segment"):
        for end in (signal.SIGKILL, signal.SIGTERM):
            process = started(database, *words)
            until_it_waits(database, process)
            process.send_signal(end)
            process.communicate(timeout=60)
            assert (out / "unfinished").exists()
            # Nothing is recovered from it.
            line = told(kashi("recover", "--data", data, "--from", out))
            assert code(line) == "backup_failed"
            execute(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'pg_dump'",
            )
    (out / "log").mkdir(exist_ok=True)
    (out / "log" / "half").write_text("of a file")
    good(kashi(*words))
    assert sorted(file.name for file in out.iterdir()) == sorted(
        ["database.dump", "log", "log.vkey", "origin"]
    )
    assert not (out / "log" / "half").exists()
    assert "holds something" in told(kashi(*words))  # a whole one is never overwritten
    new = tmp_path / "new"
    new.mkdir()
    monkeypatch.setenv(DATABASE_VARIABLE, spare)
    good(kashi("recover", "--data", new, "--from", out))


def test_a_backup_that_begins_again_removes_nothing_of_others(data, tmp_path):
    out = tmp_path / "backup"
    out.mkdir()
    (out / "unfinished").touch()
    (out / "mine").touch()
    assert code(told(kashi("backup", "--data", data, out))) == "backup_failed"
    assert {file.name for file in out.iterdir()} == {"unfinished", "mine"}
