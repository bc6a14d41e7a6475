"""Claims, from their papers to payment and recovery: each step, each refusal, each sum."""

import json
import re
from typing import Any, get_args

import pytest

from ledger.book import Book
from ledger.canon import MAX_ENTRY_BYTES, encode
from ledger.errors import FloorBroken
from meter.rules import commands
from meter.rules.commands import MAX_PAPERS
from meter.rules.entries import ClaimEntry
from meter.values.problems import Problem
from tests.books import BETA, opened, record, uscc_of
from tests.desk import A_YEAR_LATER, Desk, refusal
from tests.papers import DAY, DIGEST, NUMBER, PATIENT, Office, invoice, payment, take_every_step
from tests.summing import summed


def checked(**changes: Any) -> Desk:
    """Return a desk with a claim C1 of A, 500,000.00 granted, that was checked."""
    desk = Desk(A="1000000.00")
    desk.enter(**changes)
    desk.check()
    return desk


# From the papers to the payment


def test_a_claim_goes_from_its_papers_to_the_payment():
    desk = Desk(A="1000000.00")
    states, sums = [], []
    for step in (
        desk.enter,
        desk.check,
        lambda: desk.approve("500000.00"),
        desk.notice,
        lambda: desk.books.at(desk.books.now + 8 * DAY),
        desk.order,
        desk.pay,
    ):
        step()
        states.append(desk.claim().state)
        sums.append(desk.money())
    nothing, approved = ("0.00", "0.00", "0.00"), ("-500000.00", "500000.00", "0.00")
    assert states == [*("entered", "checked", "approved", "noticed", "noticed", "ordered", "paid")]
    assert sums == [nothing] * 2 + [approved] * 3 + [("-500000.00", "0.00", "500000.00")] * 2
    assert desk.claim().cash == 50_000_000
    summed(desk.books)


def test_the_least_of_grant_invoices_and_payments_is_payable():
    desk = checked(invoices=[invoice(amount="700000.33")], payments=[payment(amount="650000.10")])
    desk.approve("100000.00")
    assert desk.books.entries[-1].bound == "paid"
    assert desk.books.entries[-1].paid == 65_000_010
    desk.notice()
    desk.books.at(desk.books.now + 8 * DAY)
    desk.order()
    # The same papers cannot be claimed for twice: of these nothing is left.
    desk.enter("C2", invoices=[invoice("9" * 20, "0.01")], payments=[payment("P-2", "0.01")])
    desk.check("C2")
    assert refusal(desk.approve, "225000.07", "C2").code == "above_payable"
    desk.approve("225000.05", "C2")
    assert desk.books.entries[-1].claimed == 10_000_000


@pytest.mark.parametrize("paper", ["invoices", "payments"])
def test_half_of_an_odd_fen_is_not_payable(paper):
    odd = {"invoices": [invoice(amount="0.03")], "payments": [payment(amount="0.03")]}
    desk = checked(**{paper: odd[paper]})
    assert refusal(desk.approve, "0.02").code == "above_payable"
    desk.approve("0.01")


def test_a_last_fen_is_payable_and_then_nothing():
    desk = checked()
    desk.approve("499999.99")
    desk.notice()
    desk.books.at(desk.books.now + 8 * DAY)
    desk.order()
    for claim in ("C2", "C3"):
        number = f"{claim[1]}" * 20
        desk.enter(claim, invoices=[invoice(number)], payments=[payment(f"P-{claim}")])
        desk.check(claim)
        if claim == "C2":
            problem = refusal(desk.approve, "0.02", claim)
            assert (problem.code, problem.detail) == ("above_payable", "0.01 can be approved")
            desk.approve("0.01", claim)
            desk.notice(claim)
            desk.books.at(desk.books.now + 8 * DAY)
            desk.order(claim)
    problem = refusal(desk.approve, "0.01", "C3")
    assert problem.code == "nothing_payable"
    assert problem.detail == "500000.00 of 500000.00 are approved already"


def test_a_debt_of_one_fen_is_set_off_too():
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("400000.00")
    desk.pay()
    desk.forfeit("100000.01")
    assert desk.debt()[1] == 1
    papers = {"invoices": [invoice("9" * 20)], "payments": [payment("P-2")]}
    desk.claimed("100.00", "C2", item="B", **papers)
    assert desk.claim("C2").cash == 9_999
    assert desk.debt()[1] == 0
    summed(desk.books)


