"""Policies: an activation puts a version of a programme's rules in force and opens its pools.

A programme's pool has one owner for ever: the programme itself, or the one whose pool it shares.
"""

from collections.abc import Iterator
from dataclasses import replace

from msgspec import UNSET

from meter.rules.commands import ActivatePolicy
from meter.rules.entries import PolicyActivated, Posting
from meter.rules.kinds.kind import Holder, Judged, Kind, Stamp, check_spelling, note_spelling
from meter.rules.kinds.pools import set_aside
from meter.rules.state import Contract, Pool, State
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS
from meter.wire.batch import MAX_AHEAD_SECONDS


def _holder(state: State, command: ActivatePolicy) -> Holder | None:
    return state.policy_entries.get((command.programme, command.version))


def _judge(state: State, command: ActivatePolicy, stamp: Stamp) -> Judged:
    assert command.content is not UNSET, "the API fills in the shipped file"
    policy = Policy.parse(command.content)
    if (policy.programme, policy.version) != (command.programme, command.version):
        raise Problem("bad_policy", f"the file is of {policy.programme} {policy.version}")
    check_spelling(state, f"policy of {policy.programme}", policy.version)
    _check_transition(state, policy, stamp)
    _check_owner(state, policy)
    _check_meter(state, policy)
    return {}, list(_postings(state, policy))


def _check_transition(state: State, policy: Policy, stamp: Stamp) -> None:
    """Raise `Problem` where contracts are not taken later than all that is booked."""
    if policy.takes_from is None:
        return
    for version, known in state.policies.get(policy.programme, {}).items():
        if known.prorate != "none" or known.rounding != "fen":
            detail = f"contracts of {version} have services that are booked ahead, or one segment"
            raise Problem("unsupported_section", f"transition: {detail}", section="transition")
    if policy.takes_from * MICROSECONDS <= stamp.at + MAX_AHEAD_SECONDS * MICROSECONDS:
        detail = "contracts are taken from a later midnight on, after all that is booked"
        raise Problem("bad_dates", detail, field="effective", section="transition")
    if policy.takes_from >= policy.valid_until:
        raise Problem(
            "bad_dates",
            "it takes contracts after its own end",
            field="effective",
            section="transition",
        )


def _check_owner(state: State, policy: Policy) -> None:
    """Check that the pool has the owner that it had, and that this one does not share itself."""
    before = state.active.get(policy.programme)
    if before is not None and before.pool_owner != policy.pool_owner:
        detail = f"the pool of {policy.programme} is that of {before.pool_owner}, and stays so"
        raise Problem("pool_owner", detail, section="pool")
    if policy.pool_owner == policy.programme:
        return
    owner = state.active.get(policy.pool_owner)
    if owner is None:
        raise Problem("unknown_programme", f"{policy.pool_owner} has no active policy")
    if owner.pool_owner != owner.programme:
        detail = f"{owner.programme} shares the pool of {owner.pool_owner} itself"
        raise Problem("pool_owner", detail, section="pool")


def _check_meter(state: State, policy: Policy) -> None:
    before = state.active.get(policy.programme)
    if before is not None and before.meter != policy.meter:
        raise Problem("wrong_meter", f"{policy.programme} funds by {before.meter}, and goes on so")


def _postings(state: State, policy: Policy) -> Iterator[Posting]:
    """Yield what the pools of an owner's years get or give back."""
    if policy.pool_owner != policy.programme:
        return
    for year in policy.years:
        pool = state.pools.get((policy.programme, year), Pool())
        after = replace(pool, stated=policy.pool)
        yield from set_aside((policy.programme, year), pool.amount, after.amount)


def _apply(state: State, number: int, entry: PolicyActivated) -> None:
    policy = Policy.parse(entry.content)
    state.policies.setdefault(policy.programme, {})[policy.version] = policy
    state.policy_entries[policy.programme, policy.version] = number, entry
    state.active[policy.programme] = policy
    if policy.takes_from is not None:
        for contract in state.contracts.values():
            if contract.registered.programme == policy.programme:
                _take(state, contract)
    note_spelling(state, f"policy of {policy.programme}", policy.version)
    if policy.pool_owner == policy.programme:
        for year in policy.years:
            state.pools.setdefault((policy.programme, year), Pool()).stated = policy.pool
    _note_programmes(state, policy.pool_owner)


def _take(state: State, contract: Contract) -> None:
    """Give a contract its versions anew; what is booked lies in segments that stay."""
    policies = state.policies[contract.registered.programme]
    found = contract.terms_with([entry for _, entry in contract.amendments], policies)
    eligible = {(each.year, each.policy): each.eligible for each in contract.segments}
    for segment in found.segments:
        segment.eligible = eligible.get((segment.year, segment.policy), 0)
    contract.take(found)


def _note_programmes(state: State, owner: str) -> None:
    """Note in each pool of an owner which programmes draw on it."""
    programmes = [name for name, each in state.active.items() if each.pool_owner == owner]
    for pool_id, pool in state.pools.items():
        if pool_id[0] == owner:
            pool.programmes = programmes
            state.touched.pools.add(pool_id)


POLICY: Kind[PolicyActivated, ActivatePolicy] = Kind(
    entry=PolicyActivated,
    command=ActivatePolicy,
    holder=_holder,
    judge=_judge,
    apply=_apply,
    rows="registration",
    codes=(
        *("bad_policy", "unknown_policy", "exists_differently", "looks_alike"),
        *("unsupported_section", "pool_owner", "unknown_programme", "wrong_meter"),
        "bad_dates",
    ),
)
