"""How a page is made: a template, the words of its language, and headers that let nothing in.

Templates only format. What they show are answers of the API; no page computes money.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

import jinja2
from aiohttp import hdrs, web
from msgspec import Struct

from meter.api.context import PART
from meter.api.events import ENDS, write
from meter.api.routes import ENTRANCE, ROUTE, SESSION, Ask, Handler, Route, with_etag
from meter.console import formats, palette
from meter.console.formats import Language
from meter.console.words import spoken
from meter.http.forms import TYPE
from meter.http.problems import headers_of
from meter.languages import Speech
from meter.values.problems import CODES, Problem
from meter.values.roles import Role
from meter.values.units import format_date, parse_date

SECURITY: Final[dict[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
HEADERS: Final[dict[str, str]] = {
    hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
    hdrs.CACHE_CONTROL: "private, no-cache",
    **SECURITY,
}
_FOR_EVER: Final = "max-age=31536000, immutable"
_RANGE: Final = re.compile(
    r"(?P<language>[a-z]+)(?:-[a-z0-9-]+)?"
    r"(?:[ \t]*;[ \t]*q=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
SYSTEM: Final = "system"
THEMES: Final = (SYSTEM, "light", "dark")
THEME_COOKIE: Final = "__Host-kashi-theme"
SEC_FETCH_MODE: Final = "Sec-Fetch-Mode"
NAVIGATE: Final = "navigate"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def _asset(name: str, data: bytes) -> tuple[str, bytes]:
    """Return the name under which an asset is served for ever, and its bytes."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}-{sha256(data).hexdigest()[:16]}.{ending}", data


def _read(name: str) -> bytes:
    return files("meter.console").joinpath("assets").joinpath(name).read_bytes()


_STYLE: Final = _asset("console.css", palette.stylesheet().encode() + _read("console.css"))
_ICON: Final = _asset("icon.svg", _read("icon.svg"))
_VERIFIER: Final = _asset("verify.js", _read("verify.js"))
_SCRIPT: Final = _asset("console.js", _read("console.js"))
_CLAIM_SCRIPT: Final = _asset("claim.js", _read("claim.js"))
ASSETS: Final[Mapping[str, bytes]] = dict([_STYLE, _ICON, _VERIFIER, _SCRIPT, _CLAIM_SCRIPT])