def test_a_red_invoice_after_the_payment_leaves_a_debt():
    desk = Desk(A="1000000.00")
    desk.claimed(
        "325000.05",
        invoices=[invoice(amount="700000.33")],
        payments=[payment(amount="650000.10")],
    )
    assert desk.debt() == (32_500_005, 0)
    desk.red("100000.00", refunded="50000.00")
    assert desk.debt() == (30_000_005, 2_500_000)


def test_a_debt_is_set_off_before_any_cash():
    """1,000,000.00 used and 500,000.00 paid; voids leave 200,000.00; 180,000.00 come back."""
    desk = Desk(A="400000.00", B="1000000.00")
    more = desk.use("A", "600000.00")
    desk.books.issue(2025, "300000.00")
    desk.claimed("500000.00")
    desk.books.void(more)
    assert desk.debt() == (20_000_000, 30_000_000)
    papers = {
        "invoices": [invoice("1" * 20, "240000.00")],
        "payments": [payment("P-9", "240000.00")],
    }
    desk.claimed("120000.00", "C2", item="B", **papers)
    assert (desk.claim("C2").state, desk.claim("C2").cash) == ("paid", 0)
    assert desk.debt() == (20_000_000, 18_000_000)
    assert refusal(desk.recover, "180000.01").code == "above_debt"
    desk.recover("180000.00")
    assert desk.debt() == (20_000_000, 0)
    assert desk.money() == ("-200000.00", "0.00", "200000.00")
    assert desk.money("B") == ("-120000.00", "0.00", "120000.00")
    summed(desk.books)


def test_what_is_granted_again_lowers_the_debt_and_needs_new_papers():
    """Issued 500,000.00, paid 300,000.00; voids to 250,000.00, then 100,000.00 more."""
    desk = Desk(A="500000.00")
    more = desk.use("A", "500000.00")
    desk.books.issue(2025, "250000.00")
    papers = {"invoices": [invoice(amount="600000.00")], "payments": [payment(amount="600000.00")]}
    desk.claimed("300000.00", **papers)
    desk.books.void(more)
    assert desk.debt() == (25_000_000, 5_000_000)
    desk.use("A", "200000.00")
    assert desk.books.share("A", 2025).granted == 35_000_000
    assert desk.debt() == (30_000_000, 0)


def test_a_recovery_out_of_an_ordered_claim_lowers_its_cash():
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("500000.00")
    papers = {"invoices": [invoice("1" * 20)], "payments": [payment("P-9")]}
    desk.claimed("400000.00", "C2", item="B", **papers)
    desk.red("1000000.00", refunded="0.00")
    assert desk.debt() == (0, 50_000_000)
    assert refusal(desk.recover, "400000.01", claim="C2").code == "above_payable"
    desk.recover("150000.00", claim="C2")
    assert (desk.claim("C2").state, desk.claim("C2").cash) == ("ordered", 25_000_000)
    desk.recover("250000.00", claim="C2")
    assert (desk.claim("C2").state, desk.claim("C2").cash) == ("paid", 0)
    assert desk.debt() == (0, 10_000_000)
    assert refusal(desk.recover, "0.01", claim="C2").code == "wrong_state"
    summed(desk.books)


def test_a_payment_that_comes_back_is_set_off_again_and_sent_again():
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("500000.00")
    desk.pay()
    papers = {"invoices": [invoice("1" * 20)], "payments": [payment("P-9")]}
    desk.claimed("400000.00", "C2", item="B", **papers)
    desk.pay("C2")
    desk.red("1000000.00", refunded="0.00")
    assert refusal(desk.give_back, "C3").code == "unknown_claim"
    desk.give_back("C2")  # 400,000.00 against a debt of 500,000.00
    assert (desk.claim("C2").state, desk.claim("C2").cash) == ("paid", 0)
    assert refusal(desk.give_back, "C2").code == "wrong_state"
    assert desk.debt() == (0, 10_000_000)
    summed(desk.books)


