"""Faults of the database under load: every batch once, every answer after its commit."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from ledger.store import Inconsistent
from meter import intake as intake_module
from meter.rules.decide import Decision
from meter.tables import connections
from tests.books import ALPHA, PROGRAMME, record
from tests.sequencing import CLIENTS, end_the_writer, one, until_it_waits, until_queued, writer_held
from tests.services import HOUR, Answer, Service, ask, check_sums, coupon_body, serving, stored


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
