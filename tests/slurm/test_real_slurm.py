"""The agent on a real Slurm, while everything around it is stopped; and the page that tells of it.

Slices are short here, so that a job of some seconds has several. What must come out is counted anew
from the rows that Slurm has in the end.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from meter.agent.collect import slurm as collector
from meter.client import keygen
from meter.service.running import Endpoint
from meter.values.units import format_instant
from tests.books import policy_text
from tests.services import (
    ORIGIN,
    Clock,
    Service,
    check_sums,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)
from tests.slurm.cluster import NAME, Cluster, free_ports, needs_slurm

PAGE = (Path(__file__).parents[2] / "docs/agent.md").read_text(encoding="utf-8")
KINDS = {"h100": 100, "h100-1g.10gb": 8, "ascend-910b": 64}
SHORT = "slice_seconds = 10\nsettle_seconds = 2\n"
# By Slurm's names, what one device is.
WORTH = {
    "gpu:h100": ("h100", 1_000),
    "gpu:1g.10gb": ("h100-1g.10gb", 1_000),
    "npu:ascend910b": ("ascend-910b", 1_000),
    "shard": ("h100", 250),
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    needs_slurm()
    with tempfile.TemporaryDirectory(prefix="kashi-slurm-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Slurm's accounts pass through
        with Cluster(folder) as running:
            yield running


class Now(Clock):
    """The clock of this machine, which is Slurm's."""

    def __init__(self) -> None:
        pass

    def __call__(self) -> int:
        return int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)


