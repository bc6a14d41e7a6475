"""Successions: what ends for an enterprise, what goes on, and who stands in its place."""

from typing import Any

import pytest

from meter.rules import commands
from meter.rules.kinds.contracts import MAX_CONTRACTS_OF_YEAR
from meter.service.rebuild import rebuild
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.views.events import Viewer, concerns
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    PROVIDER_USCC,
    Books,
    lifted,
    opened,
    record,
    uscc_of,
)
from tests.desk import Desk, refusal
from tests.listening import replay
from tests.papers import PATIENT, invoice, papers, payment
from tests.services import (
    Service,
    address_of,
    authorization,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)
from tests.summing import found, summed, told
from tests.writer import bent

GAMMA = uscc_of(3)
DELTA = uscc_of(4)


def refused(ask: Any, *arguments: Any, **named: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        ask(*arguments, **named)
    return problem.value


def code(ask: Any, *arguments: Any, **named: Any) -> str:
    return refused(ask, *arguments, **named).code


def firms(**policy: Any) -> Books:
    """Return books with the enterprises ALPHA, BETA and GAMMA."""
    books = opened(lifted(**policy))
    for uscc in (BETA, GAMMA):
        books.enterprise(uscc)
    return books


# Chains


def test_a_firm_is_the_last_successor_and_all_that_it_succeeded_at_any_remove():
    books = firms()
    books.enterprise(DELTA)
    first = books.succeed(ALPHA, BETA)
    books.succeed(BETA, GAMMA)
    books.succeed(DELTA, BETA)
    assert books.state.last_successor(DELTA) == GAMMA
    for each in (ALPHA, BETA, GAMMA, DELTA):
        assert books.state.firm_of(each) == [GAMMA, BETA, ALPHA, DELTA]
    assert books.state.last_successor(ALPHA, first) == ALPHA
    assert books.state.last_successor(ALPHA, first + 1) == BETA
    assert books.state.firm_of("nobody") == ["nobody"]
    summed(told(books))


def test_no_chain_leads_back_and_nobody_is_succeeded_twice():
    books = firms()
    assert code(books.succeed, ALPHA, ALPHA) == "succeeded"
    number = books.succeed(ALPHA, BETA)
    assert books.succeed(ALPHA, BETA, reason="again") == number
    problem = refused(books.succeed, ALPHA, GAMMA)
    assert (problem.code, problem.status, problem.facts) == ("succeeded", 409, {"entry": number})
    assert code(books.succeed, ALPHA, BETA, effective="2025-01-02") == "succeeded"
    books.succeed(BETA, GAMMA)
    assert code(books.succeed, GAMMA, ALPHA) == "succeeded"
    assert code(books.succeed, GAMMA, BETA) == "succeeded"


def test_both_are_known_and_the_day_has_come():
    books = firms()
    assert code(books.succeed, DELTA, BETA) == "unknown_enterprise"
    assert code(books.succeed, ALPHA, DELTA) == "unknown_enterprise"
    assert code(books.succeed, ALPHA, BETA, effective="2025-03-02") == "bad_dates"
    books.succeed(ALPHA, BETA, effective="2025-03-01")


# What ends, and what goes on


def test_whoever_was_succeeded_gets_no_new_contract_or_award():
    books = firms()
    books.activate(shipped_text("open-source", "2024-12"))
    books.budget(2025, "100.00", programme="open-source")
    number = books.contract("A")
    books.award("W", "open-source", "1.00")
    books.succeed(ALPHA, BETA)
    assert code(books.contract, "B") == "succeeded"
    assert code(books.award, "X", "open-source", "1.00") == "succeeded"
    assert books.contract("A") == number  # it is there already
    books.contract("B", enterprise=BETA)
    books.change_award("W", "2.00")
    books.issue(2025, "100.00")
    start, end = "2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00"
    books.post([record("r", "A", start, end, 1_000)])
    assert books.granted("A") == 225
    summed(told(books))


def test_caps_of_coupons_and_awards_and_the_threshold_are_those_of_the_firm():
    books = firms(cap="100.00", threshold="1500000.00")
    books.activate(shipped_text("open-source", "2024-12"))
    books.budget(2025, "2000000.00", programme="open-source")
    books.contract("A", amount="1000000.00")
    books.contract("B", amount="600000.00", enterprise=BETA)
    assert code(books.issue, 2025, "60.00") == "below_threshold"
    books.award("W", "open-source", "600000.00")
    books.succeed(ALPHA, BETA)
    books.issue(2025, "60.00")
    assert code(books.issue, 2025, "40.01", BETA) == "cap_exceeded"
    books.issue(2025, "40.00", BETA)
    assert code(books.issue, 2025, "0.01") == "cap_exceeded"
    more = {"enterprise": BETA}
    assert code(books.award, "X", "open-source", "400000.01", **more) == "cap_exceeded"
    books.award("X", "open-source", "400000.00", **more)
    summed(told(books))


def test_what_the_firm_needs_bounds_what_all_its_codes_are_issued():
    books = firms()
    books.contract("A", amount="100.00")
    books.contract("B", amount="40.00", enterprise=BETA)
    books.issue(2025, "50.00")
    assert code(books.issue, 2025, "20.01", BETA) == "above_need"
    books.succeed(ALPHA, BETA)
    assert code(books.issue, 2025, "20.01", BETA) == "above_need"
    books.issue(2025, "20.00", BETA)
    summed(told(books))


def divided() -> Books:
    """Return books whose pool is allocated, with a cap of 100.00, and a firm of two codes."""
    text = lifted(cap="100.00") + '\n[allocation]\nmode = "proportional"\narticle = "1"\n'
    books = opened(text + 'standing = "judgement"\n')
    books.enterprise(BETA)
    for name, uscc in (("A", ALPHA), ("B", BETA)):
        books.contract(name, enterprise=uscc)
    books.succeed(ALPHA, BETA)
    return books


def test_what_two_codes_of_a_firm_ask_for_in_one_allocation_counts_together():
    books, asks = divided(), {"programme": PROGRAMME, "year": 2025}
    requests = [[ALPHA, "60.00"], [BETA, "40.01"]]
    more = refused(books.ask, commands.AllocatePool, requests=requests, **asks)
    assert (more.code, ALPHA in more.detail) == ("cap_exceeded", True)
    requests[1][1] = "40.00"
    books.ask(commands.AllocatePool, requests=requests, **asks)
    assert books.coupon(2025).issued + books.coupon(2025, BETA).issued == 10_000
    summed(told(books))


def test_the_number_of_contracts_and_of_each_contract_are_those_of_the_firm():
    books = firms()
    for number in range(MAX_CONTRACTS_OF_YEAR - 1):
        books.contract(f"C{number}")
    books.succeed(ALPHA, BETA)
    assert code(books.contract, "D", enterprise=BETA, contract_no="HT-C0") == "contract_known"
    books.contract("D", enterprise=BETA)
    assert code(books.contract, "E", enterprise=BETA) == "too_many_contracts"
    summed(told(books))


def test_who_serves_a_programme_stands_in_no_place_of_one_that_applied_and_the_reverse():
    books = firms()
    books.enterprise(PROVIDER_USCC)
    books.succeed(GAMMA, PROVIDER_USCC)  # neither has applied
    assert code(books.contract, "G", enterprise=PROVIDER_USCC) == "role_conflict"
    books.contract("A")
    assert code(books.succeed, ALPHA, PROVIDER_USCC) == "role_conflict"
    assert code(books.succeed, PROVIDER_USCC, ALPHA) == "role_conflict"
    books.succeed(ALPHA, BETA)
    assert code(books.succeed, BETA, PROVIDER_USCC) == "role_conflict"
    for uscc in (ALPHA, BETA):
        assert code(books.provider, "sz", uscc=uscc) == "role_conflict"
    summed(told(books))


# Claims


class Merger(Desk):
    """A desk whose contracts A and B are ALPHA's, and Z another firm's, each used and granted."""

    def __init__(self) -> None:
        super().__init__(PATIENT, A="1000000.00", B="200000.00")
        self.books.enterprise(BETA)
        self.books.enterprise(GAMMA)
        self.books.contract("Z", enterprise=BETA, amount="1000000.00", prices={DEVICE: "1.00"})
        self.use("Z", "400000.00")
        self.books.issue(2025, "200000.00", BETA)


def theirs(number: str, reference: str, buyer: str) -> dict[str, Any]:
    """Return papers whose invoice has a buyer."""
    return {"invoices": [invoice(number, buyer=buyer)], "payments": [payment(reference)]}


def test_invoices_name_either_as_the_buyer():
    desk = Merger()
    wrong = refusal(desk.enter, "C1", "A", **theirs("1" * 20, "P-1", BETA))
    assert wrong.code == "invoice_party"
    desk.books.succeed(ALPHA, BETA)
    desk.enter("C1", "A", **theirs("1" * 20, "P-1", BETA))
    desk.enter("C2", "B", **theirs("2" * 20, "P-2", ALPHA))
    wrong = refusal(desk.enter, "C3", "Z", **theirs("3" * 20, "P-3", GAMMA))
    assert wrong.code == "invoice_party"
    summed(told(desk.books))


def test_the_last_successor_is_paid_also_after_a_payment_came_back():
    desk = Merger()
    desk.claimed("100.00")
    assert desk.claim().payee == ALPHA
    desk.pay()
    desk.books.succeed(ALPHA, BETA)
    desk.books.succeed(BETA, GAMMA)
    desk.give_back()
    assert desk.claim().payee == GAMMA
    desk.claimed("50.00", "C2", **theirs("2" * 20, "P-2", GAMMA))
    assert desk.claim("C2").payee == GAMMA
    desk.claimed("50.00", "C3", item="Z", **theirs("3" * 20, "P-3", BETA))
    assert desk.claim("C3").payee == GAMMA
    summed(told(desk.books))


@pytest.mark.parametrize("remove", [1, 2])
def test_a_debt_is_set_off_against_what_any_code_of_the_firm_is_ordered(remove):
    desk = Merger()
    desk.claimed("400000.00")
    desk.pay()
    desk.forfeit("400000.00")
    assert desk.debt("A") == (10_000_000, 30_000_000)
    desk.books.succeed(ALPHA, BETA if remove == 1 else GAMMA)
    if remove == 2:
        desk.books.succeed(GAMMA, BETA)
    desk.claimed("150000.00", "C2", item="Z", **theirs("2" * 20, "P-2", BETA))
    assert desk.claim("C2").cash == 0
    assert desk.debt("A") == (10_000_000, 15_000_000)
    summed(told(desk.books))


def test_a_debt_of_the_successor_is_set_off_against_a_claim_of_the_old_code():
    desk = Merger()
    desk.claimed("100000.00", "C1", item="Z", **theirs("1" * 20, "P-1", BETA))
    desk.pay()
    desk.books.fund_contract("Z", "460000.00")
    assert desk.debt("Z") == (4_000_000, 6_000_000)
    desk.books.succeed(ALPHA, BETA)
    desk.claimed("150000.00", "C2", **theirs("2" * 20, "P-2", ALPHA))
    assert desk.claim("C2").cash == 9_000_000
    assert desk.debt("Z")[1] == 0
    summed(told(desk.books))


def test_cash_of_the_firm_pays_a_debt_of_another_code_and_no_other_firms_does():
    desk = Merger()
    desk.claimed("100000.00", "C1", item="Z", **theirs("1" * 20, "P-1", BETA))
    desk.claimed("400000.00", "C2", **theirs("2" * 20, "P-2", ALPHA))
    desk.pay("C2")
    desk.forfeit("200000.00")
    wrong = refusal(desk.recover, "60000.00", claim="C1")
    assert wrong.code == "unknown_claim"
    desk.books.succeed(ALPHA, BETA)
    desk.recover("60000.00", claim="C1")
    assert desk.claim("C1").cash == 4_000_000
    assert desk.debt("A")[1] == 4_000_000
    summed(told(desk.books))


def test_who_applies_for_the_old_code_is_the_last_successor():
    desk = Merger()
    desk.books.amend_enterprise(ALPHA, applicant="other")  # which the programme does not fund
    assert code(desk.books.issue, 2025, "1.00") == "not_applicant"
    desk.enter()
    desk.check()
    assert refusal(desk.approve, "1.00").code == "not_applicant"
    desk.books.succeed(ALPHA, BETA)
    desk.books.issue(2025, "1.00")
    desk.approve("1.00")
    desk.books.amend_enterprise(BETA, applicant="other")
    assert code(desk.books.issue, 2025, "1.00") == "not_applicant"
    desk.revoke()
    desk.enter("C2")
    desk.check("C2")
    assert refusal(desk.approve, "1.00", "C2").code == "not_applicant"
    desk.books.succeed(BETA, GAMMA)
    desk.approve("1.00", "C2")
    summed(told(desk.books))


# Lies


def test_an_issue_to_a_successor_that_is_not_funded_is_found():
    for kinds in (("enterprise", "other"), ("other", "enterprise")):
        books = firms()
        books.contract("A")
        for uscc, kind in zip((ALPHA, BETA), kinds, strict=True):
            books.amend_enterprise(uscc, applicant=kind)
        books.succeed(ALPHA, BETA)
        if kinds[1] == "enterprise":
            books.issue(2025, "1.00")
            summed(told(books))
        else:
            with bent(books.state.enterprises[ALPHA], succession=None):
                books.issue(2025, "1.00")
            found(books, "sum_applicant", "other")


def merged() -> list[dict[str, Any]]:
    """Return a claim of the old code that was ordered after the succession."""
    desk = Merger()
    desk.books.succeed(ALPHA, BETA)
    desk.claimed("100.00")
    return told(desk.books)


def test_a_claim_that_is_paid_to_the_old_code_is_found():
    entries = merged()
    next(each for each in entries if each["kind"] == "order")["payee"] = ALPHA
    found(entries, "sum_cash", ALPHA)


def test_a_buyer_of_another_firm_is_found():
    entries = merged()
    next(each for each in entries if each["kind"] == "claim")["invoices"][0]["buyer"] = GAMMA
    found(entries, "sum_invoice", "parties")


def test_cash_beside_a_debt_of_the_other_code_is_found():
    desk = Merger()
    desk.claimed("400000.00")
    desk.forfeit("400000.00")
    desk.claimed("150000.00", "C2", item="Z", **theirs("2" * 20, "P-2", BETA))
    entries = told(desk.books)
    order = max(n for n, each in enumerate(entries) if each["kind"] == "order")
    confirmed = Merger()
    confirmed.books.succeed(ALPHA, BETA)
    proposal, succession = told(confirmed.books)[-2:]
    at = {"at": entries[order]["at"]}
    entries[order:order] = [proposal | at, succession | at | {"proposal": order}]
    found(entries, "sum_cash", "beside the debts", "A")


@pytest.mark.parametrize(
    ("second", "words"),
    [((ALPHA, GAMMA), ALPHA), ((BETA, ALPHA), BETA), ((GAMMA, GAMMA), GAMMA)],
)
def test_a_second_succession_and_a_chain_that_leads_back_are_found(second, words):
    books = firms()
    books.succeed(ALPHA, BETA)
    entries = told(books)
    uscc, successor = second
    entries.append(entries[-1] | {"uscc": uscc, "successor": successor})
    found(entries, "sum_firm", words)


def test_a_contract_and_an_award_of_one_that_was_succeeded_are_found():
    for make in ("contract", "award"):
        books = firms()
        books.activate(shipped_text("open-source", "2024-12"))
        books.budget(2025, "100.00", programme="open-source")
        books.succeed(ALPHA, BETA)
        books.state.enterprises[ALPHA].succession = None
        if make == "contract":
            books.contract("A")
        else:
            books.award("W", "open-source", "1.00")
        found(told(books), "sum_firm", ALPHA)


def test_limits_that_count_one_code_alone_are_found():
    def apart(**policy: Any) -> Books:
        books = firms(**policy)
        books.contract("A", amount="300.00")
        books.contract("B", amount="300.00", enterprise=BETA)
        books.issue(2025, "60.00")
        books.succeed(ALPHA, BETA)
        books.state.enterprises[ALPHA].succession = None
        books.state.enterprises[BETA].succeeded.clear()
        return books

    books = apart(cap="100.00")
    books.issue(2025, "60.00", BETA)
    found(told(books), "sum_cap", "12000")
    books = divided()
    books.state.enterprises[ALPHA].succession = None
    books.state.enterprises[BETA].succeeded.clear()
    requests = [[ALPHA, "60.00"], [BETA, "60.00"]]
    books.ask(commands.AllocatePool, programme=PROGRAMME, year=2025, requests=requests)
    found(told(books), "sum_cap", "12000")
    books = apart()
    books.contract("C", enterprise=BETA, contract_no="HT-A")
    found(told(books), "sum_contract", "HT-A")
    books = apart()
    books.provider("sz", uscc=uscc_of(8))
    entries = told(books)
    entries[-1]["uscc"] = ALPHA
    found(entries, "sum_role", ALPHA)


def test_an_award_that_counts_those_of_one_code_alone_is_found():
    books = firms()
    books.activate(shipped_text("open-source", "2024-12"))
    books.budget(2025, "5000000.00", programme="open-source")
    books.award("W", "open-source", "600000.00")
    books.succeed(ALPHA, BETA)
    books.state.enterprises[ALPHA].succession = None
    books.state.enterprises[BETA].succeeded.clear()
    books.award("X", "open-source", "400000.00", enterprise=BETA)
    summed(told(books))
    books.change_award("X", "400000.01")
    found(books, "sum_award", "the cap", "40000001", "40000000")


def test_a_succession_between_a_provider_and_an_applicant_is_found():
    books = firms()
    books.enterprise(PROVIDER_USCC)
    books.contract("A")
    books.succeed(GAMMA, BETA)
    entries = told(books)
    entries[-1] |= {"uscc": PROVIDER_USCC, "successor": ALPHA}
    found(entries, "sum_role", PROVIDER_USCC)


# Who is told


def test_an_entry_is_told_to_whoever_stands_in_the_place_then():
    books = firms()
    first = books.contract("A")
    succession = books.succeed(ALPHA, BETA)
    frozen = books.freeze("A")
    books.succeed(BETA, GAMMA)
    thawed = books.unfreeze("A")

    def hear(number: int) -> list[str]:
        entry, state = books.entries[number], books.state
        viewers = [Viewer("enterprise", uscc) for uscc in (ALPHA, BETA, GAMMA)]
        return [who.subject for who in viewers if concerns(state, number, entry, who)]

    assert hear(first) == [ALPHA]
    assert hear(succession) == [ALPHA, BETA]
    assert hear(frozen) == [BETA]
    assert hear(thawed) == [GAMMA]


# Over HTTP


NOW = "2025-05-20T12:00:00+08:00"


async def begin(service: Service) -> None:
    """Let ALPHA use contract A, and BETA contract B."""
    await service.activate()
    await service.ask("/v1/providers", **provider_body(devices={DEVICE: 2_000_000}))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    hours = ("2025-05-20T08:00:00+08:00", "2025-05-20T09:00:00+08:00")
    for name, uscc in (("A", ALPHA), ("B", BETA)):
        await service.ask("/v1/enterprises", **enterprise_body(uscc, name=f"firm {name}"))
        body = contract_body(name, enterprise=uscc, prices={DEVICE: "1.00"})
        await service.ask("/v1/contracts", **body)
        await service.ask("/v1/coupons", **coupon_body(2025, "500.00", uscc))
    records = [record(name, name, *hours, 200_000) for name in "AB"]
    assert (await service.usage(records)).status == 200


async def heard(service: Service, token: str) -> list[str]:
    events = (await replay(service, token.removeprefix("Bearer "))).events
    return [f"{name} {data.get('contract') or data.get('enterprise')}" for _, name, data in events]


async def test_the_successor_reads_and_claims_for_the_old_code_whose_token_reads_no_more(
    database, tmp_path
):
    async with serving(database, tmp_path, now=NOW) as service:
        await begin(service)
        await service.ask("/v1/enterprises", **enterprise_body(GAMMA))
        old, new, other = [
            {"Authorization": await authorization(service, f"t{n}", "enterprise", uscc)}
            for n, uscc in enumerate((ALPHA, BETA, GAMMA))
        ]
        paths = [
            *("/v1/contracts/A", f"/v1/enterprises/{ALPHA}", f"/v1/enterprises/{ALPHA}/contracts"),
            *(f"/v1/enterprises/{ALPHA}/accounts", f"/v1/enterprises/{ALPHA}/records"),
        ]
        for path in paths:
            assert (await service.get(path, **old)).status == 200
            assert (await service.get(path, **new)).status == 404
        body = {"successor": BETA, "effective": "2025-05-01", "document": "公告"}
        answer = await service.post(f"/v1/enterprises/{ALPHA}/succeed", body)
        assert answer.status == 201, answer.body
        await service.ask("/v1/contracts/A/freeze")
        await service.ask("/v1/coupons", **coupon_body(2025, "1.00", ALPHA))
        await service.ask("/v1/contracts/B/freeze")
        for path in [*paths, "/v1/me", f"/v1/enterprises/{BETA}"]:
            assert (await service.get(path, **old)).code == "succeeded"
            assert (await service.get(path, **new)).status == 200
        for path in paths:
            assert (await service.get(path, **other)).code == "not_found"
        claim = {"id": "C1", "item": "A", "year": 2025, **papers(day="2025-05-20")}
        assert (await service.post("/v1/claims", claim, **other)).code == "not_found"
        assert (await service.post("/v1/claims", claim, **old)).code == "succeeded"
        claim["invoices"][0]["buyer"] = BETA
        assert (await service.post("/v1/claims", claim, **new)).status == 201
        assert (await service.get("/v1/claims/C1", **new)).json["enterprise"] == ALPHA
        after = await heard(service, new["Authorization"])
        succession = f"enterprise.succeeded {ALPHA}"
        place = after.index(succession)
        assert after[place + 1 :][:3] == [
            *("contract.frozen A", "coupon.issued None", "contract.frozen B"),
        ]
        assert not any(each.endswith(" A") for each in after[:place])
        view = (await service.get(f"/v1/enterprises/{ALPHA}")).json["enterprise"]
        assert (view["successor"], view["succeeded"]) == (BETA, [])
        view = (await service.get(f"/v1/enterprises/{BETA}")).json["enterprise"]
        assert ("successor" in view, view["succeeded"]) == (False, [ALPHA])
        await check_sums(service.dsn)
    await rebuild(address_of(database))
    async with serving(database, tmp_path, now=NOW) as service:
        body = {"successor": BETA, "effective": "2025-05-02", "document": "公告"}
        answer = await service.post(f"/v1/enterprises/{ALPHA}/succeed", body, "later")
        assert answer.code == "succeeded"
        assert (await service.get("/v1/contracts/A", **new)).status == 200
        assert (await service.get("/v1/contracts/A", **old)).code == "succeeded"
