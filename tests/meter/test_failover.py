"""A real standby takes the primary's place: the service comes back by itself, also at a start."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from meter.host.postgres import Embedded, find_binaries
from tests.books import record
from tests.commands import code, elsewhere, good, kashi, started, told
from tests.services import HOUR, ask, check_sums, serving, until

ORIGIN = "kashi.test/failover"
INIT = ("init", "--origin", ORIGIN, "--one-person")
BINARIES = find_binaries()


def folder_of(dsn: str) -> str:
    return parse_qs(urlsplit(dsn).query)["host"][0]


class Pair:
    """A primary and its standby; `address` names both, and means the one that takes writes."""

    def __init__(self, primary: Embedded, standby: str) -> None:
        self.primary = primary
        self.standby = standby  # its DSN
        hosts = f"host={folder_of(primary.dsn)},{folder_of(standby)}&port=5432,5432"
        query = f"{hosts}&target_session_attrs=primary"
        self.address = urlsplit(primary.dsn)._replace(query=query).geturl()

    async def fail(self) -> None:
        """End the primary; all that it has written is with the standby."""
        await self.primary.stop()

    async def promote(self) -> None:
        assert (await ask(self.standby, "SELECT pg_promote()"))[0][0]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="kashi-test-") as name:
        folder = Path(name)
        primary = Embedded(folder / "primary", BINARIES)
        await primary.start()
        async with standby_of(primary, folder / "standby") as standby:
            yield Pair(primary, standby)
        await primary.stop()


@asynccontextmanager
async def standby_of(primary: Embedded, folder: Path) -> AsyncIterator[str]:
    """Copy the primary and run the copy as its standby."""
    folder.mkdir(mode=0o700)
    data = folder / "data"
    words = (
        f"--dbname={primary.dsn}",
        f"--pgdata={data}",
        "--write-recovery-conf",
        "--wal-method=stream",
    )
    await asyncio.to_thread(
        subprocess.run, [BINARIES.folder / "pg_basebackup", "--checkpoint=fast", *words], check=True
    )
    command = [BINARIES.folder / "postgres", "-D", data, "-c", f"unix_socket_directories={folder}"]
    nobody = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
    prefix = nobody if os.geteuid() == 0 else ()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*prefix, *command, "-c", "listen_addresses="], stderr=log)
    try:
        dsn = urlsplit(primary.dsn)._replace(query=f"host={folder}&port=5432").geturl()
        await until_it_answers(dsn)
        yield dsn
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.wait, 60)


async def until_it_answers(dsn: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await ask(dsn, "SELECT 1")
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_running_service_goes_on_with_the_standby(pair, tmp_path):
    async with serving(pair.address, tmp_path) as service:
        await service.open_books()
        first = await service.usage([record("r1", "A", *HOUR, 64_000)])
        assert first.status == 200
        await pair.fail()
        assert (await service.usage([record("r2", "A", *HOUR, 1)], seq=2)).code == "unavailable"
        assert (await service.get("/readyz")).code == "unavailable"
        await pair.promote()

        async def is_taken() -> bool:
            return (await service.usage([record("r2", "A", *HOUR, 1)], seq=2)).status == 200

        await until(is_taken)
        assert (await service.usage([record("r1", "A", *HOUR, 64_000)])).body == first.body
        assert (await service.get("/readyz")).status == 200
    await check_sums(pair.standby)


@pytest.mark.parametrize("address", ["both", "the standby's"])
async def test_a_start_waits_for_the_standby_to_take_writes(pair, tmp_path, address):
    data = tmp_path / "data"
    with elsewhere(pair.address):
        good(await asyncio.to_thread(kashi, *INIT, "--data", data))
    await pair.fail()
    dsn = pair.address if address == "both" else pair.standby
    with elsewhere(dsn):
        words = ("serve", "--data", data, "--port", 0, "--database-seconds")
        line = told(await asyncio.to_thread(kashi, *words, 0))
    assert code(line) == ("unavailable" if address == "both" else "read_only")
    process = started(dsn, *words, 300)
    waits = await asyncio.to_thread(process.stderr.readline)
    assert "database_awaited" in waits
    await pair.promote()
    assert " listens on http://" in await asyncio.to_thread(process.stdout.readline)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, errors


async def test_a_signal_ends_a_start_that_waits(pair, tmp_path):
    data = tmp_path / "data"
    with elsewhere(pair.address):
        good(await asyncio.to_thread(kashi, *INIT, "--data", data))
    process = started(pair.standby, "serve", "--data", data, "--port", 0)
    assert "database_awaited" in await asyncio.to_thread(process.stderr.readline)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.endswith("kashi: interrupted: SIGTERM came before the end\n")


async def test_a_database_that_is_set_to_take_writes_again_is_awaited_at_a_start(
    database, postgres, tmp_path
):
    data, name = tmp_path / "data", urlsplit(database).path[1:]
    with elsewhere(database):
        good(await asyncio.to_thread(kashi, *INIT, "--data", data))
    await ask(postgres, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    process = started(database, "serve", "--data", data, "--port", 0, "--database-seconds", 300)
    waits = await asyncio.to_thread(process.stderr.readline)
    assert '"code":"read_only"' in waits.replace(" ", "")
    await ask(postgres, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert " listens on http://" in await asyncio.to_thread(process.stdout.readline)
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
