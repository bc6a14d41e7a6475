"""A contract's and a provider's statement from the service: those that an auditor makes."""

import asyncio

import pytest

from meter.api import get_statement
from tests.books import ALPHA, BETA, record
from tests.commands import good, kashi
from tests.meter.test_claims_http import PAPERS, TODAY, firm
from tests.meter.test_claims_http import service as claims_service  # noqa: F401
from tests.meter.test_statements_http import service, three_months  # noqa: F401
from tests.papers import day_after
from tests.services import authorization

COSTS = {"cost", "withheld", "ineligible"}


async def move(service) -> None:  # noqa: F811
    """Correct contract B to be another firm's."""
    body = {"mode": "correction", "document": "协议", "reason": "a wrong firm", "enterprise": BETA}
    assert (await service.post("/v1/contracts/B/amend", body)).status == 201


async def statement(service, path, month, **headers):  # noqa: F811
    return await service.get(f"/v1/{path}/statements/{month}", **headers)


async def check(service, tmp_path, month, path, *asked, **headers):  # noqa: F811
    """Check that the service and an auditor state the same bytes, and return them read."""
    answer = await statement(service, path, month, **headers)
    assert answer.status == 200, answer.body
    target = tmp_path / f"{month}-{'-'.join(asked)}.json"
    key = service.folder.log_vkey.read_text().strip()
    words = ["audit", "statement", service.folder.log, target, "--vkey", key, "--month", month]
    good(await asyncio.to_thread(kashi, *words, *asked, "--format", "json"))
    _, _, audited = target.read_bytes().partition(b'"statement":')
    assert answer.body.startswith(b'{"statement":' + audited.removesuffix(b"}\n") + b',"hash":')
    assert f'"hash":"{answer.json["hash"]}"'.encode() in target.read_bytes()
    assert f'"root":"{answer.json["root"]}"'.encode() in target.read_bytes()
    return answer.json["statement"]


async def test_they_are_the_auditors_with_voids_late_records_and_a_moved_contract(
    service,  # noqa: F811
    tmp_path,
):
    await three_months(service)
    times = "2025-04-28T08:00:00+08:00", "2025-04-28T09:00:00+08:00"
    assert (await service.usage([record("late", "A", *times, 1_000)], seq=15)).status == 200
    await move(service)
    await service.published()
    pcl = {"Authorization": await authorization(service, "pcl", "provider", "pcl")}
    kinds, entries = set(), set()
    for month in ("2025-03", "2025-04", "2025-05"):
        found = [
            await check(service, tmp_path, month, f"contracts/{name}", "--contract", name)
            for name in "ABC"
        ]
        kinds |= {line["kind"] for one in found for line in one["lines"] if line["correction"]}
        costs = ("contracts/A", "--contract", "A", "--costs-alone")
        own = await check(service, tmp_path, month, *costs, **pcl)
        assert {name for line in own["lines"] for name in line["figures"]} == COSTS
        assert own["totals"].items() < found[0]["totals"].items()
        provider = ("providers/pcl", "--provider", "pcl")
        all_of_it = await check(service, tmp_path, month, *provider, **pcl)
        assert {line["contract"] for line in all_of_it["lines"]} == set("ABC")
        entries |= {line["entry"] for line in all_of_it["lines"]}
        sums = [one["totals"]["cost"] for one in found]
        assert float(all_of_it["totals"]["cost"]) == pytest.approx(sum(map(float, sums)))
    assert {"usage", "void", "release", "amendment"} <= kinds
    assert len(entries) > 30


