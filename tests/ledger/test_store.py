"""The ledger in a real PostgreSQL: one writer, whole groups or none, no stored row changed."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from ledger import store
from ledger.bundle import decode_bundle
from ledger.errors import FloorBroken
from ledger.log import Log
from ledger.roles import Roles
from ledger.store import Inconsistent, LostEpoch, UnsafeServer
from ledger.tlog import Tree, leaf_hash
from meter.host import postgres
from meter.host.postgres import Embedded
from tests.conftest import memory_folder

FLOORS = ("pool",)
ROLES = Roles.of("kashi.test/store")
SIZES = [1, 3, 2, 5, 1]


@pytest.fixture
async def owner(database):
    """Yield a superuser's connection to a new, empty ledger."""
    connection = await asyncpg.connect(database)
    async with connection.transaction():
        await make(connection)
    yield connection
    await connection.close()


async def make(connection, roles: Roles = ROLES) -> None:
    await store.make_roles(connection, roles)
    await store.create(connection, roles)


@asynccontextmanager
async def service(database: str):
    """Connect with the role of the service."""
    connection = await asyncpg.connect(database, server_settings={"role": ROLES.service})
    try:
        yield connection
    finally:
        await connection.close()


def entry(number: int) -> bytes:
    return b'{"number":%d}' % number


async def writer(connection) -> tuple[Log, int]:
    head = await store.take_over(connection)
    return await store.load_log(connection, head, FLOORS), head.epoch


async def append(connection, log: Log, epoch: int, count: int = 1, postings=()) -> None:
    for _ in range(count):
        log.append(entry(log.size), log.last_at + 1, postings)
    async with connection.transaction():
        await store.append(connection, epoch, log.take_group())


async def filled(connection) -> tuple[Log, int]:
    """Append groups of `SIZES` entries."""
    log, epoch = await writer(connection)
    for count in SIZES:
        await append(connection, log, epoch, count)
    return log, epoch


async def count_segments(connection) -> int:
    return await connection.fetchval("SELECT count(*) FROM ledger.segment")


# Appending and reading


async def test_a_new_ledger_is_empty_and_its_root_is_that_of_nothing(owner):
    head = await store.head(owner)
    assert (head.epoch, head.size, head.frontier, head.last_at) == (0, 0, b"", 0)
    assert head.root == Tree().root()
    log = await store.load_log(owner, head, FLOORS)
    assert (log.size, log.root(), log.last_at) == (0, head.root, 0)


async def test_the_head_moves_with_each_group_to_the_root_of_all_entries(owner):
    tree, log, epoch = Tree(), *await writer(owner)
    for count in SIZES:
        await append(owner, log, epoch, count)
        for number in range(tree.size, tree.size + count):
            tree.append(leaf_hash(entry(number)))
        head = await store.head(owner)
        assert (head.epoch, head.size, head.root) == (epoch, tree.size, tree.root())
        assert head.last_at == tree.size
        await check_reloaded(owner, head)
    assert await count_segments(owner) == len(SIZES)


async def check_reloaded(connection, head) -> None:
    again = await store.load_log(connection, head, FLOORS)
    assert (again.size, again.root(), again.last_at) == (head.size, head.root, head.last_at)
    async with connection.transaction():
        await store.check_root(connection, head)


async def test_any_range_of_entries_is_read_across_the_borders_of_segments(owner):
    log, _ = await filled(owner)
    for first, stop in itertools.product(range(log.size + 1), range(log.size + 3)):
        async with owner.transaction():
            found = [each async for each in store.entries(owner, first, stop)]
        assert found == [(n, entry(n)) for n in range(first, min(stop, log.size))], (first, stop)


async def test_segments_are_read_whole_and_none_where_nothing_is_wanted(owner):
    await filled(owner)
    ends = [0, *itertools.accumulate(SIZES)]
    for first, stop in itertools.combinations_with_replacement(ends, 2):
        async with owner.transaction():
            found = [each async for each in store.bundles(owner, first, stop)]
        wanted = [pair for pair in itertools.pairwise(ends) if first <= pair[0] < stop]
        assert [(start, start + count) for start, count, _ in found] == wanted, (first, stop)
        for start, count, bundle in found:
            assert decode_bundle(bundle, count) == [entry(start + n) for n in range(count)]


