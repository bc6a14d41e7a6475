"""`make ha`: break a cluster again and again under load, and count what was lost.

    make ha ARGS='--rounds 3 --fault leader --out /tmp/ha.json'

Each round breaks one thing and mends it. Before the next one, every receipt of the round is asked
for again, byte for byte, and the folders of all machines are compared; at the end they are verified
by every rule. What is done is kept in `--out`, and a run that was interrupted goes on from there.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import asyncpg

from ledger.note import claimed_checkpoint
from meter.service import setup
from tests.books import lifted, record
from tests.clusters import HOST, Cluster, checkpoint, led, make_machines, started
from tests.faults.page import PAGE, put
from tests.faults.processes import until
from tests.fronts import Fronted
from tests.ha.line import Line
from tests.ha.stage import Database, programs, url_of
from tests.services import HOUR, check_sums

STREAMS = 4
POST_SECONDS = 3.0  # after which a client asks another machine
QUIET_SECONDS = 1.0  # of load before and after a fault
AWAY_SECONDS = 20.0  # of a database that was killed; Patroni takes 15 to miss it

Receipts = dict[tuple[str, int], bytes]


@dataclass
class Load:
    """Clients that post all the time, at whichever machine takes it."""

    cluster: Cluster
    receipts: Receipts = field(default_factory=dict)
    answered: list[float] = field(default_factory=list)  # when each receipt came
    checkpoints: dict[int, set[bytes]] = field(default_factory=dict)  # roots by size, as shown
    ended: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    async def post(self, stream: str, seq: int, place: int) -> bytes:
        """Post a batch until it has a receipt; return that."""
        one = record(f"{stream}:{seq}", "A", *HOUR, 1)
        while True:
            asked = self.cluster.instances[place % len(self.cluster.instances)]
            data = asked.envelope([one], seq=seq, stream=stream)
            place += 1
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(POST_SECONDS):
                    answer = await asked.send("POST", "/v1/usage", data)
                if answer.status == 200:
                    return answer.body
                assert answer.status == 503, answer.body
            await asyncio.sleep(0.02)

    async def client(self, stream: str) -> None:
        while not self.ended:
            seq = self.numbers[stream] = self.numbers.get(stream, 0) + 1
            self.receipts[stream, seq] = await self.post(stream, seq, seq)
            self.answered.append(time.monotonic())
            await asyncio.sleep(0.005)

    async def watch(self) -> None:
        """Keep each root that any machine shows."""
        while not self.ended:
            for each in self.cluster.instances:
                note = checkpoint(each.folder)
                if note:
                    found = claimed_checkpoint(note)
                    self.checkpoints.setdefault(found.size, set()).add(found.root)
            await asyncio.sleep(0.02)


@dataclass
class Stage:
    database: Database
    cluster: Cluster
    lines: list[Line]

    async def leading(self) -> Fronted:
        return await self.cluster.leading()


# Faults: each is a context that lasts until the load goes on, and mends what it broke


async def kill_leader(stage: Stage) -> None:
    os.kill((await stage.leading()).leader, signal.SIGKILL)


async def stop_leader(stage: Stage) -> None:
    """Stop the leader past its lease, and let it wake among those who follow."""
    pid, holder = (await stage.leading()).leader, await stage.cluster.holder()
    os.kill(pid, signal.SIGSTOP)
    await stage.cluster.leading(after=holder)
    os.kill(pid, signal.SIGCONT)


async def kill_database(stage: Stage) -> None:
    node = await stage.database.leader()
    stage.database.kill_database(node)
    await asyncio.sleep(AWAY_SECONDS)
    stage.database.patronis[node].start()


async def kill_both(stage: Stage) -> None:
    await kill_leader(stage)
    await kill_database(stage)


async def kill_etcd(stage: Stage) -> None:
    node = await stage.database.etcd_leader()
    stage.database.etcds[node].kill()
    await asyncio.sleep(QUIET_SECONDS)
    stage.database.etcds[node].start()


async def cut_off(stage: Stage) -> None:
    """Cut the leader's machine off from the database, and mend that once another leads."""
    holder, leading = await stage.cluster.holder(), await stage.leading()
    line = stage.lines[stage.cluster.instances.index(leading)]
    line.cut()
    try:
        await stage.cluster.leading(after=holder)
        await asyncio.sleep(QUIET_SECONDS)
    finally:
        line.mend()


async def switch_over(stage: Stage) -> None:
    await stage.database.switch_over()


Fault = Callable[[Stage], Awaitable[None]]
FAULTS: dict[str, tuple[str, Fault]] = {
    "leader": ("kill −9 of the leader", kill_leader),
    "stopped": ("SIGSTOP and SIGCONT of the leader", stop_leader),
    "cut": ("the leader's machine is cut off from the database", cut_off),
    "etcd": ("kill −9 of etcd's leader", kill_etcd),
    "switch": ("a switch-over of the database by hand", switch_over),
    "database": ("kill −9 of the database's leader", kill_database),
    "both": ("kill −9 of both leaders at once", kill_both),
}


