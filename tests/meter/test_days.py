"""Days of use: they add up to their contract's totals, whatever changes them."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from ledger import store as ledger_store
from meter.rules.state import Contract, State
from meter.tables.days import DaysOfUse
from meter.tables.registry import Registry
from meter.values.units import day_of, day_start, format_date, parse_date
from meter.views.days import days_of_use
from tests import histories
from tests.books import ALPHA, BETA, DEVICE, opened, record, void
from tests.meter.test_amendments import Plan
from tests.meter.test_amendments_http import CORRECTION, SUPPLEMENT, open_books
from tests.services import authorization, contract_body, projections, serving

NOW = "2026-06-20T12:00:00+08:00"


def days_of(state: State, contract: Contract) -> list[Any]:
    usage = state.usage_of(contract.registered.id)
    lines = [(day, device, *held) for (day, device), held in sorted(usage.items())]
    return list(days_of_use(contract, contract, lines))


def check(state: State) -> int:
    """Check that the days of each contract add up; return how many there are."""
    count = 0
    for contract in state.contracts.values():
        days = days_of(state, contract)
        assert sum(day.cost for day in days) == contract.used // contract.terms.denominator
        for year, share in contract.shares.items():
            own = [day for day in days if day.year == year]
            assert sum(day.entitled for day in own) == share.entitled
        assert all(day.cost >= 0 <= day.entitled and day.device_time >= 0 for day in days)
        if contract.policy.meter == "device-time":
            assert all(day.device_time for day in days)
        count += len(days)
    return count


def test_the_days_of_random_histories_add_up_to_their_contracts():
    assert sum(check(histories.history(seed).state) for seed in range(60)) > 400


@pytest.mark.parametrize("seed", range(40))
def test_the_days_after_amendments_add_up_whatever_their_order(seed):
    plan = Plan(seed)
    found = []
    for order in (1, 2):
        state = plan.carry_out(order).state
        check(state)
        found.append({name: days_of(state, each) for name, each in state.contracts.items()})
    assert found[0] == found[1]


def test_a_fen_that_two_days_fill_is_on_the_second():
    """7 cards for 1,800 s at 4.50 are 15.75; one more second of a day is 0.875 fen."""
    books = opened(now="2025-03-10T12:00:00+08:00")
    books.contract("A")
    for day in (1, 2, 3):
        begin = f"2025-03-0{day}T08:00:00+08:00"
        books.post([record(f"r{day}", "A", begin, begin.replace("00:00+", "00:01+"), 7_000)])
    costs = [day.cost for day in days_of(books.state, books.state.contracts["A"])]
    assert costs == [0, 1, 1]  # 0.875, 1.75, 2.625 fen


def test_the_ceiling_of_a_contract_ends_what_later_days_are_entitled_to():
    books = opened(now="2025-03-10T12:00:00+08:00")
    books.contract("A", amount="500000.00")
    day = [f"2025-03-0{n}T00:00:00+08:00" for n in range(1, 4)]
    for begin, end in pairwise(day):
        books.post([record(begin[:10], "A", begin, end, 3_000_000)])
    first, second = days_of(books.state, books.state.contracts["A"])
    assert (first.cost, first.entitled) == (324_000_00, 162_000_00)
    assert (second.cost, second.entitled) == (324_000_00, 88_000_00)
    assert format_date(day_start(second.day)) == "2025-03-02"
    assert day_of(parse_date("2025-03-02")) == second.day


# Over HTTP


async def days(service, year=2025, query="", **headers):
    answer = await service.get(f"/v1/enterprises/{ALPHA}/days?year={year}{query}", **headers)
    assert answer.status == 200, answer.body
    return answer.json


def lines(answer):
    return [
        (each["date"], each["contract"], each["device_hours"], each["cost"], each["entitled"])
        for each in answer["days"]
    ]


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_books(service)
        await service.ask("/v1/contracts", **contract_body("L", max_devices={DEVICE: 2}))
        days = {"starts": "2024-12-01", "ends": "2026-06-20", "open_until": "2026-08-01"}
        for name in ("A", "L"):
            path = f"/v1/contracts/{name}/late-window"
            await service.ask(path, reason="a long outage", **days)
        yield service


async def tell_a_story(service):
    """Two years, with a void, a release, late records and amendments of both modes."""
    new_year = ("2025-12-31T23:00:00+08:00", "2026-01-01T01:00:00+08:00")
    april = ("2025-04-09T23:00:00+08:00", "2025-04-10T01:00:00+08:00")
    records = [
        record("n", "A", *new_year, 1_000),
        record("a", "A", *april, 1_000),
        record("b", "A", *april, 64_000),
        record("l", "L", *april, 5_000),
        record("m", "L", *april, 1_000),
    ]
    assert (await service.usage(records)).status == 200
    await service.usage(voids=[void("b")], seq=2)
    await service.ask("/v1/records/release", provider="pcl", id="l", reason="seen")
    await service.ask("/v1/contracts/A/amend", **SUPPLEMENT)
    await service.ask("/v1/contracts/A/amend", **CORRECTION)


async def test_the_days_of_a_year_are_told_with_what_voids_and_amendments_made_of_them(service):
    await tell_a_story(service)
    told = await days(service)
    assert lines(told) == [
        ("2025-04-09", "A", "1.0000", "4.40", "2.20"),
        ("2025-04-09", "L", "6.0000", "27.00", "11.25"),
        ("2025-04-10", "A", "1.0000", "4.00", "2.00"),
        ("2025-04-10", "L", "6.0000", "27.00", "11.25"),
        ("2025-12-31", "A", "1.0000", "4.00", "2.00"),
    ]
    assert told["days"][0]["milli_device_seconds"] == "3600000"
    assert (told["year"], told["as_of"]["entries"]) == (2025, service.intake.watermark.size)
    assert lines(await days(service, 2026)) == [("2026-01-01", "A", "1.0000", "4.00", "2.00")]


async def test_the_totals_are_those_of_the_contracts(service):
    await tell_a_story(service)
    years = {year: (await days(service, year))["contracts"] for year in (2024, 2025, 2026)}
    assert years[2024] == []
    for name in ("A", "L"):
        contract = await service.contract(name)
        own = {year: t for year, each in years.items() for t in each if t["contract"] == name}
        entitled = {each["year"]: each["entitled"] for each in contract["years"]}
        assert {year: each["entitled"] for year, each in own.items()} == entitled
        assert sum(float(each["cost"]) for each in own.values()) == float(contract["cost"])


async def test_hours_that_are_cut_end_with_what_reconciles_them(service):
    begin = [f"2025-03-0{day}T08:00:00+08:00" for day in (1, 2)]
    for seq, at in enumerate(begin, 1):
        await service.usage([record(at, "A", at, at.replace("00:00+", "00:01+"), 200)], seq=seq)
    told = await days(service)
    assert [each["device_hours"] for each in told["days"]] == ["0.0000", "0.0000"]
    assert told["contracts"][0] == {
        "contract": "A",
        "milli_device_seconds": "400",
        "device_hours": "0.0001",
        "cost": "0.00",
        "entitled": "0.00",
        "rounding": "0.0001",
    }


async def test_days_are_of_one_programme_or_contract_where_that_is_asked(service):
    await tell_a_story(service)
    assert {each["contract"] for each in (await days(service, query="&contract=L"))["days"]} == {
        "L"
    }
    assert (await days(service, query="&programme=adaptation"))["days"] == []
    path = f"/v1/enterprises/{ALPHA}/days"
    assert (await service.get(f"{path}?year=2025&contract=X")).code == "unknown_contract"
    assert (await service.get(path)).code == "malformed"
    header = {"Authorization": await authorization(service, "beta", "enterprise", BETA)}
    assert (await service.get(f"{path}?year=2025", **header)).code == "not_found"


async def test_a_question_changes_nothing(service, database):
    await tell_a_story(service)
    before = await projections(database)
    first = await days(service)
    assert await days(service) == first
    assert await projections(database) == before


async def test_weeks_and_months_are_the_days_added_and_gaps_may_lack_usage(database, tmp_path):
    async with serving(database, tmp_path, now="2025-03-20T12:00:00+08:00") as service:
        await service.open_books()
        times = {
            day: (f"2025-{day}T08:00:00+08:00", f"2025-{day}T09:00:01+08:00")
            for day in ("02-28", "03-01", "03-02", "03-03", "03-09", "03-10")
        }
        records = [record(day, "A", *held, 1_000) for day, held in times.items()]
        await service.usage(records)
        by_day = await days(service)
        assert by_day["incomplete"] == []
        for by, dates in (
            ("week", ["2025-02-24", "2025-03-03", "2025-03-10"]),
            ("month", ["2025-02-01", "2025-03-01"]),
        ):
            found = await days(service, query=f"&by={by}")
            assert [each["date"] for each in found["days"]] == dates
            for name in ("cost", "entitled", "milli_device_seconds"):
                assert total(found, name) == total(by_day, name) > 0
            own, line = found["contracts"][0], by_day["contracts"][0]
            assert own["device_hours"] == line["device_hours"]
            shown = sum(Decimal(each["device_hours"]) for each in found["days"])
            assert shown + Decimal(own["rounding"]) == Decimal(own["device_hours"])
        await check_days_from(service, by_day)
        await service.usage(seq=3)
        (gap,) = (await days(service))["incomplete"]
        assert gap == {"first": "2025-03-20", "last": "2025-03-20"}


async def check_days_from(service, by_day):
    """The days from one on are lines of the whole year; a week begins with the first of them."""
    found = await days(service, query="&from=2025-03-02")
    assert found["days"] == [each for each in by_day["days"] if each["date"] >= "2025-03-02"]
    assert len(found["days"]) == 4 < len(by_day["days"])
    assert Decimal(found["contracts"][0]["cost"]) == total(found, "cost")
    weeks = await days(service, query="&from=2025-03-02&by=week")
    dates = ["2025-03-02", "2025-03-03", "2025-03-10"]
    assert [each["date"] for each in weeks["days"]] == dates
    assert await days(service, query="&from=2024-06-01") == by_day
    assert (await days(service, query="&from=2026-01-01"))["days"] == []


def total(found, name):
    return sum(Decimal(each[name]) for each in found["days"])


# What is kept


async def kept(database, days, known, names=("A", "L")):
    """Return the days of some contracts, as they were kept where nothing has changed."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            head = await ledger_store.head(connection)
            registered = await known.at(connection, head.size)
            contracts = [registered.contract(name) for name in names]
            return await days.of(connection, registered, contracts)
    finally:
        await connection.close()


