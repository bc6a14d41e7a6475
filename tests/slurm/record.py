"""Record golden rows from a real Slurm: `python -m tests.slurm.record [CASE…]`, as root.

Each case runs its jobs on a cluster of `cluster.py`, and its rows are written as `sacct` printed
them, with `|` in place of 0x1f. Nothing in `golden/` is typed by hand.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from meter.agent.collect import slurm as collector
from tests.slurm.cluster import Cluster

GOLDEN = Path(__file__).parent / "golden"


def shards(slurm: Cluster) -> list[str]:
    """Two of three shards each: those of a job are on one card, which has four."""
    return [slurm.submit("-w", "shard1", "--gres=shard:3", script="sleep 17") for _ in range(2)]


def mig_declared(slurm: Cluster) -> list[str]:
    wanted = "--gres=gpu:h100:1,gpu:1g.10gb:2"
    return [slurm.submit("-w", "mig1", wanted, script="sleep 5")]


def exclusive(slurm: Cluster) -> list[str]:
    """One asks for two of eight cards, the other for none."""
    asked = slurm.submit("-w", "gpu1", "--exclusive", "--gres=gpu:2", script="sleep 2")
    return [asked, slurm.submit("-w", "gpu2", "--exclusive", script="sleep 7")]


def array_partly_cancelled(slurm: Cluster) -> list[str]:
    """Two of four tasks run, and the others are cancelled before they begin."""
    job = slurm.submit("-w", "npu1", "--gres=npu:1", "--array=0-3%2", script="sleep 7")
    slurm.wait(lambda: "RUNNING" in slurm.state(f"{job}_1"))
    slurm.run("scancel", f"{job}_[2-3]")
    slurm.wait_ended(f"{job}_0", f"{job}_1")
    return [job]


def suspended_then_resized(slurm: Cluster) -> list[str]:
    """Suspended on two nodes, then cut to one: the later row knows nothing of the suspension."""
    job = slurm.submit("-N2", "-w", "gpu1,gpu2", "--gres=gpu:2", script="sleep 60")
    slurm.wait_running(job)
    slurm.run("scontrol", "suspend", job)
    time.sleep(5)
    slurm.run("scontrol", "resume", job)
    time.sleep(2)
    slurm.run("scontrol", "update", f"jobid={job}", "numnodes=1")
    time.sleep(4)
    slurm.run("scancel", job)
    return [job]


def accounting_late(slurm: Cluster) -> str:
    """Return readings after an outage of slurmdbd in which a job began and ended."""
    slurm.stop("slurmdbd")
    job = slurm.submit("--gres=gpu:1", account="acc-none", script="sleep 2")
    slurm.wait(lambda: slurm.state(job) == "COMPLETED")
    time.sleep(3)
    slurm.start("slurmdbd")
    slurm.environment["SLURM_TIME_FORMAT"] = "%s"
    readings = ""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        diagnosis = slurm.run("sdiag").stdout
        (at,) = re.findall(r"^sdiag output at .*\((\d+)\)$", diagnosis, re.MULTILINE)
        (queue,) = re.findall(r"^DBD Agent queue size:\s*(\d+)$", diagnosis, re.MULTILINE)
        squeue = slurm.run(*collector.SQUEUE, "-t", "all", "-j", job).stdout
        sacct = slurm.run(*collector.sacct_command(int(at) - 3600), "-j", job).stdout
        readings += f"## at={at} queue={queue}\n{squeue}## sacct\n{sacct}"
        time.sleep(0.5)
    return readings.replace(collector.SEPARATOR, "|")


CASES: list[Callable[[Cluster], list[str]]] = [
    shards,
    mig_declared,
    exclusive,
    array_partly_cancelled,
    suspended_then_resized,
]


def main(wanted: list[str]) -> None:
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kashi-slurm-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Cluster(folder) as cluster:
            version = cluster.run("sacct", "--version").stdout.strip()
            for case in (each for each in CASES if each.__name__ in wanted):
                jobs = case(cluster)
                cluster.wait_ended(*jobs)
                time.sleep(1)
                write(cluster, case, jobs, version)
            if accounting_late.__name__ in wanted:
                head = f"# {version}, recorded by tests/slurm/record.py (accounting_late)\n"
                (GOLDEN / "accounting-late.readings").write_text(
                    head + accounting_late(cluster), encoding="utf-8"
                )


def write(cluster: Cluster, case: Callable[[Cluster], list[str]], jobs: list[str], by: str) -> None:
    command = [*collector.sacct_command(int(time.time()) - 3600), "-j", ",".join(jobs)]
    cluster.environment["SLURM_TIME_FORMAT"] = "%s"
    rows = cluster.run(*command).stdout.replace(collector.SEPARATOR, "|")
    names = "|".join(collector.FIELDS)
    head = f"# {by}, recorded by tests/slurm/record.py ({case.__name__})\n{names}\n"
    (GOLDEN / f"{case.__name__.replace('_', '-')}.sacct").write_text(head + rows, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or [each.__name__ for each in [*CASES, accounting_late]])
