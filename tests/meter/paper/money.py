"""Coupons, pools, other public money and awards, on paper."""

from fractions import Fraction

from tests.meter.paper.rating import Rating
from tests.meter.paper.values import POLICIES, PRIZE_CAP, Refused, down_to_a_fen, years_of, yuan


class Money(Rating):
    """What the city gives, and its limits."""

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
