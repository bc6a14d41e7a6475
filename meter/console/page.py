"""How a page is made: a template, the words of its language, and headers that let nothing in.

Templates only format. What they show are answers of the API; no page computes money.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, Final

import jinja2
from aiohttp import hdrs, web

from meter.api.routes import with_etag
from meter.console import formats, palette
from meter.console.formats import Language
from meter.console.words import words
from meter.http.problems import headers_of
from meter.values.problems import Problem

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
_TYPES: Final = {"css": "text/css; charset=utf-8", "svg": "image/svg+xml"}


def _asset(name: str, data: bytes) -> tuple[str, bytes]:
    """Return the name under which an asset is served for ever, and its bytes."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}-{sha256(data).hexdigest()[:16]}.{ending}", data


def _read(name: str) -> bytes:
    return files("meter.console").joinpath("assets").joinpath(name).read_bytes()


_STYLE: Final = _asset("console.css", palette.stylesheet().encode() + _read("console.css"))
_ICON: Final = _asset("icon.svg", _read("icon.svg"))
ASSETS: Final[Mapping[str, bytes]] = dict([_STYLE, _ICON])

_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("meter.console"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"money": formats.money, "number": formats.number}


def show(
    request: web.Request, template: str, language: Language, **values: Any
) -> web.StreamResponse:
    """Return a page, or 304 where the browser has it."""
    return with_etag(request, _render(template, language, **values), HEADERS)


def show_problem(problem: Problem, language: Language) -> web.Response:
    """Return the page of a problem, with its status."""
    body = _render("problem.html", language, problem=problem)
    headers = {**HEADERS, **headers_of(problem)}
    return web.Response(status=problem.status, body=body, headers=headers)


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


def _render(template: str, language: Language, **values: Any) -> bytes:
    others = [each for each in formats.LANGUAGES if each != language]
    page = _ENVIRONMENT.get_template(template).render(
        language=language,
        other=others[0],
        w=SimpleNamespace(**words(language)),  # a dict has attributes of its own
        style=_STYLE[0],
        icon=_ICON[0],
        **values,
    )
    return page.encode()
