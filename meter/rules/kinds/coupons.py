"""Money for coupons: an issue fills a coupon from the pool of its year, a withdrawal empties it."""

from collections.abc import Iterable
from typing import Final

from meter.rules.commands import Command, IssueCoupon, WithdrawCoupon
from meter.rules.effects import apply_grants, check_same, coupon_grants, grant_postings
from meter.rules.entries import (
    CouponAllotted,
    CouponEntry,
    CouponIssued,
    CouponWithdrawn,
    Posting,
)
from meter.rules.kinds.kind import Judged, Kind, Stamp, active_policy, check_applicant
from meter.rules.kinds.periods import check_open
from meter.rules.kinds.pools import check_pool, check_year, given_back
from meter.rules.rating import FULL_BP
from meter.rules.state import CouponId, State
from meter.values.policy import Policy
from meter.values.policy_file import AllocationMode
from meter.values.problems import Problem
from meter.values.units import format_money


def _judge_issue(state: State, command: IssueCoupon, stamp: Stamp) -> Judged:
    programme, year, amount = command.programme, command.year, command.amount
    policy = year_rules(state, programme, year, command.enterprise, amount, stamp)
    check_mode(policy, "ordered")
    coupon = (command.enterprise, programme, year)
    check_sum(state, policy, coupon, int(amount))
    check_pool(state, state.pool_id(programme, year), amount)
    return {}, issue_postings(state, coupon, int(amount))


def year_rules(  # noqa: PLR0913, PLR0917 - one argument for each field
    state: State, programme: str, year: int, enterprise: str, amount: int, stamp: Stamp
) -> Policy:
    """Return the policy by which an enterprise may be issued money for a year. Raises `Problem`."""
    policy = _policy_of_year(state, programme, year, enterprise, amount)
    check_open(state, programme, year, stamp)
    check_fundable(state, policy, enterprise, year)
    return policy


def check_mode(policy: Policy, mode: AllocationMode) -> None:
    """Raise `Problem` `wrong_allocation` where a policy issues its pool in the other way."""
    if policy.allocation != mode:
        paths = {"ordered": "/v1/coupons", "proportional": "/v1/allocations"}
        detail = f"{policy.version} is {policy.allocation}: POST {paths[policy.allocation]}"
        raise Problem("wrong_allocation", detail)


def check_sum(state: State, policy: Policy, coupon: CouponId, fen: int) -> None:
    """Raise `Problem` where so much more is above the cap, or can never be needed."""
    of_firm = issued_to_firm(state, coupon) + fen
    if policy.cap is not None and of_firm > policy.cap:
        detail = f"{format_money(of_firm)} is above {format_money(policy.cap)}"
        raise Problem("cap_exceeded", detail)
    need = need_of(state, coupon)
    if of_firm > need:
        detail = f"{format_money(of_firm)} is above {format_money(need)}, all that can be entitled"
        raise Problem("above_need", detail)


def issue_postings(state: State, coupon: CouponId, fen: int) -> list[Posting]:
    """Return the postings of an issue: pool to coupon, and what rule R grants of it."""
    grants = coupon_grants(state, coupon, state.coupons.get(coupon, 0) + fen)
    return [_coupon_posting(state, coupon, fen), *grant_postings(grants)]


def _judge_withdrawal(state: State, command: WithdrawCoupon, _stamp: Stamp) -> Judged:
    coupon = (command.enterprise, command.programme, command.year)
    _policy_of_year(state, command.programme, command.year, command.enterprise, command.amount)
    granted = state.granted.get(coupon, 0)
    if state.coupons.get(coupon, 0) - command.amount < granted:
        raise Problem("below_granted", f"{format_money(granted)} are granted")
    pool, account, fen = _coupon_posting(state, coupon, int(command.amount))
    return {}, [(account, pool, fen), *_given_back(state, command)]


def _policy_of_year(
    state: State, programme: str, year: int, enterprise: str, amount: int
) -> Policy:
    """Return the newest policy that touches the year. Raises `Problem`."""
    if active_policy(state, programme).meter == "award":
        raise Problem("wrong_meter", f"awards of {programme} are issued when they are made")
    if enterprise not in state.enterprises:
        raise Problem("unknown_enterprise", f"no enterprise {enterprise}")
    policy = state.policy_of(programme, year, state.size)
    if policy is None:
        raise Problem("unknown_year", f"no policy of {programme} touches {year}")
    check_year(state, programme, year)
    if amount == 0:
        raise Problem("malformed", "the amount is zero")
    return policy


def _given_back(state: State, command: WithdrawCoupon | CouponWithdrawn) -> list[Posting]:
    return given_back(state, state.pool_id(command.programme, command.year), command.amount)


