"""The agent sums days up: against a real service, and a scheduler that says what a test lets it."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, structs

from meter.agent.adopt import adopt
from meter.agent.doctor import examine
from meter.agent.push import Reporter
from meter.agent.run import Agent
from meter.agent.status import ATTENTION, GOOD, exit_code
from meter.agent.store import Spool
from meter.agent.summary import MAX_SUMMARIES, due_days, summary_of
from meter.agent.usage import FilePart, Reading
from meter.rules.entries import DaySummarised
from meter.values.units import DAY_SECONDS, day_of, format_instant, parse_instant
from tests.agents import MAP, NO_PAUSE, T0, agent_of, clustered, metered, reading, rounds, run
from tests.books import DAY, HOUR
from tests.meter.test_agent_adopt import told

MIDNIGHT = parse_instant("2025-03-02T00:00:00+08:00")  # after the day of T0
DUE = MIDNIGHT + 2 * HOUR
ENDED = (1, T0, T0 + 1_800)


async def summaries(service) -> list[DaySummarised]:
    return [entry for entry in await service.entries() if isinstance(entry, DaySummarised)]


async def at(service, instant: int) -> int:
    """Let the service's clock stand at an instant."""
    service.clock.set(format_instant(instant))
    return instant


async def test_a_day_is_summed_up_two_hours_after_it_once(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        await at(service, DUE)
        for instant in (DUE - 1, DUE, DUE + 60):
            scheduler.says(instant, run(*ENDED))
            outcome, status = await rounds(file, scheduler)
            assert len(await summaries(service)) == (instant >= DUE)
        (entry,) = await summaries(service)
        assert (entry.stream, entry.day, entry.differing) == ("cluster", "2025-03-01", 0)
        assert (entry.records, entry.device_seconds) == (1, "3600.000")
        nothing = dict.fromkeys(("refused", "quarantined", "doubtful", "ignored"), (0, 0))
        assert entry.scheduler == nothing | dict.fromkeys(("reported", "total"), (1, 1_800))
        assert exit_code(status, outcome.faults) == GOOD
        (_, line) = status.lines(DUE)
        assert line.endswith("  2025-03-01 agreed")


async def test_each_run_counts_by_what_became_of_it(database, tmp_path):
    map_ = MAP + '\n    [[ignore]]\n    account = "staff"\n'
    async with clustered(database, tmp_path, map_=map_) as (service, file, scheduler):
        await service.ask("/v1/contracts/B/freeze", reason="asked about")
        runs = (
            run(*ENDED),
            run(2, T0, T0 + 100, account="nobody"),
            run(3, T0, T0 + 200, account="staff"),
            run(4, T0, T0 + 400, allocation="cpu=4,node=1"),
            run(5, T0, T0 + 800, account="acc-b"),
            replace(run(6, MIDNIGHT - 50), standing="doubtful"),
            run(7, MIDNIGHT - 30, MIDNIGHT + 30),
        )
        scheduler.says(T0 + 2_000, *runs[:5])
        await rounds(file, scheduler)
        await at(service, DUE)
        scheduler.says(DUE, *runs)
        await rounds(file, scheduler)
        (entry,) = await summaries(service)
        assert entry.scheduler == {
            "reported": (2, 1_830),
            "refused": (1, 800),
            "quarantined": (1, 100),
            "doubtful": (1, 50),
            "ignored": (2, 600),
            "total": (7, 3_380),
        }
        # Of the run across midnight, 30 s are of this day; the map has no contract for 'nobody'.
        assert (entry.records, entry.device_seconds) == (2, f"{2 * 1_830}.000")
        assert entry.differing == 0


async def test_days_without_usage_are_summed_up_and_so_are_those_that_were_missed(
    database, tmp_path
):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        later = await at(service, DUE + 3 * DAY)
        scheduler.says(later, run(*ENDED))
        await rounds(file, scheduler)
        told = [(entry.day, entry.records, entry.differing) for entry in await summaries(service)]
        assert told == [
            ("2025-03-01", 1, 0),
            ("2025-03-02", 0, 0),
            ("2025-03-03", 0, 0),
            ("2025-03-04", 0, 0),
        ]
        answer = await service.get("/v1/questions")
        assert answer.json["questions"] == []


async def test_a_correction_after_the_summary_makes_another_that_names_it(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        await at(service, DUE)
        scheduler.says(DUE, run(*ENDED))
        await rounds(file, scheduler)
        scheduler.says(DUE + 60, run(1, T0, T0 + 1_200))  # it was shorter
        scheduler.says(DUE + 120, run(1, T0, T0 + 1_200))
        _, status = await rounds(file, scheduler)
        first, second = await summaries(service)
        (number,) = [n for n, each in enumerate(await service.entries()) if each == first]
        assert (first.replaces, second.replaces) == (UNSET, number)
        assert (second.records, second.device_seconds) == (1, "2400.000")
        assert second.differing == 0
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 1_200}
        assert [each[1] for each in status.summaries] == ["agreed"]


async def test_nothing_is_summed_up_while_a_reading_is_not_complete_or_a_batch_unsent(
    database, tmp_path
):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        await at(service, DUE)
        scheduler.says(DUE, run(*ENDED), faults=("sacct: slow",))
        await rounds(file, scheduler)
        assert await summaries(service) == []
        there = structs.replace(file.service, url="http://127.0.0.1:9")
        scheduler.says(DUE + 60, run(*ENDED), run(2, T0, T0 + 100))
        await rounds(structs.replace(file, service=there), scheduler)
        async with agent_of(file, scheduler) as agent:
            assert agent.spool.unsent_since()[0] == 1
            assert agent.spool.summaries(9) == []
        scheduler.says(DUE + 120, run(*ENDED), run(2, T0, T0 + 100))
        await rounds(file, scheduler)
        (entry,) = await summaries(service)
        assert (entry.records, entry.differing) == (2, 0)


async def test_a_file_that_is_read_in_parts_is_summed_up_after_the_last_one(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000)
        await rounds(file, scheduler)
        await at(service, DUE)
        parts = [
            replace(reading(DUE, each), part=FilePart(source="f", is_anew=False, has_more=more))
            for each, more in ((run(*ENDED), True), (run(2, T0, T0 + 100), False))
        ]

        async def collect(_since: int) -> Reading:
            return replace(parts.pop(0), cursor="1")

        async with Agent(file, collect=collect, **NO_PAUSE) as agent:
            await agent.once()
        (entry,) = await summaries(service)
        assert (entry.records, entry.differing) == (2, 0)


@pytest.mark.parametrize("loses", ["the request", "the answer"])
async def test_a_summary_whose_answer_is_lost_is_posted_again_and_counts_once(
    database, tmp_path, monkeypatch, loses
):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        await at(service, DUE)
        settle = Reporter._settle
        if loses == "the answer":
            monkeypatch.setattr(Reporter, "_settle", _dies)
        else:
            monkeypatch.setattr("meter.client.Service.post_batch", _dies)
        scheduler.says(DUE, run(*ENDED))
        with pytest.raises(KeyboardInterrupt):
            await rounds(file, scheduler)
        monkeypatch.undo()
        assert Reporter._settle is settle
        scheduler.says(DUE + 60, run(*ENDED))
        _, status = await rounds(file, scheduler)
        assert len(await summaries(service)) == 1
        assert [each[1] for each in status.summaries] == ["agreed"]


def _twice(spool: Spool, day: int) -> dict[str, Any]:
    """Return a summary whose lines stand there twice."""
    made = summary_of(spool, day)
    return {**made, "usage": made["usage"] * 2}


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


async def test_what_differs_wants_attention_until_it_agrees(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED), run(2, T0, T0 + 100))
        await rounds(file, scheduler)
        record = f"slurm:c1:2:{T0}:h100:{T0}:0"
        await service.ask("/v1/records/void", provider="pcl", id=record, reason="in dispute")
        await at(service, DUE)
        scheduler.says(DUE, run(*ENDED), run(2, T0, T0 + 100))
        outcome, status = await rounds(file, scheduler)
        (entry,) = await summaries(service)
        line = ("A", "h100", 1, "3600.000", 2, "3800.000")
        assert (entry.differing, entry.differs) == (1, [line])
        assert exit_code(status, outcome.faults) == ATTENTION
        assert list(status.lines(DUE))[1].endswith("  2025-03-01 differs")
        findings = [each async for each in examine(file)]
        assert [f.what for f in findings if f.remedy and "summary" in f.what] == [
            "the summary of 2025-03-01: differs"
        ]
        page = (await service.get("/v1/providers/pcl/summaries")).json
        (told,) = page["summaries"]
        assert told["differs"][0]["told_device_seconds"] == "3800.000"
        questions = (await service.get("/v1/questions")).json["questions"]
        assert [each["kind"] for each in questions] == ["summary_differs"]
        # Slurm takes the run back too, and a person says yes.
        scheduler.says(DUE + 60, run(*ENDED), run(2, T0, T0 + 1))
        await rounds(file, scheduler)
        async with Agent(file, collect=scheduler.collect, **NO_PAUSE) as agent:
            (held,) = agent.spool.questions()
            assert agent.spool.approve([held.name]) == []
        scheduler.says(DUE + 120, run(*ENDED), run(2, T0, T0 + 1))
        outcome, status = await rounds(file, scheduler)
        assert (await summaries(service))[-1].differing == 0
        assert exit_code(status, outcome.faults) == GOOD
        assert (await service.get("/v1/questions")).json["questions"] == []


