"""Ingestion: each size of batch with each number of clients, beside a COPY of bare rows.

For every cell the rounds alternate, a COPY and a window of load, and the ratio is that of the two
medians. It is shown and has no bar: `ratios.py` measures against what this job cannot do without.
The rounds go through all cells in turn, so each cell meets the ledger at every size.
"""

from dataclasses import dataclass, field
from itertools import chain
from statistics import median

from tests.bench.copying import Baseline
from tests.bench.load import Feeds, Supply, Window, closed_loop, percentile
from tests.bench.report import Bar, Curve, Line, Say, Section, Table, counted, ms, spread
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service

BAR_CLIENTS = 64
BAR_SINGLE_RATE = 2_000

GUESS_SINGLE, GUESS = 3_000, 30_000  # records a second, before a cell's first round
MARGIN = 1.5  # signed beforehand, over what the last round took


@dataclass
class Cell:
    """One size of batch and number of clients, with its rounds."""

    records: int
    clients: int
    supply: Supply
    windows: list[Window] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)  # rows a second

    @property
    def rates(self) -> list[float]:
        return [window.rate for window in self.windows]

    @property
    def ratio(self) -> float:
        return median(self.rates) / median(self.copies)

    @property
    def latencies(self) -> list[float]:
        """The latencies of all rounds together."""
        return list(chain.from_iterable(window.latencies for window in self.windows))

    async def round(self, service: Service, seconds: float) -> Window:
        guess = GUESS_SINGLE if self.records == 1 else GUESS
        rate = self.windows[-1].rate if self.windows else guess
        self.supply.top_up(round(rate * seconds * MARGIN))
        return await closed_loop(service, self.supply, seconds)


async def run(server: Server, scale: Scale, say: Say) -> Section:
    ledger, feeds = await Ledger.make(server, "ingest"), Feeds()
    cells = [
        Cell(records, clients, Supply(feeds, clients, records))
        for records in scale.batch_records
        for clients in scale.clients
    ]
    baseline = await Baseline.make(server)
    async with ledger.serving() as service:
        await cells[-1].round(service, scale.window_seconds)  # warm, and not counted
        for number in range(scale.rounds):
            for place, cell in enumerate(cells):
                done = (number + place / len(cells)) / scale.rounds
                say(f"{cell.records} a batch, {counted(cell.clients)}", done)
                cell.copies.append(await baseline.round(scale.copy_seconds, scale.copy_rows))
                cell.windows.append(await cell.round(service, scale.window_seconds))
    await baseline.close()
    return Section("ingest", [_table(cells)], _bars(cells), [_curve(cells)])


def _table(cells: list[Cell]) -> Table:
    head = (
        "records a batch",
        "clients",
        "records/s",
        "p50 ms",
        "p99 ms",
        "COPY rows/s",
        "ratio",
        "generator",
        "busy",
    )
    return Table(head, [_row(cell) for cell in cells])


def _row(cell: Cell) -> tuple[str, ...]:
    return (
        f"{cell.records:,}",
        str(cell.clients),
        spread(cell.rates),
        ms(percentile(cell.latencies, 0.50)),
        ms(percentile(cell.latencies, 0.99)),
        spread(cell.copies),
        f"{cell.ratio:.3f}",
        f"{median(window.cpu_share for window in cell.windows):.0%}",
        f"{sum(window.busy for window in cell.windows):,}",
    )


def _bars(cells: list[Cell]) -> list[Bar]:
    bars = []
    for cell in cells:
        if cell.records == 1 and cell.clients == BAR_CLIENTS:
            rate = median(cell.rates)
            what = f"ingestion, single records, {BAR_CLIENTS} clients"
            wanted = f"≥ {BAR_SINGLE_RATE:,}/s"
            bars.append(Bar(what, wanted, f"{rate:,.0f}/s", rate >= BAR_SINGLE_RATE))
    return bars


def _curve(cells: list[Cell]) -> Curve:
    sizes = sorted({cell.records for cell in cells})
    lines = [
        Line(
            counted(clients),
            [(cell.records, median(cell.rates)) for cell in cells if cell.clients == clients],
        )
        for clients in sorted({cell.clients for cell in cells})
    ]
    copy = median(chain.from_iterable(cell.copies for cell in cells))
    lines.append(Line("COPY", [(size, copy) for size in sizes]))
    return Curve(
        "rate-by-batch",
        "Records a second, by size of batch",
        "records a batch",
        "records/s",
        lines,
        logarithmic_x=True,
        logarithmic_y=True,
    )
