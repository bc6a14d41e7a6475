"""Plain-text books of a verified log, which `bean-check`, `hledger` and `ledger` accept.

Each entry that moves money is a transaction on its Shanghai date. A book of a period begins with
what all accounts held before. At the end of each month, and of the book, stands what the accounts
hold that the month has moved: whoever changes an amount is told by the first of these assertions.

    2025-03-01 * usage | entry 41
        enterprise:91440300708461136T                  -288.00 CNY
        due:TC-2025-0001                                288.00 CNY

Beancount's accounts have one of five roots and few characters: `Assets:Coupon:Training-coupon`.
The ledger's own name stands beside each. Two that would look alike get a number.
"""

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date as calendar_date
from datetime import timedelta
from pathlib import Path
from typing import Final

from ledger.files import open_private
from ledger.progress import Progress
from meter.auditor.papers.accounts import nature_of
from meter.auditor.papers.log import VerifiedLog
from meter.auditor.papers.period import Period, date_of, first_of_next_month
from meter.rules.entries import Posting
from meter.values.units import format_money

CURRENCY: Final = "CNY"
Changes = Iterable[tuple[str, int]]  # an account of the ledger, and its change in fen


class Dialect(ABC):
    """How one program wants a book to be written; `suffix` is that of the file."""

    suffix: str

    @abstractmethod
    def head(self) -> str:
        """Return what stands first."""

    @abstractmethod
    def declare(self, account: str, date: str) -> str:
        """Return what makes an account known before its first use."""

    @abstractmethod
    def transaction(self, date: str, words: tuple[str, str], changes: Changes) -> str:
        """Return a transaction; its words are a payee and a text."""

    @abstractmethod
    def check(self, day_after: str, balances: Changes) -> str:
        """Return the assertions of what accounts hold at the beginning of a day."""


class Beancount(Dialect):
    """The books of Beancount 2 and 3."""

    suffix = "beancount"

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def head(self) -> str:
        return f'option "operating_currency" "{CURRENCY}"\n'

    def declare(self, account: str, date: str) -> str:
        return f'{date} open {self._name(account)} {CURRENCY}\n  account: "{account}"\n'

    def transaction(self, date: str, words: tuple[str, str], changes: Changes) -> str:
        payee, text = words
        lines = [f'{date} * "{payee}" "{text}"\n']
        lines += [f"  {self._name(each)}  {_amount(fen)}\n" for each, fen in changes]
        return "".join(lines)

    def check(self, day_after: str, balances: Changes) -> str:
        return "".join(
            # Without a tolerance of its own it would not see a fen.
            f"{day_after} balance {self._name(each)}  {format_money(fen)} ~ 0.00 {CURRENCY}\n"
            for each, fen in balances
        )

    def _name(self, account: str) -> str:
        known = self._names.get(account)
        if known is None:
            known = plain = _beancount_name(account)
            number = 2
            while known in self._taken:
                known = f"{plain}-{number}"
                number += 1
            self._names[account] = known
            self._taken.add(known)
        return known


class _Journal(Dialect):
    """What hledger and ledger have in common: the ledger's own names of accounts."""

    def transaction(self, date: str, words: tuple[str, str], changes: Changes) -> str:
        lines = [f"{date} * {' | '.join(words)}\n"]
        lines += [f"    {each}  {_amount(fen)}\n" for each, fen in changes]
        return "".join(lines)

    def check(self, day_after: str, balances: Changes) -> str:
        lines = [f"    {each}  0.00 {CURRENCY} = {_amount(fen)}\n" for each, fen in balances]
        return "".join([f"{_day_before(day_after)} * balances\n", *lines])

    def declare(self, account: str, date: str) -> str:  # noqa: ARG002 - these have no such date
        return f"account {account}\n"


class Hledger(_Journal):
    """The books of hledger 1.25 and later."""

    suffix = "journal"

    def head(self) -> str:
        return f"commodity 1000.00 {CURRENCY}\n"


class Ledger(_Journal):
    """The books of ledger 3.3 and later."""

    suffix = "ledger"

    def head(self) -> str:
        return f"commodity {CURRENCY}\n    format 1000.00 {CURRENCY}\n"


