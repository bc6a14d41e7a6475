"""`make ha`: break a cluster again and again under load, and count what was lost.

    make ha ARGS='--rounds 3 --fault leader --out /tmp/ha.json'

Each round breaks one thing and mends it. Before the next one, every receipt of the round is asked
for again, byte for byte. After each lap, one round of each fault, the folders of all machines are
compared and verified by every rule. What is done is kept in `--out`, and a run that was
interrupted goes on from there.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import aiohttp
import asyncpg
import msgspec

from ledger.note import claimed_checkpoint
from meter.service import setup
from tests.books import lifted, record
from tests.clusters import Cluster, checkpoint, led, make_machines, started
from tests.faults.page import PAGE, put
from tests.faults.processes import until
from tests.ha.network import CLIENTS, DATABASE, Network, missing_programs, own_network
from tests.ha.stage import Database, programs, url_of
from tests.services import HOUR, check_sums

MACHINES = 2
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
    network: Network

    async def leading(self) -> int:
        """The number of the machine that leads."""
        return self.cluster.instances.index(await self.cluster.leading())

    async def process(self) -> int:
        """The leader's process."""
        return (await self.cluster.leading()).leader


# Faults: each is a context that lasts until the load goes on, and mends what it broke


async def kill_leader(stage: Stage) -> None:
    os.kill(await stage.process(), signal.SIGKILL)


async def stop_leader(stage: Stage) -> None:
    """Stop the leader past its lease, and let it wake among those who follow."""
    pid, holder = await stage.process(), await stage.cluster.holder()
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
    async with unplugged(stage, DATABASE):
        await asyncio.sleep(QUIET_SECONDS)


async def unplug(stage: Stage) -> None:
    """Cut the leader's machine off from database, fronts and clients, until another leads."""
    async with unplugged(stage, DATABASE, CLIENTS):
        await asyncio.sleep(QUIET_SECONDS)


@contextlib.asynccontextmanager
async def unplugged(stage: Stage, *switches: str) -> AsyncIterator[None]:
    """Unplug the leader's machine, and go on once another leads; plug it in again afterwards."""
    holder, number = await stage.cluster.holder(), await stage.leading()
    for switch in switches:
        stage.network.unplug(switch, number)
    try:
        await stage.cluster.leading(after=holder)
        yield
    finally:
        for switch in switches:
            stage.network.plug_in(switch, number)


async def part(stage: Stage) -> None:
    """Part the leader from the other machine's fronts, both of which reach the database."""
    holder, (other,) = await stage.cluster.holder(), await stage.cluster.following()
    stage.network.part(is_parted=True)
    try:
        await stage.cluster.is_away(other)
        await asyncio.sleep(QUIET_SECONDS)
        assert await stage.cluster.holder() == holder, "the leader has its lease all the while"
    finally:
        stage.network.part(is_parted=False)


async def switch_over(stage: Stage) -> None:
    await stage.database.switch_over()


Fault = Callable[[Stage], Awaitable[None]]
FAULTS: dict[str, tuple[str, Fault]] = {
    "leader": ("kill −9 of the leader", kill_leader),
    "stopped": ("SIGSTOP and SIGCONT of the leader", stop_leader),
    "cut": ("the leader's machine is cut off from the database", cut_off),
    "parted": ("the leader is cut off from the other machine's fronts", part),
    "unplugged": ("the leader's machine is cut off from everything", unplug),
    "etcd": ("kill −9 of etcd's leader", kill_etcd),
    "switch": ("a switch-over of the database by hand", switch_over),
    "database": ("kill −9 of the database's leader", kill_database),
    "both": ("kill −9 of both leaders at once", kill_both),
}


class Round(msgspec.Struct):
    """What came of breaking one thing once.

    `gap` is the longest time without an answer, and `taking` the longest from a lease that was
    taken to a leader that serves, both in seconds; `load` is the machine's.
    """

    acknowledged: int
    lost: int
    doubled: int
    forks: int
    gap: float
    taking: float
    load: float


