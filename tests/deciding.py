"""A contract, its usage, and what a posted record gets: for tests of how batches are judged."""

from typing import Any

import pytest

from meter.values.problems import Problem
from meter.values.units import parse_instant
from meter.wire.receipt import Rejected
from tests.books import DAY, HOUR, Books, figures, opened, record, uscc_of

START = parse_instant("2025-03-01T08:00:00+08:00")
END = START + HOUR
LATENESS = 35 * DAY
TIMES = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


def with_contract() -> Books:
    books = opened()
    books.contract("A")
    books.issue(2025, "500000.00")
    return books


def with_two_providers() -> Books:
    books = with_contract()
    books.provider("sz", uscc=uscc_of(7), name="other")
    books.key("sz-1", "sz")
    books.contract("Z", provider="sz")
    return books


def usage(**changes: Any) -> dict[str, Any]:
    return record("r", "A", *TIMES, 64_000) | changes


def verdict(books: Books, **changes: Any) -> Any:
    (result,) = books.post([usage(**changes)])
    return result


def refusal(books: Books, **changes: Any) -> Problem:
    """Post and be refused; nothing may change."""
    before = figures(books.state)
    with pytest.raises(Problem) as refused:
        books.post(**changes)
    assert figures(books.state) == before
    return refused.value


def code(result: Any) -> str | None:
    return result.code if isinstance(result, Rejected) else None
