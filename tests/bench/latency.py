"""Latency against load: batches that are due at a constant rate, whether answers come or not.

First the maximum is measured with a closed loop, then shares of it are offered. A latency begins
when its batch was due, so what waits because the service is late counts in full.
"""

from dataclasses import dataclass, field
from statistics import median

from tests.bench.load import Feeds, Supply, Window, closed_loop, open_loop, percentile
from tests.bench.report import Curve, Line, Say, Section, Table, ms
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service

LOADS = ((1, 64), (500, 16))  # records a batch, connections
MARGIN = 2  # of batches signed beforehand, over what is measured first


@dataclass
class Case:
    """Batches of this many records; the answers at each share of the maximum, in seconds."""

    records: int
    clients: int
    supply: Supply
    maximum: float = 0.0  # batches a second
    latencies: dict[int, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.records} a batch" if self.records > 1 else "single records"

    async def find_maximum(self, service: Service, scale: Scale) -> None:
        windows: list[Window] = []
        for _ in range(scale.rounds):
            known = windows[-1].rate if windows else 3_000 if self.records == 1 else 30_000
            self.supply.top_up(round(known * scale.latency_seconds * MARGIN))
            windows.append(await closed_loop(service, self.supply, scale.latency_seconds))
        self.maximum = median(window.batch_rate for window in windows)

    async def offer(self, service: Service, share: int, seconds: float) -> None:
        rate = self.maximum * share / 100
        self.supply.top_up(round((rate * seconds + 1) * self.records))
        window = await open_loop(service, self.supply, rate, seconds)
        self.latencies.setdefault(share, []).extend(window.latencies)


async def run(server: Server, scale: Scale, say: Say) -> Section:
    ledger, feeds = await Ledger.make(server, "latency"), Feeds()
    cases = [Case(records, clients, Supply(feeds, clients, records)) for records, clients in LOADS]
    async with ledger.serving() as service:
        for case in cases:
            say(f"the most that is taken, {case.name}", 0.0)
            await case.find_maximum(service, scale)
        for number in range(scale.rounds):
            for share in scale.latency_shares:
                for case in cases:
                    say(f"{share} % of the most, {case.name}", number / scale.rounds)
                    await case.offer(service, share, scale.latency_seconds)
    return Section("latency", [_table(cases)], curves=[_curve(cases)])


def _table(cases: list[Case]) -> Table:
    head = ("load", *(text for case in cases for text in _head(case)))
    rows = [
        (f"{share} %", *(text for case in cases for text in _cells(case, share)))
        for share in cases[0].latencies
    ]
    return Table(head, rows)


def _head(case: Case) -> tuple[str, ...]:
    return f"{case.name}: records/s", "p50 ms", "p99 ms"


def _cells(case: Case, share: int) -> tuple[str, ...]:
    latencies = case.latencies[share]
    offered = f"{case.maximum * case.records * share / 100:,.0f}"
    return offered, ms(percentile(latencies, 0.50)), ms(percentile(latencies, 0.99))


def _curve(cases: list[Case]) -> Curve:
    lines = [
        Line(
            f"{case.name}, {name}",
            [(share, 1_000 * percentile(each, part)) for share, each in case.latencies.items()],
        )
        for case in cases
        for name, part in (("p50", 0.50), ("p99", 0.99))
    ]
    title = "Latency against load"
    x = "load, % of the most that is taken"
    return Curve("latency-by-load", title, x, "ms", lines, logarithmic_y=True)
