"""What each day of use under a contract costs, and what it is entitled to.

A day's money is by how much its usage makes the contract's totals grow, on top of that of the days
before it. So the days of a contract add up to its cost, and those of a year to what the contract is
entitled to in the year, to the fen. Voids, releases, amendments and funds change past days: the
days follow from the usage and the terms of now. What is granted belongs to a contract and a year,
and has no day.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from meter.rules.contract_terms import ContractTerms, Segment, eligible_usage
from meter.rules.effects import worth_of
from meter.rules.entries import NO_DEVICE
from meter.rules.rating import cost, entitle
from meter.rules.state import Contract, Meter
from meter.values.units import day_of, day_start, format_date, parse_date, year_of

# Shanghai day since 1970-01-01, device kind; of its thousandths × seconds all, what fits, and what
# is withheld.
UsageLine = tuple[int, str, int, int, int]
Period = Literal["day", "week", "month"]

_THURSDAY: Final = 3  # 1970-01-01, counted from Monday


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """A Shanghai day of use under one contract: thousandths × seconds, and fen.

    What was bought has no device-time.
    """

    day: int
    device_time: int
    cost: int
    entitled: int

    @property
    def year(self) -> int:
        """The year of the coupon that pays for the day."""
        return year_of(day_start(self.day))


def days_of_use(
    contract: Contract, terms: ContractTerms | Contract, usage: Iterable[UsageLine]
) -> Iterator[DayOfUse]:
    """Yield the days of a contract under its `terms`, from all `usage` up to some day, in order."""
    rated = _without_usage(contract, terms)
    meters: dict[str, Meter] = {}
    costs = entitled = 0
    for day, lines in groupby(usage, key=lambda line: line[0]):
        device_time = used = 0
        for _, device, time, fits, withheld in lines:
            used += time
            device_time += time if device != NO_DEVICE else 0
            meter = meters.setdefault(device, _meter(device))
            _add(rated, meter, (day, time, fits, withheld))
        if used == 0:  # all of it was taken back
            continue
        before = costs, entitled
        costs, entitled = cost(rated.used, rated.terms.denominator), _entitled(rated)
        yield DayOfUse(day, device_time, costs - before[0], entitled - before[1])


def added(days: Iterable[DayOfUse], period: Period, first: int) -> Iterator[DayOfUse]:
    """Yield the weeks or months of a contract's days, each by its first day from `first` on."""
    if period == "day":
        yield from days
        return
    for begin, held in groupby(days, key=lambda each: max(first, _first_day(each.day, period))):
        own = list(held)
        yield DayOfUse(
            begin,
            sum(each.device_time for each in own),
            sum(each.cost for each in own),
            sum(each.entitled for each in own),
        )


def _first_day(day: int, period: Period) -> int:
    """Return the Monday of a day's week, or the first day of its month."""
    if period == "week":
        return day - (day + _THURSDAY) % 7
    return day_of(parse_date(f"{format_date(day_start(day))[:7]}-01"))


def _without_usage(contract: Contract, terms: ContractTerms | Contract) -> Contract:
    found = Contract.of(contract.entry, contract.registered, terms)
    found.segments = [
        Segment(each.year, each.policy, each.ratio_bp, each.start, each.end)
        for each in terms.segments
    ]
    return found


def _meter(device: str) -> Meter:
    """Return a meter that tells what usage is worth; what of it fits was decided long ago."""
    return Meter(device, enlisted=[], needs_enlistment=False, rooms=[])


def _add(contract: Contract, meter: Meter, usage: tuple[int, int, int, int]) -> None:
    worth = worth_of(contract, meter, [usage])
    contract.used += worth.numerator
    for place, numerator in worth.eligible:
        contract.segments[place].eligible += numerator


def _entitled(contract: Contract) -> int:
    """Return what a contract is entitled to in all years, fen."""
    return sum(entitle(eligible_usage(contract.segments), contract.terms).by_year.values())
