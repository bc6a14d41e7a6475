"""The forecast, against a table that was made by hand, and over HTTP.

In the table day 100 is today, the coupon pays for the use of days 0 to 199, and amounts are fen.
"""

from collections.abc import Mapping

import pytest

from meter.views.forecast import Coupon, Forecast, forecast
from tests.books import ALPHA, BETA, PROGRAMME, record
from tests.services import Clock, authorization, serving

TODAY = 100
LAST_28 = range(72, 100)


def ask(entitled: Mapping[int, int], remaining: int, gaps=(), starts=0, ends=200) -> Forecast:
    return forecast(Coupon(remaining, starts, ends), entitled, gaps, TODAY)


def even(fen: int, days=LAST_28) -> dict[int, int]:
    return dict.fromkeys(days, fen)


# The newest week at 4, then 3, 2, 1: 70 in 28 days, 2.5 a day.
SLOPE = {day: 4 - (99 - day) // 7 for day in LAST_28}


@pytest.mark.parametrize(
    ("entitled", "remaining", "ends"),
    [
        (even(10), 100, (109, 109, 109)),  # ten days, today among them
        (even(10), 101, (110, 110, 110)),  # the eleventh has a fen
        (even(10), 1, (100, 100, 100)),
        (SLOPE, 100, (139, 124, 199)),  # 40, 25 and 100 days
        (SLOPE, 99, (139, 124, 198)),  # 39.6, 24.75 and 99 days
        ({**even(10), 100: 7_000}, 100, (109, 109, 109)),  # today does not count
        ({**even(10), 71: 7_000}, 100, (109, 109, 109)),  # nor what is older
        (even(10, range(86, 100)), 100, (109, 109, 109)),  # two weeks since the first use
        (even(10, range(80, 100)), 100, (109, 109, 109)),  # two whole ones
        (even(10, range(72, 86)), 100, (119, 109, None)),  # two weeks of nothing since
        (even(1, range(72, 100, 2)), 7, (113, 112, 116)),  # 14 days, 12.25 and 16.3
    ],
)
def test_the_table(entitled, remaining, ends):
    found = ask(entitled, remaining)
    assert found.status == "lasts"
    assert (found.end, found.earliest, found.latest) == ends


def test_the_mean_is_of_whole_weeks():
    assert ask(even(10, range(80, 100)), 100).days == tuple(range(99, 85, -1))
    assert len(ask(even(10), 100).days) == 28


@pytest.mark.parametrize(
    ("entitled", "used_days"),
    [({}, 0), (even(10, range(87, 100)), 7), (even(10, range(72, 85)), 13)],
)
def test_fewer_than_fourteen_days_with_usage_are_not_enough(entitled, used_days):
    found = ask(entitled, 100)
    assert (found.status, found.used_days) == ("not_enough", used_days)
    assert (found.end, found.unused) == (None, 0)


def test_use_that_is_entitled_to_nothing_says_nothing():
    assert ask(even(0), 100).status == "not_enough"


def test_days_with_gaps_are_left_out_and_older_ones_take_their_place():
    entitled = even(10, range(50, 100)) | dict.fromkeys(range(90, 95), 0)
    assert ask(entitled, 100).end == 112  # 230 in 28 days: 12.2 days
    found = ask(entitled, 100, gaps=[(90, 91), (91, 94), (98, 120)])
    assert (found.end, found.days[:5]) == (109, (97, 96, 95, 89, 88))
    assert (found.days[-1], len(found.days)) == (65, 28)
    assert ask(entitled, 100, gaps=[(-1_000_000, 99)]).status == "not_enough"


def test_what_would_stay_unused_is_told():
    assert ask(even(10), 1_000).unused == 0  # 100 days are left
    found = ask(even(10), 1_001)
    assert (found.end, found.unused) == (200, 1)
    assert ask(SLOPE, 1_000, ends=110).unused == 975  # 2.5 a day for ten days
    assert ask(SLOPE, 1_000, ends=101).unused == 998  # 2.5 is cut: 2 are used


def test_the_end_of_a_year_that_has_not_begun_is_counted_from_its_first_day():
    found = ask(even(10), 100, starts=150)
    assert (found.end, found.unused) == (159, 0)


def test_a_coupon_that_is_used_up_or_over_has_no_end():
    assert ask(even(10), 0).status == "used_up"
    found = ask(even(10), 100, ends=100)
    assert (found.status, found.unused, found.end) == ("over", 100, None)


def test_an_end_that_nobody_can_foresee_is_none():
    found = ask(even(1), 3_661)
    assert (found.status, found.end, found.unused) == ("lasts", None, 3_561)
    assert ask(even(1), 3_660).end == 3_759


# Over HTTP


def hours(day: int, month: int = 3) -> tuple[str, str]:
    date = f"2025-{month:02}-{day:02}"
    return f"{date}T08:00:00+08:00", f"{date}T09:00:00+08:00"


@pytest.fixture
async def service(database, tmp_path):
    """ALPHA uses 64 cards for an hour on each day of March: 144.00 a day."""
    clock = Clock("2025-03-01T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books()
        for day in range(1, 31):
            clock.set(f"2025-03-{day:02}T12:00:00+08:00")
            if day != 11:  # this batch is missing
                await service.usage([record(f"r{day}", "A", *hours(day), 64_000)], seq=day)
        yield service


async def told(service, query=f"programme={PROGRAMME}&year=2025", uscc=ALPHA, **headers):
    answer = await service.get(f"/v1/enterprises/{uscc}/forecast?{query}", **headers)
    assert answer.status == 200, answer.body
    return answer.json


async def test_the_forecast_leaves_today_and_gaps_out(service):
    found = await told(service)
    size = service.intake.watermark.size
    assert found.pop("as_of")["entries"] == size
    # 29 days of 144.00 are granted, that of today among them; 3 of 29 complete days have a gap.
    assert found == {
        "enterprise": ALPHA,
        "programme": PROGRAMME,
        "year": 2025,
        "status": "lasts",
        "today": "2025-03-30",
        "remaining": "495824.00",
        "days": 21,
        "used_days": 21,
        "entitled": "3024.00",
        "first": "2025-03-06",
        "last": "2025-03-29",
        **dict.fromkeys(("end", "earliest", "latest"), "2034-09-02"),
        "expires": "2026-01-01",
        "unused": "455936.00",
    }


async def test_the_missing_batch_makes_its_days_complete(service):
    await service.usage([record("r11", "A", *hours(11), 64_000)], seq=11)
    found = await told(service)
    assert (found["days"], found["used_days"], found["first"]) == (28, 28, "2025-03-02")


async def test_an_issue_changes_what_remains_and_no_rate(service):
    before = await told(service)
    await service.ask(
        "/v1/coupons/withdraw",
        programme=PROGRAMME,
        year=2025,
        enterprise=ALPHA,
        amount="495248.00",
        reason="for a test",
    )  # 576.00 remain: four days
    found = await told(service)
    assert (found["end"], found["unused"]) == ("2025-04-02", "0.00")
    assert found["entitled"] == before["entitled"]


async def test_there_is_no_forecast_from_a_few_days(service):
    service.clock.set("2025-05-01T12:00:00+08:00")
    assert (await told(service))["status"] == "not_enough"
    assert (await told(service, f"programme={PROGRAMME}&year=2024"))["status"] == "over"


async def test_a_stream_that_begins_with_a_gap_says_nothing_about_earlier_days(service):
    await service.usage(stream="other", seq=2)
    found = await told(service)
    assert (found["status"], found["days"]) == ("not_enough", 0)
    assert "first" not in found
    await service.usage(stream="other", seq=1)
    assert (await told(service))["days"] == 21


async def test_a_forecast_is_for_ones_own_and_of_a_known_coupon(service):
    firm = {"Authorization": await authorization(service, "firm", "enterprise", BETA)}
    path = f"/v1/enterprises/{ALPHA}/forecast?programme={PROGRAMME}&year=2025"
    assert (await service.get(path, **firm)).code == "not_found"
    assert (await service.get(path.replace("2025", "1999"))).code == "unknown_programme"
