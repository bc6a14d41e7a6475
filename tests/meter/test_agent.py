"""The agent against a real service: readings in, records in the ledger, nothing lost or doubled."""

import contextlib
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from meter.agent.config import Config, read_config
from meter.agent.plan import MAX_AGE_SECONDS, Slice
from meter.agent.run import Agent
from meter.agent.spool import NotTaken
from meter.agent.status import exit_code, status_of
from meter.agent.store import Spool
from meter.agent.usage import Run
from meter.client import ClientError
from meter.values.units import parse_instant
from tests.agents import (
    MAP,
    NOON,
    PRICES,
    T0,
    Scheduler,
    agent_of,
    clustered,
    config,
    make_due,
    metered,
    rounds,
    run,
)
from tests.services import contract_body


async def test_a_job_is_seen_while_it_runs_and_whole_once_it_ended(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        for at in range(T0, T0 + 2_101, 300):
            scheduler.says(at, run(1, T0 + 10))
        await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0 + 10}": 2_000 * 1_790}
        scheduler.says(T0 + 2_200, run(1, T0 + 10, T0 + 2_110))
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0 + 10}": 2_000 * 2_100}
        assert exit_code(status, outcome.faults) == 0
        assert status.milli_device_seconds == {"held": 2_000 * 2_100}


async def test_a_round_with_nothing_new_posts_nothing(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        for at in (T0 + 200, T0 + 300, T0 + 400):
            scheduler.says(at, run(1, T0, T0 + 100))
        outcome, _ = await rounds(file, scheduler)
        assert outcome.report.receipts == []
        assert [e.kind for e in await service.entries()].count("batch") == 1


async def test_an_incomplete_reading_keeps_the_cursor_and_reports_what_is_certain(
    database, tmp_path
):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0, run(1, T0 - 9, T0 - 1))
        doubtful = run(3, T0, standing="doubtful")
        scheduler.says(T0 + 9, run(2, T0, T0 + 5), doubtful, faults=("5 messages wait",))
        scheduler.says(T0 + 5_000, run(2, T0, T0 + 5), doubtful, faults=("5 messages wait",))
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {
            f"slurm:c1:1:{T0 - 9}": 2_000 * 8,
            f"slurm:c1:2:{T0}": 2_000 * 5,
        }
        # The run of before is missing, but the reading is not complete.
        assert (status.questions, status.doubtful, status.complete_at) == ((), 1, T0)
        assert exit_code(status, outcome.faults) == 1
        assert scheduler.since[1:] == [T0 - 172_800, T0 - 172_800]


async def test_it_looks_back_to_the_oldest_run_without_an_end(database, tmp_path):
    async with clustered(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0, run(1, T0 - 900_000), run(2, T0 - 5, T0))
        scheduler.says(T0 + 9, run(1, T0 - 900_000), run(2, T0 - 5, T0))
        await rounds(file, scheduler)
        assert scheduler.since[1] == T0 - 900_000 - 172_800


async def test_what_ended_before_the_agents_time_is_not_its_business(database, tmp_path):
    since = 'since = "2025-03-01T08:00:00+08:00"'
    async with clustered(database, tmp_path, slurm=since) as (service, file, scheduler):
        scheduler.says(T0 + 99, run(1, T0 - 50, T0), run(2, T0 - 50, T0 + 1))
        await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:2:{T0 - 50}": 2_000 * 51}


