"""The effect of changed terms on money: an amendment, or other limits of an entitlement.

What was booked is rated anew by the terms of now: device-time, what of it fits, and what is
withheld by day stay as they were decided. Rule R then runs for each coupon whose entitlements
changed. A contract that changes to another enterprise leaves the coupons of the one before.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final, final

from msgspec import UNSET

from meter.rules.contract_terms import ContractTerms, eligible_usage
from meter.rules.effects import (
    Costs,
    Grant,
    apply_grants,
    changed_grants,
    grant_postings,
    posting,
    rule_r,
    worth_of,
)
from meter.rules.entries import Posting
from meter.rules.measure import meter_of
from meter.rules.rating import Entitlement, Terms, entitle, parts_of_cost
from meter.rules.state import Contract, State
from meter.values.problems import Problem
from meter.values.text import folded
from meter.wire.receipt import REASONS

LARGEST: Final = 2**53  # an entry holds integers below it


@final
@dataclass
class TermsEffect:
    """What changed terms change, signed. `after` is the contract with them, and with its usage.

    `left` are the grants of the coupons that the contract leaves, `grants` those of its own.
    """

    contract: Contract
    after: Contract
    costs: Costs
    entitled: list[tuple[int, int]] = field(default_factory=list)
    left: list[Grant] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)

    @property
    def moves(self) -> bool:
        """Whether the contract changes to another enterprise."""
        return self.contract.agreed.enterprise != self.after.agreed.enterprise

    def postings(self) -> list[Posting]:
        """Return the postings: what is owed, then the grants of coupons in order."""
        contract, after = self.contract, self.after
        moved = contract.used // contract.terms.denominator if self.moves else 0
        return [
            *posting(after.debtor, contract.debtor, moved),
            *posting(after.debtor, contract.due, self.costs.all),
            *grant_postings(self.left),
            *grant_postings(self.grants),
        ]

    def fields(self) -> dict[str, Any]:
        """Return the fields of an amendment's entry that follow from the effect."""
        return {
            "cost": self.costs.all,
            "entitled": self.entitled,
            "withheld_cost": self.costs.withheld or UNSET,
            "ineligible": self.costs.ineligible or UNSET,
        }


def terms_effect(state: State, contract: Contract, terms: ContractTerms) -> TermsEffect:
    """Return the effect of new terms. Raises `Problem` `too_large`."""
    after = _rated(state, contract, terms)
    effect = TermsEffect(contract, after, _changed_costs(contract, after))
    effect.entitled = _changed_entitlement(contract, after.entitlement)
    if effect.moves:
        effect.left, effect.grants = list(_left(state, contract)), list(_joined(state, after))
    else:
        entitled = {year: after.share(year).entitled for year, _ in effect.entitled}
        for year, fen in entitled.items():
            effect.grants += changed_grants(state, contract, year, fen)
    _check_size(effect)
    return effect


def apply_terms(state: State, number: int, effect: TermsEffect) -> None:
    """Apply the effect of new terms, by the entry `number`, to the state."""
    contract, after = effect.contract, effect.after
    apply_grants(state, effect.left)
    state.touched.coupons.update(each.contract.coupon_id(each.year) for each in effect.left)
    take_terms(state, contract, after)
    contract.used, contract.ineligible = after.used, after.ineligible
    contract.entitlement = after.entitlement
    for year in contract.shares.keys() | after.shares.keys():
        share = contract.share(year)
        share.withheld, share.entitled = after.share(year).withheld, after.share(year).entitled
    grants = (
        Grant(contract, each.year, each.fen) if each.contract is after else each
        for each in effect.grants
    )
    apply_grants(state, grants)
    state.touched.contracts.add(contract.registered.id)
    after_entry = {year: copy(share) for year, share in contract.shares.items()}
    state.touched.amended[contract.registered.id, number + 1] = after_entry


@final
@dataclass
class LimitsEffect:
    """What other limits of an entitlement change, signed; `entitlement` is that with them."""

    entitlement: Entitlement
    entitled: list[tuple[int, int]]
    grants: list[Grant]


def limits_effect(state: State, contract: Contract, limits: Terms) -> LimitsEffect:
    """Return the effect of other limits; what is eligible stays."""
    entitlement = entitle(eligible_usage(contract.segments), limits)
    effect = LimitsEffect(entitlement, _changed_entitlement(contract, entitlement), [])
    for year, _ in effect.entitled:
        entitled = entitlement.by_year.get(year, 0)
        effect.grants += changed_grants(state, contract, year, entitled)
    return effect


