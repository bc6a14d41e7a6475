"""Claims (核销): a firm's papers for what an item was granted in a year, their check, their end."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET

from meter.rules.claim_book import OPEN, Claim, ClaimState, actor
from meter.rules.commands import CheckClaim, EndClaim, EnterClaim
from meter.rules.entries import (
    ClaimChecked,
    ClaimEnded,
    ClaimEntered,
    ClaimStep,
)
from meter.rules.items import Item, check_year, item_enterprise, known_item
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Holder,
    Judged,
    Kind,
    Stamp,
    check_another_person,
    check_not_in_future,
    check_spelling,
    note_spelling,
)
from meter.rules.kinds.periods import check_not_closed
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, add_months, parse_date

CLAIM_CODES: Final = ("unknown_claim", "wrong_state")

# What all claims share


def any_claim(state: State, name: str) -> Claim:
    """Return a claim in any state. Raises `Problem` `unknown_claim`."""
    claim = state.claims.claim(name)
    if claim is None:
        raise Problem("unknown_claim", f"no claim {name}")
    return claim


def known_claim(state: State, name: str, *allowed: ClaimState) -> Claim:
    """Return a claim in one of some states. Raises `Problem` `unknown_claim`, `wrong_state`."""
    claim = any_claim(state, name)
    if claim.state not in allowed:
        raise Problem("wrong_state", f"claim {name} is {claim.state}", entry=claim.number)
    return claim


def claim_subjects(state: State, entry: ClaimStep) -> Iterable[str]:
    """Return the subjects of an entry about a claim: the claim and its firm, not its provider."""
    return subjects_of_item(state, any_claim(state, entry.claim).entered.item, entry.claim)


def subjects_of_item(state: State, item: str, *claims: str) -> set[str]:
    """Return the subjects of money of an item: its firm, and some claims."""
    enterprise = known_item(state, item).enterprise
    return {f"enterprise:{enterprise}", *(f"claim:{name}" for name in claims)}


# To enter a claim


def _holder(state: State, command: EnterClaim) -> Holder | None:
    versions = state.claims.claims.get(command.id)
    return None if versions is None else (versions[0].entry, versions[0].entered)


def _judge_claim(state: State, command: EnterClaim, stamp: Stamp) -> Judged:
    check_spelling(state, "claim", command.id)
    item = known_item(state, command.item)
    check_year(item, command.year)
    _check_window(item, command.year, stamp)
    check_not_closed(state, item.programme, command.year)
    for other in state.claims.claims_of((command.item, command.year)):
        if other.state in OPEN:
            detail = f"claim {other.entered.id} for {command.item} {command.year} is {other.state}"
            raise Problem("claim_open", detail, entry=other.entry)
    _check_evidence(item, command)
    _check_papers(state, item, command, stamp)
    return NOTHING_MORE


def _check_window(item: Item, year: int, stamp: Stamp) -> None:
    """Raise `Problem` where the year has not begun, or its claims are closed."""
    ends = add_months(f"{year + 1}-01-01", item.claims.months)
    if stamp.at < parse_date(f"{year}-01-01") * MICROSECONDS:
        raise Problem("bad_dates", f"{year} has not begun", field="year")
    if stamp.at >= parse_date(ends) * MICROSECONDS:
        raise Problem("year_closed", f"claims for {year} were open until {ends}")


def _check_evidence(item: Item, command: EnterClaim) -> None:
    """Raise `Problem` `evidence_missing` where the policy asks for papers that are not there."""
    given = {
        "invoice": bool(command.invoices),
        "payment": bool(command.payments),
        "delivery": command.delivery is not UNSET,
    }
    fields = {"invoice": "invoices", "payment": "payments", "delivery": "delivery"}
    for asked in sorted(item.claims.evidence):
        if not given[asked]:
            detail = f"policy {item.policy.version} asks for {fields[asked]}"
            raise Problem("evidence_missing", detail, field=fields[asked])


def _check_papers(state: State, item: Item, command: EnterClaim, stamp: Stamp) -> None:
    """Raise `Problem` for a paper that cannot be meant, or is not between the two parties."""
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    numbers = [each.number for each in command.invoices]
    references = [(each.bank, each.reference) for each in command.payments]
    if len({*numbers, *references}) < len(numbers) + len(references):
        raise Problem("malformed", "a paper stands in the claim twice")
    buyers = state.firm_of(item.enterprise)
    for invoice in command.invoices:
        check_not_in_future("issued_on", invoice.issued_on, stamp)
        _check_part(invoice.number, invoice.part, invoice.amount)
        if invoice.tax > invoice.amount:
            raise Problem("malformed", f"the tax of {invoice.number} is above its amount")
        seller = item.seller or "another"
        is_sold = invoice.seller not in buyers if item.seller is None else invoice.seller == seller
        if not is_sold or invoice.buyer not in buyers:
            detail = f"{invoice.number} is not from {seller} to {' or '.join(buyers)}"
            raise Problem("invoice_party", detail)
    for payment in command.payments:
        check_not_in_future("paid_on", payment.paid_on, stamp)
        _check_part(payment.reference, payment.part, payment.amount)


def _check_part(name: str, part: int, amount: int) -> None:
    if not 0 < part <= amount:
        raise Problem("malformed", f"the part of {name} is zero, or above its amount")


def _entering_firm(state: State, command: EnterClaim) -> str:
    return item_enterprise(state, command.item)


def _apply_claim(state: State, number: int, entry: ClaimEntered) -> None:
    maker = actor(entry)
    state.claims.enter(Claim(number=number, entry=number, entered=entry, maker=maker))
    note_spelling(state, "claim", entry.id)


def _claim_subjects(state: State, entry: ClaimEntered) -> Iterable[str]:
    return subjects_of_item(state, entry.item, entry.id)


# To check and to end it


def _judge_check(state: State, command: CheckClaim, stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "entered")
    check_another_person(state, stamp, claim.maker)
    return NOTHING_MORE


def _apply_check(state: State, number: int, entry: ClaimChecked) -> None:
    checker = actor(entry)
    state.claims.change(entry.claim, number, state="checked", checker=checker)


def _check_response(state: State, entry: ClaimChecked) -> dict[str, Any]:
    """Return a warning for each invoice that another open claim names: it can count only once."""
    shared = state.claims.shared_invoices(any_claim(state, entry.claim))
    warnings = [f"invoices: {number} stands in claim {name} too" for number, name in shared]
    return {"warnings": warnings} if warnings else {}


def _judge_end(state: State, command: EndClaim, stamp: Stamp) -> Judged:
    known_claim(state, command.claim, "entered", "checked")
    if state.people.person_of(stamp.by) is None and command.outcome != "withdrawn":
        raise Problem("forbidden", "its enterprise can withdraw a claim, and nothing else")
    return NOTHING_MORE


def _apply_end(state: State, number: int, entry: ClaimEnded) -> None:
    state.claims.change(entry.claim, number, state="ended")


def _ending_firm(state: State, command: EndClaim) -> str:
    return item_enterprise(state, any_claim(state, command.claim).entered.item)


CLAIM: Kind[ClaimEntered, EnterClaim] = Kind(
    entry=ClaimEntered,
    command=EnterClaim,
    holder=_holder,
    judge=_judge_claim,
    apply=_apply_claim,
    subjects=_claim_subjects,
    firm=_entering_firm,
    rows="registration",
    persons=1,
    codes=(
        *(
            "exists_differently",
            "looks_alike",
            "unknown_contract",
            "no_claims",
            "unknown_year",
            "bad_dates",
        ),
        *("year_closed", "claim_open", "evidence_missing", "invoice_party"),
    ),
)
CHECK: Kind[ClaimChecked, CheckClaim] = Kind(
    entry=ClaimChecked,
    command=CheckClaim,
    judge=_judge_check,
    apply=_apply_check,
    subjects=claim_subjects,
    rows="registration",
    response=_check_response,
    persons=1,
    codes=(*CLAIM_CODES, "same_person"),
)
END: Kind[ClaimEnded, EndClaim] = Kind(
    entry=ClaimEnded,
    command=EndClaim,
    judge=_judge_end,
    apply=_apply_end,
    subjects=claim_subjects,
    firm=_ending_firm,
    rows="registration",
    persons=1,
    codes=CLAIM_CODES,
)
