"""How a problem looks over HTTP (RFC 9457): status, headers and body."""

from typing import Final

import msgspec
from aiohttp import hdrs, web

from meter.values.problems import Problem

RETRY_AFTER_SECONDS: Final = "1"


def problem_response(problem: Problem, allow: str | None = None) -> web.Response:
    """Return a problem as a response, with the headers of its status."""
    headers = headers_of(problem)
    if allow is not None:
        headers[hdrs.ALLOW] = allow
    return web.Response(
        body=msgspec.json.encode(problem.document()),
        status=problem.status,
        content_type="application/problem+json",
        headers=headers,
    )


def headers_of(problem: Problem) -> dict[str, str]:
    """Return what a problem's status says in headers, whatever the form of its body."""
    if problem.status == web.HTTPServiceUnavailable.status_code:
        return {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS}
    if problem.status == web.HTTPUnauthorized.status_code:
        return {hdrs.WWW_AUTHENTICATE: "Bearer"}
    return {}
