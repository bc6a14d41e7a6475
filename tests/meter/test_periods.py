"""The end of a year: issues stop, what coupons have left expires, the year is closed."""

import pytest
from msgspec.structs import replace

from meter.rules import commands
from meter.rules.effects import Diverged
from meter.rules.evolve import evolve
from meter.rules.kinds import periods
from meter.rules.kinds.periods import expired, free_rests
from meter.rules.state import State
from tests.bending import found
from tests.books import (
    ALPHA,
    BETA,
    PROGRAMME,
    Books,
    balances,
    expected_balances,
    lifted,
    opened,
    policy_text,
    record,
    uscc_of,
    without_sections,
)
from tests.commanding import refusal
from tests.listening import replay
from tests.meter.test_policies import sharing
from tests.papers import papers
from tests.services import (
    HOUR,
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    serving,
)
from tests.summing import summed, told

LAST_MOMENT = "2026-06-30T23:59:59+08:00"
OVER = "2026-07-01T00:00:00+08:00"
START = "2025-03-01T08:00:00+08:00"
END = "2025-03-01T09:00:00+08:00"


def used(text: str | None = None) -> Books:
    """Return books in which ALPHA was issued 200.00 for 2025 and granted 144.00 of them."""
    books = opened(text or lifted(claim_months=6))
    books.contract("A")
    books.issue(2025, "200.00")
    books.post([record("r", "A", START, END, 64_000)])
    return books


def check(books: Books) -> None:
    *_, now = balances(books.entries)
    assert now == expected_balances(books.state)
    summed(told(books))


def rest(books: Books, year: int = 2025) -> int:
    return sum(fen for _, fen in free_rests(books.state, PROGRAMME, year))


# What can be needed


def test_a_coupon_is_at_most_what_its_contracts_can_ever_be_entitled_to():
    books = opened()
    books.contract("A", amount="500000.00")
    problem = refusal(books.issue, 2025, "250000.01")
    assert problem.code == "above_need"
    assert problem.detail == "250000.01 is above 250000.00, all that can be entitled"
    books.issue(2025, "250000.00")
    assert refusal(books.issue, 2025, "0.01").code == "above_need"
    check(books)


def test_the_need_is_that_of_unrelated_eligible_contracts_of_the_year_with_other_public_money():
    books = opened(lifted())
    books.contract("A", amount="100.00")
    books.fund_contract("A", "10.00")
    books.contract("related", related_party=True)
    books.contract("inference", use="inference")
    books.contract("later", starts="2026-01-01", amount="10.00")
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("S", enterprise=BETA, amount="100.00")
    assert refusal(books.issue, 2025, "40.01").code == "above_need"
    books.issue(2025, "40.00")
    books.issue(2026, "45.00")
    assert refusal(books.issue, 2025, "60.01", BETA).code == "above_need"
    books.issue(2025, "60.00", BETA)
    check(books)


def test_the_need_of_a_year_is_at_most_the_ratio_where_all_public_money_may_be_more():
    books = opened(lifted(standard=3_000, combined_standard=5_000))
    books.contract("A", amount="100.00")
    books.fund_contract("A", "10.00")
    assert refusal(books.issue, 2025, "30.01").code == "above_need"
    books.issue(2025, "30.00")
    check(books)


def test_the_threshold_counts_only_contracts_whose_usage_can_be_eligible():
    books = opened(policy_text())
    books.contract("A", amount="499999.99")
    for name, terms in (("B", {"related_party": True}), ("C", {"use": "inference"})):
        books.contract(name, **terms)
        assert refusal(books.issue, 2025, "1.00").code == "below_threshold"


def test_an_issue_above_the_need_is_found():
    books = used()
    books.contract("B", amount="1.00")
    books.fund_contract("B", "0.40")
    books.state.contracts["B"].terms.support_limit = 50
    number = books.issue(2025, "499800.50")
    found(books, "sum_need", ALPHA, "50000050", "50000010", entry=number)


# The window


def test_a_coupon_is_issued_until_the_claims_of_its_year_end():
    books = used().at(LAST_MOMENT)
    books.issue(2025, "1.00")
    assert refusal(books.expire, 2025).code == "year_open"
    assert refusal(books.close, 2025).code == "year_open"
    books.at(OVER)
    problem = refusal(books.issue, 2025, "1.00")
    assert (problem.code, problem.detail) == (
        "year_closed",
        "claims for 2025 were open until 2026-07-01",
    )
    books.issue(2026, "1.00")
    check(books)


