"""Pages of people and tokens: an official lets in and out, and a line of acts says who did."""

import re
from html import unescape

import pytest

from meter.console.words import words
from tests import people
from tests.books import ALPHA
from tests.issuer import SECRET, issuing
from tests.meter.test_authority_pages import fields_of, official
from tests.meter.test_console_pages import EVIL, Elements
from tests.meter.test_proposals import city
from tests.people import sign_in
from tests.services import ask, enterprise_body, provider_body, serving

W = words("en")
CHEN = {"id": "chen", "called": EVIL, "role": "enterprise", "subject": ALPHA}
TOKEN = {"id": "desk", "role": "auditor", "subject": "", "until": "2025-04-01"}


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.activate()
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/providers", **provider_body())
        yield service


def made(answer):
    """Return what a page shows once."""
    assert answer.headers["Cache-Control"] == "no-store"
    (found,) = re.findall(r'<code id="made">([^<]+)</code>', answer.body.decode())
    return found


async def lines(service):
    """Return what people did beside signing in and sending forms: who, what, where."""
    sql = "SELECT person, what, path FROM meter.act ORDER BY number"
    ordinary = ("sign_in", "sign_out", "form", "export")
    return [tuple(each) for each in await ask(service.dsn, sql) if each["what"] not in ordinary]


async def test_a_person_is_added_and_signs_in_by_a_link_that_is_shown_once(service):
    clerk = await sign_in(service, "authority")
    for _ in range(2):  # two clicks
        added = await clerk.send(service, "/en/people", **CHEN)
        assert (added.status, added.headers["Location"]) == (303, "/en/people/chen")
    shown = await service.get("/en/people/chen", **clerk.headers)
    assert EVIL not in shown.body.decode()
    assert EVIL in Elements(shown.body.decode()).text
    assert W["person_no_acts"] in Elements(shown.body.decode()).text
    link = made(await clerk.send(service, "/en/people/chen", act="link"))
    path = link.removeprefix(service.url)
    assert link not in (await service.get("/en/people/chen", **clerk.headers)).body.decode()
    answer = await people.open_link(service, path)
    assert answer.headers["Location"] == f"/en/enterprises/{ALPHA}"
    chen = people.Visitor("chen", people.secret_of(answer))
    assert (await people.open_link(service, path)).code == "sign_in_failed"
    texts = Elements((await service.get("/en/people/chen", **clerk.headers)).body.decode()).text
    assert texts[texts.index(W["people_sessions"]) + 1] == "1"
    assert W["done_sign_in"] in texts
    ended = await clerk.send(service, "/en/people/chen", act="end_sessions")
    assert ended.status == 303
    assert (await service.get("/en/account", **chen.headers)).status == 303
    assert await lines(service) == [
        (clerk.id, "person", "people/chen"),
        (clerk.id, "link", "people/chen"),
        (clerk.id, "end_sessions", "people/chen"),
    ]


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_who_cannot_be_let_in_is_refused_at_the_field(service, language):
    said, clerk = words(language), await sign_in(service, "authority")
    await clerk.send(service, "/en/people", **CHEN)
    cases = [
        ("people", "id", "-x", "fault_id"),
        ("people", "id", "Chen", "refusal_looks_alike"),
        ("people", "id", clerk.id, "refusal_exists_differently"),
        ("people", "called", "", "fault_called"),
        ("people", "called", "x" * 201, "fault_called"),
        ("people", "called", "another", None),
        ("people", "role", "authority", "fault_choice"),
        ("people", "subject", "", "fault_subject"),
        ("people", "subject", "91440300708461136X", "fault_subject"),
        ("people", "subject", "91350100M000100Y43", "refusal_unknown_enterprise"),
        ("tokens", "id", "chen", "refusal_exists_differently"),
        ("tokens", "id", "CHEN", "refusal_looks_alike"),
        ("tokens", "id", clerk.id, "refusal_exists_differently"),
        ("tokens", "role", "authority", "fault_choice"),
        ("tokens", "subject", ALPHA, "fault_subject"),
        ("tokens", "until", "2025-02-01", "fault_until"),
        ("tokens", "until", "soon", "fault_until"),
    ]
    for where, name, value, word in cases:
        values = (CHEN if where == "people" else TOKEN) | {name: value}
        answer = await clerk.send(service, f"/{language}/{where}", **values)
        text = answer.body.decode()
        assert answer.status == 400, (name, value)
        field = name if word else "id"  # the person is called something else already
        assert f'<a href="#field-{field}">' in text, (name, value)
        (fault,) = re.findall(rf'id="fault-{field}">([^<]*)<', text)
        assert unescape(fault).startswith(said[word or "refusal_exists_differently"]), (name, value)
        assert f'id="field-{name}"' in text
    assert [each[1] for each in await lines(service)] == ["person"]


