"""Signing in and out, and one's own account.

A link is opened with GET, which changes nothing: programs that look at links before people do would
use it up. Its page has a form, and that signs in.
"""

from typing import Final, get_args

from aiohttp import hdrs, web

from meter.api.routes import ENTRANCE, FAILURES, Ask
from meter.console import page
from meter.console.formats import Language, moment
from meter.host.sign_in import COOKIE, local_page, new_secret
from meter.host.tokens import Identity
from meter.http.forms import own_origin, sender_of
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.units import format_moment

EVERYBODY: Final[tuple[Role, ...]] = get_args(Role)
# The page that each role begins with, below the language; `{}` is the subject.
START: Final[dict[Role, str]] = {
    "enterprise": "enterprises/{}",
    "provider": "account",
    "authority": "account",
    "auditor": "account",
}


def start_of(who: Identity, language: Language) -> str:
    """Return the path of the page with which a person begins."""
    return f"/{language}/{START[who.role].format(who.subject)}"


async def show_sign_in(ask: Ask, language: Language) -> web.StreamResponse:
    """Say how to sign in; lead on whoever is."""
    if ask.session is not None:
        return _lead_on(ask, ask.session.who, language)
    own_origin(ask.request, ask.request.app[ENTRANCE].site)  # or nobody can sign in here
    return page.show(
        ask, "sign_in.html", language, takes_links=ask.request.app[ENTRANCE].takes_links
    )


async def show_link(ask: Ask, language: Language) -> web.StreamResponse:
    """Ask whoever opens a link to sign in by it."""
    values = {name: ask.request.query.get(name, "") for name in ("code", "next")}
    return page.show(ask, "link.html", language, **values)


async def send_link(ask: Ask, language: Language) -> web.StreamResponse:
    """Sign in by a link; a session that the browser has ends."""
    now, secret = ask.context.clock.counted(), new_secret()
    failures, address = ask.request.app[FAILURES], sender_of(ask.request)
    failures.check(address, now)
    try:
        _check_takes_links(ask)
        code = ask.form.get("code", "")
        person = await ask.context.sign_ins.sign_in_by_link(code, secret, now)
    except Problem as problem:
        if problem.code == "sign_in_failed":
            failures.note(address, now)
        raise
    if ask.session is not None:
        await ask.context.sign_ins.sign_out(ask.session, now)
    response = _lead_on(ask, person.who, language)
    response.set_cookie(COOKIE, secret, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _check_takes_links(ask: Ask) -> None:
    if not ask.request.app[ENTRANCE].takes_links:
        raise Problem("sign_in_failed", "links are for the service's own machine")


async def send_sign_out(ask: Ask, language: Language) -> web.StreamResponse:
    """End the session."""
    if ask.session is not None:
        await ask.context.sign_ins.sign_out(ask.session, ask.context.clock.counted())
    response = page.see_other(f"/{language}/")
    response.set_cookie(COOKIE, "", path="/", secure=True, httponly=True, samesite="Lax", max_age=0)
    return response


async def show_account(ask: Ask, language: Language) -> web.StreamResponse:
    """Show who is signed in, and until when."""
    assert ask.session is not None, "the page is not public"
    person = ask.context.registry.now.state.people.person_of(ask.session.who.token_id)
    until = moment(format_moment(ask.session.ends_at), language)
    return page.show(ask, "account.html", language, authority_person=person or "", until=until)


def _lead_on(ask: Ask, who: Identity, language: Language) -> web.Response:
    """Lead to where somebody wanted to go, else to the page with which the person begins."""
    wanted = ask.form.get("next") or ask.request.query.get("next", "")
    return page.see_other(local_page(wanted) or start_of(who, language))


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
    *page.pages("sign-in/link", show_link),
    *page.forms("sign-in/link", send_link, codes=("sign_in_failed", "too_many_sign_ins")),
    *page.forms("sign-out", send_sign_out),
    *page.pages("account", show_account, roles=EVERYBODY),
)
