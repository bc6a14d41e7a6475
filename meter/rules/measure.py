"""Measure a record by Shanghai day: how much fits, and how much is withheld for want of capacity.

This is decided once, when the record is accepted, by the enlistments and the device-time in use at
that moment. Only a void or a reviewer's release changes it later. What is not enlisted on a day is
held against no limit: it is not withheld, and fits only where the policy needs no enlistment.
`admit`, `occupy` and `free` keep the device-time in use.

`day_terms` has what a day's usage is worth by the terms of now: its price, and where it counts, or
the reason why it does not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from meter.rules.capacity import (
    QUARTER_SECONDS,
    Room,
    Step,
    Withheld,
    day_parts,
    days,
    stepped,
    steps_of,
    take,
    withhold,
)
from meter.rules.entries import (
    NO_DEVICE,
    DailyTime,
    Evidence,
    PurchaseAccepted,
    UsageAccepted,
)
from meter.rules.rating import overlap
from meter.rules.state import (
    MAX_METER_DAYS,
    AcceptedRecord,
    Contract,
    DayTerms,
    DeviceTimeId,
    Meter,
    State,
)
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, day_start, year_of
from meter.wire.batch import (
    MAX_RECORD_SECONDS,
    Batch,
    Record,
)
from meter.wire.receipt import REASONS, Reason

MAX_EVIDENCE = 16  # runs of quarters in an entry, which must stay below 65,535 bytes

# Shanghai day; of its thousandths × seconds all, what fits, and what is withheld.
DayUsage = tuple[int, int, int, int]


@final
@dataclass
class Work:
    """The work that a record claims: `[start, end)` in seconds, thousandths of a device kind."""

    device: str
    milli_devices: int
    start: int
    end: int

    def __init__(self, device: str, milli_devices: int, start: int, end: int) -> None:
        self.device = device
        self.milli_devices = milli_devices
        self.start = start
        self.end = end

    @property
    def device_time(self) -> int:
        """Thousandths × seconds."""
        return self.milli_devices * (self.end - self.start)


@final
@dataclass
class Measured:
    """Some work by day; the part that was enlisted and had room, and the withheld part.

    The latter is by quarter.
    """

    days: list[DayUsage]
    fits: DailyTime
    withheld: list[Withheld]

    def __init__(self, days: list[DayUsage], fits: DailyTime, withheld: list[Withheld]) -> None:
        self.days = days
        self.fits = fits
        self.withheld = withheld


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
    """Add work to the device-time in use, without what is withheld of it, and measure it."""
    start, end, milli_devices = work.start, work.end, work.milli_devices
    # The rooms have a limit at enlisted times alone, so what fits in all of them is enlisted.
    if take(meter.rooms, start, end, milli_devices):
        fits = by_day(work)
        return Measured([(day, time, time, 0) for day, time in fits], fits, [])
    withheld: list[Withheld] = []
    for begin, until in overlap(meter.enlisted, start, end):
        withheld += withhold(begin, until, milli_devices, meter.rooms)
    occupy(meter, work, withheld, meter.counted_since)
    allowed = by_day(work)
    if meter.needs_enlistment:
        allowed = [
            (day, milli_devices * (until - begin))
            for enlisted in overlap(meter.enlisted, start, end)
            for day, begin, until in _days_of(*enlisted)
        ]
    missing = withheld_by_day(withheld)
    left = added([*allowed, *((day, -time) for day, time in missing)])
    fits = [(day, time) for day, time in left if time]
    return Measured(_daily_usage(work, fits, missing), fits, withheld)


def usage_of(record: AcceptedRecord) -> list[DayUsage]:
    """Return a record by day, as it stands now."""
    if isinstance(record.usage, PurchaseAccepted):
        return [(day, numerator, numerator, 0) for day, numerator in record.fits]
    return _daily_usage(work_of(record.usage), record.fits, withheld_by_day(still_withheld(record)))


def released(usage: Iterable[DayUsage]) -> list[DayUsage]:
    """Return how usage changes where all that is withheld fits from now on."""
    return [(day, 0, withheld, -withheld) for day, _, _, withheld in usage if withheld]


def still_withheld(record: AcceptedRecord) -> list[Withheld]:
    """Return the part of a record that is withheld now: nothing after its release."""
    return [] if record.released is not None else record.withheld


def withheld_by_day(withheld: Iterable[Withheld]) -> DailyTime:
    """Return the withheld device-time by Shanghai day."""
    return added(
        (day, (until - begin) // QUARTER_SECONDS * part.device_time)
        for part in withheld
        for day, begin, until in _days_of(part.start, part.end)
    )


def added(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return numbers added up by day or year, ascending."""
    totals: dict[int, int] = {}
    for key, number in parts:
        totals[key] = totals.get(key, 0) + number
    return sorted(totals.items())


