"""The drill in short: a cluster of etcd, Patroni and Kashi, broken in three ways."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.ha.__main__ import Done, Round, Verified, table
from tests.ha.network import missing_programs
from tests.ha.stage import programs
from tests.interop.programs import need

REPOSITORY = Path(__file__).parents[2]
SHORT = ("leader", "parted", "switch")


@pytest.mark.long
def test_nothing_is_lost_doubled_or_forked_where_a_cluster_is_broken(tmp_path):
    for tool in missing_programs():
        need(tool, None)
    for tool in ("etcd", "patroni", "patronictl"):
        need(tool, programs().get(tool))
    namespace = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if namespace.returncode != 0:
        pytest.skip(f"no network of its own can be made here: {namespace.stderr.strip()}")
    out = tmp_path / "ha.json"
    faults = [word for name in SHORT for word in ("--fault", name)]
    words = [sys.executable, "-m", "tests.ha", "--rounds", "1", "--out", str(out), *faults]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    done = msgspec.json.decode(out.read_bytes(), type=Done)
    assert done.is_good
    assert {name: len(rounds) for name, rounds in done.rounds.items()} == dict.fromkeys(SHORT, 1)
    posted = sum(each.acknowledged for (each,) in done.rounds.values())
    assert [(each.batches, each.turns > 2) for each in done.ledgers] == [(posted, True)]
    assert posted > 0


def test_the_table_tells_sums_of_counts_and_the_longest_gap_and_any_loss_is_no_good():
    good = Round(acknowledged=1_000, lost=0, doubled=0, forks=0, gap=2.0, taking=0.2, load=1.0)
    bad = [msgspec.structs.replace(good, **{name: 1}) for name in ("lost", "doubled", "forks")]
    assert Done(rounds={"leader": [good]}).is_good
    assert not any(Done(rounds={"leader": [good, each]}).is_good for each in bad)
    slow = msgspec.structs.replace(bad[0], gap=3.5, taking=0.5, load=4.0)
    done = Done(rounds={"cut": [], "leader": [good, good, slow]}, ledgers=[Verified(9, 4, 2)])
    lines = table(done).splitlines()
    assert lines[2] == "| kill −9 of the leader | 3 | 3,000 | 1 | 0 | 0 | 3.5 | 2.0 | 0.2 | 1.0 |"
    assert len(lines) == 5
    assert lines[4].endswith("4 batches in 9 entries, over 2 turns of leaders.")
