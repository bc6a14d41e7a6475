"""The published log: its delay after the commits, the cost of its proofs, and its size.

Two ledgers. One grows to a million entries in batches of 500 records from 8 clients. The other is
first given a single record now and then, with nothing else to do, and then single records from 64
clients. Another process watches the file of the checkpoint meanwhile (`watching`). A delay runs
from the moment when a client has its answer, so that its batch is durable, to the moment when a
checkpoint that covers the batch is seen.

At last proofs about entries by chance are made from the files of the larger log, each as if nothing
had been read before, and asked of its service, one at a time.
"""

import asyncio
import json
import random
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path
from typing import Any

from ledger.folder import FolderReader
from ledger.note import Verifier, claimed_checkpoint
from ledger.proof import Proof, check
from ledger.tiles import CHECKPOINT, Tile
from ledger.tlog import TILE_WIDTH, check_consistency
from tests.bench.asking import ask
from tests.bench.load import Feeds, Supply, Window, closed_loop, open_loop, percentile
from tests.bench.report import Bar, Curve, Line, Say, Section, Table, ms
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service
from tests.bench.watching import size_of

BATCH_RECORDS, BATCH_CLIENTS, SINGLE_CLIENTS = 500, 8, 64
STEP_RECORDS = 50_000  # the ledger grows by so many at once, for the curve
IDLE_RATE = 20  # records a second, when there is nothing else to do
PATIENCE_SECONDS = 60  # for a checkpoint that has to come

BAR_DELAY_SECONDS = 0.25
MILLION = 1_000_000
MICRO = 1e6
BLOCK_BYTES = 512  # of `st_blocks`, on every file system
PARTS = ("entries", "hashes", "batches")

IN_BATCHES = f"{BATCH_RECORDS} a batch, {BATCH_CLIENTS} clients"
SINGLY = f"single records, {SINGLE_CLIENTS} clients"
IDLE = f"a single record {IDLE_RATE} times a second"

PROVE_ENTRY, CHECK_ENTRY = "an entry: proof from tiles", "an entry: check"
CHECK_FILE = "an entry: read and check a `.tlog-proof`, the log's signature too"
ASK_PROOF = "an entry: `GET /v1/entries/{n}/proof`"
PROVE_GROWTH, CHECK_GROWTH = "an older size: proof from tiles", "an older size: check"

Seen = tuple[float, int]  # when a checkpoint was seen, and its size


@dataclass
class Load:
    """The windows of one load on one ledger; `delays` are known when watching has ended."""

    name: str
    windows: list[Window] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # entries after each window
    delays: list[list[float]] = field(default_factory=list)  # seconds, by window

    @property
    def all_delays(self) -> list[float]:
        return list(chain.from_iterable(self.delays))

    def take(self, window: Window) -> None:
        self.windows.append(window)
        self.sizes.append(max(size for _, size in window.answers))

    def find_delays(self, seen: list[Seen]) -> None:
        """Return, from the seen moments and sizes, how long each answer was not yet covered."""
        sizes = [size for _, size in seen]
        for window in self.windows:
            covered = (seen[bisect_left(sizes, size)][0] for _, size in window.answers)
            pairs = zip(covered, window.answers, strict=True)
            # A checkpoint may be seen before the answer has come.
            self.delays.append([max(0.0, moment - answered) for moment, (answered, _) in pairs])


@dataclass(frozen=True)
class Weight:
    """The bytes of a published log of this many entries, by kind of file."""

    records: int  # a batch
    entries: int
    files: int
    parts: Counter[str]  # named as in `PARTS`, and the checkpoint
    on_disk: int  # in whole blocks, folders included


async def run(server: Server, scale: Scale, say: Say) -> Section:
    batches = await Ledger.make(server, "published")
    singles = await Ledger.make(server, "published-singly")
    loads = [await _grow(batches, scale, say), *await _load_singly(singles, scale, say)]
    say("proofs", 0.95)
    proofs = await _prove(batches, scale.proofs)
    weights = [weigh(batches.data.log, BATCH_RECORDS), weigh(singles.data.log, 1)]
    tables = [_delay_table(loads), _proof_table(proofs), _weight_table(weights)]
    return Section("published", tables, [_bar(loads[:2])], [_curve(loads[0])])


