"""The line from one machine to the nodes of the database, which can go dead without a word."""

import asyncio
import contextlib

HOST = "127.0.0.1"


class Line:
    """Passes bytes to so many ports here, from one port each at `host`; a cut lets none through."""

    def __init__(self, host: str, targets: list[int]) -> None:
        self._host = host
        self._targets = targets
        self._listeners: list[asyncio.Server] = []
        self._open = asyncio.Event()
        self._open.set()
        self.ports: list[int] = []

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def start(self) -> None:
        for target in self._targets:
            listener = await asyncio.start_server(self._serve_to(target), self._host, 0)
            self._listeners.append(listener)
            self.ports.append(listener.sockets[0].getsockname()[1])

    def stop(self) -> None:
        for each in self._listeners:
            each.close()

    def _serve_to(self, target: int):
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._open.wait()
            try:
                from_server, to_server = await asyncio.open_connection(HOST, target)
            except OSError:
                writer.transport.abort()
                return
            ways = [self._pass(reader, to_server), self._pass(from_server, writer)]
            tasks = [asyncio.ensure_future(each) for each in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in tasks:
                each.cancel()
            for end in (writer, to_server):
                end.transport.abort()

        return serve

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
