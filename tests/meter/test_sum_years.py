"""The sums count the years that a term touches, and the contracts of a firm that touch a year."""

from typing import Any

import pytest

from meter.rules.kinds import amendments, contracts
from tests.books import ALPHA, BETA, Books, lifted, opened
from tests.meter.test_amendments import refused
from tests.summing import found, summed, told

MOST = 64
YEAR = {"starts": "2025-01-01", "ends": "2026-01-01"}


@pytest.fixture
def dishonest(monkeypatch) -> None:
    """Let a writer count no contracts and no years."""
    for module in (contracts, amendments):
        monkeypatch.setattr(module, "check_contracts_of_years", lambda *_: None)


def ledger(count: int, **terms: Any) -> Books:
    """Return books with some contracts of one enterprise in one year."""
    books = opened(lifted(), now="2026-06-01T12:00:00+08:00")
    books.enterprise(BETA)
    for number in range(count):
        books.contract(f"C{number}", **(YEAR | terms))
    return books


def test_an_honest_writer_fills_a_year_and_no_more():
    books = ledger(MOST)
    refused("too_many_contracts", books.contract, "D", **YEAR)
    books.contract("D", starts="2026-01-01", ends="2027-01-01")
    refused("too_many_contracts", books.correct, "D", starts="2025-12-31")
    books.contract("E", enterprise=BETA, **YEAR)
    books.correct("C0", ends="2025-02-01")
    summed(told(books))


@pytest.mark.usefixtures("dishonest")
def test_one_more_contract_of_a_year_is_found():
    books = ledger(MOST)
    summed(told(books))
    books.contract("D", starts="2025-12-31", ends="2026-06-01")
    found(books, "sum_contract", "65 contracts", "2025")


@pytest.mark.usefixtures("dishonest")
@pytest.mark.parametrize("amend", ["correct", "supplement"])
def test_one_more_contract_that_an_amendment_brings_into_a_year_is_found(amend):
    books = ledger(MOST)
    books.contract("D", starts="2024-12-18", ends="2025-01-01", signed_on="2024-12-18")
    summed(told(books))
    if amend == "correct":
        books.correct("D", ends="2025-01-02")
    else:
        books.supplement("2024-12-20", "D", ends="2025-01-02", signed_on="2024-12-18")
    found(books, "sum_contract", "65 contracts", "2025")


@pytest.mark.usefixtures("dishonest")
def test_contracts_of_all_that_a_firm_succeeded_count():
    books = ledger(MOST // 2)
    for number in range(MOST // 2):
        books.contract(f"B{number}", enterprise=BETA, **YEAR)
    books.succeed(ALPHA, BETA)
    summed(told(books))
    books.contract("D", enterprise=BETA, **YEAR)
    found(books, "sum_contract", "65 contracts", "2025")


@pytest.mark.usefixtures("dishonest")
def test_a_contract_that_becomes_anothers_counts_there():
    books = ledger(MOST)
    books.contract("D", enterprise=BETA, **YEAR)
    summed(told(books))
    books.correct("D", enterprise=ALPHA)
    found(books, "sum_contract", "65 contracts", "2025")


@pytest.mark.usefixtures("dishonest")
def test_a_fifth_year_of_a_term_is_found():
    books = ledger(1, starts="2024-12-31", ends="2028-01-01", signed_on="2024-12-18")
    summed(told(books))
    twin = ledger(1, starts="2024-12-31", ends="2028-01-02", signed_on="2024-12-18")
    found(twin, "sum_contract", "5 years")
    books.supplement("2025-01-01", "C0", ends="2028-01-02", signed_on="2024-12-18")
    found(books, "sum_contract", "5 years")
