"""What fits, what counts, and who is granted what, from the set of records."""

from fractions import Fraction

from tests.meter.paper.parties import Parties
from tests.meter.paper.values import (
    DEFAULTS,
    PARTS,
    POLICIES,
    TAKING,
    YEARS,
    AcceptedRecord,
    Refused,
    Short,
    day_of,
    down_to_a_fen,
    later,
    price_on,
    quarters,
    text,
    yuan,
)


class Rating(Parties):
    """Capacity, entitlement, and grants by rule R."""

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
        version = self.version_on(contract, day)
        if contract["related_party"]:
            return "related_party"
        if contract["use"] not in (DEFAULTS | POLICIES[version or contract["policy"]])["uses"]:
            return "use"
        if version is None:
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

    def versions(self, contract: dict) -> list[tuple[str, str, str]]:
        """Return the days of the versions that hold for a contract, in order: from, until, name."""
        own = contract["policy"]
        found = [(POLICIES[own]["starts"], POLICIES[own]["ends"], own)]
        for name in self.policies[self.policies.index(own) + 1 :]:
            if name in TAKING:
                day, policy = TAKING[name], POLICIES[name]
                found = [(begin, min(end, day), each) for begin, end, each in found]
                found.append((max(day, policy["starts"]), policy["ends"], name))
        return [each for each in found if each[0] < each[1]]

    def version_on(self, contract: dict, day: str) -> str | None:
        names = (name for begin, end, name in self.versions(contract) if begin <= day < end)
        return next(names, None)

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
        return sum(self.by_version(contract, year).values(), Fraction(0))

    def by_version(self, contract: dict, year: int) -> dict[str, Fraction]:
        """Return the eligible usage of a year by the version that held then, in order."""
        found = {name: Fraction(0) for _, _, name in self.versions(contract)}
        for record in self.live(contract):
            for day, _, fits, _ in record.by_day():
                if day[:4] == str(year) and not self.reason(contract, day):
                    worth = Fraction(fits, 3_600_000) * price_on(
                        contract, record.body["device"], day
                    )
                    found[self.version_on(contract, day)] += worth
        return found

    def is_startup(self, contract: dict) -> bool:
        enterprise = self.enterprises[contract["enterprise"]]
        months = self.policy_of(contract)["months"]
        grown_up = later(enterprise["founded_on"], months)
        return enterprise["kind"] == "enterprise" and contract["signed_on"] < grown_up

    def kind(self, contract: dict) -> str:
        return "startup" if self.is_startup(contract) else "standard"

    def ratio(self, contract: dict, version: str) -> Fraction:
        return Fraction((DEFAULTS | POLICIES[version])[self.kind(contract)], 10_000)

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
            worth = Fraction(0)
            for version, eligible in self.by_version(contract, year).items():
                usable = min(eligible, amount - counted)
                if usable < eligible:
                    bound.add("contract_amount")
                counted += usable
                worth += usable * self.ratio(contract, version)
            wanted = down_to_a_fen(worth)
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