def test_of_several_policies_the_last_to_end_decides():
    books = used()
    books.activate(lifted(version="longer", claim_months=7))
    books.activate(lifted(version="shorter", claim_months=1))
    books.at(OVER)
    books.issue(2025, "1.00")
    assert refusal(books.expire, 2025).code == "year_open"
    books.at("2026-08-01T00:00:00+08:00").expire(2025)
    check(books)


def test_a_policy_that_does_not_touch_the_year_does_not_decide():
    books = used()
    books.activate(lifted(version="later", starts="2026-01-01", ends="2028-01-01"))
    books.at(OVER).expire(2025)
    assert refusal(books.expire, 2026).code == "year_open"
    check(books)


def test_a_policy_without_claims_never_ends_a_year():
    books = used(without_sections(lifted(), "claims")).at("2030-01-01T00:00:00+08:00")
    books.issue(2025, "1.00")
    assert refusal(books.expire, 2025).code == "no_claims"
    assert refusal(books.close, 2025).code == "no_claims"


@pytest.mark.parametrize(
    ("programme", "year", "code"),
    [("nothing", 2025, "unknown_programme"), (PROGRAMME, 2027, "unknown_year")],
)
def test_a_year_is_one_of_a_programme_in_force(programme, year, code):
    books = used().at(OVER)
    assert refusal(books.expire, year, programme).code == code
    assert refusal(books.close, year, programme).code == code


# Expiry


