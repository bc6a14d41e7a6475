"""Signing in and out, and one's own account.

A link is opened with GET, which changes nothing: programs that look at links before people do would
use it up. Its page has a form, and that signs in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, get_args
from urllib.parse import quote, unquote

from aiohttp import hdrs, web

from meter.api.routes import ENTRANCE, FAILURES, ISSUER, Ask
from meter.console import page
from meter.console.formats import Language, moment
from meter.host.sign_in import COOKIE, Person, is_secret, local_page, new_secret
from meter.host.tokens import Identity
from meter.http.forms import own_origin, sender_of
from meter.http.oidc import Client
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.units import format_moment

RETURN: Final = "/sign-in/return"
AWAY_COOKIE: Final = "__Host-kashi-away"  # while somebody is at the issuer
AWAY_SECONDS: Final = 600
_FAILURES: Final = ("sign_in_failed", "too_many_sign_ins")
EVERYBODY: Final[tuple[Role, ...]] = get_args(Role)
# The page that each role begins with, below the language; `{}` is the subject.
START: Final[dict[Role, str]] = {
    "enterprise": "enterprises/{}",
    "provider": "providers/{}",
    "authority": "authority",
    "auditor": "log",
}


def start_of(who: Identity, language: Language) -> str:
    """Return the path of the page with which a person begins."""
    return f"/{language}/{START[who.role].format(who.subject)}"


async def show_sign_in(ask: Ask, language: Language) -> web.StreamResponse:
    """Say how to sign in; lead on whoever is."""
    if ask.session is not None:
        return page.see_other(_wanted(ask) or start_of(ask.session.who, language))
    own_origin(ask.request, ask.request.app[ENTRANCE].site)  # or nobody can sign in here
    return page.show(
        ask,
        "sign_in.html",
        language,
        takes_links=ask.request.app[ENTRANCE].takes_links,
        has_issuer=ISSUER in ask.request.app,
        next=quote(_wanted(ask) or ""),
    )


async def start_at_issuer(ask: Ask, language: Language) -> web.StreamResponse:
    """Lead to the issuer; the browser keeps the secret by which it is known when it returns."""
    secret = new_secret()
    url = await _issuer(ask).start(secret, _back(ask))
    response = page.see_other(url)
    wanted = _wanted(ask) or f"/{language}/sign-in"
    page.set_cookie(response, AWAY_COOKIE, f"{secret}.{quote(wanted, safe='')}", AWAY_SECONDS)
    return response


async def return_from_issuer(ask: Ask) -> web.StreamResponse:
    """Sign in whom the issuer has signed in, in the browser that went there."""
    now, secret = ask.context.clock.counted(), new_secret()
    away, _, wanted = ask.request.cookies.get(AWAY_COOKIE, "").partition(".")
    client = _issuer(ask)
    with _counting_failures(ask, now):
        if not is_secret(away):
            raise Problem("sign_in_failed", "this browser began no sign-in, or long ago")
        subject = await client.finish(away, _back(ask), ask.request.query, now)
        issuer = client.issuer.url
        person = await ask.context.sign_ins.sign_in_at_issuer(issuer, subject, secret, now)
    path = local_page(unquote(wanted)) or start_of(person.who, page.language_of(ask.request))
    response = await _begin(ask, person, secret, path)
    page.set_cookie(response, AWAY_COOKIE, "", seconds=0)
    return response


def _issuer(ask: Ask) -> Client:
    if ISSUER not in ask.request.app:
        raise Problem("not_found", "no issuer is configured")
    return ask.request.app[ISSUER]


def _back(ask: Ask) -> str:
    """Return where the issuer leads to, as it is registered there."""
    return own_origin(ask.request, ask.request.app[ENTRANCE].site) + RETURN


async def show_link(ask: Ask, language: Language) -> web.StreamResponse:
    """Ask whoever opens a link to sign in by it."""
    values = {name: ask.request.query.get(name, "") for name in ("code", "next")}
    return page.show(ask, "link.html", language, **values)


async def send_link(ask: Ask, language: Language) -> web.StreamResponse:
    """Sign in by a link; a session that the browser has ends."""
    now, secret = ask.context.clock.counted(), new_secret()
    with _counting_failures(ask, now):
        if not ask.request.app[ENTRANCE].takes_links:
            raise Problem("sign_in_failed", "links are for the service's own machine")
        code = ask.form.get("code", "")
        person = await ask.context.sign_ins.sign_in_by_link(code, secret, now)
    wanted = local_page(ask.form.get("next", ""))
    return await _begin(ask, person, secret, wanted or start_of(person.who, language))


@contextmanager
def _counting_failures(ask: Ask, now: int) -> Iterator[None]:
    """Count a sign-in that fails, by its sender's address. Raises `too_many_sign_ins`."""
    failures, address = ask.request.app[FAILURES], sender_of(ask.request)
    failures.check(address, now)
    try:
        yield
    except Problem as problem:
        if problem.status == web.HTTPForbidden.status_code:
            failures.note(address, now)
        raise


async def _begin(ask: Ask, person: Person, secret: str, path: str) -> web.Response:
    """Lead on whoever has signed in, with the new cookie; the browser's old session ends."""
    if not ask.context.has_person(person.who):
        raise Problem("sign_in_failed", "an entry has ended the id under which this signs in")
    if ask.session is not None:
        await ask.context.sign_ins.sign_out(ask.session, ask.context.clock.counted())
    response = page.see_other(path)
    page.set_cookie(response, COOKIE, secret)
    return response


async def send_sign_out(ask: Ask, language: Language) -> web.StreamResponse:
    """End the session."""
    if ask.session is not None:
        await ask.context.sign_ins.sign_out(ask.session, ask.context.clock.counted())
    response = page.see_other(f"/{language}/")
    page.set_cookie(response, COOKIE, "", seconds=0)
    return response


async def show_account(ask: Ask, language: Language) -> web.StreamResponse:
    """Show who is signed in, and until when."""
    assert ask.session is not None, "the page is not public"
    person = ask.context.registry.now.state.people.person_of(ask.session.who.token_id)
    until = moment(format_moment(ask.session.ends_at), language)
    return page.show(ask, "account.html", language, authority_person=person or "", until=until)


def _wanted(ask: Ask) -> str | None:
    """Return the page that somebody wanted to see before signing in."""
    return local_page(ask.request.query.get("next", ""))


async def get_start(ask: Ask) -> web.StreamResponse:
    """Lead to one's own start, else to the public page, in the language the browser prefers."""
    language = page.preferred(ask.request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
    path = f"/{language}/" if ask.session is None else start_of(ask.session.who, language)
    vary = f"{hdrs.ACCEPT_LANGUAGE}, {hdrs.COOKIE}"
    headers = {**page.HEADERS, hdrs.LOCATION: path, hdrs.VARY: vary}
    return web.Response(status=302, headers=headers)


ROUTES: Final = (
    page.one_page("/", get_start),
    *page.pages("sign-in", show_sign_in),
    *page.pages("sign-in/issuer", start_at_issuer),
    page.one_page(RETURN, return_from_issuer, codes=(*_FAILURES, "insecure", "stranger")),
    *page.pages("sign-in/link", show_link),
    *page.forms("sign-in/link", send_link, codes=_FAILURES),
    *page.forms("sign-out", send_sign_out),
    *page.pages("account", show_account, roles=EVERYBODY),
)
