"""Whom an issuer has signed in: a provider by others, one of ours that can lie, and the file."""

import time
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import oidc_provider_mock
import pytest
from joserfc.jwk import RSAKey

from meter.console.sign_in import AWAY_COOKIE
from meter.host.clock import SYSTEM_CLOCK
from meter.host.sign_in import COOKIE, Entrance, new_secret
from meter.host.sign_in_file import BadSignInFile, Issuer, read_sign_in
from meter.http.oidc import KEYS_SECONDS, client_of
from meter.service import sign_ins
from meter.service.setup import SetupError
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS
from tests.books import ALPHA
from tests.issuer import SECRET, issuing
from tests.people import Visitor, add, environment, open_link, secret_of
from tests.services import serving

BACK = "http://127.0.0.1:1/sign-in/return"


@asynccontextmanager
async def asking(url, **changes):
    """Return what signs somebody in at an issuer: from the start to the subject."""
    fields = {"client_id": "kashi", "secret": SECRET, "algorithms": ("RS256",)} | changes
    async with client_of(Issuer(url, **fields)) as client, aiohttp.ClientSession() as browser:

        async def subject(secret=None, kept=None, now=None, **told):
            secret = secret or new_secret()
            start = await client.start(secret, BACK)
            async with browser.get(start, allow_redirects=False) as answer:
                assert answer.status == 302, await answer.text()
                back = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
            moment = int((now or time.time()) * MICROSECONDS)
            return await client.finish(kept or secret, BACK, back | told, moment)

        yield subject


async def test_the_subject_is_the_one_that_the_issuer_signs_in():
    async with issuing() as issuer, asking(issuer.url) as subject:
        assert await subject() == "zhang-3"
        issuer.lies["aud"] = ["kashi"]
        assert await subject() == "zhang-3"
        issuer.lies |= {"aud": ["other", "kashi"], "azp": "kashi"}
        assert await subject() == "zhang-3"
        assert issuer.asked == ["keys"]


@pytest.mark.parametrize(
    "lies",
    [
        {"iss": "https://id.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": ["kashi", "other"]},
        {"azp": "other"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "x" * 256},
    ],
    ids=str,
)
async def test_an_id_token_that_says_something_else_signs_nobody_in(lies):
    async with issuing() as issuer, asking(issuer.url) as subject:
        issuer.lies = lies
        with pytest.raises(Problem) as refused:
            await subject()
        assert refused.value.code == "sign_in_failed"


async def test_a_token_is_signed_by_the_issuers_key_in_a_named_way():
    async with issuing() as issuer, asking(issuer.url) as subject:
        for algorithm in ("none", "HS256", "RS512"):
            issuer.algorithm = algorithm
            with pytest.raises(Problem, match="no good"):
                await subject()
        issuer.algorithm, issuer.signing = "RS256", RSAKey.generate_key(2048, {"kid": "one"})
        with pytest.raises(Problem, match="no good"):
            await subject()


async def test_a_key_that_the_issuer_has_changed_is_fetched_once_in_a_while(monkeypatch):
    async with issuing() as issuer, asking(issuer.url) as subject:
        await subject()
        issuer.key = RSAKey.generate_key(2048, {"kid": "two"})
        with pytest.raises(Problem, match="no good"):
            await subject()
        assert issuer.asked == ["keys"]
        assert KEYS_SECONDS == 60
        monkeypatch.setattr("meter.http.oidc.KEYS_SECONDS", 0)
        assert await subject() == "zhang-3"
        assert issuer.asked == ["keys", "keys"]


async def test_a_return_fits_into_the_browser_that_went_and_tells_what_the_issuer_said():
    async with issuing() as issuer, asking(issuer.url) as subject:
        for told, why in [
            ({"kept": new_secret()}, "another sign-in"),
            ({"state": ""}, "another sign-in"),
            ({"iss": "https://id.example"}, "another issuer"),
            ({"error": "access_denied"}, "access_denied"),
            ({"error": "<script>"}, "an error"),
            ({"code": "made-up"}, "no id token"),
        ]:
            with pytest.raises(Problem, match=why) as refused:
                await subject(**told)
            assert refused.value.code == "sign_in_failed"


async def test_an_issuer_that_is_not_what_it_says_is_not_asked():
    async with issuing() as issuer:
        for told in (
            {"issuer": "https://id.example"},
            {"token_endpoint": "http://id.example/token"},
            {"authorization_endpoint": None},
            {"jwks_uri": f"{issuer.url}/nothing"},
        ):
            issuer.told = told
            async with asking(issuer.url) as subject:
                with pytest.raises(Problem, match="unavailable"):
                    await subject()
        issuer.told = {}
        async with asking(issuer.url, secret="wrong") as subject:
            with pytest.raises(Problem, match="no id token"):
                await subject()
    async with asking(issuer.url) as subject:  # it has gone
        with pytest.raises(Problem, match="does not answer"):
            await subject()


