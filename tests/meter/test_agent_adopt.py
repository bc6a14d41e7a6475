"""A spool that was lost, or put back from yesterday, learns from the service what was reported."""

import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ledger.note import Verifier
from meter.agent.adopt import Adopted, adopt
from meter.agent.config import read_config
from meter.agent.status import exit_code, status_of
from meter.auditor import receipts
from meter.client import ClientError, Refused, Service
from tests.agents import T0, agent_of, clustered, metered, rounds, run
from tests.books import record
from tests.meter.test_agent_faults import gaps
from tests.proving import outcomes, verdict, vkey_of
from tests.services import HOUR, authorization, contract_body, key_body

NOW = T0 + 5_000


@asynccontextmanager
async def told(database, folder: Path):
    """Yield the same as `clustered`, with a token for the agent."""
    async with clustered(database, folder, service='token = "pcl.token"') as (service, _, says):
        token = await authorization(service, "pcl-agent", "provider", "pcl")
        (folder / "agent/pcl.token").write_text(token.removeprefix("Bearer "))
        yield service, read_config(folder / "agent/agent.toml"), says


async def adopted(file, scheduler) -> Adopted:
    async with agent_of(file, scheduler) as agent:
        return await adopt(agent, file, NOW)


async def test_a_lost_spool_goes_on_where_the_service_stands(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        ended, still = run(1, T0, T0 + 100), run(2, T0 + 30)
        scheduler.says(T0 + 1_000, ended, still)
        scheduler.says(T0 + 2_000, ended, still)
        await rounds(file, scheduler)
        before = await metered(service)
        shutil.rmtree(Path(file.spool).parent)
        other = run(3, T0 + 2_100, T0 + 2_150)
        scheduler.says(T0 + 3_000, ended, still, other)
        outcome, status = await rounds(file, scheduler)
        assert outcome.faults[0].endswith("kashi agent adopt makes it so")
        scheduler.says(T0 + 3_100, ended, still, other)
        assert await adopted(file, scheduler) == Adopted(runs=3, slices=3, last_seq=2)
        assert await metered(service) == before  # nothing is posted
        over = run(2, T0 + 30, T0 + 3_030)
        for at in (T0 + 3_200, T0 + 3_300):
            scheduler.says(at, ended, over, other)
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {
            ended.id: 200_000,
            over.id: 2_000 * 3_000,
            other.id: 2_000 * 50,
        }
        assert (exit_code(status, outcome.faults), await gaps(service)) == (0, 0)
        assert dict(status.refused) == {}


async def test_the_spool_of_yesterday_learns_what_came_after_it(database, tmp_path):
    """A correction too: the voids of the newer spool are known, and nothing is doubled."""
    async with told(database, tmp_path) as (service, file, scheduler):
        spool = Path(file.spool).parent
        scheduler.says(T0 + 1_000, run(1, T0))
        await rounds(file, scheduler)
        shutil.copytree(spool, tmp_path / "yesterday")
        scheduler.says(T0 + 3_000, run(1, T0))
        scheduler.says(T0 + 3_100, run(1, T0, T0 + 2_500))
        await rounds(file, scheduler)
        shutil.rmtree(spool)
        shutil.copytree(tmp_path / "yesterday", spool)
        scheduler.says(T0 + 4_000, run(1, T0, T0 + 2_500))
        await adopted(file, scheduler)
        for end in (2_500, 2_500, 2_600, 2_400):
            scheduler.says(T0 + 4_100, run(1, T0, T0 + end))
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 2_400}
        assert (exit_code(status, outcome.faults), dict(status.refused)) == (0, {})


async def test_what_the_authority_took_back_is_not_sent_again(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        seen = run(1, T0, T0 + 100)
        scheduler.says(T0 + 1_000, seen)
        await rounds(file, scheduler)
        id_ = f"{seen.id}:h100:{T0}:0"
        await service.ask("/v1/records/void", provider="pcl", id=id_, reason="test")
        shutil.rmtree(Path(file.spool).parent)
        scheduler.says(T0 + 1_100, seen)
        await adopted(file, scheduler)
        scheduler.says(T0 + 1_200, seen)
        _, status = await rounds(file, scheduler)
        assert await metered(service) == {}
        assert status.milli_device_seconds == {"held": 200_000}


async def test_a_new_stream_that_nobody_used_is_adopted_as_empty(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0, T0 + 100))
        assert await adopted(file, scheduler) == Adopted(runs=1, slices=0, last_seq=0)


async def test_nothing_changes_where_slurm_or_the_service_does_not_tell_all(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0, T0 + 100))
        await rounds(file, scheduler)
        scheduler.says(T0 + 1_100, faults=("sacct: exit 1",))
        with pytest.raises(ClientError, match="incomplete: sacct: exit 1"):
            await adopted(file, scheduler)
        (tmp_path / "agent/pcl.token").write_text("pcl-agent.nothing")
        scheduler.says(T0 + 1_200, run(1, T0, T0 + 100))
        with pytest.raises(Refused, match="unauthorized"):
            await adopted(read_config(tmp_path / "agent/agent.toml"), scheduler)
        text = (tmp_path / "agent/agent.toml").read_text().replace('token = "pcl.token"', "")
        (tmp_path / "agent/agent.toml").write_text(text)
        without = read_config(tmp_path / "agent/agent.toml")
        with pytest.raises(ClientError, match="no_token"):
            await adopted(without, scheduler)
        async with agent_of(without, scheduler) as agent:
            status = status_of(agent.spool)
        assert (status.complete_at, status.milli_device_seconds) == (T0 + 1_000, {"held": 200_000})
        assert await metered(service) == {f"slurm:c1:1:{T0}": 200_000}


