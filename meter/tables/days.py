"""Days of use and forecasts, from committed rows."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from meter.host.breath import Breath
from meter.rules.state import Contract
from meter.tables import pages
from meter.tables.connections import Connection
from meter.tables.registry import Registered
from meter.values.policy import Policy
from meter.values.units import day_of, year_start
from meter.views.days import DayOfUse, days_of_use
from meter.views.forecast import Coupon, Forecast, forecast


async def days_of_contracts(
    connection: Connection, known: Registered, contracts: Iterable[Contract], stop: int
) -> dict[str, list[DayOfUse]]:
    """Return the days before one by contract."""
    breath = Breath()
    found: dict[str, list[DayOfUse]] = {}
    for contract in contracts:
        usage = [line async for line in pages.usage_until(connection, contract.registered.id, stop)]
        own = found.setdefault(contract.registered.id, [])
        for day in days_of_use(contract, known.terms(contract), usage):
            await breath.take()
            own.append(day)
    return found


async def coupon_forecast(
    connection: Connection,
    known: Registered,
    contracts: Sequence[Contract],
    held: Coupon,
    today: int,
) -> Forecast:
    """Return how long a coupon lasts that pays for some contracts."""
    providers = {each.registered.provider for each in contracts}
    gaps = await pages.gap_days(connection, sorted(providers))
    days = await days_of_contracts(connection, known, contracts, today + 1)
    return forecast(held, _entitled_by_day(days), gaps, today)


def coupon_end(policy: Policy, year: int) -> int:
    """Return the first Shanghai day for whose use a coupon does not pay any more."""
    return day_of(min(policy.valid_until, year_start(year + 1)))


def _entitled_by_day(days: Mapping[str, Iterable[DayOfUse]]) -> dict[int, int]:
    """Return what each day with usage was entitled to under all contracts together, fen."""
    found: dict[int, int] = {}
    for each in itertools.chain.from_iterable(days.values()):
        found[each.day] = found.get(each.day, 0) + each.entitled
    return found
