import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadNote, BadProof
from ledger.note import MAX_NOTE_BYTES, MAX_SIZE, Checkpoint, Signer, sign
from ledger.proof import MAX_HASHES
from ledger.tlog import EMPTY_ROOT
from ledger.witnessing import (
    MAX_REQUEST_BYTES,
    Accepted,
    AddCheckpoint,
    Refused,
    Witnessed,
    judge,
    malformed,
    monitoring_path,
)
from tests.ledger.example import (
    ENTRIES,
    HASHES,
    LOG,
    REQUEST,
    SIGNED,
    TEXT,
    flips,
    losses,
    signed,
    tree_of,
)

KEYS = [LOG.verifier]
MOST = 20
TREE = tree_of([f"entry {number}".encode() for number in range(MOST)])
FORK = tree_of([f"entry {number}".encode() for number in range(7)] + [b"other"] * (MOST - 7))
KNOWN = Witnessed(2, tree_of(ENTRIES).root(2))


def request(old, new, tree=TREE, signer=LOG, hashes=None):
    proof = tree.consistency_proof(old, new) if hashes is None else hashes
    return AddCheckpoint(old, tuple(proof), signed(tree, new, signer))


def known(size, tree=TREE):
    return Witnessed(size, tree.root(size))


def answer_to(body):
    """Return what the witness of the worked example answers."""
    try:
        asked = AddCheckpoint.parse(body)
    except (BadProof, BadNote) as error:
        return malformed(error)
    return judge(asked, KNOWN, KEYS)


def refusal(asked, state):
    answer = judge(asked, state, KEYS)
    assert isinstance(answer, Refused)
    return answer.status, answer.reason


def test_the_worked_example_comes_out_byte_for_byte_and_is_accepted():
    asked = AddCheckpoint(2, (base64.b64decode(HASHES[1]),), SIGNED)
    assert asked.format() == REQUEST
    assert AddCheckpoint.parse(REQUEST) == asked
    assert asked.origin == "example.com/log"
    assert judge(asked, KNOWN, KEYS) == Accepted(Checkpoint.parse(TEXT))


def test_every_growth_up_to_20_entries_is_accepted_and_then_known():
    for new in range(MOST + 1):
        for old in range(new + 1):
            answer = judge(AddCheckpoint.parse(request(old, new).format()), known(old), KEYS)
            assert answer == Accepted(Checkpoint(LOG.name, new, TREE.root(new)))
            assert answer.witnessed == known(new)


def test_the_first_checkpoint_of_a_log_comes_with_an_old_size_of_zero():
    assert isinstance(judge(request(0, 5), None, KEYS), Accepted)
    assert isinstance(judge(request(0, 0), None, KEYS), Accepted)
    answer = judge(request(3, 5), None, KEYS)
    assert (answer.status, answer.body, answer.content_type) == (409, "0\n", "text/x.tlog.size")


def test_a_log_that_the_witness_does_not_know_is_not_found():
    answer = judge(request(0, 5), None, [])
    assert (answer.status, answer.reason) == (404, "unknown_log")


def test_a_checkpoint_that_its_log_has_not_signed_is_forbidden():
    stranger = Signer.from_seed(LOG.name, bytes(32))
    forbidden = (403, "bad_signature")
    assert refusal(request(0, 5, signer=stranger), None) == forbidden
    note = signed(TREE, 5)
    for bad in (
        note + note.split(b"\n\n")[1],
        note.split(b"\n\n")[0] + b"\n\n" + signed(TREE, 6).split(b"\n\n")[1],
        sign(Checkpoint("example.com/other", 5, TREE.root(5)).format(), LOG),
    ):
        asked = AddCheckpoint(0, (), bad)
        answer = judge(asked, None, KEYS)
        assert (answer.status, answer.reason) == forbidden


def test_lines_of_unknown_keys_beside_the_logs_are_ignored():
    note = sign(signed(TREE, 5).split(b"\n\n")[0].decode() + "\n", Signer.from_seed("x", bytes(32)))
    note += signed(TREE, 5).split(b"\n\n")[1]
    assert isinstance(judge(AddCheckpoint(0, (), note), None, KEYS), Accepted)


