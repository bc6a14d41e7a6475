"""Late records and purchases: booked in the open month, with their month of service beside it."""

import csv
import io
from decimal import Decimal

import pytest

from meter.console.words import spoken, words
from meter.tables import pages
from tests.books import ALPHA, purchase, record, void
from tests.meter.test_claim_pages import text_of
from tests.meter.test_months_http import MARCH, close, used
from tests.meter.test_purchases_http import BY_DAYS, open_shop, sell
from tests.people import sign_in
from tests.services import Service, serving


def hour(id_: str, day: str) -> dict:
    return record(id_, "A", f"{day}T08:00:00+08:00", f"{day}T09:00:00+08:00", 8_000)


async def late(service: Service) -> None:
    """Close March, whose r1 was voided by the first entry of April, and report both months of A."""
    await used(service)
    await service.ask("/v1/records/void", provider="pcl", id="r1", reason="it never ran")
    await close(service)
    service.clock.set("2025-04-02T18:00:00+08:00")
    batches = [
        ([hour("late1", "2025-03-05"), hour("new1", "2025-04-01")], []),
        ([hour("late2", "2025-03-31"), hour("new2", "2025-04-02")], []),
        ([], [void("late1"), void("new1")]),
    ]
    for seq, (records, voids) in enumerate(batches, 5):
        answer = await service.usage(records, voids, seq=seq)
        assert {each["status"] for each in answer.json["results"]} <= {"accepted"}


async def corrections(service: Service, month: str, limit: int, contract: str = "A") -> list[dict]:
    """Return what a month has corrected of a contract, page after page."""
    found, after = [], ""
    while True:
        path = f"/v1/months/{month}/corrections?contract={contract}&limit={limit}"
        page = (await service.get(path + (f"&after={after}" if after else ""))).json
        found += page["corrections"]
        after = page["next"]
        if not page["more"]:
            return found


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_a_month_lists_its_late_records_beside_voids_in_order(
    database, tmp_path, monkeypatch, limit
):
    monkeypatch.setattr(pages, "MAX_ROWS_READ", limit * 4)  # of four statuses
    async with serving(database, tmp_path, MARCH) as service:
        await late(service)
        assert await corrections(service, "2025-03", limit) == []  # r1 is of the month itself
        service.clock.set("2025-05-02T12:00:00+08:00")
        await service.ask("/v1/contracts/A/freeze", reason="x")  # May begins
        found = await corrections(service, "2025-04", limit)
        assert [(each["kind"], each["record"], each["service_month"]) for each in found] == [
            ("void", "r1", "2025-03"),
            ("record", "late1", "2025-03"),
            ("record", "late2", "2025-03"),
            ("void", "late1", "2025-03"),
            ("void", "new1", "2025-04"),
        ]
        assert sum(Decimal(each["cost"]) for each in found) == Decimal("-288.00")
        assert [each["entry"] for each in found] == sorted({each["entry"] for each in found})


async def bought(service: Service) -> None:
    """Let C's vendor report purchases of February in March, and of March in March."""
    await open_shop(service, BY_DAYS)
    await sell(service, purchase("first", "C", "10.00", "2026-02-20"))
    service.clock.set("2026-03-15T12:00:00+08:00")
    year = {"service_from": "2025-12-01", "service_until": "2026-12-01"}
    soon = {"service_from": "2026-04-01", "service_until": "2026-05-01"}
    sold = (
        purchase("late", "C", "365.00", "2026-02-27"),
        purchase("new", "C", "20.00", "2026-03-01"),
        purchase("year", "C", "730.00", "2026-03-02", **year),
        purchase("soon", "C", "60.00", "2026-02-28", **soon),
    )
    answer = await sell(service, *sold, seq=2)
    assert {each["status"] for each in answer.json["results"]} == {"accepted"}
    await sell(service, voids=[void("first"), void("new")], seq=3)
    service.clock.set("2026-04-02T12:00:00+08:00")
    await service.ask("/v1/contracts/C/freeze", reason="x")  # April begins


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_a_month_lists_its_late_purchases_and_those_of_services_begun_before(
    database, tmp_path, limit
):
    async with serving(database, tmp_path, "2026-02-25T12:00:00+08:00") as service:
        await bought(service)
        assert await corrections(service, "2026-02", limit, "C") == []
        found = await corrections(service, "2026-03", limit, "C")
        assert [
            (each["kind"], each["record"], each["service_month"], each["cost"]) for each in found
        ] == [
            ("purchase", "late", "2026-02", "365.00"),
            ("purchase", "year", "2025-12", "730.00"),
            ("void", "first", "2026-02", "-10.00"),
            ("void", "new", "2026-03", "-20.00"),
        ]
        assert {each["provider"] for each in found} == {"szdex"}


