"""Persons who speak for the authority, and their tokens; entries hold ids, never secrets.

Entry 0 names the first ones (`note_first`). An operator can add a token past all of them
(`person_recovery`), which every monitor is alarmed by.
"""

from meter.rules.commands import EndPerson, EndToken, MakeToken, RecoverPerson, RegisterPerson
from meter.rules.entries import (
    Genesis,
    PersonEnded,
    PersonRecovered,
    PersonRegistered,
    TokenEnded,
    TokenMade,
)
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Existing,
    Judged,
    Kind,
    Stamp,
    check_spelling,
    note_spelling,
)
from meter.rules.people import AuthorityToken, Person
from meter.rules.state import State
from meter.values.problems import Problem

FEWEST_PERSONS = 2


def note_first(state: State, number: int, entry: Genesis) -> None:
    """Note the persons and tokens that entry 0 names."""
    for first in entry.persons:
        _note_person(state, number, first.id)
        _note_token(state, number, first.token, first.id)


# A person


def _judge_person(state: State, command: RegisterPerson, _stamp: Stamp) -> Judged:
    known = state.people.persons.get(command.id)
    if known is not None:
        _check_not_ended(f"person {command.id}", known.ended)
        return Existing(known.entry)
    check_spelling(state, "person", command.id)
    return NOTHING_MORE


def _apply_person(state: State, number: int, entry: PersonRegistered) -> None:
    _note_person(state, number, entry.id)


def _note_person(state: State, number: int, name: str) -> None:
    state.people.persons[name] = Person(number)
    note_spelling(state, "person", name)


def _judge_person_end(state: State, command: EndPerson, _stamp: Stamp) -> Judged:
    _check_not_ended(f"person {command.id}", _known_person(state, command.id).ended)
    assert state.genesis is not None, "entry 0 comes first"
    fewest = 1 if state.genesis.one_person else FEWEST_PERSONS
    if len(state.people.active()) <= fewest:
        raise Problem("last_person", f"{fewest} must remain: register another person first")
    return NOTHING_MORE


def _apply_person_end(state: State, number: int, entry: PersonEnded) -> None:
    state.people.persons[entry.id].ended = number


# A token


def _judge_token(state: State, command: MakeToken, _stamp: Stamp) -> Judged:
    known = state.people.tokens.get(command.id)
    if known is not None:
        _check_not_ended(f"token {command.id}", known.ended)
        if known.person != command.holder:
            raise Problem("exists_differently", f"{command.id} is a token of {known.person}")
        return Existing(known.entry)
    check_spelling(state, "token", command.id)
    _check_not_ended(f"person {command.holder}", _known_person(state, command.holder).ended)
    return NOTHING_MORE


def _apply_token(state: State, number: int, entry: TokenMade) -> None:
    _note_token(state, number, entry.id, entry.holder)


def _note_token(state: State, number: int, token: str, person: str) -> None:
    state.people.tokens[token] = AuthorityToken(number, person)
    note_spelling(state, "token", token)


def _judge_token_end(state: State, command: EndToken, _stamp: Stamp) -> Judged:
    known = state.people.tokens.get(command.token)
    if known is None:
        raise Problem("unknown_token", f"the ledger names no token {command.token}")
    _check_not_ended(f"token {command.token}", known.ended)
    return NOTHING_MORE


def _apply_token_end(state: State, number: int, entry: TokenEnded) -> None:
    state.people.tokens[entry.token].ended = number


# What an operator does offline


def _judge_recovery(state: State, command: RecoverPerson, _stamp: Stamp) -> Judged:
    known = state.people.persons.get(command.id)
    if known is None:
        check_spelling(state, "person", command.id)
    else:
        _check_not_ended(f"person {command.id}", known.ended)
    if command.token in state.people.tokens:
        raise Problem("exists_differently", f"the ledger names a token {command.token}")
    check_spelling(state, "token", command.token)
    return NOTHING_MORE


def _apply_recovery(state: State, number: int, entry: PersonRecovered) -> None:
    if entry.id not in state.people.persons:
        _note_person(state, number, entry.id)
    _note_token(state, number, entry.token, entry.id)


def _known_person(state: State, name: str) -> Person:
    person = state.people.persons.get(name)
    if person is None:
        raise Problem("unknown_person", f"no person {name}")
    return person


def _check_not_ended(what: str, ended: int | None) -> None:
    if ended is not None:
        raise Problem("already_ended", f"{what} ended by entry {ended}", entry=ended)


PERSON: Kind[PersonRegistered, RegisterPerson] = Kind(
    entry=PersonRegistered,
    command=RegisterPerson,
    judge=_judge_person,
    apply=_apply_person,
    rows="registration",
    codes=("already_ended", "looks_alike"),
)
PERSON_END: Kind[PersonEnded, EndPerson] = Kind(
    entry=PersonEnded,
    command=EndPerson,
    judge=_judge_person_end,
    apply=_apply_person_end,
    rows="registration",
    codes=("unknown_person", "already_ended", "last_person"),
)
PERSON_RECOVERY: Kind[PersonRecovered, RecoverPerson] = Kind(
    entry=PersonRecovered,
    command=RecoverPerson,
    judge=_judge_recovery,
    apply=_apply_recovery,
    rows="registration",
    codes=("exists_differently", "already_ended", "looks_alike"),
    persons=0,
)
TOKEN: Kind[TokenMade, MakeToken] = Kind(
    entry=TokenMade,
    command=MakeToken,
    judge=_judge_token,
    apply=_apply_token,
    rows="registration",
    codes=("exists_differently", "already_ended", "looks_alike", "unknown_person"),
)
TOKEN_END: Kind[TokenEnded, EndToken] = Kind(
    entry=TokenEnded,
    command=EndToken,
    judge=_judge_token_end,
    apply=_apply_token_end,
    rows="registration",
    codes=("unknown_token", "already_ended"),
    persons=1,
)
