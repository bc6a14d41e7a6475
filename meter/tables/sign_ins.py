"""The rows of the pages: persons, links, sessions, and what people did; no row holds a secret."""

from collections.abc import Sequence
from typing import Any, Final

from asyncpg import UniqueViolationError

from ledger.queries import load
from meter.host.sign_in import (
    MAX_SECONDS,
    Act,
    Person,
    Session,
    digest_of,
    form_token,
    has_ended,
    is_secret,
)
from meter.host.tokens import Identity, KnownToken
from meter.tables import tokens
from meter.tables.connections import Connection, Readers, reading
from meter.values.problems import Problem
from meter.values.text import folded
from meter.values.units import MICROSECONDS

_SQL: Final = load("meter.tables", "console.sql")
NOTED_SECONDS: Final = 60  # a session's use is kept as often
ALL: Final = ""  # persons


class SignIns:
    """The persons and sessions of one running service, as its pages need them.

    All times are microseconds. Whatever is written is durable when a method returns; each raises
    `Problem` `unavailable`.
    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def session(self, secret: str, now: int, *, is_used: bool) -> Session | None:
        """Return the session of a cookie, unless it has ended; note that it `is_used`."""
        if not is_secret(secret):
            return None
        digest = digest_of(secret)
        async with reading(self._readers, snapshot=False) as connection:
            row = await connection.fetchrow(_SQL["session"], digest)
            if row is None or has_ended(row["role"], row["began_at"], row["used_at"], now):
                return None
            if is_used and now - row["used_at"] >= NOTED_SECONDS * MICROSECONDS:
                await connection.execute(_SQL["use_session"], digest, now)
        ends_at = row["began_at"] + MAX_SECONDS * MICROSECONDS
        return Session(_person(row), digest, form_token(secret), ends_at)

    async def sign_in_by_link(self, link: str, secret: str, now: int) -> Person:
        """Begin a session for the person of a link, which is used up. Raises `sign_in_failed`."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            person = await _use(connection, link, now)
            if person is None or person.ended_at is not None or person.issuer:
                raise Problem("sign_in_failed", "the link was used, or is too old")
            await _begin(connection, person, secret, now)
            return person

    async def sign_in_at_issuer(self, issuer: str, subject: str, secret: str, now: int) -> Person:
        """Begin a session for whom an issuer has signed in. Raises `stranger`."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            person = await person_at(connection, issuer, subject)
            if person is None:
                raise Problem("stranger", f"issuer {issuer}, sub {subject}")
            await _begin(connection, person, secret, now)
            return person

    async def sign_out(self, session: Session, now: int) -> None:
        """End a session."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await connection.execute(_SQL["end_session"], session.digest, now)
            await _note(connection, Act(now, session.who.token_id, "sign_out", ""))

    async def persons(self) -> list[Person]:
        """Return everybody who may sign in, or could, by id."""
        async with reading(self._readers, snapshot=False) as connection:
            return await all_persons(connection)

    async def person(self, name: str) -> Person | None:
        """Return a person."""
        async with reading(self._readers, snapshot=False) as connection:
            return await person_of(connection, name)

    async def persons_after(self, name: str, limit: int) -> list[Person]:
        """Return at most so many of the persons after an id, by id."""
        async with reading(self._readers, snapshot=False) as connection:
            rows = await connection.fetch(_SQL["persons_after"], name, limit)
        return [_person(row) for row in rows]

    async def open_sessions(self, names: Sequence[str], now: int) -> dict[str, int]:
        """Return how many sessions persons may have open; some may have been left for too long."""
        oldest = now - MAX_SECONDS * MICROSECONDS
        async with reading(self._readers, snapshot=False) as connection:
            rows = await connection.fetch(_SQL["open_sessions"], names, oldest)
        return dict.fromkeys(names, 0) | {row["person"]: row["count"] for row in rows}

    async def acts_of(self, name: str, limit: int) -> list[Act]:
        """Return the newest acts of a person, the newest first."""
        async with reading(self._readers, snapshot=False) as connection:
            return [Act(*row) for row in await connection.fetch(_SQL["acts_of"], name, limit)]

    async def add(self, who: Identity, name: str, by: Act) -> None:
        """Let a person sign in. Raises `exists_differently` and `looks_alike`; twice is once."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            if await person_of(connection, who.token_id) == Person(who, name):
                return
            await _note(connection, by)
            await _check_unused(connection, who.token_id)
            if not await add_person(connection, who, name):
                raise Problem("exists_differently", f"there is a person {who.token_id}")

    async def bind(self, name: str, issuer: str, subject: str, by: Act) -> None:
        """Say as whom a person signs in at an issuer. Raises `exists_differently`."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await _note(connection, by)
            try:
                done = await bind_person(connection, name, issuer, subject)
            except UniqueViolationError:
                raise Problem("exists_differently", "somebody else signs in so") from None
            if not done:
                raise Problem("exists_differently", f"{name} signs in otherwise, or has ended")

    async def link(self, name: str, link: str, ends_at: int, by: Act) -> None:
        """Keep a link that signs a person in once, until an instant."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await _note(connection, by)
            await add_link(connection, link, name, ends_at)

    async def end_sessions(self, name: str, by: Act) -> None:
        """End all sessions of a person."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await _note(connection, by)
            await end_sessions(connection, name, by.at)

    async def end(self, name: str, by: Act) -> None:
        """End a person and all sessions."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await _note(connection, by)
            await end_person(connection, name, by.at)

    async def token(self, name: str) -> KnownToken | None:
        """Return a token, as it is kept."""
        async with reading(self._readers, snapshot=False) as connection:
            return await tokens.token(connection, name)

    async def add_token(
        self, who: Identity, digest: bytes, expires_at: int | None, by: Act
    ) -> None:
        """Keep a token. Raises `exists_differently` and `looks_alike`."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await _note(connection, by)
            await _check_unused(connection, who.token_id)
            try:
                await tokens.add_token(connection, who, digest, expires_at)
            except UniqueViolationError:
                raise Problem("exists_differently", f"there is a token {who.token_id}") from None

    async def revoke_token(self, name: str, by: Act) -> None:
        """Revoke a token, from the next request on."""
        async with reading(self._readers, snapshot=False) as connection, connection.transaction():
            await _note(connection, by)
            await tokens.revoke_token(connection, name)

    async def note(self, act: Act) -> None:
        """Write down what a person is about to do."""
        async with reading(self._readers, snapshot=False) as connection:
            await _note(connection, act)


