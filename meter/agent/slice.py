"""Which stretches of a run are due to be reported: pure, like the rules.

    due(ended run [0, 1500), nothing held, …)       -> [(0, 1500)]
    due(open run from 0 on, held [(0, 900)], at 1870, slices of 900 s, settled after 60 s)
                                                    -> [(900, 1800)]

An open run is reported up to a boundary, once a reading confirms it so many seconds after. What is
held is never computed again: slices go on from it, whatever the length of a slice is now. All
slices of a run are disjoint, lie inside the run, and add up to its seconds.

A run that was suspended ran for fewer seconds than lie between its begin and a boundary. Which ones
is not recorded, so its seconds fill the time that is free, the earliest first. At a reading at `at`
it surely ran up to a boundary for all seconds so far, less those since the boundary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from meter.agent.usage import Run

Span = tuple[int, int]  # [start, end), seconds since 1970


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How long a slice of a running job is, and how long after it a reading has to confirm it."""

    slice_seconds: int = 900
    settle_seconds: int = 60

    def boundary(self, at: int) -> int:
        """Return the last boundary that a reading at `at` settles."""
        return (at - self.settle_seconds) // self.slice_seconds * self.slice_seconds


def due(
    run: Run, held: Sequence[Span], at: int, rhythm: Rhythm, *, charges_suspended: bool
) -> list[Span]:
    """Return the stretches to report now, the earliest first."""
    if run.end is None:
        until = rhythm.boundary(at)
        seconds = _seconds_until(run, at, until, charges_suspended=charges_suspended)
    else:
        until, seconds = run.end, total(run, charges_suspended=charges_suspended)
    missing = seconds - covered(held)
    return _fill(run.begin, until, held, missing)


def surplus(run: Run, held: Sequence[Span], *, charges_suspended: bool) -> list[Span]:
    """Return what is held of an ended run and is wrong: from the first wrong stretch on."""
    seconds = total(run, charges_suspended=charges_suspended)
    ordered = sorted(held)
    right, until = 0, run.begin
    for count, (start, end) in enumerate(ordered):
        right += max(0, end - max(start, until))
        until = max(until, end)
        if start < run.begin or until > (run.end or 0) or right > seconds:
            return ordered[count:]
    return []


def covered(spans: Sequence[Span]) -> int:
    """Return the seconds within stretches, which may overlap."""
    seconds, until = 0, 0
    for start, end in sorted(spans):
        seconds += max(0, end - max(start, until))
        until = max(until, end)
    return seconds


def total(run: Run, *, charges_suspended: bool) -> int:
    """Return the seconds of an ended run."""
    assert run.end is not None, "what still runs has no total yet"
    return _seconds_until(run, run.end, run.end, charges_suspended=charges_suspended)


def _seconds_until(run: Run, at: int, until: int, *, charges_suspended: bool) -> int:
    """Return the seconds for which the run surely ran in [begin, until)."""
    longest = max(0, until - run.begin)
    if charges_suspended or not run.was_suspended:
        return longest
    return min(longest, max(0, run.ran - (at - until)))


def _fill(begin: int, until: int, held: Sequence[Span], seconds: int) -> list[Span]:
    """Return the first free `seconds` of [begin, until)."""
    found = []
    for start, end in [*sorted(held), (until, until)]:
        free = min(start, until, begin + seconds)
        if begin < free:
            found.append((begin, free))
            seconds -= free - begin
        begin = max(begin, end)
    return found
