"""One process beside a leader with fronts, by cores; and what follows for machines with more.

Two services run on one server, each on a ledger of its own: one process, and a leader with as many
fronts as there are cores less one. Rounds alternate between them, on so many cores for all
processes of service and database; the load comes from wherever there is room. The model is of
processor time a record: the leader and the database's writer can use one core each, and all
processes together no more than there are.

    rate = min(cores / all, 1 / leader, 1 / PostgreSQL)
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.load import Feeds, Supply, closed_loop
from tests.bench.ratios import CASES, MICRO, Case
from tests.bench.report import Bar, Curve, Line, Say, Section, Table, spread
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service, cpu_seconds_of, family

# What fronts are to gain on two cores, by case.
BARS = dict(zip(CASES, (1.0, 1.2), strict=True))
BAR_CORES = 2
MARGIN = 1.5  # signed beforehand, over what the last round took
MODELLED = (4, 8, 16)

# A country's cards: 1,590 EFLOPS at half precision (the ministry of industry and information
# technology, 21 January 2026) by 312 TFLOPS a card (NVIDIA's data sheet of the A100).
COUNTRY_CARDS = round(1_590e18 / 312e12)
CARDS_A_RUN = (1, 8, 64)
SLICE_SECONDS = 60


@dataclass
class Costs:
    """Microseconds of processor time a record, by who took them."""

    leader: float
    front: float
    other: float  # the keeper, and the process that writes the folder
    database: float

    @property
    def all(self) -> float:
        return self.leader + self.front + self.other + self.database

    def rate(self, cores: int) -> float:
        """Records a second that the model expects."""
        return MICRO * min(cores / self.all, 1 / self.leader, 1 / self.database)


@dataclass
class Way:
    """One way of running, on so many cores: the rounds of one case."""

    rates: list[float] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)

    def guess(self, case: Case) -> float:
        """What the next round may take, records a second."""
        return self.rates[-1] if self.rates else case.most / MARGIN

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def cost(self) -> Costs:
        names = ("leader", "front", "other", "database")
        return Costs(*(median(getattr(each, name) for each in self.costs) for name in names))


Measured = dict[tuple[Case, int, int], Way]  # by case, cores and fronts


async def run(server: Server, scale: Scale, say: Say) -> Section:
    available = sorted(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16, 32) if count <= len(available)]
    is_quiet = os.getloadavg()[0] < len(available) / 2
    measured: Measured = {}
    seconds = scale.window_seconds
    alone, fronted = [await Ledger.make(server, name) for name in ("alone", "fronted")]
    of_alone, of_fronted = _supplies(), _supplies()
    async with alone.serving() as one:
        for place, count in enumerate(counts):
            fronts = max(1, count - 1)
            async with fronted.serving(fronts=fronts) as many:
                pids = [server.postgres.pid, one.process.pid, many.process.pid]
                _confine(pids, available[:count])
                sides = ((0, one, of_alone), (fronts, many, of_fronted))
                for number in range(scale.rounds + 1):  # the first is to warm up
                    done = (place + number / (scale.rounds + 1)) / len(counts)
                    say(f"{count} of {len(available)} cores", done)
                    for case in CASES:
                        for used, service, supplies in sides:
                            way = measured.setdefault((case, count, used), Way())
                            supplies[case].top_up(round(MARGIN * way.guess(case) * seconds))
                            found = await _window(server, service, supplies[case], seconds)
                            if number:
                                way.rates.append(found[0])
                                way.costs.append(found[1])
        _confine([server.postgres.pid], available)
    most = counts[-1]
    tables = [_rates(measured), _costs(measured, most), _model(measured, most), _country()]
    # More processes get more of a machine that others use, so there the ratios judge nothing.
    bars = _bars(measured) if is_quiet else []
    return Section("fronts", tables, bars, [_curve(measured, most)])


def _supplies() -> dict[Case, Supply]:
    feeds = Feeds()
    return {case: Supply(feeds, case.clients, case.records) for case in CASES}


def _confine(pids: list[int], cores: list[int]) -> None:
    """Let processes run on these cores only, all that they have begun and will begin too."""
    for pid in (each for parent in pids for each in family(parent)):
        with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


async def _window(
    server: Server, service: Service, supply: Supply, seconds: float
) -> tuple[float, Costs]:
    before = _spent(server, service)
    window = await closed_loop(service, supply, seconds)
    spent = [now - then for now, then in zip(_spent(server, service), before, strict=True)]
    return window.rate, Costs(*(MICRO * each / window.records for each in spent))


def _spent(server: Server, service: Service) -> list[float]:
    """Return the CPU seconds of leader, fronts, other processes of the service, and PostgreSQL.

    A service of one process is its own leader.
    """
    seconds = {"leader": 0.0, "front": 0.0, "other": 0.0}
    for pid in family(service.process.pid):
        seconds[_role(pid, service)] += cpu_seconds_of([pid])
    return [*seconds.values(), cpu_seconds_of(family(server.postgres.pid))]


def _role(pid: int, service: Service) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_text()
    for role in ("leader", "front"):
        if f"\0part\0{role}\0" in words:
            return role
    is_alone = pid == service.process.pid and "\0--fronts\0" not in words
    return "leader" if is_alone else "other"


def _with_fronts(measured: Measured, case: Case) -> dict[int, Way]:
    """Return the ways with fronts of one case, by cores."""
    return {cores: way for (one, cores, fronts), way in measured.items() if one == case and fronts}


def _rates(measured: Measured) -> Table:
    head = ("case", "cores", "one process, records/s", "fronts", "with fronts, records/s", "ratio")
    rows = []
    for (case, cores, fronts), way in measured.items():
        if fronts:
            alone = measured[case, cores, 0]
            ratio = f"{way.rate / alone.rate:.2f}"
            shown = (str(cores), spread(alone.rates), str(fronts), spread(way.rates), ratio)
            rows.append((case.name, *shown))
    return Table(head, sorted(rows))


def _costs(measured: Measured, cores: int) -> Table:
    head = ("case", "way", "leader", "fronts", "keeper and folder", "PostgreSQL", "all")
    rows = []
    for (case, count, fronts), way in measured.items():
        if count == cores:
            cost = way.cost
            parts = (cost.leader, cost.front, cost.other, cost.database, cost.all)
            way_name = f"with fronts ({fronts})" if fronts else "one process"
            rows.append((case.name, way_name, *(f"{each:,.1f}" for each in parts)))
    caption = f"Processor time, µs a record, on {cores} cores."
    return Table(head, sorted(rows), caption)


def _model(measured: Measured, cores: int) -> Table:
    """Return measured rates beside the model's, and the model where nothing was measured."""
    head = ("case", "cores", "measured, records/s", "model, records/s", "bound by")
    rows = []
    for case in CASES:
        ways = _with_fronts(measured, case)
        cost = ways[cores].cost
        for count in [*ways, *(each for each in MODELLED if each > cores)]:
            found = f"{ways[count].rate:,.0f}" if count in ways else ""
            cells = (str(count), found, f"{cost.rate(count):,.0f}", _bound(cost, count))
            rows.append((case.name, *cells))
    return Table(head, rows, "With fronts. **A model** beyond what was measured here:")


