"""Thresholds of a coupon: each crossing is told once, exactly at the fen."""

import itertools

import pytest

from meter.views.events import reaches
from tests.books import ALPHA, lifted, parse_instant, record, void
from tests.listening import YEAR, Heard, heard_all, listening, token
from tests.services import HOUR, coupon_body, serving


async def test_a_threshold_is_told_once_for_each_crossing_exactly_at_the_fen(database, tmp_path):
    begun = parse_instant(HOUR[0])
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(), None)
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        await service.issue(YEAR, "10.00")
        numbers = itertools.count(1)

        async def grant(fen: int) -> None:
            """Use as much as entitles to an amount: a card costs 0.02 in 16 seconds."""
            seq = next(numbers)
            made = record(f"r{seq}", "A", begun, begun + 16 * fen, 1_000)
            assert (await service.usage([made], seq=seq)).status == 200

        async with listening(service, alpha) as heard:
            for fen in (799, 1, 149, 1, 49):
                await grant(fen)
            await heard_all(service, heard)
            assert crossed(heard) == [(80, "8.00"), (95, "9.50")]
            await grant(1)  # 10.00 of 10.00
            await grant(50)  # uncovered
            await service.usage([], [void("r7"), void("r2")], seq=next(numbers))  # 9.99
            await grant(1)  # 10.00 again
            await service.issue(YEAR, "2.50")  # 80 % to the fen: it was above, so nothing new
            await service.issue(YEAR, "0.01")  # below it
            body = coupon_body(YEAR, "0.01")
            assert (await service.post("/v1/coupons/withdraw", body)).status == 201  # and again
            await heard_all(service, heard)
        assert crossed(heard)[2:] == [(100, "10.00"), (100, "10.00"), (80, "10.00")]
        assert [each["issued"] for each in heard.named("coupon.threshold")[-2:]] == [
            *("10.00", "12.50"),
        ]


async def test_a_coupon_that_comes_after_the_usage_crosses_all_thresholds_in_one_entry(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(), None)
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        async with listening(service, alpha) as heard:
            await service.issue(YEAR, "144.00")
            await heard_all(service, heard)
        number = service.intake.watermark.size - 1
        names = ["coupon.issued", "grant.changed", *["coupon.threshold"] * 3]
        ids = [*(f"{number}.{index}" for index in (1, 2, 3, 4)), str(number)]
        assert [event[:2] for event in heard.events] == list(zip(ids, names, strict=True))
        assert [percent for percent, _ in crossed(heard)] == [80, 95, 100]


@pytest.mark.parametrize(
    ("percent", "issued", "granted", "answer"),
    [
        (80, 0, 0, False),
        (100, 1, 1, True),
        (80, 5, 4, True),
        (80, 6, 4, False),
        (95, 10**9, 95 * 10**7, True),
        (95, 10**9, 95 * 10**7 - 1, False),
    ],
)
def test_a_threshold_is_reached_exactly(percent, issued, granted, answer):
    assert reaches(percent, issued, granted) is answer


def crossed(heard: Heard) -> list[tuple[int, str]]:
    return [(each["percent"], each["granted"]) for each in heard.named("coupon.threshold")]
