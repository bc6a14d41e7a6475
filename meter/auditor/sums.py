"""Independent sums beside the audit: a ledger's totals, computed the slow and obvious way.

The audit decides every entry again by the core's own rules, so a fault in those would not show.
Nothing of the core is used here: the bytes are read anew, `Fraction` and calendar dates calculate,
a policy is read from its text, and the balances are those of the postings. These must agree; where
one does not, its code is that of the violation:

    sum_contract     no two contracts of the same parties have one number; a contract follows one
                     that is known; a term touches at most four years, and at most 64 contracts of a
                     firm and programme a year, as of each contract and amendment
    sum_record       a record counts once, and lasts at most 31 days; a void takes back one that
                     counts, a release one with a withheld part
    sum_purchase     a purchase counts whole or by the days of its service, as its policy says; one
                     for a contract where that counts in yuan
    sum_withheld     what does not fit by quarter-hour, or no longer is withheld, by day; its cost
    sum_evidence     by which limit, and when, in runs of quarters
    sum_fits         what is enlisted, or needs no enlistment, less what is withheld, by day
    sum_ineligible   what counts for nothing, by reason: parties, use, policy validity, term,
                     enlistment; a void takes off, and a release changes, what it is worth then
    sum_enlistment   a known enlistment keeps its devices and its begin
    sum_policy       a contract has the policy in force at its signing, else the first within its
                     term; a coupon is issued under one; a programme's pool keeps its owner
    sum_applicant    who has a contract or an award, and the last successor of who is issued money
                     or paid, may apply under the policy, which funds that
    sum_role         who serves a programme, of devices each of device-time, has no contract and no
                     coupon under it; a contract is with one who does
    sum_award        an award is at most the ratio of its base, its fixed sum, and what the others
                     leave of its caps, less other public money; accrued = its newest amount
    sum_project      with national or provincial money, awards of a project are at most its audited
                     investment less municipal and district money, where that is known; so is what
                     is approved for all its items, once it is known; one programme of a group is
                     paid for it
    sum_class        its ratio class, from the founding date and the signing
    sum_allocation   an allocation divides a pool as it says, and those very issues follow it
    sum_need         no coupon above what the contracts of its year can ever be entitled to
    sum_year         no issue for a year whose claims have ended, or that is closed; what coupons
                     have left expires after that; none has anything left when a year is closed
    sum_threshold    contracts whose usage of the year can count reach the threshold at each issue
    sum_cap          no coupon above the cap, by the newest policy of the year
    sum_pool         no issue above the year's pool, which programmes may share; pool = what is set
                     aside − issued
    sum_cost         due = floor(Σ device-time of a day × its price) = Σ of the entries' `cost`
    sum_entitled     the formula's figure by contract and year, by the newest sums of other public
                     money = Σ of the entries' `entitled`
    sum_granted      0 ≤ accrued ≤ entitled; Σ accrued = min(issued, Σ entitled), and ≤ cost
    sum_coupon       coupon = issued − granted
    sum_budget       a budget is the owner's, at most the policy's figure, at least what is issued
    sum_treasury     treasury = −(what is set aside): the smaller of the policy's figure and the
                     budget, or what is issued if more
    sum_enterprise   enterprise = −Σ due of its contracts
    sum_account      no other account holds anything
    sum_persons      who gave each command, and whether that was enough: `auditor.sum_persons`
    sum_claims, sum_papers, sum_invoice, sum_notice, sum_cash: `auditor.sum_claims`
    sum_firm         who stands in whose place: `auditor.sum_firms`; thresholds, caps and roles are
                     those of a firm, that is of a last successor and all that it succeeded

A violation names the entry of a void or record; for a total, the contract, or enterprise and year.
Which of an enterprise's contracts a coupon pays depends on history: that is left to the audit.

Capacity depends on the order of the entries: a quarter has in use what the records before left
there. That takes 0.8 kB for each day, provider or limited contract, and kind of device. Nearly all
records lie within one day, fit, and are eligible: `_at_a_glance` takes those, an hour in some 3 µs.
`_closely` takes the others, an hour across midnight in 20 µs and 31 days in 3 ms.
"""

import tomllib
from array import array
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from itertools import pairwise
from math import floor
from struct import Struct
from typing import Any, Final, Literal, assert_never

import msgspec

from ledger.errors import Violation
from meter.auditor.sum_claims import KINDS as _OF_CLAIMS
from meter.auditor.sum_claims import Claims, Item, day_of, days_of
from meter.auditor.sum_firms import Firms
from meter.auditor.sum_persons import Persons
from meter.auditor.sum_terms import Terms

_SECOND: Final = 1_000_000  # microseconds
_QUARTER: Final = 15 * 60  # seconds

# Days are the ordinals of Shanghai's dates. Quarters are numbered from 1970 UTC, when it was eight
# o'clock in Shanghai: a day there begins 32 quarters before one in UTC.
_QUARTERS_PER_DAY: Final = 96
_QUARTERS_AHEAD: Final = 32
_EPOCH: Final = date(1970, 1, 1).toordinal()
_FULL_QUARTER: Final = 1_000 * _QUARTER  # of one device, in thousandths × seconds
_ROOM_FOR_ALL: Final = 10**18  # of a kind that is limited on other days alone
_NOTHING_USED: Final = bytes(8 * _QUARTERS_PER_DAY)

_DAYS_AT_HAND: Final = 64  # of each meter: records come some weeks late at most

_LONGEST_RECORD: Final = 31 * 86_400  # seconds
_MOST_YEARS: Final = 4  # that a term touches
_MOST_CONTRACTS: Final = 64  # of a firm and programme, that touch one year
_LONGEST_EVIDENCE: Final = 16  # runs; the last one takes the rest

# Work is counted in thousandths of a device × seconds × 1/10000 yuan per device-hour.
_WORK_PER_FEN: Final = 1_000 * 3_600 * 100

# Entry, thousandths, start, end and meter of a record, then what fits of it by day. Packed, for
# there may be millions.
_RECORD: Final = Struct("<qqqqi")
_OF_DAY: Final = Struct("<iq")
_RECORD_OF_ONE_DAY: Final = Struct(_RECORD.format + _OF_DAY.format[1:])

# As canonical JSON has it.
_USAGE: Final = b'"kind":"usage"'
_VOID: Final = b'"kind":"void"'
_RELEASE: Final = b'"kind":"release"'
_PURCHASE: Final = b'"kind":"purchase"'
_REQUEST: Final = b'"request":'

# Entries of these kinds add to no sum but that of their postings. Any other kind is a violation, so
# that a new one cannot pass unseen.
_OF_NO_SUM: Final = {
    *("batch", "key", "revocation", "freeze", "unfreeze", "late_window", "provider_amendment"),
    *("log_key", "log_key_retirement", "receipt_key", "receipt_key_retirement"),
    *("person", "person_end", "person_recovery", "token", "token_end"),
    *("proposal", "proposal_end"),
}

_METERED: Final = ("device-time", "purchase")
_OF_ENTERPRISE: Final = ("name", "applicant", "founded_on")  # what can be amended
_OF_TIME: Final = " (day since 1970, thousandths × seconds)"

# Why usage counts for nothing, in the order in which the cost is told.
_REASONS: Final = ("related_party", "use", "outside_policy", "outside_term", "not_enlisted")

_Coupon = tuple[str, str, int]  # enterprise, programme, year
_Pool = tuple[str, int]  # programme, year
_Time = list[tuple[int, int]]  # quarter or day, thousandths × seconds
_Usage = dict[int, tuple[int, int, int]]  # by day: device-time in all, what fits, what is withheld
_Work = dict[str, int | Fraction]  # by "eligible", "withheld" and reason
_InUse = defaultdict[int, "array[int]"]  # device-time by day, in each day by quarter
_Limit = tuple[str, int, "array[int]"]  # its name, what fits into a quarter, what is in use in each
_Evidence = list[tuple[str, int, int, int]]  # limit, from and until, thousandths × seconds


class _OfRecord(msgspec.Struct, frozen=True, gc=False):
    """The fields of a usage, purchase, void or release entry that sums need."""

    kind: Literal["usage", "purchase", "void", "release"]
    postings: list[tuple[str, str, int]]
    provider: str
    id: str
    contract: str
    entitled: _Time
    device: str = ""  # of a purchase
    amount: int = 0
    delivered_on: str = ""
    service_from: str = ""
    service_until: str = ""
    by_days: bool = False
    milli_devices: int = 0
    start: int = 0  # microseconds
    end: int = 0
    cost: int = 0  # a release costs nothing more
    fits: _Time = []
    withheld: _Time = []
    withheld_cost: int = 0
    ineligible: list[tuple[str, int]] = []
    evidence: _Evidence = []
    record: int = -1

    @property
    def work(self) -> tuple[int, int, int]:
        """Thousandths of a device, start and end in seconds."""
        return self.milli_devices, self.start // _SECOND, self.end // _SECOND


_of_record: Final = msgspec.json.Decoder(_OfRecord)


