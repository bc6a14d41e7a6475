"""Who may sign in, and who speaks for the authority: lists, a person, letting in and out.

An official lets people of other roles in and out alone and at once, and a line of acts says so. Of
the authority an id is an entry's first (the acts `person` and `token`), and the operator says who
stands behind it: one official alone must not become a second person (ADR 46).
"""

import re
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web

from meter.api.cursor import PageQuery
from meter.api.get_own import get_enterprise, get_provider
from meter.api.get_people import get_persons
from meter.api.routes import ENTRANCE, ISSUER, Ask, answer
from meter.console import form, page
from meter.console.csv_file import csv_file
from meter.console.form import NO_FIELD, Filled
from meter.console.formats import Language, moment
from meter.console.words import words
from meter.host.sign_in import LINK_SECONDS, MAX_NAME, Act, Person, new_secret
from meter.host.tokens import TOKEN_ID, Identity, has_fitting_subject
from meter.http.forms import own_origin
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS, Role
from meter.values.text import VISIBLE, check_text
from meter.values.units import MICROSECONDS, format_moment

LISTED: Final = 50  # persons of a page
SPEAKERS: Final = 200  # persons of the authority that are shown
ACTS: Final = 20  # of a person
MAX_SUBJECT: Final = 255  # characters of a `sub` (OpenID Connect Core section 2)
OFFERED: Final[tuple[Role, ...]] = ("enterprise", "provider", "auditor")
_AUTHORITY: Final = ("authority",)


@dataclass(frozen=True, slots=True)
class Row:
    """A person of the list; `ended` is empty while the person may sign in."""

    person: Person
    ended: str
    sessions: int


async def show_people(ask: Ask, language: Language) -> web.StreamResponse:
    """List who may sign in, and who speaks for the authority, with the form that adds a person."""
    return page.show(ask, "people.html", language, **await _list(ask, language, Filled()))


async def send_person(ask: Ask, language: Language) -> web.StreamResponse:
    """Add a person of another role than the authority's."""
    who, name = identity_of(ask), ask.form.get("called", "").strip()
    faults = await faults_of(ask, who, language)
    if not _is_shown(name):
        faults["called"] = words(language)["fault_called"]
    if not faults:
        try:
            await ask.context.sign_ins.add(who, name, _act(ask, "person", who.token_id))
        except Problem as problem:
            faults["id"] = taken(problem, language)
        else:
            return page.see_other(f"/{language}/people/{who.token_id}")
    held = await _list(ask, language, Filled(ask.form, faults))
    return page.show_again(ask, "people.html", language, 400, **held)


def identity_of(ask: Ask) -> Identity:
    """Return whom a form is about: its id, role and subject."""
    values = {name: ask.form.get(name, "").strip() for name in ("id", "role", "subject")}
    return Identity(values["id"], cast("Role", values["role"]), values["subject"])


async def faults_of(ask: Ask, who: Identity, language: Language) -> dict[str, str]:
    """Return by field what is wrong with an identity that an official lets in."""
    said = words(language)
    if who.role not in OFFERED:
        return {"role": said["fault_choice"]}
    faults = {}
    if not TOKEN_ID.fullmatch(who.token_id):
        faults["id"] = said["fault_id"]
    elif who.token_id in ask.context.registry.now.state.people.tokens:
        faults["id"] = said["refusal_exists_differently"]
    if not has_fitting_subject(who):
        faults["subject"] = said["fault_subject"]
    elif who.subject and not await _is_known(ask, who):
        faults["subject"] = said[f"refusal_unknown_{who.role}"]
    return faults


async def _is_known(ask: Ask, who: Identity) -> bool:
    try:
        if who.role == "enterprise":
            await answer(ask, get_enterprise, uscc=who.subject)
        else:
            await answer(ask, get_provider, provider=who.subject)
    except Problem as problem:
        if problem.code.startswith("unknown_"):
            return False
        raise
    return True


