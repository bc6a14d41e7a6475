"""Responses as they stood: at the size of the ledger, or the instant, that `as_of` names.

Only commits were ever answered about. So a size is one after a commit, and an instant stands for
the last commit that it includes whole. The pages of a list are of the size of its first page, which
their place holds: an instant may include more by then.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from ledger import store as ledger_store
from ledger.store import Head
from meter.api.cursor import PageQuery
from meter.api.one_size import BEGIN, one_size
from meter.api.routes import Ask
from meter.tables.connections import Connection
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.units import parse_moment

CODES: Final = ("within_commit",)

Asked = Annotated[str, Meta(max_length=32)]


class PastQuery(PageQuery, frozen=True):
    """A page of a list, now or as of a size of the ledger or an instant."""

    as_of: Asked = ""


class AsOfQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The size of the ledger, or the instant, for which something is shown."""

    as_of: Asked = ""


class Shown(NamedTuple):
    """What a response shows: the head, what was registered by then, and the size if it is past.

    `size` is that of all pages of a list, or `BEGIN` where they may be of several.
    """

    head: Head
    known: Registered
    past: int | None
    size: int


async def shown(ask: Ask, connection: Connection, size: int = BEGIN) -> Shown:
    """Return what a query asks for; `size` is that of the first page, once there was one.

    Raises `Problem` `malformed`, `within_commit`.
    """
    head, known = await ask.context.snapshot(connection)
    # A page for people asks some lists by a query without it.
    as_of = ask.query.as_of if isinstance(ask.query, PastQuery | AsOfQuery) else ""
    if not as_of:
        return Shown(head, known, None, BEGIN)
    past, last_at = await _commit(connection, head, str(size) if size != BEGIN else as_of)
    head = replace(head, size=past, last_at=last_at)
    return Shown(head, Registered(known.state, past), past, past)


async def shown_at_one_size(
    ask: Ask, connection: Connection, size: int, subjects: Sequence[str]
) -> Shown:
    """Return the same for a list that people add up; `subjects` are what it is about, or all.

    Raises `Problem` `moved` too, where it is shown as it is now.
    """
    found = await shown(ask, connection, size)
    if found.past is not None:
        return found
    return found._replace(size=await one_size(connection, found.head, size, subjects))


def parse_instant(text: str) -> int:
    """Read the instant of an `as_of`, in microseconds. Raises `Problem` `malformed`."""
    try:
        return parse_moment(text.replace(" ", "+"))  # "+" in a URL stands for a space
    except ValueError as error:
        raise Problem("malformed", f"as_of: {error}") from None


async def _commit(connection: Connection, head: Head, as_of: str) -> tuple[int, int]:
    """Return the size after the commit that is asked for, and the instant of its last entry."""
    if not (as_of.isascii() and as_of.isdigit()):
        found = await ledger_store.commit_before(connection, parse_instant(as_of))
        if found is None:
            raise Problem("malformed", "as_of: the ledger began later")
        return found
    size = int(as_of)
    if not 1 <= size <= head.size:
        raise Problem("malformed", f"as_of: the ledger has had 1 to {head.size} entries")
    end, last_at = await ledger_store.commit_within(connection, size - 1)
    if end != size:
        raise Problem("within_commit", f"the commit that made entry {size - 1} ended at {end}")
    return end, last_at
