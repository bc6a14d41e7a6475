"""A real Slurm on this machine: munge, MariaDB, slurmdbd, slurmctld and a slurmd for each node.

    with Cluster(folder) as slurm:
        job = slurm.submit("--gres=gpu:2", "sleep 1")
        slurm.stop("slurmdbd")
        slurm.start("slurmdbd")

It needs Debian's packages and root: munge, MariaDB and Slurm run as their own accounts. All listens
on 127.0.0.1, on ports that were free, and everything is below one folder, whose parents those
accounts must be able to pass. A card is a symbolic link to /dev/null: slurmd wants a character
device, and nobody looks into it.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

NAME = "c1"
PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sacct", "setpriv")
# The nodes, with their cards by kind and number.
NODES = {
    "gpu1": {"gpu:h100": 8},
    "gpu2": {"gpu:h100": 8},
    "npu1": {"npu:ascend910b": 8},
    "mig1": {"gpu:h100": 1, "gpu:1g.10gb": 4},
    "shard1": {"gpu:h100": 4, "shard": 16},
}
TRES = "gres/gpu,gres/gpu:h100,gres/gpu:1g.10gb,gres/shard,gres/npu,gres/npu:ascend910b"  # declared
WAIT_SECONDS = 60


def needs_slurm() -> None:
    """Skip where Slurm is missing or nobody may start it; in CI, fail."""
    missing = [each for each in PROGRAMS if shutil.which(each) is None]
    reason = f"missing: {', '.join(missing)}" if missing else ""
    if os.geteuid() != 0:
        reason = reason or "only root can start Slurm as its accounts"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"a real Slurm cannot run here ({reason}), and CI installs it")
    if reason:
        pytest.skip(f"a real Slurm cannot run here ({reason})")


class Cluster:
    """The parts of one cluster, each of which can be stopped and started again."""

    def __init__(self, folder: Path, *, tres: str = TRES, private: bool = False) -> None:
        self.folder = folder
        names = ("ctld", "dbd", "sql", *NODES)
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tres = tres
        self._private = private
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "etc/slurm.conf"),
            "TZ": "UTC",
        }

    def __enter__(self) -> Self:
        try:
            self._prepare()
            for part in ("munged", "mariadbd"):
                self.start(part)
            self._make_database()
            self.start("slurmdbd")
            self.run("sacctmgr", "-i", "add", "cluster", NAME, check=False)
            self.start("slurmctld")
            for node in NODES:
                self.start(node)
            for account in ("acc-a", "acc-b", "acc-none"):
                self.run("sacctmgr", "-i", "add", "account", account)
                self.run("sacctmgr", "-i", "add", "user", "root", f"account={account}")
            self.wait(lambda: self._idle_nodes() == len(NODES))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in reversed(list(self._processes)):
            self.stop(part)

    # Jobs

    def submit(self, *options: str, account: str = "acc-a", script: str = "sleep 1") -> str:
        """Submit a job; returns its id."""
        command = ("sbatch", "--parsable", "-A", account, "--mem=50", "-o", "/dev/null", *options)
        # The accounts of the database reach the controller a little later.
        for _ in range(100):
            answer = self.run(*command, "--wrap", script, check=False)
            if "Invalid account" not in answer.stderr:
                break
            time.sleep(0.1)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=WAIT_SECONDS
        )
        assert not check or answer.returncode == 0, f"{command}: {answer.stdout}{answer.stderr}"
        return answer

    def state(self, job: str) -> str:
        """Return what the controller says of a job: empty where it has forgotten it."""
        found = self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T", check=False)
        return found.stdout.strip()

    def wait(self, holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, self.tail()
            time.sleep(0.1)

    def wait_ended(self, *jobs: str) -> None:
        """Wait until the accounting knows the end of each job."""

        def ended() -> bool:
            found = self.run("sacct", "-a", "-X", "-n", "-P", "-j", ",".join(jobs), "-o", "End")
            lines = found.stdout.split()
            return len(lines) >= len(jobs) and not {"Unknown", "None"} & set(lines)

        self.wait(ended)

    def wait_running(self, *jobs: str) -> None:
        self.wait(lambda: all(self.state(job) == "RUNNING" for job in jobs))

    # Parts

    def start(self, part: str) -> None:
        """Start a part, and wait until it answers."""
        folder, account = self.folder, {"munged": "munge", "mariadbd": "mysql"}.get(part, "slurm")
        command = {
            "munged": [
                *("munged", "--foreground", f"--key-file={folder}/munge/key"),
                *(f"--socket={folder}/munge/socket", f"--pid-file={folder}/munge/pid"),
                *(f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed"),
            ],
            "mariadbd": [
                *("mariadbd", "--no-defaults", f"--datadir={folder}/mysql"),
                *(f"--socket={folder}/mysql/socket", f"--pid-file={folder}/mysql/pid"),
                *("--bind-address=127.0.0.1", f"--port={self._ports['sql']}"),
                *("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"),
                f"--log-error={folder}/log/mariadb.log",
            ],
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
        }.get(part, ["slurmd", "-D", "-N", part])
        if part not in NODES:
            command = [
                *("setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups"),
                *command,
            ]
        with (folder / "log" / f"{part}.out").open("ab") as out:
            self._processes[part] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        ready = {
            "munged": (folder / "munge/socket").exists,
            "mariadbd": (folder / "mysql/socket").exists,
            "slurmdbd": lambda: listens(self._ports["dbd"]),
            "slurmctld": lambda: self.run("scontrol", "ping", check=False).returncode == 0,
        }.get(part, lambda: listens(self._ports[part]))
        self.wait(ready)

    def stop(self, part: str, number: int = signal.SIGTERM) -> None:
        process = self._processes.pop(part)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def tail(self) -> str:
        """Return the ends of all logs, for a test that failed."""
        logs = sorted((self.folder / "log").iterdir())
        return "\n".join(f"{each.name}:\n{each.read_text()[-400:]}" for each in logs)

    # Making it

    def _prepare(self) -> None:
        folder = self.folder
        for name in ("etc", "log", "state", "spool", "munge", "mysql", "dev"):
            (folder / name).mkdir(mode=0o755)
        key = folder / "munge/key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for node in NODES:
            (folder / "spool" / node).mkdir()
        for name, text in self._files().items():
            file = folder / "etc" / name
            file.write_text(text)
            shutil.chown(file, "slurm", "slurm")
            file.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
        for name in ("log", "state"):
            shutil.chown(folder / name, "slurm", "slurm")
        (folder / "log").chmod(0o777)
        for name in ("munge", "munge/key"):
            shutil.chown(folder / name, "munge", "munge")
        shutil.chown(folder / "mysql", "mysql", "mysql")
        self.run(
            *("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={folder}/mysql"),
            "--auth-root-authentication-method=socket",
        )

    def _make_database(self) -> None:
        sql = (
            "create database slurm; create user 'slurm'@'127.0.0.1' identified by 'slurm';"
            " create user 'slurm'@'localhost' identified by 'slurm';"
            " grant all on slurm.* to 'slurm'@'127.0.0.1';"
            " grant all on slurm.* to 'slurm'@'localhost';"
        )
        self.run("mariadb", "--no-defaults", "-S", f"{self.folder}/mysql/socket", "-e", sql)

    def _idle_nodes(self) -> int:
        return self.run("sinfo", "-h", "-N", "-p", "batch", "-o", "%T").stdout.split().count("idle")

    def _files(self) -> dict[str, str]:
        folder, ports, host = self.folder, self._ports, socket.gethostname()
        private = "PrivateData=jobs,usage\n" if self._private else ""
        gres, nodes, count = "", "", 0
        for node, kinds in NODES.items():
            listed = ",".join(f"{kind}:{number}" for kind, number in kinds.items())
            nodes += (
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]}"
                f" CPUs=64 RealMemory=16000 Gres={listed} State=UNKNOWN\n"
            )
            for kind, number in kinds.items():
                name, _, type_ = kind.partition(":")
                if name == "shard":
                    gres += f"NodeName={node} Name=shard Count={number}\n"
                    continue
                for link in range(count, count + number):
                    (folder / "dev" / f"card{link}").symlink_to("/dev/null")
                gres += f"NodeName={node} Name={name} Type={type_}"
                gres += f" File={folder}/dev/card[{count}-{count + number - 1}]\n"
                count += number
        slurm = f"""\
ClusterName={NAME}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=slurm
SlurmdUser=root
SlurmctldPort={ports["ctld"]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/state/slurmctld.pid
SlurmdPidFile={folder}/spool/%n/pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
KillWait=2
MinJobAge=60
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports["dbd"]}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES={self._tres}
AccountingStorageEnforce=associations
JobAcctGatherType=jobacct_gather/linux
GresTypes=gpu,npu,shard
{private}{nodes}PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 OverSubscribe=YES
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=100
"""
        slurmdbd = f"""\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports["dbd"]}
SlurmUser=slurm
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/state/slurmdbd.pid
{private}StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports["sql"]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""
        return {"slurm.conf": slurm, "slurmdbd.conf": slurmdbd, "gres.conf": gres}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
