"""The effect of one entry on money: computed first, applied afterwards.

A record, its void or its release changes the numerators of its own contract, hence its cost and
entitlement. A void subtracts what its record is worth by the terms of then. Other terms of a
contract change its entitlement. An issue or a withdrawal changes the issued sum of a coupon. Rule R
then runs for every coupon (enterprise, programme, year) whose issued sum or entitlements changed,
and may move money between contracts of its enterprise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

from msgspec import UNSET

from ledger.errors import LedgerError
from meter.rules.entries import Posting, ReasonCost, UsageAccepted
from meter.rules.measure import (
    DayUsage,
    Measured,
    added,
    day_terms,
    free,
    meter_of,
    occupy,
    released,
    still_withheld,
    usage_of,
    withheld_by_day,
    work_of,
)
from meter.rules.rating import Entitlement, cost, entitle, parts_of_cost, regrant
from meter.rules.state import (
    AcceptedRecord,
    Contract,
    CouponId,
    Meter,
    State,
)
from meter.wire.receipt import REASONS

Numerators = list[tuple[int, int]]  # by year, or by place; signed
_NOT_ENLISTED: Final = REASONS.index("not_enlisted")


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

    def __init__(self, contract: Contract, year: int, fen: int) -> None:
        self.contract = contract
        self.year = year
        self.fen = fen


@final
@dataclass
class Worth:
    """The signed numerators of usage under its contract.

    `eligible` is by the place of its segment, `withheld` by year, `ineligible` by the place of its
    reason. Together they are the whole.
    """

    numerator: int
    eligible: Numerators
    withheld: Numerators
    ineligible: Numerators

    def __init__(
        self,
        numerator: int,
        eligible: Numerators,
        withheld: Numerators,
        ineligible: Numerators,
    ) -> None:
        self.numerator = numerator
        self.eligible = eligible
        self.withheld = withheld
        self.ineligible = ineligible


@final
@dataclass
class Costs:
    """The signed fen of usage; `withheld` and `ineligible` are parts of all."""

    all: int
    withheld: int
    ineligible: ReasonCost

    def __init__(self, all_: int, withheld: int, ineligible: ReasonCost) -> None:
        self.all = all_
        self.withheld = withheld
        self.ineligible = ineligible


@final
@dataclass
class UsageEffect:
    """What a record, its void or its release changes, signed.

    `entitlement` is that of the record's own contract, after the entry.
    """

    contract: Contract
    device: str
    days: list[DayUsage]
    worth: Worth
    costs: Costs
    entitlement: Entitlement
    entitled: Numerators
    grants: list[Grant]

    def __init__(  # noqa: PLR0913, PLR0917 - one argument for each field
        self,
        contract: Contract,
        device: str,
        days: list[DayUsage],
        worth: Worth,
        costs: Costs,
        entitlement: Entitlement,
        entitled: Numerators,
        grants: list[Grant],
    ) -> None:
        self.contract = contract
        self.device = device
        self.days = days
        self.worth = worth
        self.costs = costs
        self.entitlement = entitlement
        self.entitled = entitled
        self.grants = grants

    def granted(self) -> list[tuple[int, int]]:
        """Return the changes of the own contract's grants by year."""
        if not self.grants:
            return []
        return [(grant.year, grant.fen) for grant in self.grants if grant.contract is self.contract]

    def postings(self) -> list[Posting]:
        """Return the postings: the cost first, then the grants in order."""
        owed = posting(self.contract.debtor, self.contract.due, self.costs.all)
        return owed + grant_postings(self.grants) if self.grants else owed


def accepted_effect(
    state: State, contract: Contract, meter: Meter, measured: Measured
) -> UsageEffect:
    """Return the effect of accepting a record."""
    days, worth = measured.days, worth_of(contract, meter, measured.days)
    return _usage_effect(state, contract, meter.device, days, worth, _costs(contract, 0, worth))


def void_effect(state: State, record: AcceptedRecord) -> UsageEffect:
    """Return the effect of voiding a record."""
    contract, device = state.contracts[record.usage.contract], record.usage.device
    usage = usage_of(record)
    worth = worth_of(contract, meter_of(state, contract, device), usage)
    costs = _costs(contract, worth.numerator, worth)
    days = [(day, -time, -fits, -withheld) for day, time, fits, withheld in usage]
    return _usage_effect(
        state,
        contract,
        device,
        days,
        Worth(
            -worth.numerator,
            _negated(worth.eligible),
            _negated(worth.withheld),
            _negated(worth.ineligible),
        ),
        Costs(-costs.all, -costs.withheld, [(reason, -fen) for reason, fen in costs.ineligible]),
    )


def release_effect(state: State, record: AcceptedRecord) -> UsageEffect:
    """Return the effect of releasing a record: what is withheld of it fits from then on."""
    contract, device = state.contracts[record.usage.contract], record.usage.device
    meter, usage = meter_of(state, contract, device), usage_of(record)
    changes = released(usage)
    worth = worth_of(contract, meter, changes)
    held = worth_of(contract, meter, usage)
    before = _costs(contract, held.numerator, held)
    freed = Worth(
        held.numerator,
        added([*held.eligible, *worth.eligible]),
        [],
        added([*held.ineligible, *worth.ineligible]),
    )
    after, told = _costs(contract, held.numerator, freed), dict(before.ineligible)
    more = [(reason, fen - told.get(reason, 0)) for reason, fen in after.ineligible]
    changed = {REASONS[place] for place, _ in worth.ineligible}
    costs = Costs(0, -before.withheld, [each for each in more if each[0] in changed])
    return _usage_effect(state, contract, device, changes, worth, costs)


def worth_of(contract: Contract, meter: Meter, usage: list[DayUsage]) -> Worth:
    """Return what usage is worth by the terms of now."""
    if len(usage) == 1:  # most records are within a day, fit, and are eligible
        day, time, fits, _ = usage[0]
        terms = day_terms(contract, meter, day)
        if fits == time and terms.segment >= 0:
            numerator = time * terms.price
            return Worth(numerator, [(terms.segment, numerator)], [], [])
    eligible: Numerators = []
    withheld: Numerators = []
    ineligible: Numerators = []
    for day, time, fits, held in usage:
        terms = day_terms(contract, meter, day)
        rest = time - held
        if terms.segment >= 0:
            eligible.append((terms.segment, fits * terms.price))
            ineligible.append((_NOT_ENLISTED, (rest - fits) * terms.price))
        else:
            ineligible.append((terms.reason, rest * terms.price))
        withheld.append((terms.year, held * terms.price))
    parts = [[part for part in added(each) if part[1]] for each in (eligible, withheld, ineligible)]
    whole = sum(numerator for each in parts for _, numerator in each)
    return Worth(whole, parts[0], parts[1], parts[2])


def _costs(contract: Contract, counted: int, worth: Worth) -> Costs:
    """Return the fen of usage on top of the contract's other usage.

    `counted` is its numerator where it is among the contract's already, else 0.
    """
    base, denominator = contract.used - counted, contract.terms.denominator
    if not worth.withheld and not worth.ineligible:
        all_ = cost(base + worth.numerator, denominator) - cost(base, denominator)
        return Costs(all_, 0, [])
    numerators = [
        sum(numerator for _, numerator in worth.eligible),
        sum(numerator for _, numerator in worth.withheld),
        *(numerator for _, numerator in worth.ineligible),
    ]
    parts = parts_of_cost(base, numerators, denominator)
    reasons = [REASONS[place] for place, _ in worth.ineligible]
    return Costs(sum(parts), parts[1], list(zip(reasons, parts[2:], strict=True)))


def _negated(numerators: Numerators) -> Numerators:
    return [(key, -numerator) for key, numerator in numerators]


