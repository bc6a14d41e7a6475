"""GET /v1/public: what anybody may know of the money, programme by programme.

It is as of the end of the last closed month in Shanghai, so nobody can tell by asking twice what
one record, or one day, moved; and what is issued is told only where several enterprises hold
coupons, so that it is never one firm's. What is granted, claimed and paid is not told: it follows
what single firms use. A closed month never changes, so its response is made once, however often it
is asked for.
"""

import asyncio
from typing import Final

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from ledger import store as ledger_store
from meter.api.context import Context
from meter.api.routes import Ask, Route
from meter.tables import connections, pages
from meter.tables.registry import Registered
from meter.values.policy import Policy
from meter.values.units import MICROSECONDS, day_of, format_date, format_money, parse_date

MIN_HOLDERS: Final = 5  # of coupons, for what they were issued together to be nobody's secret
CLOSED_AFTER_SECONDS: Final = 3_600  # a commit of the last instant may be on its way until then


class PublicPool(Struct, frozen=True, kw_only=True):
    """A programme's money of one year: what is set aside, and what is issued of it.

    `issued` is missing where fewer than five enterprises hold a coupon.
    """

    programme: str
    title: str
    title_en: str
    year: int
    amount: str
    issued: str | UnsetType = UNSET


class PublicView(Struct, frozen=True, kw_only=True):
    """The pools by programme and year, at the beginning of the Shanghai date `before`."""

    before: str
    pools: list[PublicPool]


class PublicTotals:
    """The response of the last closed month. Owns it."""

    def __init__(self) -> None:
        self._made: PublicView | None = None
        self._lock = asyncio.Lock()

    async def before(self, context: Context, date: str) -> PublicView:
        """Return the totals at the beginning of a date."""
        async with self._lock:  # many may ask at once, and one of them reads
            if self._made is None or self._made.before != date:
                async with connections.reading(context.readers, snapshot=True) as connection:
                    self._made = await _totals(context, connection, date)
            return self._made


PUBLIC: Final = web.AppKey("public", PublicTotals)


async def get_public(ask: Ask) -> PublicView:
    """What is set aside and issued, as of the last closed month."""
    now = ask.context.clock.counted() // MICROSECONDS - CLOSED_AFTER_SECONDS
    month = f"{format_date(now)[:7]}-01"
    return await ask.request.app[PUBLIC].before(ask.context, month)


async def _totals(context: Context, connection: connections.Connection, date: str) -> PublicView:
    begin = parse_date(date)
    _, known = await context.snapshot(connection)
    size = await ledger_store.size_at(connection, begin * MICROSECONDS - 1)
    policies = _newest(Registered(known.state, min(size, known.size)))
    found = []
    for pool in await pages.all_pools(connection):
        policy = policies.get(pool.programme)
        days = await pages.pool_days(connection, (pool.programme, pool.year))
        past = [figures for figures in days if figures[0] < day_of(begin)]
        if policy is None or not past:
            continue
        holders = await pages.holders(connection, pool, day_of(begin))
        _, amount, issued, _ = past[-1]
        found.append(
            PublicPool(
                programme=pool.programme,
                title=policy.title,
                title_en=policy.title_en,
                year=pool.year,
                amount=format_money(amount),
                issued=format_money(issued) if holders >= MIN_HOLDERS else UNSET,
            )
        )
    return PublicView(before=date, pools=found)


def _newest(known: Registered) -> dict[str, Policy]:
    """Return the newest policy of each programme."""
    return {each.policy.programme: each.policy for each in known.policies()}


ROUTES: Final = [
    Route("GET", "/v1/public", get_public, "What is set aside and issued, by programme", PublicView)
]
