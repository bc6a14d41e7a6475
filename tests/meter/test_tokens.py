"""Tokens from outside: what is listed of them, when they were used, and what a monitor tells."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from ledger.roles import Roles
from meter.auditor.token_watch import TokenWatch
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.service import admin
from meter.service.admin import list_tokens
from meter.service.sign_ins import end_person
from meter.tables import token_use
from tests.books import ALPHA
from tests.people import environment, sign_in
from tests.services import NOON, ORIGIN, Service, ask, serving

PROGRAM = [sys.executable, "-c", "from meter.cli.main import main; main()"]
AUTHORITY = Identity("authority-2", "authority")


@contextlib.contextmanager
def operating(dsn: str) -> Iterator[None]:
    """The environment in which an operator's commands find the ledger's database."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, dsn)
        yield


async def add(service: Service, identity: Identity = AUTHORITY, until: int | None = None) -> str:
    """Make a token; the ledger names the authority's first."""
    if identity.role == "authority":
        await service.ask("/v1/tokens", id=identity.token_id, holder="authority")
    with operating(service.dsn):
        return await admin.add_token(service.folder, identity, until)


async def revoke(service: Service, token_id: str) -> None:
    with operating(service.dsn):
        await admin.revoke_token(service.folder, token_id)


async def used_at(dsn: str, token_id: str = "authority-1") -> int | None:
    (row,) = await ask(dsn, "SELECT used_at FROM meter.token WHERE id = $1", token_id)
    return row["used_at"]


async def until_written(dsn: str) -> None:
    """Wait until it is stored that the authority's token was used."""
    for _ in range(600):
        if await used_at(dsn) is not None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("its use is not stored")


# The list


