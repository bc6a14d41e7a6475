"""Strict reading of JSON: texts that lenient readers accept are refused, with a reason."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

from meter.rules import commands, entries
from meter.rules.commands import IssueCoupon, RegisterKey, RegisterProvider
from meter.rules.kinds.table import BY_COMMAND
from meter.values.strict import (
    Date,
    Fen,
    Id,
    Instant,
    Lines,
    Name,
    Price,
    Uscc,
    VisibleAscii,
    convert_plain,
    decode,
    decode_request,
    plain,
)
from meter.values.text import check_text
from meter.wire.batch import Batch
from tests.books import ALPHA, properties


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    id: Id


class Thing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One field of each kind."""

    id: Id = "a"
    name: Name = "a"
    visible: VisibleAscii = "a"
    money: Fen = Fen(0)
    price: Price = Price(1)
    day: Date = Date("2025-01-01")
    uscc: Uscc = Uscc(ALPHA)
    text: Lines | UnsetType = UNSET
    instant: Instant = Instant(0)
    number: Annotated[int, Meta(ge=0)] = 0
    flag: bool = False
    inner: Inner | UnsetType = UNSET
    many: dict[Id, Price] = {}


def read(**fields: Any) -> Thing:
    return decode(json.dumps(fields).encode(), Thing)


def refusal(data: bytes, kind: type = Thing, fixed: dict[str, str] | None = None) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is looked at
        decode(data, kind) if fixed is None else decode_request(data, kind, fixed)
    assert str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("money", "0.00", 0),
        ("money", "1234.56", 123_456),
        ("price", "4.5", 45_000),
        ("price", "0.0001", 1),
        ("price", {"amount": "3000.00", "per": "month"}, 30_000_000),
        ("day", "2024-02-29", "2024-02-29"),
        ("uscc", ALPHA, ALPHA),
        ("text", "a\nb\n", "a\nb\n"),
        ("instant", "1970-01-01T08:00:01+08:00", 1),
        ("instant", "1970-01-01T00:00:01Z", 1),
        ("name", "深圳", "深圳"),
        ("visible", "slurm:4211:0", "slurm:4211:0"),
        ("id", "A" * 64, "A" * 64),
    ],
)
def test_each_kind_of_text_is_read_into_its_value(name, text, value):
    assert getattr(read(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("money", ["1", "1.0", "01.00", "-1.00", "+1.00", "1,00", " 1.00", "1.00 ", "", 1, 1.0]),
        ("price", ["0", "0.00000", "4.", ".5", "1e2", "-1", "100000", 4.5, 4, None, {}]),
        ("day", ["2025-02-29", "2025-1-01", "20250101", "2025-01-01T00:00:00Z", "", 20250101]),
        ("uscc", [ALPHA.lower(), ALPHA[:-1], ALPHA[:-1] + "X", "", ALPHA + "\n", 1]),
        ("instant", ["2025-03-01T08:00:00", "2025-03-01 08:00:00Z", "2025-03-01T08:00:60Z", 1]),
        ("instant", ["2025-03-01T08:00:00.0Z", "2025-03-01T24:00:00Z", "2025-03-01T08:00:00z"]),
        ("text", ["a\tb", "a\r\nb", "\x00", 1]),
        ("name", ["", "a\nb", "a\x7f", "a\x85", "x" * 201]),
        ("visible", ["", "a b", "é", "a\n", "x" * 129]),
        ("id", ["", "-a", "a b", "a/b", "a:b", "a\n", "é", "A" * 65, None, ["a"]]),
        ("number", [-1, 1.0, "1", True, None, 1e3]),
        ("flag", [0, 1, "true", None]),
        ("many", [{"a b": "1"}, {"a": "0"}, {"a": 1}, [], {"": "1"}]),
        ("inner", [{}, {"id": "a", "x": 1}, {"id": "a\n"}, [], "a"]),
    ],
)
def test_each_kind_of_text_has_one_form(name, values):
    for value in values:
        refusal(json.dumps({name: value}).encode())


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b"{", b"[]", b"null", b'"x"', b"{} {}", b"{},", b'{"id":"a",}', b"{'id':'a'}"),
        *(b"\xef\xbb\xbf{}", b"\xff{}", b'{"name":"\xff"}', "{}".encode("utf-16"), b"{}\x00"),
        *(b'{"unknown":1}', b'{"":1}', b'{"ID":"a"}', b'{"number":NaN}', b'{"number":Infinity}'),
        *(b'{"number":01}', b'{"number":1.5}', b'{"number":1e2}', b'{"number":-0.0}'),
        *(b'{"id":"a","id":"a"}', b'{"inner":{"id":"a","id":"b"}}', b'{"many":{"a":"1","a":"1"}}'),
        *(b'{"id":"a","\\u0069d":"b"}', b'{"name":"\\ud800"}', b'{"name":"\\udc00\\ud800"}'),
        *(b'{"name":"\\u0000"}', b'{"name":"\\u001f"}', b'{"name":"\\u0085"}', b'{"name":"a\nb"}'),
        *(b'{"name":"a\x7f"}', b'{"many":{"a\x7f":"1"}}'),  # as compact as JSON that is clean
        *(b"[" * 10_000, b'{"inner":' * 10_000, b'{"number":' + b"1" * 5_000 + b"}"),
    ],
)
def test_what_lenient_readers_let_pass_is_refused(data):
    refusal(data)


