"""How fast the coupons of a pool are used: what each ledger day granted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.queries import load
from meter.tables.connections import Connection

_SQL: Final = load("meter.tables", "pool_use.sql")


@dataclass(frozen=True, slots=True)
class CouponLeft:
    """A coupon with something left, fen; `granted_on` has the newest ledger days that granted.

    The day on which that began is among them too, with what it granted or with nothing.
    """

    enterprise: str
    programme: str
    remaining: int
    granted_on: dict[int, int]


async def coupons_left(
    connection: Connection, programmes: Sequence[str], year: int, since: int
) -> list[CouponLeft]:
    """Return the coupons that have something left, with what each day from `since` granted."""
    rows = await connection.fetch(_SQL["coupons_left"], programmes, year, since)
    return [
        CouponLeft(enterprise, programme, issued - granted, _granted_on(began, days, grants))
        for enterprise, programme, issued, granted, began, days, grants in rows
    ]


def _granted_on(
    began: int | None, days: list[int] | None, grants: list[int] | None
) -> dict[int, int]:
    held = zip(days or (), grants or (), strict=True)
    found = {day: granted for day, granted in held if granted}
    if began is not None:
        found.setdefault(began, 0)
    return found
