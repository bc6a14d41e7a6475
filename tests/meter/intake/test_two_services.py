"""Two services on one database: the first one ends, loses nothing, and tells all who wait."""

import asyncio

import pytest

from ledger.store import LostEpoch
from tests.sequencing import CLIENTS, end_the_writer, one, until_it_waits, until_queued, writer_held
from tests.services import ask, check_sums, coupon_body, serving, stored


async def test_a_service_that_was_shut_out_ends_and_loses_nothing(database, tmp_path):
    async with serving(database, tmp_path) as old:
        await old.open_books(issued="400000.00")
        first = await old.usage(one("a"), stream="a")
        async with serving(database, tmp_path) as new:
            size = len(await stored(database))
            answers = await asyncio.gather(
                *(old.usage(one(f"s{n}"), stream=f"s{n}") for n in range(CLIENTS))
            )
            assert {(a.status, a.code) for a in answers} == {(503, "unavailable")}
            with pytest.raises(LostEpoch):
                await asyncio.wait_for(old.running.ended, 5)
            assert len(await stored(database)) == size
            # It says so at once to whoever still comes, and to its supervisor.
            async with asyncio.timeout(5):
                for answer in (
                    await old.usage(one("late"), stream="late"),
                    await old.post("/v1/coupons", coupon_body(2025, "1.00")),
                    await old.get("/readyz"),
                ):
                    assert (answer.status, answer.code) == (503, "unavailable")
            again = await new.usage(one("a"), stream="a")
            assert (again.status, again.body) == (200, first.body)
            for n in range(CLIENTS):
                answer = await new.usage(one(f"s{n}"), stream=f"s{n}")
                assert answer.json["results"][0]["status"] == "accepted"
    state = await check_sums(database)
    assert len(state.records) == CLIENTS + 1


TAKE_OVER = "UPDATE ledger.head SET epoch = epoch + 1"  # as another service does


@pytest.mark.parametrize("records", [one("a"), one("b")], ids=["again", "conflict"])
async def test_a_service_that_was_shut_out_answers_nothing_from_its_old_state(
    database, tmp_path, records
):
    async with serving(database, tmp_path) as old:
        await old.open_books()
        assert (await old.usage(one("a"))).status == 200
        await ask(database, TAKE_OVER)
        answer = await old.usage(records)  # no entry is to be appended
        assert (answer.status, answer.code) == (503, "unavailable")
        with pytest.raises(LostEpoch):
            await asyncio.wait_for(old.running.ended, 5)
    assert not await ask(database, "SELECT 1 FROM meter.seq_conflict")


async def test_a_service_that_was_shut_out_ends_at_once_and_does_not_try_to_recover(
    database, tmp_path, monkeypatch
):
    async def fail() -> None:
        raise ConnectionRefusedError

    async with serving(database, tmp_path) as old:
        await old.open_books()
        monkeypatch.setattr(old.intake.writer, "_connect", fail)
        await ask(database, TAKE_OVER)
        answer = await old.usage(one("a"))
        assert (answer.status, answer.code) == (503, "unavailable")
        with pytest.raises(LostEpoch):
            await asyncio.wait_for(old.running.ended, 5)


async def test_when_the_sequencer_ends_its_followers_and_all_who_wait_or_come_are_told(
    database, tmp_path
):
    async with serving(database, tmp_path) as old:
        await old.open_books()
        intake = old.intake
        follower = asyncio.create_task(intake.watermark.beyond(intake.watermark.size))
        async with writer_held(database) as other:
            posts = [asyncio.create_task(old.usage(one("a"), stream="a"))]
            await until_it_waits(database)
            posts += [asyncio.create_task(old.usage(one(s), stream=s)) for s in "bc"]
            await until_queued(old, 2)
            await other.execute(TAKE_OVER)
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*posts, old.usage(one("d"), stream="d"))
            await follower
        assert {(answer.status, answer.code) for answer in answers} == {(503, "unavailable")}
        assert [answer.json["detail"] for answer in answers] == ["this service ends"] * 4
        assert not intake.ready
        with pytest.raises(LostEpoch):
            await asyncio.wait_for(old.running.ended, 5)


async def test_a_service_that_was_shut_out_while_it_recovers_tells_all_its_clients(
    database, tmp_path
):
    async with serving(database, tmp_path) as old:
        await old.open_books()
        async with writer_held(database):
            posts = [asyncio.create_task(old.usage(one(f"s{n}"), stream=f"s{n}")) for n in range(9)]
            await until_it_waits(database)
            await end_the_writer(database)
            # The old one asks for its epoch again and waits; another comes first.
            await until_it_waits(database)
            taken = asyncio.create_task(ask(database, TAKE_OVER))
            await end_the_writer(database)
            await asyncio.sleep(0.1)
        await taken
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*posts)
        assert {(a.status, a.code) for a in answers} == {(503, "unavailable")}
        with pytest.raises(LostEpoch):
            await asyncio.wait_for(old.running.ended, 5)