def _bound(cost: Costs, cores: int) -> str:
    parts = {
        "all processes": cores / cost.all,
        "the leader's one core": 1 / cost.leader,
        "PostgreSQL's writer": 1 / cost.database,
    }
    return min(parts, key=lambda name: parts[name])


def _country() -> Table:
    head = ("cards a run, on average", "runs at once", "records/s at one-minute slices")
    runs = [COUNTRY_CARDS // cards for cards in CARDS_A_RUN]
    rows = [
        (str(cards), f"{count:,}", f"{count / SLICE_SECONDS:,.0f}")
        for cards, count in zip(CARDS_A_RUN, runs, strict=True)
    ]
    return Table(head, rows, f"What {COUNTRY_CARDS:,} cards report that are never idle:")


def _bars(measured: Measured) -> list[Bar]:
    bars = []
    for (case, cores, fronts), way in measured.items():
        if fronts and cores == BAR_CORES:
            ratio = way.rate / measured[case, cores, 0].rate
            what = f"posting with fronts on two cores, {case.name}"
            bars.append(
                Bar(what, f"≥ {BARS[case]:g} × one process", f"{ratio:.2f} ×", ratio >= BARS[case])
            )
    return bars


def _curve(measured: Measured, cores: int) -> Curve:
    lines = []
    for case in CASES:
        ways = _with_fronts(measured, case)
        lines.append(Line(case.name, [(count, way.rate) for count, way in ways.items()]))
        counts = [*ways, *(each for each in MODELLED if each > cores)]
        model = [(count, ways[cores].cost.rate(count)) for count in counts]
        lines.append(Line(f"{case.records} a batch, model", model))
    title = "Records a second with fronts, by cores"
    return Curve("rate-by-cores", title, "cores", "records/s", lines, logarithmic_y=True)
