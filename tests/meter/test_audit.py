"""The findings of an auditor in ledgers that are hashed and signed, but tell one lie.

Each liar writes a whole ledger (`tests/writer.py`); the audit sees the exported folder and nothing
else. The check of hashes and signatures is shown by a change of every byte of a folder.
"""

import base64
import contextlib
import copy
import dataclasses
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from ledger import verify as verify_module
from ledger.bundle import encode_attachment
from ledger.canon import decode, encode
from ledger.errors import LedgerError, NoCheckpoint, OtherKey, Violation
from ledger.report import Report
from ledger.tiles import parse_tile_path
from ledger.tlog import Tree, leaf_hash
from ledger.verify import Books, verify
from meter.auditor.replay import Audit, Gap, Totals
from meter.auditor.verdict import judges_beside
from meter.rules import commands
from meter.rules.capacity import Withheld
from meter.rules.decide import Decided
from meter.rules.entries import FLOORED_CLASSES, Entry
from meter.rules.kinds.table import command_of
from meter.rules.state import Segment
from meter.values.problems import Problem
from meter.values.units import MAX_FEN, MICROSECONDS, day_of, format_money, parse_instant
from meter.views.flags import Questions
from meter.wire import dsse
from meter.wire.receipt import Before, parse_receipt
from tests.books import (
    ALPHA,
    BETA,
    DAY,
    DEVICE,
    HOUR,
    ORIGIN,
    PROGRAMME,
    lifted,
    properties,
    quarters,
    record,
    signer,
    uscc_of,
    void,
)
from tests.writer import Writer, bent, with_receipt

START = parse_instant("2025-02-20T08:00:00+08:00")
TODAY = day_of(START)
END_OF_2026 = "2027-01-01T12:00:00+08:00"


def policy(**figures: Any) -> str:
    """Return a policy without its comments: the files of a test are read thousands of times."""
    return re.sub(r"(?m)^#.*\n| *#.*$", "", lifted(**figures))


def world(now: str = "2025-03-01T12:00:00+08:00", **figures: Any) -> Writer:
    """Return a ledger with contracts A and B of one enterprise, S of another, and a small coupon.

    Its writer checks no floors, so that a lie may break one.
    """
    writer = Writer(now, floors=())
    populate(writer, policy(**figures))
    return writer


def populate(writer: Writer, text: str, devices: dict[str, int] | None = None) -> None:
    writer.activate(text)
    writer.provider(devices=devices or {DEVICE: 10_000_000})
    writer.key()
    writer.enterprise()
    writer.enterprise(BETA, founded_on="2024-06-01")
    writer.contract("A", amount="1000.00")
    writer.contract("B", amount="1000.00")
    writer.contract("S", enterprise=BETA)
    writer.fund_contract("S", "1.00")
    writer.issue(2025, "400.00")


def usage(id_: str = "r", contract: str = "A", hours: int = 1, **changes: Any) -> dict[str, Any]:
    return record(id_, contract, START, START + hours * HOUR, 16_000) | changes


def audited(writer: Writer, audit: Audit | None = None) -> tuple[Report, Audit]:
    """Export and verify."""
    audit = audit or Audit()
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        return verify(Path(folder), writer.verifier, audit), audit


def assert_found(writer: Writer, code: str, entry: int, words: str = "") -> None:
    report, _ = audited(writer)
    (problem,) = report.findings
    assert (problem.code, problem.entry) == (code, entry), problem
    assert words in problem.detail
    # The faults of any ledger can be shown on a terminal.
    assert problem.detail.isprintable()


@contextmanager
def found(writer: Writer, code: str, words: str = "", after: int = 0) -> Iterator[None]:
    """Expect a fault in the entries written inside: in the first, or `after` more entries."""
    number = len(writer.leaves) + after
    yield
    assert_found(writer, code, number, words)


def tree_of(writer: Writer) -> Tree:
    tree = Tree()
    for leaf in writer.leaves:
        tree.append(leaf_hash(leaf))
    return tree


# Lies


def only(kind: str, change: Callable[[Any], Any]) -> Callable[[int, Entry], Any]:
    """Change each entry of one kind."""
    return lambda _, entry: change(entry) if entry.kind == kind else entry


def changed(kind: str, **changes: Any) -> Callable[[int, Entry], Any]:
    return only(kind, lambda entry: replace(entry, **changes))


def posting(entry: Any, index: int, change: Callable[[str, str, int], tuple]) -> Any:
    """Change one posting of an entry."""
    postings = list(entry.postings)
    postings[index] = change(*postings[index])
    return replace(entry, postings=postings)


def a_fen_more(entry: Any, index: int) -> Any:
    return posting(entry, index, lambda debtor, creditor, fen: (debtor, creditor, fen + 1))


def credited_to(account: str) -> Callable[[Any], Any]:
    """Post the second posting to another account."""
    return lambda entry: posting(entry, 1, lambda debtor, _, fen: (debtor, account, fen))


def in_2026(usage: Any) -> Any:
    coupon, accrued = f"coupon:{PROGRAMME}:2026:{ALPHA}", "accrued:A:2026"
    return replace(
        posting(usage, 1, lambda _, __, fen: (coupon, accrued, fen)),
        fits=[(day + 365, time) for day, time in usage.fits],
        entitled=[(2026, fen) for _, fen in usage.entitled],
    )


def receipt_result(**changes: Any) -> Callable[[Decided], Decided]:
    """Change the first record's result in the receipt."""
    return lambda decided: with_receipt(
        decided, lambda receipt: receipt["results"][0].update(changes)
    )


def reordered(*order: int) -> Callable[[Decided], Decided]:
    return lambda decided: Decided(
        decided.place,
        [decided.entries[number] for number in order],
        decided.receipt,
        decided.results,
    )


# Honest ledgers


