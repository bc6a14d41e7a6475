"""The worked examples of the money rules, each whole and sliced, to the fen."""

import random
from itertools import count

import pytest

from meter.values.problems import Problem
from meter.values.units import parse_instant, parse_money
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    Books,
    lifted,
    opened,
    record,
    slices,
)

WHOLE = None
CUTS = [WHOLE, 60, 61, 977, 1800]  # seconds per slice
END_OF_2026 = "2027-01-01T12:00:00+08:00"


def post_in_cuts(books: Books, usage: dict, cut: int | None, order: int = 0) -> list:
    """Post a record whole, or in slices shuffled by a seed; returns their results in that order."""
    parts = [usage] if cut is WHOLE else slices(usage, cut)
    random.Random(order).shuffle(parts)
    half = len(parts) // 2
    # Some in one batch, the others one by one: the results must not differ.
    results = books.post(parts[:half]) if half else []
    for part in parts[half:]:
        results += books.post([part])
    assert {result.status for result in results} == {"accepted"}
    return results


def total(results: list, field: str) -> int:
    return sum(signed(getattr(result, field)) for result in results)


def signed(text: str) -> int:
    return -parse_money(text[1:]) if text.startswith("-") else parse_money(text)


def full_use(contract: str, yuan_times_100: int, start: str) -> list[dict]:
    """Return records of 8,000 s that use exactly an amount at 4.50: 1 fen is 1 thousandth then."""
    records, ids = [], count()
    while yuan_times_100 > 0:
        part = min(yuan_times_100, 10**9)
        begin = parse_instant(start)
        records.append(
            record(f"{contract}-{start}-{next(ids)}", contract, begin, begin + 8000, part)
        )
        yuan_times_100 -= part
    return records


def test_the_unit_of_full_use_is_one_fen():
    assert 1 * 8000 * 45000 == 3600 * 1000 * 100


@pytest.mark.parametrize("order", range(3))
@pytest.mark.parametrize("cut", CUTS)
def test_64_cards_for_an_hour_cost_288_and_are_granted_144(cut, order):
    books = opened()
    books.contract("A")
    books.issue(2025, "500000.00")
    start = parse_instant("2025-03-01T08:00:00+08:00")
    results = post_in_cuts(books, record("r", "A", start, start + HOUR, 64_000), cut, order)
    assert (books.cost("A"), books.granted("A")) == (28_800, 14_400)
    assert books.coupon(2025) == (50_000_000, 14_400, 14_400)
    assert (total(results, "cost"), total(results, "granted")) == (28_800, 14_400)
    assert results[-1].bound == []


@pytest.mark.parametrize("order", range(8))
@pytest.mark.parametrize("cut", CUTS)
def test_7_cards_for_3601_seconds_at_60_percent_are_granted_18_90_in_any_slices(cut, order):
    books = opened()
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("S", enterprise=BETA, signed_on="2025-01-15", starts="2025-02-01")
    assert books.entries[-1].ratio_class == "startup"
    books.issue(2025, "100.00", BETA)
    start = parse_instant("2025-03-01T08:00:00+08:00")
    usage = record("r", "S", start, start + 3601, 7_000)
    if cut == 60:
        assert len(slices(usage, cut)) == 61
    results = post_in_cuts(books, usage, cut, order)
    assert (books.cost("S"), books.granted("S")) == (3_150, 1_890)
    assert (total(results, "cost"), total(results, "granted")) == (3_150, 1_890)
    assert results[-1].bound == []


@pytest.mark.parametrize("order", range(3))
@pytest.mark.parametrize("cut", CUTS)
def test_an_hour_across_the_year_edge_takes_1_12_from_each_coupon(cut, order):
    books = opened(lifted(), now=END_OF_2026)
    books.contract("A")
    books.issue(2025, "10.00")
    books.issue(2026, "10.00")
    usage = record("r", "A", "2025-12-31T23:30:00+08:00", "2026-01-01T00:30:00+08:00", 1_000)
    results = post_in_cuts(books, usage, cut, order)
    assert books.cost("A") == 450
    assert books.share("A", 2025).granted == 112
    assert books.share("A", 2026).granted == 112
    if cut is WHOLE:
        assert results[0].by_year == {"2025": "1.12", "2026": "1.12"}
        assert (results[0].cost, results[0].granted) == ("4.50", "2.24")


