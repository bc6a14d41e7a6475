"""Awards and projects over HTTP: how they are made and shown, and to whom."""

from typing import Any

from meter.rules.kinds.table import BY_NAME
from meter.service.rebuild import rebuild
from meter.values.units import format_money, parse_money
from tests.books import ALPHA, BETA
from tests.services import Service, address_of, authorization, enterprise_body, serving


async def funded(service: Service) -> tuple[int, int]:
    """Make awards A, B and C as in the worked examples, and lower A; returns A's two entries."""
    for programme in ("adaptation", "platform"):
        await service.ask("/v1/policies", programme=programme, version="2024-12")
        budget = {"programme": programme, "year": 2025, "amount": "30000000.00"}
        await service.ask("/v1/budgets", document="12号", **budget)
    await service.ask("/v1/enterprises", **enterprise_body())
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    await service.ask("/v1/projects", id="P", title="适配")
    await service.ask("/v1/projects", id="Q", title="平台", audited_investment="5.00")
    funds = {"reference": "7号", "level": "district", "document": "通知"}
    await service.ask("/v1/projects/P/funds", amount="1000000.00", **funds)
    await service.ask("/v1/projects/P/audit", amount="6000000.00", document="报告")
    terms = {"enterprise": ALPHA, "year": 2025, "document": "评审"}
    adaptation = terms | {"programme": "adaptation", "project": "P", "base": "5000000.00"}
    platform = terms | {"programme": "platform", "project": "Q"}
    new = platform | {"class": "new", "base": "45000000.00"}
    running = platform | {"class": "running", "base": "1600000.01"}
    made = await _at_most(service, adaptation | {"id": "A"}, "1500000.00", "above_need")
    await _at_most(service, new | {"id": "B"}, "20000000.00", "cap_exceeded")
    await _at_most(service, running | {"id": "C"}, "480000.00", "above_need")
    changed = await service.ask("/v1/awards/A/change", amount="1.00", reason="a smaller cost")
    return made["entry"], changed["entry"]


async def _at_most(service: Service, award: dict, amount: str, code: str) -> dict[str, Any]:
    """Make an award of an amount; a fen more is refused."""
    more = format_money(parse_money(amount) + 1)
    refused = await service.post("/v1/awards", award | {"amount": more})
    assert (refused.status, refused.code) == (422, code)
    return await service.ask("/v1/awards", **(award | {"amount": amount}))


async def shown(service: Service) -> dict[str, Any]:
    balance = f"/v1/enterprises/{ALPHA}/balance?programme=adaptation&year=2025"
    return {
        "balance": (await service.get(balance)).json,
        "pools": (await service.get("/v1/pools")).json["pools"],
        "coupons": (await service.get("/v1/coupons")).json["coupons"],
        "awards": (await service.get("/v1/awards")).json["awards"],
        "projects": (await service.get("/v1/projects")).json["projects"],
    }


async def test_awards_are_made_and_shown(database, tmp_path):
    async with serving(database, tmp_path) as service:
        made, changed = await funded(service)
        assert (await service.get("/v1/awards/A")).json == {
            "id": "A",
            "entry": made,
            "programme": "adaptation",
            "policy": "2024-12",
            "class": "standard",
            "enterprise": ALPHA,
            "project": "P",
            "year": 2025,
            "base": "5000000.00",
            "amount": "1.00",
            "document": "评审",
            "amounts": [
                {"entry": made, "amount": "1500000.00"},
                {"entry": changed, "amount": "1.00"},
            ],
        }
        listed = (await service.get(f"/v1/enterprises/{ALPHA}/awards")).json["awards"]
        assert [each["id"] for each in listed] == ["A", "B", "C"]
        assert (await service.get(f"/v1/enterprises/{BETA}/awards")).json["awards"] == []
        first = (await service.get("/v1/awards?programme=platform&limit=1")).json
        assert ([each["id"] for each in first["awards"]], first["more"]) == (["B"], True)
        following = f"/v1/awards?programme=platform&after={first['next']}"
        rest = (await service.get(following)).json
        assert [each["id"] for each in rest["awards"]] == ["C"]
        await service.ask("/v1/awards/A/change", amount="2.00", reason="more")
        assert (await service.get(following)).code == "moved"
        assert (await service.get("/v1/awards/none")).code == "unknown_award"
        entries = (await service.get("/v1/entries?award=A")).json["entries"]
        assert [each["entry"]["kind"] for each in entries] == [
            *("award", "award_change", "award_change")
        ]


