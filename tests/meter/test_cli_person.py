"""`kashi person`: an operator lets people in and out by the command line."""

import asyncio
import re

from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.sign_in import COOKIE
from tests.books import ALPHA
from tests.commands import good, kashi, told
from tests.people import open_link, secret_of
from tests.services import NOON, serving

NOW = ("--now", NOON)


async def test_people_are_added_bound_listed_and_ended(database, tmp_path, monkeypatch):
    monkeypatch.setenv(DATABASE_VARIABLE, database)

    async def run(*words):
        name, *rest = words
        return await asyncio.to_thread(kashi, "person", name, "--data", data, *rest)

    async with serving(database, tmp_path, now=NOON) as service:
        data = service.folder.path
        firm = ("--role", "enterprise", "--subject", ALPHA, "--called", "陈晨")
        assert good(await run("add", "chen", *firm)) == ""
        assert "exists" in told(await run("add", "chen", *firm))
        assert "bad_subject" in told(await run("add", "x", *firm[:2], "--called", "陈"))
        assert "not_named" in told(await run("add", "w", "--role", "authority", "--called", "王"))
        await service.ask("/v1/tokens", id="wang-web", holder="authority")
        good(await run("add", "wang-web", "--role", "authority", "--called", "王"))
        printed = good(await run("link", "chen", "--url", service.url + "/", *NOW))
        path = re.fullmatch(
            re.escape(service.url) + r"(/zh/sign-in/link\?code=[\w-]{43})\n", printed
        )
        answer = await open_link(service, path[1])
        cookie = {"Cookie": f"{COOKIE}={secret_of(answer)}", "Authorization": ""}
        assert (await service.get("/zh/account", **cookie)).status == 200
        assert "no_issuer" in told(await run("bind", "wang-web", "--sub", "7d1f"))
        (data / "s.secret").write_text("geheim")
        (data / "sign-in.toml").write_text(
            '[issuer]\nurl = "https://id.example"\nclient_id = "kashi"\nsecret_file = "s.secret"\n'
        )
        good(await run("bind", "wang-web", "--sub", "7d1f"))
        assert "exists" in told(await run("link", "wang-web", *NOW))
        good(await run("deactivate", "chen", *NOW))
        assert "no_person" in told(await run("deactivate", "chen", *NOW))
        assert (await service.get("/zh/account", **cookie)).status == 303
        head, *rows = [line.split("\t") for line in good(await run("list")).splitlines()]
        assert head == ["id", "role", "subject", "name", "sub", "ended"]
        assert rows[0][:5] == ["chen", "enterprise", ALPHA, "陈晨", "-"]
        assert rows[0][5].startswith("2025-03-01T")
        assert rows[1] == ["wang-web", "authority", "-", "王", "7d1f", "-"]
        (act,) = good(await run("acts")).splitlines()
        assert act.split("\t")[1:] == ["chen", "sign_in", "-"]


def test_without_a_command_a_person_to_recover_is_asked_for():
    assert "'--recover'" in kashi("person").output
