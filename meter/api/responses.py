"""The JSON of good responses, one struct each. Money is yuan text, instants carry an offset.

Long responses come in pages: `next` is the `after` of the page that follows, `more` says whether
that one holds something now. A page can be short, even empty, and have more after it: what it
reads is bounded too. The `next` of the last page can be used again later.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from meter.rules.claim_book import ClaimState
from meter.rules.entries import AcceptedEntry, AmendmentMode, Bound, PriceFor, UsageAccepted
from meter.values.roles import Role
from meter.values.units import (
    MICROSECONDS,
    format_instant,
    format_moment,
    format_money,
    format_price,
)
from meter.views.flags import QuestionKind
from meter.views.past import RecordStatus
from meter.wire.advice import Refusable
from meter.wire.receipt import REASONS, Reason
from meter.wire.summary import Scheduler


class AsOf(Struct, frozen=True):
    """How many entries a response includes, and the instant of the last of them.

    What can be asked `as_of` is the same by either. A balance within a commit is so by the first.
    """

    entries: int
    time: str


def as_of(size: int, last_at: int) -> AsOf:
    """Return how many entries a response includes; `last_at` is in microseconds."""
    return AsOf(size, format_moment(last_at))


def funds_view(sums: Mapping[str, tuple[str, int]]) -> "list[FundsView]":
    """Return other public money from level and fen by reference."""
    return [
        FundsView(reference, level, format_money(fen)) for reference, (level, fen) in sums.items()
    ]


def costs_by_reason(fen: Iterable[int]) -> dict[Reason, str]:
    """Return ineligible costs by reason, without reasons that cost nothing."""
    costs = zip(REASONS, fen, strict=True)
    return {reason: format_money(cost) for reason, cost in costs if cost}


def content_of(accepted: AcceptedEntry) -> dict[str, Any]:
    """Return what was used, or bought, as views have it."""
    if isinstance(accepted, UsageAccepted):
        return {
            "device": accepted.device,
            "milli_devices": accepted.milli_devices,
            "starts": format_instant(accepted.start // MICROSECONDS),
            "ends": format_instant(accepted.end // MICROSECONDS),
        }
    return {
        "amount": format_money(accepted.amount),
        "delivered_on": accepted.delivered_on,
        "service_from": accepted.service_from,
        "service_until": accepted.service_until,
    }


class Page(Struct, frozen=True, kw_only=True):
    """What every page has beside its items."""

    next: str
    more: bool
    as_of: AsOf


class Share(Struct, frozen=True, kw_only=True):
    """What one contract has in one year."""

    entitled: str
    granted: str
    uncovered: str
    withheld: str


class ContractShare(Share, frozen=True, kw_only=True):
    """A contract's share of a coupon."""

    contract: str


class AwardShare(Struct, frozen=True, kw_only=True):
    """What one award has of a coupon: all of it is granted."""

    award: str
    granted: str


class YearShare(Share, frozen=True, kw_only=True):
    """A contract's share of one year's coupon."""

    year: int


class Balance(Struct, frozen=True, kw_only=True):
    """A coupon: issued = granted + remaining; entitled = granted + uncovered."""

    enterprise: str
    programme: str
    year: int
    issued: str
    granted: str
    remaining: str
    entitled: str
    uncovered: str
    withheld: str
    cap: str | UnsetType = UNSET
    contracts: list[ContractShare]
    awards: list[AwardShare]
    as_of: AsOf


class PriceView(Struct, frozen=True):
    """The price of a device for a day, or for a calendar month."""

    amount: str
    per: Literal["day", "month"]


class FundsView(Struct, frozen=True):
    """Other public money: its reference, the level that gives it, and its sum."""

    reference: str
    level: str
    amount: str


def price_view(price: int | PriceFor) -> str | PriceView:
    """Return a price as responses have it."""
    if isinstance(price, int):
        return format_price(price)
    return PriceView(format_price(price.amount), price.per)


class ContractView(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"starts": "from", "ends": "until", "ratio_class": "class"},
):
    """A contract's terms as they are now, and what was metered and granted under it.

    The cost is eligible, withheld or ineligible; `reasons` has the last by reason. What is withheld
    in the years and `rounding` add up to what is withheld. The provider is not told of `project`,
    `follows` and `funds`.
    """

    id: str
    entry: int
    contract_no: str
    programme: str
    policy: str
    enterprise: str
    provider: str
    project: str | UnsetType = UNSET
    follows: str | UnsetType = UNSET
    ratio_class: str
    amount: str
    signed_on: str
    starts: str
    ends: str
    use: str
    prices: dict[str, str | PriceView]
    max_devices: dict[str, int]
    related_party: bool
    funds: list[FundsView] | UnsetType = UNSET
    amendments: list[int]
    frozen: bool
    cost: str
    eligible: str
    withheld: str
    ineligible: str
    reasons: dict[Reason, str]
    years: list[YearShare]
    rounding: str
    as_of: AsOf


