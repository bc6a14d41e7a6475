"""Publish what is committed: keep the log's folder in step with the database, never ahead of it.

    committed segments -> tiles, bundles, attachments -> checkpoint, signed -> cosigned by witnesses
                       -> replaced

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
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from ledger import store as ledger_store
from ledger.bundle import Segment
from ledger.errors import BadBundle, BadFolder, BadNote, LedgerError, MissingFile
from ledger.folder import FolderReader
from ledger.folder_process import FolderProcess
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, open_note
from ledger.publish import Ahead, OtherRoot, Publisher, check_root
from meter.host import logs
from meter.host.keys import Keys
from meter.host.metrics import Metrics
from meter.host.watermark import Watermark
from meter.publish.witnesses import Failure, Held, Published, Witnesses
from meter.rules.state import State, signing
from meter.tables import connections, load
from meter.tables.segments import with_attachments

T = TypeVar("T")

RHYTHM_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0  # after a fault of disk or database, or without a quorum
MISSING_SECONDS: Final = 10.0  # until missing witnesses are asked again
STOP_SECONDS: Final = 5.0  # for the last publish of a service that ends
PATIENCE_SECONDS: Final = 60.0  # with the database, for each statement
CHUNK_BYTES: Final = 16 * 1024 * 1024  # of entries and attachments that are in memory at once

_log: Final = logs.logger(__name__)


class LogMissing(LedgerError):  # noqa: N818 - the name says what is wrong
    """The folder has no checkpoint, so nothing shows that the database lacks no entry."""

    code = "log_missing"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} has no checkpoint, and the database may lack entries that others have seen. "
            f"Bring the folder back: from a backup, an auditor's copy or a monitor's; then run "
            "kashi recover. Or prove that nothing is lacking: kashi recover --checkpoint FILE, "
            "with the newest checkpoint that a witness, an auditor or a monitor has"
        )


class Publishing:
    """The publisher of one service. Owns the folder and a database connection of its own."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it needs
        self,
        folder: Path,
        connect: Callable[[], Awaitable[connections.Connection]],
        keys: Keys,
        committed: Watermark,
        witnesses: Witnesses,
        metrics: Metrics,
    ) -> None:
        self._folder = folder
        self._connect = connect
        self._keys = keys
        self._committed = committed
        self._witnesses = witnesses
        self._metrics = metrics
        self._state = State()  # knows which keys sign
        self._publisher: Publisher | None = None
        self._ask_again_seconds: float | None = None  # set where witnesses are missing
        self._outcomes: dict[str, str] = {}  # the last one of each witness
        self.published = Watermark()

    async def start(self) -> None:
        """Compare the folder with the database.

        Raises `Ahead`, `OtherRoot`, `BadNote`, and `LogMissing` where there is no folder.
        """
        note = await asyncio.to_thread(self._note)
        if note is None:
            raise LogMissing(self._folder)
        size = claimed_checkpoint(note).size
        self._connection = await self._connect()
        self._state = await load.load_service_keys(self._connection)
        root = await self._root_at(size)
        if root is None:  # the database may lack its keys, as it lacks its entries
            raise Ahead(f"{size} entries are published, the database has fewer: run kashi recover")
        check_root(self._open_checkpoint(note), lambda _: root)

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
        await self._close()

    async def _wait_for_work(self) -> None:
        size = self._publisher.size if self._publisher else self.published.size
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ask_again_seconds):
                await self._committed.beyond(size)

    async def _try_to_publish(self) -> None:
        """Publish; where disk or database fail, close both and leave it to the next round."""
        try:
            if self._publisher is None:
                await self._open()
            with self._metrics.publish_seconds.time():
                await self._publish()
        except (Ahead, OtherRoot, BadNote, BadFolder, BadBundle):
            raise
        except Exception as error:  # noqa: BLE001 - any fault may pass
            self._metrics.publish_failures.inc()
            _log.warning("not_published", size=self.published.size, exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)
            await self._close()

    async def _open(self) -> None:
        """Open the folder. Raises `InUse` while another service holds it."""
        if self._connection.is_closed():
            self._connection = await self._connect()
        self._state = await load.load_service_keys(self._connection)
        note = await asyncio.to_thread(self._note)
        size = 0 if note is None else self._open_checkpoint(note).size
        root = await self._root_at(size)
        publisher = await _run_to_end(self._begin, root)
        self._note_shown(publisher.size)

    def _begin(self, root: bytes | None) -> Publisher:
        """Make the publisher; it is kept, so that `_close` finds it even after a cancellation."""
        self._publisher = Publisher.open(
            self._folder, self._sign, self._open_checkpoint, lambda _: root, write=FolderProcess
        )
        return self._publisher

    async def _close(self) -> None:
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.close)
            self._publisher = None
        with contextlib.suppress(Exception):  # it is not used again
            await self._connection.close(timeout=5)

    async def _publish(self) -> None:
        """Publish all that is committed now, unless the witnesses hold it back."""
        publisher = self._publisher
        if publisher is None:
            return
        answer = await self._ask_witnesses(await self._write_committed(publisher))
        if isinstance(answer, Held):
            self._ask_again_seconds = RETRY_SECONDS
            return
        self._ask_again_seconds = MISSING_SECONDS if answer.failures else None
        await _run_to_end(publisher.show, answer.note)
        self._note_shown(publisher.size)

    async def _write_committed(self, publisher: Publisher) -> bytes:
        """Write all that is committed now; return its checkpoint, which others may then have."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            head = await ledger_store.head(self._connection)
            self._state = await load.load_service_keys(self._connection)
            segments = with_attachments(self._connection, publisher.size, head.size)
            async for chunk in _chunks(segments):
                await _run_to_end(publisher.add, chunk)
        return await _run_to_end(publisher.settle, (), head.root)

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
        return self._keys.checkpoint(self._state, size, root)

    def _open_checkpoint(self, note: bytes) -> Checkpoint:
        """Return a checkpoint that all keys of this log at its size have signed."""
        checkpoint = claimed_checkpoint(note)
        keys = [Verifier.parse(vkey) for vkey in signing(self._state.log_keys, checkpoint.size)]
        if len(open_note(note, keys).signatures) < len(keys):
            raise BadNote("not all of this log's keys have signed the checkpoint in its folder")
        return checkpoint

    def _note(self) -> bytes | None:
        try:
            return FolderReader(self._folder).checkpoint()
        except MissingFile:
            return None

    async def _root_at(self, size: int) -> bytes | None:
        """Return the root of a published size, None beyond the database's end."""
        head = await ledger_store.head(self._connection)
        if size > head.size:
            return None
        # We publish only where a commit ends; elsewhere, an empty root is equal to none.
        return await ledger_store.root_at(self._connection, size) or b""


async def _run_to_end(write: Callable[..., T], *arguments: object) -> T:
    """Write in a thread and wait for its end, even when cancelled: no other may begin before."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *arguments))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _chunks(segments: AsyncIterator[Segment]) -> AsyncIterator[list[Segment]]:
    """Yield lists of segments, each of some MiB."""
    chunk: list[Segment] = []
    size_bytes = 0
    async for segment in segments:
        chunk.append(segment)
        size_bytes += segment.size_bytes
        if size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    yield chunk