def is_of_record(data: bytes) -> bool:
    """Return whether an entry is of a record or purchase, which `Sums` reads as `_OfRecord`."""
    return _USAGE in data or _VOID in data or _RELEASE in data or _PURCHASE in data


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a policy file says, in fen and as fractions; None where it sets no limit.

    `classes` are the names of the derived ones: by `standard` and `startup`.
    """

    version: str
    meter: str
    applicants: list[str]
    valid: range
    classes: dict[str, str]
    ratio: dict[str, Fraction]
    combined: dict[str, Fraction] | None
    cap: int | None
    pool: int | None
    owner: str
    threshold: int
    startup_months: int
    uses: list[str] | None
    claims: dict[str, Any] | None
    needs_enlistment: bool
    takes: int | None  # the day from which it holds for contracts of earlier versions
    sections: dict[str, dict[str, Any]]  # of the classes, by name
    per: str
    once: bool
    age: tuple[int, int] | None
    group: str
    is_proportional: bool
    by_days: bool  # what a service costs counts by its days
    in_yuan: bool  # each step is cut at the yuan

    @property
    def years(self) -> range:
        return _years(self.valid)


@dataclass(slots=True)
class _Provider:
    """What a provider enlisted, by the name of the batch: devices by kind, and the days."""

    batches: dict[str, tuple[dict[str, int], range]] = field(default_factory=dict)
    meters: "list[_Meter]" = field(default_factory=list)
    uscc: str = ""

    def enlist(self, name: str, devices: dict[str, int], days: range) -> None:
        """Add a batch, or give it another end."""
        self.batches[name] = devices, days
        for meter in self.meters:
            meter.days.clear()

    def devices(self, device: str, day: int) -> int:
        """Count the devices of a kind that are enlisted on a day."""
        batches = self.batches.values()
        return sum(devices.get(device, 0) for devices, days in batches if day in days)


@dataclass(slots=True)
class _Award:
    """An award's entry, its class, and its newest amount."""

    fields: dict[str, Any]
    name: str
    amount: int = 0

    @property
    def programme(self) -> str:
        programme: str = self.fields["programme"]
        return programme


