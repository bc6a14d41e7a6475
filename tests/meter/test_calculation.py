"""One record with the operands of its cost: prices by time, ratios, and limits that are reached."""

from itertools import pairwise

import pytest

from meter.views.calculation import parts_of, ratios_of, shortfall_of
from tests import histories
from tests.books import ALPHA, BETA, DEVICE, record, void
from tests.meter.test_amendments import Plan
from tests.services import authorization, contract_body, enterprise_body, serving

MIDNIGHT = "2025-03-11T00:00:00+08:00"
SUPPLEMENT = {
    "mode": "supplement",
    "signed_on": "2025-03-10",
    "document": "补充协议1号",
    "reason": "价格调整",
}


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now="2025-03-12T12:00:00+08:00") as service:
        await service.open_books(issued="500.00")
        yield service


async def post(service, *records, **batch):
    answer = await service.usage(records, **batch)
    return [each["entry"] for each in answer.json["results"]]


async def detail(service, entry, uscc=ALPHA):
    answer = await service.get(f"/v1/enterprises/{uscc}/records/{entry}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_record_has_one_part_for_each_price(service):
    """1 card for two hours over the midnight of a supplement, 4.50 to 4.00."""
    terms = SUPPLEMENT | {"effective": "2025-03-11", "prices": {DEVICE: "4.00"}}
    await service.ask("/v1/contracts/A/amend", **terms)
    times = ("2025-03-10T23:00:00+08:00", "2025-03-11T01:00:00+08:00")
    (entry,) = await post(service, record("r1", "A", *times, 1_000))
    found = await detail(service, entry)
    assert found["parts"] == [
        {
            "from": times[0],
            "until": MIDNIGHT,
            "device_hours": "1.0000",
            "price": "4.50",
            "amount": "4.50",
        },
        {
            "from": MIDNIGHT,
            "until": times[1],
            "device_hours": "1.0000",
            "price": "4.00",
            "amount": "4.00",
        },
    ]
    assert (found["record"]["cost"], found["rounding"], found["ratios"]) == ("8.50", "0.00", [5000])
    listed = (await service.get(f"/v1/enterprises/{ALPHA}/records")).json["records"]
    assert found["record"] == listed[0]


async def test_later_amendments_change_no_part_of_an_earlier_record(service):
    times = ("2025-03-11T08:00:00+08:00", "2025-03-11T09:00:00+08:00")
    (entry,) = await post(service, record("r1", "A", *times, 2_000))
    before = await detail(service, entry)
    terms = SUPPLEMENT | {"effective": "2025-03-11", "prices": {DEVICE: "4.00"}}
    await service.ask("/v1/contracts/A/amend", **terms)
    after = await detail(service, entry)
    assert after["parts"] == before["parts"]
    assert after["record"]["cost"] == "9.00"


async def test_a_fen_that_earlier_rests_filled_is_told(service):
    """7 cards for a second are 0.875 fen: the second record fills a fen beyond its own worth."""
    begin = "2025-03-11T0{}:00:00+08:00"
    end = "2025-03-11T0{}:00:01+08:00"
    first, second = await post(
        service,
        *(record(f"r{n}", "A", begin.format(n), end.format(n), 7_000) for n in (1, 2)),
    )
    told = [
        (each["parts"][0]["amount"], each["rounding"], each["record"]["cost"])
        for each in (await detail(service, first), await detail(service, second))
    ]
    assert told == [("0.00", "0.00", "0.00"), ("0.00", "0.01", "0.01")]


async def test_the_limits_that_are_reached_are_told(service):
    times = ("2025-03-11T00:00:00+08:00", "2025-03-12T00:00:00+08:00")
    (entry,) = await post(service, record("r1", "A", *times, 1_000))
    assert (await detail(service, entry))["reached"] == []
    (entry,) = await post(service, record("r2", "A", *times, 100_000), seq=2)
    assert (await detail(service, entry))["reached"] == ["coupon"]
    await service.ask("/v1/contracts", **contract_body("B", amount="108.00"))
    (entry,) = await post(service, record("r3", "B", *times, 1_000), seq=3)
    assert (await detail(service, entry))["reached"] == [
        "contract_amount",
        "combined_support",
        "coupon",
    ]


async def test_a_void_has_no_parts_and_what_is_no_line_of_the_firm_is_not_found(service):
    times = ("2025-03-11T08:00:00+08:00", "2025-03-11T09:00:00+08:00")
    (entry,) = await post(service, record("r1", "A", *times, 2_000))
    answer = await service.usage([], [void("r1")], seq=2)
    taken = await detail(service, answer.json["voids"][0]["entry"])
    assert (taken["record"]["line"], taken["record"]["cost"], taken["parts"]) == (
        "void",
        "-9.00",
        [],
    )
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    firm = await authorization(service, "beta", "enterprise", BETA)
    for path in (f"{BETA}/records/{entry}", f"{ALPHA}/records/{entry}", f"{BETA}/records/0"):
        answer = await service.get(f"/v1/enterprises/{path}", Authorization=firm)
        assert answer.code == "not_found"
    answer = await service.get(f"/v1/enterprises/{ALPHA}/records/x")
    assert answer.code == "malformed"


async def test_what_a_limit_took_and_what_is_cut_is_told(service):
    """Half of 0.09 yuan is 0.045: the second record has the fen that the first one lacks."""
    second = ("2025-03-11T0{}:00:00+08:00", "2025-03-11T0{}:01:12+08:00")
    entries = await post(
        service,
        *(record(f"r{n}", "A", *(each.format(n) for each in second), 1_000) for n in (1, 2)),
    )
    told = [await detail(service, entry) for entry in entries]
    names = ("share", "short", "short_by")
    assert [[each.get(name) for name in names] for each in told] == [
        [None, None, None],
        ["0.04", "-0.01", "rounding"],
    ]
    await service.ask("/v1/contracts", **contract_body("B", amount="108.00"))
    day = ("2025-03-11T00:00:00+08:00", "2025-03-12T00:00:00+08:00")
    (entry,) = await post(service, record("r3", "B", *day, 2_000), seq=2)
    found = await detail(service, entry)
    assert (found["record"]["cost"], found["record"]["entitled"]) == ("216.00", "54.00")
    assert [found[name] for name in names] == ["108.00", "54.00", "limit"]


async def test_who_signed_a_record_is_told_and_its_batch_to_officials(service):
    day = ("2025-03-11T00:00:00+08:00", "2025-03-11T01:00:00+08:00")
    batch = await service.usage([record("r1", "A", *day, 1_000)])
    (result,) = batch.json["results"]
    signed = (await detail(service, result["entry"]))["signed"]
    key = (await service.get("/v1/receipt-key")).json["keyid"]
    entry = result["entry"] - 1
    assert signed == {
        "entry": entry,
        "keyid": "pcl-1",
        "receipt_keyid": key,
        "batch": batch.json["batch"],
    }
    firm = await authorization(service, "alpha", "enterprise", ALPHA)
    path = f"/v1/enterprises/{ALPHA}/records/{result['entry']}"
    told = (await service.get(path, Authorization=firm)).json["signed"]
    assert told == {name: signed[name] for name in ("entry", "keyid", "receipt_keyid")}
    body = {"provider": "pcl", "id": "r1", "reason": "no such job"}
    void_entry = (await service.ask("/v1/records/void", **body))["entry"]
    assert "signed" not in await detail(service, void_entry)


def test_only_a_limit_makes_a_record_short_of_more_than_rounding():
    """Where all records of a contract together reach none of its limits, none did."""
    seen = {True: 0, False: 0}
    for seed in range(40):
        books = histories.history(seed)
        usage = [(n, each) for n, each in enumerate(books.entries) if each.kind == "usage"]
        for name, contract in books.state.contracts.items():
            own = [(n, each) for n, each in usage if each.contract == name]
            limits = [books.state.terms_at(contract, n).terms for n, _ in own]
            used = sum(each.cost for _, each in own)
            is_free = all(used < min(each.amount, each.support_limit) for each in limits)
            for number, entry in own:
                terms = books.state.terms_at(contract, number)
                ratios = ratios_of(entry, terms)
                found = shortfall_of(entry, ratios[0], terms) if len(ratios) == 1 else None
                if found is None:
                    continue
                assert found.share - found.short == sum(fen for _, fen in entry.entitled)
                assert not (is_free and found.by_limit), (seed, number)
                seen[found.by_limit] += 1
    assert min(seen.values()) > 5


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_of_a_record_hold_all_of_its_time_and_its_worth(seed):
    count = 0
    for books in (histories.history(seed), Plan(seed).carry_out(1)):
        contracts = books.state.contracts
        for number, entry in enumerate(books.entries):
            if entry.kind != "usage":
                continue
            terms = books.state.terms_at(contracts[entry.contract], number)
            parts = parts_of(entry, terms)
            assert sum(part.device_time for part in parts) == entry.device_time
            assert all(a.end == b.start for a, b in pairwise(parts))
            assert sum(part.amount for part in parts) <= entry.cost
            assert entry.cost - sum(part.amount for part in parts) in (0, 1)
            count += 1
    assert count > 2