class ChangeView(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"starts": "from", "ends": "until", "ratio_class": "class"},
):
    """An entry about a contract: the terms that it names, and what it changed.

    Officials are told who made it: `by` and `person`.
    `cost`, `entitled` and `granted` are signed changes by an amendment or other public money.
    """

    entry: int
    kind: str
    time: str
    by: str | UnsetType = UNSET
    person: str | UnsetType = UNSET
    contract_no: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    follows: str | UnsetType = UNSET
    mode: AmendmentMode | UnsetType = UNSET
    effective: str | UnsetType = UNSET
    open_until: str | UnsetType = UNSET
    enterprise: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    signed_on: str | UnsetType = UNSET
    starts: str | UnsetType = UNSET
    ends: str | UnsetType = UNSET
    use: str | UnsetType = UNSET
    prices: dict[str, str | PriceView] | UnsetType = UNSET
    max_devices: dict[str, int] | UnsetType = UNSET
    related_party: bool | UnsetType = UNSET
    policy: str | UnsetType = UNSET
    ratio_class: str | UnsetType = UNSET
    reference: str | UnsetType = UNSET
    level: str | UnsetType = UNSET
    document: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    cost: str | UnsetType = UNSET
    entitled: str | UnsetType = UNSET
    granted: str | UnsetType = UNSET


class HistoryView(Struct, frozen=True):
    """The entries about a contract in order."""

    history: list[ChangeView]
    as_of: AsOf


class EntryView(Struct, frozen=True):
    """One entry: its canonical bytes, embedded as they are, and their leaf hash in hex."""

    number: int
    leaf_hash: str
    entry: msgspec.Raw


class EntryPage(Struct, frozen=True):
    """Entries in order; `next` is the number of the last entry that was searched."""

    entries: list[EntryView]
    next: int
    more: bool
    as_of: AsOf


class QuestionView(Struct, frozen=True, kw_only=True):
    """Something that somebody should be able to explain; `entries` are the first that show it."""

    kind: QuestionKind
    provider: str
    contracts: list[str]
    count: int
    entries: list[int]


class QuestionPage(Struct, frozen=True):
    """Questions by kind; `next` is the number of the last entry that was searched."""

    questions: list[QuestionView]
    next: int
    more: bool
    as_of: AsOf


class ReceiptKeyView(Struct, frozen=True):
    """The key that signs receipts: standard base64 of the raw public key."""

    keyid: str
    algorithm: str
    public_key: str


class StreamView(Struct, frozen=True):
    """A provider's stream: its highest number, and how many numbers are there and missing.

    `time` is when the batch of the highest number was committed.
    """

    stream: str
    last: int
    batches: int
    missing: int
    time: str


class StreamPage(Page, frozen=True, kw_only=True):
    """A provider's streams by name."""

    streams: list[StreamView]


class BatchView(Struct, frozen=True, kw_only=True):
    """A batch that was judged: the hex sha256 of its payload, and how much it asked for."""

    seq: int
    entry: int
    time: str
    batch: str
    records: int
    purchases: int
    voids: int


class BatchPage(Page, frozen=True, kw_only=True):
    """The batches of a stream, the highest number first."""

    batches: list[BatchView]


class Gap(Struct, frozen=True):
    """Numbers of a stream that no batch has, `first` and `last` included."""

    first: int
    last: int


class GapPage(Page, frozen=True, kw_only=True):
    """One stream, and a page of its gaps, in order."""

    stream: str
    last: int
    batches: int
    missing: int
    gaps: list[Gap]


class DifferingLine(Struct, frozen=True):
    """A contract and device kind of a day, by the ledger and as the provider told it."""

    contract: str
    device: str
    records: int
    device_seconds: str
    told_records: int
    told_device_seconds: str