DIALECTS: Final[dict[str, type[Dialect]]] = {
    "beancount": Beancount,
    "hledger": Hledger,
    "ledger": Ledger,
}


def write_books(
    log: VerifiedLog, dialect: Dialect, period: Period, folder: Path, progress: Progress
) -> None:
    """Write the book of a period into a folder, as `books` with the dialect's suffix."""
    with open_private(folder / f"books.{dialect.suffix}", new=True) as file:
        book = _Book(dialect, lambda text: file.write(text.encode()))
        book.write(f"; {log.origin}, {log.size} entries, root {log.root}, period {period}\n")
        book.write(dialect.head())
        for kept in log.entries():
            entry = kept.entry
            if period.is_after(entry.at):
                break
            if period.is_before(entry.at):
                book.hold(_net(entry.postings))
            else:
                book.open(period.starts)
                words = entry.kind, f"entry {kept.number}"
                book.enter(date_of(entry.at), words, _net(entry.postings))
            progress(kept.number + 1, log.size)
        book.open(period.starts)
        book.close()


class _Book:
    """A book that is written from its first transaction to its last."""

    def __init__(self, dialect: Dialect, write: Callable[[str], object]) -> None:
        self.write = write
        self._dialect = dialect
        self._balances: dict[str, int] = defaultdict(int)
        self._declared: set[str] = set()
        self._moved: set[str] = set()
        self._is_open = False
        self._date = ""  # of the last transaction

    def hold(self, changes: dict[str, int]) -> None:
        """Take what was moved before the book begins."""
        for account, fen in changes.items():
            self._balances[account] += fen

    def open(self, date: str | None) -> None:
        """Write what accounts hold before the first day, once."""
        if self._is_open:
            return
        self._is_open = True
        held = {account: fen for account, fen in sorted(self._balances.items()) if fen}
        if date is None or not held:
            return
        self._write(_day_before(date), ("opening", "what was held before"), held)
        self.write(self._dialect.check(date, held.items()))

    def enter(self, date: str, words: tuple[str, str], changes: dict[str, int]) -> None:
        """Write a transaction; the balances of an ended month stand before it."""
        if not changes:
            return
        if self._date and date >= first_of_next_month(self._date):
            self._check(first_of_next_month(self._date))
        self._date = date
        self.hold(changes)
        self._moved.update(changes)
        self._write(date, words, changes)

    def close(self) -> None:
        """Write the last balances."""
        if self._date:
            self._check(_day_after(self._date))

    def _write(self, date: str, words: tuple[str, str], changes: dict[str, int]) -> None:
        for account in changes:
            if account not in self._declared:
                self._declared.add(account)
                self.write(self._dialect.declare(account, date))
        self.write(self._dialect.transaction(date, words, changes.items()))

    def _check(self, day_after: str) -> None:
        moved = [(account, self._balances[account]) for account in sorted(self._moved)]
        self.write(self._dialect.check(day_after, moved))
        self._moved.clear()


def _net(postings: Iterable[Posting]) -> dict[str, int]:
    """Return by how much each account changes."""
    net: dict[str, int] = defaultdict(int)
    for source, target, fen in postings:
        net[source] -= fen
        net[target] += fen
    return {account: fen for account, fen in net.items() if fen}


def _amount(fen: int) -> str:
    return f"{format_money(fen)} {CURRENCY}"


def _day_before(date: str) -> str:
    return str(calendar_date.fromisoformat(date) - timedelta(days=1))


def _day_after(date: str) -> str:
    return str(calendar_date.fromisoformat(date) + timedelta(days=1))


def _beancount_name(account: str) -> str:
    """Return an account as Beancount spells one: a root, then parts of letters and digits."""
    parts = [_beancount_part(part) for part in account.split(":")]
    return ":".join([nature_of(account), *parts])


def _beancount_part(part: str) -> str:
    plain = re.sub("[^A-Za-z0-9-]", "-", part)
    return plain[0].upper() + plain[1:] if plain[0].isalnum() else f"X{plain}"
