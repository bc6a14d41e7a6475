"""Independent sums beside the audit: a ledger's totals, computed the slow and obvious way.

The audit decides every entry again by the core's own rules, so a fault in those would show nowhere.
Here nothing of the core is used: plain JSON fields go in, `Fraction` and `datetime` calculate, a
policy is read from its text, and the balances are those of the postings. What must agree, and the
code of the violation where it does not:

    sum_record       a record counts once; a void takes back one that counts
    sum_eligible     eligible usage by year: policy validity ∩ term ∩ enlistment, use, parties
    sum_policy       a contract is registered under the newest policy, a coupon issued under one
    sum_class        its ratio class, from the founding date and the signing
    sum_threshold    unrelated contracts of the year reach the threshold when a coupon is issued
    sum_cap          no coupon above the cap, by the newest policy of the year
    sum_pool         no year's coupons above its pool; pool = the policy's figure − issued
    sum_cost         due = floor(Σ devices × hours × price) = Σ of the entries' `cost`
    sum_entitled     the formula's figure by contract and year = Σ of the entries' `entitled`
    sum_granted      0 ≤ accrued ≤ entitled; Σ accrued = min(issued, Σ entitled), and ≤ cost
    sum_coupon       coupon = issued − granted
    sum_treasury     treasury = −(the policy's figure)
    sum_enterprise   enterprise = −Σ due of its contracts
    sum_account      no other account holds anything

Of a void or record the entry is named, of a total the contract, or enterprise and year. Which of an
enterprise's contracts a coupon pays depends on history, so these sums leave that to the audit.
"""

import tomllib
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from math import floor
from struct import Struct
from typing import Any, Final

from ledger.errors import Violation

_SHANGHAI: Final = timezone(timedelta(hours=8))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1) // _MICROSECOND
_HOUR: Final = timedelta(hours=1) // _MICROSECOND

# Work is counted in thousandths of a device × microseconds × 1/10000 yuan per device-hour.
_WORK_PER_FEN: Final = 1_000 * _HOUR * 100

# Entry, meter, thousandths, start and end of a record: there may be millions.
_RECORD: Final = Struct(">qqqqq")

_Coupon = tuple[str, str, int]  # enterprise, programme, year
_Pool = tuple[str, int]  # programme, year
_Period = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a policy file says, in fen and as fractions."""

    version: str
    valid: _Period
    ratio: dict[str, Fraction]
    combined: dict[str, Fraction]
    cap: int
    pool: int
    threshold: int
    startup_months: int
    uses: list[str]

    @property
    def years(self) -> range:
        return _years(self.valid)


@dataclass(frozen=True, slots=True)
class _Provider:
    """Which kinds of devices a provider enlisted, and for how long."""

    devices: set[str]
    enlisted: _Period


@dataclass(slots=True)
class _Contract:
    """A contract's entry, the work of its records that are not voided, and what entries say."""

    fields: dict[str, Any]
    rules: _Rules
    work: int = 0
    eligible: dict[int, int] = field(default_factory=dict)
    stated_cost: int = 0
    stated_entitled: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Meter:
    """One kind of device under a contract; `windows` are `(year, from, until)` in microseconds."""

    index: int
    contract: _Contract
    price: int
    windows: list[tuple[int, int, int]]

    def eligible(self, milli_devices: int, start: int, end: int) -> list[tuple[int, int]]:
        """Thousandths × microseconds by year."""
        return [
            (year, milli_devices * (min(end, until) - max(start, begin)))
            for year, begin, until in self.windows
            if max(start, begin) < min(end, until)
        ]

    def count(self, milli_devices: int, start: int, end: int, sign: int) -> list[tuple[int, int]]:
        """Add a record to its contract (1), or take it off again (-1); what of it is eligible."""
        contract, worth = self.contract, sign * self.price
        contract.work += worth * milli_devices * (end - start)
        eligible = self.eligible(milli_devices, start, end)
        for year, time in eligible:
            contract.eligible[year] = contract.eligible.get(year, 0) + worth * time
        return eligible


