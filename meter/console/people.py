"""Who may sign in, and the end of it: an official stops somebody alone and at once.

Letting somebody in is an operator's work (`kashi person`), and of the authority an entry's first.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from meter.api.cursor import PageQuery
from meter.api.get_people import get_persons
from meter.api.routes import Ask, answer
from meter.console import form, page
from meter.console.csv_file import csv_file
from meter.console.formats import Language, moment
from meter.host.sign_in import Person
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_moment


@dataclass(frozen=True, slots=True)
class Row:
    """A person of the list; `ended` is empty while the person may sign in."""

    person: Person
    ended: str


async def show_people(ask: Ask, language: Language) -> web.StreamResponse:
    """List who may sign in, and who speaks for the authority."""
    held = await ask.context.sign_ins.persons()
    return page.show(
        ask,
        "people.html",
        language,
        people=[Row(each, _ended(each, language)) for each in held],
        speakers=(await answer(ask, get_persons, PageQuery(limit=1_000))).persons,
    )


async def export_people(ask: Ask, language: Language) -> web.StreamResponse:
    """Return the same rows as CSV."""
    rows = [
        (who.token_id, who.role, who.subject, each.name, _ended(each, language))
        for each in await ask.context.sign_ins.persons()
        for who in (each.who,)
    ]
    header = ("id", "role", "subject", "name", "ended")
    return page.download(ask, "people.csv", csv_file(header, rows))


async def show_end(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what ending a person does, before it is confirmed."""
    return page.show(ask, "person_end.html", language, **await _figures(ask))


async def send_end(ask: Ask, language: Language) -> web.StreamResponse:
    """End a person and all sessions, as it was confirmed."""
    figures = await _figures(ask)
    if ask.form.get(form.SEAL) != figures["seal"]:
        return page.show_again(ask, "person_end.html", language, 409, **figures | {"stale": True})
    await ask.context.sign_ins.end(ask.path("person"), ask.context.clock.counted())
    return page.see_other(f"/{language}/people")


async def _figures(ask: Ask) -> dict[str, object]:
    """Return what the confirmation shows. Raises `not_found`."""
    name, now = ask.path("person"), ask.context.clock.counted()
    held = await ask.context.sign_ins.person(name)
    if held is None or held.who.role == "authority":
        raise Problem("not_found", f"no person {name} who is not the authority's")
    sessions = await ask.context.sign_ins.open_sessions(name, now)
    is_open = held.ended_at is None
    sealed = form.seal(name, held.name, str(sessions), str(is_open))
    return {"held": held, "sessions": sessions, "is_open": is_open, "seal": sealed, "stale": False}


def _ended(person: Person, language: Language) -> str:
    return "" if person.ended_at is None else moment(format_moment(person.ended_at), language)


ROUTES: Final = (
    *page.pages("people", show_people, OFFICIALS),
    *page.pages("people.csv", export_people, OFFICIALS),
    *page.pages("people/{person}/end", show_end, ("authority",)),
    *page.forms("people/{person}/end", send_end, ("authority",)),
)
