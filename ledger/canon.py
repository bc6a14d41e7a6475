r"""The bytes of an entry: canonical JSON (RFC 8785) of a small part of JSON.

There are objects, arrays, strings, booleans and integers between -(2^53 - 1) and 2^53 - 1. There is
no null and no other number: JSON writers spell these differently. Objects list their keys in order,
nothing stands between tokens, and a character is escaped only where JSON demands it, in the
shortest way. One example:

    {"at":1740790800000000,"by":"op-1","kind":"note","postings":[],"text":"算力券\n","v":1}

`decode` accepts only what `encode` returns: a value has one spelling, and a spelling one value.
This module knows no kinds of entries and no fields.
"""

from types import GenericAlias
from typing import Annotated, Any, Final

import msgspec

from ledger.errors import NotCanonical

# The longest entry that fits the two-byte length of an entry bundle (C2SP tlog-tiles).
MAX_ENTRY_BYTES: Final = 65_535

# The largest integer that all JSON readers keep exact (RFC 8785 3.2.2.3, RFC 7493 2.2).
MAX_INTEGER: Final = 2**53 - 1

# An entry's own object is level 0. Deeper nesting has no use, and could exhaust a recursive reader.
MAX_DEPTH: Final = 8


def encode(value: object) -> bytes:
    """Return the canonical bytes of a dict, list, tuple, str, bool, int or `msgspec.Struct`.

    The fields of a struct are sorted, and `UNSET` ones left out. Raises `NotCanonical` for any
    other value.
    """
    try:
        if not isinstance(value, msgspec.Struct):
            # Bytes and dates would be written as strings, and read back as strings.
            value = msgspec.convert({"value": value}, _Box).value
        data = spell(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error
    _read(data, _value_decoder)  # refuses large integers, nulls and fractions
    return data


def spell(value: object) -> bytes:
    """Return the canonical bytes of a value without checking that it has any."""
    return _encoder.encode(value)


def decode(data: bytes) -> dict[str, Any]:
    """Return the object whose canonical bytes are `data`, at most `MAX_ENTRY_BYTES`."""
    if len(data) > MAX_ENTRY_BYTES:
        raise NotCanonical(f"{len(data)} bytes are more than the {MAX_ENTRY_BYTES} of an entry")
    value: dict[str, Any] = _read(data, _object_decoder)
    # Written again, the value differs in spaces, repeated keys, escapes, -0 and the order of keys.
    if spell(value) != data:
        raise NotCanonical("the value has another spelling")
    return value


def _read(data: bytes, decoder: "msgspec.json.Decoder[Any]") -> Any:
    try:
        value = decoder.decode(data)
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError
        raise NotCanonical(str(error)) from error
    # RFC 8785 sorts keys by UTF-16 units, msgspec by UTF-8 bytes. In ASCII the two agree.
    if not data.isascii() and not _keys_are_ascii(value):
        raise NotCanonical("a key is not ASCII")
    return value


def _keys_are_ascii(value: object) -> bool:
    match value:
        case dict():
            return all(key.isascii() and _keys_are_ascii(item) for key, item in value.items())
        case list():
            return all(map(_keys_are_ascii, value))
        case _:
            return True


def _value_type(depth: int) -> Any:
    """The type of values with at most `depth` levels of arrays and objects."""
    scalar = str | bool | Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    if depth == 0:
        return scalar
    inner = _value_type(depth - 1)
    return scalar | GenericAlias(list, (inner,)) | GenericAlias(dict, (str, inner))


_encoder: Final = msgspec.json.Encoder(order="sorted")
_value_decoder: Final = msgspec.json.Decoder(_value_type(MAX_DEPTH + 1))
_object_decoder: Final = msgspec.json.Decoder(GenericAlias(dict, (str, _value_type(MAX_DEPTH))))

# A struct around the value: msgspec caches what it learns of a struct's type, and of no other.
_Box: Final[Any] = msgspec.defstruct("_Box", [("value", _value_type(MAX_DEPTH + 1))])
