"""The balances of a double-entry book, and the floors that some of them have.

A posting `(from, to, fen)` takes fen from one account and gives them to another, so the sum over
all accounts is always zero. An account is named by parts joined with ":", of which the first is its
class: `coupon:training-coupon:2025:91440300708461136T` is of class `coupon`. Accounts of a floored
class may not go below zero, all others may. For example, with `coupon` floored:

    ("pool", "coupon:a", 500), ("coupon:a", "due:b", 300)    leaves coupon:a with 200
    ("coupon:a", "due:b", 201)                               is refused, and changes nothing

A floor looks at the net of an entry, never at the order of its postings. Amounts are whole fen
without a limit.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ledger.errors import BadPosting, FloorBroken

Posting = tuple[str, str, int]

_PART: Final = r"[A-Za-z0-9._-]+"
_CLASS: Final = re.compile(_PART)
_ACCOUNT: Final = re.compile(rf"{_PART}(?::{_PART})*")


class Book:
    """Balances in fen by account; what is not there is zero."""

    __slots__ = ("_balances", "_floors", "_touched")

    def __init__(
        self, floors: Iterable[str] = (), balances: Mapping[str, int] | None = None
    ) -> None:
        self._floors = frozenset(map(_checked_class, floors))
        self._balances = dict(balances or {})
        self._touched: set[str] = set()

    @property
    def balances(self) -> dict[str, int]:
        return dict(self._balances)

    def balance(self, account: str) -> int:
        return self._balances.get(account, 0)

    def post(self, postings: Iterable[object]) -> None:
        """Apply the postings of one entry, all or none.

        Raises `BadPosting` for one that is malformed, and `FloorBroken`.
        """
        changed = self._changed(postings)
        for account, balance in changed.items():
            if balance < 0 and account.partition(":")[0] in self._floors:
                raise FloorBroken(account, balance)
        self._balances.update(changed)
        self._touched.update(changed)

    def take_touched(self) -> dict[str, int]:
        """The balances of the accounts that an entry changed since this was last asked."""
        touched = {account: self.balance(account) for account in self._touched}
        self._touched.clear()
        return touched

    def _changed(self, postings: Iterable[object]) -> dict[str, int]:
        """The new balances of the accounts that do not end up where they were."""
        held, after = self._balances, dict[str, int]()
        for posting in postings:
            source, target, fen = self._checked(posting)
            after[source] = (after[source] if source in after else held.get(source, 0)) - fen
            after[target] = (after[target] if target in after else held.get(target, 0)) + fen
        return {name: fen for name, fen in after.items() if fen != held.get(name, 0)}

    def _checked(self, posting: Any) -> Posting:
        if not isinstance(posting, (list, tuple)) or len(posting) != 3:
            raise BadPosting(f"{posting!r:.200} is not [from, to, fen]")
        source, target, fen = posting
        if type(source) is not str or type(target) is not str or type(fen) is not int:
            raise BadPosting(f"{posting!r:.200} is not [from, to, fen]")
        if fen <= 0:
            raise BadPosting(f"{fen} fen is not a positive amount")
        if source == target:
            raise BadPosting(f"{source!r:.200} posts to itself")
        if source not in self._balances or target not in self._balances:
            _check_name(source)
            _check_name(target)
        return source, target, fen


def _check_name(account: str) -> None:
    if not _ACCOUNT.fullmatch(account):
        raise BadPosting(f"{account!r:.200} does not name an account")


def _checked_class(name: str) -> str:
    if not _CLASS.fullmatch(name):
        raise BadPosting(f"{name!r:.200} does not name a class of accounts")
    return name
