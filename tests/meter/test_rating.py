"""The arithmetic, compared with slow and obvious versions in fractions of a yuan."""

from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.rules.rating import (
    DENOMINATOR,
    Entitlement,
    Terms,
    cost,
    entitle,
    overlap,
    parts_of_cost,
    regrant,
    seconds_by_year,
    support_limit,
    union,
)
from meter.values.units import parse_instant
from tests.books import DAY, properties

SHANGHAI = timezone(timedelta(hours=8))

numerators = st.one_of(
    st.integers(0, 5 * DENOMINATOR),
    st.integers(0, 10**12 * DENOMINATOR),
    st.integers(0, 3_000).map(lambda fen: fen * DENOMINATOR),
)
terms = st.builds(
    Terms,
    amount=st.integers(0, 3_000) | st.integers(0, 10**12),
    support_limit=st.integers(0, 2_000) | st.integers(0, 10**12),
)
segments = st.lists(
    st.tuples(
        st.integers(2023, 2026), st.sampled_from([0, 1, 3_333, 5_000, 6_000, 10_000]), numerators
    ),
    max_size=6,
).map(lambda drawn: sorted(drawn, key=lambda segment: segment[0]))
shares = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=6)


def floor_fen(yuan: Fraction) -> int:
    return yuan.numerator * 100 // yuan.denominator


def slow_entitle(
    segments: list[tuple[int, int, int]], terms: Terms
) -> tuple[dict[int, int], bool, bool]:
    """Compute the same in yuan, with all earlier values in lists."""
    amount, limit = Fraction(terms.amount, 100), terms.support_limit
    counted: list[Fraction] = []
    for _, _, numerator in segments:
        counted.append(min(in_yuan(numerator), amount - sum(counted)))
    years = sorted({year for year, _, _ in segments})
    entitled: list[int] = []
    wanted: list[int] = []
    for year in years:
        parts = [
            yuan * Fraction(ratio_bp, 10_000)
            for (other, ratio_bp, _), yuan in zip(segments, counted, strict=True)
            if other == year
        ]
        wanted.append(floor_fen(sum(parts, Fraction(0))))
        entitled.append(min(wanted[-1], limit - sum(entitled)))
    used = sum(in_yuan(numerator) for _, _, numerator in segments)
    return dict(zip(years, entitled, strict=True)), sum(counted) < used, entitled != wanted


def in_yuan(numerator: int) -> Fraction:
    return Fraction(numerator, 3600 * 1000 * 10_000)


def test_the_denominator_is_a_device_hour_at_a_ten_thousandth_of_a_yuan():
    assert DENOMINATOR == 3600 * 1000 * 100
    assert cost(64_000 * 3600 * 45_000) == 28_800


@pytest.mark.parametrize("fen", [0, 1, 28_800])
def test_cost_is_floored(fen):
    assert cost(fen * DENOMINATOR) == fen
    assert cost((fen + 1) * DENOMINATOR - 1) == fen


@properties
@given(st.lists(numerators, max_size=8))
def test_costs_of_slices_sum_up_to_the_cost_of_the_whole(parts):
    used, total = 0, 0
    for part in parts:
        total += cost(used + part) - cost(used)
        used += part
    assert total == cost(sum(parts)) == floor_fen(Fraction(sum(parts), DENOMINATOR * 100))


@properties
@given(st.integers(0, 10**12), st.lists(numerators, max_size=7), st.sampled_from([1, 24]))
def test_the_parts_of_a_cost_add_up_to_its_growth_and_nothing_has_no_part(base, parts, scale):
    denominator = DENOMINATOR * scale
    fen = parts_of_cost(base, parts, denominator)
    assert sum(fen) == cost(base + sum(parts), denominator) - cost(base, denominator)
    for numerator, part in zip(parts, fen, strict=True):
        assert part in (cost(numerator, denominator), cost(numerator, denominator) + 1)
        assert part == 0 or numerator > 0


@settings(properties, max_examples=300)
@given(segments, terms)
def test_entitlement_is_what_the_slow_version_says(segments, terms):
    answer = entitle(segments, terms)
    expected = slow_entitle(segments, terms)
    assert (dict(answer.by_year), answer.amount_bound, answer.support_bound) == expected


