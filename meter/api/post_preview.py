"""POST, for authority and auditor: what a command would do by now. It changes nothing.

The command is decided by the rules themselves, on a state that is loaded from one snapshot and then
thrown away (ADR 41). By the time it is given, others may have come before it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from ledger import store as ledger_store
from meter.api.post import MAX_COMMAND_BYTES, read_command
from meter.api.preview_responses import FigureView, PreviewCommand, PreviewView
from meter.api.responses import MadeEntry, as_of
from meter.api.routes import Ask, Route
from meter.host.breath import Breath
from meter.http.bodies import BODIES
from meter.rules.commands import Propose
from meter.rules.kinds.kind import Stamp
from meter.rules.state import State
from meter.rules.two_persons import PROPOSABLE, proposed_command
from meter.tables import load
from meter.tables.load import Named
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_money
from meter.views.preview import COUNTS, Figure, FigureName, preview


async def post_preview(ask: Ask) -> PreviewView:
    """Return what a command in the body would do."""
    data = await ask.request.app[BODIES].read(ask.request, MAX_COMMAND_BYTES)
    try:
        asked = msgspec.json.decode(data, type=PreviewCommand)
    except (ValueError, RecursionError) as error:
        raise Problem("malformed", str(error)) from None
    return await previewed(ask, asked.command, asked.body)


async def previewed(ask: Ask, command: str, body: Mapping[str, Any]) -> PreviewView:
    """Return what a command would do if whoever asks gave it now. Raises `Problem` as giving it."""
    assert ask.who is not None, "the route is not public"
    data = msgspec.json.encode({"command": command, "body": body})
    proposed = read_command(data, Propose, {})
    assert isinstance(proposed, Propose), "it was read as one"
    given, by = proposed_command(proposed), ask.who.token_id
    async with ask.reading() as connection:
        head = await ledger_store.head(connection)
        state = await load.load_state(connection, head, Breath())
        named = Named()
        named.add_command(state, given, by, None)
        await load.load_named(connection, state, named)
    at = max(ask.context.clock.counted(), state.last_at)
    found = preview(state, given, Stamp(at, by, "preview", ""))
    return PreviewView(
        response=msgspec.convert(found.response, MadeEntry),
        exists=found.exists,
        persons=found.persons,
        figures=[_figure(each) for each in found.figures],
        as_of=as_of(head.size, head.last_at),
    )


async def answered(ask: Ask, key: str) -> int | None:
    """Return the entry that a command of whoever asks made under an Idempotency-Key before."""
    assert ask.who is not None, "the page is not public"
    owner = ask.context.registry.now.state.people.owner_of(ask.who.token_id)
    async with ask.reading() as connection:
        known = await load.load_named(connection, State(), Named(requests={(owner, key)}))
    return known[owner, key].entry if known else None


def _figure(figure: Figure) -> FigureView:
    name, of, year = figure.id
    return FigureView(
        name=name,
        of=str(of),
        year=year or UNSET,
        before=_text(name, figure.before),
        after=_text(name, figure.after),
    )


def _text(name: FigureName, units: int | None) -> str | UnsetType:
    if units is None:
        return UNSET
    return str(units) if name in COUNTS else format_money(units)


_CODES: Final = dict.fromkeys(code for kind in PROPOSABLE.values() for code in kind.codes)
ROUTES: Final = [
    Route(
        "POST",
        "/v1/previews",
        post_preview,
        "What a command would do by now, without doing it",
        PreviewView,
        roles=OFFICIALS,
        body=PreviewCommand,
        codes=tuple(_CODES),
        changes_nothing=True,
    )
]
