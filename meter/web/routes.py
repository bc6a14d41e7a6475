"""A route: its URL, who may use it, what it takes and what it answers, declared in one value.

The application, the check of roles, the OpenAPI document and the test that walks every route with
every role are all made from these declarations, so none of them can forget one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from meter.auth import Role
from meter.problems import Problem
from meter.strict import convert_query
from meter.web.context import CONTEXT, Context, Identity, authenticate

# Whose a path's parameter is: a token of that role sees only its own subject there.
OWNER_OF_PARAMETER: Final[dict[str, Role]] = {"uscc": "enterprise", "provider": "provider"}
EVERYBODY: Final[tuple[Role, ...]] = ("authority", "auditor", "provider", "enterprise")
OFFICIALS: Final[tuple[Role, ...]] = ("authority", "auditor")

Method = Literal["GET", "POST"]
T = TypeVar("T")


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A route without parameters after the question mark."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as a handler sees it; `who` is None on a public route."""

    request: web.Request
    context: Context
    who: Identity | None
    query: Any

    @property
    def path(self) -> dict[str, str]:
        """The parameters of the URL."""
        return dict(self.request.match_info)

    @property
    def token_id(self) -> str:
        """Who asks, for the entry that will say so."""
        assert self.who is not None, "routes that make entries are not public"
        return self.who.token_id

    def must_own(self, *, enterprise: str | None = None, provider: str | None = None) -> None:
        """Refuse what is neither the subject's nor an official's. Raises `not_found`."""
        if self.who is None or self.who.role in OFFICIALS:
            return
        theirs = {"enterprise": enterprise, "provider": provider}[self.who.role]
        if theirs != self.who.subject:
            raise Problem("not_found", "there is no such thing for this token")


Handler = Callable[[Ask], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A URL and its contract. `roles` is empty for a public route.

    `answer` is the type of a good answer's body, or its media type where it is not JSON; `body`
    the type of the request's, likewise. `fixed` are fields of the body that stand in the URL.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    answer: Any
    roles: tuple[Role, ...] = ()
    query: type[Struct] = NoQuery
    body: Any = None
    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    moves_money: bool = False


def serve(route: Route) -> web.RouteDef:
    """Give aiohttp's route: it authenticates, checks role and subject, and reads the query."""

    async def handle(request: web.Request) -> web.StreamResponse:
        context = request.app[CONTEXT]
        who = await authenticate(request) if route.roles else None
        if who is not None:
            _check_role(route, who)
            _check_subject(request, who)
        return await route.handler(Ask(request, context, who, _query(route, request)))

    return web.route(route.method, route.path, handle)


def _check_role(route: Route, who: Identity) -> None:
    if who.role not in route.roles:
        raise Problem("forbidden", f"this is for {' and '.join(route.roles)}, not for {who.role}")


def _check_subject(request: web.Request, who: Identity) -> None:
    """What is not yours is 404: whether it exists is not yours to know either."""
    for name, role in OWNER_OF_PARAMETER.items():
        if who.role == role and request.match_info.get(name, who.subject) != who.subject:
            raise Problem("not_found", "there is no such thing for this token")


def _query(route: Route, request: web.Request) -> Any:
    values = request.query
    if len(set(values)) != len(values):
        raise Problem("malformed", "a parameter stands twice in the URL")
    try:
        return convert_query(dict(values), route.query)
    except ValueError as error:
        raise Problem("malformed", f"in the URL: {error}") from None


def answer_json(value: Any, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
