"""What the sums find where one figure, one name or one entry of an honest ledger is another.

Each place of the story that holds every kind of entry is bent: a number is one more or less, a name
that of another, an entry left out or told twice. What they find is compared exactly, also where
they rightly find nothing: there the rules of the core decide alone, or nothing follows.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ledger.canon import decode, encode
from ledger.errors import Violation
from meter.auditor.sums import Sums
from tests.books import ALPHA, BETA
from tests.fuzz.ledgers import story
from tests.summing import Fields

Path = tuple[str | int, ...]
MOST = 2  # entries of a kind that are bent at one place
OTHERS = {ALPHA: BETA, BETA: ALPHA, "A": "B", "B": "A", "pcl": "szdex", "szdex": "pcl"} | {
    "training-coupon": "corpus-coupon",
    "corpus-coupon": "training-coupon",
    "adaptation": "training-coupon",
    "C3": "C1",
    "op": "x",
}


def test_a_number_that_is_one_more_or_less_is_found_where_the_sums_say_so():
    assert told(by_one(entries())) == read(NUMBERS)


def test_another_name_is_found_where_the_sums_say_so():
    assert told(by_name(entries())) == read(NAMES)


def test_an_entry_that_is_left_out_or_told_twice_is_found_where_the_sums_say_so():
    assert told(by_entry(entries())) == read(ENTRIES)


Bent = tuple[str, list[Fields]]  # a place, and all entries with the bend


def entries() -> list[Fields]:
    return [decode(encode(entry)) for entry in story().entries]


def by_one(every: list[Fields]) -> Iterator[Bent]:
    for place, number, path, value in places(every, int):
        for more in (1, -1):
            yield place, with_value(every, number, path, value + more)


def by_name(every: list[Fields]) -> Iterator[Bent]:
    for place, number, path, value in places(every, str):
        if value in OTHERS:
            yield place, with_value(every, number, path, OTHERS[value])


def by_entry(every: list[Fields]) -> Iterator[Bent]:
    for number, entry in enumerate(every):
        # What is named by number stays where it was.
        spare = {"seq": 1} | entry | {"kind": "batch"}
        yield f"{entry['kind']} left out", [*every[:number], spare, *every[number + 1 :]]
        if number:
            yield f"{entry['kind']} twice", [*every, entry | {"at": every[-1]["at"]}]


def places(every: list[Fields], kind: type) -> Iterator[tuple[str, int, Path, Any]]:
    """Yield each place with a value of a type: its name, the entry's number, and where it is."""
    seen: Counter[str] = Counter()
    for number, entry in enumerate(every):
        names = set()
        for path, value in values(entry):
            name = ".".join(part for part in path if isinstance(part, str) and part.isascii())
            place = f"{entry['kind']}.{name}"
            if type(value) is kind and name not in ("at", "kind", "v") and seen[place] < MOST:
                names.add(place)
                yield place, number, path, value
        seen.update(names)


