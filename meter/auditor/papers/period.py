"""The time that a paper is about: `2025-03` a month, `2025` a year, by the ledger's own dates.

An entry belongs to the Shanghai day of its `at`, whatever day its usage is of.
"""

import re
from dataclasses import dataclass
from typing import Final

from meter.values.units import MICROSECONDS, add_months, format_date, parse_date
from meter.values.worded import worded

_FORM: Final = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2]))?", re.ASCII)
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 9_000


@dataclass(frozen=True, slots=True)
class Period:
    """Shanghai dates, half-open; without them it is the whole ledger."""

    starts: str | None = None
    ends: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Period":
        """Return the period of a year or of a month. Raises `ValueError`."""
        match = _FORM.fullmatch(text)
        if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR:
            raise ValueError(worded(f"not a year YYYY nor a month YYYY-MM: {text!r:.80}"))
        starts = f"{match[1]}-{match[2] or '01'}-01"
        return cls(starts, add_months(starts, 1 if match[2] else 12))

    def is_before(self, at: int) -> bool:
        """Return whether a moment (microseconds) lies before the period."""
        return self.starts is not None and at < parse_date(self.starts) * MICROSECONDS

    def is_after(self, at: int) -> bool:
        """Return whether a moment lies after the period."""
        return self.ends is not None and at >= parse_date(self.ends) * MICROSECONDS

    def __contains__(self, at: int) -> bool:
        return not self.is_before(at) and not self.is_after(at)

    def __str__(self) -> str:
        if self.starts is None or self.ends is None:
            return "all"
        return self.starts[:7] if self.ends == add_months(self.starts, 1) else self.starts[:4]


def date_of(at: int) -> str:
    """Return the Shanghai date of a moment in microseconds."""
    return format_date(at // MICROSECONDS)


def first_of_next_month(date: str) -> str:
    """Return the first day of the month after that of a date."""
    return add_months(f"{date[:7]}-01", 1)
