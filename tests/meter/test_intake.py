"""The sequencer under load and under faults: every batch once, every answer after its commit."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_metrics

from ledger.store import Inconsistent, LostEpoch
from meter import intake as intake_module
from meter.host.waiting import MAX_QUEUE_BYTES
from meter.rules.decide import Decision
from meter.tables import connections
from meter.values.units import MICROSECONDS, parse_money
from meter.wire import dsse
from tests.books import ALPHA, PROGRAMME, coupon_of, figures, micros, record, signer, void
from tests.services import (
    HOUR,
    NOON,
    Answer,
    Clock,
    Service,
    ask,
    check_sums,
    contract_body,
    coupon_body,
    serving,
    stored,
)

CLIENTS = 64
WRITER = (
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'kashi-writer'"
)


async def insist(service: Service, envelope: bytes) -> Answer:
    """Post the same bytes until they are taken, as a client does."""
    async with asyncio.timeout(30):
        while True:
            answer = await service.post("/v1/usage", envelope, None)
            if answer.status == 200:
                return answer
            assert (answer.status, answer.code) == (503, "unavailable"), answer.body
            assert answer.headers["Retry-After"] == "1"
            await asyncio.sleep(0.02)


@asynccontextmanager
async def writer_held(database: str):
    """Hold the row that every commit moves: what comes meanwhile has to wait."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM ledger.head FOR UPDATE")
            yield connection
    finally:
        await connection.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def until_it_waits(database: str) -> None:
    """Wait until the writer waits for a lock."""

    async def waits() -> bool:
        return bool(await ask(database, f"SELECT 1 {WRITER} AND wait_event_type = 'Lock'"))

    await until(waits)


async def end_the_writer(database: str) -> int:
    """End the backend of whoever writes; how many there were."""
    return len(await ask(database, f"SELECT pg_terminate_backend(pid) {WRITER}"))


async def until_queued(service: Service, count: int) -> None:
    async def queued() -> bool:
        return len(service.intake.waiting) >= count

    await until(queued)


async def segments(database: str) -> list[int]:
    return [row["count"] for row in await ask(database, "SELECT count FROM ledger.segment")]


def one(stream: str, milli_devices: int = 1_000, contract: str = "A") -> list[dict]:
    return [record(f"{stream}-1", contract, *HOUR, milli_devices)]


# Answers


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


# Groups


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


# Faults


