"""What the authority's first page shows: frozen values, made from answers of the API.

Money is the API's text. Fen are read from it to order coupons and draw bars, and are never shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from meter.api.day_responses import CouponEnd, PoolForecast
from meter.api.responses import (
    CouponView,
    PoolView,
    ProgrammeView,
    ProviderView,
    StreamView,
    WithheldView,
)
from meter.console import formats
from meter.console.enterprise_view import Share, share
from meter.console.formats import Language
from meter.values.units import parse_moment, parse_money

DAY_SECONDS: Final = 86_400
SILENT_SECONDS: Final = DAY_SECONDS  # since the newest batch of a provider


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something in a queue, and for how many whole days it has waited."""

    record: WithheldView
    days: int


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool, how much of it is issued, and the day on which nothing of it remains, or why not.

    Of another year than this one there is no forecast, and both are empty.
    """

    pool: PoolView
    issued: Share
    end: str
    why_not: str


@dataclass(frozen=True, slots=True)
class CouponLine:
    """A coupon, and how much of it is left."""

    coupon: CouponView
    left: Share


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """A provider that is silent, or of which numbers are missing.

    `last` is when its newest batch came, empty where there is none; `missing` counts numbers.
    """

    provider: ProviderView
    last: str
    missing: int
    is_silent: bool


def titles(programmes: Iterable[ProgrammeView], language: Language) -> dict[str, str]:
    """Return what programmes are called."""
    return {
        each.programme: each.title if language == "zh" else each.title_en for each in programmes
    }


def waiting(records: Iterable[WithheldView], now: int) -> list[Waiting]:
    """Return how long records wait; `now` is in microseconds."""
    return [
        Waiting(each, (now - parse_moment(each.time)) // (DAY_SECONDS * 1_000_000))
        for each in records
    ]


@dataclass(frozen=True, slots=True)
class EndingLine:
    """A coupon that ends before its expiry, and when; `year` is that of its pool."""

    coupon: CouponEnd
    year: int
    end: str


def pool_lines(
    pools: Iterable[PoolView], forecasts: Iterable[PoolForecast | None], language: Language
) -> list[PoolLine]:
    """Return the pools with what is issued of them and how long they last."""
    return [
        PoolLine(each, share(each.issued, each.amount, "used"), *_end(forecast, language))
        for each, forecast in zip(pools, forecasts, strict=True)
    ]


def _end(forecast: PoolForecast | None, language: Language) -> tuple[str, str]:
    if forecast is None:
        return "", ""
    if forecast.end is not UNSET and forecast.end < forecast.expires:
        return formats.date(forecast.end, language), ""
    return "", forecast.status


def soonest(forecasts: Iterable[PoolForecast], language: Language, most: int) -> list[EndingLine]:
    """Return the coupons that end before their expiry, the soonest first."""
    held = [(each.end, place.year, each) for place in forecasts for each in place.coupons]
    held.sort(key=lambda each: (each[0], each[2].enterprise, each[2].programme))
    return [EndingLine(each, year, formats.date(end, language)) for end, year, each in held[:most]]


def largest(coupons: Iterable[CouponView], most: int) -> list[CouponLine]:
    """Return the coupons of which most was issued."""
    held = sorted(coupons, key=lambda each: -parse_money(each.issued))
    return [CouponLine(each, share(each.remaining, each.issued, "left")) for each in held[:most]]


def scarcest(coupons: Iterable[CouponView], most: int) -> list[CouponLine]:
    """Return the coupons of which the smallest part is left, the larger one first of equal ones."""
    held = [each for each in coupons if parse_money(each.issued) > 0]
    held.sort(key=lambda each: (_left_bp(each), -parse_money(each.issued)))
    return [CouponLine(each, share(each.remaining, each.issued, "left")) for each in held[:most]]


def _left_bp(coupon: CouponView) -> int:
    return parse_money(coupon.remaining) * 10_000 // parse_money(coupon.issued)


def troubled(
    providers: Iterable[tuple[ProviderView, Sequence[StreamView]]], now: int
) -> list[ProviderLine]:
    """Return providers without a batch for a day, or with missing numbers.

    `now` is in microseconds.
    """
    found = [_provider_line(provider, streams, now) for provider, streams in providers]
    return [each for each in found if each.is_silent or each.missing]


def _provider_line(provider: ProviderView, streams: Sequence[StreamView], now: int) -> ProviderLine:
    newest = max((each.time for each in streams), key=parse_moment, default="")
    is_silent = not newest or now - parse_moment(newest) > SILENT_SECONDS * 1_000_000
    return ProviderLine(provider, newest, sum(each.missing for each in streams), is_silent)
