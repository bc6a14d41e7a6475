"""Real books whose rules can be bent in their state, and what the independent sums find in them."""

import dataclasses
from typing import Any

import msgspec

from meter.rules.capacity import QUARTER_SECONDS
from meter.rules.state import Segment
from meter.values.units import day_of, parse_instant
from tests import summing
from tests.books import BETA, DEVICE, HOUR, PROGRAMME, Books, lifted, record
from tests.summing import Fields, told

START = parse_instant("2025-02-20T08:00:00+08:00")
TODAY = day_of(START)
FOREVER = (0, 10**12)
END_OF_2026 = "2027-01-01T12:00:00+08:00"


def world(now: str = END_OF_2026, **figures: Any) -> Books:
    """Return books with contracts A and B of one enterprise and S of another, and coupons."""
    books = Books(now)
    books.activate(lifted(**figures))
    books.provider()
    books.key()
    books.enterprise()
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("A", amount="1000.00")
    books.contract("B", amount="1000.00")
    books.contract("S", enterprise=BETA, amount="1000.00")
    books.fund_contract("S", "590.00")
    books.issue(2025, "200.00")
    books.issue(2026, "100.00")
    books.issue(2025, "10.00", BETA)
    return books


def usage(id_: str, contract: str = "A", hours: int = 1, **changes: Any) -> Fields:
    return record(id_, contract, START, START + hours * HOUR, 10_000) | changes


def across_the_year(id_: str, contract: str = "A") -> Fields:
    return record(id_, contract, "2025-12-31T20:00:00+08:00", "2026-01-01T04:00:00+08:00", 10_000)


def found(entries: list[Fields] | Books, code: str, *words: str, entry: int | None = None) -> None:
    assert summing.found(entries, code, *words).entry == entry


def bend(books: Books, contract: str, **terms: Any) -> None:
    """Change the values that decide the entitlement of a contract, but not its entry."""
    held = books.state.contracts[contract]
    held.terms = dataclasses.replace(held.terms, **terms)


def bend_ratio(books: Books, contract: str, ratio_bp: int) -> None:
    for segment in books.state.contracts[contract].segments:
        segment.ratio_bp = ratio_bp


def count_always(books: Books, contract: str) -> None:
    """Let the core count the usage of a contract at any time."""
    held = books.state.contracts[contract]
    held.segments = [Segment(2025, "test", 5_000, *FOREVER)]
    held.meters.clear()  # made from the segments, when needed


def crowded(cards: int = 8, **contract: Any) -> Books:
    """Return books of a provider with few cards, and a contract without limits."""
    books = Books(END_OF_2026)
    books.activate(lifted())
    books.provider(devices={DEVICE: cards})
    books.key()
    books.enterprise()
    books.contract("A", **({"max_devices": {}} | contract))
    books.issue(2025, "500.00")
    return books


def hour(id_: str, cards: int = 8, contract: str = "A", **changes: Any) -> Fields:
    return record(id_, contract, START, START + HOUR, cards * 1_000) | changes


def found_last(books: Books, code: str, *words: str) -> None:
    found(books, code, *words, entry=len(books.entries) - 1)


def found_with(books: Books, lie: Fields, code: str, *words: str) -> None:
    """Expect a fault in the last entry."""
    *entries, last = told(books)
    found([*entries, last | lie], code, *words, entry=len(entries))


def shown(start: int, end: int, cards: int, limit: str = "provider") -> list[Any]:
    """Return evidence of some quarters of the hour."""
    begin, until = (START + place * QUARTER_SECONDS for place in (start, end))
    return [limit, begin * 10**6, until * 10**6, cards * 1_000 * (until - begin)]


def span(batch: str, starts: str, ends: str) -> dict[str, str]:
    return {"batch": batch, "from": starts, "until": ends}


def bend_policy(books: Books, **figures: Any) -> None:
    versions = books.state.policies[PROGRAMME]
    versions["test"] = msgspec.structs.replace(versions["test"], **figures)
