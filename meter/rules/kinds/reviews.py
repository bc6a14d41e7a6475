"""The review of a claim: approval, public notice (公示), objections, and the approval's end."""

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from meter.rules.claim_book import Claim, actor
from meter.rules.commands import (
    ApproveClaim,
    EnterObjection,
    NoticeClaim,
    ResolveObjection,
    RevokeClaim,
)
from meter.rules.entries import (
    ClaimApproved,
    ClaimNoticed,
    ClaimRevoked,
    Invoice,
    ObjectionEntered,
    ObjectionResolved,
    Payment,
    Posting,
)
from meter.rules.items import Item, debt_of, grounds_of, known_item
from meter.rules.kinds.claims import CLAIM_CODES, claim_subjects, known_claim
from meter.rules.kinds.coupons import check_fundable
from meter.rules.kinds.disputes import check_undisputed
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Judged,
    Kind,
    Stamp,
    check_another_person,
)
from meter.rules.kinds.projects import Ceiling, claimed_for, claims_ceiling
from meter.rules.payable import Grounds, debt
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS, format_date, format_money, parse_date

# Approval


def _judge_approval(state: State, command: ApproveClaim, stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "checked")
    check_another_person(state, stamp, claim.maker, claim.checker)
    item, year = known_item(state, claim.entered.item), claim.entered.year
    check_undisputed(state, claim.entered.item, year)
    _check_fundable(state, item, year)
    _check_stacking(state, item)
    claim = replace(claim, disallowed=_disallowed(claim, command))
    _check_papers(state, claim)
    grounds = grounds_of(state, item, year, claim)
    claimed = state.claims.account(claim.item_year).claimed
    _check_amount(state, claim, command.amount, grounds, claimed)
    ceiling = _ceiling(state, item, int(command.amount))
    fields: dict[str, Any] = {
        "granted": grounds.granted,
        "forfeited": grounds.forfeited,
        "ratio_bp": grounds.ratio_bp,
        "invoiced": grounds.invoiced,
        "paid": grounds.paid,
        "claimed": claimed,
        "bound": grounds.bound,
    }
    if ceiling is not None:
        fields |= {
            "audited": ceiling.audited,
            "local": ceiling.local,
            "project_claimed": ceiling.claimed,
        }
        if ceiling.left < grounds.limit - claimed:
            fields["bound"] = "project"
    return fields, _approval_postings(claim, command.amount)


def _check_fundable(state: State, item: Item, year: int) -> None:
    """Raise `Problem` where the firm may not apply, or has contracts and rents too little."""
    policy = state.policy_of(item.programme, year, state.size)
    assert policy is not None, "a policy touched the year when the claim was entered"
    check_fundable(state, policy, item.enterprise, year)


def _check_stacking(state: State, item: Item) -> None:
    """Raise `Problem` `stacked` where the city pays for the project by another programme."""
    if item.project is UNSET:
        return
    group = state.active[item.programme].group
    for name, fen in claimed_for(state, state.projects[item.project]).items():
        other = state.active[known_item(state, name).programme] if fen else None
        if other and other.programme != item.programme and other.group == group:
            raise Problem("stacked", f"{name} of {other.programme} is paid for the project")


def _ceiling(state: State, item: Item, amount: int) -> Ceiling | None:
    """Return the ceiling of the item's project, where it has one. Raises `Problem`."""
    if item.project is UNSET or amount == 0:
        return None
    ceiling = claims_ceiling(state, state.projects[item.project])
    if ceiling is not None and amount > ceiling.left:
        left = format_money(ceiling.left)
        raise Problem("project_ceiling", f"{left} are left of the audited investment")
    return ceiling


def _disallowed(claim: Claim, command: ApproveClaim) -> dict[str, int]:
    """Return what is disallowed by paper. Raises `Problem` `malformed`."""
    papers, found = dict(claim.papers()), dict(command.disallowed)
    if len(found) < len(command.disallowed):
        raise Problem("malformed", "a paper is disallowed twice")
    for name, fen in found.items():
        if name not in papers:
            raise Problem("malformed", f"the claim has no paper {name}")
        if not 0 < fen <= papers[name].part:
            raise Problem("malformed", f"what is disallowed of {name} is zero, or above its part")
    return {name: int(fen) for name, fen in found.items()}


def _check_papers(state: State, claim: Claim) -> None:
    """Raise `Problem` where a paper is bound to another item, or claimed for more than it is."""
    for name, paper in claim.papers():
        part = claim.allowed(name, paper)
        if part == 0:
            continue
        code = "invoice_used" if isinstance(paper, Invoice) else "reference_used"
        for other in state.claims.bound_to(name):
            theirs = dict(other.papers())[name]
            same = other.entered.item == claim.entered.item and _same_paper(paper, theirs)
            part += other.allowed(name, theirs)
            if other.allowed(name, theirs) and (not same or part > paper.amount):
                raise Problem(code, f"{name} is bound by entry {other.entry}", entry=other.entry)


def _same_paper(first: Invoice | Payment, second: Invoice | Payment) -> bool:
    """Return whether two papers differ in the part that is claimed for at most."""
    return replace(first, part=0) == replace(second, part=0)


