"""Files of jobs in parts, with lines that are too long, and names that two jobs have."""

import time

import pytest

from meter.agent.collect import job_file
from meter.agent.config import read_config
from meter.agent.run import Agent
from tests.agents import NO_PAUSE, T0, metered
from tests.meter.test_agent_job_file import HEAD, MAPPING, line, name, site

LONG = "x" * (job_file.MAX_LINE_BYTES + 9)


async def replay(place) -> None:
    async with Agent(read_config(place.folder / "agent.toml"), **NO_PAUSE) as agent:
        agent.spool.look_back(T0)


def quarantined(status) -> dict[str, str]:
    return {each.run: each.trouble.code for each in status.quarantined}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_first_line_that_is_too_long_keeps_no_other_from_being_read(tmp_path, form):
    """The reader goes on behind each part, or a round would never end."""
    (tmp_path / "jobs.toml").write_text(MAPPING.replace("csv", form))
    head = HEAD if form == "csv" else ""
    (tmp_path / "jobs.csv").write_text(head + f"{LONG}\n" + "\n".join("abcdef") + "\n")
    cursor, numbers = None, []
    for _ in range(5):
        places = tmp_path / "jobs.csv", tmp_path / "jobs.toml"
        reading = job_file.read(*places, cursor, max_lines=2)
        cursor = reading.cursor
        numbers += [each.number for each in reading.part.bad]
    first = 1 + len(head.splitlines())
    assert numbers == list(range(first, first + 7))
    assert not reading.part.has_more


async def test_a_name_of_two_jobs_stays_so_whatever_comes_behind(database, tmp_path):
    async with site(database, tmp_path) as place:
        for text in (HEAD + line(1, T0 + 10), line(1, T0 + 99, begin=T0 + 70)):
            place.writes(text)
            await place.once()
        place.writes(line(1, T0 + 99, begin=T0 + 70))  # written once more
        _, status = await place.once()
        assert quarantined(status) == {name(1): "twice"}
        assert await metered(place.service) == {name(1): 20_000}


async def test_a_name_that_was_mended_far_behind_is_read(database, tmp_path, monkeypatch):
    monkeypatch.setattr(job_file, "MAX_LINES", 3)
    async with site(database, tmp_path) as place:
        others = "".join(line(job, T0 + 10) for job in range(2, 8))
        place.writes(HEAD + others + line(8, T0 + 10) + line(8, T0 + 99, begin=T0 + 70))
        _, status = await place.once()
        assert quarantined(status) == {name(8): "twice"}
        wrong = line(8, T0 + 99, begin=T0 + 70)
        place.changes("jobs.csv", wrong, wrong.replace("8,1,", "9,1,", 1))
        await replay(place)
        later = time.time() + 9
        monkeypatch.setattr(job_file.time, "time", lambda: later)
        _, status = await place.once()
        assert quarantined(status) == {}
        found = await metered(place.service)
        assert (found[name(8)], found[name(9)]) == (20_000, 58_000)


async def test_a_new_file_that_uses_a_name_again_takes_nothing_back(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(job_file.time, "time", lambda: T0 + 1_000.0)
    async with site(database, tmp_path) as place:
        place.writes(HEAD + line(1, T0 + 10) + line(2, T0 + 10))
        await place.once()
        place.jobs.unlink()
        place.writes(HEAD + line(1, T0 + 99, begin=T0 + 70) + line(3, T0 + 10) + line(4, T0 + 9))
        _, status = await place.once()
        assert quarantined(status) == {name(1): "twice"}
        assert (await metered(place.service))[name(1)] == 20_000
        await replay(place)  # a begin that is mended is the same job's
        place.changes("jobs.csv", line(1, T0 + 99, begin=T0 + 70), line(1, T0 + 10, begin=T0 + 2))
        _, status = await place.once()
        assert quarantined(status) == {}
        assert (await metered(place.service))[name(1)] == 16_000
