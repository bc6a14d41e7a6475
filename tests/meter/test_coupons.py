"""Policies, pools and coupons: each refusal of their commands, and the edges of every limit."""

import pytest

from meter.rules import commands
from tests.books import ALPHA, BETA, PROGRAMME, Books, lifted, opened, policy_text, void
from tests.commanding import refusal, use, with_contract

# Policies and pools


def test_activating_a_policy_opens_a_pool_for_each_calendar_year_it_touches():
    books = opened()
    assert {year for _, year in books.state.pools} == {2024, 2025, 2026}
    assert books.entries[1].postings == [
        (f"treasury:{PROGRAMME}:{year}", f"pool:{PROGRAMME}:{year}", 50_000_000_000)
        for year in (2024, 2025, 2026)
    ]


def test_a_policy_must_be_of_the_programme_and_version_that_are_named():
    books = Books()
    for name, value in (("programme", "other"), ("version", "other")):
        fields = {"programme": PROGRAMME, "version": "test", "content": policy_text(), name: value}
        problem = refusal(books.ask, commands.ActivatePolicy, **fields)
        assert problem.code == "bad_policy"


def test_a_file_that_is_no_policy_is_a_bad_policy():
    problem = refusal(
        Books().ask, commands.ActivatePolicy, programme="x", version="1", content="x = \n"
    )
    assert (problem.code, problem.status) == ("bad_policy", 400)


def test_a_second_version_changes_the_pools_that_it_touches_and_leaves_the_others():
    books = with_contract()
    books.activate(policy_text(version="v2", starts="2026-01-01", ends="2028-01-01", pool="700.00"))
    pools = {year: pool.amount for (_, year), pool in books.state.pools.items()}
    whole = 50_000_000_000
    assert pools == {2024: whole, 2025: whole, 2026: 70_000, 2027: 70_000}
    assert books.entries[-1].postings == [
        (f"pool:{PROGRAMME}:2026", f"treasury:{PROGRAMME}:2026", whole - 70_000),
        (f"treasury:{PROGRAMME}:2027", f"pool:{PROGRAMME}:2027", 70_000),
    ]
    books.activate(policy_text(version="v3", pool="500000000.00"))
    assert books.entries[-1].postings == [
        (f"treasury:{PROGRAMME}:2026", f"pool:{PROGRAMME}:2026", whole - 70_000)
    ]


