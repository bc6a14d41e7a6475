"""A server at an address, with a limit of connections at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web, web_response

# Told as `Server`; aiohttp's own text names its version and Python's, and has no setting for it.
web_response.SERVER_SOFTWARE = "kashi"  # type: ignore[attr-defined]  # imported there


@asynccontextmanager
async def listener(  # noqa: PLR0913 - one argument for each choice
    runner: web.AppRunner,
    host: str,
    port: int,
    limit: int,
    connect: Callable[[web.Server], asyncio.Protocol],
    *,
    shared: bool = False,
) -> AsyncIterator[str]:
    """Serve an application; yield its URL. `port` 0 takes a free one.

    `connect` makes each of at most `limit` connections. At the end, wait for open requests. Of
    several processes that listen on a `shared` port the kernel gives each connection to one.
    """
    await runner.setup()
    try:
        server = runner.server
        assert server is not None, "setup made it"

        def accept() -> asyncio.Protocol:
            return _Full() if len(server.connections) >= limit else connect(server)

        loop = asyncio.get_running_loop()
        listening = await loop.create_server(accept, host, port, reuse_port=shared or None)
        try:
            yield _url(listening)
        finally:
            listening.close()
    finally:
        await runner.cleanup()


class _Full(asyncio.Protocol):
    """A connection for which there is no room."""

    def connection_made(self, transport: Any) -> None:
        transport.abort()


def _url(listening: asyncio.Server) -> str:
    host, port, *_ = listening.sockets[0].getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
