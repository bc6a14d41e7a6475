"""What leaves a firm in debt, and what comes back: red invoices, forfeits and recoveries."""

from collections.abc import Iterable

from msgspec import UNSET

from meter.rules.claim_book import Claim, invoice_name
from meter.rules.commands import EnterRedInvoice, ForfeitGrant, RecoverDebt
from meter.rules.entries import DebtRecovered, GrantForfeited, RedInvoiceEntered
from meter.rules.items import Item, check_year, debt_of, granted, known_item
from meter.rules.kinds.claims import known_claim, subjects_of_item
from meter.rules.kinds.kind import NOTHING_MORE, Holder, Judged, Kind, Stamp, check_not_in_future
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import format_money

# Recovery


def _judge_recovery(state: State, command: RecoverDebt, _stamp: Stamp) -> Judged:
    item = known_item(state, command.item)
    if (command.bank_reference is UNSET) == (command.claim is UNSET):
        raise Problem("malformed", "either a bank_reference or a claim is needed")
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    owed = debt_of(state, item, command.year)
    if command.amount > owed:
        raise Problem("above_debt", f"{format_money(owed)} are owed for {command.year}")
    if command.claim is not UNSET:
        claim = known_claim(state, command.claim, "ordered")
        _check_same_firm(state, item, claim)
        if command.amount > claim.cash:
            raise Problem("above_payable", f"the claim's cash is {format_money(claim.cash)}")
    account = f"{command.item}:{command.year}"
    return {}, [(f"paid:{account}", f"claims:{account}", int(command.amount))]


def _check_same_firm(state: State, item: Item, claim: Claim) -> None:
    """Raise `Problem` `unknown_claim` for a claim of another firm or programme."""
    other = known_item(state, claim.entered.item)
    firms = [state.last_successor(each.enterprise) for each in (item, other)]
    if firms[0] != firms[1] or item.programme != other.programme:
        detail = f"{claim.entered.id} is no claim of {item.enterprise} under {item.programme}"
        raise Problem("unknown_claim", detail)


def _apply_recovery(state: State, number: int, entry: DebtRecovered) -> None:
    if entry.claim is not UNSET:
        claim = known_claim(state, entry.claim, "ordered")
        cash = claim.cash - entry.amount
        status = "ordered" if cash else "paid"
        state.claims.change(entry.claim, number, state=status, cash=cash)
    state.claims.post(number, entry.postings)


def _recovery_subjects(state: State, entry: DebtRecovered) -> Iterable[str]:
    claims = () if entry.claim is UNSET else (entry.claim,)
    return subjects_of_item(state, entry.item, *claims)


# Red invoices


def _red_holder(state: State, command: EnterRedInvoice) -> Holder | None:
    return state.claims.red_numbers.get(command.red_number)


def _judge_red(state: State, command: EnterRedInvoice, stamp: Stamp) -> Judged:
    check_not_in_future("issued_on", command.issued_on, stamp)
    if command.amount == 0 and command.refunded == 0:
        raise Problem("malformed", "amount and refunded are zero")
    name = invoice_name(command.number)
    bound = [each for each in state.claims.bound_to(name) if each.entered.year == command.year]
    if not bound:
        raise Problem("unknown_invoice", f"no approved claim for {command.year} has it")
    item, papers = bound[0].entered.item, [dict(each.papers())[name] for each in bound]
    known = [
        red
        for _, red in state.claims.red.get((item, command.year), [])
        if red.number == command.number
    ]
    left = sum(each.allowed(name, paper) for each, paper in zip(bound, papers, strict=True))
    left -= sum(red.amount for red in known)
    if command.amount > left:
        raise Problem("above_invoice", f"{format_money(left)} of {command.number} are claimed for")
    left = papers[0].amount - sum(red.refunded for red in known)
    if command.refunded > left:
        raise Problem("above_invoice", f"{format_money(left)} of {command.number} can be refunded")
    return {"item": item}, []


def _apply_red(state: State, number: int, entry: RedInvoiceEntered) -> None:
    state.claims.take_red((entry.item, entry.year), number, entry)


# Forfeits


def _judge_forfeit(state: State, command: ForfeitGrant, _stamp: Stamp) -> Judged:
    check_year(known_item(state, command.item), command.year)
    most = granted(state, (command.item, command.year))
    if command.amount > most:
        raise Problem("above_granted", f"{format_money(most)} are granted")
    return NOTHING_MORE


def _apply_forfeit(state: State, number: int, entry: GrantForfeited) -> None:
    state.claims.forfeit((entry.item, entry.year), number, entry.amount)


def _subjects(state: State, entry: RedInvoiceEntered | GrantForfeited) -> Iterable[str]:
    return subjects_of_item(state, entry.item)


RECOVERY: Kind[DebtRecovered, RecoverDebt] = Kind(
    entry=DebtRecovered,
    command=RecoverDebt,
    judge=_judge_recovery,
    apply=_apply_recovery,
    subjects=_recovery_subjects,
    rows="registration",
    codes=(
        "unknown_contract",
        "no_claims",
        "above_debt",
        "unknown_claim",
        "wrong_state",
        "above_payable",
    ),
    moves_money=True,
)
RED_INVOICE: Kind[RedInvoiceEntered, EnterRedInvoice] = Kind(
    entry=RedInvoiceEntered,
    command=EnterRedInvoice,
    holder=_red_holder,
    judge=_judge_red,
    apply=_apply_red,
    subjects=_subjects,
    rows="registration",
    codes=("exists_differently", "bad_dates", "unknown_invoice", "above_invoice"),
)
FORFEIT: Kind[GrantForfeited, ForfeitGrant] = Kind(
    entry=GrantForfeited,
    command=ForfeitGrant,
    judge=_judge_forfeit,
    apply=_apply_forfeit,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_contract", "no_claims", "unknown_year", "above_granted"),
)
