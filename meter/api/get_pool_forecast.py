"""GET, for officials: how long a pool lasts, and which of its coupons end first.

It goes by what was granted, by ledger day: a day of the ledger that is over lacks nothing.
"""

from typing import Final

from meter.api.day_responses import CouponEnd, PoolForecast
from meter.api.get import policy_of_year
from meter.api.get_days import MoneyQuery
from meter.api.responses import as_of
from meter.api.routes import Ask, Route
from meter.tables import pages, pool_use
from meter.tables.days import coupon_end
from meter.tables.pool_use import CouponLeft
from meter.tables.registry import Registered
from meter.values.policy import Policy
from meter.values.roles import OFFICIALS
from meter.values.units import (
    MICROSECONDS,
    day_of,
    day_start,
    format_date,
    format_money,
    year_start,
)
from meter.views.forecast import WEEK, WEEKS, Coupon, Forecast, forecast

MAX_COUPONS: Final = 10  # that are named


async def get_pool_forecast(ask: Ask) -> PoolForecast:
    """How long a pool lasts, and which of its coupons end first."""
    programme, year = ask.query.programme, ask.query.year
    today = day_of(ask.context.clock.counted() // MICROSECONDS)
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        policy = policy_of_year(known, programme, year)
        days = await pages.pool_days(connection, (policy.pool_owner, year))
        drawing = _drawing(known, policy.pool_owner, year)
        coupons = await pool_use.coupons_left(
            connection, sorted(drawing), year, today - WEEK * WEEKS
        )
    pool = _until(policy, year, days[-1][1] - days[-1][3] if days else 0)
    found = forecast(pool, _growth([(day, granted) for day, *_, granted in days]), (), today)
    held = [(each, _end(drawing[each.programme], year, each, today)) for each in coupons]
    soonest = sorted(
        (end, each.enterprise, each.programme, each.remaining)
        for each, end in held
        if end is not None
    )
    return PoolForecast(
        programme=policy.pool_owner,
        year=year,
        status=found.status,
        today=_date(today),
        remaining=format_money(pool.remaining),
        days=len(found.days),
        used_days=found.used_days,
        granted=format_money(found.entitled),
        **_ends(found),
        expires=_date(pool.ends),
        unused=format_money(found.unused),
        coupons=[
            CouponEnd(
                enterprise=enterprise,
                programme=name,
                remaining=format_money(remaining),
                end=_date(end),
            )
            for end, enterprise, name, remaining in soonest[:MAX_COUPONS]
        ],
        as_of=as_of(head.size, head.last_at),
    )


def _drawing(known: Registered, owner: str, year: int) -> dict[str, Policy]:
    """Return the programmes that draw on a pool, each with its policy of the year."""
    names = {each.policy.programme for each in known.policies()}
    held = {name: known.policy_of(name, year) for name in names}
    return {
        name: policy
        for name, policy in held.items()
        if policy is not None and policy.pool_owner == owner
    }


def _until(policy: Policy, year: int, remaining: int) -> Coupon:
    """Return what is left of a policy's money of a year, and the days for whose use it pays."""
    return Coupon(remaining, day_of(year_start(year)), coupon_end(policy, year))


def _growth(granted: list[tuple[int, int]]) -> dict[int, int]:
    """Return by how much each day made what is granted grow, fen; of a day of nothing nothing."""
    found, before = {}, 0
    for day, fen in granted:
        if fen != before:
            found[day] = fen - before
        before = fen
    return found


def _end(policy: Policy, year: int, coupon: CouponLeft, today: int) -> int | None:
    """Return the day on which nothing of a coupon remains, if it lies before its expiry."""
    held = _until(policy, year, coupon.remaining)
    found = forecast(held, coupon.granted_on, (), today)
    return found.end if found.end is not None and found.end < held.ends else None


def _ends(found: Forecast) -> dict[str, str]:
    held = {"end": found.end, "earliest": found.earliest, "latest": found.latest}
    return {name: _date(day) for name, day in held.items() if day is not None}


def _date(day: int) -> str:
    return format_date(day_start(day))


ROUTES: Final = [
    Route(
        "GET",
        "/v1/pool-forecast",
        get_pool_forecast,
        "How long a pool lasts, and which coupons end first",
        PoolForecast,
        roles=OFFICIALS,
        query=MoneyQuery,
        codes=("unknown_programme",),
    ),
]
