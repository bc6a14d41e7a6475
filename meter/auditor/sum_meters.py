"""The meters of the independent sums: what is in use by quarter-hour, and worth by day.

A part of `auditor.sums`; nothing of the core is used here. Capacity depends on the order of the
entries: a quarter has in use what the records before left there. That takes 0.8 kB for each day,
provider or limited contract, and kind of device, and what streams told of it another 0.4 kB.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any, Final

from ledger.errors import Violation
from meter.auditor.sum_claims import days_of
from meter.auditor.sum_rules import Rules, funds_use, years_of
from meter.auditor.sum_terms import Terms

SECOND: Final = 1_000_000  # microseconds
QUARTER: Final = 15 * 60  # seconds
# Days are the ordinals of Shanghai's dates. Quarters are numbered from 1970 UTC, when it was eight
# o'clock in Shanghai: a day there begins 32 quarters before one in UTC.
QUARTERS_PER_DAY: Final = 96
QUARTERS_AHEAD: Final = 32
EPOCH: Final = date(1970, 1, 1).toordinal()
_FULL_QUARTER: Final = 1_000 * QUARTER  # of one device, in thousandths × seconds
_ROOM_FOR_ALL: Final = 10**18  # of a kind that is limited on other days alone
_NOTHING_USED: Final = bytes(8 * QUARTERS_PER_DAY)
_DAYS_AT_HAND: Final = 64  # of each meter: records come some weeks late at most
# Work is counted in thousandths of a device × seconds × 1/10000 yuan per device-hour.
WORK_PER_FEN: Final = 1_000 * 3_600 * 100
# Why usage counts for nothing, in the order in which the cost is told.
REASONS: Final = ("related_party", "use", "outside_policy", "outside_term", "not_enlisted")
Time = list[tuple[int, int]]  # quarter or day, thousandths × seconds
Usage = dict[int, tuple[int, int, int]]  # by day: device-time in all, what fits, what is withheld
Work = dict[str, int | Fraction]  # by "eligible", "withheld" and reason
InUse = defaultdict[int, "array[int]"]  # device-time by day, in each day by quarter
Limit = tuple[str, int, "array[int]"]  # its name, what fits into a quarter, what is in use in each


@dataclass(slots=True)
class Provider:
    """What a provider enlisted, by the name of the batch: devices by kind, and the days."""

    batches: dict[str, tuple[dict[str, int], range]] = field(default_factory=dict)
    meters: "list[Meter]" = field(default_factory=list)
    uscc: str = ""

    def enlist(self, name: str, devices: dict[str, int], days: range) -> None:
        """Add a batch, or give it another end."""
        self.batches[name] = devices, days
        for meter in self.meters:
            meter.days.clear()

    def devices(self, device: str, day: int) -> int:
        """Count the devices of a kind that are enlisted on a day."""
        batches = self.batches.values()
        return sum(devices.get(device, 0) for devices, days in batches if day in days)


@dataclass(slots=True)
class Contract:
    """A contract's entry, the work of its unvoided records, and the sums that entries state.

    `fields` are the terms of the whole, `rules` those of its signing. `versions` are the rules that
    hold, each with its days, in the order of time.
    """

    terms: Terms
    fields: dict[str, Any]
    rules: Rules
    versions: list[tuple[range, Rules]]
    activated: int  # how many versions there were when it was registered
    meters: "list[Meter]" = field(default_factory=list)
    work: int | Fraction = 0
    stated_cost: int = 0
    stated_entitled: dict[int, int] = field(default_factory=dict)
    funds: dict[str, int] = field(default_factory=dict)  # other public money by reference

    def add_stated(self, entitled: Iterable[tuple[int, int]]) -> None:
        """Add what an entry states of the entitlement by year."""
        for year, fen in entitled:
            self.stated_entitled[year] = self.stated_entitled.get(year, 0) + fen

    def priced(self) -> int | Fraction:
        """Return all work of the contract by the prices of now."""
        return sum(
            time * meter.price_on(day)
            for meter in self.meters
            for day, (time, _, _) in meter.used.items()
        )

    def parts(self) -> Work:
        """Return all work of the contract by the terms of now."""
        parts: Work = dict.fromkeys(("eligible", "withheld", *REASONS), 0)
        for meter in self.meters:
            usage = {day: (time, fits, held) for day, (time, fits, held) in meter.used.items()}
            for part, work in meter.work(usage).items():
                parts[part] += work
        return parts

    def reason(self, day: int) -> str:
        """Return why enlisted usage of a day counts for nothing, or an empty text."""
        if self.fields["related_party"]:
            return "related_party"
        rules = next((rules for days, rules in self.versions if day in days), None)
        if not funds_use(rules or self.rules, self.fields):
            return "use"
        if rules is None:
            return "outside_policy"
        return "" if day in days_of(self.fields) else "outside_term"

    def counting(self) -> list[tuple[range, Fraction]]:
        """Return the days on which usage can count, by version, with its ratio."""
        if self.fields["related_party"]:
            return []
        term = days_of(self.fields)
        found = (
            (range(max(days.start, term.start), min(days.stop, term.stop)), self._ratio_in(rules))
            for days, rules in self.versions
            if funds_use(rules, self.fields)
        )
        return [(days, ratio) for days, ratio in found if days]

    def ratio_of(self, year: int) -> Fraction:
        """Return the highest ratio by which usage of a year can count, else that of its signing."""
        ratios = [ratio for days, ratio in self.counting() if year in years_of(days)]
        return max(ratios, default=self._ratio_in(self.rules))

    def _ratio_in(self, rules: Rules) -> Fraction:
        """Return the ratio of the class that other rules derive as these derive this one."""
        own = self.rules.classes.items()
        when = next(when for when, name in own if name == self.fields["class"])
        return rules.ratio[rules.classes.get(when, rules.classes["standard"])]


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of a meter: its price, why usage counts for nothing, the limits, and the usage.

    `price` is for an hour, in 1/10000 yuan. `used` is the device-time of all unvoided records,
    what of it fits, and what is withheld; `told` their number and device-time by stream.
    """

    price: int | Fraction
    reason: str
    is_enlisted: bool
    limits: list[Limit]
    used: list[int]
    told: defaultdict[str, list[int]]


