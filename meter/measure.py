"""What of a record counts: how much is eligible, how much is withheld for want of capacity.

Decided once, when the record is accepted, on what is in use at that moment; only a void or a
reviewer's release changes it later. `occupy` and `free` keep what is in use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meter.capacity import QUARTER_SECONDS, Room, Withheld, days, split, withhold
from meter.entries import Evidence, UsageAccepted
from meter.rating import Interval, overlap, seconds_by_year
from meter.state import Contract, DeviceTimeId, State
from meter.units import MICROSECONDS, day_of, day_start, year_of

MAX_EVIDENCE = 16  # runs of quarters told in an entry, which must stay below 65,535 bytes

YearlyTime = list[tuple[int, int]]  # year, thousandths × seconds


@dataclass(frozen=True, slots=True)
class Work:
    """What a record says was worked: `[start, end)` in seconds, thousandths of a device kind."""

    device: str
    milli_devices: int
    start: int
    end: int

    @property
    def device_time(self) -> int:
        """Thousandths × seconds."""
        return self.milli_devices * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Measured:
    """How much of some work counts, by year, and what was withheld, by quarter."""

    eligible: YearlyTime
    withheld: list[Withheld]


def work_of(usage: UsageAccepted) -> Work:
    """Give the work that a usage entry tells of."""
    start, end = usage.start // MICROSECONDS, usage.end // MICROSECONDS
    return Work(usage.device, usage.milli_devices, start, end)


def measure(state: State, contract: Contract, work: Work) -> Measured:
    """Measure work against validity ∩ term ∩ enlistment and against what is in use."""
    withheld = _withheld(work, _rooms(state, contract, work.device))
    inside = _eligible_intervals(state, contract, work)
    eligible = {year: seconds * work.milli_devices for year, seconds in seconds_by_year(inside)}
    for year, device_time in _inside(withheld, inside):
        eligible[year] -= device_time
    return Measured([(year, part) for year, part in eligible.items() if part], withheld)


def _withheld(work: Work, rooms: list[Room]) -> list[Withheld]:
    start, end, milli_devices = work.start, work.end, work.milli_devices
    if all(room.surely_fits(start, end, milli_devices) for room in rooms):
        return []
    return withhold(split(start, end, milli_devices), rooms)


def released_eligible(
    state: State, contract: Contract, work: Work, withheld: list[Withheld]
) -> YearlyTime:
    """Give what of the withheld device-time counts once it is released, by year."""
    inside = _eligible_intervals(state, contract, work)
    return by_year(_inside(withheld, inside))


def withheld_by_year(withheld: Iterable[Withheld]) -> YearlyTime:
    """Add up what was withheld by Shanghai year."""
    return by_year((year_of(part.quarter * QUARTER_SECONDS), part.device_time) for part in withheld)


def by_year(parts: Iterable[tuple[int, int]]) -> YearlyTime:
    """Add up device-time by year, ascending."""
    totals: dict[int, int] = {}
    for year, device_time in parts:
        totals[year] = totals.get(year, 0) + device_time
    return sorted(totals.items())


def by_day(work: Work) -> Iterator[tuple[int, int]]:
    """Split work at Shanghai's midnights: day since 1970-01-01, thousandths × seconds."""
    begin = work.start
    for day in range(day_of(work.start), day_of(work.end - 1) + 1):
        stop = min(work.end, day_start(day + 1))
        yield day, work.milli_devices * (stop - begin)
        begin = stop


def evidence_of(withheld: list[Withheld]) -> list[Evidence]:
    """Tell which limit withheld how much, in runs of quarters: limit, from, until, device-time.

    Beyond `MAX_EVIDENCE` runs the last one takes all that is left.
    """
    runs: list[Evidence] = []
    for part in withheld:
        begin = part.quarter * QUARTER_SECONDS * MICROSECONDS
        end = begin + QUARTER_SECONDS * MICROSECONDS
        if runs and _continues(runs, part, begin):
            limit, start, _, device_time = runs.pop()
            runs.append((limit, start, end, device_time + part.device_time))
        else:
            runs.append((part.limit, begin, end, part.device_time))
    return runs


def occupy(state: State, contract: Contract, work: Work, withheld: list[Withheld]) -> None:
    """Count work as in use, except what is withheld."""
    _use(state, contract, work, withheld, 1)


def free(state: State, contract: Contract, work: Work, withheld: list[Withheld]) -> None:
    """Take back what `occupy` did with the same withheld parts."""
    _use(state, contract, work, withheld, -1)


def days_of(contract: Contract, work: Work) -> Iterator[tuple[DeviceTimeId, int]]:
    """Name the counts and days that some work belongs to."""
    for name in device_time_ids(contract, work.device):
        for day in days(work.start, work.end):
            yield name, day


def device_time_ids(contract: Contract, device: str) -> list[DeviceTimeId]:
    """Name the counts that work under a contract belongs to; the contract's, if it has a limit."""
    terms = contract.registered
    ids: list[DeviceTimeId] = [("provider", terms.provider, device)]
    if device in terms.max_devices:
        ids.insert(0, ("contract", terms.id, device))
    return ids


def _rooms(state: State, contract: Contract, device: str) -> list[Room]:
    """Give the contract's room, where it has a limit, and the provider's."""
    provider = state.providers[contract.registered.provider]
    rented = contract.registered.max_devices
    return [
        Room(
            name[0],
            [(None, None, rented[device])] if name[0] == "contract" else provider.capacity(device),
            state.device_time(name),
        )
        for name in device_time_ids(contract, device)
    ]


def _eligible_intervals(state: State, contract: Contract, work: Work) -> list[Interval]:
    provider = state.providers[contract.registered.provider]
    start = max(work.start, contract.window[0])
    end = min(work.end, contract.window[1])
    return overlap(provider.enlisted(work.device), start, end)


def _inside(withheld: Iterable[Withheld], inside: list[Interval]) -> Iterable[tuple[int, int]]:
    """Give year and device-time of the withheld quarters that are eligible ones."""
    for part in withheld:
        begin = part.quarter * QUARTER_SECONDS
        if any(start < begin + QUARTER_SECONDS and begin < end for start, end in inside):
            yield year_of(begin), part.device_time


def _continues(runs: list[Evidence], part: Withheld, begin: int) -> bool:
    limit, _, end, _ = runs[-1]
    return (limit == part.limit and end == begin) or len(runs) == MAX_EVIDENCE


def _use(state: State, contract: Contract, work: Work, withheld: list[Withheld], sign: int) -> None:
    missing = {part.quarter: part.device_time for part in withheld}
    names = device_time_ids(contract, work.device)
    counts = [state.device_time(name) for name in names]
    for quarter, device_time in split(work.start, work.end, work.milli_devices):
        fits = device_time - missing.get(quarter, 0)
        if fits:
            for count in counts:
                count.add(quarter, sign * fits)
    state.touched.days.update(days_of(contract, work))