async def test_a_contracts_claims_stand_in_it_and_its_provider_sees_none(
    claims_service,  # noqa: F811
    tmp_path,
):
    service = claims_service  # noqa: F811
    ours = await firm(service)
    claim = {"id": "C1", "item": "A", "year": 2025, **PAPERS}
    assert (await service.post("/v1/claims", claim, **ours)).status == 201
    await service.ask("/v1/claims/C1/check")
    await service.ask("/v1/claims/C1/approve", amount="400000.00")
    notice = {"starts": TODAY, "ends": day_after(TODAY, 7), "url": "https://city.test/n/1"}
    await service.ask("/v1/claims/C1/notice", **notice)
    service.clock.advance(8 * 86_400)
    await service.ask("/v1/claims/C1/order")
    hour = "2025-05-28T08:00:00+08:00", "2025-05-28T09:00:00+08:00"
    assert (await service.usage([record("r2", "A", *hour, 1_000)], seq=2)).status == 200
    service.clock.advance(8 * 86_400)
    paid = {"bank_reference": "city-1", "paid_on": day_after(TODAY, 16)}
    await service.ask("/v1/claims/C1/payment", **paid)
    await service.ask("/v1/records/void", provider="pcl", id="r1", reason="never run")
    body = {"item": "A", "year": 2025, "amount": "300000.00", "bank_reference": "b-1"}
    await service.ask("/v1/recoveries", **body)
    await service.published()
    pcl = {"Authorization": await authorization(service, "pcl", "provider", "pcl")}
    moved = []
    for month in ("2025-05", "2025-06"):
        asked = ("contracts/A", "--contract", "A")
        own = await check(service, tmp_path, month, *asked, **ours)
        moved.append((own["totals"]["claimed"], own["totals"]["paid"]))
        told = await check(service, tmp_path, month, *asked, "--costs-alone", **pcl)
        assert {line["kind"] for line in told["lines"]} <= {"usage", "void"}
        answer = await statement(service, "providers/pcl", month, **pcl)
        for secret in ("claim", "granted", "issued", "C1", "400000.00", "500000.00"):
            assert secret not in f"{told} {answer.json}"
    assert moved == [("400000.00", "400000.00"), ("-300000.00", "-300000.00")]


async def test_each_reads_its_own_alone(service):  # noqa: F811
    await three_months(service)
    alpha = {"Authorization": await authorization(service, "alpha", "enterprise", ALPHA)}
    beta = {"Authorization": await authorization(service, "beta", "enterprise", BETA)}
    other = {"Authorization": await authorization(service, "other", "provider", "szu")}
    month = "2025-04"
    whole = await statement(service, "contracts/B", month)
    assert (await statement(service, "contracts/B", month, **alpha)).json == whole.json
    for headers in (beta, other):
        assert (await statement(service, "contracts/B", month, **headers)).code == "not_found"
        assert (await statement(service, "contracts/Z", month, **headers)).code == "not_found"
    assert (await statement(service, "providers/pcl", month, **other)).code == "not_found"
    assert (await statement(service, "providers/pcl", month, **alpha)).code == "forbidden"
    await move(service)
    assert (await statement(service, "contracts/B", month, **alpha)).code == "not_found"
    assert (await statement(service, "contracts/B", month, **beta)).status == 200
    assert (await statement(service, "contracts/Z", month)).code == "unknown_contract"
    assert (await statement(service, "providers/z", month)).code == "unknown_provider"
    assert (await statement(service, "contracts/B", "2025-4")).code == "malformed"


async def test_no_more_is_read_than_one_response_may(claims_service, monkeypatch):  # noqa: F811
    service = claims_service  # noqa: F811
    ours = await firm(service)
    claim = {"id": "C1", "item": "A", "year": 2025, **PAPERS}
    assert (await service.post("/v1/claims", claim, **ours)).status == 201
    await service.ask("/v1/claims/C1/check")
    await service.ask("/v1/claims/C1/approve", amount="400000.00")
    whole = (await statement(service, "contracts/A", "2025-05")).json["statement"]
    assert [line["kind"] for line in whole["lines"]][-1] == "approval"
    seen = []
    for most in range(1, 12):
        monkeypatch.setattr(get_statement, "MAX_ENTRIES", most)
        answer = await statement(service, "contracts/A", "2025-05")
        assert answer.status != 200 or answer.json["statement"] == whole
        seen.append(answer.code if answer.status != 200 else "")
    assert sorted(set(seen)) == ["", "too_many_entries"]
    assert seen == sorted(seen, reverse=True)
