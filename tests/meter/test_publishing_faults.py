"""The publisher's connection is cut at each of its requests to the database, before or after it.

A proxy stands between the service and PostgreSQL and reads the requests of the publisher. These
have three parts: `opening` a connection and comparing the folder with the database, the `first`
publish on a connection, which also prepares the statements, and each `later` one. Places are
counted in a run without faults; then each of them fails, on both sides:

    BEFORE   the request never reaches the server
    AFTER    the server has answered, and its answer is thrown away

A first publish is a long one: it fetches several times, and writes in between. A provider posts and
a comparison of checkpoint and database runs all the time.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from ledger import store as ledger_store
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.roles import Roles
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.host.data_folder import DataFolder
from tests.books import record
from tests.services import HOUR, ORIGIN, Clock, Service, check_sums, serving, stored

SOCKET = ".s.PGSQL.5432"
ROLE = Roles.of(ORIGIN).service.encode()
PUBLISHER = (b"application_name\0kashi\0", b"role\0" + ROLE + b"\0")  # in its first requests
FLUSH = b"H\x00\x00\x00\x04"
ANSWERED = {FLUSH: b"TnE"}  # the end of an answer; for a preparation, the columns
PARTS = ("opening", "first", "later")
PAUSE_SECONDS = 0.03  # of a provider between two batches
MANY = 17  # commits, more than are fetched at once


class Side(Enum):
    BEFORE = auto()
    AFTER = auto()


@dataclass(frozen=True)
class Place:
    """Request number `index` of a part."""

    part: str
    index: int
    side: Side


class Proxy:
    """Listens in `folder`; `dsn` is the address of the server, by way of the proxy."""

    def __init__(self, folder: Path, server_dsn: str) -> None:
        address = urlsplit(server_dsn)
        self._server_socket = Path(parse_qs(address.query)["host"][0]) / SOCKET
        self._folder = folder
        self._armed: Place | None = None
        self._for_good = False
        self._cut = asyncio.Event()
        self._may_begin = asyncio.Event()
        self._may_begin.set()
        self.is_away = False  # for the publisher
        self._publishers: set[asyncio.StreamWriter] = set()
        self.requests: dict[str, list[bytes]] = {}  # by part, as the last one was
        self.dsn = address._replace(query=f"host={quote(str(folder))}&port=5432").geturl()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._serve, self._folder / SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def cut_at(self, place: Place, *, for_good: bool = False) -> None:
        """Cut the publisher off at a place; returns when that is done."""
        self._cut.clear()
        self._armed = place
        self._for_good = for_good
        if place.part != "later":
            self.drop()
        async with asyncio.timeout(10):
            await self._cut.wait()

    def drop(self) -> None:
        """Close the publisher's connection, so that it has to open another."""
        for writer in self._publishers:
            writer.transport.abort()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no publish begin during the body."""
        self._may_begin.clear()
        yield
        self._may_begin.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._server_socket)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                startup = await read_message(reader, type_bytes=0)
                if all(word in startup for word in PUBLISHER):
                    if self.is_away:
                        return
                    self._publishers.add(writer)
                    await self._talk(startup, (reader, writer), (from_server, to_server))
                else:
                    to_server.write(startup)
                    await both(copy(reader, to_server), copy(from_server, writer))
        finally:
            self._publishers.discard(writer)
            for each in (writer, to_server):
                each.transport.abort()

    async def _talk(self, startup: bytes, client: "Ends", server: "Ends") -> None:
        """Pass on one request after the other, each with its answer, until one is cut."""
        part, request = "opening", startup
        self.requests[part] = []
        while not request.startswith(b"X"):  # the end of the connection, which has no answer
            if request.startswith(b"Q") and b"BEGIN" in request:
                part = "first" if part == "opening" else "later"
                self.requests[part] = []
                await self._may_begin.wait()
            index = len(self.requests[part])
            self.requests[part].append(request)
            if self._takes(Place(part, index, Side.BEFORE)):
                return
            server[1].write(request)
            answer = await read_until(server[0], ANSWERED.get(request[-5:], b"Z"))
            if self._takes(Place(part, index, Side.AFTER)):
                return
            client[1].write(answer)
            request = await read_until(client[0], b"QSHX")

    def _takes(self, place: Place) -> bool:
        if self._armed != place:
            return False
        self._armed = None
        self.is_away = self._for_good
        self._cut.set()
        return True


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def read_until(reader: asyncio.StreamReader, types: bytes) -> bytes:
    """Read messages until one of these types, which end a request or an answer."""
    messages = [await read_message(reader)]
    while messages[-1][0] not in types:
        messages.append(await read_message(reader))
    return b"".join(messages)


async def read_message(reader: asyncio.StreamReader, type_bytes: int = 1) -> bytes:
    head = await reader.readexactly(type_bytes + 4)
    length_bytes = int.from_bytes(head[type_bytes:], "big")  # counts itself
    return head + await reader.readexactly(length_bytes - 4)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def both(*directions) -> None:
    tasks = [asyncio.ensure_future(each) for each in directions]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Load:
    """A provider that posts batch after batch; each has to be accepted at once."""

    def __init__(self) -> None:
        self._seqs = itertools.count(1)
        self._may_post = asyncio.Lock()

    async def post(self, service: Service) -> None:
        seq = next(self._seqs)
        answer = await service.usage([record(f"r{seq}", "A", *HOUR, 100)], seq=seq)
        assert answer.status == 200, answer.body
        assert [result["status"] for result in answer.json["results"]] == ["accepted"]

    async def post_for(self, part: str, service: Service) -> None:
        """Post as many batches as a publish of this part shall have."""
        for _ in range(MANY if part == "first" else 1):
            await self.post(service)

    async def run(self, service: Service) -> None:
        while True:
            async with self._may_post:
                await self.post(service)
            await asyncio.sleep(PAUSE_SECONDS)

    def paused(self) -> asyncio.Lock:
        return self._may_post


async def compare(folder: DataFolder, database: str) -> None:
    """Compare each checkpoint with the database, which must lead to it already."""
    connection = await asyncpg.connect(database)
    try:
        while True:
            published = checkpoint(folder)
            head = await ledger_store.head(connection)
            assert published.size <= head.size
            assert published.root == await ledger_store.root_at(connection, published.size)
            await asyncio.sleep(0.01)
    finally:
        await connection.close()


@asynccontextmanager
async def meanwhile(*coroutines) -> AsyncIterator[None]:
    """Run an endless task during the body; its exception is raised at the end."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * len(tasks), ended


