"""The service's tables: evidence is append-only, and the rest follows from the entries."""

import asyncio
import itertools
import random
from typing import Any

import asyncpg
import pytest

from ledger import canon
from ledger import store as ledger_store
from ledger.bundle import decode_bundle, encode_bundle
from ledger.errors import LedgerError
from ledger.folder import FolderReader
from ledger.note import Signer, Verifier, open_checkpoint
from ledger.roles import Roles
from ledger.store import Inconsistent, LostEpoch
from ledger.tiles import tiles_of
from ledger.tlog import Frontier, leaf_hash
from meter.host.keys import Keys
from meter.publish.export import export
from meter.rules import snapshot
from meter.rules.effects import Diverged
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.service import rebuild as rebuild_module
from meter.service.rebuild import rebuild
from meter.tables import connections, load, write
from meter.tables.load import Named
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    day_number,
    figures,
    lifted,
    line,
    record,
    summary,
    usage_by_stream,
    void,
)
from tests.services import (
    HOUR,
    ORIGIN,
    PROJECTIONS,
    Service,
    address_of,
    ask,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    projections,
    serving,
    stored,
    stored_entries,
)

YEAR_EDGE = ("2025-12-31T23:30:00+08:00", "2026-01-01T00:30:00+08:00")
ROLES = Roles.of(ORIGIN)
EVIDENCE = ("meter.batch", "meter.seq_conflict")


async def history(service: Service, seed: int, steps: int = 40) -> None:
    """Perform random operations: usage, voids, coupons, contracts, freezes; some are refused."""
    chance = random.Random(seed)
    await service.open_books(lifted(), issued="20.00")
    await service.ask("/v1/enterprises", **enterprise_body(BETA, founded_on="2024-06-01"))
    contracts, ids = ["A"], []
    for step in range(steps):
        match chance.randrange(8):
            case 0:
                name = f"C{step}"
                terms = {
                    "amount": chance.choice(["5.00", "50.00", "1000.00"]),
                    "enterprise": chance.choice([ALPHA, BETA]),
                }
                await service.ask("/v1/contracts", **contract_body(name, **terms))
                contracts.append(name)
            case 1 | 2:
                owner = chance.choice([BETA, ALPHA])
                body = coupon_body(chance.choice([2025, 2026]), "7.77", owner)
                path = chance.choice(["/v1/coupons", "/v1/coupons", "/v1/coupons/withdraw"])
                await service.post(path, body)
            case 3:
                path = f"/v1/contracts/{chance.choice(contracts)}"
                await service.post(f"{path}/{chance.choice(['freeze', 'unfreeze'])}")
            case 4:
                amendment = {
                    "prices": {DEVICE: f"{chance.randrange(1, 9)}.00"},
                    "amount": chance.choice(["5.00", "70.00", "900.00"]),
                    "document": "协议",
                    "reason": "as signed",
                } | chance.choice(
                    [
                        {"mode": "correction", "enterprise": chance.choice([ALPHA, BETA])},
                        {
                            "mode": "supplement",
                            "effective": chance.choice(["2025-01-01", "2026-01-01"]),
                            "signed_on": "2024-12-01",
                        },
                    ]
                )
                await service.post(f"/v1/contracts/{chance.choice(contracts)}/amend", amendment)
            case 5 if ids:
                body = {"provider": "pcl", "id": chance.choice(ids), "reason": "found"}
                await service.post("/v1/records/void", body)
            case _:
                records = [
                    record(
                        f"{step}.{n}",
                        chance.choice(contracts),
                        *chance.choice([HOUR, YEAR_EDGE]),
                        chance.randrange(1, 3_000),
                    )
                    for n in range(chance.randrange(4))
                ]
                voids = [void(id_) for id_ in chance.sample(ids, min(len(ids), 2))]
                answer = await service.usage(records, voids, seq=step + 1)
                assert answer.status == 200
                ids += [each["id"] for each in records]
        service.clock.advance(chance.randrange(100))