@pytest.mark.parametrize("cut", [WHOLE, 977, 4000])
def test_a_contract_of_19999999_99_is_granted_9999999_99(cut):
    books = opened()
    books.contract("A", amount="19999999.99")
    books.issue(2025, "9999999.99")
    for usage in full_use("A", 1_999_999_999, "2025-02-20T08:00:00+08:00"):
        results = post_in_cuts(books, usage, cut)
    assert books.cost("A") == 1_999_999_999
    assert books.coupon(2025) == (999_999_999, 999_999_999, 999_999_999)
    assert results[-1].bound == []
    # Usage beyond the amount is metered whole; nothing more is entitled.
    (beyond,) = books.post(full_use("A", 1, "2025-02-21T08:00:00+08:00"))
    assert (beyond.cost, beyond.entitled, beyond.granted) == ("0.01", "0.00", "0.00")
    assert beyond.bound == ["contract_amount"]


@pytest.mark.parametrize("cut", [WHOLE, 4000])
def test_the_coupon_bounds_a_startup_contract_of_30_million(cut):
    books = opened()
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("S", enterprise=BETA, amount="30000000.00", signed_on="2025-01-15")
    books.issue(2025, "10000000.00", BETA)
    results = []
    # One fen more than the whole, so that the amount binds as well as the coupon.
    for usage in full_use("S", 3_000_000_001, "2025-02-20T08:00:00+08:00"):
        results += post_in_cuts(books, usage, cut)
    assert books.cost("S") == 3_000_000_001
    assert books.coupon(2025, BETA) == (1_000_000_000, 1_800_000_000, 1_000_000_000)
    assert books.coupon(2025, BETA).uncovered == 800_000_000
    assert results[-1].bound == ["contract_amount", "coupon"]
    assert total(results, "uncovered") == 800_000_000


@pytest.mark.parametrize("cut", [WHOLE, 977])
def test_other_public_funds_leave_200000_of_the_combined_50_percent(cut):
    books = opened()
    books.contract("A")
    books.fund_contract("A", "300000.00")
    books.issue(2025, "200000.00")
    for usage in full_use("A", 100_000_000, "2025-02-20T08:00:00+08:00"):
        results = post_in_cuts(books, usage, cut)
    assert books.cost("A") == 100_000_000
    assert books.coupon(2025) == (20_000_000, 20_000_000, 20_000_000)
    assert results[-1].bound == ["combined_support"]


@pytest.mark.parametrize("order", range(3))
@pytest.mark.parametrize("cut", CUTS)
def test_usage_before_the_measures_took_effect_is_metered_and_not_eligible(cut, order):
    books = opened(lifted())
    books.contract("A", prices={DEVICE: "4.50"})
    books.issue(2024, "100.00")
    usage = record("r", "A", "2024-12-17T23:00:00+08:00", "2024-12-18T01:00:00+08:00", 8_000)
    post_in_cuts(books, usage, cut, order)
    assert books.cost("A") == 7_200
    assert books.coupon(2024) == (10_000, 1_800, 1_800)


@pytest.mark.parametrize("cut", [WHOLE, 977])
def test_late_usage_of_an_earlier_year_takes_the_room_of_the_later_one(cut):
    books = opened(lifted(), now=END_OF_2026)
    books.contract("A")
    books.issue(2026, "500000.00")
    for usage in full_use("A", 100_000_000, "2026-03-01T08:00:00+08:00"):
        results = post_in_cuts(books, usage, cut)
    assert books.coupon(2026) == (50_000_000, 50_000_000, 50_000_000)
    assert results[-1].bound == []
    (usage,) = full_use("A", 10_000_000, "2025-03-01T08:00:00+08:00")
    results = post_in_cuts(books, usage, cut)
    assert books.coupon(2026) == (50_000_000, 45_000_000, 45_000_000)
    assert books.coupon(2025) == (0, 5_000_000, 0)
    assert books.coupon(2025).uncovered == 5_000_000
    assert results[-1].bound == ["contract_amount", "coupon"]
    assert total(results, "granted") == -5_000_000
    assert total(results, "entitled") == 0


@pytest.mark.parametrize("cut", [WHOLE, 977, 1])
def test_what_a_late_record_frees_goes_to_the_next_contract_that_is_short(cut):
    books = opened(lifted(), now=END_OF_2026)
    books.contract("A", amount="100.00")
    books.contract("B", amount="100.00")
    books.issue(2025, "20.00")
    books.issue(2026, "50.00")
    # 100.00 and 40.00 at 4.50, in few seconds so that even slices of one second stay few.
    first = parse_instant("2026-03-01T08:00:00+08:00")
    late = parse_instant("2025-03-01T08:00:00+08:00")
    post_in_cuts(books, record("a", "A", first, first + 80, 1_000_000), cut)
    post_in_cuts(books, record("b", "B", first, first + 80, 400_000), cut)
    assert [books.share(name, 2026).granted for name in "AB"] == [5_000, 0]
    results = post_in_cuts(books, record("late", "A", late, late + 80, 400_000), cut)
    assert [books.share(name, 2025).granted for name in "AB"] == [2_000, 0]
    assert [books.share(name, 2026).granted for name in "AB"] == [3_000, 2_000]
    assert [books.share(name, 2026).entitled for name in "AB"] == [3_000, 2_000]
    # The money of another contract does not concern the provider of this one.
    assert total(results, "granted") == 0
    assert results[-1].bound == ["contract_amount"]


