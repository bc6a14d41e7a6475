"""A proxy between a client and a service that does not pass everything on, and usage to send."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from meter import client
from meter.values.strict import Instant
from meter.values.units import parse_instant
from meter.wire import dsse
from meter.wire.batch import Batch, Record
from tests.books import signer
from tests.services import HOUR, ORIGIN, receipt_key, serving

NO_PAUSE = {"first_pause_seconds": 0}


def usage(name: str = "r1", **changes) -> Record:
    fields = {
        "contract": "A",
        "device": "ascend-910b",
        "milli_devices": 64_000,
        "start": Instant(parse_instant(HOUR[0])),
        "end": Instant(parse_instant(HOUR[1])),
    }
    return Record(name, **(fields | changes))


def batch(seq: int = 1, *records: Record) -> Batch:
    return Batch(log=ORIGIN, provider="pcl", stream="main", seq=seq, records=list(records))


def envelope(seq: int = 1) -> bytes:
    return client.sign_batch(batch(seq, usage(f"r{seq}")), "pcl-1", signer("pcl-1"))


@dataclass
class Proxy:
    """Passes requests on, after doing what `faults` say, one a request; `seen` is what came.

    Refuses with 413 more than `largest` records or a payload with `too_large` in it, and with the
    service's 400 one that holds what is `unwanted`.
    """

    target: str
    faults: list[str] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    bend: Callable[[bytes, dict[str, str]], bytes] = lambda body, _: body
    url: str = ""
    largest: int = 10_000
    too_large: bytes = b"\xff"
    unwanted: bytes = b"\xff"

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(body)
        payload = dsse.parse(body, dsse.BATCH_TYPE).payload if b"payloadType" in body else b""
        if payload.count(b'"start"') > self.largest or self.too_large in payload:
            return web.Response(status=413, text="<html>too large</html>")
        if self.unwanted in payload:
            return web.json_response({"code": "bad_batch", "detail": "new rules"}, status=400)
        kind, _, detail = (self.faults.pop(0) if self.faults else "none").partition(" ")
        match kind:
            case "lost-before":
                request.transport.close()
                return web.Response()
            case "status":
                return web.Response(status=int(detail), text="<html>no</html>")
            case "busy":
                return web.Response(status=503, headers={"Retry-After": detail}, text="{}")
        answer = await self.pass_on(request, body)
        if kind == "lost-after":  # it is in the ledger, and the sender does not know
            request.transport.close()
        return answer

    async def pass_on(self, request: web.Request, body: bytes) -> web.Response:
        sent = {
            k: v for k, v in request.headers.items() if k in ("Authorization", "Idempotency-Key")
        }
        url = self.target + request.path_qs
        async with (
            aiohttp.ClientSession(headers=sent) as session,
            session.request(request.method, url, data=body) as answer,
        ):
            kept = ("Kashi-Signature", "Kashi-Time", "Content-Type")
            headers = {name: answer.headers[name] for name in kept if name in answer.headers}
            data = self.bend(await answer.read(), headers)
            return web.Response(status=answer.status, body=data, headers=headers)


@asynccontextmanager
async def proxied(target: str, *faults: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target, list(faults))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield proxy
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(database: str, folder: Path, *faults: str):
    """Yield a proxy before a service with open books, and the text of the receipt key."""
    async with serving(database, folder) as service:
        await service.open_books()
        async with proxied(service.url, *faults) as proxy:
            proxy.service = service
            yield proxy, base64.b64encode(receipt_key(service)).decode()


def with_another_amount(body: bytes, _: dict[str, str]) -> bytes:
    return body.replace(b'"granted":"144.00"', b'"granted":"244.00"')
