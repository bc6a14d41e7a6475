"""The lease: one instance at a time takes a ledger over, and one that is late can do nothing."""

import asyncio
import contextlib
import time
from functools import partial

import pytest

from ledger import store
from ledger.store import LostEpoch
from meter.tables import connections, lease
from meter.tables.lease import Lease
from tests.books import record
from tests.clusters import checkpoint
from tests.services import HOUR, address_of, ask, serving, until


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as made:
        await made.open_books()
        await made.published()
        yield made


@contextlib.asynccontextmanager
async def writing(database: str):
    connection = await connections.connect(address_of(database), writer=True)
    try:
        yield connection
    finally:
        await connection.close()


def lease_of(database: str, name: str) -> Lease:
    return Lease(partial(connections.connect, address_of(database), patience_seconds=1), name)


async def run_out(database: str) -> None:
    await ask(database, "UPDATE ledger.lease SET expires = clock_timestamp()")


@pytest.mark.usefixtures("service")
async def test_of_many_at_once_one_takes_the_lease_and_the_next_when_it_is_released(database):
    leases = [lease_of(database, f"m{n}:1") for n in range(5)]
    taking = {asyncio.create_task(each.take()): each for each in leases}
    (first,), waiting = await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
    async with writing(database) as connection:
        assert await store.lease_holder(connection) == (taking[first].holder, taking[first].address)
        await asyncio.sleep(3 * lease.LOOK_SECONDS)
        assert not any(each.done() for each in waiting)
        await taking[first].release()
        (second,), waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert (await store.lease_holder(connection))[0] == taking[second].holder
        with pytest.raises(LostEpoch):
            await taking[first].keep(lambda: True)
    for each in waiting:
        each.cancel()


@pytest.mark.usefixtures("service")
async def test_whoever_is_late_can_neither_take_over_nor_store_a_checkpoint(database):
    early, late = lease_of(database, "early:1"), lease_of(database, "late:1")
    await late.take()
    async with writing(database) as connection:
        head = await store.take_over(connection, holder=late.holder)
        note = await store.shown_checkpoint(connection)
        size = head.size
        assert await store.put_checkpoint(connection, head.epoch, size, b"other") == note
        await run_out(database)
        await early.take()
        with pytest.raises(LostEpoch):
            await store.take_over(connection, holder=late.holder)
        # Nobody has raised the epoch yet, so what the late one has decided may still be committed.
        await store.show_checkpoint(connection, head.epoch, size, note)
        async with writing(database) as other:
            taken = await store.take_over(other, holder=early.holder)
            assert taken.epoch == head.epoch + 1
        async with writing(database) as connection:  # noqa: PLW2901 - the one before was ended
            for refused in (
                store.put_checkpoint(connection, head.epoch, size + 1, b"a fork"),
                store.show_checkpoint(connection, head.epoch, size + 1, b"a fork"),
                store.take_over(connection, head.epoch),
                store.renew_lease(connection, late.holder, 3, may_shorten=True),
            ):
                with pytest.raises(LostEpoch):
                    await refused
            assert await store.shown_checkpoint(connection) == note
        assert await ask(database, "SELECT size FROM ledger.checkpoint") == [(size,)]
    with pytest.raises(LostEpoch):
        await asyncio.wait_for(late.keep(lambda: True), 10)


async def test_a_service_that_was_shut_out_shows_nothing_of_what_it_has_signed(service, database):
    before = checkpoint(service.folder)
    async with writing(database) as other:
        stored = await store.shown_checkpoint(other)
        taking = other.transaction()
        await taking.start()
        await other.execute("SELECT FROM ledger.lease FOR UPDATE")
        # Commits do not wait for that row, and checkpoints do.
        assert (await service.usage([record("r1", "A", *HOUR, 1)])).status == 200
        await until(partial(someone_waits, database))
        assert checkpoint(service.folder) == before
        await other.execute("UPDATE ledger.head SET epoch = epoch + 1")
        await other.execute("UPDATE ledger.lease SET epoch = epoch + 1")
        await taking.commit()
        failed = "kashi_publish_failures_total 1.0"

        async def is_refused() -> bool:
            return failed in (await service.get("/metrics")).body.decode()

        await until(is_refused)
        assert await store.shown_checkpoint(other) == stored
    assert checkpoint(service.folder) == before
    assert (await service.usage([record("r2", "A", *HOUR, 1)], seq=2)).status == 503
    with pytest.raises(LostEpoch):
        await asyncio.wait_for(service.running.ended, 20)
    assert checkpoint(service.folder) == before