class Verified(msgspec.Struct):
    """A ledger that was verified on each machine, and how often its leader changed."""

    entries: int = 0
    batches: int = 0
    turns: int = 0


class Done(msgspec.Struct):
    """What is kept of all runs."""

    rounds: dict[str, list[Round]] = {}
    ledgers: list[Verified] = []

    @property
    def is_good(self) -> bool:
        rounds = [each for held in self.rounds.values() for each in held]
        return not any(each.lost or each.doubled or each.forks for each in rounds)


async def one_round(stage: Stage, load: Load, fault: Fault) -> Round:
    """Break one thing under load; return the counts of this round."""
    load.receipts.clear()
    load.answered.clear()
    load.ended = False
    await stage.cluster.is_ready()
    load.answered.append(time.monotonic())  # from here on, silence is a gap
    began = datetime.now(UTC)
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
    gaps = [later - earlier for earlier, later in itertools.pairwise(load.answered)]
    return Round(
        acknowledged=len(load.receipts),
        lost=await lost(load),
        doubled=await doubled(stage, load),
        forks=sum(len(roots) > 1 for roots in load.checkpoints.values()),
        gap=round(max(gaps), 1),
        taking=round(max(taking_seconds(stage, began), default=0.0), 1),
        load=round(os.getloadavg()[0], 1),
    )


def taking_seconds(stage: Stage, began: datetime) -> list[float]:
    """Return how long each takeover since then took, from the lease to a leader that serves."""
    logged = [each for instance in stage.cluster.instances for each in instance.logged()]
    times = {
        (each["event"], each["holder"]): datetime.fromisoformat(each["time"])
        for each in logged
        if each["event"] in {"lease_taken", "leading"}
    }
    return [
        (at - times["lease_taken", holder]).total_seconds()
        for (event, holder), at in times.items()
        if event == "leading" and at > began
    ]


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


