"""Claims for awards, and what a project may be paid in all: at approval, over its items."""

from typing import Any

import pytest
from msgspec import UNSET

from meter.rules import commands
from meter.rules.entries import ClaimApproved
from meter.rules.items import debt_of, item_enterprise, item_programme, known_item
from meter.service.rebuild import rebuild
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    PROVIDER_USCC,
    Books,
    lifted,
    record,
    uscc_of,
    without_sections,
)
from tests.papers import DAY, DIGEST, day_after, day_of, invoice, payment
from tests.services import (
    Service,
    address_of,
    authorization,
    check_sums,
    enterprise_body,
    serving,
)
from tests.summing import found, summed, told

NOW = "2025-06-01T12:00:00+08:00"
SELLER = uscc_of(7)
CLAIMS = """
[claims]
evidence = ["invoice", "payment"]
article = "none"
standing = "judgement"
"""


def claimable(programme: str, **changes: str) -> str:
    """Return the shipped file of a programme with other rules for claims, and other lines."""
    text = without_sections(shipped_text(programme, "2024-12"), "claims") + CLAIMS
    for old, new in changes.items():
        line = next(each for each in text.splitlines() if each.startswith(f"{old} = "))
        text = text.replace(line, f"{old} = {new}")
    return text


def awarding(*programmes: str) -> Books:
    """Return books with programmes of awards, budgets, ALPHA, BETA and project P."""
    books = Books(NOW)
    for programme in programmes:
        books.activate(claimable(programme))
        if books.state.active[programme].pool is None:
            books.budget(2025, "30000000.00", programme=programme)
    books.enterprise()
    books.enterprise(BETA)
    books.project()
    return books


def with_contract(books: Books) -> Books:
    """Add contract C for project P, of which 2,000.00 are used and 1,000.00 granted."""
    books.activate(lifted())
    books.provider()
    books.key()
    books.contract("C", project="P", amount="900000.00", prices={DEVICE: "1.00"}, max_devices={})
    hours = "2025-05-20T08:00:00+08:00", "2025-05-20T09:00:00+08:00"
    books.post([record("r", "C", *hours, 2_000_000)])
    books.issue(2025, "1000.00")
    return books


def enter(books: Books, id_: str, item: str, amount: str = "", **changes: Any) -> int:
    """Enter a claim whose papers are of an amount, and check it."""
    amount, number = amount or "9000000.00", f"{len(books.entries):020d}"
    bill = invoice(number, amount, seller=SELLER, issued_on="2025-05-01") | changes
    paid = payment(f"P-{number}", amount) | {"paid_on": "2025-05-02"}
    body = {"item": item, "year": 2025, "invoices": [bill], "payments": [paid]}
    books.ask(commands.EnterClaim, id=id_, delivery=DIGEST, **body)
    return books.ask(commands.CheckClaim, claim=id_)


def approve(books: Books, id_: str, amount: str) -> ClaimApproved:
    entry = books.entries[books.ask(commands.ApproveClaim, claim=id_, amount=amount)]
    assert isinstance(entry, ClaimApproved)
    return entry


def order(books: Books, id_: str) -> int:
    """Take an approved claim to its order; returns the cash in fen."""
    day = day_of(books)
    notice = {"starts": day, "ends": day_after(day, 7), "url": "https://city.test/1"}
    books.ask(commands.NoticeClaim, claim=id_, **notice)
    books.at(books.now + 8 * DAY)
    books.ask(commands.OrderClaim, claim=id_)
    claim = books.state.claims.claim(id_)
    assert claim is not None
    return claim.cash


def refused(ask: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Problem) as problem:
        ask(*arguments, **named)
    return problem.value.code


def debt(books: Books, item: str) -> int:
    return debt_of(books.state, known_item(books.state, item), 2025)


# An award is an item


def test_an_award_is_paid_by_its_ratio_and_a_lower_one_leaves_a_debt():
    books = awarding("event")
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    enter(books, "C1", "W", "3000000.00")
    assert refused(approve, books, "C1", "1500000.01") == "above_payable"  # half of the papers
    entry = approve(books, "C1", "1500000.00")
    assert (entry.granted, entry.ratio_bp, entry.bound) == (200_000_000, 5_000, "invoiced")
    assert order(books, "C1") == 150_000_000
    books.change_award("W", "900000.00")
    assert debt(books, "W") == 60_000_000
    books.award("X", "event", "500000.00", project="P", base="4000000.00")
    enter(books, "C2", "X")
    approve(books, "C2", "500000.00")
    assert order(books, "C2") == 0  # set off within the programme
    assert debt(books, "W") == 10_000_000
    summed(told(books))


