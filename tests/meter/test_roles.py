"""Access: every route, with every kind of token, for one's own data and for another's.

Programs send a token, people the cookie of a session to pages and, with the form's own token, to
forms: each route is asked in the way of its kind.

The books hold two of everything, the left's and the right's; the left asks. The declarations of the
routes drive the tests: a route with an unknown parameter fails until this file has a value of the
left, one of the right, and one of nobody.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, get_args

import pytest
from msgspec import structs

from meter.api.app import ROUTES
from meter.api.routes import EVENTS, NOT_YOURS, Route, path_names
from meter.console import app as console
from meter.console import page
from meter.console.page import THEME_COOKIE
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.sign_in import COOKIE
from meter.host.tokens import Identity
from meter.service import admin as running
from meter.values.roles import OFFICIALS, Role
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, record, uscc_of, void
from tests.described import Described
from tests.papers import papers
from tests.people import FORM, Visitor, sign_in
from tests.services import (
    HOUR,
    Answer,
    Service,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
    stored,
)

TOLD = Described(ROUTES)
UNSIGNED = (f'{COOKIE}=""', f"{THEME_COOKIE}=system")  # what a form may set for nobody
ALL = (*ROUTES, *console.ROUTES)


@dataclass(frozen=True)
class Side:
    """One provider and one enterprise with a contract between them; no name is like another."""

    enterprise: str
    provider: str
    provider_uscc: str
    word: str

    @property
    def contract(self) -> str:
        return f"TC-{self.word}"

    @property
    def claim(self) -> str:
        return f"CL-{self.word}"

    @property
    def keyid(self) -> str:
        return f"{self.provider}-key"

    @property
    def stream(self) -> str:
        return f"stream-{self.word}"

    @property
    def record(self) -> str:
        return f"{self.word}:1"

    def papers(self) -> dict[str, Any]:
        """Return the papers of the side's claim."""
        found = papers(f"{SIDES.index(self):020d}", self.word, "2025-02-01")
        parties = {"seller": self.provider_uscc, "buyer": self.enterprise}
        return found | {"invoices": [each | parties for each in found["invoices"]]}

    @property
    def award(self) -> str:
        return f"AW-{self.word}"

    @property
    def project(self) -> str:
        return f"PJ-{self.word}"

    @property
    def names(self) -> set[str]:
        """Return the names that no answer to the other side may hold."""
        return {self.enterprise, self.provider, self.provider_uscc, self.word}


LEFT = Side(ALPHA, "pcl", uscc_of(9), "links")
RIGHT = Side(BETA, "qcl", uscc_of(8), "rechts")
NOBODY = Side(uscc_of(77), "nobody", uscc_of(78), "niemand")
SIDES = (LEFT, RIGHT)
NO_DIGEST = "0" * 64
APRIL = "2025-04-01T12:00:00+08:00"
DIGESTS: dict[Side, str] = {}  # known once a batch was posted
LINES: dict[Side, str] = {}  # an accepted record of each side
WITHHELD: dict[Side, str] = {}  # one that waits for a reviewer
PROPOSALS: dict[Side, str] = {}  # an open one about each side
ENTRIES: dict[Side, str] = {}  # one of each side, that both of its parties may read
SALTS: dict[Side, set[str]] = {}  # of the entries that concern a side
SECRETS: dict[Side, set[str]] = {}  # the salts of its batches
PERSON: dict[str, str] = {}  # one who may sign in
PUBLISHED: dict[str, int] = {}  # entries, and the width of the last tile

