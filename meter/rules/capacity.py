"""Capacity: device-time in use by quarter-hour, within the devices rented and enlisted.

Capacity is counted in quarter-hours of UTC. In each, the device-time in use of one kind cannot
exceed 900 s times the contract's rented devices, nor 900 s times the provider's enlisted devices in
force. The part of a record that does not fit into the smaller of the two rooms is *withheld*.
Policy validity, terms and enlistments begin and end at midnight in Shanghai, where a quarter begins
too. So each quarter of a record is either eligible or not, never in part.

Device-time in use is kept by UTC day, 96 numbers of thousandths × seconds. Example: 8 cards from
08:10 to 08:30 use 8000 · 300 in the quarter of 08:00 and 8000 · 900 in that of 08:15.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, final

from msgspec import Struct

from meter.values.units import DAY_SECONDS

QUARTER_SECONDS: Final = 900
QUARTERS_PER_DAY: Final = 96

_UNUSED: Final = bytes(8 * QUARTERS_PER_DAY)  # 64-bit numbers
_EVER: Final = 2**62  # seconds: before and after everything
_NO_LIMIT: Final = 10**12  # devices: more than all records of a quarter-hour can use

Limit = Literal["contract", "provider"]
Step = tuple[int, int, int]  # from and until (seconds), device-time that fits into a quarter
# UTC day; quarter of the begin, and its seconds before the begin; quarter of the end, and its
# seconds before the end.
DayPart = tuple[int, int, int, int, int]


class Withheld(Struct, frozen=True):
    """A run of quarters into each of which the same part of a record did not fit.

    `quarter` is the first of `count`, from 1970 UTC on; `device_time` (thousandths × seconds)
    is that of each quarter, `limit` the smaller one in all of them.
    """

    quarter: int
    count: int
    device_time: int
    limit: Limit

    @property
    def total(self) -> int:
        """The device-time of the whole run."""
        return self.count * self.device_time

    @property
    def start(self) -> int:
        """The begin of the run, in seconds."""
        return self.quarter * QUARTER_SECONDS

    @property
    def end(self) -> int:
        """The end of the run, in seconds."""
        return (self.quarter + self.count) * QUARTER_SECONDS


def days(start: int, end: int) -> range:
    """Return the UTC days since 1970 that `[start, end)` touches."""
    return range(start // DAY_SECONDS, -(-end // DAY_SECONDS))


@lru_cache(maxsize=1_024)  # the records of a batch share their hours
def day_parts(start: int, end: int) -> Sequence[DayPart]:
    """Return `[start, end)` (seconds) cut at the midnights of UTC."""
    parts = []
    for number in days(start, end):
        midnight = number * DAY_SECONDS
        first, before = divmod(max(start - midnight, 0), QUARTER_SECONDS)
        stop, after = divmod(min(end - midnight, DAY_SECONDS), QUARTER_SECONDS)
        parts.append((number, first, before, stop, after))
    return tuple(parts)


@final
class DeviceTime:
    """Device-time in use of one kind, under one contract or at one provider, by quarter.

    `touched` holds the days that changed since it was emptied last.
    """

    __slots__ = ("days", "touched")

    def __init__(self) -> None:
        self.days: dict[int, array[int]] = {}
        self.touched: set[int] = set()

    def at(self, quarter: int) -> int:
        """Return the device-time in use in a quarter."""
        day = self.days.get(quarter // QUARTERS_PER_DAY)
        return day[quarter % QUARTERS_PER_DAY] if day else 0

    def add(self, parts: Iterable[DayPart], milli_devices: int) -> None:
        """Add devices to what is in use in parts of days; a negative number frees them."""
        whole = QUARTER_SECONDS * milli_devices
        for number, first, before, stop, after in parts:
            day = self.day(number)
            for place in range(first, stop):
                day[place] += whole
            # So far the first quarter counts as a whole, and the last one not at all.
            if before:
                day[first] -= before * milli_devices
            if after:
                day[stop] += after * milli_devices
            self.touched.add(number)

    def add_in(self, quarter: int, count: int, device_time: int) -> None:
        """Add device-time to each quarter of a run; a negative number frees it."""
        stop = quarter + count
        while quarter < stop:
            number, place = divmod(quarter, QUARTERS_PER_DAY)
            until = min(QUARTERS_PER_DAY, place + stop - quarter)
            day = self.day(number)
            for each in range(place, until):
                day[each] += device_time
            self.touched.add(number)
            quarter += until - place

    def day(self, number: int) -> "array[int]":
        """Return the quarters of a day, all zero at first."""
        found = self.days.get(number)
        if found is None:
            found = self.days[number] = array("q", _UNUSED)
        return found


@final
@dataclass
class Room:
    """One limit: the device-time that fits into a quarter, and the device-time in use.

    `steps` are disjoint and ascend; outside them nothing fits.
    """

    limit: Limit
    steps: list[Step]
    in_use: DeviceTime

    def left(self, number: int, first: int, stop: int) -> list[int]:
        """Return the device-time that still fits into each quarter of a part of a day, from 0 on.

        `number` is the UTC day since 1970; `first` and `stop` count its quarters.
        """
        midnight = number * QUARTERS_PER_DAY
        left = [0] * (stop - first)
        day = self.in_use.day(number)
        for start, end, size in self.steps:
            begin = max(first, -(-start // QUARTER_SECONDS) - midnight)
            until = min(stop, -(-end // QUARTER_SECONDS) - midnight)
            for place in range(begin, until):
                left[place - first] = max(0, size - day[place])
        return left

    def has_room(self, parts: Iterable[DayPart], start: int, end: int, milli_devices: int) -> bool:
        """Return whether devices fit beside the highest use of a quarter within `[start, end)`.

        This is quick and serves the common case; False means that each quarter must be looked at.
        """
        for begin, until, size in self.steps:
            if begin <= start and end <= until:
                most_in_use = size - milli_devices * QUARTER_SECONDS
                for number, first, _, stop, after in parts:
                    if (
                        max(self.in_use.day(number)[first : stop + 1 if after else stop])
                        > most_in_use
                    ):
                        return False
                return True
        return False


def take(rooms: list[Room], start: int, end: int, milli_devices: int) -> bool:
    """Add devices to what is in use, if they surely fit into all rooms; return whether they do."""
    parts = day_parts(start, end)
    for room in rooms:
        if not room.has_room(parts, start, end, milli_devices):
            return False
    for room in rooms:
        room.in_use.add(parts, milli_devices)
    return True


def steady(count: int) -> list[Step]:
    """Return the steps of a number of devices that never changes."""
    return [(-_EVER, _EVER, count * 1000 * QUARTER_SECONDS)]


def stepped(limits: Sequence[tuple[int, int | None]]) -> list[Step]:
    """Return the steps of numbers of devices, each with its begin; where it is None, all fits.

    The first one holds since ever.
    """
    begins = [-_EVER, *(begin for begin, _ in limits[1:]), _EVER]
    return [
        (begin, until, (_NO_LIMIT if count is None else count) * 1000 * QUARTER_SECONDS)
        for (begin, until), (_, count) in zip(pairwise(begins), limits, strict=True)
    ]


def steps_of(devices: Iterable[tuple[int, int, int]]) -> list[Step]:
    """Return the steps of enlistments `(from, until, count)`; those that overlap add up."""
    change: dict[int, int] = {}
    for start, end, count in devices:
        change[start] = change.get(start, 0) + count
        change[end] = change.get(end, 0) - count
    steps, count = [], 0
    for start, end in pairwise(sorted(change)):
        count += change[start]
        if count:
            steps.append((start, end, count * 1000 * QUARTER_SECONDS))
    return steps


def withhold(start: int, end: int, milli_devices: int, rooms: list[Room]) -> list[Withheld]:
    """Return the runs of `[start, end)` (seconds) without room; of equal rooms, the first one's."""
    runs = _Runs()
    for number, first, before, stop, after in day_parts(start, end):
        until = stop + 1 if after else stop
        lefts = [room.left(number, first, until) for room in rooms]
        for place in range(first, until):
            seconds = after if place == stop else QUARTER_SECONDS
            if place == first:
                seconds -= before
            limit, left = rooms[0].limit, lefts[0][place - first]
            for room, others in zip(rooms[1:], lefts[1:], strict=True):
                if others[place - first] < left:
                    limit, left = room.limit, others[place - first]
            wanted = seconds * milli_devices
            if wanted > left:
                runs.add(number * QUARTERS_PER_DAY + place, wanted - left, limit)
    return runs.all()


@final
class _Runs:
    """Collects withheld quarters, which come in ascending order, as runs."""

    def __init__(self) -> None:
        self._done: list[Withheld] = []
        self._quarter = 0
        self._count = 0
        self._device_time = 0
        self._limit: Limit = "contract"

    def add(self, quarter: int, device_time: int, limit: Limit) -> None:
        continues = quarter == self._quarter + self._count and limit == self._limit
        if continues and device_time == self._device_time:
            self._count += 1
            return
        self._end_run()
        self._quarter, self._count = quarter, 1
        self._device_time, self._limit = device_time, limit

    def all(self) -> list[Withheld]:
        self._end_run()
        return self._done

    def _end_run(self) -> None:
        if self._count:
            run = Withheld(self._quarter, self._count, self._device_time, self._limit)
            self._done.append(run)
        self._count = 0