def honest_history(tell: Callable[[int, Entry], Any] | None = None) -> Writer:
    """Write a ledger with every kind of entry; `tell` may write some of them otherwise."""
    writer = Writer()
    writer.tell = tell or writer.tell
    populate(writer, policy())
    writer.post([usage("r1"), usage("r2", "B"), usage("r1"), usage("r1", hours=2)])
    with writer.group():
        writer.post([usage("r3", hours=24), usage("s1", "S"), usage("none", "nobody")])
        writer.post([usage("r4", "B", 24, run="slurm:7", state="RUNNING", final=True)], seq=4)
        writer.post(voids=[void("r1"), void("r1"), void("unknown")], stream="other", seq=3)
    writer.freeze("A")
    writer.post([usage("r5"), usage("r6", "B")])
    writer.unfreeze("A")
    writer.amend_enterprise(name="另一名")
    writer.amend_provider("另一名")
    writer.late_window("2025-01-01", "2025-01-08", "2025-04-01")
    writer.supplement("2025-02-01", "B", prices={DEVICE: "4.00"}, amount="1200.00")
    writer.correct("A", prices={DEVICE: "4.40"}, ends="2026-12-01")
    exceed(writer)
    writer.issue(2025, "100.00")
    writer.issue(2025, "1000.00", BETA, reason="a reason")
    writer.withdraw(2025, "0.01", BETA)
    writer.void("r2")
    writer.key("pcl-2")
    writer.revoke("pcl-1", suspected_since="2025-03-01T11:00:00+08:00")
    writer.activate(policy(version="next", pool="450000000.00"))
    meet_people(writer)
    writer.at("2025-03-02T12:00:00+08:00")
    writer.post(keyid="pcl-2", records=[usage("r7", "S", milli_devices=460)])
    rotate_keys(writer)
    return writer


def meet_people(writer: Writer) -> None:
    """Let a person come, confirm a proposal, and leave; recover another."""
    writer.person("li")
    writer.token("li-1", "li")
    writer.confirm(writer.propose("freeze", contract="S"), "li-1")
    writer.confirm(writer.propose("unfreeze", contract="S"), "li-1")
    writer.end_proposal(writer.propose("freeze", contract="S"))
    writer.ask(commands.EndToken, token="li-1")
    writer.ask(commands.EndPerson, id="li")
    writer.recover_person("zhao", "zhao-1")


def rotate_keys(writer: Writer) -> None:
    """Add a receipt key and a log key, and retire the first ones after an overlap."""
    writer.add_receipt_key()
    writer.add_log_key()
    writer.post(keyid="pcl-2", records=[usage("r8", "S", milli_devices=460)])
    writer.retire_log_key()
    writer.retire_receipt_key()
    writer.post(keyid="pcl-2", records=[usage("r9", "S", milli_devices=460)])


def exceed(writer: Writer) -> None:
    """Use more than is rented and more than is enlisted; release it, and void it."""
    prices = {DEVICE: "4.50", "other": "1.00"}
    writer.contract("L", max_devices={DEVICE: 8}, prices=prices)
    writer.post([usage("l1", "L"), usage("l2", "L"), usage("l0", "L", 24, device="other")])
    writer.release("l1")
    writer.void("l2")
    writer.enlist("2025-1b", {"other": 20}, "2025-02-01", "2025-02-21")
    writer.post([usage("l3", "L", 24, device="other")])
    writer.enlist("2025-2", {"other": 24}, "2025-02-01", "2025-02-21", reason="round 2")
    writer.release("l3")
    writer.post([usage("l4", "L", 24, device="other"), usage("l5", "L")])
    writer.enlist("2025-2", {"other": 24}, "2025-02-01", "2025-02-15")
    with writer.group():
        writer.post([usage("l6", "L", device="other")], [void(f"l{n}") for n in (0, 3, 4)])
        writer.post([usage("l7", "L", 30, milli_devices=1_000)], [void("l5")])


def test_an_honest_ledger_passes():
    writer = honest_history()
    assert {entry.kind for entry in writer.entries} == {
        *("genesis", "policy", "provider", "key", "revocation", "enterprise", "contract"),
        *(
            *("amendment", "late_window", "enterprise_amendment", "provider_amendment"),
            "freeze",
            "unfreeze",
            "issue",
            "withdrawal",
            "batch",
            "usage",
            "void",
            "release",
        ),
        *("enlistment", "log_key", "log_key_retirement", "receipt_key", "receipt_key_retirement"),
        *("person", "person_end", "person_recovery", "token", "token_end"),
        *("proposal", "proposal_end", "contract_funds"),
    }
    report, audit = audited(writer)
    assert report.findings == []
    assert report.size == len(writer.leaves) == audit.state.size
    counts = {check.name: check.count for check in report.checks}
    assert counts["entries replayed"] == counts["entries in the signed root"] == report.size
    assert counts["postings"] == sum(len(entry.postings) for entry in writer.entries)
    assert audit.gaps() == [Gap("pcl", "main", 3, 3), Gap("pcl", "other", 1, 2)]


def test_an_audit_asks_what_the_entries_of_a_ledger_raise_as_questions():
    writer = honest_history()
    _, audit = audited(writer)
    questions = Questions(writer.state)
    for number, entry in enumerate(writer.entries):
        questions.entry(number, entry)
    assert questions.found() == audit.questions() != []


def test_every_receipt_of_an_honest_ledger_is_held():
    writer = honest_history()
    _, audit = audited(writer)
    assert len(writer.receipts) == 13
    for receipt, signature in zip(writer.receipts, writer.signatures, strict=True):
        audit.check_receipt(receipt, signature, tree_of(writer))


def test_a_ledger_of_nothing_but_its_genesis_passes():
    report, audit = audited(Writer())
    assert report.ok
    assert audit.gaps() == []


EDGES = [
    parse_instant(f"{day}T00:00:00+08:00")
    for day in ("2024-12-18", "2025-01-01", "2026-01-01", "2026-12-18")
]
ids = st.integers(0, 12).map("r{}".format)
records = st.builds(
    lambda id_, contract, start, seconds, milli_devices, device: record(
        id_, contract, start, start + seconds, milli_devices, device=device
    ),
    ids,
    st.sampled_from(["A", "A", "B", "L", "L", "S", "S", "nobody"]),
    st.builds(int.__add__, st.sampled_from(EDGES), st.integers(-3 * HOUR, HOUR)),
    st.sampled_from([0, 61, HOUR, 3_601, 8 * HOUR]),
    st.sampled_from([0, 1, 460, 7_000, 40_000]),
    st.sampled_from([DEVICE, DEVICE, DEVICE, "other"]),
)
posts = st.tuples(
    st.just("post"), st.lists(records, max_size=4), st.lists(ids.map(void), max_size=2)
)
days = st.sampled_from(["2024-12-18", "2025-01-01", "2025-12-31", "2026-01-01", "2027-01-01"])
operations = st.one_of(
    posts,
    posts,
    st.tuples(st.just("group"), st.lists(posts, min_size=2, max_size=3)),
    st.tuples(st.sampled_from(["void", "release", "release"]), ids),
    st.tuples(
        st.just("enlist"),
        st.sampled_from(["2025-1", "more"]),
        st.sampled_from([{DEVICE: 9}, {DEVICE: 9}, {DEVICE: 30, "other": 1}]),
        days,
        days,
    ),
    st.tuples(
        st.sampled_from(["issue", "withdraw"]),
        st.sampled_from([2024, 2025, 2026]),
        st.integers(1, 40_000).map(format_money),
        st.sampled_from([ALPHA, BETA]),
    ),
    st.tuples(st.sampled_from(["freeze", "unfreeze"]), st.sampled_from(["A", "S"])),
    st.tuples(
        st.just("amend"),
        st.sampled_from(["A", "B", "S"]),
        st.sampled_from([None, "2025-01-01", "2025-02-20", "2026-01-01"]),
        st.sampled_from([{}, {"amount": "300.00"}, {"max_devices": {DEVICE: 8}}]),
        st.integers(1, 90_000),
    ),
)


