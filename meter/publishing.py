"""Publish what is committed: keep the log's folder in step with the database, never ahead of it.

    committed entries -> tiles, bundles, attachments -> checkpoint, signed and replaced

The folder (`ledger.publish`) is what auditors fetch, and a full backup. A publish begins as soon as
there is something new, but not more often than every `RHYTHM_SECONDS`: so what is committed can be
verified within a quarter of a second, however many commits there are. Whoever asked to hear of that
waits for `published`.

A disk that fails stops publishing until it is well again, and nothing else. A folder that does not
belong to the database stops the service: one of the two has lost what others may have seen.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from ledger import store as ledger_store
from ledger.errors import BadBundle, BadFolder, BadNote, MissingFile
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, open_note
from ledger.publish import Ahead, OtherRoot, Publisher, check_root
from meter import logs, store
from meter.intake import Committed
from meter.keys import Keys
from meter.metrics import Metrics
from meter.state import State, signing

RHYTHM_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0  # after a fault of disk or database
CHUNK_BYTES: Final = 16 * 1024 * 1024  # of entries and attachments that are in memory at once

_log: Final = logs.logger(__name__)
_Entry = tuple[bytes, list[bytes]]


class Publishing:
    """The publisher of one service. Owns the folder and a database connection of its own."""

    def __init__(
        self,
        folder: Path,
        connect: Callable[[], Awaitable[store.Connection]],
        keys: Keys,
        committed: Committed,
        metrics: Metrics,
    ) -> None:
        self._folder = folder
        self._connect = connect
        self._keys = keys
        self._committed = committed
        self._metrics = metrics
        self._state = State()  # knows which keys sign
        self._publisher: Publisher | None = None
        self.published = Committed()

    async def start(self) -> None:
        """Hold the folder against the database. Raises `Ahead`, `OtherRoot` or `BadNote`."""
        self._connection = await self._connect()
        self._state = await store.load_service_keys(self._connection)
        note = await asyncio.to_thread(self._note)
        if note is not None:
            checkpoint = self._opened(note)
            root = await self._root_at(checkpoint.size)
            check_root(checkpoint, lambda _: root)

    async def run(self) -> None:
        """Publish until nothing more will be committed. Raises `LedgerError`."""
        try:
            while not self._committed.closed:
                began = time.monotonic()
                await self._published_or_later()
                await asyncio.sleep(began + RHYTHM_SECONDS - time.monotonic())
                await self._committed.beyond(self.published.size)
        finally:
            self.published.close()

    async def stop(self) -> None:
        """Publish what is left, and let go of folder and connection; `run` has ended before."""
        with contextlib.suppress(Exception):  # what fails now, the next start makes good
            await self._publish()
        await self._close()

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
        self._state = await store.load_service_keys(self._connection)
        note = await asyncio.to_thread(self._note)
        size = 0 if note is None else self._opened(note).size
        root = await self._root_at(size)
        self._publisher = await asyncio.to_thread(
            Publisher.open, self._folder, self._signed, self._opened, lambda _: root
        )
        self.published.move(self._publisher.size)

    async def _close(self) -> None:
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.close)
            self._publisher = None
        with contextlib.suppress(Exception):  # it is given up either way
            await self._connection.close(timeout=5)

    async def _publish(self) -> None:
        """Publish all that is committed now."""
        publisher = self._publisher
        if publisher is None:
            return
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            head = await ledger_store.head(self._connection)
            self._state = await store.load_service_keys(self._connection)
            entries = store.with_attachments(self._connection, publisher.size, head.size)
            async for chunk in _chunks(entries):
                await _to_its_end(publisher.add, chunk)
        await _to_its_end(publisher.publish, (), head.root)
        self._metrics.published.set(head.size)
        self.published.move(head.size)

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


async def _to_its_end(write: Callable[..., None], *arguments: object) -> None:
    """Write in a thread, and wait for its end also when cancelled: nobody else may begin before."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *arguments))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _chunks(entries: AsyncIterator[_Entry]) -> AsyncIterator[list[_Entry]]:
    """Put entries together until they are some MiB."""
    chunk: list[_Entry] = []
    size_bytes = 0
    async for entry in entries:
        chunk.append(entry)
        size_bytes += len(entry[0]) + sum(map(len, entry[1]))
        if size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    yield chunk