@dataclass(slots=True)
class _Contract:
    """A contract's entry, the work of its unvoided records, and the sums that entries state.

    `fields` are the terms of the whole, `rules` those of its signing. `versions` are the rules that
    hold, each with its days, in the order of time.
    """

    terms: Terms
    fields: dict[str, Any]
    rules: _Rules
    versions: list[tuple[range, _Rules]]
    activated: int  # how many versions there were when it was registered
    meters: "list[_Meter]" = field(default_factory=list)
    work: int | Fraction = 0
    stated_cost: int = 0
    stated_entitled: dict[int, int] = field(default_factory=dict)
    funds: dict[str, int] = field(default_factory=dict)  # other public money by reference

    def add_stated(self, entitled: Iterable[tuple[int, int]]) -> None:
        """Add what an entry states of the entitlement by year."""
        for year, fen in entitled:
            self.stated_entitled[year] = self.stated_entitled.get(year, 0) + fen

    def parts(self) -> _Work:
        """Return all work of the contract by the terms of now."""
        parts: _Work = dict.fromkeys(("eligible", "withheld", *_REASONS), 0)
        for meter in self.meters:
            usage = {day: (time, fits, held) for day, (time, fits, held) in meter.used.items()}
            for part, work in meter.work(usage).items():
                parts[part] += work
        return parts

    def reason(self, day: int) -> str:
        """Return why enlisted usage of a day counts for nothing, or an empty text."""
        if self.fields["related_party"]:
            return "related_party"
        rules = next((rules for days, rules in self.versions if day in days), None)
        if not _funds_use(rules or self.rules, self.fields):
            return "use"
        if rules is None:
            return "outside_policy"
        return "" if day in days_of(self.fields) else "outside_term"

    def counting(self) -> list[tuple[range, Fraction]]:
        """Return the days on which usage can count, by version, with its ratio."""
        if self.fields["related_party"]:
            return []
        term = days_of(self.fields)
        found = (
            (range(max(days.start, term.start), min(days.stop, term.stop)), self._ratio_in(rules))
            for days, rules in self.versions
            if _funds_use(rules, self.fields)
        )
        return [(days, ratio) for days, ratio in found if days]

    def ratio_of(self, year: int) -> Fraction:
        """Return the highest ratio by which usage of a year can count, else that of its signing."""
        ratios = [ratio for days, ratio in self.counting() if year in _years(days)]
        return max(ratios, default=self._ratio_in(self.rules))

    def _ratio_in(self, rules: _Rules) -> Fraction:
        """Return the ratio of the class that other rules derive as these derive this one."""
        own = self.rules.classes.items()
        when = next(when for when, name in own if name == self.fields["class"])
        return rules.ratio[rules.classes.get(when, rules.classes["standard"])]


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of a meter: its price, why usage counts for nothing, the limits, and the usage.

    `price` is for an hour, in 1/10000 yuan. `used` is the device-time of all unvoided records,
    what of it fits, and what is withheld.
    """

    price: int | Fraction
    reason: str
    is_enlisted: bool
    limits: list[_Limit]
    used: list[int]


@dataclass(slots=True)
class _Meter:
    """One kind of device under a contract, and what is in use there and at the provider.

    `limited` is the entry since which the contract limits the device on some days, or None; records
    of before are not counted as in use there. `used` is by day; `days` is a cache.
    """

    index: int
    contract: _Contract
    provider: _Provider
    device: str
    limited: int | None
    in_use: _InUse
    in_use_at_provider: _InUse
    used: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(_no_usage))
    days: dict[int, _Day] = field(default_factory=dict)

    def day(self, day: int) -> _Day:
        """Return a day by the enlistments so far."""
        found = self.days.get(day)
        if found is None:
            if len(self.days) == _DAYS_AT_HAND:
                self.days.clear()
            found = self.days[day] = self._day(day)
        return found

    def _day(self, day: int) -> _Day:
        devices = self.provider.devices(self.device, day)
        limits = [("provider", devices * _FULL_QUARTER, self.in_use_at_provider[day])]
        if self.limited is not None:
            rented = self.contract.terms.on("max_devices", self.device, day)
            room = _ROOM_FOR_ALL if rented is None else rented * _FULL_QUARTER
            limits.append(("contract", room, self.in_use[day]))
        return _Day(
            self.price_on(day), self.contract.reason(day), devices > 0, limits, self.used[day]
        )

    def price_on(self, day: int) -> int | Fraction:
        """Return the price per device-hour on a day, in 1/10000 yuan; 1 of what is work already."""
        if not self.device:
            return 1
        price = self.contract.terms.price_on(self.device, day)
        if price is None:
            detail = f"{self.contract.fields['id']} has no price for {self.device} on a day of it"
            raise Violation("sum_record", detail)
        return price

    def short(self, wanted: _Time) -> list[tuple[str, int, int]]:
        """Return what does not fit: the limit that leaves less, the quarter, the device-time.

        What is not enlisted on a day is held against no limit.
        """
        short = []
        for quarter, time in wanted:
            day, place = self.day(_day_of(quarter)), _place_of(quarter)
            if not day.is_enlisted:
                continue
            # Where both leave the same, `min` takes the contract's, first in the alphabet.
            left, limit = min(
                [(max(0, room - in_use[place]), limit) for limit, room, in_use in day.limits]
            )
            if time > left:
                short.append((limit, quarter, time - left))
        return short

    def use(self, parts: _Time, sign: int, entry: int) -> None:
        """Count device-time of a record by quarter as in use (1), or no longer (-1)."""
        for quarter, time in parts:
            for limit, _, in_use in self.day(_day_of(quarter)).limits:
                if limit == "provider" or entry >= (self.limited or 0):
                    in_use[_place_of(quarter)] += sign * time

    def usage(self, wanted: _Time, missing: _Time) -> _Usage:
        """Return a new record by day, from its quarters."""
        withheld = dict(_by_day(missing))
        fits = [
            (day, time - withheld.get(day, 0))
            for day, time in _by_day(wanted)
            if self.day(day).is_enlisted or not self.contract.rules.needs_enlistment
        ]
        return _usage(wanted, fits, missing)

    def work(self, usage: _Usage) -> _Work:
        """Return what usage is worth by the terms of now."""
        work: _Work = dict.fromkeys(("eligible", "withheld", *_REASONS), 0)
        for day, (time, fits, withheld) in usage.items():
            terms = self.day(day)
            work["withheld"] += withheld * terms.price
            if terms.reason:
                work[terms.reason] += (time - withheld) * terms.price
            else:
                work["eligible"] += fits * terms.price
                work["not_enlisted"] += (time - withheld - fits) * terms.price
        return work

    def count(self, usage: _Usage, sign: int) -> None:
        """Count usage (1), or no longer (-1)."""
        for day, times in usage.items():
            terms = self.day(day)
            self.contract.work += sign * times[0] * terms.price
            for place, time in enumerate(times):
                terms.used[place] += sign * time


class Sums:
    """The sums of all entries; `finish` compares the totals. Methods raise `Violation`.

    `compared` counts the contracts, coupons, pools and enterprises whose totals were found right.
    """

    def __init__(self) -> None:
        self.compared = 0
        self._balances: defaultdict[str, int] = defaultdict(int)
        self._policies: defaultdict[str, list[_Rules]] = defaultdict(list)
        self._providers: dict[str, _Provider] = {}
        self._enterprises: dict[str, dict[str, Any]] = {}
        self._contracts: dict[str, _Contract] = {}
        self._contract_nos: set[tuple[str, str, str]] = set()  # by enterprise and provider
        self._awards: dict[str, _Award] = {}
        self._awarded: defaultdict[str, list[_Award]] = defaultdict(list)  # by enterprise
        # Other public money by project and reference: level and fen.
        self._funds: defaultdict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
        self._audited: dict[str, int] = {}
        self._of_project: defaultdict[str, list[str]] = defaultdict(list)  # awards and contracts
        # What providers serve, by USCC: named programmes, or None of those with devices.
        self._serving: dict[str, list[str] | None] = {}
        self._rentals: defaultdict[tuple[str, str], list[_Contract]] = defaultdict(list)
        self._meters: dict[tuple[str, str], _Meter] = {}
        self._meter_list: list[_Meter] = []
        self._in_use: dict[tuple[str, str], _InUse] = {}  # by provider and device
        # By provider and id; a voided record leaves its id behind.
        self._records: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        # What is withheld of a record: quarter and device-time, by turns.
        self._withheld: dict[tuple[str, str], array[int]] = {}
        self._issued: defaultdict[_Coupon, int] = defaultdict(int)
        self._issued_of_pool: defaultdict[_Pool, int] = defaultdict(int)
        self._persons = Persons()
        self._firms = Firms()
        self._claims = Claims(self._balances, self._firms)
        self._adders: dict[str, Callable[[int, dict[str, Any]], None]] = {
            "issue": self._issue,
            "allocation": self._allocation,
            "allotment": self._allotment,
            "withdrawal": self._withdrawal,
            "expiry": self._expiry,
            "year_closing": self._closing,
            "policy": self._policy,
            "budget": self._budget,
            "award": self._award,
            "award_change": self._award_change,
            "project": self._project,
            "project_audit": self._project_audit,
            "project_funds": self._project_funds,
            "provider": self._provider,
            "enlistment": self._enlistment,
            "enterprise": self._enterprise,
            "enterprise_amendment": self._enterprise_amendment,
            "succession": self._succession,
            "contract": self._contract,
            "contract_funds": self._contract_funds,
            "amendment": self._amendment,
        }
        self._stated: dict[_Pool, int | None] = {}  # by the owners' policies
        self._budgets: dict[_Pool, int] = {}
        self._closed: set[tuple[str, int]] = set()  # programme, year
        # Allotments that must follow: the allocation's number and fields, an enterprise and fen.
        self._allotments: list[tuple[int, dict[str, Any], str, int]] = []

    def entry(self, number: int, data: bytes) -> None:
        """Add the next entry, whose form the audit has checked."""
        if not is_of_record(data):
            self._other(number, msgspec.json.decode(data))
            return
        entry = _of_record.decode(data)
        if entry.kind != "usage" and _REQUEST in data:  # by the authority
            self._persons.entry(number, msgspec.json.decode(data))
        self._post(entry.postings)
        match entry.kind:
            case "usage":
                self._usage(number, entry)
            case "purchase":
                self._purchase(number, entry)
            case "void":
                self._void(number, entry)
            case "release":
                self._release(number, entry)
            case unknown:
                assert_never(unknown)

    def _other(self, number: int, fields: dict[str, Any]) -> None:
        self._persons.entry(number, fields)
        self._post(fields["postings"])
        kind = fields["kind"]
        if self._allotments and kind != "allotment":
            raise Violation("sum_allocation", "issues of an allocation are missing", number)
        if kind in self._adders:
            self._adders[kind](number, fields)
        elif kind in _OF_CLAIMS:
            self._claims.entry(number, fields)
            if kind == "approval":
                self._check_approval(number, fields)
        elif kind not in _OF_NO_SUM:
            raise Violation("sum_kind", f"no sum knows what a {kind} entry adds", number)

    def finish(self) -> None:
        """Compare all totals with the balances; none of these may be left over."""
        if self._allotments:
            number = self._allotments[0][0]
            raise Violation("sum_allocation", "issues of an allocation are missing", number)
        accounts = dict(self._balances)
        entitled: defaultdict[_Coupon, int] = defaultdict(int)
        granted: defaultdict[_Coupon, int] = defaultdict(int)
        owed: defaultdict[str, int] = defaultdict(int)
        for name, contract in self._contracts.items():
            owed[contract.fields["enterprise"]] += _check_cost(name, contract, accounts)
            for year, of_year, given in _check_grants(name, contract, accounts):
                coupon = (contract.fields["enterprise"], contract.fields["programme"], year)
                entitled[coupon] += of_year
                granted[coupon] += given
        for name, award in self._awards.items():
            account = f"accrued:{name}:{award.fields['year']}"
            _agree("sum_award", f"award {name}", accounts.pop(account, 0), award.amount)
            entitled[_coupon_of(award.fields)] += award.amount
            granted[_coupon_of(award.fields)] += award.amount
        coupons = self._issued.keys() | entitled.keys()
        for coupon in sorted(coupons):
            _check_coupon(coupon, self._issued[coupon], entitled[coupon], granted[coupon], accounts)
        for pool in self._stated:
            _check_pool(pool, self._limit(pool), self._issued_of_pool[pool], accounts)
        self._claims.finish(accounts)
        for enterprise, cost in owed.items():
            held = accounts.pop(f"enterprise:{enterprise}", 0)
            _agree("sum_enterprise", f"enterprise {enterprise}", held, -cost)
        for account, fen in accounts.items():
            _agree("sum_account", f"account {account}, in no total", fen, 0)
        assert sum(self._balances.values()) == 0, "a posting takes what it gives"
        self.compared = len(self._contracts) + len(coupons) + len(self._stated) + len(owed)

    # Entries

    def _post(self, postings: Iterable[tuple[str, str, int]]) -> None:
        balances = self._balances
        for source, target, fen in postings:
            balances[source] -= fen
            balances[target] += fen

    def _usage(self, number: int, usage: _OfRecord) -> None:
        meter = self._meters.get((usage.contract, usage.device))
        records, name = self._records[usage.provider], usage.id
        if meter is None or name in records:
            why = "counts already" if name in records else "has no price"
            raise Violation("sum_record", f"record {name} of {usage.provider} {why}", number)
        at_a_glance = self._at_a_glance(number, meter, usage)
        records[name] = at_a_glance or self._closely(number, meter, usage)
        _add_stated(meter.contract, usage)

    def _purchase(self, number: int, entry: _OfRecord) -> None:
        """Count what was bought, on one day or on those of its service."""
        meter = self._meters.get((entry.contract, ""))
        records, name = self._records[entry.provider], entry.id
        if meter is None or name in records:
            why = "counts already" if name in records else "is under no contract of purchases"
            raise Violation("sum_record", f"purchase {name} of {entry.provider} {why}", number)
        contract, rules = meter.contract, meter.contract.rules
        if entry.by_days != (rules.by_days and entry.service_from != ""):
            detail = f"purchase {name} counts by days: {entry.by_days}"
            raise Violation("sum_purchase", detail, number)
        if rules.in_yuan and contract.work:
            detail = f"purchase {name} is the second one of {entry.contract}"
            raise Violation("sum_purchase", detail, number)
        days = _days_of_purchase(entry)
        by_day = _bought(entry.amount, days)
        _check_costs(number, entry, contract.work, {}, meter.work(by_day))
        meter.count(by_day, 1)
        records[name] = _RECORD.pack(number, entry.amount, days.start, days.stop, meter.index)
        _add_stated(contract, entry)

    def _at_a_glance(self, number: int, meter: _Meter, usage: _OfRecord) -> bytes | None:
        """Count a record within one day that fits and whose entry says so; return None for others.

        `_closely` would find the same. All quarters of a day have the same limits, and all count or
        none does. Where the record exceeds no limit, nothing is withheld, and it counts whole.
        """
        milli_devices, start, end = work = usage.work
        first, last = start // _QUARTER, (end - 1) // _QUARTER
        day_number, place = divmod(first + _QUARTERS_AHEAD, _QUARTERS_PER_DAY)
        if milli_devices <= 0 or end <= start or place + last - first >= _QUARTERS_PER_DAY:
            return None
        day, time = meter.day(day_number + _EPOCH), milli_devices * (end - start)
        if day.reason or usage.fits != [(day_number, time)]:
            return None
        if usage.withheld or usage.evidence or usage.ineligible or usage.withheld_cost:
            return None
        # Whole quarters, less what lies before the start and after the end.
        parts = [milli_devices * _QUARTER] * (last - first + 1)
        parts[0] -= milli_devices * (start - first * _QUARTER)
        parts[-1] -= milli_devices * ((last + 1) * _QUARTER - end)
        if not day.is_enlisted or not _fill(day.limits, place, parts):
            return None
        day.used[0] += time
        day.used[1] += time
        meter.contract.work += time * day.price
        return _RECORD_OF_ONE_DAY.pack(number, *work, meter.index, day_number, time)

    def _closely(self, number: int, meter: _Meter, usage: _OfRecord) -> bytes:
        _, start, end = work = usage.work
        if end - start > _LONGEST_RECORD:  # or its quarters could be of a thousand years
            raise Violation("sum_record", f"record {usage.id} is too long", number)
        wanted = _by_quarter(*work)
        short = meter.short(wanted)
        missing = [(quarter, time) for _, quarter, time in short]
        _check_withheld(number, usage, missing)
        _check_evidence(number, usage, _runs(short))
        by_day = meter.usage(wanted, missing)
        _check_fits(number, usage, by_day)
        _check_costs(number, usage, meter.contract.work, {}, meter.work(by_day))
        meter.use(wanted, 1, number)
        meter.use(missing, -1, number)
        meter.count(by_day, 1)
        if missing:
            parts = array("q", [number for part in missing for number in part])
            self._withheld[usage.provider, usage.id] = parts
        return _pack(number, meter, work, by_day)

    def _void(self, number: int, void: _OfRecord) -> None:
        meter, work, fits = self._find_record(number, void)
        if meter.device:
            missing, wanted = self._take_withheld(void), _by_quarter(*work)
            _check_withheld(number, void, missing)
            by_day = _usage(wanted, fits, missing)
            meter.use(wanted, -1, void.record)
            meter.use(missing, 1, void.record)
        else:
            amount, first, after = work
            by_day = _bought(amount, range(first, after))
        meter.count(by_day, -1)
        _check_costs(number, void, meter.contract.work, meter.work(by_day), {})
        self._records[void.provider][void.id] = None
        _add_stated(meter.contract, void)

    def _release(self, number: int, release: _OfRecord) -> None:
        meter, work, fits = self._find_record(number, release)
        missing = self._take_withheld(release)
        if not missing:
            detail = f"record {release.id} of {release.provider} has no withheld part"
            raise Violation("sum_record", detail, number)
        _check_withheld(number, release, missing)
        held = _usage(_by_quarter(*work), fits, missing)
        freed = {day: (time, fits + withheld, 0) for day, (time, fits, withheld) in held.items()}
        meter.count(held, -1)
        _check_costs(number, release, meter.contract.work, meter.work(held), meter.work(freed))
        meter.use(missing, 1, release.record)
        meter.count(freed, 1)
        self._records[release.provider][release.id] = _pack(release.record, meter, work, freed)
        _add_stated(meter.contract, release)

    def _find_record(
        self, number: int, entry: _OfRecord
    ) -> tuple[_Meter, tuple[int, int, int], _Time]:
        """Return the record of a void or release: meter, work, and what fits of it by day.

        The work of a purchase is its amount, the first of its days, and the one after the last.
        """
        packed = self._records[entry.provider].get(entry.id)
        if packed is None:
            detail = f"record {entry.id} of {entry.provider} does not count"
            raise Violation("sum_record", detail, number)
        record, milli_devices, start, end, index = _RECORD.unpack_from(packed)
        meter = self._meter_list[index]
        ours = record, meter.contract.fields["id"], meter.device
        if ours != (entry.record, entry.contract, entry.device):
            raise Violation("sum_record", f"record {entry.id} is that of entry {record}", number)
        fits = [(day + _EPOCH, time) for day, time in _OF_DAY.iter_unpack(packed[_RECORD.size :])]
        return meter, (milli_devices, start, end), fits

    def _take_withheld(self, entry: _OfRecord) -> _Time:
        """Remove and return the withheld part of a record: device-time by quarter."""
        parts = self._withheld.pop((entry.provider, entry.id), array("q"))
        return list(zip(parts[::2], parts[1::2], strict=True))

    def _allocation(self, number: int, fields: dict[str, Any]) -> None:
        """Divide the pool, and expect an issue for each enterprise that gets anything."""
        programme, year, requests = fields["programme"], fields["year"], fields["requests"]
        rules = self._rules_of_year(number, programme, year)
        pool = rules.owner, year
        self._check_pool_of(number, rules, year)
        asked = [fen for _, fen in requests]
        allotted = _divide(asked, self._limit(pool) - self._issued_of_pool[pool])
        if fields["allotted"] != allotted or len({firm for firm, _ in requests}) < len(requests):
            detail = f"{fields['allotted']!r:.200} are allotted, not {allotted!r:.200}"
            raise Violation("sum_allocation", detail, number)
        if not rules.is_proportional:
            raise Violation("sum_allocation", f"{programme} {year} is not proportional", number)
        for (firm, _), fen in zip(requests, allotted, strict=True):
            codes = set(self._firms.members(firm))
            whole = sum(each for code, each in requests if code in codes)
            self._check_coupon_limits(number, {**fields, "enterprise": firm}, whole)
            if fen:
                self._allotments.append((number, fields, firm, fen))

    def _allotment(self, number: int, fields: dict[str, Any]) -> None:
        named = fields["allocation"]
        if not self._allotments:
            raise Violation("sum_allocation", f"no issue is left of entry {named}", number)
        allocation, whole, firm, fen = self._allotments.pop(0)
        ours = {"allocation": allocation, "enterprise": firm, "amount": fen}
        ours |= {name: whole[name] for name in ("programme", "year", "at", "by")}
        for name, value in ours.items():
            if fields[name] != value:
                detail = f"{name} is {fields[name]}, by the allocation {value}"
                raise Violation("sum_allocation", detail, number)
        self._add_issued(fields, fen)

    def _issue(self, number: int, fields: dict[str, Any]) -> None:
        if self._rules_of_year(number, fields["programme"], fields["year"]).is_proportional:
            raise Violation("sum_allocation", "a single issue, of a pool that is divided", number)
        self._check_coupon_limits(number, fields, fields["amount"])
        self._add_issued(fields, fields["amount"])
        rules = self._rules_of_year(number, fields["programme"], fields["year"])
        self._check_pool_of(number, rules, fields["year"])

    def _check_coupon_limits(self, number: int, fields: dict[str, Any], fen: int) -> None:
        """Check so much more of a coupon by the newest policy that touches its year."""
        enterprise, programme, year = coupon = _coupon_of(fields)
        rules = self._rules_of_year(number, programme, year)
        last = self._firms.last(enterprise)
        self._check_applicant(number, fields | {"enterprise": last}, rules, *_METERED)
        self._check_year_open(number, fields)
        rented = self._rented(coupon)
        if rented < rules.threshold:
            detail = f"{enterprise} rents for {rented} fen in {year}, {rules.threshold} are needed"
            raise Violation("sum_threshold", detail, number)
        what = f"issued for {programme} {year}"
        firm = self._firms.members(enterprise)
        held = fen + sum(self._issued[code, programme, year] for code in firm)
        if rules.cap is not None:
            _stay_below("sum_cap", f"{what} to {enterprise}", held, rules.cap, number)
        need = sum(_need(contract, year) for contract in self._contracts_of(coupon))
        _stay_below("sum_need", f"{what} to {enterprise}", held, need, number)

    def _rules_of_year(self, number: int, programme: str, year: int) -> _Rules:
        """Return the newest policy that touches a year."""
        touching = [rules for rules in self._policies[programme] if year in rules.years]
        if not touching:
            raise Violation("sum_policy", f"no policy of {programme} touches {year}", number)
        return touching[-1]

    def _check_pool_of(self, number: int, rules: _Rules, year: int) -> None:
        pool = rules.owner, year
        if pool not in self._stated:
            raise Violation("sum_policy", f"no policy of {rules.owner} touches {year}", number)
        issued, what = self._issued_of_pool[pool], f"issued of the pool of {rules.owner} {year}"
        _stay_below("sum_pool", what, issued, self._limit(pool), number)

    def _check_applicant(
        self, number: int, fields: dict[str, Any], rules: _Rules, *meters: str
    ) -> None:
        uscc, programme = fields["enterprise"], fields["programme"]
        applicant = self._enterprises[uscc]["applicant"]
        if rules.meter not in meters or applicant not in rules.applicants:
            detail = f"an {applicant} under {programme}, by {rules.meter}"
            raise Violation("sum_applicant", detail, number)
        if any(self._serves(code, programme) for code in self._firms.members(uscc)):
            raise Violation("sum_role", f"{uscc} serves {programme}, and applies", number)

    def _serves(self, uscc: str, programme: str) -> bool:
        """Return whether an organisation provides what a programme funds."""
        if uscc not in self._serving:
            return False
        named = self._serving[uscc]
        if self._policies[programme][-1].meter == "device-time":
            return named is None
        return named is not None and programme in named

    def _enterprise(self, _number: int, fields: dict[str, Any]) -> None:
        self._enterprises[fields["uscc"]] = fields

    def _enterprise_amendment(self, _number: int, fields: dict[str, Any]) -> None:
        changes = {name: fields[name] for name in _OF_ENTERPRISE if name in fields}
        self._enterprises[fields["uscc"]] = self._enterprises[fields["uscc"]] | changes

    def _succession(self, number: int, fields: dict[str, Any]) -> None:
        self._firms.succeed(number, fields)
        self._check_no_applicant(number, fields["uscc"])

    def _provider(self, number: int, fields: dict[str, Any]) -> None:
        self._serving[fields["uscc"]] = fields.get("serves")
        self._check_no_applicant(number, fields["uscc"])
        provider = self._providers[fields["id"]] = _Provider(uscc=fields["uscc"])
        if "serves" not in fields:
            _enlist(number, provider, fields)

    def _enlistment(self, number: int, fields: dict[str, Any]) -> None:
        _enlist(number, self._providers[fields["provider"]], fields)

    def _check_no_applicant(self, number: int, uscc: str) -> None:
        """Check that no code of a firm has applied for what another one serves."""
        firm = set(self._firms.members(uscc))
        programmes = {programme for enterprise, programme, _ in self._issued if enterprise in firm}
        programmes |= {programme for enterprise, programme in self._rentals if enterprise in firm}
        for each in programmes:
            if any(self._serves(code, each) for code in firm):
                raise Violation("sum_role", f"{uscc} applied under {each}, and serves it", number)

    def _award(self, number: int, fields: dict[str, Any]) -> None:
        self._firms.check_active(number, fields["enterprise"])
        rules = self._rules_of_year(number, fields["programme"], fields["year"])
        self._check_applicant(number, fields, rules, "award")
        if rules.version != fields["policy"]:
            raise Violation("sum_policy", f"{fields['policy']} is not the newest policy", number)
        enterprise = self._enterprises[fields["enterprise"]]
        founded, today = (
            date.fromisoformat(enterprise["founded_on"]),
            date.fromordinal(day_of(fields["at"])),
        )
        if rules.age is not None:
            starts, ends = (_months_after(founded, months) for months in rules.age)
            if not starts <= today < ends:
                raise Violation("sum_applicant", f"{enterprise['uscc']} has not the age", number)
        derived = _class_on(enterprise, today, rules) if rules.classes else None
        if fields.get("derived") != derived or ("class" in fields) == (derived is not None):
            raise Violation("sum_class", f"the class of award {fields['id']}", number)
        award = _Award(fields, derived or fields["class"])
        self._awards[fields["id"]] = award
        self._awarded[fields["enterprise"]].append(award)
        self._note_project(fields)
        if rules.claims is not None:
            self._claims.add_item(fields["id"], _award_item(award, rules, rules.claims))
        self._set_award(number, award, fields["amount"], fields["at"])

    def _award_change(self, number: int, fields: dict[str, Any]) -> None:
        award = self._awards[fields["award"]]
        self._set_award(number, award, fields["amount"], fields["at"])

    def _project_funds(self, _number: int, fields: dict[str, Any]) -> None:
        funds = self._funds[fields["project"]]
        funds[fields["reference"]] = fields["level"], fields["amount"]

    def _project(self, _number: int, fields: dict[str, Any]) -> None:
        if "audited_investment" in fields:
            self._audited[fields["id"]] = fields["audited_investment"]

    def _project_audit(self, _number: int, fields: dict[str, Any]) -> None:
        self._audited[fields["project"]] = fields["amount"]

    def _set_award(self, number: int, award: _Award, amount: int, at: int) -> None:
        """Give an award its amount; where that grows, all limits must hold."""
        fields, growth = award.fields, amount - award.amount
        self._add_issued(fields, growth)
        if growth > 0:
            self._check_year_open(number, fields | {"at": at})
            rules = self._rules_of_year(number, award.programme, fields["year"])
            for what, limit in self._limits_of(award, rules):
                _stay_below("sum_award", f"award {fields['id']}, {what}", amount, limit, number)
            self._check_project(number, award, amount)
            self._check_pool_of(number, rules, fields["year"])
            self._check_stacking(number, award, rules)
        award.amount = amount

    def _limits_of(self, award: _Award, rules: _Rules) -> Iterator[tuple[str, int]]:
        """Yield what limits an award: its class, and what the others of its caps leave."""
        section, fields = rules.sections[award.name], award.fields
        funds = 0
        if rules.combined is not None:
            funds = sum(fen for _, fen in self._funds[fields["project"]].values())
        if "ratio" in section:
            yield "its ratio", floor(Fraction(section["ratio"], 10_000) * fields["base"]) - funds
        if "fixed" in section:
            yield "its fixed sum", _yuan(section["fixed"]) - funds
        others = [each for each in self._sharing_caps(award, rules) if each.amount]
        if rules.once and others:
            yield "the only one", 0
        if "cap" in section:
            of_class = sum(each.amount for each in others if each.name == award.name)
            yield "the cap of its class", _yuan(section["cap"]) - of_class - funds
        if rules.cap is not None:
            yield "the cap", rules.cap - sum(each.amount for each in others) - funds

    def _sharing_caps(self, award: _Award, rules: _Rules) -> Iterator[_Award]:
        """Yield the other awards that count under the caps of this one."""
        fields = award.fields
        if rules.per == "project":
            names = self._of_project[fields["project"]]
            found = [self._awards[name] for name in names if name in self._awards]
        else:
            codes = self._firms.members(fields["enterprise"])
            found = [each for code in codes for each in self._awarded.get(code, ())]
        for each in found:
            is_counted = rules.per != "applicant-year" or each.fields["year"] == fields["year"]
            if is_counted and each.programme == award.programme and each is not award:
                yield each

    def _note_project(self, fields: dict[str, Any]) -> None:
        if "project" in fields:
            self._of_project[fields["project"]].append(fields["id"])

    def _check_project(self, number: int, award: _Award, amount: int) -> None:
        """Check the ceiling of a project that the nation or the province funds too."""
        project = award.fields.get("project")
        if project not in self._audited:
            return
        by_level: defaultdict[str, int] = defaultdict(int)
        for level, fen in self._funds[project].values():
            by_level[level] += fen
        if by_level["national"] + by_level["provincial"]:
            names = (name for name in self._of_project[project] if name in self._awards)
            ours = (self._awards[name] for name in names)
            given = amount + sum(each.amount for each in ours if each is not award)
            local = given + by_level["municipal"] + by_level["district"]
            what = f"city and districts for project {project}"
            _stay_below("sum_project", what, local, self._audited[project], number)

    def _check_approval(self, number: int, fields: dict[str, Any]) -> None:
        """Check who is paid by an approval, and the project that it is for."""
        item, year = self._claims.item_year_of(fields["claim"])
        held = self._awards.get(item) or self._contracts[item]
        programme, project = held.fields["programme"], held.fields.get("project")
        applicant = self._enterprises[self._firms.last(held.fields["enterprise"])]["applicant"]
        if applicant not in self._rules_of_year(number, programme, year).applicants:
            raise Violation("sum_applicant", f"an {applicant} is paid by {programme}", number)
        if project is None:
            return
        claimed: defaultdict[str, int] = defaultdict(int)  # by programme
        for name in self._of_project[project]:
            claimed[self._programme_of(name)] += self._claims.claimed(name)
        group = self._policies[programme][-1].group
        for each, fen in claimed.items():
            if fen and each != programme and self._policies[each][-1].group == group:
                detail = f"{each} and {programme} are paid for project {project}"
                raise Violation("sum_project", detail, number)
        self._check_claims_ceiling(number, fields, project, sum(claimed.values()))

    def _check_claims_ceiling(
        self, number: int, fields: dict[str, Any], project: str, claimed: int
    ) -> None:
        """Check that city and districts give no more than is invested; `claimed` has this claim."""
        funds = list(self._funds[project].values())
        above = sum(fen for level, fen in funds if level in ("national", "provincial"))
        local = sum(fen for _, fen in funds) - above
        if not above or not fields["amount"]:
            return
        if project not in self._audited:
            raise Violation("sum_project", f"project {project} is not audited", number)
        what = f"city and districts for project {project}"
        _stay_below("sum_project", what, claimed + local, self._audited[project], number)
        ours = self._audited[project], local, claimed - fields["amount"]
        stated = tuple(fields.get(name) for name in ("audited", "local", "project_claimed"))
        if stated != ours:
            raise Violation("sum_project", f"{stated} are stated, not {ours}", number)

    def _check_stacking(self, number: int, award: _Award, rules: _Rules) -> None:
        project = award.fields.get("project")
        for name in () if project is None else self._of_project[project]:
            other = self._awards.get(name)
            if other is None or other.programme == award.programme or not other.amount:
                continue
            if self._policies[other.programme][-1].group == rules.group:
                detail = f"{other.programme} and {award.programme} fund project {project}"
                raise Violation("sum_award", detail, number)

    def _withdrawal(self, _number: int, fields: dict[str, Any]) -> None:
        self._add_issued(fields, -fields["amount"])

    def _expiry(self, number: int, fields: dict[str, Any]) -> None:
        programme, year = fields["programme"], fields["year"]
        self._check_year_over(number, fields)
        amount = 0
        for source, _, fen in fields["postings"]:
            kind, *name = source.split(":")
            if kind != "coupon":
                continue
            coupon = name[2], name[0], int(name[1])
            if coupon[1:] != (programme, year) or self._balances[source]:
                raise Violation("sum_year", f"of {source} not all expires", number)
            self._add_issued(fields | {"enterprise": coupon[0]}, -fen)
            amount += fen
        if amount != fields["amount"]:
            raise Violation("sum_year", f"{amount} fen expire, not {fields['amount']}", number)

    def _closing(self, number: int, fields: dict[str, Any]) -> None:
        name = fields["programme"], fields["year"]
        self._check_year_over(number, fields)
        for coupon in self._issued:
            if coupon[1:] == name and self._balances["coupon:{1}:{2}:{0}".format(*coupon)]:
                raise Violation("sum_year", f"the coupon of {coupon[0]} has a rest", number)
        open_ = self._claims.open_items(fields["year"])
        if any(self._programme_of(item) == fields["programme"] for item in open_):
            raise Violation("sum_year", f"a claim is open, and {name} is closed", number)
        if name in self._closed:
            raise Violation("sum_year", f"{name} is closed twice", number)
        self._closed.add(name)

    def _programme_of(self, item: str) -> str:
        held = self._awards.get(item) or self._contracts[item]
        programme: str = held.fields["programme"]
        return programme

    def _check_year_open(self, number: int, fields: dict[str, Any]) -> None:
        name = programme, year = fields["programme"], fields["year"]
        ends = self._claims_end(programme, year)
        if name in self._closed or (ends is not None and day_of(fields["at"]) >= ends):
            raise Violation("sum_year", f"an issue for {programme} {year}, which is over", number)

    def _check_year_over(self, number: int, fields: dict[str, Any]) -> None:
        programme, year = fields["programme"], fields["year"]
        ends = self._claims_end(programme, year)
        if ends is None or day_of(fields["at"]) < ends:
            raise Violation("sum_year", f"claims for {programme} {year} are open", number)

    def _claims_end(self, programme: str, year: int) -> int | None:
        """Return the day after the last on which a claim for a year can be made."""
        touching = (rules for rules in self._policies[programme] if year in rules.years)
        months = [int(each.claims.get("months", 6)) for each in touching if each.claims is not None]
        if not months:
            return None
        return _months_after(date(year + 1, 1, 1), max(months)).toordinal()

    def _add_issued(self, fields: dict[str, Any], fen: int) -> None:
        self._issued[_coupon_of(fields)] += fen
        owner = self._policies[fields["programme"]][-1].owner
        self._issued_of_pool[owner, fields["year"]] += fen

    def _rented(self, coupon: _Coupon) -> int:
        """Return the full amounts of the contracts with an eligible day in the coupon's year."""
        return sum(contract.fields["amount"] for contract in self._contracts_of(coupon))

    def _contracts_of(self, coupon: _Coupon) -> Iterator[_Contract]:
        """Yield the contracts of a coupon's firm with an eligible day in its year."""
        enterprise, programme, year = coupon
        for code in self._firms.members(enterprise):
            for contract in self._rentals[code, programme]:
                if any(year in _years(days) for days, _ in contract.counting()):
                    yield contract

    def _policy(self, number: int, fields: dict[str, Any]) -> None:
        rules = _read_rules(fields["content"])
        versions = self._policies[programme := fields["programme"]]
        if versions and versions[-1].owner != rules.owner:
            raise Violation("sum_policy", f"the pool of {programme} has another owner", number)
        versions.append(rules)
        if rules.takes is not None:
            self._take(number, programme, fields["at"], rules.takes)
        if rules.owner == programme:
            for year in rules.years:
                self._stated[programme, year] = rules.pool

    def _take(self, number: int, programme: str, at: int, day: int) -> None:
        """Give running contracts the rules of a new version, on a day that has no usage yet."""
        if day <= day_of(at):
            raise Violation(
                "sum_policy", f"{programme} takes contracts from a day on before", number
            )
        for contract in self._contracts.values():
            if contract.fields["programme"] == programme:
                self._set_versions(contract)
                if any(
                    each >= day and times[0]
                    for meter in contract.meters
                    for each, times in meter.used.items()
                ):
                    detail = f"contract {contract.fields['id']} is taken, and has usage since then"
                    raise Violation("sum_policy", detail, number)

    def _set_versions(self, contract: _Contract) -> None:
        fields, rules = contract.fields, contract.rules
        contract.versions = _versions(rules, self._policies[fields["programme"]])
        if rules.claims is not None:
            self._claims.add_item(fields["id"], self._item(contract, rules.claims))
        for meter in contract.meters:
            meter.days.clear()

    def _budget(self, number: int, fields: dict[str, Any]) -> None:
        programme, year, amount = fields["programme"], fields["year"], fields["amount"]
        pool = programme, year
        if pool not in self._stated:
            raise Violation("sum_budget", f"{programme} owns no pool of {year}", number)
        what, stated = f"budget of {programme} {year}", self._stated[pool]
        if stated is not None:
            _stay_below("sum_budget", what, amount, stated, number)
        issued = self._issued_of_pool[pool]
        _stay_below("sum_budget", f"issued above the {what}", issued, amount, number)
        self._budgets[pool] = amount

    def _limit(self, pool: _Pool) -> int:
        """Return the most that a pool may issue: what is stated and the budget, where present."""
        limits = [fen for fen in (self._stated[pool], self._budgets.get(pool)) if fen is not None]
        return min(limits, default=0)

    def _contract(self, number: int, fields: dict[str, Any]) -> None:
        self._firms.check_active(number, fields["enterprise"])
        terms, rules = Terms(fields), self._check_derived(number, fields)
        if not self._serves(self._providers[fields["provider"]].uscc, fields["programme"]):
            detail = f"{fields['provider']} does not serve {fields['programme']}"
            raise Violation("sum_role", detail, number)
        self._check_number(number, fields)
        activated = len(self._policies[fields["programme"]])
        contract = _Contract(terms, terms.whole, rules, [], activated)
        self._contracts[fields["id"]] = contract
        self._note_project(fields)
        self._rentals[fields["enterprise"], fields["programme"]].append(contract)
        self._set_terms(number, contract, terms, rules)
        self._check_years(number, contract)

    def _amendment(self, number: int, fields: dict[str, Any]) -> None:
        contract = self._contracts[fields["contract"]]
        terms, rules = contract.terms.amend(fields), contract.rules
        if fields["mode"] == "correction":
            rules = self._check_derived(number, terms.original, contract.activated)
        _check_kept(number, terms, fields)
        _check_additions(number, self._enterprises, contract.terms, terms, rules)
        if (name := _name_of_parties(contract.fields)) != _name_of_parties(terms.original):
            self._contract_nos.discard(name)
            self._check_number(number, terms.original)
        self._move(number, contract, terms.original["enterprise"])
        was, entitled = contract.parts(), _entitlement(contract)
        self._set_terms(number, contract, terms, rules)
        self._check_years(number, contract)
        _check_amended(number, contract, fields, was, entitled)

    def _check_years(self, number: int, contract: _Contract) -> None:
        """Check how many years a term touches, and how many contracts of its firm each of them."""
        fields, years = contract.fields, _years(days_of(contract.fields))
        if len(years) > _MOST_YEARS:
            detail = f"the term of {fields['id']} touches {len(years)} years"
            raise Violation("sum_contract", detail, number)
        codes = self._firms.members(fields["enterprise"])
        rentals = [self._rentals.get((code, fields["programme"]), []) for code in codes]
        terms = [_years(days_of(each.fields)) for held in rentals for each in held]
        for year in years:
            if (count := sum(year in each for each in terms)) > _MOST_CONTRACTS:
                detail = f"{count} contracts of the firm of {fields['id']} touch {year}"
                raise Violation("sum_contract", detail, number)

    def _check_derived(
        self, number: int, fields: dict[str, Any], activated: int | None = None
    ) -> _Rules:
        """Check policy and class of a contract by its dates, and that its firm may have it.

        A correction looks at the versions of its registration alone.
        """
        rules = _rules_of(fields, self._policies[fields["programme"]][:activated])
        if rules is None or rules.version != fields["policy"]:
            ours = "no policy" if rules is None else rules.version
            detail = f"contract {fields['id']} has {fields['policy']}, by its dates {ours}"
            raise Violation("sum_policy", detail, number)
        self._check_applicant(number, fields, rules, *_METERED)
        signed_on = date.fromisoformat(fields["signed_on"])
        ratio_class = _class_on(self._enterprises[fields["enterprise"]], signed_on, rules)
        if fields["class"] != ratio_class:
            detail = f"contract {fields['id']} is {fields['class']}, by its dates {ratio_class}"
            raise Violation("sum_class", detail, number)
        return rules

    def _move(self, number: int, contract: _Contract, enterprise: str) -> None:
        """Give a contract to another enterprise, unless a claim for it is open or paid."""
        fields = contract.fields
        if fields["enterprise"] == enterprise:
            return
        self._firms.check_active(number, enterprise)
        self._claims.check_unclaimed(number, fields["id"])
        self._rentals[fields["enterprise"], fields["programme"]].remove(contract)
        self._rentals[enterprise, fields["programme"]].append(contract)

    def _set_terms(self, number: int, contract: _Contract, terms: Terms, rules: _Rules) -> None:
        """Give a contract its terms; a kind that is limited now is counted from then on."""
        whole = terms.whole
        contract.terms, contract.fields, contract.rules = terms, whole, rules
        kinds = {""} if rules.meter == "purchase" else terms.kinds("prices")
        for device in sorted(kinds):
            if (whole["id"], device) not in self._meters:
                self._add_meter(contract, device)
        limited = terms.kinds("max_devices")
        for meter in contract.meters:
            if meter.limited is None and meter.device in limited:
                meter.limited = number
        self._set_versions(contract)
        contract.work = sum(
            time * meter.price_on(day)
            for meter in contract.meters
            for day, (time, _, _) in meter.used.items()
        )

    def _add_meter(self, contract: _Contract, device: str) -> None:
        name, provider = contract.fields["id"], contract.fields["provider"]
        meter = _Meter(
            index=len(self._meter_list),
            contract=contract,
            provider=self._providers[provider],
            device=device,
            limited=None,
            in_use=defaultdict(_unused_day),
            in_use_at_provider=self._in_use.setdefault(
                (provider, device), defaultdict(_unused_day)
            ),
        )
        contract.meters.append(meter)
        self._meters[name, device] = meter
        self._meter_list.append(meter)
        meter.provider.meters.append(meter)

    def _check_number(self, number: int, fields: dict[str, Any]) -> None:
        """Check the number that the parties gave, and the contract that this one follows."""
        name = _name_of_parties(fields)
        firm = self._firms.members(fields["enterprise"])
        if any((code, *name[1:]) in self._contract_nos for code in firm):
            raise Violation("sum_contract", f"number {name[2]} is that of two contracts", number)
        if "follows" in fields and fields["follows"] not in self._contracts:
            raise Violation("sum_contract", f"{fields['id']} follows no contract", number)
        self._contract_nos.add(name)

    def _contract_funds(self, _number: int, fields: dict[str, Any]) -> None:
        contract = self._contracts[fields["contract"]]
        contract.funds[fields["reference"]] = fields["amount"]
        contract.add_stated(fields["entitled"])

    def _item(self, contract: _Contract, claims: dict[str, Any]) -> Item:
        fields = contract.fields
        return Item(
            enterprise=fields["enterprise"],
            programme=fields["programme"],
            seller=self._providers[fields["provider"]].uscc,
            ratio=contract.ratio_of,
            rules=claims,
        )


