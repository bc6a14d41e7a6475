"""GET: a year by day."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from meter.api.day_responses import (
    CouponDay,
    CouponDays,
    DayRange,
    DaysTotal,
    DaysView,
    DayView,
    ForecastView,
    PoolDay,
    PoolDays,
)
from meter.api.get import policy_of_coupon, policy_of_year
from meter.api.get_enterprise import asked_contracts
from meter.api.responses import as_of
from meter.api.routes import Ask, Route
from meter.rules.commands import ProgrammeName
from meter.tables import balances, pages
from meter.tables.days import coupon_end
from meter.values.roles import OFFICIALS
from meter.values.strict import Date, Id, Year
from meter.values.units import (
    MICROSECONDS,
    day_of,
    day_start,
    format_date,
    format_hours,
    format_money,
    hours_of,
    parse_date,
    write_hours,
    year_start,
)
from meter.views.days import DayOfUse, Period, added
from meter.views.forecast import Coupon

_day_number: Final = attrgetter("day")


class DaysQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"starts": "from"}):
    """A year of days, weeks or months, of one programme or contract, or of all.

    They are those from a Shanghai date on, else from the year's first day.
    """

    year: Year
    starts: Date | UnsetType = UNSET
    by: Period = "day"
    programme: ProgrammeName | UnsetType = UNSET
    contract: Id | UnsetType = UNSET


class MoneyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The coupon, or the pool, of a programme and year."""

    programme: Annotated[str, Meta(max_length=64)]
    year: Year


async def get_days(ask: Ask) -> DaysView:
    """What each day of a year cost and was entitled to, by contract."""
    query: DaysQuery = ask.query
    first, stop = day_of(year_start(query.year)), day_of(year_start(query.year + 1))
    if query.starts is not UNSET:
        first = max(first, day_of(parse_date(query.starts)))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        contracts = [
            each
            for each in asked_contracts(ask, known, query.contract)
            if query.programme in (UNSET, each.registered.programme)
        ]
        # The days before the year decide what is left for it.
        found = await ask.context.days.of(connection, known, contracts)
        providers = {each.registered.provider for each in contracts}
        gaps = await pages.gap_days(connection, sorted(providers))
    days = {
        name: list(added(_between(own, first, stop), query.by, first))
        for name, own in found.items()
    }
    held = [(name, day) for name, own in days.items() for day in own]
    held.sort(key=lambda found: found[1].day)  # contracts stay in the order of their entries
    return DaysView(
        year=query.year,
        days=[_day(name, day) for name, day in held],
        incomplete=list(_incomplete(gaps, first, stop - 1)),
        contracts=[_total(name, own) for name, own in days.items() if own],
        as_of=as_of(head.size, head.last_at),
    )


async def get_coupon_days(ask: Ask) -> CouponDays:
    """A coupon as it stood at the end of each day of the ledger."""
    coupon = (ask.path("uscc"), ask.query.programme, ask.query.year)
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        policy_of_coupon(known, coupon)
        days = await pages.coupon_days(connection, coupon)
    return CouponDays(
        enterprise=coupon[0],
        programme=coupon[1],
        year=coupon[2],
        days=[
            CouponDay(
                date=_date(day),
                issued=format_money(issued),
                granted=format_money(granted),
                remaining=format_money(issued - granted),
            )
            for day, issued, granted in changed(days)
        ],
        as_of=as_of(head.size, head.last_at),
    )


async def get_pool_days(ask: Ask) -> PoolDays:
    """A pool as it stood at the end of each day of the ledger."""
    programme, year = ask.query.programme, ask.query.year
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        policy = policy_of_year(known, programme, year)
        days = await pages.pool_days(connection, (policy.pool_owner, year))
    return PoolDays(
        programme=policy.pool_owner,
        year=year,
        days=[
            PoolDay(
                date=_date(day),
                amount=format_money(amount),
                issued=format_money(issued),
                left=format_money(amount - issued),
                granted=format_money(granted),
            )
            for day, amount, issued, granted in changed(days)
        ],
        as_of=as_of(head.size, head.last_at),
    )


