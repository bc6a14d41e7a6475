"""What goes wrong around the agent: disks, clocks, proxies, keys, an old spool."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from meter.agent.config import Config, read_config
from meter.agent.run import Agent
from meter.agent.status import exit_code
from meter.agent.store import Spool
from meter.client import ClientError, keygen
from tests.agents import PRICES, T0, agent_of, clustered, make_due, metered, rounds, run
from tests.proxies import proxied
from tests.services import ORIGIN, contract_body


def changed(folder: Path, old: str, new: str) -> Config:
    """Change the agent's file, and read it."""
    file = folder / "agent/agent.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return read_config(file)


async def gaps(service) -> int:
    answer = await service.get("/v1/providers/pcl/streams/cluster")
    return answer.json["missing"]


async def test_a_full_disk_stops_a_round_and_loses_nothing(database, tmp_path, monkeypatch):
    """SQLite's own limit of pages stands for the disk: its error is the same."""
    async with clustered(database, tmp_path) as (service, file, scheduler):
        jobs = [run(raw, T0 + raw, T0 + raw + 100) for raw in range(500)]
        scheduler.says(T0 + 900, jobs[0])
        await rounds(file, scheduler)
        connect, faults = Spool._connect, []

        def with_pages(spool: Spool, pages: int) -> None:
            connect(spool)
            spool._db.execute(f"PRAGMA max_page_count = {pages}")

        for pages in (30, 60, 90, 120, 10_000):
            scheduler.says(T0 + 1_000, *jobs)
            with monkeypatch.context() as patch:
                patch.setattr(
                    Spool, "_connect", lambda spool, pages=pages: with_pages(spool, pages)
                )
                try:
                    async with agent_of(file, scheduler) as agent:
                        await agent.once()
                except ClientError as error:
                    faults.append(str(error))
        assert len(faults) >= 2
        assert all("database or disk is full" in fault for fault in faults)
        assert await metered(service) == {job.id: 200_000 for job in jobs}
        assert await gaps(service) == 0


async def test_a_slurm_clock_that_is_ahead_waits_for_the_ledgers(database, tmp_path):
    """It is noon at the service; Slurm says ten past."""
    ahead = T0 + 4 * 3_600 + 600
    async with clustered(database, tmp_path) as (service, file, scheduler):
        seen = run(1, ahead - 100, ahead)
        scheduler.says(ahead + 1, seen)
        outcome, status = await rounds(file, scheduler)
        assert (dict(status.waiting), exit_code(status, outcome.faults)) == ({"in_future": 1}, 3)
        service.clock.advance(601)
        make_due(file)
        scheduler.says(ahead + 601, seen)
        outcome, status = await rounds(file, scheduler)
        assert (dict(status.waiting), exit_code(status, outcome.faults)) == ({}, 0)
        assert await metered(service) == {seen.id: 200_000}


async def test_our_own_clock_decides_nothing(database, tmp_path, monkeypatch):
    """Slices of a running job end by Slurm's clock, however far ahead ours is."""
    from meter.agent import run as rounds_of

    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0))
        with monkeypatch.context() as patch:
            patch.setattr(rounds_of.time, "time", lambda: T0 + 100_000.0)
            outcome, _ = await rounds(file, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 900}
        assert outcome.clock_ahead_seconds["slurm"] == 99_000


async def test_another_length_of_slices_doubles_nothing(database, tmp_path):
    async with clustered(database, tmp_path, slurm="slice_seconds = 300") as (
        service,
        file,
        scheduler,
    ):
        for at in range(T0 + 360, T0 + 2_400, 300):
            scheduler.says(at, run(1, T0 + 7))
        await rounds(file, scheduler)
        other = changed(tmp_path, "slice_seconds = 300", "slice_seconds = 420")
        for at in range(T0 + 2_400, T0 + 5_000, 60):
            scheduler.says(at, run(1, T0 + 7))
        scheduler.says(T0 + 5_000, run(1, T0 + 7, T0 + 4_990))
        _, status = await rounds(other, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0 + 7}": 2_000 * 4_983}
        assert status.milli_device_seconds == {"held": 2_000 * 4_983}