# The value of each parameter of a path or a query, for a side.
VALUES = {
    "uscc": lambda side: side.enterprise,
    "enterprise": lambda side: side.enterprise,
    "provider": lambda side: side.provider,
    "contract": lambda side: side.contract,
    "award": lambda side: side.award,
    "project": lambda side: side.project,
    "keyid": lambda side: side.keyid,
    "stream": lambda side: side.stream,
    "record": lambda side: side.record,
    "digest": lambda side: DIGESTS.get(side, NO_DIGEST),
    "batch": lambda side: DIGESTS.get(side, NO_DIGEST),
    "entry": lambda side: "999999" if side is NOBODY else ENTRIES.get(side, "0"),
    "line": lambda side: LINES.get(side, "999999"),
    "level": lambda side: "9" if side is NOBODY else "0",
    "claim": lambda side: side.claim,
    "item": lambda side: side.contract,
    "month": lambda _: "2025-03",  # of nobody
    # Of the authority, whose tokens have no subject.
    "objection": lambda _: "999999",
    "id": lambda _: "nobody",
    "person": lambda side: "nobody" if side is NOBODY else PERSON.get("id", "somebody"),
    "asset": lambda side: "nothing.css" if side is NOBODY else next(iter(page.ASSETS)),
    "rest": lambda _: "nothing",
    "act": lambda side: "nothing" if side is NOBODY else "freeze",
    "token": lambda side: "nobody-1" if side is NOBODY else "auditor",
    "target": lambda _: "tgt_0",
    "alert": lambda _: "msg_0",
    "proposal": lambda side: PROPOSALS.get(side, "999999"),
    "withheld": lambda side: WITHHELD.get(side, "999999"),
    "tile": lambda side: f"{'999' if side is NOBODY else '000'}.p/{PUBLISHED.get('size', 1)}",
}
REQUIRED = {"programme": PROGRAMME, "year": "2025", "q": "links"}
# Optional parameters that name nobody.
HARMLESS = {
    "role",
    "after",
    "limit",
    "as_of",
    "kind",
    "programme",
    "year",
    "from",
    "until",
    "since",
}
HARMLESS |= {"by", "date", "decision", "order", "device", "role", "run", "state", "status", "wait"}
HARMLESS |= {"person", "days", "q", "bank_reference", "before"}  # only officials ask by them
HARMLESS |= {"subject", "route", "day"}  # only auditors ask by them
HARMLESS |= {"amount", "delivery", "invoices", "payments", "disallowed"}  # figures of papers

AT_ISSUER = ("/sign-in/issuer", "/sign-in/return")  # which the service of these tests lacks

WRONG_TOKENS = [
    *(None, "", "Bearer", "Bearer x.y", "Basic eDp5", "Bearer authority-1.x", "Bearer é.é"),
]


@dataclass(frozen=True)
class Caller:
    """Who asks: a header for the API, and a session for pages and forms."""

    token: str | None
    visitor: Visitor | None = None
    cookie: str = ""

    def headers(self, route: Route) -> dict[str, str]:
        """Return what a client of the route's kind sends."""
        if route.kind == "api":
            return {} if self.token is None else {"Authorization": self.token}
        cookie = self.visitor.headers["Cookie"] if self.visitor else f"{COOKIE}={self.cookie}"
        fetched = {"Cookie": cookie, "Sec-Fetch-Mode": "cors"}
        if route.kind == "form":
            fetched |= {"Origin": "null", "Sec-Fetch-Site": "same-origin", "Content-Type": FORM}
        return fetched

    def body(self, route: Route, body: bytes) -> bytes:
        """Return a body; that of a form holds the token of its session, as its page has it."""
        if route.kind == "form":
            return b"session=" + (self.visitor.token.encode() if self.visitor else b"")
        return body


@dataclass(frozen=True)
class World:
    """The running service, and who asks it, by name."""

    service: Service
    callers: dict[str, Caller]

    async def ask(self, route: Route, path: str, who: Caller, body: bytes = b"") -> Answer:
        """Send a request; of a stream of events return what comes at once."""
        url = self.service.url + path
        async with self.service.http.request(
            route.method,
            url,
            data=who.body(route, body) or None,
            headers=who.headers(route),
            allow_redirects=False,
        ) as response:
            if response.headers["Content-Type"] != "text/event-stream":
                return Answer(response.status, response.headers, await response.read())
            told = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    while True:
                        told += await response.content.readany()
            return Answer(response.status, response.headers, told)


