"""Coupons, pools, other public money and awards, on paper."""

from datetime import datetime
from fractions import Fraction

from tests.meter.paper.rating import Rating
from tests.meter.paper.values import (
    DEFAULTS,
    POLICIES,
    PRIZE_CAP,
    PROPORTIONAL,
    Refused,
    down_to_a_fen,
    later,
    midnight,
    years_of,
    yuan,
)


class Money(Rating):
    """What the city gives, and its limits."""

    def issue(self, enterprise: str, year: int, amount: str) -> int:
        self.check_coupon(enterprise, year, amount, yuan(amount), proportional=False)
        self.check_pool(year, yuan(amount))
        self.add_issued(enterprise, year, yuan(amount))
        return self.append()

    def add_issued(self, enterprise: str, year: int, amount: Fraction) -> None:
        self.issued[enterprise, year] = self.issued.get((enterprise, year), Fraction(0)) + amount
        self.regrant()

    def check_coupon(
        self, enterprise: str, year: int, amount: str, of_firm: Fraction, *, proportional: bool
    ) -> None:
        """Check an amount, of all that the firm is issued with it; the pool is looked at later."""
        version = self.check_money(enterprise, year, amount)
        policy = POLICIES[version]
        if year in self.closed or self.now >= self.claims_end(year):
            raise Refused("year_closed")
        self.check_role(enterprise)
        counting = [
            each
            for each in self.contracts.values()
            if each["enterprise"] in self.firm(enterprise) and self.ratios(each, year)
        ]
        if sum(yuan(each["amount"]) for each in counting) < yuan(policy["threshold"]):
            raise Refused("below_threshold")
        if (version in PROPORTIONAL) != proportional:
            raise Refused("wrong_allocation")
        held = of_firm + sum(self.issued.get((each, year), 0) for each in self.firm(enterprise))
        if held > yuan(policy["cap"]):
            raise Refused("cap_exceeded")
        need = sum(
            min(
                self.support(each),
                down_to_a_fen(yuan(each["amount"]) * max(self.ratios(each, year))),
            )
            for each in counting
        )
        if held > need:
            raise Refused("above_need")

    def ratios(self, contract: dict, year: int) -> list[Fraction]:
        """Return the ratios by which usage under a contract could be funded in a year."""
        found = []
        for begin, end, version in self.versions(contract):
            first = max(begin, contract["from"], f"{year}-01-01")
            until = min(end, contract["until"], f"{year + 1}-01-01")
            is_used = contract["use"] in (DEFAULTS | POLICIES[version])["uses"]
            if is_used and not contract["related_party"] and first < until:
                found.append(self.ratio(contract, version))
        return found

    def allocate(self, year: int, requests: list[tuple[str, str]]) -> int:
        asked = [yuan(amount) for _, amount in requests]
        if len({code for code, _ in requests}) < len(requests):
            raise Refused("malformed")
        for code, amount in requests:
            firm = self.firm(code)
            whole = sum((yuan(each) for other, each in requests if other in firm), Fraction(0))
            self.check_coupon(code, year, amount, whole, proportional=True)
        self.check_pool(year, Fraction(1, 100))
        number = self.append()
        left = self.limit(year) - self.issued_from(year)
        for (code, _), amount in zip(requests, divided(asked, left), strict=True):
            if amount:
                self.add_issued(code, year, amount)
                self.append()
        return number

    def claims_end(self, year: int) -> datetime:
        touching = [name for name in self.policies if year in years_of(POLICIES[name])]
        months = max(POLICIES[name]["claim_months"] for name in touching)
        return midnight(later(f"{year + 1}-01-01", months))

    def check_over(self, year: int) -> None:
        if not self.policies:
            raise Refused("unknown_programme")
        if year not in self.pools:
            raise Refused("unknown_year")
        if self.now < self.claims_end(year):
            raise Refused("year_open")

    def rests(self, year: int) -> dict[str, Fraction]:
        found = {}
        for enterprise in self.enterprises:
            contracts = self.contracts_of(enterprise)
            granted = sum(self.grants.get((each["id"], year), 0) for each in contracts)
            found[enterprise] = self.issued.get((enterprise, year), Fraction(0)) - granted
        return {enterprise: rest for enterprise, rest in found.items() if rest}

    def expire(self, year: int) -> int:
        self.check_over(year)
        rests = self.rests(year)
        if not rests:
            raise Refused("nothing_free")
        for enterprise, rest in rests.items():
            self.issued[enterprise, year] -= rest
        return self.append()

    def close(self, year: int) -> int:
        self.check_over(year)
        if year in self.closed:
            raise Refused("year_closed")
        if self.rests(year):
            raise Refused("free_rest")
        self.closed.add(year)
        return self.append()

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

    def check_money(self, enterprise: str, year: int, amount: str) -> str:
        """Return the newest version that touches the year."""
        if not self.policies:
            raise Refused("unknown_programme")
        if enterprise not in self.enterprises:
            raise Refused("unknown_enterprise")
        touching = [name for name in self.policies if year in years_of(POLICIES[name])]
        if not touching:
            raise Refused("unknown_year")
        if yuan(amount) == 0:
            raise Refused("malformed")
        return touching[-1]

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


def divided(asked: list[Fraction], left: Fraction) -> list[Fraction]:
    """Return what each gets of what is left: fen that remain go to the largest fractions."""
    if sum(asked) <= left:
        return asked
    shares = [each * left / sum(asked) for each in asked]
    given = [down_to_a_fen(each) for each in shares]
    while sum(given) < left:
        lacks = [share - each for share, each in zip(shares, given, strict=True)]
        given[lacks.index(max(lacks))] += Fraction(1, 100)
    return given