def test_a_pool_that_shrinks_below_what_was_issued_keeps_that_and_issues_no_more():
    books = with_contract()
    books.issue(2025, "100.00")
    books.activate(policy_text(version="v2", pool="99.98"))
    pool = books.state.pools[PROGRAMME, 2025]
    assert (pool.limit, pool.issued, pool.amount) == (9_998, 10_000, 10_000)
    problem = refusal(books.issue, 2025, "0.01")
    assert (problem.code, problem.detail) == ("pool_exceeded", "0.00 are left")
    books.withdraw(2025, "0.03")
    assert (pool.limit, pool.issued, pool.amount) == (9_998, 9_997, 9_998)
    assert books.entries[-1].postings == [
        (f"coupon:{PROGRAMME}:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 3),
        (f"pool:{PROGRAMME}:2025", f"treasury:{PROGRAMME}:2025", 2),
    ]
    books.issue(2025, "0.01")
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"


def test_a_contract_keeps_the_policy_under_which_it_was_registered():
    books = with_contract(lifted())
    books.activate(lifted(version="v2", standard=1_000))
    books.contract("B")
    books.issue(2025, "1000.00")
    use(books, "a", "A", 1_000)
    use(books, "b", "B", 1_000)
    assert [books.share(name, 2025).entitled for name in "AB"] == [225, 45]
    assert [books.state.contracts[name].registered.policy for name in "AB"] == ["test", "v2"]


OLD, NEW = ("2024-12-18", "2025-07-01"), ("2025-06-01", "2027-01-01")


@pytest.mark.parametrize(
    ("signed_on", "starts", "ends", "policy"),
    [
        ("2025-05-31", "2025-08-01", "2026-01-01", "old"),  # though its term is in the new one
        ("2025-06-01", "2025-06-02", "2026-01-01", "newest"),  # where both are in force
        ("2025-07-01", "2025-01-01", "2026-01-01", "new"),
        ("2024-12-17", "2024-12-01", "2026-01-01", "old"),  # signed before either
        ("2024-12-17", "2025-06-01", "2026-01-01", "newest"),
        ("2024-12-17", "2025-05-31", "2026-01-01", "old"),
    ],
)
@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_a_contract_has_the_policy_of_its_signing_else_the_first_of_its_term(
    signed_on, starts, ends, policy, order
):
    books = Books("2026-11-01T12:00:00+08:00")
    for version in order:
        begins, stops = {"old": OLD, "new": NEW}[version]
        books.activate(lifted(version=version, starts=begins, ends=stops))
    books.provider()
    books.enterprise()
    books.contract(signed_on=signed_on, starts=starts, ends=ends)
    in_force = order[-1] if policy == "newest" else policy
    assert books.state.contracts["A"].registered.policy == in_force


def test_a_contract_without_any_policy_at_its_signing_and_in_its_term_is_refused():
    books = opened(lifted(starts="2025-01-01", ends="2025-02-01"))
    for starts, ends in (("2024-12-01", "2025-01-01"), ("2025-02-01", "2025-03-01")):
        problem = refusal(books.contract, signed_on="2024-12-31", starts=starts, ends=ends)
        assert (problem.code, problem.status) == ("no_policy", 422)
    assert refusal(books.contract, signed_on="2025-02-01", starts="2025-02-01").code == "no_policy"
    books.contract("A", signed_on="2024-12-31", starts="2024-12-01", ends="2025-01-02")
    books.contract("B", signed_on="2025-01-31", starts="2025-02-01", ends="2025-03-01")


def test_the_limits_of_a_year_are_those_of_the_newest_policy_that_touches_it():
    books = with_contract(lifted())
    books.activate(lifted(version="v2", starts="2026-01-01", ends="2027-01-01", cap="10.00"))
    assert refusal(books.issue, 2026, "10.01").code == "cap_exceeded"
    books.issue(2026, "10.00")
    books.issue(2025, "10.01")


# Issue


def test_an_issue_is_checked_in_this_order():
    books = Books()
    assert refusal(books.issue, 2030, "0.00").code == "unknown_programme"
    books.activate(policy_text(pool="5.00", cap="6.00"))
    assert refusal(books.issue, 2030, "0.00").code == "unknown_enterprise"
    books.enterprise()
    books.provider()
    assert refusal(books.issue, 2030, "0.00").code == "unknown_year"
    assert refusal(books.issue, 2025, "0.00").code == "malformed"
    assert refusal(books.issue, 2025, "6.01").code == "below_threshold"
    books.contract("A")
    books.fund_contract("A", "499994.50")
    assert refusal(books.issue, 2025, "6.01").code == "cap_exceeded"
    assert refusal(books.issue, 2025, "6.00").code == "above_need"
    assert refusal(books.issue, 2025, "5.50").code == "pool_exceeded"
    books.issue(2025, "5.00")


@pytest.mark.parametrize("year", [2023, 2027])
def test_a_year_that_no_policy_touches_has_no_coupons(year):
    books = with_contract()
    assert refusal(books.issue, year, "1.00").code == "unknown_year"
    assert refusal(books.withdraw, year, "1.00").code == "unknown_year"


def test_the_threshold_is_inclusive_and_counts_full_amounts():
    books = opened()
    books.contract("A", amount="499999.99")
    assert refusal(books.issue, 2025, "1.00").code == "below_threshold"
    books.contract("B", amount="0.01")
    books.issue(2025, "1.00")


@pytest.mark.parametrize(
    "changes",
    [
        {"related_party": True},
        {"use": "inference"},
        {"starts": "2026-01-01", "ends": "2027-01-01"},
        {"starts": "2024-12-01", "ends": "2025-01-01"},
    ],
)
def test_contracts_that_cannot_be_eligible_in_the_year_do_not_reach_the_threshold(changes):
    books = with_contract(**changes)
    assert refusal(books.issue, 2025, "1.00").code == "below_threshold"


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": "2025-12-31", "ends": "2026-06-01"},
        {"starts": "2024-12-01", "ends": "2025-01-02"},
        {"starts": "2023-01-01", "ends": "2027-01-01"},
    ],
)
def test_a_term_that_touches_the_year_by_a_day_reaches_the_threshold(changes):
    with_contract(amount="500000.00", **changes).issue(2025, "1.00")


