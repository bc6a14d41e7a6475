"""The arithmetic of the money rules: integers in, integers out, nothing else.

    numerator    thousandths × seconds × price; one fen is `DENOMINATOR`
    cost         floor(M / D), so that slicing a record never gains or loses a fen
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

Interval = tuple[int, int]


@final
@dataclass
class Terms:
    """The terms of a contract that decide its entitlement, in fen and basis points."""

    amount: int
    ratio_bp: int
    support_limit: int


@final
@dataclass
class Entitlement:
    """What a contract is entitled to by year, in fen, and the limits that bound it."""

    by_year: dict[int, int] = field(default_factory=dict)
    amount_bound: bool = False
    support_bound: bool = False


def cost(numerator: int) -> int:
    """Return the fen of a numerator, rounded down: the rule is "不超过" (no more than)."""
    return numerator // DENOMINATOR


def support_limit(amount: int, combined_bp: int, other_public_funds: int) -> int:
    """Return the most that this programme may add to other public money for a contract, in fen."""
    return max(0, combined_bp * amount // FULL_BP - other_public_funds)


def entitle(eligible: dict[int, int], terms: Terms) -> Entitlement:
    """Return the entitlement from eligible numerators `X` by year, earlier years first.

    N[y] = min(X[y], A·D − ΣN before);  E[y] = min(floor(bp·N[y] / (10000·D)), L − ΣE before)
    """
    room = terms.amount * DENOMINATOR
    support = terms.support_limit
    by_year: dict[int, int] = {}
    amount_bound = support_bound = False
    for year, counted in sorted(eligible.items()):
        if counted > room:
            counted, amount_bound = room, True  # noqa: PLW2901 - N[y], where X[y] is more
        room -= counted
        fen = terms.ratio_bp * counted // (FULL_BP * DENOMINATOR)
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
