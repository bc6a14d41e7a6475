"""People who want alerts: targets of persons, straight in the database; and a receiver.

async with receiving(folder) as receiver:
    receiver.answers = [500, 200]      # then 200 for ever
    ...
    assert receiver.got[0].headers["webhook-id"] == …
"""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web

from meter.host.destinations import Choice
from meter.host.tokens import Identity
from meter.tables import alerts
from meter.values.roles import Role
from meter.views.crossings import KINDS
from tests.certificates import Authority
from tests.people import add
from tests.services import Service, ask

_numbers = itertools.count(1)


async def wanting(
    service: Service, role: Role, subject: str = "", owner: str = "", **chosen: Any
) -> alerts.Target:
    """Let somebody want alerts of all kinds; a new person unless an owner is named."""
    owner = owner or await add(service, role, subject)
    wanted = {"means": "webhook", "language": "zh", "kinds": KINDS[role], **chosen}
    address = wanted.pop("address", "https://hooks.example/alerts")
    target = alerts.new_target(
        Identity(owner, role, subject),
        f"tgt_{next(_numbers)}",
        Choice(**wanted),
        address,
        service.clock(),
    )
    connection = await asyncpg.connect(service.dsn)
    try:
        await alerts.add_target(connection, target)
    finally:
        await connection.close()
    return target


async def told(service: Service, target: alerts.Target) -> list[str]:
    """Return the kinds of the messages to a target, in their order."""
    sql = "SELECT kind FROM meter.alert WHERE target = $1 ORDER BY made_at, kind"
    return [row["kind"] for row in await ask(service.dsn, sql, target.id)]


@dataclass(frozen=True)
class Got:
    """A request as the receiver got it."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """Whoever takes webhooks, over HTTPS at this machine's loopback."""

    port: int
    ca: Path
    answers: list[int] = field(default_factory=list)
    seconds: float = 0
    got: list[Got] = field(default_factory=list)

    def url(self, host: str = "127.0.0.1", path: str = "/alerts") -> str:
        return f"https://{host}:{self.port}{path}"

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append(Got(request.path, dict(request.headers), await request.read()))
        await asyncio.sleep(self.seconds)
        status = self.answers.pop(0) if self.answers else 200
        headers = {"Location": self.url(path="/elsewhere")} if status == 302 else {}
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiving(folder: Path) -> AsyncIterator[Receiver]:
    """Run a receiver whose certificate is by an authority of its own."""
    authority = Authority(folder, "ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("receiver"))
    receiver = Receiver(0, authority.file)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver._take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    receiver.port = site._server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
