"""Allocations: a pool that is too small is divided among all who ask, in one decision.

    all as asked where it fits, else floor(request · left / Σ requests); the fen left over go to the
    largest remainders, of equal ones to the first in the list

The allocation's entry holds the requests and what each is allotted; an entry for each sum above
zero follows it, in the order of the list. Officials alone are told of the requests.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from meter.rules.commands import AllocatePool
from meter.rules.entries import CouponAllotted, Entry, PoolAllocated
from meter.rules.kinds.coupons import ISSUE_CODES, check_mode, check_sum, issue_postings, year_rules
from meter.rules.kinds.kind import Judged, Kind, Stamp
from meter.rules.kinds.pools import check_pool
from meter.rules.salts import Salts
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import format_money


def _judge(state: State, command: AllocatePool, stamp: Stamp) -> Judged:
    firms = [enterprise for enterprise, _ in command.requests]
    if len(set(firms)) < len(firms):
        raise Problem("malformed", "an enterprise asks twice", field="requests")
    of_firm: Counter[str] = Counter()  # all that the codes of a firm ask for
    for enterprise, fen in command.requests:
        of_firm[state.last_successor(enterprise)] += int(fen)
    for enterprise, fen in command.requests:
        coupon = (enterprise, command.programme, command.year)
        try:
            policy = year_rules(state, *coupon[1:], enterprise, int(fen), stamp)
            check_mode(policy, "proportional")
            check_sum(state, policy, coupon, of_firm[state.last_successor(enterprise)])
        except Problem as problem:
            detail = f"{enterprise}: {problem.detail}"
            raise Problem(problem.code, detail, **problem.facts) from None
    pool_id = state.pool_id(command.programme, command.year)
    check_pool(state, pool_id, 1)
    pool = state.pools[pool_id]
    allotted = allot([int(fen) for _, fen in command.requests], pool.limit - pool.issued)
    return {"allotted": allotted}, []


def allot(requests: Sequence[int], left: int) -> list[int]:
    """Return what each request gets of the fen that are left, in the order of the list."""
    total = sum(requests)
    if total <= left:
        return list(requests)
    parts = [divmod(fen * left, total) for fen in requests]
    allotted = [whole for whole, _ in parts]
    # `sorted` keeps the order of the list where remainders are equal.
    by_remainder = sorted(range(len(parts)), key=lambda place: -parts[place][1])
    for place in by_remainder[: left - sum(allotted)]:
        allotted[place] += 1
    return allotted


def _apply(_state: State, _number: int, _entry: PoolAllocated) -> None:
    """Change nothing: the issues follow as entries of their own."""


def _following(state: State, number: int, entry: PoolAllocated) -> Iterator[Entry]:
    """Yield an issue for each request that is allotted anything; the state takes each in turn."""
    salts = Salts(bytes.fromhex(entry.salt))
    for place, ((enterprise, _), fen) in enumerate(
        zip(entry.requests, entry.allotted, strict=True)
    ):
        if fen:
            coupon = (enterprise, entry.programme, entry.year)
            yield CouponAllotted(
                at=entry.at,
                by=entry.by,
                postings=issue_postings(state, coupon, fen),
                salt=salts.of(place),
                programme=entry.programme,
                enterprise=enterprise,
                year=entry.year,
                amount=fen,
                allocation=number,
            )


def _response(_state: State, entry: PoolAllocated) -> dict[str, str]:
    return {"allotted": format_money(sum(entry.allotted))}


ALLOCATION: Final[Kind[PoolAllocated, AllocatePool]] = Kind(
    entry=PoolAllocated,
    command=AllocatePool,
    judge=_judge,
    apply=_apply,
    following=_following,
    rows="totals",
    response=_response,
    codes=ISSUE_CODES,
    moves_money=True,
)