class SummaryView(Struct, frozen=True, kw_only=True):
    """The newest summary of a stream's day: the ledger's figures of then, and what was told.

    `differs` has the first of the lines in which the two differ. `replaces` is the entry before it.
    """

    entry: int
    stream: str
    day: str
    replaces: int | UnsetType = UNSET
    records: int
    device_seconds: str
    told_records: int
    told_device_seconds: str
    lines: int
    differing: int
    differs: list[DifferingLine]
    scheduler: Scheduler


class SummaryPage(Page, frozen=True, kw_only=True):
    """The days of a provider's streams that were summed up."""

    summaries: list[SummaryView]


class RejectedView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refused part of a batch, the reason, and what to do about it.

    `what` is a record, a purchase, a void, or a whole batch, whose number holds another one.
    """

    batch: str
    stream: str
    seq: int
    what: Refusable
    id: str = ""
    contract: str = ""
    status: Literal["rejected", "conflict"]
    code: str
    detail: str
    retry: bool
    advice: str


class RejectedPage(Page, frozen=True, kw_only=True):
    """The refusals of a provider's batches, in the order in which they came."""

    rejected: list[RejectedView]


class ReportedView(Struct, frozen=True, kw_only=True, rename={"starts": "start", "ends": "end"}):
    """A record or purchase as its provider sent it, and the entry that accepted it.

    `voided` is the number of the entry that took it back, `voided_by` the side that asked for it.
    """

    entry: int
    id: str
    contract: str
    device: str | UnsetType = UNSET
    milli_devices: int | UnsetType = UNSET
    starts: str | UnsetType = UNSET
    ends: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    delivered_on: str | UnsetType = UNSET
    service_from: str | UnsetType = UNSET
    service_until: str | UnsetType = UNSET
    run: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    final: bool | UnsetType = UNSET
    voided: int | UnsetType = UNSET
    voided_by: Literal["provider", "authority"] | UnsetType = UNSET


class ReportedPage(Page, frozen=True, kw_only=True):
    """A provider's accepted records, by id."""

    records: list[ReportedView]


class ContractSummary(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"starts": "from", "ends": "until", "ratio_class": "class"},
):
    """A contract and its totals; what of the cost counts for nothing also by reason."""

    id: str
    entry: int
    programme: str
    enterprise: str
    provider: str
    ratio_class: str
    amount: str
    starts: str
    ends: str
    frozen: bool
    cost: str
    entitled: str
    granted: str
    uncovered: str
    withheld: str
    ineligible: str
    reasons: dict[Reason, str]


class ContractPage(Page, frozen=True, kw_only=True):
    """Contracts in the order of their registration."""

    contracts: list[ContractSummary]


class UsageDay(Struct, frozen=True):
    """Usage on a Shanghai day, of one device kind, voided records left out.

    `milli_device_seconds` is exact, thousandths of a device × seconds; `device_hours` is the same
    cut to four decimals. Both are text, for numbers of JSON are not exact everywhere.
    """

    date: str
    device: str
    milli_device_seconds: str
    device_hours: str


class UsageTotal(Struct, frozen=True):
    """Device-time of all lines of a list, exact, and in hours cut to four decimals."""

    milli_device_seconds: str
    device_hours: str


class UsagePage(Page, frozen=True, kw_only=True):
    """Usage by day and device kind, in that order; the last page has the total of all pages.

    The `device_hours` of all lines and `rounding` add up to those of the total.
    """

    usage: list[UsageDay]
    total: UsageTotal | UnsetType = UNSET
    rounding: str | UnsetType = UNSET


