"""The connections of a service, and what one may cost before and after its request is handled.

A request that is not HTTP gets a problem document too. Bodies have limits of their own (`bodies`).
The service keeps no more for a client than a head, the buffer of a body, and a response.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from aiohttp import web, web_protocol

from meter.host import logs
from meter.http.listener import listener
from meter.http.problems import problem_response
from meter.values.problems import Problem

# Each takes some kB, with the largest head some 600 kB; and by default a process may open 1,024
# files.
MAX_CONNECTIONS: Final = 900
HEAD_SECONDS: Final = 75.0  # to the end of a head; proxies keep idle connections for up to 60 s
MAX_HEADERS: Final = 40  # of up to 8 kB; browsers and proxies together send half as many
BUFFER_BYTES: Final = 64 * 1024  # of a body that nobody reads yet; twice that is held at most
LINGER_SECONDS: Final = 5.0  # for a refused client to go on sending, or it could miss the response
RESPONSE_SECONDS: Final = 60.0  # for a client to read a response
DRAIN_SECONDS: Final = 10  # for open requests when the service stops

# Requests that a client may send before its first response. aiohttp keeps 32, up to 20 MB of heads
# for each connection, and has no setting for it. Two is the least: a body that ends after its
# request was taken needs a place, and with one place the parser would withhold the next request.
web_protocol.MAX_MSG_QUEUE_SIZE = 2

_log: Final = logs.logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    *,
    shared: bool = False,
    around: Callable[[Handler], Handler] = lambda handle: handle,
) -> AsyncIterator[str]:
    """Serve an application; yield its URL, and at the end wait for open requests.

    A `shared` port has several processes of ours behind it. What handles a request is what `around`
    makes of the application's own handler.
    """
    # A handler is cancelled when its client has gone, and so its query is; what waits to be decided
    # is decided all the same.
    runner = web.AppRunner(app, shutdown_timeout=DRAIN_SECONDS, handler_cancellation=True)

    def connect(server: web.Server) -> _Connection:
        return _connection(server, around)

    async with listener(runner, host, port, MAX_CONNECTIONS, connect, shared=shared) as url:
        yield url


def _connection(server: web.Server, around: Callable[[Handler], Handler]) -> "_Connection":
    return _Connection(
        server,
        around,
        loop=asyncio.get_running_loop(),
        access_log=None,  # means none
        # Compressed bodies are refused, so nothing may decompress them before that.
        auto_decompress=False,
        # From the last response, or from the start, to the end of a head.
        keepalive_timeout=HEAD_SECONDS,
        max_headers=MAX_HEADERS,
        read_bufsize=BUFFER_BYTES,
        lingering_time=LINGER_SECONDS,
    )


class _Connection(web.RequestHandler):
    """A connection that cuts off a client that does not read, and refuses by problem documents."""

    def __init__(
        self, server: web.Server, around: Callable[[Handler], Handler], **settings: Any
    ) -> None:
        super().__init__(server, **settings)
        # Made by the application, all requests are of its own class.
        self._request_handler = cast("Any", around(cast("Handler", server.request_handler)))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPExpectationFailed):  # it comes before any handler of ours
            resp = self._refuse(Problem("expectation_failed", "send the request without Expect"))
        late = asyncio.get_running_loop().call_later(RESPONSE_SECONDS, self._cut_off)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            late.cancel()

    def _cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != web.HTTPBadRequest.status_code:
            return super().handle_error(request, status, exc, message)
        return self._refuse(
            Problem("malformed", "this is no HTTP/1.1 request, or its head is too large")
        )

    def _refuse(self, problem: Problem) -> web.StreamResponse:
        """Return the problem of a request that no handler saw; its connection ends with it."""
        _log.info("refused", code=problem.code, status=problem.status, method=None, route=None)
        response = problem_response(problem)
        response.force_close()
        return response
