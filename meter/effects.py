"""What one entry does to money: computed first, then applied, never both at once.

A record (sign +1) or its void (sign -1) changes the numerators of its own contract, hence its cost
and entitlement; a coupon's issue or withdrawal changes what is issued. Either way rule R then runs
for every (enterprise, programme, year) whose issued sum or entitlements changed, and may move money
between contracts of the same enterprise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from meter.capacity import Withheld
from meter.entries import Posting
from meter.measure import (
    Measured,
    Work,
    by_year,
    free,
    occupy,
    withheld_by_year,
    work_of,
)
from meter.rating import Entitlement, cost, entitle, regrant
from meter.state import Contract, CouponId, Record, State

Numerators = list[tuple[int, int]]  # by year, signed


@dataclass(frozen=True, slots=True)
class Grant:
    """A change of what a contract was granted in a year, in fen, signed, never zero."""

    contract: Contract
    year: int
    fen: int


@dataclass(frozen=True, slots=True)
class UsageEffect:
    """Changes by a record or its void; `eligible` are signed numerators by year, money signed fen.

    `entitlement` is the own contract's, after the entry.
    """

    contract: Contract
    numerator: int
    eligible: Numerators
    withheld: Numerators
    cost: int
    withheld_cost: int
    entitlement: Entitlement
    entitled: list[tuple[int, int]]
    grants: list[Grant]

    def granted(self) -> list[tuple[int, int]]:
        """Changes of the own contract's grants by year."""
        return [(grant.year, grant.fen) for grant in self.grants if grant.contract is self.contract]

    def postings(self) -> list[Posting]:
        """Cost first, then the grants in order."""
        terms = self.contract.registered
        owed = _posting(f"enterprise:{terms.enterprise}", f"due:{terms.id}", self.cost)
        return [*owed, *grant_postings(self.grants)]


def usage_effect(
    state: State, contract: Contract, numerator: int, eligible: Numerators, withheld: Numerators
) -> UsageEffect:
    """Compute what a record does to its contract and the others under the same coupons.

    `numerator` is all of it, `eligible` the part that counts and `withheld` what did not fit, by
    year; negative where they go away.
    """
    after = {year: share.eligible for year, share in contract.shares.items()}
    for year, change in eligible:
        after[year] = after.get(year, 0) + change
    entitlement = entitle(after, contract.terms) if eligible else contract.entitlement
    entitled = _entitled_changes(contract, entitlement)
    return UsageEffect(
        contract=contract,
        numerator=numerator,
        eligible=eligible,
        withheld=withheld,
        cost=cost(contract.used + numerator) - cost(contract.used),
        withheld_cost=_withheld_cost(contract, withheld),
        entitlement=entitlement,
        entitled=entitled,
        grants=[
            grant
            for year, _ in entitled
            for grant in coupon_grants(state, contract.coupon_id(year), own=(contract, entitlement))
        ],
    )


def accepted_effect(
    state: State, contract: Contract, work: Work, measured: Measured
) -> UsageEffect:
    """Compute what accepting a record does."""
    price = contract.registered.prices[work.device]
    return usage_effect(
        state,
        contract,
        work.device_time * price,
        priced(measured.eligible, price),
        priced(withheld_by_year(measured.withheld), price),
    )


def void_effect(state: State, record: Record) -> UsageEffect:
    """Compute what taking a record back does: its numerators, subtracted."""
    contract = state.contracts[record.usage.contract]
    price = contract.registered.prices[record.usage.device]
    return usage_effect(
        state,
        contract,
        -record.usage.device_time * price,
        priced(record.eligible, -price),
        priced(withheld_by_year(still_withheld(record)), -price),
    )


def release_effect(state: State, record: Record, eligible: list[tuple[int, int]]) -> UsageEffect:
    """Compute what letting a record's withheld part count does; `eligible` of it is eligible."""
    contract = state.contracts[record.usage.contract]
    price = contract.registered.prices[record.usage.device]
    withheld = priced(withheld_by_year(record.withheld), -price)
    return usage_effect(state, contract, 0, priced(eligible, price), withheld)


def still_withheld(record: Record) -> list[Withheld]:
    """Give what of a record is withheld now: nothing, once it is released."""
    return [] if record.released is not None else record.withheld


def priced(device_time: Iterable[tuple[int, int]], price: int) -> Numerators:
    """Turn device-time by year into numerators."""
    return [(year, part * price) for year, part in device_time]


