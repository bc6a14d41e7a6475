"""What the independent sums find when the core is wrong, and wrong everywhere alike.

The rules are bent in the state of real books, so that their entries follow the wrong rule in each
field and posting; or, where no state bends so far, the entries are written by hand.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ledger.canon import decode, encode
from ledger.errors import Violation
from meter.sums import Sums
from meter.units import parse_instant
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    PROGRAMME,
    Books,
    lifted,
    record,
    slices,
    void,
)

START = parse_instant("2025-02-20T08:00:00+08:00")
FOREVER = (0, 10**12)
END_OF_2026 = "2027-01-01T12:00:00+08:00"

Fields = dict[str, Any]


def world(now: str = END_OF_2026, **figures: Any) -> Books:
    """Give books with contracts A and B of one enterprise and S of another, and coupons."""
    books = Books(now)
    books.activate(lifted(**figures))
    books.provider()
    books.key()
    books.enterprise()
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("A", amount="1000.00")
    books.contract("B", amount="1000.00")
    books.contract("S", enterprise=BETA, amount="1000.00", other_public_funds="590.00")
    books.issue(2025, "200.00")
    books.issue(2026, "100.00")
    books.issue(2025, "100.00", BETA)
    return books


def usage(id_: str, contract: str = "A", hours: int = 1, **changes: Any) -> Fields:
    return record(id_, contract, START, START + hours * HOUR, 10_000) | changes


def across_the_year(id_: str, contract: str = "A") -> Fields:
    return record(id_, contract, "2025-12-31T20:00:00+08:00", "2026-01-01T04:00:00+08:00", 10_000)


def told(books: Books) -> list[Fields]:
    return [decode(encode(entry)) for entry in books.entries]


def summed(entries: Iterable[Fields]) -> None:
    sums = Sums()
    for number, fields in enumerate(entries):
        sums.entry(number, fields)
    sums.finish()


def found(entries: list[Fields] | Books, code: str, *words: str, entry: int | None = None) -> None:
    if isinstance(entries, Books):
        entries = told(entries)
    with pytest.raises(Violation) as violation:
        summed(entries)
    assert violation.value.code == code
    assert violation.value.entry == entry
    assert all(word in violation.value.detail for word in words), violation.value.detail


def bend(books: Books, contract: str, **terms: Any) -> None:
    """Change what decides a contract's entitlement, but not what its entry says."""
    held = books.state.contracts[contract]
    held.terms = replace(held.terms, **terms)


# Honest books


def test_honest_books_pass():
    books = world()
    books.post([usage("a"), usage("b", "B"), usage("s", "S", 20), usage("a"), usage("z", "nobody")])
    books.post([across_the_year("a2"), across_the_year("b2", "B")], [void("a")])
    books.post(slices(usage("a3", hours=12), 977))
    books.void("b")
    books.withdraw(2025, "0.01", BETA)
    books.activate(lifted(version="next", cap="1.00"))
    books.contract("C", amount="0.01")
    books.post([usage("c", "C", 100)])
    summed(told(books))


def test_nothing_sums_up_to_nothing():
    summed([])
    summed(told(Books()))


# Cost


def test_a_price_that_is_not_the_contract_s_is_found():
    books = world()
    contract = books.state.contracts["A"]
    contract.registered = msgspec.structs.replace(contract.registered, prices={DEVICE: 45_001})
    books.post([usage("a", hours=10)])
    found(books, "sum_cost", "contract A", "45001", "45000")


def test_a_floor_for_each_record_is_found():
    books = world()
    parts = slices(record("a", "A", START, START + 3_601, 7_000), 61)
    entries = told(books)
    books.post(parts)
    usages = told(books)[len(entries) :]
    for fields in usages[1:]:
        work = fields["milli_devices"] * (fields["end"] - fields["start"]) * 45_000
        fields["cost"] = work // (3600 * 10**6 * 1000 * 100)
        fields["postings"] = [[f"enterprise:{ALPHA}", "due:A", fields["cost"]]]
        fields["entitled"] = []
    cost = sum(fields["cost"] for fields in usages[1:])
    assert cost < 3_150
    found(entries + usages, "sum_cost", "contract A", str(cost), "3150")


def test_a_void_that_takes_nothing_back_is_found():
    books = world()
    books.post([usage("a")])
    books.void("a")
    *entries, last = told(books)
    found([*entries, last | {"postings": [], "cost": 0, "entitled": []}], "sum_cost", "4500", " 0")


def test_a_cost_that_only_the_posting_has_is_found():
    books = world()
    books.post([usage("a")])
    *entries, last = told(books)
    found([*entries, last | {"cost": 4_499}], "sum_cost", "entries of contract A", "4499", "4500")
    owed, granted = last["postings"]
    dearer = [owed[0], owed[1], 4_501]
    found([*entries, last | {"postings": [dearer, granted]}], "sum_cost", "4501", "4500")


def test_a_cost_that_another_enterprise_owes_is_found():
    books = world()
    books.post([usage("a")])
    *entries, last = told(books)
    (_, due, fen), granted = last["postings"]
    other = [[f"enterprise:{BETA}", due, fen], granted]
    found([*entries, last | {"postings": other}], "sum_enterprise", ALPHA, "-4500")


# Eligible usage


@pytest.mark.parametrize("eligible", [[], [[2024, 36_000_000]], [[2025, 35_999_999]]])
def test_another_eligible_usage_is_found_at_its_entry(eligible):
    books = world()
    books.post([usage("a")])
    *entries, last = told(books)
    found([*entries, last | {"eligible": eligible}], "sum_eligible", "record a", entry=len(entries))