def test_a_payment_that_comes_back_without_a_debt_is_sent_again_whole():
    desk = Desk(A="1000000.00")
    desk.claimed("500000.00")
    assert refusal(desk.give_back).code == "wrong_state"
    desk.pay()
    desk.give_back()
    assert (desk.claim().state, desk.claim().cash) == ("ordered", 50_000_000)
    desk.pay()
    assert desk.claim().state == "paid"
    summed(desk.books)


def test_a_claim_of_nothing_is_approved_where_its_papers_lower_a_debt():
    desk = Desk(A="1000000.00")
    desk.claimed("500000.00")
    desk.red("400000.00", refunded="0.00")
    assert desk.debt() == (30_000_000, 20_000_000)
    desk.enter("C2", invoices=[invoice("1" * 20, "100000.00")], payments=[payment("P-9", "1.00")])
    desk.check("C2")
    assert refusal(desk.approve, "0.01", "C2").code == "nothing_payable"
    desk.approve("0.00", "C2")
    desk.notice("C2")
    desk.books.at(desk.books.now + 8 * DAY)
    desk.order("C2")
    assert desk.claim("C2").state == "paid"
    assert desk.debt() == (35_000_000, 15_000_000)
    summed(desk.books)


def test_a_claim_of_nothing_that_lowers_no_debt_is_refused():
    assert refusal(checked().approve, "0.00").code == "nothing_payable"


def test_a_forfeit_is_set_and_not_added():
    desk = Desk(A="1000000.00")
    desk.claimed("500000.00")
    assert refusal(desk.forfeit, "500000.01").code == "above_granted"
    desk.forfeit("200000.00")
    assert desk.debt() == (30_000_000, 20_000_000)
    desk.forfeit("50000.00")
    assert desk.debt() == (45_000_000, 5_000_000)
    desk.forfeit("0.00")
    assert desk.debt() == (50_000_000, 0)
    summed(desk.books)


def test_the_earliest_debt_is_set_off_first():
    """Debts of 10.00 for 2025 and 2026, and 15.00 of cash."""
    desk = Desk(A="900000.00", B="900000.00")
    desk.claimed("10.00", invoices=[invoice(part="20.00")], payments=[payment(part="20.00")])
    desk.books.at("2026-06-01T12:00:00+08:00")
    desk.use("A", "1000.00", 2026)
    desk.books.issue(2026, "500.00")
    papers = {"invoices": [invoice(part="30.00")], "payments": [payment(part="30.00")]}
    desk.claimed("15.00", "C2", year=2026, **papers)
    desk.red("20.00")
    desk.red("20.00", red_number="8" * 20, year=2026)
    assert (desk.debt()[1], desk.debt(year=2026)[1]) == (1_000, 1_000)
    desk.use("B", "1000.00", 2026)
    desk.books.issue(2026, "500.00")
    papers = {"invoices": [invoice("1" * 20)], "payments": [payment("P-9")]}
    desk.claimed("15.00", "C3", item="B", year=2026, **papers)
    assert (desk.debt()[1], desk.debt(year=2026)[1]) == (0, 500)
    summed(desk.books)


def test_every_step_of_claims_is_taken_and_adds_up():
    books = opened()
    books.contract("A")
    books.issue(2025, "500000.00")
    begin = "2025-03-01T08:00:00+08:00"
    books.post([record("r", "A", begin, "2025-03-01T09:00:00+08:00", 64_000)])
    take_every_step(books, "A", 2025)
    assert set(get_args(ClaimEntry)) <= {type(entry) for entry in books.entries}
    summed(books)


@pytest.mark.parametrize(("account", "other"), [("payable", "paid"), ("paid", "claims")])
def test_what_is_payable_and_paid_never_goes_below_zero(account, other):
    book = Book(Office(A_YEAR_LATER).entries[0].floors)
    with pytest.raises(FloorBroken):
        book.post([(f"{account}:A:2025", f"{other}:A:2025", 1)])


# Who may


@pytest.mark.parametrize("approver", ["maker", "checker"])
def test_who_made_or_checked_a_claim_does_not_approve_it(approver):
    desk = checked()
    assert refusal(desk.approve, "1.00", by=approver).code == "same_person"
    desk.approve("1.00")


