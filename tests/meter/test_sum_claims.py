"""Findings of the sums of claims where a writer is dishonest, or a rule of the core is wrong.

The entries are those of an honest office; one is changed, left out or added by hand, and the
postings with it where the accounts would show it at once.
"""

from typing import Any

import pytest

from ledger.canon import decode, encode
from ledger.errors import Violation
from meter.rules import commands
from meter.rules.kinds import amendments, claims
from tests.books import BETA, micros
from tests.desk import Desk
from tests.meter.test_amendments import refused
from tests.papers import DAY, NUMBER, PATIENT, invoice, payment
from tests.services import yuan
from tests.summing import Sums, found, summed

Fields = dict[str, Any]


def paid() -> list[Fields]:
    """Return the entries of a claim of 400,000.00 that was paid, of 500,000.00 granted."""
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("400000.00")
    desk.pay()
    return told(desk)


def in_debt(by: str = "forfeit") -> Desk:
    """Return a desk with 400,000.00 paid for A and 300,000.00 of debt."""
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("400000.00")
    if by == "forfeit":
        desk.forfeit("400000.00")
    else:
        desk.red("800000.00")
    assert desk.debt() == (10_000_000, 30_000_000)
    return desk


def told(desk: Desk) -> list[Fields]:
    return [decode(encode(entry)) for entry in desk.books.entries]


def of_kind(entries: list[Fields], kind: str, place: int = -1) -> Fields:
    return [each for each in entries if each["kind"] == kind][place]


def tell(entries: list[Fields], entry: Fields, **changes: Any) -> None:
    """Change an entry, and the proposal that it confirms."""
    entry.update(changes)
    body = entries[entry["proposal"]]["body"]
    body.update({name: yuan(each) if name == "amount" else each for name, each in changes.items()})


def move(entry: Fields, fen: int) -> None:
    """Let all postings of an entry move so much more."""
    entry["postings"] = [[source, target, old + fen] for source, target, old in entry["postings"]]


def test_honest_entries_pass():
    summed(paid())
    summed(told(in_debt()))
    summed(told(in_debt("red")))


# To another enterprise


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("enter", "is open"),
        ("check", "is open"),
        ("approve", "is open"),
        ("notice", "is open"),
        ("order", "and 10000 fen of 2025 are payable or paid"),
        ("pay", "and 10000 fen of 2025 are payable or paid"),
    ],
)
def test_a_contract_that_becomes_anothers_beside_its_claims_is_found(step, words, monkeypatch):
    desk = Desk(A="1000000.00")
    desk.books.enterprise(BETA)
    for each in ("enter", "check", "approve", "notice", "order", "pay"):
        if each == "order":
            desk.books.at(desk.books.now + 8 * DAY)
        getattr(desk, each)(*(("100.00",) if each == "approve" else ()))
        if each == step:
            break
    code = "claim_open" if "open" in words else "wrong_state"
    refused(code, desk.books.correct, enterprise=BETA)
    monkeypatch.setattr(amendments, "_check_unclaimed", lambda *_: None)
    desk.books.correct(enterprise=BETA)
    found(told(desk), "sum_claims", "A becomes another's", words)


@pytest.mark.parametrize("outcome", ["returned", "revoked"])
def test_a_contract_whose_claims_all_ended_unpaid_may_become_anothers(outcome):
    desk = Desk(A="1000000.00")
    desk.books.enterprise(BETA)
    desk.enter()
    desk.check()
    if outcome == "returned":
        desk.end(outcome)
    else:
        desk.approve("100.00")
        desk.revoke()
    desk.books.correct(enterprise=BETA)
    summed(told(desk))


# Approval


def test_a_fen_too_much_at_approval_is_found():
    entries = paid()
    approval = of_kind(entries, "approval")
    approval["amount"] += 10_000_001
    move(approval, 10_000_001)
    found(entries, "sum_papers", "the limit is 50000000")