def _check_amount(state: State, claim: Claim, amount: int, grounds: Grounds, claimed: int) -> None:
    """Raise `Problem` for more than is open, or for nothing where the papers lower no debt."""
    left = grounds.limit - claimed
    asked = claim.entered.amount or left
    if amount == 0:
        item, year = claim.item_year
        owed = debt_of(state, known_item(state, item), year)
        if debt(state.claims.account(claim.item_year).paid, grounds.limit) >= owed:
            raise Problem("nothing_payable", "the papers lower no debt")
    elif left <= 0:
        limit, before = format_money(grounds.limit), format_money(claimed)
        raise Problem("nothing_payable", f"{before} of {limit} are approved already")
    elif amount > min(left, asked):
        raise Problem("above_payable", f"{format_money(min(left, asked))} can be approved")


def _approval_postings(claim: Claim, fen: int) -> list[Posting]:
    item, year = claim.item_year
    return [(f"claims:{item}:{year}", f"payable:{item}:{year}", int(fen))] if fen else []


def _apply_approval(state: State, number: int, entry: ClaimApproved) -> None:
    state.claims.change(
        entry.claim,
        number,
        state="approved",
        approver=actor(entry),
        approved=entry.amount,
        disallowed=dict(entry.disallowed),
    )
    state.claims.post(number, entry.postings)


def _approval_response(_state: State, entry: ClaimApproved) -> dict[str, str]:
    grounds = Grounds(entry.granted, entry.forfeited, entry.ratio_bp, entry.invoiced, entry.paid)
    return {"limit": format_money(grounds.limit), "bound": entry.bound}


# Notice


def _judge_notice(state: State, command: NoticeClaim, stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "approved")
    days = known_item(state, claim.entered.item).claims.notice_days
    starts, ends = parse_date(command.starts), parse_date(command.ends)
    today = format_date(stamp.at // MICROSECONDS)
    if command.starts < today:
        raise Problem("bad_dates", f"the notice begins before {today}", field="from")
    if ends - starts < days * DAY_SECONDS:
        raise Problem("bad_dates", f"the notice lasts less than {days} days", field="until")
    return NOTHING_MORE


def _apply_notice(state: State, number: int, entry: ClaimNoticed) -> None:
    notice = parse_date(entry.starts) * MICROSECONDS, parse_date(entry.ends) * MICROSECONDS
    state.claims.change(entry.claim, number, state="noticed", notice=notice, url=entry.url)


# Objections


def _judge_objection(state: State, command: EnterObjection, _stamp: Stamp) -> Judged:
    known_claim(state, command.claim, "noticed")
    return NOTHING_MORE


def _apply_objection(state: State, number: int, entry: ObjectionEntered) -> None:
    claim = known_claim(state, entry.claim, "noticed")
    state.claims.change(entry.claim, number, objections=claim.objections | {number: False})


def _judge_resolution(state: State, command: ResolveObjection, _stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "noticed")
    resolved = claim.objections.get(command.objection)
    if resolved is None:
        detail = f"entry {command.objection} is no objection to {command.claim}"
        raise Problem("unknown_objection", detail)
    if resolved:
        raise Problem("wrong_state", f"objection {command.objection} is resolved")
    return NOTHING_MORE


def _apply_resolution(state: State, number: int, entry: ObjectionResolved) -> None:
    claim = known_claim(state, entry.claim, "noticed")
    state.claims.change(entry.claim, number, objections=claim.objections | {entry.objection: True})


# The end of an approval


def _judge_revocation(state: State, command: RevokeClaim, _stamp: Stamp) -> Judged:
    claim = known_claim(state, command.claim, "approved", "noticed")
    approved = _approval_postings(claim, claim.approved)
    return {}, [(payable, claims, fen) for claims, payable, fen in approved]


def _apply_revocation(state: State, number: int, entry: ClaimRevoked) -> None:
    state.claims.change(entry.claim, number, state="ended")
    state.claims.post(number, entry.postings)


APPROVAL: Kind[ClaimApproved, ApproveClaim] = Kind(
    entry=ClaimApproved,
    command=ApproveClaim,
    judge=_judge_approval,
    apply=_apply_approval,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    response=_approval_response,
    codes=(
        *CLAIM_CODES,
        *("same_person", "dispute_open", "not_applicant", "role_conflict", "below_threshold"),
        *("invoice_used", "reference_used", "stacked", "project_ceiling", "audit_missing"),
        *("nothing_payable", "above_payable"),
    ),
    moves_money=True,
)
NOTICE: Kind[ClaimNoticed, NoticeClaim] = Kind(
    entry=ClaimNoticed,
    command=NoticeClaim,
    judge=_judge_notice,
    apply=_apply_notice,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    codes=(*CLAIM_CODES, "bad_dates"),
)
OBJECTION: Kind[ObjectionEntered, EnterObjection] = Kind(
    entry=ObjectionEntered,
    command=EnterObjection,
    judge=_judge_objection,
    apply=_apply_objection,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    codes=CLAIM_CODES,
)
RESOLUTION: Kind[ObjectionResolved, ResolveObjection] = Kind(
    entry=ObjectionResolved,
    command=ResolveObjection,
    judge=_judge_resolution,
    apply=_apply_resolution,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    codes=(*CLAIM_CODES, "unknown_objection"),
)
REVOCATION: Kind[ClaimRevoked, RevokeClaim] = Kind(
    entry=ClaimRevoked,
    command=RevokeClaim,
    judge=_judge_revocation,
    apply=_apply_revocation,
    subjects=claim_subjects,
    rows="registration",
    persons=1,
    codes=CLAIM_CODES,
    moves_money=True,
)
