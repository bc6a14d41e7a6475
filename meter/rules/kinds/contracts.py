"""Contracts and their freezes; registration fixes a contract's class.

Terms that nobody can mean are refused, with the field's name in `field`. Terms that are lawful and
fund nothing are registered, and the response has warnings: `use: …`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET

from meter.rules.commands import FreezeContract, RegisterContract, UnfreezeContract
from meter.rules.contract_terms import terms_of
from meter.rules.entries import (
    ContractFrozen,
    ContractRegistered,
    ContractUnfrozen,
    EnterpriseRegistered,
    PriceFor,
)
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Holder,
    Judged,
    Kind,
    Stamp,
    active_enterprise,
    active_policy,
    check_applicant,
    check_names,
    check_not_in_future,
    check_period,
    check_spelling,
    class_on,
    contract_subjects,
    is_served,
    item_holder,
    known_contract,
    known_enterprise,
    known_project,
    note_spelling,
    parties_of,
)
from meter.rules.state import Contract, Provider, State
from meter.values.policy import Policy
from meter.values.policy_file import MAX_YEARS
from meter.values.problems import Problem
from meter.values.text import folded
from meter.values.units import parse_date, year_of

# A posting takes about 200 bytes at most, and one entry can move money in each contract of a year,
# in as many years as a term touches. All these postings must fit into an entry of 65,535 bytes.
MAX_CONTRACTS_OF_YEAR: Final = 256 // MAX_YEARS

# Terms of a contract, in a command or as they are agreed.
SomeTerms = RegisterContract | ContractRegistered
SomePrices = Mapping[str, int | PriceFor]


def _holder(state: State, command: RegisterContract) -> Holder | None:
    return item_holder(state, command.id)


def _judge_contract(state: State, command: RegisterContract, stamp: Stamp) -> Judged:
    check_spelling(state, "item", command.id)
    active_policy(state, command.programme)
    active_enterprise(state, command.enterprise)
    if command.provider not in state.providers:
        raise Problem("unknown_provider", f"no provider {command.provider}")
    check_number(state, command)
    if command.project is not UNSET:
        known_project(state, command.project)
    if command.follows is not UNSET:
        known_contract(state, command.follows)
    check_terms(command, [command.prices])
    policy, ratio_class = derive_policy_and_class(state, command, stamp, state.size)
    _check_meter(state, command, policy)
    _check_spelling(state.providers[command.provider], command)
    check_contracts_of_years(state, command)
    return {"policy": policy.version, "ratio_class": ratio_class}, []


def _check_meter(state: State, command: RegisterContract, policy: Policy) -> None:
    """Raise `Problem` where provider or terms do not fit what the programme funds."""
    if not is_served(state.providers[command.provider].registered, policy):
        detail = f"{command.provider} does not serve {policy.programme}"
        raise Problem("not_served", detail, field="provider")
    if policy.meter == "device-time" and not command.prices:
        raise Problem("malformed", "device-time needs prices", field="prices")
    if policy.meter == "purchase":
        for name in ("prices", "max_devices"):
            if getattr(command, name):
                raise Problem("malformed", f"a contract of purchases has no {name}", field=name)


def check_terms(terms: SomeTerms, prices: Iterable[SomePrices]) -> None:
    """Raise `Problem` for terms that nobody can mean; `prices` are those of each time."""
    check_period(terms.starts, terms.ends)
    if terms.amount == 0:
        raise Problem("malformed", "the amount is zero")
    # A number is a price for an hour, in an entry.
    if len({getattr(price, "per", "hour") for each in prices for price in each.values()}) > 1:
        raise Problem("malformed", "prices: all are per hour, per day or per month", field="prices")


def derive_policy_and_class(
    state: State, terms: SomeTerms, stamp: Stamp, size: int
) -> tuple[Policy, str]:
    """Return policy and class of a contract by its signing. Raises `Problem`.

    The policy is one of those in the first `size` entries.
    """
    enterprise = known_enterprise(state, terms.enterprise).facts
    _check_signing(enterprise, terms, stamp)
    policy = _policy_of(state, terms, size)
    _check_programme(state, policy, enterprise)
    ratio_class = class_on(policy, enterprise, terms.signed_on)
    assert ratio_class is not None, "the classes of what is metered are derived"
    return policy, ratio_class


def check_contracts_of_years(state: State, terms: SomeTerms, own: Contract | None = None) -> None:
    """Raise `Problem` for a term of too many years, or one more contract in a year than fit."""
    years = _years_of(terms)
    if len(years) > MAX_YEARS:
        raise Problem("bad_dates", f"the term touches more than {MAX_YEARS} years", field="until")
    held = state.contracts_of_firm(terms.enterprise, terms.programme)
    touched = Counter(year for each in held if each is not own for year in _years_of(each.agreed))
    for year in years:
        if touched[year] >= MAX_CONTRACTS_OF_YEAR:
            detail = f"{MAX_CONTRACTS_OF_YEAR} contracts touch {year}, which is the limit"
            raise Problem("too_many_contracts", detail)


def _years_of(terms: SomeTerms) -> range:
    """Return the years that the term touches."""
    return range(year_of(parse_date(terms.starts)), year_of(parse_date(terms.ends) - 1) + 1)


def check_number(state: State, terms: SomeTerms) -> None:
    """Raise `Problem` where the parties have another contract of this number."""
    for code in state.firm_of(terms.enterprise):
        known = state.contract_nos.get((code, terms.provider, folded(terms.contract_no)))
        if known is None or known == terms.id:
            continue
        contract = state.contracts[known]
        check_names("contract_no", [terms.contract_no], [contract.agreed.contract_no])
        detail = f"contract {known} has this number"
        raise Problem("contract_known", detail, entry=contract.entry)


def _check_programme(state: State, policy: Policy, enterprise: EnterpriseRegistered) -> None:
    """Raise `Problem` where no contract of the enterprise can be funded by the programme."""
    if policy.meter == "award":
        raise Problem("wrong_meter", f"{policy.programme} funds by {policy.meter}")
    check_applicant(state, policy, enterprise)


def _check_signing(enterprise: EnterpriseRegistered, command: SomeTerms, stamp: Stamp) -> None:
    """Raise `Problem` `bad_dates` where the signing cannot be meant."""
    check_not_in_future("signed_on", command.signed_on, stamp)
    if command.signed_on < enterprise.founded_on:
        detail = f"signed before {enterprise.founded_on}, when the enterprise was founded"
        raise Problem("bad_dates", detail, field="signed_on")


def _policy_of(state: State, command: SomeTerms, size: int) -> Policy:
    """Return the policy in force at the signing, else within the term. Raises `Problem`."""
    days = (command.signed_on, command.starts, command.ends)
    signed, starts, ends = map(parse_date, days)
    policy = state.policy_for(command.programme, signed, starts, ends, size)
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


def _apply_contract(state: State, number: int, entry: ContractRegistered) -> None:
    found = terms_of(entry, [], state.policies[entry.programme], other_funds=0)
    contract = Contract.of(number, entry, found)
    state.contracts[entry.id] = contract
    state.providers[entry.provider].contracts.append(entry.id)
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
    contract = state.contracts[entry.contract]
    contract.freezes.append((number, entry.at))


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
        "succeeded",
        *("looks_alike", "contract_known", "unknown_project", "unknown_contract"),
        *("too_many_contracts", "bad_dates", "no_policy"),
        *("not_applicant", "wrong_meter", "not_served", "role_conflict"),
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