@pytest.mark.parametrize("cut", [WHOLE, 977])
def test_a_contract_registered_late_has_the_policy_of_its_signing(cut):
    books = opened(lifted(ends="2026-12-18"), now="2026-12-20T12:00:00+08:00")
    books.activate(lifted(version="next", starts="2026-12-18", ends="2028-12-18", standard=4_000))
    books.contract("A", signed_on="2026-11-01", starts="2026-11-01", ends="2027-11-01")
    books.issue(2026, "100.00")
    start = parse_instant("2026-11-10T08:00:00+08:00")
    post_in_cuts(books, record("r", "A", start, start + HOUR, 8_000), cut)
    assert books.coupon(2026) == (10_000, 1_800, 1_800)
    # Its own policy ends before the next one begins to rule newer contracts.
    start = parse_instant("2026-12-18T08:00:00+08:00")
    results = post_in_cuts(books, record("after", "A", start, start + HOUR, 8_000), cut)
    assert (total(results, "cost"), total(results, "entitled")) == (3_600, 0)


def month(amount: str) -> dict:
    return {DEVICE: {"amount": amount, "per": "month"}}


@pytest.mark.parametrize("order", range(2))
@pytest.mark.parametrize(("cards", "cost"), [(1, 300_000), (8, 2_400_000)])
@pytest.mark.parametrize("hours", [31 * 24, 24, 7])
def test_a_card_for_all_of_july_costs_its_price_for_a_month(cards, cost, hours, order):
    books = opened(lifted(), now="2025-09-01T12:00:00+08:00")
    books.contract("A", prices=month("3000.00"))
    books.issue(2025, "500000.00")
    july = record("r", "A", "2025-07-01T00:00:00+08:00", "2025-08-01T00:00:00+08:00", cards * 1_000)
    post_in_cuts(books, july, hours * HOUR, order)
    assert (books.cost("A"), books.granted("A")) == (cost, cost // 2)


@pytest.mark.parametrize("cut", [WHOLE, 60])
def test_an_hour_of_a_month_is_dearer_where_the_month_is_shorter(cut):
    books = opened(lifted(), now="2025-09-01T12:00:00+08:00")
    books.contract("A", prices=month("3000.00"))
    books.issue(2025, "500000.00")
    last_hour = record("r", "A", "2025-02-28T23:00:00+08:00", "2025-03-01T00:00:00+08:00", 1_000)
    post_in_cuts(books, last_hour, cut)
    assert books.cost("A") == 446  # 3000.00 / 672
    first_hour = record("s", "A", "2025-03-01T00:00:00+08:00", "2025-03-01T01:00:00+08:00", 1_000)
    post_in_cuts(books, first_hour, cut)
    assert books.cost("A") == 446 + 403  # and 3000.00 / 744, without a floor in between


@pytest.mark.parametrize("cut", [WHOLE, 977])
def test_a_day_has_24_hours(cut):
    books = opened()
    books.contract("A", prices={DEVICE: {"amount": "100.00", "per": "day"}})
    books.issue(2025, "500000.00")
    day = record("r", "A", "2025-02-20T08:00:00+08:00", "2025-02-21T08:00:00+08:00", 1_000)
    post_in_cuts(books, day, cut)
    assert (books.cost("A"), books.granted("A")) == (10_000, 5_000)
    third = record("s", "A", "2025-02-22T08:00:00+08:00", "2025-02-22T16:00:00+08:00", 1_000)
    post_in_cuts(books, third, cut)
    assert books.cost("A") == 13_333


def test_a_yearly_rental_of_499999_99_is_below_the_threshold_and_500000_reaches_it():
    books = opened()
    books.contract("A", amount="499999.99")
    with pytest.raises(Problem) as refused:
        books.issue(2025, "1.00")
    assert refused.value.code == "below_threshold"
    books.contract("B", amount="0.01")
    books.issue(2025, "1.00")
    assert books.coupon(2025, ALPHA).issued == 100
