"""The clock: microseconds since 1970 UTC, of the system, or from a test's instant on."""

import time
from collections.abc import Callable

from meter.values.units import MICROSECONDS

Clock = Callable[[], int]


def system_clock() -> int:
    """Return the time, microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


def clock_from(start_seconds: int) -> Clock:
    """Return a clock that runs on from an instant, for tests and demonstrations."""
    began = time.monotonic_ns()
    return lambda: start_seconds * MICROSECONDS + (time.monotonic_ns() - began) // 1_000
