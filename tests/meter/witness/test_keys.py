"""A log that changes its key, and what its witness has signed before."""

from pathlib import Path

import pytest

from ledger.cosign import Cosigner
from ledger.errors import BadNote, MissingFile
from ledger.note import Signer, open_checkpoint, sign
from ledger.tlog import Tree
from ledger.witnessing import AddCheckpoint, Refused, monitoring_path
from meter.witness.witness import Witness, trust
from tests.ledger.example import TIME
from tests.witnesses import (
    FORK,
    LOG,
    NAME,
    NEW,
    OTHER,
    TREE,
    asked,
    evidence_in,
    note,
    opened,
    request,
    size_in,
    status,
    text,
)


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
