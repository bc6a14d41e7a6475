"""Put the parts together: keys, database, intake and HTTP, as one running service.

`initialise` makes a ledger, `running` serves one until it is left, `open_database` opens whichever
database the ledger has, starting the embedded one where needed.
"""

import asyncio
import base64
import contextlib
import gc
import re
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import store as ledger_store
from ledger.canon import encode
from ledger.errors import BadPolicy
from ledger.folder import FolderReader
from ledger.note import Signer
from ledger.store import Head
from meter.api.app import make_app
from meter.api.context import Context
from meter.api.streams import Streams
from meter.backup import back_up, restore, take_log
from meter.host import logs, tokens
from meter.host.clock import Clock, system_clock
from meter.host.data_folder import DataFolder, database_url
from meter.host.keys import Keys, new_log_key, new_receipt_key, public_text
from meter.host.metrics import Metrics
from meter.host.postgres import Embedded, PostgresError
from meter.host.tokens import Identity
from meter.host.watermark import Committed
from meter.http.connections import listening
from meter.intake import Intake
from meter.publish.export import export
from meter.publish.folder import PATIENCE_SECONDS, Publishing
from meter.publish.witnesses import Witnesses, read_policy
from meter.rebuild import rebuild
from meter.recover import Recovered, publish_again, recover
from meter.rules.entries import FLOORED_CLASSES, Genesis, ReceiptKey
from meter.tables import connections, load, tokens, write
from meter.values.problems import Problem

RECEIPT_KEYID: Final = "receipt-1"
AUTHORITY_TOKEN_ID: Final = "authority-1"  # noqa: S105 - an id, not a secret

Progress = Callable[[int, int], None]

_log: Final = logs.logger(__name__)

_ORIGIN: Final = re.compile(r"[a-z0-9][a-z0-9.-]*(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*")
_TEST_HOST: Final = re.compile(r"(?:^|\.)(?:test|example)$")


class SetupError(Exception):
    """The ledger cannot be made or opened, with a stable code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Running:
    """A running service: where it listens, its database, and how to learn that it must end.

    `published` tells how far the log's folder holds what is committed.
    """

    url: str
    dsn: str
    intake: Intake
    published: Committed
    ended: "asyncio.Task[None]"


@dataclass(frozen=True, slots=True)
class Witnessing:
    """How long the witnesses are waited for, and whether too few of them hold a checkpoint back."""

    seconds: float = 2.0
    without_quorum: bool = False


@dataclass(frozen=True, slots=True)
class Database:
    """The ledger's database: its DSN, and the embedded server if it is ours."""

    dsn: str
    server: Embedded | None = None

    async def lost(self) -> None:
        """Wait until our own server ends, and raise; of another's we learn by its silence."""
        if self.server is None:
            await asyncio.Event().wait()
        else:
            status = await self.server.wait()
            raise SetupError("database_ended", f"PostgreSQL ended with status {status}")


def check_test_clock(origin: str) -> None:
    """Refuse a test clock for a ledger that may be a real one. Raises `SetupError`."""
    host = origin.partition("/")[0].partition(":")[0]
    if not _TEST_HOST.search(host):
        raise SetupError("real_origin", f"{origin}: a test clock is for .test and .example hosts")


async def initialise(folder: DataFolder, origin: str, clock: Clock = system_clock) -> None:
    """Make the keys, the database, entry 0, its published log and the authority's first token."""
    if not _ORIGIN.fullmatch(origin) or len(origin) > 200:
        raise SetupError("bad_origin", f"{origin!r} is not a URL without its scheme")
    if folder.path.exists() and any(folder.path.iterdir()):
        raise SetupError("not_empty", f"{folder.path} holds something already")
    # Others may pass through, for the account that runs an embedded database; keys are 0600.
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o711)
    try:
        await _initialise(folder, origin, clock)
    except Exception:
        # Nobody has used it, and what is left of it would stand in the way of the next try.
        for file in folder.path.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        raise


async def _initialise(folder: DataFolder, origin: str, clock: Clock) -> None:
    """Write the keys before the ledger that is made with them: a crash must not lose them."""
    log_key = Signer.from_seed(origin, secrets.token_bytes(32))
    receipt_seed = secrets.token_bytes(32)
    folder.write_secret(folder.log_key, log_key.format())
    folder.log_vkey.write_text(log_key.verifier.format() + "\n", encoding="utf-8")
    folder.write_secret(folder.receipt_key, base64.b64encode(receipt_seed).decode())
    token = tokens.new_token(AUTHORITY_TOKEN_ID)
    genesis = _genesis(origin, log_key, receipt_seed, clock())
    async with open_database(folder) as database:
        await _create(database.dsn, genesis, token)
        # From here on there is always a folder: without one, nothing shows what a database lacks.
        await export(database.dsn, Keys(folder), folder.log)
    folder.write_secret(folder.authority_token, token.text)
    folder.origin.write_text(origin + "\n", encoding="utf-8")


