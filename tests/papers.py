"""Claims for tests: papers, four persons, and one claim that takes every step.

    office = Office("2025-06-01T12:00:00+08:00")
    office.ask(commands.EnterClaim, id="C1", item="A", year=2025, **papers())

Invoices and payments are of 1,000,000.00, from the provider `pcl` to ALPHA.
"""

import json
from datetime import date, timedelta
from typing import Any

from meter.rules import commands
from meter.rules.kinds.table import BY_COMMAND
from meter.rules.two_persons import needs_two
from meter.values.problems import Problem
from meter.values.strict import decode_request
from tests.books import ALPHA, PROVIDER_USCC, SHIPPED, Books

DIGEST = "0f" * 32
NUMBER = "24442000000123456789"
DAY = 86_400_000_000  # microseconds

# The shipped rules, for records of any age.
PATIENT = SHIPPED.replace("days = 35", "days = 3660")

Body = dict[str, Any]


def invoice(number: str = NUMBER, amount: str = "1000000.00", part: str = "", **more: Any) -> Body:
    return {
        "number": number,
        "issued_on": "2025-12-30",
        "seller": PROVIDER_USCC,
        "buyer": ALPHA,
        "amount": amount,
        "tax": "0.00",
        "part": part or amount,
        "sha256": DIGEST,
    } | more


def payment(reference: str = "P-1", amount: str = "1000000.00", part: str = "") -> Body:
    return {
        "bank": "102584000002",
        "reference": reference,
        "paid_on": "2025-12-31",
        "amount": amount,
        "part": part or amount,
    }


def papers(number: str = NUMBER, reference: str = "P-1", day: str = "2025-12-31") -> Body:
    """Return the papers that the shipped policy asks for, of a day."""
    return {
        "invoices": [invoice(number, issued_on=day)],
        "payments": [payment(reference) | {"paid_on": day}],
        "delivery": DIGEST,
    }


class Office(Books):
    """Books of four persons: what needs two of them is proposed by one, confirmed by another."""

    def __init__(self, now: str) -> None:
        super().__init__(now, persons=("maker", "checker", "approver", "payer"))

    def ask(self, kind: type[commands.Command], /, by: str = "maker", **body: Any) -> int:
        names = {"starts": "from", "ends": "until", "applicant": "kind"}
        body = {names.get(name, name): value for name, value in body.items()}
        command = decode_request(json.dumps(body).encode(), kind, {})
        if not needs_two(self.state.genesis, command):
            return self.do(command, f"{by}-1")
        proposal = self.propose(BY_COMMAND[kind].name, "maker-1", **body)
        try:
            return self.confirm(proposal, "checker-1")
        except Problem:
            self.end_proposal(proposal, "maker-1")
            raise


def day_after(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days)).isoformat()


def take_every_step(books: Books, item: str, year: int) -> None:
    """Take every step that claims for an item have; one person does, in a trial ledger.

    Of its grant, 10.00 are approved and 1.00 is forfeited; the year is that of the books' clock.
    """
    day = day_of(books)

    def enter(name: str, number: str) -> None:
        body = {"id": name, "item": item, "year": year} | papers(number, name, day)
        books.ask(commands.EnterClaim, **body)

    def approve(name: str) -> None:
        books.ask(commands.CheckClaim, claim=name)
        disallowed = [[f"102584000002:{name}", "1.00"]]
        books.ask(commands.ApproveClaim, claim=name, amount="10.00", disallowed=disallowed)

    enter("C1", "1" * 20)
    books.ask(commands.EndClaim, claim="C1", outcome="returned", reason="a page is missing")
    enter("C2", "2" * 20)
    approve("C2")
    books.ask(commands.RevokeClaim, claim="C2", reason="a mistake")
    enter("C3", "3" * 20)
    approve("C3")
    notice = {"starts": day, "ends": day_after(day, 7), "url": "https://city.test/1"}
    books.ask(commands.NoticeClaim, claim="C3", **notice)
    objection = books.ask(commands.EnterObjection, claim="C3", sha256=DIGEST)
    outcome = {"outcome": "dismissed", "reason": "seen"}
    books.ask(commands.ResolveObjection, claim="C3", objection=str(objection), **outcome)
    books.at(books.now + 8 * DAY)
    books.ask(commands.OrderClaim, claim="C3")
    for _ in range(2):
        books.ask(commands.PayClaim, claim="C3", bank_reference="city-1", paid_on=day)
        returned = {"returned_on": day, "reason": "a wrong account"}
        books.ask(commands.ReturnPayment, claim="C3", **returned)
    red = {"red_number": "4" * 20, "confirmation": "red-1", "issued_on": day}
    fen = {"year": year, "amount": "999990.00", "refunded": "0.00"}
    books.ask(commands.EnterRedInvoice, number="3" * 20, **red, **fen)
    owed = {"item": item, "year": year, "amount": "1.00"}
    books.ask(commands.RecoverDebt, **owed, bank_reference="city-2")
    books.ask(commands.RecoverDebt, **owed, claim="C3")
    books.ask(commands.ForfeitGrant, **owed, reason="a breach")


def end_year(books: Books, year: int) -> None:
    """Issue a yuan for a year, let it expire when claims are over, and close the year."""
    books.issue(year, "1.00")
    books.at(f"{year + 1}-07-01T00:00:00+08:00")
    books.expire(year)
    books.close(year)


def day_of(books: Books) -> str:
    """Return the Shanghai date of the books' clock."""
    return day_after("1970-01-01", (books.now // 1_000_000 + 8 * 3_600) // 86_400)