@properties
@given(segments, terms)
def test_entitlement_stays_within_ratio_amount_and_support(segments, terms):
    entitled = entitle(segments, terms).by_year
    assert all(fen >= 0 for fen in entitled.values())
    total = sum(entitled.values())
    assert total <= terms.support_limit
    highest = max((ratio_bp for _, ratio_bp, _ in segments), default=0)
    assert total * 10_000 <= highest * terms.amount
    weighted = sum(ratio_bp * numerator for _, ratio_bp, numerator in segments)
    assert total * 10_000 * DENOMINATOR <= weighted


@properties
@given(segments, terms, st.sampled_from([24, 24 * 377_580]))
def test_entitlement_does_not_depend_on_the_scale_of_the_numerators(segments, terms, scale):
    scaled = [(year, ratio_bp, numerator * scale) for year, ratio_bp, numerator in segments]
    finer = Terms(terms.amount, terms.support_limit, DENOMINATOR * scale)
    assert entitle(scaled, finer) == entitle(segments, terms)


def test_a_year_has_one_floor_and_not_one_for_each_record():
    half_a_fen = DENOMINATOR
    terms = Terms(amount=10**6, support_limit=10**6)
    year = (2025, 5_000, half_a_fen)
    assert entitle([year], terms).by_year == {2025: 0}
    assert entitle([(2025, 5_000, 2 * half_a_fen)], terms).by_year == {2025: 1}
    # Two segments of a year share one; two years have one each.
    assert entitle([year, year], terms).by_year == {2025: 1}
    assert entitle([year, (2026, 5_000, half_a_fen)], terms).by_year == {2025: 0, 2026: 0}


def test_earlier_segments_come_first_for_the_amount_and_for_the_support():
    terms = Terms(amount=100, support_limit=40)
    answer = entitle([(2025, 5_000, 60 * DENOMINATOR), (2026, 5_000, 80 * DENOMINATOR)], terms)
    assert answer.by_year == {2025: 30, 2026: 10}
    assert (answer.amount_bound, answer.support_bound) == (True, True)


