"""What crosses a line: levels of coupons, contracts with something withheld, ends, silences."""

import itertools
import json

import pytest

from meter.rules.state import State
from meter.values.units import day_of, parse_date
from meter.views.crossings import (
    KINDS,
    CouponNow,
    Crossing,
    levels_crossed,
    of_coupon_now,
)
from tests.books import ALPHA, PROGRAMME, micros

COUPON = (ALPHA, PROGRAMME, 2025)
IN_MARCH = State(last_at=micros("2025-03-01T12:00:00+08:00"))
IN_JANUARY_AFTER = State(last_at=micros("2026-01-02T12:00:00+08:00"))


def kinds(state, before, now):
    return [each.kind for each in levels_crossed(state, COUPON, before, now)]


@pytest.mark.parametrize(
    ("before", "now", "crossed"),
    [
        ((0, 0), (1_000, 0), []),
        ((1_000, 799), (1_000, 799), []),
        ((1_000, 799), (1_000, 800), ["used_80"]),
        ((999, 799), (999, 800), ["used_80"]),  # 79.98 and 80.08
        ((1_000, 800), (1_000, 949), []),
        ((1_000, 800), (1_000, 950), ["used_95"]),
        ((1_000, 0), (1_000, 1_000), ["used_80", "used_95", "used_100"]),
        ((1_000, 999), (1_000, 1_000), ["used_100"]),
        ((1_000, 1_000), (2_000, 1_000), []),  # more was issued
        ((2_000, 1_000), (1_200, 1_000), ["used_80"]),  # less is left
        ((1_000, 900), (1_000, 700), []),  # a void
    ],
)
def test_a_level_is_told_when_it_is_reached(before, now, crossed):
    assert kinds(IN_MARCH, before, now) == crossed


def test_it_is_told_again_when_it_is_reached_again():
    steps = [(1_000, 790), (1_000, 810), (1_000, 790), (1_000, 810)]
    told = [kinds(IN_MARCH, a, b) for a, b in itertools.pairwise(steps)]
    assert told == [["used_80"], [], ["used_80"]]


def test_what_is_taken_back_after_the_year_is_no_use():
    assert kinds(IN_JANUARY_AFTER, (1_000, 700), (700, 700)) == []
    assert kinds(IN_MARCH, (1_000, 700), (700, 700)) == ["used_80", "used_95", "used_100"]
    assert kinds(IN_JANUARY_AFTER, (1_000, 700), (1_000, 800)) == ["used_80"]  # late records


def test_a_message_tells_the_money_of_the_coupon():
    (crossing,) = levels_crossed(IN_MARCH, COUPON, (100_000, 0), (100_000, 85_000))
    assert crossing.audience == (f"enterprise:{ALPHA}", "official")
    assert json.loads(crossing.message(IN_MARCH.last_at, 42)) == {
        "type": "used_80",
        "timestamp": "2025-03-01T12:00:00+08:00",
        "data": {
            "enterprise": ALPHA,
            "programme": PROGRAMME,
            "year": 2025,
            "issued": "1000.00",
            "granted": "850.00",
            "remaining": "150.00",
            "as_of": 42,
        },
    }


def test_each_crossing_has_a_key_of_its_own():
    crossings = [Crossing(kind, about, (), {}) for kind in ("gap", "silent") for about in "ab"]
    assert len({each.key(size) for each in crossings for size in (1, 2)}) == 8
    assert crossings[0].key(7) == Crossing("gap", "a", ("official",), {"x": 1}).key(7)


def day(text):
    return day_of(parse_date(text))


@pytest.mark.parametrize(
    ("today", "granted", "end", "stands"),
    [
        ("2025-12-01", 900, None, []),
        ("2025-12-02", 900, None, [("ends_soon", "expires", "2025-12-31")]),
        ("2025-12-31", 900, None, [("ends_soon", "expires", "2025-12-31")]),
        ("2025-12-31", 1_000, None, []),  # nothing is left to expire
        ("2026-01-01", 900, None, [("expiry", None, "2025-12-31")]),
        ("2026-01-01", 1_000, None, [("expiry", None, "2025-12-31")]),
        ("2025-06-01", 900, "2025-07-01", []),
        ("2025-06-01", 900, "2025-06-30", [("ends_soon", "used_up", "2025-06-30")]),
        ("2025-12-20", 900, "2026-01-05", [("ends_soon", "expires", "2025-12-31")]),
    ],
)
def test_what_stands_of_a_coupon(today, granted, end, stands):
    held = CouponNow(COUPON, 1_000, granted, day("2026-01-01"), end and day(end))
    found = list(of_coupon_now(IN_MARCH, held, day(today)))
    assert [(e.kind, e.data.get("why"), e.data["last_day"]) for e in found] == stands


def test_every_role_has_kinds_and_every_kind_a_role():
    assert set(KINDS) == {"enterprise", "provider", "authority", "auditor"}
    assert len({kind for own in KINDS.values() for kind in own}) == 10