class RecordEvidence(Struct, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """Device-time of a record that was withheld, and the limit that it was beyond.

    Of the contract's own limit with the time. When all of a provider's devices were in use is its
    other customers' affair, so of that limit only the sum is told.
    """

    limit: Literal["contract", "provider"]
    starts: str | UnsetType = UNSET
    ends: str | UnsetType = UNSET
    device_hours: str


class RecordView(Struct, frozen=True, kw_only=True, rename={"starts": "start", "ends": "end"}):
    """An accepted record or purchase, or a void or release of one; the money as it changes.

    A record has a device, a purchase an amount and dates. Both have a status; `withheld` means that
    a part waits for a reviewer. `granted` is what the entry moved to the contract; later entries
    may have moved it on. `voided` and `released` are the numbers of the entries that did so. They
    are lines themselves, and name the entry of the `record`. What changes or comes late is booked
    in a month after that of service, in which the record begins.
    """

    line: Literal["record", "purchase", "void", "release"]
    entry: int
    record: int | UnsetType = UNSET
    id: str
    provider: str
    contract: str
    device: str | UnsetType = UNSET
    milli_devices: int | UnsetType = UNSET
    starts: str | UnsetType = UNSET
    ends: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    delivered_on: str | UnsetType = UNSET
    service_from: str | UnsetType = UNSET
    service_until: str | UnsetType = UNSET
    service_month: str
    booked_month: str
    cost: str
    entitled: str
    granted: str
    withheld: str
    ineligible: str
    reasons: dict[Reason, str]
    evidence: list[RecordEvidence] = []
    status: RecordStatus | UnsetType = UNSET
    voided: int | UnsetType = UNSET
    released: int | UnsetType = UNSET


class RecordTotal(Struct, frozen=True):
    """What the contracts of a list cost and are entitled to, what is withheld and ineligible."""

    cost: str
    entitled: str
    withheld: str
    ineligible: str


class RecordPage(Page, frozen=True, kw_only=True):
    """Records, voids and releases in the order of their entries; the last page has the total.

    All lines, `amended` and `rounding` add up to the total. Lines that a filter chose, and the
    newest first, have none. `from` and `until` choose records, and nothing else, by the
    Shanghai day on which they begin, `device` by their kind.
    """

    records: list[RecordView]
    total: RecordTotal | UnsetType = UNSET
    amended: RecordTotal | UnsetType = UNSET
    rounding: RecordTotal | UnsetType = UNSET


class NotCountedView(
    Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"starts": "start", "ends": "end"}
):
    """A record that was refused, or withheld in part, and the fate of that part.

    `entry` is the record's, or that of the batch in which it was refused; `withheld` its cost. A
    purchase has no device, and the day of its delivery.
    """

    entry: int
    id: str
    provider: str
    contract: str
    device: str = ""
    starts: str
    ends: str
    status: Literal["rejected", "conflict", "withheld", "released", "voided"]
    code: str
    detail: str = ""
    withheld: str = ""


class NotCountedPage(Page, frozen=True, kw_only=True):
    """Records that do not count, or count in part, in the order in which they came."""

    refused: list[NotCountedView]


class PoolView(Struct, frozen=True):
    """The money of a pool and year: amount = issued + left; granted is part of issued.

    `programme` owns the pool; `programmes` draw on it. `stated` is the policy's figure and `budget`
    the city's, where there is one.
    """

    programme: str
    year: int
    amount: str
    issued: str
    left: str
    granted: str
    programmes: list[str]
    stated: str | UnsetType = UNSET
    budget: str | UnsetType = UNSET


class PoolPage(Page, frozen=True, kw_only=True):
    """Pools by programme and year."""

    pools: list[PoolView]


class CouponView(Struct, frozen=True, kw_only=True):
    """A coupon: issued = granted + remaining; entitled = granted + uncovered."""

    enterprise: str
    programme: str
    year: int
    issued: str
    granted: str
    remaining: str
    entitled: str
    uncovered: str


class CouponPage(Page, frozen=True, kw_only=True):
    """Coupons by enterprise, programme and year."""

    coupons: list[CouponView]


class ClaimSummary(Struct, frozen=True, kw_only=True):
    """A claim: what it asks for (nothing: all that is open), what was approved, the cash to pay."""

    id: str
    entry: int
    newest: int
    item: str
    programme: str
    year: int
    enterprise: str
    state: ClaimState
    asked: str
    approved: str
    cash: str
    payee: str


class ClaimPage(Page, frozen=True, kw_only=True):
    """Claims in the order of their entries."""

    claims: list[ClaimSummary]


class InvoiceView(Struct, frozen=True, kw_only=True):
    """An invoice of a claim; of its `part`, `disallowed` does not count."""

    number: str
    issued_on: str
    seller: str
    buyer: str
    amount: str
    tax: str
    part: str
    disallowed: str
    sha256: str


class PaymentView(Struct, frozen=True, kw_only=True):
    """A payment of a claim; of its `part`, `disallowed` does not count."""

    bank: str
    reference: str
    paid_on: str
    amount: str
    part: str
    disallowed: str


class SharedInvoiceView(Struct, frozen=True):
    """An invoice that another open claim names too: it can count only once."""

    number: str
    claim: str


class ObjectionView(Struct, frozen=True):
    """An objection, by the number of its entry."""

    entry: int
    resolved: bool


class BookedView(Struct, frozen=True):
    """A payment by the bank that was entered, one that it sent back later too."""

    bank_reference: str
    paid_on: str