def _award_item(award: _Award, rules: _Rules, claims: dict[str, Any]) -> Item:
    ratio = Fraction(rules.sections[award.name].get("ratio", 10_000), 10_000)
    return Item(
        enterprise=award.fields["enterprise"],
        programme=award.programme,
        seller=None,
        ratio=lambda _year: ratio,
        rules=claims,
    )


def _enlist(number: int, provider: _Provider, fields: dict[str, Any]) -> None:
    """Add a provider's devices; a known enlistment can only get another end."""
    devices, days = fields["devices"], days_of(fields["enlisted"])
    name = fields["enlisted"]["batch"]
    known_devices, known_days = provider.batches.get(name, (devices, days))
    if (known_devices, known_days.start) != (devices, days.start):
        raise Violation("sum_enlistment", f"enlistment {name} has other devices or days", number)
    provider.enlist(name, devices, days)


# Device-time


def _days_of_purchase(entry: _OfRecord) -> range:
    """Return the days on which a purchase counts."""
    if entry.by_days:
        return days_of({"from": entry.service_from, "until": entry.service_until})
    delivered = date.fromisoformat(entry.delivered_on).toordinal()
    return range(delivered, delivered + 1)


def _bought(amount: int, days: range) -> _Usage:
    """Return the work of a purchase by day: up to each, its share cut to a whole number."""
    work, usage = amount * _WORK_PER_FEN, {}
    for place, day in enumerate(days):
        part = work * (place + 1) // len(days) - work * place // len(days)
        usage[day] = (part, part, 0)
    return usage


