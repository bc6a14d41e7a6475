"""Any history of commands and batches, compared with a model that is slow and obvious.

The model keeps the set of accepted records and computes everything from it anew, in fractions of a
yuan and with calendar dates. Only two things depend on history. One is who got the money (rule R):
the model keeps the grants and applies the two steps of the rule in its own code. The other is what
did not fit when a record came: each record keeps its short quarter-hours. The model shares no
arithmetic with the core. Each answer, each code of a refusal and every figure is compared after
every step, and at the end the independent sums of the audit must find no fault either.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.canon import decode, encode
from meter.auditor.sums import Sums
from meter.client import registration
from meter.rules import commands
from meter.rules.decide_command import response_to
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.values.problems import Problem
from meter.wire import dsse
from tests.books import (
    DEVICE,
    ORIGIN,
    Books,
    balances,
    bounded,
    day_number,
    expected_balances,
    figures,
    policy_text,
    public_text,
    signer,
    usage_by_day,
    uscc_of,
)

SHANGHAI = timezone(timedelta(hours=8))
PROGRAMME = "training-coupon"
START = datetime(2026, 1, 5, 12, tzinfo=SHANGHAI)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
QUARTER = timedelta(minutes=15)
YEARS = (2025, 2026)
# Of a cost, in the order in which it is told.
PARTS = (
    *("eligible", "withheld"),
    *("related_party", "use", "outside_policy", "outside_term", "not_enlisted"),
)
DAYS = [f"{START + timedelta(days=each):%Y-%m-%d}" for each in range(-400, 400)]

POLICIES: dict[str, dict[str, Any]] = {
    "v1": {
        "starts": "2025-06-01",
        "ends": "2026-12-18",
        "cap": "120.00",
        "pool": "200.00",
        "threshold": "80.00",
        "lateness": 40,
    },
    "v2": {
        "starts": "2025-12-31",
        "ends": "2027-01-01",
        "standard": 3_333,
        "startup": 10_000,
        "combined_standard": 4_000,
        "combined_startup": 7_000,
        "cap": "60.00",
        "pool": "150.00",
        "threshold": "0.00",
        "months": 6,
        "uses": ["training", "research"],
        "lateness": 400,
    },
}
DEFAULTS: dict[str, Any] = {
    "standard": 5_000,
    "startup": 6_000,
    "combined_standard": 5_000,
    "combined_startup": 6_000,
    "months": 12,
    "uses": ["training"],
}
TEXTS = {name: policy_text(version=name, **figures) for name, figures in POLICIES.items()}
# Awards draw on the same pool: half of a base, less other money, up to 40.00 for a project.
PRIZE = "prize"
PRIZE_CAP = "40.00"
PRIZE_TEXT = f"""
programme = "{PRIZE}"
version = "1"
title = "奖"
title_en = "Prize"
responsible = ["市"]
applicants = ["enterprise"]
group = "{PRIZE}"
meter = "award"
[validity]
from = "2025-01-01"
until = "2027-01-01"
article = "1"
standing = "judgement"
[[class]]
name = "standard"
title = "企业"
title_en = "Enterprise"
ratio = 5000
article = "1"
standing = "judgement"
[combined_support]
ratio = {{ standard = 5000 }}
article = "1"
standing = "judgement"
[cap]
per = "project"
amount = "{PRIZE_CAP}"
article = "1"
standing = "judgement"
[pool]
shared_with = "{PROGRAMME}"
article = "1"
standing = "judgement"
"""
TEXTS["v1 altered"] = policy_text(version="v1", **(POLICIES["v1"] | {"cap": "121.00"}))


def yuan(text: str) -> Fraction:
    return Fraction(text)


def down_to_a_fen(amount: Fraction) -> Fraction:
    return Fraction(amount * 100 // 1, 100)


def text(amount: Fraction) -> str:
    fen = amount * 100
    assert fen.denominator == 1
    return f"{'-' if fen < 0 else ''}{abs(fen.numerator) // 100}.{abs(fen.numerator) % 100:02d}"


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=SHANGHAI)


def moment(instant: str) -> datetime:
    return datetime.fromisoformat(instant)


class Refused(Exception):  # noqa: N818 - it is an answer
    """The model's `Problem`: its code is its text."""


