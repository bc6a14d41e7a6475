"""Disputes of records, and the months that firms confirm."""

import pytest

from meter.rules import commands
from meter.rules.kinds.disputes import open_disputes
from meter.values.problems import Problem
from tests.auditing import audited
from tests.books import ALPHA, BETA, Books, lifted, opened, purchase, record, void
from tests.commanding import refusal
from tests.desk import Desk
from tests.meter.test_months import hour, used, written
from tests.meter.test_purchases import shop
from tests.papers import Office
from tests.summing import found, summed, told

DAY = 86_400_000_000  # microseconds
NEW_YEAR = ("2025-12-31T23:00:00+08:00", "2026-01-01T01:00:00+08:00")


def closed() -> Books:
    """Return books with February and March closed."""
    books = used()
    books.close_month("2025-02")
    books.close_month("2025-03")
    return books


def open_ones(books: Books) -> list[str]:
    return [each.made.id for each in open_disputes(books.state)]


def check(books: Books) -> None:
    summed(told(books))


# Disputes


def test_a_dispute_names_the_record_the_month_that_booked_it_and_its_years():
    books = opened(lifted(), "2026-01-05T12:00:00+08:00")
    books.contract("A", ends="2027-01-01")
    books.post([record("r", "A", *NEW_YEAR, 64_000)])
    (number,) = [n for n, each in enumerate(books.entries) if each.kind == "usage"]
    made = books.entries[books.dispute("r")]
    assert (made.record, made.month, made.years) == (number, "2026-01", [2025, 2026])
    check(books)


@pytest.mark.parametrize(
    ("start", "end", "years"),
    [
        ("2025-12-31T23:00:00+08:00", "2026-01-01T00:00:00+08:00", [2025]),
        ("2025-12-31T23:00:00+08:00", "2026-01-01T00:00:01+08:00", [2025, 2026]),
        ("2026-01-01T00:00:00+08:00", "2026-01-01T01:00:00+08:00", [2026]),
    ],
)
def test_a_record_touches_the_year_of_its_last_second(start, end, years):
    books = opened(lifted(), "2026-01-05T12:00:00+08:00")
    books.contract("A", ends="2027-01-01")
    books.post([record("r", "A", start, end, 64_000)])
    assert books.entries[books.dispute("r")].years == years
    check(books)


def test_a_disputed_purchase_concerns_the_years_in_which_it_counts():
    books = shop()
    books.sell(purchase("p", "C", "100.00", "2026-05-20"))
    made = books.entries[books.dispute("p", "C", "szdex")]
    assert made.years == [2026]
    check(books)


def test_a_record_is_disputed_once_while_it_counts_and_under_its_own_contract():
    books = used()
    number = books.dispute("r1")
    assert refusal(books.dispute, "r1").facts == {"entry": number}
    assert refusal(books.dispute, "r1").code == "already_disputed"
    assert refusal(books.dispute, "r2", "B").code == "unknown_record"
    assert refusal(books.dispute, "r2", "X").code == "unknown_contract"
    assert refusal(books.dispute, "r2", provider="szu").code == "unknown_record"
    books.void("r2")
    assert refusal(books.dispute, "r2").code == "already_voided"
    check(books)


def test_a_firm_has_thirty_days_from_the_closing_of_the_month_that_booked_it():
    books = closed()
    last = books.now + 30 * DAY - 1
    books.at(last)
    books.dispute("r1")
    books.at(last + 1)
    problem = refusal(books.dispute, "r2")
    assert problem.code == "answer_over"
    assert problem.detail.startswith("2025-03 could be confirmed or disputed before 2025-05-01")
    entries = told(books)
    check(books)
    entries[-1]["at"] += 1
    found(entries, "sum_dispute", "too late for 2025-03")


def test_a_record_of_a_month_that_is_not_closed_may_be_disputed_at_any_time():
    books = used()
    books.at("2025-09-01T00:00:00+08:00")
    books.dispute("r1")
    check(books)


@pytest.mark.parametrize("by_provider", [True, False])
def test_a_void_upholds_a_dispute_whoever_makes_it(by_provider):
    books = used()
    books.dispute("r1")
    if by_provider:
        books.post([hour("again", "2025-03-09", devices=32_000)], [void("r1")])
    else:
        books.void("r1")
    assert open_ones(books) == []
    assert refusal(books.dismiss, "r1").code == "dispute_decided"
    check(books)


def test_a_dispute_is_dismissed_once_and_with_a_reason():
    books = used()
    dispute = books.dispute("r1")
    number = books.dismiss("r1")
    made = books.entries[number]
    assert (made.dispute, made.contract, made.reason) == (dispute, "A", "it ran")
    assert open_ones(books) == []
    assert refusal(books.dismiss, "r1").code == "dispute_decided"
    assert refusal(books.dismiss, "r2").code == "unknown_dispute"
    assert refusal(books.dispute, "r1").code == "already_disputed"
    books.void("r1")
    assert books.state.disputes["pcl", "r1"].ended == number
    check(books)


# Approval


def not_approved(desk: Desk) -> dict[str, int | str]:
    with pytest.raises(Problem) as problem:
        desk.approve("1.00")
    assert problem.value.code == "dispute_open"
    return problem.value.facts


