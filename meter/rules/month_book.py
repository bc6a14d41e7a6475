"""Months of the ledger: what was booked in each, and the numbers that streams lack.

A month is one of Shanghai, and an entry is of the month of its `at`: a late record, a void or an
amendment is booked in the month in which it came, whatever its day of service. What a month booked
is by how much cost and grants of contracts and awards grew between its first entry and the first
one after it. These totals are kept where a month turns, so no record costs anything.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from meter.rules.entries import MonthClosed, MonthConfirmed, RecordDisputed
from meter.values.units import DAY_SECONDS, MICROSECONDS, add_months, format_date, parse_date

Booked = tuple[int, int]  # cost and granted, fen
Gap = tuple[str, int, int]  # stream, first and last number that it lacks

ANSWER_DAYS: Final = 30  # in which a firm confirms a closed month or disputes its records
_ANSWER_MICROSECONDS: Final = ANSWER_DAYS * DAY_SECONDS * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Month:
    """The entries `[first, end)` of a month, and what they booked by contract or award."""

    first: int
    end: int
    booked: dict[str, Booked]


@dataclass
class MonthBook:
    """The month of the newest entry, months that are over, and those that are closed.

    `running` is a text such as "2025-03", empty before entry 0; it ends at `ends` (microseconds),
    its entries begin with `first`, before which the totals were `marks`. `over` has the months
    whose totals a closing needs, `closed` those with one, by number and entry. `confirmed` has the
    entries that confirm a month, by it and a USCC.
    """

    running: str = ""
    ends: int = 0
    first: int = 0
    marks: dict[str, Booked] = field(default_factory=dict)
    over: dict[str, Month] = field(default_factory=dict)
    closed: dict[str, tuple[int, MonthClosed]] = field(default_factory=dict)
    confirmed: dict[tuple[str, str], tuple[int, MonthConfirmed]] = field(default_factory=dict)

    def begin(self, at: int, first: int, marks: dict[str, Booked]) -> None:
        """Begin the month of an instant (microseconds) with the entry `first`."""
        self.running, self.first, self.marks = month_of(at), first, marks
        self.ends = end_of(self.running)

    def running_until(self, end: int, totals: dict[str, Booked]) -> Month:
        """Return the running month, if it has the entries below `end` and led to these totals."""
        changes = (
            (name, cost - marked[0], granted - marked[1])
            for name, (cost, granted) in totals.items()
            for marked in (self.marks.get(name, (0, 0)),)
        )
        return Month(
            self.first, end, {name: (cost, given) for name, cost, given in changes if cost or given}
        )

    def answer_until(self, month: str) -> int | None:
        """Return the instant at which a firm's time to answer ends; None while it is not closed."""
        held = self.closed.get(month)
        return None if held is None else answer_end(held[1].at)


@dataclass
class Dispute:
    """A dispute of a record; `ended` is the number of the entry that dismissed it or voided it."""

    entry: int
    made: RecordDisputed
    ended: int | None = None


class Numbers:
    """The numbers of a stream: the last one, and the ranges below it that are missing.

    A range is its first and last number, and the instant (microseconds) at which it was found
    missing, 0 where nobody asks for that.
    """

    __slots__ = ("gaps", "last")

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self.gaps: list[tuple[int, int, int]] = []

    def fill(self, number: int, at: int = 0) -> None:
        """Take a number at an instant; one that is there already changes nothing."""
        if number > self.last:
            if number > self.last + 1:
                self.gaps.append((self.last + 1, number - 1, at))
            self.last = number
            return
        place = bisect_right(self.gaps, number, key=lambda gap: gap[0]) - 1
        if place < 0 or self.gaps[place][1] < number:
            return
        first, last, since = self.gaps[place]
        parts = (first, number - 1, since), (number + 1, last, since)
        self.gaps[place : place + 1] = [part for part in parts if part[0] <= part[1]]


def answer_end(closed_at: int) -> int:
    """Return when a firm's time to answer a month ends, from its closing; both in microseconds."""
    return closed_at + _ANSWER_MICROSECONDS


def month_of(at: int) -> str:
    """Return the Shanghai month of an instant (microseconds), such as "2025-03"."""
    return format_date(at // MICROSECONDS)[:7]


def end_of(month: str) -> int:
    """Return the instant (microseconds) at which a month ends."""
    return parse_date(add_months(f"{month}-01", 1)) * MICROSECONDS