async def test_the_segment_of_an_entry_begins_where_its_group_did(owner):
    assert await store.segment_start(owner, 0) == 0
    log, _ = await filled(owner)
    starts = [0, *itertools.accumulate(SIZES)]
    found = [await store.segment_start(owner, number) for number in range(log.size)]
    assert found == [
        start for start, count in zip(starts, SIZES, strict=False) for _ in range(count)
    ]
    assert await store.segment_start(owner, log.size + 7) == starts[-2]


async def test_single_entries_are_found_in_any_order_and_those_beyond_the_end_left_out(owner):
    log, _ = await filled(owner)
    everything = {number: entry(number) for number in range(log.size)}
    assert await store.entries_at(owner, []) == {}
    assert await store.entries_at(owner, [log.size, log.size + 7, 2**53]) == {}
    assert await store.entries_at(owner, [*range(log.size + 3)]) == everything
    assert await store.entries_at(owner, [11, 3, 3, 0]) == {n: entry(n) for n in (0, 3, 11)}
    for number in range(log.size):
        assert await store.entries_at(owner, [number]) == {number: entry(number)}


async def test_what_there_was_at_an_instant_is_known_by_entry_and_by_commit(owner):
    assert await store.size_at(owner, 7) == 0
    assert await store.commit_before(owner, 7) is None
    log, epoch = await writer(owner)
    for instants in ((2, 2, 5), (5,), (9, 10)):
        for at in instants:
            log.append(b'{"at":%d}' % at, at, ())
        async with owner.transaction():
            await store.append(owner, epoch, log.take_group())
    sizes = [await store.size_at(owner, instant) for instant in range(12)]
    assert sizes == [0, 0, 2, 2, 2, 4, 4, 4, 4, 5, 6, 6]
    commits = [await store.commit_before(owner, instant) for instant in range(12)]
    assert commits == [None] * 5 + [(4, 5)] * 5 + [(6, 10)] * 2
    commits = [await store.commit_within(owner, number) for number in range(6)]
    assert commits == [(3, 5)] * 3 + [(4, 5)] + [(6, 10)] * 2
    assert await store.sizes_before(owner, [0, 5, 6, 10, 11]) == [0, 0, 4, 4, 6]


async def test_a_group_that_is_rolled_back_leaves_nothing(owner):
    log, epoch = await filled(owner)
    before = await store.head(owner)
    log.append(b"x", log.last_at, [("treasury:a", "pool:a", 5)])
    with pytest.raises(RuntimeError):
        await append_and_fail(owner, log, epoch)
    assert await store.head(owner) == before
    assert await count_segments(owner) == len(SIZES)
    assert (await store.load_log(owner, before, FLOORS)).book.balances == {}


async def append_and_fail(connection, log: Log, epoch: int) -> None:
    async with connection.transaction():
        await store.append(connection, epoch, log.take_group())
        raise RuntimeError


async def test_balances_are_loaded_and_floors_hold_across_a_restart(owner):
    log, epoch = await writer(owner)
    big = 2**70
    await append(owner, log, epoch, 1, [("treasury:a", "pool:a", big), ("treasury:a", "pool:b", 5)])
    await append(owner, log, epoch, 1, [("pool:a", "coupon:a", 1)])
    log, epoch = await writer(owner)
    assert log.book.balances == {
        "treasury:a": -big - 5,
        "pool:a": big - 1,
        "pool:b": 5,
        "coupon:a": 1,
    }
    with pytest.raises(FloorBroken):
        log.append(b"x", log.last_at, [("pool:b", "coupon:a", 6)])
    await append(owner, log, epoch, 1, [("pool:b", "coupon:a", 5)])


async def test_balances_can_be_replaced_whole(owner):
    log, epoch = await writer(owner)
    await append(owner, log, epoch, 1, [("treasury:a", "pool:a", 7)])
    async with owner.transaction():
        await store.replace_balances(owner, {"pool:b": 3})
    log, _ = await writer(owner)
    assert log.book.balances == {"pool:b": 3}


# One writer