def taken(problem: Problem, language: Language) -> str:
    """Return what is said of an id that is taken, or looks like another."""
    said = words(language)[f"refusal_{problem.code}"]
    return f"{said} {page.told(problem.detail, language)}"


def _is_shown(name: str) -> bool:
    try:
        check_text(name)
    except ValueError:
        return False
    return bool(re.match(VISIBLE, name)) and len(name) <= MAX_NAME


async def _list(ask: Ask, language: Language, filled: Filled) -> dict[str, object]:
    """Return what the list shows."""
    found = await ask.context.sign_ins.persons_after(ask.request.query.get("after", ""), LISTED + 1)
    speakers = await answer(ask, get_persons, PageQuery(limit=SPEAKERS))
    return {
        "people": await _rows(ask, language, found[:LISTED]),
        "next": found[LISTED - 1].who.token_id if len(found) > LISTED else "",
        "speakers": speakers.persons,
        "more_speakers": speakers.more,
        "roles": OFFERED,
        "form": filled,
    }


async def _rows(ask: Ask, language: Language, people: list[Person]) -> list[Row]:
    names = [each.who.token_id for each in people]
    sessions = await ask.context.sign_ins.open_sessions(names, ask.context.clock.counted())
    return [
        Row(each, _ended(each, language), sessions[name])
        for name, each in zip(names, people, strict=True)
    ]


async def export_people(ask: Ask, language: Language) -> web.StreamResponse:
    """Return the same rows as CSV."""
    rows = [
        (
            *(who.token_id, who.role, who.subject, each.person.name),
            *(each.person.issuer, each.person.subject_there, str(each.sessions), each.ended),
        )
        for each in await _rows(ask, language, await ask.context.sign_ins.persons())
        for who in (each.person.who,)
    ]
    header = ("id", "role", "subject", "name", "issuer", "sub", "sessions", "ended")
    return page.download(ask, "people.csv", csv_file(header, rows))


# A person


async def show_person(ask: Ask, language: Language) -> web.StreamResponse:
    """Show a person, how they sign in, and what they did; with what an official may do about it."""
    return page.show(ask, "person.html", language, **await _person(ask, language))


async def send_person_act(ask: Ask, language: Language) -> web.StreamResponse:
    """Bind a person to an issuer's `sub`, make a link, or end the sessions."""
    values = await _person(ask, language)
    held = cast("Row", values["row"]).person
    match ask.form.get("act"):
        case "end_sessions":
            name = held.who.token_id
            await ask.context.sign_ins.end_sessions(name, _act(ask, "end_sessions", name))
        case "bind" if values["may_bind"]:
            fault = await _bind(ask, held, language)
            if fault:
                filled = Filled(ask.form, {"sub": fault})
                return page.show_again(
                    ask, "person.html", language, 400, **values | {"form": filled}
                )
        case "link" if values["may_link"]:
            link = await _link(ask, held, language)
            return page.show_secret(ask, "person.html", language, **values | {"link": link})
        case _:
            said = words(language)["person_not_so"]
            filled = Filled(ask.form, {NO_FIELD: said})
            return page.show_again(ask, "person.html", language, 400, **values | {"form": filled})
    return page.see_other(f"/{language}/people/{held.who.token_id}")


async def _bind(ask: Ask, held: Person, language: Language) -> str:
    """Bind a person; return what is wrong with the `sub`, if anything is."""
    subject, issuer = ask.form.get("sub", "").strip(), ask.request.app[ISSUER].issuer.url
    if not re.fullmatch(rf"[!-~]{{1,{MAX_SUBJECT}}}", subject):
        return words(language)["fault_sub"]
    act = _act(ask, "bind", held.who.token_id, f"?sub={subject}")
    try:
        await ask.context.sign_ins.bind(held.who.token_id, issuer, subject, act)
    except Problem as problem:
        if problem.code != "exists_differently":
            raise
        return f"{words(language)['refusal_bound']} {page.told(problem.detail, language)}"
    return ""


