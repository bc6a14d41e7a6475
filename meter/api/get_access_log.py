"""GET /v1/access-log, for auditors: who asked what, and never what was answered.

The authority, whose questions are in it, is not told.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from ledger import store as ledger_store
from meter.api.access_responses import AccessPage, AccessView, DigestView
from meter.api.cursor import PageQuery, page_end, place
from meter.api.routes import Ask, Route
from meter.tables.access_log import Sought, accesses, digests
from meter.values.problems import Problem
from meter.values.strict import Date, Id
from meter.values.units import (
    MICROSECONDS,
    day_of,
    day_start,
    format_date,
    format_instant,
    parse_date,
)
from meter.wire.access_log import Access

MAX_DAYS: Final = 31  # that one question is about
Named = Annotated[str, Meta(min_length=1, max_length=300)]


class AccessQuery(PageQuery, frozen=True, rename={"starts": "from", "ends": "until"}):
    """A page of the access log: of a half-open period of Shanghai dates, 31 days at most.

    Without one it is of the last 31 days.
    """

    starts: Date | UnsetType = UNSET
    ends: Date | UnsetType = UNSET
    token: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    subject: Named | UnsetType = UNSET
    route: Named | UnsetType = UNSET


async def get_access_log(ask: Ask) -> AccessPage:
    """Who asked what, day by day, in the order of the minutes."""
    query: AccessQuery = ask.query
    after = place(ask, (0, 0, 0))
    sought = _sought(query, ask.context.clock.counted())
    async with ask.reading() as connection:
        head = await ledger_store.head(connection)
        page, end = await accesses(connection, sought, after, query.limit)
        days = {day for (day, _, _), _ in page.items}
        made = await digests(connection, min(days), head.last_at) if days else {}
    return AccessPage(
        accesses=[access_view(day, access) for (day, _, _), access in page.items],
        digests=[
            DigestView(day=entry.day, entry=number, rows=entry.rows, sha256=entry.sha256)
            for day, (number, entry) in sorted(made.items())
            if day in days
        ],
        **page_end(ask, head, end, more=page.more),
    )


def _sought(query: AccessQuery, now: int) -> Sought:
    """Return what a query asks for; one end of a period alone bounds 31 days."""
    starts, ends = _day(query.starts), _day(query.ends)
    if ends is None:
        ends = day_of(now // MICROSECONDS) + 1 if starts is None else starts + MAX_DAYS
    if starts is None:
        starts = ends - MAX_DAYS
    if not starts < ends <= starts + MAX_DAYS:
        raise Problem("bad_dates", f"choose a period of 1 to {MAX_DAYS} days")
    names = (query.token, query.person, query.subject, query.route)
    return Sought(starts, ends, *("" if each is UNSET else each for each in names))


def _day(date: str | UnsetType) -> int | None:
    return None if date is UNSET else day_of(parse_date(date))


def access_view(day: int, access: Access) -> AccessView:
    """Return a row as the API answers it."""
    return AccessView(
        day=format_date(day_start(day)),
        time=format_instant(access.at // MICROSECONDS),
        token=access.token,
        person=access.person,
        role=access.role,
        route=access.route,
        subjects=list(access.subjects),
        count=access.count,
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/access-log",
        get_access_log,
        "Who asked what, by minute",
        AccessPage,
        roles=("auditor",),
        query=AccessQuery,
        codes=("bad_dates",),
    )
]