class Sums:
    """Collects entries; `finish` holds the totals against each other. Both raise `Violation`."""

    def __init__(self) -> None:
        self._balances: defaultdict[str, int] = defaultdict(int)
        self._policies: defaultdict[str, list[_Rules]] = defaultdict(list)
        self._providers: dict[str, _Provider] = {}
        self._enterprises: dict[str, dict[str, Any]] = {}
        self._contracts: dict[str, _Contract] = {}
        self._terms: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._meters: dict[tuple[str, str], _Meter] = {}
        self._meter_list: list[_Meter] = []
        # By provider and id; a voided record leaves its id behind.
        self._records: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        self._issued: defaultdict[_Coupon, int] = defaultdict(int)
        self._issued_of_pool: defaultdict[_Pool, int] = defaultdict(int)
        self._pools: dict[_Pool, int] = {}

    def entry(self, number: int, fields: dict[str, Any]) -> None:
        """Take the next entry, of which the audit has found that it has the form of its kind."""
        for source, target, fen in fields["postings"]:
            self._balances[source] -= fen
            self._balances[target] += fen
        match fields["kind"]:
            case "usage":
                self._usage(number, fields)
            case "void":
                self._void(number, fields)
            case "issue":
                self._issue(number, fields)
            case "withdrawal":
                self._add_issued(fields, -fields["amount"])
            case "policy":
                self._policy(fields)
            case "provider":
                devices, enlisted = set(fields["devices"]), _period(fields["enlisted"])
                self._providers[fields["id"]] = _Provider(devices, enlisted)
            case "enterprise":
                self._enterprises[fields["uscc"]] = fields
            case "contract":
                self._contract(number, fields)

    def finish(self) -> None:
        """Compare all totals with the balances, of which none may be left over."""
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
        for coupon in sorted(self._issued.keys() | entitled.keys()):
            _check_coupon(coupon, self._issued[coupon], entitled[coupon], granted[coupon], accounts)
        for pool, amount in self._pools.items():
            _check_pool(pool, amount, self._issued_of_pool[pool], accounts)
        for enterprise, cost in owed.items():
            held = accounts.pop(f"enterprise:{enterprise}", 0)
            _agree("sum_enterprise", f"enterprise {enterprise}", held, -cost)
        for account, fen in accounts.items():
            _agree("sum_account", f"account {account}, of which no entry tells,", fen, 0)
        assert sum(self._balances.values()) == 0, "a posting takes what it gives"

    # Entries

    def _usage(self, number: int, fields: dict[str, Any]) -> None:
        meter = self._meters.get((fields["contract"], fields["device"]))
        records, name = self._records[fields["provider"]], fields["id"]
        if meter is None or name in records:
            why = "counts already" if name in records else "has no price"
            raise Violation("sum_record", f"record {name} of {fields['provider']} {why}", number)
        work = (fields["milli_devices"], fields["start"], fields["end"])
        stated = [(year, time * _SECOND) for year, time in fields["eligible"]]
        ours = meter.count(*work, sign=1)
        if stated != ours:
            detail = f"{stated} of record {name} is called eligible, {ours} is"
            raise Violation("sum_eligible", f"{detail} (thousandths × microseconds)", number)
        records[name] = _RECORD.pack(number, meter.index, *work)
        _add_stated(meter.contract, fields)

    def _void(self, number: int, fields: dict[str, Any]) -> None:
        records, name = self._records[fields["provider"]], fields["id"]
        packed = records.get(name)
        if packed is None:
            detail = f"record {name} of {fields['provider']} does not count, and cannot be voided"
            raise Violation("sum_record", detail, number)
        entry, index, *work = _RECORD.unpack(packed)
        meter = self._meter_list[index]
        if (entry, meter.contract.fields["id"]) != (fields["record"], fields["contract"]):
            raise Violation("sum_record", f"record {name} is that of entry {entry}", number)
        meter.count(*work, sign=-1)
        records[name] = None
        _add_stated(meter.contract, fields)

    def _issue(self, number: int, fields: dict[str, Any]) -> None:
        """Hold a coupon against the limits of the newest policy that touches its year."""
        enterprise, programme, year = coupon = _coupon_of(fields)
        touching = [rules for rules in self._policies[programme] if year in rules.years]
        if not touching:
            raise Violation("sum_policy", f"no policy of {programme} touches {year}", number)
        rules = touching[-1]
        self._add_issued(fields, fields["amount"])
        rented = self._rented(coupon)
        if rented < rules.threshold:
            detail = f"{enterprise} rents for {rented} fen in {year}, {rules.threshold} are needed"
            raise Violation("sum_threshold", detail, number)
        what = f"issued for {programme} {year}"
        _stay_below("sum_cap", f"{what} to {enterprise}", self._issued[coupon], rules.cap, number)
        total = self._issued_of_pool[programme, year]
        _stay_below("sum_pool", what, total, rules.pool, number)

    def _add_issued(self, fields: dict[str, Any], fen: int) -> None:
        self._issued[_coupon_of(fields)] += fen
        self._issued_of_pool[fields["programme"], fields["year"]] += fen

    def _rented(self, coupon: _Coupon) -> int:
        """Full amounts of the unrelated contracts whose term touches the coupon's year."""
        enterprise, programme, year = coupon
        return sum(
            terms["amount"]
            for terms in self._terms[enterprise, programme]
            if not terms["related_party"] and year in _years(_period(terms))
        )

    def _policy(self, fields: dict[str, Any]) -> None:
        rules = _read_rules(fields["content"])
        self._policies[fields["programme"]].append(rules)
        for year in rules.years:
            self._pools[fields["programme"], year] = rules.pool

    def _contract(self, number: int, fields: dict[str, Any]) -> None:
        versions = self._policies[fields["programme"]]
        if not versions or versions[-1].version != fields["policy"]:
            detail = f"{fields['policy']} is not the newest policy of {fields['programme']}"
            raise Violation("sum_policy", detail, number)
        rules = versions[-1]
        ratio_class = _class_of(self._enterprises[fields["enterprise"]], fields, rules)
        if fields["class"] != ratio_class:
            detail = f"contract {fields['id']} is {fields['class']}, by its dates {ratio_class}"
            raise Violation("sum_class", detail, number)
        contract = self._contracts[fields["id"]] = _Contract(fields, rules)
        self._terms[fields["enterprise"], fields["programme"]].append(fields)
        provider = self._providers[fields["provider"]]
        for device, price in fields["prices"].items():
            windows = list(_windows(contract, provider, device))
            meter = _Meter(len(self._meter_list), contract, price, windows)
            self._meters[fields["id"], device] = meter
            self._meter_list.append(meter)