async def test_of_two_writers_at_one_number_one_wins(owner, database):
    log, epoch = await filled(owner)
    async with service(database) as first, service(database) as second:
        head = await store.head(owner)
        logs = [await store.load_log(connection, head, FLOORS) for connection in (first, second)]
        outcomes = await asyncio.gather(
            append(first, logs[0], epoch),
            append(second, logs[1], epoch),
            return_exceptions=True,
        )
    assert sorted(map(type, outcomes), key=str) == [type(None), LostEpoch]
    head = await store.head(owner)
    assert head.size == log.size + 1
    assert await count_segments(owner) == len(SIZES) + 1
    await check_reloaded(owner, head)


async def test_a_writer_waits_for_a_commit_under_way_and_then_loses(owner, database):
    _, epoch = await filled(owner)
    async with service(database) as first, service(database) as second:
        head = await store.head(owner)
        ours, theirs = [await store.load_log(c, head, FLOORS) for c in (first, second)]
        transaction = first.transaction()
        await transaction.start()
        ours.append(entry(head.size), head.last_at, [])
        await store.append(first, epoch, ours.take_group())
        late = asyncio.create_task(append(second, theirs, epoch))
        assert not (await asyncio.wait([late], timeout=0.1))[0]
        await transaction.commit()
        with pytest.raises(LostEpoch):
            await late
    assert (await store.head(owner)).size == head.size + 1


async def test_the_first_number_of_a_segment_is_taken_once_whatever_the_head_says(owner):
    log, epoch = await filled(owner)
    head = await store.head(owner)
    async with owner.transaction():
        await store.append(owner, epoch, with_one_more(log))
    await owner.execute("ALTER TABLE ledger.head DISABLE TRIGGER only_forward")
    await owner.execute(
        "UPDATE ledger.head SET (size, root, frontier) = ($1, $2, $3)",
        *(head.size, head.root, head.frontier),
    )
    log = await store.load_log(owner, await store.head(owner), FLOORS)
    with pytest.raises(asyncpg.UniqueViolationError):
        await append(owner, log, epoch)


def with_one_more(log: Log):
    log.append(entry(log.size), log.last_at, [])
    return log.take_group()


async def test_taking_over_shuts_the_earlier_writer_out(owner, database):
    log, epoch = await filled(owner)
    async with service(database) as other:
        head = await store.take_over(other)
        assert (head.epoch, head.size) == (epoch + 1, log.size)
        with pytest.raises(LostEpoch):
            await append(owner, log, epoch)
        with pytest.raises(LostEpoch):
            await store.take_over(owner, epoch)
        assert await store.head(owner) == head
        again = await store.take_over(other, head.epoch)
        assert again.epoch == head.epoch + 1
        await append(other, await store.load_log(other, again, FLOORS), again.epoch)


async def test_taking_over_waits_for_a_commit_under_way_and_counts_it(owner, database):
    log, epoch = await filled(owner)
    async with service(database) as writing, service(database) as taking:
        transaction = writing.transaction()
        await transaction.start()
        log.append(entry(log.size), log.last_at, [])
        await store.append(writing, epoch, log.take_group())
        taken = asyncio.create_task(store.take_over(taking, epoch))
        assert not (await asyncio.wait([taken], timeout=0.1))[0]
        await transaction.commit()
        head = await taken
        assert (head.epoch, head.size, head.root) == (epoch + 1, log.size, log.root())


@asynccontextmanager
async def named(database: str):
    """Connect as the service does to write: under a name that the next writer looks for."""
    settings = {"role": ROLES.service, "application_name": "a writer"}
    connection = await asyncpg.connect(database, server_settings=settings)
    try:
        yield connection
    finally:
        connection.terminate()


async def test_whoever_takes_over_ends_a_writer_that_hangs_within_a_commit(owner, database):
    _, epoch = await filled(owner)
    async with named(database) as hung, named(database) as other, service(database) as reader:
        await hung.transaction().start()
        await hung.execute("SELECT 1 FROM ledger.head FOR UPDATE")
        async with asyncio.timeout(10):
            head = await store.take_over(other)
        assert head.epoch == epoch + 1
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await hung.execute("COMMIT")
        # Its role may again change nothing, and a connection that only reads goes on.
        assert await other.fetchval("SELECT current_user") == ROLES.service
        assert await store.head(reader) == head