def check_fundable(state: State, policy: Policy, enterprise: str, year: int) -> None:
    """Raise `Problem` where a firm may not apply, or rents too little in a year.

    Of a firm its last successor applies: it is paid.
    """
    check_applicant(state, policy, state.enterprises[state.last_successor(enterprise)].facts)
    rented = rented_amount(state, policy.programme, enterprise, year)
    if rented < policy.threshold:
        needed, found = format_money(policy.threshold), format_money(rented)
        raise Problem("below_threshold", f"{needed} needed, {found} found")


def rented_amount(state: State, programme: str, enterprise: str, year: int) -> int:
    """Return the full amounts of the contracts whose usage of the year can be eligible, in fen."""
    return sum(
        contract.terms.amount
        for contract in state.contracts_of_firm(enterprise, programme)
        if contract.touches(year)
    )


def need_of(state: State, coupon: CouponId) -> int:
    """Return the most that a firm's contracts of a year could be entitled to, in fen."""
    enterprise, programme, year = coupon
    need = 0
    for contract in state.contracts_of_firm(enterprise, programme):
        ratios = [segment.ratio_bp for segment in contract.segments if segment.year == year]
        if ratios:
            by_ratio = max(ratios) * contract.terms.amount // FULL_BP
            need += min(contract.terms.support_limit, by_ratio)
    return need


def issued_to_firm(state: State, coupon: CouponId) -> int:
    """Return what was issued to all codes of a coupon's firm, in fen."""
    enterprise, programme, year = coupon
    codes = state.firm_of(enterprise)
    return sum(state.coupons.get((code, programme, year), 0) for code in codes)


def _coupon_posting(state: State, coupon: CouponId, fen: int) -> Posting:
    enterprise, programme, year = coupon
    owner, _ = state.pool_id(programme, year)
    return f"pool:{owner}:{year}", f"coupon:{programme}:{year}:{enterprise}", fen


def _apply_issue(state: State, _number: int, entry: CouponIssued | CouponAllotted) -> None:
    coupon = (entry.enterprise, entry.programme, entry.year)
    grants = coupon_grants(state, coupon, state.coupons.get(coupon, 0) + entry.amount)
    check_same(entry.postings[1:], grant_postings(grants))
    _add_issued(state, entry, entry.amount)
    apply_grants(state, grants)


def _apply_withdrawal(state: State, _number: int, entry: CouponWithdrawn) -> None:
    """Apply a withdrawal: what is granted stays, so no grant changes."""
    check_same(entry.postings[1:], _given_back(state, entry))
    _add_issued(state, entry, -entry.amount)


def _add_issued(state: State, entry: CouponEntry, fen: int) -> None:
    coupon = (entry.enterprise, entry.programme, entry.year)
    state.coupons[coupon] = state.coupons.get(coupon, 0) + fen
    pool_id = state.pool_id(entry.programme, entry.year)
    state.pools[pool_id].issued += fen
    state.touched.coupons.add(coupon)
    state.touched.pools.add(pool_id)


def _subjects(_state: State, entry: CouponEntry) -> Iterable[str]:
    return (f"enterprise:{entry.enterprise}",)


def _response(state: State, entry: CouponIssued | CouponWithdrawn) -> dict[str, str]:
    issued = state.coupons[entry.enterprise, entry.programme, entry.year]
    return {"issued": format_money(issued)}


ISSUE_CODES: Final = (
    *("unknown_programme", "unknown_enterprise", "unknown_year", "below_threshold"),
    *("year_closed", "cap_exceeded", "above_need", "pool_exceeded", "no_budget"),
    *("wrong_meter", "wrong_allocation", "not_applicant", "role_conflict"),
)
ISSUE: Kind[CouponIssued, IssueCoupon] = Kind(
    entry=CouponIssued,
    command=IssueCoupon,
    judge=_judge_issue,
    apply=_apply_issue,
    subjects=_subjects,
    rows="totals",
    response=_response,
    codes=ISSUE_CODES,
    moves_money=True,
)
ALLOTMENT: Kind[CouponAllotted, Command] = Kind(
    entry=CouponAllotted, apply=_apply_issue, subjects=_subjects, rows="totals"
)
WITHDRAWAL: Kind[CouponWithdrawn, WithdrawCoupon] = Kind(
    entry=CouponWithdrawn,
    command=WithdrawCoupon,
    judge=_judge_withdrawal,
    apply=_apply_withdrawal,
    subjects=_subjects,
    rows="totals",
    response=_response,
    codes=(
        *("unknown_programme", "unknown_enterprise", "unknown_year", "below_granted"),
        "wrong_meter",
    ),
    moves_money=True,
)
