"""The database under the ledger: what it may be, what it is held to, and how it is told apart."""

import asyncio
import io
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from ledger.roles import Roles
from meter.host import logs
from meter.tables import connections
from tests.books import record
from tests.services import HOUR, ORIGIN, Service, ask, serving, until

OURS = "('ledger', 'meter')"


# Collations


async def test_every_text_column_has_the_collation_that_no_upgrade_changes(database, tmp_path):
    async with serving(database, tmp_path):
        columns = await ask(
            database,
            "SELECT attrelid::regclass::text AS table, attname AS column, collname"
            " FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation"
            f" WHERE attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v', 'm')"
            f" AND relnamespace::regnamespace::text IN {OURS}) AND attnum > 0",
        )
    assert len(columns) >= 50
    assert [tuple(row) for row in columns if row["collname"] != "C"] == []


async def test_every_index_has_the_collation_that_no_upgrade_changes(database, tmp_path):
    async with serving(database, tmp_path):
        indexes = await ask(
            database,
            "SELECT indexrelid::regclass::text AS index, coalesce(collname, '') AS name"
            " FROM pg_index CROSS JOIN unnest(indcollation) AS held (oid)"
            " LEFT JOIN pg_collation ON pg_collation.oid = held.oid"
            " JOIN pg_class ON pg_class.oid = indrelid"
            f" WHERE relnamespace::regnamespace::text IN {OURS}",
        )
    assert {row["name"] for row in indexes} == {"", "C"}
    assert {"meter.record_pkey", "meter.batch_by_payload"} <= {row["index"] for row in indexes}


async def test_another_version_of_the_databases_own_collation_is_a_notice(database, tmp_path):
    async with serving(database, tmp_path):
        pass
    changed = "UPDATE pg_database SET datcollversion = 'another' WHERE datname = current_database()"
    await ask(database, changed)
    with logs.write_to(told := io.StringIO()):
        async with serving(database, tmp_path) as service:
            await service.open_books()
    events = [json.loads(line) for line in told.getvalue().splitlines()]
    (notice,) = [each for each in events if each["event"] == "collation_changed"]
    assert (notice["level"], notice["made_with"]) == ("warning", "another")
    assert notice["now"] != "another"


async def test_a_login_that_could_switch_the_guards_off_is_a_notice(database, tmp_path):
    with logs.write_to(heard := io.StringIO()):
        async with serving(database, tmp_path) as service:
            await service.open_books()
        async with login(database) as weak, serving(weak, tmp_path):
            pass
        async with login(database) as strong:
            await ask(database, f"GRANT {Roles.of(ORIGIN).owner} TO {name_of(strong)}")
            async with serving(strong, tmp_path):
                pass
    events = [json.loads(line) for line in heard.getvalue().splitlines()]
    assert [each["strength"] for each in events if each["event"] == "strong_login"] == [
        "superuser",
        f"member of {Roles.of(ORIGIN).owner}",
    ]


# Too few connections


@asynccontextmanager
async def login(dsn: str, *words: str) -> AsyncIterator[str]:
    """Give the DSN of a login of its own, which is a member of the service's role alone."""
    name = f"clerk_{uuid.uuid4().hex[:12]}"
    await ask(dsn, f"CREATE ROLE {name} LOGIN IN ROLE {Roles.of(ORIGIN).service} {' '.join(words)}")
    yield urlsplit(dsn)._replace(netloc=f"{name}@").geturl()
    await ask(dsn, f"DROP OWNED BY {name}")
    await ask(dsn, f"DROP ROLE {name}")


def name_of(dsn: str) -> str:
    return urlsplit(dsn).netloc.partition("@")[0]


async def answers(service: Service, count: int) -> Counter[tuple[int, str]]:
    """Ask many queries at once; what comes, by status and code."""
    async with asyncio.timeout(60):
        found = await asyncio.gather(*(service.get("/v1/contracts/A") for _ in range(count)))
    return Counter((each.status, "" if each.status == 200 else each.code) for each in found)


def is_ready(service: Service) -> Callable[[], Awaitable[bool]]:
    async def ask_it() -> bool:
        return (await service.get("/readyz")).status == 200

    return ask_it


async def test_a_login_without_connections_left_is_503_and_never_a_fault_of_ours(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
    # Two are for the writer and the publisher; the sender of alerts waits for one of its own.
    async with login(database, "CONNECTION LIMIT 2") as few, serving(few, tmp_path) as service:
        assert set(await answers(service, 60)) == {(503, "unavailable")}
        ready = await service.get("/readyz")
        assert (ready.status, ready.code) == (503, "unavailable")
        # Usage needs no further one.
        assert (await service.usage([record("r", "A", *HOUR, 1)])).status == 200
        await ask(database, f"ALTER ROLE {name_of(few)} CONNECTION LIMIT 4")
        # The server counts those that it is about to refuse, too.
        await until(is_ready(service))
        found = await answers(service, 60)
        assert set(found) <= {(200, ""), (503, "unavailable")}
        assert found[200, ""] > 0
        await ask(database, f"ALTER ROLE {name_of(few)} CONNECTION LIMIT -1")
        assert set(await answers(service, 60)) == {(200, "")}
        assert (await service.get("/readyz")).status == 200


async def test_an_empty_pool_is_503_and_ready_says_so_until_there_is_room(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        holder = await asyncpg.connect(database)
        holding = holder.transaction()
        await holding.start()
        await holder.execute("LOCK TABLE meter.token IN ACCESS EXCLUSIVE MODE")
        held = [
            asyncio.create_task(service.get("/v1/contracts/A"))
            for _ in range(connections.MAX_READERS)
        ]

        async def all_wait() -> bool:
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return len(await ask(database, waiting)) == len(held)

        await until(all_wait)
        async with asyncio.timeout(20):
            for path in ("/v1/contracts/A", "/readyz"):
                answer = await service.get(path)
                assert (answer.status, answer.code) == (503, "unavailable")
        await holding.rollback()
        await holder.close()
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        assert (await service.get("/readyz")).status == 200


@pytest.mark.parametrize("lost", ["DEALLOCATE ALL", "DISCARD ALL"])
async def test_a_session_that_lost_what_was_prepared_is_503_and_given_up(database, tmp_path, lost):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.get("/v1/contracts/A")
        pool = service.running.readers
        taken = [await pool.acquire() for _ in range(connections.MAX_READERS)]
        for each in reversed(taken):  # the one that was used last is used next
            await each.execute(lost)
            await pool.release(each)
        found = [await service.get("/v1/contracts/A") for _ in range(30)]
        assert {each.status for each in found} == {200, 503}
        assert {each.code for each in found if each.status == 503} == {"unavailable"}
        assert [each.status for each in found[-3:]] == [200] * 3


async def test_ready_says_no_where_the_database_takes_no_writes(database, postgres, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        assert (await service.get("/readyz")).status == 200
        name = urlsplit(database).path[1:]
        await ask(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = $1 AND pid <> pg_backend_pid()"
        )
        await ask(database, others, name)
        answer = await service.get("/readyz")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert (await service.usage([record("r", "A", *HOUR, 1)])).code == "unavailable"
        await ask(postgres, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await ask(postgres, others, name)
        await until(is_ready(service))
        assert (await service.usage([record("r", "A", *HOUR, 1)])).status == 200
