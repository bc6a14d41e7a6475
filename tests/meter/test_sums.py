"""Findings of the independent sums when the core is wrong, and wrong everywhere alike.

The rules are bent in the state of real books, so that entries follow the wrong rule in each field
and posting. Where no state can do that, the entries are written by hand.
"""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canon import encode
from ledger.errors import Violation
from meter.auditor.sum_records import Records
from meter.auditor.sums import Sums
from meter.rules.capacity import QUARTER_SECONDS, DeviceTime
from meter.rules.kinds.table import BY_NAME
from meter.rules.state import EnlistedBatch, Segment
from meter.values.units import day_of, parse_instant
from tests import summing
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    PROGRAMME,
    Books,
    attempt,
    day_number,
    lifted,
    properties,
    record,
    slices,
    void,
)
from tests.summing import summed, told

START = parse_instant("2025-02-20T08:00:00+08:00")
TODAY = day_of(START)
FOREVER = (0, 10**12)
END_OF_2026 = "2027-01-01T12:00:00+08:00"

Fields = dict[str, Any]


def world(now: str = END_OF_2026, **figures: Any) -> Books:
    """Return books with contracts A and B of one enterprise and S of another, and coupons."""
    books = Books(now)
    books.activate(lifted(**figures))
    books.provider()
    books.key()
    books.enterprise()
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("A", amount="1000.00")
    books.contract("B", amount="1000.00")
    books.contract("S", enterprise=BETA, amount="1000.00")
    books.fund_contract("S", "590.00")
    books.issue(2025, "200.00")
    books.issue(2026, "100.00")
    books.issue(2025, "10.00", BETA)
    return books


def usage(id_: str, contract: str = "A", hours: int = 1, **changes: Any) -> Fields:
    return record(id_, contract, START, START + hours * HOUR, 10_000) | changes


def across_the_year(id_: str, contract: str = "A") -> Fields:
    return record(id_, contract, "2025-12-31T20:00:00+08:00", "2026-01-01T04:00:00+08:00", 10_000)


def found(entries: list[Fields] | Books, code: str, *words: str, entry: int | None = None) -> None:
    assert summing.found(entries, code, *words).entry == entry


def bend(books: Books, contract: str, **terms: Any) -> None:
    """Change the values that decide the entitlement of a contract, but not its entry."""
    held = books.state.contracts[contract]
    held.terms = dataclasses.replace(held.terms, **terms)


def bend_ratio(books: Books, contract: str, ratio_bp: int) -> None:
    for segment in books.state.contracts[contract].segments:
        segment.ratio_bp = ratio_bp


def count_always(books: Books, contract: str) -> None:
    """Let the core count the usage of a contract at any time."""
    held = books.state.contracts[contract]
    held.segments = [Segment(2025, "test", 5_000, *FOREVER)]
    held.meters.clear()  # made from the segments, when needed


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


# Capacity


def crowded(cards: int = 8, **contract: Any) -> Books:
    """Return books of a provider with few cards, and a contract without limits."""
    books = Books(END_OF_2026)
    books.activate(lifted())
    books.provider(devices={DEVICE: cards})
    books.key()
    books.enterprise()
    books.contract("A", **({"max_devices": {}} | contract))
    books.issue(2025, "500.00")
    return books


def hour(id_: str, cards: int = 8, contract: str = "A", **changes: Any) -> Fields:
    return record(id_, contract, START, START + HOUR, cards * 1_000) | changes


def quarter(id_: str, place: int, cards: int) -> Fields:
    start = START + place * QUARTER_SECONDS
    return record(id_, "A", start, start + QUARTER_SECONDS, cards * 1_000)


def in_use(books: Books) -> DeviceTime:
    return books.state.device_time(("provider", "pcl", DEVICE))


