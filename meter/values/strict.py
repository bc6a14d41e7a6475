"""JSON from outside, read into typed values with nothing guessed.

`decode` refuses what lenient readers let pass: unknown and duplicate keys, a byte order mark,
lone surrogates, numbers with a fraction or exponent where an integer is due, and in any text what
`values/text.py` does not take. Text types that several requests use are defined here once, with the
JSON Schemas that describe them (`SCHEMAS`).
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from meter.values import uscc
from meter.values.text import VISIBLE, check_text, check_texts, in_form_c
from meter.values.units import (
    MICROSECONDS,
    format_moment,
    format_money,
    format_price,
    parse_date,
    parse_device_seconds,
    parse_instant,
    parse_moment,
    parse_money,
    parse_price,
)

Per = Literal["hour", "day", "month"]
T = TypeVar("T")
S = TypeVar("S", bound=Struct)

# Ids enter account names and URLs, where ':' and '/' have a meaning. The pattern ends with \Z: "$"
# would accept a final line feed, and ids in URLs are not checked for control characters.
_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
Id = Annotated[str, Meta(pattern=_ID, extra_json_schema={"format": "id"})]
is_id: Final = re.compile(_ID).match
# Ids that providers choose: visible ASCII, e.g. "slurm:4211:0".
_VISIBLE_ASCII: Final = r"^[\x21-\x7e]{1,128}\Z"
VisibleAscii = Annotated[str, Meta(pattern=_VISIBLE_ASCII)]
is_visible_ascii: Final = re.compile(_VISIBLE_ASCII).match
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,14})\Z").match
# Texts that people see. The schema says more than the pattern, after which `check_texts` runs.
_SHOWN: Final = {
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u2800\u0000-\u001f\u007f-\u009f]"
    r"[^\u0000-\u001f\u007f-\u009f]*$"
}
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=VISIBLE, extra_json_schema=_SHOWN)]
Reason = Annotated[
    str, Meta(min_length=1, max_length=500, pattern=VISIBLE, extra_json_schema=_SHOWN)
]
Note = Annotated[str, Meta(min_length=1, max_length=128, pattern=VISIBLE, extra_json_schema=_SHOWN)]
Year = Annotated[int, Meta(ge=1900, le=9998)]
MonthText = Annotated[str, Meta(pattern=r"^(?:19|[2-9][0-9])[0-9]{2}-(?:0[1-9]|1[0-2])\Z")]
# The JSON of another request, whose own type reads it later: until then its texts are unchecked.
Body = Annotated[dict[str, Any], Meta(max_length=64)]


class Fen(int):
    """Money: yuan text with two decimals outside, fen inside."""


class Price(int):
    """A price of a device: yuan outside, 1/10000 yuan inside.

    A text is per hour; per day or month it is an object: `{"amount":"3000.00","per":"month"}`.
    """

    per: Per

    def __new__(cls, amount: int, per: Per = "hour") -> Self:
        """Make a price of 1/10000 yuan."""
        made = super().__new__(cls, amount)
        made.per = per
        return made


class Moment(int):
    """An instant to the microsecond: text with up to six decimals outside, microseconds inside."""


class Date(str):
    """A Shanghai calendar date that exists, `YYYY-MM-DD`."""

    __slots__ = ()


class Uscc(str):
    """A USCC with a right check character."""

    __slots__ = ()


class Lines(str):
    """A text of several lines, e.g. a policy file."""

    __slots__ = ()


class DeviceSeconds(int):
    """Device-time: device-seconds with three decimals outside, thousandths × seconds inside."""


class Instant(int):
    """An instant: text with an offset outside, seconds since 1970 UTC inside."""


class Number(int):
    """The number of an entry in a URL: digits outside."""


_PRICE_TEXT: Final = {
    "type": "string",
    "format": "price",
    "pattern": r"^(?!0(?:\.0{1,4})?$)(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,4})?$",
}

# A schema cannot say that a day exists or that a check character is right; it says all the rest.
SCHEMAS: Final[dict[type, dict[str, Any]]] = {
    Fen: {
        "type": "string",
        "format": "yuan",
        "pattern": r"^(?:(?:0|[1-9][0-9]{0,12})\.[0-9]{2}|10000000000000\.00)$",
        "description": "Yuan with exactly two decimals.",
        "examples": ["288.00"],
    },
    Price: {
        "oneOf": [
            _PRICE_TEXT | {"description": "Yuan per device-hour with up to four decimals."},
            {
                "type": "object",
                "properties": {
                    "amount": _PRICE_TEXT,
                    "per": {"type": "string", "enum": ["day", "month"]},
                },
                "required": ["amount", "per"],
                "additionalProperties": False,
            },
        ],
        "description": "The price of a device for an hour, or for a day or calendar month.",
        "examples": ["4.50", {"amount": "3000.00", "per": "month"}],
    },
    Date: {
        "type": "string",
        "format": "date",
        "pattern": r"^(?:19|[2-8][0-9]|9[0-8])[0-9]{2}-[0-9]{2}-[0-9]{2}$",
        "description": "A calendar date in Shanghai.",
        "examples": ["2025-02-01"],
    },
    Uscc: {
        "type": "string",
        "format": "uscc",
        "pattern": r"^[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}$",
        "description": "A Unified Social Credit Code (GB 32100-2015), upper case; its last"
        " character checks the others.",
        "examples": ["91440300708461136T"],
    },
    Lines: {
        "type": "string",
        "pattern": r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$",
        "description": "A text of several lines; line feeds are its only control characters.",
    },
    Instant: {
        "type": "string",
        "format": "date-time",
        "pattern": r"^(?:19|[2-8][0-9]|9[0-8])[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$",
        "description": "An instant in whole seconds, with `Z` or an offset.",
        "examples": ["2025-03-01T08:00:00+08:00"],
    },
    Moment: {
        "type": "string",
        "format": "date-time",
        "pattern": r"^(?:19|[2-8][0-9]|9[0-8])[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$",
        "description": "An instant with up to six decimals of a second, and `Z` or an offset.",
        "examples": ["2025-03-01T08:00:00.250000+08:00"],
    },
    DeviceSeconds: {
        "type": "string",
        "format": "device-seconds",
        "pattern": r"^(?:0|[1-9][0-9]{0,17})\.[0-9]{3}$",
        "description": "Device-seconds with exactly three decimals.",
        "examples": ["691200.000"],
    },
    Number: {
        "type": "string",
        "pattern": r"^(?:0|[1-9][0-9]{0,14})$",
        "description": "The number of an entry, in digits.",
        "examples": ["7"],
    },
}
PLAIN_TEXT: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"  # any text, without control characters


def decode(data: bytes, kind: type[T]) -> T:
    """Return the struct `kind` from its JSON. Raises `ValueError`, whose text names the place.

    Only a text of the type `Lines` may hold line feeds.
    """
    try:
        value = msgspec.json.decode(data, type=kind, dec_hook=_from_text)
        if not _is_surely_clean(data):
            _check_texts(_UNIQUE_KEYS.decode(data.decode()), kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def decode_request(data: bytes, kind: type[T], fixed: Mapping[str, str]) -> T:
    """Return the same of a request that nobody signed: its texts are put into form C.

    `fixed` holds the fields that come from the URL; the JSON may not repeat them.
    """
    try:
        fields = in_form_c(msgspec.json.decode(data, type=dict[str, Any]))
        for name in fixed:
            if name in fields:
                raise ValueError(f"{name!r} stands in the URL, not in the body")
        value = msgspec.convert({**fields, **fixed}, kind, dec_hook=_from_text)
        if not _is_surely_clean(data):
            _check_texts(in_form_c(_UNIQUE_KEYS.decode(data.decode())), kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _is_surely_clean(data: bytes) -> bool:
    """Return whether JSON that was read holds no duplicate key, and no text that is not taken.

    False only means that a closer look is needed. A duplicate key is missing when the object is
    written again. A control character is an escape, the byte 0x7f, or not ASCII.
    """
    if b"\\" in data or b"\x7f" in data or not data.isascii():
        return False
    again = msgspec.json.encode(msgspec.json.decode(data))
    return again == data or again == msgspec.json.format(data, indent=-1)


def convert_plain(fields: dict[str, Any], kind: type[T]) -> T:
    """Return the struct `kind` from the values that an entry holds: the inverse of `plain`.

    Raises `ValueError`, also where `decode` would refuse the value from outside.
    """
    _check_texts(fields, kind)
    return msgspec.convert(fields, kind, dec_hook=_from_plain)


def convert_texts(fields: dict[str, Any], kind: type[T]) -> T:
    """Return the struct `kind` from the values of a file, whose texts were checked.

    Raises `msgspec.ValidationError`, whose text names the place.
    """
    return msgspec.convert(fields, kind, dec_hook=_from_text)


def convert_query(values: dict[str, str], kind: type[S]) -> S:
    """Return the struct `kind` from the parameters of a URL. Raises `ValueError`."""
    check_texts(values)
    found = msgspec.convert(values, kind, strict=False, dec_hook=_from_text)
    if not values:  # as with most requests; to list a struct's fields takes a while
        return found
    for field in msgspec.structs.fields(kind):
        value, name = getattr(found, field.name), field.encode_name
        # Leniently, `1e1` and `010` would be numbers too.
        if type(value) is int and name in values and values[name] != str(value):
            raise ValueError(f"{name}: expected a whole number in digits")
    return found


def plain(value: Any) -> Any:
    """Return a value as an entry holds it: without marker types, instants in microseconds."""
    if isinstance(value, bool) or value is msgspec.UNSET:
        return value
    if isinstance(value, Price) and value.per != "hour":
        return {"amount": int(value), "per": value.per}
    if isinstance(value, int):
        return int(value * MICROSECONDS if isinstance(value, Instant) else value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _from_plain(kind: type, value: object) -> object:
    if kind not in (Fen, Price, Instant, Moment, Number):
        return _from_text(kind, value)
    if kind is Price and isinstance(value, dict):
        return _price_per(value, _price_text)
    if type(value) is not int:
        raise ValueError("expected a whole number")
    # Read from the text, so that the limits of `decode` hold.
    if kind in (Instant, Moment):
        return _from_text(kind, _instant_text(kind, value))
    if kind is Number:
        return _from_text(kind, str(value))
    return _from_text(kind, format_money(value) if kind is Fen else format_price(value))


def _instant_text(kind: type, microseconds: int) -> str:
    if kind is Instant and microseconds % MICROSECONDS:
        raise ValueError("expected whole seconds, in microseconds")
    try:
        return format_moment(microseconds)
    except OverflowError:
        raise ValueError("expected an instant") from None


def _price_text(amount: object) -> object:
    if type(amount) is not int:
        raise ValueError("expected a whole number")
    return format_price(amount)


def _price_per(fields: dict[str, Any], text_of: Callable[[object], object]) -> Price:
    """Return a price per day or month; `text_of` returns the text of its amount."""
    if fields.keys() != {"amount", "per"} or fields["per"] not in ("day", "month"):
        raise ValueError("expected an amount, and per day or month")
    text = text_of(fields["amount"])
    if not isinstance(text, str):
        raise ValueError("expected text")  # noqa: TRY004 - msgspec names the place of a ValueError
    return Price(parse_price(text), fields["per"])


def _from_text(kind: type, value: object) -> object:
    if kind is Price and isinstance(value, dict):
        return _price_per(value, lambda amount: amount)
    if not isinstance(value, str):
        raise ValueError("expected text")  # noqa: TRY004 - msgspec names the place of a ValueError
    return _READERS[kind](value)


@lru_cache(maxsize=65_536)  # the records of a batch share their instants
def _instant(text: str) -> Instant:
    return Instant(parse_instant(text))


def _date(text: str) -> Date:
    parse_date(text)
    return Date(text)


def _number(text: str) -> Number:
    if not _NUMBER(text):
        raise ValueError("expected the number of an entry")
    return Number(text)


def _uscc(text: str) -> Uscc:
    if not uscc.is_valid(text):
        raise ValueError(f"not a USCC with a right check character: {text!r:.80}")
    return Uscc(text)


_READERS: Final[dict[type, Callable[[str], object]]] = {
    Fen: lambda text: Fen(parse_money(text)),
    Price: lambda text: Price(parse_price(text)),
    Date: _date,
    Uscc: _uscc,
    Lines: Lines,
    Instant: _instant,
    DeviceSeconds: lambda text: DeviceSeconds(parse_device_seconds(text)),
    Moment: lambda text: Moment(parse_moment(text)),
    Number: _number,
}


def check_unique_keys(data: bytes) -> None:
    """Raise `ValueError` where a key occurs twice in an object of this JSON."""
    try:
        _UNIQUE_KEYS.decode(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return result


_UNIQUE_KEYS: Final = json.JSONDecoder(object_pairs_hook=_unique)


def _check_texts(fields: Any, kind: type) -> None:
    """Raise `ValueError` for a text that is not taken, with its field.

    Line feeds are taken in a text of `Lines`.
    """
    hints = getattr(kind, "__annotations__", {})
    for name, value in fields.items() if isinstance(fields, dict) else ():
        hint = hints.get(name)
        is_lines = hint is Lines or Lines in get_args(hint)
        check_text(name)
        if hint is Body:
            continue
        try:
            check_texts(value.replace("\n", "") if is_lines and isinstance(value, str) else value)
        except ValueError as error:
            raise ValueError(f"{error} - at `$.{name}`") from None
