"""The effect of one entry on money: computed first, applied afterwards.

A record (sign +1) or its void (sign -1) changes the numerators of its own contract, hence its cost
and entitlement. An issue or a withdrawal changes the issued sum of a coupon. Rule R then runs for
every coupon (enterprise, programme, year) whose issued sum or entitlements changed, and may move
money between contracts of its enterprise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

from msgspec import UNSET

from ledger.errors import LedgerError
from meter.rules.capacity import Withheld
from meter.rules.entries import Posting
from meter.rules.measure import (
    Measured,
    Work,
    by_year,
    free,
    meter_of,
    occupy,
    withheld_by_year,
    work_of,
)
from meter.rules.rating import Entitlement, cost, entitle, regrant
from meter.rules.state import (
    AcceptedRecord,
    Contract,
    CouponId,
    State,
)

Numerators = list[tuple[int, int]]  # by year, signed


class Diverged(LedgerError):  # noqa: N818 - it is a finding about a ledger
    """An entry that differs from what the rules give."""

    code = "diverged"


def check_same(written: object, ruled: object) -> None:
    """Raise `Diverged` where an entry differs from what the rules give."""
    if written != ruled:
        raise Diverged(f"the entry says {written}, the rules give {ruled}")


@final
@dataclass
class Grant:
    """A change of a contract's grant of one year: signed fen, never zero."""

    contract: Contract
    year: int
    fen: int


@final
@dataclass
class UsageEffect:
    """What a record, its void or its release changes, in signed numerators and signed fen.

    `entitlement` is that of the record's own contract, after the entry.
    """

    contract: Contract
    numerator: int
    eligible: Numerators
    withheld: Numerators
    cost: int
    withheld_cost: int
    entitlement: Entitlement
    entitled: Numerators
    grants: list[Grant]

    def granted(self) -> list[tuple[int, int]]:
        """Return the changes of the own contract's grants by year."""
        if not self.grants:
            return []
        return [(grant.year, grant.fen) for grant in self.grants if grant.contract is self.contract]

    def postings(self) -> list[Posting]:
        """Return the postings: the cost first, then the grants in order."""
        owed = _posting(self.contract.debtor, self.contract.due, self.cost)
        return owed + grant_postings(self.grants) if self.grants else owed


def usage_effect(
    state: State, contract: Contract, numerator: int, eligible: Numerators, withheld: Numerators
) -> UsageEffect:
    """Return what a record does to its contract and to the others under the same coupons.

    `numerator` is the whole usage; `eligible` and `withheld` are parts of it, by year. They are
    negative where usage is taken away.
    """
    entitlement, entitled = contract.entitlement, []
    grants: list[Grant] = []
    if eligible:
        entitlement = entitle(_eligible_after(contract, eligible), contract.terms)
        entitled = _entitled_changes(contract, entitlement)
        for year, _ in entitled:
            grants += _changed_grants(state, contract, year, entitlement.by_year[year])
    return UsageEffect(
        contract,
        numerator,
        eligible,
        withheld,
        cost(contract.used + numerator) - cost(contract.used),
        _withheld_cost(contract, withheld) if withheld else 0,
        entitlement,
        entitled,
        grants,
    )


def accepted_effect(
    state: State, contract: Contract, work: Work, measured: Measured
) -> UsageEffect:
    """Return the effect of accepting a record."""
    price = contract.registered.prices[work.device]
    withheld = measured.withheld
    return usage_effect(
        state,
        contract,
        work.device_time * price,
        priced(measured.eligible, price),
        priced(withheld_by_year(withheld), price) if withheld else [],
    )


def void_effect(state: State, record: AcceptedRecord) -> UsageEffect:
    """Return the effect of voiding a record: its numerators are subtracted."""
    contract = state.contracts[record.usage.contract]
    price = contract.registered.prices[record.usage.device]
    return usage_effect(
        state,
        contract,
        -record.usage.device_time * price,
        priced(record.eligible, -price),
        priced(withheld_by_year(still_withheld(record)), -price),
    )


def release_effect(
    state: State, record: AcceptedRecord, eligible: list[tuple[int, int]]
) -> UsageEffect:
    """Return the effect of releasing a record; `eligible` is the part that will count."""
    contract = state.contracts[record.usage.contract]
    price = contract.registered.prices[record.usage.device]
    withheld = priced(withheld_by_year(record.withheld), -price)
    return usage_effect(state, contract, 0, priced(eligible, price), withheld)


def still_withheld(record: AcceptedRecord) -> list[Withheld]:
    """Return the part of a record that is withheld now: nothing after its release."""
    return [] if record.released is not None else record.withheld


def priced(device_time: Iterable[tuple[int, int]], price: int) -> Numerators:
    """Return the numerators of device-time by year."""
    return [(year, part * price) for year, part in device_time]


def void_fields(record: AcceptedRecord, effect: UsageEffect) -> dict[str, Any]:
    """Return the fields of a void's entry that follow from the record and the effect."""
    return {
        "record": record.entry,
        "contract": record.usage.contract,
        "device": record.usage.device,
        "cost": effect.cost,
        "entitled": effect.entitled,
        "withheld": withheld_by_year(still_withheld(record)) or UNSET,
    }