def _by_quarter(milli_devices: int, start: int, end: int) -> _Time:
    first, last = start // _QUARTER, (end - 1) // _QUARTER
    borders = [start, *(quarter * _QUARTER for quarter in range(first + 1, last + 1)), end]
    return [
        (first + place, milli_devices * (until - begin))
        for place, (begin, until) in enumerate(pairwise(borders))
    ]


def _fill(limits: list[_Limit], first: int, parts: list[int]) -> bool:
    """Count parts as in use in successive quarters, unless one exceeds a limit."""
    fits = True
    for _, room, in_use in limits:
        for place, time in enumerate(parts, first):
            used = in_use[place] = in_use[place] + time
            if used > room:
                fits = False
    if not fits:
        for _, _, in_use in limits:
            for place, time in enumerate(parts, first):
                in_use[place] -= time
    return fits


def _unused_day() -> "array[int]":
    return array("q", _NOTHING_USED)


def _no_usage() -> list[int]:
    return [0, 0, 0]


def _by_day(parts: _Time) -> _Time:
    """Return device-time by quarter summed by day, ascending."""
    totals: dict[int, int] = {}
    for quarter, time in parts:
        day = _day_of(quarter)
        totals[day] = totals.get(day, 0) + time
    return sorted(totals.items())


def _usage(wanted: _Time, fits: _Time, missing: _Time) -> _Usage:
    """Return a known record by day."""
    fitting, withheld = dict(fits), dict(_by_day(missing))
    return {day: (time, fitting.get(day, 0), withheld.get(day, 0)) for day, time in _by_day(wanted)}