def void_fields(record: Record, effect: UsageEffect) -> dict[str, Any]:
    """Fields of a void's entry that follow from the record and the effect."""
    return {
        "record": record.entry,
        "contract": record.usage.contract,
        "device": record.usage.device,
        "cost": effect.cost,
        "entitled": effect.entitled,
        "withheld": withheld_by_year(still_withheld(record)) or UNSET,
    }


def coupon_grants(
    state: State,
    coupon: CouponId,
    *,
    issued: int | None = None,
    own: tuple[Contract, Entitlement] | None = None,
) -> list[Grant]:
    """Run rule R on one coupon; `issued` or the entitlement of `own` stand for what will be."""
    enterprise, programme, year = coupon
    if issued is None:
        issued = state.coupons.get(coupon, 0)
        if issued == 0:
            return []  # nothing was granted, nothing can be
    contracts = state.contracts_of(enterprise, programme)
    before = [_standing(contract, year, own) for contract in contracts]
    after = regrant(issued, before)
    return [
        Grant(contract, year, new - old)
        for contract, (_, old), new in zip(contracts, before, after, strict=True)
        if new != old
    ]


def grant_postings(grants: Iterable[Grant]) -> list[Posting]:
    """Postings of grants: from the coupon to the contract, or back."""
    postings: list[Posting] = []
    for grant in grants:
        terms = grant.contract.registered
        coupon = f"coupon:{terms.programme}:{grant.year}:{terms.enterprise}"
        postings += _posting(coupon, f"accrued:{terms.id}:{grant.year}", grant.fen)
    return postings


def apply_usage(state: State, effect: UsageEffect) -> None:
    """Put a usage effect into the state."""
    contract = effect.contract
    contract.used += effect.numerator
    for year, change in effect.eligible:
        contract.share(year).eligible += change
    for year, change in effect.withheld:
        contract.share(year).withheld += change
    for year, fen in effect.entitlement.by_year.items():
        contract.share(year).entitled = fen
    contract.entitlement = effect.entitlement
    state.touched.contracts.add(contract.registered.id)
    apply_grants(state, effect.grants)


def accept(state: State, record: Record, effect: UsageEffect) -> None:
    """Put an accepted record into the state."""
    usage = record.usage
    apply_usage(state, effect)
    occupy(state, effect.contract, work_of(usage), record.withheld)
    state.records[usage.provider, usage.id] = record


def take_back(state: State, record: Record, number: int, effect: UsageEffect) -> None:
    """Void a record in the state, by the entry of this number."""
    apply_usage(state, effect)
    free(state, effect.contract, work_of(record.usage), still_withheld(record))
    record.voided = number


def let_count(
    state: State,
    record: Record,
    number: int,
    effect: UsageEffect,
    eligible: list[tuple[int, int]],
) -> None:
    """Release a record in the state, by the entry of this number."""
    work = work_of(record.usage)
    apply_usage(state, effect)
    free(state, effect.contract, work, record.withheld)
    occupy(state, effect.contract, work, [])
    record.eligible = by_year([*record.eligible, *eligible])
    record.released = number


def apply_grants(state: State, grants: Iterable[Grant]) -> None:
    """Put grants into the state."""
    for grant in grants:
        grant.contract.share(grant.year).granted += grant.fen
        state.touched.contracts.add(grant.contract.registered.id)


def _withheld_cost(contract: Contract, changes: Numerators) -> int:
    """Give the change of the contract's withheld cost: one floor per year, as in the balance."""
    held = {year: contract.shares[year].withheld for year, _ in changes if year in contract.shares}
    return sum(
        cost(held.get(year, 0) + change) - cost(held.get(year, 0)) for year, change in changes
    )


def _entitled_changes(contract: Contract, entitlement: Entitlement) -> list[tuple[int, int]]:
    changes = (
        (year, fen - (contract.shares[year].entitled if year in contract.shares else 0))
        for year, fen in sorted(entitlement.by_year.items())
    )
    return [(year, change) for year, change in changes if change]


def _standing(
    contract: Contract, year: int, own: tuple[Contract, Entitlement] | None
) -> tuple[int, int]:
    share = contract.shares.get(year)
    granted = share.granted if share else 0
    if own is not None and contract is own[0]:
        return own[1].by_year.get(year, 0), granted
    return (share.entitled if share else 0), granted


def _posting(debtor: str, creditor: str, fen: int) -> list[Posting]:
    """One posting, turned round where the change is negative; none where there is none."""
    if fen == 0:
        return []
    return [(debtor, creditor, fen)] if fen > 0 else [(creditor, debtor, -fen)]
