"""The authority's commands: the bodies of its POST requests, one struct each.

A command holds exactly the fields that its entry repeats, so an auditor gets the command back from
the entry (`command_of`) and can decide it again. Money is text with two decimals in the body and
fen in the struct. Example, `POST /v1/coupons`:

    {"programme":"training-coupon","enterprise":"91440300708461136T","year":2025,
     "amount":"500000.00"}
"""

from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from meter.rules import entries
from meter.rules.entries import AmendmentMode, ClaimOutcome, FundsLevel, ObjectionOutcome
from meter.values.policy_file import Applicant, Use
from meter.values.strict import (
    Body,
    Date,
    Fen,
    Id,
    Lines,
    Moment,
    MonthText,
    Name,
    Note,
    Number,
    Price,
    Reason,
    Uscc,
    Year,
    plain,
)
from meter.wire.batch import Sha256Hex

# A contract or an enlistment must fit into one entry with the prices or devices of all its kinds.
MAX_DEVICE_KINDS: Final = 32
Devices = Annotated[
    dict[Id, Annotated[int, Meta(ge=1, le=10_000_000)]],
    Meta(min_length=1, max_length=MAX_DEVICE_KINDS),
]
Prices = Annotated[dict[Id, Price], Meta(min_length=1, max_length=MAX_DEVICE_KINDS)]
PublicKeyText = Annotated[str, Meta(min_length=44, max_length=44)]
ProofText = Annotated[str, Meta(min_length=88, max_length=88)]
Vkey = Annotated[str, Meta(min_length=1, max_length=300)]
ProgrammeName = Annotated[str, Meta(min_length=1, max_length=32)]
# A claim with all its papers must fit into one entry.
MAX_PAPERS: Final = 100
# The requests of an allocation must fit into one entry.
MAX_REQUESTS: Final = 500
# Twenty digits; invoices of before have a code and a number.
InvoiceNumber = Annotated[str, Meta(pattern=r"^([0-9]{20}|[0-9]{10,12}-[0-9]{8})\Z")]
# An invoice's number, or bank and reference of a payment.
PaperName = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,129}\Z")]
Link = Annotated[str, Meta(pattern=r"^https?://[\x21-\x7e]{1,300}\Z")]


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request of the authority; `reason` is for the auditors who read the entry."""

    reason: Reason | UnsetType = UNSET


class ActivatePolicy(Command, frozen=True, kw_only=True):
    """Put a policy file in force. `content` is its text; without it, the shipped file is used."""

    programme: ProgrammeName
    version: Id
    content: Lines | UnsetType = UNSET


class Enlisted(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"starts": "from", "ends": "until"},
):
    """An enlistment batch, dates half-open."""

    batch: Id
    starts: Date
    ends: Date


class RegisterProvider(Command, frozen=True, kw_only=True):
    """Enlist a provider with its devices (whole devices by kind).

    A trading platform or vendor has none: it `serves` programmes of purchases.
    """

    id: Id
    uscc: Uscc
    name: Name
    serves: Annotated[list[ProgrammeName], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    devices: Devices | UnsetType = UNSET
    enlisted: Enlisted | UnsetType = UNSET


class EnlistProvider(Command, frozen=True, kw_only=True):
    """Enlist more devices of the provider named in the URL, or move the end of an enlistment.

    A known batch must keep its devices and its begin; only its end may differ.
    """

    provider: Id
    devices: Devices
    enlisted: Enlisted


class RegisterKey(Command, frozen=True, kw_only=True):
    """Register a signing key of the provider named in the URL.

    `proof` is the key's own signature over the registration (`wire/possession.py`).
    """

    provider: Id
    keyid: Id
    algorithm: Literal["ed25519"]
    public_key: PublicKeyText
    proof: ProofText


class RevokeKey(Command, frozen=True, kw_only=True):
    """Refuse new batches under a key; others may have signed with it since `suspected_since`."""

    keyid: Id
    suspected_since: Moment | UnsetType = UNSET


class AddLogKey(Command, frozen=True, kw_only=True):
    """Sign checkpoints with a further key, beside the present one."""

    vkey: Vkey


class RetireLogKey(Command, frozen=True, kw_only=True):
    """Stop signing checkpoints with a key; another key must remain."""

    vkey: Vkey


class AddReceiptKey(Command, frozen=True, kw_only=True):
    """Sign receipts with a further key, beside the present one."""

    keyid: Id
    algorithm: Literal["ed25519"]
    public_key: PublicKeyText


class RetireReceiptKey(Command, frozen=True, kw_only=True):
    """Stop signing receipts with a key; another key must remain."""

    keyid: Id


class RegisterEnterprise(Command, frozen=True, kw_only=True, rename={"applicant": "kind"}):
    """Register an enterprise, university or institute that may be funded."""

    uscc: Uscc
    name: Name
    applicant: Applicant
    founded_on: Date


class SucceedEnterprise(Command, frozen=True, kw_only=True):
    """Let a successor take the place of the enterprise named in the URL."""

    uscc: Uscc
    successor: Uscc
    effective: Date
    document: Name


class AmendEnterprise(Command, frozen=True, kw_only=True, rename={"applicant": "kind"}):
    """Amend the enterprise named in the URL, for later contracts and awards."""

    uscc: Uscc
    name: Name | UnsetType = UNSET
    applicant: Applicant | UnsetType = UNSET
    founded_on: Date | UnsetType = UNSET
    document: Name
    reason: Reason


class AmendProvider(Command, frozen=True, kw_only=True):
    """Give the provider named in the URL another name."""

    provider: Id
    name: Name
    document: Name
    reason: Reason


class RegisterContract(
    Command, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}
):
    """Register a service contract under the policy that was in force at its signing.

    Device-time has `prices`, purchases have neither those nor `max_devices`.
    """

    id: Id
    contract_no: Note
    programme: ProgrammeName
    enterprise: Uscc
    provider: Id
    project: Id | UnsetType = UNSET
    follows: Id | UnsetType = UNSET
    amount: Fen
    signed_on: Date
    starts: Date
    ends: Date
    use: Use
    prices: Annotated[dict[Id, Price], Meta(max_length=MAX_DEVICE_KINDS)] = {}
    max_devices: Annotated[
        dict[Id, Annotated[int, Meta(ge=1, le=10_000_000)]], Meta(max_length=MAX_DEVICE_KINDS)
    ] = {}
    related_party: bool


class AmendContract(Command, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """Amend the contract named in the URL.

    A `supplement` was signed on `signed_on` and holds from `effective` on. A `correction` replaces
    what was registered by mistake, from the contract's first day on; it alone may have `from`,
    `use`, `related_party`, `enterprise` and `contract_no`, and its `signed_on` is the contract's.
    `document` names what shows it.
    """

    contract: Id
    mode: AmendmentMode
    effective: Date | UnsetType = UNSET
    signed_on: Date | UnsetType = UNSET
    amount: Fen | UnsetType = UNSET
    starts: Date | UnsetType = UNSET
    ends: Date | UnsetType = UNSET
    prices: Prices | UnsetType = UNSET
    max_devices: Devices | UnsetType = UNSET
    use: Use | UnsetType = UNSET
    related_party: bool | UnsetType = UNSET
    enterprise: Uscc | UnsetType = UNSET
    contract_no: Note | UnsetType = UNSET
    document: Name
    reason: Reason


class FreezeContract(Command, frozen=True, kw_only=True):
    """Refuse new records of the contract named in the URL."""

    contract: Id


class UnfreezeContract(Command, frozen=True, kw_only=True):
    """Accept records of the contract again."""

    contract: Id


class FundContract(Command, frozen=True, kw_only=True):
    """Set the sum of other public money that has a reference, for the contract in the URL."""

    contract: Id
    reference: Note
    level: FundsLevel
    amount: Fen
    document: Name


class OpenLateWindow(
    Command, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}
):
    """Take records of the contract named in the URL whatever their age, before `open_until`.

    Their intervals lie in the half-open period.
    """

    contract: Id
    starts: Date
    ends: Date
    open_until: Date
    reason: Reason


class SetBudget(Command, frozen=True, kw_only=True):
    """Set what the pool of a year may issue at most; `document` names what says so."""

    programme: ProgrammeName
    year: Year
    amount: Fen
    document: Name


class RegisterProject(Command, frozen=True, kw_only=True):
    """Register a project that awards and contracts may be for."""

    id: Id
    title: Name
    audited_investment: Fen | UnsetType = UNSET


class AuditProject(Command, frozen=True, kw_only=True):
    """Set the audited investment of the project named in the URL."""

    project: Id
    amount: Fen
    document: Name


class FundProject(Command, frozen=True, kw_only=True):
    """Set the sum of other public money that has a reference, for the project in the URL."""

    project: Id
    reference: Note
    level: FundsLevel
    amount: Fen
    document: Name


class MakeAward(Command, frozen=True, kw_only=True, rename={"named": "class"}):
    """Issue and grant money to an enterprise, under a programme that makes awards."""

    id: Id
    programme: ProgrammeName
    named: ProgrammeName | UnsetType = UNSET
    enterprise: Uscc
    project: Id | UnsetType = UNSET
    year: Year
    base: Fen | UnsetType = UNSET
    amount: Fen
    document: Name


class ChangeAward(Command, frozen=True, kw_only=True):
    """Set the amount of the award named in the URL; 0.00 takes it back."""

    award: Id
    amount: Fen
    reason: Reason


class IssueCoupon(Command, frozen=True, kw_only=True):
    """Move money from the pool of a year to an enterprise's coupon."""

    programme: ProgrammeName
    enterprise: Uscc
    year: Year
    amount: Fen