def _pack(entry: int, meter: _Meter, work: tuple[int, int, int], usage: _Usage) -> bytes:
    fits = [(day - _EPOCH, fits) for day, (_, fits, _) in usage.items() if fits]
    return _RECORD.pack(entry, *work, meter.index) + b"".join(_OF_DAY.pack(*each) for each in fits)


def _runs(short: list[tuple[str, int, int]]) -> _Evidence:
    """Join successive quarters that fall short of the same limit."""
    runs: _Evidence = []
    for limit, quarter, time in short:
        begin, end = (number * _QUARTER * _SECOND for number in (quarter, quarter + 1))
        before, first, until, total = runs[-1] if runs else ("", 0, 0, 0)
        if len(runs) == _LONGEST_EVIDENCE or (before, until) == (limit, begin):
            runs[-1] = before, first, end, total + time
        else:
            runs.append((limit, begin, end, time))
    return runs


def _check_withheld(number: int, entry: _OfRecord, missing: _Time) -> None:
    ours = [(day - _EPOCH, time) for day, time in _by_day(missing)]
    if entry.withheld != ours:
        detail = f"{entry.withheld} of record {entry.id} is stated as withheld, not {ours}"
        raise Violation("sum_withheld", detail + _OF_TIME, number)


def _check_fits(number: int, usage: _OfRecord, by_day: _Usage) -> None:
    ours = [(day - _EPOCH, fits) for day, (_, fits, _) in by_day.items() if fits]
    if usage.fits != ours:
        detail = f"{usage.fits} of record {usage.id} is stated to fit, not {ours}"
        raise Violation("sum_fits", detail + _OF_TIME, number)


