"""The JSON of one record: how its cost came about."""

from typing import Literal

from msgspec import Struct

from meter.api.responses import AsOf, PriceView, RecordView

Limit = Literal["contract_amount", "combined_support", "coupon"]


class CalculatedPart(Struct, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """A time of a record with one price: device-hours × price = amount."""

    starts: str
    ends: str
    device_hours: str
    price: str | PriceView
    amount: str


class RecordDetail(Struct, frozen=True, kw_only=True):
    """A record, void or release, and how the cost of a record came about, by the terms of then.

    The amounts of the `parts` and `rounding` add up to the cost: it is by how much the contract's
    total grew, which is cut to the fen once. `ratios` are the basis points of its eligible usage.
    `reached` are the limits of its contract that leave no more by now.
    """

    record: RecordView
    parts: list[CalculatedPart]
    rounding: str
    ratios: list[int]
    reached: list[Limit]
    as_of: AsOf