def test_who_made_a_claim_does_not_check_it_and_who_approved_does_not_order():
    desk = Desk(A="1000000.00")
    desk.enter()
    assert refusal(desk.check, by="maker").code == "same_person"
    desk.check()
    desk.approve("1.00")
    desk.notice()
    desk.books.at(desk.books.now + 8 * DAY)
    assert refusal(desk.order, by="approver").code == "same_person"
    desk.order(by="checker")


# Entering


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"item": "Z"}, "unknown_contract"),
        ({"year": 2023}, "unknown_year"),
        ({"year": 2024}, "year_closed"),
        ({"amount": "0.00"}, "malformed"),
        ({"invoices": []}, "evidence_missing"),
        ({"payments": []}, "evidence_missing"),
        ({"delivery": None}, "evidence_missing"),
        ({"invoices": [invoice(), invoice()]}, "malformed"),
        ({"payments": [payment(), payment()]}, "malformed"),
        ({"invoices": [invoice(part="1000000.01")]}, "malformed"),
        ({"invoices": [invoice(part="0.00")]}, "malformed"),
        ({"invoices": [invoice(tax="1000000.01")]}, "malformed"),
        ({"payments": [payment(part="1000000.01")]}, "malformed"),
        ({"invoices": [invoice(issued_on="2026-02-03")]}, "bad_dates"),
        ({"payments": [payment() | {"paid_on": "2026-02-03"}]}, "bad_dates"),
        ({"invoices": [invoice(seller=uscc_of(3))]}, "invoice_party"),
        ({"invoices": [invoice(buyer=BETA)]}, "invoice_party"),
    ],
)
def test_a_claim_that_cannot_be_meant_is_refused(changes, code):
    desk = Desk(A="1000000.00")
    assert refusal(desk.enter, **changes).code == code


def test_claims_for_a_year_are_open_from_its_first_day_for_six_months_after_it():
    desk = Desk(A="1000000.00")
    desk.books.at("2025-12-31T23:59:59+08:00")
    assert refusal(desk.enter, year=2026).code == "bad_dates"
    desk.books.at("2026-07-01T00:00:00+08:00")
    assert refusal(desk.enter).code == "year_closed"
    desk.books.now -= 1
    desk.enter()


def test_one_claim_of_an_item_and_year_is_open():
    desk = checked()
    assert refusal(desk.enter, "C2").code == "claim_open"
    desk.end("returned")
    desk.enter("C2")
    assert refusal(desk.end, "rejected").code == "wrong_state"
    assert desk.enter("C2") == len(desk.books.entries) - 1
    assert refusal(desk.enter, "C2", amount="1.00").code == "exists_differently"
    assert refusal(desk.enter, "c2").code == "looks_alike"


# Approval


@pytest.mark.parametrize(
    ("evidence", "bound", "limit"),
    [
        ([], "granted", "500000.00"),
        (["invoice"], "invoiced", "350000.00"),
        (["payment"], "paid", "300000.00"),
        (["delivery"], "granted", "500000.00"),
    ],
)
def test_only_what_the_policy_asks_for_is_a_ground(evidence, bound, limit):
    text = re.sub(r"evidence = .*", f"evidence = {json.dumps(evidence)}", PATIENT)
    desk = Desk(text, A="1000000.00")
    papers = {
        "invoices": [invoice(amount="700000.00")] if evidence != ["payment"] else [],
        "payments": [payment(amount="600000.00")] if evidence != ["invoice"] else [],
        "delivery": DIGEST if evidence == ["delivery"] else None,
    }
    desk.enter(**papers)
    desk.check()
    assert refusal(desk.approve, f"{limit[:-1]}1").code == "above_payable"
    desk.approve(limit)
    assert desk.books.entries[-1].bound == bound
    summed(desk.books)


def test_the_largest_claim_and_its_approval_fit_into_entries():
    desk = Desk(A="1000000.00")
    most = "9999999999999.99"
    numbers = [f"{number:012d}-12345678" for number in range(MAX_PAPERS)]
    references = [f"{number:064d}" for number in range(MAX_PAPERS)]
    parts = {"amount": most, "part": most}
    desk.enter(
        "i" * 64,
        reason="龙" * 500,
        invoices=[invoice(each, tax=most) | parts for each in numbers],
        payments=[payment(each) | parts | {"bank": "b" * 64} for each in references],
    )
    desk.check("i" * 64)
    names = [*numbers, *(f"{'b' * 64}:{each}" for each in references)]
    disallowed = [[name, "9999999999999.98"] for name in names]
    desk.approve("0.50", "i" * 64, disallowed=disallowed, reason="龙" * 500)
    assert all(len(encode(entry)) <= MAX_ENTRY_BYTES for entry in desk.books.entries)
    summed(desk.books)


