"""The log's folder and the database that it follows, opened and closed together.

Whoever publishes (`publish.folder`) or copies what another has published (`publish.copy`) writes
through this, and both check the folder against the database first: one that does not belong to it
is refused, for one of the two has lost what others may have seen.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from ledger import store as ledger_store
from ledger.bundle import Segment
from ledger.errors import BadNote, LedgerError, MissingFile
from ledger.folder import FolderReader
from ledger.folder_process import FolderProcess
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, open_note
from ledger.publish import Ahead, Publisher, Sign, check_root
from meter.rules.state import State, signing
from meter.tables import connections, load
from meter.tables.segments import with_attachments

T = TypeVar("T")

CHUNK_BYTES: Final = 16 * 1024 * 1024  # of entries and attachments that are in memory at once


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


class LogFolder:
    """A folder, a connection, and while it is open the publisher of the folder.

    `state` knows which keys sign, as of the last write.
    """

    def __init__(
        self, path: Path, connect: Callable[[], Awaitable[connections.Connection]], sign: Sign
    ) -> None:
        self.path = path
        self._connect = connect
        self._sign = sign
        self.state = State()
        self.publisher: Publisher | None = None
        self.connection: connections.Connection

    async def check(self, *, may_be_missing: bool = False) -> None:
        """Connect, and compare the folder with the database.

        Raises `Ahead`, `OtherRoot`, `BadNote`, and `LogMissing` where there is no folder.
        """
        note = await asyncio.to_thread(self._note)
        if note is None and not may_be_missing:
            raise LogMissing(self.path)
        self.connection = await self._connect()
        await self.reload()
        if note is None:
            return
        size = claimed_checkpoint(note).size
        root = await self._root_at(size)
        if root is None:  # the database may lack its keys, as it lacks its entries
            raise Ahead(f"{size} entries are published, the database has fewer: run kashi recover")
        check_root(self.open_checkpoint(note), lambda _: root)

    async def open(self) -> Publisher:
        """Open the folder, and the connection again. Raises `InUse` while another holds it."""
        if self.connection.is_closed():
            self.connection = await self._connect()
        await self.reload()
        note = await asyncio.to_thread(self._note)
        size = 0 if note is None else self.open_checkpoint(note).size
        root = await self._root_at(size)
        return await run_to_end(self._begin, root)

    def _begin(self, root: bytes | None) -> Publisher:
        """Make the publisher; it is kept, so that `close` finds it even after a cancellation."""
        self.publisher = Publisher.open(
            self.path, self._sign, self.open_checkpoint, lambda _: root, write=FolderProcess
        )
        return self.publisher

    async def close(self) -> None:
        """Release the folder and the connection."""
        if self.publisher is not None:
            await asyncio.to_thread(self.publisher.close)
            self.publisher = None
        with contextlib.suppress(Exception):  # it is not used again
            await self.connection.close(timeout=5)

    async def add(self, publisher: Publisher, size: int) -> None:
        """Add all up to a size where a commit ends, within the caller's snapshot."""
        segments = with_attachments(self.connection, publisher.size, size)
        async for chunk in _chunks(segments):
            await run_to_end(publisher.add, chunk)

    async def reload(self) -> None:
        """Learn which keys sign by now, within the caller's snapshot."""
        self.state = await load.load_service_keys(self.connection)

    def open_checkpoint(self, note: bytes) -> Checkpoint:
        """Return a checkpoint that all keys of this log at its size have signed."""
        checkpoint = claimed_checkpoint(note)
        keys = [Verifier.parse(vkey) for vkey in signing(self.state.log_keys, checkpoint.size)]
        if len(open_note(note, keys).signatures) < len(keys):
            raise BadNote("not all of this log's keys have signed the checkpoint in its folder")
        return checkpoint

    def _note(self) -> bytes | None:
        try:
            return FolderReader(self.path).checkpoint()
        except MissingFile:
            return None

    async def _root_at(self, size: int) -> bytes | None:
        """Return the root of a published size, None beyond the database's end."""
        head = await ledger_store.head(self.connection)
        if size > head.size:
            return None
        # We publish only where a commit ends; elsewhere, an empty root is equal to none.
        return await ledger_store.root_at(self.connection, size) or b""


async def run_to_end(write: Callable[..., T], *arguments: object) -> T:
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
