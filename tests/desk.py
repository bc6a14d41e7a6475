"""A desk at which claims take their steps, and what it refuses."""

from typing import Any

import pytest

from meter.rules import commands
from meter.rules.claim_book import Claim
from meter.rules.items import debt_of, grounds_of, known_item
from meter.values.problems import Problem
from meter.values.units import format_money
from tests.books import DEVICE, Books, balances, figures, record
from tests.papers import DAY, DIGEST, NUMBER, PATIENT, Office, day_after, day_of, invoice, payment

A_YEAR_LATER = "2026-02-02T12:00:00+08:00"
PASSING = ("size", "last_at", "people")  # what a proposal changes too


class Desk:
    """Books with contracts that are used and granted, and the steps of claims by four persons."""

    def __init__(self, policy: str = PATIENT, **contracts: str) -> None:
        """Register contracts, each used to its whole amount, at 1.00 an hour and 50 %."""
        self.books = Office("2025-06-01T12:00:00+08:00")
        self.books.activate(policy)
        self.books.provider()
        self.books.key()
        self.books.enterprise()
        for name, amount in contracts.items():
            self.books.contract(name, amount="1000000.00", prices={DEVICE: "1.00"})
            self.use(name, amount)
        total = sum(self.books.share(name, 2025).entitled for name in contracts)
        self.books.issue(2025, format_money(total))
        self.books.at(A_YEAR_LATER)

    def use(self, contract: str, amount: str, year: int = 2025) -> str:
        """Post a record that costs so much, and return its id."""
        begin = f"{year}-05-20T08:00:00+08:00"
        end = f"{year}-05-20T09:00:00+08:00"
        cards = int(amount.replace(".", "")) * 10
        id_ = f"{contract}-{len(self.books.entries)}"
        (result,) = self.books.post([record(id_, contract, begin, end, cards)])
        assert result.status == "accepted"
        return id_

    def enter(self, id_: str = "C1", item: str = "A", year: int = 2025, **changes: Any) -> int:
        body = {
            "id": id_,
            "item": item,
            "year": year,
            "invoices": [invoice()],
            "payments": [payment()],
            "delivery": DIGEST,
        } | changes
        body = {name: value for name, value in body.items() if value is not None}
        return self.books.ask(commands.EnterClaim, by="maker", **body)

    def check(self, claim: str = "C1", by: str = "checker") -> int:
        return self.books.ask(commands.CheckClaim, by=by, claim=claim)

    def approve(self, amount: str, claim: str = "C1", by: str = "approver", **more: Any) -> int:
        return self.books.ask(commands.ApproveClaim, by=by, claim=claim, amount=amount, **more)

    def notice(self, claim: str = "C1", starts: str = "", days: int = 7) -> int:
        starts = starts or self.today()
        ends = day_after(starts, days)
        body = {"claim": claim, "starts": starts, "ends": ends, "url": "https://city.test/n/1"}
        return self.books.ask(commands.NoticeClaim, **body)

    def order(self, claim: str = "C1", by: str = "payer") -> int:
        return self.books.ask(commands.OrderClaim, by=by, claim=claim)

    def pay(self, claim: str = "C1") -> int:
        body = {"claim": claim, "bank_reference": "city-1", "paid_on": self.today()}
        return self.books.ask(commands.PayClaim, **body)

    def claimed(self, amount: str, claim: str = "C1", **papers: Any) -> None:
        """Take a claim from its papers to the order."""
        self.enter(claim, **papers)
        self.check(claim)
        self.approve(amount, claim)
        self.notice(claim)
        self.books.at(self.books.now + 8 * DAY)
        self.order(claim)

    def today(self) -> str:
        return day_of(self.books)

    def end(self, outcome: str, claim: str = "C1") -> int:
        return self.books.ask(commands.EndClaim, claim=claim, outcome=outcome)

    def revoke(self, claim: str = "C1") -> int:
        return self.books.ask(commands.RevokeClaim, claim=claim, reason="a mistake")

    def object(self, claim: str = "C1") -> int:
        return self.books.ask(commands.EnterObjection, claim=claim, sha256=DIGEST)

    def resolve(self, objection: int, claim: str = "C1") -> int:
        body = {
            "claim": claim,
            "objection": str(objection),
            "outcome": "dismissed",
            "reason": "seen",
        }
        return self.books.ask(commands.ResolveObjection, **body)

    def give_back(self, claim: str = "C1") -> int:
        body = {"claim": claim, "returned_on": self.today(), "reason": "a wrong account"}
        return self.books.ask(commands.ReturnPayment, **body)

    def recover(
        self,
        amount: str,
        item: str = "A",
        claim: str | None = None,
        bank_reference: str | None = "",
    ) -> int:
        """Recover by bank, or out of the cash of a claim."""
        if bank_reference == "":
            bank_reference = "city-2" if claim is None else None
        how = {"claim": claim, "bank_reference": bank_reference}
        given = {name: value for name, value in how.items() if value is not None}
        return self.books.ask(commands.RecoverDebt, item=item, year=2025, amount=amount, **given)

    def red(self, amount: str, refunded: str = "0.00", **changes: Any) -> int:
        body = {
            "number": NUMBER,
            "red_number": "7" * 20,
            "confirmation": "red-1",
            "year": 2025,
            "amount": amount,
            "refunded": refunded,
            "issued_on": "2026-01-31",
        } | changes
        return self.books.ask(commands.EnterRedInvoice, **body)

    def forfeit(self, amount: str) -> int:
        body = {"item": "A", "year": 2025, "amount": amount, "reason": "a breach"}
        return self.books.ask(commands.ForfeitGrant, **body)

    def debt(self, item: str = "A", year: int = 2025) -> tuple[int, int]:
        """Return the limit of what may be paid, and what was paid beyond it, in fen."""
        state = self.books.state
        limit = grounds_of(state, known_item(state, item), year).limit
        return limit, debt_of(state, known_item(state, item), year)

    def claim(self, name: str = "C1") -> Claim:
        claim = self.books.state.claims.claim(name)
        assert claim is not None
        return claim

    def money(self, item: str = "A", year: int = 2025) -> tuple[str, str, str]:
        """Return claims, payable and paid of an item and year, as yuan."""
        (*_, held) = balances(self.books.entries)
        names = ("claims", "payable", "paid")
        return tuple(format_money(held.get(f"{name}:{item}:{year}", 0)) for name in names)


def refusal(ask: Any, *arguments: Any, **changes: Any) -> Problem:
    """Ask and be refused; nothing may change but the proposal of what needs two persons."""
    books = ask.__self__.books
    before = told(books)
    with pytest.raises(Problem) as refused:
        ask(*arguments, **changes)
    assert told(books) == before
    return refused.value


def told(books: Books) -> tuple[dict[str, Any], list[Any]]:
    """Return all that books say, without proposals."""
    state = {name: each for name, each in figures(books.state).items() if name not in PASSING}
    made = [each for each in books.entries if each.kind not in ("proposal", "proposal_end")]
    return state, made