def test_an_old_size_above_the_new_one_is_a_bad_request():
    asked = request(6, 5, hashes=[])
    for state in (None, known(5), known(6), known(9)):
        assert refusal(asked, state) == (400, "old_is_larger")


def test_an_old_size_that_is_not_the_one_signed_last_is_a_conflict_that_tells_it():
    for old in range(MOST + 1):
        for size in set(range(MOST + 1)) - {old}:
            answer = judge(request(old, MOST), known(size), KEYS)
            assert answer == Refused("size_conflict", f"{size}\n")
            assert (answer.status, answer.content_type) == (409, "text/x.tlog.size")


def test_another_root_of_the_same_size_is_a_fork():
    for size in range(8, MOST + 1):
        assert refusal(request(size, size, FORK), known(size)) == (422, "fork")
        assert isinstance(judge(request(size, size), known(size), KEYS), Accepted)


def test_another_root_of_no_entries_is_no_fork():
    empty = sign(Checkpoint(LOG.name, 0, bytes(32)).format(), LOG)
    assert refusal(AddCheckpoint(0, (), empty), None) == (422, "bad_root")
    assert refusal(AddCheckpoint(0, (), empty), Witnessed(0, EMPTY_ROOT)) == (422, "bad_root")
    right = sign(Checkpoint(LOG.name, 0, EMPTY_ROOT).format(), LOG)
    assert isinstance(judge(AddCheckpoint(0, (), right), None, KEYS), Accepted)


def test_a_tree_that_does_not_begin_with_the_one_signed_last_is_refused():
    bad_proof = (422, "bad_proof")
    for old in range(8, MOST):
        assert refusal(request(old, MOST, FORK), known(old)) == bad_proof
        proof = TREE.consistency_proof(old, MOST)
        for place in range(len(proof)):
            wrong = [*proof[:place], bytes(32), *proof[place + 1 :]]
            assert refusal(request(old, MOST, hashes=wrong), known(old)) == bad_proof
            assert refusal(request(old, MOST, hashes=proof[:place]), known(old)) == bad_proof
        assert refusal(request(old, MOST, hashes=[*proof, proof[0]]), known(old)) == bad_proof
    assert refusal(request(0, 5, hashes=[bytes(32)]), None) == bad_proof
    assert refusal(request(5, 5, hashes=[bytes(32)]), known(5)) == bad_proof


def test_the_checks_come_in_the_order_of_the_specification():
    stranger = Signer.from_seed(LOG.name, bytes(32))
    wrong_in_all = request(6, 5, FORK, signer=stranger, hashes=[bytes(32)])
    assert judge(wrong_in_all, known(9), []).status == 404
    assert refusal(wrong_in_all, known(9))[0] == 403
    assert refusal(request(6, 5, FORK, hashes=[bytes(32)]), known(9))[0] == 400
    assert refusal(request(5, 8, FORK, hashes=[bytes(32)]), known(9))[0] == 409
    assert refusal(request(9, 9, FORK, hashes=[bytes(32)]), known(9)) == (422, "fork")


