"""What anybody reads: pools as of the last closed month, and nothing that is one firm's."""

import asyncio

import pytest

from meter.tables import pages
from tests.books import ALPHA, BETA, PROGRAMME, lifted, record, uscc_of
from tests.services import (
    Clock,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

FIRMS = [ALPHA, BETA, *(uscc_of(number) for number in (31, 32, 33))]
HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


@pytest.fixture
async def service(database, tmp_path):
    """In March five firms have a contract each, and the first four have coupons."""
    clock = Clock("2025-03-31T23:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        await service.activate(lifted(pool="9000.00"))
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        for number, uscc in enumerate(FIRMS):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
            await service.ask("/v1/contracts", **contract_body(f"C{number}", enterprise=uscc))
            if number < 4:
                await service.issue(2025, "100.00", uscc)
        yield service


async def told(service):
    """Return what a stranger reads: the date, and by year what is set aside and issued."""
    answer = await service.get("/v1/public", Authorization="")
    assert answer.status == 200, answer.body
    assert not any(name in answer.body.decode() for name in (*FIRMS, "C0", "pcl"))
    pools = answer.json["pools"]
    assert all((each["programme"], each["title"]) == (PROGRAMME, "训力券") for each in pools)
    return answer.json["before"], {
        each["year"]: (each["amount"], each.get("issued")) for each in pools
    }


async def test_a_ledger_of_this_month_tells_nothing_yet(service):
    assert await told(service) == ("2025-03-01", {})


async def test_a_month_is_told_an_hour_after_its_end(service):
    service.clock.set("2025-04-01T00:59:59+08:00")
    assert (await told(service))[0] == "2025-03-01"
    service.clock.set("2025-04-01T01:00:00+08:00")
    before, pools = await told(service)
    assert before == "2025-04-01"
    # Four firms have coupons: what they were issued stays theirs.
    assert pools == dict.fromkeys((2024, 2025, 2026), ("9000.00", None))


async def test_what_five_firms_were_issued_is_told_and_does_not_move_within_a_month(service):
    await service.issue(2025, "100.05", FIRMS[4])
    service.clock.set("2025-04-02T12:00:00+08:00")
    before = await told(service)
    assert before[1][2025] == ("9000.00", "500.05")
    await service.usage([record("r", "C0", *HOUR, 1_000)])
    await service.issue(2025, "7.00", ALPHA)
    assert await told(service) == before
    service.clock.set("2025-04-30T23:59:59+08:00")
    assert await told(service) == before
    service.clock.set("2025-05-01T02:00:00+08:00")
    assert (await told(service))[1][2025] == ("9000.00", "507.05")


async def test_a_coupon_that_was_taken_back_whole_holds_nothing(service):
    await service.issue(2025, "100.00", FIRMS[4])
    taken = {"programme": PROGRAMME, "year": 2025, "enterprise": ALPHA, "amount": "100.00"}
    await service.ask("/v1/coupons/withdraw", **taken, reason="asked for")
    service.clock.set("2025-04-02T12:00:00+08:00")
    assert (await told(service))[1][2025] == ("9000.00", None)


async def test_a_policy_of_later_is_not_told_before_its_month_is_closed(service):
    service.clock.set("2025-04-02T12:00:00+08:00")
    await service.ask("/v1/policies", programme="adaptation", version="2024-12")
    before, _ = await told(service)
    assert before == "2025-04-01"


async def test_a_new_name_of_a_programme_is_told_once_its_month_is_closed(service):
    service.clock.set("2025-04-01T00:30:00+08:00")
    later = lifted(pool="9000.00", version="later", starts="2026-12-18", ends="2027-12-18")
    content = later.replace('title = "训力券"', 'title = "新训力券"')
    await service.ask("/v1/policies", programme=PROGRAMME, version="later", content=content)
    for now, title in (
        ("2025-04-01T02:00:00+08:00", "训力券"),
        ("2025-05-01T02:00:00+08:00", "新训力券"),
    ):
        service.clock.set(now)
        pools = (await service.get("/v1/public", Authorization="")).json["pools"]
        assert {each["title"] for each in pools} == {title}


async def test_what_the_first_day_of_a_month_brings_is_of_that_month(service):
    """The fifth holder, and what it was issued, are told a month later."""
    service.clock.set("2025-04-01T00:30:00+08:00")
    await service.issue(2025, "100.00", FIRMS[4])
    service.clock.set("2025-04-01T02:00:00+08:00")
    assert (await told(service))[1][2025] == ("9000.00", None)
    service.clock.set("2025-05-01T02:00:00+08:00")
    await service.issue(2025, "3.00", FIRMS[4])
    assert (await told(service))[1][2025] == ("9000.00", "500.00")


async def test_many_who_ask_at_once_are_answered_by_one_reading(service, monkeypatch):
    read = []
    real = pages.all_pools

    async def counted(connection):
        read.append(1)
        return await real(connection)

    monkeypatch.setattr(pages, "all_pools", counted)
    answers = await asyncio.gather(*(told(service) for _ in range(20)))
    assert len(read) == 1
    assert all(answer == answers[0] for answer in answers)
