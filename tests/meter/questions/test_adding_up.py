"""The lines of lists add up to their totals, also where something is voided between two pages."""

from itertools import count

import pytest

from meter.api.one_size import parse_sums, sums_text
from meter.values.problems import Problem
from tests.asking import Past, everything, pages, right
from tests.books import ALPHA, record, void


def fen(text):
    return round(float(text) * 100)


def added(pages_, name, column):
    """Return the sum of a column over all lines of some pages, and the rounding of the last."""
    lines = [fen(line[column]) for page in pages_ for line in page[name]]
    return sum(lines) + fen(pages_[-1]["rounding"][column])


MONEY = ("cost", "entitled", "withheld", "ineligible")


@pytest.mark.usefixtures("past")
async def test_the_lines_of_records_add_up_to_the_totals_of_their_contracts(service):
    for query, names in (("", "ABWF"), ("?contract=A", "A"), ("?contract=W", "W")):
        path = f"/v1/enterprises/{ALPHA}/records{query}"
        for limit in (1, 7, 1_000):
            found = [page async for page in pages(service, path, limit)]
            assert ["total" in page for page in found] == [False] * (len(found) - 1) + [True]
            contracts = [await service.contract(name) for name in names]
            totals = [
                sum(fen(each["cost"]) for each in contracts),
                sum(fen(year["entitled"]) for each in contracts for year in each["years"]),
                sum(fen(each["withheld"]) for each in contracts),
                sum(fen(each["ineligible"]) for each in contracts),
            ]
            assert [fen(found[-1]["total"][column]) for column in MONEY] == totals
            assert [added(found, "records", column) for column in MONEY] == totals
            rounding = [fen(found[-1]["rounding"][column]) for column in MONEY]
            lines = [line for page in found for line in page["records"]]
            assert rounding[:2] == [0, 0]
            assert all(abs(fen_) <= len(lines) for fen_ in rounding)  # each is less than a fen


@pytest.mark.usefixtures("past")
async def test_the_hours_of_usage_add_up_to_their_total(service):
    for limit in (1, 3, 1_000):
        found = [page async for page in pages(service, f"/v1/enterprises/{ALPHA}/usage", limit)]
        lines = [line for page in found for line in page["usage"]]
        exact = sum(int(line["milli_device_seconds"]) for line in lines)
        hours = sum(round(float(line["device_hours"]) * 10_000) for line in lines)
        total, rounding = found[-1]["total"], found[-1]["rounding"]
        assert int(total["milli_device_seconds"]) == exact
        assert round(float(total["device_hours"]) * 10_000) == exact // 360
        assert hours + round(float(rounding) * 10_000) == exact // 360
        assert all("total" not in page for page in found[:-1])


async def test_voided_records_of_half_a_fen_are_lines_that_add_up(service):
    half = ("2026-01-02T08:00:00+08:00", "2026-01-02T08:00:04+08:00")  # 1 card at 4.50
    await service.usage([record(f"h{n}", "A", *half, 1_000) for n in range(200)])
    path = f"/v1/enterprises/{ALPHA}/records"
    shown = await everything(service, path, "records")
    free = [each["id"] for each in shown if each["cost"] == "0.00"]
    assert (len(free), sum(fen(each["cost"]) for each in shown)) == (100, 100)
    await service.usage([], [void(id_) for id_ in free], seq=2)
    for limit in (30, 1_000):
        found = [page async for page in pages(service, path, limit)]
        assert found[-1]["total"]["cost"] == (await service.contract())["cost"] == "0.50"
        assert sum(fen(line["cost"]) for page in found for line in page["records"]) == 50
        assert found[-1]["rounding"] == dict.fromkeys(MONEY, "0.00")


