"""`/docs`: the OpenAPI document as one page for a person, with no script and no outside request.

The page is made from `/openapi.json` alone: what it shows is what programs read.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final

from aiohttp import hdrs, web

from meter.api.openapi import PROBLEM_TYPE, describe
from meter.api.routes import ROUTES_SERVED, Ask, Route, with_etag

STYLE: Final = files("meter.api").joinpath("docs_page.css").read_text("utf-8")
_STYLE_HASH: Final = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-cache",
    # Nothing may be loaded or run, and nothing but this very style applies.
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_Json = dict[str, Any]


async def get_docs(ask: Ask) -> web.Response:
    """Return this API's description, for a person."""
    return with_etag(ask.request, page(ask.request.app[ROUTES_SERVED]), HEADERS)


@cache
def page(routes: tuple[Route, ...]) -> bytes:
    """Render the description of these routes."""
    return "".join(_Page(describe(routes)).html()).encode()


class _Page:
    """One document on its way to HTML; each method yields a part."""

    def __init__(self, document: _Json) -> None:
        self.document = document
        self.operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]

    def html(self) -> Iterator[str]:
        """Yield the whole page."""
        info = self.document["info"]
        yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        yield f"<title>{escape(info['title'])} · API</title><style>{STYLE}</style></head><body>"
        yield from self._side()
        yield f'<main><header id="top"><h1>{escape(info["title"])}</h1>'
        yield f'<p class="lead">{escape(info["summary"])}</p></header>'
        yield _prose(info["description"])
        yield '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>'
        sampled = " and ".join(
            f'<a href="#{each["operationId"]}">{escape(each["summary"])}</a>'
            for _, _, each in self.operations
            if "x-codeSamples" in each
        )
        yield f"<p>In curl, Python and Go: {sampled}.</p>"
        yield from self._by_role()
        yield f'<section><h2 id="operations">Operations</h2>{_prose(_LEGEND)}'
        for method, path, operation in self.operations:
            yield from self._operation(method, path, operation)
        yield '</section><section><h2 id="types">Types</h2>'
        for name, schema in self.document["components"]["schemas"].items():
            yield f'<article class="type" id="type-{name}"><h3>{name}</h3>'
            yield _prose(schema.get("description", ""))
            yield from _fields(schema)
            yield "</article>"
        yield "</section>"
        yield from self._problems()
        yield "</main></body></html>\n"

    def _side(self) -> Iterator[str]:
        yield '<nav aria-label="Contents"><a class="brand" href="#top">卡时 <b>Kashi</b></a>'
        yield '<a href="#roles">Who may what</a><a href="#operations">Operations</a><ul>'
        for method, path, operation in self.operations:
            yield f'<li><a href="#{operation["operationId"]}">{_method(method)}'
            yield f"<span>{_path(path)}</span></a></li>"
        yield '</ul><a href="#types">Types</a><a href="#problems">Problems</a></nav>'

    def _by_role(self) -> Iterator[str]:
        yield '<section><h2 id="roles">Who may what</h2><div class="roles">'
        for tag in self.document["tags"]:
            yield f'<article class="role"><h3>{escape(tag["name"])}</h3>'
            yield f"{_prose(tag['description'])}<ul>"
            for method, path, operation in self.operations:
                if tag["name"] in operation["tags"]:
                    yield f'<li><a href="#{operation["operationId"]}">'
                    yield f"{escape(operation['summary'])}</a>"
                    yield f"<small>{_method(method)} <code>{_path(path)}</code></small></li>"
            yield "</ul></article>"
        yield "</div></section>"

    def _operation(self, method: str, path: str, operation: _Json) -> Iterator[str]:
        yield f'<article class="operation" id="{operation["operationId"]}">'
        yield f"<h3>{_method(method)} <code>{_path(path)}</code></h3>"
        yield f"<p>{escape(operation['summary'])}</p><p class='who'>for "
        yield " ".join(f"<b>{escape(name)}</b>" for name in operation["tags"])
        yield "</p>" if operation["security"] else ", without a token</p>"
        if operation["parameters"]:
            yield "<h4>Parameters</h4>"
            yield from _table(
                ("name", "stands in", "type", "meaning", "example"),
                (
                    (
                        _name(each["name"], required=each["required"]),
                        escape(each["in"]),
                        _type(each["schema"]),
                        _inline(each["description"]),
                        _code(each.get("example", "")),
                    )
                    for each in operation["parameters"]
                ),
            )
        if "requestBody" in operation:
            yield from self._body(operation["requestBody"])
        yield from self._responses(operation["responses"])
        for sample in operation.get("x-codeSamples", ()):
            yield f"<details open><summary>{escape(sample['lang'])}</summary>"
            yield f"<pre>{escape(sample['source'])}</pre></details>"
        yield "</article>"

    def _body(self, body: _Json) -> Iterator[str]:
        ((kind, content),) = body["content"].items()
        yield f"<h4>Body <small>{escape(kind)}"
        yield "</small></h4>" if body["required"] else ", optional</small></h4>"
        yield from _fields(self._resolve(content["schema"]))
        for example in content["examples"].values():
            yield f"<pre>{_json(example['value'])}</pre>"

    def _responses(self, responses: _Json) -> Iterator[str]:
        resolved = {status: self._resolve(response) for status, response in responses.items()}
        good = {status: each for status, each in resolved.items() if int(status) < 400}
        yield "<h4>Responses</h4>"
        yield from _table(
            ("status", "meaning", "type", "headers"),
            (
                (
                    f'<span class="good">{status}</span>',
                    _inline(response["description"]),
                    " ".join(map(_content, response.get("content", {}).items())),
                    " ".join(map(_code, response.get("headers", {}))),
                )
                for status, response in good.items()
            ),
        )
        yield "<details><summary>Problems</summary>"
        yield from _table(
            ("status", "code", "what to do"),
            (
                (
                    f'<span class="bad">{status}</span>',
                    f'<a href="#problem-{code}"><code>{code}</code></a>',
                    _inline(self._resolve(example)["description"]),
                )
                for status, response in resolved.items()
                if status not in good
                for code, example in response["content"][PROBLEM_TYPE]["examples"].items()
            ),
        )
        yield "</details>"

    def _problems(self) -> Iterator[str]:
        yield '<section><h2 id="problems">Problems</h2>'
        yield _prose(
            "Each is `application/problem+json` with these codes; `detail` holds the facts of the"
            " case."
        )
        examples = self.document["components"]["examples"].values()
        yield from _table(
            ("code", "status", "meaning", "what to do"),
            (
                (
                    f'<code id="problem-{each["value"]["code"]}">{each["value"]["code"]}</code>',
                    f'<span class="bad">{each["value"]["status"]}</span>',
                    _inline(each["summary"]),
                    _inline(each["description"]),
                )
                for each in examples
            ),
        )
        yield "</section>"

    def _resolve(self, value: _Json) -> _Json:
        """Follow a reference within the document."""
        if "$ref" not in value:
            return value
        found: Any = self.document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)


