"""Records and purchases in the independent sums: each counts once, and what its entry says is so.

A part of `auditor.sums`; nothing of the core is used here. Nearly all records lie within one day,
fit, and are eligible: `_at_a_glance` takes those, an hour in some 3 µs. `_closely` takes the
others, an hour across midnight in 20 µs and 31 days in 3 ms.
"""

import sys
from array import array
from bisect import bisect_right
from collections import defaultdict
from datetime import date
from fractions import Fraction
from struct import Struct
from typing import Final, Literal

import msgspec

from ledger.errors import Violation
from meter.auditor.sum_claims import days_of
from meter.auditor.sum_meters import (
    EPOCH,
    QUARTER,
    QUARTERS_AHEAD,
    QUARTERS_PER_DAY,
    SECOND,
    WORK_PER_FEN,
    Contract,
    InUse,
    Limit,
    Meter,
    Provider,
    Time,
    Usage,
    Work,
    added_by_day,
    by_quarter,
    costs_of,
    unused_day,
    usage_of,
)

_LONGEST_RECORD: Final = 31 * 86_400  # seconds
_LONGEST_EVIDENCE: Final = 16  # runs; the last one takes the rest
# Entry, thousandths, start, end and meter of a record, then what fits of it by day. Packed, for
# there may be millions.
_RECORD: Final = Struct("<qqqqi")
_OF_DAY: Final = Struct("<iq")
_RECORD_OF_ONE_DAY: Final = Struct(_RECORD.format + _OF_DAY.format[1:])
# As canonical JSON has it.
_USAGE: Final = b'"kind":"usage"'
_VOID: Final = b'"kind":"void"'
_RELEASE: Final = b'"kind":"release"'
_PURCHASE: Final = b'"kind":"purchase"'
_OF_TIME: Final = " (day since 1970, thousandths × seconds)"
Figures = dict[tuple[str, str], list[int]]  # by contract and device: records, device-time
_Evidence = list[tuple[str, int, int, int]]  # limit, from and until, thousandths × seconds


class OfRecord(msgspec.Struct, frozen=True, gc=False):
    """The fields of a usage, purchase, void or release entry that sums need."""

    kind: Literal["usage", "purchase", "void", "release"]
    postings: list[tuple[str, str, int]]
    provider: str
    id: str
    contract: str
    entitled: Time
    device: str = ""  # of a purchase
    amount: int = 0
    delivered_on: str = ""
    service_from: str = ""
    service_until: str = ""
    by_days: bool = False
    milli_devices: int = 0
    start: int = 0  # microseconds
    end: int = 0
    cost: int = 0  # a release costs nothing more
    fits: Time = []
    withheld: Time = []
    withheld_cost: int = 0
    ineligible: list[tuple[str, int]] = []
    evidence: _Evidence = []
    record: int = -1

    @property
    def work(self) -> tuple[int, int, int]:
        """Thousandths of a device, start and end in seconds."""
        return self.milli_devices, self.start // SECOND, self.end // SECOND


read_of_record: Final = msgspec.json.Decoder(OfRecord)


def is_of_record(data: bytes) -> bool:
    """Return whether an entry is of a record or purchase, which `Sums` reads as `OfRecord`."""
    return _USAGE in data or _VOID in data or _RELEASE in data or _PURCHASE in data


