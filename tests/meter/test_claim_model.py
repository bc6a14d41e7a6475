"""Any history of claims, payments and recoveries, against a model that is slow and obvious.

The model keeps each claim as a person would on paper, in fractions of a yuan, and computes limits
and debts from it anew. It takes only the grants from the books. Each answer, each code of a refusal
and every account is compared; at the end the independent sums must find no fault either.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, get_args

import pytest

from meter.rules import commands
from meter.rules.entries import ClaimEnded, ClaimEntry
from meter.rules.items import debt_of, known_item
from meter.values.problems import Problem
from meter.values.units import parse_instant
from tests.books import ALPHA, BETA, DEVICE, PROVIDER_USCC, balances, record, uscc_of
from tests.papers import DAY, DIGEST, PATIENT, Office, day_after, day_of
from tests.summing import summed

GAMMA = uscc_of(3)
ITEMS = {"A": ALPHA, "B": ALPHA, "C": BETA}
YEARS = (2025, 2026)
NUMBERS = [f"{number:020d}" for number in range(30)]
REFERENCES = [f"P-{number}" for number in range(30)]
BANK = "bank"
OPEN = ("entered", "checked", "approved", "noticed")
BOUND = ("approved", "noticed", "ordered", "paid")


# Claims for 2025 close on 2026-07-01.
CLOSING = parse_instant("2026-06-25T00:00:00+08:00") * 1_000_000


class Refused(Exception):  # noqa: N818 - it is an answer
    """The model's `Problem`: its code is its text."""


@dataclass
class Paper:
    """An invoice or a payment of a claim, in fen."""

    name: str
    amount: int
    part: int
    allowed: int


@dataclass
class Claim:
    """A claim on paper."""

    item: str
    year: int
    invoices: list[Paper]
    payments: list[Paper]
    persons: list[str]
    state: str = "entered"
    approved: int = 0
    cash: int = 0
    payee: str = ""
    until: int = 0
    objections: dict[int, bool] = field(default_factory=dict)


