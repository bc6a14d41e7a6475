"""A fork of a log: it is refused, and the evidence is kept."""

from base64 import b64decode

import pytest

from ledger.errors import BadProof
from ledger.note import Checkpoint, Signer, open_checkpoint, sign
from ledger.tlog import check_consistency
from tests.ledger.disks import AFTER, BEFORE, TORN, Disk
from tests.ledger.example import TIME, tree_of
from tests.witnesses import (
    FORK,
    LOG,
    TREE,
    Clock,
    asked,
    evidence_in,
    note,
    opened,
    request,
    status,
    with_hashes,
)


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