async def test_a_statement_names_the_months_of_purchases_and_marks_the_late_ones(
    database, tmp_path
):
    async with serving(database, tmp_path, "2026-02-25T12:00:00+08:00") as service:
        await bought(service)
        made = (await service.get("/v1/contracts/C/statements/2026-03")).json["statement"]
        assert [
            (line["id"], line["service"], line["correction"], line["figures"]["cost"])
            for line in made["lines"]
        ] == [
            ("late", "2026-02", True, "365.00"),
            ("new", "2026-03", False, "20.00"),
            ("year", "2025-12/2026-11", True, "730.00"),
            ("soon", "2026-04", False, "60.00"),
            ("first", "2026-02", True, "-10.00"),
            ("new", "2026-03", True, "-20.00"),
        ]
        page = (await service.get("/v1/months/2026-03")).json
        assert (page["cost"], made["totals"]["cost"]) == ("1145.00", "1145.00")
        own = (await service.get(f"/v1/enterprises/{ALPHA}/records?contract=C")).json["records"]
        months = {each["id"]: (each["service_month"], each["booked_month"]) for each in own[:5]}
        assert months["late"] == ("2026-02", "2026-03")
        assert months["year"] == ("2025-12", "2026-03")
        assert months["soon"] == ("2026-04", "2026-03")


async def test_lists_of_records_name_both_months(database, tmp_path):
    async with serving(database, tmp_path, MARCH) as service:
        await late(service)
        expected = {
            ("record", "r1"): ("2025-03", "2025-03"),
            ("record", "late1"): ("2025-03", "2025-04"),
            ("record", "new1"): ("2025-04", "2025-04"),
            ("void", "r1"): ("2025-03", "2025-04"),
            ("void", "late1"): ("2025-03", "2025-04"),
        }
        own = f"/v1/enterprises/{ALPHA}/records"
        for query in ("", "?order=newest", "?order=newest&from=2025-03-01&until=2025-05-01"):
            lines = (await service.get(own + query)).json["records"]
            found = {
                (each["line"], each["id"]): (each["service_month"], each["booked_month"])
                for each in lines
            }
            chosen = {name: months for name, months in expected.items() if name in found}
            assert {name: found[name] for name in chosen} == chosen
            assert len(chosen) == (3 if "from" in query else 5)
        (void_of_r1,) = [each for each in lines if each["id"] == "late1"]
        one = (await service.get(f"{own}/{void_of_r1['entry']}")).json["record"]
        assert (one["service_month"], one["booked_month"]) == ("2025-03", "2025-04")


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_pages_and_files_show_in_which_month_late_records_are_booked(
    database, tmp_path, language
):
    said, w = words(language), spoken(language)
    base = f"/{language}/enterprises/{ALPHA}"
    async with serving(database, tmp_path, MARCH) as service:
        await late(service)
        firm = await sign_in(service, "enterprise", ALPHA)
        shown = await service.get(f"{base}/records", **firm.headers)
        assert text_of(shown).count(said["booked_in"].format(month="2025-04")) == 4
        assert said["booked_in"].format(month="2025-03") not in text_of(shown)
        file = await service.get(f"{base}/records.csv", **firm.headers)
        rows = list(csv.DictReader(io.StringIO(file.body.decode("utf-8-sig"))))
        months = {
            (row[w.line], row[w.record_id]): (row[w.service_month], row[w.month_booked])
            for row in rows
        }
        assert months["record", "late2"] == ("2025-03", "2025-04")
        assert months["void", "r1"] == ("2025-03", "2025-04")
        assert months["record", "new2"] == ("2025-04", "2025-04")
        page = await service.get(f"{base}/months", **firm.headers)
        assert f'href="{base}/statements?month=2025-03"' in page.body.decode()
        line = f"{base}/statements?month=2025-04"
        assert text_of(await service.get(line, **firm.headers)).count(said["correction"]) >= 4
