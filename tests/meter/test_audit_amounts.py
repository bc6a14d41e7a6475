"""Wrong amounts and broken floors that the audit finds in ledgers that tell one lie."""

from typing import Any

import pytest
from msgspec.structs import replace

from meter.values.units import MICROSECONDS
from tests.auditing import (
    TODAY,
    a_fen_more,
    credited_to,
    found,
    in_2026,
    only,
    posting,
    receipt_result,
    usage,
    world,
)
from tests.books import ALPHA, BETA, PROGRAMME

USAGE_LIES = {
    "a fen too much is granted": (lambda usage: a_fen_more(usage, 1), "postings"),
    "a fen too much is owed": (lambda usage: a_fen_more(usage, 0), "postings"),
    "a fen too much, in cost and due": (
        lambda usage: replace(a_fen_more(usage, 0), cost=usage.cost + 1),
        "cost is 7201, not 7200",
    ),
    "a fen too much, entitled and granted": (
        lambda usage: replace(a_fen_more(usage, 1), entitled=[(2025, 3_601)]),
        "[2025, 3601]",
    ),
    "a fen too little is granted": (
        lambda usage: posting(usage, 1, lambda debtor, creditor, fen: (debtor, creditor, fen - 1)),
        "postings",
    ),
    "nothing is granted": (lambda usage: replace(usage, postings=usage.postings[:1]), "postings"),
    "another contract is granted it": (credited_to("accrued:B:2025"), "postings"),
    "another enterprise owes it": (
        lambda usage: posting(usage, 0, lambda _, *others: (f"enterprise:{BETA}", *others)),
        "postings",
    ),
    "it fits on the wrong day": (lambda usage: replace(usage, fits=[(TODAY + 1, 1)]), "fits"),
    "all is in the wrong year": (in_2026, f"[{TODAY + 365}, 57600000]"),
    "something is ineligible": (
        lambda usage: replace(usage, ineligible=[("use", 1)]),
        "ineligible is [['use', 1]], not None",
    ),
    "something costs, being withheld": (
        lambda usage: replace(usage, withheld_cost=1),
        "withheld_cost is 1, not None",
    ),
    "more devices": (lambda usage: replace(usage, milli_devices=16_001), "milli_devices"),
    "a second more": (lambda usage: replace(usage, end=usage.end + MICROSECONDS), "end"),
    "another device": (lambda usage: replace(usage, device="other"), "device"),
    "another id": (lambda usage: replace(usage, id="other"), "id is 'other', not 'r1'"),
    "another batch": (lambda usage: replace(usage, batch=usage.batch - 1), "batch"),
    "another signer": (lambda usage: replace(usage, by="op-1"), "by is 'op-1', not 'pcl-1'"),
    "another instant": (lambda usage: replace(usage, at=usage.at + 1), "at"),
    "a hostile state": (lambda usage: replace(usage, state="\x1b[2J" * 99), "state is"),
    "another state": (lambda usage: replace(usage, state="FAILED"), "state is 'FAILED', not None"),
}


@pytest.mark.parametrize(("change", "words"), USAGE_LIES.values(), ids=USAGE_LIES)
def test_a_lie_in_a_usage_entry_is_found(change, words):
    writer = world()
    writer.issue(2026, "400.00")
    writer.tell = only("usage", change)
    with found(writer, "not_as_decided", words, after=1):
        writer.post([usage("r1"), usage("r2")])


def test_a_lie_in_an_entry_that_the_receipt_repeats_is_laid_to_the_batch():
    writer = world()
    writer.tell = only("usage", lambda usage: replace(a_fen_more(usage, 0), cost=7_201))
    writer.tell_batch = receipt_result(cost="72.01")
    with found(writer, "wrong_receipt", "'cost': '72.01'"):
        writer.post([usage("r1")])


def test_a_void_that_gives_too_little_back_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = only(
        "void", lambda void: posting(void, 0, lambda debtor, creditor, _: (debtor, creditor, 1))
    )
    with found(writer, "not_as_decided", "postings"):
        writer.void("r1")


def test_a_grant_to_the_younger_contract_is_found():
    writer = world()
    writer.post([usage("a", hours=8), usage("b", "B", 8), usage("a2", hours=4)])
    assert [writer.share(name, 2025).granted for name in "AB"] == [28_800, 11_200]
    writer.tell = only("issue", credited_to("accrued:B:2025"))
    with found(writer, "not_as_decided", "accrued:B:2025"):
        writer.issue(2025, "10.00")


def test_a_void_that_frees_money_for_the_wrong_contract_is_found():
    writer = world()
    writer.contract("C", amount="1000.00")
    writer.post([usage("a", hours=8), usage("b", "B", 8), usage("c", "C", 8)])
    writer.tell = only("void", lambda void: credited_to_younger(void, "B", "C"))
    with found(writer, "not_as_decided", "accrued:C:2025"):
        writer.void("a")


def credited_to_younger(void: Any, older: str, younger: str) -> Any:
    index = [creditor for _, creditor, _ in void.postings].index(f"accrued:{older}:2025")
    return posting(void, index, lambda debtor, _, fen: (debtor, f"accrued:{younger}:2025", fen))


def test_an_entry_that_breaks_a_floor_is_found():
    writer = world()
    writer.state.coupons[ALPHA, PROGRAMME, 2025] += 1
    with found(writer, "floor_broken", f"coupon:{PROGRAMME}:2025"):
        writer.withdraw(2025, "400.01")


def test_a_withdrawal_of_what_was_granted_is_found():
    writer = world()
    writer.post([usage("r1", hours=4)])
    writer.state.contracts["A"].shares[2025].granted -= 1
    writer.state.granted[ALPHA, PROGRAMME, 2025] -= 1
    with found(writer, "floor_broken", f"coupon:{PROGRAMME}:2025"):
        writer.withdraw(2025, "256.01")
