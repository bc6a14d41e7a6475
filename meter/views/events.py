"""Events: what a ledger's entries mean to one subject. A reader can resume after each id.

    id: 41.1
    event: record.accepted
    data: {"entry":41,"time":"2025-03-01T12:00:00+08:00","record":"slurm:4211:0",…}

    id: 41
    event: coupon.threshold
    data: {"entry":41,…,"programme":"training-coupon","year":2025,"percent":80,…}

An enterprise sees what happens to its records, contracts, coupons, awards and claims, to other
public money for its contracts, to the money of projects that it has an award for, and which month
of the ledger was closed. Of an enterprise that was succeeded, its last successor sees what happens
from then on. A provider sees its batches, and what others do to its records, keys and contracts.
Officials see one condensed `entry` for each entry, and the thresholds. No event shows another
subject's data. Where a record moves money of further contracts, their enterprise sees it and the
provider does not.

The id is the entry's number. Where an entry makes several events, all but the last have a suffix,
so the bare number means that the whole entry was seen. Events and ids depend on the entries alone,
not on the time of the query. Figures are signed changes, in yuan, as in a receipt.

An entry crosses a threshold if `granted / issued` of a coupon was below it before the entry and is
not below it afterwards. A coupon without money is below every threshold. So each upward crossing
makes one event; an expiry makes none.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, assert_never, get_args

import msgspec
from msgspec import UNSET, Struct

from meter.rules.entries import (
    AcceptedEntry,
    AmendmentMode,
    AnyEntry,
    AuthorityEntry,
    AwardChanged,
    AwardEntry,
    AwardMade,
    BatchAccepted,
    ClaimApproved,
    ClaimChecked,
    ClaimEnded,
    ClaimEntered,
    ClaimEntry,
    ClaimNoticed,
    ClaimOrdered,
    ClaimPaid,
    ClaimRevoked,
    ContractAmended,
    ContractEntry,
    ContractFrozen,
    ContractFunded,
    ContractRegistered,
    ContractUnfrozen,
    CouponAllotted,
    CouponEntry,
    CouponIssued,
    CouponsExpired,
    CouponWithdrawn,
    DaySummarised,
    DebtRecovered,
    DisputeDismissed,
    DisputeEntry,
    EnterpriseSucceeded,
    Entry,
    GrantForfeited,
    ItemEntry,
    KeyRevoked,
    LateWindowOpened,
    LedgerEntry,
    MonthClosed,
    MonthConfirmed,
    ObjectionEntered,
    ObjectionResolved,
    PartyEntry,
    PaymentReturned,
    ProjectAudited,
    ProjectEntry,
    ProjectFunded,
    ProjectRegistered,
    PurchaseAccepted,
    RecordDisputed,
    RecordEntry,
    RecordReleased,
    RecordVoided,
    RedInvoiceEntered,
    UsageAccepted,
)
from meter.rules.kinds.periods import expired
from meter.rules.month_book import answer_end
from meter.rules.state import CouponId, State
from meter.values.roles import Role
from meter.values.units import format_moment, format_money
from meter.views.past import PastBalance, advance
from meter.wire.receipt import Reason

THRESHOLDS_PERCENT: Final = (80, 95, 100)

_VERBS: Final[Mapping[type[Entry], str]] = {
    UsageAccepted: "accepted",
    PurchaseAccepted: "accepted",
    RecordVoided: "voided",
    RecordReleased: "released",
    CouponIssued: "issued",
    CouponAllotted: "issued",
    CouponWithdrawn: "withdrawn",
    ContractRegistered: "registered",
    ContractAmended: "amended",
    ContractFrozen: "frozen",
    ContractUnfrozen: "unfrozen",
    AwardMade: "made",
    AwardChanged: "changed",
    ProjectFunded: "funded",
    ProjectAudited: "audited",
    RecordDisputed: "disputed",
    DisputeDismissed: "dispute_dismissed",
}
# The events of a claim, by its entries.
_CLAIM_EVENTS: Final[Mapping[type[Entry], str]] = {
    ClaimEntered: "claim.entered",
    ClaimChecked: "claim.checked",
    ClaimEnded: "claim.ended",
    ClaimApproved: "claim.approved",
    ClaimNoticed: "claim.noticed",
    ObjectionEntered: "claim.objected",
    ObjectionResolved: "claim.resolved",
    ClaimRevoked: "claim.revoked",
    ClaimOrdered: "claim.ordered",
    ClaimPaid: "claim.paid",
    PaymentReturned: "payment.returned",
    DebtRecovered: "debt.recovered",
    RedInvoiceEntered: "invoice.reversed",
    GrantForfeited: "grant.forfeited",
}
if set(_CLAIM_EVENTS) != set(get_args(ClaimEntry)):
    raise TypeError("an entry of a claim has no event")
# The fields that officials see of any entry that has them.
_CONDENSED: Final = (
    *("id", "provider", "stream", "seq", "day", "keyid", "contract", "record", "claim", "item"),
    *("enterprise", "uscc", "programme", "version", "year", "award", "project"),
    *("holder", "token", "command", "proposal", "month", "closing"),
)
# Entries that change no coupon, and those that no provider or no enterprise sees.
_OF_NO_COUPON = (
    LedgerEntry
    | PartyEntry
    | KeyRevoked
    | EnterpriseSucceeded
    | ContractRegistered
    | ContractFrozen
    | ContractUnfrozen
    | LateWindowOpened
    | DisputeEntry
    | MonthConfirmed
    | BatchAccepted
    | DaySummarised
    | AwardEntry
    | ProjectEntry
    | ClaimEntry
)
_OF_NO_PROVIDER = (
    AcceptedEntry
    | ContractFunded
    | MonthConfirmed
    | CouponEntry
    | CouponsExpired
    | EnterpriseSucceeded
    | LedgerEntry
    | PartyEntry
    | AwardEntry
    | ProjectEntry
    | ClaimEntry
)
_OF_NO_ENTERPRISE = (
    LedgerEntry | PartyEntry | KeyRevoked | BatchAccepted | DaySummarised | ProjectRegistered
)
_ProjectMoney = ProjectFunded | ProjectAudited
_AboutContract = (
    RecordEntry
    | ContractAmended
    | ContractFrozen
    | ContractUnfrozen
    | LateWindowOpened
    | ContractFunded
    | DisputeEntry
)


class Data(Struct, frozen=True, kw_only=True):
    """The data of every event: the number of its entry, and when the entry was made."""

    entry: int
    time: str


class RecordData(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A record was accepted, voided or released; its contract's figures changed by this much."""

    record: str
    contract: str
    provider: str
    cost: str
    entitled: str
    granted: str
    uncovered: str
    withheld: str
    ineligible: str
    by_year: dict[str, str]
    reasons: dict[Reason, str] = {}
    by_authority: bool = False
    reason: str = ""


