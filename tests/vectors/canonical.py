"""Canonical JSON: the bytes of an entry of any kind (a part of RFC 8785)."""

import json
from collections.abc import Mapping
from typing import Any

from tests.vectors.plain import leaf
from tests.vectors.vector import Format, Vector, bad, good

LARGEST = 2**53 - 1
LONGEST = 65_535
EIGHT = b'{"a":' * 8

# The reasons why programs for all of RFC 8785 accept more than an entry may hold.
_ALL_OF_JSON = "RFC 8785 is about all of JSON"
_FRACTIONS = dict.fromkeys(("rfc8785", "sigstore"), _ALL_OF_JSON)
_NULLS = _FRACTIONS | {"aics-tlog": _ALL_OF_JSON}
_ALL = ("rfc8785", "sigstore", "aics-tlog")
_KEYS = dict.fromkeys(_ALL, "RFC 8785 sorts such keys by their UTF-16 units")
_LIMITS = dict.fromkeys(_ALL, "RFC 8785 has no such limit")
_LARGE = {
    "aics-tlog": "it goes up to 2^53 itself",
    "sigstore": "it reads numbers as doubles, and this is one",
}
_SURROGATES = {"sigstore": "a text of JavaScript may hold lone surrogates"}


def vectors() -> Format:
    return Format(
        "canonical",
        "The bytes of an entry: canonical JSON (RFC 8785) of one object, without null, fractions,"
        " exponents and integers beyond 2^53 - 1 in size; keys are ASCII, at most eight levels lie"
        " below the object, and there are at most 65,535 bytes. A good one has `value` and `leaf`,"
        " the entry's leaf hash; written again, the value gives the same bytes.",
        {},
        [*_good(), *_bad_spellings(), *_bad_values()],
    )


def _good() -> list[Vector]:
    text = {"text": 'quote " backslash \\ slash / tab \t line feed \n bell \x07 delete \x7f'}
    escapes = b'{"text":"quote \\" backslash \\\\ slash / tab \\t line feed \\n bell \\u0007'
    escapes += b' delete \x7f"}'
    return [
        _read(
            "a small entry",
            b'{"at":1740790800000000,"by":"op-1","kind":"note","postings":[],"v":1}',
        ),
        _read("an empty object", b"{}"),
        _read("true, false, an empty list, an empty object", b'{"a":[true,false,[],{}]}'),
        _read(
            "the largest and the smallest integer", b'{"a":[9007199254740991,-9007199254740991,0]}'
        ),
        _read("keys in the order of their bytes", b'{"":0,"A":1,"B":2,"_":3,"a":4,"a.b":5,"aa":6}'),
        _read("keys of objects within lists", b'{"a":[{"x":1,"y":2},{"z":3}]}'),
        good("only what must be escaped is, in the shortest way", escapes, _told(escapes, text)),
        _read("text that is not ASCII stands as it is", '{"a":"算力券 é € 😀"}'.encode()),
        _read("text is not normalised", '{"a":"e\u0301","b":"é"}'.encode()),
        _read(
            "a line separator and a byte order mark within a text",
            '{"a":"\u2028\ufeff"}'.encode(),
        ),
        _read("an escaped key", b'{"a\\nb":1}'),
        _read("eight levels below the object", EIGHT + b'{"a":1}' + b"}" * 8),
        _read("keys that mean something to JavaScript", b'{"__proto__":1,"constructor":2}'),
        good(
            "65,535 bytes",
            b'{"a":"' + b"x" * (LONGEST - 8) + b'"}',
            {"leaf": leaf(b'{"a":"' + b"x" * (LONGEST - 8) + b'"}').hex()},
        ),
    ]


def _read(name: str, data: bytes) -> Vector:
    return good(name, data, _told(data, json.loads(data)))


def _told(data: bytes, value: Any) -> dict[str, Any]:
    return {"value": value, "leaf": leaf(data).hex()}


def _wrong(name: str, data: bytes, why: str, lax: Mapping[str, str] | None = None) -> Vector:
    return bad(name, data, "not_canonical", why, lax)


