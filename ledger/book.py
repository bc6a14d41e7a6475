"""The balances of a double-entry book, and the floors under some of them.

A posting `(from, to, fen)` moves fen from one account to another, so the sum over all accounts is
always zero. The name of an account is parts joined with ":", and the first part is its class:
`coupon:training-coupon:2025:91440300708461136T` is of class `coupon`. Accounts of a floored class
may not go below zero, all others may. For example, with `coupon` floored:

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
    """Balances in fen by account; an account that is not there has zero."""

    __slots__ = ("_balances", "_floors", "_touched")

    def __init__(
        self, floors: Iterable[str] = (), balances: Mapping[str, int] | None = None
    ) -> None:
        self._floors = frozenset(map(_check_class, floors))
        self._balances = dict(balances or {})
        self._touched: set[str] = set()

    @property
    def balances(self) -> dict[str, int]:
        return dict(self._balances)

    def balance(self, account: str) -> int:
        return self._balances.get(account, 0)

    def post(self, postings: Iterable[object]) -> None:
        """Apply the postings of one entry, all or none.

        Raises `BadPosting` for a malformed posting, and `FloorBroken`.
        """
        changed = self._new_balances(postings)
        for account, balance in changed.items():
            if balance < 0 and account.partition(":")[0] in self._floors:
                raise FloorBroken(account, balance)
        self._balances.update(changed)
        self._touched.update(changed)

    def post_sums(self, postings: Iterable[Any]) -> None:
        """Apply the summed postings of several entries, all or none.

        Raises what `post` raises, and `BadPosting` where an account both gives and takes: between
        the entries it may have been lower than after them.
        """
        postings = list(postings)
        self._check_one_way(postings)
        self.post(postings)

    def take_touched(self) -> dict[str, int]:
        """Return the balances of the accounts that entries changed since the last call."""
        touched = {account: self.balance(account) for account in self._touched}
        self._touched.clear()
        return touched

    @staticmethod
    def _check_one_way(postings: list[Any]) -> None:
        both = {each[0] for each in postings} & {each[1] for each in postings}
        if both:
            raise BadPosting(f"{min(both)!r:.200} both gives and takes in a sum")

    def _new_balances(self, postings: Iterable[object]) -> dict[str, int]:
        """Return the new balance of each account whose balance changes."""
        held, net = self._balances, _net(postings)
        if not net.keys() <= held.keys():
            for account in net.keys() - held.keys():
                _check_name(account)
        return {account: held.get(account, 0) + fen for account, fen in net.items() if fen}


def _net(postings: Iterable[Any]) -> dict[Any, int]:
    """Return the change of each account; postings are checked here, names of accounts are not."""
    net: dict[Any, int] = {}
    for posting in postings:
        try:
            source, target, fen = posting
            if type(fen) is not int or fen <= 0 or source == target:
                raise BadPosting(_fault_of(posting))
            net[source] = net.get(source, 0) - fen
            net[target] = net.get(target, 0) + fen
        except (TypeError, ValueError):
            raise BadPosting(_fault_of(posting)) from None
    return net


def _fault_of(posting: Any) -> str:
    match posting:
        # A bool is an int to a pattern, and to compiled code behind one.
        case [str(), str(), fen] if type(fen) is int and fen <= 0:
            return f"{fen} fen is not a positive amount"
        case [str(source), str(target), fen] if type(fen) is int and source == target:
            return f"{source!r:.200} posts to itself"
        case _:
            return f"{posting!r:.200} is not [from, to, fen]"


def _check_name(account: object) -> None:
    if type(account) is not str or not _ACCOUNT.fullmatch(account):
        raise BadPosting(f"{account!r:.200} does not name an account")


def _check_class(name: str) -> str:
    if not _CLASS.fullmatch(name):
        raise BadPosting(f"{name!r:.200} does not name a class of accounts")
    return name