def test_an_approval_stays_below_what_was_asked_for():
    desk = checked(amount="10.00")
    assert refusal(desk.approve, "10.01").code == "above_payable"
    desk.approve("10.00")


def test_what_is_disallowed_of_a_paper_does_not_count():
    desk = checked()
    disallowed = [[NUMBER, "400000.00"], ["102584000002:P-1", "300000.00"]]
    assert refusal(desk.approve, "300000.01", disallowed=disallowed).code == "above_payable"
    desk.approve("300000.00", disallowed=disallowed)
    entry = desk.books.entries[-1]
    assert (entry.invoiced, entry.paid, entry.bound) == (60_000_000, 70_000_000, "invoiced")
    summed(desk.books)


@pytest.mark.parametrize(
    "disallowed",
    [[["1" * 20, "1.00"]], [[NUMBER, "0.00"]], [[NUMBER, "1000000.01"]], [[NUMBER, "1.00"]] * 2],
)
def test_what_cannot_be_disallowed_is_refused(disallowed):
    assert refusal(checked().approve, "1.00", disallowed=disallowed).code == "malformed"


@pytest.mark.parametrize(
    ("papers", "code"),
    [
        ({"payments": [payment("P-9")]}, "invoice_used"),
        ({"invoices": [invoice("1" * 20)]}, "reference_used"),
    ],
)
def test_a_paper_is_bound_to_its_item_until_the_approval_is_revoked(papers, code):
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.enter()
    desk.check()
    desk.enter("C2", "B", **papers)
    desk.check("C2")
    desk.approve("1.00")
    problem = refusal(desk.approve, "1.00", "C2")
    assert (problem.code, problem.facts) == (code, {"entry": desk.claim().entry})
    desk.revoke()
    desk.approve("1.00", "C2")
    assert desk.money() == ("0.00", "0.00", "0.00")
    summed(desk.books)


def test_the_parts_of_one_invoice_stay_within_its_amount_over_the_years():
    desk = Desk(A="500000.00")
    desk.claimed("100000.00", invoices=[invoice(part="700000.00")])
    desk.books.at("2026-07-02T12:00:00+08:00")
    desk.use("A", "400000.00", 2026)
    desk.books.issue(2026, "200000.00")
    later = {"year": 2026, "payments": [payment("P-2")]}
    desk.enter("C2", invoices=[invoice(part="300000.01")], **later)
    desk.check("C2")
    assert refusal(desk.approve, "1.00", "C2").code == "invoice_used"
    desk.end("returned", "C2")
    desk.enter("C3", invoices=[invoice(part="300000.00", tax="1.00")], **later)
    desk.check("C3")
    assert refusal(desk.approve, "1.00", "C3").code == "invoice_used"  # another tax
    desk.end("returned", "C3")
    desk.enter("C4", invoices=[invoice(part="300000.00")], **later)
    desk.check("C4")
    desk.approve("150000.00", "C4")
    summed(desk.books)


def test_a_firm_that_may_not_apply_any_more_is_approved_nothing():
    desk = checked()
    applicants = 'applicants = ["institute"]'
    text = re.sub(r"(?m)^applicants = .*$", applicants, PATIENT).replace('2024-12"', '2025-01"')
    desk.books.activate(text)
    assert refusal(desk.approve, "1.00").code == "not_applicant"


def test_a_firm_below_the_threshold_is_approved_nothing():
    desk = Desk(A="1000000.00")
    desk.enter()
    desk.check()
    desk.books.state.contracts["A"].segments = []
    assert refusal(desk.approve, "1.00").code == "below_threshold"


# Notice and objections


