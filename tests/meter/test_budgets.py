"""Budgets: what they allow, and what they are refused for."""

import dataclasses

import pytest

from tests.bending import found
from tests.books import (
    ALPHA,
    PROGRAMME,
    Books,
    balances,
    expected_balances,
    lifted,
    opened,
    without_sections,
)
from tests.commanding import refusal
from tests.meter.test_policies import sharing
from tests.services import serving
from tests.summing import summed, told


def with_contract(text: str) -> Books:
    books = opened(text)
    books.contract("A")
    return books


def unstated() -> Books:
    return with_contract(without_sections(lifted(), "pool"))


def check(books: Books) -> None:
    *_, now = balances(books.entries)
    assert now == expected_balances(books.state)
    summed(told(books))


def test_a_programme_without_a_pool_issues_its_budget():
    books = unstated()
    assert refusal(books.issue, 2025, "0.01").code == "no_budget"
    books.budget(2025, "100.00")
    assert books.entries[-1].postings == [
        (f"treasury:{PROGRAMME}:2025", f"pool:{PROGRAMME}:2025", 10_000)
    ]
    assert refusal(books.issue, 2025, "100.01").code == "pool_exceeded"
    assert refusal(books.issue, 2026, "0.01").code == "no_budget"
    books.issue(2025, "100.00")
    check(books)


def test_a_budget_is_at_most_the_stated_pool_and_at_least_what_is_issued():
    books = with_contract(lifted(pool="100.00"))
    books.issue(2025, "40.00")
    assert refusal(books.budget, 2025, "100.01").code == "pool_exceeded"
    problem = refusal(books.budget, 2025, "39.99")
    assert (problem.code, problem.detail) == ("pool_below_issued", "40.00 are issued")
    books.budget(2025, "40.00")
    assert books.entries[-1].postings == [
        (f"pool:{PROGRAMME}:2025", f"treasury:{PROGRAMME}:2025", 6_000)
    ]
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"
    books.budget(2025, "100.00")
    books.issue(2025, "60.00")
    check(books)


def test_a_budget_may_be_zero_while_nothing_is_issued():
    books = with_contract(lifted())
    books.budget(2025, "0.00")
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"
    check(books)


def test_the_smaller_of_budget_and_stated_pool_is_the_limit_whatever_came_first():
    books = with_contract(lifted(pool="100.00"))
    books.budget(2025, "80.00")
    books.issue(2025, "80.00")
    books.activate(lifted(version="lower", pool="50.00"))
    pool = books.state.pools[PROGRAMME, 2025]
    assert (pool.limit, pool.issued, pool.amount) == (5_000, 8_000, 8_000)
    assert books.entries[-1].postings[1] == (
        f"pool:{PROGRAMME}:2026",
        f"treasury:{PROGRAMME}:2026",
        5_000,
    )
    check(books)
    books.activate(lifted(version="higher", pool="900.00"))
    assert (pool.limit, pool.amount) == (8_000, 8_000)
    books.activate(without_sections(lifted(version="none"), "pool"))
    assert (pool.stated, pool.limit) == (None, 8_000)
    check(books)


def test_a_shared_pool_has_the_budget_of_its_owner():
    books = opened(lifted())
    books.activate(sharing())
    books.contract("B", programme="sharing")
    assert refusal(books.budget, 2025, "1.00", programme="sharing").code == "pool_owner"
    books.budget(2025, "1.00")
    assert refusal(books.issue, 2025, "1.01", programme="sharing").code == "pool_exceeded"
    books.issue(2025, "1.00", programme="sharing")
    check(books)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"programme": "nothing"}, "unknown_programme"),
        ({"year": 2023}, "unknown_year"),
        ({"year": 2027}, "unknown_year"),
    ],
)
def test_a_budget_is_for_a_year_of_a_programme_in_force(changes, code):
    books = with_contract(lifted())
    arguments = {"year": 2025} | changes
    assert refusal(books.budget, arguments.pop("year"), "1.00", **arguments).code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "1"},
        {"amount": "-1.00"},
        {"amount": None},
        {"document": ""},
        {"document": 1},
        {"year": "2025"},
        {"more": 1},
    ],
)
def test_a_budget_in_another_form_is_malformed(changes):
    with pytest.raises(ValueError, match=r".+"):
        with_contract(lifted()).budget(**({"year": 2025, "amount": "1.00"} | changes))


# What the sums find


def bent(books: Books, **changes) -> Books:
    pool = books.state.pools[PROGRAMME, 2025]
    books.state.pools[PROGRAMME, 2025] = dataclasses.replace(pool, **changes)
    return books


def test_a_budget_above_the_stated_pool_is_found():
    books = bent(with_contract(lifted(pool="100.00")), stated=None)
    number = books.budget(2025, "100.01")
    found(books, "sum_budget", PROGRAMME, "10001", "10000", entry=number)


def test_a_budget_below_what_is_issued_is_found():
    books = with_contract(lifted(pool="100.00"))
    books.issue(2025, "40.00")
    number = bent(books, issued=0).budget(2025, "39.99")
    found(books, "sum_budget", "4000", "3999", entry=number)


def test_an_issue_above_the_budget_is_found():
    books = with_contract(lifted(pool="100.00"))
    books.budget(2025, "50.00")
    number = bent(books, budget=None).issue(2025, "50.01")
    found(books, "sum_pool", "5001", "5000", entry=number)


def test_a_budget_for_a_pool_of_another_is_found():
    books = opened(lifted())
    books.activate(sharing())
    number = books.budget(2025, "1.00")
    entries = told(books)
    entries[-1]["programme"] = "sharing"
    found(entries, "sum_budget", "sharing", entry=number)


def test_a_budget_that_moves_a_fen_too_little_is_found():
    books = with_contract(lifted(pool="100.00"))
    books.budget(2025, "50.00")
    entries = told(books)
    entries[-1]["postings"][0][2] -= 1
    found(entries, "sum_pool", "5001", "5000")


# Over HTTP


async def test_a_budget_is_set_and_shown(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="500.00")
        body = {"programme": PROGRAMME, "year": 2025, "amount": "600.00", "document": "12号"}
        assert (await service.post("/v1/budgets", body, None)).code == "idempotency_key_needed"
        made = await service.ask("/v1/budgets", **body)
        assert (await service.get(f"/v1/entries/{made['entry']}")).json["entry"]["kind"] == "budget"
        refused = await service.post("/v1/budgets", body | {"amount": "499.99"})
        assert (refused.status, refused.code) == (422, "pool_below_issued")
        pools = (await service.get("/v1/pools")).json["pools"]
        assert pools[1] == {
            "programme": PROGRAMME,
            "year": 2025,
            "amount": "600.00",
            "issued": "500.00",
            "left": "100.00",
            "granted": "0.00",
            "programmes": [PROGRAMME],
            "stated": "500000000.00",
            "budget": "600.00",
        }
    async with serving(database, tmp_path) as service:
        coupon = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2025}
        refused = await service.post("/v1/coupons", coupon | {"amount": "100.01"}, "later")
        assert refused.code == "pool_exceeded"
        assert (await service.get("/v1/pools")).json["pools"] == pools
