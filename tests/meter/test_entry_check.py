"""`kashi entry verify`: an entry file, or a proof and its entry, proved with nothing but a key."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from ledger.note import Checkpoint, Signer, sign
from ledger.proof import Proof
from ledger.tlog import Tree, leaf_hash
from meter.cli.main import main
from tests.books import log_signer

LOG = log_signer("log")
VKEY = LOG.verifier.format()
ENTRIES = [f"entry {number}".encode() for number in range(5)]


@pytest.fixture
def proof():
    tree = Tree()
    for entry in ENTRIES:
        tree.append(leaf_hash(entry))
    note = sign(Checkpoint(LOG.name, 5, tree.root()).format(), LOG)
    return Proof(2, tuple(tree.inclusion_proof(2, 5)), note, ENTRIES[2])


@pytest.fixture
def verify(tmp_path):
    """Run the command on a proof; returns its exit code and what it says."""

    def run(proof, *options, entry=None, vkey=VKEY):
        file, beside = tmp_path / "2.tlog-proof", tmp_path / "2.entry"
        file.write_bytes(proof if isinstance(proof, bytes) else proof.format())
        words = ["entry", "verify", str(file), *options]
        if entry is not None:
            beside.write_bytes(entry)
            words += ["--entry", str(beside)]
        if vkey:
            words += ["--vkey", vkey]
        result = CliRunner().invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


def test_an_entry_file_is_good_by_the_log_s_key_alone(proof, verify):
    code, said = verify(proof)
    assert (code, said) == (0, f"good: {LOG.name} of 5 entries holds this one as number 2\n")


def test_a_proof_takes_its_entry_from_beside_it(proof, verify):
    alone = replace(proof, extra=b"")
    assert verify(alone, entry=ENTRIES[2])[0] == 0
    assert verify(alone, entry=ENTRIES[3])[0] == 1
    assert verify(proof, entry=ENTRIES[3])[0] == 1
    code, said = verify(alone)
    assert code == 2
    assert "--entry" in said


def test_what_was_changed_is_violated(proof, verify):
    forged = proof.checkpoint_note.replace(b"\n5\n", b"\n6\n")
    for changed in (
        replace(proof, extra=b"entry 3"),
        replace(proof, index=3),
        replace(proof, hashes=proof.hashes[:-1]),
        replace(proof, checkpoint_note=forged),
    ):
        assert verify(changed)[0] == 1


@pytest.mark.parametrize("cut", [0, 20, 200])
def test_what_is_no_entry_file_accuses_nobody(proof, verify, cut):
    for data in (b"<html>\n\n<p>Sign in to this network\n", proof.format()[:cut]):
        code, said = verify(data)
        assert (code, "could not check: cannot_check: not an entry file: " in said) == (2, True)


def test_without_a_key_that_signed_nothing_is_checked(proof, verify, tmp_path):
    other = Signer.from_seed(LOG.name, bytes(range(32))).verifier.format()
    assert verify(proof, vkey=other)[0] == 2
    assert verify(proof, vkey="")[0] == 2
    assert verify(proof, vkey=str(tmp_path / "nothing"))[0] == 2
    policy = tmp_path / "policy"
    policy.write_text(
        f"log {LOG.verifier.format()}\n"
        "witness w1 example.com/w1+4bafb710+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X\n"
        "quorum w1\n"
    )
    code, said = verify(proof, "--policy", str(policy))
    assert code == 2
    assert "not_witnessed" in said
