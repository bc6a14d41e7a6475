"""The books for accountants, line by line: what is held before, each month's end, and the last."""

import pytest

from meter.auditor.papers.books import Beancount, Hledger, _Book, _net
from meter.values.units import MICROSECONDS, format_money
from meter.values.units import year_of as year_of_second
from tests.audit.test_export import book_of, export

BEFORE = "what was held before"
MOVES = [
    ("2025-03-01", {"pool": -300, "coupon": 300}),
    ("2025-03-31", {"coupon": -20, "accrued": 20}),
    ("2025-04-01", {"coupon": -5, "accrued": 5}),
    ("2025-04-30", {}),  # moves nothing, so it is not told
    ("2025-06-15", {"due": 7, "enterprise": -7}),
]


def written(dialect, opens: str | None, *held: dict[str, int]) -> str:
    """Write a book of the moves, with what was held before."""
    parts: list[str] = []
    book = _Book(dialect, parts.append)
    for each in held:
        book.hold(each)
    for date, changes in MOVES:
        book.open(opens)
        book.enter(date, ("usage", f"entry of {date}"), changes)
    book.close()
    return "".join(parts)


def test_a_book_opens_moves_and_is_checked_at_the_end_of_each_month():
    held = {"pool": 1_000, "treasury": -1_000}, {"due": 1, "enterprise": -1}, {"due": -1}
    assert (
        written(Hledger(), "2025-03-01", *held, {"enterprise": 1})
        == f"""\
account pool
account treasury
2025-02-28 * opening | {BEFORE}
    pool  10.00 CNY
    treasury  -10.00 CNY
2025-02-28 * balances
    pool  0.00 CNY = 10.00 CNY
    treasury  0.00 CNY = -10.00 CNY
account coupon
2025-03-01 * usage | entry of 2025-03-01
    pool  -3.00 CNY
    coupon  3.00 CNY
account accrued
2025-03-31 * usage | entry of 2025-03-31
    coupon  -0.20 CNY
    accrued  0.20 CNY
2025-03-31 * balances
    accrued  0.00 CNY = 0.20 CNY
    coupon  0.00 CNY = 2.80 CNY
    pool  0.00 CNY = 7.00 CNY
2025-04-01 * usage | entry of 2025-04-01
    coupon  -0.05 CNY
    accrued  0.05 CNY
2025-04-30 * balances
    accrued  0.00 CNY = 0.25 CNY
    coupon  0.00 CNY = 2.75 CNY
account due
account enterprise
2025-06-15 * usage | entry of 2025-06-15
    due  0.07 CNY
    enterprise  -0.07 CNY
2025-06-15 * balances
    due  0.00 CNY = 0.07 CNY
    enterprise  0.00 CNY = -0.07 CNY
"""
    )


@pytest.mark.parametrize(
    ("opens", "held"), [(None, {"pool": 5, "treasury": -5}), ("2025-03-01", {})]
)
def test_a_book_without_a_first_day_or_without_money_has_no_opening(opens, held):
    text = written(Beancount(), opens, held)
    assert BEFORE not in text
    assert text.startswith("2025-03-01 open ")
    assert text.rstrip().splitlines()[-1].startswith("2025-06-16 balance ")


def test_the_book_of_a_year_opens_with_what_the_years_before_moved(writer, log, tmp_path):
    first, *_, last = sorted({year_of(entry.at) for entry in writer.entries})
    held: dict[str, int] = {}
    for entry in writer.entries:
        if year_of(entry.at) < last:
            for account, fen in _net(entry.postings).items():
                held[account] = held.get(account, 0) + fen
    book = book_of(
        export(log, writer, tmp_path / "last", "hledger", "--period", str(last))
    ).read_text()
    opening = book.partition(f"| {BEFORE}\n")[2].partition("\n20")[0]
    expected = [f"    {name}  {format_money(fen)} CNY" for name, fen in sorted(held.items()) if fen]
    assert opening.splitlines() == expected
    assert len(expected) > 5
    whole = book_of(
        export(log, writer, tmp_path / "first", "hledger", "--period", str(first))
    ).read_text()
    assert BEFORE not in whole


def year_of(at: int) -> int:
    return year_of_second(at // MICROSECONDS)
