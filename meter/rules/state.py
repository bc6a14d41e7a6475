"""The state: what the ledger's entries add up to, as far as the rules need it.

Only values and look-ups are here: `effects.py` computes what usage and coupons do to a state, and
`evolve.py` applies an entry. A state changes in place; when a commit fails it is thrown away and
loaded again. `touched` collects what a group changed, for the read models.

Records, batches and device-time in use are many. The service holds only those that the present
batches name: they are loaded before the batches are decided, and forgotten some time after the
commit. A replay holds all. Everything else is small.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, final

import msgspec
from msgspec import UNSET, Struct

from meter.rules.capacity import DeviceTime, Limit, Room, Withheld
from meter.rules.claim_book import ClaimBook
from meter.rules.contract_terms import ContractTerms, Segment, Step, Version, step_of, terms_of
from meter.rules.entries import (
    AcceptedEntry,
    AccessDigested,
    AwardMade,
    ContractAmended,
    ContractRegistered,
    DailyTime,
    EnterpriseRegistered,
    EnterpriseSucceeded,
    FundsLevel,
    Genesis,
    KeyRegistered,
    PolicyActivated,
    ProjectRegistered,
    ProviderRegistered,
    UsageAccepted,
)
from meter.rules.month_book import Dispute, Month, MonthBook, Numbers
from meter.rules.people import People
from meter.rules.rating import Entitlement, Interval, Terms, union
from meter.values.policy import Policy
from meter.values.units import MICROSECONDS, year_of
from meter.wire.receipt import REASONS, EntryRange

CouponId = tuple[str, str, int]  # enterprise, programme, year
PoolId = tuple[str, int]  # programme that owns it, year
RecordId = tuple[str, str]  # provider, record id
FundsEntry = tuple[int, str, FundsLevel, int]  # number of the entry, reference, level, fen
BatchId = tuple[str, str, int]  # provider, stream, seq
RequestId = tuple[str, str]  # owner (`People.owner_of`), its idempotency key
DeviceTimeId = tuple[Limit, str, str]  # "contract" or "provider", its id, device kind
# By Shanghai day since 1970-01-01 and device kind: device-time in all, what fits, what is withheld.
UsageDays = dict[tuple[int, str], list[int]]
# The same by stream too, with the number of records beside it.
StreamDays = dict[tuple[int, str, str], list[int]]
DayOfStream = tuple[str, str, int]  # provider, stream, Shanghai day since 1970-01-01
# What a stream's records of a day come to, by contract and device kind: records, device-time.
Figures = dict[tuple[str, str], tuple[int, int]]

MAX_HELD_STREAMS: Final = 20_000  # names that the service keeps in memory
MAX_HELD_DAYS: Final = 20_000  # of device-time, 0.8 kB each, that the service keeps in memory
MAX_METER_DAYS: Final = 100  # whose terms a meter keeps: records come some weeks late at most


@dataclass
class Key:
    """A provider's key; `revoked` is the number of the entry that revoked it.

    Others may have signed with it since `suspected_since` (microseconds).
    """

    entry: int
    registered: KeyRegistered
    public_key: bytes
    revoked: int | None = None
    suspected_since: int | None = None


@dataclass
class ServiceKey:
    """A key of the service, and the numbers of the entries that name it and retire it.

    `public_key` is the base64 of a receipt key, or the vkey of a log key.
    """

    entry: int
    public_key: str
    retired: int | None = None

    def signs(self, number: int) -> bool:
        """Return whether the key must sign the checkpoint, or receipt, of this size or batch entry.

        One rule serves both, since neither the entry that names the key nor the one that retires it
        is a batch.
        """
        return self.entry < number and (self.retired is None or number <= self.retired)


def signing(keys: Mapping[str, ServiceKey], number: int) -> dict[str, ServiceKey]:
    """Return the keys that sign at a number, the oldest first."""
    return {name: key for name, key in keys.items() if key.signs(number)}


@dataclass
class EnlistedBatch:
    """Devices of a provider by kind, enlisted in `[start, end)` (seconds)."""

    entry: int
    devices: dict[str, int]
    start: int
    end: int


@dataclass
class Provider:
    """A provider and its enlistments by the name of their batch.

    `announced` lists them in the order of their entries, including those whose end was moved later;
    `amended` are the provider's facts since some entries; `contracts` the ids of its contracts.
    """

    entry: int
    registered: ProviderRegistered
    amended: list[tuple[int, ProviderRegistered]] = field(default_factory=list)
    enlistments: dict[str, EnlistedBatch] = field(default_factory=dict)
    announced: list[tuple[str, EnlistedBatch]] = field(default_factory=list)
    contracts: list[str] = field(default_factory=list)

    def facts_at(self, size: int) -> ProviderRegistered:
        """Return who it is by the first `size` entries."""
        known = (facts for number, facts in reversed(self.amended) if number < size)
        return next(known, self.registered)

    def enlist(self, name: str, batch: EnlistedBatch) -> None:
        """Put a batch into force, or move its end."""
        self.enlistments[name] = batch
        self.announced.append((name, batch))

    def enlistments_at(self, size: int) -> dict[str, EnlistedBatch]:
        """Return the enlistments of the first `size` entries."""
        return {name: batch for name, batch in self.announced if batch.entry < size}

    def enlisted(self, device: str) -> list[Interval]:
        """Return the disjoint sorted intervals in which a device kind is enlisted."""
        return union((start, end) for start, end, _ in self.capacity(device))

    def device_kinds(self) -> set[str]:
        """Return the device kinds that were ever enlisted."""
        return {device for batch in self.enlistments.values() for device in batch.devices}

    def capacity(self, device: str) -> list[tuple[int, int, int]]:
        """Return `(start, end, devices)` of each enlistment of a device kind."""
        return [
            (batch.start, batch.end, batch.devices[device])
            for batch in self.enlistments.values()
            if device in batch.devices
        ]


@final
@dataclass
class DayTerms:
    """What holds for one device kind under a contract on one Shanghai day.

    `segment` is the place of the segment in which the day lies. It is -1 where usage counts for
    nothing; then `reason` is its place in `REASONS`.
    """

    year: int
    price: int
    segment: int
    reason: int


@final
@dataclass
class Meter:
    """One device kind under one contract: when it is enlisted, and where its usage must fit.

    Where it `needs_enlistment`, nothing fits at another time. The contract's own count of
    device-time in use has the records of entry `counted_since` and later. `days` are the terms of
    the days that were needed last.
    """

    device: str
    enlisted: list[Interval]
    needs_enlistment: bool
    rooms: list[Room]
    counted_since: int = 0
    days: dict[int, DayTerms] = field(default_factory=dict)


@final
@dataclass
class Share:
    """One contract in one year: the withheld numerator, entitled and granted fen."""

    withheld: int = 0
    entitled: int = 0
    granted: int = 0


@final
@dataclass
class Accounts:
    """The coupon that pays for a contract's usage of a year, and the accounts of the grant."""

    coupon_id: CouponId
    coupon: str
    accrued: str