@dataclass
class AcceptedRecord:
    """A record in the model: the JSON, its contract, and what was decided once.

    `enlisted` are the days on which its devices were, `short` the quarters in which it did not fit.
    """

    body: dict[str, Any]
    entry: int
    enlisted: set[str]
    short: list["Short"]
    voided: bool = False
    released: bool = False

    def withheld(self) -> list["Short"]:
        return [] if self.released else self.short

    def by_day(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield day, device-time, what of it fits, and what is withheld."""
        whole, held = Counter[str](), Counter[str]()
        for quarter, time in quarters(self.body):
            whole[day_of(quarter)] += time
        for short in self.withheld():
            held[day_of(short.quarter)] += short.time
        for day, time in whole.items():
            yield day, time, time - held[day] if day in self.enlisted else 0, held[day]


@dataclass(frozen=True)
class Short:
    """A quarter in which this many thousandths × seconds did not fit, and the full limit."""

    quarter: int
    time: int
    limit: str


@dataclass
class Model:
    """The books as a person would keep them on paper."""

    now: datetime = START
    size: int = 1
    policies: list[str] = field(default_factory=list)
    providers: dict[str, dict] = field(default_factory=dict)
    keys: dict[str, dict] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    enterprises: dict[str, dict] = field(default_factory=dict)
    successors: dict[str, str] = field(default_factory=dict)
    # Contracts as they were registered, and as they stand, with the prices of supplements by day.
    registered: dict[str, dict] = field(default_factory=dict)
    contracts: dict[str, dict] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    # When a contract was frozen and unfrozen, by turns.
    switched: defaultdict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    entry_of: dict[tuple, int] = field(default_factory=dict)
    enlistments: dict[tuple[str, str], dict] = field(default_factory=dict)
    # Thousandths × seconds by quarter, of a contract's or a provider's devices of one kind.
    in_use: defaultdict[tuple[str, str, str], Counter[int]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    issued: dict[tuple[str, int], Fraction] = field(default_factory=dict)
    pools: dict[int, Fraction] = field(default_factory=dict)
    budgets: dict[int, Fraction] = field(default_factory=dict)
    # Other public money of project P by reference; awards, each with its newest amount.
    funds: dict[str, tuple[str, Fraction]] = field(default_factory=dict)
    audited: Fraction | None = None
    # Other public money of contracts by reference.
    contract_funds: defaultdict[str, dict[str, Fraction]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    awards: dict[str, dict] = field(default_factory=dict)
    records: dict[tuple[str, str], AcceptedRecord] = field(default_factory=dict)
    batches: dict[tuple[str, str, int], tuple[bytes, bytes]] = field(default_factory=dict)
    grants: dict[tuple[str, int], Fraction] = field(default_factory=dict)

    # Registry

    def register(self, kind: str, id_: str, body: dict, check: Any, shelf: dict) -> int:
        """Return the number of an entry: a new one, or that of an equal registration."""
        if id_ in shelf:
            if shelf[id_] != body:
                raise Refused("exists_differently")
            return self.entry_of[kind, id_]
        check(body)
        shelf[id_] = body
        self.entry_of[kind, id_] = self.size
        return self.append()

    def append(self) -> int:
        self.size += 1
        return self.size - 1

    def activate(self, name: str) -> int:
        version = name.split(maxsplit=1)[0]
        if version in self.policies:
            if name != version:
                raise Refused("exists_differently")
            return self.entry_of["policy", version]
        policy = POLICIES[version]
        pool = yuan(policy["pool"])
        self.pools |= dict.fromkeys(years_of(policy), pool)
        self.policies.append(version)
        self.entry_of["policy", version] = self.size
        return self.append()

    def check_provider(self, body: dict) -> None:
        usccs = {each["uscc"] for each in self.providers.values()}
        applied = {each["enterprise"] for each in self.contracts.values()}
        applied |= {enterprise for enterprise, _ in self.issued}
        if not self.firm(body["uscc"]).isdisjoint(applied) or body["uscc"] in usccs:
            raise Refused("role_conflict")
        if body["enlisted"]["until"] <= body["enlisted"]["from"]:
            raise Refused("bad_dates")

    def provider(self, body: dict) -> int:
        number = self.register("provider", body["id"], body, self.check_provider, self.providers)
        if number == self.size - 1:
            self.put_enlistment(body["id"], body["devices"], body["enlisted"], number)
        return number

    def enlist(self, provider: str, devices: dict, enlisted: dict) -> int:
        if provider not in self.providers:
            raise Refused("unknown_provider")
        if enlisted["until"] <= enlisted["from"]:
            raise Refused("bad_dates")
        known = self.enlistments.get((provider, enlisted["batch"]))
        if known is not None:
            if (known["devices"], known["from"]) != (devices, enlisted["from"]):
                raise Refused("exists_differently")
            if known["until"] == enlisted["until"]:
                return self.entry_of["enlistment", provider, enlisted["batch"]]
        self.put_enlistment(provider, devices, enlisted, self.size)
        return self.append()

    def put_enlistment(self, provider: str, devices: dict, enlisted: dict, number: int) -> None:
        name = enlisted["batch"]
        self.enlistments[provider, name] = enlisted | {"devices": devices}
        self.entry_of["enlistment", provider, name] = number

    def check_key(self, body: dict) -> None:
        if body["provider"] not in self.providers:
            raise Refused("unknown_provider")
        if body["public_key"] in {each["public_key"] for each in self.keys.values()}:
            raise Refused("exists_differently")

    def check_enterprise(self, body: dict) -> None:
        """Allow it: who provides devices may apply for something else."""

    def check_role(self, enterprise: str) -> None:
        if not self.firm(enterprise).isdisjoint(each["uscc"] for each in self.providers.values()):
            raise Refused("role_conflict")

    def last(self, code: str) -> str:
        """Return who stands in a code's place, at any remove."""
        return self.last(self.successors[code]) if code in self.successors else code

    def firm(self, code: str) -> set[str]:
        return {each for each in {*self.enterprises, code} if self.last(each) == self.last(code)}

    def check_active(self, code: str) -> None:
        if code not in self.enterprises:
            raise Refused("unknown_enterprise")
        if code in self.successors:
            raise Refused("succeeded")

    def succeed(self, code: str, successor: str) -> int:
        if not {code, successor} <= set(self.enterprises):
            raise Refused("unknown_enterprise")
        if self.successors.get(code) == successor:
            return self.entry_of["succession", code]
        if code in self.successors or self.last(successor) == code:
            raise Refused("succeeded")
        both = self.firm(code) | self.firm(successor)
        applied = {each["enterprise"] for each in self.contracts.values()}
        applied |= {enterprise for enterprise, _ in self.issued}
        serving = {each["uscc"] for each in self.providers.values()}
        if both & applied and both & serving:
            raise Refused("role_conflict")
        self.successors[code] = successor
        self.entry_of["succession", code] = self.size
        return self.append()

    def check_contract(self, body: dict) -> None:
        if not self.policies or body["programme"] != PROGRAMME:
            raise Refused("unknown_programme")
        self.check_active(body["enterprise"])
        if body["provider"] not in self.providers:
            raise Refused("unknown_provider")
        self.check_number(body)
        self.check_role(body["enterprise"])
        if body["until"] <= body["from"]:
            raise Refused("bad_dates")
        if yuan(body["amount"]) == 0 or len(set(map(per, body["prices"].values()))) > 1:
            raise Refused("malformed")
        self.check_dates(body)
        self.check_kinds(body)

    def check_number(self, body: dict) -> None:
        firm = self.firm(body["enterprise"])
        for other in self.contracts.values():
            if other["enterprise"] in firm and other["provider"] == body["provider"]:
                if other["contract_no"] == body["contract_no"]:
                    raise Refused("contract_known")
                if other["contract_no"].upper() == body["contract_no"].upper():
                    raise Refused("looks_alike")

    def check_dates(self, body: dict) -> None:
        if midnight(body["signed_on"]) > self.now:
            raise Refused("bad_dates")
        if body["signed_on"] < self.enterprises[body["enterprise"]]["founded_on"]:
            raise Refused("bad_dates")
        version = self.version_for(body)
        if version is None:
            raise Refused("no_policy")
        if body["until"] <= POLICIES[version]["starts"]:
            raise Refused("bad_dates")

    def check_kinds(self, body: dict) -> None:
        kinds = [*body["prices"]]
        for (name, _), batch in self.enlistments.items():
            kinds += batch["devices"] if name == body["provider"] else []
        for kind in [*body["prices"], *body["max_devices"]]:
            if kind not in kinds and kind.upper() in map(str.upper, kinds):
                raise Refused("looks_alike")

    def version_for(self, body: dict) -> str | None:
        """Return the newest version in force on the signing, else on the first day that has one."""
        term = (day for day in DAYS if body["from"] <= day < body["until"])
        for day in (body["signed_on"], *term):
            for version in reversed(self.policies[: body.get("activated")]):
                if POLICIES[version]["starts"] <= day < POLICIES[version]["ends"]:
                    return version
        return None

    def contract(self, body: dict) -> int:
        body = dict(body)
        known = self.registered.get(body["id"])
        # Values that are fixed at registration are not part of the request.
        body["policy"] = known["policy"] if known else self.version_for(body)
        number = self.register("contract", body["id"], body, self.check_contract, self.registered)
        now = {"later": [], "activated": len(self.policies)}
        self.contracts.setdefault(body["id"], body | now)
        return number

    def amend(self, id_: str, effective: str, changes: dict) -> int:
        """Correct a contract, or change prices from a day on."""
        if id_ not in self.contracts:
            raise Refused("unknown_contract")
        terms = dict(self.contracts[id_])
        if effective:
            terms["later"] = [*terms["later"], (effective, changes["prices"])]
        else:
            terms |= changes | {"prices": terms["prices"] | changes["prices"]}
        prices = [terms["prices"], *(each for _, each in terms["later"])]
        if len({per(price) for each in prices for price in each.values()}) > 1:
            raise Refused("malformed")
        if not effective:
            terms["policy"] = self.version_for(terms)
            self.check_dates(terms)
            self.check_role(terms["enterprise"])
        self.contracts[id_] = terms
        self.regrant()
        return self.append()

    def revoke(self, keyid: str) -> int:
        if keyid not in self.keys:
            raise Refused("not_found")
        if keyid in self.revoked:
            raise Refused("already_revoked")
        self.revoked.add(keyid)
        return self.append()

    def freeze(self, contract: str, frozen: bool) -> int:
        if contract not in self.contracts:
            raise Refused("unknown_contract")
        if (contract in self.frozen) == frozen:
            raise Refused("already_frozen" if frozen else "not_frozen")
        self.frozen ^= {contract}
        self.switched[contract].append(self.now)
        return self.append()

    # Money

    def issue(self, enterprise: str, year: int, amount: str) -> int:
        policy = self.check_money(enterprise, year, amount)
        self.check_role(enterprise)
        rented = sum(
            yuan(each["amount"])
            for each in self.contracts.values()
            if each["enterprise"] in self.firm(enterprise) and self.can_count(each, year)
        )
        if rented < yuan(policy["threshold"]):
            raise Refused("below_threshold")
        held = sum(self.issued.get((each, year), 0) for each in self.firm(enterprise))
        if held + yuan(amount) > yuan(policy["cap"]):
            raise Refused("cap_exceeded")
        need = sum(
            min(self.support(each), down_to_a_fen(yuan(each["amount"]) * self.ratio(each)))
            for each in self.contracts.values()
            if each["enterprise"] in self.firm(enterprise) and self.can_count(each, year)
        )
        if held + yuan(amount) > need:
            raise Refused("above_need")
        self.check_pool(year, yuan(amount))
        self.issued[enterprise, year] = self.issued.get((enterprise, year), 0) + yuan(amount)
        self.regrant()
        return self.append()

    def can_count(self, contract: dict, year: int) -> bool:
        """Return whether any usage under a contract could be funded in a year."""
        policy = self.policy_of(contract)
        first = max(policy["starts"], contract["from"], f"{year}-01-01")
        end = min(policy["ends"], contract["until"], f"{year + 1}-01-01")
        funded = contract["use"] in policy["uses"] and not contract["related_party"]
        return funded and first < end

    def withdraw(self, enterprise: str, year: int, amount: str) -> int:
        self.check_money(enterprise, year, amount)
        granted = sum(
            self.grants.get((each["id"], year), 0) for each in self.contracts_of(enterprise)
        )
        if self.issued.get((enterprise, year), 0) - yuan(amount) < granted:
            raise Refused("below_granted")
        self.issued[enterprise, year] -= yuan(amount)
        self.regrant()
        return self.append()

    def check_money(self, enterprise: str, year: int, amount: str) -> dict:
        if not self.policies:
            raise Refused("unknown_programme")
        if enterprise not in self.enterprises:
            raise Refused("unknown_enterprise")
        touching = [name for name in self.policies if year in years_of(POLICIES[name])]
        if not touching:
            raise Refused("unknown_year")
        if yuan(amount) == 0:
            raise Refused("malformed")
        return POLICIES[touching[-1]]

    def issued_from(self, year: int) -> Fraction:
        coupons = sum(fen for (_, each), fen in self.issued.items() if each == year)
        return coupons + sum(
            (each["is"] for each in self.awards.values() if each["year"] == year), Fraction(0)
        )

    def limit(self, year: int) -> Fraction:
        return min(self.pools[year], self.budgets.get(year, self.pools[year]))

    def check_pool(self, year: int, more: Fraction) -> None:
        if self.issued_from(year) + more > self.limit(year):
            raise Refused("pool_exceeded")

    def budget(self, year: int, amount: str) -> int:
        if not self.policies:
            raise Refused("unknown_programme")
        if year not in self.pools:
            raise Refused("unknown_year")
        if yuan(amount) > self.pools[year]:
            raise Refused("pool_exceeded")
        if yuan(amount) < self.issued_from(year):
            raise Refused("pool_below_issued")
        self.budgets[year] = yuan(amount)
        return self.append()

    def fund(self, reference: str, level: str, amount: str) -> int:
        self.funds[reference] = level, yuan(amount)
        return self.append()

    def fund_contract(self, contract: str, reference: str, amount: str) -> int:
        if contract not in self.contracts:
            raise Refused("unknown_contract")
        self.contract_funds[contract][reference] = yuan(amount)
        self.regrant()
        return self.append()

    def audit(self, amount: str) -> int:
        self.audited = yuan(amount)
        return self.append()

    def award(self, body: dict) -> int:
        known = self.awards.get(body["id"])
        if known is not None:
            if known["body"] != body:
                raise Refused("exists_differently")
            return known["entry"]
        if body["id"] in [*self.contracts, "P"]:
            raise Refused("exists_differently")
        self.check_active(body["enterprise"])
        if body["year"] not in (2025, 2026):
            raise Refused("unknown_year")
        if self.enterprises[body["enterprise"]]["kind"] != "enterprise":
            raise Refused("not_applicant")
        if yuan(body["amount"]) == 0:
            raise Refused("malformed")
        award = {"body": body, "year": body["year"], "is": Fraction(0), "entry": self.size}
        self.check_award(award, yuan(body["amount"]))
        self.awards[body["id"]] = award | {"is": yuan(body["amount"])}
        return self.append()

    def change_award(self, id_: str, amount: str) -> int | None:
        award = self.awards.get(id_)
        if award is None:
            raise Refused("unknown_award")
        if yuan(amount) == award["is"]:
            return None
        if yuan(amount) > award["is"]:
            self.check_award(award, yuan(amount))
        award["is"] = yuan(amount)
        return self.append()

    def check_award(self, award: dict, amount: Fraction) -> None:
        body, other_money = award["body"], sum(each for _, each in self.funds.values())
        if amount > down_to_a_fen(yuan(body["base"]) / 2) - other_money:
            raise Refused("above_need")
        others = sum(
            each["is"] for each in self.awards.values() if each["body"]["id"] != body["id"]
        )
        if amount > yuan(PRIZE_CAP) - others - other_money:
            raise Refused("cap_exceeded")
        above = [each for level, each in self.funds.values() if level == "national"]
        if self.audited is not None and sum(above) > 0:
            local = other_money - sum(above)
            if local + others + amount > self.audited:
                raise Refused("project_ceiling")
        self.check_pool(award["year"], amount - award["is"])

    def contracts_of(self, enterprise: str) -> list[dict]:
        return [each for each in self.contracts.values() if each["enterprise"] == enterprise]

    def void(self, provider: str, id_: str) -> int:
        record = self.records.get((provider, id_))
        if record is None:
            raise Refused("unknown_record")
        if record.voided:
            raise Refused("already_voided")
        self.apply_void(record)
        return self.append()

    def release(self, provider: str, id_: str) -> dict:
        record = self.records.get((provider, id_))
        if record is None:
            raise Refused("unknown_record")
        if record.voided:
            raise Refused("already_voided")
        if not record.short:
            raise Refused("nothing_withheld")
        if record.released:
            raise Refused("already_released")
        contract = self.contracts[record.body["contract"]]
        before = sum(self.entitled(contract)[0].values())
        self.use(record.body, [(short.quarter, short.time) for short in record.short])
        record.released = True
        self.regrant()
        more = sum(self.entitled(contract)[0].values()) - before
        return {"entry": self.append(), "entitled": text(more)}

    # Capacity

    def take(self, body: dict) -> AcceptedRecord:
        """Let a record use the free devices."""
        contract = self.contracts[body["contract"]]
        short = []
        enlisted = {
            day
            for day in {day_of(quarter) for quarter, _ in quarters(body)}
            if self.enlisted(contract["provider"], body["device"], day)
        }
        for quarter, time in quarters(body):
            left, limit = self.room(contract, body["device"], quarter)
            if time > left and day_of(quarter) in enlisted:
                short.append(Short(quarter, time - left, limit))
        held = {each.quarter: each.time for each in short}
        fits = [(quarter, time - held.get(quarter, 0)) for quarter, time in quarters(body)]
        self.use(body, fits)
        return AcceptedRecord(body, self.size, enlisted, short)

    def apply_void(self, record: AcceptedRecord) -> None:
        held = {each.quarter: each.time for each in record.withheld()}
        used = [(quarter, held.get(quarter, 0) - time) for quarter, time in quarters(record.body)]
        self.use(record.body, used)
        record.voided = True
        self.regrant()

    def use(self, body: dict, parts: list[tuple[int, int]]) -> None:
        contract, device = self.contracts[body["contract"]], body["device"]
        for quarter, time in parts:
            self.in_use["provider", contract["provider"], device][quarter] += time
            if device in contract["max_devices"]:
                self.in_use["contract", contract["id"], device][quarter] += time

    def room(self, contract: dict, device: str, quarter: int) -> tuple[int, str]:
        """Return the free device-time of a quarter, and its limit."""
        enlisted = self.enlisted(contract["provider"], device, day_of(quarter))
        at_provider = self.in_use["provider", contract["provider"], device][quarter]
        rooms = [(max(0, enlisted * 900_000 - at_provider), "provider")]
        if device in contract["max_devices"]:
            rented = contract["max_devices"][device]
            under_contract = self.in_use["contract", contract["id"], device][quarter]
            rooms.append((max(0, rented * 900_000 - under_contract), "contract"))
        return min(rooms)  # the contract's among equal ones

    def enlisted(self, provider: str, device: str, day: str) -> int:
        return sum(
            batch["devices"].get(device, 0)
            for (name, _), batch in self.enlistments.items()
            if name == provider and batch["from"] <= day < batch["until"]
        )

    def reason(self, contract: dict, day: str) -> str:
        """Return why usage of an enlisted day counts for nothing, or an empty text."""
        policy = self.policy_of(contract)
        if contract["related_party"]:
            return "related_party"
        if contract["use"] not in policy["uses"]:
            return "use"
        if not policy["starts"] <= day < policy["ends"]:
            return "outside_policy"
        return "" if contract["from"] <= day < contract["until"] else "outside_term"

    def worth(self, contract: dict, record: AcceptedRecord) -> dict[str, Fraction]:
        """Return the cost of a record by what it is, not rounded."""
        worth = dict.fromkeys(PARTS, Fraction(0))
        for day, time, fits, held in record.by_day():
            price = price_on(contract, record.body["device"], day) / 3_600_000
            reason = self.reason(contract, day)
            worth["withheld"] += held * price
            worth[reason or "eligible"] += (fits if not reason else time - held) * price
            worth["not_enlisted"] += 0 if reason else (time - held - fits) * price
        return worth

    def withheld(self, contract: dict) -> dict[int, Fraction]:
        """Return the withheld cost by year, not rounded."""
        by_year: dict[int, Fraction] = {}
        for record in self.live(contract):
            for short in record.withheld():
                day = day_of(short.quarter)
                year = int(day[:4])
                price = price_on(contract, record.body["device"], day)
                cost = Fraction(short.time, 3_600_000) * price
                by_year[year] = by_year.get(year, Fraction(0)) + cost
        return by_year

    def ineligible(self, contract: dict) -> dict[str, Fraction]:
        """Return the cost that counts for nothing by reason, not rounded."""
        worths = [self.worth(contract, record) for record in self.live(contract)]
        return {part: sum((each[part] for each in worths), Fraction(0)) for part in PARTS[2:]}

    # Everything from the set of records

    def policy_of(self, contract: dict) -> dict:
        return DEFAULTS | POLICIES[contract["policy"]]

    def live(self, contract: dict) -> list[AcceptedRecord]:
        return [
            record
            for record in self.records.values()
            if not record.voided and record.body["contract"] == contract["id"]
        ]

    def value(self, contract: dict) -> Fraction:
        """Return the cost, not rounded."""
        worths = [self.worth(contract, record).values() for record in self.live(contract)]
        return sum(map(sum, worths), Fraction(0))

    def cost(self, contract: dict) -> Fraction:
        return down_to_a_fen(self.value(contract))

    def eligible(self, contract: dict, year: int) -> Fraction:
        return sum(
            (
                Fraction(fits, 3_600_000) * price_on(contract, record.body["device"], day)
                for record in self.live(contract)
                for day, _, fits, _ in record.by_day()
                if day[:4] == str(year) and not self.reason(contract, day)
            ),
            Fraction(0),
        )

    def is_startup(self, contract: dict) -> bool:
        enterprise = self.enterprises[contract["enterprise"]]
        months = self.policy_of(contract)["months"]
        grown_up = later(enterprise["founded_on"], months)
        return enterprise["kind"] == "enterprise" and contract["signed_on"] < grown_up

    def kind(self, contract: dict) -> str:
        return "startup" if self.is_startup(contract) else "standard"

    def ratio(self, contract: dict) -> Fraction:
        return Fraction(self.policy_of(contract)[self.kind(contract)], 10_000)

    def support(self, contract: dict) -> Fraction:
        """Return the most that other public money leaves."""
        combined = self.policy_of(contract)[f"combined_{self.kind(contract)}"]
        support = down_to_a_fen(yuan(contract["amount"]) * Fraction(combined, 10_000))
        return max(Fraction(0), support - sum(self.contract_funds[contract["id"]].values()))

    def entitled(self, contract: dict) -> tuple[dict[int, Fraction], set[str]]:
        """Return the entitlement by year, and which limits bound it."""
        amount, support = yuan(contract["amount"]), self.support(contract)
        counted, entitled, bound = Fraction(0), {}, set()
        for year in YEARS:
            eligible = self.eligible(contract, year)
            usable = min(eligible, amount - counted)
            if usable < eligible:
                bound.add("contract_amount")
            counted += usable
            wanted = down_to_a_fen(usable * self.ratio(contract))
            entitled[year] = min(wanted, support - sum(entitled.values()))
            if entitled[year] < wanted:
                bound.add("combined_support")
        return entitled, bound

    def regrant(self) -> None:
        """Apply rule R to every coupon; without a change it does nothing."""
        entitled = {id_: self.entitled(each)[0] for id_, each in self.contracts.items()}
        for enterprise in self.enterprises:
            for year in YEARS:
                free = self.issued.get((enterprise, year), Fraction(0))
                for each in self.contracts_of(enterprise):
                    granted = self.grants.get((each["id"], year), Fraction(0))
                    self.grants[each["id"], year] = min(granted, entitled[each["id"]][year])
                    free -= self.grants[each["id"], year]
                for each in self.contracts_of(enterprise):
                    short = entitled[each["id"]][year] - self.grants[each["id"], year]
                    self.grants[each["id"], year] += min(short, free)
                    free -= min(short, free)

    # Batches

    def post(self, keyid: str, batch: dict, payload: bytes) -> dict | bytes:
        """Return the results, or the receipt that was stored."""
        key = self.keys.get(keyid)
        if key is None:
            raise Refused("bad_signature")
        if key["provider"] != batch["provider"]:
            raise Refused("provider_mismatch")
        if batch["log"] != ORIGIN:
            raise Refused("wrong_log")
        number = batch["provider"], batch["stream"], batch["seq"]
        if number in self.batches:
            known, receipt = self.batches[number]
            if known != payload:
                raise Refused("seq_conflict")
            return receipt
        if keyid in self.revoked:
            raise Refused("key_revoked")
        first = self.append()
        voids = [self.judge_void(batch["provider"], each["id"]) for each in batch["voids"]]
        results = [self.judge(batch["provider"], each) for each in batch["records"]]
        return {
            "entries": {"first": first, "count": self.size - first},
            "voids": voids,
            "results": results,
        }

    def judge_void(self, provider: str, id_: str) -> dict:
        record = self.records.get((provider, id_))
        if record is None:
            return {"id": id_, "status": "rejected", "code": "unknown_record"}
        if record.voided:
            return {"id": id_, "status": "rejected", "code": "already_voided"}
        contract = self.contracts[record.body["contract"]]
        if self.is_late(record.body, contract):
            return {"id": id_, "status": "rejected", "code": "too_late"}
        before, worth = self.standing(contract), self.worth(contract, record)
        self.apply_void(record)
        return self.accepted(id_, contract, before, worth, -1)

    def judge(self, provider: str, body: dict) -> dict:
        known = self.records.get((provider, body["id"]))
        if known is not None:
            equal = meaning(known.body) == meaning(body)
            status = "duplicate" if equal else "conflict"
            return {"id": body["id"], "status": status, "entry": known.entry}
        code = self.refusal(provider, body)
        if code is not None:
            return {"id": body["id"], "status": "rejected", "code": code}
        contract = self.contracts[body["contract"]]
        before = self.standing(contract)
        record = self.records[provider, body["id"]] = self.take(body)
        self.regrant()
        return self.accepted(body["id"], contract, before, self.worth(contract, record), 1)

    def refusal(self, provider: str, body: dict) -> str | None:
        contract = self.contracts.get(body["contract"])
        if contract is None or contract["provider"] != provider:
            return "unknown_contract"
        start, end = moment(body["start"]), moment(body["end"])
        broken = {
            "unknown_device": body["device"] not in contract["prices"],
            "bad_devices": not 1 <= body["milli_devices"] <= 1_000_000_000,
            "bad_interval": end <= start,
            "too_long": end - start > timedelta(days=31),
            "in_future": end > self.now + timedelta(minutes=5),
            "too_late": self.is_late(body, contract),
            "contract_frozen": contract["id"] in self.frozen,
        }
        return next((code for code, is_broken in broken.items() if is_broken), None)

    def frozen_time(self, contract: str, since: datetime) -> timedelta:
        switched = [*self.switched[contract], self.now]
        pairs = zip(switched[::2], switched[1::2], strict=False)
        times = (max(end, since) - max(begin, since) for begin, end in pairs)
        return sum(times, timedelta(0))

    def is_late(self, body: dict, contract: dict) -> bool:
        lateness = timedelta(days=self.policy_of(contract)["lateness"])
        lateness += self.frozen_time(contract["id"], moment(body["end"]))
        return self.now - moment(body["end"]) > lateness

    def standing(self, contract: dict) -> tuple[Fraction, dict, dict]:
        """Return cost, and entitlement and grants by year."""
        granted = {year: self.grants.get((contract["id"], year), Fraction(0)) for year in YEARS}
        return self.cost(contract), self.entitled(contract)[0], granted

    def accepted(self, id_: str, contract: dict, before: tuple, worth: dict, sign: int) -> dict:
        """Answer a record or its void, of the `worth` that the contract now has or has not."""
        cost, entitled, granted = self.standing(contract)
        others = self.value(contract) - (sum(worth.values()) if sign > 0 else 0)
        parts = {part: sign * fen for part, fen in rounded(others, worth).items()}
        reasons = {part: text(parts[part]) for part in PARTS[2:] if worth[part]}
        more_entitled = {year: entitled[year] - before[1][year] for year in YEARS}
        more_granted = {year: granted[year] - before[2][year] for year in YEARS}
        bound = self.entitled(contract)[1]
        if granted != entitled:
            bound.add("coupon")
        sums = sum(more_entitled.values()), sum(more_granted.values())
        return {
            "id": id_,
            "status": "accepted",
            "entry": self.append(),
            "cost": text(cost - before[0]),
            "entitled": text(sums[0]),
            "granted": text(sums[1]),
            "uncovered": text(sums[0] - sums[1]),
            "withheld": text(parts["withheld"]),
            "ineligible": text(sum(parts[part] for part in PARTS[2:])),
            "reasons": reasons,
            "by_year": {
                str(year): text(more_granted[year])
                for year in YEARS
                if more_entitled[year] or more_granted[year]
            },
            "bound": [
                name for name in ("contract_amount", "combined_support", "coupon") if name in bound
            ],
        }


def years_of(policy: dict) -> range:
    last = midnight(policy["ends"]) - timedelta(seconds=1)
    return range(midnight(policy["starts"]).year, last.year + 1)


def later(day: str, months: int) -> str:
    """Count the months forward; step back to the last day of the month where there is none."""
    year, month, number = map(int, day.split("-"))
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    while True:
        try:
            return f"{datetime(year, month, number, tzinfo=SHANGHAI):%Y-%m-%d}"
        except ValueError:
            number -= 1


def per(price: str | dict) -> str:
    return price["per"] if isinstance(price, dict) else "hour"


def price_on(contract: dict, device: str, day: str) -> Fraction:
    """Return what a device costs for an hour of a day, in yuan."""
    price = contract["prices"][device]
    for effective, prices in sorted(contract["later"], key=lambda each: each[0]):
        if effective <= day:
            price = prices.get(device, price)
    if per(price) == "hour":
        return Fraction(price)
    first = date.fromisoformat(f"{day[:7]}-01")
    following = date.fromisoformat(f"{later(day, 1)[:7]}-01")
    hours = 24 * (following - first).days if per(price) == "month" else 24
    return Fraction(price["amount"]) / hours


def quarters(body: dict) -> Iterator[tuple[int, int]]:
    """Yield thousandths × seconds in each quarter-hour that a record touches, by its number."""
    start, end = moment(body["start"]), moment(body["end"])
    number = (start - EPOCH) // QUARTER
    while start < end:
        number += 1
        until = min(end, EPOCH + number * QUARTER)
        yield number - 1, body["milli_devices"] * ((until - start) // SECOND)
        start = until


@cache
def day_of(quarter: int) -> str:
    return f"{(EPOCH + quarter * QUARTER).astimezone(SHANGHAI):%Y-%m-%d}"


def rounded(others: Fraction, worth: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return by how many whole fen a cost grows with each part, on top of other usage."""
    parts = {}
    for part in PARTS:
        parts[part] = down_to_a_fen(others + worth[part]) - down_to_a_fen(others)
        others += worth[part]
    return parts


def evidence(short: list[Short]) -> list[list]:
    """Return runs of quarters and their limit; beyond 16 runs, the last holds all the rest."""
    runs: list[list[Short]] = []
    for each in short:
        before = runs[-1][-1] if runs else None
        if before and (before.limit, before.quarter + 1) == (each.limit, each.quarter):
            runs[-1].append(each)
        else:
            runs.append([each])
    told = [*runs[:15], [each for run in runs[15:] for each in run]]
    return [
        [
            run[0].limit,
            run[0].quarter * 900_000_000,
            (run[-1].quarter + 1) * 900_000_000,
            sum(each.time for each in run),
        ]
        for run in told
        if run
    ]


def meaning(body: dict) -> dict:
    """What makes two records of one id the same: the rest decides nothing."""
    times = {"start": moment(body["start"]), "end": moment(body["end"])}
    return times | {name: body[name] for name in ("contract", "device", "milli_devices")}


# Drawn requests: few names, so that things meet; most valid, some not.

USCCS = [uscc_of(number) for number in (1, 2, 3, 4)]
CONTRACTS = ["A", "B", "C", "D", "E", "F", "G", "M"]
PROVIDERS = ["p1", "p2"]
KEYS = ["k1", "k2", "k3"]
usccs = st.sampled_from(USCCS)
contract_ids = st.sampled_from([*"AAABBBCCDD", *CONTRACTS, "none"])
providers = st.sampled_from(["p1", "p1", "p2"])
amounts = st.sampled_from(["0.00", "0.01", "1.12", "20.00", "33.33", "60.00", "119.99"])
issue_years = st.sampled_from([2025, 2026, 2025, 2026, 2027, 2024])
devices = st.sampled_from([DEVICE, DEVICE, DEVICE, "unlisted", "none"])
record_ids = st.sampled_from([f"r{number}" for number in range(14)])

award_bodies = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["W", "W", "X", "Y", "P", "A"]),
        "programme": st.just(PRIZE),
        "enterprise": st.sampled_from([USCCS[0], USCCS[0], USCCS[1], USCCS[3]]),
        "class": st.just("standard"),
        "project": st.just("P"),
        "year": st.sampled_from([2025, 2025, 2026, 2027]),
        "base": st.sampled_from(["20.01", "66.67", "100.00", "100.00"]),
        "amount": st.sampled_from(
            ["0.00", "0.01", "10.00", "10.01", "15.00", "15.01", "15.01", "33.33", "40.00", "40.01"]
        ),
        "document": st.sampled_from(["x", "x", "x", "y"]),
    }
)
provider_bodies = st.fixed_dictionaries(
    {
        "id": st.sampled_from(PROVIDERS),
        "uscc": st.sampled_from(USCCS[2:]),
        "name": st.sampled_from(["x", "x", "y"]),
        "devices": st.sampled_from([{DEVICE: 10_000_000}, {DEVICE: 5}]),
        "enlisted": st.fixed_dictionaries(
            {
                "batch": st.just("1"),
                "from": st.sampled_from(["2025-01-01", "2025-12-01"]),
                "until": st.sampled_from(["2026-06-01", "2027-01-01", "2025-01-01"]),
            }
        ),
    }
)
enterprise_bodies = st.fixed_dictionaries(
    {
        "uscc": usccs,
        "name": st.sampled_from(["x", "x", "y"]),
        "kind": st.sampled_from(["enterprise", "enterprise", "university"]),
        "founded_on": st.sampled_from(["2019-04-01", "2024-12-31", "2025-01-15", "2025-06-15"]),
    }
)
contract_bodies = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["A", *"EFFGG"]),
        "contract_no": st.sampled_from("AEFGHe"),
        "programme": st.sampled_from([PROGRAMME] * 6 + ["other"]),
        "enterprise": st.sampled_from([USCCS[0], USCCS[0], USCCS[1], USCCS[2]]),
        "provider": st.sampled_from(["p1", "p1", "p1", "p2"]),
        "amount": st.sampled_from(["100.00", "33.33", "70.01", "0.01", "0.00"]),
        "signed_on": st.sampled_from(
            ["2025-05-31", "2025-06-01", "2025-12-30", "2025-12-31", "2026-01-06"]
        ),
        "from": st.sampled_from(["2025-06-01", "2025-12-25", "2025-12-31"]),
        "until": st.sampled_from(["2026-06-01", "2026-12-31", "2025-12-31", "2025-06-01"]),
        "use": st.sampled_from(["training"] * 4 + ["research"]),
        "prices": st.sampled_from(
            [
                *({DEVICE: "4.50", "unlisted": "1.00"}, {DEVICE: "12.34"}, {DEVICE: "0.3333"}),
                {DEVICE: {"amount": "100.01", "per": "day"}},
                {
                    DEVICE: {"amount": "3000.00", "per": "month"},
                    "unlisted": {"amount": "0.0001", "per": "month"},
                },
                {DEVICE: "4.50", "unlisted": {"amount": "9.99", "per": "day"}},
            ]
        ),
        "max_devices": st.sampled_from(
            [{}, {}, {DEVICE: 4}, {DEVICE: 100}, {"none": 1}, {"Unlisted": 1}]
        ),
        "related_party": st.sampled_from([False] * 5 + [True]),
    }
)
BASE_ENTERPRISE = {"name": "x", "kind": "enterprise"}
BASE_CONTRACT = {
    "programme": PROGRAMME,
    "enterprise": USCCS[0],
    "provider": "p1",
    "amount": "100.00",
    "signed_on": "2025-06-01",
    "from": "2025-06-01",
    "until": "2026-12-31",
    "use": "training",
    "prices": {DEVICE: "4.50", "unlisted": "1.00"},
    "max_devices": {},
    "related_party": False,
}
BASE_PROVIDER = {
    "name": "x",
    "devices": {DEVICE: 10_000_000},
    "enlisted": {"batch": "1", "from": "2025-01-01", "until": "2027-01-01"},
}


enlistments = st.fixed_dictionaries(
    {
        "batch": st.sampled_from(["1", "2", "2", "3"]),
        "from": st.sampled_from(["2025-01-01", "2025-01-01", "2026-01-01", "2026-01-05"]),
        "until": st.sampled_from(
            ["2027-01-01", "2026-06-01", "2026-01-06", "2026-01-01", "2025-01-01"]
        ),
    }
)


@st.composite
def record_bodies(draw) -> dict:
    """Draw a record: ends near the clock, or around the end of a year."""
    base = draw(st.sampled_from(["clock", "clock", "year"]))
    seconds = draw(st.sampled_from([-301, -300, 0, 1, 3_601, 86_400, 40 * 86_400, 40 * 86_400 + 1]))
    return {
        "id": draw(record_ids),
        "contract": draw(contract_ids),
        "device": draw(devices),
        "milli_devices": draw(st.sampled_from([1, 460, 1_000, 3_000, 7_000, 16_000, 0, 10**9 + 1])),
        "base": base,
        "ago": seconds,
        "lasts": draw(
            st.sampled_from([1, 61, 1_800, 3_600, 3_601, 7_200, 28_800, 31 * 86_400, 0, -1])
            | st.integers(1, 40_000)
        ),
    }


@st.composite
def good_records(draw) -> dict:
    return draw(record_bodies()) | {
        "contract": draw(st.sampled_from("AABBDDEFM")),
        "device": DEVICE,
        "milli_devices": draw(st.sampled_from([460, 1_000, 3_000, 7_001])),
        "ago": draw(st.sampled_from([0, 0, 61, 1_800, 3_601, 7_200, 10_800, 86_400])),
        "lasts": draw(st.sampled_from([900, 900, 1_800, 86_400]) | st.integers(60, 30_000)),
    }


def placed(drawn: dict, now: datetime) -> dict:
    """Return a drawn record at the current clock."""
    drawn = dict(drawn)
    base, ago, lasts = (drawn.pop(name) for name in ("base", "ago", "lasts"))
    edge = datetime(2026, 1, 1, tzinfo=SHANGHAI) + timedelta(seconds=900)
    end = edge if base == "year" else now - timedelta(seconds=ago)
    # Written without the core, so that the model reads the drawn values.
    return drawn | {
        "start": (end - timedelta(seconds=lasts)).isoformat(),
        "end": end.isoformat(),
    }


class BooksMachine(RuleBasedStateMachine):
    """One ledger and the model, given the same steps."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(now=START.isoformat())
        self.model = Model()
        self.replica = State()
        self.replayed = 0

    def both(self, core: Any, model: Any) -> None:
        """Ask both; both must return the same number or the same refusal."""
        answers = []
        for ask in (core, model):
            try:
                answers.append(ask())
            except Problem as problem:
                answers.append(problem.code)
            except Refused as refused:
                answers.append(str(refused))
        assert answers[0] == answers[1], answers

    @initialize(
        coupons=st.booleans(), audited=st.booleans(), cards=st.sampled_from([3, 8, 10_000_000])
    )
    def begin(self, coupons: bool, audited: bool, cards: int) -> None:
        """Begin with all that usage needs: two providers, two enterprises, contracts."""
        self.activate("v1")
        self.both(lambda: self.books.activate(PRIZE_TEXT), self.model.append)
        self.both(self.books.project, self.model.append)
        if audited:
            self.audit("20.00")
            self.fund("1", "national", "5.00")
            self.fund("2", "municipal", "5.00")
        for name, code in (("p1", USCCS[2]), ("p2", USCCS[3])):
            body = BASE_PROVIDER | {"id": name, "uscc": code, "devices": {DEVICE: cards}}
            self.provider(body)
        self.key("k1", "p1", "k1")
        self.key("k2", "p2", "k2")
        for code, founded_on in ((USCCS[0], "2019-04-01"), (USCCS[1], "2024-06-01")):
            self.enterprise(BASE_ENTERPRISE | {"uscc": code, "founded_on": founded_on})
        self.base_contract("A")
        self.base_contract("B", amount="70.01", max_devices={DEVICE: 4})
        self.base_contract("C", provider="p2")
        self.fund_contract("C", "1", "30.00")
        # At the threshold, signed on the day on which a startup is no longer one.
        self.base_contract("D", enterprise=USCCS[1], amount="80.00")
        self.base_contract("E", related_party=True)
        self.base_contract("M", prices={DEVICE: {"amount": "3000.00", "per": "month"}})
        if coupons:
            self.issue(USCCS[0], 2025, "60.00")
            self.issue(USCCS[0], 2026, "33.33")
            self.issue(USCCS[1], 2025, "20.00")
            self.issue(USCCS[1], 2026, "0.01")

    @rule(what=st.data())
    def register(self, what: Any) -> None:
        """Register any of these; as one rule, so that other rules run often enough."""
        match what.draw(st.sampled_from(["policy", "provider", "key", "enterprise", "contract"])):
            case "policy":
                self.activate(what.draw(st.sampled_from([*TEXTS])))
            case "provider":
                self.provider(what.draw(provider_bodies))
            case "key":
                self.key(*(what.draw(st.sampled_from(each)) for each in (KEYS, PROVIDERS, KEYS)))
            case "enterprise":
                self.enterprise(what.draw(enterprise_bodies))
            case _:
                self.contract(what.draw(contract_bodies))

    def activate(self, name: str) -> None:
        self.both(lambda: self.books.activate(TEXTS[name]), lambda: self.model.activate(name))

    def provider(self, body: dict) -> None:
        self.both(
            lambda: self.books.ask(commands.RegisterProvider, **body),
            lambda: self.model.provider(body),
        )

    @rule(
        provider=st.sampled_from(["p1", "p1", "p1", "p2", "none"]),
        devices=st.sampled_from([{DEVICE: 5}, {DEVICE: 5}, {DEVICE: 9, "unlisted": 2}]),
        enlisted=enlistments,
    )
    def enlist(self, provider: str, devices: dict, enlisted: dict) -> None:
        days = enlisted["from"], enlisted["until"]
        self.both(
            lambda: self.books.enlist(enlisted["batch"], devices, *days, provider),
            lambda: self.model.enlist(provider, devices, enlisted),
        )

    def key(self, keyid: str, provider: str, secret: str) -> None:
        model = self.model
        body = {"provider": provider} | registration(signer(secret), ORIGIN, provider, keyid)
        self.both(
            lambda: self.books.ask(commands.RegisterKey, **body),
            lambda: model.register("key", keyid, body, model.check_key, model.keys),
        )

    def enterprise(self, body: dict) -> None:
        model = self.model
        self.both(
            lambda: self.books.ask(commands.RegisterEnterprise, **body),
            lambda: model.register(
                "enterprise", body["uscc"], body, model.check_enterprise, model.enterprises
            ),
        )

    def base_contract(self, id_: str, **changes: Any) -> None:
        self.contract(BASE_CONTRACT | {"id": id_, "contract_no": id_} | changes)

    def contract(self, body: dict) -> None:
        self.both(
            lambda: self.books.ask(commands.RegisterContract, **body),
            lambda: self.model.contract(body),
        )

    @rule(
        contract=contract_ids,
        effective=st.sampled_from(["", "2025-12-31", "2026-01-01", "2026-01-03"]),
        price=st.sampled_from(["4.00", "0.3333", "9.99", {"amount": "2000.00", "per": "month"}]),
        changes=st.sampled_from(
            [{}, {"amount": "70.00"}, {"use": "research"}, {"related_party": True}]
        ),
    )
    def amend(self, contract: str, effective: str, price: Any, changes: dict) -> None:
        changes = {"prices": {DEVICE: price}} | ({} if effective else changes)
        signed = self.model.contracts.get(contract, BASE_CONTRACT)["signed_on"]

        def core() -> int:
            if effective:
                return self.books.supplement(effective, contract, signed_on=signed, **changes)
            return self.books.correct(contract, **changes)

        self.both(core, lambda: self.model.amend(contract, effective, changes))

    @rule(codes=st.sampled_from([(1, 0), (1, 0), (0, 1), (0, 2), (2, 1), (1, 1)]))
    def succeed(self, codes: tuple[int, int]) -> None:
        old, new = (USCCS[each] for each in codes)
        self.both(lambda: self.books.succeed(old, new), lambda: self.model.succeed(old, new))

    @rule(keyid=st.sampled_from(["k2", "k3", "k3", "none"]))
    def revoke(self, keyid: str) -> None:
        self.both(lambda: self.books.revoke(keyid), lambda: self.model.revoke(keyid))

    @rule(contract=contract_ids, frozen=st.booleans())
    def freeze(self, contract: str, frozen: bool) -> None:
        # A frozen contract soon thaws, or nothing would happen any more.
        frozen = frozen and not self.model.frozen
        ask = self.books.freeze if frozen else self.books.unfreeze
        self.both(lambda: ask(contract), lambda: self.model.freeze(contract, frozen))

    @rule(enterprise=st.sampled_from([USCCS[0], *USCCS[:3]]), year=issue_years, amount=amounts)
    def issue(self, enterprise: str, year: int, amount: str) -> None:
        self.both(
            lambda: self.books.issue(year, amount, enterprise),
            lambda: self.model.issue(enterprise, year, amount),
        )

    @rule(enterprise=st.sampled_from([USCCS[0], *USCCS[:3]]), year=issue_years, amount=amounts)
    def withdraw(self, enterprise: str, year: int, amount: str) -> None:
        self.both(
            lambda: self.books.withdraw(year, amount, enterprise),
            lambda: self.model.withdraw(enterprise, year, amount),
        )

    @rule(
        year=issue_years,
        amount=st.sampled_from(["0.00", "60.00", "93.33", "150.00", "150.01", "200.00", "200.01"]),
    )
    def budget(self, year: int, amount: str) -> None:
        self.both(lambda: self.books.budget(year, amount), lambda: self.model.budget(year, amount))

    @rule(
        reference=st.sampled_from(["1", "2"]),
        level=st.sampled_from(["national", "district", "municipal"]),
        amount=st.sampled_from(["0.00", "0.00", "5.00"]),
    )
    def fund(self, reference: str, level: str, amount: str) -> None:
        self.both(
            lambda: self.books.fund(amount, reference=reference, level=level),
            lambda: self.model.fund(reference, level, amount),
        )

    @rule(
        contract=contract_ids,
        reference=st.sampled_from(["1", "2"]),
        amount=st.sampled_from(["0.00", "10.00", "39.99", "99.00"]),
    )
    def fund_contract(self, contract: str, reference: str, amount: str) -> None:
        self.both(
            lambda: self.books.fund_contract(contract, amount, reference=reference),
            lambda: self.model.fund_contract(contract, reference, amount),
        )

    @rule(amount=st.sampled_from(["0.00", "10.00", "20.00", "99.00"]))
    def audit(self, amount: str) -> None:
        self.both(lambda: self.books.audit(amount), lambda: self.model.audit(amount))

    @rule(body=award_bodies)
    def award(self, body: dict) -> None:
        self.both(
            lambda: self.books.ask(commands.MakeAward, **body), lambda: self.model.award(body)
        )

    @rule(id_=st.sampled_from(["W", "W", "X", "Y", "A"]), amount=amounts)
    def change_award(self, id_: str, amount: str) -> None:
        size = self.model.size

        def core() -> int | None:
            number = self.books.change_award(id_, amount)
            return number if number >= size else None

        self.both(core, lambda: self.model.change_award(id_, amount))

    @rule(provider=providers, id_=record_ids)
    def void_by_name(self, provider: str, id_: str) -> None:
        self.void(provider, id_)

    @rule(pick=st.integers(0, 50))
    def void_one_that_is_there(self, pick: int) -> None:
        if self.model.records:
            self.void(*sorted(self.model.records)[pick % len(self.model.records)])

    def void(self, provider: str, id_: str) -> None:
        self.both(lambda: self.books.void(id_, provider), lambda: self.model.void(provider, id_))

    @rule(provider=providers, id_=record_ids)
    def release_by_name(self, provider: str, id_: str) -> None:
        self.release(provider, id_)

    @rule(pick=st.integers(0, 50), standing=st.booleans())
    def release_one_that_is_withheld(self, pick: int, standing: bool) -> None:
        records = self.model.records
        named = sorted(
            id_
            for id_, each in records.items()
            if each.short and not (standing and (each.released or each.voided))
        )
        if named:
            self.release(*named[pick % len(named)])

    def release(self, provider: str, id_: str) -> None:
        def core() -> dict:
            number = self.books.release(id_, provider)
            return response_to(self.books.state, number, self.books.entries[number])

        self.both(core, lambda: self.model.release(provider, id_))

    @rule(seconds=st.sampled_from([1, 3_600, 86_400, 5 * 86_400, 39 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)
        self.books.at(self.books.now + seconds * 1_000_000)

    @rule(
        keyid=st.sampled_from(["k1", "k1", "k1", "k2", "k3"]),
        drawn=st.lists(record_bodies(), min_size=1, max_size=4),
        voids=st.lists(record_ids, max_size=2),
        wrong=st.sampled_from([{}] * 9 + [{"log": "kashi.test/x"}, {"provider": "p2"}]),
    )
    def post(self, keyid: str, drawn: list[dict], voids: list[str], wrong: dict) -> None:
        self.send(keyid, [placed(each, self.model.now) for each in drawn], voids, wrong)

    @rule(drawn=st.lists(good_records(), min_size=1, max_size=3), pick=st.integers(0, 50))
    def post_good_records_and_a_void(self, drawn: list[dict], pick: int) -> None:
        """Most random records break a rule; these rarely do."""
        named = [
            placed(each | {"id": f"s{self.model.size}.{number}"}, self.model.now)
            for number, each in enumerate(drawn)
        ]
        ours = sorted(id_ for provider, id_ in self.model.records if provider == "p1")
        self.send("k1", named, [ours[pick % len(ours)]] if ours and pick % 2 else [], {})

    @rule(drawn=st.lists(good_records(), min_size=2, max_size=4))
    def post_good_records_under_any_id(self, drawn: list[dict]) -> None:
        self.send("k1", [placed(each, self.model.now) for each in drawn], [], {})

    @rule(drawn=good_records())
    def the_other_provider_posts(self, drawn: dict) -> None:
        self.send("k2", [placed(drawn | {"contract": "C"}, self.model.now)], [], {})

    @rule(pick=st.integers(0, 50), field=st.sampled_from(["start", "run", "milli_devices", None]))
    def post_a_record_again(self, pick: int, field: str | None) -> None:
        if not self.model.records:
            return
        provider, id_ = sorted(self.model.records)[pick % len(self.model.records)]
        again = dict(self.model.records[provider, id_].body)
        if field:
            again |= {field: {"start": again["end"], "run": "x", "milli_devices": 2}[field]}
        self.send({"p1": "k1", "p2": "k2"}[provider], [again], [], {})

    @rule(keyid=st.sampled_from(KEYS), altered=st.booleans(), pick=st.integers(0, 50))
    def post_a_used_number(self, keyid: str, altered: bool, pick: int) -> None:
        if not self.model.batches:
            return
        numbers = sorted(self.model.batches)
        provider, stream, seq = numbers[pick % len(numbers)]
        payload, _ = self.model.batches[provider, stream, seq]
        self.deliver(keyid, payload + b" " if altered else payload)

    def send(self, keyid: str, records: list[dict], voids: list[str], wrong: dict) -> None:
        provider = self.model.keys.get(keyid, {"provider": "p1"})["provider"]
        named = [{"id": id_, "reason": "test"} for id_ in voids]
        self.deliver(keyid, self.books.payload(records, named, **({"provider": provider} | wrong)))

    def deliver(self, keyid: str, payload: bytes) -> None:
        """Sign with the registered key of a name, and compare all results."""
        batch = json.loads(payload)
        secrets = {public_text(signer(name)): name for name in KEYS}
        registered = self.model.keys.get(keyid, {"public_key": public_text(signer(keyid))})
        secret = signer(secrets[registered["public_key"]])
        data = dsse.seal(dsse.BATCH_TYPE, payload, keyid, secret)

        def core() -> Any:
            before = len(self.books.entries)
            receipt = self.books.send(data)
            if len(self.books.entries) == before:
                return receipt
            number = batch["provider"], batch["stream"], batch["seq"]
            self.model.batches[number] = payload, receipt
            answer = self.books.receipt()
            return {
                "entries": answer["entries"],
                "voids": [undetailed(each) for each in answer["voids"]],
                "results": [undetailed(each) for each in answer["results"]],
            }

        known = dict(self.model.batches)
        try:
            answer = core()
        except Problem as problem:
            answer = problem.code
        self.model.batches, now_known = known, self.model.batches
        try:
            expected = self.model.post(keyid, batch, payload)
        except Refused as refused:
            expected = str(refused)
        self.model.batches = now_known
        assert answer == expected

    def teardown(self) -> None:
        """Compare the end with the postings, the records and the sums."""
        *_, accounts = balances(self.books.entries)
        assert accounts == expected_balances(self.books.state)
        self.records_are_told_as_the_model_has_them()
        sums = Sums()
        for number, entry in enumerate(self.books.entries):
            sums.entry(number, encode(entry))
        sums.finish()

    def records_are_told_as_the_model_has_them(self) -> None:
        """Check that use follows from the records alone, and each entry has its evidence."""
        model = Model(contracts=self.model.contracts)
        for record in self.model.records.values():
            usage = decode(encode(self.books.entries[record.entry]))
            days = list(replace(record, released=False).by_day())
            assert usage["fits"] == [[day_number(day), fits] for day, _, fits, _ in days if fits]
            withheld = [[day_number(day), held] for day, *_, held in days if held]
            assert usage.get("withheld", []) == withheld
            assert usage.get("evidence", []) == evidence(record.short)
            if not record.voided:
                held = {each.quarter: -each.time for each in record.withheld()}
                model.use(record.body, [*quarters(record.body), *held.items()])
        self.days_are_those_of_the_records()
        in_use = figures(self.books.state)["records"]["in_use"]
        assert in_use == {name: dict(+each) for name, each in model.in_use.items() if +each}

    def days_are_those_of_the_records(self) -> None:
        """Check how much there is, fits and is withheld by contract, day and device kind."""
        expected: dict[tuple[str, int, str], list[int]] = {}
        for contract in self.model.contracts.values():
            for record in self.model.live(contract):
                for day, *times in record.by_day():
                    key = contract["id"], day_number(day), record.body["device"]
                    known = expected.get(key, [0, 0, 0])
                    expected[key] = [a + b for a, b in zip(known, times, strict=True)]
        assert usage_by_day(self.books.state) == expected

    @invariant()
    def each_figure_is_the_models_and_a_replay_comes_to_the_same(self) -> None:
        for entry in self.books.entries[self.replayed :]:
            evolve(self.replica, entry)
        self.replayed = len(self.books.entries)
        assert figures(self.replica) == figures(self.books.state)
        model, state = self.model, self.books.state
        assert state.size == model.size
        assert set(state.contracts) == set(model.contracts)
        for id_, body in model.contracts.items():
            cost, entitled, granted = model.standing(body)
            assert Fraction(self.books.cost(id_), 100) == cost
            self.each_year_is_the_models(body)
            for year in YEARS:
                share = self.books.share(id_, year)
                assert Fraction(share.entitled, 100) == entitled[year]
                assert Fraction(share.granted, 100) == granted[year]
        issued = {id_: amount for id_, amount in model.issued.items() if amount}
        assert issued == {
            (enterprise, year): Fraction(fen, 100)
            for (enterprise, programme, year), fen in state.coupons.items()
            if fen and programme == PROGRAMME
        }
        assert {id_: each["is"] for id_, each in model.awards.items()} == {
            id_: Fraction(each.amount, 100) for id_, each in state.awards.items()
        }
        set_aside = {year: max(model.limit(year), model.issued_from(year)) for year in model.pools}
        assert set_aside == {
            year: Fraction(pool.amount, 100) for (_, year), pool in state.pools.items()
        }

    def each_year_is_the_models(self, contract: dict) -> None:
        """Compare what is eligible, withheld and ineligible, before any rounding."""
        withheld = self.model.withheld(contract)
        yuan_ = 100 * self.books.state.contracts[contract["id"]].terms.denominator
        shares = self.books.state.contracts[contract["id"]].shares
        for year in {*YEARS, *shares, *withheld}:
            share = self.books.share(contract["id"], year)
            eligible = self.model.eligible(contract, year)
            ours = self.books.eligible(contract["id"], year)
            assert Fraction(ours, yuan_) == eligible
            assert Fraction(share.withheld, yuan_) == withheld.get(year, 0)
        reasons = self.model.ineligible(contract)
        assert {
            reason: Fraction(numerator, yuan_)
            for reason, numerator in self.books.ineligible(contract["id"]).items()
        } == {reason: cost for reason, cost in reasons.items() if cost}


def undetailed(result: dict) -> dict:
    return {name: each for name, each in result.items() if name != "detail"}


TestBooks = bounded(BooksMachine, examples=200, steps=50)
