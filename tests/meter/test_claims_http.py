"""Claims over HTTP: an enterprise claims, the authority reviews and pays, and each sees its own."""

import pytest

from tests.books import ALPHA, BETA, DEVICE, record
from tests.listening import replay
from tests.papers import DIGEST, NUMBER, day_after, papers
from tests.services import (
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

NOW = "2025-05-20T12:00:00+08:00"
TODAY = "2025-05-20"
PAPERS = papers(day=TODAY)


@pytest.fixture
async def service(database, tmp_path):
    """A service with contract A, whose whole amount is used, and half of it granted."""
    async with serving(database, tmp_path, now=NOW) as service:
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices={DEVICE: 2_000_000}))
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        for uscc in (ALPHA, BETA):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
        await service.ask("/v1/contracts", **contract_body("A", prices={DEVICE: "1.00"}))
        await service.issue(2025, "500000.00")
        hours = ("2025-05-20T08:00:00+08:00", "2025-05-20T09:00:00+08:00")
        answer = await service.usage([record("r1", "A", *hours, 1_000_000_000)])
        assert answer.json["results"][0]["status"] == "accepted"
        yield service


async def firm(service, uscc=ALPHA):
    return {"Authorization": await authorization(service, f"firm-{uscc[-4:]}", "enterprise", uscc)}


async def account(service, **headers):
    answer = await service.get(f"/v1/enterprises/{ALPHA}/accounts", **headers)
    (only,) = answer.json["accounts"]
    return {name: only[name] for name in ("granted", "limit", "payable", "paid", "debt")}


async def test_an_enterprise_claims_and_is_paid_and_a_void_leaves_it_in_debt(service):
    ours = await firm(service)
    body = {"id": "C1", "item": "A", "year": 2025, **PAPERS}
    answer = await service.post("/v1/claims", body, **ours)
    assert answer.status == 201, answer.body
    await service.ask("/v1/claims/C1/check")
    approved = await service.ask("/v1/claims/C1/approve", amount="400000.00")
    assert (approved["limit"], approved["bound"]) == ("500000.00", "granted")
    notice = {"starts": TODAY, "ends": day_after(TODAY, 7), "url": "https://city.test/n/1"}
    await service.ask("/v1/claims/C1/notice", **notice)
    objection = await service.ask("/v1/claims/C1/objections", sha256=DIGEST)
    number = objection["entry"]
    answer = await service.post("/v1/claims/C1/order")
    assert answer.code == "notice_running"
    service.clock.advance(8 * 86_400)
    answer = await service.post("/v1/claims/C1/order")
    assert (answer.code, answer.json["entry"]) == ("objection_open", number)
    path = f"/v1/claims/C1/objections/{number}/resolve"
    await service.ask(path, outcome="dismissed", reason="seen")
    assert (await service.ask("/v1/claims/C1/order"))["cash"] == "400000.00"
    assert await account(service) == {
        "granted": "500000.00",
        "limit": "500000.00",
        "payable": "0.00",
        "paid": "400000.00",
        "debt": "0.00",
    }
    paid = {"bank_reference": "city-1", "paid_on": day_after(TODAY, 8)}
    await service.ask("/v1/claims/C1/payment", **paid)
    await service.ask("/v1/records/void", provider="pcl", id="r1", reason="never run")
    after = await account(service, **ours)
    assert (after["granted"], after["limit"], after["debt"]) == ("0.00", "0.00", "400000.00")
    body = {"item": "A", "year": 2025, "amount": "400000.00", "bank_reference": "b-1"}
    await service.ask("/v1/recoveries", **body)
    assert (await account(service))["debt"] == "0.00"
    await check_sums(service.dsn)


async def test_each_sees_its_own_claims_and_officials_who_acted(service):
    ours, theirs = await firm(service), await firm(service, BETA)
    await service.post("/v1/claims", {"id": "C1", "item": "A", "year": 2025, **PAPERS}, **ours)
    await service.ask("/v1/claims/C1/check")
    seen, own = await service.get("/v1/claims/C1"), await service.get("/v1/claims/C1", **ours)
    assert (seen.json["maker"], seen.json["checker"]) == (f"firm-{ALPHA[-4:]}", "authority")
    assert "maker" not in own.json
    assert own.json["invoices"][0]["number"] == NUMBER
    assert own.json["state"] == "checked"
    for path in ("/v1/claims/C1", f"/v1/enterprises/{ALPHA}/claims"):
        assert (await service.get(path, **theirs)).code == "not_found"
    pages = {
        "/v1/claims": ["C1"],
        "/v1/claims?state=checked&item=A": ["C1"],
        "/v1/claims?state=entered": [],
        "/v1/claims?item=B": [],
        f"/v1/claims?enterprise={BETA}": [],
        f"/v1/enterprises/{ALPHA}/claims": ["C1"],
        f"/v1/enterprises/{BETA}/claims": [],
    }
    for path, expected in pages.items():
        answer = await service.get(path)
        assert [each["id"] for each in answer.json["claims"]] == expected, path