def test_a_version_with_another_ratio_takes_what_is_left_of_the_amount():
    million = 1_000_000_00
    halves = [(2026, bp, 600_000_00 * DENOMINATOR) for bp in (5_000, 4_000)]
    assert entitle(halves, Terms(million, million // 2)).by_year == {2026: 460_000_00}


def test_what_is_not_used_is_entitled_to_nothing_and_bound_by_nothing():
    nothing = entitle([], Terms(0, 0))
    assert nothing == Entitlement()
    assert (nothing.by_year, nothing.amount_bound, nothing.support_bound) == ({}, False, False)


def test_an_amount_used_up_exactly_does_not_bind():
    terms = Terms(amount=100, support_limit=50)
    exactly = entitle([(2025, 5_000, 100 * DENOMINATOR)], terms)
    assert (exactly.by_year, exactly.amount_bound, exactly.support_bound) == (
        {2025: 50},
        False,
        False,
    )
    more = entitle([(2025, 5_000, 100 * DENOMINATOR + 1)], terms)
    assert (more.by_year, more.amount_bound, more.support_bound) == ({2025: 50}, True, False)


@pytest.mark.parametrize(
    ("amount", "combined_bp", "other", "limit"),
    [
        (100_000_000, 5_000, 30_000_000, 20_000_000),
        (100_000_000, 5_000, 0, 50_000_000),
        (100_000_000, 5_000, 50_000_000, 0),
        (100_000_000, 5_000, 60_000_000, 0),
        (1_999_999_999, 5_000, 0, 999_999_999),
        (1, 6_000, 0, 0),
        (3, 6_000, 1, 0),
    ],
)
def test_other_public_money_is_taken_off_the_combined_support(amount, combined_bp, other, limit):
    assert support_limit(amount, combined_bp, other) == limit


# Rule R


@settings(properties, max_examples=300)
@given(st.integers(0, 1_500), shares)
def test_a_regrant_is_what_the_two_steps_of_the_rule_say(issued, contracts):
    granted = [min(held, entitled) for entitled, held in contracts]
    if sum(granted) > issued:
        return  # impossible: a withdrawal stops at the granted amount
    free = issued - sum(granted)
    for index, (entitled, _) in enumerate(contracts):
        while free > 0 and granted[index] < entitled:
            granted[index] += 1
            free -= 1
    assert regrant(issued, contracts) == granted


@settings(properties, max_examples=300)
@given(st.integers(0, 1_500), shares)
def test_after_a_regrant_granted_is_the_smaller_of_issued_and_entitled(issued, contracts):
    if sum(min(held, entitled) for entitled, held in contracts) > issued:
        return
    granted = regrant(issued, contracts)
    assert sum(granted) == min(issued, sum(entitled for entitled, _ in contracts))
    assert all(0 <= new <= entitled for new, (entitled, _) in zip(granted, contracts, strict=True))
    # A contract keeps its money as far as it is entitled.
    assert all(
        new >= min(held, entitled) for new, (entitled, held) in zip(granted, contracts, strict=True)
    )
    # Doing it again changes nothing.
    again = [(entitled, new) for new, (entitled, _) in zip(granted, contracts, strict=True)]
    assert regrant(issued, again) == granted


def test_what_is_free_goes_to_the_oldest_contract_that_is_short():
    assert regrant(100, [(60, 0), (60, 0)]) == [60, 40]
    assert regrant(100, [(60, 0), (60, 60)]) == [40, 60]
    assert regrant(100, [(30, 60), (60, 40)]) == [30, 60]
    assert regrant(0, [(60, 0)]) == [0]
    assert regrant(100, []) == []


# Intervals


def test_an_overlap_of_half_open_intervals_has_no_edge_twice():
    assert overlap([(0, 10)], 10, 20) == []
    assert overlap([(0, 10)], 9, 20) == [(9, 10)]
    assert overlap([(0, 10), (10, 20)], 5, 15) == [(5, 10), (10, 15)]
    assert overlap([(0, 10)], 7, 3) == []
    assert overlap([], 0, 10) == []


small = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair)))


@properties
@given(st.lists(small, max_size=6), st.integers(0, 30), st.integers(0, 40))
def test_overlap_and_union_are_what_sets_of_seconds_say(intervals, start, end):
    intervals = [(begin, stop) for begin, stop in intervals if begin < stop]
    seconds = {second for begin, stop in intervals for second in range(begin, stop)}
    merged = union(intervals)
    assert {second for begin, stop in merged for second in range(begin, stop)} == seconds
    assert all(one[1] < two[0] for one, two in pairwise(merged))
    cut = overlap(merged, start, end)
    inside = {second for begin, stop in cut for second in range(begin, stop)}
    assert inside == {second for second in seconds if start <= second < end}
    assert sum(stop - begin for begin, stop in cut) == len(inside)


@properties
@given(
    st.integers(parse_instant("2022-06-01T00:00:00Z"), parse_instant("2027-06-01T00:00:00Z")),
    st.integers(1, 900 * DAY),
)
def test_seconds_are_split_at_midnight_of_1_january(start, seconds):
    end = start + seconds
    expected = []
    for year in range(2020, 2032):
        begins = int(datetime(year, 1, 1, tzinfo=SHANGHAI).timestamp())
        ends = int(datetime(year + 1, 1, 1, tzinfo=SHANGHAI).timestamp())
        inside = min(end, ends) - max(start, begins)
        if inside > 0:
            expected.append((year, inside))
    assert seconds_by_year([(start, end)]) == expected
    middle = start + seconds // 2
    if start < middle < end:
        assert seconds_by_year([(start, middle), (middle, end)]) == expected


def test_no_second_of_no_year_is_listed():
    edge = parse_instant("2026-01-01T00:00:00+08:00")
    assert seconds_by_year([]) == []
    assert seconds_by_year([(edge - 10, edge)]) == [(2025, 10)]
    assert seconds_by_year([(edge, edge + 10)]) == [(2026, 10)]
    assert seconds_by_year([(edge - 1, edge + 1)]) == [(2025, 1), (2026, 1)]
