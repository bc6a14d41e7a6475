import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cosign import Cosigned
from ledger.errors import BadNote, BadProof, LedgerError
from ledger.note import MAX_NOTE_BYTES, MAX_SIZE, Checkpoint, Signer
from ledger.proof import MAX_EXTRA_BYTES, MAX_HASHES, MAX_PROOF_BYTES, Proof, check
from tests.ledger.example import (
    COSIGNED,
    ENTRIES,
    HASHES,
    LOG,
    PROOF,
    SIGNED,
    TEXT,
    TIME,
    WITNESS,
    flips,
    losses,
    signed,
    tree_of,
)

SIZES = range(1, 21)


def example():
    return Proof(1, tuple(base64.b64decode(line) for line in HASHES), COSIGNED)


def checked(data, entry=b"beta"):
    return check(Proof.parse(data), entry, LOG.verifier, [WITNESS.verifier])


def fails(proof, entry):
    try:
        check(proof, entry, LOG.verifier)
    except BadProof:
        return True
    return False


def test_the_worked_example_comes_out_byte_for_byte():
    proof = Proof(1, tuple(tree_of(ENTRIES).inclusion_proof(1, 3)), COSIGNED)
    assert proof == example()
    assert proof.format() == PROOF


def test_the_worked_example_is_read_and_holds_for_its_entry_only():
    assert Proof.parse(PROOF) == example()
    assert checked(PROOF) == Cosigned(Checkpoint.parse(TEXT), {WITNESS.name: TIME})
    assert check(example(), b"beta", LOG.verifier).times == {}
    for entry in (b"", b"alpha", b"gamma", b"beta\n"):
        assert fails(example(), entry)


def test_every_proof_in_trees_of_up_to_20_entries_holds_for_its_entry_at_its_place_only():
    entries = [f"entry {number}".encode() for number in range(max(SIZES))]
    tree = tree_of(entries)
    for size in SIZES:
        note = signed(tree, size)
        for index in range(size):
            hashes = tuple(tree.inclusion_proof(index, size))
            proof = Proof.parse(Proof(index, hashes, note).format())
            assert check(proof, entries[index], LOG.verifier).checkpoint.size == size
            for other in range(size + 1):
                assert other == index or fails(Proof(other, hashes, note), entries[index])
                assert other in (index, len(entries)) or fails(proof, entries[other])


def test_every_bit_of_a_proof_counts_or_makes_the_cosigner_unknown():
    who = PROOF.index("— example.com/w1".encode())
    for place, changed in flips(PROOF):
        try:
            found = checked(changed)
        except (BadProof, BadNote):
            continue
        assert found.times == {}
        assert place >= who


def test_a_proof_that_lost_its_end_or_any_byte_is_refused_or_lost_the_cosigner():
    found = []
    for changed in losses(PROOF):
        with suppress(BadProof, BadNote):
            found.append(checked(changed).times)
    assert found
    assert not any(found)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        COSIGNED,
        PROOF.removesuffix(b"\n"),
        PROOF + b"\n",
        b"\n" + PROOF,
        PROOF.replace(b"\n", b"\r\n"),
        PROOF.replace(b"@v1", b"@v2"),
        PROOF.replace(b"index 1", b"index 01"),
        PROOF.replace(b"index 1", b"index +1"),
        PROOF.replace(b"index 1", b"index  1"),
        PROOF.replace(b"index 1", b"index 1 "),
        PROOF.replace(b"index 1", b"index -1"),
        PROOF.replace(b"index 1", "index １".encode()),
        PROOF.replace(b"index 1", b"index 9223372036854775807"),
        PROOF.replace(b"index 1", b"index " + b"9" * 5000),
        PROOF.replace(b"index 1\n", b""),
        PROOF.replace(b"index 1\n", b"index 1\nindex 1\n"),
        PROOF.replace(b"index 1\n", b"index 1\nextra AA==\n"),
        PROOF.replace(b"index 1\n", b"extra AA==\nextra AA==\nindex 1\n"),
        PROOF.replace(b"index 1\n", b"extra \nindex 1\n"),
        PROOF.replace(b"index 1\n", b"extra\nindex 1\n"),
        PROOF.replace(b"index 1\n", b"extra =\nindex 1\n"),
        PROOF.replace(b"index 1\n", b"extra AB==\nindex 1\n"),
        PROOF.replace(b"index 1\n", b"extra AA\nindex 1\n"),
        PROOF.replace(b"index 1\n", b"index 1\n\n"),
        PROOF.replace(b"+Cs=\n", b"+Ct=\n"),
        PROOF.replace(b"+Cs=\n", b"+Cs\n"),
        PROOF.replace(b"+Cs=\n", b"+Cs= \n"),
        PROOF.replace(b"+Cs=\n", b"+Cs=\t\n"),
        PROOF.replace(b"+Cs=\n", b"+Cs=\n\n"),
        PROOF.replace(b"KhWN", b""),
        PROOF.replace(COSIGNED, b"a text\n\n" + SIGNED.split(b"\n\n")[1]),
        PROOF.replace(COSIGNED, TEXT.encode()),
    ],
)
def test_a_proof_in_another_spelling_is_refused(data):
    with pytest.raises((BadProof, BadNote)):
        Proof.parse(data)


