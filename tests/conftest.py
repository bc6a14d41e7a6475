"""What many tests need: a real PostgreSQL, an empty database of one's own, the real data."""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import ledger
import meter
from ledger import book
from ledger.sources import is_compiled
from meter.host.postgres import Embedded
from meter.languages import language_of

# What commands tell is compared in English, wherever the tests run.
if language_of(os.environ) != "en":
    os.environ["LC_ALL"] = "C.UTF-8"

PREFIX = "kashi-test-"
MEMORY = Path("/dev/shm")
NEW_SECONDS = 60  # a folder may not be locked yet
ROOM_BYTES = 2 << 30  # for the servers of all workers, of some 200 MB each


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are cores, for a test often waits for its server."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Scheduling(config, log)


class Scheduling(LoadScopeScheduling):
    """Hands out each test by itself, but those of `interop/` and of `slurm/` together and first.

    They share ledgers, programs and a cluster that take long to make. The marks of pytest-xdist for
    this have no effect with pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        for shared in ("interop", "slurm"):
            if nodeid.startswith(f"tests/{shared}/"):
                return shared
        return nodeid


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_report_header() -> str:
    return f"rules: {'compiled' if is_compiled(book) else 'as written'}"


def pytest_sessionstart() -> None:
    """Refuse to test what was compiled from other sources than those that are here."""
    remove_left_servers(MEMORY)
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
    with server() as dsn:
        yield dsn


@contextmanager
def server() -> Iterator[str]:
    """Yield a superuser's DSN of a server, which stops afterwards."""
    # Its loop is its own and runs only here, for each test has a loop that ends with the test.
    with memory_folder() as folder, own_loop() as runner:
        server = Embedded(folder)
        dsn = runner.run(server.start())
        # Its write-ahead log would fill the memory.
        execute(dsn, "ALTER SYSTEM SET max_wal_size = '96MB'")
        execute(dsn, "SELECT pg_reload_conf()")
        yield dsn
        runner.run(server.stop())


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Yield a folder, in memory where there is room, for no test of it cuts the power.

    Not in tmp_path, whose parents are closed to the account that may have to run a server.
    """
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    place = MEMORY if in_memory else None
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name, in_use(Path(name)):
        folder = Path(name)
        folder.chmod(0o711)  # that account passes through
        yield folder


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Lock a folder while it is used. Raises `BlockingIOError`, where somebody else uses it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_left_servers(place: Path) -> None:
    """Remove folders of tests that were killed, for what is in memory stays there."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError), in_use(folder):
            if folder.stat().st_mtime < time.time() - NEW_SECONDS:
                shutil.rmtree(folder)


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