class ClaimView(ClaimSummary, frozen=True, kw_only=True, omit_defaults=True):
    """A claim with its papers; the notice is a half-open period of Shanghai dates.

    Officials alone are told who acted, and of `shared_invoices`.
    """

    invoices: list[InvoiceView]
    payments: list[PaymentView]
    delivery: str = ""
    notice_from: str = ""
    notice_until: str = ""
    url: str = ""
    objections: list[ObjectionView]
    booked: list[BookedView]
    shared_invoices: list[SharedInvoiceView] | UnsetType = UNSET
    maker: str = ""
    checker: str = ""
    approver: str = ""
    as_of: AsOf


class AccountView(Struct, frozen=True, kw_only=True):
    """An item in a year: what may be paid in all is `limit`; what was paid beyond it is `debt`.

    `invoiced` and `paid_by_firm` are empty where the policy asks for no such evidence. `lapsed` is
    zero until the year is closed.
    """

    item: str
    year: int
    granted: str
    forfeited: str
    lapsed: str
    ratio_bp: int
    invoiced: str
    paid_by_firm: str
    limit: str
    payable: str
    paid: str
    debt: str


class AccountPage(Page, frozen=True, kw_only=True):
    """Accounts in the order of their items' entries, then by year."""

    accounts: list[AccountView]


class EnterpriseView(Struct, frozen=True, kw_only=True):
    """An enterprise that may be funded; `contracts` is the number of its contracts.

    `successor` stands in its place, and it stands in that of `succeeded`.
    """

    uscc: str
    entry: int
    name: str
    kind: str
    founded_on: str
    contracts: int
    successor: str | UnsetType = UNSET
    succeeded: list[str]


class EnterprisePage(Page, frozen=True, kw_only=True):
    """Enterprises in the order of their registration."""

    enterprises: list[EnterpriseView]


class AwardAmount(Struct, frozen=True):
    """What an award was set to, and the number of the entry that did it."""

    entry: int
    amount: str


class AwardView(Struct, frozen=True, kw_only=True, rename={"funding_class": "class"}):
    """An award: `amount` is issued and granted now, `base` what a ratio was taken of."""

    id: str
    entry: int
    programme: str
    policy: str
    funding_class: str
    enterprise: str
    project: str | UnsetType = UNSET
    year: int
    base: str | UnsetType = UNSET
    amount: str
    document: str
    amounts: list[AwardAmount]


class AwardPage(Page, frozen=True, kw_only=True):
    """Awards in the order of their entries."""

    awards: list[AwardView]


class ProjectView(Struct, frozen=True, kw_only=True):
    """A project, other public money for it, and the ids of its awards."""

    id: str
    entry: int
    title: str
    audited_investment: str | UnsetType = UNSET
    funds: list[FundsView]
    awards: list[str]


class ProjectPage(Page, frozen=True, kw_only=True):
    """Projects in the order of their registration."""

    projects: list[ProjectView]


class EnlistmentView(Struct, frozen=True, rename={"starts": "from", "ends": "until"}):
    """Whole devices by kind, enlisted in a period of Shanghai dates."""

    batch: str
    devices: dict[str, int]
    starts: str
    ends: str


class KeyView(Struct, frozen=True):
    """A provider's key; new batches under a revoked one are refused."""

    keyid: str
    revoked: bool


class SuspectView(Struct, frozen=True, kw_only=True):
    """A batch that another may have signed."""

    entry: int
    time: str
    batch: str
    stream: str
    seq: int
    counting: int


class SuspectPage(Page, frozen=True, kw_only=True):
    """Batches signed by a revoked key since it is suspected."""

    suspects: list[SuspectView]


class ProviderView(Struct, frozen=True, kw_only=True):
    """A provider, the programmes of purchases that it serves, its enlistments and its keys."""

    id: str
    entry: int
    uscc: str
    name: str
    serves: list[str]
    enlistments: list[EnlistmentView]
    keys: list[KeyView]


class ProviderPage(Page, frozen=True, kw_only=True):
    """Providers in the order of their registration."""

    providers: list[ProviderView]


class EvidenceView(Struct, frozen=True, rename={"starts": "from", "ends": "until"}):
    """A limit, and how much it withheld in a run of quarter-hours."""

    limit: Literal["contract", "provider"]
    starts: str
    ends: str
    device_hours: str


