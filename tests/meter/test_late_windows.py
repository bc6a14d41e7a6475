"""Late windows, and how old a record is."""

import pytest

from meter.values.problems import Problem
from meter.views.decisions import decision_of
from tests.books import Books, lifted, opened, record, void
from tests.summing import checked

HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


def ledger(now: str = "2025-03-02T12:00:00+08:00", lateness: int = 35) -> Books:
    books = opened(lifted(lateness=lateness), now=now)
    books.contract("A")
    books.contract("B")
    return books


def status(books: Books, *bodies: dict, **more: object) -> list[str]:
    results = books.post(bodies, **more)
    return [getattr(each, "code", each.status) for each in results]


def test_usage_on_the_wrong_contract_moves_after_forty_days():
    books = ledger()
    books.issue(2025, "1000.00")
    assert status(books, record("a", "A", *HOUR, 64_000)) == ["accepted"]
    assert (books.granted("A"), books.granted("B")) == (144_00, 0)
    books.at("2025-04-10T09:00:00+08:00")
    right = record("b", "B", *HOUR, 64_000)
    assert status(books, right) == ["too_late"]
    books.late_window("2025-03-01", "2025-03-02", "2025-04-20", "B")
    books.void("a")
    assert status(books, right) == ["accepted"]
    assert (books.granted("A"), books.granted("B")) == (0, 144_00)
    checked(books)


@pytest.mark.parametrize(
    ("start", "end", "taken"),
    [
        ("2025-03-01T00:00:00+08:00", "2025-03-01T01:00:00+08:00", True),
        ("2025-03-01T23:00:00+08:00", "2025-03-02T00:00:00+08:00", True),
        ("2025-02-28T23:59:59+08:00", "2025-03-01T01:00:00+08:00", False),
        ("2025-03-01T23:00:00+08:00", "2025-03-02T00:00:01+08:00", False),
    ],
)
def test_the_whole_interval_lies_in_the_window(start, end, taken):
    books = ledger("2025-05-01T12:00:00+08:00")
    books.late_window("2025-03-01", "2025-03-02", "2025-05-02")
    body = record("a", "A", start, end, 1_000)
    assert status(books, body) == ["accepted" if taken else "too_late"]


def test_a_window_is_of_one_contract_and_closes_at_its_midnight():
    books = ledger("2025-05-01T12:00:00+08:00")
    books.late_window("2025-03-01", "2025-03-02", "2025-05-02")
    assert status(books, record("b", "B", *HOUR, 1_000)) == ["too_late"]
    books.at("2025-05-01T23:59:59+08:00")
    assert status(books, record("a", "A", *HOUR, 1_000)) == ["accepted"]
    books.at("2025-05-02T00:00:00+08:00")
    assert status(books, record("c", "A", *HOUR, 1_000)) == ["too_late"]


def test_a_provider_voids_nothing_by_a_window():
    books = ledger()
    books.post([record("a", "A", *HOUR, 1_000)])
    books.at("2025-05-01T12:00:00+08:00")
    books.late_window("2025-03-01", "2025-03-02", "2025-05-02")
    [result] = books.post(voids=[void("a")])
    assert result.code == "too_late"


def test_the_time_of_a_freeze_makes_no_record_older():
    books = ledger()
    books.at("2025-03-10T00:00:00+08:00").freeze("A")
    books.at("2025-03-20T00:00:00+08:00").unfreeze("A")
    # 35 days after its end, and the ten days of the freeze.
    books.at("2025-04-15T09:00:00+08:00")
    assert status(books, record("a", "A", *HOUR, 1_000)) == ["accepted"]
    assert status(books, record("b", "B", *HOUR, 1_000)) == ["too_late"]
    [result] = books.post(voids=[void("a")])
    assert result.status == "accepted"
    books.at("2025-04-15T09:00:01+08:00")
    assert status(books, record("c", "A", *HOUR, 1_000)) == ["too_late"]
    checked(books)


def test_only_the_part_of_a_freeze_since_the_records_end_counts():
    books = ledger()
    books.at("2025-03-03T00:00:00+08:00").freeze("A")
    books.at("2025-03-13T00:00:00+08:00").unfreeze("A")
    middle = ("2025-03-07T23:00:00+08:00", "2025-03-08T00:00:00+08:00")  # five days before its end
    books.at("2025-04-17T00:00:00+08:00")
    assert status(books, record("a", "A", *middle, 1_000)) == ["accepted"]
    books.at("2025-04-17T00:00:01+08:00")
    assert status(books, record("b", "A", *middle, 1_000)) == ["too_late"]


def test_a_freeze_before_the_records_end_adds_not_a_microsecond():
    books = ledger()
    books.at("2025-03-03T00:00:00+08:00").freeze("A")
    books.at("2025-03-13T00:00:00+08:00").unfreeze("A")
    later = ("2025-03-12T23:00:00+08:00", "2025-03-13T00:00:00+08:00")
    books.at("2025-04-17T00:00:00+08:00")
    assert status(books, record("a", "A", *later, 1_000)) == ["accepted"]
    books.now += 1
    assert status(books, record("b", "A", *later, 1_000)) == ["too_late"]


def test_in_a_freeze_a_record_is_refused_for_the_freeze():
    books = ledger()
    books.at("2025-03-03T00:00:00+08:00").freeze("A")
    books.at("2025-06-01T00:00:00+08:00")
    assert status(books, record("a", "A", *HOUR, 1_000)) == ["contract_frozen"]


def test_windows_that_nobody_can_mean_are_refused():
    books = ledger("2025-05-01T12:00:00+08:00")
    for days, field in (
        (("2025-03-02", "2025-03-02", "2025-06-01"), "until"),
        (("2025-05-02", "2025-05-03", "2025-06-01"), "from"),
        (("2025-03-01", "2025-03-02", "2025-05-01"), "open_until"),
    ):
        with pytest.raises(Problem) as caught:
            books.late_window(*days)
        assert (caught.value.code, caught.value.facts["field"]) == ("bad_dates", field)
    with pytest.raises(Problem) as caught:
        books.late_window("2025-03-01", "2025-03-02", "2025-06-01", "X")
    assert caught.value.code == "unknown_contract"


def test_the_monitor_asks_about_each_window():
    books = ledger("2025-05-01T12:00:00+08:00")
    number = books.late_window("2025-03-01", "2025-03-02", "2025-06-01")
    decision = decision_of(books.state, number, books.entries[number])
    assert "late window of contract A, 2025-03-01 until 2025-03-02" in str(decision)
    assert not decision.is_alarming