async def test_an_audited_investment_limits_the_city_over_http(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.ask("/v1/policies", programme="event", version="2024-12")
        budget = {"programme": "event", "year": 2025, "amount": "30000000.00"}
        await service.ask("/v1/budgets", document="12号", **budget)
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/projects", id="P", title="展会", audited_investment="3000000.00")
        for reference, level, amount in [
            ("国1号", "national", "900000.00"),
            ("区1号", "district", "1200000.00"),
        ]:
            body = {"reference": reference, "level": level, "amount": amount}
            await service.ask("/v1/projects/P/funds", document="通知", **body)
        award = {"id": "A", "programme": "event", "enterprise": ALPHA, "year": 2025}
        award |= {"project": "P", "base": "9000000.00", "document": "评审"}
        await _at_most(service, award, "1800000.00", "project_ceiling")


async def test_projects_are_shown_with_other_money_and_awards(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await funded(service)
        project = (await service.get("/v1/projects/P")).json
        del project["entry"]
        assert project == {
            "id": "P",
            "title": "适配",
            "audited_investment": "6000000.00",
            "funds": [{"reference": "7号", "level": "district", "amount": "1000000.00"}],
            "awards": ["A"],
        }
        projects = (await service.get("/v1/projects")).json["projects"]
        assert [each["id"] for each in projects] == ["P", "Q"]
        assert (await service.get("/v1/projects/none")).code == "unknown_project"


async def test_an_award_is_part_of_its_coupon_now_and_in_the_past(database, tmp_path):
    async with serving(database, tmp_path) as service:
        _, changed = await funded(service)
        before = await shown(service)
        balance = before["balance"]
        assert balance["awards"] == [{"award": "A", "granted": "1.00"}]
        assert balance["contracts"] == []
        assert {balance[name] for name in ("issued", "granted", "entitled")} == {"1.00"}
        pools = [each for each in before["pools"] if each["year"] == 2025]
        granted = {each["programme"]: each["granted"] for each in pools}
        assert granted == {"adaptation": "1.00", "platform": "20480000.00"}
        past = await service.get(
            f"/v1/enterprises/{ALPHA}/balance?programme=adaptation&year=2025&as_of={changed}"
        )
        assert past.json["awards"] == [{"award": "A", "granted": "1500000.00"}]
        assert past.json["entitled"] == "1500000.00"
    async with serving(database, tmp_path) as service:
        assert await shown(service) == before
        more = {"amount": "1500000.01", "reason": "more"}
        assert (await service.post("/v1/awards/A/change", more, "later")).code == "above_need"
        less = {"amount": "1500000.00", "reason": "more"}
        assert (await service.post("/v1/awards/A/change", less, "at-last")).status == 201
    await rebuild(address_of(database))
    async with serving(database, tmp_path) as service:
        assert (await shown(service))["balance"]["granted"] == "1500000.00"


async def test_an_enterprise_sees_its_own_awards_alone(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await funded(service)
        for uscc, status in ((ALPHA, 200), (BETA, 404)):
            bearer = {"Authorization": await authorization(service, uscc, "enterprise", uscc)}
            answer = await service.get("/v1/awards/A", **bearer)
            assert answer.status == status
            answer = await service.get(f"/v1/enterprises/{ALPHA}/awards", **bearer)
            assert answer.status == status
            assert (await service.get("/v1/awards", **bearer)).code == "forbidden"
            assert (await service.get("/v1/projects/P", **bearer)).code == "forbidden"


def test_the_kinds_of_awards_move_money_and_need_a_key():
    assert {name for name in BY_NAME if name.startswith(("award", "project"))} == {
        *("award", "award_change", "project", "project_audit", "project_funds")
    }
    assert BY_NAME["award"].moves_money
    assert BY_NAME["award_change"].moves_money
