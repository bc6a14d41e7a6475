"""Findings of the independent sums when the core is wrong, and wrong everywhere alike.

The rules are bent in the state of real books, so that entries follow the wrong rule in each field
and posting. Where no state can do that, the entries are written by hand.
"""

import dataclasses

import pytest

from ledger.canon import encode
from meter.auditor.sums import Sums
from meter.values.units import parse_instant
from tests.bending import (
    END_OF_2026,
    START,
    TODAY,
    across_the_year,
    count_always,
    found,
    found_last,
    found_with,
    span,
    usage,
    world,
)
from tests.books import ALPHA, BETA, DEVICE, HOUR, Books, day_number, lifted, record, slices, void
from tests.summing import Fields, summed, told

# Honest books


def test_honest_books_pass():
    books = world()
    books.withdraw(2026, "0.01")
    books.post([usage("a"), usage("b", "B"), usage("s", "S", 20), usage("a"), usage("z", "nobody")])
    books.post([across_the_year("a2"), across_the_year("b2", "B")], [void("a")])
    books.post(slices(usage("a3", hours=12), 977))
    books.void("b")
    books.activate(lifted(version="next", cap="1.00"))
    books.contract("C", amount="0.01")
    books.post([usage("c", "C", 100)])
    summed(told(books))


def test_totals_are_compared_at_the_end():
    sums = Sums()
    for number, fields in enumerate(told(world())):
        sums.entry(number, encode(fields))
        assert sums.compared == 0
    sums.finish()
    assert sums.compared > 0


def test_nothing_sums_up_to_nothing():
    summed([])
    summed(told(Books()))


# Cost


def test_a_price_that_is_not_the_contract_s_is_found():
    books = world()
    contract = books.state.contracts["A"]
    contract.steps = [dataclasses.replace(contract.steps[0], prices={DEVICE: 45_001})]
    books.post([usage("a", hours=10)])
    found(books, "sum_cost", "contract A", "45001", "45000")


def test_the_price_of_another_month_is_found():
    books = world()
    prices = {DEVICE: {"amount": "3000.00", "per": "month"}}
    books.contract("Z", prices=prices, amount="1000.00")
    midnight = parse_instant("2025-03-01T00:00:00+08:00")
    books.post([record("z", "Z", midnight - HOUR, midnight + HOUR, 1_000)])
    books.post([record("y", "Z", midnight, midnight + HOUR, 1_000)])
    entries = told(books)
    assert [entry["cost"] for entry in entries[-3:] if entry["kind"] == "usage"] == [849, 403]
    summed(entries)
    *entries, last = entries
    owed, *granted = last["postings"]
    february = last | {"cost": 446, "postings": [[*owed[:2], 446], *granted]}
    found([*entries, february], "sum_cost", "contract Z", "1295", "1252")


def test_a_price_for_a_day_is_for_24_hours():
    books = world()
    books.contract("Z", prices={DEVICE: {"amount": "100.00", "per": "day"}}, amount="1000.00")
    books.post([record("z", "Z", START, START + 25 * HOUR, 1_000)])
    assert told(books)[-1]["cost"] == 10_416
    summed(told(books))


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


# What fits, and what counts for nothing


@pytest.mark.parametrize(
    "fits", [[], [[TODAY - 1, 36_000_000]], [[TODAY, 35_999_999]], [[TODAY, 36_000_001]]]
)
def test_another_fitting_usage_is_found_at_its_entry(fits):
    books = world()
    books.post([usage("a")])
    found_with(books, {"fits": fits}, "sum_fits", "record a")


def test_a_day_that_begins_at_midnight_of_utc_is_found():
    books = world()
    books.post([across_the_year("a")])
    last_day = day_number("2025-12-31")
    assert told(books)[-1]["fits"] == [[last_day, 144_000_000], [last_day + 1, 144_000_000]]
    found_with(books, {"fits": [[last_day, 288_000_000]]}, "sum_fits")


def not_of_the_measures(books: Books) -> Fields:
    count_always(books, "A")
    return record("a", "A", "2024-12-17T23:00:00+08:00", "2024-12-18T01:00:00+08:00", 1_000)


def outside_the_term(books: Books) -> Fields:
    books.contract("Z", starts="2025-03-01")
    count_always(books, "Z")
    return usage("a", "Z")


def of_related_parties(books: Books) -> Fields:
    books.contract("Z", related_party=True)
    count_always(books, "Z")
    return usage("a", "Z")


def of_another_use(books: Books) -> Fields:
    books.contract("Z", use="inference")
    count_always(books, "Z")
    return usage("a", "Z")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (not_of_the_measures, "outside_policy"),
        (outside_the_term, "outside_term"),
        (of_related_parties, "related_party"),
        (of_another_use, "use"),
    ],
)
def test_usage_that_is_not_eligible_and_counts_is_found(case, reason):
    books = world()
    books.post([case(books)])
    found_last(books, "sum_ineligible", "record a", reason)


def not_eligible() -> Books:
    """Return books with a record of which an hour is outside the term, and one not enlisted."""
    books = Books(END_OF_2026)
    books.activate(lifted())
    books.provider(enlisted=span("2025-1", "2025-01-01", "2025-02-21"))
    books.key()
    books.enterprise()
    books.contract("A", starts="2025-02-20", max_devices={DEVICE: 8})
    midnight = parse_instant("2025-02-20T00:00:00+08:00")
    books.post([record("a", "A", midnight - HOUR, midnight + 25 * HOUR, 9_000)])
    return books


def test_each_reason_has_its_cost_and_a_void_takes_it_off():
    books = not_eligible()
    entry = told(books)[-1]
    assert entry["ineligible"] == [["outside_term", 3_600], ["not_enlisted", 4_050]]
    assert (entry["cost"], entry["withheld_cost"]) == (26 * 4_050, 25 * 450)
    books.void("a")
    entry = told(books)[-1]
    assert entry["ineligible"] == [["outside_term", -3_600], ["not_enlisted", -4_050]]
    assert (entry["cost"], entry["withheld_cost"]) == (-26 * 4_050, -25 * 450)
    summed(told(books))


@pytest.mark.parametrize(
    "ineligible",
    [
        [],
        [["outside_term", 3_600]],
        [["not_enlisted", 4_050]],
        [["not_enlisted", 4_050], ["outside_term", 3_600]],
        [["outside_term", 3_600], ["not_enlisted", 4_049]],
        [["outside_policy", 3_600], ["not_enlisted", 4_050]],
        [["outside_term", 3_600], ["not_enlisted", 4_050], ["use", 0]],
    ],
)
@pytest.mark.parametrize("is_voided", [False, True])
def test_a_reason_that_is_left_out_or_another_is_found(ineligible, is_voided):
    books = not_eligible()
    if is_voided:
        books.void("a")
        ineligible = [[reason, -fen] for reason, fen in ineligible]
    found_with(books, {"ineligible": ineligible}, "sum_ineligible", "record a")


@pytest.mark.parametrize("fen", [0, 25 * 450 - 1, 25 * 450 + 1])
@pytest.mark.parametrize("is_voided", [False, True])
def test_another_cost_of_what_is_withheld_is_found(fen, is_voided):
    books = not_eligible()
    if is_voided:
        books.void("a")
        fen = -fen
    found_with(books, {"withheld_cost": fen}, "sum_withheld", "record a")


def test_a_part_that_is_not_enlisted_and_is_said_to_fit_is_found():
    books = not_eligible()
    *days, (day, time) = told(books)[-1]["fits"]
    found_with(books, {"fits": [*days, [day, time], [day + 1, 9_000 * HOUR]]}, "sum_fits")
