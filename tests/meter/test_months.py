"""Months of the ledger: what each booked, its closing, and the lists that follow it."""

import random
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.canon import encode
from meter.auditor.sum_months import Stream
from meter.rules.entries import MonthClosed, MonthListed
from meter.rules.kinds.months import MAX_LINES
from meter.rules.month_book import Numbers
from tests.auditing import audited
from tests.auditing import found as found_by_audit
from tests.books import BETA, Books, lifted, opened, properties, record, void
from tests.commanding import refusal
from tests.meter.test_award_claims import claimable
from tests.summing import found, summed, told
from tests.writer import Writer

FEBRUARY = "2025-02-10T12:00:00+08:00"
MARCH = "2025-03-10T12:00:00+08:00"
LAST_OF_MARCH = "2025-03-31T23:59:59+08:00"
APRIL = "2025-04-01T00:00:00+08:00"
LATER = "2025-04-10T12:00:00+08:00"


def hour(id_: str, day: str, contract: str = "A", devices: int = 64_000):
    return record(id_, contract, f"{day}T08:00:00+08:00", f"{day}T09:00:00+08:00", devices)


def used(books: Books | None = None) -> Books:
    """Return books of three months: 144.00 granted in March, some of it for February's use."""
    books = opened(lifted(), now=FEBRUARY) if books is None else books
    books.enterprise(BETA)
    books.contract("A")
    books.contract("B", enterprise=BETA)
    books.issue(2025, "1000.00")
    books.at(MARCH)
    books.post([hour("r1", "2025-03-09"), hour("late", "2025-02-27", "B")])
    books.at(LAST_OF_MARCH)
    books.post([hour("r2", "2025-03-31")])
    books.at(APRIL)
    return books


def written() -> Writer:
    """Return a writer with what `opened` has."""
    writer = Writer(FEBRUARY)
    writer.activate(lifted())
    writer.provider()
    writer.key()
    writer.enterprise()
    return writer


def lines(books: Books) -> list[tuple[str, int, int]]:
    return [line for each in books.entries if isinstance(each, MonthListed) for line in each.items]


def closing(books: Books) -> MonthClosed:
    return next(each for each in reversed(books.entries) if isinstance(each, MonthClosed))


def test_a_month_is_closed_with_what_its_entries_booked_whatever_their_day_of_service():
    books = used()
    books.post([hour("r3", "2025-03-30")])  # booked in April
    books.close_month("2025-02")
    number = books.close_month("2025-03")
    march = closing(books)
    assert (march.booked_cost, march.booked_granted, march.items) == (86_400, 28_800, 2)
    assert (march.gaps, march.parts) == (0, 1)
    listed = books.entries[number + 1]
    assert isinstance(listed, MonthListed)
    assert (listed.closing, listed.provider) == (number, "pcl")
    assert listed.items == [("A", 57_600, 28_800), ("B", 28_800, 0)]
    first, last = books.entries[march.first], books.entries[march.end - 1]
    assert first.kind == "batch"
    assert [each.id for each in books.entries[march.first : march.end] if each.kind == "usage"] == [
        *("r1", "late", "r2")
    ]
    assert last.id == "r2"
    summed(told(books))


def test_a_correction_lands_in_the_month_that_runs_and_changes_no_closed_one():
    books = used()
    books.close_month("2025-02")
    books.close_month("2025-03")
    before = encode(closing(books))
    books.at(LATER)
    books.post(voids=[void("r1")])
    books.void("late")
    books.at("2025-05-01T00:00:00+08:00")
    books.close_month("2025-04")
    april = closing(books)
    assert lines(books)[-2:] == [("A", -28_800, -14_400), ("B", -28_800, 0)]
    assert (april.booked_cost, april.booked_granted) == (-57_600, -14_400)
    assert before in map(encode, books.entries)
    summed(told(books))


def test_the_months_add_up_to_what_all_contracts_and_awards_came_to():
    books = used()
    books.activate(claimable("open-source"))
    books.budget(2025, "5000.00", programme="open-source")
    books.award("W", "open-source", "500.00")
    books.at("2025-05-01T00:00:00+08:00")
    for month in ("2025-02", "2025-03", "2025-04"):
        books.close_month(month)
    sums = {}
    for name, cost, granted in lines(books):
        held = sums.get(name, (0, 0))
        sums[name] = held[0] + cost, held[1] + granted
    assert sums == {"A": (57_600, 28_800), "B": (28_800, 0), "W": (0, 50_000)}
    of_awards = [each for each in books.entries if isinstance(each, MonthListed) and each.items]
    assert [encode(each).count(b'"provider"') for each in of_awards] == [1, 0]
    summed(told(books))


def test_a_month_is_closed_once_after_it_ended_and_those_before_it():
    books = used()
    books.at(LAST_OF_MARCH)
    assert refusal(books.close_month, "2025-03").detail == "2025-02 is not closed yet"
    books.close_month("2025-02")
    problem = refusal(books.close_month, "2025-03")
    assert (problem.code, problem.detail) == ("month_open", "2025-03 is not over")
    assert refusal(books.close_month, "2025-05").code == "unknown_month"
    assert refusal(books.close_month, "2025-01").code == "unknown_month"
    books.at(APRIL)
    number = books.close_month("2025-03")
    assert books.close_month("2025-03", reason="asked twice") == number
    assert refusal(books.close_month, "2025-03", "op").code == "exists_differently"
    with pytest.raises(ValueError, match="month"):
        books.close_month("2025-13")


def test_the_first_entry_after_a_month_may_be_its_closing():
    books = used()
    size = len(books.entries)
    books.close_month("2025-02")
    books.close_month("2025-03")
    assert closing(books).end == size
    summed(told(books))