class GrantData(Data, frozen=True, kw_only=True):
    """A contract's grant changed, by its coupon or by another contract's usage."""

    contract: str
    programme: str
    year: int
    granted: str


class CouponData(Data, frozen=True, kw_only=True):
    """A coupon grew or shrank by `amount`; `issued` and `granted` are its sums after the entry."""

    programme: str
    year: int
    amount: str
    issued: str
    granted: str


class ThresholdData(Data, frozen=True, kw_only=True):
    """The granted part of a coupon reached `percent` of what was issued."""

    enterprise: str
    programme: str
    year: int
    percent: int
    issued: str
    granted: str


class AwardData(Data, frozen=True, kw_only=True):
    """An award was made or changed: `amount` is its sum now, `granted` the change."""

    award: str
    programme: str
    year: int
    amount: str
    granted: str


class FundsData(Data, frozen=True, kw_only=True):
    """Other public money for a project was set: `amount` is the sum of the reference now."""

    project: str
    reference: str
    level: str
    amount: str


class ContractFundsData(Data, frozen=True, kw_only=True):
    """Other public money for a contract was set; the contract's figures changed by this much."""

    contract: str
    reference: str
    level: str
    amount: str
    entitled: str
    granted: str
    uncovered: str


class AuditData(Data, frozen=True, kw_only=True):
    """The audited investment of a project was set."""

    project: str
    amount: str


