"""A coupon's balance at a past size of the ledger, and what has become of records since.

Totals are kept for the end of each group only, so a balance begins with them and applies the few
entries after that. An entry's postings hold its grants and issues, its fields the entitlement and
the withheld time.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, assert_never

from msgspec import UNSET

from meter.rules.contract_terms import step_of
from meter.rules.entries import (
    AwardEntry,
    AwardMade,
    ContractFunded,
    Entry,
    PurchaseAccepted,
    RecordEntry,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.state import CouponId, State
from meter.values.units import day_start, year_of

RecordStatus = Literal["accepted", "withheld", "released", "voided"]
# Of a record that had a status, those that it can have now.
STATUSES_SINCE: Final[dict[RecordStatus, tuple[RecordStatus, ...]]] = {
    "accepted": ("accepted", "voided"),
    "withheld": ("withheld", "released", "voided"),
    "released": ("released", "voided"),
    "voided": ("voided",),
}


@dataclass(slots=True)
class PastShare:
    """One contract's share of the coupon: a numerator, and fen."""

    withheld: int = 0
    entitled: int = 0
    granted: int = 0


@dataclass(slots=True)
class PastBalance:
    """A coupon as it stood; `shares` by contract or award."""

    issued: int = 0
    shares: dict[str, PastShare] = field(default_factory=dict)

    def share(self, contract: str) -> PastShare:
        """Return a contract's share, empty at first."""
        return self.shares.setdefault(contract, PastShare())


def granted_by(entry: Entry, item: str) -> int:
    """Return by how much an entry changes what a contract or award was granted, fen."""
    prefix = f"accrued:{item}:"
    return sum(
        fen * (target.startswith(prefix) - source.startswith(prefix))
        for source, target, fen in entry.postings
    )


def advance(
    balance: PastBalance, state: State, coupon: CouponId, number: int, entry: Entry
) -> None:
    """Apply an entry to a balance; `state` knows the terms of contracts, those of then too.

    What is withheld under a contract after its amendment has a row of its own.
    """
    _move_money(balance, coupon, entry)
    if isinstance(entry, RecordEntry):
        _change_share(balance, state, coupon, number, entry)
    elif isinstance(entry, ContractFunded):
        _change_entitled(balance, state, coupon, number, entry)
    elif isinstance(entry, AwardEntry):
        _change_award(balance, entry)


def _move_money(balance: PastBalance, coupon: CouponId, entry: Entry) -> None:
    enterprise, programme, year = coupon
    account = f"coupon:{programme}:{year}:{enterprise}"
    for source, target, fen in entry.postings:
        if account not in (source, target):
            continue
        other, sign = (target, 1) if source == account else (source, -1)
        if other.startswith("accrued:"):
            balance.share(other.split(":")[1]).granted += sign * fen
        else:
            balance.issued -= sign * fen


def _change_award(balance: PastBalance, entry: AwardEntry) -> None:
    """Entitle an award to what it was granted."""
    name = entry.id if isinstance(entry, AwardMade) else entry.award
    if name in balance.shares:
        balance.shares[name].entitled = balance.shares[name].granted


def _change_share(
    balance: PastBalance,
    state: State,
    coupon: CouponId,
    number: int,
    entry: RecordEntry,
) -> None:
    if not _change_entitled(balance, state, coupon, number, entry):
        return
    match entry:
        case UsageAccepted() | PurchaseAccepted():
            sign = 1
        case RecordVoided() | RecordReleased():
            sign = -1
        case _:
            assert_never(entry)
    if entry.withheld is UNSET:
        return
    steps = state.terms_at(state.contracts[entry.contract], number).steps
    for day, device_time in entry.withheld:
        if year_of(day_start(day)) == coupon[2]:
            price = step_of(steps, day).price_on(str(entry.device), day)
            balance.share(entry.contract).withheld += sign * device_time * price


def _change_entitled(
    balance: PastBalance,
    state: State,
    coupon: CouponId,
    number: int,
    entry: RecordEntry | ContractFunded,
) -> bool:
    """Change what a contract is entitled to; return whether the coupon pays for it."""
    enterprise, programme, year = coupon
    contract = state.contracts[entry.contract]
    ours = contract.enterprise_at(number), contract.registered.programme
    if ours != (enterprise, programme):
        return False
    entitled = dict(entry.entitled).get(year)
    if entitled is not None:
        balance.share(entry.contract).entitled += entitled
    return True
