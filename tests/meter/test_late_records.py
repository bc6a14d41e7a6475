"""Late records: booked in the open month, and shown with their month of service beside it."""

import csv
import io
from decimal import Decimal

import pytest

from meter.console.words import spoken, words
from meter.tables import pages
from tests.books import ALPHA, record, void
from tests.meter.test_claim_pages import text_of
from tests.meter.test_months_http import MARCH, close, used
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


async def corrections(service: Service, month: str, limit: int) -> list[dict]:
    """Return what a month has corrected of A, page after page."""
    found, after = [], ""
    while True:
        path = f"/v1/months/{month}/corrections?contract=A&limit={limit}"
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
