"""Lies about what fits, is withheld or is released, and about enlistments, that the audit finds."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ledger.canon import decode, encode
from meter.rules.capacity import Withheld
from meter.rules.state import Segment
from meter.values.units import MICROSECONDS
from tests.auditing import (
    START,
    TODAY,
    changed,
    found,
    only,
    policy,
    populate,
    usage,
    without,
    world,
)
from tests.books import DEVICE, HOUR, quarters, uscc_of, void
from tests.writer import Writer, bent


def crowded(cards: int = 24, **contract: Any) -> Writer:
    """Return a ledger whose provider has few cards: 16 work in the hour of `r`, 8 are left."""
    writer = Writer(floors=())
    populate(writer, policy(), {DEVICE: cards})
    writer.contract("L", **({"max_devices": {}, "amount": "1000.00"} | contract))
    writer.post([usage("r")])
    return writer


def seem_used(writer: Writer, milli_devices: int) -> None:
    """Let the writer believe that more, or less, is in use in the hour."""
    for name, in_use in writer.state.in_use.items():
        assert name[2] == DEVICE
        for quarter, device_time in quarters(START, START + HOUR, abs(milli_devices)):
            in_use.add_in(quarter, 1, device_time if milli_devices > 0 else -device_time)


def evidence(writer: Writer, *changes: tuple[int, Any]) -> list[Any]:
    """Return the evidence of the last entry, with items of its only run changed."""
    (run,) = writer.entries[-1].evidence
    items = list(run)
    for place, value in changes:
        items[place] = value
    return [tuple(items)]


CAPACITY_LIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nothing is withheld": (
        lambda usage: replace(usage, withheld=UNSET, evidence=UNSET),
        "withheld is None",
    ),
    "nothing is withheld, and all fits": (
        lambda usage: replace(usage, withheld=UNSET, evidence=UNSET, fits=[(TODAY, 16_000 * HOUR)]),
        "fits",
    ),
    "more is withheld": (
        lambda usage: replace(usage, withheld=[(TODAY, 8_000 * HOUR + 1)]),
        f"withheld is [[{TODAY}, 28800001]]",
    ),
    "it is withheld on another day": (
        lambda usage: replace(usage, withheld=[(TODAY + 1, 8_000 * HOUR)]),
        "withheld",
    ),
    "what is withheld costs less": (
        lambda usage: replace(usage, withheld_cost=3_599),
        "withheld_cost is 3599, not 3600",
    ),
    "nothing is evident": (lambda usage: replace(usage, evidence=[]), "evidence"),
    "another limit is evident": (
        lambda usage: replace(usage, evidence=[("contract", *usage.evidence[0][1:])]),
        "evidence is [['contract'",
    ),
    "another quarter is evident": (
        lambda usage: replace(usage, evidence=[shifted(usage.evidence[0], 900)]),
        "evidence",
    ),
    "an hour is evident in two runs": (
        lambda usage: replace(usage, evidence=halves(usage.evidence[0])),
        "evidence",
    ),
}


def shifted(run: Any, seconds: int) -> Any:
    limit, begin, end, device_time = run
    return limit, begin + seconds * MICROSECONDS, end + seconds * MICROSECONDS, device_time


def halves(run: Any) -> Any:
    limit, begin, end, device_time = run
    middle = (begin + end) // 2
    return [(limit, begin, middle, device_time // 2), (limit, middle, end, device_time // 2)]


@pytest.mark.parametrize(("change", "words"), CAPACITY_LIES.values(), ids=CAPACITY_LIES)
def test_a_lie_about_what_is_withheld_is_found(change, words):
    writer = crowded()
    writer.tell = only("usage", change)
    with found(writer, "not_as_decided", words, after=1):
        writer.post([usage("over", "L")])
        assert writer.entries[-1].withheld == [(TODAY, 8_000 * HOUR)]


def test_a_record_called_withheld_in_the_entry_alone_is_found():
    writer = crowded()
    begin, end = (instant * MICROSECONDS for instant in (START, START + HOUR))
    run = ("provider", begin, end, 8_000 * HOUR)
    writer.tell = changed("usage", withheld=[(TODAY, 8_000 * HOUR)], evidence=[run])
    with found(writer, "not_as_decided", "evidence", after=1):
        writer.post([usage("fits", "L", milli_devices=8_000)])


def test_a_record_that_counts_beyond_what_is_enlisted_is_found():
    writer = crowded()
    seem_used(writer, -8_000)
    with found(writer, "wrong_receipt", "'withheld': '0.00'"):
        writer.post([usage("over", "L")])


def test_a_record_that_counts_beyond_what_is_rented_is_found():
    writer = crowded(max_devices={DEVICE: 4})
    contract = writer.state.contracts["L"]
    unlimited = replace(contract.agreed, max_devices={})
    with (
        bent(contract, agreed=unlimited),
        found(writer, "wrong_receipt", "'withheld': '0.00'"),
    ):
        writer.post([usage("over", "L", milli_devices=5_000)])


def test_a_record_that_is_withheld_though_it_fits_is_found():
    writer = crowded()
    seem_used(writer, 8_000)
    with found(writer, "wrong_receipt", "'withheld': '36.00'"):
        writer.post([usage("fits", "L", milli_devices=8_000)])


def test_a_void_that_does_not_free_is_found_where_the_next_record_is_withheld():
    writer = crowded()
    writer.void("r")
    seem_used(writer, 16_000)
    with found(writer, "wrong_receipt", "'withheld': '36.00'"):
        writer.post([usage("next", "L")])


def test_a_void_that_frees_what_was_never_in_use_is_found_where_the_next_record_counts():
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.post(voids=[void("over")])
    seem_used(writer, -8_000)
    with found(writer, "wrong_receipt", "'withheld': '0.00'"):
        writer.post([usage("next", "L")])


@pytest.mark.parametrize("withheld", [UNSET, [], [(TODAY, 8_000 * HOUR - 1)], [(TODAY - 1, 1)]])
@pytest.mark.parametrize("by_the_authority", [True, False])
def test_a_void_that_tells_otherwise_of_what_was_withheld_is_found(withheld, by_the_authority):
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.tell = changed("void", withheld=withheld)
    with found(writer, "not_as_decided", "withheld", after=0 if by_the_authority else 1):
        writer.void("over") if by_the_authority else writer.post(voids=[void("over")])


def test_a_void_that_takes_back_what_was_released_is_found():
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.release("over")
    writer.tell = changed("void", withheld=[(TODAY, 8_000 * HOUR)])
    with found(writer, "not_as_decided", "withheld"):
        writer.void("over")


def with_a_release() -> Writer:
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.release("over")
    return writer


def test_a_record_released_twice_is_found():
    writer = with_a_release()
    held = writer.state.records["pcl", "over"]
    with bent(held, released=None), found(writer, "not_allowed", "already_released"):
        writer.release("over")


def test_a_release_of_nothing_is_found():
    writer = crowded()
    some = [Withheld(START // 900, 1, 900_000, "provider")]
    held = writer.state.records["pcl", "r"]
    with bent(held, withheld=some), found(writer, "not_allowed", "nothing_withheld"):
        writer.release("r")


def test_a_release_of_a_record_that_was_taken_back_is_found():
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.void("over")
    held = writer.state.records["pcl", "over"]
    with bent(held, voided=None), found(writer, "not_allowed", "already_voided"):
        writer.release("over")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"withheld": [(TODAY, 8_000 * HOUR + 1)]}, f"withheld is [[{TODAY}, 28800001]]"),
        ({"withheld": [(TODAY + 1, 8_000 * HOUR)]}, "withheld"),
        ({"withheld": []}, "withheld"),
        ({"withheld_cost": -3_599}, "withheld_cost"),
        ({"ineligible": [("use", 1)]}, "ineligible"),
        ({"entitled": [(2025, 1_801)]}, "entitled"),
        ({"device": "other"}, "device"),
        ({"contract": "A"}, "contract"),
        ({"record": 1}, "record"),
        ({"postings": []}, "postings"),
    ],
)
def test_a_lie_in_a_release_is_found(changes, words):
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.tell = changed("release", **changes)
    with found(writer, "not_as_decided", words):
        writer.release("over")


def test_a_release_of_which_more_counts_than_the_term_allows_is_found():
    writer = crowded(starts="2025-02-21")
    writer.post([usage("over", "L")])
    contract = writer.state.contracts["L"]
    always = [Segment(2025, "test", 5_000, 0, 10**12)]
    with (
        bent(contract, segments=always, meters={}),
        found(writer, "not_as_decided", "ineligible is None, not [['outside_term', 3600]]"),
    ):
        writer.release("over")


def test_a_release_that_takes_no_room_is_found_where_the_next_record_counts():
    writer = with_a_release()
    writer.enlist("more", 9, "2025-01-01", "2026-01-01")
    seem_used(writer, -8_000)
    with found(writer, "wrong_receipt", "'withheld': '0.00'"):
        writer.post([usage("next", "L", milli_devices=9_000)])


@pytest.mark.parametrize("missing", ["request", "reason"])
def test_a_release_that_nobody_asked_for_is_found(missing):
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.tell = only("release", lambda release: without(decode(encode(release)), {missing}))
    with found(writer, "malformed_entry", missing):
        writer.release("over")


def test_a_release_without_a_reason_is_found():
    writer = crowded()
    writer.post([usage("over", "L")])
    writer.tell = changed("release", reason=UNSET)
    with found(writer, "malformed_entry", "reason"):
        writer.release("over")


def test_a_release_that_was_never_made_is_found_where_the_record_is_taken_back():
    writer = crowded()
    writer.contract("W", related_party=True, max_devices={})
    writer.post([usage("over", "W")])
    writer.tell = only("release", lambda _: None)
    writer.release("over")
    with found(writer, "wrong_receipt", "'withheld': '0.00'"):
        writer.post(voids=[void("over")])


def test_an_enlistment_that_was_never_made_is_found_where_more_fits():
    writer = crowded()
    writer.tell = only("enlistment", lambda _: None)
    writer.enlist("more", 8, "2025-01-01", "2026-01-01")
    with found(writer, "wrong_receipt", "'withheld': '0.00'"):
        writer.post([usage("over", "L")])


def test_the_end_of_an_enlistment_that_is_not_minded_is_found():
    writer = crowded()
    writer.enlist("more", 8, "2025-01-01", "2026-01-01")
    batches = writer.state.providers["pcl"].enlistments
    kept = batches["more"]
    writer.enlist("more", 8, "2025-01-01", "2025-02-20")
    batches["more"] = kept
    with found(writer, "wrong_receipt", "'withheld': '0.00'"):
        writer.post([usage("over", "L")])


@pytest.mark.parametrize(
    ("devices", "starts"), [({DEVICE: 9}, "2025-01-01"), ({DEVICE: 8}, "2025-01-02")]
)
def test_an_enlistment_that_changes_more_than_its_end_is_found(devices, starts):
    writer = crowded()
    writer.enlist("more", 8, "2025-01-01", "2026-01-01")
    del writer.state.providers["pcl"].enlistments["more"]
    with found(writer, "not_allowed", "exists_differently"):
        writer.enlist("more", devices, starts, "2026-02-01")


@pytest.mark.parametrize("name", ["paid\u202edeiraw", "a\u200bb", "e\u0301", " \u3000"])
def test_a_name_that_hides_is_blank_or_is_not_in_form_c_is_found(name):
    writer = world()
    writer.tell = changed("enterprise", name=name)
    with found(writer, "malformed_entry"):
        writer.enterprise(uscc_of(7))


def test_a_contract_that_looks_like_another_is_found():
    writer = world()
    writer.state.spelled.clear()
    with found(writer, "not_allowed", "looks_alike"):
        writer.contract("a", contract_no="HT-2")


def test_a_stream_that_looks_like_another_is_found():
    writer = world()
    writer.post(stream="main")
    writer.state.streams.clear()
    with found(writer, "not_allowed", "looks_alike"):
        writer.post(stream="Main")


def test_an_enlistment_made_twice_is_found():
    writer = crowded()
    number = writer.enlist("more", 8, "2025-01-01", "2026-01-01")
    del writer.state.providers["pcl"].enlistments["more"]
    with found(writer, "repeated", f"entry {number} "):
        writer.enlist("more", 8, "2025-01-01", "2026-01-01")


def test_an_enlistment_of_a_provider_that_is_not_there_is_found():
    writer = crowded()
    providers = writer.state.providers
    with (
        bent(writer.state, providers=providers | {"sz": providers["pcl"]}),
        found(writer, "not_allowed", "unknown_provider"),
    ):
        writer.enlist("more", 8, "2025-01-01", "2026-01-01", "sz")