@asynccontextmanager
async def world(
    database: str, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with serving(database, folder) as service:
        monkeypatch.setenv(DATABASE_VARIABLE, database)
        await service.activate()
        await service.fund_awards()
        for side in SIDES:
            await fill(service, side)
        service.clock.set(APRIL)  # a month is over
        await service.ask("/v1/tokens", id="authority", holder="authority")
        note_salts(await stored(database))
        callers = {
            name: Caller(
                f"Bearer {await running.add_token(service.folder, identity)}",
                await sign_in(service, identity.role, identity.subject),
            )
            for name, identity in identities().items()
        }
        PERSON["id"] = callers["auditor"].visitor.id
        PUBLISHED["size"] = await service.published()
        service.http.headers.clear()
        yield World(service, callers)


def identities() -> dict[str, Identity]:
    """Return a token of each role, and for roles with subjects one whose subject has nothing."""
    subjects = {"provider": (LEFT.provider, NOBODY.provider)}
    subjects |= {"enterprise": (LEFT.enterprise, NOBODY.enterprise)}
    found = {role: Identity(role, role) for role in OFFICIALS}
    for role, (own, nobody) in subjects.items():
        found[role] = Identity(role, role, own)
        found[f"strange-{role}"] = Identity(f"strange-{role}", role, nobody)
    assert {identity.role for identity in found.values()} == set(get_args(Role))
    return found


async def fill(service: Service, side: Side) -> None:
    """Do everything for a side once: grants, withheld parts, releases, voids, refusals."""
    provider = provider_body(
        side.provider, uscc=side.provider_uscc, name=f"centre {side.word}", devices={DEVICE: 100}
    )
    await service.ask("/v1/providers", **provider)
    await service.ask(f"/v1/providers/{side.provider}/keys", **key_body(side.keyid, side.provider))
    await service.ask("/v1/enterprises", **enterprise_body(side.enterprise, name=f"AG {side.word}"))
    contract = contract_body(
        side.contract,
        enterprise=side.enterprise,
        provider=side.provider,
        max_devices={DEVICE: 8},
    )
    await service.ask("/v1/contracts", **contract)
    await service.issue(2025, "500000.00", side.enterprise)
    window = {"starts": "2025-01-01", "ends": "2025-01-02", "open_until": "2025-04-01"}
    path = f"/v1/contracts/{side.contract}/late-window"
    opened = await service.ask(path, reason=f"for {side.word}", **window)
    ENTRIES[side] = str(opened["entry"])
    await service.fund_contract(side.contract, "0.02", f"fund {side.word}")
    await service.award(side.award, "1.00", side.project, enterprise=side.enterprise)
    batches = [
        (
            [
                record(side.record, side.contract, *HOUR, 8_000),
                record(f"{side.word}:2", side.contract, *HOUR, 1_000),
                record(f"{side.word}:3", side.contract, *HOUR, 2_000),
                record(f"{side.word}:4", "TC-unknown", *HOUR, 1_000),
                record(f"{side.word}:5", side.contract, *HOUR, 1_000),
            ],
            [],
        ),
        ([], [void(f"{side.word}:3")]),
    ]
    for seq, (records, voids) in zip((1, 5), batches, strict=True):
        data = service.envelope(
            records, voids, side.keyid, provider=side.provider, stream=side.stream, seq=seq
        )
        answer = await service.post("/v1/usage", data, None)
        assert answer.status == 200, answer.body
        if seq == 1:
            DIGESTS[side] = answer.json["batch"]
            LINES[side] = str(answer.json["results"][0]["entry"])
            WITHHELD[side] = str(answer.json["results"][-1]["entry"])
    released = {"provider": side.provider, "id": f"{side.word}:2", "reason": f"by {side.word}"}
    await service.ask("/v1/records/release", **released)
    proposed = {"command": "freeze", "body": {"contract": side.contract, "reason": side.word}}
    PROPOSALS[side] = str((await service.ask("/v1/proposals", **proposed))["entry"])
    claim = {"id": side.claim, "item": side.contract, "year": 2025}
    await service.ask("/v1/claims", **claim, **side.papers())


def note_salts(entries: list[bytes]) -> None:
    """Note which salts are whose."""
    for side in SIDES:
        own = [json.loads(each) for each in entries if any(n in each.decode() for n in side.names)]
        SALTS[side] = {fields["salt"] for fields in own}
        SECRETS[side] = {fields["salt"] for fields in own if fields["kind"] == "batch"}
        assert len(SALTS[side]) == len(own) > len(SECRETS[side]) > 1


def urls(route: Route, **of: Side) -> str:
    """The route's URL: each parameter is the left's, or that of the side that `of` names."""
    path = route.path
    for name in path_names(route):
        assert name in VALUES, f"{route.path}: whose is {{{name}}}? Say so in VALUES"
        path = path.replace(f"{{{name}}}", VALUES[name](of.get(name, LEFT)))
    given = {
        field.encode_name: REQUIRED.get(field.encode_name)
        or VALUES[field.encode_name](of.get(field.encode_name, LEFT))
        for field in structs.fields(route.query)
        if field.required
    }
    return path + ("?" + "&".join(f"{k}={v}" for k, v in given.items()) if given else "")


def filters(route: Route) -> Iterator[str]:
    """Yield the optional parameters of a query that can name somebody's data."""
    for field in structs.fields(route.query):
        if not field.required and field.encode_name not in HARMLESS:
            assert field.encode_name in VALUES, f"{route.path}: whose is {field.encode_name}?"
            yield field.encode_name


def filtered(route: Route, name: str, side: Side) -> str:
    url = urls(route)
    return f"{url}{'&' if '?' in url else '?'}{name}={VALUES[name](side)}"


def check(route: Route, answer: Answer) -> Answer:
    """Check an answer against the description of the API; pages are not in it."""
    if route.kind != "api":
        assert "json" not in answer.headers["Content-Type"]
        return answer
    TOLD.check(route.method, route.path, answer.status, answer.headers, answer.body)
    return answer


def silent(answer: Answer, about: Side) -> None:
    """Check that no answer names anything of the other side."""
    text = answer.body.decode("utf-8", "replace")
    # As a word: a secret of a form may hold the letters of a short one.
    told = {
        name
        for name in about.names | SALTS[about]
        if re.search(f"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text)
    }
    assert not told, f"{told} in {text}"


def questions() -> list[Route]:
    return [route for route in ALL if route.method == "GET" and route.roles]


def test_every_way_to_be_is_tried():
    for kind in ("api", "page", "form"):
        own = [route for route in ALL if route.kind == kind]
        methods = {"api": {"GET", "POST"}, "page": {"GET"}, "form": {"POST"}}[kind]
        assert {route.method for route in own} == methods
    assert {route.kind for route in ROUTES} == {"api"}
    assert {role for route in ROUTES for role in route.roles} == set(get_args(Role))
    assert len(questions()) >= 4
    for route in questions():
        assert urls(route), route.path
        assert list(filters(route)) is not None


async def test_public_routes_are_open_to_anyone_and_all_others_to_nobody_without_a_token(
    database, tmp_path, monkeypatch
):
    async with world(database, tmp_path, monkeypatch) as known:
        size = len(await stored(database))
        own = known.callers["authority"]
        secret = own.token.partition(".")[2]
        tokens = [*WRONG_TOKENS, f"Bearer auditor.{secret}", own.token + "x"]
        cookies = ["", "x", "é", secret, f"{own.visitor.secret}x", own.visitor.token]
        nobody = [Caller(token) for token in tokens] + [Caller(None, None, c) for c in cookies]
        for route in ALL:
            path = urls(route)
            if route.roles:
                for who in nobody:
                    answer = check(route, await known.ask(route, path, who, b"{}"))
                    assert answer.code == "unauthorized", route.path
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                    silent(answer, LEFT)
                continue
            callers = () if route.kind == "form" else known.callers.values()
            for who in (*nobody, *callers):
                answer = check(route, await known.ask(route, path, who))
                if route.kind == "form":  # nobody is signed in, or out
                    assert answer.status in (303, 403, 429), route.path
                    assert answer.headers.get("Set-Cookie", UNSIGNED[0]).startswith(UNSIGNED), (
                        route.path
                    )
                elif route.path.endswith((*AT_ISSUER, "/{rest}")):
                    assert answer.code == "not_found", route.path
                elif route.kind == "page":
                    assert answer.status in (200, 302, 303), route.path
                else:
                    assert answer.status == (400 if route.method == "POST" else 200), route.path
        assert len(await stored(database)) == size


async def test_a_role_that_a_route_does_not_list_is_refused_before_anything_is_read(
    database, tmp_path, monkeypatch
):
    async with world(database, tmp_path, monkeypatch) as known:
        size = len(await stored(database))
        for route in ALL:
            for name, identity in identities().items():
                if not route.roles or identity.role in route.roles:
                    continue
                seen = set()
                for side in (LEFT, RIGHT, NOBODY):
                    path = urls(route, **dict.fromkeys(VALUES, side))
                    for body in (b"{}", b"\xff"):
                        answer = check(
                            route, await known.ask(route, path, known.callers[name], body)
                        )
                        assert answer.code == "forbidden", (route.path, name)
                        seen.add(answer.body)
                # It names its roles, and answers the same whether a thing exists or not.
                assert len(seen) == 1
                assert all(role in answer.body.decode() for role in route.roles)
        assert len(await stored(database)) == size


async def test_the_roles_that_a_route_lists_get_their_own(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        for route in ALL:
            for role in route.roles:
                answer = check(
                    route, await known.ask(route, urls(route), known.callers[role], b"nonsense")
                )
                if route.kind == "form":  # what it holds is not of now, or nothing
                    assert answer.status in (400, 409), (route.path, role)
                elif route.method == "POST":
                    assert answer.status == 400, (route.path, role)
                else:
                    assert answer.status == 200, (route.path, role, answer.body)
                    if role not in OFFICIALS:
                        silent(answer, RIGHT)
                    if role == "enterprise":
                        assert not any(salt in answer.body.decode() for salt in SECRETS[LEFT])


def things(route: Route) -> list[str]:
    """Return the parameters of a path that name a thing which may be another's; a month is none."""
    return [name for name in path_names(route) if name != "month"]


async def test_what_is_anothers_is_404_like_what_does_not_exist(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        for route in questions():
            for role in set(route.roles) - set(OFFICIALS):
                for name in things(route):
                    answers = [
                        check(
                            route,
                            await known.ask(
                                route, urls(route, **{name: side}), known.callers[role]
                            ),
                        )
                        for side in (RIGHT, NOBODY)
                    ]
                    assert [each.code for each in answers] == ["not_found"] * 2, route.path
                    assert len({each.body for each in answers}) == 1, route.path
                    language = "zh" if route.path.startswith("/zh/") else "en"
                    assert page.told(NOT_YOURS, language) in answers[0].body.decode()
                    assert comparable(answers[0]) == comparable(answers[1])


def comparable(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Date"}


async def test_an_etag_or_a_head_does_not_tell_what_is_anothers(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        for route in questions():
            for role in set(route.roles) - set(OFFICIALS):
                for name in things(route):
                    path = urls(route, **{name: RIGHT})
                    headers = known.callers[role].headers(route) | {"If_None_Match": "*"}
                    assert (await known.service.get(path, **headers)).status == 404
                    head = await known.service.send("HEAD", path, **headers)
                    assert head.status == 404


async def test_a_filter_that_names_anothers_finds_nothing(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        for route in questions():
            for role in set(route.roles) - set(OFFICIALS):
                for name in filters(route):
                    answers = [
                        check(
                            route,
                            await known.ask(
                                route, filtered(route, name, side), known.callers[role]
                            ),
                        )
                        for side in (RIGHT, NOBODY)
                    ]
                    assert len({each.status for each in answers}) == 1, (route.path, name)
                    assert len({each.body for each in answers}) == 1, (route.path, name)
                    silent(answers[0], RIGHT)


async def test_a_subject_that_has_nothing_sees_nothing(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        for route in questions():
            for role in set(route.roles) - set(OFFICIALS):
                who = known.callers[f"strange-{role}"]
                for side in (LEFT, RIGHT, NOBODY):
                    path = urls(route, **dict.fromkeys(VALUES, side))
                    answer = check(route, await known.ask(route, path, who))
                    assert answer.status in (200, 404), (route.path, answer.body)
                    if things(route) and side is not NOBODY:
                        assert answer.code == "not_found", route.path
                    silent(answer, LEFT)
                    silent(answer, RIGHT)


async def test_a_part_of_a_page_is_given_as_the_page_is(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        pages = [route for route in questions() if route.kind == "page"]
        for route in (each for each in pages if each.response != EVENTS):
            callers = [each for each in identities().items() if each[1].role in route.roles]
            for name, identity in callers:
                who = known.callers[name]
                for side in (LEFT, RIGHT, NOBODY):
                    path = urls(route, **dict.fromkeys(VALUES, side))
                    whole = await known.ask(route, path, who)
                    live = f"{path}{'&' if '?' in path else '?'}part=live"
                    part = check(route, await known.ask(route, live, who))
                    assert part.status == whole.status, (live, name)
                    if identity.role not in OFFICIALS:
                        silent(part, RIGHT)


async def test_officials_are_told_what_does_not_exist(database, tmp_path, monkeypatch):
    async with world(database, tmp_path, monkeypatch) as known:
        for route in questions():
            for role in set(route.roles) & set(OFFICIALS):
                for name in things(route):
                    path = urls(route, **{name: NOBODY})
                    answer = check(route, await known.ask(route, path, known.callers[role]))
                    assert answer.status == 404, (route.path, answer.body)


def test_the_sides_have_no_name_in_common():
    for first, second in ((LEFT, RIGHT), (RIGHT, LEFT), (NOBODY, LEFT)):
        for name in first.names:
            assert not any(name in other for other in second.names)
            assert name not in sha256(b"").hexdigest()
