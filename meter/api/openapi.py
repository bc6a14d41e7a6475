"""`/openapi.json`: OpenAPI 3.1 of the whole API, made from the routes and the types they name.

A route declares its users, input, output and own codes; the codes that any request can meet are
added here. Each problem stands under its status, with an example that says what to do about it. The
same routes give the same bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, get_args
from urllib.parse import urlencode

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct
from msgspec.structs import fields

from meter.api.code_samples import code_samples
from meter.api.examples import BODIES, PATHS, QUERIES
from meter.api.post import IDEMPOTENCY_KEY, REPLAYED
from meter.api.post_usage import SIGNATURE
from meter.api.remedies import REMEDIES
from meter.api.routes import EVENTS, ROUTES_SERVED, Ask, Route, path_names, with_etag
from meter.api.schemas import JsonSchema, Schemas
from meter.rules.commands import Asked
from meter.values.problems import CODES, Problem
from meter.values.roles import Role
from meter.wire.batch import Batch
from meter.wire.dsse import Document
from meter.wire.receipt import Receipt

ETAG: Final = "ETag"
RETRY_AFTER: Final = "Retry-After"
WWW_AUTHENTICATE: Final = "WWW-Authenticate"
PROBLEM_TYPE: Final = "application/problem+json"
VERSION: Final = "1"  # of the API, as in its URLs

# The codes that any request can meet.
_GENERAL: Final = (
    *("malformed", "unsupported_encoding", "expectation_failed", "unavailable", "internal"),
)

_INTRODUCTION: Final = """\
Compute vouchers (算力券), metered exactly to the fen, on a ledger that anyone can verify offline.

Providers sign what they post, so a post needs no token. All other requests carry
`Authorization: Bearer <token>`; a token has one of four roles, and those of a provider or an
enterprise see only their own: what is another's is `not_found`, as is what does not exist.

Money is yuan text with exactly two decimals. Instants carry an offset, and six decimals where the
second is not whole. Dates are Shanghai's, periods are half-open. JSON is read strictly: unknown or
duplicate keys, texts that hide and a byte order mark are refused. Responses carry `as_of`,
the number of entries that they include: every batch that was answered before the query.

Every error is a problem document (RFC 9457) with a stable `code`. A method that a URL does not know
is 405 `method_not_allowed`, an unknown URL is 404 `not_found`."""

_SIGNED: Final = 'keyid="[A-Za-z0-9][A-Za-z0-9._-]{0,63}", sig=:[A-Za-z0-9+/]{86}==:'
_HEADERS: Final[dict[str, JsonSchema]] = {
    ETAG: {
        "description": "Names these very bytes: send it back as `If-None-Match` (RFC 9110).",
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}"$'},
    },
    SIGNATURE: {
        "description": "The service's signature over exactly the bytes of this receipt (DSSE, type"
        " `application/vnd.kashi.receipt+json`). Keep both.",
        "schema": {
            "type": "string",
            # While the service changes its key, two have signed.
            "pattern": f"^{_SIGNED}(?:, {_SIGNED})*$",
        },
    },
    REPLAYED: {
        "description": "There where this is the stored answer to an earlier request with the same"
        " token and `Idempotency-Key`.",
        "required": False,
        "schema": {"type": "string", "pattern": "^true$"},
    },
    RETRY_AFTER: {
        "description": "Seconds to wait.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    WWW_AUTHENTICATE: {
        "description": "The scheme of the token.",
        "schema": {"type": "string", "const": "Bearer"},
    },
}
_HEADERS_OF_STATUS: Final = {401: (WWW_AUTHENTICATE,), 503: (RETRY_AFTER,)}

_KEY_PARAMETER: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "Names this command: the same key and body get the stored answer, another body"
    " 409. A refused command leaves its key free.",
    "schema": {"type": "string", "pattern": r"^(?!auto-)[\x21-\x7e]{1,128}$"},
    "example": "issue-2025-0001",
}
_ETAG_PARAMETER: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An earlier `ETag`: where the response is still the same, it is 304.",
    "schema": {"type": "string"},  # what is no tag is ignored (RFC 9110 section 13.1.2)
    "example": '"00000000000000000000000000000000"',
}

_EVENT_PARAMETER: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the event that was seen last; the stream goes on after it.",
    "schema": {"type": "string", "maxLength": 32},
    "example": "-1",
}

_PROBLEM: Final[JsonSchema] = {
    "type": "object",
    "description": "A problem document (RFC 9457). Programs branch on `code`; some problems have"
    " further members, e.g. the number of the `entry` that stands in the way.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:kashi:problem:[a-z_0-9]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(CODES)},
        "detail": {"type": "string", "description": "The facts of this case, in a sentence."},
    },
    "required": ["type", "title", "status", "code", "detail"],
}


async def get_openapi(ask: Ask) -> web.Response:
    """Return this API's description."""
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: "application/json",
        hdrs.CACHE_CONTROL: "no-cache",
    }
    return with_etag(ask.request, encode(ask.request.app[ROUTES_SERVED]), headers)


