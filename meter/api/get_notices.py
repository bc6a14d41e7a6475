"""GET /v1/notices: the claims under public notice, for anybody who may object.

It names the programme, the year, the days and where the authority's own notice can be read. Who
claims, for which contract and how much is told there and not here.
"""

from typing import Final

from aiohttp import web

from meter.api.claim_responses import NoticesView, NoticeView
from meter.api.routes import Ask, Route
from meter.rules.items import item_programme
from meter.tables.registry import Registered
from meter.values.units import MICROSECONDS, format_date


class Notices:
    """The response for a day, made again where something was registered since. Owns it."""

    def __init__(self) -> None:
        self._made: tuple[int, NoticesView] | None = None

    def of(self, known: Registered, newest: int, now: int) -> NoticesView:
        """Return the claims under notice at an instant in microseconds."""
        today = format_date(now // MICROSECONDS)
        if self._made is None or (self._made[0], self._made[1].on) != (newest, today):
            self._made = newest, NoticesView(on=today, notices=_noticed(known, now))
        return self._made[1]


NOTICES: Final = web.AppKey("notices", Notices)


async def get_notices(ask: Ask) -> NoticesView:
    """The claims under public notice today."""
    registry, now = ask.context.registry, ask.context.clock.counted()
    return ask.request.app[NOTICES].of(registry.now, registry.newest, now)


def _noticed(known: Registered, now: int) -> list[NoticeView]:
    found = []
    for claim in known.claims():
        begin, end = claim.notice
        if claim.state != "noticed" or not begin <= now < end:
            continue
        programme = item_programme(known.state, claim.entered.item)
        policy = known.policy_of(programme, claim.entered.year)
        assert policy is not None, "a policy touched the year when the claim was entered"
        found.append(
            NoticeView(
                entry=claim.entry,
                programme=programme,
                title=policy.title,
                title_en=policy.title_en,
                year=claim.entered.year,
                notice_from=_day(begin),
                notice_until=_day(end),
                url=claim.url,
            )
        )
    return sorted(found, key=lambda each: (each.notice_until, each.entry))


def _day(microseconds: int) -> str:
    return format_date(microseconds // MICROSECONDS)


ROUTES: Final = [
    Route("GET", "/v1/notices", get_notices, "The claims under public notice", NoticesView)
]