@pytest.mark.parametrize("paper", ["invoices", "payments"])
def test_an_approval_above_what_a_paper_shows_is_found(paper):
    entries = paid()
    of_kind(entries, "claim")[paper][0]["part"] -= 20_000_001
    found(entries, "sum_papers", "the limit is 39999999")


def test_an_approval_that_forgets_what_was_approved_before_is_found():
    desk = Desk(A="1000000.00")
    desk.claimed("400000.00")
    more = {"invoices": [invoice("1" * 20)], "payments": [payment("P-2")]}
    desk.enter("C2", **more)
    desk.check("C2")
    desk.approve("100000.00", "C2")
    entries = told(desk)
    summed(entries)
    of_kind(entries, "approval")["amount"] += 1
    move(of_kind(entries, "approval"), 1)
    found(entries, "sum_papers", "approved above 40000000")


def test_an_approval_above_what_the_claim_asks_for_is_found():
    entries = paid()
    of_kind(entries, "claim")["amount"] = 39_999_999
    found(entries, "sum_papers", "asks for")


def test_a_claim_under_a_policy_without_claims_is_found():
    entries = paid()
    policy = of_kind(entries, "policy")
    for each in (policy, entries[policy["proposal"]]["body"]):
        each["content"] = each["content"].partition("[claims]")[0]
    found(entries, "sum_claims", "nothing is claimed for A")


def test_an_amount_that_its_posting_does_not_have_is_found():
    entries = paid()
    move(of_kind(entries, "approval"), -1)
    found(entries, "sum_claims", "A:2025")


def test_a_forfeit_above_the_grant_is_found():
    entries = told(in_debt())
    tell(entries, of_kind(entries, "forfeit"), amount=50_000_001)
    found(entries, "sum_papers", "forfeited")


# Papers


def test_one_invoice_of_two_items_is_found():
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.claimed("400000.00")
    desk.claimed("1.00", "C2", item="B", invoices=[invoice("1" * 20)], payments=[payment("P-2")])
    entries = told(desk)
    summed(entries)
    of_kind(entries, "claim")["invoices"][0]["number"] = NUMBER
    found(entries, "sum_invoice", NUMBER, "bound")


def test_parts_of_an_invoice_above_its_amount_are_found():
    entries = paid()
    invoice_of_it = of_kind(entries, "claim")["invoices"][0]
    invoice_of_it["amount"] = invoice_of_it["part"] - 1
    found(entries, "sum_invoice", "claimed for")


def test_parts_of_two_claims_above_an_invoice_are_found():
    desk = Desk(A="1000000.00")
    desk.claimed("400000.00", invoices=[invoice(part="800000.00")])
    rest = {"invoices": [invoice(part="200000.00")], "payments": [payment("P-2")]}
    desk.enter("C2", **rest)
    desk.check("C2")
    desk.approve("100000.00", "C2")
    entries = told(desk)
    summed(entries)
    of_kind(entries, "claim")["invoices"][0]["part"] += 1
    found(entries, "sum_invoice", "100000001 fen", "claimed for")


@pytest.mark.parametrize("party", ["seller", "buyer"])
def test_an_invoice_between_others_is_found(party):
    entries = paid()
    of_kind(entries, "claim")["invoices"][0][party] = "91350100M000100Y43"
    found(entries, "sum_invoice", "between the parties")


def test_a_red_invoice_above_what_counts_is_found():
    desk = Desk(A="1000000.00")
    desk.claimed("400000.00")
    desk.red("1000000.00")
    entries = told(desk)
    summed(entries)
    tell(entries, of_kind(entries, "red_invoice"), amount=100_000_001)
    found(entries, "sum_invoice", "taken back")


def test_a_refund_above_an_invoice_is_found():
    desk = Desk(A="1000000.00")
    desk.claimed("400000.00")
    desk.red("1.00", refunded="1000000.00")
    entries = told(desk)
    summed(entries)
    red = of_kind(entries, "red_invoice")
    red["refunded"] += 1
    entries[red["proposal"]]["body"]["refunded"] = "1000000.01"
    found(entries, "sum_invoice", "refunded")


