"""Findings of the independent sums about entitlements, grants, coupons, pools and policies."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.bending import START, bend, bend_policy, bend_ratio, found, usage, world
from tests.books import ALPHA, BETA, PROGRAMME, Books, lifted, record, slices
from tests.summing import Fields, summed, told

# Entitlement


def test_a_ratio_of_51_percent_is_found():
    books = world()
    bend_ratio(books, "A", 5_100)
    books.post([usage("a")])
    found(books, "sum_entitled", "contract A in 2025", "2295", "2250")


def test_an_entitlement_beyond_the_amount_is_found():
    books = world(combined_standard=10_000)
    bend(books, "A", amount=10**9)
    books.post([usage("a", hours=30)])
    found(books, "sum_entitled", "contract A in 2025", "67500", "50000")


def test_an_entitlement_beyond_the_combined_support_is_found():
    books = world()
    bend(books, "S", support_limit=10**9)
    books.post([usage("s", "S")])
    found(books, "sum_entitled", "contract S in 2025", "2700", "1000")


def test_an_entitlement_beyond_the_cost_is_found():
    books = world(combined_standard=10_000)
    bend_ratio(books, "A", 11_000)
    books.post([usage("a")])
    entries = told(books)
    content = entries[1]["content"]
    entries[1]["content"] = content.replace("ratio = 5000", "ratio = 11000", 1)
    found(entries, "sum_granted", "contract A: 4950 fen, more than 4500")


def test_a_floor_for_each_record_s_entitlement_is_found():
    books = world()
    books.post(slices(record("a", "A", START, START + 3_601, 7_000), 61))
    entries = told(books)
    less = entries[-1]["entitled"][0][1]
    entries[-1]["entitled"] = []
    entries[-1]["postings"] = entries[-1]["postings"][:1]
    found(entries, "sum_entitled", "contract A in 2025", str(1_575 - less), "1575")


def test_an_entitlement_in_another_year_is_found():
    books = world()
    books.post([usage("a")])
    *entries, last = told(books)
    owed, (_, _, fen) = last["postings"]
    granted = [f"coupon:{PROGRAMME}:2026:{ALPHA}", "accrued:A:2026", fen]
    lie = {"entitled": [[2026, fen]], "postings": [owed, granted]}
    found([*entries, last | lie], "sum_entitled", "contract A in 2025", " 0 fen", "2250")


# Grants


def granted(books: Books, change: Callable[[list[Any]], list[Any]]) -> list[Fields]:
    """Change the last entry's postings."""
    *entries, last = told(books)
    return [*entries, last | {"postings": change(last["postings"])}]


def a_grant(contract: str, fen: int, year: int = 2025) -> list[Any]:
    return [f"coupon:{PROGRAMME}:{year}:{ALPHA}", f"accrued:{contract}:{year}", fen]


def test_a_grant_above_what_was_issued_is_found():
    books = world()
    books.post([usage("a", hours=20)])
    # 200.00 were issued, 450.00 are entitled.
    more = granted(books, lambda postings: [postings[0], a_grant("A", 20_001)])
    found(more, "sum_granted", f"{ALPHA} under {PROGRAMME} in 2025", "20001", "20000")


def test_a_grant_below_what_can_be_granted_is_found():
    books = world()
    books.post([usage("a")])
    less = granted(books, lambda postings: [postings[0], a_grant("A", 2_249)])
    found(less, "sum_granted", ALPHA, "2025", "2249", "2250")


def test_a_grant_above_the_entitlement_is_found():
    books = world()
    books.post([usage("a")])
    more = granted(books, lambda postings: [postings[0], a_grant("A", 2_251)])
    found(more, "sum_granted", "contract A in 2025", "2251", "2250")


def test_a_grant_to_a_contract_without_usage_is_found():
    books = world()
    books.post([usage("a")])
    other = granted(books, lambda postings: [postings[0], a_grant("B", 2_250)])
    found(other, "sum_granted", ALPHA, " 0 fen", "2250")


def test_a_grant_below_nothing_is_found():
    books = world()
    books.post([usage("a"), usage("b", "B")])

    def from_b_to_a(postings: list[Any]) -> list[Any]:
        return [postings[0], ["accrued:A:2025", "accrued:B:2025", 2_251], a_grant("B", 1)]

    found(granted(books, from_b_to_a), "sum_granted", "contract A", "-1 fen in 2025")


def test_a_grant_from_another_coupon_is_found():
    books = world()
    books.post([usage("a")])
    other = [f"coupon:{PROGRAMME}:2025:{BETA}", "accrued:A:2025", 2_250]
    found(
        granted(books, lambda postings: [postings[0], other]), "sum_coupon", BETA, "-1250", "1000"
    )


# Coupons, pools, policies


def test_a_coupon_above_the_cap_is_found():
    books = world(cap="250.00")
    bend_policy(books, cap=10**9)
    number = books.issue(2025, "50.01")
    found(books, "sum_cap", ALPHA, "25001", "25000", entry=number)


