"""The agent over any story: runs that begin, end, are suspended, and are seen late or wrongly.

The service is a peer in memory that keeps the service's promises about ids: it takes an id once,
says `duplicate` or `conflict` afterwards, and takes a record back once. It learns of a contract
late, loses answers, and refuses voids. At no time does it count a second of a run twice, and in the
end, when Slurm has told the truth and it takes what it refused, the ledger says exactly that.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meter.agent.run import Agent
from meter.agent.status import status_of
from meter.agent.usage import Run
from meter.client import Unreachable, VerifiedReceipt
from meter.values.strict import decode
from meter.wire import dsse
from meter.wire.batch import Batch, Record
from meter.wire.receipt import (
    Accepted,
    Before,
    Conflict,
    Duplicate,
    EntryRange,
    Receipt,
    Rejected,
    Result,
    encode_receipt,
)
from tests.agents import MAP, config, reading, run

T0 = 1_795_910_400
UNKNOWN = '\n[[contract]]\naccount = "acc-late"\ncontract = "C"\n'


@dataclass
class Peer:
    """A service in memory; `losses` says of each post whether it or its answer is lost.

    So many voids are refused (`refusals`).
    """

    losses: Iterator[str]
    unknown: set[str]  # contracts that are not registered yet
    refusals: int
    records: dict[str, Record] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    batches: dict[int, tuple[str, VerifiedReceipt]] = field(default_factory=dict)

    async def post_batch(self, envelope: bytes, _: str) -> VerifiedReceipt:
        fate = next(self.losses, "kept")
        if fate == "lost":
            raise Unreachable("unreachable", "before")
        payload = dsse.parse(envelope, dsse.BATCH_TYPE).payload
        receipt = self._answer(payload)
        if fate == "unheard":
            raise Unreachable("unreachable", "after")
        return receipt

    def _answer(self, payload: bytes) -> VerifiedReceipt:
        digest, batch = sha256(payload).hexdigest(), decode(payload, Batch)
        known = self.batches.get(batch.seq)
        if known is not None:
            assert known[0] == digest, "one number, two batches"
            return known[1]
        assert batch.seq == len(self.batches) + 1, "a gap"
        voids = [self._void(each.id) for each in batch.voids]
        results = [self._record(each) for each in batch.records]
        place = Before(0, ""), EntryRange(0, 1)
        names = (batch.log, batch.provider, batch.stream, batch.seq)
        receipt = Receipt(digest, *names, *place, voids, results)
        made = VerifiedReceipt(encode_receipt(receipt), "none", receipt)
        self.batches[batch.seq] = digest, made
        return made

    def _void(self, id_: str) -> Result:
        if id_ not in self.records:
            return Rejected(id_, "rejected", "unknown_record", "")
        if id_ in self.voided:
            return Rejected(id_, "rejected", "already_voided", "")
        if self.refusals:
            self.refusals -= 1
            return Rejected(id_, "rejected", "too_late", "")
        self.voided.add(id_)
        return accepted(id_)

    def _record(self, record: Record) -> Result:
        held = self.records.get(record.id)
        if held is None and record.contract in self.unknown:
            return Rejected(record.id, "rejected", "unknown_contract", "")
        if held is None:
            self.records[record.id] = record
            return accepted(record.id)
        if held == record:
            return Duplicate(record.id, "duplicate", 0)
        return Conflict(record.id, "conflict", 0, "")

    def standing(self) -> dict[str, list[tuple[int, int, int, str]]]:
        """Return the stretches that count, by run: start, end, thousandths and contract."""
        found: dict[str, list[tuple[int, int, int, str]]] = {}
        for id_, each in self.records.items():
            if id_ not in self.voided:
                row = (each.start, each.end, each.milli_devices, each.contract)
                found.setdefault(each.run, []).append(row)
        return {name: sorted(rows) for name, rows in found.items()}


def accepted(id_: str) -> Accepted:
    return Accepted(id_, "accepted", 0, *["0.00"] * 6, {}, {}, [])


@dataclass(frozen=True)
class Truth:
    """What truly happened to a run, and how Slurm misjudges it before it knows better."""

    raw: int
    begin: int
    end: int
    suspended: tuple[int, int]
    account: str
    wrong_end: int  # shown for a while after the end

    def ran(self, at: int) -> int:
        start, stop = self.suspended
        until = min(at, self.end)
        return until - self.begin - max(0, min(until, stop) - max(self.begin, start))

    def seen(self, at: int, kind: str) -> Run | None:
        if at < self.begin or kind == "missing":
            return None
        was = self.suspended[0] < min(at, self.end, self.suspended[1])
        made = replace(
            run(self.raw, self.begin, account=self.account),
            ran=self.ran(at),
            was_suspended=was,
        )
        if at < self.end:
            return replace(made, standing="doubtful") if kind == "late" else made
        if kind == "late":
            return replace(made, standing="doubtful")
        end = self.wrong_end if kind == "wrong" and not was else self.end
        ran = end - self.begin if kind == "wrong" and not was else self.ran(at)
        return replace(made, end=end, ran=ran, standing="ended", state="COMPLETED")


@st.composite
def truths(draw, raw: int) -> Truth:
    begin = T0 + draw(st.integers(0, 2_000))
    end = begin + draw(st.integers(0, 3_000))
    start = draw(st.integers(begin, end))
    stop = draw(st.integers(start, end)) if draw(st.booleans()) else start
    account = draw(st.sampled_from(["acc-a", "acc-b", "acc-late"]))
    wrong = max(begin, end + draw(st.sampled_from([-700, -60, -1, 1, 60, 700])))
    return Truth(raw, begin, end, (start, stop), account, wrong)


STEPS = st.lists(
    st.tuples(
        st.integers(1, 1_200),
        st.sampled_from(["whole", "whole", "late", "missing", "wrong"]),
        st.sampled_from([300, 420, 900]),
        st.booleans(),  # the reading is complete
    ),
    max_size=14,
)
LOSSES = st.lists(st.sampled_from(["kept", "lost", "unheard"]), max_size=10)


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3).flatmap(lambda n: st.tuples(*map(truths, range(n)))),
    STEPS,
    LOSSES,
    st.integers(0, 3),
)
# A void is on its way, unanswered, while the record that it takes back was refused and waits.
@example(
    told=(
        Truth(0, T0, T0 + 125, (T0, T0), "acc-b", T0 + 65),
        Truth(1, T0, T0 + 1_117, (T0, T0), "acc-a", T0 + 417),
    ),
    steps=[(788, "whole", 300, False), (1, "wrong", 300, False), (824, "whole", 300, False)]
    + [(1, "whole", 300, False)] * 2,
    losses=["lost", "unheard", "kept", "unheard", "unheard", "lost"],
    refusals=0,
)
def test_whatever_was_seen_in_between_the_ledger_says_in_the_end_what_happened(
    told, steps, losses, refusals
):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder), told, steps, losses, refusals))


async def story(folder: Path, told, steps, losses, refusals) -> None:
    peer, at = Peer(iter(losses), {"B"}, refusals), T0
    for number, (pause, kind, length, is_complete) in enumerate(steps):
        at += pause
        if number == 5:
            peer.unknown.clear()
        await one_round(folder, peer, told, at, kind, length, complete=is_complete)
        for rows in peer.standing().values():
            assert all(one[1] <= two[0] for one, two in pairwise(rows))
    at, peer.losses = max(at, T0 + 6_000), iter(())
    peer.unknown.clear()
    for _ in range(8):
        at += 100
        await one_round(folder, peer, told, at, "whole", 900, complete=True, approve=True)
    found = peer.standing()
    for each in told:
        seen = each.seen(at, "whole")
        rows = found.pop(seen.id, [])
        assert sum(end - start for start, end, *_ in rows) == each.ran(each.end)
        assert all(one[1] <= two[0] for one, two in pairwise(rows))
        assert all(each.begin <= start and end <= each.end for start, end, *_ in rows)
        contract = {"acc-a": "A", "acc-b": "B", "acc-late": "C"}[each.account]
        assert {row[2:] for row in rows} <= {(2_000, contract)}
    assert found == {}


async def one_round(  # noqa: PLR0913, PLR0917 - what a round is made of
    folder: Path, peer: Peer, told, at: int, kind: str, length: int, *, complete, approve=False
) -> None:
    """Run the agent once, as a process of its own; some accounts are mapped only in the end."""
    runs = [seen for each in told if (seen := each.seen(at, kind)) is not None]

    async def collect(since: int):
        return reading(at, *runs, faults=() if complete else ("incomplete",), since=since)

    map_ = MAP + UNKNOWN if approve else MAP
    file = config(folder / "agent", map_=map_, slurm=f"slice_seconds = {length}")
    agent = Agent(file, collect=collect, attempts=1, first_pause_seconds=0)
    agent._reporter._service.post_batch = peer.post_batch
    async with agent:
        if approve:
            assert not agent.spool.approve([each.name for each in agent.spool.questions()])
        # What waits is sent again in each round.
        agent.spool._db.execute("UPDATE waiting SET due = 1")
        await agent.once()
        status = status_of(agent.spool)
    assert not status.refused
