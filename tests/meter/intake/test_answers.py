"""Answers: each void and record has one result, and each batch one, whoever sends it again."""

import asyncio

from tests.books import record, void
from tests.sequencing import CLIENTS, one, until_it_waits, until_queued, writer_held
from tests.services import HOUR, ask, check_sums, serving, stored


async def test_each_void_and_record_has_one_result_in_its_order(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("old", "A", *HOUR, 1_000), record("older", "A", *HOUR, 1_000)])
        answer = await service.usage(
            [
                record("new", "A", *HOUR, 1_000),
                record("none", "nothing", *HOUR, 1_000),
                record("new", "A", *HOUR, 1_000),
                record("older", "A", *HOUR, 1_000),
                record("new", "A", *HOUR, 2_000),
                record("none", "A", *HOUR, 1_000),
                record("late", "A", "2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z", 1_000),
            ],
            [void("old"), void("nothing"), void("old")],
            seq=2,
        )
        results = answer.json["voids"] + answer.json["results"]
        told = [(each["id"], each["status"], each.get("code")) for each in results]
        assert told == [
            ("old", "accepted", None),
            ("nothing", "rejected", "unknown_record"),
            ("old", "rejected", "already_voided"),
            ("new", "accepted", None),
            ("none", "rejected", "unknown_contract"),
            ("new", "duplicate", None),
            ("older", "duplicate", None),
            ("new", "conflict", None),
            ("none", "accepted", None),
            ("late", "rejected", "too_late"),
        ]
        first = answer.json["entries"]["first"]
        numbers = [each["entry"] for each in results if each["status"] == "accepted"]
        assert numbers == [first + 1, first + 2, first + 3]
        assert answer.json["entries"]["count"] == 4
    await check_sums(database)


async def test_the_same_batch_from_64_clients_is_stored_once_and_answered_alike(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        size = len(await stored(database))
        envelope = service.envelope([record(f"r{n}", "A", *HOUR, 1_000) for n in range(20)])
        answers = await asyncio.gather(
            *(service.post("/v1/usage", envelope, None) for _ in range(CLIENTS))
        )
        told = {(a.status, a.body, a.headers["Kashi-Signature"]) for a in answers}
        assert len(told) == 1
        assert answers[0].status == 200
        assert len(await stored(database)) == size + 21
        (kept,) = await ask(database, "SELECT receipt, signature FROM meter.batch")
        assert told == {(200, kept["receipt"], kept["signature"])}
    await check_sums(database)


async def test_the_same_records_in_64_batches_at_once_are_charged_once(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        records = [record(f"r{n}", "A", *HOUR, 1_000) for n in range(5)]
        answers = await asyncio.gather(
            *(service.usage(records, stream=f"s{n}") for n in range(CLIENTS))
        )
        statuses = [result["status"] for a in answers for result in a.json["results"]]
        assert statuses.count("accepted") == 5
        assert statuses.count("duplicate") == 5 * (CLIENTS - 1)
        assert (await service.contract())["cost"] == "22.50"
    await check_sums(database)


async def test_another_payload_under_the_same_number_is_kept_as_evidence(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        first = await service.usage(one("a"))
        size = len(await stored(database))
        other, third = service.envelope(one("b")), service.envelope(one("c"))
        for envelope in (other, third, other):
            answer = await service.post("/v1/usage", envelope, None)
            assert (answer.status, answer.code) == (409, "seq_conflict")
            assert answer.json["batch"] == first.json["batch"]
        kept = await ask(database, "SELECT * FROM meter.seq_conflict ORDER BY received_at")
        assert [row["envelope"] for row in kept] == [other, third]
        assert {(row["provider"], row["stream"], row["seq"]) for row in kept} == {
            ("pcl", "main", 1)
        }
        assert len(await stored(database)) == size
        assert (await service.usage(one("a"))).body == first.body


async def test_two_payloads_of_one_number_at_once_give_one_batch_and_one_conflict(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="400000.00")
        async with writer_held(database):
            blocked = asyncio.create_task(service.issue(2025, "1.00"))
            await until_it_waits(database)
            envelopes = [service.envelope(one(f"r{n}")) for n in range(8)]
            posts = [asyncio.create_task(service.post("/v1/usage", e, None)) for e in envelopes]
            await until_queued(service, 8)
        await blocked
        answers = await asyncio.gather(*posts)
        assert sorted(answer.status for answer in answers) == [200] + [409] * 7
        refused = {e for e, a in zip(envelopes, answers, strict=True) if a.status == 409}
        kept = await ask(database, "SELECT envelope FROM meter.seq_conflict")
        assert {row["envelope"] for row in kept} == refused
    await check_sums(database)