def _add_stated(contract: _Contract, fields: dict[str, Any]) -> None:
    """Add up what the entry of a record or void says of its own contract."""
    contract.stated_cost += fields["cost"]
    for year, fen in fields["entitled"]:
        contract.stated_entitled[year] = contract.stated_entitled.get(year, 0) + fen


# Totals


def _check_cost(name: str, contract: _Contract, accounts: dict[str, int]) -> int:
    cost = floor(Fraction(contract.work, _WORK_PER_FEN))
    _agree("sum_cost", f"cost of contract {name}", accounts.pop(f"due:{name}", 0), cost)
    _agree("sum_cost", f"costs in the entries of contract {name}", contract.stated_cost, cost)
    return cost


def _check_grants(
    name: str, contract: _Contract, accounts: dict[str, int]
) -> Iterator[tuple[int, int, int]]:
    """Give `(year, entitled, granted)`."""
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


def _entitlement(contract: _Contract) -> dict[int, int]:
    """Fen by year: what is left of the amount, its share, what is left of the support."""
    terms, rules = contract.fields, contract.rules
    amount_left = Fraction(terms["amount"])
    support = floor(rules.combined[terms["class"]] * terms["amount"])
    support_left = max(0, support - terms["other_public_funds"])
    entitled = {}
    for year, work in sorted(contract.eligible.items()):
        counted = min(Fraction(work, _WORK_PER_FEN), amount_left)
        amount_left -= counted
        entitled[year] = min(floor(rules.ratio[terms["class"]] * counted), support_left)
        support_left -= entitled[year]
    return entitled


