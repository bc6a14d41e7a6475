"""Ledgers that are hashed and signed, honest or with one lie, and an auditor who looks at them.

Each liar writes a whole ledger (`tests/writer.py`); the audit sees the exported folder and nothing
else.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ledger.folder import FolderReader
from ledger.report import Report
from ledger.tlog import Tree, leaf_hash
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.rules import commands
from meter.rules.decide import Decided
from meter.rules.entries import Entry
from meter.values.units import day_of, parse_instant
from tests.books import ALPHA, BETA, DEVICE, HOUR, PROGRAMME, lifted, record, void
from tests.writer import Writer, with_receipt

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
    """Export and verify, as an auditor on one core does."""
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        audit = audit or Audit(read=FolderReader(Path(folder)).entries)
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


def without(fields: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


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