async def test_an_unmapped_run_waits_and_is_reported_whole_once_it_is_mapped(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        unmapped = run(1, T0, T0 + 100, account="acc-none")
        scheduler.says(T0 + 200, unmapped)
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {}
        assert [each.trouble.code for each in status.quarantined] == ["no_contract"]
        assert "quarantine 1 (acc-none: no_contract, 100 s)" in next(status.lines(T0))
        assert exit_code(status, outcome.faults) == 3
        text = (tmp_path / "agent/agent.toml").read_text()
        text += '\n[[contract]]\naccount = "acc-none"\ncontract = "B"\n'
        (tmp_path / "agent/agent.toml").write_text(text)
        # Even if the accounting forgot it meanwhile.
        scheduler.says(T0 + 300)
        service.clock.advance(3_600)
        mapped = read_config(tmp_path / "agent/agent.toml")
        _, status = await rounds(mapped, scheduler)
        assert await metered(service) == {unmapped.id: 2_000 * 100}
        assert status.quarantined == ()


async def test_a_contract_that_is_not_registered_yet_is_waited_for(database, tmp_path):
    async with clustered(database, tmp_path, "B") as (service, file, scheduler):
        scheduler.says(T0 + 200, run(1, T0, T0 + 100))
        outcome, status = await rounds(file, scheduler)
        assert dict(status.waiting) == {"unknown_contract": 1}
        assert exit_code(status, outcome.faults) == 3
        await service.ask("/v1/contracts", **contract_body("A", prices=PRICES))
        scheduler.says(T0 + 300, run(1, T0, T0 + 100))
        _, status = await rounds(file, scheduler)
        assert dict(status.waiting) == {"unknown_contract": 1}  # not at once
        make_due(file)
        scheduler.says(T0 + 400, run(1, T0, T0 + 100))
        _, status = await rounds(file, scheduler)
        assert (dict(status.waiting), status.milli_device_seconds) == ({}, {"held": 200_000})


async def test_a_record_that_waits_follows_the_map(database, tmp_path):
    async with clustered(database, tmp_path, "B") as (service, file, scheduler):
        scheduler.says(T0 + 200, run(1, T0, T0 + 100))
        await rounds(file, scheduler)
        text = (
            (tmp_path / "agent/agent.toml").read_text().replace('contract = "A"', 'contract = "B"')
        )
        (tmp_path / "agent/agent.toml").write_text(text)
        scheduler.says(T0 + 300, run(1, T0, T0 + 100))
        _, status = await rounds(read_config(tmp_path / "agent/agent.toml"), scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 200_000}
        assert (dict(status.waiting), dict(status.refused)) == ({}, {})
        assert [e.contract for e in await service.entries() if e.kind == "usage"] == ["B"]


async def test_a_record_of_a_device_that_the_contract_lacks_is_refused_and_shown(
    database, tmp_path
):
    text = '\n[[contract]]\naccount = "acc-a"\ncontract = "A"\n'
    text += '\n[[device]]\nresource = "gpu:h100"\ndevice = "h900"\n'
    async with clustered(database, tmp_path, map_=text) as (service, file, scheduler):
        scheduler.says(T0 + 200, run(1, T0, T0 + 100))
        scheduler.says(T0 + 300, run(1, T0, T0 + 100))
        outcome, status = await rounds(file, scheduler)
        assert dict(status.refused) == {"unknown_device": 1}
        assert exit_code(status, outcome.faults) == 3
        assert outcome.report.receipts == []  # it is not sent again and again
        assert await metered(service) == {}


async def test_a_shorter_end_is_corrected_in_the_ledger(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(1, T0))
        scheduler.says(T0 + 2_100, run(1, T0, T0 + 1_700))
        scheduler.says(T0 + 2_200, run(1, T0, T0 + 1_700))
        _, status = await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 1_700}
        assert status.milli_device_seconds == {"held": 3_400_000, "void": 3_600_000}


async def test_where_a_void_is_refused_its_record_counts_and_nothing_in_its_place(
    database, tmp_path
):
    """The first slice is too old for a void by the service's clock, the second is not."""
    async with clustered(database, tmp_path) as (service, file, scheduler):
        for at in (T0 + 1_000, T0 + 2_000):
            scheduler.says(at, run(1, T0))
        await rounds(file, scheduler)
        moved = run(1, T0, T0 + 1_700, account="acc-b")
        await approve_all(file, scheduler, T0 + 3_000, moved)
        noon = parse_instant(NOON)
        service.clock.advance(T0 + 900 + MAX_AGE_SECONDS + 50 - noon)
        for at in (T0 + 3_100, T0 + 3_200):
            scheduler.says(at, moved)
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {moved.id: 2_000 * 1_700}
        assert [each.trouble.code for each in status.questions] == ["not_voided"]
        assert exit_code(status, outcome.faults) == 3
        assert "not_voided" in "".join(status.lines(T0))
        first = f"{moved.id}:h100:{T0}:0"
        await service.ask("/v1/records/void", provider="pcl", id=first, reason="as asked")
        await approve_all(file, scheduler, T0 + 3_300, moved)
        scheduler.says(T0 + 3_400, moved)
        _, status = await rounds(file, scheduler)
        assert await metered(service) == {moved.id: 2_000 * 800}
        assert (status.questions, dict(status.refused)) == ((), {"too_late": 1})


