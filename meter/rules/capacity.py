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
from collections.abc import Iterable, Iterator, Sequence
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

Limit = Literal["contract", "provider"]
Step = tuple[int, int, int]  # from and until (seconds), device-time that fits into a quarter
# UTC day; quarter of the begin, and its seconds before the begin; quarter of the end, and its
# seconds before the end.
DayPart = tuple[int, int, int, int, int]


class Withheld(Struct, frozen=True):
    """The part of a record that did not fit into one quarter, and the smaller limit.

    `quarter` counts from 1970 UTC; `device_time` is thousandths × seconds.
    """

    quarter: int
    device_time: int
    limit: Limit


def split(start: int, end: int, milli_devices: int) -> Iterator[tuple[int, int]]:
    """Yield the quarters of `[start, end)` (seconds) with their device-time."""
    for quarter in range(start // QUARTER_SECONDS, -(-end // QUARTER_SECONDS)):
        begin = quarter * QUARTER_SECONDS
        seconds = min(end, begin + QUARTER_SECONDS) - max(start, begin)
        yield quarter, seconds * milli_devices


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

    def add_in(self, quarter: int, device_time: int) -> None:
        """Add device-time to one quarter; a negative number frees it."""
        number, place = divmod(quarter, QUARTERS_PER_DAY)
        self.day(number)[place] += device_time
        self.touched.add(number)

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

    def left(self, quarter: int) -> int:
        """Return the device-time that still fits into a quarter; never below zero."""
        begin = quarter * QUARTER_SECONDS
        size = next((size for start, end, size in self.steps if start <= begin < end), 0)
        return max(0, size - self.in_use.at(quarter))

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


def withhold(demand: Iterable[tuple[int, int]], rooms: list[Room]) -> list[Withheld]:
    """Return the demand by quarter that has no room; the first of equal rooms is named."""
    withheld: list[Withheld] = []
    for quarter, wanted in demand:
        left, limit = min(
            ((room.left(quarter), room.limit) for room in rooms), key=lambda pair: pair[0]
        )
        if wanted > left:
            withheld.append(Withheld(quarter, wanted - left, limit))
    return withheld
