"""Balances as of a past size or instant equal the sums of the entries up to there."""

import random

import pytest

from meter.rules.evolve import evolve
from meter.rules.rating import cost
from meter.rules.state import State
from meter.values.units import format_moment, format_money
from tests.books import ALPHA, DEVICE, PROGRAMME, lifted, parse_instant, record, void
from tests.services import contract_body, enterprise_body, key_body, provider_body, serving

EIGHT = parse_instant("2025-03-01T08:00:00+08:00")


@pytest.fixture
async def history(database, tmp_path):
    """A service with three contracts under one coupon, too few cards, and a random past."""
    chance = random.Random(7)
    async with serving(database, tmp_path) as service:
        await service.activate(lifted())
        await service.ask("/v1/providers", **(provider_body() | {"devices": {DEVICE: 24}}))
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        await service.ask("/v1/enterprises", **enterprise_body())
        for name in ("A", "B", "C"):
            await service.ask("/v1/contracts", **(contract_body(name) | {"max_devices": {}}))
        await random_past(service, chance)
        yield service


async def random_past(service, chance):
    names = []
    for step in range(40):
        service.clock.advance(chance.choice((0, 1, 60)))
        records = [
            record(
                f"r{step}-{i}",
                chance.choice("ABC"),
                EIGHT + chance.randrange(8) * 900,
                EIGHT + 9000,
                chance.randrange(1, 20_000),
            )
            for i in range(chance.randrange(4))
        ]
        taken = [void(names.pop(chance.randrange(len(names))))] if names and step % 3 == 0 else []
        await service.usage(records, taken, seq=step + 1)
        names += [each["id"] for each in records]
        if step % 8 == 4:
            await service.issue(2025, f"{chance.randrange(1, 300)}.00")
        if step % 8 == 5:
            amount = chance.choice(("0.00", "499999.00", "600000.00"))
            await service.fund_contract(chance.choice("ABC"), amount)
        if step % 8 == 7 and names:
            body = {"provider": "pcl", "id": names[0], "reason": "seen by a reviewer"}
            await service.post("/v1/records/release", body)


async def test_the_balance_as_of_every_size_is_what_the_entries_until_then_give(history):
    entries = await history.entries()
    state = State()
    for size, entry in enumerate(entries, 1):
        evolve(state, entry)
        answer = await history.get(balance_url(as_of=size))
        assert answer.status == (200 if size > 0 else 404), answer.body
        assert answer.json["as_of"]["entries"] == size
        assert figures(answer.json) == expected(state), size


async def test_the_balance_as_of_an_instant_includes_all_entries_until_that_microsecond(history):
    entries = await history.entries()
    for instant in sorted({entry.at for entry in entries}):
        size = sum(entry.at <= instant for entry in entries)
        answer = await history.get(balance_url(as_of=format_moment(instant).replace("+", "%2B")))
        assert answer.json["as_of"]["entries"] == size
        assert answer.json == (await history.get(balance_url(as_of=size))).json


async def test_the_instant_that_an_answer_printed_gives_the_same_answer_for_ever(
    database, tmp_path
):
    """Also where the clock stands still or goes back, so that it dates no two groups apart."""
    chance = random.Random(11)
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="1.00")
        seen = [(await service.get(balance_url())).json]
        for number in range(30):
            service.clock.now += chance.choice((0, 1, 370_000, 999_999, -40_000_000))
            records = [record(f"r{number}", "A", EIGHT, EIGHT + 5, chance.randrange(1, 9_000))]
            assert (await service.usage(records, seq=number + 1)).status == 200
            seen.append((await service.get(balance_url())).json)
        assert len({each["granted"] for each in seen}) > 10
        assert any("." in each["as_of"]["time"] for each in seen)
        for answer in seen:
            printed = answer["as_of"]["time"].replace("+", "%2B")
            assert (await service.get(balance_url(as_of=printed))).json == answer
        instants = [entry.at for entry in await service.entries()]
        assert instants == sorted(instants)


@pytest.mark.parametrize("as_of", ["0", "999999", "yesterday", "2024-01-01T00:00:00Z", "-1"])
async def test_a_size_or_instant_that_the_ledger_never_had_is_refused(history, as_of):
    assert (await history.get(balance_url(as_of=as_of))).code == "malformed"


def balance_url(**query):
    words = {"programme": PROGRAMME, "year": 2025} | query
    return f"/v1/enterprises/{ALPHA}/balance?" + "&".join(f"{k}={v}" for k, v in words.items())


def figures(balance):
    names = ("issued", "granted", "entitled", "uncovered", "withheld")
    shares = {
        share["contract"]: {name: share[name] for name in names if name in share}
        for share in balance["contracts"]
        if set(share.values()) - {share["contract"], "0.00"}
    }
    return {name: balance[name] for name in names}, shares


def expected(state):
    shares = {
        contract.registered.id: contract.shares[2025]
        for contract in state.contracts.values()
        if 2025 in contract.shares
    }
    issued = state.coupons.get((ALPHA, PROGRAMME, 2025), 0)
    each = {
        name: {
            "granted": share.granted,
            "entitled": share.entitled,
            "uncovered": share.entitled - share.granted,
            "withheld": cost(share.withheld),
        }
        for name, share in shares.items()
    }
    total = {
        name: sum(share[name] for share in each.values())
        for name in ("granted", "entitled", "uncovered", "withheld")
    }
    return (
        {"issued": format_money(issued), **{k: format_money(v) for k, v in total.items()}},
        {
            name: {key: format_money(fen) for key, fen in share.items()}
            for name, share in each.items()
            if any(share.values())
        },
    )
