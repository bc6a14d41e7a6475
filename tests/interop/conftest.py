"""Ledgers that are made once, because they take some seconds."""

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.interop.ledgers import Ledger, empty, grown
from tests.services import Service, serving


@pytest.fixture(scope="session")
def ledger(postgres: str) -> Iterator[Ledger]:
    """A ledger at the sizes where tiles begin and end, and one without entries beside it."""
    with tempfile.TemporaryDirectory(prefix="kashi-interop-") as name:
        sizes = [1, 2, 255, 256, 257, 65_536, 65_537]
        made = _made(postgres, Path(name), sizes, 5_000)
        made.folders[0] = empty(made.signer, Path(name) / "0")
        yield made


@pytest.fixture(scope="session")
def small_ledger(postgres: str) -> Iterator[Ledger]:
    """A ledger of 300 entries and many small batches, also at size 257."""
    with tempfile.TemporaryDirectory(prefix="kashi-interop-") as name:
        yield _made(postgres, Path(name), [257, 300], 20)


def _made(postgres: str, home: Path, sizes: list[int], batch_records: int) -> Ledger:
    async def make() -> Ledger:
        async with _served(postgres, home) as service:
            return await grown(service, home, sizes, batch_records)

    # With a factory, the runner leaves the thread's current event loop alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(make())


@asynccontextmanager
async def _served(postgres: str, home: Path) -> AsyncIterator[Service]:
    """Run a service on a database of its own, which outlives no test session."""
    name = f"kashi_test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        async with serving(urlsplit(postgres)._replace(path=f"/{name}").geturl(), home) as service:
            yield service
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder for files of the programs."""
    with tempfile.TemporaryDirectory(prefix="kashi-interop-") as name:
        yield Path(name)
