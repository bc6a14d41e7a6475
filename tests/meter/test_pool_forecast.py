"""How long a pool lasts by its ledger days, and which of its coupons end first."""

import pytest

from meter.console.formats import money
from meter.console.words import words
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, lifted, record, void
from tests.meter.test_console_pages import Elements
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

PATH = f"/v1/pool-forecast?programme={PROGRAMME}&year=2025"


@pytest.fixture
async def clock():
    return Clock("2025-03-01T12:00:00+08:00")


@pytest.fixture
async def service(database, tmp_path, clock):
    """A pool of 20,000: ALPHA is granted 144.00 on each day of March, BETA 18.00 on every second.

    ALPHA's coupon has 6,000 and BETA's 1,000.
    """
    async with serving(database, tmp_path, clock=clock) as service:
        await service.activate(lifted(pool="20000.00"))
        await service.ask("/v1/providers", **provider_body(devices={DEVICE: 4_096}))
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        for uscc, contract in ((ALPHA, "A"), (BETA, "B")):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
            await service.ask("/v1/contracts", **contract_body(contract, enterprise=uscc))
        await service.issue(2025, "6000.00", ALPHA)
        await service.issue(2025, "1000.00", BETA)
        for day in range(1, 31):
            clock.set(f"2025-03-{day:02}T12:00:00+08:00")
            times = (f"2025-03-{day:02}T08:00:00+08:00", f"2025-03-{day:02}T09:00:00+08:00")
            records = [record(f"a{day}", "A", *times, 64_000)]
            if day % 2:
                records.append(record(f"b{day}", "B", *times, 8_000))
            await service.usage(records, seq=day)
        yield service


async def told(service, path=PATH):
    answer = await service.get(path)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_pool_and_its_coupons_end_as_a_table_made_by_hand_says(service):
    """28 days until the 29th granted 28 · 144.00 + 14 · 18.00 = 4,284.00, or 153.00 a day.

    On the 30th 15,410.00 remain: 100.7 days, today among them. Weeks have 4 or 3 days of 18.00:
    the busiest gives 154.28 a day, 99.9 days, the quietest 151.71 a day, 101.6. ALPHA has 1,680.00
    left at 144.00 a day, 11.7 days; BETA 730.00 at 9.00, 81.1 days.
    """
    found = await told(service)
    assert found.pop("as_of")["entries"] == service.intake.watermark.size
    coupons = [
        {"enterprise": ALPHA, "programme": PROGRAMME, "remaining": "1680.00", "end": "2025-04-10"},
        {"enterprise": BETA, "programme": PROGRAMME, "remaining": "730.00", "end": "2025-06-19"},
    ]
    assert found == {
        "programme": PROGRAMME,
        "year": 2025,
        "status": "lasts",
        "today": "2025-03-30",
        "remaining": "15410.00",
        "days": 28,
        "used_days": 28,
        "granted": "4284.00",
        "end": "2025-07-08",
        "earliest": "2025-07-07",
        "latest": "2025-07-09",
        "expires": "2026-01-01",
        "unused": "0.00",
        "coupons": coupons,
    }


async def test_an_issue_and_today_change_no_rate_and_a_void_lowers_it(service):
    before = await told(service)
    await service.issue(2025, "9000.00", BETA)
    found = await told(service)
    assert (found["granted"], found["remaining"]) == (before["granted"], before["remaining"])
    assert [each["enterprise"] for each in found["coupons"]] == [ALPHA]  # BETA's outlasts the year
    await service.usage([], [void("a29")], seq=31)
    assert (await told(service))["granted"] == before["granted"]
    service.clock.set("2025-03-31T12:00:00+08:00")
    # From the 3rd to the 30th: 28 · 144.00 + 14 · 18.00, less the void's 144.00 on the 30th.
    found = await told(service)
    assert found["granted"] == "4140.00"


async def test_few_days_are_not_enough_and_a_year_that_is_over_has_no_end(service):
    service.clock.set("2025-05-01T12:00:00+08:00")
    found = await told(service)
    assert (found["status"], found["coupons"]) == ("not_enough", [])
    service.clock.set("2026-01-01T00:00:00+08:00")
    assert (await told(service))["status"] == "over"
    assert (await service.get(PATH.replace("2025", "1999"))).code == "unknown_programme"
    firm = {"Authorization": await authorization(service, "firm", "enterprise", ALPHA)}
    assert (await service.get(PATH, **firm)).code == "forbidden"


async def test_the_authority_s_page_shows_the_forecast_and_what_ends_first(service):
    visitor = await sign_in(service, "authority")
    answer = await service.get("/en/authority", **visitor.headers)
    found = Elements(answer.body.decode()).text
    pool = (await service.get("/v1/pools")).json["pools"][1]
    assert pool["year"] == 2025
    place = found.index(money(pool["left"]))
    assert found[place + 1] == "8 July 2025"
    place = found.index(words("en")["coupons_soonest"])
    coupon = ["深圳某某科技有限公司", ALPHA, "Training coupon 2025"]
    assert found[place + 5 : place + 10] == [*coupon, "¥1,680.00", "10 April 2025"]
    place = found.index(words("en")["coupons_largest"])
    assert found[place + 6 : place + 10] == [*coupon, "¥6,000.00"]
