"""Days of use of contracts, kept in memory for as long as nothing changes them, and forecasts.

The days of a contract follow from its usage and its terms. Each group that touches either has a row
in the index of segments, so the newest such row tells whether what is kept still holds. A policy
that takes running contracts has no such row, and changes no day that has usage.
"""

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

from ledger.queries import load
from meter.host.breath import Breath
from meter.host.kept import Kept
from meter.rules.state import Contract
from meter.tables import pages
from meter.tables.connections import Connection
from meter.tables.registry import Registered
from meter.values.policy import Policy
from meter.values.units import day_of, year_start
from meter.views.days import DayOfUse, UsageLine, days_of_use
from meter.views.forecast import Coupon, Forecast, forecast

_SQL: Final = load("meter.tables", "pages.sql")
MAX_KEPT: Final = 100_000  # days, of all contracts together: some 12 MB
_READ_AT_ONCE: Final = 1_000  # rows


class DaysOfUse:
    """The days of those contracts that were asked for last."""

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        # By contract: the first entry of the newest segment that concerns it, and its days.
        self._kept: Kept[tuple[int, list[DayOfUse]]] = Kept(max_kept)

    async def of(
        self, connection: Connection, known: Registered, contracts: Sequence[Contract]
    ) -> dict[str, list[DayOfUse]]:
        """Return all days of some contracts, as a connection's snapshot has them."""
        names = [each.registered.id for each in contracts]
        rows = await connection.fetch(_SQL["newest_segments"], names)
        newest = {name: first for name, (first,) in zip(names, rows, strict=True)}
        found = {name: self._held(name, first) for name, first in newest.items()}
        missing = [each for each in contracts if found[each.registered.id] is None]
        async for name, days in _computed(connection, known, missing):
            self._kept.keep(name, (newest[name], days), len(days))
            found[name] = days
        return {name: found[name] or [] for name in names}

    async def forecast(
        self,
        connection: Connection,
        known: Registered,
        contracts: Sequence[Contract],
        held: Coupon,
        today: int,
    ) -> Forecast:
        """Return how long a coupon lasts that pays for some contracts."""
        providers = {each.registered.provider for each in contracts}
        gaps = await pages.gap_days(connection, sorted(providers))
        days = await self.of(connection, known, contracts)
        return forecast(held, _entitled_by_day(days, today), gaps, today)

    def _held(self, name: str, newest: int) -> list[DayOfUse] | None:
        held, days = self._kept.get(name) or (None, None)
        return days if held == newest else None


async def _computed(
    connection: Connection, known: Registered, contracts: Sequence[Contract]
) -> AsyncIterator[tuple[str, list[DayOfUse]]]:
    """Yield the days of each contract, from its usage and the terms of now."""
    if not contracts:
        return
    usage: dict[str, list[UsageLine]] = {each.registered.id: [] for each in contracts}
    breath = Breath()
    query = _SQL["usage_of_contracts"]
    async for row in connection.cursor(query, list(usage), prefetch=_READ_AT_ONCE):
        await breath.take()
        contract, day, device, time, fits, withheld = row
        usage[contract].append((day, device, int(time), int(fits), int(withheld)))
    for each in contracts:
        own = []
        for day in days_of_use(each, known.terms(each), usage[each.registered.id]):
            await breath.take()
            own.append(day)
        yield each.registered.id, own


def coupon_end(policy: Policy, year: int) -> int:
    """Return the first Shanghai day for whose use a coupon does not pay any more."""
    return day_of(min(policy.valid_until, year_start(year + 1)))


def _entitled_by_day(days: Mapping[str, Iterable[DayOfUse]], last: int) -> dict[int, int]:
    """Return what days with usage were entitled to under all contracts together, fen."""
    found: dict[int, int] = {}
    for each in itertools.chain.from_iterable(days.values()):
        if each.day <= last:
            found[each.day] = found.get(each.day, 0) + each.entitled
    return found
