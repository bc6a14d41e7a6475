"""Who a token is, policies, one's own registration, and the officials' search."""

from urllib.parse import quote

import pytest

from tests.books import ALPHA, BETA, PROGRAMME, PROVIDER_USCC, record, uscc_of
from tests.papers import papers
from tests.services import authorization, enterprise_body, serving

MAY = "2025-05-20T12:00:00+08:00"


@pytest.fixture
async def service(database, tmp_path):
    """Contract A between ALPHA and pcl with one record, an award, a claim, and BETA without any."""
    async with serving(database, tmp_path, now=MAY) as service:
        await service.open_books()
        await service.ask("/v1/enterprises", **enterprise_body(BETA, name="深圳别家科技"))
        await service.fund_awards()
        await service.award("AW", "1.00", "PJ")
        hours = (f"2025-05-20T0{hour}:00:00+08:00" for hour in (8, 9))
        answer = await service.usage([record("job-1", "A", *hours, 1_000)])
        assert answer.json["results"][0]["status"] == "accepted"
        claim = {"id": "C1", "item": "A", "year": 2025}
        await service.ask("/v1/claims", **claim, **papers(day="2025-05-20"))
        yield service


async def me(service, role, subject=""):
    header = await authorization(service, f"{role}-token", role, subject)
    answer = (await service.get("/v1/me", Authorization=header)).json
    del answer["as_of"]
    return answer


ADAPTATION = {
    "programme": "adaptation",
    "title": "国产生态适配",
    "title_en": "Adaptation",
    "years": [2024, 2025, 2026],
}
TRAINING = {
    "programme": PROGRAMME,
    "title": "训力券",
    "title_en": "Training coupon",
    "years": [2024, 2025, 2026],
}


async def test_each_token_learns_whose_it_is_and_what_concerns_it(service):
    assert await me(service, "enterprise", ALPHA) == {
        "token": "enterprise-token",
        "role": "enterprise",
        "subject": ALPHA,
        "name": "深圳某某科技有限公司",
        "programmes": [ADAPTATION, TRAINING],
    }
    assert await me(service, "provider", "pcl") == {
        "token": "provider-token",
        "role": "provider",
        "subject": "pcl",
        "name": "鹏城实验室",
        "programmes": [TRAINING],
    }
    auditor = {"token": "auditor-token", "role": "auditor"}
    assert await me(service, "auditor") == auditor | {"programmes": [ADAPTATION, TRAINING]}
    authority = (await service.get("/v1/me")).json
    assert (authority["role"], authority["person"]) == ("authority", "authority")
    assert "subject" not in authority


async def test_a_party_without_contracts_has_no_programmes(service):
    assert (await me(service, "enterprise", BETA))["programmes"] == []


async def test_everybody_reads_the_policies_with_their_files(service):
    header = await authorization(service, "firm", "enterprise", ALPHA)
    answer = (await service.get("/v1/policies", Authorization=header)).json
    training, adaptation = answer["policies"]
    assert (training["programme"], adaptation["programme"]) == (PROGRAMME, "adaptation")
    classes = [(each["name"], each["ratio"]) for each in training["classes"]]
    assert classes == [("standard", 5_000), ("startup", 6_000)]
    assert (training["cap"], training["pool"]) == ("10000000.00", "500000000.00")
    assert (training["from"], training["until"]) == ("2024-12-18", "2026-12-18")
    assert 'title = "训力券"' in training["content"]
    assert "pool" not in adaptation
    first = (await service.get("/v1/policies?limit=1")).json
    assert first["more"]
    rest = (await service.get(f"/v1/policies?after={first['next']}")).json
    assert rest["policies"] == [adaptation]


async def test_an_enterprise_sees_itself_and_the_names_of_its_providers(service):
    header = await authorization(service, "firm", "enterprise", ALPHA)
    answer = (await service.get(f"/v1/enterprises/{ALPHA}", Authorization=header)).json
    assert answer["enterprise"]["name"] == "深圳某某科技有限公司"
    assert answer["enterprise"]["contracts"] == 1
    assert answer["providers"] == [{"id": "pcl", "name": "鹏城实验室"}]
    assert answer["programmes"] == [ADAPTATION, TRAINING]
    other = await service.get(f"/v1/enterprises/{BETA}", Authorization=header)
    assert other.code == "not_found"
    assert (await service.get("/v1/enterprises/91440300708461136X")).code == "unknown_enterprise"


async def test_a_provider_sees_its_enlistments_and_keys(service):
    header = await authorization(service, "centre", "provider", "pcl")
    answer = (await service.get("/v1/providers/pcl", Authorization=header)).json
    assert answer["keys"] == [{"keyid": "pcl-1", "revoked": False}]
    assert [each["batch"] for each in answer["enlistments"]] == ["2025-1"]
    await service.ask("/v1/keys/pcl-1/revoke", reason="lost")
    answer = (await service.get("/v1/providers/pcl", Authorization=header)).json
    assert answer["keys"] == [{"keyid": "pcl-1", "revoked": True}]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("A", [("contract", "A", "")]),
        ("AW", [("award", "AW", "")]),
        ("PJ", [("project", "PJ", "适配 PJ")]),
        ("C1", [("claim", "C1", "")]),
        ("pcl", [("provider", "pcl", "鹏城实验室")]),
        ("pcl-1", [("key", "pcl-1", "")]),
        (ALPHA, [("enterprise", ALPHA, "深圳某某科技有限公司")]),
        (PROVIDER_USCC, [("provider", "pcl", "鹏城实验室")]),
        ("authority", [("person", "authority", "")]),
        ("job-1", [("record", "job-1", "pcl")]),
        ("0", [("entry", "0", "")]),
        ("00", []),
        ("999999", []),
        ("鹏城", [("provider", "pcl", "鹏城实验室")]),
        ("深圳别", [("enterprise", BETA, "深圳别家科技")]),
        ("城实验", []),
        ("%", []),
    ],
)
async def test_officials_find_what_has_an_id_or_a_name_that_begins_so(service, asked, found):
    answer = (await service.get(f"/v1/search?q={quote(asked)}")).json
    told = [(each["kind"], each["id"], each["name"]) for each in answer["found"]]
    assert (told, answer["more"]) == (found, False)


async def test_a_batch_is_found_by_its_digest(service):
    (batch,) = (await service.get("/v1/entries?kind=batch")).json["entries"]
    digest = batch["entry"]["payload"]
    answer = (await service.get(f"/v1/search?q={digest}")).json
    assert [each["kind"] for each in answer["found"]] == ["batch"]


async def test_a_search_shows_twenty_and_says_that_there_are_more(database, tmp_path):
    async with serving(database, tmp_path) as service:
        for number in range(21):
            await service.ask("/v1/enterprises", **enterprise_body(uscc_of(number + 1), name="Ab"))
        answer = (await service.get("/v1/search?q=aB")).json
        assert (len(answer["found"]), answer["more"]) == (20, True)
        for query in ("", "?q=", f"?q={'x' * 201}"):
            assert (await service.get(f"/v1/search{query}")).code == "malformed"