def test_a_term_reaches_the_threshold_only_of_years_in_which_its_own_policy_is_valid():
    books = with_contract(policy_text(version="first", starts="2025-01-01", ends="2026-01-01"))
    books.activate(policy_text(version="second", starts="2025-01-01", ends="2027-01-01"))
    assert books.state.contracts["A"].registered.ends > "2026-12-31"
    assert refusal(books.issue, 2026, "1.00").code == "below_threshold"
    books.issue(2025, "1.00")


def test_the_threshold_looks_at_the_enterprises_own_contracts():
    books = with_contract()
    books.enterprise(BETA)
    assert refusal(books.issue, 2025, "1.00", BETA).code == "below_threshold"


def test_the_cap_holds_for_the_sum_of_a_year_inclusive():
    books = with_contract(amount="40000000.00")
    assert refusal(books.issue, 2025, "10000000.01").code == "cap_exceeded"
    books.issue(2025, "9999999.99")
    assert refusal(books.issue, 2025, "0.02").code == "cap_exceeded"
    books.issue(2025, "0.01")
    assert refusal(books.issue, 2025, "0.01").code == "cap_exceeded"
    books.issue(2026, "10000000.00")
    books.withdraw(2025, "3.00")
    books.issue(2025, "3.00")
    assert books.coupon(2025).issued == 1_000_000_000


def test_the_pool_holds_for_all_enterprises_of_a_year_inclusive():
    books = with_contract(lifted(pool="100.00"))
    books.enterprise(BETA)
    books.contract("B", enterprise=BETA)
    books.issue(2025, "60.00")
    assert refusal(books.issue, 2025, "40.01", BETA).code == "pool_exceeded"
    books.issue(2025, "40.00", BETA)
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"
    books.issue(2026, "100.00")
    books.withdraw(2025, "10.00")
    books.issue(2025, "10.00", BETA)


# Withdrawal


def test_a_withdrawal_goes_down_to_what_was_granted_and_no_fen_further():
    books = with_contract()
    books.issue(2025, "200.00")
    use(books, "r", "A", 64_000)
    assert books.coupon(2025) == (20_000, 14_400, 14_400)
    problem = refusal(books.withdraw, 2025, "56.01")
    assert (problem.code, problem.detail) == ("below_granted", "144.00 are granted")
    books.withdraw(2025, "56.00")
    assert books.coupon(2025) == (14_400, 14_400, 14_400)
    assert books.entries[-1].postings == [
        (f"coupon:{PROGRAMME}:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 5_600)
    ]
    assert refusal(books.withdraw, 2025, "0.01").code == "below_granted"
    books.post(voids=[void("r")])
    books.withdraw(2025, "144.00")
    assert books.coupon(2025).issued == 0


def test_nothing_can_be_withdrawn_from_a_coupon_that_is_not_there():
    assert refusal(with_contract().withdraw, 2025, "0.01").code == "below_granted"


def test_a_withdrawal_of_nothing_is_malformed_and_of_nobody_unknown():
    books = with_contract()
    assert refusal(books.withdraw, 2025, "0.00").code == "malformed"
    assert refusal(books.withdraw, 2025, "1.00", BETA).code == "unknown_enterprise"
    assert refusal(books.withdraw, 2025, "1.00", programme="other").code == "unknown_programme"
