"""Looks, once in a while, at what crosses a line with time: ends, expiries, silent providers.

One service looks, its leader. What stands is kept in the database, so that nothing is told twice
where another goes on. A look reads one snapshot, and a few statements for each coupon that may end.
Then it removes messages that are old.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from ledger import store as ledger_store
from meter.host import logs
from meter.host.clock import WatchedClock
from meter.rules.state import CouponId
from meter.tables import alerts, connections, outbox
from meter.tables.days import DaysOfUse, coupon_end
from meter.tables.registry import Registered, Registry
from meter.tables.write import _SQL
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, day_of, year_start
from meter.views.crossings import CouponNow, Crossing, of_coupon_now, silences
from meter.views.forecast import Coupon

FIRST_SECONDS: Final = 30.0  # after the start of the service
LOOK_SECONDS: Final = 3_600.0
RETRY_SECONDS: Final = 60.0  # where the database was away

_log: Final = logs.logger(__name__)


class Looker:
    """What looks for one ledger."""

    def __init__(
        self, readers: connections.Readers, registry: Registry, clock: WatchedClock
    ) -> None:
        self._readers = readers
        self._registry = registry
        self._clock = clock

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                await self.look()
            except Problem as problem:
                _log.warning("not_looked", detail=problem.detail)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, put messages about what has crossed since, and forget old ones.

        Raises `unavailable`.
        """
        now = self._clock.counted()
        async with connections.reading(self._readers) as connection:
            head = await ledger_store.head(connection)
            known = await self._registry.at(connection, head.size)
            standing = [each async for each in _standing(connection, known, now)]
        async with connections.reading(self._readers, snapshot=False) as connection:
            await outbox.put_standing(connection, standing, now, head.size)
            await alerts.forget(connection, now)


async def _standing(
    connection: connections.Connection, known: Registered, now: int
) -> AsyncIterator[Crossing]:
    """Yield what stands by now."""
    today = day_of(now // MICROSECONDS)
    for enterprise, programme, year, issued, granted in await connection.fetch(_SQL["coupons"]):
        coupon = (enterprise, programme, year)
        held = await _coupon_now(connection, known, coupon, (issued, int(granted)), today)
        if held is not None:
            for each in of_coupon_now(known.state, held, today):
                yield each
    for each in silences(known.state, await alerts.newest_batches(connection), now):
        yield each


async def _coupon_now(
    connection: connections.Connection,
    known: Registered,
    coupon: CouponId,
    fen: tuple[int, int],
    today: int,
) -> CouponNow | None:
    """Return a coupon with its forecast, which is only made where the coupon has not expired."""
    enterprise, programme, year = coupon
    policy, firm = known.policy_of(programme, year), known.enterprise(enterprise)
    if policy is None or firm is None or fen[0] == 0:
        return None
    ends, remaining = coupon_end(policy, year), fen[0] - fen[1]
    end = None
    if today < ends and remaining:
        contracts = [
            each for each in known.contracts_of(firm) if each.registered.programme == programme
        ]
        held = Coupon(remaining, day_of(year_start(year)), ends)
        end = (await DaysOfUse(0).forecast(connection, known, contracts, held, today)).end
    return CouponNow(coupon, *fen, ends, end)
