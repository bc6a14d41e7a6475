"""Rows that a real Slurm printed become the device-seconds that they are.

Those of tests/slurm/golden were recorded by tests/slurm/record.py; more are in KASHI_REAL_DATA.
"""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from meter.agent.collect import slurm
from meter.agent.devices import devices_in
from meter.agent.plan import Known, plan
from meter.agent.slice import Rhythm
from meter.agent.usage import Run
from tests.agents import MAP, config, golden, golden_rows

RECORDED = Path(__file__).parents[1] / "slurm/golden"
LATER = 2_000_000_000  # seconds; all of these ended long before
MAPPED = MAP + '\n    [[contract]]\n    account = "acc-none"\n    contract = "B"\n'
CHARGED = MAP.replace('contract = "A"', 'contract = "A"\n    suspended = "charge"')

# Thousandths of devices × seconds by device kind.
EXPECTED = {
    "shards": {"h100": 25_500},
    "mig-declared": {"h100": 5_000, "h100-1g.10gb": 10_000},
    "exclusive": {"h100": 16_000 + 56_000},
    "array-partly-cancelled": {"ascend-910b": 14_000},
    # Of 7 s the first row was suspended for 5; the second row knows nothing of that.
    "suspended-then-resized": {"h100": 4_000 * 2 + 2_000 * 4},
}


def reported(runs: dict[str, Run], folder: Path, map_: str = MAP) -> tuple[list, dict]:
    """Return the slices of runs that have ended, and why others are not reported."""
    slices, quarantined = [], {}
    for run in runs.values():
        made = plan(run, Known(), config(folder, map_=map_).map, Rhythm(), LATER)
        slices += made.slices
        if made.quarantine is not None:
            quarantined[run.id] = made.quarantine.code
    return slices, quarantined


def device_seconds(slices: list) -> dict[str, int]:
    found = Counter()
    for each in slices:
        found[each.device] += each.milli_devices * (each.end - each.start)
    return dict(found)


@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_rows_become_what_they_are(name, tmp_path):
    slices, quarantined = reported(golden(RECORDED / f"{name}.sacct").runs, tmp_path)
    assert quarantined == {}
    assert device_seconds(slices) == EXPECTED[name]


def test_each_recorded_file_is_looked_at():
    assert {file.stem for file in RECORDED.glob("*.sacct")} == set(EXPECTED)


def test_a_run_that_the_accounting_lacks_makes_a_reading_incomplete_whatever_the_queue_says():
    """Readings after an outage of slurmdbd, in which an unmapped job began and ended."""
    text = (RECORDED / "accounting-late.readings").read_text(encoding="utf-8")
    heads = re.findall(r"^## at=(\d+) queue=(\d+)$", text, re.MULTILINE)
    parts = re.split(r"^## at=.*\n", text, flags=re.MULTILINE)[1:]
    standings = []
    for (at, queue), part in zip(heads, parts, strict=True):
        squeue, sacct = part.split("## sacct\n")
        rows, wrong = slurm.rows_of(sacct.replace("|", slurm.SEPARATOR), "c1")
        shown, unread = slurm.shown_by(squeue)
        assert (wrong, unread) == ([], [])
        standing = [each.standing for each in slurm.runs_of(rows, set()).values()]
        is_complete = not slurm.missing_in(rows, shown, int(at) - 2)
        assert is_complete == (standing == ["ended"])
        assert is_complete or int(queue)  # here the queue told it too
        standings.append("".join(standing))
    assert list(dict.fromkeys(standings)) == ["", "doubtful", "ended"]


def test_what_was_suspended_counts_where_the_contract_says_so(tmp_path):
    runs = golden(RECORDED / "suspended-then-resized.sacct").runs
    slices, _ = reported(runs, tmp_path, CHARGED)
    assert device_seconds(slices) == {"h100": 4_000 * 7 + 2_000 * 4}


# The real data: each case has its sum, and a line for each run


SLICE = re.compile(
    r"(?P<raw>\d+)@(?P<submit>\d+): (?P<device>\S+) milli=(?P<milli>\d+) from=(?P<start>\d+)"
    r" until=(?P<end>\d+) seconds=\d+ milli_device_seconds=(?P<sum>\d+)"
)


