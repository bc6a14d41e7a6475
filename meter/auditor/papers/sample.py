"""Samples of records that an auditor visits, and what the errors that were found mean for all.

The root of the checkpoint seeds the choice, so nobody can choose, and everybody draws the same:

    monetary-unit   each fen of book value is as likely as any other: systematic, every `interval`
                    fen from a start that the seed gives. A record of an interval or more is certain
    random          each record is as likely as any other
    stratified      records by size in three strata of about the same book value, with as many drawn
                    from each; what is as large as an interval is certain

The book value of a record is what its contract is entitled to by it, in fen, with releases, without
voids. Sources: monetary-unit sampling and its evaluation, AICPA Audit Guide "Audit Sampling",
chapter 6; random and stratified estimates, W. G. Cochran, "Sampling Techniques", 3rd edition,
sections 2.6 to 2.8 and 5.3 to 5.5; value-weighted selection, ISA 530, appendices 1 and 4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Final, Literal, get_args

from meter.auditor.papers.log import KeptEntry
from meter.auditor.papers.period import Period
from meter.rules.entries import PurchaseAccepted, RecordReleased, RecordVoided, UsageAccepted
from meter.values.worded import worded

Method = Literal["monetary-unit", "random", "stratified"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
STRATA: Final = 3
CERTAIN: Final = 0  # the stratum of those that are taken whatever the seed
CONFIDENCE: Final = Decimal("0.95")
_DEVIATION: Final = Decimal("1.96")  # of 95 %, both sides (Cochran, section 2.7)
_PRECISION: Final = 40


@dataclass(slots=True)
class Item:
    """A record that stands: its entry, and its book value in fen."""

    number: int
    entry: UsageAccepted | PurchaseAccepted
    value: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A record of the sample, and its stratum."""

    item: Item
    stratum: int


