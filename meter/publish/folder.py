"""Publish what is committed: keep the log's folder in step with the database, never ahead of it.

    committed segments -> tiles, bundles, attachments -> checkpoint, signed -> stored
                       -> cosigned by witnesses -> stored again -> replaced

A signed checkpoint is stored in the database, under the epoch, before witnesses or anybody else
sees it. So a service that was shut out shows nothing more, and other instances (`publish.copy`)
show what was stored.

The folder (`ledger.publish`) is what auditors fetch, and a full backup. A publish begins as soon as
there is something new, but at most once in `RHYTHM_SECONDS`. So a commit can be verified within a
quarter of a second, unless witnesses (`publish.witnesses`) are slow. `published` wakes those who
wait for it.

Where witnesses hold a checkpoint back, the one before stays, and they are asked again for the
newest one. Where a checkpoint is shown without some cosignatures, the missing witnesses are asked
again.

A failing disk stops publishing until it works again, and nothing else. A folder that does not
belong to the database stops the service: one of the two has lost what others may have seen.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from ledger import store as ledger_store
from ledger.errors import BadBundle, BadFolder, BadNote
from ledger.publish import Ahead, OtherRoot, Publisher
from meter.host import logs
from meter.host.keys import Keys
from meter.host.metrics import Metrics
from meter.host.watermark import Watermark
from meter.publish.log_folder import LogFolder, run_to_end
from meter.publish.witnesses import Failure, Held, Published, Witnesses
from meter.tables import connections

RHYTHM_SECONDS: Final = 0.125  # which leaves as much to a publish that begins late
RETRY_SECONDS: Final = 1.0  # after a fault of disk or database, or without a quorum
MISSING_SECONDS: Final = 10.0  # until missing witnesses are asked again
STOP_SECONDS: Final = 5.0  # for the last publish of a service that ends
PATIENCE_SECONDS: Final = 60.0  # with the database, for each statement

_log: Final = logs.logger(__name__)


class Publishing:
    """The publisher of one service. Owns the folder and a database connection of its own.

    `epoch` returns the one that the service writes under.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it needs
        self,
        folder: Path,
        connect: Callable[[], Awaitable[connections.Connection]],
        keys: Keys,
        committed: Watermark,
        witnesses: Witnesses,
        metrics: Metrics,
        epoch: Callable[[], int],
    ) -> None:
        self._folder = LogFolder(folder, connect, self._sign)
        self._keys = keys
        self._committed = committed
        self._witnesses = witnesses
        self._metrics = metrics
        self._epoch = epoch
        self._stored = b""  # what was stored last to be shown
        self._ask_again_seconds: float | None = None  # set where witnesses are missing
        self._outcomes: dict[str, str] = {}  # the last one of each witness
        self.published = Watermark()

    async def start(self) -> None:
        """Compare the folder with the database.

        Raises `Ahead`, `OtherRoot`, `BadNote`, and `LogMissing` where there is no folder.
        """
        await self._folder.check()

    async def run(self) -> None:
        """Publish until nothing more will be committed. Raises `LedgerError`."""
        try:
            while not self._committed.closed:
                began = time.monotonic()
                await self._try_to_publish()
                await asyncio.sleep(began + RHYTHM_SECONDS - time.monotonic())
                await self._wait_for_work()
        finally:
            self.published.close()

    async def stop(self) -> None:
        """Publish what is left, then close folder and connection; `run` has ended before."""
        with contextlib.suppress(Exception):  # the next start publishes what fails now
            async with asyncio.timeout(STOP_SECONDS):
                await self._publish()
        await self._folder.close()

    async def _wait_for_work(self) -> None:
        publisher = self._folder.publisher
        size = publisher.size if publisher else self.published.size
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ask_again_seconds):
                await self._committed.beyond(size)

    async def _try_to_publish(self) -> None:
        """Publish; where disk or database fail, close both and leave it to the next round.

        An epoch that is over is such a fault too: the writer may have raised it itself by now.
        """
        try:
            if self._folder.publisher is None:
                self._note_shown((await self._folder.open()).size)
            with self._metrics.publish_seconds.time():
                await self._publish()
        except (Ahead, OtherRoot, BadNote, BadFolder, BadBundle):
            raise
        except Exception as error:  # noqa: BLE001 - any fault may pass
            self._metrics.publish_failures.inc()
            _log.warning("not_published", size=self.published.size, exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)
            await self._folder.close()

    async def _publish(self) -> None:
        """Publish all that is committed now, unless the witnesses hold it back."""
        publisher = self._folder.publisher
        if publisher is None:
            return
        note = await self._write_committed(publisher)
        answer = await self._ask_witnesses(await self._store(publisher.size, note))
        if isinstance(answer, Held):
            self._ask_again_seconds = RETRY_SECONDS
            return
        self._ask_again_seconds = MISSING_SECONDS if answer.failures else None
        await self._store_shown(publisher.size, answer.note)
        await run_to_end(publisher.show, answer.note)
        self._note_shown(publisher.size)

    async def _write_committed(self, publisher: Publisher) -> bytes:
        """Write all that is committed now; return its checkpoint."""
        connection = self._folder.connection
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            head = await ledger_store.head(connection)
            await self._folder.reload()
            await self._folder.add(publisher, head.size)
        return await run_to_end(publisher.settle, (), head.root)

    async def _store(self, size: int, note: bytes) -> bytes:
        """Store a checkpoint before witnesses see it; return the one that is stored of its size.

        Raises `LostEpoch` and `Unconfirmed`.
        """
        if note == self._stored or not self._witnesses.are_asked:
            return note
        connection = self._folder.connection
        with ledger_store.confirmed(connection):
            return await ledger_store.put_checkpoint(connection, self._epoch(), size, note)

    async def _store_shown(self, size: int, note: bytes) -> None:
        """Store a checkpoint before anybody can fetch it. Raises `LostEpoch` and `Unconfirmed`."""
        if note != self._stored:
            connection = self._folder.connection
            with ledger_store.confirmed(connection):
                await ledger_store.show_checkpoint(connection, self._epoch(), size, note)
            self._stored = note

    async def _ask_witnesses(self, note: bytes) -> Published | Held:
        """Ask the witnesses who have not cosigned a checkpoint; count and log their answers."""
        began = time.perf_counter()
        answer = await self._witnesses.ask(note)
        if answer.asked:
            self._metrics.cosignature_seconds.observe(time.perf_counter() - began)
        if isinstance(answer, Held):
            self._metrics.quorums_missed.labels("held").inc()
        elif not answer.has_quorum:
            self._metrics.quorums_missed.labels("published").inc()
        failures = {each.witness: each for each in answer.failures}
        for witness in answer.asked:
            self._note_answer(witness, failures.get(witness))
        return answer

    def _note_shown(self, size: int) -> None:
        self._metrics.published.set(size)
        self.published.move(size)

    def _note_answer(self, witness: str, failure: Failure | None) -> None:
        """Count the answer of a witness, and log it where it has changed."""
        outcome = failure.code if failure else "cosigned"
        self._metrics.cosignatures.labels(witness, outcome).inc()
        before = self._outcomes.get(witness, "cosigned")
        self._outcomes[witness] = outcome
        if outcome == before:
            return
        if failure is None:
            _log.info("cosigned_again", witness=witness)
        elif failure.is_grave:
            _log.error("log_doubted", witness=witness, code=outcome, detail=failure.detail)
        else:
            _log.warning("not_cosigned", witness=witness, code=outcome, detail=failure.detail)

    def _sign(self, size: int, root: bytes) -> bytes:
        return self._keys.checkpoint(self._folder.state, size, root)