class AllocatePool(Command, frozen=True, kw_only=True):
    """Divide the pool of a year among all who ask: each an enterprise's USCC and yuan."""

    programme: ProgrammeName
    year: Year
    requests: Annotated[list[tuple[Uscc, Fen]], Meta(min_length=1, max_length=MAX_REQUESTS)]


class WithdrawCoupon(Command, frozen=True, kw_only=True):
    """Move money that a coupon has not granted back to the pool."""

    programme: ProgrammeName
    enterprise: Uscc
    year: Year
    amount: Fen


class ExpireCoupons(Command, frozen=True, kw_only=True):
    """Return to the pool what coupons of a year have left, once its claims are closed.

    One entry takes 400 coupons: repeat it until the response's `left` is 0.00.
    """

    programme: ProgrammeName
    year: Year


class CloseYear(Command, frozen=True, kw_only=True):
    """Close a programme's year, once no claim is open and no coupon has anything left."""

    programme: ProgrammeName
    year: Year


class WaiverBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who answers for closing a month with gaps, and why."""

    person: Id
    reason: Reason


class CloseMonth(Command, frozen=True, kw_only=True):
    """Close a month of the ledger: all before it are closed, and no stream lacks a number.

    Where one does, a person of the authority answers for it with a waiver.
    """

    month: MonthText
    waiver: WaiverBody | UnsetType = UNSET


class ConfirmMonth(Command, frozen=True, kw_only=True):
    """Agree with what the closed month named in the URL booked of an enterprise's contracts."""

    month: MonthText
    enterprise: Uscc


