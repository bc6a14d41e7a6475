"""How long a coupon lasts, if use goes on as in the last four weeks.

The rate is what use was entitled to on each of the newest 28 complete days: today is not over, and
days about which a provider's stream has a gap may lack usage. Where use began later than that, it
is the whole weeks since then. An issue changes what remains, never the rate. The busiest of those
weeks gives the earliest end, the quietest one the latest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

WEEK: Final = 7
WEEKS: Final = 4
MIN_USED_DAYS: Final = 14  # fewer say nothing about the next ones
FURTHEST_DAYS: Final = 3_660  # an end beyond them is none

Status = Literal["lasts", "not_enough", "used_up", "over"]
Days = tuple[int, int]  # Shanghai days since 1970-01-01, the last one included


@dataclass(frozen=True, slots=True)
class Coupon:
    """What remains, fen, and the half-open days for whose use it pays."""

    remaining: int
    starts: int
    ends: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The day on which nothing remains, and those of the busiest and the quietest week.

    `entitled` is that of all `days`, fen, of which `used_days` had usage. An end that is None lies
    beyond all that can be foreseen. `unused` fen remain when the coupon ends.
    """

    status: Status
    days: tuple[int, ...] = ()
    used_days: int = 0
    entitled: int = 0
    end: int | None = None
    earliest: int | None = None
    latest: int | None = None
    unused: int = 0


def forecast(
    coupon: Coupon, entitled: Mapping[int, int], gaps: Sequence[Days], today: int
) -> Forecast:
    """Return the forecast of a coupon; `entitled` has the fen of each day with usage."""
    days = complete_days(entitled, gaps, today)
    used_days = sum(day in entitled for day in days)
    weeks = [days[place : place + WEEK] for place in range(0, len(days), WEEK)]
    rates = [sum(entitled.get(day, 0) for day in week) for week in weeks]
    rate = sum(rates)
    if today >= coupon.ends:
        return Forecast("over", unused=coupon.remaining)
    if coupon.remaining == 0:
        return Forecast("used_up", days, used_days, rate)
    if used_days < MIN_USED_DAYS or rate <= 0:
        return Forecast("not_enough", days, used_days, rate)
    begin = max(today, coupon.starts)
    return Forecast(
        "lasts",
        days,
        used_days,
        rate,
        end=_end(coupon, begin, rate, len(days)),
        earliest=_end(coupon, begin, max(rates), WEEK),
        latest=_end(coupon, begin, min(rates), WEEK),
        unused=max(0, coupon.remaining - rate * (coupon.ends - begin) // len(days)),
    )


def complete_days(entitled: Mapping[int, int], gaps: Sequence[Days], today: int) -> tuple[int, ...]:
    """Return the newest complete days in whole weeks, at most four, the newest first."""
    first = min(entitled, default=today)
    found: list[int] = []
    day = today - 1
    while day >= first and len(found) < WEEKS * WEEK:
        if not any(begin <= day <= end for begin, end in gaps):
            found.append(day)
        day -= 1
    return tuple(found[: len(found) // WEEK * WEEK])


def _end(coupon: Coupon, begin: int, entitled: int, days: int) -> int | None:
    """Return the day on which nothing remains, at so much in so many days; today counts whole."""
    if entitled <= 0:
        return None
    lasts = -(-coupon.remaining * days // entitled)
    return None if lasts > FURTHEST_DAYS else begin + lasts - 1