async def test_a_writer_that_was_shut_out_ends_nobody(owner, database):
    _, epoch = await filled(owner)
    async with named(database) as ours:
        head = await store.take_over(ours)
        async with named(database) as late:
            with pytest.raises(LostEpoch):
                await store.take_over(late, epoch)
            with pytest.raises(LostEpoch):
                await store.check_epoch(late, epoch)
        await store.check_epoch(ours, head.epoch)
        assert await store.head(ours) == head


# Stored rows must agree with each other


async def test_a_frontier_that_does_not_give_the_root_is_not_loaded(owner):
    await filled(owner)
    await owner.execute("ALTER TABLE ledger.head DISABLE TRIGGER USER")
    for change in (
        "frontier = set_byte(frontier, 0, get_byte(frontier, 0) # 1)",
        "frontier = set_byte(frontier, 63, get_byte(frontier, 63) # 128)",
        "root = set_byte(root, 31, get_byte(root, 31) # 1)",
        "frontier = substr(frontier, 33)",
        "frontier = substr(frontier, 33) || substr(frontier, 1, 32)",
        "frontier = frontier || sha256('')",
        "frontier = substr(frontier, 2)",
        "size = size + 1",
        "size = size - 1",
    ):
        async with rolled_back(owner):
            await owner.execute(f"UPDATE ledger.head SET {change}")
            with pytest.raises(Inconsistent):
                await store.load_log(owner, await store.head(owner), FLOORS)
    await store.load_log(owner, await store.head(owner), FLOORS)


async def test_a_changed_or_missing_segment_is_found_by_hashing_all_again(owner):
    await filled(owner)
    await owner.execute("ALTER TABLE ledger.head DISABLE TRIGGER USER")
    await owner.execute("ALTER TABLE ledger.segment DISABLE TRIGGER USER")
    for change in (
        "UPDATE ledger.segment SET bundle = set_byte(bundle, 12, 57) WHERE first = 4",
        "DELETE FROM ledger.segment WHERE first = 4",
        "DELETE FROM ledger.segment WHERE first = 11",
        "UPDATE ledger.head SET size = size - 1",
        "UPDATE ledger.head SET root = sha256('')",
    ):
        async with rolled_back(owner):
            assert await owner.execute(change) in ("UPDATE 1", "DELETE 1")
            with pytest.raises(Inconsistent):
                await store.check_root(owner, await store.head(owner))
    async with owner.transaction():
        await store.check_root(owner, await store.head(owner))


@asynccontextmanager
async def rolled_back(connection):
    transaction = connection.transaction()
    await transaction.start()
    yield
    await transaction.rollback()


# Append-only


CHANGES_OF_SEGMENTS = [
    "UPDATE ledger.segment SET count = count",
    "UPDATE ledger.segment SET bundle = ''",
    "DELETE FROM ledger.segment",
    "DELETE FROM ledger.segment WHERE false",
    "TRUNCATE ledger.segment",
    "TRUNCATE ledger.segment, ledger.account",
]
CHANGES_OF_THE_HEAD = [
    "UPDATE ledger.head SET size = size - 1",
    "UPDATE ledger.head SET epoch = epoch - 1",
    "UPDATE ledger.head SET last_at = last_at - 1",
    "UPDATE ledger.head SET root = sha256('')",
    "DELETE FROM ledger.head",
    "TRUNCATE ledger.head",
]


@pytest.mark.parametrize("role", ["superuser", "superuser as a replica", "owner", "service"])
async def test_segments_never_change_and_the_head_never_goes_back(owner, role):
    await filled(owner)
    head = await store.head(owner)
    before = await owner.fetch("SELECT * FROM ledger.segment")
    await become(owner, role)
    for change in CHANGES_OF_SEGMENTS + CHANGES_OF_THE_HEAD:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
            await owner.execute(change)
        by_grant = str(refused.value).startswith("permission denied")
        granted = role != "service" or change.startswith("UPDATE ledger.head")
        assert by_grant is not granted, change
    await become(owner, "superuser")
    assert await store.head(owner) == head
    assert await owner.fetch("SELECT * FROM ledger.segment") == before


