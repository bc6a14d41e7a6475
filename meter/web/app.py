"""The HTTP service: which URL leads where, and how errors look.

Every error is `application/problem+json` (RFC 9457) with a code of `meter.problems`. Handlers are
in `commands` (POST) and `questions` (GET); `openapi` and `docs_page` describe them all.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import hdrs, web

from meter.problems import Problem
from meter.web import commands, docs_page, openapi, questions
from meter.web.context import CONTEXT, Context
from meter.web.routes import serve
from meter.wire import MAX_BATCH_BYTES

RETRY_AFTER_SECONDS: Final = "1"

ROUTES: Final = (*commands.ROUTES, *questions.ROUTES, *openapi.ROUTES, *docs_page.ROUTES)

_log: Final = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_BY_STATUS: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def make_app(context: Context) -> web.Application:
    """Build the application around one running intake."""
    app = web.Application(client_max_size=MAX_BATCH_BYTES, middlewares=[_problems])
    app[CONTEXT] = context
    app[openapi.ROUTES_SERVED] = ROUTES
    app.add_routes(map(serve, ROUTES))
    return app


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document."""
    try:
        _refuse_encodings(request)
        return await handler(request)
    except Problem as problem:
        return _response(problem)
    except web.HTTPException as error:
        code = _BY_STATUS.get(error.status)
        if code is None:
            raise
        return _response(Problem(code, error.reason), error.headers.get(hdrs.ALLOW))
    except (ConnectionError, TimeoutError):
        raise
    except Exception:  # noqa: BLE001 - no client sees a traceback
        _log.exception("%s %s failed", request.method, request.path)
        return _response(Problem("internal", "the fault was logged"))


def _refuse_encodings(request: web.Request) -> None:
    """A compressed body could unfold to any size."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise Problem("unsupported_encoding", "send the body as it is")


def _response(problem: Problem, allow: str | None = None) -> web.Response:
    headers = {}
    if problem.status == web.HTTPServiceUnavailable.status_code:
        headers[hdrs.RETRY_AFTER] = RETRY_AFTER_SECONDS
    if problem.status == web.HTTPUnauthorized.status_code:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if allow is not None:
        headers[hdrs.ALLOW] = allow
    return web.Response(
        body=msgspec.json.encode(problem.document()),
        status=problem.status,
        content_type="application/problem+json",
        headers=headers,
    )