async def someone_waits(database: str) -> bool:
    return bool(await ask(database, "SELECT FROM pg_locks WHERE NOT granted"))


@pytest.mark.usefixtures("service")
async def test_whoever_loses_the_lease_while_it_takes_over_does_not(database):
    one = lease_of(database, "one:1")
    await one.take()
    async with writing(database) as mine, writing(database) as other:
        before = await store.head(mine)
        # Without a name it is no writer that the takeover would end.
        await other.execute("SET application_name = ''")
        taking = other.transaction()
        await taking.start()
        await other.execute("UPDATE ledger.lease SET holder = 'other'")
        late = asyncio.create_task(store.take_over(mine, holder=one.holder))
        await until(partial(someone_waits, database))
        await taking.commit()
        with pytest.raises(LostEpoch):
            await late
        assert await store.head(other) == before


@pytest.mark.usefixtures("service")
async def test_what_waits_for_the_row_of_the_lease_is_refused_after_a_takeover(database):
    async with writing(database) as first, writing(database) as second:
        head = await store.head(first)
        note = await store.shown_checkpoint(first)
        taking = second.transaction()
        await taking.start()
        await second.execute("SELECT FROM ledger.lease FOR UPDATE")
        showing = asyncio.create_task(store.show_checkpoint(first, head.epoch, head.size, note))
        await until(partial(someone_waits, database))
        await second.execute("UPDATE ledger.head SET epoch = epoch + 1")
        await second.execute("UPDATE ledger.lease SET epoch = epoch + 1")
        await taking.commit()
        with pytest.raises(LostEpoch):
            await showing


@pytest.mark.usefixtures("service")
async def test_a_lease_is_kept_by_the_databases_clock_and_never_shortened_while_a_state_is_loaded(
    database, monkeypatch
):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    one = lease_of(database, "one:1")

    async def left() -> float:
        ((seconds,),) = await ask(
            database,
            "SELECT extract(epoch FROM expires - clock_timestamp())::float FROM ledger.lease",
        )
        return seconds

    await one.take()
    is_loaded = False
    keeping = asyncio.create_task(one.keep(lambda: is_loaded))
    await asyncio.sleep(0.3)
    assert await left() > lease.LEASE_SECONDS + 1
    is_loaded = True
    await asyncio.sleep(0.3)
    assert 0 < await left() <= lease.LEASE_SECONDS
    keeping.cancel()
    await one.release()
    assert await left() < 0


@pytest.mark.usefixtures("service")
async def test_a_lease_that_cannot_be_renewed_ends_the_turn(database, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.2)
    one = lease_of(database, "one:1")
    await one.take()

    async def silent():  # as a database that has gone silent
        await asyncio.Event().wait()

    one._leave_connection()
    one._connect = silent
    began = time.monotonic()
    with pytest.raises(LostEpoch, match="could not be renewed"):
        await asyncio.wait_for(one.keep(lambda: True), 30)
    assert time.monotonic() - began > lease.LEASE_SECONDS


async def test_a_service_without_a_lease_takes_over_from_one_that_has_it(service, database):
    one = lease_of(database, "one:1")
    await one.take()
    async with writing(database) as connection:
        head = await store.take_over(connection)
        assert await store.lease_holder(connection) is None
    with pytest.raises(LostEpoch):
        await one.keep(lambda: True)
    rows = await ask(database, "SELECT lease.epoch, head.epoch FROM ledger.lease, ledger.head")
    assert rows == [(head.epoch, head.epoch)]
    assert (await service.usage([record("r1", "A", *HOUR, 1)])).status == 503