def _check_costs(
    number: int, entry: _OfRecord, others: int | Fraction, before: _Work, after: _Work
) -> None:
    """Compare the parts of a cost that an entry states, on top of the contract's other work."""
    was, now = _costs(others, before), _costs(others, after)
    changes = {part: now[part] - was[part] for part in now}
    withheld = changes.pop("withheld")
    if entry.withheld_cost != withheld:
        detail = f"{entry.withheld_cost} fen of record {entry.id} are stated as withheld"
        raise Violation("sum_withheld", f"{detail}, not {withheld}", number)
    del changes["eligible"]
    differs = {part for part in changes if before.get(part, 0) != after.get(part, 0)}
    ours = [(reason, fen) for reason, fen in changes.items() if reason in differs]
    if entry.ineligible != ours:
        detail = f"{entry.ineligible} of record {entry.id} is stated as ineligible, not {ours}"
        raise Violation("sum_ineligible", f"{detail} (fen)", number)


def _costs(others: int | Fraction, work: _Work) -> dict[str, int]:
    """Return the fen of each part: how much a rounded total grows as one part follows the other."""
    total, costs = Fraction(others, _WORK_PER_FEN), {}
    for part in ("eligible", "withheld", *_REASONS):
        grown = total + Fraction(work.get(part, 0), _WORK_PER_FEN)
        costs[part] = floor(grown) - floor(total)
        total = grown
    return costs


def _check_kept(number: int, terms: Terms, fields: dict[str, Any]) -> None:
    """Check that a supplement keeps policy and class; a correction derives them again."""
    original = terms.original
    if (fields["policy"], fields["class"]) != (original["policy"], original["class"]):
        raise Violation("sum_class", f"a supplement gives {original['id']} a class", number)


def _check_additions(
    number: int, enterprises: dict[str, dict[str, Any]], was: Terms, terms: Terms, rules: _Rules
) -> None:
    """Check that a startup no more adds nothing as one.

    What is added already was checked then, unless it is added to another class now.
    """
    original = terms.original
    if original["class"] == rules.classes["standard"]:
        return
    derived = ("enterprise", "policy", "class")
    is_same = all(original[name] == was.original[name] for name in derived)
    known = was.additions() if is_same else []
    for each in terms.additions():
        day = date.fromisoformat(each[1]["signed_on"])
        startup = _class_on(enterprises[original["enterprise"]], day, rules) == original["class"]
        if not startup and each not in known:
            raise Violation("sum_class", f"{original['id']} is added to on {day}", number)


def _check_amended(
    number: int,
    contract: _Contract,
    fields: dict[str, Any],
    was: _Work,
    entitled: dict[int, int],
) -> None:
    """Compare what an amendment states with the contract's sums before and after it."""
    before, after = _costs(0, was), _costs(0, contract.parts())
    changes = {part: after[part] - before[part] for part in after}
    name, cost = contract.fields["id"], sum(changes.values())
    _agree("sum_cost", f"change by the amendment of {name}", fields["cost"], cost, number)
    withheld = changes.pop("withheld")
    stated = fields.get("withheld_cost", 0)
    _agree("sum_withheld", f"change by the amendment of {name}", stated, withheld, number)
    del changes["eligible"]
    ineligible = [[reason, fen] for reason, fen in changes.items() if fen]
    if fields.get("ineligible", []) != ineligible:
        detail = f"{fields.get('ineligible', [])} is stated as ineligible, not {ineligible}"
        raise Violation("sum_ineligible", f"amendment of {name}: {detail} (fen)", number)
    now = _entitlement(contract)
    years = sorted(entitled.keys() | now.keys())
    grown = [[year, now.get(year, 0) - entitled.get(year, 0)] for year in years]
    ours = [each for each in grown if each[1]]
    if fields["entitled"] != ours:
        detail = f"{fields['entitled']} is stated, not {ours}"
        raise Violation("sum_entitled", f"amendment of {name}: {detail} (year, fen)", number)
    contract.stated_cost += fields["cost"]
    contract.add_stated(fields["entitled"])


def _check_evidence(number: int, usage: _OfRecord, ours: _Evidence) -> None:
    if usage.evidence != ours:
        detail = f"what is withheld of record {usage.id} is shown by {usage.evidence!r:.200}"
        raise Violation("sum_evidence", f"{detail}, not by {ours!r:.200}", number)


def _add_stated(contract: _Contract, entry: _OfRecord) -> None:
    """Add what a usage, void or release entry states of its contract."""
    contract.stated_cost += entry.cost
    contract.add_stated(entry.entitled)


# Totals


def _check_cost(name: str, contract: _Contract, accounts: dict[str, int]) -> int:
    work = sum(
        time * meter.price_on(day)
        for meter in contract.meters
        for day, (time, _, _) in meter.used.items()
    )
    cost = floor(Fraction(work, _WORK_PER_FEN))
    _agree("sum_cost", f"cost of contract {name}", accounts.pop(f"due:{name}", 0), cost)
    _agree("sum_cost", f"costs in the entries of contract {name}", contract.stated_cost, cost)
    return cost