def carry_out(writer: Writer, name: str, *arguments: Any) -> None:
    """Carry out an operation, or be refused."""
    if name == "group":
        with writer.group():
            for post in arguments[0]:
                carry_out(writer, *post)
        return
    if name == "release":
        # Most records have nothing withheld.
        ids = [id_ for (_, id_), held in writer.state.records.items() if held.withheld]
        arguments = (ids[-1] if ids else arguments[0],)
    try:
        if name == "amend":
            amend(writer, *arguments)
        else:
            getattr(writer, name)(*arguments)
    except Problem:
        assert name != "post"


def amend(
    writer: Writer, contract: str, effective: str | None, changes: dict[str, Any], price: int
) -> None:
    changes = changes | {"prices": {DEVICE: f"{price // 10_000}.{price % 10_000:04}"}}
    if effective is None:
        writer.correct(contract, **changes)
    else:
        writer.supplement(effective, contract, **changes)


@settings(properties, max_examples=60)
@given(st.lists(operations, min_size=4, max_size=12))
def test_whatever_an_honest_writer_writes_passes(history):
    writer = Writer(END_OF_2026)
    populate(writer, policy(pool="1000.00"), {DEVICE: 4})
    writer.enlist("more", {DEVICE: 9}, "2025-01-01", "2026-01-01")
    writer.contract("L", max_devices={DEVICE: 2})
    for operation in history:
        carry_out(writer, *operation)
    report, _ = audited(writer)
    assert report.findings == []
    assert report.size == len(writer.leaves)


# Wrong amounts

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


# Batches and records


def test_a_batch_left_out_is_a_gap_and_its_receipt_proves_it():
    writer = world()
    writer.post([usage("r1")])
    twin = writer.twin()
    twin.post([usage("r2")])
    writer.post([usage("r3")], seq=3)
    report, audit = audited(writer)
    assert report.ok
    assert audit.gaps() == [Gap("pcl", "main", 2, 2)]
    detail = proved(audit, "batch_left_out", twin, tree_of(writer))
    assert "stream main, number 2" in detail


def proved(audit: Audit, code: str, other: Writer, tree: Tree) -> str:
    """The last receipt of another writer proves a change; in what words."""
    with pytest.raises(Violation) as violation:
        audit.check_receipt(other.receipts[-1], other.signatures[-1], tree)
    assert violation.value.code == code
    return violation.value.detail


def test_the_last_batch_left_out_is_proved_by_its_receipt_once_the_ledger_goes_on():
    writer = world()
    writer.post([usage("r1")])
    twin = writer.twin()
    twin.post([usage("r2")])
    _, audit = audited(writer)
    assert audit.gaps() == []
    # Until then, it may be that the ledger was looked at before the batch came.
    proved(audit, "newer_receipt", twin, tree_of(writer))
    writer.post([usage("r3")])
    _, audit = audited(writer)
    proved(audit, "batch_left_out", twin, tree_of(writer))


def test_another_batch_under_the_number_of_a_receipt_is_proved():
    writer = world()
    twin = writer.twin()
    twin.post([usage("r1")])
    writer.post([usage("r2")])
    _, audit = audited(writer)
    proved(audit, "batch_left_out", twin, tree_of(writer))


def test_a_fork_is_proved_by_a_receipt_of_the_other_branch():
    writer = world()
    twin = writer.twin()
    twin.post([usage("r1")])
    twin.post([usage("r2")])
    writer.post([usage("r3")])
    writer.post([usage("r2")])
    _, audit = audited(writer)
    proved(audit, "forked", twin, tree_of(writer))


def test_a_receipt_from_beyond_the_end_accuses_nobody_yet():
    writer = world()
    twin = writer.twin()
    for number in range(3):
        twin.post([usage(f"r{number}")])
        _, audit = audited(writer)
        detail = proved(audit, "newer_receipt", twin, tree_of(writer))
        assert detail.endswith(f"and the checkpoint of {len(writer.leaves)} entries")
    # A later entry may name the key that signed it.
    twin.signatures[-1] = dsse.ReceiptSigner("receipt-2", signer("other")).sign(twin.receipts[-1])
    proved(audit, "newer_receipt", twin, tree_of(writer))


def test_a_receipt_from_beyond_the_end_proves_a_fork_before_it():
    writer = world()
    twin = writer.twin()
    twin.post([usage("r1")])
    writer.post([usage("r2")])
    twin.post([usage("r3")])
    _, audit = audited(writer)
    assert twin.log.size > len(writer.leaves) >= parse_receipt(twin.receipts[-1]).before.size
    proved(audit, "forked", twin, tree_of(writer))


@pytest.mark.parametrize(
    "signature", ["", "nonsense", 'keyid="receipt-1", sig=:AAAA:', f'keyid="é", sig=:{"A" * 86}==:']
)
def test_a_receipt_with_a_malformed_signature_proves_nothing(signature):
    writer = world()
    writer.post([usage("r1")])
    _, audit = audited(writer)
    writer.signatures[-1] = signature
    proved(audit, "receipt_not_signed", writer, tree_of(writer))


def test_a_receipt_that_another_key_signed_proves_nothing():
    writer = world()
    writer.post([usage("r1")])
    _, audit = audited(writer)
    writer.signatures[-1] = dsse.ReceiptSigner("receipt-1", signer("other")).sign(
        writer.receipts[-1]
    )
    proved(audit, "receipt_not_signed", writer, tree_of(writer))