async def test_officials_see_every_token_and_no_secret(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        texts = [
            await add(service),
            await add(service, Identity("auditor", "auditor"), service.clock.now + 1_500_000),
            await add(service, Identity("firm", "enterprise", ALPHA)),
        ]
        await revoke(service, "authority-2")
        answer = await service.get("/v1/tokens")
        tokens = answer.json["tokens"]
        assert [each["id"] for each in tokens] == ["auditor", "authority-1", "authority-2", "firm"]
        assert tokens[0]["expires_at"] == "2025-03-01T12:00:01+08:00"
        assert [each["id"] for each in tokens if "revoked_at" in each] == ["authority-2"]
        assert (tokens[3]["role"], tokens[3]["subject"]) == ("enterprise", ALPHA)
        known = {"id", "role", "subject", "person", "made_at", "expires_at", "used_at"}
        assert all(set(each) <= known | {"revoked_at"} for each in tokens)
        assert [each.get("person") for each in tokens] == [None, "authority", "authority", None]
        rows = await ask(database, "SELECT secret FROM meter.token")
        for secret in (*(row["secret"].hex() for row in rows), *(t.split(".")[1] for t in texts)):
            assert secret not in answer.body.decode()
        ours = await service.get("/v1/tokens?role=authority")
        assert [each["id"] for each in ours.json["tokens"]] == ["authority-1", "authority-2"]
        first = await service.get("/v1/tokens?limit=3")
        rest = await service.get(f"/v1/tokens?after={first.json['next']}")
        assert first.json["more"]
        assert first.json["tokens"] + rest.json["tokens"] == tokens


async def test_ids_under_which_people_sign_in_are_in_the_list(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        visitor = await sign_in(service, "authority")
        (own, other) = (await service.get("/v1/tokens?role=authority")).json["tokens"]
        assert (own["id"], other["id"]) == ("authority-1", visitor.id)
        assert "signs_in" not in own
        assert (other["signs_in"], other["person"]) == (True, "authority")
        assert other["used_at"] == NOON
        with environment(service):
            assert [each.identity.token_id for each in await list_tokens(service.folder)] == [
                "authority-1"
            ]
            await end_person(service.folder, visitor.id, service.clock())
        assert (await service.get("/v1/tokens")).json["tokens"][1]["revoked_at"] == NOON


# Last used


async def test_requests_write_nothing_and_the_last_use_is_known_after_the_end(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await add(service)
        for _ in range(20):
            assert (await service.get("/v1/pools")).status == 200
        service.clock.advance(7)
        assert (await service.get("/v1/pools")).status == 200
        assert (await service.get("/v1/pools", Authorization="Bearer authority-2.x")).status == 401
        assert await used_at(database) is None
        last = service.clock.now
    assert await used_at(database) == last
    assert await used_at(database, "authority-2") is None  # a wrong secret is no use


async def test_a_token_in_use_is_written_from_time_to_time(database, tmp_path, monkeypatch):
    monkeypatch.setattr(token_use, "PAUSE_SECONDS", 0.05)
    async with serving(database, tmp_path, NOON) as service:
        assert (await service.get("/v1/pools")).status == 200
        await until_written(database)
        (token,) = (await service.get("/v1/tokens")).json["tokens"]
        assert token["used_at"] == NOON


async def test_a_use_that_cannot_be_written_now_is_written_later(database, tmp_path, monkeypatch):
    monkeypatch.setattr(token_use, "PAUSE_SECONDS", 0.05)
    async with serving(database, tmp_path, NOON) as service:
        role = Roles.of(ORIGIN).service
        await ask(database, f"REVOKE UPDATE (used_at) ON meter.token FROM {role}")
        assert (await service.get("/v1/pools")).status == 200
        await asyncio.sleep(0.5)
        assert await used_at(database) is None
        await ask(database, f"GRANT UPDATE (used_at) ON meter.token TO {role}")
        await until_written(database)
        assert (await service.get("/v1/pools")).status == 200


# The monitor


class Watched:
    """A watch over a running service's tokens, as a monitor keeps one."""

    def __init__(self, service: Service, token: str, file) -> None:
        self.service, self.token, self.file = service, token, file
        self.lines: list[dict] = []
        self.restart()

    def restart(self) -> None:
        self.watch = TokenWatch(
            self.service.url, self.token, self.file, self.lines.append, lambda: 1_740_801_600
        )

    async def told(self) -> list[tuple[str, str]]:
        """What one more look tells."""
        self.lines.clear()
        await self.watch.look()
        return [(line["notice"], line["token"]) for line in self.lines]


@contextlib.asynccontextmanager
async def watched(database, tmp_path) -> AsyncIterator[Watched]:
    async with serving(database, tmp_path, NOON) as service:
        token = await add(service, Identity("auditor", "auditor"))
        yield Watched(service, token, tmp_path / "tokens.json")


async def test_a_disk_that_cannot_be_written_ends_no_watch_and_tells_nothing_twice(
    database, tmp_path
):
    async with watched(database, tmp_path) as watch:
        watch.file.with_name("tokens.json.tmp").mkdir()  # where the draft of the file must be
        watch.lines.clear()
        await watch.watch.look()
        told, failed = watch.lines
        assert (told["notice"], told["token"]) == ("token_made", "authority-1")
        assert failed["event"] == "failed"
        assert "cannot write" in failed["detail"]
        watch.file.with_name("tokens.json.tmp").rmdir()
        assert await watch.told() == []
        watch.restart()
        assert await watch.told() == []


async def test_each_token_of_the_authority_is_told_once_when_made_and_when_revoked(
    database, tmp_path
):
    async with watched(database, tmp_path) as watch:
        assert await watch.told() == [("token_made", "authority-1")]
        assert await watch.told() == []
        await add(watch.service)
        await add(watch.service, Identity("firm", "enterprise", ALPHA))
        assert await watch.told() == [("token_made", "authority-2")]
        (line,) = watch.lines
        assert (line["at"], line["since"][:2]) == ("2025-03-01T12:00:00+08:00", "20")
        watch.restart()
        assert await watch.told() == []
        await revoke(watch.service, "authority-2")
        assert await watch.told() == [("token_revoked", "authority-2")]
        watch.restart()
        assert await watch.told() == []
        await add(watch.service, Identity("authority-3", "authority"))
        await revoke(watch.service, "authority-3")
        assert await watch.told() == [
            ("token_made", "authority-3"),
            ("token_revoked", "authority-3"),
        ]
        # The service removes no token: somebody was at the database.
        await ask(database, "DELETE FROM meter.token WHERE id = 'authority-2'")
        assert await watch.told() == [("token_gone", "authority-2")]
        assert await watch.told() == []


async def test_more_tokens_than_a_page_holds_are_all_told(database, tmp_path, monkeypatch):
    monkeypatch.setattr("meter.auditor.token_watch.PAGE", 2)
    async with watched(database, tmp_path) as watch:
        names = [f"authority-{number}" for number in range(2, 7)]
        for name in names:
            await add(watch.service, Identity(name, "authority"))
        told = await watch.told()
        assert told == [("token_made", name) for name in ["authority-1", *names]]


async def test_a_service_that_refuses_or_is_away_is_told_and_nothing_is_missed(database, tmp_path):
    async with watched(database, tmp_path) as watch:
        assert await watch.told() == [("token_made", "authority-1")]
        await add(watch.service)
        right, watch.token = watch.token, "auditor.wrong"
        watch.restart()
        await watch.watch.look()
        assert watch.lines[-1]["event"] == "failed"
        assert "unauthorized" in watch.lines[-1]["detail"]
        watch.token = right
        watch.restart()
        assert await watch.told() == [("token_made", "authority-2")]
    watch.lines.clear()
    await watch.watch.look()
    assert [line["event"] for line in watch.lines] == ["failed"]


async def test_the_monitors_command_tells_of_a_token_that_is_made(database, tmp_path):
    async with watched(database, tmp_path) as watch:
        service = watch.service
        await service.published()
        words = ["monitor", f"{service.url}/log", "--vkey", service.folder.log_vkey]
        words += ["--data", tmp_path / "monitor", "--token", watch.token, "--interval", "0.1"]
        words += ["--service", service.url]
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *map(str, words), stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(60):
                await told_by(process, "authority-1")
                await add(service)
                await told_by(process, "authority-2")
        finally:
            process.terminate()
            assert await process.wait() == 0
        assert json.loads((tmp_path / "monitor/tokens.json").read_bytes()) == {
            "authority-1": False,
            "authority-2": False,
        }


async def told_by(process: asyncio.subprocess.Process, token: str) -> None:
    """Read the monitor's lines until it tells that this token was made."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        told = json.loads(line)
        if told.get("notice") == "token_made" and told["token"] == token:
            return
    raise AssertionError("the monitor has ended")