def _fields(schema: _Json) -> Iterator[str]:
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    if properties:
        yield from _table(
            ("field", "type", "meaning"),
            (
                (
                    _name(name, required=name in required),
                    _type(each) + _default(each),
                    _inline(each.get("description", "")),
                )
                for name, each in properties.items()
            ),
        )


def _type(schema: _Json) -> str:
    """Return the form of a value in few words."""
    match schema:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            text = f'<a href="#type-{name}">{name}</a>'
        case {"anyOf": options}:
            text = " or ".join(map(_type, options))
        case {"enum": options}:
            text = " · ".join(map(_code, options))
        case {"const": only}:
            text = _code(only)
        case {"type": "array", "items": items}:
            text = f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            text = f"{_type(values)} by name"
        case {"type": "integer"}:
            text = f"integer{_range(schema)}"
        case {"type": "string"}:
            text = f"{_FORMATS.get(schema.get('format', ''), 'text')}{_lengths(schema)}"
        case _:
            text = escape(schema.get("type", "anything"))
    return text


_FORMATS: Final = {
    "date": "date",
    "date-time": "instant",
    "id": "id",
    "price": "yuan per hour",
    "uscc": "USCC",
    "yuan": "yuan",
}
_LEGEND: Final = """\
A red point marks what is required. An *id* is 1 to 64 of `A-Z a-z 0-9 . _ -` and begins with a
letter or digit; *yuan* is text with exactly two decimals; an *instant* is `YYYY-MM-DDThh:mm:ss`
with `Z` or an offset; a *date* is `YYYY-MM-DD` in Shanghai; a *USCC* has 18 characters, the
last a check character."""


def _range(schema: _Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None:
        return ""
    end = f" to {_figure(high)}" if high is not None and high < 2**53 - 1 else " and up"
    return f" <small>{_figure(low)}{end}</small>"


def _figure(number: int) -> str:
    return f"{number:,}" if number >= 10_000 else str(number)  # a year has no comma


def _lengths(schema: _Json) -> str:
    high = schema.get("maxLength")
    return "" if high is None else f" <small>up to {high}</small>"


def _default(schema: _Json) -> str:
    if "default" not in schema:
        return ""
    return f" <small>without it {_code(json.dumps(schema['default']))}</small>"


def _content(item: tuple[str, _Json]) -> str:
    kind, content = item
    schema = content["schema"]
    return _type(schema) if "$ref" in schema else _code(kind)


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = "".join(f"<th>{name}</th>" for name in names)
    yield f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>'
    for row in rows:
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
    yield "</tbody></table></div>"


def _name(name: str, *, required: bool) -> str:
    mark = ' <abbr title="required">•</abbr>' if required else ""
    return f"<code>{escape(name)}</code>{mark}"


def _method(method: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span>'


def _path(path: str) -> str:
    """Let a long path break after its slashes."""
    return escape(path).replace("/", "/<wbr>")


def _json(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False, indent=2))


def _code(text: Any) -> str:
    return "" if text == "" else f"<code>{escape(str(text))}</code>"


def _prose(text: str) -> str:
    """Write paragraphs; of Markdown they use code and emphasis only."""
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part)


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


ROUTES: Final = [
    Route("GET", "/docs", get_docs, "This description as a page for a person", "text/html")
]
