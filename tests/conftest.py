"""What many tests need: a real PostgreSQL, an empty database of one's own, the real data."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

import ledger
import meter
from ledger import book
from ledger.sources import is_compiled
from meter.host.postgres import Embedded


def pytest_report_header() -> str:
    return f"rules: {'compiled' if is_compiled(book) else 'as written'}"


def pytest_sessionstart() -> None:
    """Refuse to test what was compiled from other sources than those that are here."""
    for package in (ledger, meter):
        for source in stale_sources(Path(package.__path__[0])):
            pytest.exit(f"{source} was changed after it was compiled: make setup", 2)


def stale_sources(package: Path) -> list[Path]:
    """Return the files of a package and its rooms that are newer than what was compiled of them."""
    libraries = package.rglob("*.so")
    pairs = [(each, each.with_name(each.name.partition(".")[0] + ".py")) for each in libraries]
    return [
        source
        for library, source in pairs
        if not source.exists() or source.stat().st_mtime > library.stat().st_mtime
    ]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A superuser's DSN: the server in KASHI_TEST_DATABASE_URL, else one for this session."""
    named = os.environ.get("KASHI_TEST_DATABASE_URL")
    if named:
        yield named
        return
    # Its loop is its own and runs only here, for each test has a loop that ends with the test.
    # Not in tmp_path, whose parents are closed to the account that may have to run the server.
    with tempfile.TemporaryDirectory(prefix="kashi-test-") as folder, own_loop() as runner:
        server = Embedded(Path(folder))
        yield runner.run(server.start())
        runner.run(server.stop())


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The DSN of a new, empty database, dropped after the test whoever is connected."""
    name = f"kashi_test_{uuid.uuid4().hex[:12]}"
    execute(postgres, f"CREATE DATABASE {name}")
    yield urlsplit(postgres)._replace(path=f"/{name}").geturl()
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def spare(database: str, postgres: str) -> Iterator[str]:
    """The DSN of another empty database."""
    name = f"{urlsplit(database).path[1:]}_spare"
    execute(postgres, f"CREATE DATABASE {name}")
    yield urlsplit(postgres)._replace(path=f"/{name}").geturl()
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real traces, where there is one."""
    folder = os.environ.get("KASHI_REAL_DATA")
    if not folder:
        pytest.skip("KASHI_REAL_DATA is not set")
    return Path(folder)


def execute(dsn: str, sql: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    with own_loop() as runner:
        runner.run(run())


def own_loop() -> asyncio.Runner:
    # With a factory, the runner leaves the thread's current event loop alone.
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)
