"""Make a spool that was lost, or is an older copy, the stream's newest again.

Nothing is posted. What the service holds of each run is read from it, and becomes what the spool
knows; the numbers go on after the stream's last. What the service does not hold is reported by the
next round, as if the agent had been away. Batches that the spool had not sent are dropped: what is
missing of them is planned anew.

A record that the authority took back stays reported: it is not for the agent to send it again.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, Struct

from meter.agent.config import Config
from meter.agent.plan import MAX_AGE_SECONDS, Slice
from meter.agent.run import Agent, check_token
from meter.agent.usage import Reading
from meter.client import ClientError, Refused, Service
from meter.values.strict import Instant, convert_texts
from meter.values.units import day_of

_PAGE: Final = 1_000
_REVISION: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a spool knows now: runs, their slices, and the last number of the stream."""

    runs: int
    slices: int
    last_seq: int


class _Stream(Struct, frozen=True):
    """What the service says of a stream."""

    last: Annotated[int, Meta(ge=0)]


class Reported(Struct, frozen=True):
    """What the service says of a record."""

    id: str
    contract: str
    device: str
    milli_devices: Annotated[int, Meta(ge=1)]
    start: Instant
    end: Instant
    state: str = ""
    final: bool = False
    voided_by: str | None = None

    @property
    def milli_device_seconds(self) -> int:
        """What counts of it."""
        return 0 if self.voided_by else self.milli_devices * (self.end - self.start)


class _Page(Struct, frozen=True):
    """A page of records."""

    records: Sequence[Reported]
    next: str
    more: bool


_T = TypeVar("_T", _Stream, _Page)


async def adopt(agent: Agent, config: Config, now: int) -> Adopted:
    """Fill an agent's spool from the service.

    Runs are looked for as far back as the service takes records. Raises `ClientError`: `no_token`,
    `incomplete` where the scheduler does not tell all, `not_kashi` where the response is not one of
    a service, and what the service says; then nothing is changed.
    """
    since = max(config.source.since, now - MAX_AGE_SECONDS)
    reading = await read_all(agent, config, since)
    spool = agent.spool
    async with Service(config.service.url, config.token, tls=config.tls) as service:
        last_seq = await _last_seq(service, config)
        with spool.change():
            for run in reading.runs.values():
                spool.see(run, reading.at)
            ids = spool.forget_unsettled(last_seq) | spool.runs_since(since)
            count = 0
            for id_ in sorted(ids):
                found = spool.run(id_)
                assert found is not None, "the spool names its own runs"
                records = [each async for each in reported(service, config.provider.id, id_)]
                slices = [_slice(id_, each) for each in records]
                spool.adopt(id_, slices, found[0].terms)
                count += len(slices)
            spool.set_fact("complete_at", str(since))
            spool.set_fact("map", "")  # whatever is missing is due
            spool.set_fact("cursor", "")
            spool.sum_up_again(day_of(since - 1) + 1)  # the first day of which all runs are known
    return Adopted(len(ids), count, last_seq)


async def read_all(agent: Agent, config: Config, since: int) -> Reading:
    """Return a complete reading, for one who may ask the service what it holds.

    Raises `ClientError`: `no_token`, and `incomplete` where the scheduler does not tell all.
    """
    check_token(config)
    reading = await agent.read(since)
    if not reading.is_complete:
        raise ClientError("incomplete", "; ".join(reading.faults))
    return reading


async def _last_seq(service: Service, config: Config) -> int:
    """Return the last number of the stream, 0 for one that the service does not know."""
    path = f"/v1/providers/{config.provider.id}/streams/{config.provider.stream}"
    try:
        return _read(await service.ask(path), _Stream).last
    except Refused as refused:
        if refused.code == "not_found":
            return 0
        raise


async def reported(service: Service, provider: str, run: str) -> AsyncIterator[Reported]:
    """Yield what the service holds of a run. Raises `ClientError`."""
    after, is_more = "", True
    while is_more:
        path = f"/v1/providers/{provider}/records"
        page = _read(await service.ask(path, run=run, after=after, limit=_PAGE), _Page)
        for each in page.records:
            if each.end <= each.start:
                raise ClientError("not_kashi", f"{each.id} ends before it begins")
            yield each
        if page.more and page.next == after:
            raise ClientError("not_kashi", f"the records of {run} never end")
        after, is_more = page.next, page.more


def _slice(run: str, record: Reported) -> Slice:
    revision = record.id.rpartition(":")[2]
    return Slice(
        id=record.id,
        run=run,
        contract=record.contract,
        device=record.device,
        milli_devices=record.milli_devices,
        start=record.start,
        end=record.end,
        revision=int(revision) if _REVISION.fullmatch(revision) else 0,
        state=record.state,
        final=record.final,
        standing="void" if record.voided_by == "provider" else "held",
    )


def _read(answer: dict[str, Any], kind: type[_T]) -> _T:
    """Return an answer in the form that it must have. Raises `ClientError` `not_kashi`."""
    try:
        return convert_texts(answer, kind)
    except ValueError as error:
        raise ClientError("not_kashi", f"the response is not of this service: {error}") from None