def other_papers() -> dict[str, Any]:
    return {"invoices": [invoice("1" * 20)], "payments": [payment("P-2")]}


# Steps, persons, notice


@pytest.mark.parametrize("kind", ["claim_check", "approval", "notice"])
def test_a_step_that_is_left_out_is_found(kind):
    entries = paid()
    entries.remove(of_kind(entries, kind))
    found(entries, "sum_claims", "as it is")


def test_a_claim_outside_its_window_is_found():
    entries = paid()
    of_kind(entries, "claim")["year"] = 2024
    found(entries, "sum_claims", "a claim for 2024")


def test_a_claim_in_the_seventh_month_after_its_year_is_found_where_the_policy_names_none(
    monkeypatch,
):
    unsaid = PATIENT.replace("\nmonths = 6\n", "\n")
    assert unsaid != PATIENT
    desk = Desk(unsaid, A="1000000.00")
    desk.books.at("2026-07-01T00:00:00+08:00")
    monkeypatch.setattr(claims, "_check_window", lambda *_: None)
    desk.enter()
    found(told(desk), "sum_claims", "a claim for 2025 on 2026-07-01")


def test_a_claim_for_a_year_may_come_on_its_first_day():
    desk = Desk(A="1000000.00")
    desk.books.at("2026-01-01T00:00:00+08:00")
    desk.enter(year=2026)
    summed(told(desk))


def test_a_year_is_closed_beside_a_claim_of_the_next_one():
    desk = Desk(A="1000000.00")
    desk.books.at("2026-07-01T12:00:00+08:00")
    desk.enter(year=2026)
    desk.books.close(2025)
    summed(told(desk))


@pytest.mark.parametrize("papers", ["invoices", "payments", "delivery"])
def test_a_claim_without_what_the_policy_asks_for_is_found(papers):
    entries = paid()
    of_kind(entries, "claim")[papers] = [] if papers != "delivery" else ""
    found(entries, "sum_claims", "the claim has no")


def test_two_open_claims_of_one_item_and_year_are_found():
    desk = Desk(A="1000000.00")
    desk.enter()
    entries = told(desk)
    found([*entries, of_kind(entries, "claim") | {"id": "C2"}], "sum_claims", "is open")


@pytest.mark.parametrize("kind", ["claim_check", "approval"])
def test_one_person_twice_is_found(kind):
    entries = paid()
    of_kind(entries, kind).update(by="maker-1", person="maker")
    found(entries, "sum_persons", "maker acts twice")


@pytest.mark.parametrize("kind", ["claim_check", "approval", "notice", "order", "payment"])
def test_a_step_of_the_authority_that_a_firm_takes_is_found(kind):
    entries = paid()
    of_kind(entries, kind).update(by="a-firm", person="")
    found(entries, "sum_persons", "a-firm")


def test_a_firm_enters_and_withdraws_a_claim_and_ends_it_no_other_way():
    desk = Desk(A="1000000.00")
    desk.enter()
    desk.end("withdrawn")
    entries = told(desk)
    for kind in ("claim", "claim_end"):
        of_kind(entries, kind).update(by="a-firm", person="")
    summed(entries)
    of_kind(entries, "claim_end")["outcome"] = "rejected"
    found(entries, "sum_persons", "a-firm")


def test_a_claim_by_a_token_of_the_authority_without_its_person_is_found():
    entries = paid()
    of_kind(entries, "claim")["person"] = ""
    found(entries, "sum_persons", "maker-1")


def test_a_claim_by_a_token_that_the_authority_has_ended_is_found():
    desk = Desk(A="1000000.00")
    desk.books.ask(commands.MakeToken, id="maker-2", holder="maker")
    desk.books.ask(commands.EndToken, token="maker-2")
    desk.enter()
    entries = told(desk)
    entries[-1].update(by="of-a-firm", person="")
    summed(entries)
    entries[-1]["by"] = "maker-2"
    found(entries, "sum_persons", "maker-2 is no token of")


