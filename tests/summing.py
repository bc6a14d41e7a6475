"""The independent sums over the entries of some books, as an auditor adds them up."""

from collections.abc import Iterable
from typing import Any

import pytest

from ledger.canon import decode, encode
from ledger.errors import Violation
from meter.auditor.sums import Sums
from tests.books import Books

Fields = dict[str, Any]


def told(books: Books) -> list[Fields]:
    """Return the entries as plain values, which a lie may change."""
    return [decode(encode(entry)) for entry in books.entries]


def summed(entries: Iterable[Fields]) -> None:
    """Add all entries up. Raises `Violation`."""
    sums = Sums()
    for number, fields in enumerate(entries):
        sums.entry(number, encode(fields))
    sums.finish()


def found(entries: Iterable[Fields] | Books, code: str, *words: str) -> Violation:
    """Expect that the sums do not agree; return what they find."""
    with pytest.raises(Violation) as violation:
        summed(told(entries) if isinstance(entries, Books) else entries)
    assert violation.value.code == code, violation.value.detail
    assert all(word in violation.value.detail for word in words), violation.value.detail
    return violation.value