def test_a_notice_begins_today_at_the_earliest_and_lasts_seven_days():
    desk = checked()
    desk.approve("1.00")
    assert refusal(desk.notice, starts="2026-02-01").code == "bad_dates"
    assert refusal(desk.notice, days=6).code == "bad_dates"
    desk.notice()
    assert refusal(desk.notice).code == "wrong_state"


def test_an_order_waits_for_the_end_of_the_notice_and_of_all_objections():
    desk = checked()
    desk.approve("1.00")
    assert refusal(desk.object).code == "wrong_state"
    assert refusal(desk.order).code == "wrong_state"
    desk.notice()
    first, second = desk.object(), desk.object()
    desk.books.at("2026-02-08T23:59:59+08:00")
    assert refusal(desk.order).code == "notice_running"
    desk.books.at("2026-02-09T00:00:00+08:00")
    assert refusal(desk.order).code == "objection_open"
    desk.resolve(first)
    assert refusal(desk.resolve, first).code == "wrong_state"
    assert refusal(desk.resolve, first + 10).code == "unknown_objection"
    assert refusal(desk.order).facts == {"entry": second}
    desk.resolve(second)
    desk.order()


def test_an_approval_can_be_revoked_until_the_order():
    desk = checked()
    assert refusal(desk.revoke).code == "wrong_state"
    desk.approve("1.00")
    desk.notice()
    desk.revoke()
    assert (desk.claim().state, desk.money()) == ("ended", ("0.00", "0.00", "0.00"))
    desk.claimed("1.00", "C2")
    assert refusal(desk.revoke, "C2").code == "wrong_state"
    summed(desk.books)


# Red invoices


def test_a_red_invoice_takes_back_what_was_claimed_for_at_most():
    desk = checked(invoices=[invoice(part="300000.00")])
    assert refusal(desk.red, "1.00").code == "unknown_invoice"
    desk.approve("100000.00", disallowed=[[NUMBER, "100000.00"]])
    assert refusal(desk.red, "200000.01").code == "above_invoice"
    number = desk.red("150000.00")
    assert desk.red("150000.00") == number
    assert refusal(desk.red, "150000.01").code == "exists_differently"
    assert refusal(desk.red, "50000.01", red_number="8" * 20).code == "above_invoice"
    assert refusal(desk.red, "0.00", red_number="8" * 20).code == "malformed"
    assert refusal(desk.red, "1.00", red_number="8" * 20, year=2026).code == "unknown_invoice"
    assert (
        refusal(desk.red, "1.00", red_number="8" * 20, issued_on="2026-02-03").code == "bad_dates"
    )
    desk.red("50000.00", red_number="8" * 20)
    more = {"red_number": "9" * 20, "refunded": "1000000.01"}
    assert refusal(desk.red, "0.00", **more).code == "above_invoice"
    desk.red("0.00", **(more | {"refunded": "1000000.00"}))
    summed(desk.books)


def test_a_red_invoice_of_a_claim_that_was_revoked_takes_nothing_back():
    desk = checked()
    desk.approve("1.00")
    desk.red("1000000.00", refunded="1000000.00")
    desk.revoke()
    desk.claimed("500000.00", "C2", invoices=[invoice("1" * 20)], payments=[payment("P-2")])
    assert desk.debt() == (50_000_000, 0)
    summed(desk.books)


# Recovery


def test_a_recovery_names_a_bank_reference_or_a_claim():
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("500000.00")
    desk.forfeit("1.00")
    assert refusal(desk.recover, "1.00", bank_reference=None).code == "malformed"
    assert refusal(desk.recover, "1.00", claim="C1", bank_reference="b").code == "malformed"
    assert refusal(desk.recover, "0.00").code == "malformed"
    assert refusal(desk.recover, "1.00", item="Z").code == "unknown_contract"
    desk.recover("0.50")
    assert refusal(desk.recover, "0.51").code == "above_debt"
    desk.recover("0.50", claim="C1")
    assert desk.claim().cash == 49_999_950
    summed(desk.books)


def test_nothing_is_owed_for_a_year_that_no_policy_touches():
    desk = Desk(A="1000000.00")
    body = {"item": "A", "year": 2099, "amount": "1.00", "bank_reference": "b-1"}
    with pytest.raises(Problem, match="above_debt"):
        desk.books.ask(commands.RecoverDebt, **body)
