"""Make a ledger and open its database: keys, tables, entry 0, a token for each person."""

import asyncio
import base64
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import store as ledger_store
from ledger.canon import decode, encode
from ledger.files import open_private
from ledger.note import Signer
from ledger.roles import Roles
from meter.host.clock import SYSTEM_CLOCK, Clock, LastEntry, doubt_at_start
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder, database_url
from meter.host.keys import Keys, public_text
from meter.host.postgres import Embedded, PostgresError
from meter.host.tokens import TOKEN_ID, Identity, Token, new_token
from meter.publish.export import export
from meter.rules.entries import FLOORED_CLASSES, FirstPerson, Genesis, ReceiptKey
from meter.rules.kinds.people import FEWEST_PERSONS
from meter.rules.kinds.table import read_entry
from meter.rules.two_persons import ALONE
from meter.tables import connections, faults, tokens, write
from meter.tables.sessions import Address
from meter.values.origin import is_origin, is_trial
from meter.values.text import ALIKE, folded

RECEIPT_KEYID: Final = "receipt-1"


ONE_PERSON: Final = "authority"  # the id of the person of a trial ledger


CONTRACT_LIMIT: Final = 100_000_000  # fen; a contract of more needs two persons


@dataclass(frozen=True, slots=True)
class Authority:
    """The first persons of a ledger; with `is_trial` there is one, who does all."""

    persons: Sequence[str]
    is_trial: bool = False
    contract_limit: int = CONTRACT_LIMIT


TRIAL: Final = Authority((ONE_PERSON,), is_trial=True)


class SetupError(Exception):
    """The ledger cannot be made or opened, with a stable code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Database:
    """The ledger's database: its address, and the embedded server if it is ours."""

    address: Address
    server: Embedded | None = None

    async def wait_for_end(self) -> None:
        """Raise `SetupError` when the embedded server ends; wait for ever for another one."""
        if self.server is None:
            await asyncio.Event().wait()
        else:
            status = await self.server.wait()
            raise SetupError("database_ended", f"PostgreSQL ended with status {status}")


def check_test_clock(origin: str) -> None:
    """Refuse a test clock for a ledger that may be a real one. Raises `SetupError`."""
    if not is_trial(origin):
        raise SetupError("real_origin", f"{origin}: a test clock is for .test and .example hosts")


async def check_clock(
    connection: connections.Connection, clock: Clock, last: LastEntry | None
) -> None:
    """Refuse a clock that cannot be right, unless it is confirmed. Raises `SetupError`."""
    if clock.is_confirmed:
        return
    database_now = await connections.time_elsewhere(connection)
    doubt = doubt_at_start(clock.now(), last, database_now)
    if doubt is not None:
        raise SetupError("wrong_clock", f"{doubt}; if the clock is right, add --clock-is-right")


async def last_entry(connection: connections.Connection) -> LastEntry | None:
    """Return the last entry of the ledger, if it has one."""
    number = (await ledger_store.head(connection)).size - 1
    found = await ledger_store.entries_at(connection, [number])
    if number not in found:
        return None
    entry = read_entry(decode(found[number]))
    return LastEntry(number, entry.kind, entry.at)


async def initialise(
    folder: DataFolder,
    origin: str,
    authority: Authority,
    clock: Clock = SYSTEM_CLOCK,
    serving: str = "",
) -> None:
    """Make the keys, the database, entry 0, its published log and a token for each person.

    `serving` is the login of the service where it is another than the one that does all this.
    """
    _check_origin(origin)
    _check_authority(origin, authority)
    if folder.path.exists() and any(folder.path.iterdir()):
        raise SetupError("not_empty", f"{folder.path} holds something already")
    folder.make()
    try:
        await _initialise(folder, origin, authority, clock, serving)
    except BaseException:
        # Nobody has used it, and its remains would block the next try.
        for file in folder.path.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        raise


def _check_origin(origin: str) -> None:
    if not is_origin(origin):
        raise SetupError("bad_origin", f"{origin!r} is not a URL without its scheme")


def _check_authority(origin: str, authority: Authority) -> None:
    """Raise `SetupError` for persons whom no entry 0 could name."""
    if authority.is_trial:
        if not is_trial(origin):
            raise SetupError("real_origin", f"{origin}: one person is for .test and .example hosts")
        if len(authority.persons) != 1:
            raise SetupError("bad_persons", "a ledger of one person names one")
    elif len(authority.persons) < FEWEST_PERSONS:
        raise SetupError("bad_persons", f"name {FEWEST_PERSONS} persons or more")
    for person in authority.persons:
        if not TOKEN_ID.fullmatch(_first_token(person)):
            raise SetupError("bad_name", f"{person!r} is not 1 to 62 of A-Z a-z 0-9 . _ -")
    if len(set(map(folded, authority.persons))) != len(authority.persons):
        raise SetupError("looks_alike", f"the id of one person {ALIKE}")


def _first_token(person: str) -> str:
    return f"{person}-1"


