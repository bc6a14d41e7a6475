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

from meter.rules.contract_terms import ContractTerms, Segment, eligible_usage
from meter.rules.effects import worth_of
from meter.rules.entries import NO_DEVICE
from meter.rules.rating import cost, entitle
from meter.rules.state import Contract, Meter
from meter.values.units import day_start, year_of

# Shanghai day since 1970-01-01, device kind; of its thousandths × seconds all, what fits, and what
# is withheld.
UsageLine = tuple[int, str, int, int, int]


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
