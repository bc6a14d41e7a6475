"""How the verdict on a ledger and on a stored receipt is shown, and what programs read of it."""

import io

from rich.console import Console

from meter.auditor import receipts
from meter.auditor.receipt_check import Check
from meter.auditor.receipt_check import Verdict as OfReceipt
from meter.auditor.verdict import show, verify_source
from meter.languages import Speech
from tests.books import record
from tests.sites import START
from tests.writer import Writer


def lines_of(writer: Writer, tmp_path, width: int) -> list[str]:
    """Return what is shown of a ledger on a terminal of that width."""
    key = writer.verifier.format()
    verdict = verify_source(str(writer.export(tmp_path)), key, [], None, lambda *_: None)
    assert verdict.conclusion == "good"
    assert verdict.gaps
    assert verdict.questions
    console = Console(file=io.StringIO(), width=width)
    show(verdict, console, Speech("en"))
    return console.file.getvalue().splitlines()


def test_what_is_asked_about_stands_on_one_line_whatever_the_terminal(tmp_path):
    writer = Writer()
    writer.activate()
    writer.provider()
    writer.key()
    writer.enterprise()
    writer.contract("A")
    # The same hour twice, under two ids, and after a gap.
    for seq in (1, 5):
        writer.post([record(f"r{seq}", "A", START, START + 3_600, 1_000)], seq=seq)
    wide, narrow = (lines_of(writer, tmp_path / f"{width}", width) for width in (300, 40))
    asked = [line for line in wide if line.startswith(("gap: ", "question: "))]
    assert "gap: pcl, stream main: no batches 2 to 4" in asked
    assert [line for line in narrow if line.startswith(("gap: ", "question: "))] == asked
    assert any(len(line) > 40 for line in asked)


def test_a_check_of_a_receipt_has_a_code_where_it_is_bad_and_else_none():
    checks = [Check("one", "good", "as it was"), Check("two", "bad", "other bytes", "wrong")]
    assert receipts.as_json(OfReceipt(checks, proved=True)) == {
        "verdict": "violated",
        "checks": [
            {"name": "one", "outcome": "good", "detail": "as it was"},
            {"name": "two", "outcome": "bad", "code": "wrong", "detail": "other bytes"},
        ],
    }
