"""Copy what the leader has published into the folder of another instance.

    stored checkpoint, shown by the leader -> tiles up to its size -> the same checkpoint, shown

Nothing is signed here: the leader has stored the checkpoint in the database, with all signatures,
before anybody saw it. An instance shows it once its own folder holds the tiles, so all show the
same, each a moment later. A folder that is not there yet is made from the beginning of the log.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from ledger import store as ledger_store
from ledger.errors import BadBundle, BadFolder, BadNote
from ledger.publish import Ahead, OtherRoot
from meter.host import logs
from meter.host.watermark import Watermark
from meter.publish.log_folder import LogFolder, run_to_end
from meter.tables import connections

RHYTHM_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0  # after a fault of disk or database

_log: Final = logs.logger(__name__)


class Copying:
    """The copier of one instance. Owns the folder and a database connection of its own."""

    def __init__(
        self, folder: Path, connect: Callable[[], Awaitable[connections.Connection]]
    ) -> None:
        self._folder = LogFolder(folder, connect, self._signed)
        self._note = b""  # what is being shown, or is shown
        self.published = Watermark()

    async def run(self) -> None:
        """Copy until cancelled.

        Raises `Ahead`, `OtherRoot`, `BadNote`, `BadFolder` and `BadBundle` where folder and
        database do not belong together.
        """
        is_checked = False
        while True:
            try:
                if not is_checked:
                    await self._folder.check(may_be_missing=True)
                    is_checked = True
                if self._folder.publisher is None:
                    self.published.move((await self._folder.open()).size)
                await self._copy()
            except (Ahead, OtherRoot, BadNote, BadFolder, BadBundle):
                raise
            except Exception as error:  # noqa: BLE001 - any fault may pass
                _log.warning("not_copied", size=self.published.size, exc_info=error)
                await self._folder.close()
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(RHYTHM_SECONDS)

    async def stop(self) -> None:
        """Release folder and connection; `run` has ended before."""
        await self._folder.close()

    async def _copy(self) -> None:
        """Show the newest checkpoint that the leader has shown."""
        publisher, connection = self._folder.publisher, self._folder.connection
        assert publisher is not None, "run() has opened it"
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            note = await ledger_store.shown_checkpoint(connection)
            if note is None or note == self._note:
                return
            await self._folder.reload()
            checkpoint = self._folder.open_checkpoint(note)
            if checkpoint.size < publisher.size:  # ours was shown before any was stored
                return
            await self._folder.add(publisher, checkpoint.size)
        self._note = note
        await run_to_end(publisher.settle, (), checkpoint.root)
        await run_to_end(publisher.show, note)
        self.published.move(checkpoint.size)

    def _signed(self, _size: int, _root: bytes) -> bytes:
        return self._note