def _usage_effect(  # noqa: PLR0913, PLR0917 - one argument for each part
    state: State,
    contract: Contract,
    device: str,
    days: list[DayUsage],
    worth: Worth,
    costs: Costs,
) -> UsageEffect:
    """Return what usage does to its contract and to the others under the same coupons."""
    entitlement, entitled = contract.entitlement, []
    grants: list[Grant] = []
    if worth.eligible:
        entitlement = entitle(eligible_after(contract, worth.eligible), contract.terms)
        entitled = _entitled_changes(contract, entitlement)
        for year, _ in entitled:
            grants += changed_grants(state, contract, year, entitlement.by_year[year])
    return UsageEffect(contract, device, days, worth, costs, entitlement, entitled, grants)


def void_fields(record: AcceptedRecord, effect: UsageEffect) -> dict[str, Any]:
    """Return the fields of a void's entry that follow from the record and the effect."""
    withheld = withheld_by_day(still_withheld(record))
    return {
        "record": record.entry,
        "contract": record.usage.contract,
        "device": record.usage.device or UNSET,
        "cost": effect.costs.all,
        "entitled": effect.entitled,
        "withheld": withheld or UNSET,
        "withheld_cost": effect.costs.withheld if withheld else UNSET,
        "ineligible": effect.costs.ineligible or UNSET,
    }


def release_fields(record: AcceptedRecord, effect: UsageEffect) -> dict[str, Any]:
    """Return the fields of a release's entry that follow from the record and the effect."""
    return {
        "record": record.entry,
        "contract": record.usage.contract,
        "device": record.usage.device,
        "withheld": withheld_by_day(record.withheld),
        "withheld_cost": effect.costs.withheld,
        "entitled": effect.entitled,
        "ineligible": effect.costs.ineligible or UNSET,
    }


def coupon_grants(state: State, coupon: CouponId, issued: int) -> list[Grant]:
    """Return the grants that rule R changes once the issued sum of a coupon is `issued` fen."""
    enterprise, programme, year = coupon
    contracts = state.contracts_of(enterprise, programme)
    return rule_r(
        contracts, year, issued, [contract.entitled_and_granted(year) for contract in contracts]
    )


def grant_postings(grants: Iterable[Grant]) -> list[Posting]:
    """Return the postings of grants: from the coupon to the contract, or back."""
    postings: list[Posting] = []
    for grant in grants:
        accounts = grant.contract.accounts_of(grant.year)
        postings += posting(accounts.coupon, accounts.accrued, grant.fen)
    return postings


def apply_usage_effect(state: State, effect: UsageEffect, stream: str) -> None:
    """Apply the effect of a record, its void or its release; `stream` is the record's."""
    contract, worth = effect.contract, effect.worth
    name = contract.registered.id
    contract.used += worth.numerator
    for place, change in worth.eligible:
        contract.segments[place].eligible += change
    for year, change in worth.withheld:
        contract.share(year).withheld += change
    for place, change in worth.ineligible:
        contract.ineligible[place] += change
    for year, fen in effect.entitled:
        contract.share(year).entitled += fen
    contract.entitlement = effect.entitlement
    state.touched.contracts.add(name)
    for day, time, fits, withheld in effect.days:
        state.touched.add_usage(name, (day, effect.device, stream), time, fits, withheld)
    apply_grants(state, effect.grants)


def accept(state: State, record: AcceptedRecord, effect: UsageEffect) -> None:
    """Apply an accepted record to the state; `admit` has counted its device-time already."""
    apply_usage_effect(state, effect, record.stream)
    state.records[record.usage.provider, record.usage.id] = record


def apply_void(state: State, record: AcceptedRecord, number: int, effect: UsageEffect) -> None:
    """Apply a void, the entry `number`, to the state."""
    apply_usage_effect(state, effect, record.stream)
    usage = record.usage
    if isinstance(usage, UsageAccepted):  # a purchase takes no device
        meter = meter_of(state, effect.contract, usage.device)
        free(meter, work_of(usage), still_withheld(record), record.entry)
    note_void(state, record, number)


