"""A route, declared in one value: its URL, its users, its input and its output.

The application, the check of roles, the OpenAPI document and the test that walks every route with
every role are all made from these declarations, so none of them can forget one.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, assert_never

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from meter.api.context import CONTEXT, Context, authenticate
from meter.host.tokens import Identity
from meter.http import connections
from meter.tables.connections import Connection, reading
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS, Role
from meter.values.strict import convert_query

# The role that a parameter of the path belongs to: its tokens see only their own subject there.
OWNERS: Final[dict[str, Role]] = {"uscc": "enterprise", "provider": "provider"}

_JSON_FOR_ONE: Final[dict[str, str]] = {
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.CACHE_CONTROL: "private, no-cache",
}
NOT_YOURS: Final = "there is no such thing for this token"
# Codes that would show a provider or an enterprise whether something exists that could be
# another's: they see `not_found` in both cases, with the same detail.
REVEALING: Final = {
    *("not_found", "unknown_enterprise", "unknown_provider", "unknown_contract"),
    *("unknown_record", "unknown_claim", "unknown_award", "unknown_project"),
}

# Characters that no id holds, and that the database would refuse.
_NOT_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing stands after the question mark."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as a handler sees it; `who` is None on a public route."""

    request: web.Request
    context: Context
    who: Identity | None
    query: Any

    def path(self, name: str) -> str:
        """Return a parameter of the URL's path."""
        return self.request.match_info[name]

    @asynccontextmanager
    async def reading(self, *, snapshot: bool = True) -> AsyncIterator[Connection]:
        """Take a connection for one query, in the token's turn; see `tables.connections`.

        Raises `Problem` `busy` or `unavailable`.
        """
        readers = self.context.readers
        async with self.turn(), reading(readers, snapshot=snapshot) as connection:
            yield connection

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for the token's turn."""
        assert self.who is not None, "nothing is read for everybody"
        return self.context.turns.turn(self.who)

    def sending(self) -> AbstractAsyncContextManager[None]:
        """Wait until a large response for the token may be made."""
        assert self.who is not None, "nothing large is for everybody"
        return self.context.turns.sending(self.who)

    def must_be_theirs(self, *, enterprise: str = "", provider: str = "") -> None:
        """Raise `not_found` for a subject's token where the thing is another's."""
        if self.who is None:
            return
        match self.who.role:
            case "authority" | "auditor":
                return
            case "enterprise":
                owner = self.context.last_successor(enterprise)
            case "provider":
                owner = provider
            case unknown:
                assert_never(unknown)
        if owner != self.who.subject:
            raise Problem("not_found", NOT_YOURS)


# A struct becomes JSON with an ETag; a response is sent as it is.
Handler = Callable[[Ask], Awaitable[Struct | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A URL and its contract. `roles` is empty for a public route.

    `response` is the type of a good response's JSON, or its media type as text; `body` the struct
    of the request's JSON, or a media type. `codes` are its own ones beside the general. With
    `takes_rest`, the last parameter of the path takes all the rest of it, slashes too. One that
    `ends_with_succession` tells an enterprise itself nothing about the time after it. Of a token,
    few responses that may be large (`is_large`) are in memory at a time.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    summary: str
    response: type[Struct] | str
    roles: tuple[Role, ...] = ()
    query: type[Struct] = NoQuery
    body: type[Struct] | str | None = None
    codes: tuple[str, ...] = ()
    takes_rest: bool = False
    ends_with_succession: bool = False
    is_large: bool = False


def serve(route: Route) -> web.RouteDef:
    """Return aiohttp's route: it authenticates, checks role and subject, and reads the query."""

    async def handle(request: web.Request) -> web.StreamResponse:
        who = await authenticate(request) if route.roles else None
        if who is not None:
            _check_role(route, who)
            _check_subject(route, request, who)
        _check_path(request)
        ask = Ask(request, request.app[CONTEXT], who, _query(route, request))
        try:
            if not route.is_large:
                return await _respond(route, ask)
            async with ask.sending():
                return await _send(request, await _respond(route, ask))
        except Problem as problem:
            raise _hide_existence(problem, who) from None

    path = route.path.removesuffix("}") + ":.+}" if route.takes_rest else route.path
    if route.method == "GET":
        return web.get(path, handle)  # and HEAD with it (RFC 9110 section 9.1)
    return web.post(path, handle)


async def _respond(route: Route, ask: Ask) -> web.StreamResponse:
    response = await route.handler(ask)
    if isinstance(response, Struct):
        return with_etag(ask.request, msgspec.json.encode(response))
    return response


async def _send(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send a response until its client has read it, or cut off a client that does not."""
    try:
        async with asyncio.timeout(connections.RESPONSE_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


def _check_role(route: Route, who: Identity) -> None:
    if who.role not in route.roles:
        raise Problem("forbidden", f"this is for {', '.join(route.roles)}, not for {who.role}")


def _check_subject(route: Route, request: web.Request, who: Identity) -> None:
    """Raise `not_found` for another's subject, whether it exists or not.

    A successor stands in the place of whom it succeeded, whose own tokens get `succeeded`.
    """
    context = request.app[CONTEXT]
    if who.role == "enterprise" and not route.ends_with_succession:
        successor = context.last_successor(who.subject)
        if successor != who.subject:
            raise Problem("succeeded", f"by {successor}, whose token reads on")
    for name, role in OWNERS.items():
        if who.role != role or name not in request.match_info:
            continue
        owner = request.match_info[name]
        if role == "enterprise":
            owner = context.last_successor(owner)
        if owner != who.subject:
            raise Problem("not_found", NOT_YOURS)


def _check_path(request: web.Request) -> None:
    if any(_NOT_TEXT.search(value) for value in request.match_info.values()):
        raise Problem("malformed", "the URL's path holds a character that no id holds")


def _hide_existence(problem: Problem, who: Identity | None) -> Problem:
    """Return the problem as a token may see it: not whether another's thing exists."""
    if who is None or who.role in OFFICIALS:
        return problem
    return Problem("not_found", NOT_YOURS) if problem.code in REVEALING else problem


def _query(route: Route, request: web.Request) -> Struct:
    values = request.query
    if len(set(values)) != len(values):
        raise Problem("malformed", "a parameter stands twice in the URL")
    try:
        return convert_query(dict(values), route.query)
    except ValueError as error:
        raise Problem("malformed", f"in the URL: {error}") from None


def with_etag(
    request: web.Request, body: bytes, headers: Mapping[str, str] = _JSON_FOR_ONE
) -> web.Response:
    """Return bytes with an ETag (RFC 9110 section 8.8.3), or 304 where the client has them."""
    tag = sha256(body).hexdigest()[:32]
    headers = {hdrs.ETAG: f'"{tag}"', **headers}
    known = request.if_none_match or ()
    if any(each.value in (tag, "*") for each in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)
