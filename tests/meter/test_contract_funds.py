"""Other public money for contracts, and the numbers that parties give to their contracts."""

import random
from typing import Any

import pytest

from ledger.canon import MAX_ENTRY_BYTES, encode
from meter.rules.entries import ContractFunded
from meter.rules.evolve import evolve
from meter.rules.kinds.contracts import MAX_CONTRACTS_OF_YEAR
from meter.rules.state import State
from meter.service.rebuild import rebuild
from meter.values.problems import Problem
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    Books,
    balances,
    expected_balances,
    figures,
    lifted,
    opened,
    record,
    uscc_of,
    without_sections,
)
from tests.desk import Desk
from tests.listening import replay
from tests.papers import day_after, papers
from tests.services import (
    Service,
    address_of,
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)
from tests.summing import found, summed, told

MARCH = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


def refusal(ask: Any, *arguments: Any, **named: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        ask(*arguments, **named)
    return problem.value


def used(books: Books, contract: str, yuan: int, year: int = 2025) -> None:
    """Use a contract of 4.50 an hour for so many yuan, within a quarter of a year's first day."""
    start = f"{year}-01-10T08:00:00+08:00"
    end = f"{year}-01-10T08:10:00+08:00"
    id_ = f"{contract}-{len(books.entries)}"
    (result,) = books.post([record(id_, contract, start, end, yuan * 4_000 // 3)])
    assert result.status == "accepted"


def world(**policy: Any) -> Books:
    """Return two contracts of 900.00 under one coupon of 500.00, each used up; A is the older."""
    books = opened(lifted(**policy), now="2026-03-01T12:00:00+08:00")
    for name in ("A", "B"):
        books.contract(name, amount="900.00", max_devices={})
        used(books, name, 900)
    books.issue(2025, "500.00")
    return books


def granted(books: Books, *contracts: str) -> list[int]:
    return [books.granted(name) for name in contracts]


def last(books: Books) -> ContractFunded:
    entry = books.entries[-1]
    assert isinstance(entry, ContractFunded)
    return entry


# What they do


def test_the_sums_of_all_references_lower_the_support_at_once_and_give_it_back():
    books = world()
    assert granted(books, "A", "B") == [45_000, 5_000]
    books.fund_contract("A", "100.00")
    books.fund_contract("A", "200.00", reference="2号", level="national")
    assert books.state.contracts["A"].entitlement.by_year == {2025: 15_000}
    assert granted(books, "A", "B") == [15_000, 35_000]  # by rule R, what A frees goes to B
    books.fund_contract("A", "0.00")
    assert books.state.contracts["A"].entitlement.by_year == {2025: 25_000}
    assert granted(books, "A", "B") == [15_000, 35_000]  # B is not short of it any more
    books.issue(2025, "100.00")
    assert granted(books, "A", "B") == [25_000, 35_000]
    summed(told(books))


def test_an_entry_holds_the_changes_by_year_and_all_postings():
    books = opened(lifted(), now="2026-03-01T12:00:00+08:00")
    for name in ("A", "B"):
        books.contract(name, amount="900.00", max_devices={})
        used(books, name, 600)
        used(books, name, 300, 2026)
    for year in (2025, 2026):
        books.issue(year, "300.00")
    books.fund_contract("A", "200.00", level="provincial", reason="told by the province")
    entry = last(books)
    assert entry.entitled == [(2025, -5_000), (2026, -15_000)]
    coupon = f"coupon:{PROGRAMME}:%s:{ALPHA}"
    assert entry.postings == [
        ("accrued:A:2025", coupon % 2025, 5_000),
        (coupon % 2025, "accrued:B:2025", 5_000),
        ("accrued:A:2026", coupon % 2026, 15_000),
    ]
    books.fund_contract("A", "900.00")  # more than all support: nothing is left, and not less
    assert [fen for _, fen in last(books).entitled] == [-25_000]
    assert books.granted("A") == 0
    books.fund_contract("A", "950.00")
    assert (last(books).entitled, last(books).postings) == ([], [])
    summed(told(books))


def test_the_terms_of_before_have_the_sums_of_then():
    books = world()
    contract, limits = books.state.contracts["A"], []
    for amount in ("100.00", "250.00"):
        books.fund_contract("A", amount)
        limits.append((books.state.size, contract.terms.support_limit))
    assert [limit for _, limit in limits] == [35_000, 20_000]
    for size, limit in [(limits[0][0] - 1, 45_000), *limits]:
        assert books.state.terms_at(contract, size).terms.support_limit == limit


def test_without_combined_support_funds_are_kept_and_change_nothing():
    books = opened(without_sections(lifted(), "combined_support"), "2026-03-01T12:00:00+08:00")
    books.contract("A", amount="900.00", max_devices={})
    books.issue(2025, "450.00")
    used(books, "A", 900)
    books.fund_contract("A", "890.00")
    assert (books.granted("A"), last(books).entitled) == (45_000, [])
    assert books.state.contracts["A"].sums() == {"1号": ("district", 89_000)}
    summed(told(books))


def test_a_reference_is_spelled_one_way_and_its_contract_is_known():
    books = world()
    books.fund_contract("A", "1.00", reference="SZ-1")
    assert refusal(books.fund_contract, "A", "1.00", reference="sz-1").code == "looks_alike"
    books.fund_contract("B", "1.00", reference="sz-1")  # of another contract
    assert refusal(books.fund_contract, "C", "1.00").code == "unknown_contract"


@pytest.mark.parametrize("seed", range(12))
def test_totals_do_not_depend_on_the_order_of_records_and_funds(seed):
    """Records, a void, and sums of two references, each kept in the order of its own."""
    chance = random.Random(seed)
    of_references = [
        [("A", "10.00", "1"), ("A", "120.00", "1"), ("A", "33.33", "1")],
        [("A", "0.01", "2"), ("B", "500.00", "1")],
    ]
    starts = [f"202{year}-01-0{day}T08:00:00+08:00" for year in (5, 6) for day in (2, 3, 4)]
    records = [
        record(
            f"r{number}", chance.choice("AB"), start, start.replace("08:00", "08:10", 1), 200_000
        )
        for number, start in enumerate(starts)
    ]
    outcomes = []
    for _ in range(6):
        books = opened(lifted(), now="2026-03-01T12:00:00+08:00")
        for name in ("A", "B"):
            books.contract(name, amount="400.00", max_devices={})
        steps = [("record", each) for each in chance.sample(records, len(records))]
        for year in (2025, 2026):  # before funds, which lower what can be needed
            books.issue(year, "150.00")
        chance.shuffle(steps)
        for line in of_references:
            places = sorted(chance.choices(range(len(steps) + 1), k=len(line)))
            for place, funds in reversed(list(zip(places, line, strict=True))):
                steps.insert(place, ("fund", funds))
        for kind, what in steps:
            if kind == "record":
                books.post([what])
            else:
                contract, amount, reference = what
                books.fund_contract(contract, amount, reference=reference)
        books.void("r0")
        summed(told(books))
        *_, accounts = balances(books.entries)
        assert accounts == expected_balances(books.state)
        outcomes.append(
            (
                [books.cost(name) for name in "AB"],
                [books.share(name, year).entitled for name in "AB" for year in (2025, 2026)],
                [books.coupon(year) for year in (2025, 2026)],
            )
        )
    assert all(each == outcomes[0] for each in outcomes)


def test_funds_that_change_what_no_coupon_pays_touch_their_contract_too():
    books = opened(lifted(), now="2026-03-01T12:00:00+08:00")
    for name in ("A", "B"):
        books.contract(name, amount="900.00", max_devices={})
        used(books, name, 900)
    before = books.share("A", 2025).entitled
    books.state.take_touched()
    books.fund_contract("A", "890.00")
    assert books.share("A", 2025).entitled < before
    assert books.state.touched.contracts == {"A"}


def test_a_replay_of_the_entries_comes_to_the_same():
    books, replica = world(), State()
    books.fund_contract("A", "120.00")
    used(books, "B", 3)
    for entry in books.entries:
        evolve(replica, entry)
    assert figures(replica) == figures(books.state)


def test_the_largest_entry_fits():
    largest = 10**15
    name, contract = "p" * 32, "c" * 64
    postings = [
        (f"coupon:{name}:{2025 + year}:{ALPHA}", f"accrued:{number:064d}:{2025 + year}", largest)
        for number in range(MAX_CONTRACTS_OF_YEAR)
        for year in range(4)
    ]
    entry = ContractFunded(
        at=2**53 - 1,
        by="b" * 64,
        person="p" * 64,
        request="r" * 128,
        proposal=2**53 - 1,
        salt="0" * 32,
        reason="原" * 500,
        postings=postings,
        contract=contract,
        reference="号" * 128,
        level="municipal",
        amount=largest,
        document="通" * 200,
        entitled=[(2025 + year, -largest) for year in range(4)],
    )
    assert len(encode(entry)) <= MAX_ENTRY_BYTES


# The number of a contract, its project, what it follows


def test_two_parties_give_a_number_once():
    books = opened(lifted())
    number = books.contract("A", contract_no="租-2025-1")
    problem = refusal(books.contract, "B", contract_no="租-2025-1")
    assert (problem.code, problem.status, problem.facts) == (
        "contract_known",
        409,
        {"entry": number},
    )
    assert refusal(books.contract, "B", contract_no="租-2025-1.").code == "looks_alike"
    books.provider("sz", uscc=uscc_of(7))
    books.enterprise(BETA)
    books.contract("C", contract_no="租-2025-1", provider="sz")
    books.contract("D", contract_no="租-2025-1", enterprise=BETA)
    assert books.contract("A", contract_no="租-2025-1") == number
    summed(told(books))


def test_a_contract_names_a_project_and_one_that_it_follows_if_they_are_known():
    books = opened(lifted())
    books.project("P")
    assert refusal(books.contract, "A", project="Q").code == "unknown_project"
    assert refusal(books.contract, "A", follows="A").code == "unknown_contract"
    books.contract("A", project="P")
    books.enterprise(BETA)
    books.contract("B", enterprise=BETA, follows="A")
    (held,) = books.state.projects["P"].contracts
    assert held is books.state.contracts["A"]
    assert books.state.contracts["B"].registered.follows == "A"


# Lies


def funded() -> list[dict[str, Any]]:
    books = world()
    books.fund_contract("A", "100.00")
    return told(books)


def test_an_entitlement_that_funds_do_not_lower_is_found():
    entries = funded()
    entries[-1] |= {"entitled": [], "postings": []}
    found(entries, "sum_entitled", "contract A in 2025", "45000", "35000")


def test_a_sum_that_is_told_a_fen_too_low_is_found():
    entries = funded()
    entries[-1]["amount"] -= 1
    found(entries, "sum_entitled", "contract A")


def test_money_that_does_not_go_to_the_contract_that_is_short_is_found():
    entries = funded()
    del entries[-1]["postings"][1]
    found(entries, "sum_granted", "granted to")


def test_an_older_sum_of_a_reference_does_not_count():
    books = world()
    books.fund_contract("A", "100.00")
    books.fund_contract("A", "150.00")
    entries = told(books)
    entries[-1]["reference"] = "2号"
    found(entries, "sum_entitled", "contract A")


def test_one_number_of_two_contracts_and_a_follower_of_none_are_found():
    books = opened(lifted())
    books.contract("A")
    books.contract("B", follows="A")
    for changes, words in (({"contract_no": "HT-A"}, "HT-A"), ({"follows": "C"}, "follows")):
        entries = told(books)
        entries[-1] |= changes
        found(entries, "sum_contract", words)


# Beside claims: the worked example


def test_funds_after_the_payment_leave_a_debt_that_is_set_off_and_recovered():
    desk = Desk(A="1000000.00", B="240000.00")
    assert granted(desk.books, "A", "B") == [50_000_000, 12_000_000]
    desk.claimed("500000.00")
    desk.pay()
    desk.books.fund_contract("A", "300000.00")
    assert desk.books.granted("A") == 20_000_000
    assert desk.debt() == (20_000_000, 30_000_000)  # the limit, and what is above it
    desk.claimed("120000.00", "C2", item="B", **papers("7" * 20, "P-2"))
    assert desk.books.state.claims.claim("C2").cash == 0
    assert desk.debt() == (20_000_000, 18_000_000)
    desk.recover("180000.00", bank_reference="city-9")
    assert desk.debt() == (20_000_000, 0)
    (*_, held) = balances(desk.books.entries)
    paid = [fen for account, fen in held.items() if account.startswith("paid:")]
    assert sum(paid) == 32_000_000
    summed(told(desk.books))


TODAY = "2025-05-20"
NOW = f"{TODAY}T12:00:00+08:00"


async def claim(service: Service, name: str, item: str, amount: str) -> str:
    """Take a claim from its papers to the order; returns its cash."""
    number = "1" * 19 + str(len(name)) if name == "C1" else "2" * 20
    day = day_after(TODAY, 8 if name == "C2" else 0)
    body = papers(number, name, TODAY) | {"id": name, "item": item, "year": 2025}
    await service.ask("/v1/claims", **body)
    await service.ask(f"/v1/claims/{name}/check")
    await service.ask(f"/v1/claims/{name}/approve", amount=amount)
    notice = {"starts": day, "ends": day_after(day, 7), "url": "https://city.test/n/1"}
    await service.ask(f"/v1/claims/{name}/notice", **notice)
    service.clock.advance(8 * 86_400)
    return (await service.ask(f"/v1/claims/{name}/order"))["cash"]


async def test_the_worked_example_over_http_also_after_a_rebuild(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices={DEVICE: 2_000_000}))
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        await service.ask("/v1/enterprises", **enterprise_body())
        for name in ("A", "B"):
            await service.ask("/v1/contracts", **contract_body(name, prices={DEVICE: "1.00"}))
        await service.issue(2025, "620000.00")
        hours = ("2025-05-20T08:00:00+08:00", "2025-05-20T09:00:00+08:00")
        used = [("A", 1_000_000_000), ("B", 240_000_000)]
        records = [record(name, name, *hours, milli) for name, milli in used]
        await service.usage(records)
        assert await claim(service, "C1", "A", "500000.00") == "500000.00"
        answer = await service.fund_contract("A", "300000.00")
        assert answer.keys() == {"entry"}
        contract = await service.contract("A")
        assert contract["funds"] == [
            {"reference": "1号", "level": "district", "amount": "300000.00"}
        ]
        assert [each["granted"] for each in contract["years"]] == ["200000.00"]
        assert await claim(service, "C2", "B", "120000.00") == "0.00"
        recovery = {"item": "A", "year": 2025, "amount": "180000.00", "bank_reference": "b-1"}
        await service.ask("/v1/recoveries", **recovery)
        before = await shown(service)
        paid = [each["paid"] for each in before["accounts"]]
        debts = [each["debt"] for each in before["accounts"]]
        assert (paid, debts) == (["200000.00", "120000.00"], ["0.00", "0.00"])
        await check_sums(service.dsn)
    await rebuild(address_of(database))
    async with serving(database, tmp_path, now="2025-06-10T12:00:00+08:00") as service:
        assert await shown(service) == before
        # The state that was loaded goes on.
        funds = {"reference": "2号", "level": "municipal", "amount": "0.01", "document": "通知"}
        assert (await service.post("/v1/contracts/A/funds", funds, "later")).status == 201
        assert (await service.contract("A"))["years"][0]["granted"] == "199999.99"
        await check_sums(service.dsn)


async def shown(service: Service) -> dict[str, Any]:
    answers = {
        "contract": await service.contract("A"),
        "accounts": (await service.get(f"/v1/enterprises/{ALPHA}/accounts")).json["accounts"],
        "balance": await service.balance(2025),
    }
    answers["contract"].pop("as_of")
    answers["balance"].pop("as_of")
    return answers


async def test_firm_and_officials_are_told_of_funds_and_the_provider_is_not(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.ask("/v1/projects", id="P", title="平台")
        more = {"project": "P", "follows": "A", "amount": "0.01"}
        await service.ask("/v1/contracts", **contract_body("B", **more))
        start, end = MARCH
        await service.usage([record("r", "A", start, end, 64_000)])
        await service.fund_contract("A", "499900.00")
        await service.ask("/v1/contracts/A/freeze")  # of which all are told
        secret = {"project", "follows", "funds"}
        for role, subject, sees in (
            ("enterprise", ALPHA, True),
            ("provider", "pcl", False),
            ("auditor", "", True),
        ):
            token = await authorization(service, f"{role}-1", role, subject)
            contract = (await service.get("/v1/contracts/B", Authorization=token)).json
            assert secret & contract.keys() == (secret if sees else set())
            assert contract["contract_no"] == "HT-B"
            heard = await replay(service, token.removeprefix("Bearer "))
            names = [name for _, name, _ in heard.events]
            assert ("contract.funded" in names) == (role == "enterprise")
            if role == "enterprise":
                (data,) = [data for _, name, data in heard.events if name == "contract.funded"]
                told = {"reference": "1号", "level": "district", "amount": "499900.00"}
                changed = {"entitled": "-44.00", "granted": "-44.00", "uncovered": "0.00"}
                assert data.items() >= (told | changed | {"contract": "A"}).items()
        token = await authorization(service, "sz", "enterprise", uscc_of(5))
        assert (await service.get("/v1/contracts/B", Authorization=token)).code == "not_found"
