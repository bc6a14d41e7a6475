"""The clock of a service, and whether it can be right.

What an entry says of its time stays for ever, and no later entry may say less. So a clock that is
far ahead for the time of one entry makes late what comes after. A service asks before it dates
anything:

- at a start: how far the clock is from the ledger's last entry, and from the clock of a database on
  another host (`doubt_at_start`);
- while it runs: how far it has moved from a clock that nobody can set (`WatchedClock`).

All instants are microseconds since 1970 UTC.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meter.host import logs
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS, format_moment

TOLERANCE_SECONDS: Final = 60  # well kept clocks differ by less, and a step back may be as large
MAX_AHEAD_DAYS: Final = 7  # of the last entry: a ledger in use has one in a week

_log: Final = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` has the time; `steady` only counts on from anywhere, and nobody can set it.

    `is_confirmed` where a person says that it is right.
    """

    now: Callable[[], int]
    steady: Callable[[], int]
    is_confirmed: bool = False


def _system_now() -> int:
    return time.time_ns() // 1_000


def _system_steady() -> int:
    # Linux has one that counts on while the machine sleeps.
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000


SYSTEM_CLOCK: Final = Clock(_system_now, _system_steady)


def clock_from(start_seconds: int, began: int | None = None) -> Clock:
    """Return a clock that runs on from an instant, for tests and demonstrations.

    `began` is what the steady clock said then: now, unless several processes share the clock.
    """
    began = _system_steady() if began is None else began
    return Clock(lambda: start_seconds * MICROSECONDS + _system_steady() - began, _system_steady)


def clock_by_hand(now: Callable[[], int]) -> Clock:
    """Return a clock that only its owner moves: each move is time that has passed."""
    return Clock(now, now)


@dataclass(frozen=True, slots=True)
class LastEntry:
    """The last entry of a ledger, as far as a clock can be held against it."""

    number: int
    kind: str
    at: int


def doubt_at_start(now: int, last: LastEntry | None, database_now: int | None) -> str | None:
    """Return why a clock cannot be believed, if so.

    `database_now` is the time on the database's host, where that is another one.
    """
    said = f"the clock says {format_moment(now)}"
    if last is not None:
        ahead = now - last.at
        entry = f"the last entry, {last.number} ({last.kind}), is of {format_moment(last.at)}"
        if ahead > MAX_AHEAD_DAYS * DAY_SECONDS * MICROSECONDS:
            return f"{said}, more than {MAX_AHEAD_DAYS} days ahead: {entry}"
        if ahead < -TOLERANCE_SECONDS * MICROSECONDS:
            return f"{said}, which is behind: {entry}"
    if database_now is not None and abs(now - database_now) > TOLERANCE_SECONDS * MICROSECONDS:
        return f"{said}, the one of the database's host {format_moment(database_now)}"
    return None


class WatchedClock:
    """A running clock that dates nothing while it has jumped.

    It is believed as it is when this is made, and as it is when a person confirms it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.steady()
        self._was_right = True  # as the log says

    def now(self) -> int:
        """Return the time. Raises `Problem` `unavailable` while the clock has jumped."""
        now = self._clock.now()
        if not self._is_right(now):
            raise Problem("unavailable", "the clock has jumped: an operator must look")
        return now

    def counted(self) -> int:
        """Return the time as it was counted since the clock was confirmed."""
        return self._clock.steady() + self._offset

    def ahead_seconds(self, instant: int) -> float:
        """Return how far the clock is ahead of an instant, for a gauge."""
        return (self._clock.now() - instant) / MICROSECONDS

    @property
    def is_right(self) -> bool:
        """Whether the clock has moved as the steady one did; a change is logged."""
        return self._is_right(self._clock.now())

    def confirm(self) -> None:
        """Believe the clock as it is now."""
        jump = self._clock.now() - self.counted()
        self._offset += jump
        self._was_right = True
        _log.warning("clock_confirmed", seconds=jump // MICROSECONDS)

    def _is_right(self, now: int) -> bool:
        jump = now - self.counted()
        right = abs(jump) <= TOLERANCE_SECONDS * MICROSECONDS
        if right != self._was_right:
            self._was_right = right
            say = _log.info if right else _log.error
            say("clock_right" if right else "clock_jumped", seconds=jump // MICROSECONDS)
        return right
