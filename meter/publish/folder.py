"""Publish what is committed: keep the log's folder in step with the database, never ahead of it.

    committed segments -> tiles, bundles, attachments -> checkpoint, signed -> cosigned by witnesses
                       -> replaced

The folder (`ledger.publish`) is what auditors fetch, and a full backup. A publish begins as soon as
there is something new, but not more often than every `RHYTHM_SECONDS`: so what is committed can be
verified within a quarter of a second, however many commits there are, if there are no witnesses to
ask (`meter.witnesses`) or those are quick. Whoever asked to hear of that waits for `published`.

Where witnesses hold a checkpoint back, the one before stays, and they are asked again, for what is
committed by then. Where one is shown that lacks some of them, they are asked for the rest.

A disk that fails stops publishing until it is well again, and nothing else. A folder that does not
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
MISSING_SECONDS: Final = 10.0  # until witnesses are asked that are missing under what is shown
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
        self._ask_again_seconds: float | None = None  # where witnesses are missing
        self._outcomes: dict[str, str] = {}  # by witness, the last time that it was asked
        self.published = Watermark()

    async def start(self) -> None:
        """Hold the folder against the database.

        Raises `Ahead`, `OtherRoot`, `BadNote`, and `LogMissing` where there is nothing to hold.
        """
        note = await asyncio.to_thread(self._note)
        if note is None:
            raise LogMissing(self._folder)
        size = claimed_checkpoint(note).size
        async with connections.told_as_away():
            self._connection = await self._connect()
            self._state = await load.load_service_keys(self._connection)
            root = await self._root_at(size)
        if root is None:  # its keys may be as new to the database as its entries
            raise Ahead(f"{size} entries are published, the database has fewer: run kashi recover")
        check_root(self._opened(note), lambda _: root)

    async def run(self) -> None:
        """Publish until nothing more will be committed. Raises `LedgerError`."""
        try:
            while not self._committed.closed:
                began = time.monotonic()
                await self._published_or_later()
                await asyncio.sleep(began + RHYTHM_SECONDS - time.monotonic())
                await self._until_there_is_something_to_do()
        finally:
            self.published.close()

    async def stop(self) -> None:
        """Publish what is left, and let go of folder and connection; `run` has ended before."""
        with contextlib.suppress(Exception):  # what fails now, the next start makes good
            async with asyncio.timeout(STOP_SECONDS):
                await self._publish()
        await self._close()

    async def _until_there_is_something_to_do(self) -> None:
        size = self._publisher.size if self._publisher else self.published.size
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ask_again_seconds):
                await self._committed.beyond(size)

    async def _published_or_later(self) -> None:
        """Publish; where disk or database fail, open both again and leave it to the next round."""
        try:
            if self._publisher is None:
                await self._open()
            with self._metrics.publish_seconds.time():
                await self._publish()
        except (Ahead, OtherRoot, BadNote, BadFolder, BadBundle):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, it may be well again
            self._metrics.publish_failures.inc()
            _log.warning("not_published", size=self.published.size, exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)
            await self._close()

    async def _open(self) -> None:
        """Go on with the folder. Raises `InUse` while another service lets it not go."""
        if self._connection.is_closed():
            self._connection = await self._connect()
        self._state = await load.load_service_keys(self._connection)
        note = await asyncio.to_thread(self._note)
        size = 0 if note is None else self._opened(note).size
        root = await self._root_at(size)
        publisher = await _to_its_end(self._begin, root)
        self._tell_shown(publisher.size)

    def _begin(self, root: bytes | None) -> Publisher:
        """Have a publisher, which `_close` will find also when nobody waits for it any more."""
        self._publisher = Publisher.open(
            self._folder, self._signed, self._opened, lambda _: root, write=FolderProcess
        )
        return self._publisher

    async def _close(self) -> None:
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.close)
            self._publisher = None
        with contextlib.suppress(Exception):  # it is given up either way
            await self._connection.close(timeout=5)

    async def _publish(self) -> None:
        """Publish all that is committed now, unless the witnesses hold it back."""
        publisher = self._publisher
        if publisher is None:
            return
        answer = await self._witnessed(await self._settled(publisher))
        if isinstance(answer, Held):
            self._ask_again_seconds = RETRY_SECONDS
            return
        self._ask_again_seconds = MISSING_SECONDS if answer.failures else None
        await _to_its_end(publisher.show, answer.note)
        self._tell_shown(publisher.size)

    async def _settled(self, publisher: Publisher) -> bytes:
        """Write all that is committed now; its checkpoint may then be given to others."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            head = await ledger_store.head(self._connection)
            self._state = await load.load_service_keys(self._connection)
            segments = with_attachments(self._connection, publisher.size, head.size)
            async for chunk in _chunks(segments):
                await _to_its_end(publisher.add, chunk)
        return await _to_its_end(publisher.settle, (), head.root)

    async def _witnessed(self, note: bytes) -> Published | Held:
        """Ask the witnesses who have not cosigned a checkpoint; count and log what they answer."""
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
            self._tell(witness, failures.get(witness))
        return answer

    def _tell_shown(self, size: int) -> None:
        self._metrics.published.set(size)
        self.published.move(size)

    def _tell(self, witness: str, failure: Failure | None) -> None:
        """Count the answer of a witness, and log it where it is another than before."""
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

    def _signed(self, size: int, root: bytes) -> bytes:
        return self._keys.checkpoint(self._state, size, root)

    def _opened(self, note: bytes) -> Checkpoint:
        """Read a checkpoint, which all keys must have signed that are this log's at its size."""
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
        """Give the root of a size that was published, None beyond the database's end."""
        head = await ledger_store.head(self._connection)
        if size > head.size:
            return None
        # Where no commit ended, no root of ours can be published: nothing has this one.
        return await ledger_store.root_at(self._connection, size) or b""


async def _to_its_end(write: Callable[..., T], *arguments: object) -> T:
    """Write in a thread, and wait for its end also when cancelled: nobody else may begin before."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *arguments))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _chunks(segments: AsyncIterator[Segment]) -> AsyncIterator[list[Segment]]:
    """Put segments together until they are some MiB."""
    chunk: list[Segment] = []
    size_bytes = 0
    async for segment in segments:
        chunk.append(segment)
        size_bytes += segment.size_bytes
        if size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    yield chunk
