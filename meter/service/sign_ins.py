"""`kashi person`: an operator says who may sign in to the pages, and as whom.

Of the authority the ledger names each id first, as it names a token (`POST /v1/tokens`). An id is
then either a token's or a person's: whoever holds the secret of a token has no double.
"""

import re

from meter.host.data_folder import DataFolder
from meter.host.sign_in import LINK_SECONDS, MAX_NAME, Act, Person, new_secret
from meter.host.sign_in_file import FILE, BadSignInFile, read_sign_in
from meter.host.tokens import TOKEN_ID, Identity, has_fitting_subject
from meter.service.admin import check_named, check_unused, service_connection
from meter.service.setup import SetupError
from meter.tables import sign_ins
from meter.tables.connections import Connection
from meter.values.text import VISIBLE, check_text
from meter.values.units import MICROSECONDS


async def add_person(folder: DataFolder, who: Identity, name: str) -> None:
    """Let a person sign in; `who.token_id` is the person's id. Raises `SetupError`."""
    if not TOKEN_ID.fullmatch(who.token_id):
        raise SetupError("bad_name", f"{who.token_id!r} is not 1 to 64 of A-Z a-z 0-9 . _ -")
    if not has_fitting_subject(who):
        raise SetupError(
            "bad_subject",
            f"{who.subject!r} does not fit: a provider's person needs its id,"
            " an enterprise's its USCC, the others none",
        )
    _check_shown(name)
    async with service_connection(folder) as connection:
        await check_unused(connection, who.token_id)
        await check_named(connection, who)
        await sign_ins.add_person(connection, who, name)


def _check_shown(name: str) -> None:
    try:
        check_text(name)
    except ValueError as error:
        raise SetupError("bad_name", str(error)) from None
    if not re.match(VISIBLE, name) or len(name) > MAX_NAME:
        raise SetupError("bad_name", f"pages call a person something of 1 to {MAX_NAME} characters")


async def list_persons(folder: DataFolder) -> list[Person]:
    """Return all persons by id."""
    async with service_connection(folder) as connection:
        return await sign_ins.all_persons(connection)


async def end_person(folder: DataFolder, name: str, now: int) -> None:
    """End a person and all sessions, from the next request on. Raises `SetupError`."""
    async with service_connection(folder) as connection:
        if not await sign_ins.end_person(connection, name, now):
            raise SetupError("no_person", f"there is no person {name} to end")


async def bind_person(folder: DataFolder, name: str, subject: str) -> None:
    """Say as whom a person signs in at the configured issuer. Raises `SetupError`."""
    try:
        _, issuer = read_sign_in(folder.path)
    except BadSignInFile as error:
        raise SetupError("bad_sign_in", str(error)) from None
    if issuer is None:
        raise SetupError("no_issuer", f"{folder.path / FILE} names no issuer")
    async with service_connection(folder) as connection:
        await check_named(connection, (await _active(connection, name)).who)
        known = await sign_ins.person_at(connection, issuer.url, subject)
        if known is not None:
            raise SetupError("exists", f"{known.who.token_id} signs in so")
        if not await sign_ins.bind_person(connection, name, issuer.url, subject):
            raise SetupError(
                "exists", f"{name} signs in otherwise: end this person, and add another"
            )


async def make_link(folder: DataFolder, name: str, now: int, seconds: int = LINK_SECONDS) -> str:
    """Return the path of a page that signs a person in once. Raises `SetupError`."""
    async with service_connection(folder) as connection:
        person = await _active(connection, name)
        if person.issuer:
            raise SetupError("exists", f"{name} signs in at {person.issuer}")
        await check_named(connection, person.who)
        link = new_secret()
        await sign_ins.add_link(connection, link, name, now + seconds * MICROSECONDS)
    return f"/zh/sign-in/link?code={link}"


async def list_acts(folder: DataFolder) -> list[Act]:
    """Return what all people did on the pages, in its order."""
    async with service_connection(folder) as connection:
        return list(await sign_ins.acts(connection))


async def _active(connection: Connection, name: str) -> Person:
    person = await sign_ins.person_of(connection, name)
    if person is None or person.ended_at is not None:
        raise SetupError("no_person", f"there is no person {name} who may sign in")
    return person