def test_a_year_that_begins_at_midnight_of_utc_is_found():
    books = world()
    books.post([across_the_year("a")])
    *entries, last = told(books)
    assert last["eligible"] == [[2025, 144_000_000], [2026, 144_000_000]]
    utc = [[2025, 288_000_000]]
    found([*entries, last | {"eligible": utc}], "sum_eligible", entry=len(entries))


def not_of_the_measures(books: Books) -> Fields:
    books.state.contracts["A"].window = FOREVER
    return record("a", "A", "2024-12-17T23:00:00+08:00", "2024-12-18T01:00:00+08:00", 1_000)


def outside_the_term(books: Books) -> Fields:
    books.contract("Z", starts="2025-03-01")
    books.state.contracts["Z"].window = FOREVER
    return usage("a", "Z")


def of_related_parties(books: Books) -> Fields:
    books.contract("Z", related_party=True)
    books.state.contracts["Z"].window = FOREVER
    return usage("a", "Z")


def of_another_use(books: Books) -> Fields:
    books.contract("Z", use="inference")
    books.state.contracts["Z"].window = FOREVER
    return usage("a", "Z")


def of_a_device_not_enlisted(books: Books) -> Fields:
    books.contract("Z", prices={"other": "4.50"})
    books.state.providers["pcl"].enlisted["other"] = [FOREVER]
    return usage("a", "Z", device="other")


@pytest.mark.parametrize(
    "case",
    [
        not_of_the_measures,
        outside_the_term,
        of_related_parties,
        of_another_use,
        of_a_device_not_enlisted,
    ],
)
def test_usage_that_is_not_eligible_is_found(case):
    books = world()
    books.post([case(books)])
    found(books, "sum_eligible", "record a", entry=len(books.entries) - 1)


def test_usage_after_the_enlistment_is_found():
    books = Books()
    books.activate(lifted())
    enlisted = {"batch": "2025-1", "from": "2025-01-01", "until": "2025-02-20"}
    books.provider(enlisted=enlisted)
    books.key()
    books.enterprise()
    books.contract("A")
    books.state.providers["pcl"].enlisted[DEVICE] = [FOREVER]
    books.post([usage("a")])
    found(books, "sum_eligible", entry=len(books.entries) - 1)


# Entitlement


def test_a_ratio_of_51_percent_is_found():
    books = world()
    bend(books, "A", ratio_bp=5_100)
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
    bend(books, "A", ratio_bp=11_000)
    books.post([usage("a")])
    entries = told(books)
    content = entries[1]["content"]
    entries[1]["content"] = content.replace("standard = 5000", "standard = 11000", 1)
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
        granted(books, lambda postings: [postings[0], other]), "sum_coupon", BETA, "7750", "10000"
    )


# Coupons, pools, policies


def bend_policy(books: Books, **figures: Any) -> None:
    versions = books.state.policies[PROGRAMME]
    versions["test"] = msgspec.structs.replace(versions["test"], **figures)


def test_a_coupon_above_the_cap_is_found():
    books = world(cap="250.00")
    bend_policy(books, cap=10**9)
    number = books.issue(2025, "50.01")
    found(books, "sum_cap", ALPHA, "25001", "25000", entry=number)


def test_coupons_above_the_pool_are_found():
    books = world(pool="350.00")
    books.state.pools[PROGRAMME, 2025].amount = 10**9
    number = books.issue(2025, "50.01", BETA)
    found(books, "sum_pool", f"{PROGRAMME} 2025", "35001", "35000", entry=number)


def test_a_pool_lowered_below_what_was_issued_is_found():
    books = world()
    books.state.pools[PROGRAMME, 2025].issued = 0
    books.activate(lifted(version="next", pool="299.99"))
    found(books, "sum_pool", f"{PROGRAMME} 2025", "30000", "29999")


def test_a_cap_lowered_later_is_no_fault():
    books = world()
    books.activate(lifted(version="next", cap="0.01"))
    summed(told(books))


@pytest.mark.parametrize(
    ("contract", "rented"),
    [
        ({"amount": "499.99"}, "249999"),
        ({"related_party": True}, "200000"),
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


def test_a_coupon_of_a_year_without_policy_is_found():
    *entries, last = told(world())
    found([*entries, last | {"year": 2027}], "sum_policy", "2027", entry=len(entries))


def test_a_coupon_that_holds_another_amount_is_found():
    *entries, last = told(world())
    (pool, coupon, fen) = last["postings"][0]
    more = [*entries, last | {"postings": [[pool, coupon, fen + 1]]}]
    found(more, "sum_coupon", BETA, "10001", "10000")
    found([*entries, last | {"amount": 10_001}], "sum_coupon", BETA, "10000", "10001")


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


# Contracts and records


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


def test_a_contract_under_an_older_policy_is_found():
    books = world()
    books.activate(lifted(version="next"))
    number = books.contract("Z")
    *entries, last = told(books)
    found([*entries, last | {"policy": "test"}], "sum_policy", PROGRAMME, "test", entry=number)


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
    "lie", [{"id": "unknown"}, {"provider": "sz"}, {"record": 14}, {"contract": "B"}]
)
def test_a_void_of_another_record_is_found(lie):
    *entries, last = voided(world())
    found([*entries, last | lie], "sum_record", entry=len(entries))


def test_a_voided_id_stays_used():
    books = world()
    entries = voided(books)
    usage_again = next(fields for fields in entries if fields["kind"] == "usage")
    found([*entries, usage_again], "sum_record", "counts already", entry=len(entries))