def test_a_month_with_gaps_closes_only_where_a_person_answers_for_them():
    books = used()
    books.post([], seq=9)
    books.post([], seq=6, stream="s2")
    problem = refusal(books.close_month, "2025-02")
    assert problem.code == "gaps_open"
    assert problem.detail == "pcl stream 'main' lacks 3 to 8; a waiver is needed"
    assert refusal(books.close_month, "2025-02", "nobody").code == "unknown_person"
    books.post([], seq=5)
    number = books.close_month("2025-02", "op")
    assert closing(books).gaps == 3
    assert books.entries[number + 1].gaps == [("main", 3, 4), ("main", 6, 8), ("s2", 1, 5)]
    for seq in (3, 4, 6, 7, 8):
        books.post([], seq=seq)
    for seq in (1, 2, 3, 4, 5):
        books.post([], seq=seq, stream="s2")
    books.close_month("2025-03")
    assert closing(books).gaps == 0
    summed(told(books))


def test_many_lines_need_several_lists_each_of_which_fits_into_an_entry():
    books = used()
    name = "s" * 64
    for at in range(MAX_LINES + 1):
        books.post([], seq=2 * at + 2, stream=name)
    number = books.close_month("2025-02", "op")
    assert (closing(books).parts, closing(books).gaps) == (2, MAX_LINES + 1)
    first, second = books.entries[number + 1 : number + 3]
    assert (len(first.gaps), second.gaps) == (MAX_LINES, [(name, 501, 501)])
    longest = deepcopy(first)
    longest.gaps[:] = [(name, 2**53 - 1, 2**53 - 1)] * MAX_LINES
    longest.items[:] = [("c" * 64, -(2**53 - 1), -(2**53 - 1))] * MAX_LINES
    assert len(encode(longest)) < 65_535
    summed(told(books))


@pytest.mark.parametrize(
    "lie",
    [
        lambda entry, _: entry.update(booked_cost=entry["booked_cost"] + 1),
        lambda entry, _: entry.update(booked_granted=0),
        lambda entry, _: entry.update(first=entry["first"] + 1),
        lambda entry, _: entry.update(end=entry["end"] - 1),
        lambda entry, _: entry.update(gaps=0),
        lambda entry, _: entry.update(items=1),
        lambda entry, _: entry.update(month="2025-02"),
        lambda entry, _: entry.pop("waiver"),
        lambda _, listed: listed["items"][0].__setitem__(1, 57_601),
        lambda _, listed: listed["items"].pop(),
        lambda _, listed: listed["gaps"].pop(),
        lambda _, listed: listed["gaps"][0].__setitem__(2, 7),
        lambda _, listed: listed.update(booked_cost=0),
        lambda _, listed: listed.update(provider="nebula"),
        lambda _, listed: listed.update(closing=3),
    ],
)
def test_the_sums_find_a_closing_that_the_postings_do_not_give(lie):
    books = used()
    books.post([], seq=9)
    books.close_month("2025-02", "op")
    number = books.close_month("2025-03", "op")
    entries = told(books)
    summed(entries)
    lie(entries[number], entries[number + 1])
    found(entries, "sum_month")


def test_the_sums_find_a_list_that_is_missing_or_comes_from_nowhere():
    books = used()
    books.close_month("2025-02")
    number = books.close_month("2025-03")
    entries = told(books)
    found(entries[: number + 1], "sum_month")
    found([*entries[: number + 1], entries[3], *entries[number + 1 :]], "sum_month")
    found([*entries, entries[number + 1]], "sum_month")


def test_an_audit_decides_a_closing_again():
    writer = used(written())
    writer.post([], seq=9)
    writer.close_month("2025-02", "op")
    writer.close_month("2025-03", "op")
    report, _ = audited(writer)
    assert report.findings == []


def test_an_audit_finds_a_list_that_is_not_as_decided():
    writer = used(written())
    writer.close_month("2025-02")
    writer.tell = lambda _, entry: (
        replace(entry, items=[]) if isinstance(entry, MonthListed) else entry
    )
    with found_by_audit(writer, "not_as_decided", "items", after=1):
        writer.close_month("2025-03")


@properties
@given(st.lists(st.integers(1, 30), max_size=40))
def test_numbers_are_those_that_no_fill_took_in_any_order(taken):
    numbers = Numbers()
    for number in taken:
        numbers.fill(number)
    left = {number for first, last, _ in numbers.gaps for number in range(first, last + 1)}
    assert numbers.last == max(taken, default=0)
    assert left == set(range(1, numbers.last + 1)) - set(taken)
    assert numbers.gaps == sorted(numbers.gaps)
    assert all(a[1] + 1 < b[0] for a, b in zip(numbers.gaps, numbers.gaps[1:], strict=False))


@properties
@given(st.lists(st.integers(1, 30), max_size=40))
def test_the_sums_miss_the_same_numbers(taken):
    numbers, stream = Numbers(), Stream()
    for number in taken:
        numbers.fill(number)
        stream.take(number)
        assert stream.missing == [gap[:2] for gap in numbers.gaps]


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_misses_the_numbers_that_did_not_come(seed):
    choose = random.Random(seed)
    numbers = choose.sample(range(1, 60), choose.randint(1, 50))
    stream = Numbers()
    for at, number in enumerate(numbers, 1):
        stream.fill(number, at)
        came = numbers[:at]
        missing = set(range(1, max(came))) - set(came)
        found = {n for first, last, _ in stream.gaps for n in range(first, last + 1)}
        assert found == missing
        for first, last, since in stream.gaps:
            # As long as possible, and since the first later number came.
            assert first - 1 in {0, *came}
            assert numbers[since - 1] > last
            assert all(number < first for number in numbers[: since - 1])
