"""Whose the tables are, who may enter: two ledgers on one server, and a server that is managed."""

import asyncio
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from ledger.roles import Roles
from meter.host.postgres import Embedded, find_binaries, find_program, inspect_binaries
from tests.commands import code, elsewhere, good, kashi, started, told
from tests.conftest import execute, own_loop
from tests.services import ask

SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")
A, B = "kashi.test/a", "kashi.test/b"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL with several databases and logins; `dsn` is its superuser's."""

    dsn: str
    major: int

    def address(self, database: str, login: str) -> str:
        """Return the DSN of a login in a database."""
        return urlsplit(self.dsn)._replace(netloc=f"{login}@", path=f"/{database}").geturl()

    def superusers(self, database: str) -> str:
        return urlsplit(self.dsn)._replace(path=f"/{database}").geturl()

    def login(self, *words: str) -> str:
        """Make a login."""
        name = f"login_{uuid.uuid4().hex[:8]}"
        execute(self.dsn, f"CREATE ROLE {name} LOGIN {' '.join(words)}")
        return name

    def database(self, owner: str) -> str:
        """Make an empty database."""
        name = f"database_{uuid.uuid4().hex[:8]}"
        execute(self.dsn, f"CREATE DATABASE {name} OWNER {owner}")
        return name


@pytest.fixture(scope="module", params=["found", "system 15"])
def server(request) -> Iterator[Server]:
    if request.param != "found" and not (SYSTEM_15 / "initdb").exists():
        pytest.skip(f"{SYSTEM_15} does not exist")
    binaries = find_binaries() if request.param == "found" else inspect_binaries(SYSTEM_15)
    with tempfile.TemporaryDirectory(prefix="kashi-test-") as folder, own_loop() as runner:
        embedded = Embedded(Path(folder), binaries)
        yield Server(runner.run(embedded.start()), binaries.version[0])
        runner.run(embedded.stop())


@pytest.fixture
def origin() -> str:
    """A ledger's name of its own, for roles outlive their database."""
    return f"kashi.test/{uuid.uuid4().hex[:8]}"


def value(dsn: str, sql: str, *arguments: Any) -> Any:
    return asyncio.run(ask(dsn, sql, *arguments))[0][0]


def may_be(dsn: str, login: str, role: str) -> bool:
    """Tell whether a login can act as a role."""
    member = "SET" if value(dsn, "SHOW server_version_num") >= "160000" else "MEMBER"
    return value(dsn, "SELECT pg_has_role($1::name, $2::name, $3)", login, role, member)


def init(data: Path, origin: str, *words: str):
    return kashi("init", "--data", data, "--origin", origin, "--one-person", *words)


def serves(dsn: str, data: Path) -> None:
    """Serve the ledger until a signal; it says that it listens, and ends without an error."""
    process = started(dsn, "serve", "--data", data, "--port", 0)
    line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert " listens on http://127.0.0.1:" in line, errors
    assert process.returncode == 0, errors


# A managed server


def test_init_without_the_right_to_make_roles_says_in_one_line_what_is_missing(
    server, tmp_path, origin
):
    login = server.login()
    database = server.database(login)
    with elsewhere(server.address(database, login)):
        line = told(init(tmp_path / "data", origin))
    roles = Roles.of(origin)
    assert code(line) == "missing_roles"
    for missing in (f"the role {roles.owner}", f"the role {roles.service}", "--print-sql"):
        assert missing in line
    assert list((tmp_path / "data").iterdir()) == []
    here = server.superusers(database)
    assert value(here, "SELECT to_regnamespace('ledger') IS NULL")
    assert value(here, "SELECT to_regrole($1) IS NULL", roles.owner)
    assert value(here, "SELECT has_database_privilege('public', current_database(), 'CONNECT')")


def test_init_names_only_what_is_missing_still(server, tmp_path, origin):
    login, roles = server.login(), Roles.of(origin)
    database = server.database("kashi")
    execute(server.dsn, f"CREATE ROLE {roles.owner}; CREATE ROLE {roles.service} ROLE {login}")
    with elsewhere(server.address(database, login)):
        line = told(init(tmp_path / "data", origin))
    assert code(line) == "missing_roles"
    assert f"{login} as a member of {roles.owner}" in line
    assert f"CREATE on the database for {roles.owner}" in line
    assert "a REVOKE of CONNECT on the database from PUBLIC" in line
    assert "the role" not in line
    assert f"member of {roles.service}" not in line


