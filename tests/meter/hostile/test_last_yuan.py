"""64 clients at once at a last yuan: they get what there is, and not a fen more."""

from collections import Counter
from typing import Any

from meter.values.units import parse_money
from tests.attacking import at_once, outcomes
from tests.books import policy_text, record, uscc_of
from tests.services import (
    HOUR,
    Answer,
    Service,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    provider_body,
    serving,
)

CLIENTS = 64
CONTRACTS = [f"C{n}" for n in range(8)]


async def with_contracts(service: Service, issued: str | None) -> None:
    """Open the books with some more contracts of the same enterprise."""
    await service.open_books(issued=issued)
    for contract in CONTRACTS:
        await service.ask("/v1/contracts", **contract_body(contract))


async def one_hour(service: Service, client: int, **changes: Any) -> Answer:
    """Post one device-hour as a client with a stream of its own: entitled to 2.25."""
    contract = CONTRACTS[client % len(CONTRACTS)]
    hour = record(f"r{client}", contract, *HOUR, 1_000)
    return await service.usage([hour | changes], stream=f"s{client}")


async def test_64_clients_at_a_coupons_last_yuan_get_what_it_holds_and_not_a_fen_more(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await with_contracts(service, issued="100.01")
        answers = await at_once(one_hour(service, n) for n in range(CLIENTS))
        results = [answer.json["results"][0] for answer in answers]
        for result in results:
            assert result["entitled"] == "2.25"
            figures = [parse_money(result[name]) for name in ("granted", "uncovered")]
            assert sum(figures) == parse_money(result["entitled"])
            assert result["by_year"] == {"2025": result["granted"]}
            assert result["bound"] == ([] if result["granted"] == "2.25" else ["coupon"])
        # Whole ones while the coupon lasts, its rest, and then nothing.
        assert Counter(result["granted"] for result in results) == {
            "2.25": 44,
            "1.01": 1,
            "0.00": 19,
        }
        balance = await service.balance()
        assert (balance["issued"], balance["granted"]) == ("100.01", "100.01")
        assert (balance["entitled"], balance["uncovered"]) == ("144.00", "43.99")
        contracts = [await service.contract(contract) for contract in CONTRACTS]
        years = [year for contract in contracts for year in contract["years"]]
        assert {year["year"] for year in years} == {2025}
        assert sum(parse_money(year["granted"]) for year in years) == 100_01
        assert sum(parse_money(year["uncovered"]) for year in years) == 43_99
    await check_sums(database)


def lifted(**figures: str) -> str:
    """Return a policy with a pool or cap so small that many requests are at its edge."""
    return policy_text(threshold="0.00", **figures)


async def test_64_enterprises_at_a_pools_last_yuan_get_what_it_holds(database, tmp_path):
    enterprises = [uscc_of(100 + n) for n in range(CLIENTS)]
    async with serving(database, tmp_path) as service:
        await service.activate(lifted(pool="100.00", cap="100.00"))
        await service.ask("/v1/providers", **provider_body())
        for uscc in enterprises:
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
            await service.ask("/v1/contracts", **contract_body(f"C-{uscc}", enterprise=uscc))
        answers = await at_once(
            service.post("/v1/coupons", coupon_body(2025, "3.00", uscc)) for uscc in enterprises
        )
        assert outcomes(answers) == {201: 33, "pool_exceeded": 31}
        pairs = zip(enterprises, answers, strict=True)
        refused = next(uscc for uscc, answer in pairs if answer.status == 422)
        for amount, status in (("1.01", 422), ("1.00", 201), ("0.01", 422)):
            answer = await service.post("/v1/coupons", coupon_body(2025, amount, refused))
            assert answer.status == status, answer.body
        pools = (await service.get("/v1/pools")).json["pools"]
        assert [pool["left"] for pool in pools if pool["year"] == 2025] == ["0.00"]
    state = await check_sums(database)
    assert sum(state.coupons.values()) == 100_00


async def test_64_issues_at_an_enterprises_cap_give_what_it_allows(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.activate(lifted(cap="100.00"))
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/contracts", **contract_body("A"))
        body = coupon_body(2025, "3.00")
        answers = await at_once(service.post("/v1/coupons", body) for _ in range(CLIENTS))
        assert outcomes(answers) == {201: 33, "cap_exceeded": 31}
        issued = [answer.json["issued"] for answer in answers if answer.status == 201]
        assert sorted(map(parse_money, issued)) == [n * 3_00 for n in range(1, 34)]
        assert (await service.balance())["issued"] == "99.00"
    await check_sums(database)


async def test_64_issues_with_one_key_are_one_issue(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.activate(lifted())
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/contracts", **contract_body("A"))
        body = coupon_body(2025, "3.00")
        answers = await at_once(service.post("/v1/coupons", body, key="k") for _ in range(CLIENTS))
        assert {(each.status, each.body) for each in answers} == {(201, answers[0].body)}
        assert (await service.balance())["issued"] == "3.00"
        assert [entry.kind for entry in await service.entries()].count("issue") == 1
    await check_sums(database)


async def test_of_64_records_with_one_id_one_is_charged(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await with_contracts(service, issued="500000.00")
        answers = await at_once(
            one_hour(service, n, id="same", contract="C0", milli_devices=1_000 + n % 2)
            for n in range(CLIENTS)
        )
        statuses = Counter(answer.json["results"][0]["status"] for answer in answers)
        assert statuses == {"accepted": 1, "duplicate": 31, "conflict": 32}
        assert (await service.balance())["granted"] == "2.25"
    await check_sums(database)
