"""A cluster for tests: several `kashi serve --listen-leader`, each of real processes, one database.

async with clustered(database, tmp_path) as cluster:
    one, two = cluster.instances
    os.kill(cluster.leader, signal.SIGKILL)
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from ledger.note import Verifier, open_checkpoint
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.host.data_folder import DataFolder
from meter.service import setup
from tests.commands import PROGRAM, elsewhere, environment, good, kashi
from tests.fronts import Fronted
from tests.services import NOON, ORIGIN, Clock, ask, until

HOST = "127.0.0.1"
CONNECT_SECONDS = 1.0  # after which a client asks another machine


@dataclass
class Cluster:
    instances: list[Fronted]
    database: str

    async def holder(self) -> str:
        """Who has the lease, empty while nobody has."""
        rows = await ask(
            self.database, "SELECT holder FROM ledger.lease WHERE expires > clock_timestamp()"
        )
        return rows[0][0] if rows else ""

    async def leading(self, after: str = "") -> Fronted:
        """The instance that leads, as soon as one does, and by another lease than the one named."""
        found = []

        async def is_found() -> bool:
            holder = await self.holder()
            found[:] = [each for each in self.instances if holder in led(each)]
            return len(found) == 1 and holder != after

        await until(is_found)
        return found[0]

    async def following(self) -> list[Fronted]:
        leading = await self.leading()
        return [each for each in self.instances if each is not leading]

    async def is_ready(self, *instances: Fronted) -> None:
        """Wait until instances take posts, by default all."""

        async def are_ready() -> bool:
            asked = [each.get("/readyz") for each in instances or self.instances]
            return {answer.status for answer in await asyncio.gather(*asked)} == {200}

        await until(are_ready)

    async def is_away(self, instance: Fronted) -> None:
        """Wait until an instance takes no posts."""

        async def is_unready() -> bool:
            return (await instance.get("/readyz")).status == 503

        await until(is_unready)

    async def in_step(self) -> int:
        """Wait until all folders show all entries under one checkpoint; verify them."""
        ((size,),) = await ask(self.database, "SELECT size FROM ledger.head")

        async def is_shown() -> bool:
            notes = {checkpoint(each.folder) for each in self.instances}
            return len(notes) == 1 and open_checkpoint(notes.pop(), verifier(self)).size == size

        await until(is_shown)
        for each in self.instances:
            log, key = each.folder.log, verifier(self)
            report = await asyncio.to_thread(verify, log, key, Audit())
            assert (report.findings, report.size) == ([], size)
        return size


def checkpoint(folder: DataFolder) -> bytes:
    file = folder.log / "checkpoint"
    return file.read_bytes() if file.exists() else b""


def verifier(cluster: Cluster) -> Verifier:
    return Verifier.parse(cluster.instances[0].folder.log_vkey.read_text().strip())


def led(instance: Fronted) -> list[str]:
    """The leases under which an instance has led."""
    return [each["holder"] for each in instance.logged() if each["event"] == "leading"]


def make_machines(
    database: str, folder: Path, leading: int, others: int, hosts: Sequence[str] = ()
) -> list[DataFolder]:
    """Make a ledger and the data folders of so many machines, some of which never lead.

    All are at one host, unless `hosts` names one for each.
    """
    names = hosts or [HOST] * (leading + others)
    first = DataFolder(folder / "m0")
    init = ("init", "--data", first.path, "--origin", ORIGIN, "--one-person", "--now", NOON)
    with elsewhere(database):
        good(kashi(*init))
    cert = ("cluster", "cert", "--data", first.path)
    good(kashi(*cert, names[0]))
    machines = [first]
    for number in range(1, leading + others):
        out = folder / f"m{number}"
        words = ["--may-lead"] if number < leading else []
        good(kashi(*cert, "--out", out, *words, names[number]))
        machines.append(DataFolder(out))
    return machines


@asynccontextmanager
async def clustered(
    database: str, folder: Path, leading: int = 2, others: int = 0
) -> AsyncIterator[Cluster]:
    """Run so many instances that may lead, and others that never do."""
    machines = await asyncio.to_thread(make_machines, database, folder, leading, others)
    token = machines[0].token_of(setup.ONE_PERSON).read_text().strip()
    cluster = Cluster([], database)
    try:
        may_lead = [("--listen-leader", f"{HOST}:0")] * leading
        turns = zip(machines, [*may_lead, *[("--never-leads",)] * others], strict=True)
        starting = [started(database, data, token, *turn) for data, turn in turns]
        cluster.instances += await asyncio.gather(*starting)
        yield cluster
    finally:
        await asyncio.gather(*(each.stop() for each in cluster.instances))


async def started(
    database: str, data: DataFolder, token: str, *words: object, within: Sequence[str] = ()
) -> Fronted:
    """Start an instance, and wait until it answers; `within` is a command that runs a command."""
    log = data.path.with_suffix(".jsonl")
    serve = ("serve", "--data", data.path, "--port", 0, "--fronts", 1, "--now", NOON, *words)
    with log.open("ab") as errors:
        keeper = await asyncio.create_subprocess_exec(
            *(*within, *PROGRAM, *map(str, serve)),
            stdout=-1,
            stderr=errors,
            env=environment(database),
        )
    async with asyncio.timeout(60):
        line = (await keeper.stdout.readline()).decode()
    assert " listens on " in line, log.read_text()
    http = aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=64, force_close=True),
        timeout=aiohttp.ClientTimeout(total=60, sock_connect=CONNECT_SECONDS),
    )

    async def stop() -> None:
        await http.close()
        if keeper.returncode is None:
            for pid in service.parts("leader"):
                os.kill(pid, signal.SIGCONT)
            keeper.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                assert await keeper.wait() == 0, log.read_text()

    url = line.split()[-1]
    service = Fronted(
        data, database, url, Clock(NOON), None, None, http, stop, keeper=keeper, log=log
    )
    return service
