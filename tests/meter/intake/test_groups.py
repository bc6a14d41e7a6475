"""Groups: what waits is committed together, and nobody is answered before the commit."""

import asyncio
import json

from meter.values.units import parse_money
from tests.books import record
from tests.sequencing import CLIENTS, one, segments, until_it_waits, until_queued, writer_held
from tests.services import HOUR, check_sums, contract_body, coupon_body, serving, stored


async def test_what_waits_is_committed_together_and_stands_on_the_same_tree(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        before = await segments(database)
        async with writer_held(database):
            first = asyncio.create_task(service.usage(one("first"), stream="first"))
            await until_it_waits(database)
            rest = [
                asyncio.create_task(service.usage(one(f"s{n}"), stream=f"s{n}")) for n in range(50)
            ]
            await until_queued(service, 50)
            assert not any(task.done() for task in (first, *rest))
        trees = [answer.json["before"] for answer in await asyncio.gather(first, *rest)]
        assert (await segments(database))[len(before) :] == [2, 100]
        size = sum(before)
        assert trees[0]["size"] == size
        assert {json.dumps(tree) for tree in trees[1:]} == {json.dumps(trees[1])}
        assert trees[1]["size"] == size + 2
        assert trees[1]["root"] != trees[0]["root"]
    state = await check_sums(database)
    assert state.size == size + 102


async def test_a_contract_and_its_first_batch_in_one_group_share_the_providers_devices(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record(f"r{n}", "A", *HOUR, 10**9) for n in range(10)])  # all
    terms = contract_body("B")
    terms |= {"from": terms.pop("starts"), "until": terms.pop("ends")}
    async with serving(database, tmp_path) as service:  # which has no day in memory
        async with writer_held(database):
            first = asyncio.create_task(service.usage([], seq=2))
            await until_it_waits(database)
            contract = asyncio.create_task(service.post("/v1/contracts", terms, "again"))
            await until_queued(service, 1)
            usage = asyncio.create_task(service.usage([record("more", "B", *HOUR, 1_000)], seq=3))
            await until_queued(service, 2)
        await asyncio.gather(first, contract)
        assert (await segments(database))[-1] == 3
        [result] = (await usage).json["results"]
        assert (result["cost"], result["withheld"]) == ("4.50", "4.50")
    await check_sums(database)


async def test_what_is_durable_and_can_be_loaded_again_is_not_held(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage(one("a"))
        state = service.intake.state
        assert (state.records, state.batches, state.usage_days) == ({}, {}, {})


async def test_no_answer_is_given_before_its_commit(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        size = len(await stored(database))
        async with writer_held(database):
            post = asyncio.create_task(service.usage(one("a")))
            await until_it_waits(database)
            assert not (await asyncio.wait([post], timeout=0.2))[0]
            assert len(await stored(database)) == size
            assert (await service.balance())["as_of"]["entries"] == size
        assert (await post).status == 200
        assert len(await stored(database)) == size + 2


async def test_64_clients_at_a_coupons_last_yuan_get_exactly_the_coupon(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="100.00")
        answers = await asyncio.gather(
            *(service.usage(one(f"s{n}", 1_300), stream=f"s{n}") for n in range(CLIENTS))
        )
        results = [answer.json["results"][0] for answer in answers]
        assert sum(parse_money(each["granted"]) for each in results) == 10_000
        entitled = sum(parse_money(each["entitled"]) for each in results)
        assert sum(parse_money(each["uncovered"]) for each in results) == entitled - 10_000 > 0
        assert any("0.00" < each["granted"] < each["entitled"] for each in results)
        balance = await service.balance()
        assert (balance["granted"], balance["remaining"]) == ("100.00", "0.00")
        assert parse_money(balance["entitled"]) == entitled
    await check_sums(database)


async def test_a_withdrawal_among_64_clients_never_takes_granted_money(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="100.00")

        async def withdraw() -> int:
            answer = await service.post("/v1/coupons/withdraw", coupon_body(2025, "30.00"))
            assert answer.status == 201 or answer.code == "below_granted"
            return answer.status

        _, *taken = await asyncio.gather(
            asyncio.gather(*(service.usage(one(f"s{n}"), stream=f"s{n}") for n in range(CLIENTS))),
            *(withdraw() for _ in range(8)),
        )
        issued = 10_000 - 3_000 * taken.count(201)
        balance = await service.balance()
        assert parse_money(balance["issued"]) == issued
        entitled = parse_money(balance["entitled"])
        assert entitled == CLIENTS * 225
        assert parse_money(balance["granted"]) == min(issued, entitled)
    await check_sums(database)