@dataclass
class Site:
    """A service, a cluster, and a folder from which the agent runs."""

    folder: Path
    database: str
    port: int
    slurm: Cluster
    environment: dict[str, str]

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        endpoint = Endpoint("127.0.0.1", self.port)
        place = serving(self.database, self.folder, clock=Now(), endpoint=endpoint)
        async with place as service:
            yield service

    async def kashi(self, *command: str, kill_after: float | None = None) -> tuple[int, str]:
        """Run the agent as a process; returns its exit status and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("kashi")), *command),
            cwd=self.folder / "provider",
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        if kill_after is not None:
            await asyncio.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    async def sh(self, script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=self.folder / "provider",
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()


@contextlib.asynccontextmanager
async def site(database: str, folder: Path, cluster: Cluster) -> AsyncIterator[Site]:
    """Make a ledger with the page's contracts, and the page's file beside a key."""
    (port,) = free_ports(1)
    place = Site(folder, database, port, cluster, dict(cluster.environment))
    async with place.service() as service:
        year = dt.datetime.now(dt.UTC).year
        day, later = f"{year - 1}-12-01", f"{year + 2}-01-01"
        await service.activate(policy_text(starts=day, ends=later))
        await service.ask("/v1/providers", **provider_body(devices=KINDS))
        await service.ask("/v1/enterprises", **enterprise_body())
        for contract in ("TC-2026-0001", "TC-2026-0002"):
            terms = {"signed_on": day, "starts": day, "ends": later}
            terms["prices"] = dict.fromkeys(KINDS, "4.50")
            await service.ask("/v1/contracts", **contract_body(contract, **terms))
        (folder / "provider").mkdir()
        body = keygen(folder / "provider/pcl.key", ORIGIN, "pcl", "pcl-2026a")
        await service.ask("/v1/providers/pcl/keys", **body)
        place.environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "KASHI": f"http://127.0.0.1:{port}",
            "LOG": ORIGIN,
            "GENESIS": service.intake.state.genesis_hash,
            "RECEIPT_KEY": base64.b64encode(receipt_key(service)).decode(),
        }
        await place.sh(block("sh config"))
        # The cluster has jobs of other tests.
        file = folder / "provider/agent.toml"
        now = format_instant(int(time.time()))
        text, count = re.subn(r'since = "[^"]*"', f'since = "{now}"', file.read_text())
        assert count == 1
        file.write_text(text)
    yield place


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def plain(text: str) -> str:
    """Return a text without what differs from run to run."""
    text = re.sub(r"\bnever\b|\d+ s ago", "N s ago", text)
    return re.sub(r"[+-]\d+ s from", "N s from", text)


# The page


async def test_the_page_runs_on_a_real_slurm(database, tmp_path, cluster):
    async with site(database, tmp_path, cluster) as place, place.service() as service:
        assert plain(await place.sh(block("sh doctor"))) == plain(block("text doctor"))
        job = await asyncio.to_thread(cluster.submit, "--gres=gpu:2", script="sleep 3")
        other = await asyncio.to_thread(
            cluster.submit, "--gres=gpu:1", account="acc-none", script="sleep 2"
        )
        for each in (job, other):
            await asyncio.to_thread(
                cluster.wait, lambda each=each: cluster.state(each) == "COMPLETED"
            )
        await asyncio.to_thread(cluster.wait_ended, job, other)
        out = await place.sh(block("sh once"))
        expected = re.sub(r", \d+ s\)", ", 2 s)", block("text once"))
        assert re.sub(r", \d+ s\)", ", 2 s)", plain(out)) == plain(expected)
        runs = Counter(run.split(":")[2] for run, *_ in await metered(service))
        assert runs == {job: 1}


# What doctor finds


async def findings(place: Site) -> str:
    status, out = await place.kashi("agent", "doctor", "--config", "agent.toml")
    assert status == 1, out
    return out


UNFIT = [
    ('cluster = "c1"', 'cluster = "c2"', "this cluster is c1, not c2"),
    ('resource = "gpu:h100"', 'resource = "gpu:h900"', "account for gres/gpu:h900"),
    ('resource = "gpu:h100"', 'resource = "dcu"', "account for gres/dcu"),
    ('log = "kashi', 'log = "other', "wrong_log"),
    ('receipt_key = "', 'receipt_key = "0', "the service signs receipts by"),
    ('keyid = "pcl-2026a"', 'keyid = "pcl-2026b"', "bad_signature"),
    ('id = "pcl"', 'id = "pcm"', "provider_mismatch"),
    ('key = "pcl.key"', 'key = "none.key"', "none.key"),
    ("127.0.0.1:", "127.0.0.2:", "unreachable"),
]


async def test_doctor_names_what_does_not_fit(database, tmp_path, cluster):
    async with site(database, tmp_path, cluster) as place, place.service():
        file = tmp_path / "provider/agent.toml"
        text = file.read_text()
        genesis = place.environment["GENESIS"]
        another = (genesis, genesis[::-1], f"the service's genesis is {genesis}")
        for old, new, told in [another, *UNFIT]:
            assert old in text
            file.write_text(text.replace(old, new, 1))
            out = await findings(place)
            assert any(told in line for line in out.splitlines() if line.startswith("WRONG")), out


async def test_doctor_finds_a_type_that_nodes_have_and_slurm_does_not_account_for(
    database, tmp_path, cluster
):
    """A mapping that knows no slices does not help where nodes have some."""
    from meter.agent.config import read_config
    from meter.agent.doctor import cluster_findings

    async with site(database, tmp_path, cluster):
        config = read_config(tmp_path / "provider/agent.toml")
    settings = cluster.run("scontrol", "show", "config").stdout
    nodes = cluster.run("sinfo", "-h", "-o", "%G").stdout
    assert all(finding.is_good for finding in cluster_findings(config, "c1", settings, nodes))
    bent = settings.replace("gres/gpu:1g.10gb,", "")
    assert bent != settings
    wrong = [each.what for each in cluster_findings(config, "c1", bent, nodes) if not each.is_good]
    assert wrong == ["Slurm does not account for gres/gpu:1g.10gb"]


@pytest.mark.long
async def test_doctor_finds_that_it_may_not_see_the_jobs_of_others(database, tmp_path):
    """With PrivateData, `sacct` of nobody in particular succeeds, and shows nothing."""
    needs_slurm()
    with tempfile.TemporaryDirectory(prefix="kashi-slurm-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Cluster(folder, private=True) as private:
            async with site(database, tmp_path, private) as place, place.service():
                ours = await place.kashi("agent", "doctor", "--config", "agent.toml")
                assert ours[0] == 0, ours[1]
                job = private.submit("--gres=gpu:1", script="sleep 300")
                private.wait_running(job)
                counted = re.compile(r"Jobs running:\s+1$", re.MULTILINE)
                private.wait(lambda: counted.search(private.run("sdiag").stdout) is not None)
                strange = folder / "bin"
                strange.mkdir()
                for command in ("sacct", "squeue", "sdiag", "scontrol", "sinfo"):
                    real = shutil.which(command)
                    as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
                    (strange / command).write_text(f'#!/bin/sh\nexec {as_nobody} {real} "$@"\n')
                    (strange / command).chmod(0o755)
                path = place.environment["PATH"]
                place.environment["PATH"] = f"{strange}:{path}"
                out = await findings(place)
                assert "WRONG  running by sacct 0, squeue 0, sdiag 1" in out
                assert "AdminLevel" in out
                assert out.count("WRONG") == 1
                private.run("scancel", job)


# All of it


JOBS = [  # options, account, seconds
    *((("--gres=gpu:1",), "acc-a", seconds) for seconds in (1, 3, 12, 200, 60)),
    *((("--gres=gpu:h100:2",), "acc-b", seconds) for seconds in (2, 7, 14, 120)),
    *((("--gres=npu:2",), "acc-a", seconds) for seconds in (4, 15, 31)),
    *((("-w", "shard1", "--gres=shard:3"), "acc-b", seconds) for seconds in (5, 16)),
    (("-w", "mig1", "--gres=gpu:h100:1,gpu:1g.10gb:2"), "acc-b", 9),
    (("-N2", "-w", "gpu1,gpu2", "--gres=gpu:1"), "acc-a", 200),
    (("--array=0-23%4", "--gres=npu:1"), "acc-b", 3),
    (("-w", "npu1"), "acc-a", 3),  # no device
]


@pytest.mark.long
async def test_whatever_is_stopped_the_ledger_says_what_slurm_says(database, tmp_path, cluster):
    """The agent is killed again and again, slurmdbd, slurmctld and the service are stopped."""
    async with site(database, tmp_path, cluster) as place:
        file = tmp_path / "provider/agent.toml"
        began = int(time.time())
        file.write_text(file.read_text().replace("[slurm]\n", f"[slurm]\n{SHORT}"))
        jobs = [
            await asyncio.to_thread(
                cluster.submit, *options, account=account, script=f"sleep {seconds}"
            )
            for options, account, seconds in JOBS
        ]
        async with place.service() as service:
            # Some are seen while they run: a slice that is not the last.
            for _ in range(15):
                await rounds(place, 3)
                if any(not final for *_, final in await metered(service)):
                    break
            assert any(not final for *_, final in await metered(service))
            suspended, cancelled, requeued, resized = jobs[3], jobs[4], jobs[8], jobs[15]
            await asyncio.to_thread(cluster.run, "scontrol", "suspend", suspended)
            resize = ("scontrol", "update", f"jobid={resized}", "numnodes=1")
            await asyncio.to_thread(cluster.run, *resize)
            await asyncio.to_thread(cluster.run, "scancel", cancelled)
            await asyncio.to_thread(cluster.run, "scontrol", "requeue", requeued, check=False)
            await asyncio.to_thread(cluster.stop, "slurmdbd")
            await rounds(place, 5)
            await asyncio.to_thread(cluster.start, "slurmdbd")
            await rounds(place, 4)
            await asyncio.to_thread(cluster.run, "scontrol", "resume", suspended)
        await rounds(place, 4)  # nobody takes the batches
        async with place.service() as service:
            await rounds(place, 3)
            await asyncio.to_thread(cluster.stop, "slurmctld")
            await rounds(place, 4)
            await asyncio.to_thread(cluster.start, "slurmctld")
            over = ("scancel", requeued, suspended, resized)
            await asyncio.to_thread(cluster.run, *over, check=False)
            await asyncio.to_thread(cluster.wait_ended, *jobs)
            for _ in range(40):  # until the accounting has caught up
                status, out = await place.kashi("agent", "once", "--config", "agent.toml")
                if status == 0:
                    break
            assert status == 0, out
            assert "quarantine 0" in out
            assert "unsent 0" in out
            rows = await asyncio.to_thread(final_rows, cluster, began)
            found = Counter()
            for run, device, milli, start, end, _ in await metered(service):
                found[run, device] += milli * (end - start)
            assert found == expected(rows)
            assert disjoint(await metered(service))
            assert len({run for run, _ in found}) >= 40
            assert {"RESIZING", "REQUEUED"} <= {row["State"] for row in rows}
            assert any(row["Suspended"] != "00:00:00" for row in rows)
        await check_sums(database)


async def rounds(place: Site, count: int) -> None:
    """Run the agent some times; every second one is killed somewhere."""
    dice = random.Random(count)
    for number in range(count):
        kill_after = dice.uniform(0.3, 1.5) if number % 2 else None
        await place.kashi("agent", "once", "--config", "agent.toml", kill_after=kill_after)
        await asyncio.sleep(0.5)


async def metered(service: Service) -> list[tuple[str, str, int, int, int, bool]]:
    """Return run, device, thousandths, start, end and `final` of each record that counts."""
    entries = await service.entries()
    voided = {entry.record for entry in entries if entry.kind == "void"}
    return [
        (e.run, e.device, e.milli_devices, e.start // 10**6, e.end // 10**6, e.final)
        for number, e in enumerate(entries)
        if e.kind == "usage" and number not in voided
    ]


def final_rows(cluster: Cluster, began: int) -> list[dict[str, str]]:
    """Return the rows of jobs that were submitted since."""
    text = cluster.run("env", "SLURM_TIME_FORMAT=%s", *collector.sacct_command(began - 60)).stdout
    rows = [line.split("\x1f") for line in text.splitlines()]
    named = [dict(zip(collector.FIELDS, row, strict=True)) for row in rows]
    return [row for row in named if int(row["Submit"]) >= began]


def expected(rows: list[dict[str, str]]) -> Counter[tuple[str, str]]:
    """Count thousandths × seconds by run and device, from Slurm's rows and by other means."""
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if not row["Start"].isdecimal():
            continue
        # Without what was suspended, and without what passed before a resizing.
        before = max(0, int(row["Submit"]) - int(row["Start"]))
        seconds = int(row["ElapsedRaw"]) - before
        cards = dict(re.findall(r"gres/([^=]+)=(\d+)", row["AllocTRES"]))
        for name, (device, milli) in WORTH.items():
            if name in cards and seconds and row["Account"] in ("acc-a", "acc-b"):
                run = f"slurm:{NAME}:{row['JobIDRaw']}:{row['Submit']}"
                found[run, device] += int(cards[name]) * milli * seconds
    return found


def disjoint(records: list[tuple[str, str, int, int, int, bool]]) -> bool:
    by_run: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for run, device, _, start, end, _ in records:
        by_run.setdefault((run, device), []).append((start, end))
    ordered = map(sorted, by_run.values())
    return all(one[1] <= two[0] for spans in ordered for one, two in pairwise(spans))