def test_an_award_without_a_ratio_is_paid_in_full():
    books = awarding("open-source")
    books.award("W", "open-source", "1000.00")
    enter(books, "C1", "W", "600.00")
    entry = approve(books, "C1", "600.00")
    assert (entry.ratio_bp, entry.bound) == (10_000, "invoiced")
    summed(told(books))


@pytest.mark.parametrize(
    ("item", "seller", "named"), [("W", ALPHA, "another"), ("C", SELLER, PROVIDER_USCC)]
)
def test_a_refused_invoice_says_between_whom_it_has_to_be(item, seller, named):
    books = with_contract(awarding("open-source"))
    books.award("W", "open-source", "1000.00")
    with pytest.raises(Problem, match=f"is not from {named} to {ALPHA}$"):
        enter(books, "C1", item, seller=seller)


def test_cash_of_another_programme_that_pays_a_debt_is_found():
    books = with_contract(awarding("open-source"))
    books.award("W", "open-source", "1000.00")
    for claim, item, seller in (("C1", "C", PROVIDER_USCC), ("C2", "W", SELLER)):
        enter(books, claim, item, seller=seller)
        approve(books, claim, "1000.00")
        assert order(books, claim) == 100_000
    lost = {"item": "C", "year": 2025, "amount": "400.00"}
    books.ask(commands.ForfeitGrant, reason="a breach", **lost)
    books.ask(commands.RecoverDebt, bank_reference="city-1", **lost)
    entries = told(books)
    summed(entries)
    del entries[-1]["bank_reference"]
    entries[-1]["claim"] = "C1"
    summed(entries)
    entries[-1]["claim"] = "C2"
    found(entries, "sum_cash", "another firm's cash pays a debt")


def test_an_award_has_its_one_year_and_no_seller_of_its_own_firm():
    books = awarding("open-source")
    books.award("W", "open-source", "1000.00")
    body = {"item": "W", "invoices": [], "payments": [], "delivery": DIGEST}
    assert refused(books.ask, commands.EnterClaim, id="C", year=2026, **body) == "unknown_year"
    assert refused(enter, books, "C", "W", seller=ALPHA) == "invoice_party"
    assert refused(enter, books, "C", "W", buyer=BETA) == "invoice_party"
    assert refused(enter, books, "C", "none") == "unknown_contract"
    enter(books, "C", "W", seller=PROVIDER_USCC)
    forfeit = {"item": "W", "year": 2025, "reason": "a breach"}
    assert refused(books.ask, commands.ForfeitGrant, amount="1000.01", **forfeit) == "above_granted"
    books.ask(commands.ForfeitGrant, amount="1000.00", **forfeit)
    assert refused(approve, books, "C", "0.01") == "nothing_payable"


def test_the_last_successor_must_be_one_whom_the_programme_funds():
    books = awarding()
    books.activate(claimable("open-source", applicants='["enterprise"]'))
    books.budget(2025, "2000.00", programme="open-source")
    books.enterprise(uscc_of(3), applicant="university")
    books.award("W", "open-source", "1000.00")
    enter(books, "C1", "W")
    books.succeed(ALPHA, uscc_of(3))
    assert refused(approve, books, "C1", "1.00") == "not_applicant"
    books.succeed(uscc_of(3), BETA)
    approve(books, "C1", "1.00")
    summed(told(books))


# A project


def test_city_and_districts_pay_no_more_than_the_audited_investment():
    books = with_contract(awarding("event"))
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    books.fund("700000.00", reference="1号", level="national")
    books.fund("1000000.00", reference="2号", level="district")
    books.fund("200000.00", reference="3号", level="municipal")
    enter(books, "C1", "W")
    assert refused(approve, books, "C1", "0.01") == "audit_missing"
    books.audit("3000000.00")
    assert refused(approve, books, "C1", "1800000.01") == "project_ceiling"
    entry = approve(books, "C1", "1799500.00")
    operands = entry.audited, entry.local, entry.project_claimed, entry.bound
    assert operands == (300_000_000, 120_000_000, 0, "project")
    enter(books, "C2", "C", seller=PROVIDER_USCC)
    assert refused(approve, books, "C2", "500.01") == "project_ceiling"  # its items count together
    entry = approve(books, "C2", "500.00")
    assert (entry.project_claimed, entry.bound) == (179_950_000, "project")
    summed(told(books))
    books.ask(commands.RevokeClaim, claim="C1", reason="a mistake")
    books.ask(commands.RevokeClaim, claim="C2", reason="a mistake")
    enter(books, "C3", "C", seller=PROVIDER_USCC)
    entry = approve(books, "C3", "1000.00")
    assert (entry.project_claimed, entry.bound) == (0, "granted")
    summed(told(books))