def test_a_refusal_names_the_place():
    assert "$.money" in refusal(b'{"money":"1"}')
    assert "$.inner.id" in refusal(b'{"inner":{"id":""}}')
    assert "unknown" in refusal(b'{"unknown":1}')


def test_fields_of_the_url_are_judged_like_those_of_the_body_and_stand_nowhere_else():
    key = b'"public_key":"%s","proof":"%s"' % (b"A" * 44, b"A" * 88)
    body = b'{"keyid":"k","algorithm":"ed25519",%s}' % key
    assert decode_request(body, RegisterKey, {"provider": "pcl"}).provider == "pcl"
    for id_ in ("", "a b", "a\n", "a\x00", "../x", "é", "\udcff", "x" * 65):
        refusal(body, RegisterKey, {"provider": id_})
    twice = body.replace(b"{", b'{"provider":"pcl",')
    assert "URL" in refusal(twice, RegisterKey, {"provider": "pcl"})
    refusal(body.replace(b"{", b'{"keyid":"j",'), RegisterKey, {"provider": "pcl"})
    refusal(body, RegisterKey)
    refusal(b"[]", RegisterKey, {"provider": "pcl"})


def test_what_an_entry_holds_reads_back_into_the_same_command():
    body = json.dumps(
        {
            "programme": "training-coupon",
            "enterprise": ALPHA,
            "year": 2025,
            "amount": "12.34",
        }
    ).encode()
    command = decode(body, IssueCoupon)
    names = ("programme", "enterprise", "year", "amount")
    fields = {name: plain(getattr(command, name)) for name in names}
    assert fields == json.loads(body) | {"amount": 1234}
    assert {type(value) for value in fields.values()} == {str, int}
    assert convert_plain(fields, IssueCoupon) == command
    for wrong in ("12.34", -1, 1.5, True, 10**15 + 1, None):
        with pytest.raises(ValueError):  # noqa: PT011 - msgspec's own
            convert_plain(fields | {"amount": wrong}, IssueCoupon)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_names = sorted({name for kind in BY_COMMAND for name in kind.__struct_encode_fields__})


@properties
@given(
    st.sampled_from([Thing, Batch, *BY_COMMAND]),
    st.binary() | st.dictionaries(st.sampled_from(_names) | st.text(), _json).map(json.dumps),
    st.none() | st.dictionaries(st.sampled_from(_names), st.text(), max_size=2),
)
def test_whatever_comes_is_a_value_or_a_value_error(kind, data, fixed):
    data = data if isinstance(data, bytes) else data.encode()
    try:
        value = decode(data, kind) if fixed is None else decode_request(data, kind, fixed)
    except ValueError:
        return
    assert isinstance(value, kind)


@properties
@given(st.text(max_size=40))
def test_a_text_that_is_read_is_the_text_that_was_written(text):
    data = json.dumps({"name": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        name = decode(data, Thing).name
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            check_text(text) if text.strip() else decode(b"blank", Thing)
    else:
        assert name == text


def test_a_provider_is_read_with_all_that_is_nested_in_it():
    body = {
        "id": "pcl",
        "uscc": ALPHA,
        "name": "鹏城实验室",
        "devices": {"ascend-910b": 4096},
        "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
    }
    provider = decode(json.dumps(body).encode(), RegisterProvider)
    assert provider.enlisted.starts == "2025-01-01"
    assert (plain(provider.devices), plain(provider.uscc)) == (body["devices"], ALPHA)
    body["enlisted"]["until"] = "2025-02-30"
    assert "$.enlisted.until" in refusal(json.dumps(body).encode(), RegisterProvider)


@properties
@given(
    st.text(
        st.sampled_from([*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *'a"\\卡𠀀']),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
def test_a_text_is_refused_just_where_it_holds_a_control_character(text, escaped):
    text += "x"  # else it could be blank
    data = json.dumps({"name": text}, ensure_ascii=escaped).encode()
    if any(ord(each) < 0x20 or 0x7F <= ord(each) <= 0x9F for each in text):
        with pytest.raises(ValueError, match="control character"):
            decode(data, Thing)
    else:
        assert decode(data, Thing).name == text


@pytest.mark.parametrize("module", [commands, entries])
def test_no_part_of_a_command_or_an_entry_takes_a_field_that_it_does_not_know(module):
    structs = [each for each in vars(module).values() if isinstance(each, type(Struct))]
    parts = [each for each in structs if each.__module__ == module.__name__]
    assert len(parts) > 20
    assert [each for each in parts if not each.__struct_config__.forbid_unknown_fields] == []
