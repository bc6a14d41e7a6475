"""Months, confirmations and disputes over HTTP: who sees what, and what a restart keeps."""

from typing import Any

from meter.api import get_months
from meter.service.rebuild import rebuild
from tests.books import ALPHA, BETA, record
from tests.papers import papers
from tests.services import (
    Answer,
    Service,
    address_of,
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    projections,
    serving,
)

MARCH = "2025-03-10T12:00:00+08:00"
APRIL = "2025-04-02T12:00:00+08:00"
MAY = "2025-05-02T12:00:00+08:00"
R1 = {"contract": "A", "provider": "pcl", "id": "r1", "reason": "it never ran"}
HOURS = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


async def used(service: Service) -> None:
    """Open books in which March has cost of A and B, with a gap, and April a correction."""
    await service.open_books()
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    await service.ask("/v1/contracts", **contract_body("B", enterprise=BETA))
    used = [record("r1", "A", *HOURS, 64_000), record("b1", "B", *HOURS, 64_000)]
    assert (await service.usage(used)).status == 200
    assert (await service.usage([], seq=4)).status == 200
    service.clock.set(APRIL)


async def close(service: Service) -> dict[str, Any]:
    waiver = {"person": "authority", "reason": "the stream was replaced"}
    return await service.ask("/v1/months/2025-03/close", waiver=waiver)


async def get(service: Service, path: str, token: str | None) -> Answer:
    """Ask as somebody, or as the authority."""
    return await service.get(path, **({} if token is None else {"Authorization": token}))


async def test_a_month_is_closed_with_its_gaps_also_after_a_restart(database, tmp_path):
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        refused = await service.post("/v1/months/2025-03/close", {})
        assert (refused.code, refused.json["detail"]) == (
            "gaps_open",
            "pcl stream 'main' lacks 2 to 3; a waiver is needed",
        )
        # A gap that is filled in the very group of the closing counts no more.
        assert (await service.usage([], seq=2)).status == 200
        clock, keys = service.clock, service.keys
    async with serving(database, tmp_path, clock=clock) as service:
        service.keys = keys
        made = await close(service)
        entries = [(await service.get(f"/v1/entries/{made['entry'] + n}")).json for n in (0, 1)]
        closing, listed = (each["entry"] for each in entries)
        assert (closing["booked_cost"], closing["booked_granted"]) == (57_600, 14_400)
        assert listed["items"] == [["A", 28_800, 14_400], ["B", 28_800, 0]]
        assert listed["gaps"] == [["main", 3, 3]]
        assert (await service.usage([], [{"id": "r1", "reason": "wrong"}], seq=3)).status == 200
        assert (await service.usage([], seq=5, stream="x")).status == 200
        clock.set(MAY)
        assert (await service.post("/v1/months/2025-04/close", {})).code == "gaps_open"
    async with serving(database, tmp_path, clock=clock) as service:
        service.keys = keys
        await service.ask("/v1/months/2025-04/close", waiver={"person": "authority", "reason": "x"})
        page = (await service.get("/v1/months/2025-04")).json
        assert [(each["item"], each["cost"], each["granted"]) for each in page["items"]] == [
            ("A", "-288.00", "-144.00")
        ]
        (line,) = (await service.get("/v1/months/2025-04/corrections?contract=A")).json[
            "corrections"
        ]
        assert (line["kind"], line["record"], line["service_month"], line["cost"]) == (
            *("void", "r1", "2025-03"),
            "-288.00",
        )
    await check_sums(database)
    before = await projections(database)
    await rebuild(address_of(database))
    assert await projections(database) == before


async def test_each_sees_what_is_its_own(database, tmp_path):
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        names = [("running", "2025-03")]
        running = (await service.get("/v1/months")).json["months"]
        assert [(each["state"], each["month"]) for each in running] == names
        assert (await service.get("/v1/months/2025-03")).code == "unknown_month"
        await service.usage([record("late", "A", *HOURS, 1_000)], seq=2)
        over = (await service.get("/v1/months/2025-03")).json
        assert (over["about"]["state"], over["cost"]) == ("over", "576.00")
        await close(service)
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        pcl = await authorization(service, "pcl", "provider", "pcl")
        seen = {}
        for name, token in (("authority", None), ("firm", firm), ("pcl", pcl)):
            page = (await get(service, "/v1/months/2025-03", token)).json
            lines = [(each["item"], each["cost"], each.get("granted")) for each in page["items"]]
            seen[name] = lines, page["cost"], page.get("granted"), page.get("waiver")
        assert seen["authority"] == (
            [("A", "288.00", "144.00"), ("B", "288.00", "0.00")],
            *("576.00", "144.00"),
            {"person": "authority", "reason": "the stream was replaced"},
        )
        assert seen["firm"] == ([("A", "288.00", "144.00")], "288.00", "144.00", None)
        assert seen["pcl"] == ([("A", "288.00", None), ("B", "288.00", None)], "576.00", None, None)
        first = (await service.get("/v1/months/2025-03?limit=1")).json
        rest = (await service.get(f"/v1/months/2025-03?limit=1&after={first['next']}")).json
        assert [each["item"] for each in first["items"] + rest["items"]] == ["A", "B"]
        assert (first["more"], rest["more"], rest["cost"]) == (True, False, "576.00")
        path = "/v1/months/2025-03/corrections?contract=B"
        assert (await get(service, path, firm)).code == "not_found"
        assert (await get(service, path, pcl)).json["corrections"] == []