def test_coupons_above_the_pool_are_found():
    books = world(pool="260.00")
    books.state.pools[PROGRAMME, 2025].stated = 10**9
    number = books.issue(2025, "50.01")
    found(books, "sum_pool", f"{PROGRAMME} 2025", "26001", "26000", entry=number)


def test_a_pool_that_gave_back_what_was_issued_is_found():
    books = world()
    books.state.pools[PROGRAMME, 2025].issued = 0
    books.activate(lifted(version="next", pool="209.99"))
    found(books, "sum_pool", f"{PROGRAMME} 2025", "-1", "0")


def test_a_pool_lowered_below_what_was_issued_is_no_fault_and_issues_no_more():
    books = world()
    books.activate(lifted(version="next", pool="209.99"))
    books.withdraw(2025, "0.01", BETA)
    summed(told(books))
    books.state.pools[PROGRAMME, 2025].stated = 21_000
    number = books.issue(2025, "0.01", BETA)
    found(books, "sum_pool", f"{PROGRAMME} 2025", "21000", "20999", entry=number)


def test_what_a_lowered_pool_gets_back_goes_on_to_the_treasury():
    books = world()
    books.activate(lifted(version="next", pool="200.00"))
    books.withdraw(2025, "10.00", BETA)
    assert told(books)[-1]["postings"][1:] == [
        [f"pool:{PROGRAMME}:2025", f"treasury:{PROGRAMME}:2025", 1_000]
    ]
    entries = told(books)
    entries[-1]["postings"].pop()
    found(entries, "sum_pool", f"{PROGRAMME} 2025", "1000", "0")


def test_a_cap_lowered_later_is_no_fault():
    books = world()
    books.activate(lifted(version="next", cap="0.01"))
    summed(told(books))


@pytest.mark.parametrize(
    ("contract", "rented"),
    [
        ({"amount": "499.99"}, "249999"),
        ({"related_party": True}, "200000"),
        ({"use": "inference"}, "200000"),
        ({"starts": "2026-01-01"}, "200000"),
        ({"starts": "2024-01-01", "ends": "2025-01-01"}, "200000"),
    ],
)
def test_a_coupon_below_the_threshold_is_found(contract, rented):
    books = Books()
    books.activate(lifted(threshold="2500.00"))
    books.provider()
    books.enterprise()
    books.contract("A", amount="2000.00")
    books.contract("B", **({"amount": "500.00"} | contract))
    bend_policy(books, threshold=0)
    number = books.issue(2025, "1.00")
    found(books, "sum_threshold", ALPHA, rented, "250000", entry=number)


def test_a_coupon_at_exactly_the_threshold_is_no_fault():
    books = Books()
    books.activate(lifted(threshold="2500.00"))
    books.provider()
    books.enterprise()
    books.contract("A", amount="2000.00")
    books.contract("B", amount="500.00")
    books.issue(2025, "1.00")
    summed(told(books))


def test_a_coupon_of_a_year_without_policy_is_found():
    *entries, last = told(world())
    found([*entries, last | {"year": 2027}], "sum_policy", "2027", entry=len(entries))


def test_a_coupon_that_holds_another_amount_is_found():
    *entries, last = told(world())
    (pool, coupon, fen) = last["postings"][0]
    more = [*entries, last | {"postings": [[pool, coupon, fen + 1]]}]
    found(more, "sum_coupon", BETA, "1001", "1000")
    found([*entries, last | {"amount": 999}], "sum_coupon", BETA, "1000", "999")


def test_a_withdrawal_that_moves_no_money_is_found():
    books = world()
    books.withdraw(2025, "1.00")
    *entries, last = told(books)
    found([*entries, last | {"postings": []}], "sum_coupon", ALPHA, "20000", "19900")


def test_a_coupon_that_another_pool_pays_is_found():
    *entries, last = told(world())
    _, coupon, fen = last["postings"][0]
    other = [[f"pool:{PROGRAMME}:2024", coupon, fen]]
    found([*entries, last | {"postings": other}], "sum_pool", f"{PROGRAMME} 2024")


def test_a_treasury_that_gives_another_amount_is_found():
    entries = told(world())
    postings = entries[1]["postings"]
    assert postings[0][0] == f"treasury:{PROGRAMME}:2024"
    postings[0][0] = f"treasury:{PROGRAMME}:2025"
    found(entries, "sum_treasury", f"{PROGRAMME} 2024", " 0 fen", "-50000000000")


@pytest.mark.parametrize("account", ["pocket:A", "accrued:Z:2025", "coupon:x:2025:y", "due:Z"])
def test_an_account_of_which_no_entry_tells_is_found(account):
    *entries, last = told(world())
    other = [*last["postings"], [f"treasury:{PROGRAMME}:1999", account, 1]]
    found([*entries, last | {"postings": other}], "sum_account", "1 fen")
