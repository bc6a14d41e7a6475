"""What a reading takes from Slurm's commands, and when it calls itself complete.

The commands are scripts here, so that each can fail; tests/slurm has the real ones.
"""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.agent.collect import slurm
from meter.agent.config import Config
from meter.agent.devices import Unvaluable, devices_in
from meter.agent.doctor import cluster_findings
from tests.agents import config

T0 = 1_795_912_741
SDIAG = """\
*******************************************************
sdiag output at Sun Nov 29 15:37:33 2026 ({at})
*******************************************************
Agent queue size:     7
DBD Agent queue size: {queue}

Jobs running: 2
"""


def row(**changes: str) -> str:
    values = {
        "Cluster": "c1",
        "JobIDRaw": "1",
        "JobID": "1",
        "DBIndex": "1",
        "Account": "acc-a",
        "Partition": "batch",
        "State": "COMPLETED",
        "Submit": str(T0),
        "Start": str(T0),
        "End": str(T0 + 9),
        "ElapsedRaw": "9",
        "Suspended": "00:00:00",
        "AllocTRES": "billing=1,cpu=1,gres/gpu:h100=1,gres/gpu=1,node=1",
        "NodeList": "gpu1",
    }
    return slurm.SEPARATOR.join((values | changes).values())


OPEN = {"State": "RUNNING", "End": "Unknown"}


