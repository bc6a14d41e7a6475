r"""The bytes of an entry: canonical JSON (RFC 8785) of a small part of JSON.

There are objects, arrays, strings, booleans and integers between -(2^53 - 1) and 2^53 - 1; no null
and no other number, for those are where JSON writers differ. Objects list their keys in order,
nothing stands between tokens, and a character is escaped only where JSON demands it, in the
shortest way. One example:

    {"at":1740790800000000,"by":"op-1","kind":"note","postings":[],"text":"算力券\n","v":1}

`decode` takes only what `encode` makes, so a value has one spelling and a spelling one value. This
module knows no kinds of entries and no fields.
"""

from types import GenericAlias
from typing import Annotated, Any, Final

import msgspec

from ledger.errors import NotCanonical

# What the two-byte length of an entry bundle can say (C2SP tlog-tiles).
MAX_ENTRY_BYTES: Final = 65_535

# Integers that every JSON reader keeps exact (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2).
MAX_INTEGER: Final = 2**53 - 1

# An entry's own object is level 0. Deeper nesting has no use, and readers that recurse fear it.
MAX_DEPTH: Final = 8


def encode(value: object) -> bytes:
    """The canonical bytes of a dict, list, tuple, str, bool, int or `msgspec.Struct`.

    A struct's fields are sorted, its `UNSET` ones left out. Raises `NotCanonical` for all else.
    """
    try:
        if not isinstance(value, msgspec.Struct):
            # Bytes or dates would be written as strings, and come back as something else.
            value = msgspec.convert({"value": value}, _Box).value
        data = spell(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error
    _read(data, _value_decoder)  # finds large integers, nulls and fractions
    return data


def spell(value: object) -> bytes:
    """The bytes of a value that is known to have some; to be compared with what `decode` took."""
    return _encoder.encode(value)


def decode(data: bytes) -> dict[str, Any]:
    """The object of which `data` are the canonical bytes, at most `MAX_ENTRY_BYTES`."""
    if len(data) > MAX_ENTRY_BYTES:
        raise NotCanonical(f"{len(data)} bytes are more than the {MAX_ENTRY_BYTES} of an entry")
    value: dict[str, Any] = _read(data, _object_decoder)
    # Spaces, repeated keys, escapes, -0 and the order of keys: all show when it is written again.
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

# A struct around the value, for msgspec keeps what it learns of a struct's type, and of no other.
_Box: Final[Any] = msgspec.defstruct("_Box", [("value", _value_type(MAX_DEPTH + 1))])
