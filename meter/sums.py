"""Independent sums beside the audit: the totals of a ledger, computed the slow and obvious way.

Nothing of `rating`, `effects`, `state` or `decide` is used here.
"""

from typing import Any


class Sums:
    """Collects entries; `finish` holds the totals against each other and raises `Violation`."""

    def entry(self, number: int, fields: dict[str, Any]) -> None:
        """Take the next entry."""

    def finish(self) -> None:
        """Compare."""