async def test_a_token_is_shown_once_and_revoked(service):
    clerk, auditor = await sign_in(service, "authority"), await sign_in(service, "auditor")
    text = made(await clerk.send(service, "/en/tokens", **TOKEN))
    assert text.startswith("desk.")
    bearer = {"Authorization": f"Bearer {text}"}
    assert (await service.get("/v1/tokens", **bearer)).status == 200
    for path in ("/en/tokens", "/en/tokens.csv"):
        listed = await service.get(path, **auditor.headers)
        assert "desk" in listed.body.decode()
        assert text.partition(".")[2] not in listed.body.decode()
    path = "/en/tokens/desk/revoke"
    assert path not in (await service.get("/en/tokens", **auditor.headers)).body.decode()
    assert path in (await service.get("/en/tokens", **clerk.headers)).body.decode()
    fields = fields_of(await service.get(path, **clerk.headers))
    assert (await clerk.send(service, path, **fields | {"seal": "x"})).status == 409
    assert (await clerk.send(service, path, **fields)).status == 303
    assert (await service.get("/v1/tokens", **bearer)).status == 401
    assert (await clerk.send(service, path, **fields)).status == 409
    assert await lines(service) == [
        (clerk.id, "token", "tokens/desk"),
        (clerk.id, "revoke", "tokens/desk"),
    ]
    assert (await service.get("/en/tokens/authority-1/revoke", **clerk.headers)).status == 404
    assert (await auditor.send(service, "/en/tokens", **TOKEN)).code == "forbidden"


async def test_a_person_is_bound_to_an_issuer_once_and_by_no_link_then(database, tmp_path):
    async with issuing() as issuer:
        async with serving(database, tmp_path) as service:
            folder = service.folder.path
        (folder / "s.secret").write_text(SECRET)
        (folder / "sign-in.toml").write_text(
            f'[issuer]\nurl = "{issuer.url}"\nclient_id = "kashi"\nsecret_file = "s.secret"\n'
        )
        async with serving(database, tmp_path) as service:
            clerk, auditor = await sign_in(service, "authority"), await sign_in(service, "auditor")
            for name in ("one", "two"):
                person = {"id": name, "called": name, "role": "auditor", "subject": ""}
                await clerk.send(service, "/en/people", **person)
            for sub in ("", "a b", "é", "x" * 256):
                bad = await clerk.send(service, "/en/people/one", act="bind", sub=sub)
                assert bad.status == 400
                assert f'id="fault-sub">{W["fault_sub"]}' in bad.body.decode()
            bound = await clerk.send(service, "/en/people/one", act="bind", sub="zhang-3")
            assert bound.status == 303
            page = (await service.get("/en/people/one", **clerk.headers)).body.decode()
            assert "<code>zhang-3</code>" in page
            for act in ("bind", "link"):  # bound once, and by no link from now on
                again = await clerk.send(service, "/en/people/one", act=act, sub="zhang-4")
                assert (again.status, W["person_not_so"] in again.body.decode()) == (400, True)
            other = await clerk.send(service, "/en/people/two", act="bind", sub="zhang-3")
            assert (other.status, W["refusal_bound"] in other.body.decode()) == (400, True)
            # Of the authority nobody alone says who stands behind an id.
            for act in ("bind", "link"):
                own = await clerk.send(service, f"/en/people/{clerk.id}", act=act, sub="zhang-4")
                assert own.status == 400
            refused = await auditor.send(service, "/en/people/two", act="link")
            assert refused.code == "forbidden"
            found = [each for each in await lines(service) if each[1] != "person"]
            assert found == [(clerk.id, "bind", "people/one?sub=zhang-3")]


async def test_a_person_of_the_authority_is_registered_by_two(database, tmp_path):
    async with city(database, tmp_path) as both:
        service = both.service
        wang, li = await official(both, "wang"), await official(both, "li")
        for act, values in (
            ("person", {"id": "zhao", "reason": "joins"}),
            ("token", {"id": "zhao-web", "holder": "zhao"}),
            ("person_end", {"id": "zhao"}),
        ):
            shown = await wang.send(service, f"/en/acts/{act}", **values)
            assert W["act_two_persons"] in Elements(shown.body.decode()).text
            proposed = await wang.send(service, f"/en/acts/{act}", **fields_of(shown))
            path = proposed.headers["Location"]
            assert path.startswith("/en/proposals/")
            page = await service.get(path, **li.headers)
            done = await li.send(service, path, **fields_of(page), act="confirm")
            assert done.status == 303
            entry = (await service.entries())[-1]
            assert (entry.kind, entry.id, entry.person) == (act, values["id"], "li")
            listed = (await service.get("/en/people", **li.headers)).body.decode()
            if act == "token":
                assert '<a href="/en/acts/token_end?token=zhao-web"' in listed
        # Whoever stops something does it alone and at once.
        shown = await wang.send(service, "/en/acts/token_end", token="wang-1")
        assert W["act_one_person"] in Elements(shown.body.decode()).text


async def test_people_come_in_pages(service, monkeypatch):
    monkeypatch.setattr("meter.console.people.LISTED", 2)
    clerk = await sign_in(service, "authority")
    for number in range(3):
        await clerk.send(service, "/en/people", **CHEN | {"id": f"a{number}"})
    first = (await service.get("/en/people", **clerk.headers)).body.decode()
    assert re.findall(r'href="/en/people/(\w+)"', first) == ["a0", "a1"]
    (rest,) = re.findall(r'href="(/en/people\?after=\w+)"', first)
    second = (await service.get(rest, **clerk.headers)).body.decode()
    assert re.findall(r'href="/en/people/([\w-]+)"', second) == ["a2", clerk.id]