def _genesis(origin: str, log_key: Signer, receipt_seed: bytes, now: int) -> Genesis:
    receipts = public_text(Ed25519PrivateKey.from_private_bytes(receipt_seed))
    return Genesis(
        at=now,
        by=AUTHORITY_TOKEN_ID,
        postings=[],
        request="init",
        salt=secrets.token_hex(16),
        origin=origin,
        floors=list(FLOORED_CLASSES),
        log_key=log_key.verifier.format(),
        receipt_key=ReceiptKey(RECEIPT_KEYID, "ed25519", receipts),
    )


async def _create(dsn: str, genesis: Genesis, token: tokens.Token) -> None:
    """Make tables, entry 0 and the token in one transaction."""
    connection = await connections.connect(dsn, owner=True)
    try:
        if await ledger_store.exists(connection):
            raise SetupError("exists", "the database holds a ledger already")
        await ledger_store.check_durability(connection)
        async with connection.transaction():
            await write.create(connection)
            head = await ledger_store.take_over(connection)
            log = await ledger_store.load_log(connection, head, FLOORED_CLASSES)
            data = encode(genesis)
            log.append(data, genesis.at, genesis.postings)
            await ledger_store.append(connection, head.epoch, log.take_group())
            await write.add_registration(connection, 0, genesis.kind, data)
            await tokens.add_token(connection, Identity(token.id, "authority"), token.digest)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def open_database(folder: DataFolder, *, join: bool = False) -> AsyncIterator[Database]:
    """Open the ledger's database; `join` an embedded one that serves already.

    Without `join` that one is refused: a second writer would end the first, and with it the server.
    """
    named = database_url()
    if named is not None:
        yield Database(named)
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
        yield Database(folder.postgres_dsn.read_text(encoding="utf-8").strip())
        return
    try:
        folder.postgres_dsn.write_text(dsn + "\n", encoding="utf-8")
        yield Database(dsn, server)
    finally:
        folder.postgres_dsn.unlink(missing_ok=True)
        await server.stop()


@contextlib.asynccontextmanager
async def running(
    folder: DataFolder,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock = system_clock,
    witnessing: Witnessing = Witnessing(),
) -> AsyncIterator[Running]:
    """Serve a ledger; `port` 0 takes a free one. `ended` fails when the service must stop."""
    read_origin(folder)  # without it there is no ledger here
    keys = Keys(folder)
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(folder))
        dsn = database.dsn
        witnesses = await stack.enter_async_context(
            _witnesses(folder, await _signing_keys(dsn, keys), witnessing)
        )
        intake = Intake(
            lambda: connections.connect(dsn, writer=True),
            keys,
            clock,
            lambda: secrets.token_hex(16),
            metrics,
        )
        publishing = Publishing(
            folder.log,
            lambda: connections.connect(dsn, patience_seconds=PATIENCE_SECONDS),
            keys,
            intake.committed,
            witnesses,
            metrics,
        )
        await publishing.start()
        await intake.start()
        stack.push_async_callback(intake.stop)
        sequencer = asyncio.create_task(intake.run())
        stack.push_async_callback(_cancel, sequencer)
        readers = await connections.connect_readers(dsn)
        stack.push_async_callback(readers.close)
        publisher = asyncio.create_task(publishing.run())
        stack.push_async_callback(publishing.stop)
        stack.push_async_callback(_cancel, publisher)
        app = make_app(
            Context(
                intake=intake,
                readers=readers,
                metrics=metrics,
                keys=keys,
                log_folder=folder.log,
                published=publishing.published,
                clock=clock,
                streams=Streams(metrics),
            )
        )
        url = await stack.enter_async_context(listening(app, host, port))
        stack.callback(intake.committed.close)  # open event streams end, and do not hold us up
        ended = asyncio.create_task(_first_end([sequencer, publisher], database))
        stack.push_async_callback(_cancel, ended)
        _log.info("started", url=url, size=intake.committed.size)
        yield Running(url, dsn, intake, publishing.published, ended)
        _log.info("stopping", size=intake.committed.size)


