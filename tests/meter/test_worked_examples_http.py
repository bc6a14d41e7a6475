"""The worked examples of the money rules over HTTP, whole and cut into slices."""

import random
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from meter.values.units import parse_instant
from tests.books import ALPHA, BETA, lifted, record, slices
from tests.http_commands import KEY, problem
from tests.services import (
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    provider_body,
    serving,
)

WHOLE = None
START = parse_instant("2025-03-01T08:00:00+08:00")
SHIPPED = None


def full_use(contract: str, fen: int, start: str) -> list[dict]:
    """Return records of 8,000 s that use exactly an amount at 4.50: 1 fen is 1 thousandth then."""
    records, ids = [], count()
    begin = parse_instant(start)
    while fen > 0:
        part = min(fen, 10**9)
        records.append(record(f"{contract}-{next(ids)}", contract, begin, begin + 8000, part))
        fen -= part
    return records


def case(
    usage: list[list[dict]],
    cost: dict[str, str],
    coupons: dict[int, tuple[str, str, str, str]],
    **more: Any,
) -> Any:
    """Describe an example: steps of usage, cost by contract; issued, entitled, granted, uncovered
    by year, where the coupon of a year is issued when it is above zero.
    """
    defaults = {
        "now": "2025-03-01T12:00:00+08:00",
        "policy": SHIPPED,
        "contracts": [{"id": "A"}],
        "enterprise": ALPHA,
        "founded_on": "2019-04-01",
        "funds": {},
        "shares": {},
        "bound": [],
    }
    return SimpleNamespace(**(defaults | more), usage=usage, cost=cost, coupons=coupons)


EXAMPLES = {
    "64 cards for an hour": case(
        [[record("r", "A", START, START + 3600, 64_000)]],
        {"A": "288.00"},
        {2025: ("500000.00", "144.00", "144.00", "0.00")},
    ),
    "7 cards for 3601 s of a startup": case(
        [[record("r", "A", START, START + 3601, 7_000)]],
        {"A": "31.50"},
        {2025: ("100.00", "18.90", "18.90", "0.00")},
        contracts=[{"id": "A", "signed_on": "2025-01-15"}],
        founded_on="2024-06-01",
    ),
    "an hour across the year edge": case(
        [[record("r", "A", "2025-12-31T23:30:00+08:00", "2026-01-01T00:30:00+08:00", 1_000)]],
        {"A": "4.50"},
        {2025: ("10.00", "1.12", "1.12", "0.00"), 2026: ("10.00", "1.12", "1.12", "0.00")},
        now="2026-01-01T12:00:00+08:00",
    ),
    "a contract of 19,999,999.99": case(
        [full_use("A", 1_999_999_999, "2025-02-20T08:00:00+08:00")],
        {"A": "19999999.99"},
        {2025: ("9999999.99", "9999999.99", "9999999.99", "0.00")},
        contracts=[{"id": "A", "amount": "19999999.99"}],
    ),
    "a startup contract of 30,000,000.00": case(
        [full_use("A", 3_000_000_001, "2025-02-20T08:00:00+08:00")],
        {"A": "30000000.01"},
        {2025: ("10000000.00", "18000000.00", "10000000.00", "8000000.00")},
        contracts=[{"id": "A", "amount": "30000000.00", "signed_on": "2025-01-15"}],
        founded_on="2024-06-01",
        bound=["contract_amount", "coupon"],
    ),
    "other public funds": case(
        [full_use("A", 100_000_000, "2025-02-20T08:00:00+08:00")],
        {"A": "1000000.00"},
        {2025: ("200000.00", "200000.00", "200000.00", "0.00")},
        funds={"A": "300000.00"},
        bound=["combined_support"],
    ),
    "usage before the measures took effect": case(
        [[record("r", "A", "2024-12-17T23:00:00+08:00", "2024-12-18T01:00:00+08:00", 8_000)]],
        {"A": "72.00"},
        {2024: ("100.00", "18.00", "18.00", "0.00")},
        now="2024-12-18T12:00:00+08:00",
    ),
    "late usage of an earlier year": case(
        [
            full_use("A", 100_000_000, "2026-03-01T08:00:00+08:00"),
            [record("late", "A", START, START + 8000, 10_000_000)],
        ],
        {"A": "1100000.00"},
        {
            2025: ("0.00", "50000.00", "0.00", "50000.00"),
            2026: ("500000.00", "450000.00", "450000.00", "0.00"),
        },
        now="2026-04-01T12:00:00+08:00",
        policy=lifted(),
        bound=["contract_amount", "coupon"],
    ),
    "two contracts of 100.00": case(
        [
            [record("a", "A", "2026-03-01T08:00:00+08:00", "2026-03-01T08:01:20+08:00", 1_000_000)],
            [record("b", "B", "2026-03-01T08:00:00+08:00", "2026-03-01T08:01:20+08:00", 400_000)],
            [record("late", "A", START, START + 80, 400_000)],
        ],
        {"A": "140.00", "B": "40.00"},
        {
            2025: ("20.00", "20.00", "20.00", "0.00"),
            2026: ("50.00", "50.00", "50.00", "0.00"),
        },
        now="2026-04-01T12:00:00+08:00",
        policy=lifted(),
        contracts=[{"id": "A", "amount": "100.00"}, {"id": "B", "amount": "100.00"}],
        shares={
            2025: {"A": "20.00"},
            2026: {"A": "30.00", "B": "20.00"},
        },
        bound=["contract_amount"],
    ),
}


