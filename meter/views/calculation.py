"""How the cost of a record came about: devices × hours × price, for each time with one price.

The amounts are differences of one floor, so that they add up to what the record is worth alone. Its
cost may be a fen more: it is the growth of the contract's own floor, which holds the rests of
earlier records.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from msgspec import UNSET

from meter.rules.contract_terms import ContractTerms, step_of
from meter.rules.entries import PriceFor, UsageAccepted
from meter.rules.rating import FULL_BP, YUAN, overlap, parts_of_cost
from meter.rules.state import Contract
from meter.values.units import MICROSECONDS, day_of, day_start


@dataclass(frozen=True, slots=True)
class Part:
    """A time of a record with one price, half-open in seconds; `device_time` as in the rules."""

    start: int
    end: int
    device_time: int
    price: int | PriceFor
    amount: int


def parts_of(record: UsageAccepted, terms: ContractTerms | Contract) -> list[Part]:
    """Return the times of a record with one price under the terms, and their fen."""
    times = list(_times(record, terms))
    device_times = [record.milli_devices * (end - start) for start, end, _ in times]
    numerators = [
        device_time * step_of(terms.steps, day_of(start)).price_on(record.device, day_of(start))
        for device_time, (start, _, _) in zip(device_times, times, strict=True)
    ]
    amounts = parts_of_cost(0, numerators, terms.terms.denominator)
    return [
        Part(start, end, device_time, price, amount)
        for (start, end, price), device_time, amount in zip(
            times, device_times, amounts, strict=True
        )
    ]


def ratios_of(record: UsageAccepted, terms: ContractTerms | Contract) -> list[int]:
    """Return the basis points by which parts of a record count, in the order of their time."""
    start, end = record.start // MICROSECONDS, record.end // MICROSECONDS
    held = (each for each in terms.segments if overlap([(each.start, each.end)], start, end))
    return list(dict.fromkeys(each.ratio_bp for each in held))


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a ratio gives of a record's eligible cost, and how many fen less it is entitled to.

    Fen that rounding moves between records may be negative here.
    """

    share: int
    short: int
    by_limit: bool


def shortfall_of(
    record: UsageAccepted, ratio_bp: int, terms: ContractTerms | Contract
) -> Shortfall | None:
    """Return by how much a record is entitled to less than its one ratio gives; None if it is not.

    A contract's entitlement is cut once. So a record may lack a fen, where all is counted in yuan
    less than two of them; a limit of the contract takes what is beyond.
    """
    withheld = 0 if record.withheld_cost is UNSET else record.withheld_cost
    ineligible = 0 if record.ineligible is UNSET else sum(cost for _, cost in record.ineligible)
    share = (record.cost - withheld - ineligible) * ratio_bp // FULL_BP
    short = share - sum(fen for _, fen in record.entitled)
    rounding = 2 * YUAN - 1 if terms.terms.in_yuan else 1
    return Shortfall(share, short, short > rounding) if short else None


def _times(
    record: UsageAccepted, terms: ContractTerms | Contract
) -> Iterator[tuple[int, int, int | PriceFor]]:
    """Yield the times of a record with one price; a month's price is another one in each month."""

    def price(day: int) -> tuple[int, int | PriceFor]:
        step = step_of(terms.steps, day)
        return step.price_on(record.device, day), step.prices[record.device]

    start, end = record.start // MICROSECONDS, record.end // MICROSECONDS
    days = range(day_of(start), day_of(end - 1) + 1)
    for (_, per), held in groupby(days, key=price):
        own = list(held)
        yield max(start, day_start(own[0])), min(end, day_start(own[-1] + 1)), per
