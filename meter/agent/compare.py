"""The runs of a day, compared three ways: by the scheduler, the spool and the service.

A run that overlaps a Shanghai day is compared whole, in thousandths of devices × seconds: what
would be reported of it by the scheduler's word alone, what the spool holds as taken, and what the
service counts. Where they differ there is a reason, or something is wrong:

    slurm:c1:4211:1795912741  acc-a  200.000  200.000  0.000  voided
    slurm:c1:4212:1795912800  acc-b    0.000    0.000  0.000  no_contract
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meter.agent.adopt import Reported, reported
from meter.agent.config import Config
from meter.agent.plan import Known, Plan, plan
from meter.agent.run import Agent
from meter.agent.usage import Run
from meter.client import ClientError, Service
from meter.values.units import DAY_SECONDS

_SIDES: Final = ("scheduler", "spool", "service")
# Nothing says why the three differ.
WRONG: Final = "differs"


@dataclass(frozen=True, slots=True)
class Compared:
    """One run by the three, in thousandths × seconds, and why they differ: `""` where they agree.

    A code of a quarantine or of a question, `on_its_way` (not taken yet), `open` (it runs on),
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
    if config.token is None:
        raise ClientError("no_token", "the service tells records to a token of the provider only")
    reading = await agent.read(day)
    if not reading.is_complete:
        raise ClientError("incomplete", "; ".join(reading.faults))
    runs = {id_: run for id_, run in reading.runs.items() if _overlaps(run, day)}
    for id_ in agent.spool.runs_since(day):
        found = agent.spool.run(id_)
        if found is not None and _overlaps(found[0], day):
            runs.setdefault(id_, found[0])
    compared = []
    async with Service(config.service.url, config.token, tls=config.tls) as service:
        for id_, run in sorted(runs.items()):
            records = [each async for each in reported(service, config.provider.id, id_)]
            found = agent.spool.run(id_)
            known = Known() if found is None else found[1]
            told = run if id_ in reading.runs else None
            compared.append(judge(run, told, known, records, config, reading.at))
    return compared


def judge(  # noqa: PLR0913, PLR0917 - what a judgement looks at
    run: Run,
    told: Run | None,
    known: Known,
    records: Sequence[Reported],
    config: Config,
    at: int,
) -> Compared:
    """Return how a run stands by the three; `told` is what the scheduler says of it now."""
    made = Plan() if told is None else plan(told, Known(), config.map, config.source.rhythm, at)
    by_scheduler = sum(each.milli_devices * (each.end - each.start) for each in made.slices)
    held = [each for each in known.slices if each.standing == "held"]
    by_spool = sum(each.milli_devices * (each.end - each.start) for each in held)
    by_service = sum(each.milli_device_seconds for each in records)
    agree = by_scheduler == by_spool == by_service and made.quarantine is None
    reason = "" if agree else next(_reasons(run, told, made, known, records), WRONG)
    if by_spool != by_service and reason == "open":
        reason = WRONG
    return Compared(run.id, run.account, by_scheduler, by_spool, by_service, reason)


def _reasons(
    run: Run, told: Run | None, made: Plan, known: Known, records: Sequence[Reported]
) -> Iterator[str]:
    """Yield why a run may differ, the surest first."""
    if any(each.voided_by == "authority" for each in records):
        yield "voided"
    if made.quarantine is not None:
        yield made.quarantine.code
    if told is None:
        yield "gone"
    if any(each.standing in ("sent", "waiting", "voiding") for each in known.slices):
        yield "on_its_way"
    refused = [each for each in known.slices if each.standing == "refused" or each.is_stuck]
    if refused:
        yield refused[0].code
    if not known.slices and not records:
        yield "on_its_way"
    if run.end is None:
        yield "open"


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