def note_void(state: State, record: AcceptedRecord, number: int) -> None:
    """Note in a record that the entry `number` took it back, which ends a dispute of it."""
    record.voided = number
    dispute = state.disputes.get((record.usage.provider, record.usage.id))
    if dispute is not None and dispute.ended is None:
        dispute.ended = number


def apply_release(state: State, record: AcceptedRecord, number: int, effect: UsageEffect) -> None:
    """Apply a release, the entry `number`, to the state."""
    apply_usage_effect(state, effect, record.stream)
    usage = record.usage
    assert isinstance(usage, UsageAccepted), "nothing of a purchase is withheld"
    work, meter = work_of(usage), meter_of(state, effect.contract, usage.device)
    free(meter, work, record.withheld, record.entry)
    occupy(meter, work, [], record.entry)
    note_release(record, number, effect)


def note_release(record: AcceptedRecord, number: int, effect: UsageEffect) -> None:
    """Note in a record that its withheld part fits since the entry `number`."""
    record.fits = added([*record.fits, *((day, fits) for day, _, fits, _ in effect.days)])
    record.released = number


def apply_grants(state: State, grants: Iterable[Grant]) -> None:
    """Apply grants to the state."""
    for grant in grants:
        contract, coupon = grant.contract, grant.contract.coupon_id(grant.year)
        contract.share(grant.year).granted += grant.fen
        state.granted[coupon] = state.granted.get(coupon, 0) + grant.fen
        state.touched.contracts.add(contract.registered.id)


def _entitled_changes(contract: Contract, entitlement: Entitlement) -> list[tuple[int, int]]:
    changes = []
    for year, fen in entitlement.by_year.items():
        change = fen - contract.entitled_and_granted(year)[0]
        if change:
            changes.append((year, change))
    return changes


def eligible_after(contract: Contract, changes: Numerators) -> list[tuple[int, int, int]]:
    """Return year, ratio and numerator of the segments that have usage, or had it until now."""
    after = []
    for place, segment in enumerate(contract.segments):
        numerator = segment.eligible
        for changed, change in changes:
            if changed == place:
                numerator += change
        if numerator or segment.eligible:
            after.append((segment.year, segment.ratio_bp, numerator))
    return after


def changed_grants(state: State, own: Contract, year: int, entitled: int) -> list[Grant]:
    """Return the grants that rule R changes once a contract is entitled to `entitled` fen."""
    coupon = own.coupon_id(year)
    issued = state.coupons.get(coupon, 0)
    if issued == 0:
        return []  # nothing was granted, and nothing can be
    before, granted = own.entitled_and_granted(year)
    if entitled > before:
        # While a coupon has money left, no contract is short: only this one can take more.
        more = min(entitled - granted, issued - state.granted.get(coupon, 0))
        return [Grant(own, year, more)] if more else []
    contracts = state.contracts_of(own.agreed.enterprise, own.registered.programme)
    shares = [
        (entitled, granted) if contract is own else contract.entitled_and_granted(year)
        for contract in contracts
    ]
    return rule_r(contracts, year, issued, shares)


def rule_r(
    contracts: list[Contract], year: int, issued: int, shares: list[tuple[int, int]]
) -> list[Grant]:
    """Return the grants that rule R changes, from what contracts are entitled to and granted."""
    return [
        Grant(contract, year, new - old)
        for contract, (_, old), new in zip(contracts, shares, regrant(issued, shares), strict=True)
        if new != old
    ]


def posting(debtor: str, creditor: str, fen: int) -> list[Posting]:
    """Return one posting, turned round for a negative change, or none for zero."""
    if fen == 0:
        return []
    return [(debtor, creditor, fen)] if fen > 0 else [(creditor, debtor, -fen)]
