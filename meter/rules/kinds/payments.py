"""Payment (兑付): the order sets the firm's debts off, the bank pays the cash, or sends it back."""

from typing import Final

from meter.rules.claim_book import Claim
from meter.rules.commands import OrderClaim, PayClaim, ReturnPayment
from meter.rules.entries import ClaimOrdered, ClaimPaid, PaymentReturned, Posting
from meter.rules.items import Item, accounts_of_firm, debt_of, grounds_of, known_item
from meter.rules.kinds.claims import CLAIM_CODES, any_claim, claim_subjects, known_claim
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Judged,
    Kind,
    Stamp,
    check_another_person,
    check_not_in_future,
)
from meter.rules.payable import debt, set_off
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import format_moment, format_money

MAX_SET_OFF: Final = 200  # debts that one entry pays back

# The order


def _judge_order(state: State, command: OrderClaim, stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "noticed")
    check_another_person(state, stamp, claim.approver)
    _, until = claim.notice
    if stamp.at < until:
        raise Problem("notice_running", f"the notice ends at {format_moment(until)}")
    for objection, resolved in claim.objections.items():
        if not resolved:
            raise Problem("objection_open", f"entry {objection} objects", entry=objection)
    item, year = claim.item_year
    fen = claim.approved
    ordered = [(f"payable:{item}:{year}", f"paid:{item}:{year}", fen)] if fen else []
    cash, postings = _set_off(state, claim, fen, being_ordered=True)
    return {"cash": cash, "payee": _payee(state, claim)}, ordered + postings


def _payee(state: State, claim: Claim) -> str:
    """Return who is paid: the last successor of the item's enterprise."""
    return state.last_successor(known_item(state, claim.entered.item).enterprise)


def _set_off(
    state: State, claim: Claim, cash: int, *, being_ordered: bool = False
) -> tuple[int, list[Posting]]:
    """Return the cash that is left after the firm's debts, and the postings that pay these back.

    With `being_ordered` the claim's papers and money count as of its order. Raises `Problem`
    `too_large` where cash and a debt would both be left.
    """
    item = known_item(state, claim.entered.item)
    own = claim if being_ordered else None
    owed = [
        (f"{each.name}:{year}", fen)
        for year, each in accounts_of_firm(state, item.enterprise, item.programme)
        if (fen := _debt(state, each, year, own)) > 0
    ]
    parts = set_off(cash, (fen for _, fen in owed[:MAX_SET_OFF]))
    cash -= sum(parts)
    if cash and len(owed) > MAX_SET_OFF:
        raise Problem("too_large", f"{len(owed)} debts, and one entry sets off {MAX_SET_OFF}")
    postings = [
        (f"paid:{account}", f"claims:{account}", fen)
        for (account, _), fen in zip(owed, parts, strict=False)
        if fen
    ]
    return cash, postings


def _debt(state: State, item: Item, year: int, own: Claim | None) -> int:
    """Return the debt of an item and year; `own` is a claim that is being ordered."""
    if own is None or own.item_year != (item.name, year):
        return debt_of(state, item, year)
    paid = state.claims.account(own.item_year).paid + own.approved
    return debt(paid, grounds_of(state, item, year, own).limit)


def _apply_cash(state: State, number: int, entry: ClaimOrdered | PaymentReturned) -> None:
    """Apply the cash that is left: where there is none, the claim is paid."""
    status = "ordered" if entry.cash else "paid"
    state.claims.change(entry.claim, number, state=status, cash=entry.cash, payee=entry.payee)
    state.claims.post(number, entry.postings)


# What the bank did


def _judge_payment(state: State, command: PayClaim, stamp: Stamp) -> Judged:
    known_claim(state, command.claim, "ordered")
    check_not_in_future("paid_on", command.paid_on, stamp)
    return NOTHING_MORE


def _apply_payment(state: State, number: int, entry: ClaimPaid) -> None:
    claim = any_claim(state, entry.claim)
    booked = claim.booked | {entry.bank_reference: entry.paid_on}
    state.claims.change(entry.claim, number, state="paid", booked=booked)


def _judge_return(state: State, command: ReturnPayment, stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "paid")
    if claim.cash == 0:
        raise Problem("wrong_state", f"no cash was paid for claim {command.claim}")
    check_not_in_future("returned_on", command.returned_on, stamp)
    cash, postings = _set_off(state, claim, claim.cash)
    return {"cash": cash, "payee": _payee(state, claim)}, postings


def _cash_response(_state: State, entry: ClaimOrdered | PaymentReturned) -> dict[str, str]:
    return {"cash": format_money(entry.cash), "payee": entry.payee}


ORDER: Kind[ClaimOrdered, OrderClaim] = Kind(
    entry=ClaimOrdered,
    command=OrderClaim,
    judge=_judge_order,
    apply=_apply_cash,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    response=_cash_response,
    codes=(*CLAIM_CODES, "same_person", "notice_running", "objection_open", "too_large"),
    moves_money=True,
)
PAYMENT: Kind[ClaimPaid, PayClaim] = Kind(
    entry=ClaimPaid,
    command=PayClaim,
    judge=_judge_payment,
    apply=_apply_payment,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    codes=(*CLAIM_CODES, "bad_dates"),
)
RETURN: Kind[PaymentReturned, ReturnPayment] = Kind(
    entry=PaymentReturned,
    command=ReturnPayment,
    judge=_judge_return,
    apply=_apply_cash,
    subjects=claim_subjects,
    rows="registration",
    response=_cash_response,
    codes=(*CLAIM_CODES, "bad_dates", "too_large"),
    moves_money=True,
)
