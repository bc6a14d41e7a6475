"""The measured processes: a PostgreSQL of our own, with fsync on, and `kashi serve`.

async with postgres() as server:
    ledger = await Ledger.make(server, "ingest")
    async with ledger.serving() as service:
        window = await closed_loop(service, supply, seconds)
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from meter.host.clock import Clock, clock_from
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.postgres import Embedded
from meter.values.units import parse_instant
from tests.bench.workload import NOW, ORIGIN, commands

# URLs and bodies of the authority's commands.
Opening = Iterable[tuple[str, dict[str, Any]]]

KASHI = Path(sys.executable).with_name("kashi")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_PATIENCE_SECONDS = 60
NOT_A_DISK = ("tmpfs", "ramfs")


@dataclass
class Server:
    """The database server, in a temporary folder that holds the ledgers too."""

    folder: Path
    postgres: Embedded

    async def create(self, name: str) -> str:
        """Make a database and return its DSN."""
        await execute(self.postgres.dsn, f'CREATE DATABASE "{name}"')
        return urlsplit(self.postgres.dsn)._replace(path=f"/{name}").geturl()

    async def kill(self) -> None:
        """Kill the postmaster as a power cut would, and wait until its processes are gone."""
        os.kill(self.postgres.pid, signal.SIGKILL)
        await self.postgres.wait()
        await self.postgres.stop()


@asynccontextmanager
async def postgres() -> AsyncIterator[Server]:
    """Start the database server; it and all ledgers are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kashi-bench-", dir=disk_folder()) as folder:
        Path(folder).chmod(0o711)  # the account that runs the server may have to pass through
        async with Embedded(Path(folder) / "postgres") as server:
            yield Server(Path(folder), server)


def disk_folder() -> str:
    """Choose a folder for temporary files whose fsync is a real one."""
    for folder in (tempfile.gettempdir(), "/var/tmp"):
        if file_system(Path(folder)) not in NOT_A_DISK:
            return folder
    sys.exit("the benchmark needs a disk: set TMPDIR to a folder that is not in memory")


def file_system(path: Path) -> str:
    """Return the name of the file system of a folder."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    parents = [str(path.resolve()), *map(str, path.resolve().parents)]
    return max(
        ((point, kind) for point, kind in mounts if point in parents), key=lambda m: len(m[0])
    )[1]


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@dataclass
class Service:
    """One process of `kashi serve`."""

    url: str
    process: asyncio.subprocess.Process
    token: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname

    @property
    def port(self) -> int:
        return urlsplit(self.url).port

    def cpu_seconds(self) -> float:
        """Return the processor time that the process and its children took."""
        return cpu_seconds(self.process.pid)

    def peak_bytes(self) -> int:
        """Return the largest resident memory that the process and its children have had."""
        return sum(map(_peak_bytes, family(self.process.pid)))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Ask the process to end, and wait."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
            await asyncio.wait_for(self.process.wait(), STOP_PATIENCE_SECONDS)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Ledger:
    """A ledger with open books, in a database of its own; its service runs when asked to."""

    name: str
    dsn: str
    data: DataFolder
    now: str = NOW
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.data.path.with_suffix(".log")

    @classmethod
    async def make(
        cls, server: Server, name: str, opening: Opening | None = None, now: str = NOW
    ) -> "Ledger":
        """Make a ledger and open its books through its own service."""
        ledger = cls(name, await server.create(name), DataFolder(server.folder / name), now)
        await ledger.kashi("init", "--origin", ORIGIN, "--one-person", "--now", now)
        async with ledger.serving() as running, aiohttp.ClientSession() as http:
            for number, (path, body) in enumerate(opening or commands()):
                headers = running.authorization | {"Idempotency-Key": f"opening-{number}"}
                data = json.dumps(body).encode()
                async with http.post(running.url + path, data=data, headers=headers) as answer:
                    assert answer.status == 201, await answer.text()
        return ledger

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {DATABASE_VARIABLE: self.dsn}

    async def kashi(self, command: str, *words: str) -> str:
        """Run a command of `kashi` that must succeed, and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(KASHI, *command.split(), "--data", self.data.path, *words),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, f"kashi {command} failed"
        return out.decode()

    @asynccontextmanager
    async def serving(self, port: int = 0, fronts: int = 0) -> AsyncIterator[Service]:
        running = await self.serve(port, fronts)
        try:
            yield running
        finally:
            await running.stop()

    async def serve(self, port: int = 0, fronts: int = 0) -> Service:
        """Start the service and wait until it listens; its log lies beside its data folder."""
        as_many = ("--fronts", str(fronts)) if fronts else ()
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(KASHI, "serve", "--data", self.data.path),
                *("--port", str(port), "--now", self.now, "--clock-is-right", *as_many),
                env=self.environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        line = (await process.stdout.readline()).decode()
        assert " listens on " in line, f"the service did not start: {self.log.read_text()[-2000:]}"
        token = self.data.token_of("authority").read_text().strip()
        return Service(line.split()[-1], process, token)

    def clock(self) -> Clock:
        return clock_from(parse_instant(self.now))


# Processes, read from /proc


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = []
    with suppress(FileNotFoundError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return [pid, *(each for child in children for each in family(child))]


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its descendants took."""
    return cpu_seconds_of(family(pid))


def cpu_seconds_of(pids: Iterable[int]) -> float:
    return sum(map(_cpu_seconds, pids))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]  # utime and stime of proc(5)
    return (int(user) + int(system)) / TICKS_PER_SECOND


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024
