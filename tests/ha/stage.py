"""What the drill runs: three nodes of etcd, three of Patroni with PostgreSQL, two of Kashi.

The files of `deploy/ha/` are filled in for one host, and nothing else is set. PostgreSQL is that of
the wheel; etcd is Debian's (etcd-server), and Patroni is installed by `make interop`.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template

import aiohttp
import asyncpg

from meter.host.postgres import find_binaries
from tests.faults.processes import until
from tests.ha.network import DATABASE_HOST as HOST
from tests.ha.network import DATABASE_NETWORK

FILES = Path(__file__).parents[2] / "deploy" / "ha"
PATRONI = Path(sys.prefix) / "interop" / "patroni"  # by `tests/interop/install`
PASSWORD = secrets.token_hex(16)
PATRONI_PATH = {"PYTHONPATH": str(PATRONI)}
NODES = ("a", "b", "c")
START_SECONDS = 120.0


def programs() -> dict[str, str]:
    """Return where etcd and Patroni's programs are, those that are installed."""
    found = {
        "etcd": shutil.which("etcd"),
        "patroni": shutil.which("patroni", path=PATRONI / "bin"),
        "patronictl": shutil.which("patronictl", path=PATRONI / "bin"),
    }
    return {name: place for name, place in found.items() if place is not None}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((HOST, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def url_of(ports: list[int]) -> str:
    """Return the address of whichever node at these ports takes writes."""
    hosts, numbers = ",".join([HOST] * len(ports)), ",".join(map(str, ports))
    query = f"host={hosts}&port={numbers}&target_session_attrs=primary"
    return f"postgresql://postgres:{PASSWORD}@/postgres?{query}"


@dataclass
class Node:
    """A process that is started again as it was."""

    name: str
    words: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Database:
    """Three nodes of Patroni over three of etcd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = programs()
        ports = free_ports(12)
        self._etcd_ports, self._peer_ports = ports[:3], ports[3:6]
        self._rest_ports, self.ports = ports[6:9], ports[9:]
        self.etcds = [self._etcd(n) for n in range(3)]
        self.patronis = [self._patroni(n) for n in range(3)]

    @property
    def url(self) -> str:
        return url_of(self.ports)

    def _etcd(self, n: int) -> Node:
        peers = ",".join(
            f"{name}=http://{HOST}:{port}"
            for name, port in zip(NODES, self._peer_ports, strict=True)
        )
        text = Template((FILES / "etcd.env").read_text()).substitute(
            NODE=NODES[n],
            HOST=HOST,
            DATA=self.folder / f"etcd-{NODES[n]}",
            PORT=self._etcd_ports[n],
            PEER_PORT=self._peer_ports[n],
            PEERS=peers,
        )
        lines = (line for line in text.splitlines() if line[:1] != "#")
        environment = dict(line.split("=", 1) for line in lines)
        log = self.folder / f"etcd-{NODES[n]}.log"
        return Node(NODES[n], [self._programs["etcd"]], environment, log)

    def _patroni(self, n: int) -> Node:
        text = Template((FILES / "patroni.yml").read_text()).substitute(
            NODE=NODES[n],
            HOST=HOST,
            NETWORK=DATABASE_NETWORK,
            DATA=self.folder / f"postgres-{NODES[n]}",
            BIN=find_binaries().folder,
            PORT=self.ports[n],
            REST_PORT=self._rest_ports[n],
            ETCD_HOSTS=",".join(f"{HOST}:{port}" for port in self._etcd_ports),
            PASSWORD=PASSWORD,
        )
        file = self.folder / f"patroni-{NODES[n]}.yml"
        file.write_text(text)
        nobody = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
        words = [*(nobody if os.geteuid() == 0 else []), self._programs["patroni"], str(file)]
        log = self.folder / f"patroni-{NODES[n]}.log"
        return Node(NODES[n], words, PATRONI_PATH, log)

    async def start(self) -> None:
        for each in (*self.etcds, *self.patronis):
            each.start()
        await self.is_whole()

    async def members(self) -> list[dict]:
        """The nodes as Patroni tells them, by any that answers."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            for port in self._rest_ports:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"http://{HOST}:{port}/cluster") as answer:
                        return (await answer.json())["members"]
        return []

    async def leader(self) -> int:
        """The place of the node that takes writes."""
        found = [m["name"] for m in await self.members() if m["role"] == "leader"]
        return NODES.index(found[0])

    async def is_whole(self) -> None:
        """Wait for a leader, and two standbys that stream, one of them synchronous."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                members = await self.members()
                roles = sorted(m["role"] for m in members)
                states = {m["state"] for m in members}
                if roles == ["leader", "replica", "sync_standby"] and states <= {
                    "running",
                    "streaming",
                }:
                    return
                await asyncio.sleep(0.5)

    async def has_replayed(self) -> None:
        """Wait until both standbys show all that the leader has committed so far."""
        connection = await asyncpg.connect(url_of([self.ports[await self.leader()]]))
        level = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= $1::text::pg_lsn"
        try:
            written = await connection.fetchval("SELECT pg_current_wal_lsn()::text")
            async with asyncio.timeout(START_SECONDS):
                while await connection.fetchval(level, written) < len(NODES) - 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        finally:
            await connection.close()

    def kill_database(self, n: int) -> None:
        """Kill Patroni and its PostgreSQL at once, as a machine that loses power."""
        file = self.folder / f"postgres-{NODES[n]}" / "postmaster.pid"
        self.patronis[n].kill()
        os.kill(int(file.read_text().split()[0]), signal.SIGKILL)

    async def switch_over(self) -> None:
        """Hand the database over to the standby, as an operator does."""
        members = await self.members()
        (leader,) = (m["name"] for m in members if m["role"] == "leader")
        (standby,) = (m["name"] for m in members if m["role"] == "sync_standby")
        words = ["switchover", "kashi", "--leader", leader, "--candidate", standby, "--force"]
        config = str(self.folder / f"patroni-{standby}.yml")
        process = await asyncio.create_subprocess_exec(
            *(self._programs["patronictl"], "-c", config, *words),
            env=os.environ | PATRONI_PATH,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()

    async def etcd_leader(self) -> int:
        """The place of etcd's own leader."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            for n, port in enumerate(self._etcd_ports):
                url = f"http://{HOST}:{port}/v3/maintenance/status"
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.post(url, data=json.dumps({})) as answer:
                        told = await answer.json()
                        if told["header"]["member_id"] == told["leader"]:
                            return n
        raise LookupError("etcd has no leader")

    async def stop(self) -> None:
        """End all; the drill keeps nothing of it."""
        for each in self.patronis:
            if each.process is not None and each.process.poll() is None:
                each.process.terminate()
        with contextlib.suppress(Exception):
            await until(
                lambda: all(each.process.poll() is not None for each in self.patronis),
                "Patroni's end",
            )
        for each in (*self.patronis, *self.etcds):
            if each.process is not None and each.process.poll() is None:
                each.kill()
