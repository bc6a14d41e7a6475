"""Signing in to the pages by a link, what a session opens, and when it ends."""

import asyncio
import re

import asyncpg
import pytest

from meter.api.app import Pages
from meter.api.get_own import get_enterprise, get_me
from meter.api.post import give
from meter.api.routes import answer
from meter.console import app as console
from meter.console import page
from meter.host.sign_in import COOKIE, Failures, is_loopback, local_page
from meter.service import sign_ins
from meter.service.admin import recover_in
from meter.service.setup import SetupError
from meter.values.problems import Problem
from tests.books import ALPHA, BETA, uscc_of
from tests.people import (
    FORM,
    Visitor,
    add,
    environment,
    link,
    open_link,
    secret_of,
    send_form,
    sign_in,
)
from tests.services import Clock, ask, authorization, enterprise_body, serving, stored

ACCOUNT = "/en/account"
HOURS = 3_600


@pytest.fixture
async def service(database, tmp_path, monkeypatch):
    """A ledger with two firms, and beside the console's own pages one of each and of a form."""
    monkeypatch.setattr(console, "PAGES", Pages((*console.ROUTES, *PLANTED), page.show_problem))
    clock = Clock("2025-03-20T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        for uscc in (ALPHA, BETA):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
        yield service


async def show_firm(ask, language):
    """Show what the API answers of the firm, and of another one where the query names it."""
    found = await answer(ask, get_enterprise)
    if other := ask.request.query.get("other"):
        await answer(ask, get_enterprise, uscc=other)
    me = await answer(ask, get_me)
    problem = Problem("busy", found.enterprise.uscc)
    return page.show(ask, "problem.html", language, problem=problem, roles=[me.role])


async def send_project(ask, _language):
    """Register a project as whoever sends the form."""
    fields = {name: ask.form[name] for name in ("id", "title")}
    given = await give(ask, "/v1/projects", fields, ask.form["key"])
    return page.see_other(f"/en/projects/{given.status}")


PLANTED = (
    *page.pages("enterprises/{uscc}/look", show_firm, roles=("authority", "enterprise")),
    *page.pages("enterprises/{uscc}/look.csv", show_firm, roles=("authority", "enterprise")),
    *page.forms("project", send_project, roles=("authority",)),
)
LOOK = f"/en/enterprises/{ALPHA}/look"


async def is_in(service, visitor, path=ACCOUNT):
    """Return whether a page takes the visitor for somebody."""
    answer = await service.get(path, **visitor.headers)
    assert answer.status in (200, 303)
    assert answer.status == 200 or answer.headers["Location"].startswith("/en/sign-in?next=")
    return answer.status == 200


async def test_a_link_signs_its_person_in_once(service):
    id_ = await add(service, "enterprise", ALPHA, "<陈>")
    path = await link(service, id_)
    for _ in range(2):  # whoever looks at it does not use it up
        assert (await service.get(path, Authorization="")).status == 200
    answer = await open_link(service, f"{path}&next={ACCOUNT}?x=1")
    assert (answer.status, answer.headers["Location"]) == (303, f"{ACCOUNT}?x=1")
    cookie = answer.headers["Set-Cookie"]
    name, *attributes = re.split("; ?", cookie)
    assert re.fullmatch(r"__Host-kashi=[\w-]{43}", name)
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"}
    visitor = Visitor(id_, secret_of(answer))
    shown = (await service.get(ACCOUNT, **visitor.headers)).body.decode()
    assert "&lt;陈&gt;" in shown
    assert {id_, ALPHA, "Enterprise"} <= set(re.findall(r">([^<>]+)</", shown))
    assert "Beijing time" in shown
    rows = await ask(service.dsn, "SELECT digest FROM meter.session")
    assert visitor.secret.encode() not in rows[0]["digest"]
    assert (await open_link(service, path)).code == "sign_in_failed"
    start = await service.get("/", Accept_Language="en", **visitor.headers)
    assert start.headers["Location"] == f"/en/enterprises/{ALPHA}"
    led = await service.get("/zh/sign-in", **visitor.headers)
    assert led.headers["Location"] == f"/zh/enterprises/{ALPHA}"


async def test_a_link_of_somebody_who_ended_or_that_is_old_signs_nobody_in(service):
    id_ = await add(service, "auditor")
    old, young = await link(service, id_), await link(service, id_, seconds=2 * HOURS)
    service.clock.advance(HOURS)
    assert (await open_link(service, old)).code == "sign_in_failed"
    with environment(service):
        await sign_ins.end_person(service.folder, id_, service.clock())
        with pytest.raises(SetupError, match="no person"):
            await sign_ins.make_link(service.folder, id_, service.clock())
        with pytest.raises(SetupError, match="no person"):
            await sign_ins.end_person(service.folder, id_, service.clock())
    assert (await open_link(service, young)).code == "sign_in_failed"
    assert (await open_link(service, "/en/sign-in/link?code=é")).code == "sign_in_failed"
    assert await ask(service.dsn, "SELECT FROM meter.session") == []


async def test_a_session_ends_when_it_is_left_alone_or_grows_old(service):
    clerk, firm = await sign_in(service, "authority"), await sign_in(service, "enterprise", ALPHA)
    service.clock.advance(30 * 60 - 1)
    assert await is_in(service, clerk)
    service.clock.advance(30 * 60 - 1)
    # What a page fetches by itself is no use.
    assert await is_in(service, clerk, f"{ACCOUNT}?part=live")
    service.clock.advance(1)
    assert not await is_in(service, clerk)
    assert await is_in(service, firm)
    service.clock.advance(8 * HOURS - 1)
    assert await is_in(service, firm)
    service.clock.advance(3 * HOURS - 1)
    assert await is_in(service, firm)
    service.clock.advance(3)
    assert not await is_in(service, firm)


async def test_a_session_ends_by_signing_out_by_another_sign_in_and_with_its_person(service):
    first = await sign_in(service, "auditor")
    path = await link(service, await add(service, "auditor"))
    cookie = {"Cookie": first.headers["Cookie"]}
    second = Visitor("", secret_of(await open_link(service, path, **cookie)))
    assert first.secret != second.secret
    assert not await is_in(service, first)
    left = await second.send(service, "/en/sign-out")
    assert left.status == 303
    assert re.match(rf'{COOKIE}="";.*Max-Age=0', left.headers["Set-Cookie"])
    assert not await is_in(service, second)
    assert (await second.send(service, "/en/sign-out")).status == 303  # it has ended already
    third = await sign_in(service, "auditor")
    assert await is_in(service, third)
    # Also where the person ends while a sign-in is on its way.
    await ask(service.dsn, "UPDATE meter.person SET ended_at = 0 WHERE id = $1", third.id)
    assert not await is_in(service, third)
    clerk = await sign_in(service, "authority")
    assert await is_in(service, clerk)
    await service.ask(f"/v1/tokens/{clerk.id}/end")
    assert not await is_in(service, clerk)


async def test_a_recovery_ends_all_sessions(database, tmp_path):
    """A backup's would be open again, those too that have ended since."""
    async with serving(database, tmp_path) as service:
        visitor = await sign_in(service, "auditor")
        assert await is_in(service, visitor)
        await service.published()
    with environment(service):
        await recover_in(service.folder, None)
    async with serving(database, tmp_path) as service:
        assert not await is_in(service, visitor)


async def test_a_stream_of_a_page_ends_with_its_session(service, monkeypatch):
    monkeypatch.setattr("meter.api.events.HEARTBEAT_SECONDS", 0.05)
    firm = await sign_in(service, "enterprise", ALPHA)
    cookie = {"Cookie": firm.headers["Cookie"]}
    async with service.http.get(f"{service.url}/events", headers=cookie) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert (await stream.content.readline()) == b":\n"
        with environment(service):
            await sign_ins.end_person(service.folder, firm.id, service.clock())
        async with asyncio.timeout(10):
            assert (await stream.content.read()).endswith(b"\n\n")
    fetched = await service.get("/events", Sec_Fetch_Mode="cors", **firm.headers)
    assert (fetched.status, fetched.code) == (401, "unauthorized")


async def test_streams_are_counted_by_person_in_whatever_browsers(service, monkeypatch):
    monkeypatch.setattr("meter.api.streams.MAX_STREAMS_PER_TOKEN", 1)
    first, second = [await sign_in(service, "authority") for _ in range(2)]
    firm = await sign_in(service, "enterprise", ALPHA)
    url = f"{service.url}/events"
    async with service.http.get(url, headers={"Cookie": first.headers["Cookie"]}) as stream:
        assert stream.status == 200
        busy = await service.get("/events", Sec_Fetch_Mode="cors", **second.headers)
        assert (busy.status, busy.code) == (503, "busy")
        async with service.http.get(url, headers={"Cookie": firm.headers["Cookie"]}) as other:
            assert other.status == 200


async def test_the_cookie_opens_pages_and_a_token_the_api(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    token = await authorization(service, "firm", "enterprise", ALPHA)
    for path in (f"/v1/enterprises/{ALPHA}", "/v1/me", "/v1/events"):
        assert (await service.get(path, **firm.headers)).code == "unauthorized"
    assert (await service.get(LOOK, Authorization=token)).status == 303
    assert (await service.get(LOOK, **firm.headers)).status == 200
    doubled = await service.http.get(
        service.url + LOOK, headers=[("Cookie", firm.headers["Cookie"]), ("Cookie", "x=y")]
    )
    assert doubled.status == 400


async def test_a_page_asks_the_api_as_whoever_is_signed_in(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    shown = await service.get(LOOK, **firm.headers)
    assert ALPHA in shown.body.decode()
    nobody = uscc_of(77)
    others = [f"/en/enterprises/{uscc}/look" for uscc in (BETA, nobody)]
    others += [f"{LOOK}?other={uscc}" for uscc in (BETA, nobody)]
    answers = [await service.get(path, **firm.headers) for path in others]
    assert {each.status for each in answers} == {404}
    assert len({each.body for each in answers}) == 1
    provider = await sign_in(service, "provider", "pcl")
    refused = await service.get(LOOK, **provider.headers)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert "This page is for: Authority, Enterprise" in refused.body.decode()
    led = await service.get(f"{LOOK}?a=b&c=%22", Authorization="")
    assert led.headers["Location"] == f"/en/sign-in?next={LOOK}%3Fa%3Db%26c%3D%2522"


async def test_a_form_is_taken_from_a_page_of_its_own_session_alone(service):
    clerk, other = await sign_in(service, "authority"), await sign_in(service, "authority")
    fields = {"id": "P1", "title": "适配", "key": "form-1", "session": clerk.token}
    size = len(await stored(service.dsn))
    foreign = [
        ({"session": ""}, {}),
        ({"session": other.token}, {}),
        ({"session": clerk.secret}, {}),
        ({}, {"Sec_Fetch_Site": "cross-site"}),
        ({}, {"Sec_Fetch_Site": "same-site"}),
        ({}, {"Sec_Fetch_Site": "none"}),
        ({}, {"Origin": "http://kashi.example"}),
        ({}, {"Origin": service.url.replace("127.0.0.1", "localhost")}),
    ]
    for changes, headers in foreign:
        sent = await send_form(service, "/en/project", fields | changes, **clerk.headers, **headers)
        assert (sent.status, sent.code) == (403, "foreign_form"), (changes, headers)
    cookie = {"Cookie": clerk.headers["Cookie"], "Content-Type": FORM}
    plain = await service.http.post(f"{service.url}/en/project", data=b"", headers=cookie)
    assert plain.status == 403  # a browser that says nothing of where it comes from
    for kind, body in (("application/json", b"{}"), (cookie["Content-Type"], b"a=%ff")):
        sent = await service.send(
            "POST", "/en/project", body, Origin=service.url, Content_Type=kind, **clerk.headers
        )
        assert sent.code == "malformed"
    twice = await service.send(
        *("POST", "/en/project", b"a=1&a=2"),
        **clerk.headers,
        Origin=service.url,
        Content_Type=FORM,
    )
    assert twice.code == "malformed"
    assert len(await stored(service.dsn)) == size
    led = await send_form(service, "/en/project", fields)
    assert led.headers["Location"] == "/en/sign-in?next=/en/project"
    firm = await sign_in(service, "enterprise", ALPHA)
    assert (
        await firm.send(service, "/en/project", **fields | {"session": firm.token})
    ).status == 403


async def test_a_form_gives_its_command_once_as_the_person(service):
    clerk = await sign_in(service, "authority")
    fields = {"id": "P1", "title": "适配", "key": "form-1"}
    sent = [await clerk.send(service, "/en/project", **fields) for _ in range(2)]
    assert [each.headers["Location"] for each in sent] == ["/en/projects/201"] * 2
    last = (await service.entries())[-1]
    assert (last.kind, last.by, last.person, last.request) == (
        *("project", clerk.id, "authority", "form-1"),
    )
    wrong = [{"title": ""}, {"key": "auto-1"}, {"title": "别的"}]
    codes = [(await clerk.send(service, "/en/project", **fields | each)).code for each in wrong]
    assert codes == ["malformed", "malformed", "idempotency_conflict"]


async def test_what_people_do_is_a_line_that_stays(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    await service.get(f"{LOOK}.csv", **firm.headers)
    await service.get(LOOK, **firm.headers)
    await send_form(service, "/en/sign-out", {}, **firm.headers)  # not taken
    await firm.send(service, "/en/sign-out")
    with environment(service):
        acts = await sign_ins.list_acts(service.folder)
    assert [(each.person, each.what, each.path) for each in acts] == [
        (firm.id, "sign_in", ""),
        (firm.id, "export", f"{LOOK}.csv"),
        (firm.id, "form", "/en/sign-out"),
        (firm.id, "sign_out", ""),
    ]
    assert {each.at for each in acts} == {service.clock()}
    for change in ("DELETE FROM meter.act", "UPDATE meter.act SET what = 'form'"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await ask(service.dsn, change)


async def test_ids_of_people_and_of_tokens_are_no_doubles(service):
    await authorization(service, "token-1", "enterprise", ALPHA)
    await service.ask("/v1/tokens", id="token-2", holder="authority")
    with environment(service):
        for who, code in [
            (sign_ins.Identity("token-1", "enterprise", ALPHA), "exists"),
            (sign_ins.Identity("Token-1", "enterprise", ALPHA), "looks_alike"),
            (sign_ins.Identity("token-2", "auditor"), "exists"),  # the authority's
            (sign_ins.Identity("authority-1", "authority"), "exists"),
            (sign_ins.Identity("token-3", "authority"), "not_named"),
            (sign_ins.Identity("firm", "enterprise", "pcl"), "bad_subject"),
            (sign_ins.Identity("a b", "auditor"), "bad_name"),
        ]:
            with pytest.raises(SetupError) as refused:
                await sign_ins.add_person(service.folder, who, "陈晨")
            assert refused.value.code == code, who
        for name in ("", " ", "a\u202eb", "x" * 201):
            with pytest.raises(SetupError, match=r"text holds|characters"):
                await sign_ins.add_person(service.folder, sign_ins.Identity("p", "auditor"), name)
        await sign_ins.add_person(service.folder, sign_ins.Identity("p", "auditor"), "陈晨")
    with pytest.raises(SetupError, match="there is a person p"):
        await authorization(service, "p", "enterprise", ALPHA)


async def test_ten_failed_sign_ins_a_minute_are_the_most_from_an_address(service):
    id_ = await add(service, "auditor")
    path, wrong = await link(service, id_), {"code": "x" * 43}
    for _ in range(10):
        assert (await send_form(service, "/en/sign-in/link", wrong)).code == "sign_in_failed"
    blocked = await open_link(service, path)
    assert (blocked.status, blocked.code) == (429, "too_many_sign_ins")
    elsewhere = {"X_Forwarded_For": "203.0.113.7, 203.0.113.8"}
    assert (await send_form(service, "/en/sign-in/link", wrong, **elsewhere)).status == 403
    service.clock.advance(60)
    assert (await open_link(service, path)).status == 303


async def test_people_sign_in_on_the_machine_itself_alone_without_https(service):
    path = await link(service, await add(service, "auditor"))
    host = {"Host": "kashi.example:8080"}
    code = {"code": path.partition("=")[2]}
    sent = await send_form(
        service, "/en/sign-in/link", code, **host, Origin="http://kashi.example:8080"
    )
    assert (sent.status, sent.code) == (403, "insecure")
    assert (await service.get("/en/sign-in", **host)).code == "insecure"
    assert (await open_link(service, path)).status == 303


@pytest.mark.parametrize("links", [True, False])
async def test_at_a_site_forms_come_from_there_and_links_sign_in_if_they_may(
    database, tmp_path, links
):
    async with serving(database, tmp_path) as service:
        file = service.folder.path / "sign-in.toml"
    file.write_text(f'site = "https://kashi.example"\nlinks = {str(links).lower()}\n')
    async with serving(database, tmp_path) as service:
        path = await link(service, await add(service, "auditor"))
        code = {"code": path.partition("=")[2]}
        for origin in (service.url, "http://kashi.example", "https://kashi.example:8443"):
            sent = await send_form(service, "/zh/sign-in/link", code, Origin=origin)
            assert sent.code == "foreign_form"
        sent = await send_form(service, "/zh/sign-in/link", code, Origin="https://kashi.example")
        assert sent.status == (303 if links else 403)
        assert links or sent.code == "sign_in_failed"
        offered = await service.get("/en/sign-in", Authorization="", Host="kashi.example")
        assert ("Each link signs in once" in offered.body.decode()) is links
    file.write_text("x = 1")
    with pytest.raises(SetupError, match="bad_sign_in"):
        async with serving(database, tmp_path):
            pass


@pytest.mark.parametrize("path", ["/en/", "/zh/account", "/en/enterprises/A/records?from=1&x=%22"])
def test_a_page_of_ours_may_come_after_signing_in(path):
    assert local_page(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "en/",
            "//evil.example/",
            "/\\evil.example",
            "/en/\\evil",
            "https://evil.example",
        ),
        *("/v1/me", "/fr/", "/en", "/en/a b", "/en/a\nb", "/en/é", "/en/" + "a" * 2_001),
    ],
)
def test_nothing_else_may(path):
    assert local_page(path) is None


def test_the_machine_itself_has_these_names():
    own = ["127.0.0.1", "127.9.9.9:80", "localhost", "localhost:8080", "[::1]", "[::1]:8080", "::1"]
    assert all(map(is_loopback, own))
    others = ["", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1:80", "[2001:db8::1]:80"]
    assert not any(map(is_loopback, others))


def test_a_subscriber_of_ipv6_is_one_address_and_old_ones_are_forgotten(monkeypatch):
    monkeypatch.setattr("meter.host.sign_in._MAX_ADDRESSES", 2)
    failures = Failures()
    for number in range(10):
        failures.note(f"2001:db8::{number}", 0)
    with pytest.raises(Problem, match="too_many_sign_ins"):
        failures.check("2001:db8::ffff", 0)
    failures.check("2001:db8:0:1::", 0)
    for address in ("192.0.2.1", "unix"):
        failures.note(address, 0)
    failures.check("2001:db8::ffff", 0)
