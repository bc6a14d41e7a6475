"""The clock of a demonstration's ledger."""

from meter.host.clock import clock_from
from meter.values.units import MICROSECONDS, format_instant


class MovedClock:
    """Runs by itself, and the demonstration moves it forward; it tells microseconds."""

    def __init__(self, start: int) -> None:
        self.move_to(start)

    def move_to(self, seconds: int) -> None:
        """Run on from an instant, in seconds."""
        self._clock = clock_from(seconds)

    def __call__(self) -> int:
        """Return the time."""
        return self._clock.now()

    def __str__(self) -> str:
        return format_instant(self() // MICROSECONDS)
