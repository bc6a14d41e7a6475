"""A witness whose writes fail, or that is killed, takes nothing back."""

import contextlib
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random

import pytest

from ledger.witnessing import monitoring_path
from meter.witness.witness import initialise, trust
from tests.commands import REPOSITORY
from tests.ledger.disks import AFTER, BEFORE, TORN, Broken, Disk
from tests.witnesses import FORK, LOG, MOST, NAME, TREE, asked, opened, size_in, status


@pytest.mark.parametrize("mode", [BEFORE, TORN, AFTER])
def test_whichever_write_fails_what_was_answered_stays_and_the_log_can_go_on(tmp_path, mode):
    """Each operation breaks in turn; then the power goes too, in several ways."""
    operations = len(grown(tmp_path / "whole", None, mode)[1].operations)
    assert operations > 9
    for stop in range(operations):
        home = tmp_path / f"{stop}"
        answered, disk = grown(home, stop, mode)
        states = [home / "disk" / "witness"]
        for seed in range(6):
            survives = partial(Random(seed).choice, [True, False])
            states.append(disk.after_power_cut(home / f"cut{seed}", survives) / "witness")
        for state in states:
            with opened(state) as witness:
                found = witness.signed_at(monitoring_path(LOG.name))
                size = found.checkpoint.size if found else 0
                assert answered <= size <= answered + 2
                assert size == 0 or found.checkpoint.root == TREE.root(size)
                assert status(witness.add_checkpoint(asked(size, MOST))) == (200, "")


def grown(home: Path, stop: int | None, mode: str) -> tuple[int, Disk]:
    """Grow by two entries at a time until the disk breaks; returns the last answered size."""
    folder = home / "disk" / "witness"
    initialise(folder, NAME)
    trust(folder, LOG.verifier.format())
    disk, answered = Disk(folder.parent, stop, mode), 0
    with contextlib.suppress(Broken), opened(folder, files=disk) as witness:
        for size in (2, 4, 6):
            assert isinstance(witness.add_checkpoint(asked(answered, size)), str)
            answered = size
    return answered, disk


def test_a_witness_goes_on_after_a_failed_write_and_signs_another_tree_only_if_nobody_saw_the_first(
    folder,
):
    disk = Disk(folder)
    with opened(folder, files=disk) as witness:
        witness.add_checkpoint(asked(0, 4))
        for mode in (BEFORE, AFTER):
            for later in range(3):
                disk.stop, disk.mode = len(disk.operations) + later, mode
                with pytest.raises(Broken):
                    witness.add_checkpoint(asked(4, 9))
                assert witness.signed_at(monitoring_path(LOG.name)).checkpoint.size == 4
        disk.stop = None
        # Nobody has seen size 9, so the log may still become the other one.
        assert status(witness.add_checkpoint(asked(4, 9, FORK))) == (200, "")
        assert status(witness.add_checkpoint(asked(9, 9))) == (422, "fork")


DEADLY = """
import os, signal, sys
from pathlib import Path
from ledger.files import Files
from meter.witness.witness import Witness

class Deadly(Files):
    left = int(sys.argv[2])

    def do(self, operation, *arguments):
        Deadly.left -= 1
        if Deadly.left == 0 and sys.argv[3] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        operation(*arguments)
        if Deadly.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def append(self, *a): self.do(super().append, *a)
    def rename(self, *a): self.do(super().rename, *a)
    def remove(self, *a): self.do(super().remove, *a)
    def sync_folder(self, *a): self.do(super().sync_folder, *a)

with Witness.open(Path(sys.argv[1]), lambda: 1767225600, Deadly()) as witness:
    print(witness.add_checkpoint(sys.stdin.buffer.read()), end="", flush=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_each_file_operation_leaves_the_old_state_or_the_new_one(folder, when):
    size, operation, outcomes = 0, 0, []
    while outcomes[-1:] != ["answered"]:
        operation += 1
        ended = subprocess.run(
            [sys.executable, "-c", DEADLY, str(folder), str(operation), when],
            input=asked(size, size + 2),
            capture_output=True,
            cwd=REPOSITORY,
            timeout=30,
        )
        answered = ended.stdout.startswith("— ".encode())
        assert ended.returncode == (0 if answered else -signal.SIGKILL), ended
        found = size_in(folder)
        assert found in ((size + 2,) if answered else (size, size + 2))
        outcomes.append("answered" if answered else f"{found - size}")
        size = found
    # The sync at the start, a draft that the kill before left, its write, rename and sync.
    assert "0" in outcomes
    assert "2" in outcomes
    assert len(outcomes) >= 5