def test_a_ledger_lives_with_roles_that_an_administrator_made_beforehand(server, tmp_path, origin):
    setup, serving, roles = server.login(), server.login(), Roles.of(origin)
    database, spare = server.database("kashi"), server.database("kashi")
    words = ("--service-login", serving)
    for name in (database, spare):
        with elsewhere(server.address(name, setup)):
            script = good(init(tmp_path / "data", origin, *words, "--print-sql"))
        assert not (tmp_path / "data").exists()
        for _ in range(2):  # it may be run again
            execute(server.superusers(name), script)
    with elsewhere(server.address(database, setup)):
        good(init(tmp_path / "data", origin, *words))
    here = server.superusers(database)
    assert may_be(here, setup, roles.owner)
    assert may_be(here, setup, roles.service)
    assert may_be(here, serving, roles.service)
    assert not may_be(here, serving, roles.owner)
    data, backup = tmp_path / "data", tmp_path / "backup"
    serves(server.address(database, serving), data)
    with elsewhere(server.address(database, serving)):
        good(kashi("token", "add", "--data", data, "clerk-2", "--role", "auditor"))
        good(kashi("rebuild", "--data", data))
        good(kashi("recover", "--data", data))
        good(kashi("export", "--data", data, tmp_path / "out"))
        good(kashi("backup", "--data", data, backup))
    (tmp_path / "new").mkdir()
    with elsewhere(server.address(spare, setup)):
        good(kashi("recover", "--data", tmp_path / "new", "--from", backup))
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('ledger', 'meter')"
    assert value(server.superusers(spare), owners) == roles.owner
    with elsewhere(server.address(spare, serving)):
        good(kashi("rebuild", "--data", data))