@pytest.fixture
async def lived(database, tmp_path):
    """A ledger with a history, whose service was stopped once in between."""
    async with serving(database, tmp_path, now="2026-01-10T12:00:00+08:00") as service:
        await history(service, 1)
        await exceed(service)
        clock = service.clock
    async with serving(database, tmp_path, clock=clock) as service:
        for seq in range(900, 903):
            await service.usage([record(f"r{seq}", "A", *YEAR_EDGE, 777)], seq=seq)
        await service.usage([record("other", "A", *HOUR, 1)], seq=900)
        for seq in (903, 904):
            await service.usage(seq=seq, summary=summary("2025-12-31", line("A", 1, "1.000")))
        number = service.intake.watermark.size
        person = {"command": "person", "body": {"id": "li"}}
        for path, body in (("", person), (f"/{number}/confirm", {})):
            assert (await service.post(f"/v1/proposals{path}", body, None)).status == 201
        service.clock.advance(31 * 86_400)  # so that a month is over
        await service.usage(seq=905)
        folder = service.folder
    return database, folder


async def exceed(service: Service) -> None:
    """Use more than was rented; a reviewer releases one record, and two are voided."""
    await service.ask("/v1/contracts", **contract_body("W", max_devices={DEVICE: 1}))
    usage = [record(f"w{n}", "W", *YEAR_EDGE, 1_000) for n in range(6)]
    await service.usage(usage, seq=990)
    for name in ("w2", "w3"):
        body = {"provider": "pcl", "id": name, "reason": "seen"}
        await service.ask("/v1/records/release", **body)
    await service.usage([], [void("w3"), void("w4")], seq=989)


def signer_of(folder) -> Signer:
    return Signer.parse(folder.log_key.read_text().strip())


# Device-time in use


async def test_a_released_record_takes_room_after_a_restart_too(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted())
        await service.ask("/v1/contracts", **contract_body("W", max_devices={DEVICE: 1}))
        await service.usage([record(id_, "W", *HOUR, 1_000) for id_ in ("r1", "r2")])
        body = {"provider": "pcl", "id": "r2", "reason": "a clock was wrong"}
        await service.ask("/v1/records/release", **body)
        await service.usage([], [void("r1")], seq=2)
    async with serving(database, tmp_path) as service:
        answer = await service.usage([record("r3", "W", *HOUR, 1_000)], seq=3)
        assert answer.json["results"][0]["withheld"] == "4.50"


# Evidence


