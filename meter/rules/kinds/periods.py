"""The end of a year: what its coupons have left expires, and the year is closed.

Claims for a year are open for some months after it (`[claims] months`): of several policies that
touch the year, the last to end decides. Then nothing more is issued, and an expiry returns the free
rest of each coupon to the pool. A year is closed when no claim is open and no rest is free. What
was granted stays granted, claimed or not.
"""

from collections.abc import Iterable
from typing import Final

from meter.rules.claim_book import OPEN
from meter.rules.commands import CloseYear, ExpireCoupons
from meter.rules.effects import check_same
from meter.rules.entries import CouponsExpired, Posting, YearClosed
from meter.rules.items import item_programme
from meter.rules.kinds.kind import NOTHING_MORE, Judged, Kind, Stamp, active_policy
from meter.rules.kinds.pools import check_year, given_back
from meter.rules.state import CouponId, State
from meter.values.problems import Problem
from meter.values.units import (
    MICROSECONDS,
    add_months,
    format_date,
    format_money,
    parse_date,
)

MAX_EXPIRED: Final = 400  # coupons in an entry, each with a posting of some 130 bytes


def check_open(state: State, programme: str, year: int, stamp: Stamp) -> None:
    """Raise `Problem` `year_closed` where nothing more is issued for a year."""
    ends = _claims_end(state, programme, year)
    if ends is not None and stamp.at >= ends * MICROSECONDS:
        raise Problem("year_closed", f"claims for {year} were open until {format_date(ends)}")
    check_not_closed(state, programme, year)


def check_not_closed(state: State, programme: str, year: int) -> None:
    """Raise `Problem` `year_closed` for a year that an entry has closed."""
    number = state.closed.get((programme, year))
    if number is not None:
        raise Problem("year_closed", f"by entry {number}", entry=number)


def _check_over(state: State, programme: str, year: int, stamp: Stamp) -> None:
    """Raise `Problem` for a year whose claims are still open."""
    active_policy(state, programme)
    check_year(state, programme, year)
    ends = _claims_end(state, programme, year)
    if ends is None:
        raise Problem("no_claims", f"no policy of {programme} {year} has a section [claims]")
    if stamp.at < ends * MICROSECONDS:
        raise Problem("year_open", f"claims for {year} are open until {format_date(ends)}")


def _claims_end(state: State, programme: str, year: int) -> int | None:
    """Return the instant at which claims for a year end, or None where there are none."""
    months = [
        policy.claims.months
        for policy in state.policies.get(programme, {}).values()
        if year in policy.years and policy.claims is not None
    ]
    return parse_date(add_months(f"{year + 1}-01-01", max(months))) if months else None


def free_rests(state: State, programme: str, year: int) -> list[tuple[CouponId, int]]:
    """Return the coupons of a year that have money left, by USCC, each with its fen."""
    rests = (
        (coupon, issued - state.granted.get(coupon, 0))
        for coupon, issued in state.coupons.items()
        if coupon[1:] == (programme, year)
    )
    return sorted((coupon, fen) for coupon, fen in rests if fen)


# Expiry


def _judge_expiry(state: State, command: ExpireCoupons, stamp: Stamp) -> Judged:
    _check_over(state, command.programme, command.year, stamp)
    rests = free_rests(state, command.programme, command.year)[:MAX_EXPIRED]
    if not rests:
        raise Problem("nothing_free", f"no coupon of {command.programme} {command.year}")
    amount, postings = _expiry_of(state, rests)
    return {"amount": amount}, postings


def _expiry_of(state: State, rests: list[tuple[CouponId, int]]) -> tuple[int, list[Posting]]:
    """Return the sum of what some coupons have left, and the postings that take it back."""
    amount, postings = sum(fen for _, fen in rests), []
    for (enterprise, programme, year), fen in rests:
        owner, _ = pool_id = state.pool_id(programme, year)
        coupon = f"coupon:{programme}:{year}:{enterprise}"
        postings.append((coupon, f"pool:{owner}:{year}", fen))
    return amount, postings + given_back(state, pool_id, amount)


def expired(entry: CouponsExpired) -> list[tuple[CouponId, int]]:
    """Return the coupons that an expiry empties, each with its fen."""
    found = []
    for source, _, fen in entry.postings:
        kind, _, rest = source.partition(":")
        if kind == "coupon":
            programme, year, enterprise = rest.split(":")
            found.append(((enterprise, programme, int(year)), fen))
    return found


def _apply_expiry(state: State, _number: int, entry: CouponsExpired) -> None:
    rests = free_rests(state, entry.programme, entry.year)[:MAX_EXPIRED]
    check_same((entry.amount, entry.postings), _expiry_of(state, rests))
    for coupon, fen in rests:
        state.coupons[coupon] -= fen
        state.touched.coupons.add(coupon)
    pool_id = state.pool_id(entry.programme, entry.year)
    state.pools[pool_id].issued -= entry.amount
    state.touched.pools.add(pool_id)


def _expiry_subjects(_state: State, entry: CouponsExpired) -> Iterable[str]:
    return (f"enterprise:{enterprise}" for (enterprise, _, _), _ in expired(entry))


def _expiry_response(state: State, entry: CouponsExpired) -> dict[str, str]:
    left = sum(fen for _, fen in free_rests(state, entry.programme, entry.year))
    return {"expired": format_money(entry.amount), "left": format_money(left)}


# Closing


def _judge_closing(state: State, command: CloseYear, stamp: Stamp) -> Judged:
    _check_over(state, command.programme, command.year, stamp)
    check_not_closed(state, command.programme, command.year)
    _check_no_claim(state, command)
    rests = free_rests(state, command.programme, command.year)
    if rests:
        fen = sum(fen for _, fen in rests)
        raise Problem("free_rest", f"{format_money(fen)} are free in {len(rests)} coupons")
    return NOTHING_MORE


def _check_no_claim(state: State, command: CloseYear) -> None:
    """Raise `Problem` `claim_open` where a claim for the year has neither ended nor an order."""
    for item, year in state.claims.by_item:
        if year != command.year or item_programme(state, item) != command.programme:
            continue
        for claim in state.claims.claims_of((item, year)):
            if claim.state in OPEN:
                detail = f"claim {claim.entered.id} for {item} {year} is {claim.state}"
                raise Problem("claim_open", detail, entry=claim.entry)


def _apply_closing(state: State, number: int, entry: YearClosed) -> None:
    state.closed[entry.programme, entry.year] = number


_YEAR_CODES: Final = ("unknown_programme", "unknown_year", "no_claims", "year_open")
EXPIRY: Kind[CouponsExpired, ExpireCoupons] = Kind(
    entry=CouponsExpired,
    command=ExpireCoupons,
    judge=_judge_expiry,
    apply=_apply_expiry,
    subjects=_expiry_subjects,
    rows="totals",
    response=_expiry_response,
    codes=(*_YEAR_CODES, "nothing_free"),
    moves_money=True,
)
CLOSING: Kind[YearClosed, CloseYear] = Kind(
    entry=YearClosed,
    command=CloseYear,
    judge=_judge_closing,
    apply=_apply_closing,
    rows="registration",
    codes=(*_YEAR_CODES, "year_closed", "claim_open", "free_rest"),
)