@pytest.mark.parametrize("receipt", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_signed_bytes_that_are_no_receipt_prove_nothing(receipt):
    writer = world()
    writer.receipts, writer.signatures = [receipt], [writer.receipt_signer.sign(receipt)]
    _, audit = audited(world())
    proved(audit, "bad_receipt_file", writer, Tree())


def test_before_its_first_entry_a_ledger_says_nothing_of_receipts():
    writer = world()
    writer.post([usage("r1")])
    proved(Audit(), "newer_receipt", writer, Tree())


def test_usage_without_its_batch_entry_is_found():
    writer = world()
    writer.tell = only("batch", lambda _: None)
    with found(writer, "unexpected_entry", "usage"):
        writer.post([usage("r1")])


def test_a_record_dropped_from_its_batch_is_found_where_the_next_one_stands():
    writer = world()
    writer.tell = only("usage", lambda usage: None if usage.id == "r1" else usage)
    with found(writer, "not_as_decided", "id is 'r2', not 'r1'", after=1):
        writer.post([usage("r1"), usage("r2")])


def test_a_record_dropped_from_the_end_of_the_ledger_is_found():
    writer = world()
    writer.tell = only("usage", lambda usage: None if usage.id == "r2" else usage)
    with found(writer, "batch_incomplete", "1 entries"):
        writer.post([usage("r1"), usage("r2")])


def test_a_record_wrongly_refused_is_found():
    writer = world()
    with (
        found(writer, "wrong_receipt", "'rejected'"),
        bent(writer.state.contracts["A"], freezes=[1]),
    ):
        (result,) = writer.post([usage("r1")])
        assert result.code == "contract_frozen"


def test_a_record_wrongly_called_a_duplicate_is_found():
    writer = world()
    writer.post([usage("r1")])
    held = writer.state.records["pcl", "r1"]
    writer.state.records["pcl", "r2"] = held
    with found(writer, "wrong_receipt", "'duplicate'"):
        (result,) = writer.post([usage("r2")])
        assert result.status == "duplicate"


def test_a_record_that_the_receipt_rejects_and_the_ledger_charges_is_found():
    writer = world()
    refused = {"id": "r1", "status": "rejected", "code": "contract_frozen", "detail": "so it was"}
    writer.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt.update(results=[refused])
    )
    with found(writer, "wrong_receipt", "the receipt says"):
        writer.post([usage("r1")])


def frozen(writer: Writer) -> Any:
    writer.contract("Z")
    writer.freeze("Z")
    return bent(writer.state.contracts["Z"], freezes=[])


def with_another_provider(writer: Writer) -> Any:
    writer.provider("sz", uscc=uscc_of(7))
    writer.contract("Z", provider="sz")
    contract = writer.state.contracts["Z"]
    return bent(contract, registered=replace(contract.registered, provider="pcl"))


def too_late(writer: Writer) -> Any:
    writer.activate(policy(version="strict", lateness=1))
    writer.contract("Z")
    contract = writer.state.contracts["Z"]
    return bent(contract, policy=replace(contract.policy, lateness_seconds=30 * DAY))


def without_a_price(writer: Writer) -> Any:
    writer.contract("Z", prices={"other": "1.00"})
    contract = writer.state.contracts["Z"]
    return bent(contract, steps=[dataclasses.replace(contract.steps[0], prices={DEVICE: 45_000})])


@pytest.mark.parametrize("lie", [frozen, with_another_provider, too_late, without_a_price])
def test_a_record_wrongly_accepted_is_found(lie):
    writer = world()
    with lie(writer), found(writer, "wrong_receipt", "'accepted'"):
        (result,) = writer.post([usage("r1", "Z")])
        assert result.status == "accepted"


def test_a_key_used_after_its_revocation_is_found():
    writer = world()
    writer.revoke()
    with (
        bent(writer.state.keys["pcl-1"], revoked=None),
        found(writer, "not_allowed", "key_revoked"),
    ):
        writer.post([usage("r1")])


def test_a_key_that_no_entry_registered_is_found():
    writer = world()
    writer.tell = only("key", lambda _: None)
    writer.key("hidden")
    with found(writer, "bad_signature", "hidden"):
        writer.post([usage("r1")], keyid="hidden")


def test_a_batch_that_its_key_did_not_sign_is_found():
    writer = world()
    payload = writer.payload([usage("r1")])
    with found(writer, "bad_signature", "pcl-1"):
        writer.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("forger")))


def test_a_batch_for_another_log_is_found():
    writer = world()
    other = replace(writer.state.genesis, origin="kashi.test/other")
    with bent(writer.state, genesis=other), found(writer, "not_allowed", "wrong_log"):
        writer.post([usage("r1")], log="kashi.test/other")


def test_a_batch_for_another_ledger_of_the_name_is_found():
    writer = world()
    other = "0" * 64
    with bent(writer.state, genesis_hash=other), found(writer, "not_allowed", "wrong_genesis"):
        writer.post([usage("r1")], genesis=other)


def test_a_batch_under_the_key_of_another_provider_is_found():
    writer = world()
    writer.provider("sz", uscc=uscc_of(7))
    key = writer.state.keys["pcl-1"]
    of_other = replace(key.registered, provider="sz")
    with bent(key, registered=of_other), found(writer, "not_allowed", "provider_mismatch"):
        writer.post(provider="sz")


def test_a_batch_taken_twice_is_found():
    writer = world()
    writer.post([usage("r1")])
    (envelope, *_) = writer.files[len(writer.leaves) - 2]
    writer.state.batches.clear()
    with found(writer, "batch_twice"):
        writer.send(envelope)


def test_another_batch_under_a_number_that_is_filled_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.state.batches.clear()
    with found(writer, "not_allowed", "seq_conflict"):
        writer.post([usage("r2")], seq=1)


def test_a_record_charged_twice_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.state.records.clear()
    with found(writer, "wrong_receipt", "'accepted'"):
        writer.post([usage("r1")])


def with_a_void_forgotten() -> Writer:
    writer = world()
    writer.post([usage("r1"), usage("r2")])
    writer.void("r1")
    writer.state.records["pcl", "r1"].voided = None
    return writer


def test_a_second_void_of_a_record_by_its_provider_is_found():
    writer = with_a_void_forgotten()
    with found(writer, "wrong_receipt", "already_voided"):
        writer.post(voids=[void("r1")])


def test_a_second_void_of_a_record_by_the_authority_is_found():
    writer = with_a_void_forgotten()
    with found(writer, "not_allowed", "already_voided"):
        writer.void("r1")


def test_a_void_of_a_record_that_is_not_there_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = changed("void", id="r2")
    with found(writer, "not_allowed", "unknown_record"):
        writer.void("r1")