@pytest.mark.parametrize("role", ["superuser", "superuser as a replica", "owner", "service"])
async def test_envelopes_and_conflicts_are_append_only(lived, role):
    database, _ = lived
    connection = await asyncpg.connect(database)
    before = [await connection.fetch(f"SELECT * FROM {table}") for table in EVIDENCE]
    assert all(before)
    if role == "superuser as a replica":
        await connection.execute("SET session_replication_role = replica")
    elif role != "superuser":
        await connection.execute(f"SET ROLE {getattr(ROLES, role)}")
    for table in EVIDENCE:
        for change in (
            f"UPDATE {table} SET envelope = ''",
            f"UPDATE {table} SET envelope = envelope WHERE false",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
                await connection.execute(change)
            by_grant = str(refused.value).startswith("permission denied")
            assert by_grant is (role == "service"), change
    await connection.execute("RESET ROLE")
    assert [await connection.fetch(f"SELECT * FROM {table}") for table in EVIDENCE] == before
    await connection.close()


async def test_every_table_is_evidence_or_the_services_own_or_a_projection(lived):
    database, _ = lived
    rows = await ask(
        database,
        "SELECT schemaname || '.' || tablename AS name,"
        " array_remove(ARRAY[CASE WHEN has_table_privilege($1, t.oid, 'UPDATE')"
        "  THEN 'U' END, CASE WHEN has_table_privilege($1, t.oid, 'DELETE')"
        "  THEN 'D' END, CASE WHEN has_table_privilege($1, t.oid, 'TRUNCATE')"
        "  THEN 'T' END], NULL) AS may"
        " FROM pg_tables JOIN pg_class t ON relname = tablename"
        " AND relnamespace = schemaname::regnamespace WHERE schemaname IN ('ledger', 'meter')",
        ROLES.service,
    )
    may = {row["name"]: "".join(row["may"]) for row in rows}
    assert may == {
        "ledger.segment": "",
        "ledger.head": "U",
        "ledger.account": "UD",
        "ledger.lease": "U",
        "ledger.checkpoint": "UD",
        **dict.fromkeys(EVIDENCE, ""),
        "meter.state_snapshot": "",
        "meter.request": "",
        "meter.token": "",
        "meter.access": "",
        "meter.closed_access_day": "",
        **dict.fromkeys(("meter.person", "meter.sign_in_link", "meter.session", "meter.act"), ""),
        **dict.fromkeys((f"meter.{table}" for table in PROJECTIONS), "UD"),
        **dict.fromkeys((f"meter.alert_{table}" for table in ("target", "attempt", "key")), ""),
        **dict.fromkeys(("meter.alert", "meter.alert_request", "meter.alert_standing"), "D"),
    }
    assert set(write._PROJECTIONS) == set(PROJECTIONS)


# The state follows from the entries


def totals_of(state: State) -> dict[str, Any]:
    """Return the snapshot of a state, without the numbers of streams, which a service looks up."""
    return canon.decode(snapshot.write(state)) | {"streams": []}


@pytest.mark.parametrize("seed", range(3))
async def test_the_loaded_state_is_the_one_that_all_entries_lead_to(database, tmp_path, seed):
    async with serving(database, tmp_path, now="2026-01-10T12:00:00+08:00") as service:
        await history(service, seed, 60)
        running, totals = figures(service.intake.state), totals_of(service.intake.state)
        held = in_use(service.intake.state)
    evolved = await check_sums(database)
    assert held
    assert held.items() <= in_use(evolved).items()
    connection = await connections.connect(address_of(database))
    try:
        head = await ledger_store.head(connection)
        loaded = await load.load_state(connection, head)
        for other in (running, figures(evolved)):
            assert figures(loaded) | {"records": None} == other | {"records": None}
        assert loaded.genesis_hash == evolved.genesis_hash
        assert totals_of(loaded) == totals == totals_of(evolved)
        assert loaded.policies == evolved.policies
        assert loaded.public_keys == evolved.public_keys
        assert loaded.provider_usccs == evolved.provider_usccs
        # Records and batches are loaded when they are named.
        assert (loaded.records, loaded.batches) == ({}, {})
        named = Named(records={*evolved.records, ("pcl", "unknown"), ("x", "y")})
        assert await load.load_named(connection, loaded, named) == {}
        assert loaded.records == evolved.records
        assert len(loaded.records) > 10
    finally:
        await connection.close()


async def test_named_batches_and_requests_come_with_their_stored_answers(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="400000.00")
        answer = await service.usage([record("r", "A", *HOUR, 1_000)])
        command = await service.post("/v1/coupons", coupon_body(2025, "1.00"), key="k")
        owner = f"person:{(await service.entries())[-1].person}"
    connection = await connections.connect(address_of(database))
    try:
        state = await load.load_state(connection, await ledger_store.head(connection))
        batches = {("pcl", "main", 1), ("pcl", "main", 2)}
        named = Named(batches=batches, requests={(owner, "k"), (owner, "other"), ("other", "k")})
        requests = await load.load_named(connection, state, named)
        assert {key: (each.entry, each.answer) for key, each in requests.items()} == {
            (owner, "k"): (command.json["entry"], command.body)
        }
        ((batch, held),) = state.batches.items()
        assert batch == ("pcl", "main", 1)
        assert (held.payload, held.receipt) == (answer.json["batch"], answer.body)
        assert held.signature == answer.headers["Kashi-Signature"]
    finally:
        await connection.close()


async def test_a_service_refuses_a_ledger_whose_head_contradicts_itself(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
    await ask(database, "ALTER TABLE ledger.head DISABLE TRIGGER USER")
    await ask(database, "UPDATE ledger.head SET root = sha256('')")
    with pytest.raises(Inconsistent):
        async with serving(database, tmp_path):
            pass


async def test_the_tables_are_made_once(lived):
    database, _ = lived
    before = await stored(database)
    connection = await connections.connect(address_of(database), owner=True)
    with pytest.raises(asyncpg.DuplicateSchemaError):
        await write.create(connection, ROLES)
    await connection.close()
    assert await stored(database) == before


# Rebuilding


async def test_rebuilding_gives_the_rows_that_the_service_wrote(lived, monkeypatch):
    database, _ = lived
    before = await projections(database)
    size = len(await stored(database))
    assert all(before.values())
    for chunk in (10_000, 7, 1):
        monkeypatch.setattr(rebuild_module, "CHUNK_ENTRIES", chunk)
        heard = []
        head = await rebuild(
            address_of(database), lambda *progress, heard=heard: heard.append(progress)
        )
        assert head.size == size
        assert heard == [(number, size) for number in range(1, size + 1)]
        assert await projections(database) == before


DAMAGE = {
    "registration": "DELETE FROM meter.registration WHERE kind = 'contract'",
    "record": "UPDATE meter.record SET voided = NULL, entry = entry + 1, to_review = NOT to_review",
    "withheld": "UPDATE meter.withheld SET quarters = '{}', starts = 0",
    "refused": "DELETE FROM meter.refused",
    "stream": "UPDATE meter.stream SET last = 1, batches = 7",
    "gap": "DELETE FROM meter.gap",
    "usage_day": "UPDATE meter.usage_day SET device_time = -1",
    "summary": "UPDATE meter.summary SET entry = entry - 1",
    "segment_subject": "DELETE FROM meter.segment_subject WHERE subject LIKE '%A'",
    "device_time": "DELETE FROM meter.device_time",
    "contract_total": "UPDATE meter.contract_total SET used = used + 1",
    "contract_segment": "UPDATE meter.contract_segment SET eligible = eligible + 1",
    "contract_year": "UPDATE meter.contract_year SET granted = 0",
    "contract_year_past": "UPDATE meter.contract_year_past SET size = size + 1000",
    "contract_total_past": "UPDATE meter.contract_total_past SET used = used + 1",
    "pool_past": "UPDATE meter.pool_past SET amount = amount + 1",
    "coupon": "DELETE FROM meter.coupon",
    "coupon_past": "DELETE FROM meter.coupon_past",
    "coupon_day": "UPDATE meter.coupon_day SET day = day + 1",
    "pool_day": "UPDATE meter.pool_day SET granted = granted + 1",
    "pool": "UPDATE meter.pool SET issued = 0, amount = 1",
    "account": "UPDATE ledger.account SET fen = fen + 100",
    "ledger_month": "DELETE FROM meter.ledger_month",
    "month_booking": "UPDATE meter.month_booking SET cost = cost + 1",
    "added": "INSERT INTO meter.coupon VALUES ('x', 'y', 2025, 5)",
}


async def test_rebuilding_mends_every_projection(lived):
    database, _ = lived
    before = await projections(database)
    evidence = [await ask(database, f"SELECT * FROM {table}") for table in EVIDENCE]
    for damage in DAMAGE.values():
        await ask(database, damage)
        assert await projections(database) != before, damage
        await rebuild(address_of(database))
        assert await projections(database) == before, damage
    assert [await ask(database, f"SELECT * FROM {table}") for table in EVIDENCE] == evidence
    await check_sums(database)


async def test_the_days_of_usage_are_those_of_a_replay(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.ask("/v1/contracts", **contract_body("L", max_devices={DEVICE: 4}))
        night = ("2025-02-27T22:00:00+08:00", "2025-02-28T03:00:00+08:00")
        await service.usage([record(id_, "L", *night, 3_000) for id_ in ("a", "b", "c")])
        await service.ask("/v1/records/release", provider="pcl", id="b", reason="seen")
        await service.usage([record("e", "L", *night, 1_000)], [void("c")], seq=2)
    state = State()
    for entry in await stored_entries(database):
        evolve(state, entry)
    rows = await ask(database, "SELECT * FROM meter.usage_day")
    held = {tuple(row)[:4]: [*map(int, tuple(row)[4:8])] for row in rows}
    assert held == usage_by_stream(state)
    day = day_number("2025-02-27")
    assert held["L", day, DEVICE, "main"] == [7_000 * 7_200, 6_000 * 7_200, 1_000 * 7_200, 3]
    assert held["L", day + 1, DEVICE, "main"] == [7_000 * 10_800, 6_000 * 10_800, 1_000 * 10_800, 3]


async def test_a_service_goes_on_after_a_rebuild(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        first = await service.usage([record("r", "A", *HOUR, 64_000)])
    await ask(database, "DELETE FROM meter.contract_year")
    await rebuild(address_of(database))
    async with serving(database, tmp_path) as service:
        assert (await service.balance())["granted"] == "144.00"
        assert (await service.usage([record("r", "A", *HOUR, 64_000)])).body == first.body
        await service.usage([], [void("r")], seq=2)
        assert (await service.balance())["granted"] == "0.00"
    await check_sums(database)


async def test_a_rebuild_shuts_a_running_service_out(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await rebuild(address_of(database))
        answer = await service.usage([record("r", "A", *HOUR, 64_000)])
        assert (answer.status, answer.code) == (503, "unavailable")
        with pytest.raises(LostEpoch):
            await service.running.ended


async def change_segments(database: str, change: str, *arguments) -> None:
    """Change segments with the triggers off, as only a superuser can."""
    await ask(database, "ALTER TABLE ledger.segment DISABLE TRIGGER USER")
    await ask(database, change, *arguments)
    await ask(database, "ALTER TABLE ledger.segment ENABLE ALWAYS TRIGGER append_only")


async def forge(database: str, old: bytes, new: bytes) -> None:
    """Replace bytes in the one segment that holds them, and make its leaf hashes fit."""
    rows = await ask(database, "SELECT first, count, bundle FROM ledger.segment")
    for first, count, bundle in rows:
        if old in bundle:
            entries = [each.replace(old, new) for each in decode_bundle(bundle, count)]
            hashes = b"".join(map(leaf_hash, entries))
            await change_segments(
                database,
                "UPDATE ledger.segment SET bundle = $2, leaf_hashes = $3 WHERE first = $1",
                *(first, encode_bundle(entries), hashes),
            )
            return
    raise AssertionError(old)


FORGERIES = {
    "another amount": (b'"amount":2000', b'"amount":3000'),
    "another salt": (b'"request":"key-5"', b'"request":"key-6"'),
    "another reason": (b'"reason":"found"', b'"reason":"other"'),
    "a longer id": (b'"id":"r900"', b'"id":"r9000"'),
    "no JSON": (b'{"at":', b'["at":'),
    "an unknown contract": (b'"contract":"A","cost"', b'"contract":"B","cost"'),
    "another kind": (b'"kind":"batch"', b'"kind":"bitch"'),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_neither_rebuild_nor_export_takes_a_changed_entry(lived, tmp_path, name):
    database, folder = lived
    before = await projections(database)
    await forge(database, *FORGERIES[name])
    for attempt in (
        lambda: rebuild(address_of(database)),
        lambda: export(address_of(database), Keys(folder), tmp_path / "out"),
    ):
        with pytest.raises(Inconsistent, match="do not give the root"):
            await attempt()
    assert await projections(database) == before
    assert not (tmp_path / "out" / "checkpoint").exists()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM ledger.segment WHERE first = 3",
        "DELETE FROM ledger.segment WHERE first = (SELECT max(first) FROM ledger.segment)",
        "UPDATE ledger.segment SET bundle = substr(bundle, 1, length(bundle) - 1) WHERE first = 5",
        "UPDATE ledger.segment SET bundle = '' WHERE first = 0",
    ],
)
async def test_neither_rebuild_nor_export_takes_a_ledger_with_a_piece_missing(
    lived, tmp_path, change
):
    database, folder = lived
    before = await projections(database)
    await change_segments(database, change)
    for attempt in (
        lambda: rebuild(address_of(database)),
        lambda: export(address_of(database), Keys(folder), tmp_path / "out"),
    ):
        with pytest.raises(LedgerError):
            await attempt()
    assert await projections(database) == before
    assert not (tmp_path / "out" / "checkpoint").exists()


async def test_entries_that_break_a_rule_are_not_rebuilt_even_under_their_own_root(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r", "A", *HOUR, 64_000)])
    before = await projections(database)
    await forge(database, b'A:2025",14400]', b'A:2025",14401]')
    await sign_anew(database)
    with pytest.raises(Diverged, match="14401"):
        await rebuild(address_of(database))
    assert await projections(database) == before


async def sign_anew(database: str) -> None:
    """Set the root of the head to that of the stored entries."""
    frontier = Frontier.over(b"".join(map(leaf_hash, await stored(database))))
    await ask(database, "ALTER TABLE ledger.head DISABLE TRIGGER USER")
    await ask(
        database,
        "UPDATE ledger.head SET root = $1, frontier = $2",
        *(frontier.root(), frontier.to_bytes()),
    )


# Exporting


async def test_an_export_holds_all_entries_and_the_evidence_of_each_batch(lived, tmp_path):
    database, folder = lived
    out = tmp_path / "out"
    head = await export(address_of(database), Keys(folder), out)
    reader = FolderReader(out)
    verifier = Verifier.parse(folder.log_vkey.read_text().strip())
    checkpoint = open_checkpoint(reader.checkpoint(), verifier)
    assert (checkpoint.size, checkpoint.root) == (head.size, head.root)
    found, attached = [], {}
    for tile in tiles_of(head.size):
        if tile.level == "entries":
            found += reader.entries(tile)
            files = reader.attachments(tile.beside("batches"))
            attached |= {tile.first + index: each for index, each in files.items()}
    assert found == await stored(database)
    kept = await ask(database, "SELECT entry, envelope, receipt, signature FROM meter.batch")
    assert attached == {
        row["entry"]: [row["envelope"], row["receipt"], row["signature"].encode()] for row in kept
    }


async def test_an_export_is_one_snapshot_while_the_service_goes_on(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()

        async def grow(stream: str) -> None:
            for seq in range(1, 6):
                usage = [record(f"{stream}.{n}", "A", *HOUR, 1) for n in range(seq)]
                await service.usage(usage, stream=stream, seq=seq)

        keys, heads = Keys(service.folder), []
        for n in range(3):
            exported = asyncio.create_task(export(address_of(database), keys, tmp_path / f"out{n}"))
            await asyncio.gather(grow(f"s{n}"), grow(f"t{n}"))
            heads.append(await exported)
    # Each is the ledger as it was between two commits.
    counts = await ask(database, "SELECT count FROM ledger.segment ORDER BY first")
    ends = list(itertools.accumulate(row["count"] for row in counts))
    hashes = [leaf_hash(data) for data in await stored(database)]
    for head in heads:
        assert head.size in ends
        assert head.root == Frontier.over(b"".join(hashes[: head.size])).root()


async def test_an_export_never_writes_into_a_folder_that_holds_something(lived, tmp_path):
    database, folder = lived
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(LedgerError):
        await export(address_of(database), Keys(folder), tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["mine"]


def in_use(state: State) -> dict[tuple[Any, int], list[int]]:
    """Return the days of device-time that a state holds, where any is in use."""
    return {
        (name, day): list(quarters)
        for name, count in state.in_use.items()
        for day, quarters in count.days.items()
        if any(quarters)
    }