async def test_a_batch_that_is_too_large_on_the_way_is_halved_and_settled(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        async with proxied(service.url) as proxy:
            proxy.largest = 3
            url = file.service.url
            through = changed(tmp_path, url, proxy.url)
            jobs = [run(raw, T0 + raw, T0 + raw + 100) for raw in range(17)]
            scheduler.says(T0 + 900, *jobs)
            _, status = await rounds(through, scheduler)
        assert await metered(service) == {job.id: 200_000 for job in jobs}
        assert status.milli_device_seconds == {"held": 200_000 * 17}
        assert (status.unsent, await gaps(service)) == (0, 0)


async def test_a_record_that_is_too_large_alone_is_shown_and_stops_no_other(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        async with proxied(service.url) as proxy:
            proxy.too_large = f"slurm:c1:4:{T0 + 4}".encode()
            through = changed(tmp_path, file.service.url, proxy.url)
            jobs = [run(raw, T0 + raw, T0 + raw + 100) for raw in range(9)]
            scheduler.says(T0 + 900, *jobs)
            outcome, status = await rounds(through, scheduler)
        assert set(await metered(service)) == {job.id for job in jobs if job is not jobs[4]}
        assert dict(status.refused) == {"http_413": 1}
        assert exit_code(status, outcome.faults) == 3


async def test_answers_that_are_lost_count_nothing_twice(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        async with proxied(service.url, "lost-after", "lost-before", "lost-after") as proxy:
            through = changed(tmp_path, file.service.url, proxy.url)
            for _ in range(4):
                scheduler.says(T0 + 900, run(1, T0, T0 + 100))
            outcome, status = await rounds(through, scheduler)
        assert (outcome.faults, status.unsent) == ([], 0)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 200_000}


async def test_a_receipt_that_nobody_signed_settles_nothing(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        async with proxied(service.url) as proxy:
            proxy.bend = lambda body, _: body.replace(b'"granted":"0.00"', b'"granted":"9.00"')
            through = changed(tmp_path, file.service.url, proxy.url)
            scheduler.says(T0 + 900, run(1, T0, T0 + 100))
            outcome, status = await rounds(through, scheduler)
        assert outcome.faults[0].startswith("bad_receipt_signature")
        assert (status.unsent, status.milli_device_seconds) == (1, {"sent": 200_000})
        scheduler.says(T0 + 950, run(1, T0, T0 + 100))
        straight = changed(tmp_path, proxy.url, service.url)
        _, status = await rounds(straight, scheduler)
        assert (status.unsent, status.milli_device_seconds) == (0, {"held": 200_000})


async def test_a_revoked_key_is_told_and_the_next_key_goes_on(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        await service.ask("/v1/keys/pcl-1/revoke", reason="lost")
        scheduler.says(T0 + 900, run(1, T0, T0 + 100))
        outcome, status = await rounds(file, scheduler)
        assert outcome.faults[0].startswith("key_revoked")
        assert (status.unsent, exit_code(status, outcome.faults)) == (1, 1)
        body = keygen(tmp_path / "agent/new.key", ORIGIN, "pcl", "pcl-2")
        await service.ask("/v1/providers/pcl/keys", **body)
        changed(tmp_path, file.provider.key, str(tmp_path / "agent/new.key"))
        other = changed(tmp_path, '"pcl-1"', '"pcl-2"')
        scheduler.says(T0 + 950, run(1, T0, T0 + 100))
        _, status = await rounds(other, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 200_000}
        assert (status.unsent, await gaps(service)) == (0, 0)


async def test_a_record_that_is_on_its_way_again_is_taken_back_where_it_turns_out_wrong(
    database, tmp_path
):
    """It waited, was put into a batch, and nobody heard that batch; meanwhile the run shrank."""
    async with clustered(database, tmp_path, "B") as (service, file, scheduler):
        scheduler.says(T0 + 900, run(1, T0, T0 + 100))
        _, status = await rounds(file, scheduler)
        assert dict(status.waiting) == {"unknown_contract": 1}
        make_due(file)
        away = changed(tmp_path, file.service.url, "http://127.0.0.1:9")
        for end in (100, 80):
            scheduler.says(T0 + 950, run(1, T0, T0 + end))
        _, status = await rounds(away, scheduler)
        assert status.unsent == 2
        await service.ask("/v1/contracts", **contract_body("A", prices=PRICES))
        back = changed(tmp_path, "http://127.0.0.1:9", file.service.url)
        scheduler.says(T0 + 960, run(1, T0, T0 + 80))
        _, status = await rounds(back, scheduler)
        assert await metered(service) == {f"slurm:c1:1:{T0}": 160_000}
        assert status.milli_device_seconds == {"held": 160_000, "void": 200_000}


async def test_the_spool_of_yesterday_posts_nothing(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0))
        await rounds(file, scheduler)
        spool = Path(file.spool).parent
        shutil.copytree(spool, tmp_path / "yesterday")
        scheduler.says(T0 + 2_000, run(1, T0))
        await rounds(file, scheduler)
        shutil.rmtree(spool)
        shutil.copytree(tmp_path / "yesterday", spool)
        scheduler.says(T0 + 3_000, run(1, T0))
        outcome, status = await rounds(file, scheduler)
        assert outcome.faults[0].startswith("seq_conflict")
        assert exit_code(status, outcome.faults) == 1
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 1_800}


async def test_two_agents_take_turns_and_never_overlap(database, tmp_path):
    async with clustered(database, tmp_path) as (service, file, scheduler):
        scheduler.says(T0 + 1_000, run(1, T0))
        scheduler.says(T0 + 1_000, run(1, T0))
        async with agent_of(file, scheduler) as one:
            with pytest.raises(ClientError, match="in_use"):
                async with agent_of(file, scheduler):
                    pass
            await one.once()
        async with agent_of(file, scheduler) as other:
            await other.once()
        assert await metered(service) == {f"slurm:c1:1:{T0}": 2_000 * 900}


async def test_a_key_file_that_is_none_is_told_before_anything_is_read(tmp_path, database):
    async with clustered(database, tmp_path) as (_, file, scheduler):
        Path(file.provider.key).write_text("no key")
        with pytest.raises(ValueError, match="does not hold the base64"):
            Agent(file, collect=scheduler.collect)
        assert scheduler.since == []


def test_a_spool_that_is_looked_at_changes_nothing(tmp_path):
    with pytest.raises(ClientError, match="spool"), Spool.looking(tmp_path / "none.db"):
        pass
    assert list(tmp_path.iterdir()) == []
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE x (y)")
    with pytest.raises(ClientError, match="spool"), Spool.looking(tmp_path / "other.db") as spool:
        spool.quarantined()
