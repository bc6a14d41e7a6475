"""Who is registered, and what was agreed, on paper."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.meter.paper.values import (
    DAYS,
    POLICIES,
    PROGRAMME,
    START,
    TAKING,
    AcceptedRecord,
    Refused,
    midnight,
    per,
    years_of,
    yuan,
)


@dataclass
class Parties:
    """All that is on paper, and the registry."""

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
    # Days of late windows of a contract: from, until, open until.
    windows: defaultdict[str, list[tuple[str, str, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    entry_of: dict[tuple, int] = field(default_factory=dict)
    enlistments: dict[tuple[str, str], dict] = field(default_factory=dict)
    # Thousandths × seconds by quarter, of a contract's or a provider's devices of one kind.
    in_use: defaultdict[tuple[str, str, str], Counter[int]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    issued: dict[tuple[str, int], Fraction] = field(default_factory=dict)
    pools: dict[int, Fraction] = field(default_factory=dict)
    budgets: dict[int, Fraction] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
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
        if version in TAKING and midnight(TAKING[version]) <= self.now + timedelta(minutes=5):
            raise Refused("bad_dates")
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
        if body["until"] <= body["from"]:
            raise Refused("bad_dates")
        if yuan(body["amount"]) == 0 or len(set(map(per, body["prices"].values()))) > 1:
            raise Refused("malformed")
        self.check_dates(body)
        self.check_role(body["enterprise"])
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
        if len(set(map(per, terms["prices"].values()))) > 1:
            raise Refused("malformed")
        if not effective:
            terms["policy"] = self.version_for(terms)
            self.check_dates(terms)
            self.check_role(terms["enterprise"])
        known = per(next(iter(self.contracts[id_]["prices"].values())))
        if any(per(price) != known for price in changes["prices"].values()):
            raise Refused("malformed")
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

    def late_window(self, contract: str, starts: str, ends: str, open_until: str) -> int:
        if contract not in self.contracts:
            raise Refused("unknown_contract")
        if ends <= starts or midnight(starts) > self.now or midnight(open_until) <= self.now:
            raise Refused("bad_dates")
        self.windows[contract].append((starts, ends, open_until))
        return self.append()

    def contracts_of(self, enterprise: str) -> list[dict]:
        return [each for each in self.contracts.values() if each["enterprise"] == enterprise]
