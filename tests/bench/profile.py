"""The cost of a submission: the time of each stage for a record.

The stages of `meter/intake.py` are run here one after the other on groups of signed batches, with a
real database, and timed with this process's own CPU clock; what the clock on the wall shows beyond
that is waiting for PostgreSQL. Then the real service takes the same batches from the load
generator: what its process costs beyond the sum of the stages is HTTP, the event loop and metrics.
"""

import base64
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ledger import store as ledger_store
from ledger.canon import encode
from ledger.log import Log
from meter.host.clock import Clock
from meter.host.metrics import Tally
from meter.rules.decide import Decided, decide
from meter.rules.entries import FLOORED_CLASSES
from meter.rules.measure import Work, days_of, is_measurable
from meter.rules.plain import Run
from meter.rules.state import State, StoredBatch
from meter.tables import connections, load, write
from meter.tables.load import Named
from meter.tables.rows import Written, note_batch, note_group, note_rows, note_run
from meter.wire.batch import SignedBatch, parse_batch
from meter.wire.dsse import BATCH_TYPE, Envelope, ReceiptSigner, is_signed_by, parse
from meter.wire.receipt import Before
from tests.bench.load import Feeds, Supply, closed_loop
from tests.bench.report import Say, Section, Table
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service, cpu_seconds
from tests.bench.workload import ORIGIN
from tests.books import signer
from tests.services import address_of

RECEIPTS = ReceiptSigner("receipt-1", signer("receipt"))
MICRO = 1e6
NOW = "now"  # the name of a profile that is not kept as a step


@dataclass(frozen=True)
class Case:
    """Batches of `records`, committed `group` at a time; `clients` is the load on the service."""

    records: int
    group: int
    clients: int

    @property
    def name(self) -> str:
        batch = "records" if self.records > 1 else "record"
        return f"{self.records} {batch} a batch, {self.clients} clients"


CASES = (Case(500, 8, 8), Case(1, 64, 64))


@dataclass
class Stages:
    """Seconds by stage: CPU of this process, and waiting."""

    cpu: dict[str, float] = field(default_factory=dict)
    waited: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        cpu = time.process_time() - cpu
        wall = time.perf_counter() - wall
        self.cpu[name] = self.cpu.get(name, 0.0) + cpu
        self.waited[name] = self.waited.get(name, 0.0) + max(0.0, wall - cpu)


@dataclass(frozen=True)
class Cost:
    """Microseconds a record by stage, of the whole service, of PostgreSQL; and records a second."""

    cpu: dict[str, float]
    waited: dict[str, float]
    service: float
    database: float
    rate: float


async def run(server: Server, scale: Scale, say: Say) -> Section:
    """Profile all cases, first in this process and then in the service."""
    ledger, feeds, seconds = await Ledger.make(server, "profile"), Feeds(), scale.profile_seconds
    costs = []
    for place, case in enumerate(CASES):
        say(f"stages, {case.name}", place / len(CASES))
        cpu, waited = await _in_process(ledger, feeds, case, seconds)
        say(f"service, {case.name}", (place + 0.5) / len(CASES))
        async with ledger.serving() as service:
            whole = await _in_service(server, service, feeds, case, seconds)
        costs.append(Cost(cpu, waited, *whole))
    return Section("profile", [_table(costs)], kept={NOW: [asdict(cost) for cost in costs]})


def with_steps(section: Section, earlier: Section | None, step: str) -> Section:
    """Keep this profile under the name of a step, and show all steps that were kept."""
    kept = dict(earlier.kept) if earlier is not None else {}
    kept.pop(NOW, None)
    kept[step or NOW] = section.kept[NOW]
    tables = [_step_table(kept, place) for place in range(len(CASES))] if len(kept) > 1 else []
    return replace(section, tables=section.tables + tables, kept=kept)