async def test_withheld_lines_and_their_rounding_add_up(service):
    quarter = ("2026-01-02T08:00:00+08:00", "2026-01-02T08:15:00+08:00")  # 1.125 a card
    await service.usage([record(f"w{n}", "W", *quarter, 1_000) for n in range(4)])
    found = [page async for page in pages(service, f"/v1/enterprises/{ALPHA}/records", 7)]
    withheld = (await service.contract("W"))["withheld"]
    # Of 4.50 in all, what grows the cost from 1.12.
    assert [line["withheld"] for page in found for line in page["records"]] == [
        *("0.00", "1.13", "1.12", "1.13")
    ]
    assert found[-1]["total"]["withheld"] == withheld == "3.38"
    assert found[-1]["rounding"]["withheld"] == "0.00"
    # In the contract, what is eligible comes first: 2.25 and then 5.62.
    free = ("2026-01-02T09:00:00+08:00", "2026-01-02T09:15:00+08:00")
    await service.usage([record("w4", "W", *free, 1_000)], seq=2)
    path = f"/v1/enterprises/{ALPHA}/records?after={found[-1]['next']}"
    (later,) = [page async for page in pages(service, path, 7)]
    assert [(line["cost"], line["withheld"]) for line in later["records"]] == [("1.12", "0.00")]
    assert later["total"]["withheld"] == (await service.contract("W"))["withheld"] == "3.37"
    assert later["rounding"]["withheld"] == "-0.01"


async def test_a_void_between_two_pages_of_usage_is_told_and_not_added(service):
    days = [f"2026-01-0{day}T0{hour}:00:00+08:00" for day in (1, 2) for hour in (1, 5)]
    batch = [
        record("a", "A", days[0], days[1], 4_000),
        record("b", "A", days[2], days[3], 4_000),
        record("c", "A", days[2], days[3], 4_000),
    ]
    assert (await service.usage(batch)).json["entries"]["count"] == 4
    path = f"/v1/enterprises/{ALPHA}/usage?limit=1"
    first = (await service.get(path)).json
    await service.activate()  # concerns nobody's usage
    second = await service.get(f"{path}&after={first['next']}")
    assert (second.status, second.json["total"]["device_hours"]) == (200, "48.0000")
    await service.usage([], [void("a")], seq=2)
    gone = await service.get(f"{path}&after={first['next']}")
    assert (gone.status, gone.code) == (409, "moved")
    anew = [page async for page in pages(service, path.partition("?")[0], 1)]
    assert anew[-1]["total"]["device_hours"] == "32.0000"


MOVING = {
    f"/v1/enterprises/{ALPHA}/contracts": "contracts",
    f"/v1/enterprises/{ALPHA}/usage": "usage",
    "/v1/pools": "pools",
    "/v1/coupons": "coupons",
    "/v1/contracts": "contracts",
    f"/v1/contracts?enterprise={ALPHA}": "contracts",
    "/v1/contracts?provider=pcl": "contracts",
    "/v1/withheld": "withheld",
}


@pytest.mark.parametrize("path", MOVING)
async def test_a_list_that_is_added_up_is_of_one_size_on_all_its_pages(service, path):
    past = Past(service, 9)
    await past.steps(20)
    await service.usage([right(f"w{n}", "W", milli_devices=2_000) for n in range(3)], seq=900)
    mark = "&" if "?" in path else "?"
    whole = await everything(service, path, MOVING[path])
    assert await everything(service, path, MOVING[path], 1) == whole
    first = (await service.get(f"{path}{mark}limit=1")).json
    assert first["more"]
    await service.usage([], [void("w0")], seq=901)
    answer = await service.get(f"{path}{mark}limit=1&after={first['next']}")
    assert (answer.status, answer.code) == (409, "moved")
    assert (await service.get(f"{path}{mark}limit=1")).status == 200


async def test_a_record_that_came_since_the_first_page_of_the_queue_waits_for_the_next_reading(
    service,
):
    await service.usage([right(f"w{n}", "W", milli_devices=2_000) for n in range(2)])
    arrived = count(2)

    async def arrive():
        number = next(arrived)
        if number < 5:  # or a list that takes them up would never end
            await service.usage([right(f"w{number}", "W", milli_devices=2_000)], seq=number)

    found = await everything(service, "/v1/withheld", "withheld", 1, arrive)
    assert [each["id"] for each in found] == ["w0", "w1"]
    assert len(await everything(service, "/v1/withheld", "withheld")) == 3


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "1  2", "1 x", " 1 2", "1.5 2", "1 2 ", "+1 2"])
def test_sums_that_nobody_wrote_are_refused(text):
    with pytest.raises(Problem) as refused:
        parse_sums(text, 2)
    assert refused.value.code == "malformed"
    assert parse_sums(sums_text((-7, 10**30)), 2) == [-7, 10**30]
