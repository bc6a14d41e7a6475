"""The JSON of days: what was used, issued and granted, day by day."""

from msgspec import UNSET, Struct, UnsetType

from meter.api.responses import AsOf
from meter.views.forecast import Status as ForecastStatus


class DayView(Struct, frozen=True, kw_only=True):
    """Usage of a Shanghai day under one contract, voided records left out.

    `cost` and `entitled` are by how much the day's usage makes the contract's totals grow, on top
    of the days before it, by the terms of now. What is granted has no day. Of a week, which begins
    on Monday, or a month, `date` is the first day that lies in the year.
    """

    date: str
    contract: str
    milli_device_seconds: str
    device_hours: str
    cost: str
    entitled: str


class DaysTotal(Struct, frozen=True, kw_only=True):
    """The days of one contract in the year together.

    The cost of all years is the contract's cost, and `entitled` is what it is entitled to in the
    year, to the fen. The `device_hours` of the lines and `rounding` add up to those here.
    """

    contract: str
    milli_device_seconds: str
    device_hours: str
    cost: str
    entitled: str
    rounding: str


class CouponDay(Struct, frozen=True, kw_only=True):
    """A coupon at the end of a Shanghai day of the ledger: issued = granted + remaining."""

    date: str
    issued: str
    granted: str
    remaining: str


class CouponDays(Struct, frozen=True, kw_only=True):
    """The ledger days on which a coupon changed; between two of them nothing did."""

    enterprise: str
    programme: str
    year: int
    days: list[CouponDay]
    as_of: AsOf


class PoolDay(Struct, frozen=True, kw_only=True):
    """A pool at the end of a Shanghai day of the ledger.

    amount = issued + left; granted is part of issued.
    """

    date: str
    amount: str
    issued: str
    left: str
    granted: str


class PoolDays(Struct, frozen=True, kw_only=True):
    """The ledger days on which a pool changed; `programme` owns it."""

    programme: str
    year: int
    days: list[PoolDay]
    as_of: AsOf


class ForecastView(Struct, frozen=True, kw_only=True):
    """How long a coupon lasts if use goes on as in the last 28 complete days.

    `entitled` is that of these `days`, of which `used_days` had usage. On `end` nothing remains;
    `earliest` and `latest` follow from the busiest and the quietest week. One that is missing lies
    beyond what can be foreseen. The coupon pays for use before `expires`; then `unused` stays.
    """

    enterprise: str
    programme: str
    year: int
    status: ForecastStatus
    today: str
    remaining: str
    days: int
    used_days: int
    entitled: str
    first: str | UnsetType = UNSET
    last: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    earliest: str | UnsetType = UNSET
    latest: str | UnsetType = UNSET
    expires: str
    unused: str
    as_of: AsOf


class CouponEnd(Struct, frozen=True, kw_only=True):
    """A coupon, and when nothing of it remains if grants go on as in the last 28 ledger days."""

    enterprise: str
    programme: str
    remaining: str
    end: str


class PoolForecast(Struct, frozen=True, kw_only=True):
    """How long a pool lasts if grants go on as in the last 28 ledger days, today left out.

    `remaining` is its amount less what was granted, whether issued or not. In these `days` it
    `granted` so much, on `used_days` of them. `earliest` and `latest` follow from the busiest and
    the quietest week. An end that is missing lies beyond what can be foreseen. The pool pays for
    use before `expires`; then `unused` stays. `coupons` are the ten that end soonest, before that.
    """

    programme: str
    year: int
    status: ForecastStatus
    today: str
    remaining: str
    days: int
    used_days: int
    granted: str
    end: str | UnsetType = UNSET
    earliest: str | UnsetType = UNSET
    latest: str | UnsetType = UNSET
    expires: str
    unused: str
    coupons: list[CouponEnd]
    as_of: AsOf


class DayRange(Struct, frozen=True):
    """Shanghai days, `first` and `last` included."""

    first: str
    last: str


class DaysView(Struct, frozen=True, kw_only=True):
    """The days of use of a year, by date and contract, and the total of each contract.

    The `incomplete` days may lack usage, for a batch of their provider's is missing.
    """

    year: int
    days: list[DayView]
    incomplete: list[DayRange]
    contracts: list[DaysTotal]
    as_of: AsOf


class GrowthDay(Struct, frozen=True):
    """How many entries the ledger held at the end of a day."""

    date: str
    entries: int


class GrowthView(Struct, frozen=True):
    """The ledger's size by day, oldest first, up to the newest entry."""

    days: list[GrowthDay]
    as_of: AsOf