def test_an_order_by_its_approver_is_found():
    entries = paid()
    of_kind(entries, "order").update(by="approver-1", person="approver")
    found(entries, "sum_persons", "orders it")


def test_an_order_before_the_end_of_the_notice_is_found():
    entries = paid()
    of_kind(entries, "notice")["until"] = "2026-02-28"
    found(entries, "sum_notice", "end of a notice")


def test_a_notice_ends_with_its_last_day_in_shanghai():
    entries = paid()
    order, until = of_kind(entries, "order"), of_kind(entries, "notice")["until"]
    order["at"] = micros(f"{until}T00:00:00+08:00")
    summed(entries)
    order["at"] -= 1
    found(entries, "sum_notice", "end of a notice")


def test_a_notice_of_six_days_is_found():
    entries = paid()
    of_kind(entries, "notice")["until"] = "2026-02-08"
    found(entries, "sum_notice", "end of a notice")


def test_a_notice_that_began_before_its_entry_is_found():
    entries = paid()
    of_kind(entries, "notice")["from"] = "2026-02-01"
    found(entries, "sum_notice", "before its entry")


def test_an_order_beside_an_open_objection_is_found():
    entries = paid()
    notice = of_kind(entries, "notice")
    objection = {"kind": "objection", "claim": "C1", "sha256": "0f" * 32, "postings": []}
    place = entries.index(notice) + 1
    more = {name: notice[name] for name in ("at", "by", "person", "request", "salt", "v")}
    found([*entries[:place], objection | more, *entries[place:]], "sum_notice", "objection")


# Cash


@pytest.mark.parametrize("by", ["forfeit", "red"])
def test_cash_beside_a_debt_is_found(by):
    desk = in_debt(by)
    desk.claimed("300000.00", "C2", item="B", **other_papers())
    entries = told(desk)
    summed(entries)
    order = of_kind(entries, "order")
    assert order["cash"] == 0
    order["cash"], order["postings"] = 30_000_000, order["postings"][:1]
    found(entries, "sum_cash", "beside the debts")


def test_cash_that_differs_from_what_is_left_is_found():
    entries = paid()
    of_kind(entries, "order")["cash"] += 1
    found(entries, "sum_cash", "are left")


def test_more_than_a_debt_set_off_is_found():
    desk = in_debt()
    desk.claimed("400000.00", "C2", item="B", **other_papers())
    entries = told(desk)
    order = of_kind(entries, "order")
    (account, claims, fen) = order["postings"][1]
    order["cash"] -= 1
    order["postings"][1] = [account, claims, fen + 1]
    found(entries, "sum_cash", "set off")


def test_a_recovery_above_the_debt_is_found():
    desk = in_debt()
    desk.recover("300000.00")
    entries = told(desk)
    summed(entries)
    recovery = of_kind(entries, "recovery")
    tell(entries, recovery, amount=30_000_001)
    move(recovery, 1)
    found(entries, "sum_cash", "recovered")


def test_a_recovery_out_of_cash_that_was_paid_is_found():
    desk = in_debt()
    desk.pay()
    desk.recover("300000.00")
    entries = told(desk)
    recovery = of_kind(entries, "recovery")
    for each in (recovery, entries[recovery["proposal"]]["body"]):
        del each["bank_reference"]
    tell(entries, recovery, claim="C1")
    found(entries, "sum_cash", "cash")


def test_cash_that_nobody_is_paid_is_found_at_the_end():
    for more in (-1, 1):
        sums = Sums()
        for number, fields in enumerate(paid()):
            sums.entry(number, encode(fields))
        sums._claims._by_bank += more
        with pytest.raises(
            Violation, match=f"{40_000_000 - more} fen of cash, 40000000 fen"
        ) as bad:
            sums.finish()
        assert bad.value.code == "sum_cash"
