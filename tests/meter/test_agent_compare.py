"""The runs of a day by the scheduler, the spool and the service, and what explains a difference."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from meter.agent.compare import Compared, compare_day, table_of
from meter.client import ClientError
from meter.values.units import parse_date
from tests.agents import run
from tests.meter.test_agent import T0, agent_of, rounds
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
