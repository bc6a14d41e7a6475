"""The JSON of one record: how its cost came about."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from meter.api.responses import AsOf, PriceView, RecordView

Limit = Literal["contract_amount", "combined_support", "coupon"]


class CalculatedPart(Struct, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """A time of a record with one price: device-hours × price = amount."""

    starts: str
    ends: str
    device_hours: str
    price: str | PriceView
    amount: str


class SignedView(Struct, frozen=True, kw_only=True):
    """Who signed what an entry came by: the batch's key, and the key of the receipt for it.

    `entry` is the batch's. What a batch holds is its provider's, and so `batch`, the hex sha256 of
    its payload, is told to officials alone.
    """

    entry: int
    keyid: str
    receipt_keyid: str
    batch: str | UnsetType = UNSET


class RecordDetail(Struct, frozen=True, kw_only=True):
    """A record, void or release, and how the cost of a record came about, by the terms of then.

    The amounts of the `parts` and `rounding` add up to the cost: it is by how much the contract's
    total grew, which is cut to the fen once. `ratios` are the basis points of its eligible usage.
    `reached` are the limits of its contract that leave no more by now. Of a record with one ratio,
    `share` is what that gives of the eligible cost, cut to the fen, where it is `short` fen more
    than it is entitled to: `short_by` says whether by rounding, for a contract's entitlement is
    cut once, or by a limit. `signed` is missing where the authority did it.
    """

    record: RecordView
    parts: list[CalculatedPart]
    rounding: str
    ratios: list[int]
    share: str | UnsetType = UNSET
    short: str | UnsetType = UNSET
    short_by: Literal["rounding", "limit"] | UnsetType = UNSET
    reached: list[Limit]
    signed: SignedView | UnsetType = UNSET
    as_of: AsOf