RECORD = {
    "entry": 5,
    "id": "slurm:c1:1:5:h100:5:0",
    "contract": "A",
    "device": "h100",
    "milli_devices": 2_000,
    "start": "2025-03-01T08:00:00+08:00",
    "end": "2025-03-01T09:00:00+08:00",
}
PAGE = {"records": [], "next": "", "more": False}
UNFIT = [
    ({}, PAGE),
    ({"last": "2"}, PAGE),
    ({"last": -1}, PAGE),
    ({"last": 2}, {}),
    ({"last": 2}, PAGE | {"records": {}}),
    ({"last": 2}, PAGE | {"next": None}),
    ({"last": 2}, PAGE | {"more": True}),  # for ever
    *(
        ({"last": 2}, PAGE | {"records": [{k: v for k, v in RECORD.items() if k != name}]})
        for name in RECORD
        if name != "entry"
    ),
    *(
        ({"last": 2}, PAGE | {"records": [RECORD | changes]})
        for changes in (
            {"milli_devices": 0},
            {"milli_devices": "1"},
            {"start": "yesterday"},
            {"end": RECORD["start"]},
            {"final": 1},
        )
    ),
]


async def test_an_answer_of_another_form_is_told_and_changes_nothing(
    database, tmp_path, monkeypatch
):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0, T0 + 100))
        await rounds(file, scheduler)
        for stream, page in UNFIT:

            async def ask(_self, path: str, stream=stream, page=page, **_query: object):
                return stream if "/streams/" in path else page

            scheduler.says(T0 + 1_100, run(1, T0, T0 + 100))
            with monkeypatch.context() as patch:
                patch.setattr(Service, "ask", ask)
                with pytest.raises(ClientError, match=r"^not_kashi: "):
                    await adopted(file, scheduler)
        async with agent_of(file, scheduler) as agent:
            status = status_of(agent.spool)
        assert (status.complete_at, status.milli_device_seconds) == (T0 + 1_000, {"held": 200_000})


async def test_receipts_are_written_with_their_proofs_for_anyone_to_verify(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        for raw in (1, 2):
            scheduler.says(T0 + 1_000, run(raw, T0, T0 + 100))
        await rounds(file, scheduler)
        for new in (2, 0):
            # What is not published yet is asked for again.
            async with agent_of(file, scheduler, attempts=5) as agent:
                await agent.prove()
                assert agent.spool.write_proofs(tmp_path / "receipts") == new
        log = Verifier.parse(vkey_of(service))
        for seq in (1, 2):
            stored = receipts.read(tmp_path / f"receipts/{seq}.proved.json")
            assert outcomes(verdict(stored, log)) == {}


# The route


async def test_a_providers_records_are_listed_by_run_as_they_were_sent(
    database, tmp_path, monkeypatch
):
    async with told(database, tmp_path) as (service, _, _):
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-9"))
        terms = contract_body("C", prices={"ascend-910b": "4.50"})
        await service.ask("/v1/contracts", **terms)
        sent = [
            record(f"{name}:{n}", "C", *HOUR, 1_000, run=name, state="RUNNING", final=False)
            for name in ("a", "a:b", "ab")
            for n in range(3)
        ]
        for seq, each in enumerate([*sent[::-1]], 1):
            answer = await service.usage([each], keyid="pcl-9", seq=seq)
            assert answer.json["results"][0]["status"] == "accepted"
        own = await service.usage(voids=[{"id": "a:1", "reason": "x"}], keyid="pcl-9", seq=10)
        assert own.json["voids"][0]["status"] == "accepted"
        await service.ask("/v1/records/void", provider="pcl", id="a:2", reason="y")

        async def listed(query: str) -> list[dict]:
            found, after = [], ""
            for _ in range(20):
                path = f"/v1/providers/pcl/records?{query}&after={after}"
                page = (await service.get(path)).json
                found += page["records"]
                after = page["next"]
                if not page["more"]:
                    return found
            raise AssertionError("it never ends")

        ids = sorted(each["id"] for each in sent)
        assert [each["id"] for each in await listed("limit=2")] == ids
        found = await listed("run=a&limit=1000")
        assert [each["id"] for each in found] == [each for each in ids if each.startswith("a:")]
        taken_back = {each["id"]: each.get("voided_by") for each in found}
        assert {name: by for name, by in taken_back.items() if by} == {
            "a:1": "provider",
            "a:2": "authority",
        }
        (first,) = [each for each in found if each["id"] == "a:0"]
        original = {k: v for k, v in sent[0].items() if k != "entry"}
        assert {name: first[name] for name in original} == original
        assert await listed("run=nothing") == []
        assert (await service.get("/v1/providers/pcl/records?run=%20")).status == 400
        # However far apart entries lie, each page has one, and all are found.
        monkeypatch.setattr("meter.tables.pages.MAX_ENTRIES_READ", 1)
        assert [each["id"] for each in await listed("limit=1000")] == ids
