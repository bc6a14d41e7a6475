"""A provider's contracts, as the provider sees them."""

import pytest

from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, record, uscc_of, void
from tests.services import (
    HOUR,
    authorization,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

MONEY = ("entitled", "granted", "uncovered", "amount", "issued", "remaining")


@pytest.fixture
async def service(database, tmp_path):
    """Two contracts of pcl with usage and one without, and one of another provider."""
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.ask("/v1/enterprises", **enterprise_body(BETA, name="深圳别家科技"))
        await service.ask("/v1/providers", **provider_body("szu", uscc=uscc_of(10)))
        await service.ask("/v1/providers/szu/keys", **key_body("szu-1", "szu"))
        limited = contract_body("B", enterprise=BETA, max_devices={DEVICE: 2})
        await service.ask("/v1/contracts", **limited)
        await service.ask("/v1/contracts", **contract_body("S", provider="szu"))
        await service.ask("/v1/contracts", **contract_body("N", use="other"))
        await service.usage(
            [
                record("a", "A", *HOUR, 64_000),
                record("b", "B", *HOUR, 3_000),
                record("n", "N", *HOUR, 1_000),
            ]
        )
        szu = {"provider": "szu", "keyid": "szu-1"}
        await service.usage([record("s", "S", *HOUR, 1_000)], **szu)
        await service.ask("/v1/contracts/B/freeze", reason="asked about")
        yield service


async def contracts(service, query="", **headers):
    answer = await service.get(f"/v1/providers/pcl/contracts{query}", **headers)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_provider_sees_its_contracts_and_no_money_but_the_cost(service):
    header = {"Authorization": await authorization(service, "centre", "provider", "pcl")}
    told = await contracts(service, **header)
    assert told == await contracts(service)
    first, second, third = told["contracts"]
    assert first == {
        "id": "A",
        "entry": first["entry"],
        "contract_no": "HT-A",
        "programme": PROGRAMME,
        "enterprise": ALPHA,
        "name": "深圳某某科技有限公司",
        "from": first["from"],
        "until": first["until"],
        "frozen": False,
        "cost": "288.00",
        "withheld": "0.00",
        "ineligible": "0.00",
        "reasons": {},
    }
    assert (second["id"], second["name"], second["frozen"]) == ("B", "深圳别家科技", True)
    assert (second["cost"], second["withheld"]) == ("13.50", "4.50")
    assert (third["ineligible"], third["reasons"]) == ("4.50", {"use": "4.50"})
    total = {"contracts": 3, "cost": "306.00", "withheld": "4.50", "ineligible": "4.50"}
    assert told["total"] == total
    assert not any(name in str(told) for name in MONEY)


async def test_the_total_is_on_the_last_page_whatever_the_pages(service):
    whole = await contracts(service)
    found, after = [], ""
    while True:
        page = await contracts(service, f"?limit=1&after={after}")
        found += page["contracts"]
        after = page["next"]
        if not page["more"]:
            break
        assert "total" not in page
    assert found == whole["contracts"]
    assert page["total"] == whole["total"]


async def test_a_list_that_has_changed_is_begun_again(service):
    place = (await contracts(service, "?limit=1"))["next"]
    await service.usage([record("s2", "S", *HOUR, 1_000)], seq=2, provider="szu", keyid="szu-1")
    again = await contracts(service, f"?limit=1&after={place}")
    assert again["contracts"][0]["id"] == "B"
    await service.usage(voids=[void("b")], seq=2)
    answer = await service.get(f"/v1/providers/pcl/contracts?limit=1&after={place}")
    assert answer.code == "moved"


async def test_a_provider_sees_nobody_elses(service):
    header = {"Authorization": await authorization(service, "centre", "provider", "pcl")}
    answer = await service.get("/v1/providers/szu/contracts", **header)
    assert answer.code == "not_found"
    assert (await service.get("/v1/providers/nobody/contracts")).code == "unknown_provider"
