"""Second readings: the same bytes read again by other means, to compare with the first.

Only the standard library and `rfc8785` are used here, and nothing of the two packages. Each reading
raises `ValueError` to refuse.
"""

import json
import unicodedata
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import rfc8785

MAX_ENTRY_BYTES = 65_535
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Zl", "Zp"}
_USCC = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def strict_json(data: bytes, may_hold: str = "") -> Any:
    """Read JSON without repeated keys, byte order mark, lone surrogates or what hides in a text.

    Control characters in `may_hold` are accepted.
    """
    value = _json(data)
    for text in _texts(value):
        text.encode()  # a lone surrogate has no UTF-8
        if any(unicodedata.category(each) in _HIDDEN for each in set(text) - set(may_hold)):
            raise ValueError("a character that hides")
    return value


def canonical(data: bytes) -> dict[str, Any]:
    """Read the canonical bytes of an entry: RFC 8785 without null, fractions and large numbers."""
    value = _json(data)
    if not isinstance(value, dict) or len(data) > MAX_ENTRY_BYTES:
        raise ValueError("not the object of an entry")
    _check_entry_value(value, 0)
    if rfc8785.dumps(value) != data:
        raise ValueError("another spelling")
    return value


def instant(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(seconds=1)


def midnight(text: str) -> int:
    """Return the instant at which a date begins in Shanghai."""
    return instant(f"{date.fromisoformat(text).isoformat()}T00:00:00+08:00")


def times(text: str, factor: int) -> Fraction:
    """Return a decimal number times a factor."""
    return Fraction(text) * factor


def has_check_character(uscc: str) -> bool:
    """Return whether the weighted sum of all 18 is a multiple of 31 (GB 32100-2015)."""
    weights = [3**place % 31 for place in range(17)] + [1]
    total = sum(_USCC.index(letter) * weight for letter, weight in zip(uscc, weights, strict=True))
    return total % 31 == 0


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any) -> list[str]:
    """Yield all keys and texts, without recursion: `value` may be as deep as JSON goes."""
    found, rest = [], [value]
    while rest:
        match rest.pop():
            case str(text):
                found.append(text)
            case dict(fields):
                rest += [*fields, *fields.values()]
            case list(items):
                rest += items
    return found


def _check_entry_value(value: Any, depth: int) -> None:
    match value:
        case str() | bool():
            pass
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValueError("an integer that not every reader keeps")
        case dict() | list() if depth <= MAX_DEPTH:
            if isinstance(value, dict) and not all(map(str.isascii, value)):
                raise ValueError("a key that is not ASCII")
            for item in value.values() if isinstance(value, dict) else value:
                _check_entry_value(item, depth + 1)
        case _:
            raise ValueError("not a value of entries")
