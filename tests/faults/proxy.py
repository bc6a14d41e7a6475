"""A proxy before PostgreSQL's socket that cuts a connection around a COMMIT.

It understands just enough of the protocol: a message is a type byte, a length of four bytes that
counts itself, and a body; the first message of a connection has no type byte. Only the connection
of the service's writer is cut, and only once for each request:

    BEFORE   the COMMIT never arrives: the server rolls back
    DURING   the COMMIT is passed on and both sides are cut at once: nobody knows
    AFTER    the server has answered, and its answer is thrown away: committed, and nobody knows
    FORGET   the COMMIT never arrives, and the proxy says that it succeeded: a database that lies
"""

import asyncio
import contextlib
from enum import Enum, auto
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

SOCKET = ".s.PGSQL.5432"
WRITER = "kashi-writer"  # the application name under which the service writes
COMMIT = b"Q\x00\x00\x00\x0cCOMMIT;\0"
READY = b"Z"
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\0" + b"Z\x00\x00\x00\x05I"


class Cut(Enum):
    """The place of a cut."""

    BEFORE = auto()
    DURING = auto()
    AFTER = auto()
    FORGET = auto()


class Proxy:
    """Listens in `folder`; `dsn` is the address of the server, by way of the proxy."""

    def __init__(self, folder: Path, server_dsn: str) -> None:
        address = urlsplit(server_dsn)
        self._server_socket = Path(parse_qs(address.query)["host"][0]) / SOCKET
        self._folder = folder
        self._armed: tuple[Cut, asyncio.Future[None]] | None = None
        self.dsn = address._replace(query=f"host={quote(str(folder))}&port=5432").geturl()

    async def __aenter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        self._listener = await asyncio.start_unix_server(self._serve, self._folder / SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    def cut(self, cut: Cut) -> asyncio.Future[None]:
        """Cut the writer's connection at its next COMMIT; returns when that is done."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._armed = cut, done
        return done

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_unix_connection(self._server_socket)
        except OSError:  # the server is away, and so are we
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), server)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await link.run()
        link.abort()

    def take_armed(self) -> tuple[Cut, asyncio.Future[None]] | None:
        armed, self._armed = self._armed, None
        return armed


_Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection and the one behind it."""

    def __init__(self, proxy: Proxy, client: _Side, server: _Side) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._answer_wanted: asyncio.Future[None] | None = None
        self._forgets = False  # the client notices at its next request
        self._cutting = False

    async def run(self) -> None:
        startup = await _message(self._from_client, type_bytes=0)
        self._to_server.write(startup)
        is_writer = f"application_name\0{WRITER}\0".encode() in startup
        tasks = [
            asyncio.create_task(self._pass_requests(cutting=is_writer)),
            asyncio.create_task(self._pass_answers()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def abort(self) -> None:
        for writer in (self._to_client, self._to_server):
            writer.transport.abort()

    async def _pass_requests(self, *, cutting: bool) -> None:
        while True:
            message = await _message(self._from_client)
            armed = self._proxy.take_armed() if cutting and message == COMMIT else None
            if armed is not None:
                await self._cut(*armed)
                continue
            if self._forgets:
                return
            self._to_server.write(message)
            await self._to_server.drain()

    async def _cut(self, cut: Cut, done: asyncio.Future[None]) -> None:
        self._cutting = True
        if cut is Cut.AFTER:
            self._answer_wanted = asyncio.get_running_loop().create_future()
        if cut in (Cut.DURING, Cut.AFTER):
            self._to_server.write(COMMIT)
            await self._to_server.drain()
        if self._answer_wanted is not None:
            await self._answer_wanted
        if cut is Cut.FORGET:
            self._forgets = True
            self._to_server.transport.abort()
            self._to_client.write(COMMITTED)
            await self._to_client.drain()
        else:
            self.abort()
        done.set_result(None)

    async def _pass_answers(self) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                message = await _message(self._from_server)
                if self._answer_wanted is None:
                    self._to_client.write(message)
                    await self._to_client.drain()
                elif message.startswith(READY):
                    self._answer_wanted.set_result(None)
        if self._cutting:  # the other direction ends this, when it has done its work
            await asyncio.Event().wait()


async def _message(reader: asyncio.StreamReader, type_bytes: int = 1) -> bytes:
    head = await reader.readexactly(type_bytes + 4)
    length_bytes = int.from_bytes(head[type_bytes:], "big")
    return head + await reader.readexactly(length_bytes - 4)
