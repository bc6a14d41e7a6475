"""Amendments of contracts: a supplement that the parties signed, or the correction of a mistake.

A supplement holds from a day on; its amount and its end are those of the whole contract. A
correction replaces what was registered, from the contract's first day on; the class and the policy
are derived again, as if it had been registered so. Usage that is booked is rated anew.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from meter.rules.claim_book import OPEN
from meter.rules.commands import AmendContract, fields_of
from meter.rules.contract_terms import (
    ContractTerms,
    original_terms,
    per_of,
    supplements,
)
from meter.rules.effects import check_same
from meter.rules.entries import ContractAmended, ContractRegistered
from meter.rules.kinds.contracts import (
    check_contracts_of_years,
    check_number,
    check_terms,
    derive_policy_and_class,
)
from meter.rules.kinds.kind import (
    Judged,
    Kind,
    Stamp,
    active_enterprise,
    check_names,
    check_not_in_future,
    contract_subjects,
    is_startup,
    known_contract,
)
from meter.rules.state import Contract, State
from meter.rules.terms_effect import apply_terms, take_terms, terms_effect
from meter.values.problems import Problem
from meter.values.units import format_money

_OF_CORRECTION = ("starts", "use", "related_party", "enterprise", "contract_no")


def _judge(state: State, command: AmendContract, stamp: Stamp) -> Judged:
    contract = known_contract(state, command.contract)
    _check_form(command)
    _check_meter(contract, command)
    entry = _draft(state, contract, command, stamp)
    terms = _terms_after(state, contract, entry)
    check_terms(terms.agreed, [step.prices for step in terms.steps])
    if per_of(terms.agreed) != per_of(contract.agreed):
        detail = f"prices are per {per_of(contract.agreed)}, and stay so"
        raise Problem("malformed", detail, field="prices")
    _check_signing(contract, entry, stamp)
    _check_class(state, contract, entry)
    if _number_of(terms.agreed) != _number_of(contract.agreed):
        check_number(state, terms.agreed)
    check_contracts_of_years(state, terms.agreed, contract)
    if terms.agreed.enterprise != contract.agreed.enterprise:
        active_enterprise(state, terms.agreed.enterprise)
        _check_unclaimed(state, contract)
    effect = terms_effect(state, contract, terms)
    derived = {"policy": entry.policy, "ratio_class": entry.ratio_class}
    return derived | effect.fields(), effect.postings()


def _number_of(terms: ContractRegistered) -> tuple[str, str]:
    return terms.enterprise, terms.contract_no


def _check_form(command: AmendContract) -> None:
    """Raise `Problem` `malformed` for fields that the mode needs, or that it has not."""
    if command.mode == "supplement":
        for name in ("effective", "signed_on"):
            if getattr(command, name) is UNSET:
                raise Problem("malformed", f"a supplement needs {name}", field=name)
        for name in _OF_CORRECTION:
            if getattr(command, name) is not UNSET:
                field = "from" if name == "starts" else name
                raise Problem("malformed", f"only a correction changes {field}", field=field)
        if all(
            each is UNSET
            for each in (command.amount, command.ends, command.prices, command.max_devices)
        ):
            raise Problem("malformed", "it changes nothing")
    elif command.effective is not UNSET:
        detail = "a correction holds from the contract's first day on"
        raise Problem("malformed", detail, field="effective")


def _check_meter(contract: Contract, command: AmendContract) -> None:
    """Raise `Problem` `malformed` for prices or devices of a contract of purchases."""
    if contract.policy.meter == "purchase":
        for name in ("prices", "max_devices"):
            if getattr(command, name) is not UNSET:
                raise Problem("malformed", f"a contract of purchases has no {name}", field=name)


def _draft(
    state: State, contract: Contract, command: AmendContract, stamp: Stamp
) -> ContractAmended:
    """Return the entry but for its effect; a correction derives policy and class again."""
    entry = ContractAmended(
        **fields_of(command),
        policy=contract.agreed.policy,
        ratio_class=contract.agreed.ratio_class,
        cost=0,
        entitled=[],
        at=stamp.at,
        by=stamp.by,
        person="",
        request=stamp.request,
        salt=stamp.salt,
        postings=[],
    )
    if entry.mode == "correction":
        original = original_terms(contract.registered, _with(contract, entry))
        check_terms(original, [original.prices])
        policy, ratio_class = derive_policy_and_class(state, original, stamp, contract.entry)
        entry = replace(entry, policy=policy.version, ratio_class=ratio_class)
    known = [*contract.agreed.prices, *_kinds_of(state, contract)]
    for field in ("prices", "max_devices"):
        names: Any = getattr(entry, field)
        check_names(field, [] if names is UNSET else names, known)
    return entry


def _with(contract: Contract, entry: ContractAmended) -> list[ContractAmended]:
    return [*(each for _, each in contract.amendments), entry]


def _kinds_of(state: State, contract: Contract) -> set[str]:
    return state.providers[contract.registered.provider].device_kinds()


def _terms_after(state: State, contract: Contract, entry: ContractAmended) -> ContractTerms:
    policies = state.policies[contract.registered.programme]
    return contract.terms_with(_with(contract, entry), policies)


def _check_signing(contract: Contract, entry: ContractAmended, stamp: Stamp) -> None:
    """Raise `Problem` `bad_dates` for a supplement whose signing cannot be meant."""
    if entry.mode == "supplement":
        signed_on = str(entry.signed_on)
        check_not_in_future("signed_on", signed_on, stamp)
        if signed_on < contract.agreed.signed_on:
            detail = f"signed before the contract was, on {contract.agreed.signed_on}"
            raise Problem("bad_dates", detail, field="signed_on")


def _check_class(state: State, contract: Contract, entry: ContractAmended) -> None:
    """Raise `Problem` `class_changed` where a firm adds to its contract as a startup no more.

    Each addition is judged once, by what is known of the firm when it is made: a correction that
    derives another class, policy or enterprise makes all of them anew.
    """
    amendments = _with(contract, entry)
    before = original_terms(contract.registered, amendments[:-1])
    after = original_terms(contract.registered, amendments)
    policy = state.policies[after.programme][after.policy]
    if after.ratio_class == policy.derived_class("standard"):
        return
    held = list(_additions(before, amendments[:-1])) if _derived(before) == _derived(after) else []
    enterprise = state.enterprises[after.enterprise].facts
    for name, each in _additions(after, amendments):
        startup = is_startup(policy, enterprise, str(each.signed_on))
        if not startup and (name, each) not in held:
            raise Problem("class_changed", "the firm was a startup no more: register a contract")


def _derived(original: ContractRegistered) -> tuple[str, str, str]:
    return original.enterprise, original.policy, original.ratio_class


def _additions(
    original: ContractRegistered, amendments: list[ContractAmended]
) -> Iterator[tuple[str, ContractAmended]]:
    """Yield the supplements that raise the amount or the end, with the field.

    One that replaces another of the same day adds what is more than that and than the day before.
    """
    for name in ("amount", "ends"):
        held = getattr(original, name)
        for _, of_day in groupby(supplements(amendments), key=lambda each: each.effective):
            before = held
            for each in of_day:
                value = getattr(each, name)
                if value is UNSET:
                    continue
                if value > max(before, held):
                    yield name, each
                held = value


def _check_unclaimed(state: State, contract: Contract) -> None:
    """Raise `Problem` where a contract that has claims would change to another enterprise."""
    name = contract.registered.id
    for item, year in state.claims.by_item:
        if item != name:
            continue
        if any(claim.state in OPEN for claim in state.claims.claims_of((name, year))):
            raise Problem("claim_open", f"a claim for {name} and {year} is open")
        if state.claims.account((name, year)).claimed:
            raise Problem("wrong_state", f"{name} was paid for {year}: its enterprise stays")


def _register(state: State, number: int, entry: ContractAmended) -> None:
    contract = state.contracts[entry.contract]
    terms = _terms_after(state, contract, entry)
    _note(contract, number, entry, terms)
    take_terms(state, contract, terms)


def _apply(state: State, number: int, entry: ContractAmended) -> None:
    contract = state.contracts[entry.contract]
    terms = _terms_after(state, contract, entry)
    effect = terms_effect(state, contract, terms)
    check_same(entry.postings, effect.postings())
    _note(contract, number, entry, terms)
    apply_terms(state, number, effect)


def _note(contract: Contract, number: int, entry: ContractAmended, terms: ContractTerms) -> None:
    contract.amendments.append((number, entry))
    for device in terms.agreed.max_devices.keys() - contract.agreed.max_devices.keys():
        contract.counted_since[device] = number


def _subjects(state: State, entry: ContractAmended) -> Iterable[str]:
    found = contract_subjects(state, entry.contract)
    return found if entry.enterprise is UNSET else {*found, f"enterprise:{entry.enterprise}"}


def _response(_state: State, entry: ContractAmended) -> dict[str, Any]:
    return {
        "policy": entry.policy,
        "class": entry.ratio_class,
        "cost": format_money(entry.cost),
        "entitled": format_money(sum(fen for _, fen in entry.entitled)),
    }


AMENDMENT: Kind[ContractAmended, AmendContract] = Kind(
    entry=ContractAmended,
    command=AmendContract,
    judge=_judge,
    apply=_apply,
    register=_register,
    subjects=_subjects,
    rows="registration",
    response=_response,
    codes=(
        *("unknown_contract", "unknown_enterprise", "bad_dates", "looks_alike", "no_policy"),
        *("contract_known", "succeeded"),
        *("not_applicant", "wrong_meter", "role_conflict", "too_many_contracts", "too_large"),
        *("class_changed", "claim_open", "wrong_state"),
    ),
    moves_money=True,
    changes_terms=True,
)