@cache
def encode(routes: tuple[Route, ...]) -> bytes:
    """Return the bytes of `describe`."""
    return msgspec.json.encode(describe(routes))


@cache
def describe(routes: tuple[Route, ...]) -> dict[str, Any]:
    """Return the description of these routes; nobody changes it."""
    schemas = Schemas()
    schemas.components["Problem"] = _PROBLEM
    schemas.struct(Batch)  # what the payload of an envelope holds
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Kashi (卡时)",
            "version": VERSION,
            "summary": "Compute vouchers, metered exactly",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "examples": {_example_name(code): _problem_example(code) for code in sorted(CODES)},
            "headers": _HEADERS,
            "responses": {code: _problems(CODES[code][0], [code]) for code in sorted(CODES)},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that `kashi token add` made, `<id>.<secret>`. Roles:"
                    f" {', '.join(get_args(Role))}.",
                }
            },
        },
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
    }


_TAGS: Final = {
    "provider": "A computing provider: posts what it signed, and sees what became of it.",
    "enterprise": "Who is funded: sees its coupons, its contracts and their usage.",
    "authority": "Who issues: registers, issues, withdraws, takes back and releases.",
    "auditor": "Who checks: sees all, changes nothing.",
    "public": "Anyone, without a token.",
}


def users(route: Route) -> Sequence[str]:
    """Return the users of a route; posting a batch needs its signature, and no token."""
    return route.roles or (("provider",) if route.body is Document else ("public",))


def codes_of(route: Route) -> list[str]:
    """Return every code that a route can respond with, its own first."""
    codes = [*route.codes, *_GENERAL]
    if route.roles:
        codes.append("unauthorized")
    if route.roles:
        codes.append("busy")  # too much is asked under one token
    if route.roles and set(route.roles) != set(get_args(Role)):
        codes.append("forbidden")
    if "enterprise" in route.roles and not route.ends_with_succession:
        codes.append("succeeded")
    if "{" in route.path:
        codes.append("not_found")
    if route.body is not None:
        codes += ["request_timeout", "too_large", "busy"]
    return list(dict.fromkeys(codes))


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    parameters = list(_parameters(route, schemas))
    return {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": list(users(route)),
        "security": [{"token": list(route.roles)}] if route.roles else [],
        "parameters": parameters,
        **_request_body(route, schemas),
        "responses": dict(sorted(_responses(route, schemas))),
        **_samples(route, parameters),
    }


# A question and a command that stand for all.
_SAMPLED: Final = (("GET", "/v1/enterprises/{uscc}/balance"), ("POST", "/v1/coupons"))