async def _in_process(
    ledger: Ledger, feeds: Feeds, case: Case, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    pipeline = await Pipeline.open(ledger)
    supply, records = Supply(feeds, case.group, case.records), 0
    try:
        await pipeline.settle(_group(supply))  # what is loaded and prepared once is not counted
        gc.freeze()  # nor is the generator's own memory to be searched for garbage
        pipeline.stages = Stages()
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            await pipeline.settle(_group(supply))
            records += case.group * case.records
    finally:
        gc.unfreeze()
        await pipeline.close()
    stages = pipeline.stages
    return _micros(stages.cpu, records), _micros(stages.waited, records)


def _group(supply: Supply) -> list[bytes]:
    supply.top_up(1)
    return [waiting.popleft().data for waiting in supply.waiting]


def _micros(seconds: dict[str, float], records: int) -> dict[str, float]:
    return {name: MICRO * each / records for name, each in seconds.items()}


async def _in_service(
    server: Server, service: Service, feeds: Feeds, case: Case, seconds: float
) -> tuple[float, float, float]:
    """Return CPU of service and database in microseconds a record, and records a second."""
    supply = Supply(feeds, case.clients, case.records)
    supply.top_up(round(seconds * (5_000 if case.records == 1 else 50_000)))
    ours, theirs = service.cpu_seconds(), cpu_seconds(server.postgres.pid)
    window = await closed_loop(service, supply, seconds)
    ours, theirs = service.cpu_seconds() - ours, cpu_seconds(server.postgres.pid) - theirs
    return MICRO * ours / window.records, MICRO * theirs / window.records, window.rate


class Pipeline:
    """The steps of the sequencer on one connection, stage by stage for a whole group."""

    def __init__(
        self, connection: connections.Connection, epoch: int, log: Log, state: State, clock: Clock
    ) -> None:
        self.stages = Stages()
        self._connection = connection
        self._epoch = epoch
        self._log = log
        self._state = state
        self._clock = clock

    @classmethod
    async def open(cls, ledger: Ledger) -> "Pipeline":
        connection = await connections.connect(address_of(ledger.dsn, ORIGIN))
        head = await ledger_store.take_over(connection)
        log = await ledger_store.load_log(connection, head, FLOORED_CLASSES)
        state = await load.load_state(connection, head)
        return cls(connection, head.epoch, log, state, ledger.clock())

    async def close(self) -> None:
        await self._connection.close()

    async def settle(self, posted: list[bytes]) -> None:
        stages, state, log = self.stages, self._state, self._log
        with stages("envelope: JSON and base64"):
            envelopes = [parse(data, BATCH_TYPE) for data in posted]
        with stages("batch signature (Ed25519)"):
            assert all(map(self._is_good, envelopes))
        with stages("batch: strict JSON and hashes"):
            pairs = zip(envelopes, posted, strict=True)
            batches = [parse_batch(envelope, data) for envelope, data in pairs]
        with stages("look up what is known"):
            await self._look_up(batches)
        with stages("decide"):
            before = Before(log.size, base64.b64encode(log.root()).decode())
            decided = [
                decide(state, batch, self._now(), before, "00" * 16, by_groups=True)
                for batch in batches
            ]
        with stages("encode other entries"):
            encoded = [_encoded(each) for each in decided]
        first = log.size
        with stages("append: books and tree"):
            self._append(decided, encoded)
        with stages("receipt signature (Ed25519)"):
            signatures = [RECEIPTS.sign(each.receipt) for each in decided]
        with stages("note rows"):
            written = self._rows(batches, decided, encoded, signatures, first)
        with stages("close the group"):
            entries, touched = log.take_group(), state.take_touched()
            note_group(written, state, touched, first)
        with stages("write and commit"):
            async with self._connection.transaction():
                await ledger_store.append(self._connection, self._epoch, entries)
                await write.write(self._connection, state, touched, written)
        state.forget()

    def _is_good(self, envelope: Envelope) -> bool:
        key = self._state.keys[envelope.keyid].public_key
        return is_signed_by(key, BATCH_TYPE, envelope.payload, envelope.signature)

    async def _look_up(self, batches: list[SignedBatch]) -> None:
        named, days, state = Named(), set(), self._state
        for signed in batches:
            batch = signed.batch
            named.batches.add((batch.provider, batch.stream, batch.seq))
            for record in batch.records:
                named.records.add((batch.provider, record.id))
                if is_measurable(record):
                    work = Work(record.device, record.milli_devices, record.start, record.end)
                    days.update(days_of(state.contracts[record.contract], work))
        await load.load_named(self._connection, state, named)
        await load.load_device_time(self._connection, state, days)

    def _now(self) -> int:
        return max(self._clock.now(), self._state.last_at)

    def _append(self, decided: list[Decided], encoded: list[list[bytes]]) -> None:
        for each, datas in zip(decided, encoded, strict=True):
            for part, data in zip(each.parts, datas, strict=True):
                if isinstance(part, Run):
                    self._log.extend(part.entries, part.at, part.postings)
                else:
                    self._log.append(data, part.at, part.postings)

    def _rows(
        self,
        batches: list[SignedBatch],
        decided: list[Decided],
        encoded: list[list[bytes]],
        signatures: list[str],
        first: int,
    ) -> Written:
        written, tally, number = Written(), Tally(), first
        for signed, each, datas, signature in zip(
            batches, decided, encoded, signatures, strict=True
        ):
            stored = StoredBatch(each.place, signed.payload_sha256, each.receipt, signature)
            note_batch(written, signed, stored, each.results)
            for part, data in zip(each.parts, datas, strict=True):
                if isinstance(part, Run):
                    note_run(written, part, number)
                    number += len(part.entries)
                else:
                    note_rows(written, self._state, number, part, data)
                    number += 1
                tally.add(part.postings)
        return written


def _encoded(decided: Decided) -> list[bytes]:
    """Return the bytes of a batch's entries, and nothing for runs of plain records."""
    return [b"" if isinstance(part, Run) else encode(part) for part in decided.parts]


def _table(costs: list[Cost]) -> Table:
    """Show each case as two columns: CPU, and waiting where it matters."""
    head = ("µs a record", *(name for case in CASES for name in (case.name, "waiting")))
    rows = [
        (stage, *(text for cost in costs for text in _cells(cost.cpu[stage], cost.waited[stage])))
        for stage in costs[0].cpu
    ]
    beside = [cost.service - sum(cost.cpu.values()) for cost in costs]
    rows += [
        ("HTTP, event loop, metrics", *_alone(beside)),
        ("**service process, all**", *_alone([cost.service for cost in costs])),
        ("PostgreSQL's processes", *_alone([cost.database for cost in costs])),
        ("records/s meanwhile", *(text for cost in costs for text in (f"{cost.rate:,.0f}", ""))),
    ]
    return Table(head, rows)


def _step_table(kept: dict[str, list[dict[str, Any]]], place: int) -> Table:
    """Show how one case changed from step to step."""
    costs = {step: costs[place] for step, costs in kept.items()}
    stages = list(dict.fromkeys(stage for cost in costs.values() for stage in cost["cpu"]))
    rows = [
        (stage, *(_figure(cost["cpu"].get(stage)) for cost in costs.values())) for stage in stages
    ]
    rows += [
        (name, *(f"{cost[key]:,.1f}" for cost in costs.values()))
        for name, key in (("**service process, all**", "service"), ("PostgreSQL", "database"))
    ]
    rows.append(("records/s", *(f"{cost['rate']:,.0f}" for cost in costs.values())))
    return Table(("µs of CPU a record", *costs), rows, f"Step by step, {CASES[place].name}:")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _cells(cpu: float, waited: float) -> tuple[str, str]:
    return f"{cpu:.1f}", f"{waited:.1f}" if waited >= 0.05 * cpu else ""


def _alone(values: list[float]) -> list[str]:
    return [text for value in values for text in (f"{value:.1f}", "")]