def test_without_national_or_provincial_money_a_project_has_no_ceiling():
    books = awarding("event")
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    books.fund("1000000.00", level="district")
    books.audit("1.00")
    enter(books, "C1", "W")
    entry = approve(books, "C1", "2000000.00")
    assert (entry.bound, "audited" in told(books)[-1]) == ("granted", False)
    summed(told(books))


@pytest.mark.parametrize("local", ["1.00", "1.50"])
def test_of_a_project_that_is_paid_up_to_its_ceiling_or_beyond_no_fen_is_left(local):
    books = awarding("event")
    books.fund("1.00", level="national")
    books.fund("1.00", reference="2号", level="district")
    books.audit("200.00")
    for item, claim in (("W", "C1"), ("X", "C2")):
        books.award(item, "event", "99.00", project="P", base="4000000.00")
        enter(books, claim, item)
    approve(books, "C1", "99.00")
    books.audit("100.00")
    books.fund(local, reference="2号", level="district")
    with pytest.raises(Problem, match=r"project_ceiling.* 0\.00 are left"):
        approve(books, "C2", "0.01")


def stacked() -> Books:
    """Return claims C1 and C2 of two programmes for P, which a later version puts in one group."""
    books = awarding("event", "software")
    books.award("W", "event", "100.00", project="P", base="4000000.00")
    books.award("X", "software", "100.00", project="P")
    enter(books, "C1", "W")
    enter(books, "C2", "X")
    text = claimable("event", group='"application"', version='"2025-1"')
    books.activate(text)
    return books


def test_an_item_is_that_of_whom_its_contract_or_award_names():
    books = with_contract(awarding("event"))
    books.award("W", "event", "100.00", project="P", base="4000000.00")
    for name, programme in (("C", PROGRAMME), ("W", "event")):
        assert item_enterprise(books.state, name) == ALPHA
        assert item_programme(books.state, name) == programme
    with pytest.raises(Problem, match="X"):
        item_enterprise(books.state, "X")


def test_one_programme_of_a_group_is_paid_for_a_project():
    books = stacked()
    approve(books, "C1", "100.00")
    assert refused(approve, books, "C2", "100.00") == "stacked"
    books.ask(commands.RevokeClaim, claim="C1", reason="a mistake")
    approve(books, "C2", "100.00")
    summed(told(books))


# Lies


def test_an_approval_above_the_ceiling_is_found():
    books = awarding("event")
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    enter(books, "C1", "W")
    books.fund("1.00", level="national")
    books.fund("1.00", reference="2号", level="district")
    books.audit("6.00")
    books.state.projects["P"].audits[-1] = (0, 700)
    approve(books, "C1", "5.01")
    found(books, "sum_project", "project P", "601", "600")


def test_an_approval_before_the_audit_is_found():
    books = awarding("event")
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    enter(books, "C1", "W")
    books.fund("1.00", level="provincial")
    books.state.projects["P"].audits.append((0, 600))
    approve(books, "C1", "5.01")
    found(books, "sum_project", "not audited")


@pytest.mark.parametrize("name", ["audited", "local", "project_claimed"])
def test_an_operand_of_the_ceiling_that_is_a_fen_off_is_found(name):
    books = awarding("event")
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    enter(books, "C1", "W")
    books.fund("1.00", level="national")
    books.audit("500.00")
    approve(books, "C1", "5.00")
    entries = told(books)
    entries[-1][name] += 1
    found(entries, "sum_project", "are stated")


def test_a_second_programme_of_the_group_that_is_paid_is_found():
    books = stacked()
    approve(books, "C1", "100.00")
    books.state.projects["P"].awards.clear()
    approve(books, "C2", "100.00")
    found(books, "sum_project", "event", "software")


