"""Entries of each kind, as the rules write them, and entries that break a ledger's rules."""

import json
from typing import Any

from tests.fuzz import ledgers
from tests.vectors.plain import base64, leaf
from tests.vectors.vector import Format, Vector, bad, good


def vectors() -> Format:
    return Format(
        "entry",
        "An entry in its canonical bytes. A good one has `value` and `leaf` as in `canonical`, and"
        " there is one of each kind that a ledger can hold. A bad one is canonical JSON too: it"
        " stands as entry 1 behind `genesis` (base64) in a ledger that is signed rightly, and"
        " `code` is what a replay of that ledger says of it.",
        {},
        [*_good(), *_bad_fields(), *_bad_postings(), *_bad_places()],
    )


def _good() -> list[Vector]:
    names: dict[str, bytes] = {}
    for data in _leaves():
        fields = json.loads(data)
        kind = fields["kind"]
        # Both provider and authority can take a record back; their entries differ.
        by_authority = kind == "void" and "request" in fields
        names.setdefault(f"{kind}, by the authority" if by_authority else kind, data)
    return [
        good(name, data, {"value": json.loads(data), "leaf": leaf(data).hex()})
        for name, data in names.items()
    ]


def _leaves() -> list[bytes]:
    """Return entries of every kind: a story, and then changes of the service's own keys."""
    writer = ledgers.story().twin()
    writer.add_log_key()
    writer.retire_log_key()
    writer.add_receipt_key()
    writer.retire_receipt_key()
    return writer.leaves


def _policy() -> dict[str, Any]:
    """Return the fields of an entry that may follow a genesis."""
    fields: dict[str, Any] = json.loads(ledgers.story().leaves[1])
    return fields


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in _policy().items() if key != name}


def _wrong(name: str, fields: dict[str, Any], code: str, why: str) -> Vector:
    data = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return bad(name, data.encode(), code, why, genesis=base64(ledgers.story().leaves[0]))


def _bad_fields() -> list[Vector]:
    common = "every entry has v, kind, at, by, postings and salt"
    kind = "an entry of a kind has its fields, and no others"

    def other(name: str, code: str, why: str, **changes: Any) -> Vector:
        return _wrong(name, _policy() | changes, code, why)

    return [
        *(
            _wrong(f"{name} is missing", _without(name), "bad_fields", common)
            for name in ("v", "kind", "at", "by", "postings", "salt")
        ),
        other("version 2", "bad_fields", "only version 1 is known", v=2),
        other("a version that is true", "bad_fields", "true is no number", v=True),
        other(
            "an instant as text", "bad_fields", "at is in microseconds", at="2025-03-01T04:00:00Z"
        ),
        other("a kind that is a number", "bad_fields", "kind is a text", kind=1),
        other("postings that are an object", "bad_fields", "postings are a list", postings={}),
        other("a kind that nobody knows", "malformed_entry", "there is a fixed set", kind="gift"),
        other("a kind in capitals", "malformed_entry", "there is a fixed set", kind="POLICY"),
        other("a field that nobody knows", "malformed_entry", kind, note="x"),
        _wrong("a field of its kind is missing", _without("content"), "malformed_entry", kind),
        other("a salt of 15 bytes", "bad_fields", "a salt is 16 bytes in hex", salt="00" * 15),
        other("a salt in capitals", "bad_fields", "hex is in small letters", salt="AB" * 16),
        other("a field of its kind as a number", "malformed_entry", kind, content=1),
    ]


def _bad_postings() -> list[Vector]:
    pool, coupon = "pool:training-coupon:2025", "coupon:training-coupon:2025:91440300708461136T"

    def posting(name: str, code: str, why: str, *posted: Any) -> Vector:
        return _wrong(name, _policy() | {"postings": list(posted)}, code, why)

    form = "a posting is from, to and a number of fen"
    account = "an account is parts of letters, digits and . _ -, joined by colons"
    return [
        posting("a posting of two parts", "bad_fields", form, [pool, coupon]),
        posting("a posting of four parts", "bad_fields", form, [pool, coupon, 1, 1]),
        posting("an amount as text", "bad_fields", form, [pool, coupon, "1.00"]),
        posting("an amount that is true", "bad_fields", form, [pool, coupon, True]),
        posting("an amount of zero", "bad_posting", "fen are above zero", [pool, coupon, 0]),
        posting("an amount below zero", "bad_posting", "fen are above zero", [pool, coupon, -1]),
        posting("from an account to itself", "bad_posting", "it moves nothing", [pool, pool, 1]),
        posting(
            "an account with an empty part", "bad_posting", account, ["treasury::x", "due:y", 1]
        ),
        posting("an account with a space", "bad_posting", account, ["treasury:a b", "due:y", 1]),
        posting("an account without a name", "bad_posting", account, ["", "due:y", 1]),
        posting("a pool below zero", "floor_broken", "nothing was put into it", [pool, coupon, 1]),
        posting(
            "a pool that gives a fen more than it got",
            "floor_broken",
            "a floor looks at the net of an entry",
            ["treasury:training-coupon:2025", pool, 5],
            [pool, coupon, 6],
        ),
    ]


def _bad_places() -> list[Vector]:
    story = [json.loads(data) for data in ledgers.story().leaves]
    freeze = next(fields for fields in story if fields["kind"] == "freeze")
    usage = next(fields for fields in story if fields["kind"] == "usage")
    batch = next(fields for fields in story if fields["kind"] == "batch")
    ruled = "whoever replays the ledger decides it again"
    return [
        _wrong("a second genesis", story[0], "bad_fields", "only entry 0 is one"),
        _wrong(
            "a microsecond before the entry before it",
            _policy() | {"at": _policy()["at"] - 1},
            "time_went_back",
            "time never runs back",
        ),
        _wrong(
            "a pool that opens with a fen less",
            _policy() | {"postings": _a_fen_less(_policy()["postings"])},
            "not_as_decided",
            ruled,
        ),
        _wrong("a contract that is not registered", freeze, "not_allowed", ruled),
        _wrong(
            "usage without a batch before it",
            usage | {"postings": []},
            "unexpected_entry",
            "a batch comes first",
        ),
        _wrong(
            "a batch without its envelope", batch, "missing_attachment", "three files lie beside it"
        ),
    ]


def _a_fen_less(postings: list[Any]) -> list[Any]:
    (source, target, fen), *others = postings
    return [[source, target, fen - 1], *others]
