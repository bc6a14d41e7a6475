"""The runs of a day, compared three ways: by the scheduler, the spool and the service.

A run that overlaps a Shanghai day is compared whole, in thousandths of devices × seconds: what
would be reported of it by the scheduler's word alone, what the spool holds as taken, and what the
service counts. Where they differ there is a reason, or something is wrong:

    slurm:c1:4211:1795912741  acc-a  200.000  200.000  0.000  voided
    slurm:c1:4212:1795912800  acc-b    0.000    0.000  0.000  no_contract
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meter.agent.adopt import Reported, read_all, reported
from meter.agent.config import Config
from meter.agent.plan import Known, Plan, Slice, SliceStanding, plan
from meter.agent.run import Agent
from meter.agent.usage import Run
from meter.client import Service
from meter.values.units import DAY_SECONDS

_SIDES: Final = ("scheduler", "spool", "service")
# Nothing says why the three differ.
WRONG: Final = "differs"


@dataclass(frozen=True, slots=True)
class Compared:
    """One run by the three, in thousandths × seconds, and why they differ: `""` where they agree.

    A code of a quarantine or of a question, `on_its_way` (not taken yet), `open` (no end is known),
    `voided` (the authority took it back), `gone` (the scheduler does not show it), or `differs`.
    """

    run: str
    account: str
    scheduler: int
    spool: int
    service: int
    reason: str

    @property
    def is_wrong(self) -> bool:
        """Return whether nothing explains the difference."""
        return self.reason == WRONG


async def compare_day(agent: Agent, config: Config, day: int) -> list[Compared]:
    """Compare the runs that overlap the Shanghai day which begins at `day` (seconds).

    Raises `ClientError`: `no_token`, `incomplete` where the scheduler does not tell all, and what
    the service says.
    """
    reading = await read_all(agent, config, day)
    ids = {id_ for id_, run in reading.runs.items() if _overlaps(run, day)}
    kept = {id_: agent.spool.run(id_) for id_ in ids | agent.spool.runs_since(day)}
    ids |= {id_ for id_, found in kept.items() if found is not None and _overlaps(found[0], day)}
    compared = []
    async with Service(config.service.url, config.token, tls=config.tls) as service:
        for id_ in sorted(ids):
            records = [each async for each in reported(service, config.provider.id, id_)]
            seen, known = kept[id_] or (None, Known())
            told = reading.runs.get(id_)
            is_next = seen is not None or told is None or agent.sees_again(told)
            sides = Sides(told, seen, known, records, is_next=is_next)
            compared.append(judge(sides, config, reading.at))
    return compared


@dataclass(frozen=True, slots=True)
class Sides:
    """One run as the scheduler tells it, as the spool saw it last, and what is reported of it.

    A side that does not know it is None. The next round looks at it where it `is_next`.
    """

    told: Run | None
    seen: Run | None
    known: Known
    records: Sequence[Reported]
    is_next: bool = True

    @property
    def run(self) -> Run:
        found = self.told or self.seen
        assert found is not None, "one side knows it"
        return found

    def held(self, *standings: SliceStanding) -> int:
        """Return what the spool has of some standings."""
        return _sum(each for each in self.known.slices if each.standing in standings)

    @property
    def counted(self) -> dict[str, int]:
        """Return what the service counts, by record."""
        sizes = {each.id: each.milli_device_seconds for each in self.records}
        return {id_: size for id_, size in sizes.items() if size}

    @property
    def voided(self) -> set[str]:
        """Return the records that the authority took back."""
        return {each.id for each in self.records if each.voided_by == "authority"}

    @property
    def expected(self) -> dict[str, int]:
        """Return what the service would count by the spool; what is on its way is there, or not."""
        voided, counted = self.voided, self.counted
        return {
            each.id: each.milli_device_seconds
            for each in self.known.slices
            if each.id not in voided
            and (each.standing == "held" or (each.is_in_ledger and each.id in counted))
        }


def judge(sides: Sides, config: Config, at: int) -> Compared:
    """Return how a run stands by the three."""
    made, due = Plan(), Plan()
    if sides.told is not None:
        rules = config.map, config.source.rhythm, at
        made, due = plan(sides.told, Known(), *rules), plan(sides.told, sides.known, *rules)
    sizes = _sum(made.slices), sides.held("held"), _sum(sides.records)
    trouble = made.quarantine or due.question
    reason = next(_reasons(sides, sizes, None if trouble is None else trouble.code), WRONG)
    return Compared(sides.run.id, sides.run.account, *sizes, reason)


def _reasons(sides: Sides, sizes: tuple[int, int, int], trouble: str | None) -> Iterator[str]:
    """Yield why a run may differ, the surest first."""
    by_scheduler, by_spool, by_service = sizes
    # What explains one difference does not excuse another, between spool and service.
    if sides.counted != sides.expected:
        yield WRONG
    if trouble is not None:
        yield trouble
    if by_scheduler == by_spool:
        yield "" if by_spool == by_service else "voided" if sides.voided else "on_its_way"
    if sides.told is None:
        yield "gone"
    if by_scheduler == sides.held("held", "sent", "waiting") or sides.held("voiding"):
        yield "on_its_way"
    slices = sides.known.slices
    yield from (each.code for each in slices if each.standing == "refused" or each.is_stuck)
    if sides.run.end is None:
        yield "open"
    if sides.is_next and (not slices or (sides.seen is not None and sides.seen.end is None)):
        yield "on_its_way"


def _sum(parts: Iterable[Slice | Reported]) -> int:
    return sum(each.milli_device_seconds for each in parts)


def _overlaps(run: Run, day: int) -> bool:
    return run.begin < day + DAY_SECONDS and (run.end is None or run.end > day)


def table_of(compared: Sequence[Compared]) -> Iterator[str]:
    """Yield lines for people: each run that differs, then the totals, in device-seconds."""
    head = ("run", "account", "scheduler", "spool", "service", "")
    differing = [each for each in compared if each.reason]
    rows = [(each.run, each.account, *_seconds(each), each.reason) for each in differing]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows] if rows else []:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    sums = (sum(getattr(each, name) for each in compared) for name in _SIDES)
    told = "  ".join(f"{name} {each / 1_000:,.3f}" for name, each in zip(_SIDES, sums, strict=True))
    yield f"{len(compared)} runs, {len(differing)} differ  device-seconds: {told}"


def _seconds(compared: Compared) -> tuple[str, ...]:
    return tuple(f"{getattr(compared, name) / 1_000:,.3f}" for name in _SIDES)