def _nothing_by_reason() -> list[int]:
    return [0] * len(REASONS)


@final
@dataclass
class LateWindow:
    """Records in `[start, end)` are taken before `open_until` (seconds), by the entry `number`."""

    number: int
    start: int
    end: int
    open_until: int


@final
@dataclass
class Contract:
    """A contract with its running totals.

    What follows from `registered` and `amendments` (with the numbers of their entries) is
    explained at `ContractTerms`. `used` is the numerator `M`, `ineligible` what of it counts for
    nothing, by reason. `debtor` and `due` are the accounts of its cost. `counted_since` has the
    entries that first limited a device kind, where an amendment did. `freezes` holds number and
    time of the entries that froze and unfroze it, by turns, `funds` the entries about other public
    money. `meters` and `accounts` (by year) are made when they are needed; `meters` are made again
    when the provider's enlistments change.
    """

    entry: int
    registered: ContractRegistered
    agreed: ContractRegistered
    steps: list[Step]
    policy: Policy
    terms: Terms
    versions: list[Version]
    segments: list[Segment]
    amendments: list[tuple[int, ContractAmended]] = field(default_factory=list)
    used: int = 0
    ineligible: list[int] = field(default_factory=_nothing_by_reason)
    counted_since: dict[str, int] = field(default_factory=dict)
    freezes: list[tuple[int, int]] = field(default_factory=list)
    late_windows: list[LateWindow] = field(default_factory=list)
    funds: list[FundsEntry] = field(default_factory=list)
    shares: dict[int, Share] = field(default_factory=dict)
    entitlement: Entitlement = field(default_factory=Entitlement)
    meters: dict[str, Meter] = field(default_factory=dict)
    accounts: dict[int, Accounts] = field(default_factory=dict)
    debtor: str = field(init=False)
    due: str = field(init=False)

    def __post_init__(self) -> None:
        """Name the accounts once: each record posts to them."""
        self.debtor = f"enterprise:{self.agreed.enterprise}"
        self.due = f"due:{self.registered.id}"

    @staticmethod
    def of(
        entry: int, registered: ContractRegistered, found: "ContractTerms | Contract"
    ) -> "Contract":
        """Return a contract without usage."""
        return Contract(
            entry=entry,
            registered=registered,
            agreed=found.agreed,
            steps=found.steps,
            policy=found.policy,
            terms=found.terms,
            versions=found.versions,
            segments=found.segments,
        )

    def take(self, found: "ContractTerms | Contract") -> None:
        """Take new terms; the segments have the usage that comes with them."""
        self.agreed, self.steps = found.agreed, found.steps
        self.policy, self.terms = found.policy, found.terms
        self.versions, self.segments = found.versions, found.segments
        self.debtor = f"enterprise:{self.agreed.enterprise}"
        self.meters.clear()
        self.accounts.clear()

    @property
    def frozen(self) -> bool:
        """Whether new records are refused."""
        return len(self.freezes) % 2 == 1

    def frozen_at(self, size: int) -> bool:
        """Return whether new records were refused after the first `size` entries."""
        return sum(number < size for number, _ in self.freezes) % 2 == 1

    def is_too_late(self, start: int, end: int, now: int) -> bool:
        """Return whether a record of `[start, end)` (seconds) is too old at `now` (microseconds).

        The time in which the contract was frozen makes it no older. In a late window any age is
        allowed.
        """
        ends, lateness = end * MICROSECONDS, self.policy.lateness_seconds * MICROSECONDS
        if now - ends <= lateness or now - ends - self._frozen_time(ends, now) <= lateness:
            return False
        return not any(
            each.start <= start and end <= each.end and now < each.open_until * MICROSECONDS
            for each in self.late_windows
        )

    def _frozen_time(self, since: int, until: int) -> int:
        """Return for how long the contract was frozen within a time, all in microseconds."""
        times = [at for _, at in self.freezes]
        if self.frozen:
            times.append(until)
        pairs = zip(times[::2], times[1::2], strict=True)
        return sum(max(0, min(end, until) - max(begin, since)) for begin, end in pairs)

    def sums(self, size: int | None = None) -> dict[str, tuple[FundsLevel, int]]:
        """Return other public money by reference: level and fen, after `size` entries or all."""
        return newest_sums(self.funds, size)

    def terms_with(
        self,
        amendments: Sequence[ContractAmended],
        policies: Mapping[str, Policy],
        size: int | None = None,
    ) -> ContractTerms:
        """Return the terms by amendments, policies, and the funds of `size` entries or all."""
        funds = sum(fen for _, fen in self.sums(size).values())
        return terms_of(self.registered, amendments, policies, other_funds=funds)

    @property
    def years(self) -> set[int]:
        """The years that its policies touch: a grant can be claimed for each."""
        return {
            year
            for version in self.versions
            for year in range(year_of(version.start), year_of(version.end - 1) + 1)
        }

    def ratio_of(self, year: int) -> int:
        """Return the highest basis points of a year, or those of its own policy."""
        ratios = [segment.ratio_bp for segment in self.segments if segment.year == year]
        return max(ratios, default=self.policy.ratio_bp[self.agreed.ratio_class])

    def touches(self, year: int) -> bool:
        """Return whether usage of a year can be eligible."""
        return any(segment.year == year for segment in self.segments)

    def price_on(self, device: str, day: int) -> int:
        """Return the numerator of a thousandth of a device in a second of a Shanghai day."""
        return self.step_of(day).price_on(device, day)

    def has_price(self, device: str, day: int) -> bool:
        """Return whether a device kind has a price on a Shanghai day."""
        return device in self.steps[0].prices or device in self.step_of(day).prices

    def step_of(self, day: int) -> Step:
        """Return the prices and rented devices of a Shanghai day."""
        return self.steps[0] if len(self.steps) == 1 else step_of(self.steps, day)

    def share(self, year: int) -> Share:
        """Return the share of a year, empty at first."""
        found = self.shares.get(year)
        if found is None:
            found = self.shares[year] = Share()
        return found

    def enterprise_at(self, size: int) -> str:
        """Return whose contract it was after the first `size` entries."""
        enterprise = self.registered.enterprise
        for number, entry in self.amendments:
            if number < size and entry.enterprise is not UNSET:
                enterprise = entry.enterprise
        return enterprise

    def entitled_and_granted(self, year: int) -> tuple[int, int]:
        """Return the fen of a year."""
        share = self.shares.get(year)
        return (share.entitled, share.granted) if share else (0, 0)

    def coupon_id(self, year: int) -> CouponId:
        """Return the coupon that pays for this contract's usage of a year."""
        return self.accounts_of(year).coupon_id

    def accounts_of(self, year: int) -> Accounts:
        """Return the accounts of a year's grants."""
        found = self.accounts.get(year)
        if found is None:
            found = self.accounts[year] = self._new_accounts(year)
        return found

    def _new_accounts(self, year: int) -> Accounts:
        name, programme, enterprise = (
            self.registered.id,
            self.registered.programme,
            self.agreed.enterprise,
        )
        return Accounts(
            coupon_id=(enterprise, programme, year),
            coupon=f"coupon:{programme}:{year}:{enterprise}",
            accrued=f"accrued:{name}:{year}",
        )


