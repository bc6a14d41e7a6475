"""How many entries the ledger held by day, and what a person of the authority did."""

from tests.books import record
from tests.services import Clock, authorization, serving


async def test_the_ledger_s_size_is_told_at_the_end_of_each_day(database, tmp_path):
    clock = Clock("2025-03-20T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books()
        sizes = {}
        sizes["2025-03-20"] = service.intake.watermark.size
        clock.set("2025-03-22T23:59:59+08:00")
        hour = ("2025-03-22T08:00:00+08:00", "2025-03-22T09:00:00+08:00")
        await service.usage([record("r1", "A", *hour, 1_000)])
        sizes["2025-03-22"] = service.intake.watermark.size
        clock.set("2025-03-23T00:00:00+08:00")
        await service.usage([record("r2", "A", *hour, 1_000)], seq=2)
        sizes["2025-03-23"] = service.intake.watermark.size
        view = (await service.get("/v1/growth?days=5")).json
    assert view["days"] == [
        {"date": "2025-03-19", "entries": 0},
        {"date": "2025-03-20", "entries": sizes["2025-03-20"]},
        {"date": "2025-03-21", "entries": sizes["2025-03-20"]},
        {"date": "2025-03-22", "entries": sizes["2025-03-22"]},
        {"date": "2025-03-23", "entries": sizes["2025-03-23"]},
    ]
    assert view["as_of"]["entries"] == sizes["2025-03-23"]


async def test_growth_is_for_officials_and_of_at_most_a_year(database, tmp_path):
    async with serving(database, tmp_path) as service:
        assert len((await service.get("/v1/growth")).json["days"]) == 60
        for days in ("0", "367", "x"):
            assert (await service.get(f"/v1/growth?days={days}")).code == "malformed"
        await service.open_books()
        firm = await authorization(service, "pcl", "provider", "pcl")
        assert (await service.get("/v1/growth", Authorization=firm)).code == "forbidden"
