"""What a supplement adds to a startup's contract, judged by what is known when it is made."""

from copy import deepcopy

from meter.rules.kinds import amendments
from tests.books import BETA, DEVICE, Books, lifted, opened
from tests.meter.test_amendments import NOW, refused
from tests.summing import found, replayed, summed


def startup() -> Books:
    """Return books with A, a contract of a firm that is a startup until 2026-01-01."""
    books = opened(lifted(), now=NOW)
    books.enterprise(BETA, founded_on="2025-01-01")
    books.contract("A", enterprise=BETA, signed_on="2025-06-01", starts="2025-06-01")
    books.supplement("2025-10-01", amount="1200000.00", ends="2027-02-01", signed_on="2025-10-01")
    return books


def test_what_a_startup_added_stays_whatever_becomes_known_of_the_firm_later():
    books = startup()
    books.amend_enterprise(BETA, founded_on="2024-08-01")  # a startup until 2025-08-01
    late = {"signed_on": "2026-02-01"}
    books.supplement("2026-03-01", prices={DEVICE: "4.00"}, **late)
    books.supplement("2026-03-01", amount="1200000.00", ends="2027-02-01", **late)
    books.supplement("2025-07-01", amount="1100000.00", signed_on="2025-07-31")
    books.correct(prices={DEVICE: "4.40"})
    for signed_on in ("2025-08-01", "2026-02-01"):
        more = {"amount": "1200000.01", "signed_on": signed_on}
        refused("class_changed", books.supplement, "2026-04-01", **more)
        refused("class_changed", books.supplement, "2026-03-01", **more)
    summed(books)
    replayed(books)
    assert books.state.contracts["A"].agreed.amount == 120_000_000


def test_what_was_added_is_judged_anew_with_another_class():
    books = opened(lifted(), now=NOW)
    books.enterprise(BETA, founded_on="2020-01-01")
    books.contract("A", enterprise=BETA, signed_on="2025-03-01", starts="2025-03-01")
    books.supplement("2025-10-01", amount="1200000.00", signed_on="2025-10-01")
    books.amend_enterprise(BETA, founded_on="2024-08-01")  # a startup until 2025-08-01
    books.supplement("2025-10-01", prices={DEVICE: "4.00"}, signed_on="2025-10-01")
    refused("class_changed", books.correct, prices={DEVICE: "4.40"})
    books.amend_enterprise(BETA, founded_on="2024-10-02")
    books.correct(prices={DEVICE: "4.40"})
    assert books.state.contracts["A"].agreed.ratio_class == "startup"
    summed(books)
    replayed(books)


def test_of_a_day_a_supplement_adds_what_is_more_than_the_one_it_replaces():
    books = startup()
    late = {"signed_on": "2026-02-01"}
    books.supplement("2025-10-01", amount="1100000.00", **late)  # 1,000,000.00 the day before
    refused("class_changed", books.supplement, "2025-10-01", amount="1100000.01", **late)
    books.supplement("2025-10-01", amount="900000.00", **late)
    refused("class_changed", books.supplement, "2025-10-01", amount="1000000.01", **late)
    books.supplement("2025-10-01", amount="1000000.00", **late)
    summed(books)


# The independent sums


def test_the_sums_find_what_is_added_by_facts_that_became_known_before(monkeypatch):
    books = startup()
    books.amend_enterprise(BETA, founded_on="2024-08-01")
    monkeypatch.setattr(amendments, "_check_class", lambda *_: None)  # a dishonest writer
    twin = deepcopy(books)
    twin.supplement("2026-03-01", prices={DEVICE: "4.00"}, signed_on="2026-02-01")
    summed(twin)
    for changes in ({"amount": "1200000.01"}, {"ends": "2027-02-02"}):
        twin = deepcopy(books)
        twin.supplement("2026-03-01", signed_on="2025-09-01", **changes)
        found(twin, "sum_class")


def test_the_sums_find_what_is_added_to_another_class(monkeypatch):
    books = opened(lifted(), now=NOW)
    books.enterprise(BETA, founded_on="2020-01-01")
    books.contract("A", enterprise=BETA, signed_on="2025-03-01", starts="2025-03-01")
    books.supplement("2025-10-01", amount="1200000.00", signed_on="2025-10-01")
    books.amend_enterprise(BETA, founded_on="2024-08-01")
    monkeypatch.setattr(amendments, "_check_class", lambda *_: None)
    books.correct(prices={DEVICE: "4.40"})
    found(books, "sum_class")
