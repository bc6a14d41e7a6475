"""A route, declared in one value: its URL, its users, its input and its output.

A route of the `api` is for programs, which send a bearer token. A `page` is read by people, and a
`form` sent by them; both know a person by the cookie of a session. The application, the check of
roles, the OpenAPI document and the test that walks every route with every role are all made from
these declarations, so none of them can forget one.
"""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from typing import Any, Final, Literal, assert_never

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from meter.api.context import CONTEXT, PART, Context, authenticate, session_of
from meter.api.subjects import subjects_of
from meter.host.sign_in import Act, Entrance, Failures, Session
from meter.host.tokens import Identity
from meter.http import connections, oidc
from meter.http.forms import WITH_FILES, Form, check_origin, read_form
from meter.tables.connections import Connection, reading
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS, Role
from meter.values.strict import convert_query
from meter.wire.access_log import Access, minute_of

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
    """One request, as a handler sees it; `who` is None on a public route.

    A page's has its `session`, on a public one too where there is one, and a form's its fields.
    """

    request: web.Request
    context: Context
    who: Identity | None
    query: Any
    session: Session | None = None
    form: Form = field(default_factory=dict)
    names: Mapping[str, str] | None = None  # in place of the URL's, where a page asks the API
    connection: Connection | None = None

    def path(self, name: str) -> str:
        """Return a parameter of the URL's path."""
        return self.path_names()[name]

    def path_names(self) -> Mapping[str, str]:
        """Return all parameters of the URL's path."""
        return self.request.match_info if self.names is None else self.names

    def reader(self) -> str:
        """Return who reads, for a count: a token, or a person in whatever browsers."""
        assert self.who is not None, "nothing is counted of everybody"
        if self.session is None:
            return self.who.token_id
        return self.context.registry.now.state.people.owner_of(self.who.token_id)

    async def check_still_admitted(self) -> None:
        """Raise `unauthorized` where the token or the session has ended since."""
        if self.session is None:
            await authenticate(self.context, self.request)
        elif await session_of(self.request, is_used=False) is None:
            raise Problem("unauthorized", "the session has ended")

    @asynccontextmanager
    async def reading(self, *, snapshot: bool = True) -> AsyncIterator[Connection]:
        """Take a connection for one query, in the token's turn; see `tables.connections`.

        Raises `Problem` `busy` or `unavailable`.
        """
        if self.connection is not None:
            yield self.connection
            return
        readers = self.context.readers
        async with self.turn(), reading(readers, snapshot=snapshot) as connection:
            yield connection

    @asynccontextmanager
    async def at_once(self) -> AsyncIterator["Ask"]:
        """Let handlers answer several queries from one snapshot, in one turn."""
        async with self.reading() as connection:
            yield replace(self, connection=connection)

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
    """A URL and its contract. `roles` is empty for a public route. A form has its page's URL.

    `response` is the type of a good response's JSON, or its media type as text; `body` the struct
    of the request's JSON, or a media type. `codes` are its own ones beside the general. With
    `takes_rest`, the last parameter of the path takes all the rest of it, slashes too. One that
    `ends_with_succession` tells an enterprise itself nothing about the time after it. Of a token,
    few responses that may be large (`is_large`) are in memory at a time. A POST that
    `changes_nothing` is a question like a GET.
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
    changes_nothing: bool = False
    kind: Literal["api", "page", "form"] = "api"

    @property
    def is_question(self) -> bool:
        """Return whether it tells somebody something that not everybody may know."""
        return bool(self.roles) and (self.method == "GET" or self.changes_nothing)


# Known of a request of a page or form, also to what shows its problem.
ROUTE: Final = web.RequestKey("route", Route)
SESSION: Final = web.RequestKey("session", Session)
ROUTES_SERVED: Final = web.AppKey("routes", tuple[Route, ...])  # of the API
EVENTS: Final = "text/event-stream"
ENTRANCE: Final = web.AppKey("entrance", Entrance)
FAILURES: Final = web.AppKey("failures", Failures)
ISSUER: Final = web.AppKey("issuer", oidc.Client)  # where there is one

FORM_TOKEN: Final = "session"  # noqa: S105 - the field of a form that holds its session's token
EXPORT: Final = ".csv"  # a list's path with this gives its rows


def serve(route: Route) -> web.RouteDef:
    """Return aiohttp's route: it authenticates, checks role and subject, and reads the query."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[ROUTE] = route
        session = None if route.kind == "api" else await _session(route, request)
        who = await _who(route, request, session)
        if who is not None:
            _check_role(route, who)
            _check_subject(request.app[CONTEXT], route, request.match_info, who)
        _check_path(request)
        form = await _form(route, request, session) if route.kind == "form" else {}
        query = _query(route, request)
        ask = Ask(request, request.app[CONTEXT], who, query, session, form)
        await _note_act(route, ask)
        if route.is_question:
            _note_question(route, ask)
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


