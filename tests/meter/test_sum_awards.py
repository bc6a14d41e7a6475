"""Awards that break a rule are found by the independent sums."""

import dataclasses

import pytest

from tests.awarding import POOL, bent, granting, shipped, with_class
from tests.bending import found
from tests.books import ALPHA, BETA, PROVIDER_USCC, Books, lifted, opened, without_sections
from tests.summing import told


@pytest.mark.parametrize(
    ("programme", "bend", "terms", "amount", "words"),
    [
        (
            "platform",
            lambda books: with_class(books, "platform", "new", cap=None),
            {"named": "new", "project": "P", "base": "90000000.00"},
            "20000000.01",
            ("2000000001", "2000000000", "class"),
        ),
        (
            "event",
            lambda books: bent(books, "event", cap=None),
            {"project": "P", "base": "90000000.00"},
            "3000000.01",
            ("300000001", "300000000", "cap"),
        ),
        (
            "event",
            lambda books: with_class(books, "event", "standard", ratio_bp=5_001),
            {"project": "P", "base": "10000.00"},
            "5000.01",
            ("500001", "500000", "ratio"),
        ),
        (
            "park",
            lambda books: with_class(books, "park", "excellent", fixed=10**9),
            {"named": "excellent"},
            "500000.01",
            ("50000001", "50000000", "fixed"),
        ),
        (
            "adaptation",
            lambda books: bent(books, "adaptation", combined_bp={}),
            {"project": "P", "base": "100.00"},
            "49.01",
            ("4901", "4900", "ratio"),
        ),
    ],
)
def test_an_award_above_a_limit_is_found(programme, bend, terms, amount, words):
    books = granting(programme)
    books.fund("1.00")
    number = bend(books).award("A", programme, amount, **terms)
    found(books, "sum_award", "award A", *words, entry=number)


def test_a_raise_above_a_limit_is_found():
    books = granting("event")
    books.award("A", "event", "5000.00", project="P", base="10000.00")
    with_class(books, "event", "standard", ratio_bp=10_000)
    number = books.change_award("A", "5000.01")
    found(books, "sum_award", "500001", "500000", entry=number)


def test_a_second_award_of_what_is_given_once_is_found():
    books = Books("2020-01-01T12:00:00+08:00")
    text = without_sections(shipped("returnee"), "claims").replace("2024-12-18", "2020-01-01")
    books.activate(text.replace("2026-12-18", "2022-01-01"))
    books.enterprise()
    books.budget(2020, POOL, programme="returnee")
    books.award("A", "returnee", "1.00", named="third", year=2020)
    number = bent(books, "returnee", once=False).award(
        "B", "returnee", "1.00", named="first", year=2020
    )
    found(books, "sum_award", "award B", "the only one", entry=number)


def test_an_award_to_whom_it_cannot_be_made_is_found():
    books = granting("software")
    books.enterprise(BETA, applicant="university")
    bent(books, "software", applicants=frozenset({"university"}))
    number = books.award("A", "software", "1.00", project="P", enterprise=BETA)
    found(books, "sum_applicant", "university", entry=number)


def test_an_award_outside_the_age_is_found():
    books = Books("2025-01-01T12:00:00+08:00")
    books.activate(shipped("returnee"))
    books.enterprise()
    books.budget(2025, POOL, programme="returnee")
    number = bent(books, "returnee", age_months=None).award("A", "returnee", "1.00", named="third")
    found(books, "sum_applicant", ALPHA, "age", entry=number)


def test_programmes_of_a_group_that_fund_one_project_are_found():
    books = granting("application", "software")
    books.award("A", "application", "1.00", project="P", named="benchmark")
    bent(books, "software", group="software")
    number = books.award("B", "software", "1.00", project="P")
    found(books, "sum_award", "application", "software", entry=number)


@pytest.mark.parametrize("level", ["national", "provincial"])
def test_an_award_above_the_ceiling_of_its_project_is_found(level):
    books = granting("event")
    books.fund("0.01", level=level)
    books.fund("1.00", reference="2号", level="municipal")
    books.fund("1.00", reference="3号", level="district")
    books.audit("5.00")
    books.award("A", "event", "2.00", project="P", base="10.00")
    books.state.projects["P"].audits.clear()
    number = books.award("B", "event", "1.01", project="P", base="10.00")
    found(books, "sum_project", "project P", "501", "500", entry=number)


def test_an_award_above_the_pool_is_found():
    books = granting("event", budget="5.00")
    pool = books.state.pools["event", 2025]
    books.state.pools["event", 2025] = dataclasses.replace(pool, budget=10**6)
    number = books.award("A", "event", "5.01", project="P", base="100.00")
    found(books, "sum_pool", "501", "500", entry=number)


def test_an_award_that_grants_a_fen_less_is_found():
    books = granting("event")
    books.award("A", "event", "5.00", project="P", base="100.00")
    entries = told(books)
    entries[-1]["postings"][1][2] -= 1
    found(entries, "sum_award", "award A", "499", "500")


def test_a_class_that_does_not_follow_is_found():
    books = granting("event")
    number = books.award("A", "event", "5.00", project="P", base="100.00")
    entries = told(books)
    entries[-1]["derived"] = "startup"
    found(entries, "sum_class", "award A", entry=number)


def test_a_provider_that_applies_for_devices_is_found():
    books = opened(lifted())
    books.enterprise(PROVIDER_USCC)
    del books.state.provider_usccs[PROVIDER_USCC]
    number = books.contract("A", enterprise=PROVIDER_USCC)
    found(books, "sum_role", PROVIDER_USCC, entry=number)


def test_an_applicant_that_becomes_a_provider_is_found():
    books = opened(lifted())
    books.contract("A")
    books.state.enterprises[ALPHA].contracts.clear()
    number = books.provider("sz", uscc=ALPHA)
    found(books, "sum_role", ALPHA, entry=number)
