"""Months of the ledger that are over, and what they booked; each page is bounded in items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger import store as ledger_store
from ledger.queries import load
from meter.rules.state import RecordId
from meter.tables.connections import Connection
from meter.tables.pages import Chosen, Page, chosen_records
from meter.tables.rows import columns_of

_SQL: Final = load("meter.tables", "months.sql")


@dataclass(frozen=True, slots=True)
class PastMonth:
    """A month that is over, with the entries `[first, end)`."""

    name: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """What a month booked of a contract or award, fen; of a sum, `item` is empty."""

    item: str
    cost: int
    granted: int


@dataclass(frozen=True, slots=True)
class Correction:
    """The entry of a void, a release or a late record, by number and bytes.

    The record begins on a Shanghai day since 1970-01-01.
    """

    entry: int
    day: int
    data: bytes


async def past_months(connection: Connection) -> list[PastMonth]:
    """Return all months that are over, the newest first."""
    return [PastMonth(*row) for row in await connection.fetch(_SQL["past_months"])]


async def lines(
    connection: Connection, month: str, items: Sequence[str] | None, after: str, limit: int
) -> Page[Line]:
    """Return what a month booked of some items, or of all, in the order of their ids."""
    rows = await connection.fetch(_SQL["lines"], month, items, after, limit + 1)
    return Page([Line(*row) for row in rows[:limit]], more=len(rows) > limit)


async def total(connection: Connection, month: str, items: Sequence[str] | None) -> Line:
    """Return what a month booked of some items, or of all, together."""
    (row,) = await connection.fetch(_SQL["total"], month, items)
    return Line("", int(row["cost"]), int(row["granted"]))


async def corrections(
    connection: Connection, month: PastMonth, earlier: Chosen, after: int, limit: int
) -> tuple[Page[Correction], int]:
    """Return what a month has booked of the `earlier` records of one contract, and the end of it.

    Also voids and releases of the contract's later records.
    """
    after, (contract,) = max(month.first - 1, after), earlier.contracts
    rows = await connection.fetch(_SQL["changes"], contract, after, month.end, limit + 1)
    late, end = await chosen_records(
        connection, earlier, after, limit, newest=False, size=month.end
    )
    ends = [end] if late.more else []
    if len(rows) > limit:
        ends.append(rows[limit - 1]["entry"])
    entries = await ledger_store.entries_at(connection, [row["entry"] for row in rows[:limit]])
    changes = [Correction(**row, data=entries[row["entry"]]) for row in rows[:limit]]
    lines = [*changes, *(Correction(each.entry, each.day, each.data) for each in late.items)]
    last = min(ends, default=month.end - 1)
    found = sorted((each for each in lines if each.entry <= last), key=lambda each: each.entry)
    if len(found) > limit:
        return Page(found[:limit], more=True), found[limit - 1].entry
    return Page(found, more=bool(ends)), last


async def voids(connection: Connection, records: Sequence[RecordId]) -> dict[RecordId, int]:
    """Return the entries that took some records back, by provider and id."""
    rows = await connection.fetch(_SQL["voids"], *columns_of(records, 2))
    return {(row["provider"], row["id"]): row["voided"] for row in rows}