def test_a_login_that_may_make_roles_owns_nothing_once_it_has_made_a_ledger(
    server, tmp_path, origin
):
    login, roles = server.login("CREATEROLE"), Roles.of(origin)
    database, spare = server.database(login), server.database(login)
    dsn, data = server.address(database, login), tmp_path / "data"
    with elsewhere(dsn):
        good(init(data, origin))
        good(kashi("backup", "--data", data, tmp_path / "backup"))
    here = server.superusers(database)
    assert not may_be(here, login, roles.owner)
    assert may_be(here, login, roles.service)
    assert not value(here, "SELECT has_database_privilege('public', current_database(), 'CONNECT')")
    serves(dsn, data)
    (tmp_path / "new").mkdir()
    with elsewhere(server.address(spare, login)):
        good(kashi("recover", "--data", tmp_path / "new", "--from", tmp_path / "backup"))
    there = server.superusers(spare)
    assert not may_be(there, login, roles.owner)
    assert not value(
        there, "SELECT has_database_privilege('public', current_database(), 'CONNECT')"
    )
    for statement in (
        "ALTER TABLE ledger.segment DISABLE TRIGGER append_only",
        "DROP TABLE meter.batch",
        "UPDATE ledger.segment SET bundle = ''",
        f"SET ROLE {roles.owner}",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            execute(dsn, statement)


def test_printing_needs_a_login_and_a_good_origin(tmp_path):
    for address, origin, expected in (
        ("postgresql:///x", A, "no_login"),
        ("postgresql://x@/x", "https://x", "bad_origin"),
    ):
        with elsewhere(address):
            assert code(told(init(tmp_path / "data", origin, "--print-sql"))) == expected


def test_a_name_that_needs_quotes_is_quoted(server, tmp_path, origin):
    login = 'it\'s "me"'
    execute(server.dsn, 'DROP ROLE IF EXISTS "it\'s ""me"""; CREATE ROLE "it\'s ""me""" LOGIN')
    database = server.database("kashi")
    with elsewhere(server.address(database, "it%27s%20%22me%22")):
        execute(server.superusers(database), good(init(tmp_path / "data", origin, "--print-sql")))
        good(init(tmp_path / "data", origin))
    assert may_be(server.superusers(database), login, Roles.of(origin).owner)


# Two ledgers on one server


@dataclass(frozen=True)
class Ledger:
    """A ledger whose roles an administrator made, with one login for all."""

    origin: str
    login: str
    database: str
    dsn: str
    data: Path

    @property
    def roles(self) -> Roles:
        return Roles.of(self.origin)


@pytest.fixture(scope="module")
def two(server, tmp_path_factory) -> tuple[Ledger, Ledger]:
    made = []
    for origin in (A, B):
        login = server.login()
        database = server.database("kashi")
        dsn, data = server.address(database, login), tmp_path_factory.mktemp("two") / "data"
        with elsewhere(dsn):
            execute(server.superusers(database), good(init(data, origin, "--print-sql")))
            good(init(data, origin))
        made.append(Ledger(origin, login, database, dsn, data))
    return made[0], made[1]


def test_the_roles_of_two_ledgers_have_names_of_their_own(server, two):
    for ledger in two:
        here = server.superusers(ledger.database)
        owners = "SELECT array_agg(DISTINCT tableowner::text) FROM pg_tables WHERE schemaname = $1"
        assert value(here, owners, "ledger") == value(here, owners, "meter") == [ledger.roles.owner]
        grantees = (
            "SELECT array_agg(DISTINCT grantee::text) FROM information_schema.table_privileges"
            " WHERE table_schema IN ('ledger', 'meter')"
        )
        assert set(value(here, grantees)) == {ledger.roles.owner, ledger.roles.service}


def test_a_dump_names_the_roles_of_its_ledger_and_no_others(server, two, tmp_path):
    first, _ = two
    with elsewhere(first.dsn):
        good(kashi("backup", "--data", first.data, tmp_path / "backup"))
    restore = find_program("pg_restore", server.major)
    words = (restore, "--file=-", tmp_path / "backup" / "database.dump")
    script = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert f"OWNER TO {first.roles.owner};" in script
    assert f"TO {first.roles.service};" in script
    assert "kashi_" not in script.replace(first.roles.owner, "").replace(first.roles.service, "")


def test_no_login_of_one_ledger_enters_the_database_of_the_other(server, two):
    for ledger, other in (two, two[::-1]):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for datab"):
            execute(server.address(other.database, ledger.login), "SELECT 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for datab"):
            execute(server.address(ledger.database, server.login()), "SELECT 1")


def test_no_login_of_one_ledger_takes_a_role_of_the_other(two):
    for ledger, other in (two, two[::-1]):
        for role in (other.roles.owner, other.roles.service, other.login):
            for statement in (
                f"SET ROLE {role}",
                f"GRANT {role} TO {ledger.login}",
                f"ALTER ROLE {role} LOGIN",
                f"DROP ROLE {role}",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    execute(ledger.dsn, statement)


def test_no_login_of_one_ledger_ends_a_session_of_the_other(two):
    async def try_it(ledger: Ledger, other: Ledger) -> None:
        theirs, ours = await asyncpg.connect(other.dsn), await asyncpg.connect(ledger.dsn)
        pid = await theirs.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ours.fetchval("SELECT pg_terminate_backend($1)", pid)
        seen = await ours.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
        assert seen == "<insufficient privilege>"
        assert await theirs.fetchval("SELECT 1") == 1
        await theirs.close()
        await ours.close()

    asyncio.run(try_it(*two))
    asyncio.run(try_it(*two[::-1]))


def test_every_command_refuses_the_database_of_another_ledger(server, two, tmp_path):
    for ledger, other in (two, two[::-1]):
        before = value(server.superusers(other.database), "SELECT epoch FROM ledger.head")
        crossings = [
            server.address(other.database, ledger.login),  # its own login, the other's database
            other.dsn,  # the other's login and database
            server.superusers(other.database),
        ]
        for dsn in crossings:
            with elsewhere(dsn):
                for result in (
                    kashi("serve", "--data", ledger.data, "--port", 0),
                    kashi("rebuild", "--data", ledger.data),
                    kashi("recover", "--data", ledger.data),
                    kashi("token", "add", "--data", ledger.data, "clerk-2", "--role", "auditor"),
                    kashi("export", "--data", ledger.data, tmp_path / "out"),
                    kashi("backup", "--data", ledger.data, tmp_path / "backup"),
                ):
                    assert code(told(result)) == "missing_privilege"
        after = value(server.superusers(other.database), "SELECT epoch FROM ledger.head")
        assert before == after


def test_a_backup_of_one_ledger_is_not_restored_for_the_other(server, two, tmp_path):
    first, second = two
    with elsewhere(first.dsn):
        good(kashi("backup", "--data", first.data, tmp_path / "backup"))
    spare = server.database("kashi")
    with elsewhere(server.superusers(spare)):
        told(kashi("recover", "--data", second.data, "--from", tmp_path / "backup"))
    assert value(server.superusers(spare), "SELECT to_regnamespace('ledger') IS NULL")
