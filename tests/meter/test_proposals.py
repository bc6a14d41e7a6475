"""Persons, tokens and proposals over HTTP, on a real database."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meter.api import get_people
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.tokens import Identity
from meter.rules import commands
from meter.service import admin, setup
from meter.service.persons import recover_person
from meter.values.problems import Problem
from meter.values.strict import Number
from meter.values.units import DAY_SECONDS
from tests.books import ALPHA, PROGRAMME, record
from tests.services import (
    HOUR,
    Answer,
    Service,
    ask,
    authorization,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    moved,
    projections,
    provider_body,
    serving,
)

TWO = setup.Authority(("wang", "li"))
POLICY = {"programme": PROGRAMME, "version": "2024-12"}


@dataclass
class City:
    """A service of two persons, asked with a token of either."""

    service: Service

    async def post(self, who: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        return await self.service.post(path, body, key, Authorization=self.header(who))

    def header(self, who: str) -> str:
        return f"Bearer {self.service.folder.token_of(who).read_text().strip()}"

    async def propose(self, command: str, /, who: str = "wang", **body: Any) -> int:
        """Propose a command, and return the number of the proposal."""
        names = {"starts": "from", "ends": "until", "applicant": "kind"}
        body = {names.get(name, name): value for name, value in body.items()}
        answer = await self.post(who, "/v1/proposals", {"command": command, "body": body})
        assert answer.status == 201, answer.body
        return answer.json["entry"]

    async def confirm(self, number: int, who: str = "li") -> Answer:
        return await self.post(who, f"/v1/proposals/{number}/confirm")

    async def by_both(self, command: str, /, **body: Any) -> dict[str, Any]:
        answer = await self.confirm(await self.propose(command, **body))
        assert answer.status == 201, answer.body
        return answer.json

    async def open_books(self) -> None:
        """Let both persons register what usage and coupons need."""
        await self.by_both("policy", **POLICY)
        await self.by_both("provider", **provider_body())
        await self.by_both("key", provider="pcl", **key_body("pcl-1"))
        for path, body in (
            ("/v1/enterprises", enterprise_body()),
            ("/v1/contracts", contract_body("A")),
        ):
            await self.service.ask(path, **body)

    async def status(self, number: int) -> str:
        page = (await self.service.get("/v1/proposals?limit=1000")).json
        return next(each["status"] for each in page["proposals"] if each["entry"] == number)


@contextlib.asynccontextmanager
async def city(database: str, folder: Path) -> AsyncIterator[City]:
    async with serving(database, folder, authority=TWO) as service:
        yield City(service)


@contextlib.contextmanager
def operating(dsn: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, dsn)
        yield


async def test_two_persons_open_the_books_and_an_auditor_finds_both_in_each_entry(
    database, tmp_path
):
    async with city(database, tmp_path) as both:
        await both.open_books()
        coupon = coupon_body(2025, "500000.00")
        refused = await both.post("wang", "/v1/coupons", coupon, "k")
        assert (refused.status, refused.code) == (403, "two_persons_needed")
        number = await both.propose("issue", **coupon)
        assert (await both.confirm(number, "wang")).code == "same_person"
        issued = await both.confirm(number)
        assert issued.json == {"entry": number + 1, "issued": "500000.00"}
        again = await both.confirm(number)
        assert (again.code, again.json["entry"]) == ("proposal_closed", number + 1)
        answer = await both.service.usage([record("r1", "A", *HOUR, 64_000)])
        assert answer.json["results"][0]["granted"] == "144.00"
        entries = await both.service.entries()
        assert (entries[number + 1].by, entries[number + 1].person) == ("li-1", "li")
        assert entries[number + 1].proposal == number
    state = await check_sums(database)
    assert state.people.active() == ["wang", "li"]


async def test_a_proposed_policy_holds_the_text_of_the_shipped_file(database, tmp_path):
    async with city(database, tmp_path) as both:
        number = await both.propose("policy", **POLICY)
        (proposal,) = (await both.service.get("/v1/proposals")).json["proposals"]
        assert proposal["body"]["content"].startswith("#")
        assert (await both.confirm(number)).status == 201
        unknown = {"command": "policy", "body": POLICY | {"version": "1999-01"}}
        assert (await both.post("wang", "/v1/proposals", unknown)).code == "unknown_policy"
        for body in ({}, {"programme": PROGRAMME}, {"programme": 1, "version": 2}):
            asked = {"command": "policy", "body": body}
            assert (await both.post("wang", "/v1/proposals", asked)).code == "malformed"


async def test_a_restart_knows_which_proposals_are_open_and_a_rebuild_gives_the_same_rows(
    database, tmp_path
):
    async with city(database, tmp_path) as both:
        await both.open_books()
        coupon = coupon_body(2025, "1.00")
        confirmed, ended, left, old = [await both.propose("issue", **coupon) for _ in range(4)]
        assert (await both.confirm(confirmed)).status == 201
        assert (await both.post("wang", f"/v1/proposals/{ended}/end")).status == 201
    async with city(database, tmp_path) as both:
        assert [await both.status(each) for each in (confirmed, ended, left, old)] == [
            *("confirmed", "ended", "open", "open")
        ]
        for number in (confirmed, ended):
            assert (await both.confirm(number)).code == "proposal_closed"
        assert (await both.confirm(left)).status == 201
        page = (await both.service.get("/v1/proposals?status=open")).json
        assert [each["entry"] for each in page["proposals"]] == [old]
        both.service.clock.advance(30 * DAY_SECONDS + 1)
        assert await both.status(old) == "expired"
        assert (await both.confirm(old)).code == "proposal_closed"
        page = (await both.service.get("/v1/proposals?status=expired")).json
        assert [each["entry"] for each in page["proposals"]] == [old]
    before = await projections(database)
    with operating(database):
        await admin.rebuild_in(both.service.folder)
    assert await projections(database) == before
    await check_sums(database)


async def test_a_void_is_proposed_and_confirmed_even_in_one_group(database, tmp_path):
    async with city(database, tmp_path) as both:
        await both.open_books()
        await both.service.usage([record("r1", "A", *HOUR, 1_000), record("r2", "A", *HOUR, 1)])
        body = {"provider": "pcl", "id": "r1", "reason": "found by the auditors"}
        answer = await both.by_both("void", **body)
        assert answer["cost"] == "-4.50"
        # The group decides the proposal first; its number can be foreseen.
        proposal = commands.Propose(command="void", body=body | {"id": "r2"})
        number = both.service.intake.watermark.size
        intake = both.service.intake
        made, given = await asyncio.gather(
            intake.command(proposal, "wang-1", None),
            intake.command(commands.ConfirmProposal(proposal=Number(number)), "li-1", None),
        )
        assert json.loads(made.body)["entry"] == number
        assert json.loads(given.body)["entry"] == number + 1
    await check_sums(database)


async def test_an_idempotency_key_belongs_to_the_person_whatever_the_token(database, tmp_path):
    async with city(database, tmp_path) as both:
        await both.by_both("token", id="wang-2", holder="wang")
        with operating(database):
            token = await admin.add_token(both.service.folder, Identity("wang-2", "authority"))
        first = await both.post("wang", "/v1/enterprises", enterprise_json(), "k")
        headers = {"Authorization": f"Bearer {token}"}
        again = await both.service.post("/v1/enterprises", enterprise_json(), "k", **headers)
        assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
        other = await both.service.post("/v1/contracts/A/freeze", {}, "k", **headers)
        assert other.code == "idempotency_conflict"
        # Another person's key of this name is another key.
        theirs = await both.post(
            "li", "/v1/proposals", {"command": "person", "body": {"id": "x"}}, "k"
        )
        assert theirs.status == 201
        # A proposal that is sent twice is one.
        twice = {"command": "person", "body": {"id": "zhao"}}
        sent = [await both.post("wang", "/v1/proposals", twice, "p") for _ in range(2)]
        assert sent[0].body == sent[1].body
    await check_sums(database)


def enterprise_json() -> dict[str, Any]:
    body = enterprise_body()
    return {("kind" if name == "applicant" else name): value for name, value in body.items()}


async def test_a_token_opens_something_only_where_secret_and_entry_agree(database, tmp_path):
    async with city(database, tmp_path) as both:
        folder = both.service.folder
        with operating(database):
            with pytest.raises(setup.SetupError, match="not_named"):
                await admin.add_token(folder, Identity("li-2", "authority"))
            await both.by_both("token", id="li-2", holder="li")
            with pytest.raises(setup.SetupError, match="exists"):
                await admin.add_token(folder, Identity("li-2", "auditor"))
            text = await admin.add_token(folder, Identity("li-2", "authority"))
        header = f"Bearer {text}"
        assert (await both.service.get("/v1/pools", Authorization=header)).status == 200
        # Whoever writes a row past the ledger has a secret that opens nothing.
        await ask(database, "UPDATE meter.token SET id = 'li-3' WHERE id = 'li-2'")
        stolen = header.replace("li-2.", "li-3.")
        assert (await both.service.get("/v1/pools", Authorization=stolen)).code == "unauthorized"
        await ask(database, "UPDATE meter.token SET id = 'li-2' WHERE id = 'li-3'")
        assert (await both.post("wang", "/v1/tokens/li-2/end")).status == 201
        assert (await both.service.get("/v1/pools", Authorization=header)).code == "unauthorized"
        assert (await both.post("wang", "/v1/tokens/li-2/end")).code == "already_ended"
        with operating(database), pytest.raises(setup.SetupError, match="exists"):
            await admin.add_token(folder, Identity("li-2", "authority"))


async def test_officials_see_persons_and_proposals_and_nobody_else_does(database, tmp_path):
    async with city(database, tmp_path) as both:
        await both.open_books()
        await both.by_both("person", id="zhao")
        await both.by_both("token", id="zhao-1", holder="zhao")
        number = await both.propose("issue", **coupon_body(2025, "1.00"))
        await both.by_both("person_end", id="zhao")
        service = both.service
        persons = (await service.get("/v1/persons")).json["persons"]
        assert [(each["id"], each["tokens"], "ended" in each) for each in persons] == [
            ("wang", ["wang-1"], False),
            ("li", ["li-1"], False),
            ("zhao", ["zhao-1"], True),
        ]
        first = (await service.get("/v1/persons?limit=1")).json
        rest = (await service.get(f"/v1/persons?limit=5&after={first['next']}")).json
        assert (first["more"], rest["more"]) == (True, False)
        assert first["persons"] + rest["persons"] == persons
        auditor = await authorization(service, "auditor", "auditor")
        assert (await service.get("/v1/proposals", Authorization=auditor)).status == 200
        for role, subject in (("provider", "pcl"), ("enterprise", ALPHA)):
            header = await authorization(service, f"a-{role}", role, subject)
            for path in ("/v1/persons", "/v1/proposals"):
                answer = await service.get(path, Authorization=header)
                assert (answer.status, answer.code) == (403, "forbidden")
            refused = await service.post(
                f"/v1/proposals/{number}/confirm", {}, None, Authorization=header
            )
            assert refused.code == "forbidden"


async def test_what_a_confirmation_cannot_be_is_told(database, tmp_path):
    async with city(database, tmp_path) as both:
        for path in ("/v1/proposals/x/confirm", "/v1/proposals/01/confirm"):
            assert (await both.post("li", path)).code == "malformed"
        assert (await both.post("li", "/v1/proposals/1/confirm", {"a": 1})).code == "malformed"
        assert (await both.post("li", "/v1/proposals/0/confirm")).code == "unknown_proposal"
        assert (await both.post("li", "/v1/proposals/9/end")).code == "unknown_proposal"
        number = await both.propose("person", id="zhao")
        assert (await both.post("li", f"/v1/proposals/{number}/end")).code == "not_its_maker"


async def test_a_ledger_names_two_persons_or_is_a_trial(tmp_path, database):
    async def refused(origin: str, *persons: str, is_trial: bool = False) -> str:
        authority = setup.Authority(persons, is_trial=is_trial)
        with operating(database), pytest.raises(setup.SetupError) as error:
            await setup.initialise(DataFolder(tmp_path / "new"), origin, authority)
        assert not (tmp_path / "new").exists()
        return error.value.code

    assert await refused("kashi.test/x") == "bad_persons"
    assert await refused("kashi.test/x", "wang") == "bad_persons"
    assert await refused("kashi.gov.cn/x", "wang", is_trial=True) == "real_origin"
    assert await refused("kashi.test/x", "wang", "li", is_trial=True) == "bad_persons"
    assert await refused("kashi.test/x", "wang", "Wang") == "looks_alike"
    for name in ("", "a b", "../x", "x" * 63):
        assert await refused("kashi.test/x", "wang", name) == "bad_name"


# What an operator does offline


async def test_an_operator_recovers_a_person_while_the_service_is_stopped(database, tmp_path):
    async with city(database, tmp_path) as both:
        folder, clock = both.service.folder, both.service.clock
        assert (await both.post("wang", "/v1/tokens/li-1/end")).status == 201
    with operating(database):
        assert await recover_person(folder, "li", moved(clock)) == "li-2"
        assert await recover_person(folder, "zhao", moved(clock)) == "zhao-1"
        for name, code in (("Li", "looks_alike"), ("a b", "bad_name")):
            with pytest.raises((Problem, setup.SetupError)) as refused:
                await recover_person(folder, name, moved(clock))
            assert refused.value.code == code
    async with city(database, tmp_path) as both:
        assert (await both.confirm(await both.propose("person", id="x"), "zhao")).status == 201
        assert (await both.confirm(await both.propose("person", id="y"), "li")).status == 201
        entries = await both.service.entries()
        assert [(e.kind, e.by, e.person) for e in entries[2:4]] == [
            ("person_recovery", "li-2", "li"),
            ("person_recovery", "zhao-1", "zhao"),
        ]
        # Nobody recovers a person over HTTP.
        body = {"command": "person_recovery", "body": {"id": "wang", "token": "wang-2"}}
        assert (await both.post("wang", "/v1/proposals", body)).code == "malformed"
        assert await both.service.published() == len(entries)
    await check_sums(database)


async def test_a_ledger_that_lost_its_tokens_gives_each_person_a_secret_again(
    database, spare, tmp_path
):
    async with city(database, tmp_path) as both:
        await both.by_both("token", id="wang-2", holder="wang")
        assert (await both.post("li", "/v1/tokens/wang-1/end")).status == 201
        await both.service.published()
        folder = both.service.folder
    old = {name: folder.token_of(name).read_text() for name in ("wang", "li")}
    with operating(spare):
        assert (await admin.recover_in(folder, None)).renewed == ["wang", "li"]
    assert folder.token_of("wang").read_text().startswith("wang-2.")
    assert folder.token_of("li").read_text().startswith("li-1.")
    async with city(spare, tmp_path) as both:
        for name in ("wang", "li"):
            assert (await both.post(name, "/v1/proposals/1/confirm")).code == "proposal_closed"
            header = f"Bearer {old[name].strip()}"
            assert (await both.service.get("/v1/pools", Authorization=header)).status == 401


async def test_a_page_of_proposals_reads_a_bounded_number_and_holds_bounded_bodies(
    database, tmp_path, monkeypatch
):
    async def pages(both: City, query: str) -> list[list[int]]:
        """Return the numbers on each page of a list."""
        found, after, more = [], "", True
        while more:
            path = f"/v1/proposals?after={after}{query}"
            page = (await both.service.get(path)).json
            found.append([each["entry"] for each in page["proposals"]])
            after, more = page["next"], page["more"]
        return found

    async with city(database, tmp_path) as both:
        numbers = [await both.propose("person", id=f"p{n}") for n in range(7)]
        for number in numbers[:5]:
            assert (await both.confirm(number)).status == 201
        assert await pages(both, "&limit=3") == [numbers[:3], numbers[3:6], numbers[6:]]
        assert await pages(both, "&status=open") == [numbers[5:]]
        monkeypatch.setattr(get_people, "MAX_PROPOSALS_READ", 2)
        assert await pages(both, "&status=open") == [[], [], [numbers[5]], [numbers[6]]]
        assert await pages(both, "&limit=1&status=confirmed") == [
            *([number] for number in numbers[:5]),
            [],
        ]
        monkeypatch.setattr(get_people, "MAX_PROPOSALS_READ", 100)
        monkeypatch.setattr(get_people, "MAX_BODIES_BYTES", 20)
        body = len('{"id":"p0"}')
        assert 20 < 2 * body < 40
        last = (await both.service.get("/v1/proposals")).json["next"]
        assert await pages(both, "") == [numbers[:2], numbers[2:4], numbers[4:6], numbers[6:]]
        later = (await both.service.get(f"/v1/proposals?after={last}")).json["proposals"]
        assert [each["entry"] for each in later] == numbers[2:4]