async def one_round(stage: Stage, load: Load, fault: Fault) -> dict:
    """Break one thing under load; return the counts of this round."""
    load.receipts.clear()
    load.answered.clear()
    load.ended = False
    clients = [asyncio.create_task(load.client(f"s{n}")) for n in range(STREAMS)]
    clients.append(asyncio.create_task(load.watch()))
    await asyncio.sleep(QUIET_SECONDS)
    await fault(stage)
    before = len(load.answered)
    await until(lambda: len(load.answered) >= before + 10 * STREAMS, "the load to go on")
    await stage.database.is_whole()
    await stage.cluster.is_ready()
    await asyncio.sleep(QUIET_SECONDS)
    load.ended = True
    await asyncio.gather(*clients)
    gaps = [
        later - earlier for earlier, later in zip(load.answered, load.answered[1:], strict=False)
    ]
    return {
        "acknowledged": len(load.receipts),
        "lost": await lost(load),
        "doubled": await doubled(stage, load),
        "forks": sum(len(roots) > 1 for roots in load.checkpoints.values()),
        "gap": round(max(gaps), 1),
    }


async def lost(load: Load) -> int:
    """How many batches no longer have the receipt that was given."""
    found = 0
    for (stream, seq), receipt in load.receipts.items():
        found += await load.post(stream, seq, seq) != receipt
    return found


async def doubled(stage: Stage, load: Load) -> int:
    """How many batches are there more than once."""
    connection = await asyncpg.connect(stage.database.url)
    try:
        held = await connection.fetch("SELECT stream, seq, count(*) FROM meter.batch GROUP BY 1, 2")
    finally:
        await connection.close()
    return sum(row["count"] > 1 for row in held if (row["stream"], row["seq"]) in load.receipts)


@contextlib.asynccontextmanager
async def staged(folder: Path):
    """Start everything on loopback, with the books open."""
    database = Database(folder)
    lines = [Line(database.ports) for _ in range(2)]
    cluster = Cluster([], database.url)
    try:
        await database.start()
        # A standby may not know the roles yet, which a session at it would be refused for.
        primary = url_of([database.ports[await database.leader()]])
        machines = await asyncio.to_thread(make_machines, primary, folder, 2, 0)
        token = machines[0].token_of(setup.ONE_PERSON).read_text().strip()
        for line, data in zip(lines, machines, strict=True):
            await line.start()
            words = ("--listen-leader", f"{HOST}:0")
            cluster.instances.append(await started(url_of(line.ports), data, token, *words))
        await cluster.is_ready()
        await cluster.instances[0].open_books(lifted())
        yield Stage(database, cluster, lines)
    finally:
        await asyncio.gather(*(each.stop() for each in cluster.instances), return_exceptions=True)
        for line in lines:
            line.stop()
        await database.stop()


Done = dict[str, list[dict]]


async def drill(names: list[str], rounds: int, out: Path | None) -> Done:
    """Run what is missing of so many rounds of each fault; return the counts of all."""
    done: Done = {}
    if out is not None and out.exists():
        done = json.loads(out.read_text())
    with tempfile.TemporaryDirectory(prefix="kashi-ha-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with staged(folder) as stage:
            load = Load(stage.cluster)
            for fault in names:
                held = done.setdefault(fault, [])
                while len(held) < rounds:
                    held.append(await one_round(stage, load, FAULTS[fault][1]))
                    say(f"{FAULTS[fault][0]}, round {len(held)}: {held[-1]}")
                    if out is not None:
                        out.write_text(json.dumps(done, indent=1))
            size = await stage.cluster.in_step()
            await check_sums(stage.database.url)
            turns = sum(len(led(each)) for each in stage.cluster.instances)
            say(f"{size} entries, verified on each machine, after {turns} turns\n")
    return done


def is_good(done: Done) -> bool:
    return not any(r["lost"] or r["doubled"] or r["forks"] for held in done.values() for r in held)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(done: Done) -> str:
    lines = [
        "| fault | times | acknowledged | lost | doubled | forks | longest gap, s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rounds in done.items():
        if rounds:
            sums = [sum(r[key] for r in rounds) for key in ("acknowledged", "lost", "doubled")]
            worst = [max(r[key] for r in rounds) for key in ("forks", "gap")]
            cells = [f"{each:,}" for each in (len(rounds), *sums, *worst)]
            lines.append(f"| {' | '.join([FAULTS[name][0], *cells])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make ha", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="all by default")
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--page", action="store_true", help="write the table into its page")
    given = parser.parse_args()
    missing = {"etcd", "patroni", "patronictl"} - programs().keys()
    if missing:
        sys.exit(f"{', '.join(sorted(missing))} not found: see docs/reliability.md")
    names = given.fault or list(FAULTS)
    if given.out is not None:
        given.out.parent.mkdir(exist_ok=True)
    done = asyncio.run(drill(names, given.rounds, given.out))
    say(table(done))
    if given.page:
        day = datetime.now(UTC).date().isoformat()
        text = f"Made by `make ha` on {day}.\n\n{table(done)}"
        shown = put(PAGE.read_text(), text, "<!-- ha: begin -->", "<!-- ha: end -->")
        PAGE.write_text(shown)
    sys.exit(0 if is_good(done) else 1)


if __name__ == "__main__":
    main()
