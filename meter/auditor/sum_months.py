"""Months of the ledger, added from postings: a part of `auditor.sums`.

What a month booked is by how much the accounts `due` and `accrued` of each contract or award grew
between the first entry of the month and the first one after it. Streams lack the numbers between
one and their largest that no batch has; of these, all that are missing at the closing are named.

    sum_month   a closing is of the oldest month that is over and not closed, with its entries and
                sums; the lists that follow it name what each contract and award grew by, and each
                range of numbers that is missing; with one missing, a waiver names a person
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ledger.errors import Violation
from meter.auditor.sum_meters import Contract

_SHANGHAI: Final = timedelta(hours=8)
_LONGEST: Final = timedelta(days=31)  # a month
_GROWN: Final = ("due", "accrued")

_Grown = dict[str, tuple[int, int]]  # cost and grants by contract or award, fen
_Lines = set[tuple[str, str, int, int]]  # provider, item, fen; or provider, stream, numbers


class Months:
    """The months and the streams of one ledger. Methods raise `Violation`.

    `balances` and `contracts` are those of all sums, and grow elsewhere.
    """

    def __init__(self, balances: Mapping[str, int], contracts: Mapping[str, Contract]) -> None:
        self._balances = balances
        self._contracts = contracts
        self._running = ""
        self._until = 0  # microseconds
        self._first = 0
        self._before: dict[str, int] = {}
        # Those that are over and not closed, the oldest first: entries, and what grew.
        self._over: dict[str, tuple[int, int, _Grown]] = {}
        self._streams: defaultdict[tuple[str, str], Stream] = defaultdict(Stream)
        self.closed: dict[str, int] = {}  # months, and when they were
        self._begins: list[tuple[int, str]] = []
        self._lists_left = 0
        self._closing = 0
        # What the lists name, and must: items, gaps.
        self._named: tuple[_Lines, _Lines] = set(), set()
        self._to_name: tuple[_Lines, _Lines] = set(), set()

    def begin(self, number: int, kind: str, at: int) -> None:
        """Take the time of an entry that no other one brings, before its postings are added."""
        if self._lists_left and kind != "month_list":
            raise Violation("sum_month", "lists of a closing are missing", number)
        if at < self._until:
            return
        here = datetime.fromtimestamp(at // 1_000_000, UTC) + _SHANGHAI
        month, following = f"{here:%Y-%m}", (here.replace(day=1) + _LONGEST).replace(day=1)
        midnight = following.replace(hour=0, minute=0, second=0) - _SHANGHAI
        self._until = int(midnight.timestamp()) * 1_000_000
        balances = {
            account: fen
            for account, fen in self._balances.items()
            if account.partition(":")[0] in _GROWN
        }
        if self._running:
            self._over[self._running] = self._first, number, _grown(self._before, balances)
        self._running, self._first, self._before = month, number, balances
        self._begins.append((number, month))

    def batch(self, fields: dict[str, Any]) -> None:
        """Take the number of a batch."""
        self._streams[fields["provider"], fields["stream"]].take(fields["seq"])

    def closing(self, number: int, fields: dict[str, Any]) -> None:
        """Check the sums of a closing, and expect its lists."""
        oldest = next(iter(self._over), None)
        if oldest is None or fields["month"] != oldest:
            raise Violation("sum_month", f"{fields['month']} is closed, not {oldest}", number)
        first, end, grown = self._over.pop(oldest)
        items = {(self._provider(name), name, *fen) for name, fen in grown.items()}
        gaps = set(self._missing())
        ours = {"first": first, "end": end, "items": len(items), "gaps": len(gaps)}
        ours |= {"booked_cost": sum(each[2] for each in items)}
        ours |= {"booked_granted": sum(each[3] for each in items)}
        for name, value in ours.items():
            if fields[name] != value:
                detail = f"{name} of {oldest} is {fields[name]}, by the postings {value}"
                raise Violation("sum_month", detail, number)
        if gaps and "waiver" not in fields:
            raise Violation("sum_month", f"{oldest} has gaps, and nobody answers for it", number)
        self.closed[oldest] = fields["at"]
        self._closing, self._lists_left = number, fields["parts"]
        self._named, self._to_name = (set(), set()), (items, gaps)
        self._check_named(number)

    def listed(self, number: int, fields: dict[str, Any]) -> None:
        """Take a list; with the last one, all must be named."""
        if not self._lists_left or fields["closing"] != self._closing:
            raise Violation("sum_month", "a list without its closing", number)
        provider, (items, gaps) = fields.get("provider", ""), self._named
        for named, lines in ((items, fields["items"]), (gaps, fields["gaps"])):
            before = len(named)
            named |= {(provider, *line) for line in lines}
            if len(named) - before != len(lines):
                raise Violation("sum_month", "a line stands twice", number)
        for place, name in enumerate(("booked_cost", "booked_granted"), 1):
            if fields[name] != sum(line[place] for line in fields["items"]):
                raise Violation("sum_month", f"{name} is not that of the lines", number)
        self._lists_left -= 1
        self._check_named(number)

    def month_of(self, number: int) -> str:
        """Return the month that has booked an entry."""
        place = bisect_right(self._begins, number, key=lambda begin: begin[0])
        return self._begins[place - 1][1]

    def finish(self) -> None:
        """Check that no list is missing."""
        if self._lists_left:
            raise Violation("sum_month", "lists of a closing are missing", self._closing)

    def _check_named(self, number: int) -> None:
        if not self._lists_left and self._named != self._to_name:
            raise Violation("sum_month", "the lists are not what was booked and lacked", number)

    def _provider(self, item: str) -> str:
        """Return the provider of a contract; an award has none."""
        contract = self._contracts.get(item)
        return "" if contract is None else contract.fields["provider"]

    def _missing(self) -> Iterator[tuple[str, str, int, int]]:
        for (provider, stream), numbers in self._streams.items():
            yield from ((provider, stream, *each) for each in numbers.missing)


class Stream:
    """The numbers below a stream's largest that no batch has: disjoint ranges in order."""

    def __init__(self) -> None:
        self.missing: list[tuple[int, int]] = []  # both ends included
        self._largest = 0

    def take(self, seq: int) -> None:
        """Take a number in any order, each of them once or more."""
        if seq > self._largest:
            if seq > self._largest + 1:
                self.missing.append((self._largest + 1, seq - 1))
            self._largest = seq
            return
        place = bisect_right(self.missing, seq, key=lambda each: each[0]) - 1
        if place >= 0 and seq <= self.missing[place][1]:
            first, last = self.missing[place]
            parts = (first, seq - 1), (seq + 1, last)
            self.missing[place : place + 1] = [each for each in parts if each[0] <= each[1]]


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> _Grown:
    """Return by how much cost and grants grew, where either did."""
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for account, fen in after.items():
        kind, item, *_ = account.split(":")
        sums[item][_GROWN.index(kind)] += fen - before.get(account, 0)
    return {item: (cost, granted) for item, (cost, granted) in sums.items() if cost or granted}