async def test_an_invoice_in_two_open_claims_is_a_flag_that_officials_alone_are_told(service):
    ours, theirs = await firm(service), await firm(service, BETA)
    body = contract_body("B", enterprise=BETA, prices={DEVICE: "1.00"})
    await service.ask("/v1/contracts", **body)
    first = {"id": "C1", "item": "A", "year": 2025, **PAPERS}
    assert (await service.post("/v1/claims", first, **ours)).status == 201
    (shared,) = ({**each, "buyer": BETA} for each in PAPERS["invoices"])
    second = first | {"id": "C2", "item": "B", "invoices": [shared, shared | {"number": "5" * 20}]}
    assert (await service.post("/v1/claims", second, **theirs)).status == 201
    flags = (await service.get("/v1/claims/C1")).json["shared_invoices"]
    assert flags == [{"number": NUMBER, "claim": "C2"}]
    for path, headers in (("C1", ours), ("C2", theirs)):
        view = await service.get(f"/v1/claims/{path}", **headers)
        assert (view.status, "shared_invoices" in view.json) == (200, False)
    answer = await service.ask("/v1/claims/C2/check")
    assert answer["warnings"] == [f"invoices: {NUMBER} stands in claim C1 too"]
    await service.ask("/v1/claims/C2/end", outcome="returned")
    assert (await service.get("/v1/claims/C1")).json["shared_invoices"] == []
    assert "warnings" not in await service.ask("/v1/claims/C1/check")


async def test_an_enterprise_claims_for_its_own_items_and_withdraws_and_no_more(service):
    ours, theirs = await firm(service), await firm(service, BETA)
    body = {"id": "C1", "item": "A", "year": 2025, **PAPERS}
    assert (await service.post("/v1/claims", body, **theirs)).code == "not_found"
    assert (await service.post("/v1/claims", body | {"item": "Z"}, **ours)).code == "not_found"
    assert (await service.post("/v1/claims", body, **ours)).status == 201
    for path in ("check", "approve", "notice", "order", "revoke"):
        assert (await service.post(f"/v1/claims/C1/{path}", {}, **ours)).code == "forbidden"
    withdrawn = {"outcome": "withdrawn"}
    assert (await service.post("/v1/claims/C1/end", withdrawn, **theirs)).code == "not_found"
    answer = await service.post("/v1/claims/C1/end", {"outcome": "rejected"}, **ours)
    assert answer.code == "forbidden"
    assert (await service.post("/v1/claims/C1/end", withdrawn, **ours)).status == 201
    assert (await service.get("/v1/claims/C1", **ours)).json["state"] == "ended"
    await check_sums(service.dsn)


async def test_a_firm_hears_of_its_claims_and_the_provider_does_not(service):
    ours = await firm(service)
    await service.post("/v1/claims", {"id": "C1", "item": "A", "year": 2025, **PAPERS}, **ours)
    await service.ask("/v1/claims/C1/end", outcome="returned", reason="a page is missing")
    await service.ask("/v1/contracts/A/freeze")  # which both hear
    heard = await replay(service, ours["Authorization"].removeprefix("Bearer "))
    assert [name for _, name, _ in heard.events if "claim" in name] == [
        *("claim.entered", "claim.ended")
    ]
    assert heard.named("claim.ended")[0]["reason"] == "a page is missing"
    provider = await authorization(service, "p", "provider", "pcl")
    heard = await replay(service, provider.removeprefix("Bearer "))
    assert {name.partition(".")[0] for _, name, _ in heard.events} == {"batch", "contract"}


async def test_claims_are_there_again_after_a_restart(service, database, tmp_path):
    await service.ask("/v1/claims", id="C1", item="A", year=2025, **PAPERS)
    before = (await service.get("/v1/claims/C1")).json
    await service.stop()
    async with serving(database, tmp_path, now=NOW) as again:
        assert (await again.get("/v1/claims/C1")).json == before
        assert (await again.post("/v1/claims/C1/check", key="later")).status == 201