async def approve_all(file, scheduler: Scheduler, at: int, *runs) -> None:
    """Let a round ask its questions, and approve them."""
    scheduler.says(at, *runs)
    async with agent_of(file, scheduler) as agent:
        await agent.once()
        assert not agent.spool.approve([each.name for each in agent.spool.questions()])


async def test_a_correction_is_finished_also_where_the_accounting_is_not_looked_at_so_far_back(
    database, tmp_path
):
    """The answer to the void comes a round later, and then the run is out of sight."""
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 200, run(1, T0, T0 + 100))
        await rounds(file, scheduler)
        away = config(
            tmp_path / "agent",
            genesis=file.service.genesis,
            receipt_key=file.service.receipt_key,
        )
        scheduler.says(T0 + 300, run(1, T0, T0 + 90))
        await rounds(away, scheduler)
        back = config(
            tmp_path / "agent",
            url=service.url,
            genesis=file.service.genesis,
            receipt_key=file.service.receipt_key,
        )
        scheduler.says(T0 + 400, faults=("sacct: exit 1",))
        _, status = await rounds(back, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 90}
        assert status.milli_device_seconds == {"held": 180_000, "void": 200_000}


async def test_a_run_that_is_gone_is_asked_about_and_corrected_once_approved(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        seen = run(1, T0, T0 + 100)
        scheduler.says(T0 + 200, seen)
        scheduler.says(T0 + 300)
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {seen.id: 200_000}
        assert [each.trouble.code for each in status.questions] == ["vanished"]
        assert exit_code(status, outcome.faults) == 3
        scheduler.says(T0 + 400)
        scheduler.says(T0 + 500)
        async with agent_of(file, scheduler) as agent:
            assert agent.spool.approve([agent.spool.questions()[0].name]) == []
            await agent.once()
        outcome, status = await rounds(file, scheduler)
        assert await metered(service) == {}
        assert status.milli_device_seconds == {"void": 200_000}
        assert status.questions == ()
        assert exit_code(status, outcome.faults) == 0


async def test_a_run_that_comes_back_after_it_was_taken_back_is_reported_again(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        seen = run(1, T0, T0 + 100)
        for runs in ([seen], []):
            scheduler.says(T0 + 200, *runs)
        await rounds(file, scheduler)
        for runs in ([], [seen], [seen]):
            scheduler.says(T0 + 300, *runs)
        async with agent_of(file, scheduler) as agent:
            agent.spool.approve([agent.spool.questions()[0].name])
        await rounds(file, scheduler)
        assert await metered(service) == {seen.id: 200_000}
        ids = [entry.id for entry in await service.entries() if entry.kind == "usage"]
        assert ids == [f"{seen.id}:h100:{T0}:{revision}" for revision in (0, 1)]


async def test_a_run_that_comes_back_raises_no_question_any_more(database, tmp_path):
    async with clustered(database, tmp_path) as (_, file, scheduler):
        seen = run(1, T0, T0 + 100)
        for runs in ([seen], [], [seen]):
            scheduler.says(T0 + 200, *runs)
        _, status = await rounds(file, scheduler)
        assert status.questions == ()


async def test_an_open_run_that_a_reading_does_not_show_is_not_sliced(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        unmapped = run(1, T0, account="acc-none")
        scheduler.says(T0 + 1_000, unmapped)
        await rounds(file, scheduler)
        text = (tmp_path / "agent/agent.toml").read_text()
        text += '\n[[contract]]\naccount = "acc-none"\ncontract = "B"\n'
        (tmp_path / "agent/agent.toml").write_text(text)
        scheduler.says(T0 + 2_000)
        _, status = await rounds(read_config(tmp_path / "agent/agent.toml"), scheduler)
        assert await metered(service) == {}
        assert status.doubtful == 1


async def test_a_run_that_was_ignored_is_reported_once_the_map_says_so(database, tmp_path):
    ignored = '\n[[ignore]]\naccount = "acc-none"\n'
    async with clustered(database, tmp_path, map_=MAP + ignored) as (service, file, scheduler):
        seen = run(1, T0, T0 + 100, account="acc-none")
        for _ in range(2):
            scheduler.says(T0 + 200, seen)
        outcome, status = await rounds(file, scheduler)
        assert exit_code(status, outcome.faults) == 0
        text = (tmp_path / "agent/agent.toml").read_text()
        text = text.replace("[[ignore]]", "[[contract]]") + 'contract = "B"\n'
        (tmp_path / "agent/agent.toml").write_text(text)
        scheduler.says(T0 + 300, seen)
        await rounds(read_config(tmp_path / "agent/agent.toml"), scheduler)
        assert await metered(service) == {seen.id: 200_000}


async def test_what_is_settled_is_not_written_again(database, tmp_path, monkeypatch):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        jobs = [run(raw, T0 + raw, T0 + raw + 100) for raw in range(100)]
        scheduler.says(T0 + 300, *jobs)
        await rounds(file, scheduler)
        do, names = Spool._do, []

        def counting(spool: Spool, name: str, *values: object) -> None:
            names.append(name)
            do(spool, name, *values)

        monkeypatch.setattr(Spool, "_do", counting)
        scheduler.says(T0 + 360, *jobs, run(100, T0, T0 + 350))
        await rounds(file, scheduler)
        assert names.count("put_run") == names.count("judge_run") == names.count("put_slice") == 1
        assert len(await metered(service)) == 101


async def test_a_dry_round_changes_and_posts_nothing(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 200, run(1, T0, T0 + 100))
        async with agent_of(file, scheduler) as agent:
            outcome = await agent.once(is_dry=True)
            assert [each.id for each in outcome.records] == [f"slurm:c1:1:{T0}:h100:{T0}:0"]
            assert status_of(agent.spool).complete_at is None
        assert await metered(service) == {}
        scheduler.says(T0 + 200, run(1, T0, T0 + 100))
        await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 200_000}


async def test_during_an_outage_batches_gather_and_go_afterwards(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        url = service.url
        away = config(
            tmp_path / "agent",
            url="http://127.0.0.1:9",
            genesis=file.service.genesis,
            receipt_key=file.service.receipt_key,
        )
        for at in (T0 + 1_000, T0 + 2_000):
            scheduler.says(at, run(1, T0))
        outcome, status = await rounds(away, scheduler)
        assert (status.unsent, status.receipt_at) == (2, None)
        assert exit_code(status, outcome.faults) == 1
        back = config(
            tmp_path / "agent",
            url=url,
            genesis=file.service.genesis,
            receipt_key=file.service.receipt_key,
        )
        scheduler.says(T0 + 2_100, run(1, T0))
        _, status = await rounds(back, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 1_800}
        assert status.unsent == 0


# The spool


async def test_the_spool_is_of_one_process_and_one_stream_and_closed_to_others(database, tmp_path):
    async with clustered(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0, run(1, T0 - 9, T0))
        async with agent_of(file, scheduler) as agent:
            await agent.once()
            with pytest.raises(ClientError, match="in_use"):
                await agent_of(file, scheduler).__aenter__()
            folder = Path(file.spool).parent
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
        other = (tmp_path / "agent/agent.toml").read_text()
        (tmp_path / "agent/agent.toml").write_text(other.replace('"cluster"', '"another"'))
        with pytest.raises(ClientError, match="other_stream"):
            await agent_of(read_config(tmp_path / "agent/agent.toml"), scheduler).__aenter__()


@pytest.mark.parametrize("standing", ["voiding", "void", "held"])
async def test_a_record_that_is_to_be_taken_back_stays_so_whatever_is_said_of_it(
    database, tmp_path, standing
):
    async with clustered(database, tmp_path) as (_, file, scheduler):
        seen = run(1, T0 - 9, T0)
        scheduler.says(T0, seen)
        async with agent_of(file, scheduler) as agent:
            await agent.once()
            [one] = slices_of(agent, seen)
            agent.spool.adopt(seen.id, [replace(one, standing=standing)], seen.terms)
            agent.spool.note(NotTaken({"id": one.id}, "conflict", "other content"))
            assert [each.standing for each in slices_of(agent, seen)] == [standing]


def slices_of(agent: Agent, seen: Run) -> list[Slice]:
    _, known = agent.spool.run(seen.id)
    return list(known.slices)


async def test_what_is_no_spool_is_told_and_left_alone(tmp_path):
    file = config(tmp_path / "agent", receipt_key="x")
    place = Path(file.spool)
    place.parent.mkdir()
    place.write_bytes(b"no database at all, but of the length of a page" * 99)
    with pytest.raises(ClientError, match=r"spool: .*not a database"):
        await agent_of(file, Scheduler()).__aenter__()
    assert place.read_bytes().startswith(b"no database")


async def test_a_number_that_another_batch_has_says_that_the_spool_is_not_the_newest(
    database, tmp_path
):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0, run(1, T0 - 9, T0))
        await rounds(file, scheduler)
        for each in Path(file.spool).parent.iterdir():
            each.unlink()
        scheduler.says(T0 + 9, run(1, T0 - 9, T0), run(2, T0, T0 + 1))
        outcome, status = await rounds(file, scheduler)
        assert "not the stream's newest" in outcome.faults[0]
        assert exit_code(status, outcome.faults) == 1
        assert await metered(service) == {f"slurm:c1:1:{T0 - 9}": 18_000}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.long
async def test_a_kill_between_any_two_writes_loses_and_doubles_nothing(
    database, tmp_path, monkeypatch
):
    """One more write succeeds each time, until the story needs no more of them."""
    async with clustered(database, tmp_path) as (service, _, scheduler):
        do, left = Spool._do, 0

        def dying(spool: Spool, name: str, *values: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            do(spool, name, *values)

        async def story(own: Config, begin: int) -> None:
            seen = run(1, begin, begin + 100), run(2, begin + 20, account="acc-b")
            longer = run(1, begin, begin + 130), run(2, begin + 20, begin + 700, account="acc-b")
            for at, runs in ((begin + 1_000, seen), (begin + 1_100, longer)):
                scheduler.says(at, *runs)
                async with agent_of(own, scheduler) as agent:
                    await agent.once()

        text = (tmp_path / "agent/agent.toml").read_text()
        for allowed in range(200):
            begin, left = T0 - allowed * 10_000, allowed
            other = text.replace('"cluster"', f'"cluster-{allowed}"')
            other = other.replace("/spool/", f"/spool-{allowed}/")
            (tmp_path / "agent/agent.toml").write_text(other)
            own = read_config(tmp_path / "agent/agent.toml")
            with monkeypatch.context() as patch:
                patch.setattr(Spool, "_do", dying)
                with contextlib.suppress(Killed):
                    await story(own, begin)
            scheduler.readings.clear()
            if left >= 0:
                break
            await story(own, begin)  # the next processes see the same
            found = await metered(service)
            assert found[f"slurm:c1:1:{begin}"] == 2_000 * 130, allowed
            assert found[f"slurm:c1:2:{begin + 20}"] == 2_000 * 680, allowed
            async with agent_of(own, scheduler) as agent:
                status = status_of(agent.spool)
            assert (status.unsent, dict(status.refused), status.questions) == (0, {}, ())
        assert allowed > 20
