"""Contracts and their freezes; registration fixes a contract's class.

Terms that nobody can mean are refused, with the field's name in `field`. Terms that are lawful and
fund nothing are registered, and the response has warnings: `use: …`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET

from meter.rules.commands import FreezeContract, RegisterContract, UnfreezeContract
from meter.rules.contract_terms import terms_of
from meter.rules.entries import (
    ContractFrozen,
    ContractRegistered,
    ContractUnfrozen,
    EnterpriseRegistered,
)
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Holder,
    Judged,
    Kind,
    Stamp,
    active_policy,
    check_applicant,
    check_names,
    check_not_in_future,
    check_period,
    check_spelling,
    contract_subjects,
    item_holder,
    known_contract,
    known_project,
    note_spelling,
    parties_of,
)
from meter.rules.state import Contract, Provider, State
from meter.values.policy import Policy
from meter.values.policy_file import MAX_YEARS
from meter.values.problems import Problem
from meter.values.text import folded
from meter.values.units import add_months, parse_date

# A posting takes about 200 bytes at most, and one void can move money in each contract and year of
# the enterprise. All these postings must fit into an entry of 65,535 bytes.
MAX_CONTRACTS_PER_PROGRAMME: Final = 256 // MAX_YEARS


def _holder(state: State, command: RegisterContract) -> Holder | None:
    return item_holder(state, command.id)


def _judge_contract(state: State, command: RegisterContract, stamp: Stamp) -> Judged:
    check_spelling(state, "item", command.id)
    active_policy(state, command.programme)
    enterprise = state.enterprises.get(command.enterprise)
    if enterprise is None:
        raise Problem("unknown_enterprise", f"no enterprise {command.enterprise}")
    provider = state.providers.get(command.provider)
    if provider is None:
        raise Problem("unknown_provider", f"no provider {command.provider}")
    _check_number(state, command)
    if command.project is not UNSET:
        known_project(state, command.project)
    if command.follows is not UNSET:
        known_contract(state, command.follows)
    contracts = state.contracts_of(command.enterprise, command.programme)
    if len(contracts) >= MAX_CONTRACTS_PER_PROGRAMME:
        raise Problem("too_many_contracts", f"the limit is {MAX_CONTRACTS_PER_PROGRAMME}")
    check_period(command.starts, command.ends)
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    if len({price.per for price in command.prices.values()}) > 1:
        raise Problem("malformed", "prices: all are per hour, per day or per month", field="prices")
    _check_signing(enterprise.registered, command, stamp)
    policy = _policy_of(state, command)
    _check_programme(state, policy, enterprise.registered)
    _check_spelling(provider, command)
    ratio_class = _ratio_class(policy, enterprise.registered, command.signed_on)
    return {"policy": policy.version, "ratio_class": ratio_class}, []


def _check_number(state: State, command: RegisterContract) -> None:
    """Raise `Problem` where the parties have a contract of this number already."""
    parties = command.enterprise, command.provider
    known = state.contract_nos.get((*parties, folded(command.contract_no)))
    if known is None:
        return
    contract = state.contracts[known]
    check_names("contract_no", [command.contract_no], [contract.registered.contract_no])
    detail = f"contract {known} has this number"
    raise Problem("contract_known", detail, entry=contract.entry)


def _check_programme(state: State, policy: Policy, enterprise: EnterpriseRegistered) -> None:
    """Raise `Problem` where no contract of the enterprise can be funded by the programme."""
    if policy.meter != "device-time":
        raise Problem("wrong_meter", f"{policy.programme} funds by {policy.meter}")
    check_applicant(state, policy, enterprise)


def _check_signing(
    enterprise: EnterpriseRegistered, command: RegisterContract, stamp: Stamp
) -> None:
    """Raise `Problem` `bad_dates` where the signing cannot be meant."""
    check_not_in_future("signed_on", command.signed_on, stamp)
    if command.signed_on < enterprise.founded_on:
        detail = f"signed before {enterprise.founded_on}, when the enterprise was founded"
        raise Problem("bad_dates", detail, field="signed_on")


def _policy_of(state: State, command: RegisterContract) -> Policy:
    """Return the policy in force at the signing, else within the term. Raises `Problem`."""
    days = (command.signed_on, command.starts, command.ends)
    policy = state.policy_for(command.programme, *map(parse_date, days))
    if policy is None:
        detail = f"none of {command.programme} is in force at the signing or within the term"
        raise Problem("no_policy", detail)
    # A later policy can reach beyond this one's end, but none before its begin.
    if parse_date(command.ends) <= policy.valid_from:
        raise Problem("bad_dates", f"the term ends before policy {policy.version}", field="until")
    return policy


def _check_spelling(provider: Provider, command: RegisterContract) -> None:
    """Raise `Problem` `looks_alike` for a name that people could take for a known one."""
    known = [*command.prices, *provider.device_kinds()]
    check_names("prices", command.prices, known)
    check_names("max_devices", command.max_devices, [*command.max_devices, *known])


def _ratio_class(policy: Policy, enterprise: EnterpriseRegistered, signed_on: str) -> str:
    """Return the class of a startup if the enterprise was one on the day, else the standard one."""
    startup_until = add_months(enterprise.founded_on, policy.startup_months)
    # Dates of one form compare as text.
    is_startup = enterprise.applicant == "enterprise" and signed_on < startup_until
    ratio_class = policy.derived_class("startup" if is_startup else "standard")
    assert ratio_class is not None, "the classes of what is metered are derived"
    return ratio_class


def _apply_contract(state: State, number: int, entry: ContractRegistered) -> None:
    found = terms_of(entry, [], state.policies[entry.programme], other_funds=0)
    contract = Contract.of(number, entry, found)
    state.contracts[entry.id] = contract
    note_spelling(state, "item", entry.id)
    name = entry.enterprise, entry.provider, folded(entry.contract_no)
    state.contract_nos[name] = entry.id
    if entry.project is not UNSET:
        state.projects[entry.project].contracts.append(contract)
    siblings = state.enterprises[entry.enterprise].contracts
    siblings.setdefault(entry.programme, []).append(contract)


def _response(state: State, entry: ContractRegistered) -> dict[str, Any]:
    warnings = list(_warnings(state, entry))
    told = {"policy": entry.policy, "class": entry.ratio_class}
    return told | {"warnings": warnings} if warnings else told


def _warnings(state: State, entry: ContractRegistered) -> Iterator[str]:
    """Yield the terms that are lawful and fund nothing, each after the name of its field."""
    policy = state.contracts[entry.id].policy
    if parse_date(entry.starts) >= policy.valid_until:
        yield f"from: the term begins after {entry.policy} has ended, so nothing is entitled"
    if entry.use not in policy.eligible_uses:
        yield f"use: {entry.use} is not eligible under {entry.policy}, so nothing is entitled"
    enlisted = state.providers[entry.provider].device_kinds()
    for device in sorted(entry.prices.keys() - enlisted):
        yield f"prices: {entry.provider} has not enlisted {device}, so none of it is eligible"
    for device in sorted(entry.max_devices.keys() - entry.prices.keys()):
        yield f"max_devices: {device} has no price, so no record can use it"


def _contract_parties(_state: State, entry: ContractRegistered) -> Iterable[str]:
    return parties_of(entry)


def _judge_freeze(state: State, command: FreezeContract, _stamp: Stamp) -> Judged:
    if known_contract(state, command.contract).frozen:
        raise Problem("already_frozen", f"contract {command.contract}")
    return NOTHING_MORE


def _judge_unfreeze(state: State, command: UnfreezeContract, _stamp: Stamp) -> Judged:
    if not known_contract(state, command.contract).frozen:
        raise Problem("not_frozen", f"contract {command.contract}")
    return NOTHING_MORE


def _apply_freeze_change(
    state: State, number: int, entry: ContractFrozen | ContractUnfrozen
) -> None:
    state.contracts[entry.contract].freezes.append(number)


def _freeze_subjects(state: State, entry: ContractFrozen | ContractUnfrozen) -> Iterable[str]:
    return contract_subjects(state, entry.contract)


CONTRACT: Kind[ContractRegistered, RegisterContract] = Kind(
    entry=ContractRegistered,
    command=RegisterContract,
    holder=_holder,
    judge=_judge_contract,
    apply=_apply_contract,
    subjects=_contract_parties,
    rows="registration",
    response=_response,
    codes=(
        *("exists_differently", "unknown_programme", "unknown_enterprise", "unknown_provider"),
        *("looks_alike", "contract_known", "unknown_project", "unknown_contract"),
        *("too_many_contracts", "bad_dates", "no_policy"),
        *("not_applicant", "wrong_meter", "role_conflict"),
    ),
    persons=1,
)
FREEZE: Kind[ContractFrozen, FreezeContract] = Kind(
    entry=ContractFrozen,
    command=FreezeContract,
    judge=_judge_freeze,
    apply=_apply_freeze_change,
    subjects=_freeze_subjects,
    rows="registration",
    codes=("unknown_contract", "already_frozen"),
    persons=1,
)
UNFREEZE: Kind[ContractUnfrozen, UnfreezeContract] = Kind(
    entry=ContractUnfrozen,
    command=UnfreezeContract,
    judge=_judge_unfreeze,
    apply=_apply_freeze_change,
    subjects=_freeze_subjects,
    rows="registration",
    codes=("unknown_contract", "not_frozen"),
)
