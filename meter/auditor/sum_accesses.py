"""Digests of the access log: a part of `auditor.sums`.

sum_access   a day of the access log has one digest, of a row or more, made after the day was over;
             and it is later than the day of the digest before
"""

from datetime import date
from typing import Any

from ledger.errors import Violation
from meter.auditor.sum_claims import day_of


class Accesses:
    """The days that have a digest."""

    def __init__(self) -> None:
        self._last = 0  # an ordinal

    def digest(self, number: int, fields: dict[str, Any]) -> None:
        """Take a day's digest. Raises `Violation`."""
        day = date.fromisoformat(fields["day"]).toordinal()
        if not self._last < day < day_of(fields["at"]):
            detail = f"{fields['day']} is not over, or not after the day of the digest before"
            raise Violation("sum_access", detail, number)
        if fields["rows"] < 1:
            raise Violation("sum_access", f"{fields['day']} has a digest of no row", number)
        self._last = day