def _samples(route: Route, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    if (route.method, route.path) not in _SAMPLED:
        return {}
    given = {
        place: {each["name"]: str(each["example"]) for each in parameters if each["in"] == place}
        for place in ("path", "query")
    }
    needed = {each["name"] for each in parameters if each["required"]}
    query = urlencode({name: text for name, text in given["query"].items() if name in needed})
    target = route.path.format(**given["path"]) + (f"?{query}" if query else "")
    kind = route.body
    body = BODIES[kind] if isinstance(kind, type) and issubclass(kind, Struct) else None
    return {"x-codeSamples": code_samples(target, body)}


def _operation_id(route: Route) -> str:
    """Return the name of the command, or of the handler, whose verb is the method."""
    if isinstance(route.body, type) and issubclass(route.body, Asked):
        name = route.body.__name__
    else:
        name = route.handler.__name__.title().replace("_", "")
    return name[0].lower() + name[1:]


def _parameters(route: Route, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for name in path_names(route):
        kind, example, meaning = PATHS[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": meaning,
            "schema": schemas.of(kind, strict=True),
            "example": example,
        }
    for field in fields(route.query):
        schema = schemas.field(route.query.__name__, field, strict=True, omitted=False)
        yield {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "description": schema.get("description", ""),
            "schema": schema,
            "example": _query_example(field.encode_name, schema),
        }
    if "idempotency_conflict" in route.codes:
        yield _KEY_PARAMETER | {"required": "idempotency_key_needed" in route.codes}
    if _has_etag(route):
        yield _ETAG_PARAMETER
    if route.response == EVENTS:
        yield _EVENT_PARAMETER


def _query_example(name: str, schema: JsonSchema) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    return schema["default"] if "default" in schema else QUERIES[name]


def _request_body(route: Route, schemas: Schemas) -> dict[str, Any]:
    kind = route.body
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return {}
    in_url = frozenset(path_names(route))
    content = {
        "schema": schemas.struct(kind, in_url),
        "examples": {"example": {"value": BODIES[kind]}},
    }
    required = any(field.required and field.encode_name not in in_url for field in fields(kind))
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def _responses(route: Route, schemas: Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    good = _good(route, schemas)
    if isinstance(route.body, type) and issubclass(route.body, Asked):
        headers = {REPLAYED: _header(REPLAYED)}
        yield "201", {"description": "Done: the entry that was made.", "headers": headers, **good}
        if not _MAY_EXIST.isdisjoint(route.codes):
            yield "200", {"description": "It was there already, with equal content.", **good}
    else:
        yield "200", {"description": route.summary, **good}
    if _has_etag(route):
        headers = {ETAG: _header(ETAG)}
        yield "304", {"description": "The response is still the same.", "headers": headers}
    codes = codes_of(route)
    for status in {CODES[code][0] for code in codes}:
        alike = [code for code in codes if CODES[code][0] == status]
        shared = {"$ref": f"#/components/responses/{alike[0]}"}
        yield str(status), shared if len(alike) == 1 else _problems(status, alike)


# A registration has one of these, and equal content is no error.
_MAY_EXIST: Final = frozenset({"exists_differently", "looks_alike"})


def _good(route: Route, schemas: Schemas) -> dict[str, Any]:
    names = [ETAG] if _has_etag(route) else []
    if isinstance(route.response, str):
        content = {route.response: {"schema": {"type": _TYPES.get(route.response, "string")}}}
    else:
        names += [SIGNATURE] if route.response is Receipt else []
        content = {"application/json": {"schema": schemas.struct(route.response)}}
    headers = {"headers": {name: _header(name) for name in names}} if names else {}
    return {**headers, "content": content}


_TYPES: Final = {"application/json": "object"}


def _has_etag(route: Route) -> bool:
    """Return whether the response has an ETag: the JSON of a struct, or the description."""
    described = route.response in ("application/json", "text/html")
    return route.method == "GET" and (described or not isinstance(route.response, str))


def _problems(status: int, codes: list[str]) -> dict[str, Any]:
    known = {"properties": {"code": {"enum": codes}, "status": {"const": status}}}
    content = {
        "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, known]},
        "examples": {
            code: {"$ref": f"#/components/examples/{_example_name(code)}"} for code in codes
        },
    }
    headers = {name: _header(name) for name in _HEADERS_OF_STATUS.get(status, ())}
    return {
        "description": _list(f"`{code}`: {CODES[code][1]}" for code in codes),
        **({"headers": headers} if headers else {}),
        "content": {PROBLEM_TYPE: content},
    }


def _problem_example(code: str) -> dict[str, Any]:
    return {
        "summary": CODES[code][1],
        "description": REMEDIES[code],
        "value": Problem(code, "the facts of this case").document(),
    }


def _example_name(code: str) -> str:
    return f"problem_{code}"


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


ROUTES: Final = [
    Route("GET", "/openapi.json", get_openapi, "This API's description", "application/json"),
]
