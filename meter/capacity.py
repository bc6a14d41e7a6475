"""What fits: device-time by quarter-hour, against what is rented and what is enlisted.

Capacity is counted in quarter-hours of UTC. In each, the device-time in use of one kind cannot
exceed 900 s times the contract's rented devices, nor 900 s times the provider's enlisted devices in
force. What of a record does not fit into the smaller of the two rooms is *withheld*. Policy
validity, terms and enlistments begin and end at Shanghai's midnight, which is a border of quarters
too, so each quarter of a record is either eligible or not, never in part.

Device-time in use is kept by UTC day, 96 numbers of thousandths × seconds. Example: 8 cards from
08:10 to 08:30 use 8000 · 300 in the quarter of 08:00 and 8000 · 900 in that of 08:15.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

QUARTER_SECONDS: Final = 900
QUARTERS_PER_DAY: Final = 96

_UNUSED: Final = bytes(8 * QUARTERS_PER_DAY)  # 64-bit numbers

Limit = Literal["contract", "provider"]


@dataclass(frozen=True, slots=True)
class Withheld:
    """What of a record did not fit in one quarter, and which limit was the smaller.

    `quarter` counts from 1970 UTC; `device_time` is thousandths × seconds.
    """

    quarter: int
    device_time: int
    limit: Limit


def split(start: int, end: int, milli_devices: int) -> Iterator[tuple[int, int]]:
    """Split the device-time of `[start, end)` (seconds) by quarter."""
    for quarter in quarters(start, end):
        begin = quarter * QUARTER_SECONDS
        seconds = min(end, begin + QUARTER_SECONDS) - max(start, begin)
        yield quarter, seconds * milli_devices


def quarters(start: int, end: int) -> range:
    """Give the quarters that `[start, end)` touches."""
    return range(start // QUARTER_SECONDS, -(-end // QUARTER_SECONDS))


def days(start: int, end: int) -> range:
    """Give the UTC days since 1970 that `[start, end)` touches."""
    day = QUARTER_SECONDS * QUARTERS_PER_DAY
    return range(start // day, -(-end // day))


class DeviceTime:
    """Device-time in use of one kind, under one contract or at one provider, by quarter."""

    __slots__ = ("days",)

    def __init__(self) -> None:
        self.days: dict[int, array[int]] = {}

    def at(self, quarter: int) -> int:
        """Give the device-time in use in a quarter."""
        day = self.days.get(quarter // QUARTERS_PER_DAY)
        return day[quarter % QUARTERS_PER_DAY] if day else 0

    def peak(self, start: int, end: int) -> int:
        """Give the most that is in use in any quarter of `[start, end)` (seconds)."""
        touched = quarters(start, end)
        most = 0
        for number in days(start, end):
            day = self.days.get(number)
            if day is not None:
                first = number * QUARTERS_PER_DAY
                most = max(most, *day[max(0, touched.start - first) : touched.stop - first])
        return most

    def add(self, quarter: int, device_time: int) -> None:
        """Add to a quarter; negative frees."""
        number = quarter // QUARTERS_PER_DAY
        day = self.days.get(number)
        if day is None:
            day = self.days[number] = array("q", _UNUSED)
        day[quarter % QUARTERS_PER_DAY] += device_time


@dataclass(frozen=True, slots=True)
class Room:
    """One limit: the devices that may work at once, and the device-time in use.

    `devices` lists `(from, until, count)` in seconds, `None` for an open end; what is in force at
    the same time adds up.
    """

    limit: Limit
    devices: Sequence[tuple[int | None, int | None, int]]
    in_use: DeviceTime

    def left(self, quarter: int) -> int:
        """Give the device-time that still fits into a quarter; never below zero."""
        begin = quarter * QUARTER_SECONDS
        count = sum(
            count
            for start, end, count in self.devices
            if (start is None or start <= begin) and (end is None or begin < end)
        )
        return max(0, count * 1000 * QUARTER_SECONDS - self.in_use.at(quarter))

    def surely_fits(self, start: int, end: int, milli_devices: int) -> bool:
        """Say whether so many devices fit even beside the most that is in use in `[start, end)`.

        A quick answer for the common case; "no" means that it takes a closer look.
        """
        count = sum(
            count
            for begin, stop, count in self.devices
            if (begin is None or begin <= start) and (stop is None or end <= stop)
        )
        room = count * 1000 * QUARTER_SECONDS - self.in_use.peak(start, end)
        return milli_devices * QUARTER_SECONDS <= room


def withhold(demand: Iterable[tuple[int, int]], rooms: list[Room]) -> list[Withheld]:
    """Hold a record's demand by quarter against its rooms; the first of equally small is named."""
    withheld: list[Withheld] = []
    for quarter, wanted in demand:
        left, limit = min(
            ((room.left(quarter), room.limit) for room in rooms), key=lambda pair: pair[0]
        )
        if wanted > left:
            withheld.append(Withheld(quarter, wanted - left, limit))
    return withheld
