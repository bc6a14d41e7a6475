"""The effect of an entry on money, at the bounds of a fen."""

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from meter.rules.effects import Diverged, release_effect
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.values.units import parse_instant
from tests.books import ALPHA, DEVICE, HOUR, PROGRAMME, Books, lifted, opened, record, void

START = parse_instant("2025-03-01T08:00:00+08:00")


def with_a_record() -> Books:
    """Return books with a record of three cards, of which two fit."""
    books = opened(lifted())
    books.contract("A", max_devices={DEVICE: 2})
    books.issue(2025, "100.00")
    books.post([record("r", "A", START, START + HOUR, 3_000)])
    return books


def test_a_grant_of_one_fen_is_posted_as_one():
    books = opened(lifted())
    books.contract("A")
    books.issue(2025, "0.01")
    books.post([record("r", "A", START, START + HOUR, 1_000)])
    coupon = f"coupon:{PROGRAMME}:2025:{ALPHA}"
    assert (coupon, "accrued:A:2025", 1) in books.entries[-1].postings


def test_the_void_of_a_record_says_what_was_withheld_of_it_until_its_release():
    books = with_a_record()
    withheld = books.entries[-1].withheld
    assert sum(time for _, time in withheld) == 1_000 * HOUR
    books.post(voids=[void("r")])
    assert books.entries[-1].withheld == withheld
    books = with_a_record()
    books.release("r")
    books.post(voids=[void("r")])
    assert books.entries[-1].withheld is UNSET


def test_a_release_uses_nothing_once_more():
    books = with_a_record()
    (kept,) = books.state.records.values()
    assert release_effect(books.state, kept).worth.numerator == 0


@pytest.mark.parametrize(
    ("then", "change"),
    [
        (lambda _: None, {"postings": []}),
        (lambda _: None, {"fits": []}),
        (lambda _: None, {"withheld": UNSET}),
        (lambda books: books.void("r"), {"postings": []}),
        (lambda books: books.release("r"), {"postings": []}),
        (lambda books: books.release("r"), {"withheld": [(1, 1)]}),
        (lambda books: books.issue(2025, "1.00"), {"postings": [("a", "b", 1), ("a", "b", 1)]}),
    ],
)
def test_an_entry_that_differs_from_the_rules_is_not_applied(then, change):
    books = with_a_record()
    then(books)
    *before, last = books.entries
    state = State()
    for entry in before:
        evolve(state, entry)
    with pytest.raises(Diverged, match="the rules give"):
        evolve(state, replace(last, **change))