class Model:
    """The claims, and what they come to; `granted` are the grants, which the books know."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self.granted: dict[tuple[str, int], int] = {}
        self.forfeited: dict[tuple[str, int], int] = {}
        self.taken_back: dict[tuple[str, int], int] = {}
        self.red: list[tuple[str, str, int, int, int]] = []  # invoice, item, year, amount, refunded
        self.by_bank = 0
        self.set_off_fen = 0
        self.successors: dict[str, str] = {}

    def last(self, code: str) -> str:
        while code in self.successors:
            code = self.successors[code]
        return code

    def firm(self, item: str) -> str:
        """Return who is paid for an item."""
        return self.last(ITEMS[item])

    def of(self, item: str, year: int, *states: str) -> list[Claim]:
        """Return the claims of an item and year in some states."""
        return [
            each
            for each in self.claims.values()
            if (each.item, each.year) == (item, year) and each.state in states
        ]

    def limit(self, item: str, year: int, also: Claim | None = None) -> int:
        claims = self.of(item, year, "ordered", "paid") + ([also] if also else [])
        invoiced = paid = Fraction(0)
        for name in NUMBERS:
            parts = [
                each.allowed for claim in claims for each in claim.invoices if each.name == name
            ]
            reds = [red for red in self.red if red[:3] == (name, item, year) and parts]
            invoiced += max(0, sum(parts) - sum(red[3] for red in reds))
            paid -= sum(red[4] for red in reds)
        paid += sum(each.allowed for claim in claims for each in claim.payments)
        left = self.granted.get((item, year), 0) - self.forfeited.get((item, year), 0)
        half = [invoiced // 2, max(Fraction(0), paid) // 2]
        return max(0, min(left, *map(int, half)))

    def approved(self, item: str, year: int) -> int:
        """Return what was approved and not taken back."""
        total = sum(each.approved for each in self.of(item, year, *BOUND))
        return total - self.taken_back.get((item, year), 0)

    def payable(self, item: str, year: int) -> int:
        return sum(each.approved for each in self.of(item, year, "approved", "noticed"))

    def paid(self, item: str, year: int) -> int:
        return self.approved(item, year) - self.payable(item, year)

    def debt(self, item: str, year: int) -> int:
        return max(0, self.paid(item, year) - self.limit(item, year))

    def debts(self, firm: str) -> list[tuple[str, int]]:
        """Return the accounts of a firm, by year and then in the order of its contracts."""
        return [(item, year) for year in YEARS for item in ITEMS if self.firm(item) == firm]

    def claim(self, name: str, *states: str) -> Claim:
        if name not in self.claims:
            raise Refused("unknown_claim")
        if self.claims[name].state not in states:
            raise Refused("wrong_state")
        return self.claims[name]

    def enter(self, name: str, claim: Claim, buyer: str) -> None:
        if self.of(claim.item, claim.year, *OPEN):
            raise Refused("claim_open")
        if self.last(buyer) != self.firm(claim.item):
            raise Refused("invoice_party")
        self.claims[name] = claim

    def check(self, name: str, person: str) -> None:
        claim = self.claim(name, "entered")
        if person in claim.persons:
            raise Refused("same_person")
        claim.persons.append(person)
        claim.state = "checked"

    def approve(self, name: str, person: str, amount: int, cut: dict[str, int]) -> None:
        claim = self.claim(name, "checked")
        if person in claim.persons:
            raise Refused("same_person")
        papers = claim.invoices + claim.payments
        before = self.debt(claim.item, claim.year)
        for paper in papers:
            paper.allowed = paper.part - cut.get(paper.name, 0)
        try:
            self.check_papers(claim)
            self.check_amount(claim, amount, before)
        except Refused:
            for paper in papers:
                paper.allowed = paper.part
            raise
        claim.persons.append(person)
        claim.state, claim.approved = "approved", amount

    def check_amount(self, claim: Claim, amount: int, debt_before: int) -> None:
        limit = self.limit(claim.item, claim.year, claim)
        left = limit - self.approved(claim.item, claim.year)
        debt = max(0, self.paid(claim.item, claim.year) - limit)
        if (amount > 0 >= left) or (amount == 0 and debt >= debt_before):
            raise Refused("nothing_payable")
        if amount > max(0, left):
            raise Refused("above_payable")

    def check_papers(self, claim: Claim) -> None:
        for kind, code in (("invoices", "invoice_used"), ("payments", "reference_used")):
            for paper in getattr(claim, kind):
                total = paper.allowed
                for other in self.claims.values():
                    if other.state not in BOUND or not paper.allowed:
                        continue
                    for theirs in getattr(other, kind):
                        if theirs.name != paper.name or not theirs.allowed:
                            continue
                        total += theirs.allowed
                        alike = other.item == claim.item and theirs.amount == paper.amount
                        if not alike or total > paper.amount:
                            raise Refused(code)

    def order(self, name: str, person: str, now: int) -> None:
        claim = self.claim(name, "noticed")
        if person == claim.persons[2]:
            raise Refused("same_person")
        if now < claim.until:
            raise Refused("notice_running")
        if not all(claim.objections.values()):
            raise Refused("objection_open")
        claim.state = "ordered"  # its papers and its money count from here on
        self.set_off(claim, claim.approved)

    def set_off(self, claim: Claim, cash: int) -> None:
        claim.payee = self.firm(claim.item)
        debts = {each: self.debt(*each) for each in self.debts(claim.payee)}
        for account, owed in debts.items():
            part = min(cash, owed)
            self.set_off_fen += part
            self.taken_back[account] = self.taken_back.get(account, 0) + part
            cash -= part
        claim.cash, claim.state = cash, "ordered" if cash else "paid"

    def recover(self, account: tuple[str, int], amount: int, name: str | None) -> None:
        if amount > self.debt(*account):
            raise Refused("above_debt")
        if name is None:
            self.by_bank += amount
        else:
            claim = self.claim(name, "ordered")
            if self.firm(claim.item) != self.firm(account[0]):
                raise Refused("unknown_claim")
            if amount > claim.cash:
                raise Refused("above_payable")
            claim.cash -= amount
            claim.state = "ordered" if claim.cash else "paid"
        self.taken_back[account] = self.taken_back.get(account, 0) + amount

    def enter_red(self, number: str, year: int, amount: int, refunded: int) -> None:
        bound = [
            (each.item, paper.allowed)
            for each in self.claims.values()
            if each.year == year and each.state in BOUND
            for paper in each.invoices
            if paper.name == number
        ]
        if not bound:
            raise Refused("unknown_invoice")
        item = bound[0][0]
        known = sum(red[3] for red in self.red if red[:3] == (number, item, year))
        if known + amount > sum(allowed for _, allowed in bound):
            raise Refused("above_invoice")
        whole = next(
            paper.amount
            for each in self.claims.values()
            if (each.item, each.year) == (item, year) and each.state in BOUND
            for paper in each.invoices
            if paper.name == number
        )
        before = sum(red[4] for red in self.red if red[:3] == (number, item, year))
        if before + refunded > whole:
            raise Refused("above_invoice")
        self.red.append((number, item, year, amount, refunded))


def yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


class History:
    """A random history on real books beside the model; each step asks both."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.books = Office("2026-05-20T12:00:00+08:00")
        self.books.activate(PATIENT)
        self.books.provider()
        self.books.key()
        self.books.enterprise()
        self.books.enterprise(BETA)
        self.books.enterprise(GAMMA)
        for name, firm in ITEMS.items():
            prices = {DEVICE: "1.00"}
            self.books.contract(name, amount="900000.00", prices=prices, enterprise=firm)
        for year in YEARS:
            self.books.issue(year, "500.00", ALPHA)
            self.books.issue(year, "200.00", BETA)
        self.model = Model()
        self.used: list[str] = []
        self.names = iter(range(10_000))
        self.refusals: set[str] = set()

    def ask_both(
        self, theirs: Callable[[], Any], kind: type[commands.Command], **body: Any
    ) -> int | None:
        """Ask the model and the books: both do it, or both refuse with one code."""
        refused, problem, number = "", "", None
        try:
            theirs()
        except Refused as refusal:
            refused = str(refusal)
        try:
            number = self.books.ask(kind, **body)
        except Problem as found:
            problem = found.code
        assert problem == refused, (kind, body)
        self.refusals.add(problem)
        return number

    # Draws

    def item(self) -> str:
        return self.chance.choice([*ITEMS])

    def year(self) -> int:
        return self.chance.choice(YEARS)

    def fen(self, most: int = 40_000) -> int:
        return self.chance.choice([self.chance.randint(1, most), 100 * self.chance.randint(1, 300)])

    def claim(self, *states: str) -> str:
        """Draw the id of a claim, mostly of one in some states."""
        fit = [name for name, each in self.model.claims.items() if each.state in states]
        if fit and self.chance.random() < 0.9:
            return self.chance.choice(fit)
        return self.chance.choice([*self.model.claims, "none"])

    def person(self, right: str) -> str:
        others = ["maker", "checker", "approver", "payer"]
        return right if self.chance.random() < 0.9 else self.chance.choice(others)

    # Steps

    def use(self) -> None:
        start = parse_instant(f"{self.year()}-04-30T08:00:00+08:00")
        id_, cards = f"r{next(self.names)}", self.chance.randint(1, 400)
        self.books.post([record(id_, self.item(), start, start + 3_600, cards * 1_000)])
        self.used.append(id_)
        self.learn()

    def void(self) -> None:
        if self.used:
            self.books.void(self.used.pop(self.chance.randrange(len(self.used))))
            self.learn()

    def learn(self) -> None:
        self.model.granted = {
            (item, year): self.books.share(item, year).granted for item in ITEMS for year in YEARS
        }

    def enter(self) -> None:
        name, item, year = f"C{next(self.names)}", self.item(), self.year()
        more = self.chance.choice([0, 10_000])
        numbers, references = (
            self.chance.sample(names, self.chance.randint(1, 3)) for names in (NUMBERS, REFERENCES)
        )
        claim = Claim(
            item,
            year,
            [self.paper(each, more) for each in numbers],
            [self.paper(f"{BANK}:{each}", more) for each in references],
            ["maker"],
        )
        codes = [*[ITEMS[item]] * 6, ALPHA, BETA, GAMMA]
        buyer = self.chance.choice(codes)
        self.ask_both(
            lambda: self.model.enter(name, claim, buyer),
            commands.EnterClaim,
            by="maker",
            id=name,
            item=item,
            year=year,
            invoices=[
                {
                    "number": each.name,
                    "issued_on": "2026-01-01",
                    "seller": PROVIDER_USCC,
                    "buyer": buyer,
                    "amount": yuan(each.amount),
                    "tax": "0.00",
                    "part": yuan(each.part),
                    "sha256": DIGEST,
                }
                for each in claim.invoices
            ],
            payments=[
                {
                    "bank": BANK,
                    "reference": each.name.removeprefix(f"{BANK}:"),
                    "paid_on": "2026-01-01",
                    "amount": yuan(each.amount),
                    "part": yuan(each.part),
                }
                for each in claim.payments
            ],
            delivery=DIGEST,
        )

    def paper(self, name: str, more: int) -> Paper:
        """Draw a paper whose amount is so much more than its part."""
        part = self.fen()
        return Paper(name, part + more, part, part)

    def fund(self) -> None:
        """Set other public money for a contract, of which half is the support of its amount."""
        item, amount = self.item(), self.chance.choice(["0.00", "449900.00", "449990.01"])
        self.books.fund_contract(item, amount, reference=self.chance.choice("12"))
        self.learn()

    def succeed(self) -> None:
        """Let one code after the other be succeeded, seldom."""
        codes = self.chance.choice([(BETA, ALPHA), (BETA, GAMMA), (ALPHA, GAMMA), (GAMMA, ALPHA)])
        if self.chance.random() < 0.5:
            return
        old, new = codes

        def theirs() -> None:
            if self.model.successors.get(old) == new:
                return
            if old in self.model.successors or self.model.last(new) == old:
                raise Refused("succeeded")
            self.model.successors[old] = new

        day = {"effective": "2026-01-01", "document": "公告"}
        self.ask_both(theirs, commands.SucceedEnterprise, uscc=old, successor=new, **day)

    def check(self) -> None:
        name, person = self.claim("entered"), self.person("checker")
        self.ask_both(
            lambda: self.model.check(name, person), commands.CheckClaim, by=person, claim=name
        )

    def approve(self) -> None:
        name, person, amount = self.claim("checked"), self.person("approver"), self.fen()
        claim, disallowed = self.model.claims.get(name), {}
        if claim is not None:
            papers = claim.invoices + claim.payments
            if self.chance.random() < 0.2:
                paper = self.chance.choice(papers)
                disallowed = {paper.name: self.chance.randint(1, paper.part)}
            if self.chance.random() < 0.8:
                limit = self.model.limit(claim.item, claim.year, claim)
                left = max(0, limit - self.model.approved(claim.item, claim.year))
                amount = left // self.chance.choice([1, 1, 2])
        self.ask_both(
            lambda: self.model.approve(name, person, amount, disallowed),
            commands.ApproveClaim,
            by=person,
            claim=name,
            amount=yuan(amount),
            disallowed=[[paper, yuan(fen)] for paper, fen in disallowed.items()],
        )

    def notice(self) -> None:
        name = self.claim("approved")
        day = (self.books.now // 1_000_000 + 8 * 3_600) // 86_400
        starts = day_of(self.books)
        ends = day_after(starts, 7)

        def theirs() -> None:
            claim = self.model.claim(name, "approved")
            claim.state, claim.until = "noticed", (day + 7) * DAY - DAY // 3

        body = {"starts": starts, "ends": ends, "url": "https://city.test/1"}
        self.ask_both(theirs, commands.NoticeClaim, claim=name, **body)

    def object(self) -> None:
        name = self.claim("noticed")
        number = self.ask_both(
            lambda: self.model.claim(name, "noticed"),
            commands.EnterObjection,
            claim=name,
            sha256=DIGEST,
        )
        if number is not None:
            self.model.claims[name].objections[number] = False

    def resolve(self) -> None:
        name = self.claim("noticed")
        known = self.model.claims[name].objections if name in self.model.claims else {}
        number = next((each for each, over in known.items() if not over), 0)

        def theirs() -> None:
            claim = self.model.claim(name, "noticed")
            if number not in claim.objections:
                raise Refused("unknown_objection")
            claim.objections[number] = True

        body = {"objection": str(number), "outcome": "dismissed", "reason": "seen"}
        self.ask_both(theirs, commands.ResolveObjection, claim=name, **body)

    def revoke(self) -> None:
        name = self.claim("approved", "noticed")

        def theirs() -> None:
            self.model.claim(name, "approved", "noticed").state = "ended"

        self.ask_both(theirs, commands.RevokeClaim, claim=name, reason="a mistake")

    def wait(self) -> None:
        if self.books.now < CLOSING:
            self.books.at(self.books.now + self.chance.choice([1, 3]) * DAY)

    def order(self) -> None:
        name, person, now = self.claim("noticed"), self.person("payer"), self.books.now
        self.ask_both(
            lambda: self.model.order(name, person, now), commands.OrderClaim, by=person, claim=name
        )

    def pay(self) -> None:
        name = self.claim("ordered")

        def theirs() -> None:
            self.model.claim(name, "ordered").state = "paid"

        body = {"bank_reference": "city", "paid_on": "2026-05-01"}
        self.ask_both(theirs, commands.PayClaim, claim=name, **body)

    def give_back(self) -> None:
        name = self.claim("paid")

        def theirs() -> None:
            claim = self.model.claim(name, "paid")
            if claim.cash == 0:
                raise Refused("wrong_state")
            self.model.set_off(claim, claim.cash)

        body = {"returned_on": "2026-05-01", "reason": "a wrong account"}
        self.ask_both(theirs, commands.ReturnPayment, claim=name, **body)

    def recover(self) -> None:
        accounts = [(item, year) for item in ITEMS for year in YEARS]
        owing = [each for each in accounts if self.model.debt(*each)]
        item, year = self.chance.choice(owing or accounts)
        amount = max(1, self.model.debt(item, year) // self.chance.choice([1, 2]))
        amount += self.chance.choice([0, 0, 1])
        name = self.claim("ordered") if self.chance.random() < 0.5 else None
        how = {"bank_reference": "city-2"} if name is None else {"claim": name}
        self.ask_both(
            lambda: self.model.recover((item, year), amount, name),
            commands.RecoverDebt,
            item=item,
            year=year,
            amount=yuan(amount),
            **how,
        )

    def red(self) -> None:
        number, year = self.chance.choice(self.bound() or NUMBERS), self.year()
        amount, refunded = self.fen(20_000), self.chance.choice([0, self.fen()])
        self.ask_both(
            lambda: self.model.enter_red(number, year, amount, refunded),
            commands.EnterRedInvoice,
            number=number,
            red_number=f"{len(self.books.entries):020d}",
            confirmation="red-1",
            year=year,
            amount=yuan(amount),
            refunded=yuan(refunded),
            issued_on="2026-05-01",
        )

    def bound(self) -> list[str]:
        """Return the numbers of invoices that are bound."""
        claims = [each for each in self.model.claims.values() if each.state in BOUND]
        return [paper.name for claim in claims for paper in claim.invoices]

    def forfeit(self) -> None:
        item, year = self.item(), self.year()
        amount = self.chance.choice([0, self.fen(20_000)])

        def theirs() -> None:
            if amount > self.model.granted.get((item, year), 0):
                raise Refused("above_granted")
            self.model.forfeited[item, year] = amount

        body = {"item": item, "year": year, "amount": yuan(amount), "reason": "a breach"}
        self.ask_both(theirs, commands.ForfeitGrant, **body)

    def compare(self) -> None:
        """Compare the accounts and claims, and what must hold after every entry."""
        (*_, held) = balances(self.books.entries)
        state = self.books.state
        for item in ITEMS:
            for year in YEARS:
                name = f"{item}:{year}"
                kinds = ("claims", "payable", "paid")
                ours = [held.get(f"{kind}:{name}", 0) for kind in kinds]
                approved, payable = self.model.approved(item, year), self.model.payable(item, year)
                assert ours == [-approved, payable, approved - payable]
                paid, limit = ours[2], self.model.limit(item, year)
                owed = debt_of(state, known_item(state, item), year)
                granted = self.model.granted.get((item, year), 0)
                assert owed == self.model.debt(item, year)
                assert paid - owed == min(paid, limit) <= granted
                assert held.get(f"accrued:{name}", 0) == granted
        cash = sum(each.cash for each in self.model.claims.values())
        total = sum(fen for account, fen in held.items() if account.startswith("paid:"))
        assert cash - self.model.by_bank == total
        for name, claim in self.model.claims.items():
            theirs = self.books.state.claims.claim(name)
            assert theirs is not None
            ours = claim.state, claim.cash, claim.payee
            assert (theirs.state, theirs.cash, theirs.payee) == ours


# What usually happens, and what goes wrong, by its weight.
STEPS = {
    **dict.fromkeys(("enter", "check", "approve", "notice", "wait", "order"), 8),
    **dict.fromkeys(("use", "void", "recover", "resolve"), 4),
    **dict.fromkeys(("pay", "red", "forfeit", "fund", "succeed"), 2),
    **dict.fromkeys(("object", "revoke", "give_back"), 1),
}
REFUSALS = {
    *("unknown_claim", "claim_open", "wrong_state", "same_person", "invoice_used"),
    *("reference_used", "nothing_payable", "above_payable", "notice_running", "objection_open"),
    *("unknown_objection", "above_debt", "unknown_invoice", "above_invoice", "above_granted"),
    *("succeeded", "invoice_party"),
}


def lived(seed: int) -> History:
    """Return a history of 240 steps, each compared, whose sums are right."""
    history = History(seed)
    for _ in range(12):
        history.use()
    for step in history.chance.choices([*STEPS], [*STEPS.values()], k=240):
        getattr(history, step)()
        history.compare()
    summed(history.books)
    return history


@pytest.mark.parametrize("seed", range(16))
def test_any_history_of_claims_is_that_of_the_model(seed):
    lived(seed)


def test_such_histories_come_to_every_entry_and_every_refusal():
    histories = [lived(seed) for seed in range(100, 112)]
    entries = {type(entry) for history in histories for entry in history.books.entries}
    assert set(get_args(ClaimEntry)) - {ClaimEnded} <= entries
    assert {code for history in histories for code in history.refusals} - {""} == REFUSALS
    assert any(history.model.by_bank for history in histories)
    assert any(history.model.set_off_fen for history in histories)
