"""The authority's commands to books: given, refused, and one of each kind."""

import pytest

from meter.rules import commands
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    Books,
    figures,
    lifted,
    opened,
    purchase,
    record,
    uscc_of,
)
from tests.papers import end_year, take_every_step

HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


def refusal(ask, *arguments, **changes) -> Problem:
    """Ask and be refused; nothing may change."""
    books: Books = ask.__self__
    before, count = figures(books.state), len(books.entries)
    with pytest.raises(Problem) as refused:
        ask(*arguments, **changes)
    assert (figures(books.state), len(books.entries)) == (before, count)
    return refused.value


def with_contract(policy: str | None = None, **changes) -> Books:
    books = opened(policy) if policy else opened()
    books.contract("A", **changes)
    return books


def use(books: Books, id_: str, contract: str, milli_devices: int) -> None:
    (result,) = books.post([record(id_, contract, *HOUR, milli_devices)])
    assert result.status == "accepted"


def field_of(problem: Problem) -> tuple[str, object]:
    assert problem.status == {"bad_dates": 422, "looks_alike": 409, "malformed": 400}[problem.code]
    return problem.code, problem.facts["field"]


def every_command() -> Books:
    """Return books to which each command of the authority was given."""
    books = with_contract()
    books.issue(2025, "200.00", reason="round 1")
    use(books, "r", "A", 64_000)
    books.withdraw(2025, "1.00")
    take_every_step(books, "A", 2025)
    books.freeze("A")
    books.unfreeze("A")
    books.enlist("more", 4, "2025-01-01", "2026-01-01", reason="round 2")
    books.contract("B", max_devices={DEVICE: 1}, follows="A")
    books.fund_contract("B", "1.00", reason="told late")
    books.enterprise(BETA)
    books.succeed(BETA, ALPHA, reason="a merger")
    use(books, "s", "B", 64_000)
    books.release("s")
    books.void("r")
    books.revoke(suspected_since="2025-03-01T08:00:00+08:00")
    rotate_keys(books)
    meet_people(books)
    award(books)
    amend(books)
    end_year(books, 2026)
    books.dispute("s", "B")
    books.dismiss("s")
    month = next(iter(books.state.months.over))
    books.close_month(month, books.state.people.active()[0])
    books.confirm_month(month)
    books.digest_accesses("2025-02-01")
    books.digest_state()
    return books


def amend(books):
    """Change contracts and parties, let late records in, and divide a pool."""
    books.supplement("2025-02-01", prices={DEVICE: "4.00"}, max_devices={DEVICE: 64})
    books.correct("B", use="other", related_party=True, starts="2024-12-02")
    books.amend_enterprise(name="另一名")
    books.amend_provider("另一名")
    books.late_window("2025-01-01", "2025-01-08", "2026-01-01")
    divide(books)


def meet_people(books):
    books.person("li")
    books.token("li-1", "li")
    books.end_proposal(books.propose("freeze", contract="A", reason="seen on site"))
    books.ask(commands.EndToken, token="li-1")
    books.ask(commands.EndPerson, id="li")
    books.recover_person("zhao", "zhao-1")


def award(books):
    """Make an award for a project, and change it."""
    books.activate(shipped_text("adaptation", "2024-12"))
    books.budget(2025, "9.00", programme="adaptation")
    books.project(audited_investment="90.00")
    books.audit("80.00")
    books.fund("1.00")
    books.award("W", "adaptation", "5.00", project="P", base="20.00")
    books.change_award("W", "4.00")


def divide(books):
    """Divide a pool."""
    section = '[allocation]\nmode = "proportional"\narticle = "1"\nstanding = "measures"\n'
    books.activate(f"{lifted(programme='divided')}\n{section}")
    books.contract("D", programme="divided")
    books.allocate(2025, (ALPHA, "1.00"), programme="divided")


def rotate_keys(books):
    books.add_log_key()
    books.add_receipt_key()
    books.retire_log_key()
    books.retire_receipt_key()


def sell(books: Books) -> None:
    """Sell a month of service."""
    books.activate(shipped_text("corpus-coupon", "2024-12").replace("= 35", "= 3660"))
    books.vendor("szdex", uscc_of(71), "corpus-coupon")
    books.shop("K", "corpus-coupon", "szdex")
    dates = {"service_from": "2025-01-01", "service_until": "2025-02-01"}
    books.sell(purchase("k", "K", "10.00", "2025-01-01", **dates))


def answer_month(books: Books, record: str) -> None:
    """Dispute a record in vain, and close and confirm the first month, a month later."""
    books.dispute(record)
    books.dismiss(record)
    books.now += 31 * DAY_SECONDS * MICROSECONDS
    month = next(iter(books.state.months.over), books.state.months.running)
    books.close_month(month, "op")
    books.confirm_month(month)