class BatchData(Data, frozen=True, kw_only=True):
    """A provider's batch was accepted; the counts are of all that it asked for."""

    batch: str
    stream: str
    seq: int
    keyid: str
    voids: int
    records: int
    purchases: int


class SummaryData(Data, frozen=True, kw_only=True):
    """A day of a stream was summed up: the ledger's figures, and in how many lines they differ."""

    stream: str
    day: str
    records: int
    device_seconds: str
    differing: int


class ContractData(Data, frozen=True, kw_only=True):
    """A contract was registered, frozen or unfrozen."""

    contract: str


class AmendmentData(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A contract was amended; its figures changed so. Its provider sees the cost alone."""

    contract: str
    mode: AmendmentMode
    cost: str
    entitled: str = ""
    granted: str = ""
    reason: str = ""


class LateWindowData(Data, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """Late records of a contract are taken before `open_until`, those within the period."""

    contract: str
    starts: str
    ends: str
    open_until: str
    reason: str


class DisputeData(Data, frozen=True, kw_only=True):
    """A record was disputed, or it stands in spite of that; a void upholds a dispute."""

    record: str
    contract: str
    provider: str
    reason: str


class MonthData(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A month of the ledger was closed, for firms to answer before an instant; or one agreed."""

    month: str
    answer_until: str = ""


class ClaimData(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A step of a claim, or a change of what may be paid for an item and year."""

    claim: str = ""
    item: str
    year: int
    amount: str = ""
    cash: str = ""
    reason: str = ""


class SuccessionData(Data, frozen=True, kw_only=True):
    """A successor took an enterprise's place: the enterprise is told nothing more."""

    enterprise: str
    successor: str
    effective: str


class KeyData(Data, frozen=True, kw_only=True):
    """A provider's key was revoked."""

    keyid: str


class EntryData(Data, frozen=True, kw_only=True):
    """An entry in short, for officials; `person` is empty where a provider made it."""

    kind: str
    by: str
    person: str
    about: dict[str, str | int]
    cost: str
    granted: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event; a reader resumes after it by its `id`."""

    id: str
    name: str
    data: Data

    def encode(self) -> bytes:
        """Return the bytes of a server-sent event (HTML standard, section 9.2.5)."""
        data = msgspec.json.encode(self.data)
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (self.id.encode(), self.name.encode(), data)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a subject's stream: the next entry, and how many of its events were seen."""

    entry: int
    seen: int = 0

    @classmethod
    def after(cls, event_id: str) -> "Position":
        """Return the position after an event's id; `-1` is before all. Raises `ValueError`."""
        number, dot, suffix = event_id.partition(".")
        if event_id == "-1":
            return cls(0)
        if not _is_number(number) or (dot and not _is_number(suffix)):
            raise ValueError(f"{event_id!r} is not the id of an event")
        return cls(int(number), int(suffix)) if dot else cls(int(number) + 1)


@dataclass(frozen=True, slots=True)
class Viewer:
    """The reader of events: a token's role, and its provider or enterprise."""

    role: Role
    subject: str = ""

    def may_see(self, state: State, number: int, coupon: CouponId) -> bool:
        """Return whether a coupon is no other firm's than the viewer's, at an entry."""
        return self.role != "enterprise" or state.last_successor(coupon[0], number) == self.subject


@dataclass(slots=True)
class Walk:
    """A walk through the entries that turns them into a viewer's events, one after the other.

    `balances` holds the coupons that were needed so far, as they stand at the position; their
    `entitled` and `withheld` are not kept up. Of `state`, only what never changes is
    looked up: terms of contracts, what a claim is for, and when a project's awards were made.
    """

    who: Viewer
    position: Position
    balances: dict[CouponId, PastBalance] = field(default_factory=dict)

    def missing(self, state: State, entries: Iterable[AnyEntry]) -> set[CouponId]:
        """Return the coupons whose balances, as of the position, the entries from there on need."""
        return {
            coupon
            for number, entry in enumerate(entries, self.position.entry)
            if concerns(state, number, entry, self.who)
            for coupon in coupons_of(entry)
            if coupon not in self.balances and self.who.may_see(state, number, coupon)
        }

    def take(self, state: State, entry: AnyEntry) -> list[Event]:
        """Step over the entry at the position; return its events that were not seen."""
        number, seen = self.position.entry, self.position.seen
        changes = apply_to_balances(self.balances, state, number, entry)
        self.position = Position(number + 1)
        if not concerns(state, number, entry, self.who):
            return []
        named = list(_named_data(state, number, entry, self.who, changes))
        events = [
            Event(str(number) if index == len(named) else f"{number}.{index}", name, data)
            for index, (name, data) in enumerate(named, 1)
        ]
        return events[seen:]


def concerns(state: State, number: int, entry: AnyEntry, who: Viewer) -> bool:
    """Return whether an entry concerns a viewer."""
    match who.role:
        case "enterprise":
            codes = enterprises_of(state, number, entry)
            return who.subject in {state.last_successor(code, number) for code in codes}
        case "provider":
            return _provider_of(state, entry) == who.subject
        case "authority" | "auditor":
            return True
        case unknown:
            assert_never(unknown)


def coupons_of(entry: AnyEntry) -> list[CouponId]:
    """Return the coupons whose money an entry changes."""
    if isinstance(entry, CouponEntry):
        return [(entry.enterprise, entry.programme, entry.year)]
    if isinstance(entry, CouponsExpired):
        return [coupon for coupon, _ in expired(entry)]
    if isinstance(entry, RecordEntry | ContractAmended | ContractFunded):
        return sorted(set(_coupons_in(entry)))
    # Of the coupon of an award all is granted always: its events need no balance.
    if isinstance(entry, _OF_NO_COUPON):
        return []
    assert_never(entry)


def _coupons_in(entry: Entry) -> Iterator[CouponId]:
    for posting in entry.postings:
        for account in posting[:2]:
            if account.startswith("coupon:"):
                _, programme, year, enterprise = account.split(":")
                yield enterprise, programme, int(year)


@dataclass(slots=True)
class CouponChanges:
    """The issued and granted fen of coupons, before and after an entry."""

    before: dict[CouponId, tuple[int, int]] = field(default_factory=dict)
    after: dict[CouponId, tuple[int, int]] = field(default_factory=dict)


def apply_to_balances(
    balances: Mapping[CouponId, PastBalance], state: State, number: int, entry: AnyEntry
) -> CouponChanges:
    """Apply an entry to the balances that are present, and return their changes."""
    changes = CouponChanges()
    for coupon in coupons_of(entry):
        balance = balances.get(coupon)
        if balance is None:
            continue
        changes.before[coupon] = _issued_and_granted(balance)
        advance(balance, state, coupon, number, entry)
        changes.after[coupon] = _issued_and_granted(balance)
    return changes


NamedData = tuple[str, Data]


def _named_data(
    state: State, number: int, entry: AnyEntry, who: Viewer, changes: CouponChanges
) -> Iterator[NamedData]:
    common = _Common(number, format_moment(entry.at))
    match who.role:
        case "enterprise":
            yield from _for_enterprise(state, entry, common, changes)
            yield from _thresholds(entry, common, changes)
        case "provider":
            yield from _for_provider(entry, common)
        case "authority" | "auditor":
            yield "entry", _condensed(entry, common)
            yield from _thresholds(entry, common, changes)
        case unknown:
            assert_never(unknown)


@dataclass(frozen=True, slots=True)
class _Common:
    number: int
    time: str


def _for_enterprise(
    state: State, entry: AnyEntry, common: _Common, changes: CouponChanges
) -> Iterator[NamedData]:
    if isinstance(entry, RecordEntry):
        yield _record(entry, common)
        yield from _other_grants(state, entry, common, entry.contract)
    elif isinstance(entry, CouponEntry):
        yield _coupon(entry, common, changes)
        yield from _other_grants(state, entry, common, "")
    elif isinstance(entry, ContractFunded | ContractAmended):
        yield _changed_terms(entry, common)
        yield from _other_grants(state, entry, common, entry.contract)
    elif isinstance(entry, CouponsExpired):
        yield from _expiries(entry, common, changes)
    elif isinstance(entry, DisputeEntry):
        yield _dispute(entry, common)
    elif isinstance(entry, MonthClosed | MonthConfirmed):
        yield _month(entry, common)
    elif not isinstance(entry, _OF_NO_ENTERPRISE):
        yield _one_event(state, entry, common)


def _one_event(
    state: State,
    entry: ContractRegistered
    | ContractFrozen
    | ContractUnfrozen
    | LateWindowOpened
    | ClaimEntry
    | AwardEntry
    | EnterpriseSucceeded
    | _ProjectMoney,
    common: _Common,
) -> NamedData:
    """Return the only event of an entry that an enterprise sees."""
    if isinstance(entry, ContractRegistered | ContractFrozen | ContractUnfrozen | LateWindowOpened):
        return _contract(entry, common)
    if isinstance(entry, ClaimEntry):
        return _claim(state, entry, common)
    if isinstance(entry, AwardEntry):
        return _award(state, entry, common)
    if isinstance(entry, EnterpriseSucceeded):
        return _succession(entry, common)
    if isinstance(entry, _ProjectMoney):
        return _project_money(entry, common)
    assert_never(entry)


def _for_provider(entry: AnyEntry, common: _Common) -> Iterator[NamedData]:
    if isinstance(entry, BatchAccepted):
        yield _batch(entry, common)
    elif isinstance(entry, DaySummarised):
        yield _summary(entry, common)
    elif isinstance(entry, RecordVoided | RecordReleased):
        yield _record(entry, common)
    elif isinstance(entry, KeyRevoked):
        data = KeyData(entry=common.number, time=common.time, keyid=entry.keyid)
        yield "key.revoked", data
    elif isinstance(entry, ContractAmended):
        yield _amendment(entry, common, money=False)
    elif isinstance(entry, ContractEntry):
        yield _contract(entry, common)
    elif isinstance(entry, DisputeEntry):
        yield _dispute(entry, common)
    elif not isinstance(entry, _OF_NO_PROVIDER):
        assert_never(entry)


def _batch(entry: BatchAccepted, common: _Common) -> NamedData:
    return (
        "batch.accepted",
        BatchData(
            entry=common.number,
            time=common.time,
            batch=entry.payload,
            stream=entry.stream,
            seq=entry.seq,
            keyid=entry.by,
            voids=entry.voids,
            records=entry.records,
            purchases=entry.purchases,
        ),
    )


def _summary(entry: DaySummarised, common: _Common) -> NamedData:
    return (
        "day.summarised",
        SummaryData(
            entry=common.number,
            time=common.time,
            stream=entry.stream,
            day=entry.day,
            records=entry.records,
            device_seconds=entry.device_seconds,
            differing=entry.differing,
        ),
    )


def _record(entry: RecordEntry, common: _Common) -> NamedData:
    granted_by_year = {year: fen for name, year, fen in _grants(entry) if name == entry.contract}
    granted = sum(granted_by_year.values())
    entitled = sum(fen for _, fen in entry.entitled)
    years = sorted({year for year, _ in entry.entitled} | granted_by_year.keys())
    reasons = [] if entry.ineligible is UNSET else entry.ineligible
    return (
        f"record.{_VERBS[type(entry)]}",
        RecordData(
            entry=common.number,
            time=common.time,
            record=entry.id,
            contract=entry.contract,
            provider=entry.provider,
            cost=format_money(0 if isinstance(entry, RecordReleased) else entry.cost),
            entitled=format_money(entitled),
            granted=format_money(granted),
            uncovered=format_money(entitled - granted),
            withheld=format_money(0 if entry.withheld_cost is UNSET else entry.withheld_cost),
            ineligible=format_money(sum(fen for _, fen in reasons)),
            reasons={reason: format_money(fen) for reason, fen in reasons},
            by_year={str(year): format_money(granted_by_year.get(year, 0)) for year in years},
            by_authority=_is_by_authority(entry),
            reason=_reason(entry),
        ),
    )


def _other_grants(state: State, entry: Entry, common: _Common, own: str) -> Iterator[NamedData]:
    for name, year, fen in _grants(entry):
        if name != own:
            yield (
                "grant.changed",
                GrantData(
                    entry=common.number,
                    time=common.time,
                    contract=name,
                    programme=state.contracts[name].registered.programme,
                    year=year,
                    granted=format_money(fen),
                ),
            )


def _coupon(entry: CouponEntry, common: _Common, changes: CouponChanges) -> NamedData:
    coupon = (entry.enterprise, entry.programme, entry.year)
    sign = -1 if isinstance(entry, CouponWithdrawn) else 1
    name = f"coupon.{_VERBS[type(entry)]}"
    return name, _coupon_data(coupon, sign * entry.amount, common, changes)


def _expiries(
    entry: CouponsExpired, common: _Common, changes: CouponChanges
) -> Iterator[NamedData]:
    """Yield what expires of the coupons that the viewer may see: `changes` has no others."""
    for coupon, fen in expired(entry):
        if coupon in changes.after:
            yield "coupon.expired", _coupon_data(coupon, -fen, common, changes)


def _coupon_data(coupon: CouponId, fen: int, common: _Common, changes: CouponChanges) -> CouponData:
    _, programme, year = coupon
    issued, granted = changes.after[coupon]
    return CouponData(
        entry=common.number,
        time=common.time,
        programme=programme,
        year=year,
        amount=format_money(fen),
        issued=format_money(issued),
        granted=format_money(granted),
    )


def _contract(
    entry: ContractRegistered | ContractFrozen | ContractUnfrozen | LateWindowOpened,
    common: _Common,
) -> NamedData:
    if isinstance(entry, LateWindowOpened):
        return _late_window(entry, common)
    name = entry.id if isinstance(entry, ContractRegistered) else entry.contract
    data = ContractData(entry=common.number, time=common.time, contract=name)
    return f"contract.{_VERBS[type(entry)]}", data


def _late_window(entry: LateWindowOpened, common: _Common) -> NamedData:
    data = LateWindowData(
        entry=common.number,
        time=common.time,
        contract=entry.contract,
        starts=entry.starts,
        ends=entry.ends,
        open_until=entry.open_until,
        reason=_reason(entry),
    )
    return "contract.late_window", data


def _dispute(entry: DisputeEntry, common: _Common) -> NamedData:
    data = DisputeData(
        entry=common.number,
        time=common.time,
        record=entry.id,
        contract=entry.contract,
        provider=entry.provider,
        reason=_reason(entry),
    )
    return f"record.{_VERBS[type(entry)]}", data


def _month(entry: MonthClosed | MonthConfirmed, common: _Common) -> NamedData:
    is_closing = isinstance(entry, MonthClosed)
    data = MonthData(
        entry=common.number,
        time=common.time,
        month=entry.month,
        answer_until=format_moment(answer_end(entry.at)) if is_closing else "",
    )
    return "month.closed" if is_closing else "month.confirmed", data


def _changed_terms(entry: ContractFunded | ContractAmended, common: _Common) -> NamedData:
    if isinstance(entry, ContractFunded):
        return _contract_funds(entry, common)
    return _amendment(entry, common, money=True)


def _contract_funds(entry: ContractFunded, common: _Common) -> NamedData:
    granted = sum(fen for name, _, fen in _grants(entry) if name == entry.contract)
    entitled = sum(fen for _, fen in entry.entitled)
    data = ContractFundsData(
        entry=common.number,
        time=common.time,
        contract=entry.contract,
        reference=entry.reference,
        level=entry.level,
        amount=format_money(entry.amount),
        entitled=format_money(entitled),
        granted=format_money(granted),
        uncovered=format_money(entitled - granted),
    )
    return "contract.funded", data


def _amendment(entry: ContractAmended, common: _Common, *, money: bool) -> NamedData:
    granted = sum(fen for name, _, fen in _grants(entry) if name == entry.contract)
    entitled = sum(fen for _, fen in entry.entitled)
    data = AmendmentData(
        entry=common.number,
        time=common.time,
        contract=entry.contract,
        mode=entry.mode,
        cost=format_money(entry.cost),
        entitled=format_money(entitled) if money else "",
        granted=format_money(granted) if money else "",
        reason=_reason(entry),
    )
    return "contract.amended", data


def _claim(state: State, entry: ClaimEntry, common: _Common) -> NamedData:
    item, year = _item_year(state, entry)
    claim = entry.id if isinstance(entry, ClaimEntered) else getattr(entry, "claim", UNSET)
    return (
        _CLAIM_EVENTS[type(entry)],
        ClaimData(
            entry=common.number,
            time=common.time,
            claim="" if claim is UNSET else claim,
            item=item,
            year=year,
            amount=_money(getattr(entry, "amount", UNSET)),
            cash=_money(getattr(entry, "cash", UNSET)),
            reason=_reason(entry),
        ),
    )


def _item_year(state: State, entry: ClaimEntry) -> tuple[str, int]:
    """Return the item and year of an entry about a claim or an item."""
    if isinstance(entry, ItemEntry):
        return entry.item, entry.year
    claim = state.claims.claim(entry.claim)
    assert claim is not None, "an entry about a claim follows it"
    return claim.item_year


def _money(fen: Any) -> str:
    return "" if fen is UNSET else format_money(fen)


def _award(state: State, entry: AwardEntry, common: _Common) -> NamedData:
    made = _made(state, entry)
    data = AwardData(
        entry=common.number,
        time=common.time,
        award=made.id,
        programme=made.programme,
        year=made.year,
        amount=format_money(entry.amount),
        granted=format_money(sum(fen for _, _, fen in _grants(entry))),
    )
    return f"award.{_VERBS[type(entry)]}", data


def _made(state: State, entry: AwardEntry) -> AwardMade:
    """Return the entry that made an award."""
    return entry if isinstance(entry, AwardMade) else state.awards[entry.award].made


def _succession(entry: EnterpriseSucceeded, common: _Common) -> NamedData:
    data = SuccessionData(
        entry=common.number,
        time=common.time,
        enterprise=entry.uscc,
        successor=entry.successor,
        effective=entry.effective,
    )
    return "enterprise.succeeded", data


def _project_money(entry: ProjectFunded | ProjectAudited, common: _Common) -> NamedData:
    data: Data
    money = format_money(entry.amount)
    if isinstance(entry, ProjectFunded):
        data = FundsData(
            entry=common.number,
            time=common.time,
            project=entry.project,
            reference=entry.reference,
            level=entry.level,
            amount=money,
        )
    else:
        data = AuditData(entry=common.number, time=common.time, project=entry.project, amount=money)
    return f"project.{_VERBS[type(entry)]}", data


def _thresholds(entry: Entry, common: _Common, changes: CouponChanges) -> Iterator[NamedData]:
    if isinstance(entry, CouponsExpired):
        return  # nobody has to act: the year is over
    for coupon, after in changes.after.items():
        enterprise, programme, year = coupon
        issued, granted = after
        for percent in THRESHOLDS_PERCENT:
            if reaches(percent, *after) and not reaches(percent, *changes.before[coupon]):
                yield (
                    "coupon.threshold",
                    ThresholdData(
                        entry=common.number,
                        time=common.time,
                        enterprise=enterprise,
                        programme=programme,
                        year=year,
                        percent=percent,
                        issued=format_money(issued),
                        granted=format_money(granted),
                    ),
                )


def reaches(percent: int, issued: int, granted: int) -> bool:
    """Return whether `granted` is at least `percent` of `issued`; never if nothing is issued."""
    return issued > 0 and granted * 100 >= issued * percent


def _condensed(entry: Entry, common: _Common) -> EntryData:
    found = {name: getattr(entry, name, UNSET) for name in _CONDENSED}
    about = {name: value for name, value in found.items() if value is not UNSET}
    return EntryData(
        entry=common.number,
        time=common.time,
        kind=entry.kind,
        by=entry.by,
        person=_person(entry),
        about=about,
        cost=format_money(getattr(entry, "cost", 0)),
        granted=format_money(sum(fen for _, _, fen in _grants(entry))),
    )


def _grants(entry: Entry) -> list[tuple[str, int, int]]:
    """Return contract, year and signed fen of each grant that an entry's postings change."""
    found = []
    for source, target, fen in entry.postings:
        for account, sign in ((target, 1), (source, -1)):
            if account.startswith("accrued:"):
                _, contract, year = account.split(":")
                found.append((contract, int(year), sign * fen))
    return found


def _issued_and_granted(balance: PastBalance) -> tuple[int, int]:
    return balance.issued, sum(share.granted for share in balance.shares.values())


def _is_by_authority(entry: Entry) -> bool:
    return isinstance(entry, AuthorityEntry) or getattr(entry, "request", UNSET) is not UNSET


def _person(entry: Entry) -> str:
    person: Any = getattr(entry, "person", UNSET)
    return "" if person is UNSET else str(person)


def _reason(entry: Entry) -> str:
    reason: Any = getattr(entry, "reason", UNSET)
    return "" if reason is UNSET else str(reason)


def enterprises_of(  # noqa: PLR0911 - one for each family of entries
    state: State, number: int, entry: AnyEntry
) -> set[str]:
    """Return the enterprises that an entry is about: of a project's, those with an award by then.

    The closing of a month is about all by then. Of each, the last successor by then sees it.
    """
    if isinstance(entry, MonthClosed):
        return {code for code, firm in state.enterprises.items() if firm.entry < number}
    if isinstance(entry, CouponEntry | ContractRegistered | MonthConfirmed):
        return {entry.enterprise}
    if isinstance(entry, CouponsExpired):
        return {enterprise for (enterprise, _, _), _ in expired(entry)}
    if isinstance(entry, EnterpriseSucceeded):
        return {entry.uscc, entry.successor}
    if isinstance(entry, AwardEntry):
        return {_made(state, entry).enterprise}
    if isinstance(entry, _AboutContract):
        contract = state.contracts[entry.contract]  # an amendment may move it
        return {contract.enterprise_at(number), contract.enterprise_at(number + 1)}
    if isinstance(entry, ClaimEntry):
        item, _ = _item_year(state, entry)
        return {state.owner_of(item, number)}
    if isinstance(entry, _ProjectMoney):
        awards = state.projects[entry.project].awards
        return {each.made.enterprise for each in awards if each.entry < number}
    if isinstance(entry, _OF_NO_ENTERPRISE):
        return set()
    assert_never(entry)


def _provider_of(state: State, entry: AnyEntry) -> str:
    """Return the provider that sees an entry; of its own records it has receipts."""
    if isinstance(entry, KeyRevoked):
        return state.keys[entry.keyid].registered.provider
    if isinstance(
        entry, ContractRegistered | BatchAccepted | DaySummarised | RecordReleased | DisputeEntry
    ):
        return entry.provider
    if isinstance(entry, RecordVoided):
        return entry.provider if entry.batch is UNSET else ""
    if isinstance(entry, ContractAmended | ContractFrozen | ContractUnfrozen | LateWindowOpened):
        return state.contracts[entry.contract].registered.provider
    if isinstance(entry, _OF_NO_PROVIDER):
        return ""
    assert_never(entry)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
