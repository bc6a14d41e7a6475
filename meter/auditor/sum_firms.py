"""The independent sum of firms: who stands in whose place; a part of `auditor.sums`.

Nothing of the core is used here. The code of a violation:

    sum_firm         an enterprise is succeeded once, and no chain of successors leads back; whoever
                     was succeeded gets no new contract or award
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ledger.errors import Violation


class Firms:
    """The successors of a ledger's enterprises."""

    def __init__(self) -> None:
        self._next: dict[str, str] = {}
        self._before: defaultdict[str, list[str]] = defaultdict(list)

    def succeed(self, number: int, fields: dict[str, Any]) -> None:
        """Add a succession. Raises `Violation`."""
        uscc, successor = fields["uscc"], fields["successor"]
        if uscc in self._next or self.last(successor) == uscc:
            raise Violation("sum_firm", f"{uscc} is succeeded twice, or by itself", number)
        self._next[uscc] = successor
        self._before[successor].append(uscc)

    def last(self, uscc: str) -> str:
        """Return the last successor of an enterprise, or itself."""
        while uscc in self._next:
            uscc = self._next[uscc]
        return uscc

    def members(self, uscc: str) -> Iterator[str]:
        """Yield the codes of an enterprise's firm."""
        waiting = [self.last(uscc)]
        while waiting:
            code = waiting.pop()
            yield code
            waiting += self._before[code]

    def check_active(self, number: int, uscc: str) -> None:
        """Check that an enterprise that gets something new has no successor."""
        if uscc in self._next:
            raise Violation("sum_firm", f"{uscc} has a successor, and gets something new", number)
