"""What the audit says at once where one figure or one name of an honest story is another.

The places are those of `test_sum_bends`, one entry of a kind for each; what is told at the entry or
at the next one is compared exactly. What the table calls good is a figure that somebody decides:
nothing before it gives another.
"""

import copy
from collections import defaultdict
from functools import cache

from ledger import canon
from ledger.errors import Violation
from ledger.tlog import Tree, leaf_hash
from meter.auditor.replay import Audit
from tests.fuzz.ledgers import story
from tests.meter import test_sum_bends as bends
from tests.meter.test_sum_bends import entries, places, read, with_value


def test_a_number_that_is_one_more_or_less_is_found_at_once_where_it_follows(monkeypatch):
    monkeypatch.setattr(bends, "MOST", 1)
    every, found = entries(), defaultdict(list)
    for place, number, path, value in places(every, int):
        for more in (1, -1):
            leaf = canon.encode(with_value(every, number, path, value + more)[number])
            found[place].append(told(number, leaf))
    assert shortened(found) == read(NUMBERS)


def test_another_name_is_found_at_once_where_it_follows(monkeypatch):
    monkeypatch.setattr(bends, "MOST", 1)
    every, found = entries(), defaultdict(list)
    for place, number, path, value in places(every, str):
        if value in bends.OTHERS:
            leaf = canon.encode(with_value(every, number, path, bends.OTHERS[value])[number])
            found[place].append(told(number, leaf))
    assert shortened(found) == read(NAMES)


def test_the_honest_story_is_good_at_each_of_its_entries():
    assert {told(number, leaf) for number, leaf in enumerate(story().leaves)} == {"good"}


@cache
def befores() -> list[tuple[Audit, Tree]]:
    """Return an audit of the story as it is before each entry."""
    audit, tree, found = Audit(), Tree(), []
    for number, leaf in enumerate(story().leaves):
        found.append(copy.deepcopy((audit, tree)))
        take(audit, tree, number, leaf)
    return found


def told(number: int, leaf: bytes) -> str:
    """Return what the audit finds at an entry in place of the story's, or at the next one."""
    audit, tree = copy.deepcopy(befores()[number])
    try:
        take(audit, tree, number, leaf)
        if number + 1 < len(story().leaves):
            take(audit, tree, number + 1, story().leaves[number + 1])
    except Violation as violation:
        reason = violation.detail.partition(":")[0]
        return violation.code + (f"/{reason}" if violation.code == "not_allowed" else "")
    return "good"


def take(audit: Audit, tree: Tree, number: int, leaf: bytes) -> None:
    audit.entry(number, leaf, canon.decode(leaf), story().files.get(number, []), tree)
    tree.append(leaf_hash(leaf))