def test_the_free_rest_goes_back_to_the_pool_and_what_was_granted_stays():
    books = used().at(OVER)
    books.expire(2025)
    entry = books.entries[-1]
    assert entry.amount == 5_600
    assert entry.postings == [(f"coupon:{PROGRAMME}:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 5_600)]
    assert books.coupon(2025) == (14_400, 14_400, 14_400)
    assert books.state.pools[PROGRAMME, 2025].issued == 14_400
    assert refusal(books.expire, 2025).code == "nothing_free"
    check(books)


def test_a_coupon_of_another_year_or_programme_keeps_its_rest():
    books = used()
    books.activate(sharing())
    books.contract("B", programme="sharing")
    books.issue(2025, "3.00", programme="sharing")
    books.issue(2026, "2.00")
    books.at(OVER).expire(2025)
    assert rest(books, 2026) == 200
    assert books.coupon(2025, programme="sharing").issued == 300
    check(books)


def test_the_rest_of_a_shared_pool_goes_back_to_its_owner():
    books = opened(lifted(claim_months=6))
    books.activate(sharing().replace("months = 60", "months = 6"))
    books.contract("B", programme="sharing")
    books.issue(2025, "3.00", programme="sharing")
    books.at(OVER).expire(2025, "sharing")
    assert books.entries[-1].postings == [
        (f"coupon:sharing:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 300)
    ]
    books.close(2025, "sharing")
    books.close(2025)
    check(books)


def test_what_is_above_a_lowered_pool_goes_on_to_the_treasury():
    books = used()
    books.activate(lifted(version="lower", pool="150.00", claim_months=6))
    books.at(OVER).expire(2025)
    assert books.entries[-1].postings[1:] == [
        (f"pool:{PROGRAMME}:2025", f"treasury:{PROGRAMME}:2025", 5_000)
    ]
    check(books)


def test_many_coupons_expire_some_by_some(monkeypatch):
    monkeypatch.setattr(periods, "MAX_EXPIRED", 2)
    books = opened(lifted(claim_months=6))
    firms = sorted(uscc_of(number) for number in range(20, 25))
    for firm in reversed(firms):
        books.enterprise(firm)
        books.contract(f"C-{firm}", enterprise=firm)
        books.issue(2025, "1.00", firm)
    books.at(OVER)
    sizes = []
    while rest(books):
        books.expire(2025)
        sizes.append([posting[0].split(":")[3] for posting in books.entries[-1].postings])
    assert sizes == [firms[:2], firms[2:4], firms[4:]]
    books.close(2025)
    check(books)


def test_four_hundred_coupons_expire_at_once_and_one_more_does_not():
    books = used().at(OVER)
    for number in range(20, 420):
        books.state.coupons[uscc_of(number), PROGRAMME, 2025] = 1
    books.state.pools[PROGRAMME, 2025].issued += 400
    emptied = [expired(books.entries[books.expire(2025)]) for _ in range(2)]
    assert [len(coupons) for coupons in emptied] == [400, 1]
    assert rest(books) == 0


def test_the_largest_expiry_fits_into_an_entry():
    name = "long-" + "p" * 27
    firm = uscc_of(3)
    posting = (f"coupon:{name}:2025:{firm}", f"pool:{'q' * 32}:2025", 10**15)
    size = len(f'["{posting[0]}","{posting[1]}",{posting[2]}],')
    assert (size * periods.MAX_EXPIRED) < 65_535 - 2_000


def test_what_a_void_frees_after_an_expiry_expires_again():
    books = used().at(OVER)
    books.expire(2025)
    books.close(2025)
    books.void("r")
    assert rest(books) == 14_400
    books.expire(2025)
    assert rest(books) == 0
    check(books)


# Closing


def test_a_year_is_closed_once_and_without_a_rest():
    books = used().at(OVER)
    problem = refusal(books.close, 2025)
    assert (problem.code, problem.detail) == ("free_rest", "56.00 are free in 1 coupons")
    books.expire(2025)
    number = books.close(2025)
    problem = refusal(books.close, 2025)
    assert (problem.code, problem.facts) == ("year_closed", {"entry": number})
    check(books)


def claimed() -> Books:
    """Return used books with an open claim of the last day."""
    books = used().at(LAST_MOMENT)
    books.ask(commands.EnterClaim, id="C1", item="A", year=2025, **papers())
    return books.at(OVER)


def test_a_year_with_an_open_claim_is_not_closed_and_the_claim_may_finish():
    books = claimed()
    books.expire(2025)
    problem = refusal(books.close, 2025)
    assert (problem.code, problem.facts) == ("claim_open", {"entry": books.state.size - 2})
    books.ask(commands.CheckClaim, claim="C1")
    books.ask(commands.ApproveClaim, claim="C1", amount="100.00")
    assert refusal(books.close, 2025).code == "claim_open"
    notice = {"starts": "2026-07-01", "ends": "2026-07-08", "url": "https://city.test/1"}
    books.ask(commands.NoticeClaim, claim="C1", **notice)
    assert refusal(books.close, 2025).code == "claim_open"
    books.at("2026-07-08T00:00:00+08:00")
    books.ask(commands.OrderClaim, claim="C1")
    books.close(2025)
    books.ask(commands.PayClaim, claim="C1", bank_reference="city-1", paid_on="2026-07-08")
    check(books)


def test_an_open_claim_of_another_year_or_programme_does_not_hinder():
    books = used()
    books.activate(lifted(programme="other", claim_months=12))
    books.contract("B", programme="other")
    books.at(OVER)
    for name, item, year in (("C1", "A", 2026), ("C2", "B", 2025)):
        number = f"{year}{name[1]}".zfill(20)
        entering = {"id": name, "item": item, "year": year} | papers(number, name, "2026-06-30")
        books.ask(commands.EnterClaim, **entering)
    books.expire(2025)
    books.close(2025)
    check(books)


def test_a_claim_that_has_ended_is_not_open():
    books = claimed()
    books.expire(2025)
    books.ask(commands.EndClaim, claim="C1", outcome="rejected")
    books.close(2025)
    check(books)


def test_a_closed_year_is_not_opened_by_a_policy_whose_claims_are_open_for_longer():
    books = used().at(OVER)
    books.expire(2025)
    number = books.close(2025)
    books.activate(lifted(version="longer", claim_months=60))
    books.contract("B", signed_on="2026-01-01", starts="2025-01-01")
    problem = refusal(books.issue, 2025, "1.00")
    assert (problem.code, problem.facts) == ("year_closed", {"entry": number})
    entering = {"id": "C1", "item": "B", "year": 2025} | papers()
    assert refusal(books.ask, commands.EnterClaim, **entering).code == "year_closed"


def test_records_and_voids_of_a_closed_year_go_on():
    books = used().at(OVER)
    books.expire(2025)
    books.close(2025)
    (late,) = books.post([record("s", "A", START, END, 64_000)])
    assert (late.entitled, late.granted, late.uncovered) == ("144.00", "0.00", "144.00")
    books.void("r")
    assert books.coupon(2025) == (14_400, 14_400, 14_400)
    check(books)


@pytest.mark.parametrize(
    "lie", [{"postings": []}, {"amount": 5_599}, {"amount": 5_599, "postings": []}]
)
def test_an_expiry_of_another_rest_cannot_be_replayed(lie):
    books = used().at(OVER)
    books.expire(2025)
    *entries, expiry = books.entries
    state = State()
    for entry in entries:
        evolve(state, entry)
    with pytest.raises(Diverged):
        evolve(state, replace(expiry, **lie))
    evolve(state, expiry)


# What the sums find


def bend_window(books: Books) -> None:
    """Let the core believe that the claims of a year are open for a month."""
    for version, policy in books.state.policies[PROGRAMME].items():
        assert policy.claims is not None
        claims = type(policy.claims)(
            months=1,
            evidence=policy.claims.evidence,
            invoice_base=policy.claims.invoice_base,
            notice_days=policy.claims.notice_days,
        )
        fields = {name: getattr(policy, name) for name in policy.__struct_fields__}
        books.state.policies[PROGRAMME][version] = type(policy)(**(fields | {"claims": claims}))


def test_an_issue_for_a_year_that_is_over_is_found():
    books = used().at(LAST_MOMENT)
    number = books.issue(2025, "1.00")
    *entries, last = told(books)
    at = last["at"] + 1_000_000
    found([*entries, last | {"at": at}], "sum_year", "2025", entry=number)


def test_an_expiry_before_the_claims_end_is_found():
    books = used().at(LAST_MOMENT)
    bend_window(books)
    number = books.expire(2025)
    found(books, "sum_year", "2025", entry=number)


def test_an_expiry_that_leaves_or_says_something_else_is_found():
    books = used().at(OVER)
    number = books.expire(2025)
    *entries, last = told(books)
    (coupon, pool, fen) = last["postings"][0]
    less = last | {"amount": fen - 1, "postings": [[coupon, pool, fen - 1]]}
    found([*entries, less], "sum_year", coupon, entry=number)
    found([*entries, last | {"amount": fen - 1}], "sum_year", f"{fen} fen", entry=number)


def test_a_year_that_is_closed_before_its_time_with_a_rest_with_a_claim_or_twice_is_found():
    books = used().at(OVER)
    books.expire(2025)
    number = books.close(2025)
    *entries, last = told(books)
    found([*entries[:-1], last], "sum_year", ALPHA, entry=number - 1)
    found([*entries, last, last], "sum_year", "twice", entry=number + 1)
    early = last | {"at": last["at"] - 1_000_000}
    found([*entries, early], "sum_year", "open", entry=number)
    books = claimed()
    books.expire(2025)
    found([*told(books), last], "sum_year", "a claim is open", entry=number + 1)


# Over HTTP


async def test_a_year_ends_over_http(database, tmp_path):
    year = {"programme": PROGRAMME, "year": 2025}
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="500.00")
        answer = await service.usage([record("r1", "A", *HOUR, 64_000)])
        assert answer.json["results"][0]["granted"] == "144.00"
        service.clock.set(LAST_MOMENT)
        assert (await service.post("/v1/coupons/expire", year)).code == "year_open"
        service.clock.set(OVER)
        assert (await service.post("/v1/years/close", year)).code == "free_rest"
        without_key = await service.post("/v1/coupons/expire", year, None)
        assert without_key.code == "idempotency_key_needed"
        made = await service.ask("/v1/coupons/expire", **year)
        assert (made["expired"], made["left"]) == ("356.00", "0.00")
        (account,) = (await service.get(f"/v1/enterprises/{ALPHA}/accounts")).json["accounts"]
        assert (account["granted"], account["lapsed"]) == ("144.00", "0.00")
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        heard = await replay(service, firm.removeprefix("Bearer "))
        (expired,) = heard.named("coupon.expired")
        assert (expired["amount"], expired["issued"], expired["granted"]) == (
            *("-356.00", "144.00"),
            "144.00",
        )
        assert heard.named("coupon.threshold") == []
        await service.ask("/v1/years/close", **year)
        await check_sums(service.dsn)
    async with serving(database, tmp_path, now=OVER) as service:
        pools = (await service.get("/v1/pools")).json["pools"]
        assert {each["year"]: each["issued"] for each in pools}[2025] == "144.00"
        assert (await service.post("/v1/years/close", year, "later")).code == "year_closed"
        assert (await service.post("/v1/coupons/expire", year, "last")).code == "nothing_free"
        (account,) = (await service.get(f"/v1/enterprises/{ALPHA}/accounts")).json["accounts"]
        assert (account["granted"], account["lapsed"]) == ("144.00", "144.00")


async def test_an_enterprise_hears_of_its_own_coupon_only(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="500.00")
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        await service.ask("/v1/contracts", **contract_body("B", enterprise=BETA))
        await service.issue(2025, "7.00", BETA)
        service.clock.set(OVER)
        await service.ask("/v1/coupons/expire", programme=PROGRAMME, year=2025)
        for uscc, amount in ((ALPHA, "-500.00"), (BETA, "-7.00")):
            firm = await authorization(service, f"firm-{uscc[-1]}", "enterprise", uscc)
            heard = await replay(service, firm.removeprefix("Bearer "))
            (expired,) = heard.named("coupon.expired")
            assert (expired["amount"], expired["issued"]) == (amount, "0.00")
            other = {ALPHA: BETA, BETA: ALPHA}[uscc]
            assert other not in str(heard.events)