@dataclass(slots=True)
class Meter:
    """One kind of device under a contract, and what is in use there and at the provider.

    `limited` is the entry since which the contract limits the device on some days, or None; records
    of before are not counted as in use there. `used` and `told` are by day; `days` is a cache.
    """

    index: int
    contract: Contract
    provider: Provider
    device: str
    limited: int | None
    in_use: InUse
    in_use_at_provider: InUse
    used: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(_no_usage))
    told: defaultdict[int, defaultdict[str, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(_no_records))
    )
    days: dict[int, _Day] = field(default_factory=dict)

    def day(self, day: int) -> _Day:
        """Return a day by the enlistments so far."""
        found = self.days.get(day)
        if found is None:
            if len(self.days) == _DAYS_AT_HAND:
                self.days.clear()
            found = self.days[day] = self._day(day)
        return found

    def _day(self, day: int) -> _Day:
        devices = self.provider.devices(self.device, day)
        limits = [("provider", devices * _FULL_QUARTER, self.in_use_at_provider[day])]
        if self.limited is not None:
            rented = self.contract.terms.on("max_devices", self.device, day)
            room = _ROOM_FOR_ALL if rented is None else rented * _FULL_QUARTER
            limits.append(("contract", room, self.in_use[day]))
        return _Day(
            self.price_on(day),
            self.contract.reason(day),
            devices > 0,
            limits,
            self.used[day],
            self.told[day],
        )

    def price_on(self, day: int) -> int | Fraction:
        """Return the price per device-hour on a day, in 1/10000 yuan; 1 of what is work already."""
        if not self.device:
            return 1
        price = self.contract.terms.price_on(self.device, day)
        if price is None:
            detail = f"{self.contract.fields['id']} has no price for {self.device} on a day of it"
            raise Violation("sum_record", detail)
        return price

    def short(self, wanted: Time) -> list[tuple[str, int, int]]:
        """Return what does not fit: the limit that leaves less, the quarter, the device-time.

        What is not enlisted on a day is held against no limit.
        """
        short = []
        for quarter, time in wanted:
            day, place = self.day(day_of_quarter(quarter)), place_of_quarter(quarter)
            if not day.is_enlisted:
                continue
            # Where both leave the same, `min` takes the contract's, first in the alphabet.
            left, limit = min(
                [(max(0, room - in_use[place]), limit) for limit, room, in_use in day.limits]
            )
            if time > left:
                short.append((limit, quarter, time - left))
        return short

    def use(self, parts: Time, sign: int, entry: int) -> None:
        """Count device-time of a record by quarter as in use (1), or no longer (-1)."""
        for quarter, time in parts:
            for limit, _, in_use in self.day(day_of_quarter(quarter)).limits:
                if limit == "provider" or entry >= (self.limited or 0):
                    in_use[place_of_quarter(quarter)] += sign * time

    def usage(self, wanted: Time, missing: Time) -> Usage:
        """Return a new record by day, from its quarters."""
        withheld = dict(added_by_day(missing))
        fits = [
            (day, time - withheld.get(day, 0))
            for day, time in added_by_day(wanted)
            if self.day(day).is_enlisted or not self.contract.rules.needs_enlistment
        ]
        return usage_of(wanted, fits, missing)

    def work(self, usage: Usage) -> Work:
        """Return what usage is worth by the terms of now."""
        work: Work = dict.fromkeys(("eligible", "withheld", *REASONS), 0)
        for day, (time, fits, withheld) in usage.items():
            terms = self.day(day)
            work["withheld"] += withheld * terms.price
            if terms.reason:
                work[terms.reason] += (time - withheld) * terms.price
            else:
                work["eligible"] += fits * terms.price
                work["not_enlisted"] += (time - withheld - fits) * terms.price
        return work

    def count(self, usage: Usage, sign: int, stream: str) -> None:
        """Count usage of a stream (1), or no longer (-1)."""
        for day, times in usage.items():
            terms = self.day(day)
            told = terms.told[stream]
            told[0] += sign
            told[1] += sign * times[0]
            self.contract.work += sign * times[0] * terms.price
            for place, time in enumerate(times):
                terms.used[place] += sign * time