def apply_limits(state: State, contract: Contract, effect: LimitsEffect) -> None:
    """Apply the effect of other limits to the state."""
    for year, fen in effect.entitled:
        contract.share(year).entitled += fen
    contract.entitlement = effect.entitlement
    state.touched.contracts.add(contract.registered.id)
    apply_grants(state, effect.grants)


def take_terms(state: State, contract: Contract, terms: ContractTerms | Contract) -> None:
    """Give a contract its new terms; with another enterprise it is among the contracts of that."""
    programme, before = contract.registered.programme, contract.agreed.enterprise
    del state.contract_nos[_number_of(contract)]
    contract.take(terms)
    state.contract_nos[_number_of(contract)] = contract.registered.id
    if contract.agreed.enterprise != before:
        state.contracts_of(before, programme).remove(contract)
        state.enterprises[before].left.append(contract)
        siblings = state.enterprises[contract.agreed.enterprise].contracts
        held = siblings.setdefault(programme, [])
        held.append(contract)
        held.sort(key=lambda each: each.entry)


def _number_of(contract: Contract) -> tuple[str, str, str]:
    """Return the parties of a contract, and the number that they gave it."""
    agreed = contract.agreed
    return agreed.enterprise, agreed.provider, folded(agreed.contract_no)


def _rated(state: State, contract: Contract, terms: ContractTerms) -> Contract:
    """Return the contract under other terms, with all of its usage rated by them."""
    after = Contract.of(contract.entry, contract.registered, terms)
    for (day, device), (time, fits, withheld) in state.usage_of(contract.registered.id).items():
        worth = worth_of(after, meter_of(state, after, device), [(day, time, fits, withheld)])
        after.used += worth.numerator
        for place, numerator in worth.eligible:
            after.segments[place].eligible += numerator
        for year, numerator in worth.withheld:
            after.share(year).withheld += numerator
        for place, numerator in worth.ineligible:
            after.ineligible[place] += numerator
    after.entitlement = entitle(eligible_usage(after.segments), after.terms)
    for year, fen in after.entitlement.by_year.items():
        after.share(year).entitled = fen
    return after


def _changed_costs(before: Contract, after: Contract) -> Costs:
    was, now = _costs(before), _costs(after)
    changes = [new - old for old, new in zip(was, now, strict=True)]
    reasons = [each for each in zip(REASONS, changes[2:], strict=True) if each[1]]
    return Costs(sum(changes), changes[1], reasons)


def _costs(contract: Contract) -> list[int]:
    """Return the fen of a contract's eligible usage, of what is withheld, and by reason."""
    numerators = [
        sum(segment.eligible for segment in contract.segments),
        sum(share.withheld for share in contract.shares.values()),
        *contract.ineligible,
    ]
    return parts_of_cost(0, numerators, contract.terms.denominator)


def _changed_entitlement(before: Contract, after: Entitlement) -> list[tuple[int, int]]:
    was = {year: share.entitled for year, share in before.shares.items()}
    years = sorted(was.keys() | after.by_year.keys())
    changes = ((year, after.by_year.get(year, 0) - was.get(year, 0)) for year in years)
    return [(year, fen) for year, fen in changes if fen]


def _left(state: State, contract: Contract) -> Iterator[Grant]:
    """Yield the grants by rule R of the coupons that a contract leaves, by year."""
    siblings = state.contracts_of(contract.agreed.enterprise, contract.registered.programme)
    for year, share in sorted(contract.shares.items(), key=lambda held: held[0]):
        shares = [
            (0, share.granted) if each is contract else each.entitled_and_granted(year)
            for each in siblings
        ]
        yield from rule_r(siblings, year, state.coupons.get(contract.coupon_id(year), 0), shares)


def _joined(state: State, after: Contract) -> Iterator[Grant]:
    """Yield the grants by rule R of the coupons of a contract's new enterprise, by year."""
    siblings = state.contracts_of(after.agreed.enterprise, after.registered.programme)
    together = sorted([*siblings, after], key=lambda each: each.entry)
    for year in sorted(after.shares):
        shares = [each.entitled_and_granted(year) for each in together]
        yield from rule_r(together, year, state.coupons.get(after.coupon_id(year), 0), shares)


def _check_size(effect: TermsEffect) -> None:
    """Raise `Problem` `too_large` where a sum could not stand in an entry."""
    if max(_figures(effect)) >= LARGEST:
        detail = "what was metered would cost more than an entry of the ledger can say"
        raise Problem("too_large", detail)


def _figures(effect: TermsEffect) -> Iterable[int]:
    costs = effect.costs
    yield effect.after.used // effect.after.terms.denominator
    yield from map(abs, (costs.all, costs.withheld, *(fen for _, fen in costs.ineligible)))
    yield from (fen for _, _, fen in effect.postings())