def _check_grants(
    name: str, contract: _Contract, accounts: dict[str, int]
) -> Iterator[tuple[int, int, int]]:
    """Yield `(year, entitled, granted)`."""
    ours, total = _entitlement(contract), 0
    for year in sorted(ours.keys() | contract.stated_entitled.keys()):
        entitled, stated = ours.get(year, 0), contract.stated_entitled.get(year, 0)
        granted = accounts.pop(f"accrued:{name}:{year}", 0)
        _agree("sum_entitled", f"entitlement of contract {name} in {year}", stated, entitled)
        if granted < 0:
            raise Violation("sum_granted", f"contract {name} is granted {granted} fen in {year}")
        _stay_below("sum_granted", f"granted to contract {name} in {year}", granted, entitled)
        total += granted
        yield year, entitled, granted
    cost = floor(Fraction(contract.work, _WORK_PER_FEN))
    _stay_below("sum_granted", f"granted to contract {name}", total, cost)


def _need(contract: _Contract, year: int) -> int:
    """Return the most that a contract can ever be entitled to in a year, in fen."""
    terms = contract.fields
    by_ratio: int = floor(contract.ratio_of(year) * terms["amount"])
    return min(_support(contract), by_ratio)


def _support(contract: _Contract) -> int:
    """Return the most that other public money leaves of a contract, in fen."""
    terms, rules = contract.fields, contract.rules
    ratio = (rules.ratio if rules.combined is None else rules.combined)[terms["class"]]
    funds = 0 if rules.combined is None else sum(contract.funds.values())
    support: int = floor(ratio * terms["amount"]) - funds
    return max(0, support)


def _entitlement(contract: _Contract) -> dict[int, int]:
    """Return fen by year: the ratio of the usage within the amount, within the support left."""
    amount_left, support_left = Fraction(contract.fields["amount"]), _support(contract)
    counting = contract.counting()
    eligible: defaultdict[tuple[int, int], int | Fraction] = defaultdict(int)
    for meter in contract.meters:
        for day, (_, fits, _) in meter.used.items():
            for place, (days, _) in enumerate(counting):
                if day in days:
                    year = date.fromordinal(day).year
                    eligible[year, place] += fits * meter.price_on(day)
    weighted: defaultdict[int, Fraction] = defaultdict(Fraction)
    for (year, place), work in sorted(eligible.items()):
        counted = min(_cut(Fraction(work, _WORK_PER_FEN), contract.rules), amount_left)
        amount_left -= counted
        weighted[year] += counting[place][1] * counted
    entitled = {}
    for year, worth in weighted.items():
        entitled[year] = min(floor(_cut(worth, contract.rules)), support_left)
        support_left -= entitled[year]
    return entitled


def _cut(fen: Fraction, rules: _Rules) -> Fraction:
    """Return a step's figure, cut at the yuan where the rules count so."""
    return Fraction(fen // 100 * 100) if rules.in_yuan else fen


def _check_coupon(
    coupon: _Coupon, issued: int, entitled: int, granted: int, accounts: dict[str, int]
) -> None:
    enterprise, programme, year = coupon
    what = f"{enterprise} under {programme} in {year}"
    _agree("sum_granted", f"granted to {what}", granted, min(issued, entitled))
    held = accounts.pop(f"coupon:{programme}:{year}:{enterprise}", 0)
    _agree("sum_coupon", f"coupon of {what}", held, issued - granted)


def _check_pool(pool: _Pool, limit: int, issued: int, accounts: dict[str, int]) -> None:
    programme, year = pool
    amount = max(issued, limit)  # a limit may be lowered below what was issued before
    held = accounts.pop(f"pool:{programme}:{year}", 0)
    _agree("sum_pool", f"pool of {programme} {year}", held, amount - issued)
    held = accounts.pop(f"treasury:{programme}:{year}", 0)
    _agree("sum_treasury", f"treasury of {programme} {year}", held, -amount)


def _agree(code: str, what: str, held: int, ours: int, entry: int | None = None) -> None:
    if held != ours:
        raise Violation(code, f"{what}: the ledger says {held} fen, the sums give {ours}", entry)


def _stay_below(code: str, what: str, fen: int, limit: int, entry: int | None = None) -> None:
    if fen > limit:
        raise Violation(code, f"{what}: {fen} fen, more than {limit}", entry)


# Policies, classes, time


def _read_rules(text: str) -> _Rules:
    file = tomllib.loads(text)
    classes = file.get("class", [])
    return _Rules(
        version=file["version"],
        meter=file["meter"],
        applicants=file["applicants"],
        valid=days_of(file["validity"]),
        classes=(
            {each["when"]: each["name"] for each in classes if "when" in each}
            if classes
            else {"standard": "standard"}
        ),
        ratio=_ratios({each["name"]: each["ratio"] for each in classes if "ratio" in each}),
        combined=_ratios(file["combined_support"]["ratio"]) if "combined_support" in file else None,
        cap=_fen(file, "cap"),
        pool=_fen(file, "pool"),
        owner=file.get("pool", {}).get("shared_with", file["programme"]),
        threshold=_fen(file, "threshold") or 0,
        startup_months=file.get("startup", {}).get("months", 0),
        uses=file["use"]["eligible"] if "use" in file else None,
        claims=file.get("claims"),
        needs_enlistment=file.get("enlistment", {}).get("required", False),
        takes=_taking_day(file.get("transition", {})),
        sections={each["name"]: each for each in classes} or {"standard": {}},
        per=file.get("cap", {}).get("per", ""),
        once=file.get("cap", {}).get("once", False),
        age=(file["age"]["from"], file["age"]["until"]) if "age" in file else None,
        group=file["group"],
        is_proportional=file.get("allocation", {}).get("mode") == "proportional",
        by_days=file.get("rounding", {}).get("prorate") == "days",
        in_yuan=file.get("rounding", {}).get("mode") == "yuan-per-step",
    )


def _taking_day(transition: dict[str, Any]) -> int | None:
    if transition.get("running") != "take":
        return None
    return date.fromisoformat(transition["effective"]).toordinal()


def _ratios(basis_points: dict[str, int]) -> dict[str, Fraction]:
    return {name: Fraction(value, 10_000) for name, value in basis_points.items()}


def _fen(file: dict[str, Any], section: str) -> int | None:
    amount = file.get(section, {}).get("amount")
    return None if amount is None else _yuan(amount)


def _rules_of(contract: dict[str, Any], versions: list[_Rules]) -> _Rules | None:
    """Return the rules on the day of the signing, else on the first day that has any."""
    term = days_of(contract)
    # Within the term, the first day with any rules is its own first or one on which some begin.
    days = [term.start, *sorted(rules.valid.start for rules in versions)]
    signed = date.fromisoformat(contract["signed_on"]).toordinal()
    for day in (signed, *(day for day in days if day in term)):
        for rules in reversed(versions):  # the newest one first
            if day in rules.valid:
                return rules
    return None


def _yuan(text: str) -> int:
    """Return fen."""
    return int(Fraction(text) * 100)


def _months_after(day: date, months: int) -> date:
    """Return the same day some months later, or the month's last (Civil Code, article 202)."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _class_on(enterprise: dict[str, Any], day: date, rules: _Rules) -> str:
    """Return the derived class; a startup was founded less than the policy's months before."""
    standard = rules.classes["standard"]
    if enterprise["applicant"] != "enterprise" or "startup" not in rules.classes:
        return standard
    founded = date.fromisoformat(enterprise["founded_on"])
    is_startup = day < _months_after(founded, rules.startup_months)
    return rules.classes["startup"] if is_startup else standard


def _name_of_parties(fields: dict[str, Any]) -> tuple[str, str, str]:
    return fields["enterprise"], fields["provider"], fields["contract_no"]


def _divide(asked: list[int], left: int) -> list[int]:
    """Return what each gets of a sum: all, or its share cut to the fen, and a fen by remainder."""
    if sum(asked) <= left:
        return asked
    shares = [Fraction(fen * left, sum(asked)) for fen in asked]
    given = [floor(share) for share in shares]
    for place in sorted(range(len(asked)), key=lambda each: (given[each] - shares[each], each)):
        if sum(given) == left:
            break
        given[place] += 1
    return given


def _funds_use(rules: _Rules, contract: dict[str, Any]) -> bool:
    return rules.uses is None or contract["use"] in rules.uses


def _versions(own: _Rules, activated: list[_Rules]) -> list[tuple[range, _Rules]]:
    """Return the rules that hold for contracts of some rules, each with its days."""
    versions = [(own.valid, own)]
    for rules in activated[activated.index(own) + 1 :]:
        if rules.takes is not None:
            cut = (
                (range(days.start, min(days.stop, rules.takes)), each) for days, each in versions
            )
            begin = max(rules.takes, rules.valid.start)
            versions = [(days, each) for days, each in cut if days]
            versions.append((range(begin, rules.valid.stop), rules))
    return versions


def _coupon_of(fields: dict[str, Any]) -> _Coupon:
    return fields["enterprise"], fields["programme"], fields["year"]


def _years(days: range) -> range:
    first, last = (date.fromordinal(day) for day in (days.start, days.stop - 1))
    return range(first.year, last.year + 1)


def _day_of(quarter: int) -> int:
    return (quarter + _QUARTERS_AHEAD) // _QUARTERS_PER_DAY + _EPOCH


def _place_of(quarter: int) -> int:
    """Return the number of a quarter within its day."""
    return (quarter + _QUARTERS_AHEAD) % _QUARTERS_PER_DAY
