"""Decide a command: check it against the state, and make its entry, and those that follow from it.

`decide_command` reads the state and changes nothing; `evolve` applies the entry. Whether the person
may give it is decided first (`rules/two_persons.py`), then the command's kind (`rules/kinds/`)
judges it. A refusal is a `Problem`. To register equal content a second time is no error: it makes
no entry and leads to `Existing`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meter.rules.commands import Asked, Command, fields_of, same_but_for_reason
from meter.rules.entries import Entry, Posting
from meter.rules.kinds.kind import Existing, Holder, Judged, Stamp
from meter.rules.kinds.table import BY_COMMAND, BY_ENTRY, command_of
from meter.rules.state import State
from meter.rules.two_persons import acting_person, check_persons, command_asked_for
from meter.values.problems import Problem


@dataclass(frozen=True, slots=True)
class CommandResponse:
    """The response to a command: 201 with a new entry, 200 where the entry exists already.

    `replayed` is true where an earlier request with the same idempotency key got it first.
    """

    status: int
    body: bytes
    replayed: bool


def decide_command(state: State, asked: Asked, stamp: Stamp) -> Entry | Existing:
    """Return the entry of a command, or the one that exists. Raises `Problem`."""
    command = command_asked_for(state, asked)
    person = acting_person(state, command, stamp)
    proposal = check_persons(state, asked, person, stamp)
    judged = judge(state, command, stamp)
    if isinstance(judged, Existing):
        return judged
    extra, postings = judged
    if proposal is not None:
        extra = extra | {"proposal": proposal.entry}
    return entry_of(command, stamp, person, extra, postings)


def entry_of(
    command: Command, stamp: Stamp, person: str, extra: dict[str, Any], postings: list[Posting]
) -> Entry:
    """Return the entry of a command that was judged."""
    entry: Entry = BY_COMMAND[type(command)].entry(
        **fields_of(command),
        **extra,
        postings=postings,
        at=stamp.at,
        by=stamp.by,
        person=person,
        request=stamp.request,
        salt=stamp.salt,
    )
    return entry


def entries_following(state: State, number: int, entry: Entry) -> Iterable[Entry]:
    """Return the entries that follow from one; each is applied before the next is taken."""
    return BY_ENTRY[type(entry)].following(state, number, entry)


def judge(state: State, command: Command, stamp: Stamp) -> Judged:
    """Return what the kind of a command says of it, whoever gives it. Raises `Problem`."""
    kind = BY_COMMAND[type(command)]
    holder = kind.holder(state, command)
    if holder is not None:
        return _existing_or_refuse(holder, command)
    assert kind.judge is not None, "a kind that has a command has a judge"
    return kind.judge(state, command, stamp)


def _existing_or_refuse(holder: Holder, command: Command) -> Existing:
    number, entry = holder
    if not same_but_for_reason(command_of(entry), command):
        raise Problem("exists_differently", f"entry {number} holds this id", entry=number)
    return Existing(number)


def response_to(state: State, number: int, entry: Entry) -> dict[str, Any]:
    """Return the response to a command whose entry was just applied: its number and more fields."""
    return {"entry": number, **BY_ENTRY[type(entry)].response(state, entry)}