def _check_coupon(
    coupon: _Coupon, issued: int, entitled: int, granted: int, accounts: dict[str, int]
) -> None:
    enterprise, programme, year = coupon
    what = f"{enterprise} under {programme} in {year}"
    _agree("sum_granted", f"granted to {what}", granted, min(issued, entitled))
    held = accounts.pop(f"coupon:{programme}:{year}:{enterprise}", 0)
    _agree("sum_coupon", f"coupon of {what}", held, issued - granted)


def _check_pool(pool: _Pool, amount: int, issued: int, accounts: dict[str, int]) -> None:
    programme, year = pool
    _stay_below("sum_pool", f"issued for {programme} {year}", issued, amount)
    held = accounts.pop(f"pool:{programme}:{year}", 0)
    _agree("sum_pool", f"pool of {programme} {year}", held, amount - issued)
    held = accounts.pop(f"treasury:{programme}:{year}", 0)
    _agree("sum_treasury", f"treasury of {programme} {year}", held, -amount)


def _agree(code: str, what: str, held: int, ours: int) -> None:
    if held != ours:
        raise Violation(code, f"{what}: the ledger says {held} fen, the sums give {ours}")


def _stay_below(code: str, what: str, fen: int, limit: int, entry: int | None = None) -> None:
    if fen > limit:
        raise Violation(code, f"{what}: {fen} fen, more than {limit}", entry)


# Policies, classes, time


def _read_rules(text: str) -> _Rules:
    file = tomllib.loads(text)
    return _Rules(
        version=file["version"],
        valid=_period(file["validity"]),
        ratio=_ratios(file["ratio"]),
        combined=_ratios(file["combined_support"]),
        cap=_fen(file["cap"]),
        pool=_fen(file["pool"]),
        threshold=_fen(file["threshold"]),
        startup_months=file["startup"]["months"],
        uses=file["use"]["eligible"],
    )


def _ratios(section: dict[str, Any]) -> dict[str, Fraction]:
    return {name: Fraction(section[name], 10_000) for name in ("standard", "startup")}


def _fen(section: dict[str, Any]) -> int:
    return int(Fraction(section["amount"]) * 100)


def _class_of(enterprise: dict[str, Any], contract: dict[str, Any], rules: _Rules) -> str:
    """Startup: founded less than the policy's months before the signing."""
    if enterprise["applicant"] != "enterprise":
        return "standard"
    founded = date.fromisoformat(enterprise["founded_on"])
    years, month = divmod(founded.month - 1 + rules.startup_months, 12)
    year, month = founded.year + years, month + 1
    # Where the month is too short, its last day (Civil Code, article 202).
    grown_up = date(year, month, min(founded.day, monthrange(year, month)[1]))
    return "startup" if date.fromisoformat(contract["signed_on"]) < grown_up else "standard"


def _windows(
    contract: _Contract, provider: _Provider, device: str
) -> Iterator[tuple[int, int, int]]:
    """The time in which a device's usage is eligible, year by year."""
    terms, rules = contract.fields, contract.rules
    if terms["related_party"] or terms["use"] not in rules.uses or device not in provider.devices:
        return
    periods = (rules.valid, _period(terms), provider.enlisted)
    begin, end = max(start for start, _ in periods), min(end for _, end in periods)
    if begin >= end:
        return
    for year in _years((begin, end)):
        january = datetime(year, 1, 1, tzinfo=_SHANGHAI)
        next_january = datetime(year + 1, 1, 1, tzinfo=_SHANGHAI)
        yield year, _microseconds(max(begin, january)), _microseconds(min(end, next_january))


def _coupon_of(fields: dict[str, Any]) -> _Coupon:
    return fields["enterprise"], fields["programme"], fields["year"]


def _period(section: dict[str, Any]) -> _Period:
    """Read `from` and `until`, dates of Shanghai, half-open."""
    return _midnight(section["from"]), _midnight(section["until"])


def _midnight(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), _SHANGHAI)


def _years(period: _Period) -> range:
    start, end = period
    return range(start.year, (end - _MICROSECOND).year + 1)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND
