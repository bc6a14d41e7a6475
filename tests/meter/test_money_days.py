"""Coupons and pools by ledger day: what they held at the end of each."""

import asyncio

import pytest

from meter.service import rebuild
from meter.values.units import MICROSECONDS, format_money, parse_instant
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, lifted, record, void
from tests.services import (
    Clock,
    address_of,
    authorization,
    contract_body,
    enterprise_body,
    key_body,
    projections,
    provider_body,
    serving,
)

HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


@pytest.fixture
async def clock():
    return Clock("2025-03-01T12:00:00+08:00")


@pytest.fixture
async def service(database, tmp_path, clock):
    async with serving(database, tmp_path, clock=clock) as service:
        await service.activate(lifted(pool="20000.00"))
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        for uscc in (ALPHA, BETA):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
        await service.ask("/v1/contracts", **contract_body("A"))
        await service.ask("/v1/contracts", **contract_body("B", enterprise=BETA))
        yield service


async def coupon_days(service, uscc=ALPHA, year=2025):
    path = f"/v1/enterprises/{uscc}/coupon-days?programme={PROGRAMME}&year={year}"
    answer = (await service.get(path)).json
    assert (answer["enterprise"], answer["programme"], answer["year"]) == (uscc, PROGRAMME, year)
    return [
        (each["date"][5:], each["issued"], each["granted"], each["remaining"])
        for each in answer["days"]
    ]


async def pool_days(service, year=2025):
    answer = (await service.get(f"/v1/pool-days?programme={PROGRAMME}&year={year}")).json
    return [
        (each["date"][5:], each["amount"], each["issued"], each["left"], each["granted"])
        for each in answer["days"]
    ]


async def four_days(service, clock):
    """Issues, usage, a void, a withdrawal, a move to another firm; nothing on the third day."""
    await service.issue(2025, "500.00")
    await service.issue(2025, "600.00", BETA)
    await service.usage([record("a", "A", *HOUR, 64_000), record("b", "B", *HOUR, 8_000)])
    clock.set("2025-03-02T00:00:00+08:00")
    await service.usage([record("c", "A", *HOUR, 8_000)], [void("a")], seq=2)
    await service.issue(2025, "50.00")
    clock.set("2025-03-04T23:59:59+08:00")
    await service.ask(
        "/v1/coupons/withdraw",
        programme=PROGRAMME,
        year=2025,
        enterprise=ALPHA,
        amount="100.00",
        reason="asked for",
    )
    correction = {
        "mode": "correction",
        "document": "1",
        "reason": "another firm",
        "prices": {DEVICE: "4.50"},
    }
    await service.ask("/v1/contracts/A/amend", enterprise=BETA, **correction)


FOUR_DAYS = [
    ("03-01", "500.00", "144.00", "356.00"),
    ("03-02", "550.00", "18.00", "532.00"),
    ("03-04", "450.00", "0.00", "450.00"),
]


async def test_a_coupon_is_told_as_it_stood_at_the_end_of_each_day(service, clock):
    assert await coupon_days(service) == []
    await four_days(service, clock)
    assert await coupon_days(service) == FOUR_DAYS
    assert await coupon_days(service, BETA) == [
        ("03-01", "600.00", "18.00", "582.00"),
        ("03-04", "600.00", "36.00", "564.00"),
    ]
    assert await coupon_days(service, year=2026) == []


async def test_a_pool_is_told_likewise(service, clock):
    await four_days(service, clock)
    assert await pool_days(service) == [
        ("03-01", "20000.00", "1100.00", "18900.00", "162.00"),
        ("03-02", "20000.00", "1150.00", "18850.00", "36.00"),
        ("03-04", "20000.00", "1050.00", "18950.00", "36.00"),
    ]
    budget = {"programme": PROGRAMME, "year": 2025, "amount": "1000.00", "document": "12"}
    assert (await service.post("/v1/budgets", budget)).code == "pool_below_issued"
    await service.ask("/v1/budgets", **budget | {"amount": "2000.00"})
    assert (await pool_days(service))[-1] == ("03-04", "2000.00", "1050.00", "950.00", "36.00")


async def test_each_day_is_the_balance_of_its_last_instant(service, clock):
    await four_days(service, clock)
    clock.set("2025-03-06T12:00:00+08:00")
    await service.usage([record("z", "B", *HOUR, 1_000)], seq=3)
    for uscc in (ALPHA, BETA):
        for day, *figures in await coupon_days(service, uscc):
            end = f"2025-{day}T23:59:59.999999%2B08:00"
            path = f"/v1/enterprises/{uscc}/balance?programme={PROGRAMME}&year=2025&as_of={end}"
            if day == "03-06":
                path = path.partition("&as_of")[0]
            told = (await service.get(path)).json
            assert [told[name] for name in ("issued", "granted", "remaining")] == figures


async def test_an_award_is_issued_and_granted_at_once(service):
    await service.fund_awards()
    await service.award("AW", "1.00", "PJ")
    path = f"/v1/enterprises/{ALPHA}/coupon-days?programme=adaptation&year=2025"
    (day,) = (await service.get(path)).json["days"]
    assert (day["issued"], day["granted"], day["remaining"]) == ("1.00", "1.00", "0.00")
    (day,) = (await service.get("/v1/pool-days?programme=adaptation&year=2025")).json["days"]
    assert (day["amount"], day["granted"]) == ("30000000.00", "1.00")


async def test_the_days_go_on_after_a_restart_and_are_made_anew(database, tmp_path, clock):
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books()
        await service.usage([record("a", "A", *HOUR, 64_000)])
        await service.stop()
    clock.advance(60)
    async with serving(database, tmp_path, clock=clock) as service:
        await service.usage([record("b", "A", *HOUR, 64_000)], seq=2)
        assert await coupon_days(service) == [("03-01", "500000.00", "288.00", "499712.00")]
        await service.stop()
    before = await projections(database)
    assert len(before["meter.coupon_day"]) == 1
    await rebuild.rebuild(address_of(database))
    assert await projections(database) == before


async def test_what_came_to_nothing_is_no_day(service, clock):
    await service.issue(2025, "500.00")
    clock.set("2025-03-02T08:00:00+08:00")
    await service.usage([record("a", "A", *HOUR, 1_000)])
    await service.usage(voids=[void("a")], seq=2)
    assert [day for day, *_ in await coupon_days(service)] == ["03-01"]


async def test_a_commit_is_of_one_day(service, clock, monkeypatch):
    """Midnight passes while a group is decided."""
    ticks = iter(range(1_000))
    midnight = parse_instant("2025-03-02T00:00:00+08:00") * MICROSECONDS
    clock.now = midnight - 2_000_000
    await service.issue(2025, "500.00")
    clock.now = midnight - 2
    real = service.intake._clock.now
    monkeypatch.setattr(service.intake._clock, "now", lambda: real() + next(ticks))
    batches = [
        service.usage([record(f"r{n}", "A", *HOUR, 1_000)], stream=f"s{n}") for n in range(40)
    ]
    await asyncio.gather(*batches)
    assert real() + next(ticks) > midnight  # it passed meanwhile
    await service.usage([record("next", "A", *HOUR, 1_000)])
    entries = [each for each in await service.entries() if each.kind == "batch"]
    days: dict[int, set[bool]] = {}
    for each in entries:
        days.setdefault(each.before, set()).add(each.at >= midnight)
    assert all(len(sides) == 1 for sides in days.values())
    before = sum(each.at < midnight for each in entries)
    assert 0 < before < 41
    assert [granted for _, _, granted, _ in await coupon_days(service)] == [
        format_money(before * 2_25),
        format_money(41 * 2_25),
    ]


async def test_pools_are_for_officials_and_coupons_for_their_own(service):
    firm = {"Authorization": await authorization(service, "firm", "enterprise", BETA)}
    path = f"/v1/enterprises/{ALPHA}/coupon-days?programme={PROGRAMME}&year=2025"
    assert (await service.get(path, **firm)).code == "not_found"
    query = f"programme={PROGRAMME}&year=2025"
    assert (await service.get(f"/v1/pool-days?{query}", **firm)).code == "forbidden"
    unknown = f"/v1/enterprises/{ALPHA}/coupon-days?programme=none&year=2025"
    assert (await service.get(unknown)).code == "unknown_programme"
    assert (await service.get(f"/v1/pool-days?programme={PROGRAMME}&year=1999")).code == (
        "unknown_programme"
    )