@dataclass(frozen=True, slots=True)
class Stratum:
    """How many records are alike, and how many of them were drawn; `value` is fen."""

    number: int
    items: int
    value: int
    drawn: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of `items` records of `value` fen; those without a value are not among them.

    `interval` is fen (textbook: book value ÷ sample size); `start` is where the first one falls.
    """

    method: Method
    size: int
    items: int
    value: int
    interval: int
    start: int
    strata: list[Stratum]
    drawn: list[Drawn]


@dataclass(frozen=True, slots=True)
class Projection:
    """What was found, for all: fen that are too much in the books, and the limits of it.

    `known` was found in records that were certain, `projected` is the estimate for all. For
    monetary units `upper` is the upper error limit, and `lower` is absent.
    """

    errors: int
    known: Decimal
    projected: Decimal
    lower: Decimal | None
    upper: Decimal


def population(entries: Iterable[KeptEntry], period: Period) -> list[Item]:
    """Return the records of a period that stand and are worth something, by entry."""
    items: dict[int, Item] = {}
    for kept in entries:
        entry = kept.entry
        match entry:
            case UsageAccepted() | PurchaseAccepted():
                if entry.at in period:
                    items[kept.number] = Item(kept.number, entry, _fen(entry.entitled))
            case RecordReleased():
                if entry.record in items:
                    items[entry.record].value += _fen(entry.entitled)
            case RecordVoided():
                items.pop(entry.record, None)
            case _:  # it changes no record
                pass
    return [item for item in items.values() if item.value > 0]


def draw(items: Sequence[Item], method: Method, size: int, root: str) -> Sample:
    """Return a sample of about `size` records; `root` is the checkpoint's, in hex.

    Raises `ValueError` where there is nothing to choose from.
    """
    if not items:
        raise ValueError(worded("no record of the period is worth anything"))
    value = sum(item.value for item in items)
    interval = max(1, value // size)
    start = 1 + _seeded(root, method, "start") % interval
    strata = _strata(items, interval) if method == "stratified" else [(1, list(items))]
    drawn: list[Drawn] = []
    told: list[Stratum] = []
    certain = 0
    for number, members in strata:
        if method == "monetary-unit":
            taken = _monetary_units(members, interval, start)
        elif number == CERTAIN:
            certain = len(members)
            taken = [Drawn(item, CERTAIN) for item in members]
        else:
            # Two at least: of one alone nobody knows how they differ.
            rest = max(2, (size - certain) // STRATA) if method == "stratified" else size
            taken = [Drawn(item, number) for item in _at_random(members, rest, root)]
        worth = sum(item.value for item in members)
        told.append(Stratum(number, len(members), worth, len(taken)))
        drawn += taken
    drawn.sort(key=lambda each: each.item.number)
    return Sample(method, size, len(items), value, interval, start, told, drawn)


def project(sample: Sample, audited: Sequence[int]) -> Projection:
    """Return what audited values, fen of each record in the sample's order, mean for all.

    Raises `ValueError` where they are not as many.
    """
    if len(audited) != len(sample.drawn):
        raise ValueError(
            worded(f"{len(sample.drawn)} values are needed, and {len(audited)} are there")
        )
    found = [
        (each, each.item.value - value) for each, value in zip(sample.drawn, audited, strict=True)
    ]
    with localcontext() as context:
        context.prec = _PRECISION
        return _of_units(sample, found) if sample.method == "monetary-unit" else _of(sample, found)


_Found = Sequence[tuple[Drawn, int]]  # a record, and by how many fen it is too high


def _of_units(sample: Sample, found: _Found) -> Projection:
    """Project taintings (error ÷ book value), and the upper error limit."""
    interval = Decimal(sample.interval)
    known = Decimal(sum(error for each, error in found if each.stratum == CERTAIN))
    taintings = [
        Decimal(error) / each.item.value for each, error in found if each.stratum != CERTAIN
    ]
    projected = known + sum(taintings, Decimal()) * interval
    over = sorted((each for each in taintings if each > 0), reverse=True)
    factors = [_factor(number) for number in range(len(over) + 1)]
    steps = (after - before - 1 for before, after in pairwise(factors))
    allowance = sum((step * each for step, each in zip(steps, over, strict=True)), Decimal())
    upper = known + (factors[0] + sum(over, Decimal()) + allowance) * interval
    errors = sum(error != 0 for _, error in found)
    return Projection(errors, _whole(known), _whole(projected), None, _whole(upper))


def _of(sample: Sample, found: _Found) -> Projection:
    """Estimate by mean errors of strata, with their standard error."""
    projected, known, variance = Decimal(), Decimal(), Decimal()
    for stratum in sample.strata:
        errors = [Decimal(error) for each, error in found if each.stratum == stratum.number]
        if not errors:
            continue
        mean = sum(errors, Decimal()) / len(errors)
        projected += stratum.items * mean
        if stratum.number == CERTAIN:
            known = sum(errors, Decimal())
        if len(errors) > 1:
            spread = sum(((each - mean) ** 2 for each in errors), Decimal()) / (len(errors) - 1)
            unseen = 1 - Decimal(len(errors)) / stratum.items
            variance += stratum.items**2 * unseen * spread / len(errors)
    margin = _DEVIATION * variance.sqrt()
    count = sum(error != 0 for _, error in found)
    lower, upper = projected - margin, projected + margin
    return Projection(count, _whole(known), _whole(projected), _whole(lower), _whole(upper))


def _monetary_units(items: Sequence[Item], interval: int, start: int) -> list[Drawn]:
    """Return the records in which a sampling point lies; one of an interval or more is certain."""
    drawn = []
    for item, end in zip(items, accumulate(item.value for item in items), strict=True):
        first = (end - item.value - start) // interval + 1  # the first point after those before
        if start + first * interval <= end:
            drawn.append(Drawn(item, CERTAIN if item.value >= interval else 1))
    return drawn


def _at_random(items: Sequence[Item], size: int, root: str) -> list[Item]:
    """Return those whose numbers have the smallest hashes."""
    return sorted(items, key=lambda item: _seeded(root, "record", str(item.number)))[:size]


def _strata(items: Sequence[Item], interval: int) -> list[tuple[int, list[Item]]]:
    """Return the certain records, and the rest by size in strata of about the same value."""
    certain = [item for item in items if item.value >= interval]
    smaller = [item for item in items if item.value < interval]
    rest = sorted(smaller, key=lambda item: (item.value, item.number))
    share = -(-sum(item.value for item in rest) // STRATA) or 1
    members: dict[int, list[Item]] = {number: [] for number in range(1, STRATA + 1)}
    for item, end in zip(rest, accumulate(item.value for item in rest), strict=True):
        members[min(STRATA, -(-end // share))].append(item)
    return [(CERTAIN, certain), *members.items()]


def _seeded(root: str, *words: str) -> int:
    """Return a number below 2^256 that the root decides."""
    return int.from_bytes(sha256("\n".join(("kashi sample", root, *words)).encode()).digest())


def _factor(errors: int) -> Decimal:
    """Return the expected errors at which so few or fewer are found in one sample of twenty.

    It is the Poisson confidence factor of the textbook: 3.00 for none, 4.75 for one (95 %).
    """
    low, high = Decimal(0), Decimal(errors * 3 + 10)
    for _ in range(80):
        middle = (low + high) / 2
        if _at_most(errors, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def _at_most(errors: int, expected: Decimal) -> Decimal:
    """Return the probability of at most so many events of a Poisson distribution."""
    term = total = Decimal(1)
    for number in range(1, errors + 1):
        term = term * expected / number
        total += term
    return total * (-expected).exp()


def _fen(entitled: Iterable[tuple[int, int]]) -> int:
    return sum(fen for _, fen in entitled)


def _whole(fen: Decimal) -> Decimal:
    return fen.quantize(Decimal(1), ROUND_HALF_UP)
