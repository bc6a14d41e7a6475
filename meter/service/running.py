"""The running service: keys, database, clock, intake, publishing and HTTP, put together."""

import asyncio
import contextlib
import gc
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from ledger import store as ledger_store
from ledger.errors import BadPolicy
from ledger.folder import FolderReader
from meter.api.app import make_operator_app
from meter.api.context import AllMetrics
from meter.host import logs
from meter.host.clock import SYSTEM_CLOCK, Clock, WatchedClock
from meter.host.data_folder import DataFolder, database_url
from meter.host.keys import Keys, webhook_key
from meter.host.metrics import Metrics
from meter.host.sign_in_file import BadSignInFile, read_sign_in
from meter.host.watermark import Watermark
from meter.http.connections import listening
from meter.intake import Intake
from meter.publish.alerts import Alerts
from meter.publish.folder import PATIENCE_SECONDS, Publishing
from meter.publish.looker import Looker
from meter.publish.mail import Mail
from meter.publish.webhooks import Webhooks
from meter.publish.witnesses import Witnesses, read_policy
from meter.service.access_digests import AccessDigests
from meter.service.serving import Answering, answering, sending_of
from meter.service.setup import (
    Database,
    SetupError,
    check_clock,
    last_entry,
    open_database,
    read_origin,
)
from meter.service.state_digests import StateDigests
from meter.tables import connections, load
from meter.tables.faults import DatabaseFault
from meter.tables.registry import Registry
from meter.tables.sessions import Address
from meter.values.problems import Problem

Notices = dict[str, dict[str, str]]  # values by event

RETRY_SECONDS: Final = 0.5  # between looks at a database that is awaited
_PASSING: Final = {"unavailable", "read_only"}  # faults that a fail-over mends

_log: Final = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """A running service: where it listens, its database, and how to learn that it must end.

    `published` is the watermark of the log's folder; `metrics_url` is where all metrics are, those
    of money too, empty where nobody asked for it.
    """

    url: str
    metrics_url: str
    address: Address
    readers: connections.Readers
    clock: WatchedClock
    metrics: Metrics
    intake: Intake
    published: Watermark
    ended: "asyncio.Task[None]"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen; `port` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True, slots=True)
class Witnessing:
    """How long to wait for witnesses, and whether to publish without a quorum of them."""

    seconds: float = 2.0
    without_quorum: bool = False


@contextlib.asynccontextmanager
async def running(  # noqa: PLR0913, PLR0917 - one argument for each part
    folder: DataFolder,
    endpoint: Endpoint = Endpoint(),
    clock: Clock = SYSTEM_CLOCK,
    witnessing: Witnessing = Witnessing(),
    own: Endpoint | None = None,
    patience_seconds: float = 0,
) -> AsyncIterator[Running]:
    """Serve a ledger, and where `own` is named there all its metrics.

    `ended` fails when the service must stop. A database that is away, or takes no writes, is waited
    for at most `patience_seconds`.
    """
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(folder, read_origin(folder)))
        address = database.address
        await wait_for_writes(address, patience_seconds)
        lead = leading(folder, address, clock, witnessing, metrics)
        leader = await stack.enter_async_context(lead)
        intake, published = leader.intake, leader.published
        readers = await connections.connect_readers(address)
        stack.push_async_callback(readers.close)
        parts = Answering(
            folder=folder,
            readers=readers,
            submissions=intake,
            registry=leader.registry,
            published=published,
            clock=leader.clock,
            metrics=metrics,
            all_metrics=metrics.public_text,
        )
        url = await stack.enter_async_context(answering(parts, endpoint.host, endpoint.port))
        own_listener = listening_to_operator(metrics, metrics.public_text, own)
        metrics_url = await stack.enter_async_context(own_listener)
        ended = _begin(stack, first_end(leader.tasks, database))
        _log.info("started", url=url, size=intake.watermark.size)
        yield Running(
            url, metrics_url, address, readers, leader.clock, metrics, intake, published, ended
        )
        _log.info("stopping", size=intake.watermark.size)


@dataclass(frozen=True, slots=True)
class Leading:
    """What decides, commits and publishes; the service must end when one of its `tasks` does."""

    clock: WatchedClock
    intake: Intake
    registry: Registry
    published: Watermark
    tasks: "list[asyncio.Task[None]]"


@contextlib.asynccontextmanager
async def leading(  # noqa: PLR0913, PLR0917 - one argument for each part
    folder: DataFolder,
    address: Address,
    clock: Clock,
    witnessing: Witnessing,
    metrics: Metrics,
    holder: str = "",
) -> AsyncIterator[Leading]:
    """Take the ledger over, decide what is submitted, and publish it. Raises `SetupError`.

    `holder` is whose lease that is done under, empty where no turn is waited for.
    """
    keys, watched, registry = Keys(folder), WatchedClock(clock), Registry()
    async with contextlib.AsyncExitStack() as stack:
        vkeys, notices = await look(address, keys, clock)
        witnesses = await stack.enter_async_context(_witnesses(folder, vkeys, witnessing))
        intake = Intake(
            lambda: connections.connect(address, writer=True),
            keys,
            watched,
            lambda: secrets.token_hex(16),
            metrics,
            registry,
            holder,
        )
        publishing = Publishing(
            folder.log,
            lambda: connections.connect(address, patience_seconds=PATIENCE_SECONDS),
            keys,
            intake.watermark,
            witnesses,
            metrics,
            intake.writer.held_epoch,
        )
        await publishing.start()
        await intake.start()
        stack.push_async_callback(intake.stop)
        tasks = [_begin(stack, intake.run())]
        readers = await connections.connect_readers(address)
        stack.push_async_callback(readers.close)
        alerting = _alerting(folder, readers, registry, watched, metrics)
        sender = await stack.enter_async_context(alerting)
        tasks += [
            _begin(stack, sender.run()),
            _begin(stack, Looker(readers, registry, watched).run()),
            _begin(stack, AccessDigests(readers, intake, watched).run()),
            _begin(stack, StateDigests(readers, intake).run()),
        ]
        stack.push_async_callback(publishing.stop)
        tasks.append(_begin(stack, publishing.run()))
        for event, values in notices.items():
            _log.warning(event, **values)
        yield Leading(watched, intake, registry, publishing.published, tasks)


