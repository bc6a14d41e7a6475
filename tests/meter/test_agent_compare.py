"""The runs of a day by the scheduler, the spool and the service, and what explains a difference."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from meter.agent.compare import Compared, compare_day, table_of
from meter.agent.run import LOOK_BACK_SECONDS
from meter.agent.store import Spool
from meter.client import ClientError
from meter.values.strict import Instant
from meter.values.units import DAY_SECONDS, parse_date
from tests.agents import T0, agent_of, rounds, run
from tests.meter.test_agent_adopt import told

DAY = parse_date("2025-03-01")


async def compared(file, scheduler, *runs, at: int = T0 + 5_000, day: int = DAY) -> list[Compared]:
    scheduler.says(at, *runs)
    async with agent_of(file, scheduler) as agent:
        return await compare_day(agent, file, day)


def reasons(found: list[Compared]) -> list[str]:
    return [each.reason for each in found]


async def test_what_was_reported_agrees_run_by_run_and_other_days_are_not_asked(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        seen = [run(1, T0, T0 + 100), run(2, T0 + 30, T0 + 2_000)]
        scheduler.says(T0 + 4_000, *seen)
        await rounds(file, scheduler)
        found = await compared(file, scheduler, *seen)
        assert found == [
            Compared(seen[0].id, "acc-a", 200_000, 200_000, 200_000, ""),
            Compared(seen[1].id, "acc-a", 3_940_000, 3_940_000, 3_940_000, ""),
        ]
        (line,) = table_of(found)
        assert line.startswith("2 runs, 0 differ  device-seconds: scheduler 4,140.000  spool 4,140")
        assert await compared(file, scheduler, *seen, day=parse_date("2025-03-02")) == []


async def test_a_run_that_goes_on_is_open_and_one_that_was_not_read_yet_on_its_way(
    database, tmp_path
):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0))
        await rounds(file, scheduler)
        found = await compared(file, scheduler, run(1, T0), run(2, T0 + 3_000, T0 + 3_100))
        assert reasons(found) == ["open", "on_its_way"]
        assert (found[0].spool, found[0].service) == (1_800_000, 1_800_000)
        assert found[0].scheduler == 2_000 * 4_500


async def test_what_is_quarantined_or_refused_tells_its_code(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        await service.ask("/v1/contracts/A/freeze")
        seen = [run(1, T0, T0 + 100, account="acc-none"), run(2, T0, T0 + 100)]
        scheduler.says(T0 + 4_000, *seen)
        await rounds(file, scheduler)
        assert reasons(await compared(file, scheduler, *seen)) == ["no_contract", "on_its_way"]


async def test_what_the_authority_took_back_and_what_is_gone_is_told(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        seen = [run(1, T0, T0 + 100), run(2, T0, T0 + 200)]
        scheduler.says(T0 + 4_000, *seen)
        await rounds(file, scheduler)
        record = f"{seen[0].id}:h100:{T0}:0"
        await service.ask("/v1/records/void", provider="pcl", id=record, reason="test")
        found = await compared(file, scheduler, seen[0])
        assert reasons(found) == ["voided", "gone"]
        assert (found[0].service, found[1].service) == (0, 400_000)
        lines = list(table_of(found))
        assert lines[1].split()[-1] == "voided"
        assert lines[-1].startswith("2 runs, 2 differ")


async def test_a_difference_that_nothing_explains_is_wrong(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        seen = run(1, T0, T0 + 100)
        scheduler.says(T0 + 4_000, seen)
        await rounds(file, scheduler)
        other = run(1, T0, T0 + 90)  # the scheduler tells another end than it did
        (found,) = await compared(file, scheduler, other)
        assert (found.reason, found.is_wrong) == ("differs", True)
        shutil.rmtree(Path(file.spool).parent)
        (found,) = await compared(file, scheduler, seen)
        assert (found.spool, found.service, found.is_wrong) == (0, 200_000, True)


async def test_without_a_token_or_a_whole_reading_nothing_is_compared(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 4_000, faults=("sacct: exit 1",))
        async with agent_of(file, scheduler) as agent:
            with pytest.raises(ClientError, match="incomplete"):
                await compare_day(agent, file, DAY)
            with pytest.raises(ClientError, match="no_token"):
                await compare_day(
                    agent, replace(file, service=replace(file.service, token=None)), DAY
                )


async def test_a_reason_explains_its_own_difference_and_no_other(database, tmp_path):
    """Neither a void of the authority nor a run that is gone hides what the spool does not know."""
    async with told(database, tmp_path) as (service, file, scheduler):
        seen = [run(1, T0, T0 + 100), run(2, T0, T0 + 200)]
        scheduler.says(T0 + 4_000, *seen)
        await rounds(file, scheduler)
        ids = [f"{each.id}:h100:{T0}:0" for each in seen]
        await service.ask("/v1/records/void", provider="pcl", id=ids[0], reason="test")
        with Spool.changing(Path(file.spool), 1.0) as spool, spool.change():
            spool.adopt(seen[1].id, (), seen[1].terms)
        shorter = run(1, T0, T0 + 90)
        assert reasons(await compared(file, scheduler, shorter)) == ["differs", "differs"]


async def test_a_run_that_ended_since_the_last_round_is_on_its_way(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0))
        await rounds(file, scheduler)
        (found,) = await compared(file, scheduler, run(1, T0, T0 + 1_500))
        assert (found.scheduler, found.service) == (3_000_000, 1_800_000)
        assert found.reason == "on_its_way"


async def test_a_run_that_no_round_will_look_at_again_is_missing(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + LOOK_BACK_SECONDS + 101)
        await rounds(file, scheduler)
        late = run(1, T0, T0 + 101), run(2, T0, T0 + 100)
        assert reasons(await compared(file, scheduler, *late)) == ["on_its_way", "differs"]


async def test_a_question_tells_its_code(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 4_000, run(1, T0, T0 + 100))
        await rounds(file, scheduler)
        found = await compared(file, scheduler, run(1, T0, T0 + 40))
        assert reasons(found) == ["shrunk"]


async def test_what_ended_before_all_that_is_reported_is_not_compared(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        later = replace(file, slurm=replace(file.slurm, since=Instant(T0 + 100)))
        before, after = run(1, T0, T0 + 100), run(2, T0, T0 + 101)
        found = await compared(later, scheduler, before, after)
        assert [(each.run, each.reason) for each in found] == [(after.id, "on_its_way")]


async def test_a_run_belongs_to_each_day_of_which_it_has_a_second(database, tmp_path):
    async with told(database, tmp_path) as (_, file, scheduler):
        last = DAY + DAY_SECONDS - 1
        edges = [run(1, DAY - 100, DAY), run(2, DAY - 100, DAY + 1), run(3, last, last + 9)]
        found = await compared(file, scheduler, *edges, run(4, last + 1, last + 9))
        assert [each.run for each in found] == sorted(each.id for each in edges[1:])
