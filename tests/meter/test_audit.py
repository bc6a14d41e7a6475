"""The audit of honest ledgers, in one process and in several, and of their clock and groups."""

import base64
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import verify as verify_module
from ledger.book import Book
from ledger.canon import encode
from ledger.errors import Violation
from ledger.log import Log
from ledger.report import Report
from ledger.tlog import Frontier, leaf_hash
from ledger.verify import verify
from meter.auditor.replay import Audit, Gap
from meter.auditor.verdict import judges_beside
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, format_money, parse_instant
from meter.views.flags import Questions
from meter.wire import dsse
from meter.wire.receipt import Before
from tests.auditing import (
    END_OF_2026,
    audited,
    changed,
    found,
    honest_history,
    only,
    policy,
    populate,
    tree_of,
    usage,
    world,
)
from tests.books import ALPHA, BETA, DAY, DEVICE, HOUR, properties, record, signer, void
from tests.writer import Writer, bent

# Honest ledgers


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


NOT_CANONICAL = {
    "a space": lambda leaf: leaf.replace(b":", b": ", 1),
    "a null": lambda leaf: leaf.replace(b'"v":1', b'"v":null'),
    "a fraction": lambda leaf: leaf.replace(b'"v":1', b'"v":1.0'),
    "a key twice": lambda leaf: leaf.replace(b'"v":1', b'"v":1,"v":1'),
    "no JSON": lambda leaf: leaf[:-1],
    "no UTF-8": lambda leaf: leaf.replace(b'"by":"', b'"by":"\xff'),
    "too deep": lambda leaf: leaf[:-1] + b',"z":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}


@pytest.mark.parametrize("cores", [2, 4])
@pytest.mark.parametrize("name", NOT_CANONICAL)
@pytest.mark.parametrize("kind", ["usage", "freeze", "batch"])
def test_several_processes_find_what_is_no_canonical_json_as_one_does(
    monkeypatch, cores, name, kind
):
    writer = honest_history()
    number = next(n for n, each in enumerate(writer.entries) if each.kind == kind)
    writer.leaves[number] = NOT_CANONICAL[name](writer.leaves[number])
    writer.log = Log(Frontier.over(b"".join(map(leaf_hash, writer.leaves))), Book(()), 0)
    (alone,) = audited(writer)[0].findings
    (together,) = judged_by(cores, writer, monkeypatch).findings
    assert (alone.code, alone.entry) == ("not_canonical", number)
    assert (together.code, together.entry) == (alone.code, alone.entry)