async def test_a_firm_disputes_its_own_record_and_confirms_its_own_month(database, tmp_path):
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        await close(service)
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        other = await authorization(service, "other", "enterprise", BETA)
        pcl = await authorization(service, "pcl", "provider", "pcl")
        assert (
            await service.post("/v1/records/dispute", R1, Authorization=other)
        ).code == "not_found"
        assert (
            await service.post("/v1/records/dispute", R1, Authorization=pcl)
        ).code == "forbidden"
        made = await service.post("/v1/records/dispute", R1, Authorization=firm)
        assert made.status == 201, made.body
        dismissal = {"provider": "pcl", "id": "r1", "reason": "it ran"}
        path = "/v1/records/dispute/dismiss"
        assert (await service.post(path, dismissal, Authorization=firm)).code == "forbidden"
        confirm, own = "/v1/months/2025-03/confirm", {"enterprise": ALPHA}
        assert (await service.post(confirm, own, Authorization=firm)).code == "dispute_open"
        assert (await service.post(confirm, own, Authorization=other)).code == "not_found"
        claim = {"id": "C", "item": "A", "year": 2025} | papers("1" * 20, "P", "2025-04-01")
        await service.ask("/v1/claims", **claim)
        await service.ask("/v1/claims/C/check")
        approval = "/v1/claims/C/approve", {"amount": "1.00"}
        assert (await service.post(*approval)).code == "dispute_open"
        clock, keys = service.clock, service.keys
    async with serving(database, tmp_path, clock=clock) as service:
        service.keys = keys
        assert (await service.post(*approval)).code == "dispute_open"
        for token, count in ((firm, 1), (other, 0), (pcl, 1), (None, 1)):
            disputes = (await get(service, "/v1/disputes", token)).json["disputes"]
            assert [each["state"] for each in disputes] == ["open"] * count
        await service.ask("/v1/records/void", provider="pcl", id="r1", reason="seen")
        (dispute,) = (await get(service, "/v1/disputes", firm)).json["disputes"]
        assert (dispute["state"], dispute["month"], dispute["years"]) == (
            *("upheld", "2025-03"),
            [2025],
        )
    async with serving(database, tmp_path, clock=clock) as service:
        service.keys = keys
        # What was voided before is known after a restart.
        assert (await service.post(path, dismissal)).code == "dispute_decided"
        assert (await service.post(confirm, own, Authorization=firm)).status == 201
        page = (await get(service, "/v1/months/2025-03", firm)).json
        assert [each["enterprise"] for each in page["confirmed"]] == [ALPHA]
        assert (await get(service, "/v1/months/2025-03", other)).json["confirmed"] == []
    await check_sums(database)


async def dispute_five(service: Service) -> None:
    """Dispute five records of A; of the third and fourth it is decided."""
    await service.open_books()
    names = [f"r{number}" for number in range(1, 6)]
    used = [record(name, "A", *HOURS, 1_000) for name in names]
    assert (await service.usage(used)).status == 200
    for name in names:
        await service.ask("/v1/records/dispute", **R1 | {"id": name})
    decided = {"provider": "pcl", "reason": "seen"}
    await service.ask("/v1/records/void", id="r3", **decided)
    await service.ask("/v1/records/dispute/dismiss", id="r4", **decided)


async def records(service: Service, query: str) -> list[list[str]]:
    """Return the records of disputes, page by page."""
    found, after = [], ""
    while True:
        page = (await service.get(f"/v1/disputes?{query}&after={after}")).json
        found.append([each["record"] for each in page["disputes"]])
        after = page["next"]
        if not page["more"]:
            return found


async def test_disputes_are_told_by_decision_and_from_either_end(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path, MARCH) as service:
        await dispute_five(service)
        assert await records(service, "decision=open&limit=2") == [["r1", "r2"], ["r5"]]
        assert await records(service, "decision=open&limit=1&order=newest") == [
            ["r5"],
            ["r2"],
            ["r1"],
        ]
        assert await records(service, "decision=upheld") == [["r3"]]
        assert await records(service, "decision=dismissed&order=newest") == [["r4"]]
        assert await records(service, "order=newest&limit=3") == [["r5", "r4", "r3"], ["r2", "r1"]]
        assert await records(service, "limit=5") == [["r1", "r2", "r3", "r4", "r5"]]
        monkeypatch.setattr(get_months, "MAX_ROWS_READ", 2)
        assert await records(service, "decision=dismissed") == [[], ["r4"], []]
        assert (await service.get("/v1/disputes?decision=lost")).code == "malformed"
