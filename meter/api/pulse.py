"""Whom the newest commits concern, looked up once a second at most for all streams of pages."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from meter.host.watermark import Watermark
from meter.tables import connections, pages

PULSE_SECONDS: Final = 1.0  # from one look to the next: a page fetches no more often


@dataclass(frozen=True, slots=True)
class Change:
    """The entries from `first` on and before `size`, and whom of `asked` they concern."""

    first: int
    size: int
    asked: frozenset[str]
    concerned: frozenset[str]

    def concerns(self, subjects: frozenset[str], seen: int) -> bool:
        """Return whether it may concern one who saw the first `seen` entries; no subject is all."""
        if self.size <= seen:
            return False
        is_known = seen >= self.first and bool(subjects) and subjects <= self.asked
        return not is_known or not self.concerned.isdisjoint(subjects)


class Pulse:
    """The last look of one service, and what its open streams follow."""

    def __init__(self) -> None:
        self._followed: Counter[str] = Counter()
        self._change = Change(0, 0, frozenset(), frozenset())
        self._look_at = 0.0  # not before, by the loop's clock
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def following(self, subjects: frozenset[str]) -> Iterator[None]:
        """Look for some subjects too, while a stream is open."""
        self._followed.update(subjects)
        try:
            yield
        finally:
            self._followed.subtract(subjects)
            self._followed = +self._followed

    async def beyond(self, readers: connections.Readers, committed: Watermark, seen: int) -> Change:
        """Wait for a look at more than `seen` entries, or for the end; return the last look.

        Raises `Problem` where the database does not answer.
        """
        if self._change.size == 0:  # looks begin where the first stream does
            size = committed.size
            self._change = Change(size, size, frozenset(), frozenset())
            self._look_at = asyncio.get_running_loop().time() + PULSE_SECONDS
        while self._change.size <= seen and not committed.closed:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(readers, committed))
            await asyncio.shield(self._looking)  # it is everybody's
        return self._change

    async def _look(self, readers: connections.Readers, committed: Watermark) -> None:
        first, loop = self._change.size, asyncio.get_running_loop()
        await committed.beyond(first)
        await asyncio.sleep(self._look_at - loop.time())
        if committed.closed:
            return
        size, asked = committed.size, frozenset(self._followed)
        async with connections.reading(readers, snapshot=False) as connection:
            found = await pages.concerned(connection, sorted(asked), first)
        self._change = Change(first, size, asked, found)
        self._look_at = loop.time() + PULSE_SECONDS
