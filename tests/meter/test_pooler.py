"""A real PgBouncer between the service and PostgreSQL: sessions of our own, or a refusal."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.roles import Roles
from meter.tables import connections
from tests.books import record
from tests.commands import code, elsewhere, kashi, told
from tests.conftest import execute
from tests.interop.programs import need
from tests.services import HOUR, ORIGIN, serving

PORT = 6432
OURS = ("role", "synchronous_commit", "default_transaction_isolation", "plan_cache_mode")
ROLES = Roles.of(ORIGIN)
# What a login can have by itself, so that a pooler may drop what we ask for.
DEFAULTS = {
    "role": ROLES.service,
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "plan_cache_mode": "force_generic_plan",
}


@dataclass(frozen=True)
class Pooled:
    """A ledger's database, and a login that a pooler lets in."""

    database: str
    login: str

    def by(self, folder: Path) -> str:
        """Return the address of the database by way of the pooler in a folder."""
        name = urlsplit(self.database).path[1:]
        return f"postgresql://{self.login}@/{name}?host={folder}&port={PORT}"

    def defaults(self, **changes: str) -> None:
        """Let the login's sessions begin with our settings, but for some."""
        for name, value in (DEFAULTS | changes).items():
            execute(self.database, f"ALTER ROLE {self.login} SET {name} = '{value}'")


@pytest.fixture
def pooled(database, tmp_path) -> Iterator[Pooled]:
    async def make() -> None:
        async with serving(database, tmp_path) as service:
            await service.open_books()

    asyncio.run(make())
    login = f"login_{uuid.uuid4().hex[:8]}"
    execute(database, f"CREATE ROLE {login} LOGIN IN ROLE {ROLES.service}")
    yield Pooled(database, login)
    execute(database, f"DROP ROLE {login}")


@contextmanager
def pgbouncer(pooled: Pooled, mode: str, ignored: tuple[str, ...], size: int = 20) -> Iterator[str]:
    """Run a pooler; `ignored` are settings that it drops without a word."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    need("pgbouncer", program)
    server = parse_qs(urlsplit(pooled.database).query)["host"][0]
    with tempfile.TemporaryDirectory(prefix="kashi-test-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{pooled.login}" ""\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host={server} port=5432\n[pgbouncer]\nlisten_addr =\n"
            f"listen_port = {PORT}\nunix_socket_dir = {folder}\nauth_type = trust\n"
            f"auth_file = {folder}/users\npool_mode = {mode}\ndefault_pool_size = {size}\n"
            f"ignore_startup_parameters = {','.join(ignored)}\n"
        )
        # It refuses to run as root; in a namespace only the name of root differs.
        nobody = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
        command = [*(nobody if os.geteuid() == 0 else ()), program, "-q", folder / "ini"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                asyncio.run(listening(folder / f".s.PGSQL.{PORT}", process))
                yield pooled.by(folder)
            finally:
                process.terminate()


async def listening(socket: Path, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.poll() is None
            try:
                _, writer = await asyncio.open_unix_connection(socket)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def refusal(dsn: str, tmp_path: Path) -> str:
    """Serve through a pooler that is to be refused; the line that says so."""
    with elsewhere(dsn):
        line = told(kashi("serve", "--data", tmp_path / "kashi", "--database-seconds", 0))
    assert code(line) == "unsafe_server"
    return line


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_that_refuses_our_settings_is_refused(pooled, tmp_path, mode):
    with pgbouncer(pooled, mode, ()) as dsn:
        assert "startup parameter" in refusal(dsn, tmp_path)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_that_drops_our_role_is_refused(pooled, tmp_path, mode):
    with pgbouncer(pooled, mode, OURS) as dsn:
        assert f"role = none, and {ROLES.service} was asked for" in refusal(dsn, tmp_path)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "off"),
        ("synchronous_commit", "local"),
        ("default_transaction_isolation", "serializable"),
        ("plan_cache_mode", "auto"),
    ],
)
def test_a_pooler_that_drops_a_setting_is_refused(pooled, tmp_path, setting, value):
    pooled.defaults(**{setting: value})
    with pgbouncer(pooled, "session", OURS) as dsn:
        assert f"the session has {setting} = {value}, and " in refusal(dsn, tmp_path)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused_by_every_command(pooled, tmp_path, mode):
    pooled.defaults()
    with pgbouncer(pooled, mode, OURS) as dsn:
        refusal(dsn, tmp_path)
        with elsewhere(dsn):
            for result in (
                kashi("rebuild", "--data", tmp_path / "kashi"),
                kashi("export", "--data", tmp_path / "kashi", tmp_path / "out"),
                kashi("backup", "--data", tmp_path / "kashi", tmp_path / "backup"),
            ):
                assert code(told(result)) == "unsafe_server"


def test_a_pooler_of_transactions_with_room_for_many_is_told_by_its_second_connection(
    pooled, tmp_path
):
    pooled.defaults()
    with pgbouncer(pooled, "transaction", OURS) as dsn:
        assert "two connections have one session" in refusal(dsn, tmp_path)


def test_a_pooler_that_keeps_sessions_apart_is_used(pooled, tmp_path):
    async def use(dsn: str) -> None:
        async with serving(dsn, tmp_path) as service:
            assert (await service.usage([record("r", "A", *HOUR, 64_000)])).status == 200
            assert (await service.balance())["granted"] == "144.00"
            assert (await service.get("/readyz")).status == 200

    pooled.defaults()
    with pgbouncer(pooled, "session", OURS) as dsn:
        asyncio.run(use(dsn))


def test_a_pooler_without_room_is_503_and_no_query_waits_for_ever(pooled, tmp_path):
    async def use(dsn: str) -> None:
        async with serving(dsn, tmp_path) as service, asyncio.timeout(120):
            queries = [service.get("/v1/contracts/A") for _ in range(24)]
            found = await asyncio.gather(*queries)
            by_status = Counter(answer.status for answer in found)
            assert by_status.keys() == {200, 503}
            assert {answer.code for answer in found if answer.status == 503} == {"unavailable"}
            # Readiness says no as long as there is none for it, and yes afterwards.
            pool = service.running.readers
            held = [await pool.acquire() for _ in range(2)]
            assert (await service.get("/readyz")).code == "unavailable"
            assert (await service.usage([record("r", "A", *HOUR, 64_000)])).status == 200
            for each in held:
                await pool.release(each)
            assert (await service.get("/readyz")).status == 200

    pooled.defaults()
    # For the writer, the publisher, the sender of alerts, and two of the eight for queries.
    assert connections.MAX_READERS == 8
    with pgbouncer(pooled, "session", OURS, size=5) as dsn:
        asyncio.run(use(dsn))
