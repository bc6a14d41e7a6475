"""Purchases over HTTP: from a vendor's registration to its lists, a restart and a rebuild."""

import base64
from typing import Any

from meter.agent import push
from meter.client import Stream
from meter.service.rebuild import rebuild
from meter.values.policy import shipped_text
from meter.wire.batch import Purchase, Void
from tests.books import ALPHA, BETA, purchase, signer, uscc_of, void
from tests.services import (
    ORIGIN,
    Answer,
    Service,
    address_of,
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    key_body,
    projections,
    receipt_key,
    serving,
)

PROGRAMME = "corpus-coupon"
NOW = "2026-03-15T12:00:00+08:00"
BY_DAYS = shipped_text(PROGRAMME, "2024-12") + (
    '\n[rounding]\nprorate = "days"\narticle = "none"\nstanding = "judgement"\n'
)
SERVICE_DATES = {"service_from": "2025-12-01", "service_until": "2026-12-01"}


async def open_shop(service: Service, text: str | None = None, **terms: Any) -> None:
    """Register the vendor `szdex` and ALPHA's contract C of purchases, and issue a coupon."""
    content = {} if text is None else {"content": text}
    await service.ask("/v1/policies", programme=PROGRAMME, version="2024-12", **content)
    vendor = {"id": "szdex", "uscc": uscc_of(71), "name": "深圳数据交易所"}
    await service.ask("/v1/providers", **vendor, serves=[PROGRAMME])
    await service.ask("/v1/providers/szdex/keys", **key_body("szdex-1", "szdex"))
    await service.ask("/v1/enterprises", **enterprise_body())
    await service.ask("/v1/contracts", **shop_body(**terms))
    coupon = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2026, "amount": "1000.00"}
    await service.ask("/v1/coupons", **coupon)


def shop_body(**changes: Any) -> dict[str, Any]:
    body = contract_body("C", programme=PROGRAMME, provider="szdex") | changes
    del body["prices"]
    return body


async def sell(service: Service, *purchases: dict[str, Any], **batch: Any) -> Answer:
    names = {"provider": "szdex", "keyid": "szdex-1"}
    return await service.usage(purchases=list(purchases), **(names | batch))


async def listed(service: Service, path: str, name: str) -> list[dict[str, Any]]:
    answer = await service.get(path)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json[name]
    return found


async def test_a_vendor_posts_purchases_and_the_enterprise_sees_them(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service)
        bought = purchase("p", "C", "333333.33", "2026-03-01", **SERVICE_DATES)
        answer = await sell(service, bought, purchase("q", "C", "0.00", "2026-03-02"))
        first, second = answer.json["results"]
        assert (first["cost"], first["granted"]) == ("333333.33", "1000.00")
        assert (second["status"], second["code"]) == ("rejected", "bad_amount")

        (line,) = await listed(service, f"/v1/enterprises/{ALPHA}/records", "records")
        assert (line["line"], line["amount"], line["delivered_on"]) == (
            *("purchase", "333333.33", "2026-03-01"),
        )
        assert SERVICE_DATES.items() <= line.items()
        assert "device" not in line
        (missing,) = await listed(service, f"/v1/enterprises/{ALPHA}/refused", "refused")
        assert (missing["id"], missing["code"]) == ("q", "bad_amount")
        assert missing["start"] == "2026-03-02T00:00:00+08:00"
        assert await listed(service, f"/v1/enterprises/{ALPHA}/usage", "usage") == []

        (refusal,) = await listed(service, "/v1/providers/szdex/rejected", "rejected")
        assert (refusal["what"], refusal["code"]) == ("purchase", "bad_amount")
        assert "0.00" in refusal["advice"]
        (reported,) = await listed(service, "/v1/providers/szdex/records", "records")
        assert reported["amount"] == "333333.33"
        provider = (await service.get("/v1/providers/szdex")).json
        assert (provider["serves"], provider["enlistments"]) == ([PROGRAMME], [])
        await check_sums(database)


async def test_a_void_in_a_later_run_of_the_service_takes_a_service_back(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service, BY_DAYS)
        bought = purchase("s", "C", "365.00", "2026-03-01", **SERVICE_DATES)
        (result,) = (await sell(service, bought)).json["results"]
        assert result["by_year"] == {"2025": "0.00", "2026": "100.20"}
    async with serving(database, tmp_path, now=NOW) as service:
        again = await sell(service, bought, seq=2)
        assert again.json["results"][0]["status"] == "duplicate"
        answer = await sell(service, voids=[void("s")], seq=3)
        (taken,) = answer.json["voids"]
        assert (taken["cost"], taken["granted"]) == ("-365.00", "-100.20")
        lines = await listed(service, f"/v1/enterprises/{ALPHA}/records", "records")
        assert [line["line"] for line in lines] == ["purchase", "void"]
        await check_sums(database)


