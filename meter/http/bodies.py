"""Reading the bodies of requests within limits: of size, of time, and of memory for all together.

    body = await ask.request.app[BODIES].read(ask.request, MAX_BATCH_BYTES)

Where more arrives at once than there is room for, the slowest gives way. So a stalled client takes
room from nobody, and of many equally fast ones some always finish.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from meter.values.problems import Problem

BODY_SECONDS: Final = 30.0  # 8 MiB at 2.3 Mbit/s; a slower client sends smaller batches
MAX_ARRIVING_BYTES: Final = 64 * 1024 * 1024  # of all bodies that are not whole yet

_AT_ONCE: Final = 0.0  # a deadline in the past


@dataclass(frozen=True, slots=True)
class _Arriving:
    """The part of a body that has come; `began` is of the loop's clock."""

    began: float
    size_bytes: int

    def seconds_per_byte(self, now: float) -> float:
        return (now - self.began) / self.size_bytes


class Bodies:
    """The bodies that a service is reading. Owns the account of their bytes."""

    def __init__(self) -> None:
        self._arriving: dict[asyncio.Timeout, _Arriving] = {}

    async def read(self, request: web.Request, limit_bytes: int) -> bytes:
        """Return a request's body. Raises `too_large`, `request_timeout` or `busy`."""
        length = request.content_length
        if length is not None and length > limit_bytes:
            raise _too_large(limit_bytes)
        if length is not None and request.content.is_eof():  # it came with its head, as most do
            return request.content.read_nowait()
        try:
            async with asyncio.timeout(BODY_SECONDS) as deadline:
                return await self._collect(request, limit_bytes, deadline)
        except TimeoutError:
            if deadline.when() == _AT_ONCE:
                raise Problem("busy", "others need the room that this body took") from None
            raise Problem("request_timeout", f"not whole within {BODY_SECONDS:g} s") from None

    async def _collect(
        self, request: web.Request, limit_bytes: int, deadline: asyncio.Timeout
    ) -> bytes:
        body = bytearray()
        began = asyncio.get_running_loop().time()
        try:
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit_bytes:  # a chunked body states no length
                    raise _too_large(limit_bytes)
                if deadline.when() != _AT_ONCE:  # otherwise it ends at its next `await`
                    self._arriving[deadline] = _Arriving(began, len(body))
                    self._make_room()
        finally:
            self._arriving.pop(deadline, None)
        return bytes(body)

    def _make_room(self) -> None:
        """Drop the slowest bodies until the rest fits; each ends at its next `await`."""
        now = asyncio.get_running_loop().time()
        while sum(each.size_bytes for each in self._arriving.values()) > MAX_ARRIVING_BYTES:
            slowest = max(self._arriving, key=lambda one: self._arriving[one].seconds_per_byte(now))
            del self._arriving[slowest]
            if not slowest.expired():
                slowest.reschedule(_AT_ONCE)


BODIES: Final = web.AppKey("bodies", Bodies)


def _too_large(limit_bytes: int) -> Problem:
    return Problem("too_large", f"more than {limit_bytes} bytes")