@dataclass
class Enterprise:
    """An enterprise; its contracts by programme, and its awards, in the order of their entries.

    `left` are contracts that were corrected to be another's. `succession` is the entry that gave it
    a successor, with its number; `succeeded` are the USCCs whose place it took. `amended` are its
    facts since some entries.
    """

    entry: int
    registered: EnterpriseRegistered
    amended: list[tuple[int, EnterpriseRegistered]] = field(default_factory=list)
    succession: tuple[int, EnterpriseSucceeded] | None = None
    succeeded: list[str] = field(default_factory=list)
    contracts: dict[str, list[Contract]] = field(default_factory=dict)
    awards: "list[Award]" = field(default_factory=list)
    left: list[Contract] = field(default_factory=list)

    @property
    def facts(self) -> EnterpriseRegistered:
        """Who it is, and since when, as amended."""
        return self.amended[-1][1] if self.amended else self.registered

    def facts_at(self, size: int) -> EnterpriseRegistered:
        """Return its facts by the first `size` entries."""
        known = (facts for number, facts in reversed(self.amended) if number < size)
        return next(known, self.registered)


@dataclass
class Award:
    """An award; `amounts` are the numbers of the entries that set its sum, and the fen."""

    entry: int
    made: AwardMade
    amounts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def amount(self) -> int:
        """What is granted now, fen."""
        return self.amounts[-1][1] if self.amounts else 0

    def amount_at(self, size: int) -> int:
        """Return what was granted after the first `size` entries, fen."""
        return [0, *(fen for number, fen in self.amounts if number < size)][-1]


