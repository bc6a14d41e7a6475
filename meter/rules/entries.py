"""Every kind of ledger entry, one struct each; an entry's bytes are `ledger.canon` of its struct.

Common to all: `v` 1, `kind`, `at` (microseconds since 1970 UTC, never decreasing), `by` (key id or
token id), `postings` (`[from, to, fen]`) and `salt` (128 bits in hex, for nobody to guess an entry
from its public leaf hash; see `rules/salts.py`). Entries made by the authority add `request` (the
idempotency key) and `person` (whose token it was); they may add `reason`, and `proposal` (the
number of the proposal that they confirm or end). Money is fen, prices 1/10000 yuan per device-hour,
`start` and `end` microseconds, dates Shanghai text. Parts of usage are `[day, thousandths ×
seconds]`, by Shanghai days since 1970-01-01. One usage entry:

    {"at":1740790800000000,"batch":40,"by":"pcl-2025a","contract":"TC-2025-0001","cost":28800,
     "device":"ascend-910b","end":1740790800000000,"entitled":[[2025,14400]],
     "fits":[[20148,230400000]],"id":"slurm:4211:0","kind":"usage","milli_devices":64000,
     "postings":[["enterprise:91440300708461136T","due:TC-2025-0001",28800],
       ["coupon:training-coupon:2025:91440300708461136T","accrued:TC-2025-0001:2025",14400]],
     "provider":"pcl","salt":"4c6f7a0f3be1d5a2907e66c1d8b3f219","start":1740787200000000,"v":1}

Accounts (the classes in `FLOORED_CLASSES` never go below zero):

    treasury:<programme>:<year>      what the city set aside, as a debt
    pool:<programme>:<year>          not yet issued
    coupon:<programme>:<year>:<uscc> issued, not yet granted
    accrued:<item>:<year>            granted to the contract or award
    enterprise:<uscc>                what the enterprise owes, as a debt
    due:<contract>                   cost of the contract's metered usage
    claims:<item>:<year>             what was approved and not taken back, as a debt
    payable:<item>:<year>            approved, not yet ordered
    paid:<item>:<year>               ordered, and not taken back
"""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from meter.values.policy_file import Applicant
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, parse_date
from meter.wire.receipt import Reason

Posting = tuple[str, str, int]
DailyTime = list[tuple[int, int]]  # Shanghai day since 1970-01-01, thousandths × seconds
ReasonCost = list[tuple[Reason, int]]  # fen
NO_DEVICE: Final = ""  # the kind of device of what is bought
# The limit that withheld, from and until (microseconds), thousandths × seconds.
Evidence = tuple[Literal["contract", "provider"], int, int, int]

FLOORED_CLASSES: Final = ("accrued", "coupon", "due", "paid", "payable", "pool")

FundsLevel = Literal["national", "provincial", "municipal", "district"]
Salt = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
AmendmentMode = Literal["supplement", "correction"]
ClaimOutcome = Literal["returned", "rejected", "withdrawn"]
ObjectionOutcome = Literal["upheld", "dismissed"]
Ground = Literal["granted", "invoiced", "paid"]  # of the limit of a claim
Bound = Literal["granted", "invoiced", "paid", "project"]  # what bounds an approval


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that every entry has."""

    at: int
    by: str
    kind: str
    postings: list[Posting]
    salt: Salt
    v: Literal[1] = 1


class AuthorityEntry(Entry, frozen=True, kw_only=True):
    """The further fields of the authority's entries."""

    request: str
    person: str
    proposal: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class PriceFor(Struct, frozen=True, forbid_unknown_fields=True):
    """The price of a device for a day, or for a calendar month of Shanghai."""

    amount: int
    per: Literal["day", "month"]


class Enlistment(
    Struct, frozen=True, forbid_unknown_fields=True, rename={"starts": "from", "ends": "until"}
):
    """A provider's enlistment (入库) by batch: Shanghai dates, half-open."""

    batch: str
    starts: str
    ends: str


class ReceiptKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that signs receipts."""

    keyid: str
    algorithm: Literal["ed25519"]
    public_key: str


class FirstPerson(Struct, frozen=True, forbid_unknown_fields=True):
    """A person whom entry 0 names, and the id of the first token."""

    id: str
    token: str


class Genesis(AuthorityEntry, frozen=True, kw_only=True):
    """Entry 0: the name of the ledger, its first keys and persons, the accounts with a floor.

    `alone` lists the kinds of entries whose command one person gives alone, a contract up to
    `contract_limit` (fen). With `one_person`, a trial ledger, nothing needs two.
    """

    kind: Literal["genesis"] = "genesis"
    origin: str
    floors: list[str]
    log_key: str
    receipt_key: ReceiptKey
    persons: list[FirstPerson]
    one_person: bool
    alone: list[str]
    contract_limit: int


class PersonRegistered(AuthorityEntry, frozen=True, kw_only=True):
    """A person who may speak for the authority; the name stays outside the ledger."""

    kind: Literal["person"] = "person"
    id: str


class PersonEnded(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a person, with all tokens and open proposals of that person."""

    kind: Literal["person_end"] = "person_end"
    id: str


class PersonRecovered(AuthorityEntry, frozen=True, kw_only=True):
    """A token that an operator made offline, for a known or a new person, by nobody's command.

    `by` is that token, and `person` the one who holds it.
    """

    kind: Literal["person_recovery"] = "person_recovery"
    id: str
    token: str


class TokenMade(AuthorityEntry, frozen=True, kw_only=True):
    """A token of the authority and the person who holds it; the secret is in no entry."""

    kind: Literal["token"] = "token"
    id: str
    holder: str


