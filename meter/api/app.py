"""The HTTP service: which URL leads where, and how errors look.

Every error is `application/problem+json` (RFC 9457) with a code of `values.problems`, of a page
itself a page. Handlers are in `post` (POST) and `get` (GET; each kind of user has a file of its
own, `get_*`); `openapi` and `docs_page` describe them all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from meter.api import (
    alerts,
    docs_page,
    events,
    get,
    get_access_log,
    get_awards,
    get_claims,
    get_days,
    get_enterprise,
    get_growth,
    get_history,
    get_months,
    get_notices,
    get_official,
    get_own,
    get_payable,
    get_people,
    get_pool_forecast,
    get_provider,
    get_public,
    get_questions,
    get_record,
    get_served,
    get_statement,
    log,
    openapi,
    post,
    post_preview,
    post_usage,
    proofs,
)
from meter.api.context import CONTEXT, AllMetrics, Context
from meter.api.events import LAST_EVENT_ID
from meter.api.get import METRICS_HEADERS
from meter.api.post import IDEMPOTENCY_KEY
from meter.api.post_usage import POSTS, USAGE, Posts
from meter.api.routes import ENTRANCE, FAILURES, ISSUER, ROUTE, ROUTES_SERVED, Route, serve
from meter.host import logs
from meter.host.metrics import Metrics
from meter.host.sign_in import Entrance, Failures
from meter.http import oidc
from meter.http.bodies import BODIES, Bodies
from meter.http.connections import Handler
from meter.http.forms import SEC_FETCH_SITE
from meter.http.problems import problem_response
from meter.values.problems import Problem
from meter.wire.receipt import TIME

ROUTES: Final = (
    *post_usage.ROUTES,
    *post.ROUTES,
    *post_preview.ROUTES,
    *get.ROUTES,
    *get_public.ROUTES,
    *get_served.ROUTES,
    *get_provider.ROUTES,
    *get_enterprise.ROUTES,
    *get_record.ROUTES,
    *get_days.ROUTES,
    *get_statement.ROUTES,
    *get_pool_forecast.ROUTES,
    *get_claims.ROUTES,
    *get_payable.ROUTES,
    *get_notices.ROUTES,
    *get_official.ROUTES,
    *get_own.ROUTES,
    *get_people.ROUTES,
    *get_access_log.ROUTES,
    *get_awards.ROUTES,
    *get_growth.ROUTES,
    *get_history.ROUTES,
    *get_months.ROUTES,
    *get_questions.ROUTES,
    *alerts.ROUTES,
    *events.ROUTES,
    *proofs.ROUTES,
    *log.ROUTES,
    *openapi.ROUTES,
    *docs_page.ROUTES,
)

_METRICS: Final = web.AppKey("metrics", Metrics)
_log: Final = logs.logger(__name__)
# Of two such fields a proxy before us may read the one, and we the other.
ONCE: Final = (
    *(hdrs.AUTHORIZATION, IDEMPOTENCY_KEY, hdrs.CONTENT_ENCODING, hdrs.CONTENT_TYPE),
    *(hdrs.TRANSFER_ENCODING, LAST_EVENT_ID, hdrs.COOKIE, hdrs.ORIGIN, SEC_FETCH_SITE),
)
_PLAIN: Final = {hdrs.CONTENT_ENCODING: "identity", hdrs.TRANSFER_ENCODING: "chunked"}
_BY_STATUS: Final = {404: "not_found", 405: "method_not_allowed"}


@dataclass(frozen=True, slots=True)
class Pages:
    """What people see beside the API: routes of pages and forms, and how they show a problem."""

    routes: tuple[Route, ...]
    show_problem: Callable[[web.Request, Problem], web.Response]


_PAGES: Final = web.AppKey("pages", Pages)


def make_app(
    context: Context, pages: Pages, entrance: Entrance, issuer: oidc.Client | None = None
) -> web.Application:
    """Build the application around one running intake, with pages beside the API."""
    app = web.Application(middlewares=[_problems])
    app[CONTEXT] = context
    app[_METRICS] = context.metrics
    app[BODIES] = Bodies()
    app[POSTS] = Posts(context, app[BODIES])
    app[proofs.PROVING] = proofs.Proving(context.metrics)
    app[get_public.PUBLIC] = get_public.PublicTotals()
    app[get_notices.NOTICES] = get_notices.Notices()
    app[ROUTES_SERVED] = ROUTES
    app[ENTRANCE] = entrance
    app[FAILURES] = Failures()
    if issuer is not None:
        app[ISSUER] = issuer
    app[_PAGES] = pages
    app.add_routes(map(serve, (*ROUTES, *pages.routes)))
    app.on_response_prepare.append(_tell_time)
    return app


async def _tell_time(request: web.Request, response: web.StreamResponse) -> None:
    """Add the time by which records are judged, so that senders can set their clocks.

    The published log has the same headers from any web server.
    """
    if not request.path.startswith("/log/"):
        response.headers[TIME] = str(request.app[CONTEXT].clock.counted())


def posts_first(app: web.Application) -> Callable[[Handler], Handler]:
    """Return what puts posts of usage before all routing, with the same responses."""
    clock, metrics, respond = app[CONTEXT].clock, app[_METRICS], app[POSTS].respond

    def refused(request: web.Request, problem: Problem) -> web.Response:
        _note_refusal(metrics, request, problem, USAGE.path)
        return problem_response(problem)

    async def post(request: web.Request) -> web.StreamResponse:
        try:
            _check_head(request)
            response = await respond(request)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - no client sees a traceback
            # Kept here under a name, it would keep this frame, and so the body until a collection.
            response = refused(request, _problem_of(error))
        response.headers[TIME] = str(clock.counted())
        return response

    def around(rest: Handler) -> Handler:
        def handle(request: web.Request) -> Awaitable[web.StreamResponse]:
            is_post = request.raw_path == USAGE.path and request.method == USAGE.method
            return (
                post(request) if is_post and hdrs.EXPECT not in request.headers else rest(request)
            )

        return handle

    return around


def make_operator_app(metrics: Metrics, all_metrics: AllMetrics) -> web.Application:
    """Build what the operator's own listener serves: `/metrics`, with money, and nothing else."""

    async def get_metrics(_: web.Request) -> web.Response:
        body = await all_metrics() + metrics.money_text()
        return web.Response(body=body, headers=METRICS_HEADERS)

    app = web.Application(middlewares=[_problems])
    app[_METRICS] = metrics
    app.add_routes([web.get("/metrics", get_metrics)])
    return app


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document, or the page of a problem."""
    try:
        _check_head(request)
        return await handler(request)
    except web.HTTPException as error:
        code = _BY_STATUS.get(error.status)
        if code is None:
            raise
        return _refusal(request, Problem(code, error.reason), error.headers.get(hdrs.ALLOW))
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001 - no client sees a traceback
        return _refusal(request, _problem_of(error))


def _problem_of(error: Exception) -> Problem:
    """Return what a client may know of an error; what is no problem is logged."""
    if isinstance(error, Problem):
        return error
    _log.error("fault", exc_info=error)
    return Problem("internal", "the fault was logged")


def _check_head(request: web.Request) -> None:
    """Refuse a field that stands twice, and encoded bodies, which could unfold to any size."""
    headers = request.headers
    if len(headers) > len(set(map(str.lower, headers))):  # as hardly any
        for name in ONCE:
            if len(headers.getall(name, ())) > 1:
                raise Problem("malformed", f"{name} stands twice in the head")
    for name, plain in _PLAIN.items():
        if headers.get(name, plain).lower() != plain:
            raise Problem("unsupported_encoding", f"send the body as it is, without {name}")


def _refusal(request: web.Request, problem: Problem, allow: str | None = None) -> web.Response:
    resource = request.match_info.route.resource
    route = None if resource is None else resource.canonical  # never what stands in the URL
    _note_refusal(request.app[_METRICS], request, problem, route)
    if ROUTE in request and request[ROUTE].kind != "api":
        return request.app[_PAGES].show_problem(request, problem)
    return problem_response(problem, allow)


def _note_refusal(
    metrics: Metrics, request: web.Request, problem: Problem, route: str | None
) -> None:
    """Log and count a problem that answers a request."""
    _log.info(
        "refused",
        code=problem.code,
        status=problem.status,
        method=request.method,
        route=route,
        facts=problem.facts,
    )
    metrics.refused.labels(problem.code).inc()
