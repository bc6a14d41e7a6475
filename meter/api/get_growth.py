"""GET, for officials: how many entries the ledger held at the end of each of the last days."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from ledger import store as ledger_store
from meter.api.day_responses import GrowthDay, GrowthView
from meter.api.responses import as_of
from meter.api.routes import Ask, Route
from meter.values.roles import OFFICIALS
from meter.values.units import MICROSECONDS, day_of, day_start, format_date


class GrowthQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How many days, the last of which is that of the newest entry."""

    days: Annotated[int, Meta(ge=1, le=366)] = 60


async def get_growth(ask: Ask) -> GrowthView:
    """The ledger's size at the end of each of the last days."""
    async with ask.reading() as connection:
        head = await ledger_store.head(connection)
        last = day_of(head.last_at // MICROSECONDS)
        days = range(last - ask.query.days + 1, last + 1)
        # All entries of a commit are of one Shanghai day.
        ends = [day_start(day + 1) * MICROSECONDS for day in days]
        sizes = await ledger_store.sizes_before(connection, ends)
    return GrowthView(
        days=[
            GrowthDay(format_date(day_start(day)), size)
            for day, size in zip(days, sizes, strict=True)
        ],
        as_of=as_of(head.size, head.last_at),
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/growth",
        get_growth,
        "The ledger's size by day",
        GrowthView,
        roles=OFFICIALS,
        query=GrowthQuery,
    )
]