def test_a_void_that_names_the_entry_of_another_record_is_found():
    writer = world()
    writer.post([usage("r1"), usage("r2")])
    writer.tell = only("void", lambda void: replace(void, record=void.record + 1))
    with found(writer, "not_as_decided", "record"):
        writer.void("r1")


def test_a_void_that_nobody_asked_for_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = only("void", lambda void: without(decode(encode(void)), {"request"}))
    with found(writer, "unexpected_entry", "void"):
        writer.void("r1")


@pytest.mark.parametrize("kind", ["void", "batch", "usage"])
@pytest.mark.parametrize("salt", [None, "", "00" * 15, "AB" * 16, "zz" * 16])
def test_an_entry_without_a_salt_is_found(kind, salt):
    writer = world()
    if kind == "void":
        writer.post([usage("r1")])
    writer.tell = only(kind, lambda entry: with_salt(decode(encode(entry)), salt))
    with found(writer, "bad_fields", "salt", after=1 if kind == "usage" else 0):
        writer.void("r1") if kind == "void" else writer.post([usage("r1")])


def with_salt(fields: dict[str, Any], salt: str | None) -> dict[str, Any]:
    return without(fields, {"salt"}) if salt is None else fields | {"salt": salt}


@pytest.mark.parametrize("kind", ["usage", "void"])
def test_a_salt_that_does_not_follow_from_the_batchs_is_found(kind):
    writer = world()
    writer.post([usage("r1")])
    writer.tell = changed(kind, salt="ab" * 16)
    with found(writer, "not_as_decided", "salt is", after=1):
        writer.post(*{"usage": [[usage("r2")]], "void": [[], [void("r1")]]}[kind])


def without(fields: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def test_a_void_by_the_authority_that_claims_a_batch_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = changed("void", batch=len(writer.leaves) - 2)
    with found(writer, "unexpected_entry", "void"):
        writer.void("r1")


def test_entries_of_a_batch_in_another_order_are_found():
    writer = world()
    writer.tell_batch = reordered(0, 2, 1)
    with found(writer, "not_as_decided", "id is 'r2', not 'r1'", after=1):
        writer.post([usage("r1"), usage("r2")])


def test_an_entry_after_the_end_of_a_batch_is_found():
    writer = world()
    writer.post([usage("r1")])
    with found(writer, "unexpected_entry", "usage"):
        writer.write(replace(writer.entries[-1], id="r2", postings=[]))


def test_a_command_within_a_batch_is_found():
    writer = world()
    command = replace(writer.entries[-1], request="another")
    writer.tell_batch = lambda decided: Decided(
        decided.place,
        [decided.entries[0], command, *decided.entries[1:]],
        decided.receipt,
        decided.results,
    )
    with found(writer, "not_as_decided", "kind is 'issue', not 'usage'", after=1):
        writer.post([usage("r1")])


# Capacity


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


# Receipts and envelopes


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": "72.01"},
        {"granted": "36.01"},
        {"withheld": "0.01"},
        {"by_year": {"2024": "36.00"}},
        {"bound": ["coupon"]},
    ],
)
def test_a_receipt_with_a_wrong_figure_is_found(changes):
    writer = world()
    writer.tell_batch = receipt_result(**changes)
    with found(writer, "wrong_receipt", "the receipt says"):
        writer.post([usage("r1")])


def test_a_receipt_that_names_another_tree_is_found():
    writer = world()
    root = base64.b64encode(bytes(32)).decode()
    writer.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt["before"].update(root=root)
    )
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


def test_a_receipt_that_repeats_its_results_is_found():
    writer = world()
    writer.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt.update(results=receipt["results"] * 2)
    )
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


@pytest.mark.parametrize(
    "receipt",
    [
        *(b"", b"5", b"[]", b"\xff", b"[" * 100_000),
        *(b'{"results":5,"voids":{}}', b'{"voids":[],"results":null}', b'{"voids":[{}]}'),
    ],
)
def test_bytes_that_are_no_receipt_are_found(receipt):
    writer = world()
    signature = writer.receipt_signer.sign(receipt).encode()
    writer.tell = changed("batch", receipt=sha256(receipt).hexdigest())
    writer.tell_files = lambda files: [files[0], receipt, signature]
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


