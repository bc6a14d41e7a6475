"""Money for coupons: an issue fills a coupon from the pool of its year, a withdrawal empties it."""

from collections.abc import Iterable

from meter.rules.commands import IssueCoupon, WithdrawCoupon
from meter.rules.effects import apply_grants, check_same, coupon_grants, grant_postings
from meter.rules.entries import CouponIssued, CouponWithdrawn, Posting
from meter.rules.kinds.kind import Judged, Kind, Stamp, active_policy, check_applicant
from meter.rules.kinds.periods import check_open
from meter.rules.kinds.pools import check_pool, check_year, given_back
from meter.rules.rating import FULL_BP
from meter.rules.state import CouponId, State
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.units import format_money


def _judge_issue(state: State, command: IssueCoupon, stamp: Stamp) -> Judged:
    policy = _policy_of_year(state, command)
    check_open(state, command.programme, command.year, stamp)
    check_fundable(state, policy, command.enterprise, command.year)
    coupon = (command.enterprise, command.programme, command.year)
    issued = state.coupons.get(coupon, 0) + command.amount
    if policy.cap is not None and issued > policy.cap:
        raise Problem("cap_exceeded", f"{format_money(issued)} is above {format_money(policy.cap)}")
    need = _need(state, coupon)
    if issued > need:
        detail = f"{format_money(issued)} is above {format_money(need)}, all that can be entitled"
        raise Problem("above_need", detail)
    check_pool(state, state.pool_id(command.programme, command.year), command.amount)
    grants = coupon_grants(state, coupon, issued)
    return {}, [_coupon_posting(state, command), *grant_postings(grants)]


def _judge_withdrawal(state: State, command: WithdrawCoupon, _stamp: Stamp) -> Judged:
    _policy_of_year(state, command)
    coupon = (command.enterprise, command.programme, command.year)
    granted = state.granted.get(coupon, 0)
    if state.coupons.get(coupon, 0) - command.amount < granted:
        raise Problem("below_granted", f"{format_money(granted)} are granted")
    pool, account, fen = _coupon_posting(state, command)
    return {}, [(account, pool, fen), *_given_back(state, command)]


def _policy_of_year(state: State, command: IssueCoupon | WithdrawCoupon) -> Policy:
    """Return the newest policy that touches the year. Raises `Problem`."""
    if active_policy(state, command.programme).meter == "award":
        raise Problem("wrong_meter", f"awards of {command.programme} are issued when they are made")
    if command.enterprise not in state.enterprises:
        raise Problem("unknown_enterprise", f"no enterprise {command.enterprise}")
    policy = state.policy_of(command.programme, command.year, state.size)
    if policy is None:
        raise Problem("unknown_year", f"no policy of {command.programme} touches {command.year}")
    check_year(state, command.programme, command.year)
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    return policy


def _given_back(state: State, command: WithdrawCoupon | CouponWithdrawn) -> list[Posting]:
    return given_back(state, state.pool_id(command.programme, command.year), command.amount)


def check_fundable(state: State, policy: Policy, enterprise: str, year: int) -> None:
    """Raise `Problem` where an enterprise may not apply, or rents too little in a year."""
    check_applicant(state, policy, state.enterprises[enterprise].registered)
    rented = _rented_amount(state, policy.programme, enterprise, year)
    if rented < policy.threshold:
        needed, found = format_money(policy.threshold), format_money(rented)
        raise Problem("below_threshold", f"{needed} needed, {found} found")


def _rented_amount(state: State, programme: str, enterprise: str, year: int) -> int:
    """Return the full amounts of the contracts whose usage of the year can be eligible, in fen."""
    return sum(
        contract.terms.amount
        for contract in state.contracts_of(enterprise, programme)
        if contract.touches(year)
    )


def _need(state: State, coupon: CouponId) -> int:
    """Return the most that the contracts of a coupon's year could be entitled to, in fen."""
    enterprise, programme, year = coupon
    need = 0
    for contract in state.contracts_of(enterprise, programme):
        ratios = [segment.ratio_bp for segment in contract.segments if segment.year == year]
        if ratios:
            by_ratio = max(ratios) * contract.terms.amount // FULL_BP
            need += min(contract.terms.support_limit, by_ratio)
    return need


def _coupon_posting(state: State, command: IssueCoupon | WithdrawCoupon) -> Posting:
    owner, year = state.pool_id(command.programme, command.year)
    pool = f"pool:{owner}:{year}"
    coupon = f"coupon:{command.programme}:{command.year}:{command.enterprise}"
    return pool, coupon, int(command.amount)


def _apply_issue(state: State, _number: int, entry: CouponIssued) -> None:
    coupon = (entry.enterprise, entry.programme, entry.year)
    grants = coupon_grants(state, coupon, state.coupons.get(coupon, 0) + entry.amount)
    check_same(entry.postings[1:], grant_postings(grants))
    _add_issued(state, entry, entry.amount)
    apply_grants(state, grants)


def _apply_withdrawal(state: State, _number: int, entry: CouponWithdrawn) -> None:
    """Apply a withdrawal: what is granted stays, so no grant changes."""
    check_same(entry.postings[1:], _given_back(state, entry))
    _add_issued(state, entry, -entry.amount)


def _add_issued(state: State, entry: CouponIssued | CouponWithdrawn, fen: int) -> None:
    coupon = (entry.enterprise, entry.programme, entry.year)
    state.coupons[coupon] = state.coupons.get(coupon, 0) + fen
    pool_id = state.pool_id(entry.programme, entry.year)
    state.pools[pool_id].issued += fen
    state.touched.coupons.add(coupon)
    state.touched.pools.add(pool_id)


def _subjects(_state: State, entry: CouponIssued | CouponWithdrawn) -> Iterable[str]:
    return (f"enterprise:{entry.enterprise}",)


def _response(state: State, entry: CouponIssued | CouponWithdrawn) -> dict[str, str]:
    issued = state.coupons[entry.enterprise, entry.programme, entry.year]
    return {"issued": format_money(issued)}


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
        *("year_closed", "cap_exceeded", "above_need", "pool_exceeded", "no_budget"),
        *("wrong_meter", "not_applicant", "role_conflict"),
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
    codes=(
        *("unknown_programme", "unknown_enterprise", "unknown_year", "below_granted"),
        "wrong_meter",
    ),
    moves_money=True,
)