class TokenEnded(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a token of the authority."""

    kind: Literal["token_end"] = "token_end"
    token: str


class ProposalMade(AuthorityEntry, frozen=True, kw_only=True):
    """A command that waits for another person; `body` is the JSON of its request.

    What stands in the command's URL stands in `body` here.
    """

    kind: Literal["proposal"] = "proposal"
    command: str
    body: dict[str, Any]


class ProposalEnded(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a proposal by its maker."""

    kind: Literal["proposal_end"] = "proposal_end"
    proposal: int


class PolicyActivated(AuthorityEntry, frozen=True, kw_only=True):
    """A policy file comes into force for new contracts; its pools open or change."""

    kind: Literal["policy"] = "policy"
    programme: str
    version: str
    content: str


class ProviderRegistered(AuthorityEntry, frozen=True, kw_only=True):
    """A provider with its first enlistment; `devices` counts whole devices by kind.

    A trading platform or vendor has none: it `serves` programmes of purchases.
    """

    kind: Literal["provider"] = "provider"
    id: str
    uscc: str
    name: str
    serves: list[str] | UnsetType = UNSET
    devices: dict[str, int] | UnsetType = UNSET
    enlisted: Enlistment | UnsetType = UNSET


class ProviderEnlisted(AuthorityEntry, frozen=True, kw_only=True):
    """A further enlistment of a provider, or a new end of an earlier one."""

    kind: Literal["enlistment"] = "enlistment"
    provider: str
    devices: dict[str, int]
    enlisted: Enlistment


class ProviderAmended(AuthorityEntry, frozen=True, kw_only=True):
    """A provider's new name, by a document."""

    kind: Literal["provider_amendment"] = "provider_amendment"
    provider: str
    name: str
    document: str


class EnterpriseAmended(AuthorityEntry, frozen=True, kw_only=True):
    """What an enterprise is from now on: for later contracts and awards."""

    kind: Literal["enterprise_amendment"] = "enterprise_amendment"
    uscc: str
    name: str | UnsetType = UNSET
    applicant: Applicant | UnsetType = UNSET
    founded_on: str | UnsetType = UNSET
    document: str


class KeyRegistered(AuthorityEntry, frozen=True, kw_only=True):
    """A provider's signing key: base64 of the raw key, and of its proof (`wire/possession.py`)."""

    kind: Literal["key"] = "key"
    provider: str
    keyid: str
    algorithm: Literal["ed25519"]
    public_key: str
    proof: str


class KeyRevoked(AuthorityEntry, frozen=True, kw_only=True):
    """The revocation of a provider's key: no later batch under it is accepted.

    Others may have signed with the key since `suspected_since` (microseconds). Batches that it has
    signed since then stay until the authority voids their records.
    """

    kind: Literal["revocation"] = "revocation"
    keyid: str
    suspected_since: int | UnsetType = UNSET


class LogKeyAdded(AuthorityEntry, frozen=True, kw_only=True):
    """A further log key: it signs every checkpoint whose size is above this entry's number."""

    kind: Literal["log_key"] = "log_key"
    vkey: str


class LogKeyRetired(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a log key: it signs no checkpoint after `checkpoint`.

    `checkpoint` is the signed note of all entries before this one. Whoever trusts the retired key
    learns the next key from it: the key's own signature covers the entry that names the next.
    """

    kind: Literal["log_key_retirement"] = "log_key_retirement"
    vkey: str
    checkpoint: str


class ReceiptKeyAdded(AuthorityEntry, frozen=True, kw_only=True):
    """A further receipt key: it signs the receipts of later batches."""

    kind: Literal["receipt_key"] = "receipt_key"
    keyid: str
    algorithm: Literal["ed25519"]
    public_key: str


class ReceiptKeyRetired(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a receipt key: it does not sign the receipts of later batches."""

    kind: Literal["receipt_key_retirement"] = "receipt_key_retirement"
    keyid: str


class EnterpriseRegistered(AuthorityEntry, frozen=True, kw_only=True):
    """An enterprise, university or institute that may be funded."""

    kind: Literal["enterprise"] = "enterprise"
    uscc: str
    name: str
    applicant: Applicant
    founded_on: str


class EnterpriseSucceeded(AuthorityEntry, frozen=True, kw_only=True):
    """A successor takes an enterprise's place: by a merger, a new code, or a mistyped one."""

    kind: Literal["succession"] = "succession"
    uscc: str
    successor: str
    effective: str
    document: str


class ContractRegistered(
    AuthorityEntry,
    frozen=True,
    kw_only=True,
    rename={"starts": "from", "ends": "until", "ratio_class": "class"},
):
    """A service contract; `policy` and `class` are fixed here, by its signing.

    A price that is a number is for an hour; a contract of purchases has none. `contract_no` is the
    number that its parties gave it; `follows` is an earlier contract, for the record only.
    """

    kind: Literal["contract"] = "contract"
    id: str
    contract_no: str
    programme: str
    enterprise: str
    provider: str
    project: str | UnsetType = UNSET
    follows: str | UnsetType = UNSET
    amount: int
    signed_on: str
    starts: str
    ends: str
    use: str
    prices: dict[str, int | PriceFor]
    max_devices: dict[str, int]
    related_party: bool
    policy: str
    ratio_class: str


class ContractAmended(
    AuthorityEntry,
    frozen=True,
    kw_only=True,
    rename={"starts": "from", "ends": "until", "ratio_class": "class"},
):
    """An amendment of a contract, and by how many fen it changes the sums of what was metered.

    A `supplement` was signed on `signed_on` and holds from `effective` on; a `correction` replaces
    what was registered. `policy` and `class` are those of the contract from now on.
    """

    kind: Literal["amendment"] = "amendment"
    contract: str
    mode: AmendmentMode
    effective: str | UnsetType = UNSET
    signed_on: str | UnsetType = UNSET
    amount: int | UnsetType = UNSET
    starts: str | UnsetType = UNSET
    ends: str | UnsetType = UNSET
    prices: dict[str, int | PriceFor] | UnsetType = UNSET
    max_devices: dict[str, int] | UnsetType = UNSET
    use: str | UnsetType = UNSET
    related_party: bool | UnsetType = UNSET
    enterprise: str | UnsetType = UNSET
    contract_no: str | UnsetType = UNSET
    document: str
    policy: str
    ratio_class: str
    cost: int
    entitled: list[tuple[int, int]]
    withheld_cost: int | UnsetType = UNSET
    ineligible: ReasonCost | UnsetType = UNSET


class ContractFrozen(AuthorityEntry, frozen=True, kw_only=True):
    """A freeze: new records of the contract are refused; voids and grants go on."""

    kind: Literal["freeze"] = "freeze"
    contract: str


class ContractUnfrozen(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a freeze: new records of the contract are accepted again."""

    kind: Literal["unfreeze"] = "unfreeze"
    contract: str


class ContractFunded(AuthorityEntry, frozen=True, kw_only=True):
    """Other public money for a contract: the newest amount of a reference counts.

    `entitled` is the growth of the contract's entitlement, by year.
    """

    kind: Literal["contract_funds"] = "contract_funds"
    contract: str
    reference: str
    level: FundsLevel
    amount: int
    document: str
    entitled: list[tuple[int, int]]


class LateWindowOpened(
    AuthorityEntry, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}
):
    """Records whose interval lies in `[from, until)` are taken whatever their age.

    All are Shanghai dates; the window is open before `open_until`.
    """

    kind: Literal["late_window"] = "late_window"
    contract: str
    starts: str
    ends: str
    open_until: str


class BudgetSet(AuthorityEntry, frozen=True, kw_only=True):
    """What a year's pool may issue at most, by a document of the city."""

    kind: Literal["budget"] = "budget"
    programme: str
    year: int
    amount: int
    document: str


class ProjectRegistered(AuthorityEntry, frozen=True, kw_only=True):
    """A project that awards and contracts may be for."""

    kind: Literal["project"] = "project"
    id: str
    title: str
    audited_investment: int | UnsetType = UNSET


class ProjectAudited(AuthorityEntry, frozen=True, kw_only=True):
    """The audited investment of a project, which limits all municipal money for it."""

    kind: Literal["project_audit"] = "project_audit"
    project: str
    amount: int
    document: str


class ProjectFunded(AuthorityEntry, frozen=True, kw_only=True):
    """Other public money for a project: the newest amount of a reference counts."""

    kind: Literal["project_funds"] = "project_funds"
    project: str
    reference: str
    level: FundsLevel
    amount: int
    document: str


class AwardMade(AuthorityEntry, frozen=True, kw_only=True, rename={"named": "class"}):
    """An award: issued and granted in one entry.

    The class is `named` where the policy does not derive it; else it is `derived`. `base` is what
    a ratio is of.
    """

    kind: Literal["award"] = "award"
    id: str
    programme: str
    named: str | UnsetType = UNSET
    enterprise: str
    project: str | UnsetType = UNSET
    year: int
    base: int | UnsetType = UNSET
    amount: int
    document: str
    policy: str
    derived: str | UnsetType = UNSET

    @property
    def class_name(self) -> str:
        """The class of the award."""
        return str(self.derived if self.named is UNSET else self.named)


class AwardChanged(AuthorityEntry, frozen=True, kw_only=True):
    """The new amount of an award; the difference moves between pool, coupon and grant."""

    kind: Literal["award_change"] = "award_change"
    award: str
    amount: int


class CouponIssued(AuthorityEntry, frozen=True, kw_only=True):
    """Money moves from the pool of the year to the enterprise's coupon."""

    kind: Literal["issue"] = "issue"
    programme: str
    enterprise: str
    year: int
    amount: int


class PoolAllocated(AuthorityEntry, frozen=True, kw_only=True):
    """The division of a pool among requests: what each enterprise asked for and is allotted.

    An entry for each sum above zero follows it.
    """

    kind: Literal["allocation"] = "allocation"
    programme: str
    year: int
    requests: list[tuple[str, int]]
    allotted: list[int]


class CouponAllotted(Entry, frozen=True, kw_only=True):
    """An issue that follows from an allocation, the entry of that number."""

    kind: Literal["allotment"] = "allotment"
    programme: str
    enterprise: str
    year: int
    amount: int
    allocation: int


class CouponWithdrawn(AuthorityEntry, frozen=True, kw_only=True):
    """Money that the coupon has not granted goes back to the pool."""

    kind: Literal["withdrawal"] = "withdrawal"
    programme: str
    enterprise: str
    year: int
    amount: int


class CouponsExpired(AuthorityEntry, frozen=True, kw_only=True):
    """What coupons of a year have left goes back to the pool; `amount` is the sum of it.

    The postings name the coupons. There may be more of them than one entry takes.
    """

    kind: Literal["expiry"] = "expiry"
    programme: str
    year: int
    amount: int


class YearClosed(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a programme's year: nothing more is issued or claimed for it."""

    kind: Literal["year_closing"] = "year_closing"
    programme: str
    year: int


class MonthWaiver(Struct, frozen=True, forbid_unknown_fields=True):
    """Who answers for closing a month whose streams lack numbers, and why; `person` is an id."""

    person: str
    reason: str


class MonthClosed(AuthorityEntry, frozen=True, kw_only=True):
    """The end of a month of the ledger: what its entries `[first, end)` booked, fen.

    `items` contracts and awards changed, and streams lack numbers in `gaps` ranges. The `parts`
    entries that follow name them.
    """

    kind: Literal["month_closing"] = "month_closing"
    month: str
    waiver: MonthWaiver | UnsetType = UNSET
    first: int
    end: int
    booked_cost: int
    booked_granted: int
    items: int
    gaps: int
    parts: int


class MonthListed(Entry, frozen=True, kw_only=True):
    """What a month booked with one provider, and what its streams lacked when it was closed.

    It follows from the closing, the entry of that number. `items` are contracts, each with the
    growth of cost and grants; awards, of no provider, grow in grants alone.
    `booked_cost` and `booked_granted` are their sums. A provider may need several such entries.
    """

    kind: Literal["month_list"] = "month_list"
    closing: int
    provider: str | UnsetType = UNSET
    booked_cost: int
    booked_granted: int
    items: list[tuple[str, int, int]]
    gaps: list[tuple[str, int, int]]


class MonthConfirmed(AuthorityEntry, frozen=True, kw_only=True):
    """A firm agrees with what a closed month booked of its contracts."""

    kind: Literal["month_confirmation"] = "month_confirmation"
    month: str
    enterprise: str


class RecordDisputed(AuthorityEntry, frozen=True, kw_only=True):
    """A firm disputes a record of its contract, the entry `record`, which `month` has booked.

    Until it is voided or the dispute is dismissed, no claim for the contract and one of the `years`
    that the record touches is approved.
    """

    kind: Literal["dispute"] = "dispute"
    contract: str
    provider: str
    id: str
    record: int
    month: str
    years: list[int]


class DisputeDismissed(AuthorityEntry, frozen=True, kw_only=True):
    """The record of a dispute, the entry of that number, stands."""

    kind: Literal["dispute_dismissal"] = "dispute_dismissal"
    provider: str
    id: str
    contract: str
    dispute: int


class Invoice(Struct, frozen=True, forbid_unknown_fields=True):
    """An invoice that a claim rests on; `part` is the fen of it that are claimed for.

    `amount` and `part` are gross or net, as the policy's `invoice_base` says.
    """

    number: str
    issued_on: str
    seller: str
    buyer: str
    amount: int
    tax: int
    part: int
    sha256: str


class Payment(Struct, frozen=True, forbid_unknown_fields=True):
    """A payment by the firm that a claim rests on; `part` is the fen of it that are claimed for."""

    bank: str
    reference: str
    paid_on: str
    amount: int
    part: int


class ClaimEntered(AuthorityEntry, frozen=True, kw_only=True):
    """A claim (核销) for what an item was granted in a year, with its papers.

    `delivery` is the hex sha256 of the proof of delivery.
    """

    kind: Literal["claim"] = "claim"
    id: str
    item: str
    year: int
    amount: int | UnsetType = UNSET
    invoices: list[Invoice]
    payments: list[Payment]
    delivery: str | UnsetType = UNSET


class ClaimChecked(AuthorityEntry, frozen=True, kw_only=True):
    """A second person has compared the claim with its papers."""

    kind: Literal["claim_check"] = "claim_check"
    claim: str


class ClaimEnded(AuthorityEntry, frozen=True, kw_only=True):
    """A claim is ended before its approval."""

    kind: Literal["claim_end"] = "claim_end"
    claim: str
    outcome: ClaimOutcome


class ClaimApproved(AuthorityEntry, frozen=True, kw_only=True):
    """A claim is approved: money becomes payable.

    `granted`, `forfeited`, `ratio_bp`, `invoiced` and `paid` are the grounds of the limit (the last
    two where the policy asks for them), `bound` names the one that sets it, and `claimed` was
    approved before. `disallowed` is fen by paper. Where the ceiling of a project counts, `audited`
    is its audited investment, `local` the money of city and districts for it, and `project_claimed`
    what was approved for all of its items before.
    """

    kind: Literal["approval"] = "approval"
    claim: str
    amount: int
    disallowed: list[tuple[str, int]]
    granted: int
    forfeited: int
    ratio_bp: int
    invoiced: int | UnsetType = UNSET
    paid: int | UnsetType = UNSET
    claimed: int
    audited: int | UnsetType = UNSET
    local: int | UnsetType = UNSET
    project_claimed: int | UnsetType = UNSET
    bound: Bound


class ClaimNoticed(
    AuthorityEntry, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}
):
    """The public notice (公示) of an approved claim: Shanghai dates, half-open."""

    kind: Literal["notice"] = "notice"
    claim: str
    starts: str
    ends: str
    url: str


class ObjectionEntered(AuthorityEntry, frozen=True, kw_only=True):
    """An objection to a claim under notice, by the hex sha256 of its text."""

    kind: Literal["objection"] = "objection"
    claim: str
    sha256: str


class ObjectionResolved(AuthorityEntry, frozen=True, kw_only=True):
    """The end of an objection, which is the entry `objection`."""

    kind: Literal["resolution"] = "resolution"
    claim: str
    objection: int
    outcome: ObjectionOutcome


class ClaimRevoked(AuthorityEntry, frozen=True, kw_only=True):
    """An approval is taken back before the order: nothing is payable, and the papers are free."""

    kind: Literal["claim_revocation"] = "claim_revocation"
    claim: str


class ClaimOrdered(AuthorityEntry, frozen=True, kw_only=True):
    """The order (兑付) to pay a claim; `cash` is left after the firm's debts were set off.

    The `payee` is the last successor of the item's enterprise, which may be itself.
    """

    kind: Literal["order"] = "order"
    claim: str
    cash: int
    payee: str


class ClaimPaid(AuthorityEntry, frozen=True, kw_only=True):
    """The bank has paid a claim's cash."""

    kind: Literal["payment"] = "payment"
    claim: str
    bank_reference: str
    paid_on: str


class PaymentReturned(AuthorityEntry, frozen=True, kw_only=True):
    """The bank sent a payment back; `cash` is left to be sent again after a further set-off."""

    kind: Literal["payment_return"] = "payment_return"
    claim: str
    returned_on: str
    cash: int
    payee: str


class DebtRecovered(AuthorityEntry, frozen=True, kw_only=True):
    """Money came back for an item in debt: by bank, or out of the cash of an ordered claim."""

    kind: Literal["recovery"] = "recovery"
    item: str
    year: int
    amount: int
    bank_reference: str | UnsetType = UNSET
    claim: str | UnsetType = UNSET


class RedInvoiceEntered(AuthorityEntry, frozen=True, kw_only=True):
    """A red invoice: `number` counts `amount` less, and `refunded` of it was paid back.

    It is about the claims of one `item` for one `year`.
    """

    kind: Literal["red_invoice"] = "red_invoice"
    number: str
    red_number: str
    confirmation: str
    item: str
    year: int
    amount: int
    refunded: int
    issued_on: str


class GrantForfeited(AuthorityEntry, frozen=True, kw_only=True):
    """Of what an item was granted in a year, `amount` is forfeited in all."""

    kind: Literal["forfeit"] = "forfeit"
    item: str
    year: int
    amount: int


class AccessDigested(AuthorityEntry, frozen=True, kw_only=True):
    """The digest of a day of the access log, by the service itself: no person gives it.

    `sha256` is the hex digest of the day's rows (`wire/access_log.py`), of which there are `rows`.
    A day before it without such an entry has none.
    """

    kind: Literal["access_digest"] = "access_digest"
    day: str
    rows: int
    sha256: str


class StateDigested(AuthorityEntry, frozen=True, kw_only=True):
    """The digest of the rules' state after all entries before it, by the service itself.

    `sha256` is the hex digest of its snapshot (`rules/snapshot.py`), which lies beside the entry.
    """

    kind: Literal["state_digest"] = "state_digest"
    sha256: str


class BatchAccepted(Entry, frozen=True, kw_only=True):
    """A signed batch that was judged; the entries of what it asked for follow at once.

    `payload`, `envelope`, `receipt` are hex sha256; `before` is the size of the ledger on which the
    group was built; `voids`, `records` and `purchases` count what the batch asked for, accepted or
    not. `salt` is a secret among the provider and officials: those of the batch's other entries
    follow from it.
    """

    kind: Literal["batch"] = "batch"
    provider: str
    stream: str
    seq: int
    payload: str
    envelope: str
    receipt: str
    before: int
    voids: int
    records: int
    purchases: int


class UsageAccepted(Entry, frozen=True, kw_only=True):
    """A metered record; `cost` and `entitled` are the growth of its own contract's sums.

    `fits` is the part that was enlisted and had room, whether or not it is eligible. `withheld`,
    its cost and the `evidence` are present where capacity was short; `ineligible`, by reason, where
    a part counts for nothing. All else of the cost is eligible.
    """

    kind: Literal["usage"] = "usage"
    batch: int
    provider: str
    id: str
    contract: str
    device: str
    milli_devices: int
    start: int
    end: int
    run: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    final: bool | UnsetType = UNSET
    cost: int
    fits: DailyTime
    entitled: list[tuple[int, int]]
    withheld: DailyTime | UnsetType = UNSET
    withheld_cost: int | UnsetType = UNSET
    evidence: list[Evidence] | UnsetType = UNSET
    ineligible: ReasonCost | UnsetType = UNSET

    @property
    def device_time(self) -> int:
        """Thousandths × seconds."""
        return self.milli_devices * ((self.end - self.start) // MICROSECONDS)


class PurchaseAccepted(Entry, frozen=True, kw_only=True):
    """A purchase of `amount` fen; `cost` and `entitled` are the growth of its contract's sums.

    It counts on the day of its delivery, or `by_days` of its service (half-open dates). Where a
    part counts for nothing, `ineligible` says so by reason.
    """

    kind: Literal["purchase"] = "purchase"
    batch: int
    provider: str
    id: str
    contract: str
    amount: int
    delivered_on: str
    service_from: str | UnsetType = UNSET
    service_until: str | UnsetType = UNSET
    by_days: bool
    cost: int
    entitled: list[tuple[int, int]]
    ineligible: ReasonCost | UnsetType = UNSET

    @property
    def device(self) -> str:
        """What is bought is of no kind of device."""
        return NO_DEVICE

    @property
    def withheld(self) -> UnsetType:
        """Nothing of a purchase is withheld."""
        return UNSET

    @property
    def withheld_cost(self) -> UnsetType:
        """Nothing of a purchase is withheld."""
        return UNSET

    @property
    def end(self) -> int:
        """The end of the day of its delivery, in microseconds, from which its age is counted."""
        return (parse_date(self.delivered_on) + DAY_SECONDS) * MICROSECONDS

    @property
    def first_day(self) -> int:
        """The first Shanghai day on which it counts, since 1970-01-01."""
        begins = self.service if self.by_days else None
        return day_of(begins[0] if begins else parse_date(self.delivered_on))

    @property
    def service(self) -> tuple[int, int] | None:
        """The seconds in which the service is rendered, where it has dates."""
        if self.service_from is UNSET or self.service_until is UNSET:
            return None
        return parse_date(self.service_from), parse_date(self.service_until)


class DaySummarised(Entry, frozen=True, kw_only=True):
    """A provider's summary of a Shanghai day of one stream, beside the ledger's own figures.

    `lines` counts the contracts and device kinds in either, `differing` those in which the two
    differ; `differs` has the first of these: contract, device, then records and device-seconds by
    the ledger, and as the provider told them. The sums are those of all lines. Device-seconds are
    texts, for nothing bounds them. `scheduler` is told by the provider alone: runs and their
    seconds. `replaces` is the newest entry about the same day before.
    """

    kind: Literal["summary"] = "summary"
    batch: int
    provider: str
    stream: str
    day: str
    replaces: int | UnsetType = UNSET
    records: int
    device_seconds: str
    told_records: int
    told_device_seconds: str
    lines: int
    differing: int
    differs: list[tuple[str, str, int, str, int, str]]
    scheduler: dict[str, tuple[int, int]]


class RecordReleased(AuthorityEntry, frozen=True, kw_only=True):
    """A release: the `withheld` part of a record fits from now on.

    `withheld_cost` and `ineligible` are changes: a part can be ineligible for another reason.
    """

    kind: Literal["release"] = "release"
    provider: str
    id: str
    record: int
    contract: str
    device: str
    withheld: DailyTime
    withheld_cost: int
    entitled: list[tuple[int, int]]
    ineligible: ReasonCost | UnsetType = UNSET


class RecordVoided(Entry, frozen=True, kw_only=True):
    """A void of a record, by its provider (`batch`) or by the authority (`request`).

    `withheld` is the part of the record that was withheld until now. The figures are changes. A
    purchase has no `device`.
    """

    kind: Literal["void"] = "void"
    provider: str
    id: str
    record: int
    contract: str
    device: str | UnsetType = UNSET
    reason: str
    cost: int
    entitled: list[tuple[int, int]]
    withheld: DailyTime | UnsetType = UNSET
    withheld_cost: int | UnsetType = UNSET
    ineligible: ReasonCost | UnsetType = UNSET
    batch: int | UnsetType = UNSET
    request: str | UnsetType = UNSET
    person: str | UnsetType = UNSET
    proposal: int | UnsetType = UNSET


ClaimStep = (
    ClaimChecked
    | ClaimEnded
    | ClaimApproved
    | ClaimNoticed
    | ObjectionEntered
    | ObjectionResolved
    | ClaimRevoked
    | ClaimOrdered
    | ClaimPaid
    | PaymentReturned
)
ItemEntry = ClaimEntered | DebtRecovered | RedInvoiceEntered | GrantForfeited
ClaimEntry = ClaimStep | ItemEntry
AcceptedEntry = UsageAccepted | PurchaseAccepted
RecordEntry = AcceptedEntry | RecordVoided | RecordReleased
CouponEntry = CouponIssued | CouponAllotted | CouponWithdrawn
AwardEntry = AwardMade | AwardChanged
ProjectEntry = ProjectRegistered | ProjectAudited | ProjectFunded
ContractEntry = (
    ContractRegistered | ContractAmended | ContractFrozen | ContractUnfrozen | LateWindowOpened
)
DisputeEntry = RecordDisputed | DisputeDismissed
ServiceKeyEntry = LogKeyAdded | LogKeyRetired | ReceiptKeyAdded | ReceiptKeyRetired
PersonEntry = PersonRegistered | PersonEnded | PersonRecovered | TokenMade | TokenEnded
ProposalEntry = ProposalMade | ProposalEnded
# These concern nobody in particular: officials alone are told of them.
LedgerEntry = (
    Genesis
    | PolicyActivated
    | BudgetSet
    | YearClosed
    | MonthClosed
    | MonthListed
    | PoolAllocated
    | AccessDigested
    | StateDigested
    | ServiceKeyEntry
    | PersonEntry
    | ProposalEntry
)
PartyEntry = (
    ProviderRegistered
    | ProviderEnlisted
    | ProviderAmended
    | KeyRegistered
    | EnterpriseRegistered
    | EnterpriseAmended
)
# Every struct of an entry; `rules/kinds/table.py` compares it with the kinds.
AnyEntry = (
    LedgerEntry
    | DaySummarised
    | PartyEntry
    | KeyRevoked
    | EnterpriseSucceeded
    | ContractEntry
    | DisputeEntry
    | MonthConfirmed
    | ContractFunded
    | CouponEntry
    | CouponsExpired
    | ClaimEntry
    | AwardEntry
    | ProjectEntry
    | BatchAccepted
    | RecordEntry
)
