"""The work of an operator beside serving: tokens, keys, export, backup, recovery, rebuild."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from ledger.progress import Progress
from ledger.store import Head
from meter.host.clock import Clock
from meter.host.data_folder import DataFolder
from meter.host.keys import Keys, new_log_key, new_receipt_key
from meter.host.tokens import TOKEN_ID, Identity, ListedToken, has_fitting_subject, new_token
from meter.publish.export import export
from meter.service.backup import back_up, in_a_thread, restore, take_log
from meter.service.rebuild import rebuild
from meter.service.recover import Recovered, publish_again, recover
from meter.service.setup import SetupError, leave_owner, open_database, read_origin
from meter.tables import access_log, connections, load, pages, sign_ins, tokens
from meter.values.text import ALIKE
from meter.values.units import MICROSECONDS, add_months, day_of, format_date, parse_date

TOKENS_AT_ONCE: Final = 1_000


async def add_token(folder: DataFolder, identity: Identity, expires_at: int | None = None) -> str:
    """Make a token and return its text; `expires_at` in microseconds. Raises `SetupError`."""
    if not TOKEN_ID.fullmatch(identity.token_id):
        raise SetupError("bad_name", f"{identity.token_id!r} is not 1 to 64 of A-Z a-z 0-9 . _ -")
    if not has_fitting_subject(identity):
        raise SetupError(
            "bad_subject",
            f"{identity.subject!r} does not fit: a provider's token needs its id,"
            " an enterprise's its USCC, the others none",
        )
    token = new_token(identity.token_id)
    async with service_connection(folder) as connection:
        await check_unused(connection, identity.token_id)
        await check_named(connection, identity)
        await tokens.add_token(connection, identity, token.digest, expires_at)
    return token.text


async def is_for_registered(folder: DataFolder, identity: Identity) -> bool:
    """Return whether the ledger has the provider or enterprise that an identity is bound to."""
    async with service_connection(folder) as connection:
        return await tokens.is_for_registered(connection, identity)


async def check_unused(connection: connections.Connection, name: str) -> None:
    """Refuse the id of a token or of a person who signs in, and one that looks like it."""
    for what, spelled_alike in (
        ("token", tokens.spelled_alike),
        ("person", sign_ins.spelled_alike),
    ):
        known = await spelled_alike(connection, name)
        if known == name:
            raise SetupError("exists", f"there is a {what} {known}")
        if known is not None:
            raise SetupError("looks_alike", f"{what} {known} {ALIKE}")


async def check_named(connection: connections.Connection, identity: Identity) -> None:
    """Refuse an id of the authority that the ledger does not name, and any other that it does."""
    people = await load.load_people(connection)
    name = identity.token_id
    if identity.role != "authority":
        if name in people.tokens:
            raise SetupError("exists", f"{name} is a token of {people.tokens[name].person}")
    elif people.person_of(name) is None:
        detail = f"the ledger names no token {name} that is in force: POST /v1/tokens comes first"
        raise SetupError("not_named", detail)


async def list_tokens(folder: DataFolder) -> list[ListedToken]:
    """Return all tokens by id."""
    found: list[ListedToken] = []
    async with service_connection(folder) as connection:
        page = await pages.tokens(connection, "", "", TOKENS_AT_ONCE)
        while page.items:
            found += [each for each in page.items if not each.signs_in]
            last = page.items[-1].identity.token_id
            page = await pages.tokens(connection, "", last, TOKENS_AT_ONCE)
    return found


async def revoke_token(folder: DataFolder, token_id: str) -> None:
    """Revoke a token, from the next request on. Raises `SetupError`."""
    async with service_connection(folder) as connection:
        if not await tokens.revoke_token(connection, token_id):
            raise SetupError("no_token", f"there is no token {token_id} to revoke")


async def prune_access_log(folder: DataFolder, months: int, clock: Clock) -> int:
    """Delete what the access log holds of days before so many months; return how many rows.

    The database itself keeps those of the last six months. Raises `SetupError`.
    """
    today = format_date(clock.now() // MICROSECONDS)
    before = day_of(parse_date(add_months(today, -months)))
    async with open_database(folder, read_origin(folder), join=True) as database:
        connection = await connections.connect(database.address, owner=True)
        try:
            return await access_log.prune(connection, before)
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def service_connection(folder: DataFolder) -> AsyncIterator[connections.Connection]:
    """Connect to a ledger's database as its service, which may run."""
    async with open_database(folder, read_origin(folder), join=True) as database:
        connection = await connections.connect(database.address)
        try:
            yield connection
        finally:
            await connection.close()


def new_key(folder: DataFolder, kind: str) -> dict[str, str]:
    """Make a key, "log" or "receipt"; return the body of the command to add it."""
    origin = read_origin(folder)
    if kind == "log":
        return {"vkey": new_log_key(folder, origin)}
    file, public = new_receipt_key(folder)
    return {"keyid": file.stem, "algorithm": "ed25519", "public_key": public}


async def export_to(folder: DataFolder, out: Path, progress: Progress | None = None) -> Head:
    """Export the ledger; see `meter.publish.export`."""
    async with open_database(folder, read_origin(folder), join=True) as database:
        return await export(database.address, Keys(folder), out, progress)


async def back_up_from(folder: DataFolder, out: Path, progress: Progress | None = None) -> int:
    """Copy database and published log; see `meter.service.backup`."""
    async with open_database(folder, read_origin(folder), join=True) as database:
        return await back_up(database.address, folder, out, progress)


async def recover_in(
    folder: DataFolder, backup: Path | None, progress: Progress | None = None
) -> Recovered:
    """Restore a backup's database, if one is named, and roll it forward; see `service.recover`."""
    if backup is not None:
        await in_a_thread(partial(take_log, backup, folder))
    async with open_database(folder, read_origin(folder)) as database:
        if backup is not None:
            await restore(database.address, backup)
        done = await recover(database.address, folder, progress)
        await leave_owner(database.address)
        return done


async def publish_again_in(
    folder: DataFolder, note: bytes, progress: Progress | None = None
) -> Head:
    """Write a lost folder again; see `meter.service.recover`."""
    async with open_database(folder, read_origin(folder)) as database:
        return await publish_again(database.address, folder, note, progress)


async def rebuild_in(folder: DataFolder, progress: Progress | None = None) -> Head:
    """Rebuild the read models; see `meter.service.rebuild`."""
    async with open_database(folder, read_origin(folder)) as database:
        return await rebuild(database.address, progress)