class WithheldView(Struct, frozen=True, kw_only=True, rename={"starts": "start", "ends": "end"}):
    """A record whose withheld part waits for a reviewer; `time` is when it was committed.

    `device_hours` and `amount` are those of the withheld part, the latter at the contract's price.
    """

    entry: int
    time: str
    id: str
    provider: str
    enterprise: str
    contract: str
    device: str
    milli_devices: int
    starts: str
    ends: str
    device_hours: str
    amount: str
    evidence: list[EvidenceView]


class WithheldPage(Page, frozen=True, kw_only=True):
    """Records that wait for a reviewer, oldest first."""

    withheld: list[WithheldView]


class TokenView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bearer token, without its secret, or the id under which somebody signs in to the pages.

    `used_at` is kept about once a minute.

    `person` is whose it is, if it is the authority's and the ledger names it.
    """

    id: str
    role: Role
    subject: str
    person: str = ""
    made_at: str
    expires_at: str = ""
    used_at: str = ""
    revoked_at: str = ""
    signs_in: bool = False


class TokenPage(Page, frozen=True, kw_only=True):
    """Tokens by id."""

    tokens: list[TokenView]


class PersonView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person who speaks, or spoke, for the authority, and the tokens that have not ended."""

    id: str
    entry: int
    tokens: list[str]
    ended: int | UnsetType = UNSET


class PersonPage(Page, frozen=True, kw_only=True):
    """Persons in the order of their entries."""

    persons: list[PersonView]


# An expired proposal is one that grew too old.
ProposalStatus = Literal["open", "confirmed", "ended", "expired"]


class ProposalView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A proposed command. `closed` is the entry that confirmed or ended it."""

    entry: int
    time: str
    until: str
    person: str
    command: str
    body: dict[str, Any]
    reason: str = ""
    status: ProposalStatus
    closed: int | UnsetType = UNSET


class ProposalPage(Page, frozen=True, kw_only=True):
    """Proposals in the order of their entries."""

    proposals: list[ProposalView]


class Status(Struct, frozen=True):
    """The service's own state."""

    status: str


class MadeEntry(
    Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"ratio_class": "class"}
):
    """The entry that a command made, and what follows from it."""

    entry: int
    policy: str = ""
    ratio_class: str = ""
    warnings: list[str] = []
    issued: str = ""
    allotted: str = ""
    expired: str = ""
    left: str = ""
    cost: str = ""
    entitled: str = ""
    until: str = ""
    limit: str = ""
    bound: Bound | Literal[""] = ""
    cash: str = ""
    payee: str = ""


class ProgrammeView(Struct, frozen=True):
    """A programme by the title of its newest policy, and the calendar years of all its policies."""

    programme: str
    title: str
    title_en: str
    years: list[int]


class Me(Struct, frozen=True, kw_only=True):
    """Who a token is: `person` of the authority's, `subject` and `name` of a party's."""

    token: str
    role: Role
    subject: str | UnsetType = UNSET
    person: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    programmes: list[ProgrammeView]
    as_of: AsOf


class ClassView(Struct, frozen=True, kw_only=True):
    """A class of funding: basis points, or a fixed sum, or neither; and its cap."""

    name: str
    title: str
    title_en: str
    ratio: int | UnsetType = UNSET
    fixed: str | UnsetType = UNSET
    cap: str | UnsetType = UNSET


class PolicyView(Struct, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """A policy in force: its main figures, and its whole file."""

    entry: int
    programme: str
    version: str
    title: str
    title_en: str
    meter: str
    starts: str
    ends: str
    classes: list[ClassView]
    cap: str | UnsetType = UNSET
    pool: str | UnsetType = UNSET
    pool_owner: str
    content: str


class PolicyPage(Page, frozen=True, kw_only=True):
    """Policies in the order of their entries."""

    policies: list[PolicyView]


class Named(Struct, frozen=True):
    """An organisation by id and name."""

    id: str
    name: str


class EnterpriseDetail(Struct, frozen=True, kw_only=True):
    """An enterprise, the providers of its contracts, and the programmes that it has a part in."""

    enterprise: EnterpriseView
    providers: list[Named]
    programmes: list[ProgrammeView]


FoundKind = Literal[
    "enterprise",
    "provider",
    "contract",
    "award",
    "project",
    "claim",
    "key",
    "person",
    "entry",
    "batch",
    "record",
]


class FoundView(Struct, frozen=True):
    """Something found; `name` is that of an organisation or project, or a record's provider."""

    kind: FoundKind
    id: str
    name: str


class SearchView(Struct, frozen=True, kw_only=True):
    """What was found; with `more`, a longer text finds less."""

    found: list[FoundView]
    more: bool
    as_of: AsOf
