from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.bundle import (
    Segment,
    decode_attachments,
    decode_bundle,
    encode_attachment,
    encode_attachments,
    encode_bundle,
    iter_attachments,
    iter_bundle,
)
from ledger.errors import BadBundle, CutBundle

files = st.dictionaries(
    st.integers(0, 255), st.lists(st.binary(max_size=20), min_size=1, max_size=3), max_size=6
)


def refused(call, *args):
    with pytest.raises(BadBundle) as error:
        call(*args)
    return error.value.entry


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_a_bundle_is_read_back(entries):
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(files)
def test_attachments_are_read_back_in_order(attachments):
    data = encode_attachments(attachments)
    assert decode_attachments(data) == attachments
    assert list(decode_attachments(data)) == sorted(attachments)


@given(st.binary(max_size=80), st.integers(0, 8))
def test_any_bytes_are_one_bundle_or_none(data, count):
    with suppress(BadBundle):
        assert encode_bundle(decode_bundle(data, count)) == data


@given(st.binary(max_size=80))
def test_any_bytes_are_one_bundle_of_attachments_or_none(data):
    with suppress(BadBundle):
        assert encode_attachments(decode_attachments(data)) == data


def test_the_examples_of_the_module_hold():
    assert encode_bundle([b"alpha", b"beta"]).hex() == "0005616c706861000462657461"
    assert encode_attachments({3: [b"x", b"yz"]}).hex() == "030000000178" + "0300000002797a"


@pytest.mark.parametrize(
    ("data", "count", "entry"),
    [
        ("00", 1, 0),
        ("0001", 1, 0),
        ("000161", 2, 1),
        ("00016100", 2, 1),
        ("0001610002", 2, 1),
        ("000161000262", 2, 1),
        ("000161", 0, 0),
        ("00016100", 1, 0),
        ("000161000162ff", 2, 1),
    ],
)
def test_the_entry_at_which_the_framing_breaks_is_named(data, count, entry):
    assert refused(decode_bundle, bytes.fromhex(data), count) == entry


@pytest.mark.parametrize("rest", ["0009", "000163ff"])
def test_entries_before_the_break_are_given(rest):
    entries = iter_bundle(bytes.fromhex("000161000162" + rest), 3)
    assert [next(entries), next(entries)] == [b"a", b"b"]
    assert refused(next, entries) == 2


@pytest.mark.parametrize(
    ("data", "entry"),
    [
        ("03", 0),
        ("03000000", 0),
        ("0300000001", 3),
        ("0300000002ff", 3),
        ("030000000178" + "04", 3),
        ("030000000178" + "020000000178", 2),
        ("03ffffffff78", 3),
    ],
)
def test_the_entry_at_which_attachments_break_is_named(data, entry):
    assert refused(decode_attachments, bytes.fromhex(data)) == entry


def test_bytes_that_are_missing_and_bytes_that_are_wrong_are_told_apart():
    for data in ("03", "0300000002ff"):
        with pytest.raises(CutBundle):
            decode_attachments(bytes.fromhex(data))
    for data in ("03ffffffff78", "030000000178" + "020000000178"):
        with pytest.raises(BadBundle) as error:
            decode_attachments(bytes.fromhex(data))
        assert type(error.value) is BadBundle


def test_a_file_that_ends_while_it_is_read_is_found():
    pieces = iter([bytes.fromhex("0500000001"), b""])
    assert refused(list, iter_attachments(lambda _: next(pieces), 6)) == 5


def test_what_has_no_room_is_not_written():
    assert refused(encode_bundle, [b"", b"x" * 65_536]) == 1
    assert refused(encode_attachment, 256, [b"x"]) == 256
    assert refused(encode_attachment, -1, [b"x"]) == -1
    assert refused(encode_attachment, 7, [bytes(16 * 1024 * 1024 + 1)]) == 7


def test_the_longest_entry_and_the_longest_file_are_read_back():
    longest = b"x" * 65_535
    assert decode_bundle(encode_bundle([longest]), 1) == [longest]
    largest = bytes(16 * 1024 * 1024)
    assert decode_attachments(encode_attachment(7, [largest])) == {7: [largest]}


def test_a_segment_is_as_large_as_its_bundle_and_its_files():
    assert Segment(2, b"12345", [(0, [b"123", b"4"]), (1, [b"12"])]).size_bytes == 11


def test_an_entry_without_files_leaves_no_trace():
    assert encode_attachments({4: []}) == b""


@pytest.mark.parametrize("index", [0, 3])
def test_an_entry_has_at_most_64_files(index):
    many = encode_attachments({index: [b"x"] * 64})
    assert decode_attachments(many) == {index: [b"x"] * 64}
    with pytest.raises(BadBundle, match="no room"):
        encode_attachments({index: [b"x"] * 65})
    with pytest.raises(BadBundle, match="more than"):
        decode_attachments(many + encode_attachments({index: [b"x"]}))
    with pytest.raises(BadBundle, match="more than"):
        for _ in iter_attachments(bytes, 10**12):  # as a sparse file reads
            pass