# The whole way, at a provider by others


async def sign_in_at(service, start):
    """Go the whole way in a browser that keeps what it is given, up to the last answer."""
    led = await service.get(start, Authorization="")
    assert led.status == 303, led.body
    away = led.headers["Set-Cookie"].partition(";")[0]
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(led.headers["Location"], data={"sub": "zhang-3"}, allow_redirects=False) as to,
    ):
        back = urlsplit(to.headers["Location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == f"{service.url}/sign-in/return"
    path = f"{back.path}?{back.query}"
    assert (await service.get(path, Authorization="")).code == "sign_in_failed"  # another browser
    return await service.get(path, Authorization="", Cookie=away)


async def test_a_person_signs_in_at_a_provider_and_a_stranger_learns_who_he_is(database, tmp_path):
    with oidc_provider_mock.run_server_in_thread() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        async with serving(database, tmp_path, clock=SYSTEM_CLOCK) as first:
            folder = first.folder.path
        (folder / "issuer.secret").write_text(f"{SECRET}\n")
        (folder / "sign-in.toml").write_text(
            f'[issuer]\nurl = "{url}"\nclient_id = "kashi"\nsecret_file = "issuer.secret"\n'
        )
        async with serving(database, tmp_path, clock=SYSTEM_CLOCK) as service:
            offered = await service.get("/en/sign-in?next=/en/account?x", Authorization="")
            start = "/en/sign-in/issuer?next=/en/account%3Fx"
            assert start in offered.body.decode()
            stranger = await sign_in_at(service, start)
            assert (stranger.status, stranger.code) == (403, "stranger")
            assert f"认证方 {url}，sub zhang-3" in stranger.body.decode()
            id_ = await add(service, "enterprise", ALPHA)
            other = await add(service, "auditor")
            unused = await link_now(service, id_)
            with environment(service):
                await sign_ins.bind_person(service.folder, id_, "zhang-3")
                for name in (id_, other, "nobody"):
                    with pytest.raises(SetupError):
                        await sign_ins.bind_person(service.folder, name, "zhang-3")
                with pytest.raises(SetupError, match="signs in at"):
                    await sign_ins.make_link(service.folder, id_, SYSTEM_CLOCK.now())
            assert (await open_link(service, unused)).code == "sign_in_failed"
            signed = await sign_in_at(service, start)
            assert (signed.status, signed.headers["Location"]) == (303, "/en/account?x")
            cookies = signed.headers.getall("Set-Cookie")
            assert cookies[0].startswith(f"{COOKIE}=")
            assert cookies[1].startswith(f'{AWAY_COOKIE}=""')
            visitor = Visitor(id_, secret_of(signed))
            assert (await service.get("/en/account", **visitor.headers)).status == 200


async def link_now(service, id_):
    with environment(service):
        return await sign_ins.make_link(service.folder, id_, SYSTEM_CLOCK.now())


# The file


GOOD = '[issuer]\nurl = "https://id.example"\nclient_id = "kashi"\nsecret_file = "s"\n'


def test_the_file_says_where_and_how_people_sign_in(tmp_path):
    assert read_sign_in(tmp_path) == (Entrance(), None)
    (tmp_path / "s").write_text("geheim\n")
    (tmp_path / "sign-in.toml").write_text(f'site = "https://kashi.example"\nlinks = true\n{GOOD}')
    entrance, issuer = read_sign_in(tmp_path)
    assert entrance == Entrance("https://kashi.example", links=True)
    assert issuer == Issuer("https://id.example", "kashi", "geheim", ("RS256", "ES256"))
    assert "geheim" not in repr(issuer)
    assert not Entrance("https://kashi.example").takes_links
    assert Entrance().takes_links


@pytest.mark.parametrize(
    "text",
    [
        *("site = 'http://kashi.example'", "site = 'https://kashi.example/'", "site = 1", "x = 1"),
        *("site =", "links = 'yes'", GOOD.replace("https:", "http:"), GOOD + "x = 1\n"),
        *(GOOD.replace('"s"', '"missing"'), GOOD.replace('"s"', '"empty"'), "[issuer]\n"),
        *(
            GOOD + "algorithms = ['none']",
            GOOD + "algorithms = ['HS256']",
            GOOD + "algorithms = []",
        ),
    ],
)
def test_a_file_that_is_not_so_ends_the_start(tmp_path, text):
    (tmp_path / "s").write_text("geheim\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "sign-in.toml").write_text(text)
    with pytest.raises(BadSignInFile, match=r"sign-in\.toml"):
        read_sign_in(tmp_path)
