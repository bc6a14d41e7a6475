"""Each paying article of the Measures, from the registration to the bank's payment, over HTTP.

The table is made by hand: the applicant, the class, the base of a ratio, and what is awarded at
most.
"""

from typing import Any, NamedTuple

import pytest

from meter.values.units import format_money, parse_money
from tests.books import ALPHA, DEVICE, PROVIDER_USCC, purchase, record, uscc_of
from tests.meter.test_measures import ROWS
from tests.papers import DIGEST, day_after
from tests.services import (
    Service,
    check_sums,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

TODAY = "2025-06-02"
NOW = f"{TODAY}T12:00:00+08:00"


class Case(NamedTuple):
    """An award: yuan of its base where the class has a ratio, and the most that is awarded."""

    programme: str
    named: str | None
    most: str
    base: str | None = None
    applicant: str = "enterprise"
    code: str = "cap_exceeded"


AWARDS = [
    Case("corpus-reward", None, "1000000.00", applicant="university"),
    Case("application", "demonstration", "1500000.00", "5000000.00", code="above_need"),
    Case("application", "demonstration", "2000000.00", "9000000.00"),
    Case("application", "benchmark", "10000000.00"),
    Case("scenario", None, "5000000.00"),
    Case("hardware", None, "3000000.00"),
    Case("software", None, "10000000.00"),
    Case("research", "major", "10000000.00", applicant="institute"),
    Case("research", "key", "3000000.00", applicant="university"),
    Case("research", "general", "600000.00"),
    Case("research", "special", "30000000.00", "80000000.00"),
    Case("adaptation", None, "2500000.00", "5000000.00", code="above_need"),
    Case("open-source", None, "1000000.00", applicant="university"),
    Case("platform", "new", "20000000.00", "45000000.00"),
    Case("platform", "running", "480000.00", "1600000.01", code="above_need"),
    Case("platform", "national", "1000000.00", "1000000.00", code="above_need"),
    Case("laboratory", "approved", "5000000.00", applicant="institute"),
    Case("laboratory", "evaluated", "3000000.00"),
    Case("park", "recognised", "2000000.00", applicant="other", code="above_need"),
    Case("park", "excellent", "500000.00", code="above_need"),
    Case("returnee", "first", "1000000.00", code="above_need"),
    Case("returnee", "second", "500000.00", code="above_need"),
    Case("returnee", "third", "300000.00", code="above_need"),
    Case("event", None, "3000000.00", "7000000.00"),
]


def test_each_programme_of_awards_has_a_case():
    named = {case.programme for case in AWARDS}
    assert named == {name for name, row in ROWS.items() if row.meter == "award"}


SHARING = {"corpus-reward": "corpus-coupon"}


async def put_in_force(service: Service, programme: str) -> None:
    """Activate a programme, after one whose pool it shares; set a budget where none is stated."""
    if programme in SHARING:
        await put_in_force(service, SHARING[programme])
    await service.ask("/v1/policies", programme=programme, version="2024-12")
    if ROWS[programme].pool is None:
        budget = {"programme": programme, "year": 2025, "amount": "90000000.00"}
        await service.ask("/v1/budgets", document="12号", **budget)


async def pay(service: Service, item: str, granted: str, invoiced: str, seller: str) -> None:
    """Claim all that an item was granted, with an invoice that was paid, and let the city pay."""
    papers: dict[str, Any] = {"invoices": [], "payments": [], "delivery": DIGEST}
    if invoiced:
        paper = {"amount": invoiced, "part": invoiced}
        named = {"number": "2" * 20, "issued_on": TODAY, "seller": seller, "buyer": ALPHA}
        papers["invoices"] = [named | {"tax": "0.00", "sha256": DIGEST} | paper]
        payment = {"bank": "102584000002", "reference": "P-1", "paid_on": TODAY}
        papers["payments"] = [payment | paper]
    await service.ask("/v1/claims", id="C", item=item, year=2025, **papers)
    await service.ask("/v1/claims/C/check")
    more = format_money(parse_money(granted) + 1)
    refused = await service.post("/v1/claims/C/approve", {"amount": more})
    assert refused.code == "above_payable"
    await service.ask("/v1/claims/C/approve", amount=granted)
    until = day_after(TODAY, 7)
    await service.ask("/v1/claims/C/notice", starts=TODAY, ends=until, url="https://city.test/1")
    service.clock.advance(8 * 86_400)
    assert (await service.ask("/v1/claims/C/order"))["cash"] == granted
    paid = {"bank_reference": "city-1", "paid_on": until}
    await service.ask("/v1/claims/C/payment", **paid)
    (account,) = (await service.get(f"/v1/enterprises/{ALPHA}/accounts")).json["accounts"]
    figures = [account[name] for name in ("item", "granted", "paid", "payable", "debt")]
    assert figures == [item, granted, granted, "0.00", "0.00"]


@pytest.mark.parametrize("case", AWARDS, ids=lambda case: f"{case.programme}-{case.named}")
async def test_an_award_is_made_within_the_article_and_paid(database, tmp_path, case):
    async with serving(database, tmp_path, now=NOW) as service:
        await put_in_force(service, case.programme)
        founded = {"founded_on": "2024-06-01", "applicant": case.applicant}
        await service.ask("/v1/enterprises", **enterprise_body(**founded))
        await service.ask("/v1/projects", id="P", title="项目")
        award = {"id": "A", "programme": case.programme, "enterprise": ALPHA, "year": 2025}
        award |= {"project": "P", "document": "评审意见"}
        award |= {"class": case.named} if case.named else {}
        award |= {"base": case.base} if case.base else {}
        more = format_money(parse_money(case.most) + 1)
        refused = await service.post("/v1/awards", award | {"amount": more})
        assert refused.code == case.code
        await service.ask("/v1/awards", amount=case.most, **award)
        shows_costs = "invoice" in evidence_of(service, case.programme)
        invoiced = (case.base or case.most) if shows_costs else ""
        await pay(service, "A", case.most, invoiced, uscc_of(7))
        await check_sums(database)


def evidence_of(service: Service, programme: str) -> frozenset[str]:
    claims = service.intake.state.active[programme].claims
    return claims.evidence


async def test_training_compute_is_used_and_half_of_it_paid(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await put_in_force(service, "training-coupon")
        await service.ask("/v1/providers", **provider_body(devices={DEVICE: 1_000}))
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/contracts", **contract_body("A"))
        await service.issue(2025, "500000.00")
        # 64 cards × 24 h × 4.50 = 6,912.00, and half of it.
        days = (f"2025-06-0{day}T00:00:00+08:00" for day in (1, 2))
        (result,) = (await service.usage([record("r", "A", *days, 64_000)])).json["results"]
        assert (result["cost"], result["granted"]) == ("6912.00", "3456.00")
        await pay(service, "A", "3456.00", "6912.00", PROVIDER_USCC)
        await check_sums(database)


@pytest.mark.parametrize(
    ("programme", "use"), [("corpus-coupon", "training"), ("model-coupon", "application")]
)
async def test_what_is_bought_is_delivered_and_three_tenths_of_it_paid(
    database, tmp_path, programme, use
):
    async with serving(database, tmp_path, now=NOW) as service:
        await put_in_force(service, programme)
        vendor = {"id": "szdex", "uscc": uscc_of(71), "name": "深圳数据交易所"}
        await service.ask("/v1/providers", **vendor, serves=[programme])
        await service.ask("/v1/providers/szdex/keys", **key_body("szdex-1", "szdex"))
        await service.ask("/v1/enterprises", **enterprise_body())
        terms = contract_body("A", programme=programme, provider="szdex", use=use, prices={})
        await service.ask("/v1/contracts", **terms)
        coupon = {"programme": programme, "enterprise": ALPHA, "year": 2025}
        await service.ask("/v1/coupons", amount="300000.00", **coupon)
        bought = [purchase("p", "A", "333333.33", TODAY)]
        names = {"provider": "szdex", "keyid": "szdex-1"}
        (result,) = (await service.usage(purchases=bought, **names)).json["results"]
        assert (result["cost"], result["granted"]) == ("333333.33", "99999.99")
        await pay(service, "A", "99999.99", "333333.33", uscc_of(71))
        await check_sums(database)