def cases(folder: Path) -> dict[str, int]:
    """Return the device-seconds of each case in the index."""
    text = (folder / "sacct-golden/INDEX.txt").read_text(encoding="utf-8")
    found = re.findall(r"^(\S+): (\d+) device-seconds$", text, re.MULTILINE)
    assert len(found) >= 15
    return {name: int(seconds) for name, seconds in found}


def test_rows_of_a_real_cluster_become_the_device_seconds_of_its_index(real_data, tmp_path):
    for name, seconds in cases(real_data).items():
        file = real_data / f"sacct-golden/{name}.sacct"
        slices, quarantined = reported(golden(file).runs, tmp_path, MAPPED)
        assert sum(device_seconds(slices).values()) == 1_000 * seconds, name
        lines = file.with_suffix(".expect").read_text(encoding="utf-8")
        sums = Counter()
        for each in slices:
            _, _, raw, submit = each.run.split(":")
            key = (raw, submit, each.device, str(each.milli_devices))
            sums[key] += each.milli_devices * (each.end - each.start)
        expected = {
            (found["raw"], found["submit"], found["device"], found["milli"]): int(found["sum"])
            for found in SLICE.finditer(lines)
        }
        assert sums == expected, name
        assert bool(quarantined) == ("QUARANTINE" in lines), name


def test_a_run_of_a_real_cluster_is_in_quarantine_until_it_is_mapped(real_data, tmp_path):
    runs = golden(real_data / "sacct-golden/17-unmapped.sacct").runs
    assert reported(runs, tmp_path) == ([], {"slurm:c1:14:1795912741": "no_contract"})
    slices, quarantined = reported(runs, tmp_path, MAPPED)
    assert (device_seconds(slices), quarantined) == ({"h100": 8_000}, {})


def test_a_type_that_is_not_accounted_for_is_not_guessed(real_data, tmp_path):
    runs = golden(real_data / "sacct-golden/12-mig-undeclared.sacct").runs
    assert reported(runs, tmp_path) == ([], {"slurm:c1:35:1795913198": "types_differ"})


def test_suspended_time_of_a_real_cluster_counts_where_it_is_charged(real_data, tmp_path):
    runs = golden(real_data / "sacct-golden/06-suspended.sacct").runs
    slices, _ = reported(runs, tmp_path, CHARGED)
    assert device_seconds(slices) == {"h100": 176_000}


def test_what_slurm_writes_as_json_agrees_with_the_rows(real_data):
    """JSON changes its shape by release, so the agent reads rows; both have to say the same."""
    folder = real_data / "sacct-golden"
    runs = {}
    for name in ("05-resized", "06-suspended"):
        runs |= golden(folder / f"{name}.sacct").runs
    text = (folder / "json-22.05-resized-and-suspended.json").read_text(encoding="utf-8")
    jobs = json.loads(text)["jobs"]
    assert len(jobs) == 3
    for job in jobs:
        time = job["time"]
        seen = runs[f"slurm:c1:{job['job_id']}:{time['submission']}"]
        assert (seen.begin, seen.end) == (max(time["start"], time["submission"]), time["end"])
        assert seen.ran == time["elapsed"] - (seen.begin - time["start"])
        assert seen.was_suspended == (time["suspended"] > 0)
        typed = {each["name"]: each["count"] for each in job["tres"]["allocated"]}
        typed.pop("gpu")
        assert devices_in(seen.allocation) == typed


def test_a_late_accounting_invents_nothing(real_data, tmp_path):
    """The readings after an outage of slurmdbd: each run once, when its end is known."""
    text = (real_data / "sacct-golden/20-accounting-late.readings").read_text(encoding="utf-8")
    head, *parts = re.split(r"^## .*reading .*$", text, flags=re.MULTILINE)
    names = head.strip().splitlines()[-1]
    known: dict[str, Known] = {}
    sums = []
    for part in parts:
        rows, faults = slurm.rows_of("\n".join(golden_rows(names + part)), "c1")
        assert not faults
        found = Counter()
        for run in slurm.runs_of(rows, set()).values():
            before = known.get(run.id, Known())
            made = plan(run, before, config(tmp_path).map, Rhythm(10, 1), LATER)
            known[run.id] = Known([*before.slices, *made.slices], run.terms)
            raw = int(run.id.split(":")[2])
            found[raw] += sum(device_seconds(made.slices).values()) // 1_000
        sums.append({raw: seconds for raw, seconds in found.items() if seconds})
    assert [each for each in sums if each] == [{29: 12, 30: 6}, {48: 3}]
    assert sums[:2] == [{}, {}]