def values(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from values(each, (*path, key))
    else:
        yield path, value


def with_value(every: list[Fields], number: int, path: Path, value: Any) -> list[Fields]:
    entry = inner = copy.deepcopy(every[number])
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return [*every[:number], entry, *every[number + 1 :]]


def told(bent: Iterable[Bent]) -> dict[str, list[str]]:
    """Return what is found by place, in order; what is always the same once."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for place, every in bent:
        code = code_of(every)
        if code is not None:
            found[place].append(code)
    return {place: codes if len(set(codes)) > 1 else codes[:1] for place, codes in found.items()}


def code_of(every: list[Fields]) -> str | None:
    """Return what is found, or None where an entry names what is not there: no replay goes on."""
    sums = Sums()
    try:
        for number, fields in enumerate(every):
            sums.entry(number, encode(fields))
        sums.finish()
    except Violation as violation:
        return violation.code.removeprefix("sum_")
    except KeyError:
        return None
    return "good"


def read(text: str) -> dict[str, list[str]]:
    """Return what is expected, by place: each line has codes, then places in all kinds."""
    lines = (line.partition(": ") for line in text.strip().splitlines())
    return {place: codes.split() for codes, _, named in lines for place in named.split(", ")}


NUMBERS = """
good: genesis.contract_limit, provider.devices.ascend-910b, contract.amount
good: contract.max_devices.ascend-910b, contract.prices.ascend-910b, allocation.requests
good: contract_funds.amount, project.audited_investment, project_funds.amount, project_audit.amount
good: award.amount, award.base, batch.before, batch.purchases, batch.records, batch.voids
good: usage.batch, void.batch, purchase.batch, amendment.amount, amendment.max_devices.ascend-910b
good: summary.batch, enlistment.devices.ascend-910b, claim.invoices.tax, claim.payments.amount
good: claim.payments.part, approval.claimed, approval.disallowed, approval.forfeited
good: approval.granted, approval.invoiced, approval.paid, approval.ratio_bp, red_invoice.amount
good: red_invoice.refunded, forfeit.amount
pool: policy.postings, budget.amount, budget.postings, budget.year, award.year
allocation: allocation.allotted, allocation.year, allotment.allocation, allotment.amount
allocation: allotment.year
coupon: allotment.postings, withdrawal.postings
coupon granted coupon coupon: issue.amount
year year coupon coupon: issue.postings
granted policy granted coupon: issue.year
year: expiry.amount, expiry.postings, expiry.year, year_closing.year
coupon coupon award award: award.postings
award: award_change.amount
award award coupon coupon: award_change.postings
cost: usage.cost, void.cost, purchase.cost, amendment.cost
good fits good withheld: usage.end
entitled: usage.entitled, void.entitled, release.entitled, purchase.entitled, amendment.entitled
fits: usage.fits
withheld fits withheld withheld: usage.milli_devices
cost cost granted granted cost cost: usage.postings
good fits good fits: usage.start
evidence: usage.evidence
withheld: usage.withheld, usage.withheld_cost, release.withheld, release.withheld_cost
withheld: amendment.withheld_cost
cost cost granted granted cost cost granted granted: void.postings, purchase.postings
record: void.record, release.record
granted: release.postings
ineligible cost good good: purchase.amount
ineligible: purchase.ineligible
cost cost granted granted: amendment.postings
good cost: amendment.prices.ascend-910b
coupon coupon persons persons: withdrawal.amount
coupon granted persons persons: withdrawal.year
summary: summary.differing, summary.differs, summary.lines, summary.records
summary: summary.scheduler.doubtful, summary.scheduler.ignored, summary.scheduler.quarantined
summary: summary.scheduler.refused, summary.scheduler.reported, summary.scheduler.total
summary: summary.told_records, summary.replaces
persons persons good good: proposal.body.year
persons: withdrawal.proposal, proposal_end.proposal
good good good invoice: claim.invoices.amount
good good invoice good: claim.invoices.part
claims good claims good: claim.year
good good cash cash: approval.amount
claims: approval.postings, claim_revocation.postings, order.postings, recovery.amount
claims: recovery.postings, recovery.year
notice: resolution.objection
cash: order.cash, payment_return.cash
invoice: red_invoice.year
papers: forfeit.year
month: batch.seq, month_closing.booked_cost, month_closing.booked_granted, month_closing.end
month: month_closing.first, month_closing.gaps, month_closing.items, month_closing.parts
month: month_list.booked_cost, month_list.booked_granted, month_list.closing, month_list.gaps
dispute: dispute.record, dispute.years, dispute_dismissal.dispute
good: access_digest.rows
"""
NAMES = """
persons: genesis.person, genesis.persons.id, policy.person, provider.person, key.person
persons: revocation.person, enterprise.person, contract.person, allocation.person, issue.person
persons: expiry.person, year_closing.person, contract_funds.person, succession.person, budget.person
persons: project.person, project_funds.person, project_audit.person, award.person
persons: award_change.person, release.person, void.person, freeze.person, unfreeze.person
persons: enterprise_amendment.person, provider_amendment.person, late_window.person
persons: amendment.person, withdrawal.person, enlistment.person, person.person, token.person
persons: proposal.person, proposal_end.person, token_end.person, person_end.person, claim.person
persons: claim_end.person, claim_check.person, approval.person, claim_revocation.person
persons: notice.person, objection.person, resolution.person, order.person, payment.person
persons: payment_return.person, red_invoice.person, recovery.person, forfeit.person
policy: policy.programme, issue.programme
good: key.provider, contract_funds.contract, succession.successor, award.enterprise
good: month_closing.waiver.person, month_confirmation.enterprise
good: freeze.contract, unfreeze.contract, provider_amendment.provider, late_window.contract
good: summary.differs, enlistment.provider
class: enterprise.uscc, contract.enterprise, enterprise_amendment.uscc, amendment.contract
allocation: allocation.requests, allotment.enterprise
need granted: issue.enterprise
contract: contract.follows
budget: budget.programme
applicant: award.programme
withheld: usage.contract
record dispute: usage.provider
record: void.contract, void.provider, release.contract, release.provider
role: provider.serves
good record: purchase.provider
granted persons: withdrawal.enterprise
coupon persons: withdrawal.programme
summary: summary.provider
persons good: proposal.body.enterprise, proposal.body.programme
invoice: claim.invoices.buyer, claim.item, red_invoice.item
claims: claim_check.claim, approval.claim, notice.claim, objection.claim, resolution.claim
claims: order.claim, payment.claim, payment_return.claim
cash: order.payee, payment_return.payee, recovery.claim
claims cash: recovery.item
papers: forfeit.item
month: batch.provider, month_list.provider
dispute: dispute.contract, dispute.provider, dispute_dismissal.contract, dispute_dismissal.provider
persons: month_closing.person, month_confirmation.person, dispute.person, dispute_dismissal.person
"""
ENTRIES = """
persons: genesis left out, withdrawal left out, proposal_end left out, proposal_end twice
persons: person_recovery left out, access_digest left out, state_digest left out
access: access_digest twice
pool pool pool good pool: policy twice
good: provider twice, key twice, revocation twice, enterprise twice, contract_funds twice
good: project twice, project_funds twice, project_audit twice, batch left out, batch twice
good: freeze twice, unfreeze twice, enterprise_amendment twice, provider_amendment twice
good: late_window twice, enlistment twice, person twice, token twice, proposal twice
good: token_end twice, person_end twice, person_recovery twice, payment twice, recovery twice
good: forfeit twice, state_digest twice
contract contract contract contract cost applicant: contract twice
allocation: allocation twice, allotment left out, allotment twice
year need applicant: issue twice
year: expiry twice, year_closing twice
firm: succession twice
pool: budget twice
applicant: award twice
award: award_change twice
record: usage twice, void twice, release twice, purchase twice
cost good: amendment twice
good persons: withdrawal twice
summary good: summary left out
summary: summary twice
good good claims: claim twice
claims: claim_end twice, claim_check twice, approval twice, claim_revocation twice, notice twice
claims: objection twice, resolution twice, order twice, payment_return twice
invoice: red_invoice twice
month: month_closing twice, month_list left out, month_list twice
dispute: dispute twice, dispute_dismissal twice, month_confirmation twice
"""
