"""Findings of the independent sums about capacity: what fits, is withheld, shown or released."""

from contextlib import suppress

import msgspec
import pytest

from ledger.canon import encode
from meter.auditor.sums import Sums
from meter.rules.capacity import QUARTER_SECONDS, DeviceTime
from meter.rules.kinds.table import BY_NAME
from meter.rules.state import EnlistedBatch
from tests.bending import (
    END_OF_2026,
    FOREVER,
    START,
    TODAY,
    across_the_year,
    count_always,
    crowded,
    found,
    found_last,
    found_with,
    hour,
    shown,
    span,
    usage,
    world,
)
from tests.books import DEVICE, HOUR, Books, attempt, day_number, lifted, record, void
from tests.summing import Fields, summed, told


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
