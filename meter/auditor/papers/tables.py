"""The tables of an export: their columns, and the rows that each entry gives.

A column is of one form, whatever the file is:

    integer   a whole number          money     fen, shown in yuan with two decimals
    text      a text                  count     thousandths, shown with three decimals
    date      a Shanghai date, text   hours     thousandths × seconds, shown in device-hours
    moment    microseconds, UTC

Device-hours are cut to four decimals. Figures are those of the entries: what `cost` and `entitled`
say of a record is the growth of its contract's sums, and a void or a release has changes.
`docs/audit.md` lists all columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from msgspec import UNSET, UnsetType

from ledger.tlog import leaf_hash
from meter.auditor.papers.log import KeptEntry
from meter.auditor.papers.period import date_of
from meter.rules import entries
from meter.rules.entries import AnyEntry
from meter.views.movements import Movement

Form = Literal["integer", "text", "date", "moment", "money", "count", "hours"]
Value = int | str | None
Row = tuple[Value, ...]
_T = TypeVar("_T")

_GRANTED: Final = "accrued:"  # the class of accounts that hold what was granted


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `meaning` is for people."""

    name: str
    form: Form
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of an export."""

    name: str
    meaning: str
    columns: tuple[Column, ...]


def table(name: str, meaning: str, *columns: tuple[str, Form, str]) -> Table:
    """Return a table by its columns: name, form, meaning."""
    return Table(name, meaning, tuple(Column(*each) for each in columns))


_NUMBER: Final[tuple[str, Form, str]] = ("entry", "integer", "number of the entry, from 0")
_AT: Final[tuple[str, Form, str]] = ("at", "moment", "when the ledger took it")
_CONTRACT: Final[tuple[str, Form, str]] = ("contract", "text", "id of the contract")

ENTRIES: Final = table(
    "entries",
    "every entry of the period, with its exact bytes",
    _NUMBER,
    _AT,
    ("kind", "text", "kind of the entry"),
    ("by", "text", "id of the key or token that asked for it"),
    ("person", "text", "whose token it was; none of a provider's"),
    ("proposal", "integer", "the proposal that it confirms or ends"),
    ("reason", "text", "the reason that was given"),
    ("leaf", "text", "hash of its leaf in the tree, hex (RFC 9162 section 2.1.1)"),
    ("json", "text", "its canonical JSON"),
)
POSTINGS: Final = table(
    "postings",
    "every movement of money",
    _NUMBER,
    ("line", "integer", "place within the entry, from 0"),
    ("date", "date", "Shanghai date of the entry"),
    ("from_account", "text", "account that gives"),
    ("to_account", "text", "account that receives"),
    ("amount", "money", "yuan"),
)
ACCOUNTS: Final = table(
    "accounts",
    "every account: what it held before, what came and went, what it held after the period",
    ("account", "text", "name of the account"),
    ("class", "text", "the first part of its name"),
    ("opening", "money", "balance before the period"),
    ("received", "money", "postings to it"),
    ("given", "money", "postings from it"),
    ("closing", "money", "balance after the period"),
)
PARTIES: Final = table(
    "parties",
    "enterprises and providers that were registered or changed",
    _NUMBER,
    _AT,
    ("role", "text", "enterprise or provider"),
    ("id", "text", "USCC of an enterprise, id of a provider"),
    ("name", "text", "name from then on"),
)
CONTRACTS: Final = table(
    "contracts",
    "contracts as they were registered; amendments are entries",
    _NUMBER,
    _AT,
    ("id", "text", "id of the contract"),
    ("contract_no", "text", "number that its parties gave it"),
    ("programme", "text", "programme"),
    ("enterprise", "text", "USCC"),
    ("provider", "text", "id of the provider"),
    ("amount", "money", "yuan"),
    ("signed_on", "date", "when it was signed"),
    ("from", "date", "first day of its term"),
    ("until", "date", "first day after its term"),
    ("use", "text", "what it is for"),
    ("policy", "text", "version of the policy"),
    ("class", "text", "class that sets its ratio"),
)
USAGE: Final = table(
    "usage",
    "accepted records of usage",
    _NUMBER,
    _AT,
    ("batch", "integer", "entry of its batch"),
    ("provider", "text", "id of the provider"),
    ("id", "text", "id of the record"),
    _CONTRACT,
    ("device", "text", "kind of device"),
    ("devices", "count", "how many at once"),
    ("start", "moment", "begin of the use"),
    ("end", "moment", "end of the use"),
    ("device_hours", "hours", "devices × time"),
    ("cost", "money", "what the use cost"),
    ("withheld_cost", "money", "part of it above what was rented or enlisted"),
    ("ineligible_cost", "money", "part of it that counts for nothing"),
    ("entitled", "money", "what the contract is entitled to by it"),
    ("granted", "money", "what coupons granted by it"),
)
PURCHASES: Final = table(
    "purchases",
    "accepted purchases",
    _NUMBER,
    _AT,
    ("batch", "integer", "entry of its batch"),
    ("provider", "text", "id of the vendor"),
    ("id", "text", "id of the purchase"),
    _CONTRACT,
    ("amount", "money", "price of the purchase"),
    ("delivered_on", "date", "day of its delivery"),
    ("cost", "money", "growth of the contract's cost"),
    ("ineligible_cost", "money", "part of it that counts for nothing"),
    ("entitled", "money", "what the contract is entitled to by it"),
    ("granted", "money", "what coupons granted by it"),
)
CHANGES: Final = table(
    "changes",
    "voids and releases of records: by how much figures change",
    _NUMBER,
    _AT,
    ("kind", "text", "void or release"),
    ("record", "integer", "entry of the record"),
    ("provider", "text", "id of the provider"),
    ("id", "text", "id of the record"),
    _CONTRACT,
    ("cost", "money", "change of the cost"),
    ("withheld_cost", "money", "change of what is withheld"),
    ("ineligible_cost", "money", "change of what counts for nothing"),
    ("entitled", "money", "change of what the contract is entitled to"),
    ("granted", "money", "change of what coupons granted"),
)
COUPONS: Final = table(
    "coupons",
    "issues, allotments, withdrawals and expiries of coupons",
    _NUMBER,
    _AT,
    ("kind", "text", "kind of the entry"),
    ("programme", "text", "programme"),
    ("year", "integer", "year of the coupon"),
    ("enterprise", "text", "USCC; none of an expiry, whose postings name the coupons"),
    ("amount", "money", "yuan that came to the coupon; negative where they went"),
)
CLAIMS: Final = table(
    "claims",
    "approvals of claims and what followed them; a recovery is among the movements alone",
    _NUMBER,
    _AT,
    ("kind", "text", "approval, claim_revocation, order, payment, payment_return"),
    ("claim", "text", "id of the claim"),
    ("amount", "money", "approved; or the cash of an order or a return"),
)
OF_MOVEMENTS: Final[tuple[tuple[str, Form, str], ...]] = (
    _NUMBER,
    _AT,
    ("kind", "text", "kind of the entry"),
    ("figure", "text", "cost, issued, granted, claimed or paid"),
    ("programme", "text", "programme"),
    ("firm", "text", "USCC"),
    ("contract", "text", "id of the contract or award; none of an issue"),
    ("provider", "text", "id of the provider"),
    ("year", "integer", "year of the coupon; none of a cost"),
    ("amount", "money", "yuan"),
)
MOVEMENTS: Final = table(
    "movements",
    "what every entry, of whatever kind, moves of the figures of contracts, awards and firms",
    *OF_MOVEMENTS,
)
TABLES: Final = (
    *(ENTRIES, POSTINGS, ACCOUNTS, MOVEMENTS, PARTIES, CONTRACTS),
    *(USAGE, PURCHASES, CHANGES, COUPONS, CLAIMS),
)


def rows_of(kept: KeptEntry) -> Iterator[tuple[Table, Row]]:
    """Yield the rows of an entry, with their tables."""
    entry = kept.entry
    yield ENTRIES, _entry_row(kept)
    for line, (source, target, fen) in enumerate(entry.postings):
        yield POSTINGS, (kept.number, line, date_of(entry.at), source, target, fen)
    found = family_row(entry)
    if found is not None:
        table, row = found
        yield table, (kept.number, entry.at, *row)


def movement_row(kept: KeptEntry, moved: Movement) -> Row:
    """Return the row of `MOVEMENTS` for what an entry moves."""
    whose = moved.programme, moved.enterprise, moved.item or None, moved.provider or None
    made = moved.figure, *whose, moved.year or None, moved.fen
    return kept.number, kept.entry.at, kept.entry.kind, *made


def _entry_row(kept: KeptEntry) -> Row:
    entry = kept.entry
    leaf, text = leaf_hash(kept.data).hex(), kept.data.decode()
    return kept.number, entry.at, entry.kind, entry.by, *act_of(entry), leaf, text


def act_of(entry: AnyEntry) -> tuple[str | None, int | None, str | None]:
    """Return the person, the proposal and the reason of an entry, as far as it has them."""
    if isinstance(entry, entries.AuthorityEntry):
        return entry.person, _known(entry.proposal), _known(entry.reason)
    if isinstance(entry, entries.RecordVoided):
        return _known(entry.person), _known(entry.proposal), entry.reason
    return None, None, None


def family_row(  # noqa: C901, PLR0911, PLR0912 - a line for each family
    entry: AnyEntry,
) -> tuple[Table, Row] | None:
    """Return the row of an entry in the table of its family, without number and time."""
    match entry:
        case entries.EnterpriseRegistered():
            return PARTIES, ("enterprise", entry.uscc, entry.name)
        case entries.EnterpriseAmended(name=str(name)):
            return PARTIES, ("enterprise", entry.uscc, name)
        case entries.ProviderRegistered():
            return PARTIES, ("provider", entry.id, entry.name)
        case entries.ProviderAmended():
            return PARTIES, ("provider", entry.provider, entry.name)
        case entries.ContractRegistered():
            return CONTRACTS, _contract_row(entry)
        case entries.UsageAccepted():
            return USAGE, _usage_row(entry)
        case entries.PurchaseAccepted():
            return PURCHASES, _purchase_row(entry)
        case entries.RecordVoided() | entries.RecordReleased():
            return CHANGES, _change_row(entry)
        case entries.CouponIssued() | entries.CouponAllotted():
            return COUPONS, _coupon_row(entry, entry.enterprise, entry.amount)
        case entries.CouponWithdrawn():
            return COUPONS, _coupon_row(entry, entry.enterprise, -entry.amount)
        case entries.CouponsExpired():
            return COUPONS, _coupon_row(entry, None, -entry.amount)
        case entries.ClaimApproved():
            return CLAIMS, (entry.kind, entry.claim, entry.amount)
        case entries.ClaimOrdered() | entries.PaymentReturned():
            return CLAIMS, (entry.kind, entry.claim, entry.cash)
        case entries.ClaimPaid() | entries.ClaimRevoked():
            return CLAIMS, (entry.kind, entry.claim, None)
        case _:  # it has its row of ENTRIES, with all that it says
            return None


def _contract_row(entry: entries.ContractRegistered) -> Row:
    named = entry.id, entry.contract_no, entry.programme, entry.enterprise, entry.provider
    term = entry.amount, entry.signed_on, entry.starts, entry.ends
    return *named, *term, entry.use, entry.policy, entry.ratio_class


def _usage_row(entry: entries.UsageAccepted) -> Row:
    named = entry.batch, entry.provider, entry.id, entry.contract
    used = entry.device, entry.milli_devices, entry.start, entry.end, entry.device_time
    return *named, *used, entry.cost, _known(entry.withheld_cost) or 0, *_effect(entry)


def _purchase_row(entry: entries.PurchaseAccepted) -> Row:
    named = entry.batch, entry.provider, entry.id, entry.contract
    return *named, entry.amount, entry.delivered_on, entry.cost, *_effect(entry)


def _change_row(entry: entries.RecordVoided | entries.RecordReleased) -> Row:
    cost = entry.cost if isinstance(entry, entries.RecordVoided) else 0
    named = entry.kind, entry.record, entry.provider, entry.id, entry.contract
    return *named, cost, _known(entry.withheld_cost) or 0, *_effect(entry)


def _coupon_row(
    entry: entries.CouponEntry | entries.CouponsExpired, uscc: str | None, fen: int
) -> Row:
    return entry.kind, entry.programme, entry.year, uscc, fen


def _effect(entry: entries.RecordEntry) -> Row:
    """Return what counts for nothing, what the contract is entitled to, and what was granted."""
    ineligible = 0 if entry.ineligible is UNSET else sum(fen for _, fen in entry.ineligible)
    return ineligible, sum(fen for _, fen in entry.entitled), granted(entry)


def granted(entry: AnyEntry) -> int:
    """Return by how much all that was granted grows by an entry, in fen."""
    came = sum(fen for _, account, fen in entry.postings if account.startswith(_GRANTED))
    return came - sum(fen for account, _, fen in entry.postings if account.startswith(_GRANTED))


def _known(value: _T | UnsetType) -> _T | None:
    return None if value is UNSET else value
