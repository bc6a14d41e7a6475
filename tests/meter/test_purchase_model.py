"""Any history of purchases, compared after each step with a model that is slow and obvious.

Two contracts of one enterprise share the coupons of two years. The model keeps the set of purchases
and works out everything from it in fractions of a yuan, day by calendar day; what was granted it
moves by the two steps of rule R, in its own code. In the end the sums of the audit must agree.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from math import floor
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.units import format_money
from tests.books import (
    Books,
    balances,
    bounded,
    expected_balances,
    figures,
    purchase,
    uscc_of,
    void,
)
from tests.summing import summed, told

PROGRAMME = "corpus-coupon"
POLICY = shipped_text(PROGRAMME, "2024-12") + (
    '\n[rounding]\nprorate = "days"\narticle = "none"\nstanding = "judgement"\n'
)
VALID = date(2024, 12, 18), date(2026, 12, 18)
START = "2026-01-10T12:00:00+08:00"
YEARS = (2025, 2026)
LATE_DAYS = 35
RATIO = Fraction(3, 10)
UNIT = 360_000_000  # parts of a fen, at which a day's share is cut

names = st.sampled_from("KKLN")
ids = st.sampled_from([f"p{number}" for number in range(10)])
ago = st.sampled_from([0, 1, 9, 10, 20, 35, 36, -1])
lasting = st.sampled_from([None, (0, 1), (-20, 30), (0, 365), (0, 0), (5, 1_500), (3, 200)])
amounts = st.sampled_from([1, 3_33, 100_00, 333_33, 1_000_00, 0])
sums = st.sampled_from(["0.00", "0.01", "30.00", "99.99", "250.00"])


@dataclass
class Contract:
    amount: Fraction
    ends: date
    use: str = "training"
    related_party: bool = False
    frozen: bool = False
    funds: dict[str, Fraction] = field(default_factory=dict)


@dataclass
class Bought:
    contract: str
    fen: int
    delivered: date
    days: tuple[date, date] | None
    entry: int
    is_void: bool = False

    def parts(self) -> dict[date, Fraction]:
        """Return fen by day, each cut at its smallest part."""
        first, after = self.days or (self.delivered, self.delivered + timedelta(1))
        count = (after - first).days
        until = [floor(Fraction(self.fen * UNIT * n, count)) for n in range(count + 1)]
        shares = (Fraction(until[n + 1] - until[n], UNIT) for n in range(count))
        return {first + timedelta(n): share for n, share in enumerate(shares)}


class Paper:
    """The books on paper: `None` instead of a number stands for a refusal."""

    def __init__(self) -> None:
        self.contracts = {
            "K": Contract(Fraction(900_00), date(2027, 1, 1)),
            "L": Contract(Fraction(500_00), date(2026, 2, 1)),
        }
        self.bought: dict[str, Bought] = {}
        self.issued = dict.fromkeys(YEARS, Fraction(0))
        self.granted = {(name, year): Fraction(0) for name in self.contracts for year in YEARS}

    def live(self, name: str) -> list[Bought]:
        return [each for each in self.bought.values() if each.contract == name and not each.is_void]

    def counts(self, contract: Contract, day: date) -> bool:
        fits = VALID[0] <= day < VALID[1] and date(2024, 12, 20) <= day < contract.ends
        return fits and contract.use == "training" and not contract.related_party

    def eligible(self, name: str) -> dict[int, Fraction]:
        contract, by_year = self.contracts[name], dict.fromkeys(YEARS, Fraction(0))
        for each in self.live(name):
            for day, fen in each.parts().items():
                if self.counts(contract, day):
                    by_year[day.year] += fen
        return by_year

    def entitled(self, name: str) -> dict[int, Fraction]:
        contract, by_year = self.contracts[name], self.eligible(name)
        # Other public money lowers nothing: the policy has no section for it.
        left, support, found = contract.amount, Fraction(floor(RATIO * contract.amount)), {}
        for year in YEARS:
            counted = min(by_year[year], left)
            left -= counted
            found[year] = min(Fraction(floor(RATIO * counted)), support)
            support -= found[year]
        return found

    def cost(self, name: str) -> int:
        return sum(each.fen for each in self.live(name))

    def regrant(self) -> None:
        entitled = {name: self.entitled(name) for name in self.contracts}
        for year in YEARS:
            for name in self.contracts:
                held = self.granted[name, year]
                self.granted[name, year] = min(held, entitled[name][year])
            free = self.issued[year] - self.spent(year)
            for name in self.contracts:
                more = min(entitled[name][year] - self.granted[name, year], free)
                self.granted[name, year] += more
                free -= more

    def spent(self, year: int) -> Fraction:
        return sum((self.granted[name, year] for name in self.contracts), Fraction(0))

    def need(self) -> Fraction:
        """Return what contracts can ever be entitled to: nothing, where none of it can count."""
        counting = (
            each
            for each in self.contracts.values()
            if each.use == "training" and not each.related_party
        )
        return sum((Fraction(floor(RATIO * each.amount)) for each in counting), Fraction(0))


class PurchaseMachine(RuleBasedStateMachine):
    """One ledger and the paper, given the same steps."""

    def __init__(self) -> None:
        super().__init__()
        self.books, self.paper = Books(START), Paper()
        self.replica, self.replayed = State(), 0

    @initialize()
    def begin(self) -> None:
        books = self.books
        books.activate(POLICY)
        books.vendor("szdex", uscc_of(71), PROGRAMME)
        books.enterprise()
        dates = {"starts": "2024-12-20", "signed_on": "2024-12-20"}
        books.shop("K", PROGRAMME, "szdex", amount="900.00", ends="2027-01-01", **dates)
        books.shop("L", PROGRAMME, "szdex", amount="500.00", ends="2026-02-01", **dates)

    @property
    def today(self) -> date:
        return date(2026, 1, 10) + timedelta(days=self.waited)

    waited = 0

    @rule(contract=names, id_=ids, fen=amounts, back=ago, days=lasting)
    def buy(self, contract: str, id_: str, fen: int, back: int, days: Any) -> None:
        delivered = self.today - timedelta(back)
        span = None if days is None else tuple(delivered + timedelta(each) for each in days)
        dates = {} if span is None else {"service_from": span[0], "service_until": span[1]}
        body = purchase(id_, contract, format_money(fen), str(delivered))
        (result,) = self.books.sell(body | {name: str(day) for name, day in dates.items()})
        bought = Bought(contract, fen, delivered, span, len(self.books.entries) - 1)
        expected = self.expected_of(id_, bought, back)
        assert (result.status, getattr(result, "code", "")) == expected
        if result.status == "accepted":
            before = self.paper.entitled(contract)
            self.paper.bought[id_] = bought
            more = sum(self.paper.entitled(contract).values()) - sum(before.values())
            assert result.cost == format_money(fen)
            assert result.entitled == format_money(int(more))

    def expected_of(self, id_: str, bought: Bought, back: int) -> tuple[str, str]:
        """Return the status of a purchase, and why it is refused."""
        known = self.paper.bought.get(id_)
        if known is not None:
            same = (known.contract, known.fen, known.delivered, known.days) == (
                *(bought.contract, bought.fen, bought.delivered, bought.days),
            )
            return ("duplicate" if same else "conflict"), ""
        if bought.contract not in self.paper.contracts:
            return "rejected", "unknown_contract"
        length = 1 if bought.days is None else (bought.days[1] - bought.days[0]).days
        broken = {
            "bad_amount": bought.fen == 0,
            "bad_interval": length == 0,
            "too_long": length > 1_461,
            "in_future": back < 0,
            # Its age begins with the end of the day; it is noon.
            "too_late": back - 1 >= LATE_DAYS,
            "contract_frozen": self.paper.contracts[bought.contract].frozen,
        }
        code = next((code for code, is_broken in broken.items() if is_broken), "")
        return ("rejected" if code else "accepted"), code

    @rule(id_=ids, by_authority=st.booleans())
    def take_back(self, id_: str, by_authority: bool) -> None:
        known = self.paper.bought.get(id_)
        if by_authority:
            self.ask(known is not None and not known.is_void, self.books.void, id_, "szdex")
        else:
            (result,) = self.books.sell(voids=[void(id_)])
            if known is None or known.is_void:
                assert result.code == ("unknown_record" if known is None else "already_voided")
                return
            is_old = (self.today - known.delivered).days - 1 >= LATE_DAYS
            assert result.status == ("rejected" if is_old else "accepted")
            if is_old:
                return
        if known is not None:
            known.is_void = True

    @rule(contract=st.sampled_from("KL"), change=st.sampled_from(
        [{"amount": "300.00"}, {"amount": "900.00"}, {"use": "inference"}, {"use": "training"},
         {"related_party": True}, {"related_party": False}, {"ends": "2026-06-01"}]
    ))  # fmt: skip
    def amend(self, contract: str, change: dict[str, Any]) -> None:
        self.books.correct(contract, **change)
        held = self.paper.contracts[contract]
        for name, value in change.items():
            match name:
                case "amount":
                    held.amount = Fraction(value) * 100
                case "ends":
                    held.ends = date.fromisoformat(value)
                case _:
                    setattr(held, name, value)

    @rule(year=st.sampled_from(YEARS), amount=sums)
    def issue(self, year: int, amount: str) -> None:
        fen, issued = Fraction(amount) * 100, self.paper.issued
        fits = fen > 0 and issued[year] + fen <= self.paper.need()
        self.ask(fits, self.books.issue, year, amount, programme=PROGRAMME)
        if fits:
            issued[year] += fen

    @rule(year=st.sampled_from(YEARS), amount=sums)
    def withdraw(self, year: int, amount: str) -> None:
        fen = Fraction(amount) * 100
        fits = 0 < fen <= self.paper.issued[year] - self.paper.spent(year)
        self.ask(fits, self.books.withdraw, year, amount, programme=PROGRAMME)
        if fits:
            self.paper.issued[year] -= fen

    @rule(contract=st.sampled_from("KL"))
    def freeze_or_not(self, contract: str) -> None:
        held = self.paper.contracts[contract]
        (self.books.unfreeze if held.frozen else self.books.freeze)(contract)
        held.frozen = not held.frozen

    @rule(days=st.sampled_from([1, 10]))
    def wait(self, days: int) -> None:
        # Time in which a contract is frozen makes nothing older: then the clock stands.
        frozen = any(each.frozen for each in self.paper.contracts.values())
        if not frozen and self.waited < 150:  # within the claims of 2025
            self.waited += days
            self.books.at(self.books.now + days * 86_400 * 1_000_000)

    def ask(self, fits: bool, command: Any, *arguments: Any, **names: Any) -> None:
        """Give a command that must be done, or refused."""
        try:
            command(*arguments, **names)
        except Problem:
            assert not fits
        else:
            assert fits

    @invariant()
    def each_figure_is_that_on_paper(self) -> None:
        if not self.books.state.contracts:
            return
        self.paper.regrant()
        for name in self.paper.contracts:
            assert self.books.cost(name) == self.paper.cost(name)
            entitled, eligible = self.paper.entitled(name), self.paper.eligible(name)
            for year in YEARS:
                assert Fraction(self.books.eligible(name, year), UNIT) == eligible[year]
                share = self.books.share(name, year)
                assert share.entitled == entitled[year]
                assert share.granted == self.paper.granted[name, year]
        for entry in self.books.entries[self.replayed :]:
            evolve(self.replica, entry)
        self.replayed = len(self.books.entries)
        assert figures(self.replica) == figures(self.books.state)

    def teardown(self) -> None:
        if self.books.state.contracts:
            *_, accounts = balances(self.books.entries)
            assert accounts == expected_balances(self.books.state)
            summed(told(self.books))


TestPurchases = bounded(PurchaseMachine, examples=120, steps=40)