def shortened(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out what is always the same, but for the first."""
    return {place: codes if len(set(codes)) > 1 else codes[:1] for place, codes in found.items()}


NUMBERS = """
good: genesis.contract_limit, contract.amount, contract.prices.ascend-910b, allocation.requests
good: contract_funds.amount, project.audited_investment, project_funds.amount, project_audit.amount
good: award.base, amendment.amount, amendment.max_devices.ascend-910b, red_invoice.amount
good: forfeit.amount
not_as_decided: policy.postings, allocation.allotted, allocation.year, allotment.allocation
not_as_decided: allotment.amount, allotment.postings, allotment.year, issue.amount, issue.postings
not_as_decided: expiry.amount, expiry.postings, budget.amount, budget.postings, budget.year
not_as_decided: award.amount, award.postings, award_change.amount, award_change.postings
not_as_decided: batch.purchases, batch.records, batch.seq, batch.voids, usage.batch, usage.cost
not_as_decided: usage.end, usage.entitled, usage.fits, usage.milli_devices, usage.postings
not_as_decided: usage.start, usage.evidence, usage.withheld, usage.withheld_cost, void.batch
not_as_decided: void.cost, void.entitled, void.postings, void.record, release.entitled
not_as_decided: release.postings, release.record, release.withheld, release.withheld_cost
not_as_decided: purchase.amount, purchase.batch, purchase.cost, purchase.entitled
not_as_decided: purchase.ineligible, purchase.postings, amendment.cost, amendment.entitled
not_as_decided: amendment.postings, amendment.withheld_cost, withdrawal.amount, withdrawal.postings
not_as_decided: summary.batch, summary.differing, summary.differs, summary.lines, summary.records
not_as_decided: summary.scheduler.doubtful, summary.scheduler.ignored, summary.scheduler.quarantined
not_as_decided: summary.scheduler.refused, summary.scheduler.reported, summary.scheduler.total
not_as_decided: summary.told_records, summary.replaces, approval.amount, approval.claimed
not_as_decided: approval.disallowed, approval.forfeited, approval.granted, approval.invoiced
not_as_decided: approval.paid, approval.postings, approval.ratio_bp, claim_revocation.postings
not_as_decided: order.cash, order.postings, payment_return.cash, recovery.amount, recovery.postings
malformed_entry good: provider.devices.ascend-910b, contract.max_devices.ascend-910b
not_as_decided not_allowed/unknown_year: issue.year
not_allowed/year_open not_allowed/unknown_year: expiry.year, year_closing.year
not_allowed/no_budget: award.year
wrong_before wrong_receipt: batch.before
good not_as_decided: amendment.prices.ascend-910b
not_allowed/below_granted: withdrawal.year, proposal.body.year
wrong_receipt malformed_entry: enlistment.devices.ascend-910b
good malformed_entry: claim.invoices.tax, red_invoice.refunded
not_allowed/unknown_proposal: withdrawal.proposal, proposal_end.proposal
good not_allowed/malformed: claim.invoices.amount, claim.payments.amount
not_allowed/malformed good: claim.invoices.part, claim.payments.part
not_allowed/bad_dates good: claim.year
not_allowed/unknown_objection: resolution.objection
not_allowed/unknown_invoice: red_invoice.year
not_allowed/above_debt: recovery.year
not_allowed/above_granted: forfeit.year
not_as_decided: month_closing.booked_cost, month_closing.booked_granted, month_closing.end
not_as_decided: month_closing.first, month_closing.gaps, month_closing.items, month_closing.parts
not_as_decided: month_list.booked_cost, month_list.booked_granted, month_list.closing
not_as_decided: month_list.gaps, dispute.record, dispute.years, dispute_dismissal.dispute
not_as_decided: access_digest.rows
"""
NAMES = """
not_allowed/unauthorized: genesis.person, genesis.persons.id
not_as_decided: policy.person, provider.person, key.person, revocation.person, enterprise.person
not_as_decided: contract.enterprise, contract.person, allocation.person, allotment.enterprise
not_as_decided: issue.person, expiry.person, year_closing.person, contract_funds.person
not_as_decided: succession.person, budget.person, project.person, project_funds.person
not_as_decided: project_audit.person, award.enterprise, award.person, award_change.person
not_as_decided: batch.provider, usage.contract, usage.provider, void.contract, void.provider
not_as_decided: release.contract, release.person, void.person, freeze.person, unfreeze.person
not_as_decided: purchase.provider, enterprise_amendment.person, provider_amendment.person
not_as_decided: late_window.person, amendment.contract, amendment.person, withdrawal.person
not_as_decided: withdrawal.programme, summary.differs, summary.provider, enlistment.person
not_as_decided: person.person, token.person, proposal.body.programme, proposal.person
not_as_decided: proposal_end.person, token_end.person, person_end.person, claim.person
not_as_decided: claim_end.person, claim_check.person, approval.person, claim_revocation.person
not_as_decided: notice.person, objection.person, resolution.person, order.payee, order.person
not_as_decided: payment.person, payment_return.payee, payment_return.person, red_invoice.item
not_as_decided: red_invoice.person, recovery.person, forfeit.person
not_allowed/bad_policy: policy.programme
not_allowed/unknown_provider: provider.id, key.provider, contract.provider
not_allowed/exists_differently: enterprise.uscc
not_allowed/malformed: allocation.requests
not_allowed/above_need: issue.enterprise
not_allowed/unknown_contract: contract.follows
good: contract_funds.contract, succession.successor, enterprise_amendment.uscc
good: provider_amendment.provider, late_window.contract
not_allowed/unknown_programme: budget.programme
not_allowed/wrong_meter: award.programme, provider.serves, enlistment.provider
not_allowed/unknown_record: release.provider
not_allowed/not_frozen: freeze.contract, unfreeze.contract
not_allowed/below_granted: withdrawal.enterprise, proposal.body.enterprise
not_allowed/invoice_party: claim.invoices.buyer, claim.item
not_allowed/wrong_state: notice.claim, objection.claim, resolution.claim, order.claim, payment.claim
not_allowed/wrong_state: payment_return.claim, recovery.claim
not_allowed/above_debt: recovery.item
not_allowed/above_granted: forfeit.item
good: month_confirmation.enterprise
not_as_decided: month_closing.person, month_list.provider, month_confirmation.person
not_as_decided: dispute.person, dispute_dismissal.contract, dispute_dismissal.person
not_allowed/unknown_person: month_closing.waiver.person
not_allowed/unknown_record: dispute.contract, dispute.provider
not_allowed/unknown_dispute: dispute_dismissal.provider
"""