def by_day(work: Work) -> DailyTime:
    """Return work by Shanghai day: day since 1970-01-01, thousandths × seconds."""
    first, last = day_of(work.start), day_of(work.end - 1)
    if first == last:
        return [(first, work.device_time)]
    return [
        (day, work.milli_devices * (end - start))
        for day, start, end in _days_of(work.start, work.end)
    ]


def day_terms(contract: Contract, meter: Meter, day: int) -> DayTerms:
    """Return what holds for a meter on a Shanghai day."""
    terms = meter.days.get(day)
    if terms is None:
        if len(meter.days) >= MAX_METER_DAYS:
            meter.days.clear()
        terms = meter.days[day] = _new_day_terms(contract, meter, day)
    return terms


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


def occupy(meter: Meter, work: Work, withheld: Iterable[Withheld], entry: int) -> None:
    """Add the work of a record to the device-time in use, without its withheld part."""
    _change_use(meter, work, withheld, entry, 1)


def free(meter: Meter, work: Work, withheld: Iterable[Withheld], entry: int) -> None:
    """Take the work of a record out of the device-time in use, without its withheld part."""
    _change_use(meter, work, withheld, entry, -1)


def days_of(contract: Contract, work: Work) -> Iterator[tuple[DeviceTimeId, int]]:
    """Yield the counts of device-time and the days to which some work belongs."""
    for name in device_time_ids(contract, work.device):
        for day in days(work.start, work.end):
            yield name, day


def days_of_record(state: State, record: AcceptedRecord) -> Iterator[tuple[DeviceTimeId, int]]:
    """Yield the counts of device-time and the days to which a record belongs: a purchase, none."""
    usage = record.usage
    if isinstance(usage, UsageAccepted):
        yield from days_of(state.contracts[usage.contract], work_of(usage))


def device_time_ids(contract: Contract, device: str) -> list[DeviceTimeId]:
    """Return the counts of device-time for work under a contract; its own, if it has a limit."""
    terms = contract.registered
    ids: list[DeviceTimeId] = [("provider", terms.provider, device)]
    if device in contract.agreed.max_devices:
        ids.insert(0, ("contract", terms.id, device))
    return ids


def _new_meter(state: State, contract: Contract, device: str) -> Meter:
    terms = contract.registered
    if device == NO_DEVICE:
        return Meter(device, [], needs_enlistment=False, rooms=[])
    provider = state.providers[terms.provider]
    rooms = [
        Room(
            name[0],
            _rented(contract, device)
            if name[0] == "contract"
            else steps_of(provider.capacity(device)),
            state.device_time(name),
        )
        for name in device_time_ids(contract, device)
    ]
    needs_enlistment = contract.policy.enlistment_required
    since = contract.counted_since.get(device, 0)
    return Meter(device, provider.enlisted(device), needs_enlistment, rooms, since)


def _rented(contract: Contract, device: str) -> list[Step]:
    """Return the capacity of the rented devices of a kind that the contract limits."""
    limits = [(day_start(each.first_day), each.max_devices.get(device)) for each in contract.steps]
    return stepped(limits)


def _new_day_terms(contract: Contract, meter: Meter, day: int) -> DayTerms:
    start = day_start(day)
    place, reason = -1, -1
    for number, segment in enumerate(contract.segments):
        if segment.start <= start < segment.end:
            place = number
    if place < 0:
        reason = REASONS.index(_reason(contract, start))
    return DayTerms(year_of(start), contract.price_on(meter.device, day), place, reason)


def _reason(contract: Contract, start: int) -> Reason:
    """Return the first reason why usage of a day, which is in no segment, counts for nothing."""
    if contract.agreed.related_party:
        return "related_party"
    versions = [each for each in contract.versions if each.start <= start < each.end]
    policy = versions[0].policy if versions else contract.policy
    if contract.agreed.use not in policy.eligible_uses:
        return "use"
    return "outside_term" if versions else "outside_policy"


def _daily_usage(work: Work, fits: DailyTime, withheld: DailyTime) -> list[DayUsage]:
    fitting, missing = dict(fits), dict(withheld)
    return [(day, time, fitting.get(day, 0), missing.get(day, 0)) for day, time in by_day(work)]


def _days_of(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield `[start, end)` (seconds) cut at the midnights of Shanghai: day, start, end."""
    first, last = day_of(start), day_of(end - 1)
    borders = [start, *(day_start(day) for day in range(first + 1, last + 1)), end]
    for day, (begin, until) in enumerate(pairwise(borders), first):
        yield day, begin, until


def _change_use(
    meter: Meter, work: Work, withheld: Iterable[Withheld], entry: int, sign: int
) -> None:
    parts = day_parts(work.start, work.end)
    for room in meter.rooms:
        if entry < meter.counted_since and room.limit == "contract":
            continue
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
        found.update(days_of_record(state, known))
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