async def become(connection, role: str) -> None:
    await connection.execute("RESET ROLE")
    await connection.execute("SET session_replication_role = DEFAULT")
    if role == "superuser as a replica":
        await connection.execute("SET session_replication_role = replica")
    elif role != "superuser":
        await connection.execute(f"SET ROLE {getattr(ROLES, role)}")


async def test_there_is_one_head(owner):
    for one in ("true", "false", "NULL"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await owner.execute(f"INSERT INTO ledger.head VALUES ({one}, 9, 0, sha256(''), '', 0)")


async def test_neither_role_can_log_in_and_the_service_owns_nothing(owner):
    rows = await owner.fetch(
        "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname = ANY ($1)",
        [ROLES.owner, ROLES.service],
    )
    assert sorted(map(tuple, rows)) == [
        (ROLES.owner, False, False),
        (ROLES.service, False, False),
    ]
    owners = await owner.fetch(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname='ledger'"
    )
    assert [row["tableowner"] for row in owners] == [ROLES.owner]


async def test_a_login_that_serves_beside_ours_is_made_a_member_of_the_services_role(owner):
    login = f"serving_{uuid4().hex[:8]}"
    await owner.execute(f"CREATE ROLE {login} LOGIN")
    await store.make_roles(owner, ROLES, login)
    memberships = (
        "SELECT array_agg(rolname::text) FROM pg_roles WHERE pg_has_role($1, oid, 'MEMBER')"
    )
    assert {*await owner.fetchval(memberships, login)} == {login, ROLES.service}
    await owner.execute(f"DROP ROLE {login}")


async def test_the_services_role_cannot_switch_the_guards_off(owner):
    await owner.execute(f"SET ROLE {ROLES.service}")
    for statement in (
        "ALTER TABLE ledger.segment DISABLE TRIGGER append_only",
        "DROP TRIGGER append_only ON ledger.segment",
        "DROP TABLE ledger.segment",
        "ALTER TABLE ledger.head DISABLE TRIGGER only_forward",
        "DROP FUNCTION ledger.refuse_change CASCADE",
        "INSERT INTO ledger.head VALUES (true, 0, 0, sha256(''), '', 0)",
        "CREATE TABLE ledger.other ()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute(statement)


# Setting up


async def test_a_ledger_is_made_once(owner):
    await filled(owner)
    head = await store.head(owner)
    assert await store.exists(owner)
    with pytest.raises(asyncpg.DuplicateSchemaError):
        async with owner.transaction():
            await make(owner)
    assert await store.head(owner) == head


async def test_an_empty_database_holds_no_ledger_and_a_rolled_back_one_neither(database):
    connection = await asyncpg.connect(database)
    assert not await store.exists(connection)
    transaction = connection.transaction()
    await transaction.start()
    await make(connection)
    assert await store.exists(connection)
    await transaction.rollback()
    assert not await store.exists(connection)
    await connection.close()


async def test_ledgers_on_one_server_have_roles_of_their_own(owner, database):
    name = database.partition("?")[0].rpartition("/")[2] + "_b"
    await owner.execute(f"CREATE DATABASE {name}")
    try:
        other = await asyncpg.connect(database.replace(name[:-2], name))
        async with other.transaction():
            await make(other, others := Roles.of("kashi.test/other"))
        await filled(other)
        assert (await store.head(owner)).size == 0
        assert {others.owner, others.service}.isdisjoint({ROLES.owner, ROLES.service})
        tables = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'ledger'"
        assert await other.fetchval(tables) == others.owner
        assert await owner.fetchval(tables) == ROLES.owner
        await other.close()
    finally:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_server_that_may_lose_commits_is_refused(monkeypatch):
    with memory_folder() as folder:
        for setting in ("fsync", "full_page_writes"):
            with monkeypatch.context() as changed:
                changed.setitem(postgres.SETTINGS, setting, "off")
                async with Embedded(folder) as server:
                    connection = await asyncpg.connect(server.dsn)
                    with pytest.raises(UnsafeServer, match=f"{setting} = off"):
                        await store.check_server(connection)
                    await connection.close()
        async with Embedded(folder) as server:
            connection = await asyncpg.connect(server.dsn)
            await store.check_server(connection)
            await connection.close()