def by_quarter(milli_devices: int, start: int, end: int) -> Time:
    first, last = start // QUARTER, (end - 1) // QUARTER
    borders = [start, *(quarter * QUARTER for quarter in range(first + 1, last + 1)), end]
    return [
        (first + place, milli_devices * (until - begin))
        for place, (begin, until) in enumerate(pairwise(borders))
    ]


def unused_day() -> "array[int]":
    return array("q", _NOTHING_USED)


def _no_usage() -> list[int]:
    return [0, 0, 0]


def _no_records() -> list[int]:
    return [0, 0]


def added_by_day(parts: Time) -> Time:
    """Return device-time by quarter summed by day, ascending."""
    totals: dict[int, int] = {}
    for quarter, time in parts:
        day = day_of_quarter(quarter)
        totals[day] = totals.get(day, 0) + time
    return sorted(totals.items())


def usage_of(wanted: Time, fits: Time, missing: Time) -> Usage:
    """Return a known record by day."""
    fitting, withheld = dict(fits), dict(added_by_day(missing))
    days = added_by_day(wanted)
    return {day: (time, fitting.get(day, 0), withheld.get(day, 0)) for day, time in days}


def costs_of(others: int | Fraction, work: Work) -> dict[str, int]:
    """Return the fen of each part: how much a rounded total grows as one part follows the other."""
    total, costs = Fraction(others, WORK_PER_FEN), {}
    for part in ("eligible", "withheld", *REASONS):
        grown = total + Fraction(work.get(part, 0), WORK_PER_FEN)
        costs[part] = floor(grown) - floor(total)
        total = grown
    return costs


def day_of_quarter(quarter: int) -> int:
    return (quarter + QUARTERS_AHEAD) // QUARTERS_PER_DAY + EPOCH


def place_of_quarter(quarter: int) -> int:
    """Return the number of a quarter within its day."""
    return (quarter + QUARTERS_AHEAD) % QUARTERS_PER_DAY
