"""Findings of the independent sums about contracts, their classes and policies, and records."""

import pytest

from tests.bending import END_OF_2026, found, usage, world
from tests.books import ALPHA, BETA, Books, lifted
from tests.summing import Fields, summed, told


@pytest.mark.parametrize(
    ("uscc", "signed_on", "said"),
    [(ALPHA, "2024-12-01", "startup"), (BETA, "2024-12-01", "standard")],
)
def test_another_ratio_class_is_found(uscc, signed_on, said):
    books = world()
    number = books.contract("Z", enterprise=uscc, signed_on=signed_on)
    *entries, last = told(books)
    found([*entries, last | {"class": said}], "sum_class", "contract Z", said, entry=number)


@pytest.mark.parametrize(
    ("founded_on", "signed_on", "ratio_class"),
    [
        ("2024-02-29", "2025-02-27", "startup"),
        ("2024-02-29", "2025-02-28", "standard"),
        ("2024-12-31", "2025-12-30", "startup"),
        ("2024-12-31", "2025-12-31", "standard"),
        ("2024-06-15", "2025-06-14", "startup"),
        ("2024-06-15", "2025-06-15", "standard"),
    ],
)
def test_an_enterprise_grows_up_on_the_day_of_its_founding(founded_on, signed_on, ratio_class):
    books = Books(END_OF_2026)
    books.activate(lifted())
    books.provider()
    books.enterprise(founded_on=founded_on)
    books.contract("A", signed_on=signed_on)
    assert books.entries[-1].ratio_class == ratio_class
    summed(told(books))


def test_no_university_is_a_startup():
    books = Books(END_OF_2026)
    books.activate(lifted())
    books.provider()
    books.enterprise(founded_on="2024-12-01", applicant="university")
    number = books.contract("A")
    summed(told(books))
    *entries, last = told(books)
    found([*entries, last | {"class": "startup"}], "sum_class", "standard", entry=number)


@pytest.mark.parametrize(
    ("signed_on", "starts", "right", "wrong"),
    [
        ("2025-02-01", "2025-02-01", "next", "test"),  # the newest one
        ("2025-01-31", "2025-03-01", "test", "next"),  # that of the signing
        ("2024-12-01", "2025-02-01", "next", "test"),  # the first one in the term
        ("2024-12-01", "2025-01-31", "test", "next"),
        ("2024-12-01", "2024-12-01", "test", "next"),
    ],
)
def test_a_contract_under_another_policy_than_that_of_its_dates_is_found(
    signed_on, starts, right, wrong
):
    books = world()
    books.activate(lifted(version="next", starts="2025-02-01", ends="2026-12-18"))
    number = books.contract("Z", signed_on=signed_on, starts=starts)
    *entries, last = told(books)
    assert last["policy"] == right
    found([*entries, last | {"policy": wrong}], "sum_policy", wrong, right, entry=number)


def test_a_contract_without_a_policy_is_found():
    books = world()
    number = books.contract("Z")
    *entries, last = told(books)
    outside = last | {"signed_on": "2027-01-01", "from": "2026-12-18"}
    found([*entries, outside], "sum_policy", "test", "no policy", entry=number)


def test_contracts_keep_the_policy_under_which_they_were_registered():
    books = world()
    books.activate(lifted(version="next", standard=4_000, combined_standard=4_000))
    books.contract("Z", amount="1000.00")
    books.post([usage("a"), usage("z", "Z")])
    assert [books.share(name, 2025).entitled for name in "AZ"] == [2_250, 1_800]
    summed(told(books))


def test_a_record_that_counts_twice_is_found():
    books = world()
    books.post([usage("a")])
    books.state.records.clear()
    books.post([usage("a")])
    found(books, "sum_record", "record a of pcl", entry=len(books.entries) - 1)


def test_a_record_without_a_price_is_found():
    books = world()
    books.post([usage("a")])
    *entries, last = told(books)
    found([*entries, last | {"device": "other"}], "sum_record", "no price", entry=len(entries))


def voided(books: Books) -> list[Fields]:
    books.post([usage("a"), usage("b")])
    books.void("a")
    return told(books)


def test_a_record_voided_twice_is_found():
    entries = voided(world())
    found([*entries, entries[-1]], "sum_record", "record a of pcl", entry=len(entries))


@pytest.mark.parametrize(
    "lie", [{"id": "unknown"}, {"provider": "sz"}, {"record": 15}, {"contract": "B"}]
)
def test_a_void_of_another_record_is_found(lie):
    *entries, last = voided(world())
    found([*entries, last | lie], "sum_record", entry=len(entries))


def test_a_voided_id_stays_used():
    books = world()
    entries = voided(books)
    usage_again = next(fields for fields in entries if fields["kind"] == "usage")
    found([*entries, usage_again], "sum_record", "counts already", entry=len(entries))