async def _grow(ledger: Ledger, scale: Scale, say: Say) -> Load:
    """Fill a ledger, in windows of equally many records."""
    load, supply, size = Load(IN_BATCHES), Supply(Feeds(), BATCH_CLIENTS, BATCH_RECORDS), 0
    async with _watched(ledger, load) as service:
        while size < scale.published_entries:
            say(f"{size:,} entries, {load.name}", 0.7 * size / scale.published_entries)
            supply.top_up(min(STEP_RECORDS, scale.published_entries - size))
            load.take(await closed_loop(service, supply))
            size = load.sizes[-1]
    return load


async def _load_singly(ledger: Ledger, scale: Scale, say: Say) -> tuple[Load, Load]:
    """Post single records now and then, and afterwards as fast as they go."""
    idle, busy, feeds = Load(IDLE), Load(SINGLY), Feeds()
    async with _watched(ledger, busy, idle) as service:
        say(idle.name, 0.7)
        supply = Supply(feeds, clients=1, records=1)
        supply.top_up(round(scale.idle_seconds * IDLE_RATE) + 1)
        idle.take(await open_loop(service, supply, IDLE_RATE, scale.idle_seconds))
        say(busy.name, 0.8)
        supply = Supply(feeds, SINGLE_CLIENTS, records=1)
        supply.top_up(scale.published_singly)
        busy.take(await closed_loop(service, supply))
    return busy, idle


@asynccontextmanager
async def _watched(ledger: Ledger, *loads: Load) -> AsyncIterator[Service]:
    """Run the service and watch its checkpoints until they cover all that was answered."""
    async with ledger.serving() as service, watching(ledger.data.log) as seen:
        yield service
        await _until_published(ledger, max(load.sizes[-1] for load in loads))
    for load in loads:
        load.find_delays(seen)