def test_nothing_is_approved_for_an_item_and_year_while_a_record_is_disputed():
    desk = Desk(A="500000.00", B="10.00")
    books = desk.books
    a, b = (each.id for each in books.entries if each.kind == "usage")
    edge = ("2026-01-05T08:00:00+08:00", "2026-01-05T09:00:00+08:00")
    books.post([record("next", "A", *edge, 1_000)])
    desk.enter()
    desk.check()
    number = books.dispute(a)
    assert not_approved(desk) == {"entry": number}
    entries = told(books)
    books.dismiss(a)
    books.dispute("next")  # another year's
    books.dispute(b, "B")  # another contract's
    desk.approve("1.00")
    check(books)
    approval = told(books)[-1]
    found([*entries, approval], "sum_dispute", f"{a} of A is disputed")


def test_a_void_lets_the_rest_be_approved():
    desk = Desk(A="500000.00")
    more = desk.use("A", "1.00", 2025)
    desk.enter()
    desk.check()
    desk.books.dispute(more)
    not_approved(desk)
    desk.books.void(more)
    desk.approve("1.00")
    check(desk.books)


# Confirmation


def test_a_firm_confirms_a_closed_month_once_and_disputes_nothing_of_it_then():
    books = used()
    assert refusal(books.confirm_month, "2025-03").code == "month_open"
    books.close_month("2025-02")
    books.close_month("2025-03")
    number = books.confirm_month("2025-03")
    assert books.confirm_month("2025-03") == number
    problem = refusal(books.dispute, "r1")
    assert (problem.code, problem.facts) == ("month_confirmed", {"entry": number})
    books.dispute("late", "B")  # another firm's
    check(books)


def test_a_month_is_confirmed_within_thirty_days_and_without_an_open_dispute():
    books = closed()
    dispute = books.dispute("r1")
    problem = refusal(books.confirm_month, "2025-03")
    assert (problem.code, problem.facts) == ("dispute_open", {"entry": dispute})
    books.confirm_month("2025-03", BETA)
    books.confirm_month("2025-02")
    books.dismiss("r1")
    books.at(books.now + 30 * DAY)
    assert refusal(books.confirm_month, "2025-03").code == "answer_over"
    check(books)


def test_a_successor_answers_for_whom_it_succeeded():
    books = closed()
    books.succeed(BETA, ALPHA)
    dispute = books.dispute("late", "B")
    assert refusal(books.confirm_month, "2025-03", BETA).code == "succeeded"
    assert refusal(books.confirm_month, "2025-03").facts == {"entry": dispute}
    books.dismiss("late")
    books.confirm_month("2025-03")
    assert refusal(books.dispute, "r1").code == "month_confirmed"
    check(books)


# Lies


def test_the_sums_find_disputes_and_confirmations_that_cannot_be():
    books = closed()
    dispute = books.dispute("r1")
    dismissal = books.dismiss("r1")
    confirmed = books.confirm_month("2025-03")
    entries = told(books)
    summed(entries)

    def lied(number: int, **changes: object) -> None:
        lie = [*entries]
        lie[number] = entries[number] | changes
        found(lie, "sum_dispute")

    lied(dispute, record=3)
    lied(dispute, month="2025-02")
    lied(dispute, id="r9")
    lied(dismissal, id="r2")
    lied(confirmed, month="2025-04")
    found([*entries[:dismissal], *entries[confirmed:]], "sum_dispute", "r1 is disputed")
    found([*entries, entries[dispute]], "sum_dispute")
    found([*entries, entries[confirmed]], "sum_dispute")
    found(
        [*entries, entries[dispute] | {"id": "r2", "record": entries[dispute]["record"] + 4}],
        "sum_dispute",
    )


def test_the_sums_find_a_confirmation_after_thirty_days():
    books = closed()
    books.confirm_month("2025-03")
    entries = told(books)
    at = next(each["at"] for each in entries if each.get("month") == "2025-03")
    late = at + 30 * 86_400 * 1_000_000
    summed([*entries[:-1], entries[-1] | {"at": late - 1}])
    found([*entries[:-1], entries[-1] | {"at": late}], "sum_dispute", "too late for 2025-03")


def test_an_audit_decides_disputes_again():
    writer = used(written())
    writer.close_month("2025-02")
    writer.close_month("2025-03")
    writer.dispute("r1")
    writer.dismiss("r1")
    writer.dispute("r2")
    writer.void("r2")
    writer.confirm_month("2025-03")
    report, _ = audited(writer)
    assert report.findings == []


def test_a_firm_gives_both_with_a_token_that_is_no_official_s():
    books = closed()
    books.do(commands.ConfirmMonth(month="2025-02", enterprise=ALPHA), "firm")
    reason = {"reason": "it never ran"}
    command = commands.DisputeRecord(contract="A", provider="pcl", id="r1", **reason)
    assert books.entries[books.do(command, "firm")].person == ""
    check(books)
    with pytest.raises(Problem, match="unauthorized"):
        books.do(commands.DismissDispute(provider="pcl", id="r1", **reason), "firm")


def test_two_persons_close_a_month_with_the_waiver_that_one_proposed():
    books = Office("2025-03-10T12:00:00+08:00")
    books.at("2025-04-01T00:00:00+08:00")
    books.enterprise()
    waiver = {"person": "payer", "reason": "the stream was replaced"}
    number = books.ask(commands.CloseMonth, month="2025-03", waiver=waiver)
    check(books)
    lie = told(books)
    lie[number]["waiver"]["person"] = "maker"
    found(lie, "sum_persons")
    del lie[number]["waiver"]
    found(lie, "sum_persons")