def test_a_proof_without_an_empty_line_is_no_proof():
    with pytest.raises(BadProof, match="an empty line"):
        Proof.parse(PROOF.partition(b"\n\n")[0])


def test_proof_of_the_only_entry_has_no_hashes():
    note = signed(tree_of([b"alone"]), 1)
    proof = Proof(0, (), note)
    assert proof.format() == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note
    assert check(Proof.parse(proof.format()), b"alone", LOG.verifier).checkpoint.size == 1


def test_extra_data_is_carried_along_and_not_believed():
    extra = b"age-v1.tar.gz"
    proof = Proof(1, example().hashes, COSIGNED, extra)
    line = b"extra " + base64.b64encode(extra) + b"\nindex 1\n"
    assert proof.format() == PROOF.replace(b"index 1\n", line)
    assert Proof.parse(proof.format()) == proof
    assert checked(proof.format()) == checked(PROOF)


def test_a_proof_of_another_log_is_refused():
    for signer in (Signer.from_seed(LOG.name, bytes(32)), Signer.from_seed("else", bytes(32))):
        with pytest.raises(BadNote):
            check(example(), b"beta", signer.verifier)


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": MAX_SIZE},
        {"hashes": (bytes(31),)},
        {"hashes": (bytes(32), bytes(33))},
        {"hashes": (bytes(32),) * (MAX_HASHES + 1)},
        {"checkpoint_note": b""},
        {"checkpoint_note": TEXT.encode()},
        {"checkpoint_note": COSIGNED + b"x" * MAX_NOTE_BYTES},
        {"extra": bytes(MAX_EXTRA_BYTES + 1)},
    ],
)
def test_what_no_proof_can_be_is_not_made(change):
    fields = {"index": 1, "hashes": example().hashes, "checkpoint_note": COSIGNED}
    with pytest.raises((BadProof, BadNote)):
        Proof(**fields | change)


def test_the_largest_proof_is_read_back_and_a_larger_one_is_not_looked_at():
    note = COSIGNED + "— x ".encode() + b"A" * 900_000 + b"\n"
    proof = Proof(MAX_SIZE - 1, (bytes(32),) * MAX_HASHES, note, bytes(MAX_EXTRA_BYTES))
    data = proof.format()
    assert (MAX_HASHES, MAX_EXTRA_BYTES) == (63, 65_536)
    assert len(data) - len(note) <= MAX_PROOF_BYTES - MAX_NOTE_BYTES
    assert Proof.parse(data) == proof
    with pytest.raises(BadProof, match="at most"):
        Proof.parse(data + b"x" * MAX_PROOF_BYTES)


hashes = st.binary(min_size=32, max_size=32)


@given(st.integers(0, MAX_SIZE - 1), st.lists(hashes, max_size=MAX_HASHES), st.binary())
def test_a_proof_that_can_be_made_is_read_back(index, path, extra):
    proof = Proof(index, tuple(path), COSIGNED, extra)
    assert Proof.parse(proof.format()) == proof


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda start, end, new: PROOF[:start] + new + PROOF[end:],
        st.integers(0, len(PROOF)),
        st.integers(0, len(PROOF)),
        st.binary(max_size=8) | st.sampled_from([b"\n", b"\n\n", b"extra AAAA\n", b"index 0\n"]),
    )
)
def test_whatever_bytes_are_read_in_one_spelling_or_raise_an_error_of_the_ledger(data):
    try:
        proof = Proof.parse(data)
    except LedgerError as error:
        str(error).encode()
        return
    assert proof.format() == data