def seem_used(books: Books, cards: int) -> None:
    """Let the core believe that more, or less, is in use in the hour."""
    in_use(books).add_in(START // QUARTER_SECONDS, 4, cards * 1_000 * QUARTER_SECONDS)


def enlist_unseen(books: Books, device: str = DEVICE) -> None:
    """Let the core believe in an enlistment that no entry made."""
    batches = books.state.providers["pcl"].enlistments
    batches["unseen"] = EnlistedBatch(0, {device: 10**6}, *FOREVER)


def found_last(books: Books, code: str, *words: str) -> None:
    found(books, code, *words, entry=len(books.entries) - 1)


def found_with(books: Books, lie: Fields, code: str, *words: str) -> None:
    """Expect a fault in the last entry."""
    *entries, last = told(books)
    found([*entries, last | lie], code, *words, entry=len(entries))


@pytest.mark.parametrize("kind", BY_NAME)
def test_the_sums_know_every_kind_of_entry(kind):
    # An entry without its fields breaks in the sum that knows the kind, and nowhere else.
    with suppress(KeyError, msgspec.ValidationError):
        Sums().entry(0, encode({"kind": kind, "postings": []}))


def test_a_kind_that_no_sum_knows_is_found():
    entries = told(crowded())
    gift = {"kind": "gift", "at": 0, "postings": []}
    found([*entries, gift], "sum_kind", "gift", entry=len(entries))


def test_honest_books_of_a_crowded_provider_pass():
    books = crowded(max_devices={DEVICE: 6})
    books.contract("B", max_devices={})
    books.post([hour("a", 5), hour("b", 5, "B"), hour("a2", 3), quarter("a3", 2, 9)])
    books.void("a2")
    books.enlist("more", 4, "2025-01-01", "2025-02-21")
    books.post([hour("a4", 4), hour("b2", 9, "B")], [void("b")])
    books.release("a3")
    books.release("b2")
    books.post([hour("b3", 2, "B")])
    books.enlist("more", 4, "2025-01-01", "2025-02-20")
    books.void("b2")
    books.post([hour("b4", 7, "B"), usage("b5", "B", 300), across_the_year("b6", "B")])
    books.release("b6")
    entries = told(books)
    withheld = ["b", "a2", "a3", "a4", "b2", "b3", "b4", "b5", "b6"]
    assert [fields["id"] for fields in entries if "evidence" in fields] == withheld
    # And once more where they are released, or voided without a release.
    assert len([fields for fields in entries if "withheld" in fields]) == 9 + 3 + 2
    summed(entries)


def test_a_record_that_counts_though_nothing_is_left_for_it_is_found():
    books = crowded()
    books.post([hour("a")])
    seem_used(books, -8)
    books.post([hour("b")])
    assert books.entries[-1].fits == [(TODAY, 8_000 * HOUR)]
    found_last(books, "sum_withheld", "record b", "[]", str(8_000 * HOUR))


def test_a_thousandth_of_a_device_for_a_second_too_much_is_found():
    books = crowded()
    books.post([hour("a"), record("b", "A", START + HOUR - 1, START + HOUR, 1)])
    *entries, last = told(books)
    assert last.pop("withheld") == [[TODAY, 1]]
    assert last.pop("evidence")
    last |= {"fits": [[TODAY, 1]]}
    found([*entries, last], "sum_withheld", "record b", entry=len(entries))


def test_a_record_that_is_withheld_though_it_fits_is_found():
    books = crowded()
    seem_used(books, 8)
    books.post([hour("a")])
    found_last(books, "sum_withheld", "record a", "[]", str(8_000 * HOUR))


def test_a_limit_of_the_contract_that_is_not_minded_is_found():
    books = crowded(max_devices={DEVICE: 4})
    contract = books.state.contracts["A"]
    contract.agreed = msgspec.structs.replace(contract.agreed, max_devices={})
    books.post([hour("a", 5)])
    found_last(books, "sum_withheld", str(1_000 * HOUR))


@pytest.mark.parametrize(
    "withheld",
    [
        *([], [[TODAY, 4_000 * HOUR - 1]], [[TODAY, 4_000 * HOUR + 1]], [[2025, 4_000 * HOUR]]),
        [[TODAY, 2_000 * HOUR], [TODAY, 2_000 * HOUR]],
    ],
)
def test_another_withheld_figure_is_found_in_a_record_its_void_and_its_release(withheld):
    books = crowded()
    books.post([hour("a", 12)])
    found_with(books, {"withheld": withheld}, "sum_withheld", "record a")
    released, voided = told(books), told(books)
    books.release("a")
    released.append(told(books)[-1] | {"withheld": withheld})
    found(released, "sum_withheld", "record a", entry=len(released) - 1)
    books = crowded()
    books.post([hour("a", 12)])
    books.void("a")
    voided.append(told(books)[-1] | {"withheld": withheld})
    found(voided, "sum_withheld", "record a", entry=len(voided) - 1)


def test_a_void_that_takes_back_what_was_released_from_being_withheld_is_found():
    books = crowded()
    books.post([hour("a", 12)])
    books.release("a")
    books.void("a")
    assert "withheld" not in told(books)[-1]
    found_with(books, {"withheld": [[TODAY, 4_000 * HOUR]]}, "sum_withheld")


def test_what_is_withheld_is_of_the_day_of_shanghai():
    books = crowded(cards=1)
    books.post([across_the_year("a")])
    four_hours = 9_000 * 4 * HOUR
    last_day = day_number("2025-12-31")
    assert told(books)[-1]["withheld"] == [[last_day, four_hours], [last_day + 1, four_hours]]
    summed(told(books))
    found_with(books, {"withheld": [[last_day, 2 * four_hours]]}, "sum_withheld")


def shown(start: int, end: int, cards: int, limit: str = "provider") -> list[Any]:
    """Return evidence of some quarters of the hour."""
    begin, until = (START + place * QUARTER_SECONDS for place in (start, end))
    return [limit, begin * 10**6, until * 10**6, cards * 1_000 * (until - begin)]


@pytest.mark.parametrize(
    "evidence",
    [
        [],
        [shown(0, 2, 4, "contract"), shown(2, 3, 4, "contract")],
        [shown(0, 2, 4, "contract"), shown(2, 3, 4)],
        [shown(0, 1, 4), shown(1, 2, 4), shown(2, 3, 4)],
        [shown(0, 2, 4), shown(2, 3, 4)],
        [shown(0, 4, 3)],
        [shown(1, 4, 4)],
        [shown(0, 2, 4)],
        [shown(0, 3, 4), shown(3, 4, 0)],
    ],
)
def test_evidence_of_another_limit_or_quarter_is_found(evidence):
    books = crowded()
    books.post([quarter("x", 0, 4), quarter("y", 1, 4), quarter("z", 2, 4)])
    books.post([hour("a", 8)])
    assert told(books)[-1]["evidence"] == [shown(0, 3, 4)]
    summed(told(books))
    found_with(books, {"evidence": evidence}, "sum_evidence", "record a")


def test_evidence_names_the_smaller_room_and_of_equal_ones_the_contract_s():
    books = crowded(max_devices={DEVICE: 8})
    books.contract("B", max_devices={})
    books.post([quarter("x", 0, 2), quarter("y", 2, 8) | {"contract": "B"}, hour("a", 16)])
    ours = [shown(0, 2, 0, "contract"), shown(2, 3, 16), shown(3, 4, 8, "contract")]
    ours[0][3] = 18_000 * QUARTER_SECONDS
    assert told(books)[-1]["evidence"] == ours
    summed(told(books))
    equal = [shown(3, 4, 8)]
    found_with(books, {"evidence": [*ours[:2], *equal]}, "sum_evidence")


def test_the_last_of_many_runs_of_evidence_takes_the_rest():
    books = crowded()
    books.post(quarter(f"q{place}", place, 8) for place in range(0, 80, 2))
    books.post([usage("a", hours=20, milli_devices=1_000)])
    evidence = told(books)[-1]["evidence"]
    assert len(evidence) == 16
    summed(told(books))
    first, last = evidence[:15], evidence[15]
    for lie in (first, [*first, shown(30, 31, 1), shown(32, 33, 1)], [*first, shown(30, 31, 1)]):
        found_with(books, {"evidence": lie}, "sum_evidence")
    assert last[3] == 25 * 1_000 * QUARTER_SECONDS


def test_withheld_time_that_is_said_to_fit_is_found():
    books = crowded()
    books.post([hour("a", 12)])
    found_with(books, {"fits": [[TODAY, 12_000 * HOUR]]}, "sum_fits", "record a")


def test_a_void_that_does_not_free_is_found_where_the_next_record_is_withheld():
    books = crowded()
    books.post([hour("a")])
    books.void("a")
    seem_used(books, 8)
    books.post([hour("b")])
    found_last(books, "sum_withheld", "record b")


def test_a_void_that_frees_what_was_never_in_use_is_found_where_the_next_record_counts():
    books = crowded()
    books.post([hour("a"), hour("b")])
    books.void("b")
    seem_used(books, -8)
    books.post([hour("c")])
    found_last(books, "sum_withheld", "record c")


def test_a_release_that_takes_no_room_is_found_where_the_next_record_counts():
    books = crowded()
    books.post([hour("a", 12)])
    books.void("a")
    books.post([hour("b", 12)])
    books.release("b")
    books.enlist("more", 4, "2025-01-01", "2026-01-01")
    seem_used(books, -4)
    books.post([hour("c", 4)])
    found_last(books, "sum_withheld", "record c")


@pytest.mark.parametrize(
    "prepare",
    [
        lambda books: books.post([hour("a", 8)]),
        lambda books: (books.post([hour("a", 9)]), books.release("a")),
        lambda books: (books.post([hour("a", 9)]), books.void("a")),
        lambda books: (books.post([hour("a", 9)]), books.release("a"), books.void("a")),
        lambda books: books.post([hour("b", 9)]),
    ],
)
def test_a_release_of_what_is_not_withheld_or_no_longer_is_found(prepare):
    honest, books = crowded(), crowded()
    honest.post([hour("a", 9)])
    honest.release("a")
    prepare(books)
    again = told(honest)[-1]
    found([*told(books), again], "sum_record", "record a of pcl", entry=len(books.entries))


@pytest.mark.parametrize("lie", [{"record": 3}, {"contract": "B"}, {"device": "other"}])
def test_a_release_or_void_of_another_record_is_found(lie):
    books = crowded()
    books.post([hour("a", 9)])
    books.release("a")
    found_with(books, lie, "sum_record", "that of entry 8")
    books.void("a")
    found_with(books, lie, "sum_record", "that of entry 8")


def test_a_release_that_makes_the_record_count_outside_the_term_is_found():
    books = crowded(starts="2025-03-01")
    books.post([hour("a", 12)])
    count_always(books, "A")
    books.release("a")
    found_last(books, "sum_ineligible", "outside_term")


def test_a_release_tells_what_becomes_ineligible_for_another_reason():
    books = crowded(starts="2025-03-01")
    books.post([hour("a", 12)])
    books.release("a")
    entry = told(books)[-1]
    assert (entry["withheld_cost"], entry["ineligible"]) == (-1_800, [["outside_term", 1_800]])
    summed(told(books))
    found_with(books, {"ineligible": []}, "sum_ineligible", "outside_term", "1800")
    found_with(books, {"withheld_cost": 0}, "sum_withheld", "-1800")


def test_what_is_not_enlisted_is_not_withheld_and_cannot_be_released():
    books = Books(END_OF_2026)
    books.activate(lifted())
    books.provider(enlisted=span("2025-1", "2025-01-01", "2025-02-20"))
    books.key()
    books.enterprise()
    books.contract("A")
    books.post([hour("a")])
    entry = told(books)[-1]
    assert (entry["fits"], entry["ineligible"]) == ([], [["not_enlisted", 3_600]])
    assert "withheld" not in entry
    summed(told(books))
    found_with(books, {"withheld": [[TODAY, 8_000 * HOUR]]}, "sum_withheld", "[]")
    assert attempt(lambda: books.release("a")).code == "nothing_withheld"


def test_a_release_that_grants_nothing_is_found():
    books = crowded()
    books.post([hour("a", 12)])
    books.release("a")
    *entries, last = told(books)
    assert last["entitled"] == [[2025, 900]]
    silent = last | {"entitled": [], "postings": []}
    found([*entries, silent], "sum_entitled", "contract A in 2025", "1800", "2700")


def test_a_void_takes_back_what_counted_whatever_is_enlisted_since():
    books = crowded()
    books.enlist("more", 4, "2025-01-01", "2025-03-01")
    books.post([hour("a", 12)])
    books.enlist("more", 4, "2025-01-01", "2025-02-20")
    books.void("a")
    summed(told(books))
    books.enlist("more", 4, "2025-01-01", "2025-03-01")
    books.post([hour("b", 13)])
    books.release("b")
    books.enlist("more", 4, "2025-01-01", "2025-02-20")
    books.void("b")
    assert (books.eligible("A", 2025), books.cost("A")) == (0, 0)
    summed(told(books))


def span(batch: str, starts: str, ends: str) -> dict[str, str]:
    return {"batch": batch, "from": starts, "until": ends}


def test_an_enlistment_that_no_entry_made_is_found():
    books = crowded()
    enlist_unseen(books)
    books.post([hour("a", 9)])
    found_last(books, "sum_withheld")


def test_an_enlistment_that_counts_after_its_end_is_found():
    books = crowded()
    books.enlist("more", 4, "2025-01-01", "2026-01-01")
    batches = books.state.providers["pcl"].enlistments
    kept = batches["more"]
    books.enlist("more", 4, "2025-01-01", "2025-02-20")
    batches["more"] = kept
    books.post([hour("a", 9)])
    found_last(books, "sum_withheld")


def test_usage_after_the_enlistment_is_found():
    books = Books()
    books.activate(lifted())
    books.provider(enlisted=span("2025-1", "2025-01-01", "2025-02-20"))
    books.key()
    books.enterprise()
    books.contract("A")
    enlist_unseen(books)
    books.post([usage("a")])
    found_last(books, "sum_fits")


def test_a_device_that_was_never_enlisted_is_found():
    books = world()
    books.contract("Z", prices={"other": "4.50"})
    enlist_unseen(books, "other")
    books.post([usage("a", "Z", device="other")])
    found_last(books, "sum_fits")


@pytest.mark.parametrize(
    ("devices", "starts"), [({DEVICE: 5}, "2025-01-01"), ({DEVICE: 4}, "2025-01-02")]
)
def test_an_enlistment_that_changes_more_than_its_end_is_found(devices, starts):
    books = crowded()
    books.enlist("more", 4, "2025-01-01", "2026-01-01")
    del books.state.providers["pcl"].enlistments["more"]
    books.enlist("more", devices, starts, "2026-02-01")
    found_last(books, "sum_enlistment", "more")


# At a glance, and closely


class WatchedRecords(Records):
    """Those that note which need a closer look."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at: list[str] = []

    def _closely(self, number: int, meter: Any, usage: Any) -> bytes:
        self.looked_at.append(usage.id)
        return super()._closely(number, meter, usage)


class ThoroughRecords(Records):
    """Those that look closely at every one."""

    def _at_a_glance(self, *_: Any) -> None:
        return None


def sums_with(records: Records) -> Sums:
    sums = Sums()
    sums._records = records
    return sums


def test_only_records_across_midnight_and_such_as_do_not_fit_take_a_closer_look():
    books = crowded(max_devices={DEVICE: 6})
    books.contract("B", max_devices={}, starts="2025-03-01")
    midnight = parse_instant("2025-02-21T00:00:00+08:00")
    books.post(
        [
            record("all-day", "A", midnight - 24 * HOUR, midnight, 1_000),
            record("across", "A", midnight - 1, midnight + 1, 1_000),
            record("does-not-count", "B", midnight, midnight + HOUR, 1_000),
            record("fills-up", "A", midnight + 4_000, midnight + 8_000, 6_000),
            record("fills-the-last-quarter-up", "A", midnight + 8_000, midnight + 8_100, 6_000),
            record("no-room-under-the-contract", "A", midnight + 8_099, midnight + 8_101, 1),
            record("room-at-the-provider", "B", midnight + 4_000, midnight + 8_000, 2_000),
            record("no-room-at-the-provider", "B", midnight + 7_000, midnight + 8_000, 1),
            record("room-beside-it", "A", midnight + 8_101, midnight + HOUR * 24, 5_999),
        ]
    )
    records = WatchedRecords()
    watched = sums_with(records)
    for number, fields in enumerate(told(books)):
        watched.entry(number, encode(fields))
    watched.finish()
    closely = ["across", "does-not-count", "no-room-under-the-contract"]
    closely += ["room-at-the-provider", "no-room-at-the-provider"]
    assert records.looked_at == closely


def held(sums: Sums) -> list[Any]:
    """Return all that sums have collected of usage."""
    records = sums._records
    in_use = [*records._in_use.values(), *(meter.in_use for meter in records._meter_list)]
    return [
        dict(sums._balances),
        dict(records._records),
        records._withheld,
        [{day: [*times] for day, times in each.items() if any(times)} for each in in_use],
        [(each.work, each.stated_cost, each.stated_entitled) for each in sums._contracts.values()],
        [
            {day: times for day, times in meter.used.items() if any(times)}
            for meter in records._meter_list
        ],
    ]


def outcome(sums: Sums, entries: list[Fields]) -> Any:
    """Return the findings of the sums in entries, and what they hold then."""
    try:
        for number, fields in enumerate(entries):
            sums.entry(number, encode(fields))
        sums.finish()
    except Violation as violation:
        return violation.code, violation.detail, violation.entry, held(sums)
    return held(sums)


EDGES = [
    parse_instant(f"{day}T00:00:00+08:00")
    # The policy's first day, New Year, the last day of an enlistment, a first day of a term.
    for day in ("2024-12-18", "2025-01-01", "2025-02-21", "2025-03-01", "2026-01-01")
]
ids = st.integers(0, 9).map("r{}".format)
operations = st.one_of(
    st.tuples(
        st.just("post"),
        st.builds(
            lambda id_, contract, start, seconds, milli_devices: record(
                id_, contract, start, start + seconds, milli_devices
            ),
            ids,
            st.sampled_from(["A", "A", "B", "B", "late"]),
            st.builds(
                int.__add__,
                st.sampled_from(EDGES),
                st.sampled_from([-QUARTER_SECONDS, 0, HOUR]) | st.integers(-4 * HOUR, 4 * HOUR),
            ),
            st.sampled_from([1, QUARTER_SECONDS, HOUR, 3_601, 24 * HOUR, 50 * HOUR]),
            st.sampled_from([1, 460, 2_000, 6_000, 8_000, 12_000]),
        ),
    ),
    st.tuples(st.sampled_from(["void", "release"]), ids),
    st.tuples(
        st.just("enlist"), st.sampled_from(["2025-01-02", "2025-02-21", "2025-02-25", "2026-06-01"])
    ),
)
lies = st.sampled_from(
    [
        {},
        {"withheld": []},
        {"withheld": [[TODAY, 1_000]]},
        {"withheld_cost": 1},
        {"evidence": [shown(0, 1, 4)]},
        {"fits": []},
        {"fits": [[TODAY, 6_000 * HOUR]]},
        {"fits": [[TODAY, 0]], "milli_devices": 0},
        {"ineligible": [["use", 0]]},
        {"ineligible": []},
        {"milli_devices": 12_001},
        {"milli_devices": -1_000},
        {"entitled": [[2025, 1]]},
    ]
)


@properties
@given(st.lists(operations, min_size=1, max_size=15), lies, st.integers(0, 14))
def test_what_is_found_at_a_glance_is_found_closely_too(history, lie, liar):
    books = crowded(max_devices={DEVICE: 6})
    books.contract("B", max_devices={})
    books.contract("late", starts="2025-03-01")
    for what, arguments in history:
        if what == "post":
            books.post([arguments])
        elif what == "enlist":
            books.enlist("more", 4, "2025-01-01", arguments)
        else:
            attempt(lambda what=what, id_=arguments: getattr(books, what)(id_))
    entries = told(books)
    assert isinstance(outcome(Sums(), entries), list)
    usages = [fields for fields in entries if fields["kind"] == "usage"]
    if usages:
        usages[liar % len(usages)].update(lie)
    assert outcome(Sums(), entries) == outcome(sums_with(ThoroughRecords()), entries)


@pytest.mark.parametrize(
    "lie",
    [
        {"milli_devices": 0, "fits": []},
        {"milli_devices": 0, "fits": [[TODAY, 0]]},
        {"milli_devices": -8_000, "fits": [[TODAY, -8_000 * HOUR]]},
        {"end": START * 10**6, "fits": []},
        {"end": (START + 1) * 10**6, "start": (START + 1) * 10**6, "fits": [[TODAY, 0]]},
        {"end": (START - HOUR) * 10**6, "fits": [[TODAY, -8_000 * HOUR]]},
    ],
)
def test_a_record_of_nothing_or_less_is_none_at_a_glance_either(lie):
    books = crowded()
    books.post([hour("a")])
    *entries, last = told(books)
    entries.append(last | lie)
    assert outcome(Sums(), entries) == outcome(sums_with(ThoroughRecords()), entries)


def test_a_record_of_31_days_counts_and_one_that_is_longer_is_found_be_it_by_centuries():
    books = crowded()
    month = 31 * 24 * HOUR
    books.post([record("a", "A", START, START + month, 1_000)])
    *entries, last = told(books)
    summed([*entries, last])
    assert len(last["fits"]) == 32
    for seconds in (month + 1, 31 * month, 200 * 365 * 24 * HOUR):
        longer = last | {"end": (START + seconds) * 10**6}
        found([*entries, longer], "sum_record", "record a is too long", entry=len(entries))


def test_something_withheld_or_shown_of_a_record_that_fits_is_found():
    books = crowded()
    books.post([hour("a")])
    found_with(books, {"withheld": [[TODAY, 1_000]]}, "sum_withheld", "record a")
    found_with(books, {"evidence": [shown(0, 1, 4)]}, "sum_evidence", "record a")


def test_a_day_is_as_full_as_it_was_whatever_days_came_in_between():
    books = crowded()
    books.post([hour("a", 6)])
    days = [START + day * 24 * HOUR for day in range(1, 70)]
    books.post(record(f"d{day}", "A", day, day + HOUR, 8_000) for day in days)
    books.post([hour("b", 6)])
    assert told(books)[-1]["withheld"] == [[TODAY, 4_000 * HOUR]]
    summed(told(books))


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


def bend_policy(books: Books, **figures: Any) -> None:
    versions = books.state.policies[PROGRAMME]
    versions["test"] = msgspec.structs.replace(versions["test"], **figures)


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