def test_an_approval_for_whom_the_programme_does_not_fund_is_found():
    books = awarding("open-source")
    books.award("W", "open-source", "1000.00")
    enter(books, "C1", "W")
    approve(books, "C1", "1.00")
    entries = told(books)
    policy = next(each for each in entries if each["kind"] == "policy")
    wide = '["enterprise", "university", "institute", "other"]'
    last = policy | {"content": policy["content"].replace(wide, '["university"]')}
    entries.insert(-1, last)
    found(entries, "sum_applicant", "enterprise")


# Over HTTP


async def test_a_firm_claims_for_its_award_and_reads_what_became_of_it(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        for uscc in (ALPHA, BETA):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
        text = claimable("open-source")
        names = {"programme": "open-source", "version": "2024-12"}
        await service.ask("/v1/policies", content=text, **names)
        budget = {"programme": "open-source", "year": 2025, "document": "12号"}
        await service.ask("/v1/budgets", amount="2000.00", **budget)
        award = {"programme": "open-source", "enterprise": ALPHA, "year": 2025}
        await service.ask("/v1/awards", id="W", amount="1000.00", document="评审", **award)
        ours, theirs = [
            {"Authorization": await authorization(service, f"f{n}", "enterprise", uscc)}
            for n, uscc in enumerate((ALPHA, BETA))
        ]
        bill = invoice("1" * 20, "800.00", seller=SELLER, issued_on="2025-05-01")
        paid = payment("P-1", "800.00") | {"paid_on": "2025-05-02"}
        claim = {"id": "C1", "item": "W", "year": 2025, "invoices": [bill], "payments": [paid]}
        assert (await service.post("/v1/claims", claim, **theirs)).code == "not_found"
        assert (await service.post("/v1/claims", claim, **ours)).status == 201
        await service.ask("/v1/claims/C1/check")
        answer = await service.ask("/v1/claims/C1/approve", amount="800.00")
        assert (answer["limit"], answer["bound"]) == ("800.00", "invoiced")
        before = await shown(service, ours)
        assert before["accounts"][0]["payable"] == "800.00"
        assert [each["enterprise"] for each in before["claims"]] == [ALPHA]
        assert before["claim"]["programme"] == "open-source"
        for path in ("/v1/claims/C1", f"/v1/enterprises/{ALPHA}/claims"):
            assert (await service.get(path, **theirs)).code == "not_found"
        path = f"/v1/enterprises/{BETA}/accounts?item=W"
        assert (await service.get(path, **theirs)).code == "not_found"
        await check_sums(service.dsn)
    await rebuild(address_of(database))
    async with serving(database, tmp_path, now=NOW) as service:
        assert await shown(service, ours) == before


async def shown(service: Service, ours: dict[str, str]) -> dict[str, Any]:
    accounts = await service.get(f"/v1/enterprises/{ALPHA}/accounts?item=W", **ours)
    claims = await service.get(f"/v1/enterprises/{ALPHA}/claims?item=W", **ours)
    listed = await service.get("/v1/claims?item=W")
    assert listed.json["claims"] == claims.json["claims"]
    claim = (await service.get("/v1/claims/C1", **ours)).json
    claim.pop("as_of")
    found_ = {"accounts": accounts.json["accounts"], "claims": claims.json["claims"]}
    return found_ | {"claim": claim}


def test_what_is_approved_of_nothing_is_not_held_against_the_ceiling_of_a_project():
    books = awarding("event")
    books.award("W", "event", "2000000.00", project="P", base="4000000.00")
    number = f"{len(books.entries):020d}"
    enter(books, "C1", "W", "3000000.00")
    approve(books, "C1", "1500000.00")
    order(books, "C1")
    red = {"number": number, "red_number": "7" * 20, "confirmation": "red-1", "year": 2025}
    red |= {"amount": "1000000.00", "refunded": "0.00", "issued_on": day_of(books)}
    books.ask(commands.EnterRedInvoice, **red)
    assert debt(books, "W") == 50_000_000
    books.fund("700000.00", level="national")
    enter(books, "C2", "W", "400000.00")
    assert refused(approve, books, "C2", "0.01") == "nothing_payable"
    entry = approve(books, "C2", "0.00")
    assert (entry.audited, entry.bound) == (UNSET, "invoiced")
    order(books, "C2")
    assert debt(books, "W") == 30_000_000
    summed(told(books))
