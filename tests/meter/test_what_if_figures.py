"""What a comparison says where one side has no figure or nothing can be paid, and its tables."""

import io

from rich.console import Console

from meter.auditor.alternative import Cut
from meter.auditor.what_if import _cuts
from meter.values.units import parse_instant
from tests.books import ALPHA, DEVICE, HOUR, lifted, record, without_sections
from tests.meter.test_what_if import under
from tests.writer import Writer

JANUARY = parse_instant("2026-01-02T08:00:00+08:00")


def used(text: str) -> Writer:
    """Return a ledger with 288.00 used in January 2026, and 1,000.00 issued if there is a pool."""
    writer = Writer("2026-01-30T12:00:00+08:00")
    writer.activate(text)
    writer.provider(devices={DEVICE: 1_000})
    writer.key()
    writer.enterprise()
    writer.contract("A", amount="100000.00", signed_on="2025-03-01", starts="2025-03-01")
    writer.post([record("r1", "A", JANUARY, JANUARY + HOUR, 64_000)])
    return writer


def figures(writer: Writer, text: str) -> dict[str, tuple[int, int]]:
    return {
        each.figure: (each.before, each.after)
        for each in under(writer, text).figures
        if (each.year, each.item) == (2026, "A")
    }


def test_a_year_in_which_only_one_side_entitles_to_something_has_zeros_on_the_other():
    early, late = lifted(ends="2026-01-01"), lifted()
    nothing = {"granted": (0, 0), "approved": (0, 0), "payable": (0, 0)}
    assert figures(used(early), late) == nothing | {
        "entitled": (0, 144_00),
        "uncovered": (0, 144_00),
    }
    assert figures(used(late), early) == nothing | {
        "entitled": (144_00, 0),
        "uncovered": (144_00, 0),
    }


def test_nothing_is_payable_of_what_is_granted_where_the_policy_pays_no_claims():
    text = without_sections(lifted(), "claims")
    writer = used(text)
    writer.issue(2026, "1000.00")
    writer.post([record("r2", "A", JANUARY + HOUR, JANUARY + 2 * HOUR, 64_000)])
    found = figures(writer, text)
    assert (found["granted"], found["payable"]) == ((288_00, 288_00), (0, 0))


def test_what_was_decided_otherwise_has_its_columns_and_sums_to_the_right():
    console = Console(file=io.StringIO(), width=100)
    cuts = [
        Cut(7, "issue", "cap_exceeded", 500_00, 200_00, ALPHA),
        Cut(8, "claim", "unknown_contract", None, None, ALPHA),
    ]
    console.print(_cuts(cuts))
    _, _, head, _, first, second, _ = console.file.getvalue().splitlines()
    named = "entry kind firm refused as asked allowed"
    assert head.replace("┃", " ").split() == named.split()
    cells = [[cell[1:-1] for cell in line.split("│")[1:-1]] for line in (first, second)]
    assert [cell.strip() for cell in cells[0][:4]] == ["7", "issue", ALPHA, "cap_exceeded"]
    assert cells[0][4:] == ["500.00", " 200.00"]
    assert [cell.strip() for cell in cells[1][4:]] == ["", ""]
