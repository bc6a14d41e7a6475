"""Measure a record: how much is eligible, and how much is withheld for want of capacity.

This is decided once, when the record is accepted, by the device-time in use at that moment. Only a
void or a reviewer's release changes it later. `admit`, `occupy` and `free` keep the device-time in
use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from meter.rules.capacity import (
    QUARTER_SECONDS,
    Room,
    Withheld,
    day_parts,
    days,
    steady,
    steps_of,
    take,
    withhold,
)
from meter.rules.entries import Evidence, UsageAccepted
from meter.rules.rating import overlap, years_of
from meter.rules.state import Contract, DeviceTimeId, Meter, State
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, day_start
from meter.wire.batch import (
    MAX_RECORD_SECONDS,
    Batch,
    Record,
)

MAX_EVIDENCE = 16  # runs of quarters in an entry, which must stay below 65,535 bytes

YearlyTime = list[tuple[int, int]]  # year, thousandths × seconds


@final
@dataclass
class Work:
    """The work that a record claims: `[start, end)` in seconds, thousandths of a device kind."""

    device: str
    milli_devices: int
    start: int
    end: int

    @property
    def device_time(self) -> int:
        """Thousandths × seconds."""
        return self.milli_devices * (self.end - self.start)


@final
@dataclass
class Measured:
    """The eligible part of some work, by year, and the withheld part, by quarter."""

    eligible: YearlyTime
    withheld: list[Withheld]


def work_of(usage: UsageAccepted) -> Work:
    """Return the work of a usage entry."""
    start, end = usage.start // MICROSECONDS, usage.end // MICROSECONDS
    return Work(usage.device, usage.milli_devices, start, end)


def meter_of(state: State, contract: Contract, device: str) -> Meter:
    """Return the meter of a device kind that has a price under the contract."""
    meter = contract.meters.get(device)
    if meter is None:
        meter = contract.meters[device] = _new_meter(state, contract, device)
    return meter


def admit(meter: Meter, work: Work) -> Measured:
    """Add work to the device-time in use, as far as it fits, and return how much of it counts.

    Work counts within validity ∩ term ∩ enlistment, less the part that did not fit.
    """
    start, end, milli_devices = work.start, work.end, work.milli_devices
    eligible = []
    for begin, until, year in meter.eligible:
        if begin < end and start < until:
            seconds = min(end, until) - max(start, begin)
            eligible.append((year, milli_devices * seconds))
    if take(meter.rooms, start, end, milli_devices):
        return Measured(eligible if len(eligible) < 2 else by_year(eligible), [])
    withheld = withhold(start, end, milli_devices, meter.rooms)
    occupy(meter, work, withheld)
    eligible += [(year, -device_time) for year, device_time in _eligible_of(meter, withheld)]
    return Measured([part for part in by_year(eligible) if part[1]], withheld)


def released_eligible(meter: Meter, withheld: list[Withheld]) -> YearlyTime:
    """Return the withheld device-time that counts once it is released, by year."""
    return by_year(_eligible_of(meter, withheld))


def withheld_by_year(withheld: Iterable[Withheld]) -> YearlyTime:
    """Return the withheld device-time by Shanghai year."""
    return by_year(
        (year, (end - start) // QUARTER_SECONDS * part.device_time)
        for part in withheld
        for start, end, year in years_of([(part.start, part.end)])
    )


def by_year(parts: Iterable[tuple[int, int]]) -> YearlyTime:
    """Return device-time added up by year, ascending."""
    totals: dict[int, int] = {}
    for year, device_time in parts:
        totals[year] = totals.get(year, 0) + device_time
    return sorted(totals.items())


def by_day(work: Work) -> list[tuple[int, int]]:
    """Return work by Shanghai day: day since 1970-01-01, thousandths × seconds."""
    first, last = day_of(work.start), day_of(work.end - 1)
    if first == last:
        return [(first, work.device_time)]
    borders = [work.start, *(day_start(day) for day in range(first + 1, last + 1)), work.end]
    return [
        (day, work.milli_devices * (end - start))
        for day, (start, end) in enumerate(pairwise(borders), first)
    ]


def evidence_of(withheld: list[Withheld]) -> list[Evidence]:
    """Return withheld device-time in runs of quarters: limit, from, until, device-time.

    Beyond `MAX_EVIDENCE` runs the last one takes the rest.
    """
    runs: list[Evidence] = []
    for part in withheld:
        begin, end = part.start * MICROSECONDS, part.end * MICROSECONDS
        if runs and _continues(runs, part, begin):
            limit, start, _, device_time = runs.pop()
            runs.append((limit, start, end, device_time + part.total))
        else:
            runs.append((part.limit, begin, end, part.total))
    return runs


def occupy(meter: Meter, work: Work, withheld: Iterable[Withheld]) -> None:
    """Add work to the device-time in use, without its withheld part."""
    _change_use(meter, work, withheld, 1)


def free(meter: Meter, work: Work, withheld: Iterable[Withheld]) -> None:
    """Take work out of the device-time in use, without its withheld part."""
    _change_use(meter, work, withheld, -1)


def days_of(contract: Contract, work: Work) -> Iterator[tuple[DeviceTimeId, int]]:
    """Yield the counts of device-time and the days to which some work belongs."""
    for name in device_time_ids(contract, work.device):
        for day in days(work.start, work.end):
            yield name, day


def device_time_ids(contract: Contract, device: str) -> list[DeviceTimeId]:
    """Return the counts of device-time for work under a contract; its own, if it has a limit."""
    terms = contract.registered
    ids: list[DeviceTimeId] = [("provider", terms.provider, device)]
    if device in terms.max_devices:
        ids.insert(0, ("contract", terms.id, device))
    return ids


def _new_meter(state: State, contract: Contract, device: str) -> Meter:
    terms = contract.registered
    provider = state.providers[terms.provider]
    enlisted = overlap(provider.enlisted(device), *contract.window)
    rooms = [
        Room(
            name[0],
            steady(terms.max_devices[device])
            if name[0] == "contract"
            else steps_of(provider.capacity(device)),
            state.device_time(name),
        )
        for name in device_time_ids(contract, device)
    ]
    return Meter(terms.prices[device], list(years_of(enlisted)), rooms)


def _eligible_of(meter: Meter, withheld: Iterable[Withheld]) -> Iterator[tuple[int, int]]:
    """Yield year and device-time of each withheld quarter that is eligible."""
    for part in withheld:
        for start, end, year in meter.eligible:
            seconds = min(end, part.end) - max(start, part.start)
            if seconds > 0:
                yield year, seconds // QUARTER_SECONDS * part.device_time


def _change_use(meter: Meter, work: Work, withheld: Iterable[Withheld], sign: int) -> None:
    parts = day_parts(work.start, work.end)
    for room in meter.rooms:
        room.in_use.add(parts, sign * work.milli_devices)
        for missing in withheld:
            room.in_use.add_in(missing.quarter, missing.count, -sign * missing.device_time)


def _continues(runs: list[Evidence], part: Withheld, begin: int) -> bool:
    limit, _, end, _ = runs[-1]
    return (limit == part.limit and end == begin) or len(runs) == MAX_EVIDENCE


def is_measurable(record: Record) -> bool:
    """Return whether `decide` measures a record with this interval at all."""
    return record.start < record.end <= record.start + MAX_RECORD_SECONDS


def days_of_batches(state: State, batches: Iterable[Batch]) -> set[tuple[DeviceTimeId, int]]:
    """Return the days whose device-time in use a group of batches needs or changes.

    The records that the group voids or releases are in the state already.
    """
    found = {day for batch in batches for day in days_of_batch(state, batch)}
    for known in state.records.values():
        found.update(days_of(state.contracts[known.usage.contract], work_of(known.usage)))
    return found


def days_of_batch(state: State, batch: Batch) -> Iterator[tuple[DeviceTimeId, int]]:
    """Yield the days whose device-time in use decides about a batch's records."""
    spans = {
        (
            record.contract,
            record.device,
            record.start // DAY_SECONDS,
            (record.end - 1) // DAY_SECONDS,
        )
        for record in batch.records
        if is_measurable(record)
    }
    for name, device, first, last in spans:
        contract = state.contracts.get(name)
        # An unknown contract may be registered in this group, before the batch is decided. Nothing
        # is in use under it yet, but its provider's devices may be.
        counts = device_time_ids(contract, device) if contract else _provider_counts(batch, device)
        for day in range(first, last + 1):
            yield from ((count, day) for count in counts)


def _provider_counts(batch: Batch, device: str) -> list[DeviceTimeId]:
    return [("provider", batch.provider, device)]
