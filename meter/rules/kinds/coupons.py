"""Money for coupons: a policy opens the pools, an issue fills a coupon, a withdrawal empties it."""

from collections.abc import Iterable

from msgspec import UNSET

from meter.rules.commands import ActivatePolicy, IssueCoupon, WithdrawCoupon
from meter.rules.effects import apply_grants, check_same, coupon_grants, grant_postings
from meter.rules.entries import CouponIssued, CouponWithdrawn, PolicyActivated, Posting
from meter.rules.kinds.kind import (
    Holder,
    Judged,
    Kind,
    Stamp,
    active_policy,
    check_spelling,
    note_spelling,
)
from meter.rules.rating import Interval
from meter.rules.state import Pool, State
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.units import format_money, year_of

# A policy


def _policy_holder(state: State, command: ActivatePolicy) -> Holder | None:
    return state.policy_entries.get((command.programme, command.version))


def _judge_policy(state: State, command: ActivatePolicy, _stamp: Stamp) -> Judged:
    assert command.content is not UNSET, "the API fills in the shipped file"
    policy = Policy.parse(command.content)
    if (policy.programme, policy.version) != (command.programme, command.version):
        raise Problem("bad_policy", f"the file is of {policy.programme} {policy.version}")
    check_spelling(state, f"policy of {policy.programme}", policy.version)
    postings: list[Posting] = []
    for year in policy.years:
        pool = state.pools.get((policy.programme, year), Pool())
        if policy.pool < pool.issued:
            raise Problem("pool_below_issued", f"{year}: {format_money(pool.issued)} were issued")
        treasury, account = f"treasury:{policy.programme}:{year}", f"pool:{policy.programme}:{year}"
        if policy.pool > pool.amount:
            postings.append((treasury, account, policy.pool - pool.amount))
        elif policy.pool < pool.amount:
            postings.append((account, treasury, pool.amount - policy.pool))
    return {}, postings


def _apply_policy(state: State, number: int, entry: PolicyActivated) -> None:
    policy = Policy.parse(entry.content)
    state.policies.setdefault(policy.programme, {})[policy.version] = policy
    state.policy_entries[policy.programme, policy.version] = number, entry
    state.active[policy.programme] = policy
    note_spelling(state, f"policy of {policy.programme}", policy.version)
    for year in policy.years:
        state.pools.setdefault((policy.programme, year), Pool()).amount = policy.pool
        state.touched.pools.add((policy.programme, year))


# Issue and withdrawal


def _judge_issue(state: State, command: IssueCoupon, _stamp: Stamp) -> Judged:
    policy = _policy_of_year(state, command)
    coupon = (command.enterprise, command.programme, command.year)
    issued = state.coupons.get(coupon, 0) + command.amount
    pool = state.pools[command.programme, command.year]
    rented = _rented_amount(state, command)
    if rented < policy.threshold:
        needed, found = format_money(policy.threshold), format_money(rented)
        raise Problem("below_threshold", f"{needed} needed, {found} found")
    if issued > policy.cap:
        raise Problem("cap_exceeded", f"{format_money(issued)} is above {format_money(policy.cap)}")
    if pool.issued + command.amount > pool.amount:
        raise Problem("pool_exceeded", f"{format_money(pool.amount - pool.issued)} are left")
    grants = coupon_grants(state, coupon, issued)
    return {}, [_coupon_posting(command), *grant_postings(grants)]


def _judge_withdrawal(state: State, command: WithdrawCoupon, _stamp: Stamp) -> Judged:
    _policy_of_year(state, command)
    coupon = (command.enterprise, command.programme, command.year)
    granted = state.granted.get(coupon, 0)
    if state.coupons.get(coupon, 0) - command.amount < granted:
        raise Problem("below_granted", f"{format_money(granted)} are granted")
    pool, account, fen = _coupon_posting(command)
    return {}, [(account, pool, fen)]


def _policy_of_year(state: State, command: IssueCoupon | WithdrawCoupon) -> Policy:
    """Return the newest policy that touches the year. Raises `Problem`."""
    active_policy(state, command.programme)
    if command.enterprise not in state.enterprises:
        raise Problem("unknown_enterprise", f"no enterprise {command.enterprise}")
    policy = state.policy_of(command.programme, command.year, state.size)
    if policy is None:
        raise Problem("unknown_year", f"no policy of {command.programme} touches {command.year}")
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    return policy


def _rented_amount(state: State, command: IssueCoupon) -> int:
    """Return the full amounts of the contracts whose usage of the year can be eligible, in fen."""
    return sum(
        contract.terms.amount
        for contract in state.contracts_of(command.enterprise, command.programme)
        if _touches(contract.window, command.year)
    )


def _touches(window: Interval, year: int) -> bool:
    start, end = window
    return start < end and year_of(start) <= year <= year_of(end - 1)


def _coupon_posting(command: IssueCoupon | WithdrawCoupon) -> Posting:
    pool = f"pool:{command.programme}:{command.year}"
    coupon = f"coupon:{command.programme}:{command.year}:{command.enterprise}"
    return pool, coupon, int(command.amount)


def _apply_issue(state: State, _number: int, entry: CouponIssued) -> None:
    _apply_change(state, entry, entry.amount)


def _apply_withdrawal(state: State, _number: int, entry: CouponWithdrawn) -> None:
    _apply_change(state, entry, -entry.amount)


def _apply_change(state: State, entry: CouponIssued | CouponWithdrawn, fen: int) -> None:
    coupon = (entry.enterprise, entry.programme, entry.year)
    issued = state.coupons.get(coupon, 0) + fen
    grants = coupon_grants(state, coupon, issued)
    check_same(entry.postings[1:], grant_postings(grants))
    state.coupons[coupon] = issued
    state.pools[entry.programme, entry.year].issued += fen
    state.touched.coupons.add(coupon)
    state.touched.pools.add((entry.programme, entry.year))
    apply_grants(state, grants)


def _subjects(_state: State, entry: CouponIssued | CouponWithdrawn) -> Iterable[str]:
    return (f"enterprise:{entry.enterprise}",)


def _response(state: State, entry: CouponIssued | CouponWithdrawn) -> dict[str, str]:
    issued = state.coupons[entry.enterprise, entry.programme, entry.year]
    return {"issued": format_money(issued)}


POLICY: Kind[PolicyActivated, ActivatePolicy] = Kind(
    entry=PolicyActivated,
    command=ActivatePolicy,
    holder=_policy_holder,
    judge=_judge_policy,
    apply=_apply_policy,
    rows="registration",
    codes=("bad_policy", "unknown_policy", "exists_differently", "pool_below_issued"),
)
ISSUE: Kind[CouponIssued, IssueCoupon] = Kind(
    entry=CouponIssued,
    command=IssueCoupon,
    judge=_judge_issue,
    apply=_apply_issue,
    subjects=_subjects,
    rows="totals",
    response=_response,
    codes=(
        *("unknown_programme", "unknown_enterprise", "unknown_year", "below_threshold"),
        *("cap_exceeded", "pool_exceeded"),
    ),
    moves_money=True,
)
WITHDRAWAL: Kind[CouponWithdrawn, WithdrawCoupon] = Kind(
    entry=CouponWithdrawn,
    command=WithdrawCoupon,
    judge=_judge_withdrawal,
    apply=_apply_withdrawal,
    subjects=_subjects,
    rows="totals",
    response=_response,
    codes=("unknown_programme", "unknown_enterprise", "unknown_year", "below_granted"),
    moves_money=True,
)
