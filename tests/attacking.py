"""Attackers of a service: many at once, and connections on which anything can be sent.

Where memory is measured the service is a process of its own (`apart`); elsewhere it runs in the
test's loop, where limits of time can be made short.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from meter.host.data_folder import DATABASE_VARIABLE
from tests.commands import REPOSITORY
from tests.services import NOON, Answer, Service, serving

# A test waits this long before it fails.
PATIENCE_SECONDS = 60


async def at_once(calls: Iterable[Awaitable[Answer]]) -> list[Answer]:
    return await asyncio.gather(*calls)


def outcomes(answers: Iterable[Answer]) -> Counter:
    """Count answers by status, refusals by code."""
    return Counter(each.code if each.status >= 400 else each.status for each in answers)


@dataclass
class Apart:
    """A service that is a process of its own."""

    service: Service
    pid: int

    @property
    def peak_mib(self) -> int:
        """The most memory that it ever had at once."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024


@asynccontextmanager
async def apart(database: str, folder: Path) -> AsyncIterator[Apart]:
    """Run `kashi serve` on opened books, and end it with SIGINT."""
    async with serving(database, folder) as service:
        await service.open_books()
    words = ("serve", "--data", service.folder.path, "--port", "0", "--now", NOON)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from meter.cli.main import main; main()", *map(str, words)),
        env=os.environ | {DATABASE_VARIABLE: database, "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = (await process.stdout.readline()).decode().split()[-1]
        async with aiohttp.ClientSession(
            headers=service.http.headers, connector=aiohttp.TCPConnector(limit=256)
        ) as http:
            yield Apart(replace(service, url=url, http=http), process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


class Raw:
    """A connection on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def opened(cls, service: Service, data: bytes = b"") -> "Raw":
        """Connect, and send as much of the data as the service takes."""
        host, _, port = service.url.removeprefix("http://").partition(":")
        raw = cls(*await asyncio.open_connection(host, int(port)))
        await raw.send(data)
        return raw

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Send byte by byte, until the service refuses more."""
        with contextlib.suppress(ConnectionError):
            for place in range(len(data)):
                self.writer.write(data[place : place + 1])
                await self.writer.drain()
                await asyncio.sleep(0.05)

    async def answer(self) -> Answer:
        """Read one answer whose length is told."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await self.reader.readexactly(int(headers["Content-Length"]))
            return Answer(int(status.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Read until the service closes the connection."""
        found = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionError):
                while part := await self.reader.read(65_536):
                    found += part
        self.abort()
        return found

    def abort(self) -> None:
        self.writer.transport.abort()


def post_head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: kashi.test", *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def code_of(answer: bytes) -> str:
    """Return the code of a problem document, as it came from the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    assert b"application/problem+json" in head
    assert head.split()[1] == b"%d" % document["status"]
    assert len(body) < 500
    return document["code"]