@asynccontextmanager
async def watching(log: Path) -> AsyncIterator[list[Seen]]:
    """Let another process watch the checkpoint; its record is there after the body."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.watching", log),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert await process.stdout.readline(), "the watching did not begin"
    seen: list[Seen] = []
    try:
        yield seen
    finally:
        out, _ = await process.communicate(b"")  # which ends its input, and so the watching
    seen += map(tuple, json.loads(out))


async def _until_published(ledger: Ledger, size: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while size_of(ledger.data.log / CHECKPOINT) < size:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)


# Proofs


class Proofs:
    """Makes and checks proofs of random entries, and keeps the time of each step."""

    def __init__(self, ledger: Ledger) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._reader = FolderReader(ledger.data.log)
        self._verifier = Verifier.parse(ledger.data.log_vkey.read_text().strip())
        self._note = self._reader.checkpoint()
        self._checkpoint = claimed_checkpoint(self._note)
        self.size = self._checkpoint.size
        self._chance = random.Random(self.size)

    def prove_entry(self) -> None:
        index, size = self._chance.randrange(self.size), self.size
        entry = self._entry(index)
        hashes = self._timed(PROVE_ENTRY, self._reader.tree(size).inclusion_proof, index, size)
        proof = Proof(index, tuple(hashes), self._note)
        self._timed(CHECK_ENTRY, proof.check_entry, entry, self._checkpoint)
        self._timed(CHECK_FILE, self._check_file, proof.format(), entry)

    def prove_growth(self) -> None:
        old, size, root = self._chance.randrange(1, self.size), self.size, self._checkpoint.root
        old_root = self._reader.tree(size).root(old)
        hashes = self._timed(PROVE_GROWTH, self._reader.tree(size).consistency_proof, old, size)
        self._timed(CHECK_GROWTH, check_consistency, old, old_root, size, root, hashes)

    def ask(self, connection: HTTPConnection) -> None:
        index = self._chance.randrange(self.size)
        file = self._timed(ASK_PROOF, ask, connection, f"/v1/entries/{index}/proof", {})
        self._check_file(file, self._entry(index))

    def _timed(self, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        result = call(*arguments)
        self.seconds[what].append(time.perf_counter() - began)
        return result

    def _check_file(self, file: bytes, entry: bytes) -> None:
        check(Proof.parse(file), entry, self._verifier)

    def _entry(self, index: int) -> bytes:
        tile, place = divmod(index, TILE_WIDTH)
        width = min(TILE_WIDTH, self.size - tile * TILE_WIDTH)
        return self._reader.entries(Tile("entries", tile, width))[place]


async def _prove(ledger: Ledger, count: int) -> Proofs:
    """Make proofs from the files, and then let the service make them."""
    proofs = Proofs(ledger)
    for _ in range(count):
        proofs.prove_entry()
        proofs.prove_growth()
    async with ledger.serving() as service:
        connection = HTTPConnection(service.host, service.port)
        for _ in range(count):
            proofs.ask(connection)
    return proofs


# Size


def weigh(log: Path, records: int) -> Weight:
    """Add up the files of a published log; `records` are those of its batches."""
    parts: Counter[str] = Counter()
    files = blocks = 0
    for path in log.rglob("*"):
        status = path.lstat()
        blocks += status.st_blocks
        if path.is_file():
            files += 1
            parts[_part(path.relative_to(log))] += status.st_size
    return Weight(records, size_of(log / CHECKPOINT), files, parts, blocks * BLOCK_BYTES)


def _part(path: Path) -> str:
    match path.parts:
        case ("tile", "entries", *_):
            return "entries"
        case ("tile", *_):
            return "hashes"
        case (name, *_):
            return name


# As text


def _delay_table(loads: list[Load]) -> Table:
    head = ("load", "responses", "p50 ms", "p99 ms", "most ms")
    rows = [
        (
            load.name,
            f"{len(load.all_delays):,}",
            *(ms(percentile(load.all_delays, share)) for share in (0.5, 0.99, 1.0)),
        )
        for load in loads
    ]
    return Table(head, rows, "From the response to a checkpoint that covers its batch:")


def _proof_table(proofs: Proofs) -> Table:
    rows = [
        (what, *(f"{MICRO * percentile(each, share):,.0f}" for share in (0.5, 0.99)))
        for what, each in proofs.seconds.items()
    ]
    return Table(("what", "p50 µs", "p99 µs"), rows, f"Proofs in a log of {proofs.size:,} entries:")


def _weight_table(weights: list[Weight]) -> Table:
    head = ("records a batch", "entries made", *PARTS, "all", "on the disk", "files")
    rows = [
        (f"{each.records:,}", f"{each.entries:,}", *map("{:,.0f}".format, _per_million(each)))
        for each in weights
    ]
    return Table(head, rows, "MB for a million entries, in proportion to the entries made:")


def _per_million(weight: Weight) -> list[float]:
    """Return MB of each part, of all and on the disk, and the number of files."""
    sizes = [weight.parts[part] for part in PARTS]
    in_megabytes = [
        each / weight.entries for each in (*sizes, weight.parts.total(), weight.on_disk)
    ]
    return [*in_megabytes, weight.files * MILLION / weight.entries]


def _bar(loads: list[Load]) -> Bar:
    """Compare the worst load's p99 with the bar."""
    delays = [percentile(load.all_delays, 0.99) for load in loads]
    measured = ", ".join(
        f"{ms(delay)} ms with {load.name}" for delay, load in zip(delays, loads, strict=True)
    )
    wanted = f"≤ {BAR_DELAY_SECONDS * 1_000:.0f} ms"
    return Bar("publish delay under load, p99", wanted, measured, max(delays) <= BAR_DELAY_SECONDS)


def _curve(load: Load) -> Curve:
    lines = [
        Line(
            f"{load.name}, {name}",
            [
                (size, 1_000 * percentile(delays, share))
                for size, delays in zip(load.sizes, load.delays, strict=True)
            ],
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
    return Curve("publish-delay", "Publish delay, by size of the ledger", "entries", "ms", lines)
