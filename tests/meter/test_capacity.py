"""Withholding and release: the part of a record that fits, and the rest."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canon import encode
from meter.auditor.sums import Sums
from meter.rules.capacity import (
    QUARTER_SECONDS,
    QUARTERS_PER_DAY,
    DeviceTime,
    Room,
    Withheld,
    day_parts,
    steady,
    steps_of,
    take,
    withhold,
)
from meter.rules.evolve import evolve
from meter.rules.measure import Work, by_day, evidence_of
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, day_of, day_start, parse_instant
from tests.books import (
    DAY,
    DEVICE,
    HOUR,
    Books,
    figures,
    lifted,
    properties,
    quarters,
    record,
    slices,
    uscc_of,
    void,
)

EIGHT = parse_instant("2025-03-01T08:00:00+08:00")
QUARTER = EIGHT // QUARTER_SECONDS
TODAY = day_of(EIGHT)


def opened(cards: int = 8, **contract) -> Books:
    """Return books with few cards at the provider, no limit in the contract, and a full coupon."""
    books = Books()
    books.activate(lifted())
    books.provider(devices={DEVICE: cards})
    books.key()
    books.enterprise()
    books.contract("A", **({"max_devices": {}} | contract))
    books.issue(2025, "500000.00")
    return books


def hour(id_: str, cards: int = 8, contract: str = "A", start: int = EIGHT) -> dict:
    return record(id_, contract, start, start + HOUR, cards * 1000)


def test_a_void_frees_the_providers_devices_also_of_a_record_before_the_contracts_limit():
    books = opened()
    books.post([hour("a")])
    books.correct(max_devices={DEVICE: 8})
    assert books.post([hour("b")])[0].withheld == "36.00"
    books.void("b")
    books.void("a")
    assert books.post([hour("c")])[0].withheld == "0.00"
    summed(books)


def test_a_record_that_ends_at_midnight_of_shanghai_has_no_part_in_the_day_after():
    day = day_of(EIGHT)
    midnight = day_start(day + 1)
    assert by_day(Work(DEVICE, 1_000, midnight - HOUR, midnight)) == [(day, 1_000 * HOUR)]
    two_days = Work(DEVICE, 1_000, midnight - DAY, midnight + DAY)
    assert by_day(two_days) == [(day, 1_000 * DAY), (day + 1, 1_000 * DAY)]
    parts = by_day(Work(DEVICE, 1_000, midnight - HOUR, midnight + 1))
    assert parts == [(day, 1_000 * HOUR), (day + 1, 1_000)]


# The pinned examples


def test_a_void_before_the_second_record_leaves_it_room():
    books = opened()
    books.post([hour("r1")])
    books.post([hour("r2")], [void("r1")])
    assert books.coupon(2025).granted == 18_00


def test_a_void_after_the_second_record_comes_too_late_until_a_reviewer_releases_it():
    books = opened()
    books.post([hour("r1"), hour("r2")])
    books.post([], [void("r1")])
    assert books.coupon(2025).granted == 0
    books.release("r2")
    assert books.coupon(2025).granted == 18_00


# Withholding


def test_what_does_not_fit_is_metered_and_told_but_not_entitled():
    books = opened(cards=8)
    (result,) = books.post([hour("r1", cards=12)])
    assert result.cost == "54.00"
    assert result.entitled == "18.00"
    assert result.withheld == "18.00"
    usage = books.entries[-1]
    assert usage.withheld == [(TODAY, 4000 * HOUR)]
    assert usage.withheld_cost == 18_00
    start = EIGHT * MICROSECONDS
    assert usage.evidence == [("provider", start, start + HOUR * MICROSECONDS, 4000 * HOUR)]


def test_records_of_two_contracts_share_the_providers_room():
    books = opened(cards=8)
    books.contract("B", max_devices={})
    books.post([hour("r1", cards=5)])
    (result,) = books.post([hour("r2", cards=5, contract="B")])
    assert (result.entitled, result.withheld) == ("6.75", "9.00")


def test_a_contract_cannot_use_more_than_it_rents_though_the_provider_has_more():
    books = opened(cards=100, max_devices={DEVICE: 4})
    (result,) = books.post([hour("r1", cards=6)])
    assert (result.entitled, result.withheld) == ("9.00", "9.00")
    assert books.entries[-1].evidence[0][0] == "contract"


def test_a_device_kind_that_the_contract_does_not_limit_is_limited_by_the_provider_alone():
    books = opened(cards=100, max_devices={"other-card": 1})
    (result,) = books.post([hour("r1", cards=100)])
    assert result.withheld == "0.00"


def test_of_a_contract_and_a_provider_with_equal_room_the_contract_is_named():
    books = opened(cards=8, max_devices={DEVICE: 8})
    books.post([hour("r1", cards=9)])
    assert [limit for limit, *_ in books.entries[-1].evidence] == ["contract"]


def test_only_the_quarters_that_are_full_withhold():
    books = opened(cards=8)
    books.post([record("r1", "A", EIGHT + 900, EIGHT + 1800, 8000)])
    books.post([hour("r2")])
    usage = books.entries[-1]
    assert usage.fits == [(TODAY, 8000 * 2700)]
    start = (EIGHT + 900) * MICROSECONDS
    assert usage.evidence == [("provider", start, start + 900 * MICROSECONDS, 8000 * 900)]


def test_device_time_within_a_quarter_adds_up_whenever_in_it_the_work_was():
    books = opened(cards=1)
    results = books.post(record(id_, "A", EIGHT, EIGHT + 450, 1000) for id_ in ("r1", "r2"))
    assert [result.withheld for result in results] == ["0.00", "0.00"]
    (third,) = books.post([record("r3", "A", EIGHT + 899, EIGHT + 900, 1000)])
    assert books.entries[-1].withheld == [(TODAY, 1000)]
    assert third.entitled == "0.00"


def test_outside_every_enlistment_nothing_is_enlisted_and_nothing_withheld():
    books = Books()
    books.activate(lifted())
    books.provider(enlisted={"batch": "b", "from": "2025-03-02", "until": "2025-04-01"})
    books.key()
    books.enterprise()
    books.contract("A", max_devices={})
    (result,) = books.post([hour("r1")])
    assert (result.cost, result.withheld, result.entitled) == ("36.00", "0.00", "0.00")
    assert (result.ineligible, result.reasons) == ("36.00", {"not_enlisted": "36.00"})


def test_what_is_not_enlisted_is_held_against_no_limit_but_takes_room():
    books = Books()
    books.activate(lifted())
    books.provider(enlisted={"batch": "b", "from": "2025-03-02", "until": "2025-04-01"})
    books.key()
    books.enterprise()
    books.contract("A", max_devices={DEVICE: 8})
    (result,) = books.post([hour("r1", cards=12)])
    assert result.reasons == {"not_enlisted": "54.00"}
    books.enlist("late", {DEVICE: 20}, "2025-03-01", "2025-03-02")
    # Of the 8 that are rented 12 are in use, so nothing is left.
    (result,) = books.post([hour("r2", cards=1)])
    assert (result.withheld, result.reasons) == ("4.50", {})
    # The first record stays what it was, and its void finds it so.
    (result,) = books.post([], [void("r1")])
    assert (result.withheld, result.reasons) == ("0.00", {"not_enlisted": "-54.00"})
    assert books.ineligible("A") == {}
    (result,) = books.post([hour("r3", cards=8)])
    assert (result.withheld, result.entitled) == ("0.00", "18.00")


def test_where_a_policy_needs_no_enlistment_what_is_not_enlisted_counts_without_a_limit():
    books = Books()
    books.activate(lifted().replace("required = true", "required = false"))
    books.provider(enlisted={"batch": "b", "from": "2025-03-01", "until": "2025-03-02"})
    books.key()
    books.enterprise()
    books.contract("A", max_devices={DEVICE: 8})
    night = parse_instant("2025-02-28T23:00:00+08:00")
    (result,) = books.post([record("r", "A", night, night + 2 * HOUR, 9_000)])
    assert books.entries[-1].fits == [(TODAY - 1, 9_000 * HOUR), (TODAY, 8_000 * HOUR)]
    assert (result.withheld, result.ineligible) == ("4.50", "0.00")
    summed(books)


def summed(books: Books) -> None:
    sums = Sums()
    for number, entry in enumerate(books.entries):
        sums.entry(number, encode(entry))
    sums.finish()


def test_a_record_is_withheld_on_the_days_on_which_its_devices_are_enlisted():
    books = opened(cards=8)
    books.provider(
        "sz", uscc=uscc_of(7), devices={DEVICE: 4}, enlisted=span("2025-02-27", "2025-02-28")
    )
    books.enlist("second", 2, "2025-03-01", "2025-03-02", "sz")
    books.key("sz-1", "sz")
    books.contract("Z", provider="sz", max_devices={})
    first = parse_instant("2025-02-27T23:00:00+08:00")
    body = record("r", "Z", first, first + 26 * HOUR, 5_000)
    (result,) = books.post([body], provider="sz", keyid="sz-1")
    usage, days = books.entries[-1], [day_of(first), day_of(first) + 2]
    assert usage.fits == [(days[0], 4_000 * HOUR), (days[1], 2_000 * HOUR)]
    assert usage.withheld == [(days[0], 1_000 * HOUR), (days[1], 3_000 * HOUR)]
    assert (result.withheld, result.reasons) == ("18.00", {"not_enlisted": "540.00"})
    assert (result.cost, result.entitled) == ("585.00", "13.50")


def span(starts: str, ends: str) -> dict[str, str]:
    return {"batch": "first", "from": starts, "until": ends}


def test_withheld_is_told_by_the_day_in_which_it_was():
    books = opened(cards=1)
    books.at("2026-01-02T00:00:00+08:00")
    new_year = parse_instant("2026-01-01T00:00:00+08:00")
    books.post([record("r1", "A", new_year - 1800, new_year + 1800, 3000)])
    last_day = day_of(new_year) - 1
    assert books.entries[-1].withheld == [(last_day, 2000 * 1800), (last_day + 1, 2000 * 1800)]
    assert [books.share("A", year).withheld for year in (2025, 2026)] == [2000 * 1800 * 45_000] * 2


def test_evidence_has_a_bounded_number_of_runs_and_the_last_takes_the_rest():
    books = opened(cards=1)
    # Every second quarter of a day is full.
    books.post(
        record(f"r{q}", "A", EIGHT + q * 1800, EIGHT + q * 1800 + 900, 1000) for q in range(-24, 0)
    )
    books.post([record("all", "A", EIGHT - DAY // 2, EIGHT, 1000)])
    usage = books.entries[-1]
    assert len(usage.evidence) == 16
    assert sum(part[3] for part in usage.evidence) == sum(part for _, part in usage.withheld)
    assert usage.evidence[-1][2] == (EIGHT - 900) * MICROSECONDS


# Void and release


def test_evidence_goes_on_while_the_limit_does_and_no_quarter_is_left_out():
    withheld = [
        Withheld(0, 2, 5, "contract"),
        Withheld(2, 1, 7, "contract"),
        Withheld(3, 1, 7, "provider"),
        Withheld(5, 1, 7, "provider"),
    ]
    minute = 60 * MICROSECONDS
    assert evidence_of(withheld) == [
        ("contract", 0, 45 * minute, 17),
        ("provider", 45 * minute, 60 * minute, 7),
        ("provider", 75 * minute, 90 * minute, 7),
    ]


def test_a_void_frees_only_what_was_in_use():
    books = opened(cards=8)
    books.post([hour("r1", cards=6), hour("r2", cards=6)])
    books.post([], [void("r2")])
    (result,) = books.post([hour("r3", cards=3)])
    assert result.withheld == "4.50"


def test_a_void_takes_the_withheld_figure_back():
    books = opened(cards=8)
    books.post([hour("r1", cards=12)])
    (result,) = books.post([], [void("r1")])
    assert (result.cost, result.withheld, result.entitled) == ("-54.00", "-18.00", "-18.00")
    assert books.share("A", 2025).withheld == 0


def test_a_release_lets_the_whole_record_count_and_use_more_than_there_is():
    books = opened(cards=8)
    books.post([hour("r1", cards=12)])
    books.release("r1")
    assert books.coupon(2025).granted == 27_00
    assert books.share("A", 2025).withheld == 0
    (result,) = books.post([hour("r2", cards=1)])
    assert result.withheld == "4.50"


def test_a_released_record_takes_room_until_it_is_voided():
    books = opened(cards=8)
    books.post([hour("r1"), hour("r2")])
    books.release("r2")
    books.post([], [void("r1")])
    (while_released,) = books.post([hour("r3")])
    assert while_released.withheld == "36.00"
    books.post([], [void("r2")])
    (afterwards,) = books.post([hour("r4")])
    assert afterwards.withheld == "0.00"


def test_a_void_after_a_release_leaves_nothing_behind():
    books = opened(cards=8)
    books.post([hour("r1", cards=12)])
    books.release("r1")
    books.post([], [void("r1")])
    share = books.share("A", 2025)
    assert (share.withheld, share.entitled, share.granted) == (0, 0, 0)
    assert books.eligible("A", 2025) == 0
    assert figures(books.state)["records"]["in_use"] == {}


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda _: None, "unknown_record"),
        (lambda books: books.post([hour("r1", cards=8)]), "nothing_withheld"),
        (
            lambda books: (books.post([hour("r1", cards=9)]), books.release("r1")),
            "already_released",
        ),
        (lambda books: (books.post([hour("r1", cards=9)]), books.void("r1")), "already_voided"),
    ],
)
def test_only_a_standing_record_with_a_withheld_part_can_be_released_and_only_once(prepare, code):
    books = opened(cards=8)
    prepare(books)
    with pytest.raises(Problem) as caught:
        books.release("r1")
    assert caught.value.code == code


def test_a_release_gives_nothing_outside_the_window_in_which_usage_is_eligible():
    books = opened(cards=8, starts="2025-03-02")
    books.post([hour("r1", cards=12)])
    books.release("r1")
    assert books.coupon(2025).entitled == 0
    assert books.share("A", 2025).withheld == 0
    assert books.ineligible("A") == {"outside_term": 12_000 * HOUR * 45_000}


# Enlistments


def test_a_further_enlistment_adds_its_devices_while_it_is_in_force():
    books = opened(cards=8)
    books.enlist("2025-2", 4, "2025-03-01", "2025-03-02")
    (result,) = books.post([hour("r1", cards=12)])
    assert result.withheld == "0.00"
    (result,) = books.post([hour("r2", cards=12, start=EIGHT - DAY)])
    assert result.withheld == "18.00"


@pytest.mark.parametrize(
    ("midnight", "outside"), [("2025-02-28", (-HOUR, 0)), ("2025-03-01", (0, HOUR))]
)
def test_a_further_enlistment_counts_from_its_first_midnight_to_its_last(midnight, outside):
    books = opened(cards=8)
    books.enlist("2025-2", 4, "2025-02-28", "2025-03-01")
    edge = parse_instant(f"{midnight}T00:00:00+08:00")
    books.post([record("r1", "A", edge - HOUR, edge + HOUR, 12_000)])
    begin, end = ((edge + seconds) * MICROSECONDS for seconds in outside)
    assert books.entries[-1].evidence == [("provider", begin, end, 4000 * HOUR)]


def test_slices_of_a_card_are_devices_of_a_kind_with_a_price_and_room_of_their_own():
    card, slice_ = "a100-80g", "a100-80g.1g.10gb"
    books = opened(prices={card: "4.50", slice_: "0.65"})
    books.enlist("cut", {card: 14, slice_: 14}, "2025-01-01", "2025-03-01")
    # At the first of March one of the two cut cards is whole again.
    books.enlist("cut-later", {card: 15, slice_: 7}, "2025-03-01", "2026-01-01")

    def slices_at(id_: str, start: int, count: int, hours: int = 1):
        body = record(id_, "A", start, start + hours * HOUR, count * 1_000, device=slice_)
        return books.post([body])[0]

    result = slices_at("three", EIGHT, 3, 2)
    assert (result.cost, result.entitled, result.withheld) == ("3.90", "1.95", "0.00")
    assert slices_at("four", EIGHT, 4).withheld == "0.00"
    assert slices_at("eighth", EIGHT, 1).withheld == "0.65"
    assert slices_at("before", EIGHT - DAY, 14).withheld == "0.00"
    whole = books.post([record("cards", "A", EIGHT, EIGHT + HOUR, 15_000, device=card)])[0]
    assert (whole.cost, whole.withheld) == ("67.50", "0.00")


def test_an_enlistment_can_be_ended_and_what_was_accepted_stays_as_it_was():
    books = opened(cards=8)
    books.enlist("2025-2", 4, "2025-01-01", "2027-01-01")
    books.post([hour("r1", cards=12)])
    books.enlist("2025-2", 4, "2025-01-01", "2025-02-01")
    assert books.coupon(2025).granted == 27_00
    (result,) = books.post([hour("r2", cards=12, start=EIGHT - HOUR)])
    assert result.withheld == "18.00"


def test_the_same_enlistment_twice_is_there_already_and_another_under_its_name_is_refused():
    books = opened(cards=8)
    number = books.enlist("2025-2", 4, "2025-01-01", "2027-01-01")
    assert books.enlist("2025-2", 4, "2025-01-01", "2027-01-01") == number
    with pytest.raises(Problem, match="exists_differently"):
        books.enlist("2025-2", 5, "2025-01-01", "2027-01-01")
    with pytest.raises(Problem, match="exists_differently"):
        books.enlist("2025-2", 4, "2025-01-02", "2027-01-01")
    with pytest.raises(Problem, match="bad_dates"):
        books.enlist("2025-3", 4, "2025-01-02", "2025-01-02")


# Properties


@properties
@given(
    st.lists(
        st.tuples(st.integers(-40, 40), st.integers(1, 40), st.integers(1, 9000), st.booleans()),
        max_size=12,
    )
)
def test_never_more_in_use_than_there_is_and_every_entry_can_be_replayed(work):
    books = opened(cards=8, max_devices={DEVICE: 6})
    for i, (start, length, milli_devices, voided) in enumerate(work):
        begin = EIGHT + start * 300
        books.post([record(f"r{i}", "A", begin, begin + length * 300, milli_devices)])
        if voided:
            books.post([], [void(f"r{i}")])
    for (limit, _, _), use in books.state.in_use.items():
        cards = 8 if limit == "provider" else 6
        for day in use.days.values():
            assert all(0 <= used <= cards * 1000 * QUARTER_SECONDS for used in day)
    for standing in books.state.records.values():
        usage = standing.usage
        withheld = sum(run.total for run in standing.withheld)
        assert sum(part for _, part in usage.fits) + withheld == usage.device_time
    replayed = State()
    for entry in books.entries:
        evolve(replayed, entry)
    assert figures(replayed) == figures(books.state)


SPANS = st.tuples(st.integers(-(10**5), 10**6), st.integers(1, 3 * 10**5), st.integers(1, 10**6))


def quarters_of(*spans: tuple[int, int, int]) -> Counter[int]:
    total: Counter[int] = Counter()
    for start, seconds, milli_devices in spans:
        total.update(dict(quarters(start, start + seconds, milli_devices)))
    return total


def quarters_in(in_use: DeviceTime) -> Counter[int]:
    return Counter(
        {
            day * QUARTERS_PER_DAY + place: time
            for day, times in in_use.days.items()
            for place, time in enumerate(times)
            if time
        }
    )


def test_the_days_that_changed_are_known_until_they_are_taken():
    in_use = DeviceTime()
    assert (in_use.at(QUARTER), in_use.touched) == (0, set())
    in_use.add(day_parts(2 * DAY - HOUR, 2 * DAY + HOUR), 1)
    assert in_use.touched == {1, 2}
    in_use.touched.clear()
    in_use.add_in(4 * QUARTERS_PER_DAY - 1, 2, -1)
    assert in_use.touched == {3, 4}
    assert {len(in_use.day(number)) for number in range(5)} == {QUARTERS_PER_DAY}


def test_what_fits_to_the_last_thousandth_of_a_second_is_taken_and_one_more_is_withheld():
    quarter = (EIGHT, EIGHT + 900)
    assert take([Room("provider", steady(8), DeviceTime())], *quarter, 8_000)
    in_use = DeviceTime()
    in_use.add(day_parts(EIGHT, EIGHT + 1), 1)
    room = Room("provider", steady(8), in_use)
    assert not take([room], *quarter, 8_000)
    assert [part.device_time for part in withhold(*quarter, 8_000, [room])] == [1]
    assert in_use.at(EIGHT // 900) == 1


@properties
@given(SPANS, SPANS, st.integers(0, 3 * 10**3))
def test_what_is_taken_fits_and_what_is_in_use_is_what_the_quarters_add_up_to(first, second, count):
    in_use = DeviceTime()
    in_use.add(day_parts(first[0], first[0] + first[1]), first[2])
    assert quarters_in(in_use) == quarters_of(first)
    start, seconds, milli_devices = second
    room = Room("provider", steady(count), in_use)
    withheld = withhold(start, start + seconds, milli_devices, [room])
    if take([room], start, start + seconds, milli_devices):
        assert withheld == []
        assert quarters_in(in_use) == quarters_of(first, second)
        in_use.add(day_parts(start, start + seconds), -milli_devices)
    else:
        assert first[2] + milli_devices > count * 1_000
    assert quarters_in(in_use) == quarters_of(first)


@properties
@given(
    SPANS,
    st.lists(SPANS, max_size=4),
    st.integers(0, 3 * 10**3),
    st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 9), st.integers(1, 2_000)), max_size=4),
)
def test_withheld_runs_are_what_lacks_room_quarter_by_quarter(wanted, used, rented, enlisted):
    in_use = DeviceTime()
    for start, seconds, milli_devices in used:
        in_use.add(day_parts(start, start + seconds), milli_devices)
    steps = steps_of((day * DAY, (day + long) * DAY, count) for day, long, count in enlisted)
    rooms = [Room("contract", steady(rented), in_use), Room("provider", steps, in_use)]
    start, seconds, milli_devices = wanted
    expected = {}
    for quarter, device_time in quarters(start, start + seconds, milli_devices):
        in_force = sum(size for begin, end, size in steps if begin <= quarter * 900 < end)
        sizes = {"contract": rented * 900_000, "provider": in_force}
        left = {name: max(0, size - in_use.at(quarter)) for name, size in sizes.items()}
        limit = "contract" if left["contract"] <= left["provider"] else "provider"
        if device_time > left[limit]:
            expected[quarter] = device_time - left[limit], limit
    runs = withhold(start, start + seconds, milli_devices, rooms)
    assert {
        quarter: (run.device_time, run.limit)
        for run in runs
        for quarter in range(run.quarter, run.quarter + run.count)
    } == expected
    for before, after in pairwise(runs):
        assert before.quarter + before.count <= after.quarter
        touching = before.quarter + before.count == after.quarter
        same = (before.device_time, before.limit) == (after.device_time, after.limit)
        assert not (touching and same)
    before = quarters_in(in_use)
    for sign in (1, -1):
        for run in runs:
            in_use.add_in(run.quarter, run.count, sign * run.device_time)
        if sign == 1:
            kept = {quarter: device_time for quarter, (device_time, _) in expected.items()}
            assert quarters_in(in_use) == before + Counter(kept)
    assert quarters_in(in_use) == before


@properties
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), max_size=6))
def test_steps_hold_at_each_moment_what_is_then_in_force(enlisted):
    devices = [(min(a, b), max(a, b), count) for a, b, count in enlisted]
    steps = steps_of(devices)
    assert all(before[1] <= after[0] for before, after in pairwise(steps))
    for moment in range(-1, 11):
        in_force = sum(count for start, end, count in devices if start <= moment < end)
        sizes = [size for start, end, size in steps if start <= moment < end]
        assert sum(sizes) == in_force * 900_000


def test_of_two_equal_rooms_the_first_is_named():
    rooms = [
        Room("contract", steady(1), DeviceTime()),
        Room("provider", steps_of([(0, 10**12, 1)]), DeviceTime()),
    ]
    (part,) = withhold(EIGHT, EIGHT + QUARTER_SECONDS, 2_000, rooms)
    assert (part.limit, part.device_time) == ("contract", 900_000)


def test_slices_lose_no_fen_of_what_is_withheld():
    books = opened(cards=1)
    books.post([record("all", "A", EIGHT, EIGHT + 2 * HOUR, 1_000)])
    parts = slices(record("r", "A", EIGHT, EIGHT + 3601, 7_000), 61)
    results = books.post(parts)
    assert sum(Decimal(result.withheld) for result in results) == Decimal("31.50")
    results = [books.post([], [void(part["id"])])[0] for part in parts]
    assert sum(Decimal(result.withheld) for result in results) == Decimal("-31.50")


def test_slices_of_a_minute_withhold_as_much_as_the_whole():
    whole, sliced = opened(cards=8), opened(cards=8)
    whole.post([hour("r", cards=11)])
    sliced.post(slices(hour("r", cards=11), 60))
    assert whole.coupon(2025) == sliced.coupon(2025)
    assert whole.share("A", 2025).withheld == sliced.share("A", 2025).withheld