async def _session(route: Route, request: web.Request) -> Session | None:
    """Return the session of a request; what a page fetches by itself is no use of it."""
    is_used = PART not in request.query and route.response != EVENTS
    session = await session_of(request, is_used=is_used)
    if session is not None:
        request[SESSION] = session
    return session


async def _who(route: Route, request: web.Request, session: Session | None) -> Identity | None:
    """Return who asks, by the means of the route's kind. Raises `unauthorized`."""
    if not route.roles:
        return None
    if route.kind == "api":
        return await authenticate(request.app[CONTEXT], request)
    if session is None:
        raise Problem("unauthorized", "nobody is signed in here, or no longer")
    return session.who


async def _form(route: Route, request: web.Request, session: Session | None) -> Form:
    """Return the fields of a form that one of our pages made for this session.

    Raises `foreign_form`, and what reading raises.
    """
    check_origin(request, request.app[ENTRANCE].site)
    form = dict(await read_form(request, with_files=route.body == WITH_FILES))
    token = form.pop(FORM_TOKEN, "").encode()
    if session is not None and not hmac.compare_digest(token, session.form_token.encode()):
        raise Problem("foreign_form", "it was made for another session; open it again")
    return form


async def _note_act(route: Route, ask: Ask) -> None:
    """Write down that somebody sends a form, or takes data away."""
    what = "form" if route.kind == "form" else "export" if route.path.endswith(EXPORT) else ""
    if what and ask.session is not None:
        now = ask.context.clock.counted()
        act = Act(now, ask.session.who.token_id, what, ask.request.path)
        await ask.context.sign_ins.note(act)


def _note_question(route: Route, ask: Ask) -> None:
    """Count a question of somebody who may ask it, whatever the answer is."""
    context, who = ask.context, ask.who
    assert who is not None, "a public route is no question"
    person = "" if ask.session is None else who.token_id
    if who.role == "authority":
        person = context.registry.now.state.people.person_of(who.token_id) or ""
    context.access_log.note(
        Access(
            at=minute_of(context.clock.counted()),
            token=who.token_id,
            person=person,
            role=who.role,
            route=route.path,
            subjects=subjects_of(ask.path_names(), ask.query, who),
        )
    )


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


async def answer(ask: Ask, handler: Handler, query: Struct | None = None, **names: str) -> Any:
    """Return what a route of the API answers to whoever is signed in, by the checks of that route.

    `handler` is the route's, `names` are its path's parameters, in place of the page's own. Raises
    `Problem` as the route does.
    """
    route = _by_handler(ask.request.app[ROUTES_SERVED])[handler]
    asked = as_asked(ask, route, query, names)
    try:
        return await handler(asked)
    except Problem as problem:
        raise _hide_existence(problem, ask.who) from None


async def answers(ask: Ask, handler: Handler, query: Struct, **names: str) -> AsyncIterator[Any]:
    """Yield what a list answers, page after page."""
    while True:
        found = await answer(ask, handler, query, **names)
        yield found
        if not found.more:
            return
        query = msgspec.structs.replace(query, after=found.next)


def as_asked(ask: Ask, route: Route, query: Struct | None, names: Mapping[str, str]) -> Ask:
    """Return a page's or form's request as one of a route of the API, once that lets it pass."""
    names = {**ask.request.match_info, **names}
    if route.roles:
        assert ask.who is not None, "a public page asks only what is public"
        _check_role(route, ask.who)
        _check_subject(ask.context, route, names, ask.who)
    names = {name: names[name] for name in path_names(route)}
    return replace(ask, query=query or route.query(), names=names)


@cache
def _by_handler(routes: tuple[Route, ...]) -> dict[Handler, Route]:
    return {route.handler: route for route in routes}


def path_names(route: Route) -> list[str]:
    """Return the names of a path's parameters, in order."""
    return [part[1:-1] for part in route.path.split("/") if part.startswith("{")]


def _check_role(route: Route, who: Identity) -> None:
    if who.role not in route.roles:
        raise Problem("forbidden", f"this is for {', '.join(route.roles)}, not for {who.role}")


def _check_subject(context: Context, route: Route, names: Mapping[str, str], who: Identity) -> None:
    """Raise `not_found` for another's subject, whether it exists or not.

    A successor stands in the place of whom it succeeded, whose own tokens get `succeeded`.
    """
    if who.role == "enterprise" and not route.ends_with_succession:
        successor = context.last_successor(who.subject)
        if successor != who.subject:
            raise Problem("succeeded", f"by {successor}, whose token reads on")
    for name, role in OWNERS.items():
        if who.role != role or name not in names:
            continue
        owner = names[name]
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
