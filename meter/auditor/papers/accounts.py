"""Accounts: of which nature each is, and what it held before a period, within and after it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from meter.auditor.papers.tables import Row
from meter.rules.entries import Posting

_NATURES: Final = {
    **dict.fromkeys(("pool", "coupon", "accrued", "payable"), "Assets"),
    **dict.fromkeys(("due", "paid"), "Expenses"),
    **dict.fromkeys(("enterprise", "claims"), "Liabilities"),
}


def nature_of(account: str) -> str:
    """Return the nature of an account by its class, as Beancount names the five."""
    return _NATURES.get(account.partition(":")[0], "Equity")


@dataclass(slots=True)
class Balance:
    """One account, in fen."""

    opening: int = 0
    received: int = 0
    given: int = 0

    @property
    def closing(self) -> int:
        return self.opening + self.received - self.given


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts by name; they add up to zero before and after."""

    by_name: dict[str, Balance] = field(default_factory=lambda: defaultdict(Balance))

    def open(self, postings: Iterable[Posting]) -> None:
        """Take postings of the time before the period."""
        for source, target, fen in postings:
            self.by_name[source].opening -= fen
            self.by_name[target].opening += fen

    def add(self, postings: Iterable[Posting]) -> None:
        """Take postings of the period."""
        for source, target, fen in postings:
            self.by_name[source].given += fen
            self.by_name[target].received += fen

    def rows(self) -> Iterator[Row]:
        """Yield the rows of `tables.ACCOUNTS`, by the account's name."""
        for name, each in sorted(self.by_name.items()):
            figures = each.opening, each.received, each.given, each.closing
            yield name, name.partition(":")[0], *figures