async def test_a_summary_that_comes_too_early_is_sent_again_after_an_hour(database, tmp_path):
    async with clustered(database, tmp_path) as (_, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        scheduler.says(DUE, run(*ENDED))  # the service's clock is far behind
        scheduler.says(DUE + 60, run(*ENDED))
        _, status = await rounds(file, scheduler)
        assert [each[1] for each in status.summaries] == ["rejected"]
        async with agent_of(file, scheduler) as agent:
            made_at = sqlite3.connect(file.spool).execute("SELECT made_at FROM summary")
            (instant,) = made_at.fetchone()
            days = [due_days(agent.spool, at) for at in (instant + HOUR, instant + HOUR + 1)]
        assert (day_of(T0) in days[0], day_of(T0) in days[1]) == (False, True)


async def test_a_summary_that_the_service_cannot_read_holds_nothing_up(
    database, tmp_path, monkeypatch
):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        await at(service, DUE)
        monkeypatch.setattr("meter.agent.run.summary_of", _twice)
        scheduler.says(DUE, run(*ENDED))
        outcome, status = await rounds(file, scheduler)
        assert [each.code for each in outcome.report.not_taken] == ["bad_batch"]
        assert [each[1] for each in status.summaries] == ["refused"]
        assert status.unsent == 0
        scheduler.says(DUE + 60, run(*ENDED), run(2, T0, T0 + 100))
        await rounds(file, scheduler)
        assert len(await metered(service)) == 2


async def test_an_adopted_spool_sums_up_again_what_it_adopted(database, tmp_path):
    async with told(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 2_000, run(*ENDED))
        await rounds(file, scheduler)
        await at(service, DUE)
        scheduler.says(DUE, run(*ENDED))
        await rounds(file, scheduler)
        shutil.rmtree(Path(file.spool).parent)
        later = await at(service, DUE + DAY)
        scheduler.says(later, run(*ENDED))
        async with agent_of(file, scheduler) as agent:
            await adopt(agent, file, later)
        scheduler.says(later + 60, run(*ENDED))
        _, status = await rounds(file, scheduler)
        found = {entry.day: entry for entry in await summaries(service)}
        assert found["2025-03-01"].replaces is not UNSET
        assert (found["2025-03-01"].records, found["2025-03-02"].records) == (1, 0)
        assert status.disagreeing == ()
        assert (await service.get("/v1/questions")).json["questions"] == []


def test_days_are_due_from_the_first_reading_on_some_at_a_time():
    class Known:
        def fact(self, _name: str) -> str | None:
            return self.first

        def summed_up(self, _before: int) -> dict[int, bool]:
            return dict.fromkeys(self.known, False)

    spool = Known()
    spool.first, spool.known = None, set()
    assert due_days(spool, DUE) == []
    spool.first = str(day_of(T0))
    assert due_days(spool, DUE - 1) == []
    assert due_days(spool, DUE) == [day_of(T0)]
    far = due_days(spool, DUE + 99 * DAY_SECONDS)
    assert far == list(range(day_of(T0), day_of(T0) + MAX_SUMMARIES))
    spool.known = set(far)
    assert due_days(spool, DUE + 99 * DAY_SECONDS)[0] == far[-1] + 1
