"""Other public money for a contract: it lowers what the contract is entitled to, at once.

    L = max(0, floor(combined · A / 10000) − Σ funds)

A reference names one sum; it can be set again at any time, and its newest amount counts. Where the
policy does not count all public money together, it is kept and changes nothing. The firm and
officials are told of it, the provider is not.
"""

from collections.abc import Iterable

from meter.rules.commands import FundContract
from meter.rules.contract_terms import limits_of
from meter.rules.effects import check_same, grant_postings
from meter.rules.entries import ContractFunded
from meter.rules.kinds.kind import Judged, Kind, Stamp, check_names, known_contract
from meter.rules.rating import Terms
from meter.rules.state import Contract, State
from meter.rules.terms_effect import apply_limits, limits_effect


def _judge(state: State, command: FundContract, _stamp: Stamp) -> Judged:
    contract = known_contract(state, command.contract)
    sums = contract.sums()
    check_names("reference", [command.reference], sums)
    sums[command.reference] = command.level, int(command.amount)
    effect = limits_effect(state, contract, _limits(contract, sums.values()))
    return {"entitled": effect.entitled}, grant_postings(effect.grants)


def _limits(contract: Contract, sums: Iterable[tuple[str, int]]) -> Terms:
    return limits_of(contract.agreed, contract.policy, sum(fen for _, fen in sums))


def _apply(state: State, number: int, entry: ContractFunded) -> None:
    _register(state, number, entry)
    contract = state.contracts[entry.contract]
    effect = limits_effect(state, contract, contract.terms)
    check_same((entry.entitled, entry.postings), (effect.entitled, grant_postings(effect.grants)))
    apply_limits(state, contract, effect)


def _register(state: State, number: int, entry: ContractFunded) -> None:
    contract = state.contracts[entry.contract]
    contract.funds.append((number, entry.reference, entry.level, entry.amount))
    contract.terms = _limits(contract, contract.sums().values())


def _subjects(state: State, entry: ContractFunded) -> Iterable[str]:
    enterprise = state.contracts[entry.contract].agreed.enterprise
    return (f"contract:{entry.contract}", f"enterprise:{enterprise}")


FUNDS: Kind[ContractFunded, FundContract] = Kind(
    entry=ContractFunded,
    command=FundContract,
    judge=_judge,
    apply=_apply,
    register=_register,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_contract", "looks_alike"),
)