class Records:
    """All records by provider and id, and the meters that count them; they raise `Violation`."""

    def __init__(self) -> None:
        self._meters: dict[tuple[str, str], Meter] = {}  # by contract and device
        self._meter_list: list[Meter] = []
        self._in_use: dict[tuple[str, str], InUse] = {}  # by provider and device
        # A voided record leaves its id behind.
        self._records: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        # What is withheld of a record: quarter and device-time, by turns.
        self._withheld: dict[tuple[str, str], array[int]] = {}
        # The streams of all batches, and the numbers of their entries.
        self._streams: list[str] = []
        self._batches = array("q")
        self._stream = ""

    def batch(self, number: int, stream: str) -> None:
        """Take a batch, whose records follow."""
        self._stream = sys.intern(stream)
        self._streams.append(self._stream)
        self._batches.append(number)

    def figures(self, provider: Provider, stream: str, day: int) -> Figures:
        """Return records and device-time of a stream's day by contract and device."""
        found = {}
        for meter in provider.meters:
            told = meter.told[day].get(stream, [0]) if meter.device and day in meter.told else [0]
            if told[0]:
                found[meter.contract.fields["id"], meter.device] = told
        return found

    def _stream_of(self, record: int) -> str:
        return self._streams[bisect_right(self._batches, record) - 1]

    def about(self, provider: str, name: str) -> tuple[int, str, range] | None:
        """Return entry, contract and days of a record that counts; of a purchase no days."""
        packed = self._records[provider].get(name)
        if packed is None:
            return None
        number, _, start, end, index = _RECORD.unpack_from(packed)
        meter = self._meter_list[index]
        first, last = ((each // QUARTER + QUARTERS_AHEAD) for each in (start, end - 1))
        days = range(first // QUARTERS_PER_DAY + EPOCH, last // QUARTERS_PER_DAY + EPOCH + 1)
        return number, meter.contract.fields["id"], days if meter.device else range(0)

    def has_meter(self, contract: str, device: str) -> bool:
        """Return whether a device kind is counted under a contract."""
        return (contract, device) in self._meters

    def usage(self, number: int, usage: OfRecord) -> None:
        meter = self._meters.get((usage.contract, usage.device))
        records, name = self._records[usage.provider], usage.id
        if meter is None or name in records:
            why = "counts already" if name in records else "has no price"
            raise Violation("sum_record", f"record {name} of {usage.provider} {why}", number)
        at_a_glance = self._at_a_glance(number, meter, usage)
        records[name] = at_a_glance or self._closely(number, meter, usage)
        _add_stated(meter.contract, usage)

    def purchase(self, number: int, entry: OfRecord) -> None:
        """Count what was bought, on one day or on those of its service."""
        meter = self._meters.get((entry.contract, ""))
        records, name = self._records[entry.provider], entry.id
        if meter is None or name in records:
            why = "counts already" if name in records else "is under no contract of purchases"
            raise Violation("sum_record", f"purchase {name} of {entry.provider} {why}", number)
        contract, rules = meter.contract, meter.contract.rules
        if entry.by_days != (rules.by_days and entry.service_from != ""):
            detail = f"purchase {name} counts by days: {entry.by_days}"
            raise Violation("sum_purchase", detail, number)
        if rules.in_yuan and contract.work:
            detail = f"purchase {name} is the second one of {entry.contract}"
            raise Violation("sum_purchase", detail, number)
        days = _days_of_purchase(entry)
        by_day = _bought(entry.amount, days)
        _check_costs(number, entry, contract.work, {}, meter.work(by_day))
        meter.count(by_day, 1, self._stream)
        records[name] = _RECORD.pack(number, entry.amount, days.start, days.stop, meter.index)
        _add_stated(contract, entry)

    def _at_a_glance(self, number: int, meter: Meter, usage: OfRecord) -> bytes | None:
        """Count a record within one day that fits and whose entry says so; return None for others.

        `_closely` would find the same. All quarters of a day have the same limits, and all count or
        none does. Where the record exceeds no limit, nothing is withheld, and it counts whole.
        """
        milli_devices, start, end = work = usage.work
        first, last = start // QUARTER, (end - 1) // QUARTER
        day_number, place = divmod(first + QUARTERS_AHEAD, QUARTERS_PER_DAY)
        if milli_devices <= 0 or end <= start or place + last - first >= QUARTERS_PER_DAY:
            return None
        day, time = meter.day(day_number + EPOCH), milli_devices * (end - start)
        if day.reason or usage.fits != [(day_number, time)]:
            return None
        if usage.withheld or usage.evidence or usage.ineligible or usage.withheld_cost:
            return None
        # Whole quarters, less what lies before the start and after the end.
        parts = [milli_devices * QUARTER] * (last - first + 1)
        parts[0] -= milli_devices * (start - first * QUARTER)
        parts[-1] -= milli_devices * ((last + 1) * QUARTER - end)
        if not day.is_enlisted or not _fill(day.limits, place, parts):
            return None
        day.used[0] += time
        day.used[1] += time
        told = day.told[self._stream]
        told[0] += 1
        told[1] += time
        meter.contract.work += time * day.price
        return _RECORD_OF_ONE_DAY.pack(number, *work, meter.index, day_number, time)

    def _closely(self, number: int, meter: Meter, usage: OfRecord) -> bytes:
        _, start, end = work = usage.work
        if end - start > _LONGEST_RECORD:  # or its quarters could be of a thousand years
            raise Violation("sum_record", f"record {usage.id} is too long", number)
        wanted = by_quarter(*work)
        short = meter.short(wanted)
        missing = [(quarter, time) for _, quarter, time in short]
        _check_withheld(number, usage, missing)
        _check_evidence(number, usage, _runs(short))
        by_day = meter.usage(wanted, missing)
        _check_fits(number, usage, by_day)
        _check_costs(number, usage, meter.contract.work, {}, meter.work(by_day))
        meter.use(wanted, 1, number)
        meter.use(missing, -1, number)
        meter.count(by_day, 1, self._stream)
        if missing:
            parts = array("q", [number for part in missing for number in part])
            self._withheld[usage.provider, usage.id] = parts
        return _pack(number, meter, work, by_day)

    def void(self, number: int, void: OfRecord) -> None:
        meter, work, fits = self._find_record(number, void)
        if meter.device:
            missing, wanted = self._take_withheld(void), by_quarter(*work)
            _check_withheld(number, void, missing)
            by_day = usage_of(wanted, fits, missing)
            meter.use(wanted, -1, void.record)
            meter.use(missing, 1, void.record)
        else:
            amount, first, after = work
            by_day = _bought(amount, range(first, after))
        meter.count(by_day, -1, self._stream_of(void.record))
        _check_costs(number, void, meter.contract.work, meter.work(by_day), {})
        self._records[void.provider][void.id] = None
        _add_stated(meter.contract, void)

    def release(self, number: int, release: OfRecord) -> None:
        meter, work, fits = self._find_record(number, release)
        missing = self._take_withheld(release)
        if not missing:
            detail = f"record {release.id} of {release.provider} has no withheld part"
            raise Violation("sum_record", detail, number)
        _check_withheld(number, release, missing)
        held = usage_of(by_quarter(*work), fits, missing)
        freed = {day: (time, fits + withheld, 0) for day, (time, fits, withheld) in held.items()}
        stream = self._stream_of(release.record)
        meter.count(held, -1, stream)
        _check_costs(number, release, meter.contract.work, meter.work(held), meter.work(freed))
        meter.use(missing, 1, release.record)
        meter.count(freed, 1, stream)
        self._records[release.provider][release.id] = _pack(release.record, meter, work, freed)
        _add_stated(meter.contract, release)

    def _find_record(
        self, number: int, entry: OfRecord
    ) -> tuple[Meter, tuple[int, int, int], Time]:
        """Return the record of a void or release: meter, work, and what fits of it by day.

        The work of a purchase is its amount, the first of its days, and the one after the last.
        """
        packed = self._records[entry.provider].get(entry.id)
        if packed is None:
            detail = f"record {entry.id} of {entry.provider} does not count"
            raise Violation("sum_record", detail, number)
        record, milli_devices, start, end, index = _RECORD.unpack_from(packed)
        meter = self._meter_list[index]
        ours = record, meter.contract.fields["id"], meter.device
        if ours != (entry.record, entry.contract, entry.device):
            raise Violation("sum_record", f"record {entry.id} is that of entry {record}", number)
        fits = [(day + EPOCH, time) for day, time in _OF_DAY.iter_unpack(packed[_RECORD.size :])]
        return meter, (milli_devices, start, end), fits

    def _take_withheld(self, entry: OfRecord) -> Time:
        """Remove and return the withheld part of a record: device-time by quarter."""
        parts = self._withheld.pop((entry.provider, entry.id), array("q"))
        return list(zip(parts[::2], parts[1::2], strict=True))

    def add_meter(self, contract: Contract, device: str, provider: Provider) -> None:
        name, at_provider = contract.fields["id"], (contract.fields["provider"], device)
        meter = Meter(
            index=len(self._meter_list),
            contract=contract,
            provider=provider,
            device=device,
            limited=None,
            in_use=defaultdict(unused_day),
            in_use_at_provider=self._in_use.setdefault(at_provider, defaultdict(unused_day)),
        )
        contract.meters.append(meter)
        self._meters[name, device] = meter
        self._meter_list.append(meter)
        meter.provider.meters.append(meter)


def _days_of_purchase(entry: OfRecord) -> range:
    """Return the days on which a purchase counts."""
    if entry.by_days:
        return days_of({"from": entry.service_from, "until": entry.service_until})
    delivered = date.fromisoformat(entry.delivered_on).toordinal()
    return range(delivered, delivered + 1)


def _bought(amount: int, days: range) -> Usage:
    """Return the work of a purchase by day: up to each, its share cut to a whole number."""
    work, usage = amount * WORK_PER_FEN, {}
    for place, day in enumerate(days):
        part = work * (place + 1) // len(days) - work * place // len(days)
        usage[day] = (part, part, 0)
    return usage


def _fill(limits: list[Limit], first: int, parts: list[int]) -> bool:
    """Count parts as in use in successive quarters, unless one exceeds a limit."""
    fits = True
    for _, room, in_use in limits:
        for place, time in enumerate(parts, first):
            used = in_use[place] = in_use[place] + time
            if used > room:
                fits = False
    if not fits:
        for _, _, in_use in limits:
            for place, time in enumerate(parts, first):
                in_use[place] -= time
    return fits


def _pack(entry: int, meter: Meter, work: tuple[int, int, int], usage: Usage) -> bytes:
    fits = [(day - EPOCH, fits) for day, (_, fits, _) in usage.items() if fits]
    return _RECORD.pack(entry, *work, meter.index) + b"".join(_OF_DAY.pack(*each) for each in fits)


def _runs(short: list[tuple[str, int, int]]) -> _Evidence:
    """Join successive quarters that fall short of the same limit."""
    runs: _Evidence = []
    for limit, quarter, time in short:
        begin, end = (number * QUARTER * SECOND for number in (quarter, quarter + 1))
        before, first, until, total = runs[-1] if runs else ("", 0, 0, 0)
        if len(runs) == _LONGEST_EVIDENCE or (before, until) == (limit, begin):
            runs[-1] = before, first, end, total + time
        else:
            runs.append((limit, begin, end, time))
    return runs


def _check_withheld(number: int, entry: OfRecord, missing: Time) -> None:
    ours = [(day - EPOCH, time) for day, time in added_by_day(missing)]
    if entry.withheld != ours:
        detail = f"{entry.withheld} of record {entry.id} is stated as withheld, not {ours}"
        raise Violation("sum_withheld", detail + _OF_TIME, number)


def _check_fits(number: int, usage: OfRecord, by_day: Usage) -> None:
    ours = [(day - EPOCH, fits) for day, (_, fits, _) in by_day.items() if fits]
    if usage.fits != ours:
        detail = f"{usage.fits} of record {usage.id} is stated to fit, not {ours}"
        raise Violation("sum_fits", detail + _OF_TIME, number)


def _check_costs(
    number: int, entry: OfRecord, others: int | Fraction, before: Work, after: Work
) -> None:
    """Compare the parts of a cost that an entry states, on top of the contract's other work."""
    was, now = costs_of(others, before), costs_of(others, after)
    changes = {part: now[part] - was[part] for part in now}
    withheld = changes.pop("withheld")
    if entry.withheld_cost != withheld:
        detail = f"{entry.withheld_cost} fen of record {entry.id} are stated as withheld"
        raise Violation("sum_withheld", f"{detail}, not {withheld}", number)
    del changes["eligible"]
    differs = {part for part in changes if before.get(part, 0) != after.get(part, 0)}
    ours = [(reason, fen) for reason, fen in changes.items() if reason in differs]
    if entry.ineligible != ours:
        detail = f"{entry.ineligible} of record {entry.id} is stated as ineligible, not {ours}"
        raise Violation("sum_ineligible", f"{detail} (fen)", number)


def _check_evidence(number: int, usage: OfRecord, ours: _Evidence) -> None:
    if usage.evidence != ours:
        detail = f"what is withheld of record {usage.id} is shown by {usage.evidence!r:.200}"
        raise Violation("sum_evidence", f"{detail}, not by {ours!r:.200}", number)


def _add_stated(contract: Contract, entry: OfRecord) -> None:
    """Add what a usage, void or release entry states of its contract."""
    contract.stated_cost += entry.cost
    contract.add_stated(entry.entitled)
