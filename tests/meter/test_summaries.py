"""The summary of a day, and the ledger's own figures beside it."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.rules.entries import DaySummarised
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.rules.summaries import MAX_DIFFERS_NAMED
from meter.values.problems import Problem
from meter.values.units import parse_device_seconds, parse_instant
from meter.views.flags import Question, Questions
from meter.wire.receipt import parse_receipt
from meter.wire.summary import MAX_LINES, SummaryRejected, SummaryTaken, UsageFound
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    Books,
    lifted,
    line,
    properties,
    purchase,
    record,
    runs,
    summary,
    void,
)
from tests.books import (
    DAY as DAY_SECONDS,
)
from tests.meter.test_purchases import shop
from tests.summing import found, summed, told
from tests.writer import Writer, with_receipt

NOW = "2025-03-02T02:00:00+08:00"
DAY = "2025-03-01"
DAYS = ("2025-02-28", "2025-03-01", "2025-03-02", "2025-03-03")
EIGHT = parse_instant("2025-03-01T08:00:00+08:00")
MIDNIGHT = parse_instant("2025-03-02T00:00:00+08:00")
PARTS = ("reported", "refused", "quarantined", "doubtful", "ignored")


def opened(now: str = NOW) -> Books:
    """Return books with contracts A of one enterprise and B of another."""
    books = Books(now)
    books.activate(lifted())
    books.provider()
    books.key()
    books.enterprise()
    books.enterprise(BETA)
    books.contract("A", enterprise=ALPHA)
    books.contract("B", enterprise=BETA)
    return books


def answer(books: Books) -> Any:
    return parse_receipt(books.receipts[-1]).summary


def last(books: Books) -> DaySummarised:
    entry = books.entries[-1]
    assert isinstance(entry, DaySummarised)
    return entry


def hour(id_: str, contract: str = "A", milli: int = 8_000, start: int = EIGHT) -> dict[str, Any]:
    return record(id_, contract, start, start + HOUR, milli)


def check(books: Books) -> None:
    """The independent sums agree, and a replay of the entries alone gives the same usage."""
    summed(told(books))
    state = State()
    for entry in books.entries:
        evolve(state, entry)
    assert state.touched.usage == books.state.touched.usage
    assert state.summaries == books.state.summaries


def test_a_summary_of_what_the_ledger_holds_is_agreed():
    books = opened()
    books.post([hour("a"), hour("b", milli=460), hour("c", "B", 1_000)])
    books.post(summary=summary(DAY, line("A", 2, "30456.000"), line("B", 1, "3600.000")))
    found = [UsageFound("A", DEVICE, 2, "30456.000"), UsageFound("B", DEVICE, 1, "3600.000")]
    entry = last(books)
    assert answer(books) == SummaryTaken("agreed", len(books.entries) - 1, found)
    assert (entry.day, entry.stream, entry.replaces) == (DAY, "main", UNSET)
    assert (entry.records, entry.device_seconds) == (3, "34056.000")
    assert (entry.told_records, entry.told_device_seconds) == (3, "34056.000")
    assert (entry.lines, entry.differing, entry.differs) == (2, 0, [])
    assert entry.scheduler["total"] == (2, 2 * HOUR)
    check(books)


def test_it_counts_what_its_own_batch_brings_and_takes_back():
    books = opened()
    books.post([hour("a")])
    books.post(
        [hour("b", milli=1_000)], [void("a")], summary=summary(DAY, line("A", 1, "3600.000"))
    )
    assert answer(books).status == "agreed"
    check(books)


def test_a_record_counts_on_each_day_that_it_touches_with_its_part_of_the_time():
    books = opened("2025-03-03T02:00:00+08:00")
    books.post([record("night", "A", MIDNIGHT - 1_800, MIDNIGHT + 600, 1_500)])
    books.post(summary=summary(DAY, line("A", 1, "2700.000")))
    assert answer(books).status == "agreed"
    books.post(summary=summary("2025-03-02", line("A", 1, "900.000")))
    assert answer(books).status == "agreed"
    books.post(summary=summary("2025-02-28"))
    assert answer(books) == SummaryTaken("agreed", len(books.entries) - 1, [])
    check(books)


def test_what_differs_is_named_by_both():
    books = opened()
    books.post([hour("a")])
    books.post(summary=summary(DAY, line("A", 2, "28800.000"), line("B", 1, "1.000")))
    entry, nothing = last(books), (0, "0.000")
    assert answer(books).status == "differs"
    assert answer(books).usage == [UsageFound("A", DEVICE, 1, "28800.000")]
    one, told = (1, "28800.000"), (2, "28800.000")
    assert entry.differs == [("A", DEVICE, *one, *told), ("B", DEVICE, *nothing, 1, "1.000")]
    assert (entry.lines, entry.differing) == (2, 2)
    books.post(summary=summary(DAY))
    assert last(books).differs == [("A", DEVICE, *one, *nothing)]
    check(books)


def test_only_the_first_lines_that_differ_are_named():
    books = opened()
    lines = [line("A", 1, "1.000", f"d-{n:03}") for n in range(MAX_DIFFERS_NAMED + 5)]
    books.post(summary=summary(DAY, *reversed(lines)))
    entry = last(books)
    assert (entry.lines, entry.differing) == (len(lines), len(lines))
    assert [each[1] for each in entry.differs] == [f"d-{n:03}" for n in range(MAX_DIFFERS_NAMED)]
    check(books)


def test_each_stream_is_summed_up_by_itself():
    books = opened()
    books.post([hour("a")])
    books.post([hour("b"), hour("c")], stream="other")
    books.post(summary=summary(DAY, line("A", 1, "28800.000")))
    assert answer(books).status == "agreed"
    books.post(summary=summary(DAY, line("A", 2, "57600.000")), stream="other")
    assert answer(books).status == "agreed"
    # A void takes off where the record was, whichever stream it comes by.
    books.post([], [void("b")], summary=summary(DAY, line("A", 1, "28800.000")))
    assert answer(books).status == "agreed"
    books.post(summary=summary(DAY, line("A", 1, "28800.000")), stream="other")
    assert answer(books).status == "agreed"
    check(books)


@pytest.mark.parametrize("by_authority", [True, False])
def test_a_later_summary_names_the_one_that_it_replaces(by_authority):
    books = opened()
    books.post([hour("a"), hour("b")])
    books.post(summary=summary(DAY, line("A", 2, "57600.000")))
    first = len(books.entries) - 1
    if by_authority:
        books.void("a")
    else:
        books.post([], [void("a")])
    books.post(summary=summary(DAY, line("A", 1, "28800.000")))
    assert answer(books).status == "agreed"
    assert (last(books).replaces, answer(books).replaces) == (first, first)
    books.post(summary=summary(DAY, line("A", 1, "28800.000")))
    assert last(books).replaces > first
    check(books)


def test_a_release_changes_no_figure():
    books = opened()
    books.contract("L", max_devices={DEVICE: 4})
    books.post([hour("a", "L")])
    books.post(summary=summary(DAY, line("L", 1, "28800.000")))
    assert answer(books).status == "agreed"
    books.release("a")
    books.post(summary=summary(DAY, line("L", 1, "28800.000")))
    assert answer(books).status == "agreed"
    check(books)


def test_refused_records_and_duplicates_add_nothing():
    books = opened()
    books.post([hour("a"), hour("x", "unknown"), hour("a"), hour("a", milli=1)])
    books.post([hour("a")], stream="other")
    books.post(summary=summary(DAY, line("A", 1, "28800.000")))
    assert answer(books).status == "agreed"
    books.post(summary=summary(DAY), stream="other")
    assert answer(books).status == "agreed"
    check(books)


def test_a_day_that_is_not_over_is_refused_and_leaves_no_entry():
    books = opened("2025-03-01T23:59:59+08:00")
    size = len(books.entries)
    books.post([hour("a")], summary=summary(DAY, line("A", 1, "28800.000")))
    assert isinstance(answer(books), SummaryRejected)
    assert answer(books).code == "in_future"
    assert [entry.kind for entry in books.entries[size:]] == ["batch", "usage"]
    books.at("2025-03-02T00:00:00+08:00")
    books.post(summary=summary(DAY, line("A", 1, "28800.000")))
    assert answer(books).status == "agreed"
    check(books)


WRONG = {
    "two lines": ({"usage": [line("A", 1, "1.000")] * 2}, "two lines"),
    "no sum": ({"scheduler": runs(1) | {"total": {"runs": 2, "seconds": HOUR}}}, "not the sum"),
    "no seconds": ({"scheduler": runs(1) | {"total": {"runs": 1, "seconds": 1}}}, "not the sum"),
    "no records": ({"usage": [line("A", 0, "0.000")]}, "records"),
    "few decimals": ({"usage": [line("A", 1, "1.0")]}, "device_seconds"),
    "a number": ({"usage": [line("A", 1, 1)]}, "device_seconds"),  # type: ignore[arg-type]
    "no day": ({"day": "2025-02-30"}, "day"),
    "more": ({"comment": "x"}, "comment"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_summary_of_another_form_is_refused_with_its_batch(name):
    books = opened()
    changes, told = WRONG[name]
    with pytest.raises(Problem, match=told) as refused:
        books.post([hour("a")], summary=summary(DAY) | changes)
    assert refused.value.code == "bad_batch"


def test_lines_count_among_what_a_batch_may_ask_for():
    books = opened()
    lines = [line("A", 1, "1.000", f"d-{n}") for n in range(MAX_LINES)]
    books.post(summary=summary(DAY, *lines))
    assert last(books).lines == MAX_LINES
    with pytest.raises(Problem, match="lines of a summary") as refused:
        books.post([hour("a")], summary=summary(DAY, *lines))
    assert refused.value.code == "too_large"


def test_figures_that_no_number_of_an_entry_can_hold_are_told():
    """A provider may claim what it likes: 10^9 thousandths for a day, more than 2^53 of time."""
    books = opened()
    start = parse_instant("2025-03-01T00:00:00+08:00")
    books.post([record(f"r{n}", "A", start, MIDNIGHT, 10**9) for n in range(120)])
    books.post(summary=summary(DAY, line("A", 120, "10368000000000.000")))
    assert answer(books).status == "agreed"
    assert parse_device_seconds(last(books).device_seconds) > 2**53
    check(books)


def test_what_was_bought_is_in_no_summary():
    books = shop()
    books.sell(purchase("order", "C", "100.00", "2026-05-01"))
    books.at("2026-05-03T00:00:00+08:00")
    books.post((), (), "szdex-1", provider="szdex", summary=summary("2026-05-01"))
    assert answer(books) == SummaryTaken("agreed", len(books.entries) - 1, [])
    check(books)


def asked(books: Books) -> list[Question]:
    questions = Questions(books.state)
    for number, entry in enumerate(books.entries):
        questions.entry(number, entry)
    return questions.found()


def test_a_summary_that_differs_is_asked_about_until_a_newer_one_agrees():
    books = opened()
    books.post([hour("a")])
    books.post(summary=summary(DAY))
    assert asked(books) == [Question("summary_differs", "pcl", (), 1, (len(books.entries) - 1,))]
    books.post(summary=summary(DAY, line("A", 1, "28800.000")))
    assert asked(books) == []


def test_a_day_that_is_left_out_is_asked_about_until_it_comes():
    books = opened("2025-03-05T02:00:00+08:00")
    for day in ("2025-02-28", "2025-03-04"):
        books.post(summary=summary(day))
    first = len(books.entries) - 3
    assert asked(books) == [Question("no_summary", "pcl", (), 3, (first,))]
    books.post(summary=summary("2025-03-02"))
    between = len(books.entries) - 1
    assert asked(books) == [Question("no_summary", "pcl", (), 2, (first, between))]
    for day in ("2025-03-01", "2025-03-03"):
        books.post(summary=summary(day))
    assert asked(books) == []


@pytest.mark.parametrize("stream", ["main", "other"])
def test_a_day_without_a_summary_is_missed_36_hours_after_it_ended(stream):
    books = opened()
    books.post(summary=summary(DAY))
    number = len(books.entries) - 1
    books.at("2025-03-04T11:59:59+08:00").post(stream=stream, seq=2)
    assert asked(books) == []
    books.at("2025-03-04T12:00:00+08:00").post(stream=stream, seq=3)
    assert asked(books) == [Question("no_summary", "pcl", (), 1, (number,))]
    books.at("2025-03-06T13:00:00+08:00").post(stream=stream, seq=4)
    assert asked(books) == [Question("no_summary", "pcl", (), 3, (number,))]


def test_a_stream_that_never_summed_up_a_day_is_not_asked_for_one():
    books = opened()
    books.post([hour("a")])
    books.at("2025-04-01T12:00:00+08:00").post([hour("b", start=EIGHT + 30 * DAY_SECONDS)])
    assert asked(books) == []


LIES = {
    "records": {"records": 3},
    "time": {"device_seconds": "28800.001"},
    "told": {"told_records": 4},
    "told time": {"told_device_seconds": "1.000"},
    "a line more": {"lines": 3},
    "none differs": {"differing": 0, "differs": []},
    "another line": {"differs": [("A", DEVICE, 2, "28800.000", 5, "28800.000")]},
    "an equal line": {"differs": [("A", DEVICE, 1, "28800.000", 1, "28800.000")]},
    "no other line": {"differs": []},
    "an earlier one": {"replaces": 4},
    "another day": {"day": "2025-02-28"},
    "another stream": {"stream": "other"},
    "another total": {"scheduler": dict.fromkeys(PARTS, (0, 0)) | {"total": (1, 0)}},
}


@pytest.mark.parametrize("name", LIES)
def test_the_sums_find_each_figure_that_is_not_the_ledgers(name):
    books = opened()
    books.post([hour("a"), hour("b", "B")])
    books.post(summary=summary(DAY, line("A", 2, "28800.000"), line("B", 1, "28800.000")))
    entries = told(books)
    summed(entries)
    entries[-1] |= LIES[name]
    found(entries, "sum_summary")


def test_the_sums_find_a_summary_that_does_not_name_the_one_before():
    books = opened()
    books.post(summary=summary(DAY))
    books.post(summary=summary(DAY))
    entries = told(books)
    del entries[-1]["replaces"]
    found(entries, "sum_summary", "the entry before it")


def test_an_audit_decides_a_summary_again(tmp_path):
    writer = Writer(NOW)
    writer.activate(lifted())
    writer.provider()
    writer.key()
    writer.enterprise()
    writer.contract("A")
    writer.post([hour("a")])
    writer.post(summary=summary(DAY, line("A", 2, "28800.000")))
    report = verify(writer.export(tmp_path / "good"), writer.verifier, Audit())
    assert report.ok, report.findings
    twin = writer.twin()
    claims = summary(DAY, line("A", 1, "28800.000"))
    twin.tell = lambda _, entry: (
        replace(entry, records=2) if isinstance(entry, DaySummarised) else entry
    )
    twin.post(summary=claims)
    report = verify(twin.export(tmp_path / "entry"), twin.verifier, Audit())
    assert [each.code for each in report.findings] == ["not_as_decided"]
    twin = writer.twin()
    twin.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt["summary"].update(status="differs")
    )
    twin.post(summary=claims)
    report = verify(twin.export(tmp_path / "receipt"), twin.verifier, Audit())
    assert [each.code for each in report.findings] == ["wrong_receipt"]


@properties
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["main", "other"]),
            st.sampled_from(["A", "B", "L"]),
            st.integers(-2 * DAY_SECONDS, DAY_SECONDS - 1),  # its start, before the middle midnight
            st.integers(1, 2 * DAY_SECONDS),
            st.integers(1, 9_000),
            st.booleans(),  # it is taken back
        ),
        max_size=12,
    )
)
def test_figures_are_those_of_the_records_that_stand_by_stream_and_day(drawn):
    books = opened("2025-03-05T02:00:00+08:00")
    books.contract("L", max_devices={DEVICE: 4})
    expected = defaultdict(lambda: [0, 0])
    for number, (stream, contract, start, seconds, milli, is_void) in enumerate(drawn):
        first, end = MIDNIGHT + start, MIDNIGHT + start + seconds
        books.post([record(f"r{number}", contract, first, end, milli)], stream=stream)
        if is_void:
            books.post([], [void(f"r{number}")])
            continue
        for place, day in enumerate(DAYS, -2):
            begin = MIDNIGHT + place * DAY_SECONDS
            part = min(end, begin + DAY_SECONDS) - max(first, begin)
            if part > 0:
                sums = expected[stream, day, contract]
                sums[0] += 1
                sums[1] += part * milli
    for stream in ("main", "other"):
        for day in DAYS:
            lines = [
                line(contract, count, f"{time // 1_000}.{time % 1_000:03}")
                for (by, when, contract), (count, time) in expected.items()
                if (by, when) == (stream, day)
            ]
            books.post(stream=stream, summary=summary(day, *lines))
            assert answer(books).status == "agreed", (stream, day, answer(books), lines)
    check(books)