async def _link(ask: Ask, held: Person, language: Language) -> str:
    """Return a link that signs a person in once."""
    secret, now = new_secret(), ask.context.clock.counted()
    ends_at = now + LINK_SECONDS * MICROSECONDS
    name = held.who.token_id
    await ask.context.sign_ins.link(name, secret, ends_at, _act(ask, "link", name))
    origin = own_origin(ask.request, ask.request.app[ENTRANCE].site)
    return f"{origin}/{language}/sign-in/link?code={secret}"


async def _person(ask: Ask, language: Language) -> dict[str, object]:
    """Return what the page of a person shows. Raises `not_found`."""
    name, now = ask.path("person"), ask.context.clock.counted()
    held = await ask.context.sign_ins.person(name)
    if held is None:
        raise Problem("not_found", f"no person {name} who signs in")
    sessions = await ask.context.sign_ins.open_sessions([name], now)
    is_open = held.ended_at is None
    is_ours = held.who.role == "authority"
    may_act = ask.who is not None and ask.who.role == "authority" and is_open
    may_enter = may_act and not is_ours and not held.issuer
    return {
        "row": Row(held, _ended(held, language), sessions[name]),
        "acts": [
            (moment(format_moment(each.at), language), each.what, each.path)
            for each in await ask.context.sign_ins.acts_of(name, ACTS)
        ],
        "may_act": may_act,
        "may_bind": may_enter and ISSUER in ask.request.app,
        "may_link": may_enter and ask.request.app[ENTRANCE].takes_links,
        "is_ours": is_ours,
        "speaks_for": ask.context.registry.now.state.people.person_of(name) or "",
        "form": Filled(),
        "link": "",
    }


async def show_end(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what ending a person does, before it is confirmed."""
    return page.show(ask, "person_end.html", language, **await _figures(ask))


async def send_end(ask: Ask, language: Language) -> web.StreamResponse:
    """End a person and all sessions, as it was confirmed."""
    figures, name = await _figures(ask), ask.path("person")
    if ask.form.get(form.SEAL) != figures["seal"]:
        return page.show_again(ask, "person_end.html", language, 409, **figures | {"stale": True})
    await ask.context.sign_ins.end(name, _act(ask, "end", name))
    return page.see_other(f"/{language}/people")


async def _figures(ask: Ask) -> dict[str, object]:
    """Return what the confirmation shows. Raises `not_found`."""
    name, now = ask.path("person"), ask.context.clock.counted()
    held = await ask.context.sign_ins.person(name)
    if held is None or held.who.role == "authority":
        raise Problem("not_found", f"no person {name} who is not the authority's")
    sessions = (await ask.context.sign_ins.open_sessions([name], now))[name]
    is_open = held.ended_at is None
    sealed = form.seal(name, held.name, str(sessions), str(is_open))
    return {"held": held, "sessions": sessions, "is_open": is_open, "seal": sealed, "stale": False}


def _ended(person: Person, language: Language) -> str:
    return "" if person.ended_at is None else moment(format_moment(person.ended_at), language)


def _act(ask: Ask, what: str, name: str, more: str = "") -> Act:
    """Return the line that says who does this, about whom."""
    return act_line(ask, what, f"people/{name}{more}")


def act_line(ask: Ask, what: str, path: str) -> Act:
    """Return the line that says who does something, about what."""
    assert ask.who is not None, "the form is an official's"
    return Act(ask.context.clock.counted(), ask.who.token_id, what, path)


ROUTES: Final = (
    *page.pages("people", show_people, OFFICIALS),
    *page.forms("people", send_person, _AUTHORITY),
    *page.pages("people.csv", export_people, OFFICIALS),
    *page.pages("people/{person}", show_person, OFFICIALS),
    *page.forms("people/{person}", send_person_act, _AUTHORITY),
    *page.pages("people/{person}/end", show_end, _AUTHORITY),
    *page.forms("people/{person}/end", send_end, _AUTHORITY),
)
