"""A hostile value in any field of any entry is a finding of the audit, and never a fault of it."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from ledger.canon import decode, encode
from ledger.errors import LedgerError, Violation
from ledger.tlog import Tree, leaf_hash
from ledger.verify import Books
from meter.auditor.replay import Audit, Totals
from meter.values.units import MAX_FEN
from tests.auditing import honest_history, small_history, without
from tests.books import ORIGIN
from tests.writer import Writer

# Hostile values

HOSTILE = [
    *("", "x:y", "x\n", "x\x1b[2J", "x\u202e" * 300, "2025-02-30", "9999-12-31", "١٢٣", "🜁"),
    *(-1, 0, 10**15 + 1, 2**53 - 1, True),
    *([], [[]], {}, {"x:y": 1}, {"x": -1}, {"x": 0}, {"x": 2**53 - 1}, {"x\n": 1}),
    [["treasury:x:2025", "accrued:A:2025", 1]],
]

# No rule depends on the names of requests, so any text is right.
FREE_TEXTS = {"request", "salt", "log_key"}


def could_be(kind: str, field: str, value: Any) -> bool:
    """Return whether this ledger allows another value in place of the honest one."""
    if field == "at":
        return type(value) is int and (value == 2**53 - 1 or (kind == "genesis" and value >= 0))
    if field == "suspected_since":
        # Any microsecond that is past is as good.
        return type(value) is int and value < 2**53 - 1
    if field == "contract_limit":
        return type(value) is int and value >= 0
    if (kind, field) == ("contract_funds", "amount"):
        return type(value) is int and 0 <= value <= MAX_FEN
    if isinstance(value, str):
        return (
            field in FREE_TEXTS
            or (
                field in {"name", "reason", "document", "contract_no", "reference"}
                and 0 < len(value) <= 200
                and value.isprintable()
            )
            or (
                field in {"id", "use", "keyid", "enlisted.batch", "body.contract"}
                and value in HOSTILE[5:7]
            )
        )
    # By type as well: True equals 1.
    others = {"related_party": True, "max_devices": {}, "alone": []}
    return type(value) is type(others.get(field)) and value == others[field]


def first_of_each_kind() -> list[tuple[str, int]]:
    entries = list(enumerate(honest_history().entries))
    return [*{entry.kind: number for number, entry in reversed(entries)}.items()]


@pytest.mark.parametrize(("kind", "number"), first_of_each_kind())
def test_a_hostile_value_in_any_field_is_found(kind, number):
    writer = honest_history()
    honest = decode(writer.leaves[number])
    assert honest["kind"] == kind
    before = replayed(writer, number)
    for (field, value), told in variants(honest):
        if told != honest and not could_be(kind, field, value):
            assert refused(before, writer, number, told), (field, value)
    for field in honest.keys() - {"reason", "suspected_since"}:
        assert refused(before, writer, number, without(honest, {field})), field
    assert refused(before, writer, number, honest | {"another": 1})


def variants(honest: dict[str, Any]) -> Iterator[tuple[tuple[str, Any], dict[str, Any]]]:
    """Yield each hostile value in each field, and in those of an inner object."""
    for field, inner in honest.items():
        for value in HOSTILE:
            yield (field, value), honest | {field: value}
            # A ledger may name any keys; a wrong one shows in the first receipt.
            if isinstance(inner, dict) and field != "receipt_key":
                for name in inner:
                    yield (f"{field}.{name}", value), honest | {field: inner | {name: value}}


def replayed(writer: Writer, size: int) -> tuple[Books, Audit, Tree]:
    """Replay the first entries like `verify`, but without a folder: there are thousands."""
    books, audit, tree = Books(ORIGIN), Audit(), Tree()
    for number, leaf in enumerate(writer.leaves[:size]):
        fields = decode(leaf)
        books.entry(number, leaf, fields, [], tree)
        audit.entry(number, leaf, fields, writer.files.get(number, []), tree)
        tree.append(leaf_hash(leaf))
    return books, audit, tree


def refused(
    before: tuple[Books, Audit, Tree], writer: Writer, number: int, fields: dict[str, Any]
) -> bool:
    """Return whether an entry is found wrong; any other exception is a fault of the audit."""
    books, audit, tree = copy.deepcopy(before)
    data = encode(fields)
    try:
        books.entry(number, data, decode(data), [], tree)
        audit.entry(number, data, decode(data), writer.files.get(number, []), tree)
    except LedgerError as error:
        return error.detail.isprintable()
    return False


# The sums alone


@pytest.mark.parametrize("value", [*HOSTILE, None, {"start": 1}, [[2025]]], ids=repr)
def test_the_sums_alone_refuse_what_has_no_form_as_violations(value):
    writer = small_history()
    totals, tree = Totals(), Tree()
    number = next(number for number, entry in enumerate(writer.entries) if entry.kind == "usage")
    for before in range(number):
        totals.entry(before, writer.leaves[before], None, [], tree)
    honest = decode(writer.leaves[number])
    for field in honest.keys() - {"kind"}:
        judge = copy.deepcopy(totals)
        with suppress(Violation):  # only the audit checks some fields
            judge.entry(number, msgspec.json.encode(honest | {field: value}), None, [], tree)
