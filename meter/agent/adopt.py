"""Make a spool that was lost, or is an older copy, the stream's newest again.

Nothing is posted. What the service holds of each run is read from it, and becomes what the spool
knows; the numbers go on after the stream's last. What the service does not hold is reported by the
next round, as if the agent had been away. Batches that the spool had not sent are dropped: what is
missing of them is planned anew.

A record that the authority took back stays reported: it is not for the agent to send it again.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meter.agent.config import Config
from meter.agent.plan import MAX_AGE_SECONDS, Slice, SliceStanding
from meter.agent.run import Agent
from meter.agent.usage import Run
from meter.client import ClientError, Refused, Service
from meter.values.units import parse_instant

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a spool knows now: runs, their slices, and the last number of the stream."""

    runs: int
    slices: int
    last_seq: int


async def adopt(agent: Agent, config: Config, now: int) -> Adopted:
    """Fill an agent's spool from the service.

    Runs are looked for as far back as the service takes records. Raises `ClientError`: `no_token`,
    `incomplete` where Slurm does not tell all, and what the service says; then nothing is changed.
    """
    if config.token is None:
        raise ClientError("no_token", "the service tells records to a token of the provider only")
    since = max(config.slurm.since, now - MAX_AGE_SECONDS)
    reading = await agent.read(since)
    if not reading.is_complete:
        raise ClientError("incomplete", "; ".join(reading.faults))
    spool = agent.spool
    async with Service(config.service.url, config.token, tls=config.tls) as service:
        last_seq = await _last_seq(service, config)
        with spool.change():
            for run in reading.runs.values():
                if run.end is None or run.end > config.slurm.since:
                    spool.see(run, reading.at)
            ids = spool.forget_unsettled(last_seq) | spool.runs_since(since)
            count = 0
            for id_ in sorted(ids):
                found = spool.run(id_)
                assert found is not None, "the spool names its own runs"
                slices = [each async for each in _slices(service, config.provider.id, found[0])]
                spool.adopt(id_, slices, found[0].terms)
                count += len(slices)
            spool.set_fact("complete_at", str(since))
            spool.set_fact("map", "")  # whatever is missing is due
    return Adopted(len(ids), count, last_seq)


async def _last_seq(service: Service, config: Config) -> int:
    """Return the last number of the stream, 0 for one that the service does not know."""
    path = f"/v1/providers/{config.provider.id}/streams/{config.provider.stream}"
    try:
        return int((await service.ask(path))["last"])
    except Refused as refused:
        if refused.code == "not_found":
            return 0
        raise


async def _slices(service: Service, provider: str, run: Run) -> AsyncIterator[Slice]:
    """Yield what the service holds of a run."""
    after, is_more = "", True
    while is_more:
        path = f"/v1/providers/{provider}/records"
        page = await service.ask(path, run=run.id, after=after, limit=_PAGE)
        for each in page["records"]:
            yield _slice(run.id, each)
        after, is_more = page["next"], page["more"]


def _slice(run: str, record: Mapping[str, Any]) -> Slice:
    revision = str(record["id"]).rpartition(":")[2]
    standing: SliceStanding = "void" if record.get("voided_by") == "provider" else "held"
    return Slice(
        id=record["id"],
        run=run,
        contract=record["contract"],
        device=record["device"],
        milli_devices=record["milli_devices"],
        start=parse_instant(record["start"]),
        end=parse_instant(record["end"]),
        revision=int(revision) if revision.isdecimal() else 0,
        state=record.get("state", ""),
        final=record.get("final", False),
        standing=standing,
    )
