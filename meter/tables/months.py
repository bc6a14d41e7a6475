"""Months of the ledger that are over, and what they booked; each page is bounded in items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ledger.queries import load
from meter.rules.state import RecordId
from meter.tables.connections import Connection
from meter.tables.pages import Page
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
    """A void or release of a record that begins on a Shanghai day since 1970-01-01."""

    entry: int
    kind: Literal["void", "release"]
    record: RecordId
    day: int


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
    connection: Connection, month: PastMonth, contract: str, after: int, limit: int
) -> Page[Correction]:
    """Return voids and releases of a contract's records that a month has booked."""
    place = contract, max(month.first, after + 1), month.end, limit + 1
    rows = await connection.fetch(_SQL["corrections"], *place)
    found = [
        Correction(row["entry"], row["kind"], (row["provider"], row["id"]), row["day"])
        for row in rows[:limit]
    ]
    return Page(found, more=len(rows) > limit)


async def voids(connection: Connection, records: Sequence[RecordId]) -> dict[RecordId, int]:
    """Return the entries that took some records back, by provider and id."""
    rows = await connection.fetch(_SQL["voids"], *columns_of(records, 2))
    return {(row["provider"], row["id"]): row["voided"] for row in rows}
