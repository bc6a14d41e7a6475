"""Webhooks by the specification of Standard Webhooks, signed by the service's Ed25519 key.

    POST /alerts HTTP/1.1
    webhook-id: msg_0f3c…             the same in each attempt
    webhook-timestamp: 1740801600     of this attempt, seconds
    webhook-signature: v1a,<base64>   of `id.timestamp.body`

`v1a` is the asymmetric kind: `GET /v1/webhook-key` has the public half, so no receiver shares a
secret with us. A receiver has 5 seconds, and takes a message by a status from 200 to 299. No
redirect is followed, and no answer is read.

A URL is of `https`. Its host is looked up once, and the connection goes to an address that was
looked at: one that is public, unless the operator lists the host (`host.alerts_file`). So no name
leads into the network in which the service stands, whatever it is changed to meanwhile.
"""

import asyncio
import base64
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meter.host.alerts_file import Sending
from meter.host.destinations import check_url, is_public
from meter.values.foreign_text import one_line
from meter.values.problems import Problem

TIMEOUT_SECONDS: Final = 5.0
LOOKUPS: Final = 8  # of names at once
GONE: Final = 410  # whoever answers so wants nothing more (Standard Webhooks)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; `is_over` where none is to follow."""

    is_taken: bool
    detail: str
    is_over: bool = False


class NotPublic(OSError):  # noqa: N818 - the name says what is wrong
    """A host has no address at which strangers may be asked."""


class Checked(AbstractResolver):
    """Looks names up, and returns only addresses to which a webhook may go."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = hosts
        # Not the loop's own threads, which a name that takes long to look up would hold.
        self._threads = ThreadPoolExecutor(LOOKUPS, "webhook")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        look = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await loop.run_in_executor(self._threads, look)
        results = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
            if host in self._hosts or is_public(str(address[0]))
        ]
        if not results:
            raise NotPublic(f"{host} has no public address")
        return results

    async def close(self) -> None:
        """End the threads, as soon as each has its answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Webhooks:
    """Sends webhooks; use it as `async with`."""

    def __init__(self, sending: Sending, key: Ed25519PrivateKey) -> None:
        self._hosts = sending.hosts
        self._key = key
        self._tls = sending.tls()
        self._checked = Checked(sending.hosts)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes by which a receiver checks what is sent."""
        return self._key.public_key().public_bytes_raw()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._checked,
                use_dns_cache=False,
                force_close=True,  # each attempt looks the name up, and goes there itself
                ssl=self._tls,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "kashi", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()
        await self._checked.close()

    async def send(self, url: str, id_: str, body: bytes, now: int) -> Outcome:
        """Post a message; `now` is in seconds."""
        try:
            check_url(url, self._hosts)
            async with self._session.post(
                url, data=body, headers=signed(self._key, id_, now, body), allow_redirects=False
            ) as response:
                is_taken = 200 <= response.status < 300
                return Outcome(is_taken, str(response.status), response.status == GONE)
        except TimeoutError:
            return Outcome(is_taken=False, detail=f"no answer within {TIMEOUT_SECONDS:g} s")
        except Problem as problem:
            return Outcome(is_taken=False, detail=problem.detail)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error.__cause__, NotPublic):
                error = error.__cause__
            told = one_line(f"{error}") or type(error).__name__
            return Outcome(is_taken=False, detail=told)


def signed(key: Ed25519PrivateKey, id_: str, now: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message; `now` is in seconds."""
    signature = key.sign(f"{id_}.{now}.".encode() + body)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1a,{base64.b64encode(signature).decode()}",
    }