@dataclass
class Project:
    """A project with its awards and contracts.

    `funds` are the entries about other public money; `audits` those about the audited investment:
    number, fen.
    """

    entry: int
    registered: ProjectRegistered
    funds: list[FundsEntry] = field(default_factory=list)
    audits: list[tuple[int, int]] = field(default_factory=list)
    awards: list[Award] = field(default_factory=list)
    contracts: list[Contract] = field(default_factory=list)

    def sums(self, size: int | None = None) -> dict[str, tuple[FundsLevel, int]]:
        """Return other public money by reference: level and fen, after `size` entries or all."""
        return newest_sums(self.funds, size)

    def audited(self, size: int | None = None) -> int | None:
        """Return the audited investment, fen, or None while it is not known."""
        known = [fen for number, fen in self.audits if size is None or number < size]
        return known[-1] if known else None


def newest_sums(funds: Iterable[FundsEntry], size: int | None) -> dict[str, tuple[FundsLevel, int]]:
    """Return the newest level and fen of each reference, after `size` entries or all."""
    return {
        reference: (level, fen)
        for number, reference, level, fen in funds
        if size is None or number < size
    }


@dataclass
class Pool:
    """The money of one programme and year: what the policy states, the budget, what is issued.

    `programmes` draw on it: the owner, and those that share it. `stated` is None where the policy
    states no sum, `budget` where none was set.
    """

    stated: int | None = None
    budget: int | None = None
    issued: int = 0
    programmes: list[str] = field(default_factory=list)

    @property
    def limit(self) -> int:
        """The most that may be issued: the smaller of the two, nothing without either."""
        if self.stated is None or self.budget is None:
            return (self.stated or 0) + (self.budget or 0)
        return min(self.stated, self.budget)

    @property
    def amount(self) -> int:
        """What was set aside: the limit, unless more had been issued when it was lowered."""
        return max(self.issued, self.limit)


