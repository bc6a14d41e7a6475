"""Signing in to the console at an OpenID provider by others, in a browser that keeps cookies."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from meter.host.clock import SYSTEM_CLOCK
from meter.host.sign_in import COOKIE
from meter.service.sign_ins import bind_person
from tests.books import ALPHA
from tests.interop.programs import node_running
from tests.issuer import SECRET
from tests.people import add, environment
from tests.services import Service, serving
from tests.test_readme import free_port

START = "/en/sign-in/issuer?next=/en/account"
SUBJECT = "zhang-3@firm.example"


@pytest.fixture
async def site(database, tmp_path) -> AsyncIterator[tuple[Service, str]]:
    """A service and the URL of its issuer, which knows where people come back to."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    file = f'[issuer]\nurl = "{issuer}"\nclient_id = "kashi"\nsecret_file = "s"\n'
    files = {"sign-in.toml": file, "s": SECRET}
    async with serving(database, tmp_path, clock=SYSTEM_CLOCK, files=files) as service:
        back = f"{service.url}/sign-in/return"
        async with node_running("oidc-provider", "issuer.js", port, "kashi", SECRET, back):
            yield service, issuer


@asynccontextmanager
async def browsing(service: Service) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a browser, which like others sends this machine secure cookies without TLS too."""
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=URL(service.url))
    headers = {"Accept-Language": "en"}
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as browser:
        yield browser


async def sign_in(browser, service, *, turns_back=False, **changes):
    """Go to the issuer, type a name and agree; return the status and text that one ends at.

    `changes` are of what the service asks the issuer; with None it asks without.
    """
    async with browser.get(service.url + START, allow_redirects=False) as led:
        away = URL(led.headers["Location"])
    query = {**away.query, **changes}
    asked = {name: value for name, value in query.items() if value is not None}
    async with browser.get(away.with_query(asked)) as page:
        status, text = page.status, await page.text()
    if turns_back:
        (abort,) = re.findall(r'href="([^"]+/abort)"', text)
        async with browser.get(away.join(URL(html.unescape(abort)))) as page:
            return page.status, await page.text()
    for _ in range(2):  # the name, and the consent
        if forms := re.findall(r'<form [^>]*action="([^"]+/interaction/[^"]+)"', text):
            fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', text))
            fields |= {"login": SUBJECT, "password": "any"}
            async with browser.post(html.unescape(forms[0]), data=fields) as page:
                status, text = page.status, await page.text()
    return status, text


async def test_a_bound_person_gets_in_and_a_stranger_learns_who_he_is(site):
    service, issuer = site
    async with browsing(service) as browser:
        status, text = await sign_in(browser, service)
        assert status == 403
        assert f"issuer {issuer}, sub {SUBJECT}" in text
        assert COOKIE not in names(browser, service)
        id_ = await add(service, "enterprise", ALPHA, "赵敏")
        with environment(service):
            await bind_person(service.folder, id_, SUBJECT)
        status, text = await sign_in(browser, service)
        assert status == 200
        assert {"赵敏", id_, ALPHA} <= set(re.findall(r">([^<>]+)</", text))
        assert names(browser, service) == {COOKIE}
    async with browsing(service) as other, other.get(f"{service.url}/en/account") as page:
        assert page.url.path == "/en/sign-in"


def names(browser, service):
    """Return the names of the service's own cookies."""
    kept = browser.cookie_jar.filter_cookies(URL(service.url))
    return {name for name in kept if name.startswith("__Host-")}


async def test_what_the_issuer_is_asked_holds_to_the_end(site):
    """It refuses what fits no code, and we refuse a token for another nonce."""
    service, _ = site
    id_ = await add(service, "auditor")
    with environment(service):
        await bind_person(service.folder, id_, SUBJECT)
    for changes, why in (
        ({"state": "another"}, "the return belongs to another sign-in"),
        ({"nonce": "another"}, "the issuer&#39;s id token is no good"),
        ({"nonce": None}, "the issuer&#39;s id token is no good"),
        ({"code_challenge": "a" * 43}, "the issuer gives no id token"),
        ({"code_challenge": None}, "the issuer says invalid_request"),
        ({"turns_back": True}, "the issuer says access_denied"),
    ):
        async with browsing(service) as browser:
            status, text = await sign_in(browser, service, **changes)
            assert (status, why in text) == (403, True), (changes, status, text)
            assert COOKIE not in names(browser, service)
    async with browsing(service) as browser:
        assert (await sign_in(browser, service))[0] == 200