def test_no_request_is_accepted_with_a_bit_changed_or_a_byte_lost():
    for _, changed in flips(REQUEST):
        assert isinstance(answer_to(changed), Refused)
    for changed in losses(REQUEST):
        assert isinstance(answer_to(changed), Refused)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        SIGNED,
        REQUEST.removesuffix(b"\n"),
        REQUEST + b"\n",
        REQUEST.replace(b"\n", b"\r\n"),
        b"\n" + REQUEST,
        REQUEST.replace(b"old 2", b"old 02"),
        REQUEST.replace(b"old 2", b"old +2"),
        REQUEST.replace(b"old 2", b"old -2"),
        REQUEST.replace(b"old 2", b"old  2"),
        REQUEST.replace(b"old 2", b"old 2 "),
        REQUEST.replace(b"old 2", b"old\t2"),
        REQUEST.replace(b"old 2", b"Old 2"),
        REQUEST.replace(b"old 2", b"old "),
        REQUEST.replace(b"old 2", "old ２".encode()),
        REQUEST.replace(b"old 2", b"old 9223372036854775808"),
        REQUEST.replace(b"old 2", b"old " + b"9" * 5000),
        REQUEST.replace(b"old 2\n", b""),
        REQUEST.replace(b"old 2\n", b"old 2\nold 2\n"),
        REQUEST.replace(b"old 2\n", b"old 2\n\n"),
        REQUEST.replace(b"DlE=\n", b"DlF=\n"),
        REQUEST.replace(b"DlE=\n", b"DlE\n"),
        REQUEST.replace(b"DlE=\n", b"DlE= \n"),
        REQUEST.replace(b"DlE=\n\n", b"DlE=\n\n\n"),
        REQUEST.replace(b"DlE=\n\n", b"DlE=\n"),
        REQUEST.replace(b"THnQ", b""),
        REQUEST.replace(b"\n3\n", b"\n03\n"),
        REQUEST.replace(SIGNED, TEXT.encode()),
        REQUEST.replace(b"old 2\n", b"old 2\n" + f"{HASHES[1]}\n".encode() * MAX_HASHES),
    ],
)
def test_a_request_in_another_spelling_is_malformed(data):
    answer = answer_to(data)
    assert (answer.status, answer.reason) == (400, "malformed")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.body.endswith("\n")


@pytest.mark.parametrize(
    "change",
    [
        {"old": -1},
        {"old": MAX_SIZE + 1},
        {"hashes": (bytes(31),)},
        {"hashes": (bytes(32),) * (MAX_HASHES + 1)},
        {"note": b""},
        {"note": SIGNED + b"x" * MAX_NOTE_BYTES},
    ],
)
def test_what_no_request_can_be_is_not_made(change):
    with pytest.raises((BadProof, BadNote)):
        AddCheckpoint(**{"old": 2, "hashes": (), "note": SIGNED} | change)


def test_the_largest_request_is_read_back_and_a_larger_one_is_not_looked_at():
    note = SIGNED + "— x ".encode() + b"A" * 900_000 + b"\n"
    asked = AddCheckpoint(MAX_SIZE, (bytes(32),) * MAX_HASHES, note)
    data = asked.format()
    assert len(data) - len(note) <= MAX_REQUEST_BYTES - MAX_NOTE_BYTES
    assert AddCheckpoint.parse(data) == asked
    assert "a request has at most" in answer_to(data + b"x" * MAX_REQUEST_BYTES).body


def test_a_witness_shows_each_log_under_the_hash_of_its_origin():
    # The first part is the output of `printf example.com/log | sha256sum`.
    digest = "4d3203c8f35cdf600e475f55fede6081a703d3d322f208865fca2ec4f0e030f8"
    assert monitoring_path("example.com/log") == f"{digest}/checkpoint"


sizes = st.integers(0, MOST)


@given(st.lists(st.tuples(st.sampled_from([TREE, FORK]), sizes, sizes), max_size=30))
def test_in_no_history_does_a_witness_sign_a_smaller_tree_or_both_sides_of_a_fork(history):
    state, accepted = None, []
    for tree, guess, new in history:
        # Half of the requests name the size that the witness has, as a log does after a conflict.
        old = state.size if state and guess % 2 else guess
        hashes = None if old <= new else []
        answer = judge(request(old, new, tree, hashes=hashes), state, KEYS)
        if isinstance(answer, Accepted):
            state = answer.witnessed
            accepted.append(state)
    assert [each.size for each in accepted] == sorted(each.size for each in accepted)
    assert any(all(each == known(each.size, tree) for each in accepted) for tree in (TREE, FORK))


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda start, end, new: REQUEST[:start] + new + REQUEST[end:],
        st.integers(0, len(REQUEST)),
        st.integers(0, len(REQUEST)),
        st.binary(max_size=8) | st.sampled_from([b"\n", b"\n\n", b"old 0\n", b"old 3\n"]),
    )
)
def test_whatever_bytes_are_read_in_one_spelling_or_raise_an_error_of_the_ledger(data):
    answer = answer_to(data)
    answer_text = getattr(answer, "body", "")
    answer_text.encode()
    assert data == REQUEST or isinstance(answer, Refused)
    if isinstance(answer, Accepted) or answer.reason != "malformed":
        assert AddCheckpoint.parse(data).format() == data