class Commands:
    """Slurm's commands, as scripts on the path."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        self.sdiag(0)
        self.prints("squeue", "")
        self.prints("sacct", "")

    def script(self, name: str, text: str) -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        file.chmod(0o755)

    def prints(self, name: str, text: str) -> None:
        (self.folder / f"{name}.txt").write_text(text, encoding="utf-8")
        self.script(name, f"cat {self.folder}/{name}.txt")

    def sdiag(self, *queues: int) -> None:
        """Print these lengths of the queue in turn, the last one for ever."""
        for number, queue in enumerate(queues):
            text = SDIAG.format(at=T0 + 100, queue=queue)
            (self.folder / f"sdiag.{number}").write_text(text, encoding="utf-8")
        script = (
            f"cd {self.folder}; n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) >count;"
            f" cat sdiag.$((n < {len(queues)} ? n : {len(queues) - 1}))"
        )
        self.script("sdiag", script)


@pytest.fixture
def commands(tmp_path, monkeypatch) -> Commands:
    return Commands(tmp_path, monkeypatch)


async def read():
    return await slurm.read("c1", T0 - 100, T0 + 5_000, 60)


async def test_a_reading_has_the_controllers_time_and_is_complete(commands):
    commands.prints("sacct", f"{row()}\n")
    found = await read()
    assert (found.at, found.faults, found.is_complete) == (T0 + 100, (), True)
    assert list(found.runs) == [f"slurm:c1:1:{T0}"]


async def test_one_empty_queue_in_ten_samples_is_enough(commands):
    commands.sdiag(*[5] * 9, 0)
    assert (await read()).is_complete
    (commands.folder / "count").unlink()
    commands.sdiag(*[5] * 10, 0)
    assert (await read()).faults == ("sdiag: 5 messages wait for slurmdbd",)


@pytest.mark.parametrize("name", ["sacct", "squeue", "sdiag"])
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Problem talking to the database' >&2; exit 1", "exit 1: Problem talking"),
        ("cat FILE; echo 'slow database' >&2", "slow database"),
        ("kill -9 $$", "exit -9"),
    ],
)
async def test_a_complaint_makes_a_reading_incomplete(commands, name, script, told):
    commands.script(name, script.replace("FILE", str(commands.folder / "sdiag.0")))
    found = await read()
    assert any(fault.startswith(f"{name}: ") and told in fault for fault in found.faults)


async def test_a_command_that_is_missing_makes_a_reading_incomplete(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = await read()
    assert [fault.partition(":")[0] for fault in found.faults] == ["sdiag", "squeue", "sacct"]
    assert found.at == T0 + 5_000


async def test_a_command_that_hangs_is_ended(commands, monkeypatch):
    monkeypatch.setattr(slurm, "_TIMEOUT_SECONDS", 0.2)
    commands.script("sacct", "exec sleep 60")
    assert (await read()).faults == ("sacct: no answer within 0.2 s",)


async def test_what_fails_is_not_read_though_it_printed_rows(commands):
    commands.script("sacct", f"echo '{row()}'; exit 1")
    assert (await read()).runs == {}


async def test_with_a_complaint_whole_rows_still_count(commands):
    commands.prints("sacct", f"{row()}\n{row(JobIDRaw='2')[:40]}")
    found = await read()
    assert list(found.runs) == [f"slurm:c1:1:{T0}"]
    assert found.faults[0].startswith("sacct: a row is not whole: c1")


@pytest.mark.parametrize(
    ("squeue", "is_missing"),
    [
        (f"2|RUNNING|{T0 + 40}|NONE", True),
        (f"2|RUNNING|{T0 + 41}|NONE", False),  # the accounting may lag for so long
        (f"2|SUSPENDED|{T0}|NONE", True),
        (f"2|COMPLETING|{T0}|{T0 + 90}", True),
        (f"2|COMPLETED|{T0}|{T0 + 40}", True),
        (f"2|COMPLETED|{T0}|{T0 + 41}", False),
        (f"2|CANCELLED|{T0}|{T0 + 40}", True),
        (f"2|CANCELLED|{T0}|{T0}", False),  # before it began
        (f"2|PENDING|{T0}|NONE", False),  # when it may begin
        ("2|PENDING|N/A|N/A", False),
        (f"2|CONFIGURING|{T0}|NONE", False),
        (f"1|COMPLETED|{T0}|{T0 + 9}", False),
        (f"1|RUNNING|{T0 + 20}|NONE", True),  # again, and the accounting has the first run only
    ],
)
async def test_what_squeue_has_long_shown_and_the_accounting_lacks_makes_a_reading_incomplete(
    commands, squeue, is_missing
):
    commands.prints("sacct", f"{row()}\n")
    commands.prints("squeue", f"{squeue}\n")
    told = f"sacct is behind squeue by 1 runs: {squeue[0]}"
    assert (await read()).faults == ((told,) if is_missing else ())


async def test_an_end_that_squeue_has_long_shown_and_the_accounting_lacks_is_told(commands):
    commands.prints("squeue", f"1|COMPLETED|{T0}|{T0 + 9}\n")
    commands.prints("sacct", f"{row(**OPEN)}\n")
    assert (await read()).faults == ("sacct is behind squeue by 1 runs: 1",)
    # The first row of a resized run has an end, the second has none yet.
    commands.prints("sacct", f"{row(State='RESIZING')}\n{row(**OPEN, Submit=str(T0 + 9))}\n")
    assert len((await read()).faults) == 1


async def test_a_row_of_squeue_that_cannot_be_read_is_told(commands):
    commands.prints("squeue", f"2|RUNNING|{T0}\n")
    assert (await read()).faults == (f"squeue: a row is not whole: 2|RUNNING|{T0}",)


@pytest.mark.parametrize(
    "changes",
    [
        {"Submit": "Unknown"},
        {"Start": "2026-11-29T15:37:29"},
        {"End": "-"},
        {"ElapsedRaw": ""},
        {"State": ""},
        {"JobIDRaw": "1.batch"},
        {"JobIDRaw": "٣"},
        {"Submit": "9" * 13},
        {"NodeList": f"gpu1{slurm.SEPARATOR}x"},
    ],
)
def test_a_row_that_cannot_be_read_is_told(changes):
    rows, faults = slurm.rows_of(row(**changes), "c1")
    assert (rows, len(faults)) == ([], 1)


def test_a_row_of_another_cluster_is_told():
    assert slurm.rows_of(row(Cluster="c2"), "c1")[1] == [
        "sacct: a row is of the cluster c2, not c1"
    ]


async def test_foreign_settings_change_neither_rows_nor_cluster(commands, monkeypatch):
    for name in ("SACCT_FORMAT", "SQUEUE_FORMAT", "SLURM_CLUSTERS"):
        monkeypatch.setenv(name, "JobID")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    commands.script("squeue", f"env >{commands.folder}/seen")
    await read()
    seen = dict(line.split("=", 1) for line in (commands.folder / "seen").read_text().splitlines())
    assert not {"SACCT_FORMAT", "SQUEUE_FORMAT", "SLURM_CLUSTERS"} & set(seen)
    assert (seen["TZ"], seen["SLURM_TIME_FORMAT"]) == ("UTC", "%s")
    assert seen["SLURM_CONF"] == "/etc/slurm.conf"


def test_the_command_has_no_state_and_no_names_of_jobs():
    command = slurm.sacct_command(T0)
    assert "2026-11-28T23:39:01" not in command  # UTC, not Shanghai's
    assert command[command.index("-S") + 1] == "2026-11-29T00:39:01"
    assert {"-a", "-X", "-D", "-P", "-n", "--noconvert"} <= set(command)
    assert not {"-s", "-T"} & set(command)
    assert not {"JobName", "Comment", "Restarts"} & set(command[-1].split("=")[1].split(","))


CELLS = st.one_of(
    st.sampled_from(["1", f"{T0}", "Unknown", "None", "0", "RUNNING", "SUSPENDED", "00:00:16"]),
    st.sampled_from(["gres/gpu=1", "gres/gpu:a=1,gres/gpu=1", "gres/gpu=-1", "c1", "9" * 30]),
    st.text(max_size=20),
)
ROWS = st.lists(CELLS, min_size=13, max_size=15).map(slurm.SEPARATOR.join)


@given(st.lists(st.one_of(ROWS, st.text(max_size=60)), max_size=4).map("\n".join), st.text())
def test_no_output_whatever_stops_the_reader(sacct, squeue):
    rows, _ = slurm.rows_of(sacct, "c1")
    shown, _ = slurm.shown_by(squeue)
    slurm.missing_in(rows, shown, T0)
    for each in slurm.runs_of(rows, slurm.confirmed_by(shown)).values():
        assert 0 < each.begin < 10**12
        assert each.end is None or each.begin <= each.end < 10**12
        assert 0 <= each.ran < 10**12
        with contextlib.suppress(Unvaluable):
            assert all(0 < count < 10**9 * 99 for count in devices_in(each.allocation).values())


# Which runs there are


def runs(*rows: str, squeue: str = "") -> dict:
    found, faults = slurm.rows_of("\n".join(rows), "c1")
    assert not faults
    shown, faults = slurm.shown_by(squeue)
    assert not faults
    return slurm.runs_of(found, slurm.confirmed_by(shown))


def standings(*rows: str, squeue: str = "") -> list[str]:
    return [each.standing for each in runs(*rows, squeue=squeue).values()]


@pytest.mark.parametrize(
    ("squeue", "standing"),
    [
        (f"1|RUNNING|{T0}|NONE", "open"),
        (f"1|SUSPENDED|{T0}|NONE", "open"),
        (f"1|COMPLETED|{T0}|NONE", "doubtful"),
        (f"1|COMPLETING|{T0}|NONE", "doubtful"),
        (f"2|RUNNING|{T0}|NONE", "doubtful"),
        ("", "doubtful"),
        # The same job runs again, and the accounting lacks both an end and the new run.
        (f"1|RUNNING|{T0 + 60}|NONE", "doubtful"),
    ],
)
def test_a_run_without_an_end_is_open_where_the_controller_has_it_of_this_start(squeue, standing):
    assert standings(row(**OPEN), squeue=f"{squeue}\n") == [standing]


def test_an_end_counts_whatever_the_state_says():
    assert standings(row(State="RUNNING")) == ["ended"]
    assert standings(row(State="COMPLETED", End="Unknown")) == ["doubtful"]


@pytest.mark.parametrize("start", ["None", "Unknown", "0", ""])
def test_what_never_began_is_no_run(start):
    assert runs(row(Start=start, State="CANCELLED by 0")) == {}


def test_of_two_open_rows_of_a_job_only_the_later_one_can_run():
    resized = row(**OPEN, Submit=str(T0 + 50))
    assert standings(row(**OPEN), resized, squeue=f"1|RUNNING|{T0}|NONE") == ["doubtful", "open"]


def test_a_resized_run_begins_when_it_was_resized_and_counts_no_second_twice():
    (found,) = runs(row(Submit=str(T0 + 8), End=str(T0 + 45), ElapsedRaw="45")).values()
    assert (found.begin, found.end, found.ran) == (T0 + 8, T0 + 45, 37)


def test_one_run_in_two_rows_is_not_chosen_from():
    assert standings(row(), row(AllocTRES="gres/gpu=9")) == ["twice"]
    assert len(runs(row(), row(Submit=str(T0 + 1)))) == 2


@pytest.mark.parametrize(
    ("changes", "was_suspended"),
    [
        ({}, False),
        ({"Suspended": "00:00:16"}, True),
        ({"Suspended": "1-00:00:00"}, True),
        ({"State": "SUSPENDED", "End": "Unknown"}, True),
    ],
)
def test_a_run_tells_whether_it_was_suspended(changes, was_suspended):
    (found,) = runs(row(**changes)).values()
    assert found.was_suspended is was_suspended


# What doctor finds in Slurm's settings

SETTINGS = "AccountingStorageTRES = billing,cpu,gres/gpu,gres/gpu:h100,gres/GPU:1g.10gb,gres/npu{}"
NAMED = "\nClusterName             = c1\n"
NODES = (
    "gpu:h100:8(S:0-1)\nnpu:ascend910b:8\n(null)\ngpu:h100:1,gpu:1g.10gb:4,shard:h100:4(h100:4)\n"
)


def wrong(file: Config, settings: str, nodes: str = NODES) -> list[str]:
    return [each.what for each in cluster_findings(file, "c1", settings, nodes) if not each.is_good]


def test_each_mapped_resource_and_each_type_of_it_has_to_be_accounted_for(tmp_path):
    file = config(tmp_path)
    good = SETTINGS.format(",gres/npu:ascend910b,gres/shard") + NAMED
    assert wrong(file, good) == []
    assert wrong(file, SETTINGS.format(",gres/shard") + NAMED) == [
        "Slurm does not account for gres/npu:ascend910b"
    ]
    assert wrong(file, SETTINGS.format(",gres/npu:ascend910b") + NAMED) == [
        "Slurm does not account for gres/shard"
    ]
    assert wrong(file, good, "gpu:a100:2\n") == ["Slurm does not account for gres/gpu:a100"]
    assert wrong(file, good.replace("c1", "c9"))[0] == "this cluster is c9, not c1"


def test_a_slurm_without_a_field_is_told():
    known = "Account AllocTRES Cluster DBIndex ElapsedRaw End JobID JobIDRaw NodeList Partition"
    assert slurm.missing_fields(known) == ["State", "Submit", "Start", "Suspended"]
