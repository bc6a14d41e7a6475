"""An award's statement from the service and on its page: the one that an auditor makes."""

import asyncio
import csv
import html
import io
import json
import re

import pytest

from meter.console.words import words
from tests.books import ALPHA, BETA
from tests.commands import good, kashi
from tests.meter.test_award_claims import NOW, SELLER, claimable
from tests.meter.test_claim_pages import text_of
from tests.meter.test_statement_pages import links, page_of
from tests.meter.test_statements_of_contracts import check, statement
from tests.papers import day_after, invoice, payment
from tests.people import sign_in
from tests.services import authorization, enterprise_body, serving

DAY = 86_400
AMOUNTS = {"W": "1000.00", "V": "70.00"}
OF_AUDITS = ("awards/W", "--contract", "W")


@pytest.fixture
async def service(database, tmp_path):
    """In June, award W of ALPHA is made, lowered, and claimed; in July it is paid. V is BETA's."""
    async with serving(database, tmp_path, now=NOW) as service:
        await service.ask(
            "/v1/policies",
            programme="open-source",
            version="2024-12",
            content=claimable("open-source"),
        )
        budget = {"programme": "open-source", "year": 2025, "document": "12号"}
        await service.ask("/v1/budgets", amount="2000.00", **budget)
        for (name, amount), uscc in zip(AMOUNTS.items(), (ALPHA, BETA), strict=True):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
            award = {"programme": "open-source", "enterprise": uscc, "year": 2025}
            await service.ask("/v1/awards", id=name, amount=amount, document="评审", **award)
        await service.ask("/v1/awards/W/change", amount="900.00", reason="重新评审")
        bill = invoice("1" * 20, "800.00", seller=SELLER, issued_on="2025-05-01")
        paid = payment("P-1", "800.00") | {"paid_on": "2025-05-02"}
        claim = {"id": "C1", "item": "W", "year": 2025, "invoices": [bill], "payments": [paid]}
        await service.ask("/v1/claims", **claim)
        await service.ask("/v1/claims/C1/check")
        await service.ask("/v1/claims/C1/approve", amount="800.00")
        notice = {"starts": NOW[:10], "ends": day_after(NOW[:10], 7)}
        await service.ask("/v1/claims/C1/notice", url="https://city.test/n/1", **notice)
        service.clock.advance(31 * DAY)
        await service.ask("/v1/claims/C1/order")
        await service.published()
        yield service


async def test_it_is_the_auditors_month_by_month(service, tmp_path):
    ours = {"Authorization": await authorization(service, "alpha", "enterprise", ALPHA)}
    june = await check(service, tmp_path, "2025-06", *OF_AUDITS, **ours)
    assert [
        (line["kind"], line["figures"]["granted"], line["figures"]["claimed"])
        for line in june["lines"]
    ] == [
        ("award", "1000.00", "0.00"),
        ("award_change", "-100.00", "0.00"),
        ("approval", "0.00", "800.00"),
    ]
    assert [line["id"] for line in june["lines"]] == ["", "", "C1"]
    july = await check(service, tmp_path, "2025-07", *OF_AUDITS, **ours)
    assert [(line["kind"], line["figures"]["paid"]) for line in july["lines"]] == [
        ("order", "800.00")
    ]
    months = [(each["over"], each["totals"]["granted"]) for each in (june, july)]
    assert months == [(True, "900.00"), (False, "0.00")]
    whole = (await statement(service, f"enterprises/{ALPHA}", "2025-06", **ours)).json["statement"]
    own = [line for line in whole["lines"] if line["contract"] == "W"]
    assert own == june["lines"]


async def test_its_firm_and_officials_alone_read_it(service):
    tokens = [
        {"Authorization": await authorization(service, name, role, subject)}
        for name, role, subject in (
            ("alpha", "enterprise", ALPHA),
            ("beta", "enterprise", BETA),
            ("pcl", "provider", "pcl"),
            ("bureau", "auditor", ""),
        )
    ]
    found = [await statement(service, "awards/W", "2025-06", **each) for each in tokens]
    assert [each.status for each in found] == [200, 404, 403, 200]
    assert found[0].json == found[3].json
    missing = [await statement(service, "awards/Z", "2025-06", **each) for each in tokens[1:4:2]]
    assert [each.code for each in missing] == ["not_found", "unknown_award"]
    assert (await statement(service, "contracts/W", "2025-06")).code == "unknown_contract"
    assert (await statement(service, "awards/W", "2025-13")).code == "malformed"


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_firm_finds_its_page_and_its_command_makes_the_hash_again(
    service, tmp_path, language
):
    firm, w = await sign_in(service, "enterprise", ALPHA), words(language)
    base, path = f"/{language}/enterprises/{ALPHA}", f"/{language}/awards/W/statements"
    listed, _ = await page_of(service, firm, f"{base}/claims")
    assert path in links(listed)
    whole, _ = await page_of(service, firm, f"{base}/statements?month=2025-06")
    assert f"{path}?month=2025-06" in links(whole)
    page, text = await page_of(service, firm, f"{path}?month=2025-06")
    assert w["statement_of_award"].format(month="2025-06", award="W") in text
    assert {"¥900.00", "¥800.00", "¥1,000.00"} <= set(text.replace("−", "-").split())
    (command,) = re.findall(r"<code>kashi (audit statement [^<]*)</code>", page)
    target = tmp_path / "again.json"
    given = {"LOG": service.folder.log, "FILE": target}
    given |= {"VKEY": service.folder.log_vkey.read_text().strip()}
    asked = [given.get(word, word) for word in html.unescape(command).split()]
    good(await asyncio.to_thread(kashi, *asked))
    assert json.loads(target.read_text())["hash"] in text
    file = await service.get(f"{path}.csv?month=2025-06", **firm.headers)
    rows = list(csv.DictReader(io.StringIO(file.body.decode("utf-8-sig"))))
    assert [row[w["granted"]] for row in rows] == ["1000.00", "-100.00", "0.00"]
    for role, subject, status in (("enterprise", BETA, 404), ("auditor", "", 200)):
        visitor = await sign_in(service, role, subject)
        for end in ("", ".csv"):
            shown = await service.get(f"{path}{end}?month=2025-06", **visitor.headers)
            assert shown.status == status, text_of(shown)
