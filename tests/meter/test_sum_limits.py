"""Findings of the independent sums that only one of their limits can make."""

from tests.books import DEVICE, Books, lifted, opened, record
from tests.meter.test_awards import POOL, granting, shipped, with_class
from tests.meter.test_policies import sharing
from tests.summing import found, summed, told


def test_other_public_money_is_left_out_of_the_cap_of_a_class():
    ratio = "ratio = 5000 # basis points of the cost of migration and adaptation"
    text = shipped("adaptation").replace(ratio, f'{ratio}\ncap = "40.00"')
    assert text != shipped("adaptation")
    for amount in ("30.00", "30.01"):
        books = Books("2025-03-01T12:00:00+08:00")
        books.activate(text)
        books.budget(2025, POOL, programme="adaptation")
        books.enterprise()
        books.project()
        books.fund("10.00")
        if amount == "30.01":
            with_class(books, "adaptation", "standard", cap=None)
        books.award("A", "adaptation", amount, project="P", base="100.00")
        if amount == "30.00":
            summed(told(books))
    found(books, "sum_award", "award A", "class", "3001", "3000")


def test_an_issue_out_of_a_pool_that_its_owner_has_not_in_that_year_is_found():
    books = Books("2025-03-01T12:00:00+08:00")
    books.activate(lifted(starts="2025-01-01", ends="2027-01-01"))
    books.activate(sharing())
    books.provider()
    books.enterprise()
    books.contract("B", programme="sharing")
    books.issue(2025, "1.00", programme="sharing")
    entries = told(books)
    summed(entries)
    owner = next(each for each in entries if each["kind"] == "policy")
    owner["content"] = lifted(starts="2026-01-01", ends="2027-01-01")
    found(entries, "sum_policy", "no policy of training-coupon touches 2025")


def test_usage_before_the_first_day_of_a_price_is_found():
    books = opened(lifted())
    books.contract("A", prices={"other": "1.00"})
    books.supplement("2025-02-01", "A", prices={DEVICE: "2.00"})
    books.post([record("r", "A", "2025-02-01T08:00:00+08:00", "2025-02-01T09:00:00+08:00", 1_000)])
    entries = told(books)
    summed(entries)
    supplement = next(each for each in entries if each["kind"] == "amendment")
    supplement["effective"] = "2025-02-02"
    found(entries, "sum_record", f"A has no price for {DEVICE} on a day of it")


def test_an_award_whose_class_is_both_derived_and_named_or_neither_is_found():
    books = granting("event", "platform")
    books.award("A", "event", "5.00", project="P", base="100.00")
    books.award("B", "platform", "5.00", project="P", base="100.00", named="new")
    entries = told(books)
    summed(entries)
    derived, named = (each for each in entries if each["kind"] == "award")
    derived["class"] = derived["derived"]
    found(entries, "sum_class", "the class of award A")
    del derived["class"]
    summed(entries)
    del named["class"]
    found(entries, "sum_class", "the class of award B")
