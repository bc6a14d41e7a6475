"""What the open event streams of a service share: their number, and the entries they read.

Streams that follow a ledger stand at the same place, so a page of entries is read and decoded once
for all of them. The memory that this takes is bounded, however slowly anyone reads.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

from ledger import canon
from ledger import store as ledger_store
from meter.host.kept import Kept
from meter.host.metrics import Metrics
from meter.rules.entries import AnyEntry
from meter.rules.kinds.table import read_entry
from meter.tables import connections
from meter.values.problems import Problem

MAX_STREAMS: Final = 256  # of a service: each is a connection and up to a page of events
MAX_STREAMS_PER_TOKEN: Final = 8
PAGE_ENTRIES: Final = 200  # decoding them holds up everything else for some milliseconds
MAX_PAGES: Final = 16

Page = list[AnyEntry]
Turn = Callable[[], AbstractAsyncContextManager[None]]  # of the token that asks


class Streams:
    """One service's open streams. Owns the pages."""

    def __init__(self, metrics: Metrics) -> None:
        metrics.event_streams.set_function(lambda: self.open)
        self._open: Counter[str] = Counter()
        self._pages: Kept[Page] = Kept(MAX_PAGES)
        self._reading = asyncio.Lock()

    @property
    def open(self) -> int:
        """The number of open streams."""
        return self._open.total()

    @contextmanager
    def count_open(self, token_id: str) -> Iterator[None]:
        """Count a stream of a token while it is open. Raises `busy`."""
        if self._open[token_id] >= MAX_STREAMS_PER_TOKEN:
            raise Problem("busy", f"{token_id} has {MAX_STREAMS_PER_TOKEN} streams open already")
        if self.open >= MAX_STREAMS:
            raise Problem("busy", f"{MAX_STREAMS} streams are open already")
        self._open[token_id] += 1
        try:
            yield
        finally:
            self._open[token_id] -= 1
            if not self._open[token_id]:
                del self._open[token_id]

    async def page(self, readers: connections.Readers, first: int, size: int, turn: Turn) -> Page:
        """Read entries from `first` on, a page at most, of a ledger of `size` durable entries.

        Whoever asks for a page that is not kept reads it in a turn of its own.
        """
        key = first, min(size, first - first % PAGE_ENTRIES + PAGE_ENTRIES)
        found = self._pages.get(key)
        if found is None:
            async with turn(), self._reading:
                found = self._pages.get(key)  # another may have read it meanwhile
                if found is None:
                    found = await _read(readers, *key)
                    self._pages.keep(key, found, 1)
        return found


async def _read(readers: connections.Readers, first: int, stop: int) -> Page:
    async with connections.reading(readers) as connection:
        return [
            read_entry(canon.decode(data))
            async for _, data in ledger_store.entries(connection, first, stop)
        ]
