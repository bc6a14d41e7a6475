"""The arithmetic of the money rules: integers in, integers out, nothing else.

    numerator    thousandths × seconds × price; one fen is `DENOMINATOR`
    cost         floor(M / D), so that slicing a record never gains or loses a fen
    parts        how much of a cost is eligible, withheld and ineligible, to the fen
    entitlement  one floor per contract and year; a pure function of the contract's eligible usage
    grant        rule R: what the coupon of a year gives to each of the enterprise's contracts

Example: 64 cards × 1 h × 4.50 is 64000 · 3600 · 45000 = 28800 · D, hence 288.00 yuan.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from meter.values.units import year_of, year_start

# 1/10000 yuan × thousandths × seconds, per fen: 3600 s × 1000 thousandths × 100 (1/10000 per fen)
DENOMINATOR: Final = 3600 * 1000 * 100
FULL_BP: Final = 10_000
YUAN: Final = 100  # fen
# So that a price for a day or a month is a whole number for each second, numerators are scaled: a
# day has 24 hours, and 377580 is the least common multiple of the 28 to 31 days of a month.
HOURS_PER_DAY: Final = 24
MONTH_PARTS: Final = 377_580
SCALES: Final[dict[str, int]] = {
    "hour": 1,
    "day": HOURS_PER_DAY,
    "month": HOURS_PER_DAY * MONTH_PARTS,
}

Interval = tuple[int, int]


@final
@dataclass
class Terms:
    """The terms of a contract that decide its entitlement, in fen, and the numerator of a fen.

    Where all is counted `in_yuan`, each step is cut at the whole yuan.
    """

    amount: int
    support_limit: int
    denominator: int = DENOMINATOR
    in_yuan: bool = False
    numerator: int = field(init=False)  # of the amount
    divisor: int = field(init=False)  # of numerators that are weighted by basis points

    def __post_init__(self) -> None:
        """Multiply once what each record needs."""
        self.numerator = self.amount * self.denominator
        self.divisor = FULL_BP * self.denominator


@final
@dataclass
class Entitlement:
    """What a contract is entitled to by year, in fen, and the limits that bound it."""

    by_year: dict[int, int]
    amount_bound: bool
    support_bound: bool

    def __init__(
        self,
        by_year: dict[int, int] | None = None,
        *,
        amount_bound: bool = False,
        support_bound: bool = False,
    ) -> None:
        self.by_year = {} if by_year is None else by_year
        self.amount_bound = amount_bound
        self.support_bound = support_bound


def cost(numerator: int, denominator: int = DENOMINATOR) -> int:
    """Return the fen of a numerator, rounded down: the rule is "不超过" (no more than)."""
    return numerator // denominator


def parts_of_cost(base: int, numerators: Iterable[int], denominator: int) -> list[int]:
    """Return the fen of each numerator on top of those before it, all on top of `base`.

    They are differences of one floor, so they add up to the growth of the cost.
    """
    parts, fen = [], base // denominator
    for numerator in numerators:
        base += numerator
        parts.append(base // denominator - fen)
        fen = base // denominator
    return parts


def support_limit(amount: int, combined_bp: int, other_funds: int) -> int:
    """Return the most that this programme may add to other public money for a contract, in fen."""
    return max(0, combined_bp * amount // FULL_BP - other_funds)


def entitle(segments: list[tuple[int, int, int]], terms: Terms) -> Entitlement:
    """Return the entitlement from `(year, bp, X)` of segments, in the order of their time.

    N[s] = min(X[s], A·D − ΣN before)
    E[y] = min(floor(Σ bp[s]·N[s] / (10000·D)), L − ΣE before), over the segments of a year

    In yuan, X[s] and the floor are cut at the whole yuan.
    """
    room = terms.numerator
    support = terms.support_limit
    weighted: dict[int, int] = {}  # Σ bp[s]·N[s] by year
    amount_bound = support_bound = False
    for year, ratio_bp, counted in segments:
        if terms.in_yuan:
            counted -= counted % (YUAN * terms.denominator)  # noqa: PLW2901 - X[s]
        if counted > room:
            counted, amount_bound = room, True  # noqa: PLW2901 - N[s], where X[s] is more
        room -= counted
        weighted[year] = weighted.get(year, 0) + ratio_bp * counted
    by_year: dict[int, int] = {}
    for year, total in weighted.items():
        fen = total // terms.divisor
        if terms.in_yuan:
            fen -= fen % YUAN
        if fen > support:
            fen, support_bound = support, True
        by_year[year] = fen
        support -= fen
    return Entitlement(by_year, amount_bound=amount_bound, support_bound=support_bound)


def regrant(issued: int, shares: Sequence[tuple[int, int]]) -> list[int]:
    """Return the new grants by rule R, from `(entitled, granted)` of a coupon's contracts in order.

    The oldest contract comes first. No contract keeps more than it is entitled to; the free rest
    goes to those that are short, in order. If Σ granted ≤ issued before, the new sum is
    min(issued, Σ entitled).
    """
    granted = [min(entitled, held) for entitled, held in shares]
    free = issued - sum(granted)
    for i, (entitled, _) in enumerate(shares):
        more = min(entitled - granted[i], free)
        granted[i] += more
        free -= more
    return granted


def overlap(intervals: Iterable[Interval], start: int, end: int) -> list[Interval]:
    """Return the parts of disjoint sorted half-open intervals that lie in `[start, end)`."""
    cut = ((max(start, begin), min(end, stop)) for begin, stop in intervals)
    return [(begin, stop) for begin, stop in cut if begin < stop]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return half-open intervals merged into disjoint sorted ones."""
    merged: list[Interval] = []
    for begin, stop in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((begin, stop))
    return merged


def years_of(intervals: Iterable[Interval]) -> Iterator[tuple[int, int, int]]:
    """Yield intervals cut at 1 January in Shanghai: `(start, end, year)`, in the same order."""
    for start, end in intervals:
        begin = start
        for year in range(year_of(start), year_of(end - 1) + 1):
            stop = min(end, year_start(year + 1))
            yield begin, stop, year
            begin = stop


def seconds_by_year(intervals: Iterable[Interval]) -> list[tuple[int, int]]:
    """Return the seconds of disjoint sorted intervals by Shanghai year, ascending."""
    totals: dict[int, int] = {}
    for start, end, year in years_of(intervals):
        totals[year] = totals.get(year, 0) + end - start
    return list(totals.items())