async def get_forecast(ask: Ask) -> ForecastView:
    """How long a coupon lasts, if use goes on as in the last four weeks."""
    coupon = (ask.path("uscc"), ask.query.programme, ask.query.year)
    today = day_of(ask.context.clock.counted() // MICROSECONDS)
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        policy = policy_of_coupon(known, coupon)
        contracts = [
            each
            for each in asked_contracts(ask, known, UNSET)
            if each.registered.programme == coupon[1]
        ]
        balance = await balances.balance(connection, coupon)
        remaining = balance.issued - sum(share["granted"] for share in balance.shares)
        ends = coupon_end(policy, coupon[2])
        held = Coupon(remaining, day_of(year_start(coupon[2])), ends)
        found = await ask.context.days.forecast(connection, known, contracts, held, today)
    return ForecastView(
        enterprise=coupon[0],
        programme=coupon[1],
        year=coupon[2],
        status=found.status,
        today=_date(today),
        remaining=format_money(held.remaining),
        days=len(found.days),
        used_days=found.used_days,
        entitled=format_money(found.entitled),
        first=_date_if(min(found.days, default=None)),
        last=_date_if(max(found.days, default=None)),
        end=_date_if(found.end),
        earliest=_date_if(found.earliest),
        latest=_date_if(found.latest),
        expires=_date(held.ends),
        unused=format_money(found.unused),
        as_of=as_of(head.size, head.last_at),
    )


def changed(days: Iterable[Sequence[int]]) -> Iterator[Sequence[int]]:
    """Yield the days, each with its figures, that differ from the day before them."""
    before: Sequence[int] = ()
    for day in days:
        if day[1:] != before and (before or any(day[1:])):
            yield day
        before = day[1:]


def _between(days: Sequence[DayOfUse], first: int, stop: int) -> Sequence[DayOfUse]:
    """Return the days, which are in order, from `first` on and before `stop`."""
    begin = bisect_left(days, first, key=_day_number)
    return days[begin : bisect_left(days, stop, key=_day_number)]


def _incomplete(gaps: Iterable[tuple[int, int]], first: int, last: int) -> Iterator[DayRange]:
    """Yield the parts of gaps that lie between two days, these included."""
    for begin, end in sorted(gaps):
        if begin <= last and end >= first:
            yield DayRange(_date(max(begin, first)), _date(min(end, last)))


def _day(contract: str, day: DayOfUse) -> DayView:
    return DayView(
        date=_date(day.day),
        contract=contract,
        milli_device_seconds=str(day.device_time),
        device_hours=format_hours(day.device_time),
        cost=format_money(day.cost),
        entitled=format_money(day.entitled),
    )


def _date(day: int) -> str:
    return format_date(day_start(day))


def _date_if(day: int | None) -> str | UnsetType:
    return UNSET if day is None else _date(day)


def _total(contract: str, days: Sequence[DayOfUse]) -> DaysTotal:
    device_time = sum(day.device_time for day in days)
    shown = sum(hours_of(day.device_time) for day in days)
    return DaysTotal(
        contract=contract,
        milli_device_seconds=str(device_time),
        device_hours=format_hours(device_time),
        cost=format_money(sum(day.cost for day in days)),
        entitled=format_money(sum(day.entitled for day in days)),
        rounding=write_hours(hours_of(device_time) - shown),
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/enterprises/{uscc}/days",
        get_days,
        "What each day of a year cost and was entitled to",
        DaysView,
        roles=(*OFFICIALS, "enterprise"),
        query=DaysQuery,
        codes=("unknown_enterprise", "unknown_contract"),
        is_large=True,
    ),
    Route(
        "GET",
        "/v1/enterprises/{uscc}/coupon-days",
        get_coupon_days,
        "A coupon at the end of each day of the ledger",
        CouponDays,
        roles=(*OFFICIALS, "enterprise"),
        query=MoneyQuery,
        codes=("unknown_enterprise", "unknown_programme"),
    ),
    Route(
        "GET",
        "/v1/enterprises/{uscc}/forecast",
        get_forecast,
        "How long a coupon lasts",
        ForecastView,
        roles=(*OFFICIALS, "enterprise"),
        query=MoneyQuery,
        codes=("unknown_enterprise", "unknown_programme"),
        is_large=True,
    ),
    Route(
        "GET",
        "/v1/pool-days",
        get_pool_days,
        "A pool at the end of each day of the ledger",
        PoolDays,
        roles=OFFICIALS,
        query=MoneyQuery,
        codes=("unknown_programme",),
    ),
]