async def _initialise(
    folder: DataFolder, origin: str, authority: Authority, clock: Clock, serving: str
) -> None:
    """Write the keys before the ledger that is made with them: a crash must not lose them."""
    log_key = Signer.from_seed(origin, secrets.token_bytes(32))
    receipt_seed = secrets.token_bytes(32)
    folder.write_secret(folder.log_key, log_key.format())
    folder.log_vkey.write_text(log_key.verifier.format() + "\n", encoding="utf-8")
    folder.write_secret(folder.receipt_key, base64.b64encode(receipt_seed).decode())
    made = {person: new_token(_first_token(person)) for person in authority.persons}
    genesis = _genesis(origin, authority, log_key, receipt_seed, clock.now())
    async with open_database(folder, origin) as database:
        try:
            await _create(database.address, genesis, made.values(), serving, clock)
            # There is always a folder: without one, nothing shows what a database lacks.
            await export(database.address, Keys(folder), folder.log)
            for person, token in made.items():
                folder.write_secret(folder.token_of(person), token.text)
            folder.origin.write_text(origin + "\n", encoding="utf-8")
            await leave_owner(database.address)
        except BaseException:
            with contextlib.suppress(Exception):  # what stopped us may stop this too
                await _discard(database.address, genesis)
            raise


def _genesis(
    origin: str, authority: Authority, log_key: Signer, receipt_seed: bytes, now: int
) -> Genesis:
    receipts = public_text(Ed25519PrivateKey.from_private_bytes(receipt_seed))
    persons = [FirstPerson(person, _first_token(person)) for person in authority.persons]
    return Genesis(
        at=now,
        by=persons[0].token,
        person=persons[0].id,
        postings=[],
        request="init",
        salt=secrets.token_hex(16),
        origin=origin,
        floors=list(FLOORED_CLASSES),
        log_key=log_key.verifier.format(),
        receipt_key=ReceiptKey(RECEIPT_KEYID, "ed25519", receipts),
        persons=persons,
        one_person=authority.is_trial,
        alone=ALONE,
        contract_limit=authority.contract_limit,
    )


async def _create(
    address: Address, genesis: Genesis, made: Iterable[Token], serving: str, clock: Clock
) -> None:
    """Make roles, tables, entry 0 and the tokens in one transaction."""
    connection = await connections.connect(address, owner=True)
    try:
        if await ledger_store.exists(connection):
            raise SetupError("exists", "the database holds a ledger already")
        await ledger_store.check_server(connection)
        await check_clock(connection, clock, None)
        async with connection.transaction():
            await ledger_store.make_roles(connection, address.roles, serving)
            await write.create(connection, address.roles)
            head = await ledger_store.take_over(connection)
            log = await ledger_store.load_log(connection, head, FLOORED_CLASSES)
            data = encode(genesis)
            log.append(data, genesis.at, genesis.postings)
            await ledger_store.append(connection, head.epoch, log.take_group())
            await write.add_genesis(connection, genesis, data)
            for token in made:
                await tokens.add_token(connection, Identity(token.id, "authority"), token.digest)
    finally:
        await connection.close()


async def leave_owner(address: Address) -> None:
    """Give up what only making a ledger needs: whoever serves it is no owner."""
    connection = await connections.connect(address, owner=True)
    try:
        await ledger_store.leave_owner(connection, address.roles)
    finally:
        await connection.close()


async def _discard(address: Address, genesis: Genesis) -> None:
    """Take back a ledger that begins with this very entry and has no other."""
    connection = await connections.connect(address, owner=True)
    try:
        async with connection.transaction():
            if not await ledger_store.exists(connection):
                return
            head = await ledger_store.head(connection)
            first = await ledger_store.entries_at(connection, [0])
            if head.size == 1 and first == {0: encode(genesis)}:
                await write.drop(connection)
    finally:
        await connection.close()


def roles_script(origin: str, serving: str = "") -> str:
    """Return what an administrator runs where our login may make no roles. Raises `SetupError`."""
    _check_origin(origin)
    setup = unquote(urlsplit(database_url() or "").username or "")
    if not setup:
        raise SetupError("no_login", f"{DATABASE_VARIABLE} names no login: postgresql://LOGIN@…")
    return ledger_store.roles_script(Roles.of(origin), setup, serving or setup)


@contextlib.asynccontextmanager
async def open_database(
    folder: DataFolder, origin: str, *, join: bool = False
) -> AsyncIterator[Database]:
    """Open the database of the ledger `origin`; `join` an embedded one that serves already.

    What its driver raises meanwhile becomes `DatabaseFault`, the one line that a command ends with.
    Without `join` that one is refused: a second writer would end the first, and with it the server.
    """
    with faults.told():
        async with _open_server(folder, join=join) as (dsn, server):
            yield Database(Address(dsn, Roles.of(origin)), server)


@contextlib.asynccontextmanager
async def _open_server(
    folder: DataFolder, *, join: bool
) -> AsyncIterator[tuple[str, Embedded | None]]:
    folder.close_to_others(is_in_use=join)
    named = database_url()
    if named is not None:
        yield named, None
        return
    server = Embedded(folder.postgres)
    try:
        dsn = await server.start()
    except PostgresError as error:
        if error.code != "in_use":
            raise
        if not join:
            raise SetupError("in_use", f"a service runs in {folder.path} already") from None
        if not folder.postgres_dsn.exists():
            raise
        yield folder.postgres_dsn.read_text(encoding="utf-8").strip(), None
        return
    try:
        with open_private(folder.postgres_dsn) as file:
            file.write(f"{dsn}\n".encode())
        yield dsn, server
    finally:
        folder.postgres_dsn.unlink(missing_ok=True)
        await server.stop()


def read_origin(folder: DataFolder) -> str:
    """Return the ledger's name."""
    return _read(folder.origin)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SetupError("no_ledger", f"{file}: {error.strerror}; run kashi init first") from None
