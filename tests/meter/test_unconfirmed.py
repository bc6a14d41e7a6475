"""A commit whose wait for a standby is cancelled succeeds, and is no success to us."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from ledger import store
from ledger.store import Unconfirmed
from meter.host.postgres import Embedded
from meter.tables import connections
from tests.books import record
from tests.conftest import memory_folder
from tests.services import HOUR, address_of, ask, check_sums, serving, until


@pytest.fixture
async def own_server():
    """The DSN of a server whose settings are this test's alone."""
    with memory_folder() as folder:
        server = Embedded(folder)
        yield await server.start()
        await server.stop()


@asynccontextmanager
async def waiting_for_nobody(dsn: str):
    """Let each commit wait for a standby that does not exist."""
    await ask(dsn, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await ask(dsn, "SELECT pg_reload_conf()")
    try:
        await until(partial(waits, dsn))
        yield
    finally:
        await ask(dsn, "ALTER SYSTEM RESET synchronous_standby_names")
        await ask(dsn, "SELECT pg_reload_conf()")


async def waits(dsn: str) -> bool:
    """Return whether a commit waits by now: settings are read anew a moment after the order."""
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "a probe"})
    try:
        probing = asyncio.create_task(
            connection.execute("CREATE TEMPORARY TABLE probe (); DROP TABLE probe")
        )
        while not probing.done():
            if await cancels(dsn, "a probe"):
                await probing
                return True
            await asyncio.sleep(0.02)
        return False
    finally:
        await connection.close()


async def cancels(dsn: str, name: str) -> bool:
    """Cancel the commit of a connection, and return whether it waited for a standby."""
    rows = await ask(
        dsn,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = $1 AND wait_event = 'SyncRep'",
        name,
    )
    return [tuple(each) for each in rows] == [(True,)]


async def cancel_wait(dsn: str, name: str) -> None:
    """Cancel the commit of a connection that waits for a standby."""
    await until(partial(cancels, dsn, name))


async def test_a_batch_whose_commit_may_be_here_alone_is_not_acknowledged(own_server, tmp_path):
    async with serving(own_server, tmp_path) as service:
        await service.open_books()
        size = await service.published()
        async with waiting_for_nobody(own_server):
            posting = asyncio.create_task(service.usage([record("r1", "A", *HOUR, 64_000)]))
            await cancel_wait(own_server, connections.WRITER)
            # It stands in the primary, and a fail-over now would lose it.
            assert await ask(own_server, "SELECT size FROM ledger.head") == [(size + 2,)]
            # Taking over again waits for a standby too.
            await asyncio.sleep(0.5)
            assert not posting.done()
            assert not service.intake.ready
            assert service.running.published.size == size
        refused = await posting
        assert (refused.status, refused.code) == (503, "unavailable")
        again = await service.usage([record("r1", "A", *HOUR, 64_000)])
        assert again.status == 200
        assert again.json["entries"]["first"] == size
        assert await service.published() == size + 2
    await check_sums(own_server)


async def test_what_is_published_is_stored_wherever_standbys_are(own_server, tmp_path):
    async with serving(own_server, tmp_path) as service:
        await service.open_books()
        await service.published()
        connection = await connections.connect(address_of(own_server))
        # The service commits beside it, by connections of the usual name.
        await connection.execute("SET application_name = 'a test'")
        head = await store.head(connection)
        note = await store.shown_checkpoint(connection)
        async with waiting_for_nobody(own_server):
            for write in (
                store.confirm(connection),
                shown(connection, head.epoch, head.size, note),
            ):
                waiting = asyncio.create_task(write)
                await cancel_wait(own_server, "a test")
                with pytest.raises(Unconfirmed):
                    await waiting
        await store.confirm(connection)
        await connection.close()


async def shown(connection, epoch: int, size: int, note: bytes) -> None:
    with store.confirmed(connection):
        await store.show_checkpoint(connection, epoch, size, note)
