"""A firm's statement from the service: the one that an auditor makes from the published log."""

import asyncio
import csv
import io
import json
import random
import re

import pytest

from meter.api import get_statement
from meter.console import formats, statements
from meter.host import breath
from meter.views.statement import FIGURES, Making
from tests.books import ALPHA, BETA, DEVICE, lifted, parse_instant, record, void
from tests.commands import good, kashi
from tests.meter.test_claim_pages import check_size, text_of
from tests.people import sign_in
from tests.services import (
    Clock,
    authorization,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

MONTHS = ("2025-02", "2025-03", "2025-04", "2025-05")
SEED = 5


async def three_months(service) -> None:
    """Two firms with usage, voids, releases and funds from March to May, with too few cards."""
    chance = random.Random(SEED)
    await service.activate(lifted())
    await service.ask("/v1/providers", **(provider_body() | {"devices": {DEVICE: 24}}))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    for name, firm in (("A", ALPHA), ("B", ALPHA), ("C", BETA)):
        await service.ask("/v1/enterprises", **enterprise_body(firm))
        terms = {"max_devices": {}, "enterprise": firm}
        await service.ask("/v1/contracts", **(contract_body(name) | terms))
        await service.issue(2025, "90.00", firm)
    taken: list[str] = []
    for seq in range(1, 15):
        service.clock.advance(6 * 86_400)
        await service.fund_contract("A", chance.choice(("0.00", "1.00", "499999.00")))
        start = parse_instant("2025-03-03T08:00:00+08:00") + (seq - 1) * 6 * 86_400
        records = [
            record(
                f"r{seq}-{i}", chance.choice("ABC"), start, start + 9000, chance.randrange(20_000)
            )
            for i in range(4)
        ]
        voids = [void(taken.pop(chance.randrange(len(taken))))] if seq > 3 and seq % 2 else []
        assert (await service.usage(records, voids, seq=seq)).status == 200
        taken += [each["id"] for each in records if each["milli_devices"]]
        if seq % 4 == 0:
            body = {"provider": "pcl", "id": taken[-1], "reason": "seen by a reviewer"}
            await service.post("/v1/records/release", body)


@pytest.fixture
async def service(database, tmp_path):
    clock = Clock("2025-03-01T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        yield service


async def statement(service, month: str, firm: str = ALPHA, **headers: str):
    return await service.get(f"/v1/enterprises/{firm}/statements/{month}", **headers)


async def test_it_is_the_one_that_an_auditor_makes_of_the_published_log(service, tmp_path):
    await three_months(service)
    size = await service.published()
    corrections = 0
    for month in MONTHS:
        for firm in (ALPHA, BETA):
            answer = await statement(service, month, firm)
            assert answer.status == 200, answer.body
            target = tmp_path / f"{month}-{firm}.json"
            key = service.folder.log_vkey.read_text().strip()
            words = ["audit", "statement", service.folder.log, target, "--vkey", key]
            asked = ("--month", month, "--firm", firm, "--format", "json")
            good(await asyncio.to_thread(kashi, *words, *asked))
            audited = json.loads(target.read_text())
            assert answer.json["statement"] == audited["statement"]
            assert answer.json["hash"] == audited["hash"]
            assert (answer.json["root"], answer.json["as_of"]["entries"]) == (
                audited["log"]["root"],
                size,
            )
            kinds = {each["kind"] for each in audited["statement"]["lines"] if each["correction"]}
            corrections += len(kinds)
    assert corrections >= 5


async def test_a_firm_reads_its_own_alone_and_a_provider_none(service):
    await three_months(service)
    firm = await authorization(service, "alpha", "enterprise", ALPHA)
    provider = await authorization(service, "pcl", "provider", "pcl")
    own = await statement(service, "2025-04", Authorization=firm)
    assert own.json == (await statement(service, "2025-04")).json
    assert {each["contract"] for each in own.json["statement"]["amounts"]} == {"A", "B"}
    assert (await statement(service, "2025-04", BETA, Authorization=firm)).code == "not_found"
    assert (await statement(service, "2025-04", Authorization=provider)).code == "forbidden"


async def test_what_is_no_month_and_who_is_no_firm_is_refused(service):
    assert (await statement(service, "2025-03")).code == "unknown_enterprise"
    await service.open_books()
    for month in ("2025", "2025-13", "2025-3", "1899-12", "9999-12", "x", "٢٠٢٥-٠٣"):
        assert (await statement(service, month)).code == "malformed"


async def test_a_month_that_needs_more_than_one_response_reads_is_refused(service, monkeypatch):
    await three_months(service)
    lines = (await statement(service, "2025-04")).json["statement"]["lines"]
    named = {line["entry"] for line in lines}
    monkeypatch.setattr(get_statement, "MAX_ENTRIES", len(named) // 2)
    answer = await statement(service, "2025-04")
    assert (answer.status, answer.code) == (422, "too_many_entries")


async def test_voids_of_records_that_lie_too_far_apart_are_refused(service, monkeypatch):
    await service.open_books(lifted())
    for seq in range(1, 9):
        start = parse_instant("2025-03-01T08:00:00+08:00") + seq * 60
        assert (
            await service.usage([record(f"r{seq}", "A", start, start + 60, 1_000)], seq=seq)
        ).status == 200
    service.clock.set("2025-04-01T08:00:00+08:00")
    await service.usage((), [void(f"r{seq}") for seq in range(1, 9)], seq=9)
    monkeypatch.setattr(get_statement, "MAX_ENTRIES", 10)
    assert (await statement(service, "2025-04")).code == "too_many_entries"
    monkeypatch.setattr(get_statement, "MAX_ENTRIES", 16)
    found = (await statement(service, "2025-04")).json["statement"]
    assert [each["service"] for each in found["lines"]] == ["2025-03"] * 8


# The page


async def test_the_page_shows_the_amounts_of_the_answer_and_leads_to_entries(service):
    await three_months(service)
    visitor = await sign_in(service, "enterprise", ALPHA)
    found = (await statement(service, "2025-04")).json
    own = found["statement"]
    for language in ("zh", "en"):
        path = f"/{language}/enterprises/{ALPHA}/statements"
        shown = await service.get(f"{path}?month=2025-04", **visitor.headers)
        assert shown.status == 200
        check_size(shown)
        text = text_of(shown)
        assert found["hash"] in text
        assert found["root"] in text
        used = [name for name in FIGURES if any(x["figures"][name] != "0.00" for x in own["lines"])]
        rows = [*own["amounts"], {"figures": own["totals"]}, *own["lines"]]
        amounts = [each["figures"][name] for each in rows for name in used]
        assert re.findall(r"[-−]?¥[-−]?[0-9,]+\.[0-9]{2}", text) == [yuan(each) for each in amounts]
        page = shown.body.decode()
        for line in own["lines"]:
            assert f'href="/{language}/enterprises/{ALPHA}/entries/{line["entry"]}"' in page
        assert f'href="{path}?month=2025-03"' in page
        assert f'href="{path}?month=2025-05"' in page


def yuan(text: str) -> str:
    return formats.money(text)


async def test_the_file_has_all_lines(service, monkeypatch):
    await three_months(service)
    monkeypatch.setattr(statements, "LISTED", 2)
    visitor = await sign_in(service, "enterprise", ALPHA)
    found = (await statement(service, "2025-04")).json
    path = f"/en/enterprises/{ALPHA}/statements"
    data = (await service.get(f"{path}.csv?month=2025-04", **visitor.headers)).body
    head, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig")))
    assert len(head) == 15
    assert [row[7:] for row in rows] == [
        [line["figures"][name] for name in FIGURES] for line in found["statement"]["lines"]
    ]
    shown = await service.get(f"{path}?month=2025-04", **visitor.headers)
    assert "Only the first 2 are listed" in text_of(shown)


async def test_without_a_month_it_is_the_ledgers_and_another_firm_has_no_page(service):
    await service.open_books()
    visitor = await sign_in(service, "enterprise", ALPHA)
    path = f"/en/enterprises/{ALPHA}/statements"
    text = text_of(await service.get(path, **visitor.headers))
    assert "Statement of 2025-03" in text
    assert "The month is not over" in text
    empty = text_of(await service.get(f"{path}?month=2024-01", **visitor.headers))
    assert "Nothing was booked in this month" in empty
    assert (await service.get(f"{path}?month=x", **visitor.headers)).status == 400
    other = path.replace(ALPHA, BETA)
    assert (await service.get(other, **visitor.headers)).status == 404
    contracts = await service.get(f"/en/enterprises/{ALPHA}/contracts", **visitor.headers)
    assert f'href="{path}"' in contracts.body.decode()


async def test_others_are_served_while_a_statement_is_made(database, tmp_path, monkeypatch):
    monkeypatch.setattr(breath, "BREATH_SECONDS", 0)
    turns, seen, add = [0], [], Making.add

    async def count() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    def adding(making, number, entry):
        seen.append(turns[0])
        add(making, number, entry)

    monkeypatch.setattr(Making, "add", adding)
    async with serving(database, tmp_path, "2025-03-01T12:00:00+08:00") as service:
        await three_months(service)
        counting = asyncio.create_task(count())
        answer = await service.get("/v1/providers/pcl/statements/2025-03")
        counting.cancel()
    assert answer.status == 200
    assert len(set(seen)) == len(seen) > 10
