"""A service of real processes for tests: `kashi serve --fronts`, and each front by itself.

async with fronted(database, tmp_path) as service:
    async with service.at(front) as asked:      # over a connection that this front took
        await asked.usage(…)
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from meter.host.data_folder import DataFolder
from meter.service import setup
from tests.commands import PROGRAM, elsewhere, environment, good, kashi
from tests.services import NOON, ORIGIN, Clock, Service, until


@dataclass
class Fronted(Service):
    """The processes of one service, asked as any client asks it."""

    keeper: asyncio.subprocess.Process = None
    log: Path = None

    def parts(self, role: str) -> list[int]:
        """The processes of a role."""
        return [pid for pid in children(self.keeper.pid) if f"\0part\0{role}\0" in words(pid)]

    @property
    def leader(self) -> int:
        (pid,) = self.parts("leader")
        return pid

    @property
    def fronts(self) -> list[int]:
        return self.parts("front")

    async def kill(self, pid: int) -> None:
        """Kill a process, and wait until another one has its place and serves."""
        before = self.lines("leader_found")
        role = "leader" if pid == self.leader else "front"
        wanted = before + (len(self.fronts) if role == "leader" else 1)
        os.kill(pid, signal.SIGKILL)

        async def is_there() -> bool:
            return self.lines("leader_found") >= wanted and pid not in self.parts(role)

        await until(is_there)

    def lines(self, event: str) -> int:
        """How often an event was logged."""
        return sum(each["event"] == event for each in self.logged())

    def logged(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]

    @asynccontextmanager
    async def at(self, pid: int) -> AsyncIterator[Service]:
        """Ask over one connection, which a front of our choice has taken."""
        while True:
            connector = aiohttp.TCPConnector(limit=1)
            headers, timeout = self.http.headers, self.http.timeout
            session = aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout)
            async with session as http:
                service = replace(self, http=http)
                await service.get("/healthz")
                if pid in owners(connector):
                    yield service
                    return


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def owners(connector: aiohttp.TCPConnector) -> set[int]:
    """Return the processes that hold the other end of a connector's connections."""
    (kept,) = connector._conns.values()
    port = kept[0][0].transport.get_extra_info("sockname")[1]
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in table]
    inodes = {f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) == port}
    return {int(each.parts[2]) for each in Path("/proc").glob("[0-9]*/fd") if holds(each, inodes)}


def holds(folder: Path, inodes: set[str]) -> bool:
    try:
        return any(str(each.readlink()) in inodes for each in folder.iterdir())
    except OSError:
        return False


@asynccontextmanager
async def fronted(
    database: str | None, folder: Path, fronts: int = 2, *options: object
) -> AsyncIterator[Fronted]:
    """Run a service with fronts, making the ledger where there is none."""
    data, log = DataFolder(folder / "kashi"), folder / "log.jsonl"
    if not data.path.exists():
        init = ("init", "--data", data.path, "--origin", ORIGIN, "--one-person", "--now", NOON)
        with elsewhere(database or ""):
            good(await asyncio.to_thread(kashi, *init))
    serve = ("serve", "--data", data.path, "--port", 0, "--fronts", fronts, "--now", NOON, *options)
    with log.open("ab") as errors:
        keeper = await asyncio.create_subprocess_exec(
            *PROGRAM, *map(str, serve), stdout=-1, stderr=errors, env=environment(database)
        )
    async with asyncio.timeout(60):
        line = (await keeper.stdout.readline()).decode()
    assert " listens on " in line, log.read_text()
    url = line.split()[-1]
    token = data.token_of(setup.ONE_PERSON).read_text().strip()
    http = aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=64, force_close=True),
        timeout=aiohttp.ClientTimeout(total=60),
    )

    async def stop() -> None:
        if keeper.returncode is None:
            keeper.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                assert await keeper.wait() == 0, log.read_text()

    async with http:
        service = Fronted(
            data, database, url, Clock(NOON), None, None, http, stop, keeper=keeper, log=log
        )
        try:
            yield service
        finally:
            await stop()