async def test_an_amendment_rates_purchases_anew_from_the_rows_of_their_days(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service, BY_DAYS)
        await sell(service, purchase("s", "C", "36500.00", "2026-03-01", **SERVICE_DATES))
        amendment = {"mode": "correction", "starts": "2026-01-01", "document": "补充协议"}
        answer = await service.ask("/v1/contracts/C/amend", **amendment, reason="mistyped")
        assert answer["entitled"] == "-930.00"
        contract = await service.contract("C")
        assert contract["reasons"] == {"outside_term": "3100.00"}
        assert (contract["cost"], contract["eligible"]) == ("36500.00", "33400.00")
        await check_sums(database)


async def test_a_rebuild_writes_the_same_rows(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service, BY_DAYS)
        await sell(
            service,
            purchase("s", "C", "365.00", "2026-03-01", **SERVICE_DATES),
            purchase("p", "C", "10.00", "2026-03-01"),
            purchase("x", "C", "10.00", "2027-03-01"),
        )
        await sell(service, voids=[void("p")], seq=2)
    before = await projections(database)
    await rebuild(address_of(database))
    assert await projections(database) == before


async def test_another_enterprise_and_its_provider_see_nothing_of_a_purchase(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service)
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        await sell(service, purchase("p", "C", "10.00", "2026-03-01"))
        other = await authorization(service, "beta", "enterprise", BETA)
        for path in (f"/v1/enterprises/{ALPHA}/records", "/v1/contracts/C"):
            assert (await service.get(path, Authorization=other)).status == 404
        vendor = await authorization(service, "szdex", "provider", "szdex")
        seen = (await service.get("/v1/contracts/C", Authorization=vendor)).json
        assert seen["cost"] == "10.00"


async def test_worked_examples_of_purchases(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service)
        coupon = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2026}
        await service.ask("/v1/coupons", amount="299000.00", **coupon)
        amounts = ["333333.33", "333333.33", "333333.35"]
        bought = [purchase(f"p{n}", "C", each, "2026-03-01") for n, each in enumerate(amounts)]
        results = (await sell(service, *bought)).json["results"]
        assert [each["granted"] for each in results] == ["99999.99", "100000.00", "100000.01"]
        await check_sums(database)


async def test_the_worked_example_of_whole_yuan(database, tmp_path):
    text = BY_DAYS.replace('"2024-12-18"', '"2026-01-01"').replace(
        "[rounding]\n", '[rounding]\nmode = "yuan-per-step"\n'
    )
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service, text, amount="200000.00")
        # 305 of 729 days lie before 2026-12-18.
        dates = {"service_from": "2026-02-16", "service_until": "2028-02-15"}
        bought = purchase("p", "C", "200000.00", "2026-02-16", **dates)
        (result,) = (await sell(service, bought)).json["results"]
        assert (result["entitled"], result["ineligible"]) == ("25102.00", "116323.74")
        again = await sell(service, purchase("q", "C", "1.00", "2026-02-16"), seq=2)
        assert again.json["results"][0]["code"] == "second_purchase"
        await check_sums(database)


async def test_a_vendors_reporter_sends_what_waits_again_and_cuts_long_lists(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(push, "MAX_BATCH_ITEMS", 2)
    async with serving(database, tmp_path, now=NOW) as service:
        await open_shop(service)
        stream = Stream(ORIGIN, None, "szdex", "main", "szdex-1", signer("szdex-1"))
        key = base64.b64encode(receipt_key(service)).decode()
        reporter = push.Reporter(
            service.url, stream, key, tmp_path / "outbox", retry_seconds=0, first_pause_seconds=0
        )
        async with reporter:
            early = Purchase("early", "C", 30_00, "2026-03-16")
            bought = [Purchase(f"p{n}", "C", 10_00, "2026-03-01") for n in range(4)]
            report = await reporter.report(purchases=[*bought, early, {"id": "no"}])
            assert len(report.receipts) == 3
            assert [each.item["id"] for each in report.waiting] == ["early"]
            assert [each.code for each in report.not_taken] == ["malformed"]
            service.clock.advance(86_400)
            report = await reporter.report(voids=[Void("p0", "returned")])
            assert report.waiting == []
        assert (await service.contract("C"))["cost"] == "60.00"
        await check_sums(database)