def coupon_grants(state: State, coupon: CouponId, issued: int) -> list[Grant]:
    """Return the grants that rule R changes once the issued sum of a coupon is `issued` fen."""
    enterprise, programme, year = coupon
    contracts = state.contracts_of(enterprise, programme)
    return _rule_r(
        contracts, year, issued, [_entitled_and_granted(contract, year) for contract in contracts]
    )


def grant_postings(grants: Iterable[Grant]) -> list[Posting]:
    """Return the postings of grants: from the coupon to the contract, or back."""
    postings: list[Posting] = []
    for grant in grants:
        accounts = grant.contract.accounts_of(grant.year)
        postings += _posting(accounts.coupon, accounts.accrued, grant.fen)
    return postings


def _apply_effect(state: State, effect: UsageEffect) -> None:
    """Apply the effect of a record, its void or its release to the state."""
    contract = effect.contract
    contract.used += effect.numerator
    for year, change in effect.eligible:
        contract.share(year).eligible += change
    for year, change in effect.withheld:
        contract.share(year).withheld += change
    for year, fen in effect.entitled:
        contract.share(year).entitled += fen
    contract.entitlement = effect.entitlement
    state.touched.contracts.add(contract.registered.id)
    apply_grants(state, effect.grants)


def accept(state: State, record: AcceptedRecord, effect: UsageEffect) -> None:
    """Apply an accepted record to the state; `admit` has counted its device-time already."""
    _apply_effect(state, effect)
    state.records[record.usage.provider, record.usage.id] = record


def apply_void(state: State, record: AcceptedRecord, number: int, effect: UsageEffect) -> None:
    """Apply a void, the entry `number`, to the state."""
    _apply_effect(state, effect)
    meter = meter_of(state, effect.contract, record.usage.device)
    free(meter, work_of(record.usage), still_withheld(record))
    record.voided = number


def apply_release(
    state: State,
    record: AcceptedRecord,
    number: int,
    effect: UsageEffect,
    eligible: list[tuple[int, int]],
) -> None:
    """Apply a release, the entry `number`, to the state."""
    _apply_effect(state, effect)
    work, meter = work_of(record.usage), meter_of(state, effect.contract, record.usage.device)
    free(meter, work, record.withheld)
    occupy(meter, work, [])
    record.eligible = by_year([*record.eligible, *eligible])
    record.released = number


def apply_grants(state: State, grants: Iterable[Grant]) -> None:
    """Apply grants to the state."""
    for grant in grants:
        contract, coupon = grant.contract, grant.contract.coupon_id(grant.year)
        contract.share(grant.year).granted += grant.fen
        state.granted[coupon] = state.granted.get(coupon, 0) + grant.fen
        state.touched.contracts.add(contract.registered.id)


def _withheld_cost(contract: Contract, changes: Numerators) -> int:
    """Return the change of the contract's withheld cost, rounded down by year as in the balance."""
    held = {year: contract.shares[year].withheld for year, _ in changes if year in contract.shares}
    return sum(
        cost(held.get(year, 0) + change) - cost(held.get(year, 0)) for year, change in changes
    )


def _entitled_changes(contract: Contract, entitlement: Entitlement) -> list[tuple[int, int]]:
    changes = []
    for year, fen in entitlement.by_year.items():
        change = fen - _entitled_and_granted(contract, year)[0]
        if change:
            changes.append((year, change))
    return changes


def _eligible_after(contract: Contract, changes: Numerators) -> dict[int, int]:
    after = {year: share.eligible for year, share in contract.shares.items()}
    for year, change in changes:
        after[year] = after.get(year, 0) + change
    return after


def _changed_grants(state: State, own: Contract, year: int, entitled: int) -> list[Grant]:
    """Return the grants that rule R changes once a contract is entitled to `entitled` fen."""
    coupon = own.coupon_id(year)
    issued = state.coupons.get(coupon, 0)
    if issued == 0:
        return []  # nothing was granted, and nothing can be
    before, granted = _entitled_and_granted(own, year)
    if entitled > before:
        # While a coupon has money left, no contract is short: only this one can take more.
        more = min(entitled - granted, issued - state.granted.get(coupon, 0))
        return [Grant(own, year, more)] if more else []
    contracts = state.contracts_of(own.registered.enterprise, own.registered.programme)
    shares = [
        (entitled, granted) if contract is own else _entitled_and_granted(contract, year)
        for contract in contracts
    ]
    return _rule_r(contracts, year, issued, shares)


def _rule_r(
    contracts: list[Contract], year: int, issued: int, shares: list[tuple[int, int]]
) -> list[Grant]:
    return [
        Grant(contract, year, new - old)
        for contract, (_, old), new in zip(contracts, shares, regrant(issued, shares), strict=True)
        if new != old
    ]


def _entitled_and_granted(contract: Contract, year: int) -> tuple[int, int]:
    share = contract.shares.get(year)
    return (share.entitled, share.granted) if share else (0, 0)


def _posting(debtor: str, creditor: str, fen: int) -> list[Posting]:
    """Return one posting, turned round for a negative change, or none for zero."""
    if fen == 0:
        return []
    return [(debtor, creditor, fen)] if fen > 0 else [(creditor, debtor, -fen)]
