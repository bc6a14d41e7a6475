"""What answers HTTP: the application of a service of one process, and of each front."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from meter.api.app import make_app, posts_first
from meter.api.context import AllMetrics, Context
from meter.api.streams import Streams
from meter.api.submit import Submissions
from meter.console import app as console
from meter.host.alerts_file import BadAlertsFile, Sending, read_sending
from meter.host.clock import WatchedClock
from meter.host.data_folder import DataFolder
from meter.host.keys import cursor_key
from meter.host.metrics import Metrics
from meter.host.sign_in import Entrance
from meter.host.sign_in_file import BadSignInFile, Issuer, read_sign_in
from meter.host.watermark import Watermark
from meter.http.connections import listening
from meter.http.oidc import client_of
from meter.service.setup import SetupError
from meter.tables import connections
from meter.tables.access_log import AccessLog
from meter.tables.alerts import AlertBook
from meter.tables.registry import Registry
from meter.tables.sign_ins import SignIns
from meter.tables.token_use import TokenUse
from meter.values.problems import Problem


@dataclass(frozen=True, slots=True)
class Answering:
    """What HTTP is answered from; `all_metrics` are those of all processes of the service."""

    folder: DataFolder
    readers: connections.Readers
    submissions: Submissions
    registry: Registry
    published: Watermark
    clock: WatchedClock
    metrics: Metrics
    all_metrics: AllMetrics


@contextlib.asynccontextmanager
async def answering(
    parts: Answering, host: str, port: int, *, shared: bool = False
) -> AsyncIterator[str]:
    """Answer HTTP at a port, which may be shared with others of ours; yield the URL.

    Raises `SetupError`. At the end, open streams end and open requests are answered.
    """
    async with contextlib.AsyncExitStack() as stack:
        token_use = TokenUse(parts.readers)
        stack.push_async_callback(token_use.write)
        stack.callback(asyncio.create_task(token_use.run()).cancel)
        access_log = AccessLog(parts.readers)
        await stack.enter_async_context(access_log.writing())
        entrance, issuer = _read_entrance(parts.folder)
        client = None if issuer is None else await stack.enter_async_context(client_of(issuer))
        app = make_app(
            Context(
                submissions=parts.submissions,
                registry=parts.registry,
                readers=parts.readers,
                probe=connections.Probe(parts.readers),
                metrics=parts.metrics,
                all_metrics=parts.all_metrics,
                log_folder=parts.folder.log,
                published=parts.published,
                clock=parts.clock,
                streams=Streams(parts.metrics),
                token_use=token_use,
                access_log=access_log,
                sign_ins=SignIns(parts.readers),
                cursor_key=cursor_key_of(parts.folder),
                alerts=AlertBook(parts.readers, sending_of(parts.folder)),
            ),
            console.PAGES,
            entrance,
            client,
        )
        url = await stack.enter_async_context(
            listening(app, host, port, shared=shared, around=posts_first(app))
        )
        # Ends the open event streams, or the stop would wait for them.
        stack.callback(parts.submissions.watermark.close)
        yield url


def cursor_key_of(folder: DataFolder) -> bytes:
    """Return the key of the cursors. Raises `SetupError`."""
    try:
        return cursor_key(folder)
    except Problem as problem:
        raise SetupError("wrong_keys", problem.detail) from None


def sending_of(folder: DataFolder) -> Sending:
    """Return how alerts leave the service. Raises `SetupError`."""
    try:
        return read_sending(folder.path)
    except BadAlertsFile as error:
        raise SetupError("bad_alerts", str(error)) from None


def _read_entrance(folder: DataFolder) -> tuple[Entrance, Issuer | None]:
    """Return how people sign in. Raises `SetupError`."""
    try:
        return read_sign_in(folder.path)
    except BadSignInFile as error:
        raise SetupError("bad_sign_in", str(error)) from None