async def verified(stage: Stage, load: Load) -> Verified:
    """Verify the folders of all machines by every rule, and the sums of the database."""
    size = await stage.cluster.in_step()
    state = await check_sums(stage.database.url)
    batches = sum(load.numbers.values())
    assert len(state.records) == batches, "each client has a receipt of each batch, and of no more"
    turns = sum(len(led(each)) for each in stage.cluster.instances)
    return Verified(size, batches, turns)


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Start everything in this network, with the books open."""
    network = Network(MACHINES)
    await network.start()
    database = Database(folder)
    cluster = Cluster([], database.url)
    try:
        await database.start()
        primary = url_of([database.ports[await database.leader()]])
        hosts = network.hosts
        machines = await asyncio.to_thread(make_machines, primary, folder, MACHINES, 0, hosts)
        # A standby that does not know the roles yet would refuse a session, which ends a start.
        await database.has_replayed()
        token = machines[0].token_of(setup.ONE_PERSON).read_text().strip()
        for n, (host, data) in enumerate(zip(hosts, machines, strict=True)):
            # The ledger's day is not today, and the database is another host with a clock.
            words = ("--clock-is-right", "--host", host, "--listen-leader", f"{host}:0")
            within = network.within(n)
            instance = await started(database.url, data, token, *words, within=within)
            cluster.instances.append(instance)
        await cluster.is_ready()
        await cluster.instances[0].open_books(lifted())
        yield Stage(database, cluster, network)
    finally:
        await asyncio.gather(*(each.stop() for each in cluster.instances), return_exceptions=True)
        await database.stop()
        network.stop()


class Drill:
    """So many rounds of each fault, less those that were done before."""

    def __init__(self, names: list[str], rounds: int, out: Path | None) -> None:
        self._names = names
        self._rounds = rounds
        self._out = out
        is_kept = out is not None and out.exists()
        self.done = msgspec.json.decode(out.read_bytes(), type=Done) if is_kept else Done()
        for name in names:
            self.done.rounds.setdefault(name, [])

    async def run(self) -> None:
        """Do what is missing, a round of each fault after another, and keep each at once."""
        if not self._missing():
            return
        running = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with tempfile.TemporaryDirectory(prefix="kashi-ha-") as name:
            folder = Path(name)
            folder.chmod(0o711)
            async with staged(folder) as stage:
                load = Load(stage.cluster)
                self.done.ledgers.append(Verified())
                while missing := self._missing():
                    for fault in missing:
                        self._of(fault).append(await one_round(stage, load, FAULTS[fault][1]))
                        self._tell(fault)
                        self._keep()
                    self.done.ledgers[-1] = await verified(stage, load)
                    self._keep()
                    say(f"verified on each machine: {self.done.ledgers[-1]}")

    def _missing(self) -> list[str]:
        return [name for name in self._names if len(self._of(name)) < self._rounds]

    def _of(self, fault: str) -> list[Round]:
        return self.done.rounds[fault]

    def _tell(self, fault: str) -> None:
        count = sum(min(self._rounds, len(self._of(name))) for name in self._names)
        how_far = f"{count} of {self._rounds * len(self._names)}"
        say(f"{datetime.now(UTC):%H:%M:%S} {how_far}, {FAULTS[fault][0]}: {self._of(fault)[-1]}")

    def _keep(self) -> None:
        if self._out is not None:
            self._out.write_bytes(msgspec.json.format(msgspec.json.encode(self.done), indent=1))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(done: Done) -> str:
    """Return what came of it, as Markdown."""
    head = ("fault", "times", "acknowledged", "lost", "doubled", "forks")
    head += ("longest gap, s", "median", "taking over, s", "load")
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name in (each for each in FAULTS if done.rounds.get(each)):
        rounds = done.rounds[name]
        sums = [sum(getattr(r, key) for r in rounds) for key in ("acknowledged", "lost", "doubled")]
        gaps = [r.gap for r in rounds]
        middle = [median(getattr(r, key) for r in rounds) for key in ("taking", "load")]
        counts = [f"{each:,}" for each in (len(rounds), *sums, max(r.forks for r in rounds))]
        figures = [f"{each:.1f}" for each in (max(gaps), median(gaps), *middle)]
        lines.append(f"| {' | '.join([FAULTS[name][0], *counts, *figures])} |")
    return "\n".join([*lines, "", *map(_line, filter(_is_verified, done.ledgers))])


def _is_verified(ledger: Verified) -> bool:
    return ledger.batches > 0


def _line(ledger: Verified) -> str:
    return (
        f"Verified on each machine by every rule, and equal to the receipts: {ledger.batches:,}"
        f" batches in {ledger.entries:,} entries, over {ledger.turns} turns of leaders."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make ha", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="all by default")
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--page", action="store_true", help="write the table into its page")
    given = parser.parse_args()
    missing = [*missing_programs(), *({"etcd", "patroni", "patronictl"} - programs().keys())]
    if missing:
        sys.exit(f"{', '.join(sorted(missing))} not found: see docs/reliability.md")
    own_network()
    if given.out is not None:
        given.out.parent.mkdir(exist_ok=True)
    drill = Drill(given.fault or list(FAULTS), given.rounds, given.out)
    try:
        asyncio.run(drill.run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("stopped; what is done is kept in --out")
    finally:
        say(table(drill.done))
        if given.page:
            write_page(drill.done)
    sys.exit(0 if drill.done.is_good else 1)


def write_page(done: Done) -> None:
    """Write the table into docs/reliability.md."""
    day = datetime.now(UTC).date().isoformat()
    text = f"Made by `make ha` on {day}.\n\n{table(done)}"
    PAGE.write_text(put(PAGE.read_text(), text, "<!-- ha: begin -->", "<!-- ha: end -->"))


if __name__ == "__main__":
    main()