_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("meter.console"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@jinja2.pass_context
def _date(context: jinja2.runtime.Context, text: str) -> str:
    return formats.date(text, context["language"])


@jinja2.pass_context
def _day_before(context: jinja2.runtime.Context, text: str) -> str:
    """Return the last day of a half-open period."""
    return formats.date(format_date(parse_date(text) - 1), context["language"])


@jinja2.pass_context
def _moment(context: jinja2.runtime.Context, text: str) -> str:
    return formats.moment(text, context["language"])


@jinja2.pass_context
def _meaning(context: jinja2.runtime.Context, code: str) -> str:
    """Return what the code of a problem says."""
    return _speech(context["language"]).say(CODES[code][1])


@jinja2.pass_context
def _told(context: jinja2.runtime.Context, detail: str) -> str:
    return told(detail, context["language"])


_ENVIRONMENT.filters |= {
    "meaning": _meaning,
    "told": _told,
    "money": formats.money,
    "number": formats.number,
    "minute": formats.minute,
    "percent_of_bp": formats.percent_of_bp,
    "date": _date,
    "day_before": _day_before,
    "moment": _moment,
}


class AnyQuery(Struct, frozen=True):
    """Whatever stands after the question mark: links that are shared get something there."""


Show = Callable[[Ask, Language], Awaitable[web.StreamResponse]]
HTML: Final = "text/html"
_OF_FORMS: Final = ("insecure", "foreign_form")


def pages(
    path: str, show: Show, roles: tuple[Role, ...] = (), query: type[Struct] = AnyQuery
) -> list[Route]:
    """Return the routes of a page, by its path below the language; nobody's role is everybody."""
    return [
        one_page(f"/{language}/{path}", _in(show, language), roles, query)
        for language in formats.LANGUAGES
    ]


def one_page(
    path: str,
    handler: Handler,
    roles: tuple[Role, ...] = (),
    query: type[Struct] = AnyQuery,
    codes: tuple[str, ...] = (),
) -> Route:
    """Return the route of a page that names no language."""
    return Route("GET", path, handler, "A page", HTML, roles, query, codes=codes, kind="page")


def forms(
    path: str,
    send: Show,
    roles: tuple[Role, ...] = (),
    codes: tuple[str, ...] = (),
    *,
    body: str = TYPE,
) -> list[Route]:
    """Return the routes to which a page's form is sent, by their path below the language.

    Every one of them was made by a page of ours, for the session of its `ask`. `body` is how it is
    encoded, which says whether it may have files.
    """
    return [
        Route(
            "POST",
            f"/{language}/{path}",
            _in(send, language),
            "A form",
            HTML,
            roles=roles,
            query=AnyQuery,
            body=body,
            codes=(*_OF_FORMS, *codes),
            kind="form",
        )
        for language in formats.LANGUAGES
    ]


def _in(show: Show, language: Language) -> Handler:
    async def handle(ask: Ask) -> web.StreamResponse:
        if PART not in ask.request.query:
            return await show(ask, language)
        # Nobody waits for what an open page fetches of itself; submissions are waited for.
        async with ask.context.spare.turn(lambda: ask.context.submissions.is_busy):
            return await show(ask, language)

    return handle


def site_of(ask: Ask) -> str:
    """Return where others reach the service: the configured `site`, else as this request came."""
    return ask.request.app[ENTRANCE].site or f"{ask.request.scheme}://{ask.request.host}"


def show(ask: Ask, template: str, language: Language, **values: Any) -> web.Response:
    """Return a page, or 304 where the browser has it."""
    return with_etag(ask.request, _render(ask.request, template, language, **values), HEADERS)


def show_again(
    ask: Ask, template: str, language: Language, status: int, **values: Any
) -> web.Response:
    """Return the page of a form that was not taken, with a status that says so."""
    body = _render(ask.request, template, language, **values)
    return web.Response(status=status, body=body, headers=HEADERS)


def show_secret(ask: Ask, template: str, language: Language, **values: Any) -> web.Response:
    """Return a page with what is shown this once, and kept by nobody on the way."""
    headers = {**HEADERS, hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=_render(ask.request, template, language, **values), headers=headers)


def download(ask: Ask, name: str, data: bytes) -> web.Response:
    """Return a list to be kept as a file."""
    return with_etag(ask.request, data, _headers_of_file(name))


async def send_file(ask: Ask, name: str, parts: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send a list to be kept as a file, part by part, however long it is.

    One that cannot be read to its end is cut off, so that no part is taken for the whole. Raises
    what the first part raises.
    """
    part = await anext(parts)
    response = web.StreamResponse(headers=_headers_of_file(name))
    await response.prepare(ask.request)
    if ask.request.method == hdrs.METH_HEAD:
        return response
    with suppress(*ENDS):
        await write(ask.request, response, part)
        async for each in parts:
            await write(ask.request, response, each)
        await response.write_eof()
        return response
    if ask.request.transport is not None:
        ask.request.transport.abort()
    return response


def _headers_of_file(name: str) -> dict[str, str]:
    return {
        **HEADERS,
        hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
    }


def see_other(path: str) -> web.Response:
    """Lead to a page of ours, after a form too (RFC 9110 section 15.4.4)."""
    return web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: path})


def told(detail: str, language: Language) -> str:
    """Return the detail of a problem in a language, as far as the catalogue has it (ADR 51)."""
    return _speech(language).retell(detail)


@cache
def _speech(language: Language) -> Speech:
    return Speech(language)


def known_theme(name: str) -> str:
    """Return a theme, the system's for what is none."""
    return name if name in THEMES else SYSTEM


def set_cookie(response: web.Response, name: str, value: str, seconds: int | None = None) -> None:
    """Set a cookie whose name begins with `__Host-`, or take it away, with what that asks for."""
    response.set_cookie(
        name, value, path="/", secure=True, httponly=True, samesite="Lax", max_age=seconds
    )


def show_problem(request: web.Request, problem: Problem) -> web.Response:
    """Return the page of a problem, with its status; nobody signed in is led to sign in.

    What a script asks for gets 401 then, so that it can say so on the page that it is in.
    """
    language = language_of(request)
    if problem.code == "unauthorized" and request.headers.get(SEC_FETCH_MODE, NAVIGATE) == NAVIGATE:
        return see_other(f"/{language}/sign-in?next={_quoted(request)}")
    roles = request[ROUTE].roles if problem.code == "forbidden" else ()
    body = _render(
        request,
        "problem.html",
        language,
        problem=problem,
        roles=roles,
        # The same bytes wherever it is shown: what is another's is like what does not exist.
        here=f"/{language}/",
        other_path=f"/{_other(language)}/",
    )
    headers = {**HEADERS, **headers_of(problem)}
    return web.Response(status=problem.status, body=body, headers=headers)


def language_of(request: web.Request) -> Language:
    """Return the language that a URL names, else the one that the browser prefers."""
    named = request.path.split("/")[1]
    for language in formats.LANGUAGES:
        if language == named:
            return language
    return preferred(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))


def _quoted(request: web.Request) -> str:
    """Return the page of a request as a value in another's query."""
    return quote(request.rel_url.raw_path_qs, safe="/")


def asset(name: str) -> web.Response:
    """Return an asset under the hash of its content. Raises `not_found`."""
    data = ASSETS.get(name)
    if data is None:
        raise Problem("not_found", f"no asset {name}")
    kind = _TYPES[name.rpartition(".")[2]]
    headers = {hdrs.CONTENT_TYPE: kind, hdrs.CACHE_CONTROL: _FOR_EVER, **SECURITY}
    return web.Response(body=data, headers=headers)


def preferred(accept_language: str) -> Language:
    """Return the language that a browser prefers, by RFC 9110 section 12.5.4; else Chinese."""
    best: tuple[float, Language] = (0.0, "zh")
    for part in accept_language.lower().split(",")[:20]:
        found = _RANGE.fullmatch(part.strip())
        for language in formats.LANGUAGES:
            if found and found["language"] == language and float(found["weight"] or 1) > best[0]:
                best = (float(found["weight"] or 1), language)
    return best[1]


def piece(template: str, language: Language, **values: Any) -> str:
    """Return a piece of a page, which follows from the values alone: neither who looks nor how."""
    values = {"language": language, "w": spoken(language), **values}
    return _ENVIRONMENT.get_template(template).render(values)


def _render(request: web.Request, template: str, language: Language, **values: Any) -> bytes:
    other = _other(language)
    session = request.get(SESSION)
    page = _ENVIRONMENT.get_template(template).render(
        language=language,
        other=other,
        theme=known_theme(request.cookies.get(THEME_COOKIE, "")),
        themes=THEMES,
        person=None if session is None else session.person,
        token="" if session is None else session.form_token,
        w=spoken(language),
        style=_STYLE[0],
        icon=_ICON[0],
        verifier=_VERIFIER[0],
        script=_SCRIPT[0],
        claim_script=_CLAIM_SCRIPT[0],
        **{"here": _quoted(request), "other_path": _in_language(request, other), **values},
    )
    return page.encode()


def _other(language: Language) -> Language:
    return "en" if language == "zh" else "zh"


def _in_language(request: web.Request, language: Language) -> str:
    """Return the path of the same page in a language, with its query; a list begins anew."""
    url = request.rel_url.without_query_params("after")  # a place belongs to one URL
    first, _, rest = url.raw_path_qs[1:].partition("/")
    return f"/{language}/{rest if first in formats.LANGUAGES else ''}"