@pytest.mark.parametrize(("keyid", "key"), [("receipt-1", "other"), ("receipt-2", "receipts")])
def test_a_receipt_signed_by_another_key_is_found(keyid, key):
    writer = world()
    writer.receipt_signer = dsse.ReceiptSigner(keyid, signer(key))
    with found(writer, "bad_receipt_signature"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("signature", [b"", b"nonsense", b"\xff\x00"])
def test_bytes_that_are_no_signature_of_a_receipt_are_found(signature):
    writer = world()
    writer.tell_files = lambda files: [*files[:2], signature]
    with found(writer, "bad_receipt_signature"):
        writer.post([usage("r1")])


def test_a_receipt_of_which_the_entry_does_not_tell_is_found():
    writer = world()
    writer.tell = changed("batch", receipt="0" * 64)
    with found(writer, "wrong_receipt", "names"):
        writer.post([usage("r1")])


def another_envelope(writer: Writer, keyid: str = "pcl-1", **changes: Any) -> bytes:
    payload = writer.payload([usage("r1", **changes)])
    return dsse.seal(dsse.BATCH_TYPE, payload, keyid, signer(keyid))


def test_another_envelope_rightly_signed_is_found():
    writer = world()
    other = another_envelope(writer, hours=2)
    writer.tell_files = lambda files: [other, *files[1:]]
    with found(writer, "wrong_envelope"):
        writer.post([usage("r1")])


def test_another_envelope_rightly_signed_of_which_the_entry_tells_is_found():
    writer = world()
    other = another_envelope(writer, hours=2)
    writer.tell_files = lambda files: [other, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(other).hexdigest())
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


def test_the_same_payload_under_another_key_than_the_entry_says_is_found():
    writer = world()
    writer.key("pcl-2")
    other = another_envelope(writer, "pcl-2")
    writer.tell_files = lambda files: [other, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(other).hexdigest())
    with found(writer, "not_as_decided", "by is 'pcl-1', not 'pcl-2'"):
        writer.send(another_envelope(writer))


@pytest.mark.parametrize("envelope", [b"", b"{}", b"[" * 100_000, b"\xff"])
def test_bytes_that_are_no_envelope_are_found(envelope):
    writer = world()
    writer.tell_files = lambda files: [envelope, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(envelope).hexdigest())
    with found(writer, "not_allowed", "bad_envelope"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("payload", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"log":"x"}'])
def test_a_signed_payload_that_is_no_batch_is_found(payload):
    writer = world()
    envelope = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
    writer.tell_files = lambda files: [envelope, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(envelope).hexdigest())
    with found(writer, "not_allowed", "bad_batch"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_batch_without_its_three_files_is_found(count):
    writer = world()
    writer.tell_files = lambda files: [*files, b"more"][:count]
    with found(writer, "missing_attachment" if count < 3 else "extra_attachment"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("back", [1, 4, 12])
def test_a_file_beside_an_entry_that_is_no_batch_is_found(back):
    writer = world()
    writer.post([usage("r1")])
    number = len(writer.leaves) - back
    writer.files[number] = [b"more"]
    assert_found(writer, "extra_attachment", number)


# The clock and the group


@pytest.mark.parametrize(("late", "status"), [(0, "accepted"), (1, "rejected")])
def test_a_batch_decided_at_another_instant_than_its_entries_say_is_found(late, status):
    writer = world()
    writer.activate(policy(version="strict", lateness=1))
    writer.contract("Z")
    end = writer.now // MICROSECONDS
    writer.at((end + DAY) * MICROSECONDS + late)
    # One microsecond divides what is in time from what is late.
    shift = -1 if late else 1
    writer.tell = lambda _, entry: replace(entry, at=entry.at + shift)
    with found(writer, "wrong_receipt", f"'{status}'"):
        (result,) = writer.post([record("r", "Z", end - HOUR, end, 1_000)])
        assert result.status == status


def test_a_clock_that_goes_back_is_found():
    writer = world()
    writer.tell = only("batch", lambda batch: replace(batch, at=batch.at - 1))
    with found(writer, "time_went_back"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("size", [-1, 0, 10, 11, 13, 14, 15, 16, 18])
def test_a_group_on_a_tree_that_it_cannot_have_seen_is_found(size):
    writer = world()
    writer.post([usage("r1")])
    assert len(writer.leaves) == 13
    with writer.group():
        writer.post([usage("r2")])
        writer.post([usage("r3")])
    writer.tell = changed("batch", before=size)
    # 17 would be right. At 13 the last group began, and this batch is not in it.
    code = "wrong_receipt" if size == 13 else "wrong_before"
    with found(writer, code):
        writer.post([usage("r4")])


def test_a_group_within_a_batch_is_found():
    writer = world()
    writer.post([usage("r1")])
    size = len(writer.leaves) - 1
    root = base64.b64encode(tree_of(writer).root(size)).decode()
    with bent(writer, _before=Before(size, root)), found(writer, "wrong_before"):
        writer.post([usage("r2")])


# The authority


def test_a_wrong_ratio_class_is_found():
    writer = world()
    writer.tell = changed("contract", ratio_class="startup")
    with found(writer, "not_as_decided", "class is 'startup', not 'standard'"):
        writer.contract("C")


def test_a_contract_under_a_policy_that_was_replaced_is_found():
    writer = world()
    writer.activate(policy(version="next", standard=4_000))
    writer.tell = changed("contract", policy="test")
    with found(writer, "not_as_decided", "policy is 'test', not 'next'"):
        writer.contract("C")


@pytest.mark.parametrize(
    ("figures", "lie", "words"),
    [
        ({"cap": "500.00"}, {"cap": 10**9}, "cap_exceeded"),
        ({"threshold": "2000.01"}, {"threshold": 0}, "below_threshold"),
    ],
)
def test_a_coupon_against_the_limits_is_found(figures, lie, words):
    writer = Writer()
    writer.activate(policy(**figures))
    writer.provider()
    writer.enterprise()
    writer.contract("A", amount="2000.00")
    versions = writer.state.policies[PROGRAMME]
    versions["test"] = replace(versions["test"], **lie)
    with found(writer, "not_allowed", words):
        writer.issue(2025, "500.01")


def test_a_coupon_beyond_the_pool_is_found():
    writer = world(pool="500.00")
    writer.state.pools[PROGRAMME, 2025].stated = 10**9
    with found(writer, "floor_broken", f"pool:{PROGRAMME}:2025"):
        writer.issue(2025, "100.01")


def test_a_coupon_beyond_the_pool_without_postings_is_found():
    writer = world(pool="500.00")
    writer.state.pools[PROGRAMME, 2025].stated = 10**9
    writer.tell = changed("issue", postings=[])
    with found(writer, "not_allowed", "pool_exceeded"):
        writer.issue(2025, "100.01")


def test_a_command_repeated_is_found():
    writer = world()
    with found(writer, "repeated", "entry 4"):
        writer.write(replace(writer.entries[4], request="again", at=writer.now))


def test_a_request_carried_out_twice_is_found():
    writer = world()
    with found(writer, "request_reused"):
        writer.write(replace(writer.entries[-1], postings=[]))


def test_a_request_of_one_person_may_be_that_of_another():
    writer = world()
    command = command_of(writer.entries[-1])
    writer.contract("C", amount="1000.00")
    for person in ("li", "zhao"):
        writer.ask(commands.RegisterPerson, id=person)
        writer.ask(commands.MakeToken, id=f"{person}-1", holder=person)
        writer.do(command, f"{person}-1", "request-1")
    assert audited(writer)[0].findings == []


def test_a_request_of_one_person_is_found_again_under_another_token():
    writer = world()
    command = command_of(writer.entries[-1])
    writer.contract("C", amount="1000.00")
    writer.ask(commands.MakeToken, id="op-2", holder="op")
    writer.do(command, "op-2", "again")
    with found(writer, "request_reused"):
        writer.do(command, "op-1", "again")


def test_a_command_without_a_request_is_found():
    writer = world()
    with found(writer, "malformed_entry", "request"):
        writer.write(without(decode(writer.leaves[-1]), {"request"}))


def test_an_entry_of_an_unknown_kind_is_found():
    writer = world()
    with found(writer, "malformed_entry", "gift"):
        writer.write(decode(writer.leaves[-1]) | {"kind": "gift"})


def test_a_second_genesis_is_found():
    writer = world()
    with found(writer, "bad_fields", "genesis"):
        writer.write(replace(writer.entries[0], at=writer.now))
    audit = Audit()
    audit.entry(0, writer.leaves[0], decode(writer.leaves[0]), [], Tree())
    with pytest.raises(Violation) as violation:
        audit.entry(1, writer.leaves[0], decode(writer.leaves[0]), [], Tree())
    assert violation.value.code == "second_genesis"


def test_a_ledger_that_begins_with_something_else_is_found():
    writer = world()
    with pytest.raises(Violation) as violation:
        Audit().entry(0, writer.leaves[1], decode(writer.leaves[1]), [], Tree())
    assert violation.value.code == "unexpected_entry"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("wrong_floors", {"floors": ["accrued", "coupon", "due"]}),
        ("wrong_floors", {"floors": [*FLOORED_CLASSES, "enterprise"]}),
        ("not_as_decided", {"postings": [("treasury:x:2025", "accrued:A:2025", 1)]}),
        ("other_origin", {"origin": "kashi.test/other"}),
    ],
)
def test_a_genesis_against_the_rules_is_found(code, changes):
    assert_found(Writer(floors=(), genesis=changes), code, 0)


# Hostile values

HOSTILE = [
    *("", "x:y", "x\n", "x\x1b[2J", "x\u202e" * 300, "2025-02-30", "9999-12-31", "١٢٣", "🜁"),
    *(-1, 0, 10**15 + 1, 2**53 - 1, True),
    *([], [[]], {}, {"x:y": 1}, {"x": -1}, {"x": 0}, {"x": 2**53 - 1}, {"x\n": 1}),
    [["treasury:x:2025", "accrued:A:2025", 1]],
]
# No rule depends on the names of requests, so any text is right.
FREE_TEXTS = {"request", "salt", "log_key"}


def could_be(kind: str, field: str, value: Any) -> bool:
    """Return whether this ledger allows another value in place of the honest one."""
    if field == "at":
        return type(value) is int and (value == 2**53 - 1 or (kind == "genesis" and value >= 0))
    if field == "suspected_since":
        # Any microsecond that is past is as good.
        return type(value) is int and value < 2**53 - 1
    if field == "contract_limit":
        return type(value) is int and value >= 0
    if (kind, field) == ("contract_funds", "amount"):
        return type(value) is int and 0 <= value <= MAX_FEN
    if isinstance(value, str):
        return (
            field in FREE_TEXTS
            or (
                field in {"name", "reason", "document", "contract_no", "reference"}
                and 0 < len(value) <= 200
                and value.isprintable()
            )
            or (
                field in {"id", "use", "keyid", "enlisted.batch", "body.contract"}
                and value in HOSTILE[5:7]
            )
        )
    # By type as well: True equals 1.
    others = {"related_party": True, "max_devices": {}, "alone": []}
    return type(value) is type(others.get(field)) and value == others[field]


def first_of_each_kind() -> list[tuple[str, int]]:
    entries = list(enumerate(honest_history().entries))
    return [*{entry.kind: number for number, entry in reversed(entries)}.items()]


@pytest.mark.parametrize(("kind", "number"), first_of_each_kind())
def test_a_hostile_value_in_any_field_is_found(kind, number):
    writer = honest_history()
    honest = decode(writer.leaves[number])
    assert honest["kind"] == kind
    before = replayed(writer, number)
    for (field, value), told in variants(honest):
        if told != honest and not could_be(kind, field, value):
            assert refused(before, writer, number, told), (field, value)
    for field in honest.keys() - {"reason", "suspected_since"}:
        assert refused(before, writer, number, without(honest, {field})), field
    assert refused(before, writer, number, honest | {"another": 1})


def variants(honest: dict[str, Any]) -> Iterator[tuple[tuple[str, Any], dict[str, Any]]]:
    """Yield each hostile value in each field, and in those of an inner object."""
    for field, inner in honest.items():
        for value in HOSTILE:
            yield (field, value), honest | {field: value}
            # A ledger may name any keys; a wrong one shows in the first receipt.
            if isinstance(inner, dict) and field != "receipt_key":
                for name in inner:
                    yield (f"{field}.{name}", value), honest | {field: inner | {name: value}}


def replayed(writer: Writer, size: int) -> tuple[Books, Audit, Tree]:
    """Replay the first entries like `verify`, but without a folder: there are thousands."""
    books, audit, tree = Books(ORIGIN), Audit(), Tree()
    for number, leaf in enumerate(writer.leaves[:size]):
        fields = decode(leaf)
        books.entry(number, leaf, fields, [], tree)
        audit.entry(number, leaf, fields, writer.files.get(number, []), tree)
        tree.append(leaf_hash(leaf))
    return books, audit, tree


def refused(
    before: tuple[Books, Audit, Tree], writer: Writer, number: int, fields: dict[str, Any]
) -> bool:
    """Return whether an entry is found wrong; any other exception is a fault of the audit."""
    books, audit, tree = copy.deepcopy(before)
    data = encode(fields)
    try:
        books.entry(number, data, decode(data), [], tree)
        audit.entry(number, data, decode(data), writer.files.get(number, []), tree)
    except LedgerError as error:
        return error.detail.isprintable()
    return False


# The sums beside it


def test_the_audit_feeds_the_sums_and_minds_them():
    writer = honest_history()
    audit = Audit()
    more = {"kind": "batch", "at": 0, "provider": "p", "stream": "s", "seq": 1}
    audit.sums.entry(0, encode(more | {"postings": [["a", "b", 1]]}))
    report, _ = audited(writer, audit)
    (problem,) = report.findings
    assert (problem.code, problem.entry) == ("sum_account", None)
    number = next(number for number, entry in enumerate(writer.entries) if entry.kind == "usage")
    with pytest.raises(Violation, match="counts already"):
        audit.sums.entry(number, writer.leaves[number])


# Two processes


def judged_by(cores: int, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Verify in this many processes, like `kashi verify`."""
    monkeypatch.setattr(verify_module, "ENOUGH_TO_SHARE", 0)
    audit = Audit(with_sums=False, processes=cores)
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        beside = judges_beside(cores)
        return verify(Path(folder), writer.verifier, audit, beside=beside, cores=cores)


@pytest.mark.parametrize("cores", [2, 4])
def test_several_processes_find_an_honest_ledger_as_good_as_one_does(monkeypatch, cores):
    writer = honest_history()
    alone, _ = audited(writer)
    together = judged_by(cores, writer, monkeypatch)
    assert together == alone
    assert together.ok


@pytest.mark.parametrize(
    ("kind", "lie", "code"),
    [
        # The books find the first, the sums the second before the audit, the audit the third.
        ("enterprise", lambda enterprise: replace(enterprise, at=1), "time_went_back"),
        ("void", lambda void: replace(void, record=void.record + 1), "sum_record"),
        ("usage", lambda usage: replace(usage, state="OTHER"), "not_as_decided"),
        ("policy", lambda policy: replace(policy, content="="), "malformed_entry"),
    ],
)
def test_two_processes_name_the_first_entry_that_either_finds_wrong(monkeypatch, kind, lie, code):
    writer = honest_history(only(kind, lie))
    report = judged_by(2, writer, monkeypatch)
    (problem,) = report.findings
    first = next(number for number, entry in enumerate(writer.entries) if entry.kind == kind)
    assert (problem.code, problem.entry) == (code, first)
    (alone,) = audited(writer)[0].findings
    assert problem.entry == alone.entry


@pytest.mark.parametrize("cores", [2, 4])
@pytest.mark.parametrize("code", ["bad_signature", "bad_receipt_signature"])
def test_a_bad_signature_is_found_by_whichever_process_has_the_batch(monkeypatch, cores, code):
    for wrong in range(3):
        writer = world()
        numbers = [send_signed(writer, code if wrong == place else None) for place in range(3)]
        (problem,) = judged_by(cores, writer, monkeypatch).findings
        assert (problem.code, problem.entry) == (code, numbers[wrong])


def send_signed(writer: Writer, wrong: str | None) -> int:
    """Send a batch with one signature that may be wrong; returns the number of its entry."""
    number = len(writer.leaves)
    sender, receipts = (
        signer("another" if wrong == code else name)
        for code, name in (("bad_signature", "pcl-1"), ("bad_receipt_signature", "receipts"))
    )
    writer.receipt_signer = dsse.ReceiptSigner("receipt-1", receipts)
    payload = writer.payload([usage(f"r{number}")])
    writer.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", sender))
    return number


@pytest.mark.parametrize("value", [*HOSTILE, None, {"start": 1}, [[2025]]], ids=repr)
def test_the_sums_alone_refuse_what_has_no_form_as_violations(value):
    writer = small_history()
    totals, tree = Totals(), Tree()
    number = next(number for number, entry in enumerate(writer.entries) if entry.kind == "usage")
    for before in range(number):
        totals.entry(before, writer.leaves[before], None, [], tree)
    honest = decode(writer.leaves[number])
    for field in honest.keys() - {"kind"}:
        judge = copy.deepcopy(totals)
        with suppress(Violation):  # only the audit checks some fields
            judge.entry(number, msgspec.json.encode(honest | {field: value}), None, [], tree)


# Bytes


def rounds(writer: Writer, count: int, first: int = 0) -> Writer:
    """Add groups of two batches: three records, and a void of one of them."""
    for number in range(first, first + count):
        with writer.group():
            writer.post([usage(f"r{number}{name}", name) for name in "ABS"])
            writer.post(voids=[void(f"r{number}A", "failed")])
    return writer


def small_history(count: int = 3) -> Writer:
    writer = Writer()
    populate(writer, policy())
    return rounds(writer, count)


def exported(writer: Writer, folder: Path) -> dict[str, bytes]:
    """Export, and return the files by path."""
    writer.export(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def owners(writer: Writer, path: str) -> list[int | None]:
    """Return the entry of each byte of a file, or None for bytes of no single entry."""
    if path == "checkpoint" or path.startswith("tile/1"):
        return []
    first = 256 * parse_tile_path(path).index
    numbers = range(first, min(first + 256, len(writer.leaves)))
    parts: list[tuple[int | None, int]] = []
    for number in numbers:
        if path.startswith("tile/0"):
            parts.append((number, 32))
        elif path.startswith("tile/entries"):
            parts.append((number, 2 + len(writer.leaves[number])))
        else:
            # After a change in the head of a file, all that follows seems to be another's.
            for file in writer.files.get(number, []):
                parts += [(None, len(encode_attachment(0, [b""]))), (number, len(file))]
    return [number for number, length in parts for _ in range(length)]


def with_a_bit_changed(
    writer: Writer, folder: Path, path: str, offset: int, replay: Audit | None
) -> Report | None:
    """Verify after one bit of a byte was changed, which then is changed back.

    None where there is no checkpoint to go by any more.
    """
    place = folder / path
    with place.open("r+b", buffering=0) as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << offset % 8]))
        report = None
        with contextlib.suppress(NoCheckpoint, OtherKey):
            report = verify(folder, writer.signer.verifier, replay)
        file.seek(offset)
        file.write(bytes([byte]))
    return report


def assert_named(report: Report, where: tuple[str, int], owner: int | None) -> None:
    assert not report.ok, where
    if owner is not None:
        assert report.findings[0].entry == owner, (where, report.findings)


@pytest.mark.long
def test_every_byte_of_a_small_export_changed_is_found(tmp_path):
    writer = small_history(1)  # one of each kind, for the work grows with the square
    kinds = {entry.kind for entry in small_history().entries}
    assert {entry.kind for entry in writer.entries} == kinds
    files = exported(writer, tmp_path)
    assert len(files) == 4
    for path, data in files.items():
        of_entry = owners(writer, path)
        assert len(of_entry) in {0, len(data)}
        for offset in range(len(data)):
            # An audit sees only entries that the root proves, so no changed one.
            audit = None if path.startswith("tile/entries") else Audit()
            report = with_a_bit_changed(writer, tmp_path, path, offset, audit)
            if report is None:
                assert path == "checkpoint"
                continue
            assert_named(report, (path, offset), of_entry[offset] if of_entry else None)
    assert verify(tmp_path, writer.signer.verifier, Audit()).ok


def test_a_byte_changed_in_each_file_and_each_entry_of_a_larger_export_is_found(tmp_path):
    writer = rounds(small_history(), 50, first=3)
    assert len(writer.leaves) > 300
    chance, seen = random.Random(7), []
    for path, data in exported(writer, tmp_path).items():
        of_entry = owners(writer, path)
        offsets = [chance.randrange(len(data))]
        if path.startswith("tile/entries"):
            numbers = dict.fromkeys(of_entry)
            seen += numbers
            ranges = [(of_entry.index(number), of_entry.count(number)) for number in numbers]
            offsets += [start + chance.randrange(length) for start, length in ranges]
        for offset in offsets:
            report = with_a_bit_changed(writer, tmp_path, path, offset, Audit())
            if report is None:
                assert path == "checkpoint"
                continue
            assert_named(report, (path, offset), of_entry[offset] if of_entry else None)
    assert seen == list(range(len(writer.leaves)))
