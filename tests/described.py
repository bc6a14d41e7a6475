"""A check that answers have the form that the OpenAPI document promises.

told = Described(ROUTES)
told.check("GET", "/v1/entries", status, headers, body)
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from meter.api import openapi
from meter.api.routes import Route
from meter.values.units import parse_date, parse_moment
from meter.values.uscc import is_valid

FORMATS = FormatChecker(())
FORMATS.checks("date", ValueError)(lambda text: parse_date(text) is not None)
FORMATS.checks("date-time", ValueError)(lambda text: parse_moment(text) is not None)
FORMATS.checks("uscc")(is_valid)

_DOCUMENT = "urn:document"


class Described:
    """One document; each method raises where something differs from it."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.document = json.loads(openapi.encode(routes))
        resource = DRAFT202012.create_resource(self.document)
        self._registry = Registry().with_resource(_DOCUMENT, resource)

    @property
    def operations(self) -> dict[tuple[str, str], Any]:
        return {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def resolve(self, value: Any) -> Any:
        """Follow a reference within the document."""
        while "$ref" in value:
            found = self.document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value

    def validator(self, schema: Any) -> Draft202012Validator:
        absolute = json.loads(json.dumps(schema).replace('"#/', f'"{_DOCUMENT}#/'))
        return Draft202012Validator(absolute, registry=self._registry, format_checker=FORMATS)

    def check(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Check an answer of the operation `path` (with the names of its parameters)."""
        answers = self.operations[method, path]["responses"]
        assert str(status) in answers, f"{method} {path} answers {status}: {body[:300]!r}"
        answer = self.resolve(answers[str(status)])
        for name, header in answer.get("headers", {}).items():
            told = self.resolve(header)
            if name in headers or told.get("required", True):
                assert re.search(told["schema"].get("pattern", ""), headers[name])
        if "content" not in answer:
            assert body == b""
            return
        ((kind, content),) = answer["content"].items()
        given = headers["Content-Type"].partition(";")[0]
        assert given == kind, f"{method} {path} answers with {given}, not {kind}"
        if kind.endswith("json"):
            self.validator(content["schema"]).validate(json.loads(body))
