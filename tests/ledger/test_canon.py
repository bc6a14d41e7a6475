from contextlib import suppress

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.canon import MAX_DEPTH, MAX_ENTRY_BYTES, decode, encode
from ledger.errors import NotCanonical

EXAMPLE = '{"at":1740790800000000,"by":"op-1","kind":"note","postings":[],"text":"算力券\\n","v":1}'

keys = st.text(st.characters(max_codepoint=0x7F), max_size=8)
scalars = st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=12)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4), max_leaves=16
)
objects = st.dictionaries(keys, values, max_size=6)

# What JSON has and entries have not.
foreign = st.none() | st.floats() | st.integers(min_value=2**53) | st.integers(max_value=-(2**53))


def depth(value):
    if isinstance(value, dict | list):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def nested(levels):
    return b'{"a":' * levels + b"1" + b"}" * levels


@given(objects)
def test_an_independent_rfc_8785_writes_the_same_bytes(value):
    if depth(value) > MAX_DEPTH + 1:
        return
    assert encode(value) == rfc8785.dumps(value)
    assert decode(encode(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with suppress(NotCanonical):
        assert encode(decode(data)) == data


@given(st.dictionaries(keys, values | foreign, max_size=4))
def test_json_from_another_writer_is_read_only_if_it_is_ours(value):
    text = msgspec.json.encode(value)
    with suppress(NotCanonical):
        assert encode(decode(text)) == text


@given(objects, st.data())
def test_a_value_has_one_spelling(value, data):
    if depth(value) > MAX_DEPTH + 1:
        return
    spelling = bytearray(encode(value))
    place = data.draw(st.integers(0, len(spelling) - 1))
    spelling[place] ^= data.draw(st.integers(1, 255))
    with suppress(NotCanonical):
        assert decode(bytes(spelling)) != value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1",
        b"[]",
        b'"a"',
        b'{"a":null}',
        b'{"a":1.0}',
        b'{"a":1.5}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a":1}{}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\u0061"}',
        b'{"a":"\\/"}',
        b'{"a":"\\u000A"}',
        b'{"a":"\\u000a"}',
        b'{"a":"\n"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\ude00\\ud83d"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        '{"é":1}'.encode(),
        '{"a":{"é":1}}'.encode(),
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_whatever_is_spelled_otherwise_is_refused(text):
    with pytest.raises(NotCanonical):
        decode(text[:MAX_ENTRY_BYTES])


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.0,
        2**53,
        -(2**53),
        10**4000,
        b"bytes",
        {"a": b"bytes"},
        {1: "a"},
        {"a": float("nan")},
        "\ud800",
        {"\ud800": 1},
        {"é": 1},
        {"a": object()},
    ],
)
def test_what_has_no_spelling_is_not_written(value):
    with pytest.raises(NotCanonical):
        encode(value)


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(NotCanonical):
        encode(value)


def test_the_example_of_the_module_is_read_and_written():
    fields = {"v": 1, "text": "算力券\n", "postings": (), "kind": "note", "by": "op-1"}
    assert encode({**fields, "at": 1740790800000000}) == EXAMPLE.encode()
    assert decode(EXAMPLE.encode())["text"] == "算力券\n"


def test_nesting_is_bounded_in_both_directions():
    assert MAX_DEPTH == 8
    assert encode(decode(nested(MAX_DEPTH + 1))) == nested(MAX_DEPTH + 1)
    deeper = nested(MAX_DEPTH + 2)
    with pytest.raises(NotCanonical):
        decode(deeper)
    with pytest.raises(NotCanonical):
        encode(msgspec.json.decode(deeper))


def test_an_entry_ends_at_what_two_bytes_can_count():
    longest = encode({"a": "x" * (MAX_ENTRY_BYTES - len('{"a":""}'))})
    assert len(longest) == MAX_ENTRY_BYTES == 2**16 - 1
    assert decode(longest)
    with pytest.raises(NotCanonical):
        decode(longest.replace(b"x", b"xx", 1))


class Inner(msgspec.Struct, rename={"starts": "from", "ends": "until"}):
    starts: int
    ends: int


class Outer(msgspec.Struct):
    v: int
    inner: Inner
    pairs: list[tuple[str, int]]
    reason: str | msgspec.UnsetType = msgspec.UNSET
    amount: int | None = 1


def test_a_struct_is_written_with_its_fields_sorted_and_unset_ones_left_out():
    value = Outer(1, Inner(3, 2), [("a", 1)])
    assert encode(value) == b'{"amount":1,"inner":{"from":3,"until":2},"pairs":[["a",1]],"v":1}'


class Holding(msgspec.Struct):
    a: object


def test_a_struct_may_hold_no_deeper_nesting_than_another_value():
    deepest, deeper = (msgspec.json.decode(nested(MAX_DEPTH + more)) for more in (0, 1))
    assert decode(encode(Holding(deepest))) == {"a": deepest}
    with pytest.raises(NotCanonical):
        encode(Holding(deeper))


def test_a_struct_that_holds_none_is_refused():
    with pytest.raises(NotCanonical):
        encode(Outer(1, Inner(1, 2), [], amount=None))
