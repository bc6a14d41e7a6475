"""The end of the demonstration's story: a debt that comes back, and a year that is closed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meter.demo.payment import Row
from meter.demo.telling import fen_of
from meter.values.units import format_money

FORFEITED_SHARE: Final = 100  # one part in a hundred of the grant

# What two persons decide: the name of a command and its body lead to the response.
Decide = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Ending:
    """The last acts of a programme's year, which two persons decide."""

    decide: Decide
    programme: str
    year: int

    async def forfeit(self, item: str, granted: str) -> str:
        """Take a part of an item's grant away for a breach; return it."""
        amount = format_money(fen_of(granted) // FORFEITED_SHARE)
        body = {"item": item, "year": self.year, "amount": amount}
        await self.decide("forfeit", body | {"reason": "devices were lent to another firm"})
        return amount

    async def recover(self, item: str, amount: str) -> None:
        """Enter that a debt came back through the bank."""
        body = {"item": item, "year": self.year, "amount": amount}
        await self.decide("recovery", body | {"bank_reference": "2026-R-3"})

    async def close(self) -> list[Row]:
        """Return what is left of each coupon to the pool, and close the year."""
        year = {"programme": self.programme, "year": self.year}
        rows: list[Row] = []
        left = ""
        while left != "0.00":
            answer = await self.decide("expiry", year)
            left = answer["left"]
            rows.append(("coupons", "what they have left goes back to the pool", answer["expired"]))
        await self.decide("year_closing", year)
        return [*rows, ("the year", f"{self.year} is closed: nothing carries over", "")]
