"""Findings of the independent sums that only one of their limits can make."""

import re
from datetime import date, timedelta

import pytest

from meter.values.units import parse_instant
from tests.awarding import POOL, granting, shipped, with_class
from tests.books import DEVICE, Books, lifted, opened, record
from tests.commanding import refusal
from tests.desk import Desk
from tests.meter.test_policies import sharing
from tests.papers import PATIENT
from tests.summing import Fields, found, summed, told


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


def one_more(entry: Fields) -> None:
    """Let an entry, and each of its postings, give a fen more."""
    entry["amount"] += 1
    entry["postings"] = [[*names, fen + 1] for *names, fen in entry["postings"]]


@pytest.mark.parametrize(
    ("programme", "year", "most"),
    [
        ("open-source", 2026, "400000.00"),
        ("hardware", 2025, "2400000.00"),
        ("hardware", 2026, "3000000.00"),
    ],
)
def test_awards_of_a_firm_share_the_cap_of_a_year_or_of_all_years(programme, year, most):
    books = granting(programme)
    books.award("A", programme, "600000.00")
    books.award("B", programme, most, year=year)
    entries = told(books)
    summed(entries)
    one_more(entries[-1])
    found(entries, "sum_award", "award B", "the cap")


def test_as_much_national_as_provincial_money_has_a_ceiling_too():
    books = granting("event")
    books.fund("10.00", reference="1", level="national")
    books.fund("10.00", reference="2", level="provincial")
    books.audit("100.00")
    books.award("A", "event", "100.00", project="P", base="1000.00")
    entries = told(books)
    summed(entries)
    one_more(entries[-1])
    found(entries, "sum_project", "10001", "10000")


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


def left_out(*figures: str) -> str:
    """Return a policy without some figures of its claims, which have defaults."""
    head, section = PATIENT.split("\n[claims]")
    for name in figures:
        section, found_ = re.subn(rf"\n{name} = .*", "", section, count=1)
        assert found_ == 1
    return f"{head}\n[claims]{section}"


def test_a_year_without_a_figure_is_claimed_for_until_july():
    books = opened(left_out("months"))
    books.at("2026-06-30T23:59:59+08:00")
    assert refusal(books.close, 2025).code == "year_open"
    books.at("2026-07-01T00:00:00+08:00")
    books.close(2025)
    entries = told(books)
    summed(entries)
    entries[-1]["at"] -= 1
    found(entries, "sum_year", "claims for training-coupon 2025 are open")


def test_a_notice_without_a_figure_lasts_seven_days():
    desk = Desk(left_out("notice_days", "months"), A="1000000.00")
    desk.claimed("400000.00")
    desk.pay()
    entries = told(desk.books)
    summed(entries)
    notice = next(each for each in entries if each["kind"] == "notice")
    until = date.fromisoformat(notice["until"]) - timedelta(1)
    notice["until"] = until.isoformat()
    found(entries, "sum_notice", "before the end of a notice")


def test_an_award_on_the_day_on_which_its_age_ends_is_found():
    books = Books("2025-03-31T23:59:59+08:00")
    books.activate(shipped("returnee"))
    books.enterprise(founded_on="2021-04-01")
    books.budget(2025, POOL, programme="returnee")
    books.award("A", "returnee", "1.00", named="third")
    entries = told(books)
    summed(entries)
    entries[-1]["at"] += 1_000_000
    found(entries, "sum_applicant", "has not the age")


def test_a_firm_enters_its_claim_and_ends_it_by_withdrawing_it_alone():
    desk = Desk(A="1000000.00")
    desk.enter()
    desk.end("returned")
    entries = told(desk.books)
    summed(entries)
    (claim,) = (each for each in entries if each["kind"] == "claim")
    claim |= {"by": "of-a-firm", "person": ""}
    summed(entries)
    entries[-1] |= {"by": "of-a-firm", "person": "", "outcome": "withdrawn"}
    summed(entries)
    for outcome in ("returned", "rejected"):
        entries[-1]["outcome"] = outcome
        found(entries, "sum_persons", "of-a-firm is no token of")


def test_what_lacks_the_smallest_part_of_a_fen_costs_no_fen_by_any_terms():
    # 0.4297 an hour, for 479 s of 3.673 devices: 21 fen less 1 of 360,000,000 parts.
    assert 4_297 * 479 * 3_673 == 21 * 360_000_000 - 1
    books = opened(lifted())
    books.contract("A", prices={DEVICE: "0.4297"})
    start = parse_instant("2025-02-01T08:00:00+08:00")
    (result,) = books.post([record("r", "A", start, start + 479, 3_673)])
    assert result.cost == "0.20"
    for terms in ({"related_party": True}, {"related_party": False}, {"use": "inference"}):
        books.correct("A", **terms)
        summed(told(books))


def with_a_record(start: str, end: str) -> list[Fields]:
    """Return the entries of books with one card for a time, which is eligible and has room."""
    books = opened(lifted())
    books.contract("A")
    books.post([record("r", "A", start, end, 1_000)])
    entries = told(books)
    summed(entries)
    return entries


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ({"withheld": [[20_120, 3_600_000]]}, "sum_withheld"),
        ({"withheld_cost": 450}, "sum_withheld"),
        ({"evidence": [["contract", 0, 900_000_000, 900_000]]}, "sum_evidence"),
        ({"ineligible": [["use", 450]]}, "sum_ineligible"),
    ],
)
def test_what_is_told_of_a_record_that_fits_whole_is_found(lie, code):
    *entries, usage = with_a_record("2025-02-01T08:00:00+08:00", "2025-02-01T09:00:00+08:00")
    found([*entries, usage | lie], code, "record r")


@pytest.mark.parametrize("minutes", ["01", "15", "16"])
def test_a_record_across_midnight_that_is_told_of_its_first_day_is_found(minutes):
    end = f"2025-02-02T00:{minutes}:00+08:00"
    *entries, usage = with_a_record("2025-02-01T23:45:00+08:00", end)
    (day, time), (_, more) = usage["fits"]
    assert more == int(minutes) * 60_000
    found([*entries, usage | {"fits": [[day, time + more]]}], "sum_fits", "record r")


def test_records_without_a_batch_add_up_for_the_audit_looks_for_their_batches():
    entries = with_a_record("2025-02-01T08:00:00+08:00", "2025-02-01T09:00:00+08:00")
    summed(each for each in entries if each["kind"] != "batch")
