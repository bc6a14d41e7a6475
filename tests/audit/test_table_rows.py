"""Each row of an export says what the bytes of its entry say, read without the core's types."""

import json
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from meter.auditor.papers.log import KeptEntry
from meter.auditor.papers.tables import rows_of
from tests.books import DEVICE, lifted, record, void
from tests.fuzz.ledgers import story
from tests.histories import history
from tests.writer import Writer

START = 1_740_787_200  # 2025-03-01T08:00:00+08:00
HOUR = 3_600
TABLES = {
    **dict.fromkeys(("enterprise", "provider", "provider_amendment"), "parties"),
    "contract": "contracts",
    "usage": "usage",
    "purchase": "purchases",
    **dict.fromkeys(("void", "release"), "changes"),
    **dict.fromkeys(("issue", "allotment", "withdrawal", "expiry"), "coupons"),
    **dict.fromkeys(
        ("approval", "claim_revocation", "order", "payment", "payment_return"), "claims"
    ),
}


def withholding() -> Writer:
    """Return a ledger with usage that is withheld, counts for nothing, is voided and released."""
    writer = Writer("2025-03-10T12:00:00+08:00")
    writer.activate(lifted())
    writer.provider(devices={DEVICE: 4})
    writer.key()
    writer.enterprise()
    writer.contract("A")
    writer.contract("R", related_party=True)
    writer.issue(2025, "1000.00")
    for id_, contract, milli_devices in (
        *(("a", "A", 3_000), ("b", "A", 1_777), ("r", "R", 500), ("c", "A", 2_000)),
    ):
        writer.post([record(id_, contract, START, START + HOUR, milli_devices)])
    writer.release("c")
    writer.post(voids=[void("a"), void("b"), void("r")])
    writer.withdraw(2025, "1.00")
    return writer


def fen(parts: list[list[Any]]) -> int:
    return sum(part[-1] for part in parts)


def granted(postings: list[list[Any]]) -> int:
    came = sum(fen for _, to, fen in postings if to.startswith("accrued:"))
    return came - sum(fen for source, _, fen in postings if source.startswith("accrued:"))


# Columns that say what fields of another name do, by the kinds of entries.
OTHERS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "usage": {
        "devices": lambda fields: fields["milli_devices"],
        "device_hours": lambda fields: (
            fields["milli_devices"] * (fields["end"] - fields["start"]) // 1_000_000
        ),
    },
    "withdrawal": {"amount": lambda fields: -fields["amount"]},
    "expiry": {"amount": lambda fields: -fields["amount"]},
    "order": {"amount": lambda fields: fields["cash"]},
    "payment_return": {"amount": lambda fields: fields["cash"]},
    "enterprise": {"role": lambda _: "enterprise", "id": lambda fields: fields["uscc"]},
    "provider": {"role": lambda _: "provider"},
    "provider_amendment": {
        "role": lambda _: "provider",
        "id": lambda fields: fields["provider"],
    },
}
# Of records, purchases, voids and releases.
MONEY: dict[str, Callable[[dict[str, Any]], Any]] = {
    "cost": lambda fields: fields.get("cost", 0),
    "withheld_cost": lambda fields: fields.get("withheld_cost", 0),
    "ineligible_cost": lambda fields: fen(fields.get("ineligible", [])),
    "entitled": lambda fields: fen(fields["entitled"]),
    "granted": lambda fields: granted(fields["postings"]),
}


def expected(number: int, fields: dict[str, Any], column: str) -> Any:
    """Return what a column says of an entry."""
    if column == "entry":
        return number
    of_money = MONEY if TABLES[fields["kind"]] in {"usage", "purchases", "changes"} else {}
    other = (OTHERS.get(fields["kind"], {}) | of_money).get(column)
    return fields.get(column) if other is None else other(fields)


@pytest.mark.parametrize("made", [story, withholding, lambda: history(0), lambda: history(1)])
def test_each_row_says_what_the_bytes_of_its_entry_say(made):
    writer, seen = made(), Counter[str]()
    for number, (entry, data) in enumerate(zip(writer.entries, writer.leaves, strict=True)):
        fields = json.loads(data)
        (first, row), *others = rows_of(KeptEntry(number, entry, data))
        assert first.name == "entries"
        assert dict(zip([each.name for each in first.columns], row, strict=True)) == {
            "entry": number,
            **{name: fields[name] for name in ("at", "kind", "by")},
            **{name: fields.get(name) for name in ("person", "proposal", "reason")},
            "leaf": sha256(b"\0" + data).hexdigest(),
            "json": data.decode(),
        }
        moved = [row for table, row in others if table.name == "postings"]
        assert [[line, *row] for _, line, _, *row in moved] == [
            [line, *posting] for line, posting in enumerate(fields["postings"])
        ]
        special = [(table, row) for table, row in others if table.name != "postings"]
        if fields["kind"] == "enterprise_amendment":
            continue
        named = TABLES.get(fields["kind"])
        assert [table.name for table, _ in special] == ([named] if named else [])
        for table, values in special:
            seen[fields["kind"]] += 1
            said = dict(zip([each.name for each in table.columns], values, strict=True))
            assert said == {name: expected(number, fields, name) for name in said}
    assert seen
    if made is withholding:
        changed = [json.loads(data) for data in writer.leaves]
        assert any(each.get("withheld_cost") for each in changed if each["kind"] == "usage")
        assert any(each.get("withheld_cost") for each in changed if each["kind"] == "void")