@contextlib.asynccontextmanager
async def _alerting(
    folder: DataFolder,
    readers: connections.Readers,
    registry: Registry,
    clock: WatchedClock,
    metrics: Metrics,
) -> AsyncIterator[Alerts]:
    """Yield what sends alerts. Raises `SetupError`."""
    try:
        sending, (entrance, _) = sending_of(folder), read_sign_in(folder.path)
    except BadSignInFile as error:
        raise SetupError("bad_sign_in", str(error)) from None
    mail = None if sending.mail is None else Mail(sending.mail, sending.tls(), entrance.site)
    try:
        key = webhook_key(folder)
    except Problem as problem:
        raise SetupError("wrong_keys", problem.detail) from None
    async with Webhooks(sending, key) as webhooks:
        yield Alerts(readers, registry, clock, webhooks, mail, metrics)


@contextlib.asynccontextmanager
async def listening_to_operator(
    metrics: Metrics, all_metrics: AllMetrics, own: Endpoint | None
) -> AsyncIterator[str]:
    """Serve all metrics at an endpoint; yield their URL, empty where nobody asked for one."""
    if own is None:
        yield ""
        return
    async with listening(make_operator_app(metrics, all_metrics), own.host, own.port) as url:
        yield url + "/metrics"


async def wait_for_writes(address: Address, patience_seconds: float) -> None:
    """Wait for a database that fails over. Raises `DatabaseFault` where it takes too long."""
    deadline, told = time.monotonic() + patience_seconds, ""
    while True:
        try:
            await _check_takes_writes(address)
        except DatabaseFault as fault:
            if fault.code not in _PASSING or time.monotonic() >= deadline:
                raise
            if fault.code != told:
                told = fault.code
                _log.warning("database_awaited", code=fault.code, seconds=patience_seconds)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def _check_takes_writes(address: Address) -> None:
    connection = await connections.connect(address)
    try:
        if not await ledger_store.takes_writes(connection):
            raise DatabaseFault("read_only", "the database takes no writes: a standby, or set so")
    finally:
        await connection.close()


def settle_interpreter() -> None:
    """Tune Python for a process that does nothing but serve.

    A group makes ten thousands of objects that hold no cycles and are gone with it, so the garbage
    collector may look less often, and never at what was loaded. A thread that publishes or
    proves must not hold up responses for the usual 5 ms at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(0.0005)


async def first_end(tasks: "list[asyncio.Task[None]]", database: Database) -> None:
    """Raise what ended first: the sequencer, the publisher, or the embedded database under them."""
    lost: asyncio.Task[Any] = asyncio.create_task(database.wait_for_end())
    try:
        done, _ = await asyncio.wait([*tasks, lost], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        lost.cancel()


async def until_interrupted(clock: WatchedClock, ended: "asyncio.Task[None]") -> None:
    """Wait for SIGINT or SIGTERM; raise what `ended` the service, should it end first.

    Meanwhile SIGUSR1 confirms the clock.
    """
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    loop.add_signal_handler(signal.SIGUSR1, clock.confirm)
    waiting: asyncio.Task[Any] = asyncio.create_task(interrupted.wait())
    await asyncio.wait([waiting, ended], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if ended.done():
        await ended


def _begin(
    stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]
) -> "asyncio.Task[None]":
    """Begin a task, which the end of the stack cancels."""
    task = asyncio.create_task(work)
    stack.push_async_callback(_cancel, task)
    return task


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _witnesses(folder: DataFolder, vkeys: Collection[str], witnessing: Witnessing) -> Witnesses:
    """Return the witnesses that the policy file names, if there is one. Raises `SetupError`."""
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


async def look(address: Address, keys: Keys, clock: Clock) -> tuple[list[str], Notices]:
    """Return the vkeys of the log keys that sign now, and what is to be noted of the database.

    Raises `SetupError` where a private key is missing or the clock cannot be right, before the
    present writer is ended.
    """
    connection = await connections.connect(address)
    try:
        notices = await _notices(connection, address)
        head = await ledger_store.head(connection)
        state = await load.load_service_keys(connection)
        await check_clock(connection, clock, await last_entry(connection))
    finally:
        await connection.close()
    if state.genesis is None:
        raise SetupError("no_genesis", "the database holds no entry 0")
    try:
        keys.receipt_signers(state, head.size)
        signers = keys.checkpoint_signers(state, head.size)
    except Problem as problem:
        raise SetupError("wrong_keys", f"{state.genesis.origin}: {problem.detail}") from None
    return [signer.verifier.format() for signer in signers], notices


async def _notices(connection: connections.Connection, address: Address) -> Notices:
    """Return what harms nothing by itself, as events for the log.

    The database's own collation has changed, by which no column of ours is ordered; or the login
    could change what the service's role may not.
    """
    notices: Notices = {}
    made_with, now = await ledger_store.collation_versions(connection)
    if made_with != now:
        notices["collation_changed"] = {"made_with": made_with, "now": now}
    strength = await ledger_store.login_strength(connection, address.roles)
    if strength and database_url() is not None:
        notices["strong_login"] = {"strength": strength}
    return notices