@pytest.mark.parametrize("cut", [WHOLE, 61])
@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_worked_examples_give_the_same_figures_whole_and_sliced(
    database, tmp_path, name, cut
):
    example = EXAMPLES[name]
    async with serving(database, tmp_path, now=example.now) as service:
        await service.activate(example.policy)
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/providers/pcl/keys", **KEY)
        await service.ask("/v1/enterprises", **enterprise_body(founded_on=example.founded_on))
        for changes in example.contracts:
            await service.ask("/v1/contracts", **contract_body(changes["id"], **changes))
        for contract, amount in example.funds.items():
            await service.fund_contract(contract, amount)
        for year, (issued, *_) in example.coupons.items():
            if issued != "0.00":
                await service.issue(year, issued)
        seq = count(1)
        for step in example.usage:
            receipts = [await service.usage(part, seq=next(seq)) for part in cuts(step, cut)]
        statuses = [each["status"] for answer in receipts for each in answer.json["results"]]
        assert set(statuses) == {"accepted"}
        assert receipts[-1].json["results"][-1]["bound"] == example.bound
        for contract, cost in example.cost.items():
            assert (await service.contract(contract))["cost"] == cost
        for year, expected in example.coupons.items():
            balance = await service.balance(year)
            names = ("issued", "entitled", "granted", "uncovered")
            assert tuple(balance[name] for name in names) == expected
            for contract, granted in example.shares.get(year, {}).items():
                shares = {each["contract"]: each["granted"] for each in balance["contracts"]}
                assert shares[contract] == granted
    await check_sums(database)


def cuts(step: list[dict], seconds: int | None) -> list[list[dict]]:
    """Return the batches of a step: whole records, or shuffled slices in batches of 100."""
    if seconds is WHOLE:
        return [step]
    parts = [part for usage in step for part in slices(usage, seconds)]
    random.Random(seconds).shuffle(parts)
    return [parts[at : at + 100] for at in range(0, len(parts), 100)]


async def test_a_yearly_rental_of_499999_99_is_refused_a_coupon_and_500000_allowed(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued=None)
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        below = contract_body("B", enterprise=BETA, amount="499999.99")
        await service.ask("/v1/contracts", **below)
        answer = await service.post("/v1/coupons", coupon_body(2025, "1.00", BETA))
        problem(answer, "below_threshold", 422)
        await service.ask("/v1/contracts", **contract_body("C", enterprise=BETA, amount="0.01"))
        answer = await service.post("/v1/coupons", coupon_body(2025, "1.00", BETA))
        assert answer.status == 201