def settle_interpreter() -> None:
    """Tune Python for a process that does nothing but serve.

    A group makes ten thousands of objects that hold no cycles and are gone with it, so the garbage
    collector may look less often, and never at what was loaded. A thread that publishes or
    proves must not hold up answers for the usual 5 ms at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(0.0005)


async def _first_end(tasks: "list[asyncio.Task[None]]", database: Database) -> None:
    """Raise what ended first: the sequencer, the publisher, or the embedded database under them."""
    lost: asyncio.Task[Any] = asyncio.create_task(database.lost())
    try:
        done, _ = await asyncio.wait([*tasks, lost], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        lost.cancel()


async def until_interrupted(service: Running) -> None:
    """Wait for SIGINT or SIGTERM; raises what ended the service, should it end first."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    waiting: asyncio.Task[Any] = asyncio.create_task(interrupted.wait())
    await asyncio.wait([waiting, service.ended], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if service.ended.done():
        await service.ended


async def add_token(folder: DataFolder, identity: Identity, expires_at: int | None = None) -> str:
    """Make a token and give its text; `expires_at` in microseconds. Raises `SetupError`."""
    if not tokens.TOKEN_ID.fullmatch(identity.token_id):
        raise SetupError("bad_name", f"{identity.token_id!r} is not 1 to 64 of A-Z a-z 0-9 . _ -")
    if not tokens.has_fitting_subject(identity):
        raise SetupError(
            "bad_subject",
            "a provider's token needs its id, an enterprise's its USCC, the others none",
        )
    token = tokens.new_token(identity.token_id)
    async with _service_connection(folder) as connection:
        if await tokens.token(connection, identity.token_id) is not None:
            raise SetupError("exists", f"there is a token {identity.token_id}")
        await tokens.add_token(connection, identity, token.digest, expires_at)
    return token.text


async def revoke_token(folder: DataFolder, token_id: str) -> None:
    """Revoke a token, from the next request on. Raises `SetupError`."""
    async with _service_connection(folder) as connection:
        if not await tokens.revoke_token(connection, token_id):
            raise SetupError("no_token", f"there is no token {token_id} to revoke")


@contextlib.asynccontextmanager
async def _service_connection(folder: DataFolder) -> AsyncIterator[connections.Connection]:
    async with open_database(folder, join=True) as database:
        connection = await connections.connect(database.dsn)
        try:
            yield connection
        finally:
            await connection.close()


def new_key(folder: DataFolder, kind: str) -> tuple[str, dict[str, str]]:
    """Make a key of the kind "log" or "receipt"; give the URL and body of the command to add it."""
    origin = read_origin(folder)
    if kind == "log":
        return "/v1/log-keys", {"vkey": new_log_key(folder, origin)}
    file, public = new_receipt_key(folder)
    return "/v1/receipt-keys", {"keyid": file.stem, "algorithm": "ed25519", "public_key": public}


async def export_to(folder: DataFolder, out: Path, progress: Progress | None = None) -> Head:
    """Export the ledger; see `meter.publish.export`."""
    read_origin(folder)
    async with open_database(folder, join=True) as database:
        return await export(database.dsn, Keys(folder), out, progress)


async def back_up_from(folder: DataFolder, out: Path, progress: Progress | None = None) -> int:
    """Copy database and published log; see `meter.backup`."""
    read_origin(folder)
    async with open_database(folder, join=True) as database:
        return await back_up(database.dsn, folder, out, progress)


async def recover_in(
    folder: DataFolder, backup: Path | None, progress: Progress | None = None
) -> Recovered:
    """Restore a backup's database, if one is named, and roll it forward; see `meter.recover`."""
    if backup is not None:
        await asyncio.to_thread(take_log, backup, folder)
    read_origin(folder)
    async with open_database(folder) as database:
        if backup is not None:
            await restore(database.dsn, backup)
        return await recover(database.dsn, folder, progress)


async def publish_again_in(
    folder: DataFolder, note: bytes, progress: Progress | None = None
) -> Head:
    """Write a lost folder again; see `meter.recover`."""
    read_origin(folder)
    async with open_database(folder) as database:
        return await publish_again(database.dsn, folder, note, progress)


async def rebuild_in(folder: DataFolder, progress: Progress | None = None) -> Head:
    """Rebuild the read models; see `meter.rebuild`."""
    async with open_database(folder) as database:
        return await rebuild(database.dsn, progress)


def read_origin(folder: DataFolder) -> str:
    """Give the ledger's name."""
    return _read(folder.origin)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _witnesses(folder: DataFolder, vkeys: Collection[str], witnessing: Witnessing) -> Witnesses:
    """Make those whom the policy file names, if there is one. Raises `SetupError`."""
    try:
        policy = read_policy(folder.witnesses_policy, vkeys)
    except BadPolicy as error:
        raise SetupError(error.code, f"{folder.witnesses_policy}: {error.detail}") from None
    reader = FolderReader(folder.log)
    return Witnesses(
        policy,
        lambda old, new: reader.tree(new).consistency_proof(old, new),
        time_limit_seconds=witnessing.seconds,
        publish_without_quorum=witnessing.without_quorum,
    )


async def _signing_keys(dsn: str, keys: Keys) -> list[str]:
    """Give the log keys that sign now, as vkeys.

    Refuses a ledger for which keys are missing here, before its writer is shut out.
    """
    async with connections.told_as_away():
        connection = await connections.connect(dsn)
        try:
            head = await ledger_store.head(connection)
            state = await load.load_service_keys(connection)
        finally:
            await connection.close()
    if state.genesis is None:
        raise SetupError("no_genesis", "the database holds no entry 0")
    try:
        keys.receipt_signers(state, head.size)
        signers = keys.checkpoint_signers(state, head.size)
    except Problem as problem:
        raise SetupError("wrong_keys", f"{state.genesis.origin}: {problem.detail}") from None
    return [signer.verifier.format() for signer in signers]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SetupError("no_ledger", f"{file}: {error.strerror}; run kashi init first") from None