async def _use(connection: Connection, link: str, now: int) -> Person | None:
    """Use a link up, and return whom it signs in, if it does."""
    if not is_secret(link):
        return None
    name = await connection.fetchval(_SQL["use_link"], digest_of(link), now)
    return None if name is None else await person_of(connection, name)


async def _begin(connection: Connection, person: Person, secret: str, now: int) -> None:
    name = person.who.token_id
    await connection.execute(_SQL["begin_session"], digest_of(secret), name, now)
    await _note(connection, Act(now, name, "sign_in", ""))


async def _check_unused(connection: Connection, name: str) -> None:
    """Refuse the id of a token or of a person who signs in, and one that looks like it."""
    for what, spelled in (("token", tokens.spelled_alike), ("person", spelled_alike)):
        known = await spelled(connection, name)
        if known is not None:
            code = "exists_differently" if known == name else "looks_alike"
            raise Problem(code, f"there is a {what} {known}")


async def _note(connection: Connection, act: Act) -> None:
    await connection.execute(_SQL["note_act"], act.at, act.person, act.what, act.path)


# For the operator


async def person_of(connection: Connection, name: str) -> Person | None:
    """Read a person."""
    row = await connection.fetchrow(_SQL["person"], name)
    return None if row is None else _person(row)


async def person_at(connection: Connection, issuer: str, subject: str) -> Person | None:
    """Read the person whom an issuer calls so."""
    row = await connection.fetchrow(_SQL["person_at_issuer"], issuer, subject)
    return None if row is None else _person(row)


async def bind_person(connection: Connection, name: str, issuer: str, subject: str) -> bool:
    """Say as whom a person signs in at an issuer; return whether there was one without that."""
    done = await connection.execute(_SQL["bind_person"], name, issuer, subject)
    return str(done) == "UPDATE 1"


async def all_persons(connection: Connection) -> list[Person]:
    """Read all persons, by id."""
    return [_person(row) for row in await connection.fetch(_SQL["persons"])]


async def spelled_alike(connection: Connection, name: str) -> str | None:
    """Return the id of a person, or one that people could take for it."""
    found = await connection.fetchval(_SQL["person_spelled_alike"], name, folded(name))
    return None if found is None else str(found)


async def add_person(connection: Connection, who: Identity, name: str) -> bool:
    """Keep a person; return whether the id was free."""
    values = who.token_id, who.role, who.subject, name
    return str(await connection.execute(_SQL["add_person"], *values)) == "INSERT 0 1"


async def end_person(connection: Connection, name: str, now: int) -> bool:
    """End a person and all sessions; return whether there was one to end."""
    async with connection.transaction():
        await connection.execute(_SQL["end_sessions"], name, now)
        return await connection.execute(_SQL["end_person"], name, now) == "UPDATE 1"


async def end_sessions(connection: Connection, person: str, now: int) -> None:
    """End the sessions of a person, or of `ALL`; where none is open, nothing is written."""
    if await connection.fetchval(_SQL["has_sessions"], person):
        await connection.execute(_SQL["end_sessions"], person, now)


async def add_link(connection: Connection, link: str, person: str, ends_at: int) -> None:
    """Keep a link that signs a person in once, until an instant."""
    await connection.execute(_SQL["add_link"], digest_of(link), person, ends_at)


async def acts(connection: Connection) -> Sequence[Act]:
    """Read all that people did, in its order."""
    return [Act(*row) for row in await connection.fetch(_SQL["acts"])]


def _person(row: Any) -> Person:
    who = Identity(row["id"], row["role"], row["subject"])
    return Person(who, row["name"], row["issuer"], row["subject_there"], row["ended_at"])
