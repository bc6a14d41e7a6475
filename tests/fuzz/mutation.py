"""The changes of an input: half of them as JSON, the others as libFuzzer changes bytes.

Most readers here begin with JSON. After a change of bytes, hardly any input is still JSON, and too
few would reach the rules behind. The part before the JSON (a word, or one or two bytes that choose
its use) is changed as bytes, and so are inputs that are not JSON.
"""

import json
from random import Random
from typing import Any

import atheris

ODD: tuple[Any, ...] = (
    *(0, 1, -1, 2**31, 2**53, 2**63, 10**30, 1.5, True, None, [], {}, [[]]),
    *("", "0", "0.00", "-1.00", "\x00", "\n", "é算😀", "\ud800", "a" * 300, "__proto__"),
    *("2025-02-29", "9999-12-31", "1900-01-01T00:00:00Z", "2024-12-31T23:59:59-23:59"),
)


def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
    chance = Random(seed)
    changed = _changed_json(data, chance) if chance.random() < 0.5 else None
    if changed is None or len(changed) > max_bytes:
        return atheris.Mutate(data, max_bytes)
    return changed


def _changed_json(data: bytes, chance: Random) -> bytes | None:
    for start in (0, 1, 2, data.find(b"{")):
        try:
            value = json.loads(data[start:])
            places = [*_places(value)]
        except (ValueError, RecursionError):
            continue
        if places:
            _change(*chance.choice(places), places, chance)
            return data[:start] + _written(value, chance)
    return None


def _places(value: Any) -> Any:
    """Yield every container, and each key (or index) in it."""
    if isinstance(value, dict | list):
        for key, item in [*(value.items() if isinstance(value, dict) else enumerate(value))]:
            yield value, key
            yield from _places(item)


def _change(container: Any, key: Any, places: list[Any], chance: Random) -> None:
    other, other_key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            container[key] = chance.choice(ODD)
        case 1:
            container[key] = json.loads(json.dumps(other[other_key]))
        case 2:
            del container[key]
        case 3 if isinstance(container, list):
            container.insert(key, container[key])
        case 3:
            container[chance.choice([f"{key}2", "x", str(other_key)])] = container[key]
        case _:
            container[key] = _nudged(container[key], chance)


def _nudged(value: Any, chance: Random) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return chance.choice([value + 1, value - 1, value * 10, -value, str(value)])
        case str():
            place = chance.randrange(len(value) + 1)
            kept = chance.choice([place, place + 1])
            return value[:place] + chance.choice(["", *"0129aZ:-.é"]) + value[kept:]
        case _:
            return chance.choice(ODD)


def _written(value: Any, chance: Random) -> bytes:
    # In this form, canonical bytes stay canonical.
    form = {"sort_keys": True, "separators": (",", ":")}
    text = json.dumps(value, ensure_ascii=chance.random() < 0.1, **form)
    return text.encode("utf-8", "surrogatepass")
