"""Decide a command of the authority: check it against the state, and make its one entry.

`decide_command` reads the state and changes nothing; `evolve` applies the entry. What each command
may do is judged by its kind (`rules/kinds/`). A refusal is a `Problem`; the same thing registered
twice is `Existing`, not an error.
"""

from dataclasses import dataclass
from typing import Any

from meter.rules.commands import Command, fields_of, same
from meter.rules.entries import Entry
from meter.rules.kinds.kind import Existing, Holder, Judged, Stamp
from meter.rules.kinds.table import BY_COMMAND, BY_ENTRY, command_of
from meter.rules.state import State
from meter.values.problems import Problem


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a command: 201 with a new entry, 200 where it is there already."""

    status: int
    body: bytes


def decide_command(state: State, command: Command, stamp: Stamp) -> Entry | Existing:
    """Check a command and make its entry. Raises `Problem`."""
    judged = _judge(state, command, stamp)
    if isinstance(judged, Existing):
        return judged
    extra, postings = judged
    entry: Entry = BY_COMMAND[type(command)].entry(
        **fields_of(command),
        **extra,
        postings=postings,
        at=stamp.at,
        by=stamp.by,
        request=stamp.request,
        salt=stamp.salt,
    )
    return entry


def _judge(state: State, command: Command, stamp: Stamp) -> Judged:
    kind = BY_COMMAND[type(command)]
    holder = kind.holder(state, command)
    if holder is not None:
        return _same_or_refuse(holder, command)
    assert kind.judge is not None, "a kind with a command judges it"
    return kind.judge(state, command, stamp)


def _same_or_refuse(holder: Holder, command: Command) -> Existing:
    number, entry = holder
    if not same(command_of(entry), command):
        raise Problem("exists_differently", f"entry {number} holds this id", entry=number)
    return Existing(number)


def answer_of(state: State, number: int, entry: Entry) -> dict[str, Any]:
    """Return the answer to a command whose entry was just applied: its number and what follows."""
    return {"entry": number, **BY_ENTRY[type(entry)].answer(state, entry)}