class DisputeRecord(Command, frozen=True, kw_only=True):
    """Dispute a record of a contract: nothing more is approved for its years until it is decided.

    That is until 30 days after the closing of the month in which the record was booked.
    """

    contract: Id
    provider: Id
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    reason: Reason


class DismissDispute(Command, frozen=True, kw_only=True):
    """Let the disputed record stand; a void of the record upholds the dispute instead."""

    provider: Id
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    reason: Reason


class InvoiceBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An invoice of a claim; `part` is what is claimed for of its `amount`."""

    number: InvoiceNumber
    issued_on: Date
    seller: Uscc
    buyer: Uscc
    amount: Fen
    tax: Fen
    part: Fen
    sha256: Sha256Hex


class PaymentBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payment by the firm; `part` is what is claimed for of its `amount`."""

    bank: Id
    reference: Id
    paid_on: Date
    amount: Fen
    part: Fen


class EnterClaim(Command, frozen=True, kw_only=True):
    """Claim what an item was granted in a year; `amount` is all that is open where it is left out.

    `delivery` is the hex sha256 of the proof of delivery.
    """

    id: Id
    item: Id
    year: Year
    amount: Fen | UnsetType = UNSET
    invoices: Annotated[list[InvoiceBody], Meta(max_length=MAX_PAPERS)] = []
    payments: Annotated[list[PaymentBody], Meta(max_length=MAX_PAPERS)] = []
    delivery: Sha256Hex | UnsetType = UNSET