def checkpoint(folder: DataFolder) -> Checkpoint:
    return open_checkpoint(FolderReader(folder.log).checkpoint(), verifier(folder))


def verifier(folder: DataFolder) -> Verifier:
    return Verifier.parse(folder.log_vkey.read_text().strip())


def verified(folder: DataFolder, audit: Audit | None = None) -> int:
    """Verify the folder, by every rule where an audit is given; returns its number of entries."""
    report = verify(folder.log, verifier(folder), audit)
    assert report.findings == []
    return report.size


async def places(proxy: Proxy, service: Service, load: Load) -> list[Place]:
    """Return the number of requests of each part, counted without a cut."""
    await service.published()
    proxy.drop()
    for part in ("first", "later"):
        with proxy.held():
            await load.post_for(part, service)
        await service.published()
    for part in ("first", "later"):
        begin, *others = proxy.requests[part]
        (commit,) = (place for place, each in enumerate(others) if b"COMMIT" in each)
        assert begin.startswith(b"Q")
        assert commit >= 3  # head, keys, entries
        assert len(others) > commit + 1  # the checkpoint that is stored
    assert len(proxy.requests["first"]) > len(proxy.requests["later"])
    return [
        Place(part, index, side)
        for part in PARTS
        for index in range(len(proxy.requests[part]))
        for side in Side
    ]


async def failures(service: Service) -> float:
    text = (await service.get("/metrics")).body.decode()
    (line,) = [row for row in text.splitlines() if row.startswith("kashi_publish_failures_total ")]
    return float(line.split()[1])


@pytest.fixture
def socket_folder(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is short enough for a socket."""
    if "host=" not in urlsplit(postgres).query:
        pytest.skip("the database is not reached through a socket")
    return tmp_path_factory.mktemp("p")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("meter.publish.folder.RHYTHM_SECONDS", 0.01)
    monkeypatch.setattr(
        "meter.publish.log_folder.CHUNK_BYTES", 1
    )  # each entry is written by itself


@pytest.mark.long
async def test_a_connection_cut_at_any_request_holds_up_publishing_and_loses_nothing(
    database, tmp_path, socket_folder
):
    load = Load()
    async with (
        Proxy(socket_folder, database) as proxy,
        serving(proxy.dsn, tmp_path) as service,
    ):
        await service.open_books()
        cuts = await places(proxy, service, load)
        epoch = service.intake.writer.epoch
        async with meanwhile(load.run(service), compare(service.folder, database)):
            for place in cuts:
                before = await failures(service)
                cut = asyncio.create_task(proxy.cut_at(place))
                with proxy.held():
                    await load.post_for(place.part, service)
                await cut
                async with load.paused():
                    size = await service.published()
                    assert verified(service.folder) == size == len(await stored(database)), place
                # The connection that was opened to be cut is one more failure.
                felt = 1 if place.part == "later" else 2
                assert await failures(service) >= before + felt, place
        assert service.intake.writer.epoch == epoch  # the writer had no part in it
        assert not service.running.ended.done()
    verified(service.folder, Audit())
    await check_sums(database)


async def test_what_a_cut_left_unpublished_is_published_by_the_next_start(
    database, tmp_path, socket_folder
):
    load, clock = Load(), Clock("2025-03-01T12:00:00+08:00")
    async with Proxy(socket_folder, database) as proxy:
        async with serving(proxy.dsn, tmp_path, clock=clock) as service:
            await service.open_books()
            cuts = await places(proxy, service, load)
        for place in cuts[::5]:
            async with serving(database, tmp_path, clock=clock) as service:
                assert await service.published() == verified(service.folder), place
            proxy.is_away = False
            async with serving(proxy.dsn, tmp_path, clock=clock) as service:
                await load.post(service)
                await service.published()
                cut = asyncio.create_task(proxy.cut_at(place, for_good=True))
                with proxy.held():
                    await load.post_for(place.part, service)
                await cut
                await load.post(service)
            assert checkpoint(service.folder).size < len(await stored(database)), place
    async with serving(database, tmp_path, clock=clock) as service:
        size = await service.published()
        assert verified(service.folder, Audit()) == size == len(await stored(database))
    await check_sums(database)


async def test_a_database_that_does_not_answer_holds_up_publishing_and_is_counted(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr("meter.service.running.PATIENCE_SECONDS", 0.2)
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="400000.00")
        await service.published()
        before = await failures(service)
        connection = await asyncpg.connect(database)
        async with connection.transaction():
            await connection.execute("LOCK TABLE meter.registration IN ACCESS EXCLUSIVE MODE")
            posting = asyncio.create_task(service.issue(2025, "1.00"))
            for _ in range(100):
                await asyncio.sleep(0.1)
                if await failures(service) > before:
                    break
            else:
                pytest.fail("it waits for ever")
        await connection.close()
        await posting
        assert await service.published() == len(await stored(database))