async def test_ending_the_writers_backend_under_load_loses_and_doubles_nothing(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        envelopes = [
            service.envelope([record(f"{s}.{n}", "A", *HOUR, 1_000)], stream=f"s{s}", seq=n)
            for n in range(1, 6)
            for s in range(24)
        ]

        async def cut_off() -> None:
            ended = 0
            while ended < 4:  # while it recovers there may be none
                ended += await end_the_writer(database)
                await asyncio.sleep(0.03)

        async def client(mine: list[bytes]) -> None:
            for envelope in mine:
                await insist(service, envelope)
                await asyncio.sleep(0.01)

        await asyncio.gather(cut_off(), *(client(envelopes[n::24]) for n in range(24)))
        assert (await service.get("/readyz")).status == 200
        assert (await service.contract())["cost"] == "540.00"
    state = await check_sums(database)
    assert len(state.records) == len(envelopes) == 120


FAILING = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id LIKE 'poison%' THEN RAISE EXCEPTION 'no room for this'; END IF;
    RETURN NEW;
END $$;
"""
AT_THE_WRITE = (
    "CREATE TRIGGER fail BEFORE INSERT ON meter.record FOR EACH ROW EXECUTE FUNCTION fail()"
)
AT_THE_COMMIT = (
    "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON meter.record"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()"
)


@pytest.mark.parametrize("trigger", [AT_THE_WRITE, AT_THE_COMMIT])
async def test_a_write_that_fails_is_503_hurts_no_other_and_succeeds_later(
    database, tmp_path, trigger
):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="400000.00")
        for statement in (FAILING, trigger):
            await ask(database, statement)
        size = len(await stored(database))
        poison = service.envelope(one("poison"), stream="poison")
        async with writer_held(database):
            blocked = asyncio.create_task(service.issue(2025, "1.00"))
            await until_it_waits(database)
            good = [
                asyncio.create_task(service.usage(one(f"s{n}"), stream=f"s{n}")) for n in range(6)
            ]
            bad = asyncio.create_task(service.post("/v1/usage", poison, None))
            await until_queued(service, 7)
        await blocked
        answer = await bad
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert {a.status for a in await asyncio.gather(*good)} == {200}
        assert len(await stored(database)) == size + 1 + 12
        await check_sums(database)
        await ask(database, "DROP TRIGGER fail ON meter.record")
        assert (await service.post("/v1/usage", poison, None)).status == 200
        assert (await service.contract())["cost"] == "31.50"
    await check_sums(database)


async def test_a_batch_that_we_cannot_decide_hurts_no_other_in_its_group(
    database, tmp_path, monkeypatch
):
    class Faulty:
        """Decides a batch; the one that it hates makes it fail once the state has moved."""

        def __init__(self, state, signed, *others, **more):
            self._decision = Decision(state, signed, *others, **more)
            self._hated = signed.batch.stream == "poison"
            self.result = self._decision.result

        def step(self):
            self._decision.step()
            if self._hated and self._decision.result is not None:
                raise RuntimeError("a fault of ours")
            self.result = self._decision.result

    async with serving(database, tmp_path) as service:
        await service.open_books()
        poison = service.envelope(one("poison"), stream="poison")
        monkeypatch.setattr(intake_module, "Decision", Faulty)
        answers = await asyncio.gather(
            service.post("/v1/usage", poison, None),
            *(service.usage(one(f"s{n}"), stream=f"s{n}") for n in range(CLIENTS)),
        )
        assert (answers[0].status, answers[0].code) == (503, "unavailable")
        assert {answer.status for answer in answers[1:]} == {200}
        assert (await service.contract())["cost"] == "288.00"
        monkeypatch.undo()
        assert (await service.post("/v1/usage", poison, None)).status == 200
    await check_sums(database)


class Proxy:
    """A way to the database that can be cut: at a commit of the writer, or altogether.

    It speaks no SQL; it looks for the word COMMIT in what the writer's connection sends.
    """

    def __init__(self, database: str, folder: Path) -> None:
        self._socket = parse_qs(urlsplit(database).query)["host"][0] + "/.s.PGSQL.5432"
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.cut = ""  # "before" or "after" the next commit reaches the server
        self.cuts = 0
        self.dsn = (
            urlsplit(database)._replace(query=f"host={quote(str(folder))}&port=5432").geturl()
        )

    async def start(self) -> None:
        path = self._folder / ".s.PGSQL.5432"
        self._server = await asyncio.start_unix_server(self._relay, path)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        (self._folder / ".s.PGSQL.5432").unlink(missing_ok=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, upstream}
        replies = asyncio.create_task(self._copy(upstream_reader, writer))
        is_writer = False
        try:
            while data := await reader.read(65_536):
                is_writer = is_writer or connections.WRITER.encode() in data
                if self.cut and is_writer and b"COMMIT" in data:
                    place, self.cut = self.cut, ""
                    self.cuts += 1
                    replies.cancel()
                    await asyncio.wait([replies])
                    if place == "after":
                        upstream.write(data)
                        await upstream_reader.read(65_536)
                    return
                upstream.write(data)
                await upstream.drain()
        finally:
            replies.cancel()
            writer.close()
            upstream.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(database: str, folder: Path):
    proxy = Proxy(database, folder)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@pytest.fixture
def socket_folder(postgres, tmp_path_factory):
    """A folder whose path is short enough for a socket."""
    if "host=" not in urlsplit(postgres).query:
        pytest.skip("the database is not reached through a socket")
    return tmp_path_factory.mktemp("p")


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_commit_of_unknown_outcome_is_looked_up_and_never_guessed(
    database, tmp_path, socket_folder, place
):
    async with (
        proxied(database, socket_folder) as proxy,
        serving(proxy.dsn, tmp_path) as service,
    ):
        await service.open_books(issued="400000.00")
        size = len(await stored(database))
        epoch = service.intake.writer.epoch
        for seq in range(1, 4):
            proxy.cut = place
            envelope = service.envelope([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
            first = await service.post("/v1/usage", envelope, None)
            assert (first.status, first.code) == (503, "unavailable")
            assert proxy.cuts == seq
            # The commit that reached the server counts; the other never was.
            reached = 2 if place == "after" else 0
            assert len(await stored(database)) == size + reached
            await insist(service, envelope)
            size += 2
            assert len(await stored(database)) == size
        assert service.intake.writer.epoch == epoch + 3
        assert (await service.contract())["cost"] == "13.50"
        # Under a key, a command too is carried out once.
        proxy.cut = place
        answer = await service.post("/v1/coupons", coupon_body(2025, "1.00"), key="once")
        assert (answer.status, answer.code) == (503, "unavailable")
        answer = await service.post("/v1/coupons", coupon_body(2025, "1.00"), key="once")
        assert (answer.status, answer.json["issued"]) == (201, "400001.00")
    await check_sums(database)


async def test_a_database_that_has_lost_what_was_committed_ends_the_service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        (kept,) = await ask(database, "SELECT * FROM ledger.head")
        assert (await service.usage(one("a"))).status == 200
        await restore(database, kept)
        assert await end_the_writer(database) == 1
        answer = await service.usage(one("b"), seq=2)
        assert (answer.status, answer.code) == (503, "unavailable")
        size = kept["size"]
        lost = f"lost what was committed: it holds {size} entries of {size + 2} that it confirmed"
        with pytest.raises(Inconsistent, match=lost):
            await asyncio.wait_for(service.running.ended, 5)


async def restore(database: str, head: asyncpg.Record) -> None:
    """Put the ledger's own tables back, as whoever restores an older copy does."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            for table in ("segment", "head"):
                await connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER USER")
            await connection.execute("DELETE FROM ledger.segment WHERE first >= $1", head["size"])
            await connection.execute(
                "UPDATE ledger.head SET size = $1, root = $2, frontier = $3, last_at = $4",
                *(head[name] for name in ("size", "root", "frontier", "last_at")),
            )
    finally:
        await connection.close()


async def test_while_the_database_is_away_everything_is_503_and_afterwards_goes_on(
    database, tmp_path, socket_folder
):
    async with (
        proxied(database, socket_folder) as proxy,
        serving(proxy.dsn, tmp_path) as service,
    ):
        await service.open_books(issued="400000.00")
        await service.published()
        await proxy.stop()
        envelopes = [service.envelope(one(f"s{n}"), stream=f"s{n}") for n in range(12)]
        answers = await asyncio.gather(
            *(service.post("/v1/usage", envelope, None) for envelope in envelopes)
        )
        answers.append(await service.post("/v1/coupons", coupon_body(2025, "1.00"), key="k"))
        for path in (
            *("/readyz", "/v1/contracts/A", "/v1/entries", "/v1/entries/0"),
            f"/v1/enterprises/{ALPHA}/balance?programme={PROGRAMME}&year=2025",
        ):
            answers.append(await service.get(path))
        for answer in answers:
            assert (answer.status, answer.code) == (503, "unavailable"), answer.body
            assert answer.headers["Retry-After"] == "1"
        for path in ("/healthz", "/log/checkpoint"):
            assert (await service.get(path)).status == 200
        await proxy.start()
        for answer in await asyncio.gather(*(insist(service, each) for each in envelopes)):
            assert answer.json["results"][0]["status"] == "accepted"
        assert (await service.get("/readyz")).status == 200
        assert (await service.contract())["cost"] == "54.00"
    await check_sums(database)


# Two services, restarts, clients that go away


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


async def test_a_restart_has_the_same_state_and_goes_on(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="10.00")
        await service.ask("/v1/contracts", **contract_body("B"))
        await service.usage(
            [record(f"r{n}", "AB"[n % 2], *HOUR, 1_000 + n) for n in range(9)],
        )
        await service.usage([record("r10", "A", *HOUR, 7)], [void("r1"), void("r2")], seq=2)
        await service.ask("/v1/contracts/B/freeze")
        expected = figures(service.intake.state) | {"records": None}
    for seq in (3, 4):
        async with serving(database, tmp_path) as service:
            assert figures(service.intake.state) | {"records": None} == expected
            results = (
                await service.usage(
                    [
                        record(f"new{seq}", "A", *HOUR, 1_000),
                        record("r10", "A", *HOUR, 7),
                        record("r10", "A", *HOUR, 8),
                        record(f"frozen{seq}", "B", *HOUR, 1_000),
                    ],
                    [void("r1"), void(f"r{seq}")],
                    seq=seq,
                )
            ).json
            told = [each.get("code", each["status"]) for each in results["voids"]]
            assert told == ["already_voided", "accepted"]
            told = [each.get("code", each["status"]) for each in results["results"]]
            assert told == ["accepted", "duplicate", "conflict", "contract_frozen"]
            expected = figures(service.intake.state) | {"records": None}
    await check_sums(database)


async def test_receipts_are_byte_identical_after_restarts(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        envelopes = [
            service.envelope([record(f"r{n}", "A", *HOUR, n)], [void(f"r{n - 1}")], seq=n)
            for n in range(1, 8)
        ]
        first = [await service.post("/v1/usage", each, None) for each in envelopes]
    for _ in range(2):
        async with serving(database, tmp_path, now="2027-01-01T00:00:00+08:00") as service:
            again = [await service.post("/v1/usage", each, None) for each in envelopes]
            for old, new in zip(first, again, strict=True):
                assert (new.status, new.body) == (200, old.body)
                assert new.headers["Kashi-Signature"] == old.headers["Kashi-Signature"]


async def test_the_clock_of_the_ledger_never_goes_back(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        service.clock.set("2025-02-01T00:00:00+08:00")
        answers = [await service.usage(one("a"))]
    async with serving(database, tmp_path, now="2025-01-01T00:00:00+08:00") as service:
        answers.append(await service.usage(one("b"), seq=2))
        # Judged at the ledger's instant, by which this usage is past.
        assert [each.json["results"][0]["status"] for each in answers] == ["accepted"] * 2
        instants = [entry.at for entry in await service.entries()]
        # Each group is a microsecond after the one before.
        assert [instant - instants[0] for instant in instants] == [*range(8), 7, 8, 8]


async def test_the_clock_of_the_ledger_stands_while_the_services_own_goes_back(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        service.clock.set("2025-02-01T00:00:00+08:00")
        answers = [await service.usage(one("a")), await service.usage(one("b"), seq=2)]
        assert {answer.status for answer in answers} == {200}
        instants = [entry.at for entry in (await service.entries())[-4:]]
        assert [instant - instants[0] for instant in instants] == [0, 0, 1, 1]
        assert instants[0] > micros(NOON)


class Falling(Clock):
    """A clock that is a second earlier at each look."""

    def __call__(self) -> int:
        self.advance(-1)
        return self.now


async def test_a_group_is_dated_in_order_though_the_clock_goes_back_within_it(database, tmp_path):
    async with serving(database, tmp_path, clock=Falling(NOON)) as service:
        await service.open_books(issued="400000.00")
        epoch = service.intake.writer.epoch
        async with writer_held(database):
            posts = [asyncio.create_task(service.issue(2025, "1.00"))]
            await until_it_waits(database)
            service.clock.advance(3_600)
            posts += [asyncio.create_task(service.usage(one(s), stream=s)) for s in "abc"]
            await until_queued(service, 3)
        await asyncio.gather(*posts)
        before, *instants = [entry.at for entry in (await service.entries())[-7:]]
        assert (await segments(database))[-1] == len(instants) == 6
        assert instants == [instants[0]] * 6
        assert instants[0] > before + 3_000 * MICROSECONDS
        assert service.intake.writer.epoch == epoch


async def test_a_client_that_goes_away_before_its_answer_has_its_batch_stored_once(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        size = len(await stored(database))
        envelope = service.envelope(one("a"))
        async with writer_held(database):
            host, _, port = service.url.removeprefix("http://").partition(":")
            for _ in range(3):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(
                    b"POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(envelope), envelope)
                )
                await writer.drain()
                await until_it_waits(database)
                await asyncio.sleep(0.05)
                writer.transport.abort()
        answer = await service.post("/v1/usage", envelope, None)
        assert answer.json["results"][0]["status"] == "accepted"
        assert len(await stored(database)) == size + 2
        (kept,) = await ask(database, "SELECT receipt FROM meter.batch")
        assert kept["receipt"] == answer.body
    await check_sums(database)


async def test_a_full_queue_is_503_busy_and_takes_more_when_it_has_room(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        # JSON may be padded: 7.5 MiB each, of which 64 MiB hold eight.
        padding = " " * (5_900_000 - 1_000)
        envelopes = [service.envelope(one(f"s{n}"), stream=f"s{n}") for n in range(11)]
        padded = [padded_envelope(envelope, padding) for envelope in envelopes]
        assert 8 * len(padded[0]) < MAX_QUEUE_BYTES < 9 * len(padded[0])
        async with writer_held(database):
            posts = [asyncio.create_task(service.post("/v1/usage", padded[0], None))]
            await until_it_waits(database)
            posts += [
                asyncio.create_task(service.post("/v1/usage", each, None)) for each in padded[1:9]
            ]
            await until_queued(service, 8)
            for each in padded[9:]:
                answer = await service.post("/v1/usage", each, None)
                assert (answer.status, answer.code) == (503, "busy")
                assert answer.headers["Retry-After"] == "1"
            assert await queue_bytes(service) == 8 * len(padded[0])
        assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        for each in padded[9:]:
            assert (await service.post("/v1/usage", each, None)).status == 200
    state = await check_sums(database)
    assert len(state.records) == 11


async def queue_bytes(service: Service) -> float:
    text = (await service.get("/metrics")).body.decode()
    (family,) = (each for each in parse_metrics(text) if each.name == "kashi_queue_bytes")
    return family.samples[0].value


def padded_envelope(envelope: bytes, padding: str) -> bytes:
    payload = b64decode(json.loads(envelope)["payload"]) + padding.encode()
    return dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))


async def test_whatever_a_stopping_service_has_answered_is_stored(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        posts = [
            asyncio.create_task(service.usage(one(f"s{n}"), stream=f"s{n}")) for n in range(CLIENTS)
        ]
        await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        await service.stop()
        await asyncio.wait(posts)
    answers = [task.result() for task in posts if task.exception() is None]
    answered = {answer.body for answer in answers if answer.status == 200}
    kept = {row["receipt"] for row in await ask(database, "SELECT receipt FROM meter.batch")}
    assert answered
    assert answered <= kept
    state = await check_sums(database)
    assert coupon_of(state, (ALPHA, PROGRAMME, 2025)).granted == 225 * len(kept)