class AcceptedRecord(Struct):
    """An accepted record or purchase, and the numbers of the entries that voided or released it.

    `fits` is the enlisted part that has room, by day; `withheld` is the part that did not fit. A
    purchase fits whole, and has numerators by day. `stream` is that of its batch.
    """

    entry: int
    usage: AcceptedEntry
    fits: DailyTime
    withheld: list[Withheld] = []
    voided: int | None = None
    released: int | None = None
    stream: str = ""


class StoredBatch(Struct, frozen=True):
    """A batch with a receipt: its entries, hex sha256 of its payload, receipt and signature."""

    entries: EntryRange
    payload: str
    receipt: bytes
    signature: str


@final
@dataclass
class Touched:
    """The contracts, awards, coupons, pools and days that a group changed.

    `amended` has the shares of a contract by year after an entry that changed its terms, by its id
    and the size with that entry.
    `months` has those that are over.
    `usage` has, by contract, then Shanghai day, device kind and stream, how much more device-time
    there is: all, what fits, and what is withheld; and how many more records. In a replay, where
    nobody takes it, that is all there is.
    """

    contracts: set[str] = field(default_factory=set)
    amended: dict[tuple[str, int], dict[int, Share]] = field(default_factory=dict)
    awards: set[str] = field(default_factory=set)
    coupons: set[CouponId] = field(default_factory=set)
    pools: set[PoolId] = field(default_factory=set)
    days: set[tuple[DeviceTimeId, int]] = field(default_factory=set)
    months: dict[str, Month] = field(default_factory=dict)
    usage: dict[str, StreamDays] = field(default_factory=dict)

    def add_usage(
        self, contract: str, day: tuple[int, str, str], time: int, fits: int, withheld: int
    ) -> None:
        """Add a record to a day of a contract; negative numbers take one off."""
        count = 0 if time == 0 else 1 if time > 0 else -1  # a release changes no time
        self.add_records(contract, day, count, (time, fits, withheld))

    def add_records(
        self, contract: str, day: tuple[int, str, str], count: int, times: tuple[int, int, int]
    ) -> None:
        """Add records with their device-time, as `add_usage` adds one."""
        time, fits, withheld = times
        days = self.usage.get(contract)
        if days is None:
            days = self.usage[contract] = {}
        held = days.get(day)
        if held is None:
            held = days[day] = [0, 0, 0, 0]
        held[0] += time
        held[1] += fits
        held[2] += withheld
        held[3] += count

    def update(self, other: "Touched") -> None:
        """Add what another group changed."""
        self.contracts |= other.contracts
        self.amended.update(other.amended)
        self.awards |= other.awards
        self.coupons |= other.coupons
        self.pools |= other.pools
        self.days |= other.days
        self.months |= other.months
        for contract, days in other.usage.items():
            held = self.usage.setdefault(contract, {})
            for day, more in days.items():
                before = held.get(day, [0] * len(more))
                held[day] = [a + b for a, b in zip(before, more, strict=True)]