class CheckClaim(Command, frozen=True, kw_only=True):
    """Confirm that the claim named in the URL agrees with its papers; not by its maker."""

    claim: Id


class EndClaim(Command, frozen=True, kw_only=True):
    """End a claim before its approval; its firm may withdraw it."""

    claim: Id
    outcome: ClaimOutcome


class ApproveClaim(Command, frozen=True, kw_only=True):
    """Approve a claim; by neither of those who made and checked it.

    `disallowed` lists what does not count of a paper: an invoice's number or `bank:reference`, and
    yuan.
    """

    claim: Id
    amount: Fen
    disallowed: Annotated[list[tuple[PaperName, Fen]], Meta(max_length=2 * MAX_PAPERS)] = []


class NoticeClaim(Command, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """Give public notice of an approved claim."""

    claim: Id
    starts: Date
    ends: Date
    url: Link


class EnterObjection(Command, frozen=True, kw_only=True):
    """Enter an objection to a claim under notice, by the hex sha256 of its text."""

    claim: Id
    sha256: Sha256Hex


class ResolveObjection(Command, frozen=True, kw_only=True):
    """Resolve an objection, named by the number of its entry."""

    claim: Id
    objection: Number
    outcome: ObjectionOutcome
    reason: Reason


class RevokeClaim(Command, frozen=True, kw_only=True):
    """Take an approval back before the order."""

    claim: Id
    reason: Reason


class OrderClaim(Command, frozen=True, kw_only=True):
    """Order the payment of a claim whose notice is over; not by its approver."""

    claim: Id


class PayClaim(Command, frozen=True, kw_only=True):
    """Enter that the bank has paid an ordered claim."""

    claim: Id
    bank_reference: Id
    paid_on: Date


class ReturnPayment(Command, frozen=True, kw_only=True):
    """Enter that the bank has sent a payment back."""

    claim: Id
    returned_on: Date
    reason: Reason


class RecoverDebt(Command, frozen=True, kw_only=True):
    """Enter what came back of a debt: by bank, or out of the cash of an ordered claim."""

    item: Id
    year: Year
    amount: Fen
    bank_reference: Id | UnsetType = UNSET
    claim: Id | UnsetType = UNSET


class EnterRedInvoice(Command, frozen=True, kw_only=True):
    """Enter a red invoice: `number` counts `amount` less, and `refunded` of it was paid back."""

    number: InvoiceNumber
    red_number: InvoiceNumber
    confirmation: Id
    year: Year
    amount: Fen
    refunded: Fen
    issued_on: Date


class ForfeitGrant(Command, frozen=True, kw_only=True):
    """Set what is forfeited, in all, of what an item was granted in a year."""

    item: Id
    year: Year
    amount: Fen
    reason: Reason


class ReleaseRecord(Command, frozen=True, kw_only=True):
    """Let the withheld part of a provider's record count, after a person has reviewed it."""

    provider: Id
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    reason: Reason


class VoidRecord(Command, frozen=True, kw_only=True):
    """Take back a provider's record, however old it is."""

    provider: Id
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    reason: Reason


class RegisterPerson(Command, frozen=True, kw_only=True):
    """Let a person speak for the authority; the name stays outside the ledger."""

    id: Id


class EndPerson(Command, frozen=True, kw_only=True):
    """End the person named in the URL, with all tokens and open proposals of that person."""

    id: Id


class MakeToken(Command, frozen=True, kw_only=True):
    """Name a token of the authority and the person who holds it; an operator makes its secret."""

    id: Id
    holder: Id


class EndToken(Command, frozen=True, kw_only=True):
    """End the token named in the URL, from the next request on."""

    token: Id


class RecoverPerson(Command, frozen=True, kw_only=True):
    """Give a token to a known or a new person; an operator does, offline."""

    id: Id
    token: Id


class DigestAccesses(Command, frozen=True, kw_only=True):
    """Put the digest of a day of the access log into the ledger; the service does, unasked."""

    day: Date
    rows: Annotated[int, Meta(ge=1, lt=2**53)]
    sha256: Sha256Hex


class DigestState(Command, frozen=True, kw_only=True):
    """Put the digest of the rules' state into the ledger; the service does, unasked."""


class Propose(Command, frozen=True, kw_only=True):
    """Propose a command that another person then confirms.

    `command` names the kind of its entry; `body` is what its POST takes, its URL's fields included.
    """

    command: ProgrammeName
    body: Body


class EndProposal(Command, frozen=True, kw_only=True):
    """End the proposal named in the URL; its maker does."""

    proposal: Number


class ConfirmProposal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give, as its second person, the command of the proposal named in the URL."""

    proposal: Number


# What the authority asks for: a command of its own, or that of a proposal.
Asked = Command | ConfirmProposal


def fields_of(command: Asked) -> dict[str, Any]:
    """Return the fields that the command's entry repeats, as plain values."""
    fields = {name: _as_in_entry(getattr(command, name)) for name in command.__struct_fields__}
    if isinstance(command, RegisterContract | AmendContract) and command.prices is not UNSET:
        fields["prices"] = _prices_in_entry(fields["prices"])
    return fields


def same_but_for_reason(first: Command, second: Command) -> bool:
    """Return whether two commands differ in their reasons at most."""
    ours, theirs = fields_of(first), fields_of(second)
    return type(first) is type(second) and ours | {"reason": UNSET} == theirs | {"reason": UNSET}


# The structs that stand in a command, and those that stand in its entry for them.
_IN_ENTRY: Final[dict[type[Struct], type[Struct]]] = {
    Enlisted: entries.Enlistment,
    InvoiceBody: entries.Invoice,
    PaymentBody: entries.Payment,
    WaiverBody: entries.MonthWaiver,
}


def _as_in_entry(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_as_in_entry(each) for each in value)
    if isinstance(value, Struct):
        return _IN_ENTRY[type(value)](
            **{n: plain(getattr(value, n)) for n in value.__struct_fields__}
        )
    return plain(value)


def _prices_in_entry(prices: dict[str, Any]) -> dict[str, int | entries.PriceFor]:
    return {
        device: entries.PriceFor(**price) if isinstance(price, dict) else price
        for device, price in prices.items()
    }


def fingerprint_of(command: Asked) -> str:
    """Return the hex sha256 of a command, to compare commands that carry one Idempotency-Key."""
    fields = {name: value for name, value in fields_of(command).items() if value is not UNSET}
    content = msgspec.json.encode([type(command).__name__, fields], order="sorted")
    return sha256(content).hexdigest()
