"""What the entries of some books come to again: by a replay, and by the independent sums."""

from collections.abc import Iterable
from typing import Any

import pytest

from ledger.canon import decode, encode
from ledger.errors import Violation
from meter.auditor.sums import Sums
from meter.rules.evolve import evolve
from meter.rules.state import State
from tests.books import Books, balances, expected_balances, figures

Fields = dict[str, Any]


def told(books: Books) -> list[Fields]:
    """Return the entries as plain values, which a lie may change."""
    return [decode(encode(entry)) for entry in books.entries]


def summed(entries: Iterable[Fields] | Books) -> None:
    """Add all entries up. Raises `Violation`."""
    sums = Sums()
    for number, fields in enumerate(told(entries) if isinstance(entries, Books) else entries):
        sums.entry(number, encode(fields))
    sums.finish()


def found(entries: Iterable[Fields] | Books, code: str, *words: str) -> Violation:
    """Expect that the sums do not agree; return what they find."""
    with pytest.raises(Violation) as violation:
        summed(entries)
    assert violation.value.code == code, violation.value.detail
    assert all(word in violation.value.detail for word in words), violation.value.detail
    return violation.value


def replayed(books: Books) -> None:
    """Check that the entries alone lead to the same state, and the postings to its balances."""
    replica = State()
    for entry in books.entries:
        evolve(replica, entry)
    assert figures(replica) == figures(books.state)
    [*_, account] = balances(books.entries)
    assert account == expected_balances(books.state)


def checked(books: Books) -> None:
    """Check a replay and the independent sums."""
    replayed(books)
    summed(books)