def add_streams(days: UsageDays, more: StreamDays) -> None:
    """Add what streams metered to days of all streams together."""
    for (day, device, _), (time, fits, withheld, _) in more.items():
        held = days.setdefault((day, device), [0, 0, 0])
        held[0] += time
        held[1] += fits
        held[2] += withheld


def _policy_in_force(policies: Sequence[Policy], instant: int) -> Policy | None:
    """Return the newest policy that is valid at an instant."""
    for policy in reversed(policies):
        if policy.valid_from <= instant < policy.valid_until:
            return policy
    return None


@final
@dataclass
class State:
    """The whole state. `size` is the number of entries, `last_at` the last entry's `at`.

    `registered` is a digest of all registrations so far (`add_registration`).
    `records` holds those that the present batches name, and `unread` those that are accepted whole
    and still bytes: the number of the entry, itself, and its stream. `record` looks in both.
    `usage_days` holds, by contract, what was metered before `touched` began, where it was loaded;
    `stream_days` likewise by stream and day. `summaries` has the newest entry about a stream's day,
    and `stream` is that of the batch whose entries follow.
    `noted` and `noted_pools` have what the rows by day add up to: the issued and granted fen of
    coupons, the amounts of pools; `noted_withheld` has the contracts of which a fen or more is
    withheld.
    `coupons` holds the issued fen of each coupon, `granted` the fen that its contracts were
    granted. `contract_nos` has the ids of contracts by enterprise, provider and number. `log_keys`
    are the service's keys by vkey, `receipt_keys` those by keyid, both in the order of their
    entries. `spelled` holds each registered id by what it names and by `folded`, `streams` the name
    of a stream by its provider and by `folded`. `numbers` has, by provider and stream, the numbers
    of stored batches, where they were loaded. `closed` holds the entries that closed a year, by
    programme and year. `disputes` are those of records. `access_digest` is the newest digest of the
    access log, with its number.
    """

    size: int = 0
    last_at: int = 0
    registered: bytes = bytes(32)
    genesis: Genesis | None = None
    genesis_hash: str = ""
    policies: dict[str, dict[str, Policy]] = field(default_factory=dict)
    policy_entries: dict[tuple[str, str], tuple[int, PolicyActivated]] = field(default_factory=dict)
    active: dict[str, Policy] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    public_keys: dict[bytes, str] = field(default_factory=dict)
    log_keys: dict[str, ServiceKey] = field(default_factory=dict)
    receipt_keys: dict[str, ServiceKey] = field(default_factory=dict)
    enterprises: dict[str, Enterprise] = field(default_factory=dict)
    contracts: dict[str, Contract] = field(default_factory=dict)
    contract_nos: dict[tuple[str, str, str], str] = field(default_factory=dict)
    awards: dict[str, Award] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    provider_usccs: dict[str, str] = field(default_factory=dict)
    people: People = field(default_factory=People)
    spelled: dict[tuple[str, str], str] = field(default_factory=dict)
    streams: dict[tuple[str, str], str] = field(default_factory=dict)
    coupons: dict[CouponId, int] = field(default_factory=dict)
    granted: dict[CouponId, int] = field(default_factory=dict)
    pools: dict[PoolId, Pool] = field(default_factory=dict)
    closed: dict[tuple[str, int], int] = field(default_factory=dict)
    months: MonthBook = field(default_factory=MonthBook)
    numbers: dict[tuple[str, str], Numbers] = field(default_factory=dict)
    disputes: dict[RecordId, Dispute] = field(default_factory=dict)
    access_digest: tuple[int, AccessDigested] | None = None
    records: dict[RecordId, AcceptedRecord] = field(default_factory=dict)
    unread: dict[RecordId, tuple[int, bytes, str]] = field(default_factory=dict)
    batches: dict[BatchId, StoredBatch] = field(default_factory=dict)
    in_use: dict[DeviceTimeId, DeviceTime] = field(default_factory=dict)
    claims: ClaimBook = field(default_factory=ClaimBook)
    usage_days: dict[str, UsageDays] = field(default_factory=dict)
    stream_days: dict[DayOfStream, Figures] = field(default_factory=dict)
    summaries: dict[DayOfStream, int] = field(default_factory=dict)
    stream: str = ""
    touched: Touched = field(default_factory=Touched)
    noted: dict[CouponId, tuple[int, int]] = field(default_factory=dict)
    noted_pools: dict[PoolId, int] = field(default_factory=dict)
    noted_withheld: set[str] = field(default_factory=set)

    def add_registration(self, number: int, data: bytes) -> None:
        """Take a registration, an entry's number and bytes, into the digest of all before it."""
        place = number.to_bytes(8, "big")
        self.registered = sha256(self.registered + place + data).digest()

    def record(self, provider: str, name: str) -> AcceptedRecord | None:
        """Return an accepted record by its id, of those that are held."""
        found = self.records.get((provider, name))
        if found is None:
            unread = self.unread.pop((provider, name), None)
            if unread is not None:
                number, data, stream = unread
                usage = msgspec.json.decode(data, type=UsageAccepted)
                found = AcceptedRecord(number, usage, usage.fits, stream=stream)
                self.records[provider, name] = found
        return found

    def contracts_of(self, enterprise: str, programme: str) -> list[Contract]:
        """Return the contracts that share the enterprise's coupons of a programme, oldest first."""
        return self.enterprises[enterprise].contracts.get(programme, [])

    def terms_at(self, contract: Contract, size: int) -> ContractTerms | Contract:
        """Return the terms of a contract after the first `size` entries."""
        programme = contract.registered.programme
        known = [entry for number, entry in contract.amendments if number < size]
        policies = {
            name: policy
            for name, policy in self.policies[programme].items()
            if self.policy_entries[programme, name][0] < size
        }
        funds = [each for each in contract.funds if each[0] < size]
        held = contract.amendments, self.policies[programme], contract.funds
        if (len(known), len(policies), len(funds)) == tuple(map(len, held)):
            return contract
        return contract.terms_with(known, policies, size)

    def usage_of(self, contract: str) -> UsageDays:
        """Return what was metered under a contract by day; the service has loaded it."""
        found = {day: list(held) for day, held in self.usage_days.get(contract, {}).items()}
        add_streams(found, self.touched.usage.get(contract, {}))
        return found

    def figures_of(self, name: DayOfStream) -> Figures:
        """Return what a stream's records of a day come to; the service has loaded it."""
        provider, stream, day = name
        found = dict(self.stream_days.get(name, {}))
        for contract in self.providers[provider].contracts:
            days = self.touched.usage.get(contract)
            if days is None:
                continue
            for device in self.contracts[contract].agreed.prices:
                more = days.get((day, device, stream))
                if more is not None:
                    records, time = found.get((contract, device), (0, 0))
                    found[contract, device] = records + more[3], time + more[0]
        return {line: figures for line, figures in sorted(found.items()) if figures[0]}

    def last_successor(self, uscc: str, size: int | None = None) -> str:
        """Return who stands in an enterprise's place, after `size` entries or all; else itself."""
        while True:
            enterprise = self.enterprises.get(uscc)
            if enterprise is None or enterprise.succession is None:
                return uscc
            number, entry = enterprise.succession
            if size is not None and number >= size:
                return uscc
            uscc = entry.successor

    def firm_of(self, uscc: str) -> list[str]:
        """Return the USCCs of a firm: the last successor, and all that it succeeded."""
        found = [self.last_successor(uscc)]
        for each in found:  # it grows meanwhile
            enterprise = self.enterprises.get(each)
            found += [] if enterprise is None else enterprise.succeeded
        return found

    def owner_of(self, item: str, size: int) -> str:
        """Return the enterprise of a contract or award, after `size` entries."""
        contract = self.contracts.get(item)
        return (
            self.awards[item].made.enterprise if contract is None else contract.enterprise_at(size)
        )

    def contracts_of_firm(self, enterprise: str, programme: str) -> list[Contract]:
        """Return the contracts of all codes of an enterprise's firm under a programme."""
        codes = self.firm_of(enterprise)
        return [each for code in codes for each in self.contracts_of(code, programme)]

    def device_time(self, name: DeviceTimeId) -> DeviceTime:
        """Return the count of device-time in use of one kind, under a contract or at a provider."""
        count = self.in_use.get(name)
        if count is None:
            count = self.in_use[name] = DeviceTime()
        return count

    def policy_of(self, programme: str, year: int, size: int) -> Policy | None:
        """Return the newest policy of a programme that touches a year, after `size` entries."""
        for version, policy in reversed(self.policies.get(programme, {}).items()):
            number, _ = self.policy_entries[programme, version]
            if number < size and year in policy.years:
                return policy
        return None

    def pool_id(self, programme: str, year: int) -> PoolId:
        """Return the pool from which a programme's money of a year comes."""
        return self.active[programme].pool_owner, year

    def policy_for(
        self, programme: str, signed: int, starts: int, ends: int, size: int
    ) -> Policy | None:
        """Return the policy of a contract from its signing and its half-open term (seconds).

        It is the one in force at the signing, however late the contract is registered, else the
        first within the term. Of policies whose validities overlap, the newest one is in force, of
        those that the first `size` entries activate.
        """
        policies = [
            policy
            for name, policy in self.policies.get(programme, {}).items()
            if self.policy_entries[programme, name][0] < size
        ]
        at_signing = _policy_in_force(policies, signed)
        if at_signing is not None:
            return at_signing
        begins = [
            max(policy.valid_from, starts)
            for policy in policies
            if max(policy.valid_from, starts) < min(policy.valid_until, ends)
        ]
        return _policy_in_force(policies, min(begins)) if begins else None

    def take_touched(self) -> Touched:
        """Return what changed since the last call, and begin anew."""
        touched, self.touched = self.touched, Touched()
        for name, count in self.in_use.items():
            touched.days.update((name, day) for day in count.touched)
            count.touched.clear()
        return touched

    def forget(self) -> None:
        """Drop what is durable and can be loaded again.

        Streams and days of device-time stay while they are not too many: the next batches are
        likely to need them.
        """
        self.records.clear()
        self.unread.clear()
        self.batches.clear()
        self.usage_days.clear()
        self.stream_days.clear()
        self.summaries.clear()
        self.numbers.clear()
        if len(self.streams) > MAX_HELD_STREAMS:
            self.streams.clear()
        if sum(len(count.days) for count in self.in_use.values()) > MAX_HELD_DAYS:
            for count in self.in_use.values():
                count.days.clear()
