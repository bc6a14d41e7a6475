"""Bad input, command by command: each field missing, of another type or too large; unknown things.

The documented examples are the good input. What is made of them is bad by the OpenAPI document: so
a field that a later command brings is walked over too.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from meter.api import examples, openapi
from meter.rules.commands import Asked
from meter.rules.two_persons import PROPOSABLE
from tests.meter.test_openapi import TOLD, concrete, routes_with_body, telling
from tests.services import Service, stored

ROUTES = {route.body: route for route in routes_with_body() if issubclass(route.body, Asked)}
# Of other types, and of the right type but too large, too long, or of an impossible form.
WRONG = (None, True, -1, 1.5, 10**30, "", "x" * 100_000, "\u0000", [], [0] * 2_000, {}, {"": 0})
BODIES = [kind for kind in examples.BODIES if kind in ROUTES]
# The commands that name nothing which another one has to register.
NEED_NOTHING = [
    *("ActivatePolicy", "Propose", "RegisterEnterprise", "RegisterPerson"),
    *("RegisterProject", "RegisterProvider"),
]
Place = tuple[str | int, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the place of each field and item within a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*place, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*place, key))


def changed(body: Any, place: Place, *values: Any) -> Any:
    """Return a body with another value at a place, or without it."""
    body = copy.deepcopy(body)
    *parents, last = place
    inner = body
    for key in parents:
        inner = inner[key]
    if values:
        inner[last] = values[0]
    else:
        del inner[last]
    return body


def bad_bodies(kind: type[Asked]) -> Iterator[tuple[Place, Any]]:
    """Yield what the document does not allow, with the place of the fault."""
    name = ROUTES[kind].body.__name__
    judge = TOLD.validator({"$ref": f"#/components/schemas/{name}"})
    good = examples.BODIES[kind]
    assert judge.is_valid(good)
    yield (), good | {"unknown": 1}
    for place in places(good):
        variants = [changed(good, place), *(changed(good, place, wrong) for wrong in WRONG)]
        for body in variants:
            if not judge.is_valid(body):
                yield place, body


async def refuse(service: Service, path: str, place: Place, body: Any) -> None:
    answer = await service.post(path, body)
    assert (answer.status, answer.code) == (400, "malformed"), (path, place, answer.body)
    if place and isinstance(place[0], str):
        assert place[0] in answer.json["detail"], (path, place, answer.json["detail"])


@pytest.mark.parametrize("proposed", [False, True], ids=["given", "proposed"])
async def test_each_field_of_each_command_is_refused_where_it_is_bad(
    database, tmp_path, monkeypatch, proposed
):
    names = {kind.command: name for name, kind in PROPOSABLE.items()}
    walked = 0
    async with telling(database, tmp_path, monkeypatch) as service:
        before = await stored(database)
        for kind in BODIES:
            route = ROUTES[kind]
            if proposed and kind not in names:
                continue
            for place, body in bad_bodies(kind):
                if proposed:
                    whole = {"command": names[kind], "body": in_url(route.path) | body}
                    await refuse(service, "/v1/proposals", place, whole)
                else:
                    await refuse(service, concrete(route), place, body)
                walked += 1
        assert await stored(database) == before
    assert walked > 1_000


def in_url(path: str) -> dict[str, str]:
    """Return the fields of a command that its URL holds, with their examples."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return {name: examples.PATHS[name][1] for name in names}


async def test_a_command_about_what_is_unknown_has_one_code_and_books_nothing(
    database, tmp_path, monkeypatch
):
    taken = []
    async with telling(database, tmp_path, monkeypatch) as service:
        for kind in reversed(BODIES):
            route, before = ROUTES[kind], await stored(database)
            answer = await service.post(concrete(route), examples.BODIES[kind])
            if answer.status == 201:
                taken.append(kind.__name__)
                continue
            assert answer.code in openapi.codes_of(route), (route.path, answer.body)
            assert await stored(database) == before
    assert sorted(taken) == NEED_NOTHING