def _bad_spellings() -> list[Vector]:
    space = "nothing stands between tokens"
    escape = "a character is escaped only where it must be, in the shortest way"
    order = "keys are sorted"
    twice = "a key is there once"
    number = "a number has one spelling"
    return [
        _wrong("no bytes", b"", "it is an object"),
        _wrong("a space behind a colon", b'{"a": 1}', space),
        _wrong("a space before it", b' {"a":1}', space),
        _wrong("a line feed behind it", b'{"a":1}\n', space),
        _wrong("a second object behind it", b'{"a":1}{}', "nothing follows it"),
        _wrong("a byte order mark", b'\xef\xbb\xbf{"a":1}', space),
        _wrong("in UTF-16", '{"a":1}'.encode("utf-16-le"), "it is UTF-8"),
        _wrong("the last bracket is missing", b'{"a":1', "it is JSON"),
        _wrong("a comma too many", b'{"a":1,}', "it is JSON"),
        _wrong("keys in another order", b'{"b":1,"a":2}', order),
        _wrong("keys in another order, within a list", b'{"a":[{"y":1,"x":2}]}', order),
        _wrong("a key twice", b'{"a":1,"a":2}', twice),
        _wrong("a key twice, the same", b'{"a":1,"a":1}', twice),
        _wrong("an escaped letter", b'{"a":"\\u0061"}', escape),
        _wrong("an escaped slash", b'{"a":"\\/"}', escape),
        _wrong("an escape of six characters where two are enough", b'{"a":"\\u000a"}', escape),
        _wrong("an escape in capitals", b'{"a":"\\u001F"}', escape),
        _wrong("an escaped character that is not ASCII", b'{"a":"\\u00e9"}', escape),
        _wrong("an escaped pair of surrogates", b'{"a":"\\ud83d\\ude00"}', escape),
        _wrong("an escaped delete character", b'{"a":"\\u007f"}', escape),
        _wrong("a line feed that is not escaped", b'{"a":"\n"}', escape),
        _wrong("minus zero", b'{"a":-0}', number),
        _wrong("a leading zero", b'{"a":01}', number),
        _wrong("a plus sign", b'{"a":+1}', number),
        _wrong("a fraction of zero", b'{"a":1.0}', number),
        _wrong("an exponent", b'{"a":1e2}', number),
        _wrong("bytes that are not UTF-8", b'{"a":"\xff"}', "it is UTF-8"),
        _wrong("a slash in two bytes", b'{"a":"\xc0\xaf"}', "UTF-8 has one spelling"),
    ]


def _bad_values() -> list[Vector]:
    surrogate = "it is no character"
    deep = "there are at most eight levels below the object"
    return [
        _wrong("a number alone", b"1", "it is an object", _LIMITS),
        _wrong("a list", b"[]", "it is an object", _LIMITS),
        _wrong("a text", b'"a"', "it is an object", _LIMITS),
        _wrong("null", b"null", "it is an object", _NULLS),
        _wrong("a field that is null", b'{"a":null}', "what is not there is left out", _NULLS),
        _wrong("a fraction", b'{"a":1.5}', "JSON writers differ in fractions", _FRACTIONS),
        _wrong("not a number", b'{"a":NaN}', "it is JSON"),
        _wrong("2^53", b'{"a":9007199254740992}', "not every reader keeps it exact", _LARGE),
        _wrong("-2^53", b'{"a":-9007199254740992}', "not every reader keeps it exact", _LARGE),
        _wrong("2^53 + 1", b'{"a":9007199254740993}', "not every reader keeps it exact"),
        _wrong("2^64", b'{"a":18446744073709551616}', "not every reader keeps it exact"),
        _wrong("a lone surrogate, escaped", b'{"a":"\\ud800"}', surrogate, _SURROGATES),
        _wrong(
            "two surrogates the wrong way round", b'{"a":"\\ude00\\ud83d"}', surrogate, _SURROGATES
        ),
        _wrong("a lone surrogate in UTF-8", b'{"a":"\xed\xa0\x80"}', surrogate),
        _wrong(
            "a key that is not ASCII", '{"é":1}'.encode(), "sorting differs beyond ASCII", _KEYS
        ),
        _wrong(
            "a key that is not ASCII, further down",
            '{"a":[{"é":1}]}'.encode(),
            "sorting differs beyond ASCII",
            _KEYS,
        ),
        _wrong("nine levels below the object", EIGHT + b'{"a":{}}' + b"}" * 8, deep, _LIMITS),
        _wrong("nine levels of lists", b'{"a":' + b"[" * 9 + b"]" * 9 + b"}", deep, _LIMITS),
        _wrong("10,000 levels", b'{"a":' + b"[" * 10_000, "no reader has to go so deep"),
        _wrong(
            "65,536 bytes",
            b'{"a":"' + b"x" * (LONGEST - 7) + b'"}',
            "two bytes count them in a bundle",
            _LIMITS,
        ),
    ]