async def test_days_that_are_kept_are_those_that_would_be_computed(service, database):
    held, known, seen = DaysOfUse(), Registry(), []
    april = ("2025-04-09T23:00:00+08:00", "2025-04-10T01:00:00+08:00")
    steps = (
        lambda: service.usage([record("a", "A", *april, 1_000), record("l", "L", *april, 5_000)]),
        lambda: service.usage([record("b", "A", *april, 64_000)], seq=2),
        lambda: service.usage(voids=[void("b")], seq=3),
        lambda: service.ask("/v1/records/release", provider="pcl", id="l", reason="seen"),
        lambda: service.ask("/v1/contracts/A/amend", **SUPPLEMENT),
        lambda: service.ask("/v1/contracts/A/amend", **CORRECTION),
        lambda: service.usage([record("c", "A", *april, 1_000)], seq=4),
    )
    for step in steps:
        await step()
        found = await kept(database, held, known)
        assert found == await kept(database, DaysOfUse(), known)
        again = await kept(database, held, known)
        assert all(again[name] is found[name] for name in found)  # nothing was computed twice
        seen.append(found)
    assert all(before != after for before, after in pairwise(seen))


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first(service, database):
    await tell_a_story(service)
    held, known = DaysOfUse(max_kept=3), Registry()
    first = await kept(database, held, known, ["L"])
    assert len(first["L"]) == 2
    assert (await kept(database, held, known, ["L"]))["L"] is first["L"]
    assert len((await kept(database, held, known, ["A"]))["A"]) > 1
    assert (await kept(database, held, known, ["L"]))["L"] is not first["L"]
