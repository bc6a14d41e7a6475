"""The agent is killed at any moment, again and again, while jobs begin, end and are corrected.

The service is a real one. `KASHI_KILLS=300` kills so often, in place of a handful of times.
"""

import asyncio
import os
import random
import signal
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from tests.agents import T0, clustered, metered
from tests.meter.test_agent_commands import kashi
from tests.meter.test_agent_faults import gaps
from tests.meter.test_agent_slurm import SDIAG, row
from tests.services import check_sums

KILLS = int(os.environ.get("KASHI_KILLS", "6"))
MOST_JOBS = 12  # at a time


@dataclass
class Job:
    """A job as it truly runs; its end is told wrongly, and late, at first."""

    raw: int
    account: str
    cards: int
    begin: int
    end: int
    told_wrong_until: int
    wrong_end: int

    @property
    def run(self) -> str:
        return f"slurm:c1:{self.raw}:{self.begin}"

    def row(self, at: int) -> str:
        end = self.wrong_end if at < self.told_wrong_until else self.end
        is_over = at >= self.end
        return row(
            JobIDRaw=f"{self.raw}",
            Account=self.account,
            State="COMPLETED" if is_over else "RUNNING",
            Submit=f"{self.begin}",
            Start=f"{self.begin}",
            End=f"{end}" if is_over else "Unknown",
            ElapsedRaw=f"{(end if is_over else at) - self.begin}",
            AllocTRES=f"cpu=1,gres/gpu:h100={self.cards},gres/gpu={self.cards}",
        )


@dataclass
class World:
    """What Slurm's commands print while time goes on; each file is replaced whole."""

    folder: Path
    dice: random.Random
    at: int = T0
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("sacct", "squeue", "sdiag"):
            script = self.folder / name
            script.write_text(f"#!/bin/sh\nexec cat {self.folder}/{name}.txt\n", encoding="utf-8")
            script.chmod(0o755)
        self.tell()

    def go_on(self) -> None:
        self.at += self.dice.randrange(60, 1_500)
        running = sum(job.end > self.at for job in self.jobs)
        for _ in range(self.dice.randrange(MOST_JOBS - min(running, MOST_JOBS - 1))):
            begin = self.at - self.dice.randrange(60)
            end = begin + self.dice.randrange(60, 4_000)
            account = self.dice.choice(["acc-a", "acc-b"])
            wrong_end = end + self.dice.choice([0, 0, -20, 20])
            cards = self.dice.randrange(1, 9)
            told = end + self.dice.randrange(2_000)
            self.jobs.append(Job(len(self.jobs), account, cards, begin, end, told, wrong_end))
        self.tell()

    def end(self) -> None:
        self.at = max(self.at, *(max(job.end, job.told_wrong_until) for job in self.jobs)) + 100
        self.tell()

    def tell(self) -> None:
        running = [job for job in self.jobs if job.end > self.at]
        squeue = "".join(f"{job.raw}|RUNNING|{job.begin}|NONE\n" for job in running)
        rows = "".join(f"{job.row(self.at)}\n" for job in self.jobs)
        sdiag = SDIAG.format(at=self.at, queue=0)
        for name, text in (("sdiag", sdiag), ("squeue", squeue), ("sacct", rows)):
            draft = self.folder / "draft"
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.folder / f"{name}.txt")

    def expected(self) -> dict[str, int]:
        """Return thousandths × seconds by run, from what truly happened."""
        return {job.run: 1_000 * job.cards * (job.end - job.begin) for job in self.jobs}


@pytest.mark.long
async def test_killed_at_any_moment_the_agent_loses_and_doubles_nothing(
    database, tmp_path, monkeypatch
):
    dice = random.Random(KILLS)
    world = World(tmp_path / "bin", dice)
    monkeypatch.setenv("PATH", str(world.folder), prepend=":")
    async with clustered(database, tmp_path) as (service, _, _):
        for _ in range(KILLS):
            service.clock.advance(4_600)  # it stays ahead of Slurm's
            await killed_somewhere(tmp_path, world)
        before = await metered(service)
        assert before  # it got that far in between
        world.end()
        service.clock.advance(36_000)
        for _ in range(3):  # what was left on its way may wait for an answer of its own
            code, out, complaint = await kashi(tmp_path, "once")
            if code == 0:
                break
        assert (code, complaint) == (0, ""), out
        assert await metered(service) == world.expected()
        assert await gaps(service) == 0
        spans: dict[str, list[tuple[int, int]]] = {}
        entries = await service.entries()
        voided = {e.record for e in entries if e.kind == "void"}
        for number, entry in enumerate(entries):
            if entry.kind == "usage" and number not in voided:
                spans.setdefault(entry.run, []).append((entry.start, entry.end))
        for each in map(sorted, spans.values()):
            assert all(one[1] <= two[0] for one, two in pairwise(each))
    await check_sums(database)


async def killed_somewhere(folder: Path, world: World) -> None:
    """Run the agent while time goes on, and kill it at any moment."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("kashi")),
        *("agent", "run", "--config", str(folder / "agent/agent.toml"), "--every", "1"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    for _ in range(3):
        world.go_on()
        await asyncio.sleep(world.dice.uniform(0.2, 1.2))
    assert process.returncode is None
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
