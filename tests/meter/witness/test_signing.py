"""What a witness signs, in order and when many ask at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

from ledger.cosign import open_cosigned
from ledger.note import Checkpoint, Signer, open_checkpoint, sign
from ledger.witnessing import AddCheckpoint, Refused, monitoring_path
from meter.witness.witness import Witness, trust
from tests.ledger.example import TIME
from tests.witnesses import (
    FORK,
    LOG,
    MOST,
    NAME,
    OTHER,
    TREE,
    Clock,
    asked,
    evidence_in,
    note,
    opened,
    size_in,
    status,
    text,
    verifier_of,
)

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
