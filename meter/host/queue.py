"""The queue before the sequencer: bounded by bytes, and fair among senders.

Senders take turns by bytes (deficit round robin, M. Shreedhar and G. Varghese, SIGCOMM 1995): at
each turn a sender's credit grows by `QUANTUM_BYTES`, and what the credit pays for is taken. So a
flood of one sender delays another by a group, not by the whole flood.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Final, Generic, Protocol, TypeVar

from meter.values.problems import Problem

QUANTUM_BYTES: Final = 64 * 1024


class Queued(Protocol):
    """An item that can wait here."""

    @property
    def sender(self) -> str:
        """The sender, whose turn it takes."""
        ...

    @property
    def size_bytes(self) -> int:
        """The bytes that it counts for."""
        ...


Q = TypeVar("Q", bound=Queued)


class Queue(Generic[Q]):
    """The waiting items, of `size_bytes` together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lanes: OrderedDict[str, _Lane[Q]] = OrderedDict()  # by sender, next turn first
        self.size_bytes = 0
        self._filled = asyncio.Event()
        self._closed = ""

    def __len__(self) -> int:
        return sum(len(lane.items) for lane in self._lanes.values())

    def put(self, item: Q) -> None:
        """Add an item. Raises `Problem`: `busy` when full, `unavailable` when closed."""
        if self._closed:
            raise Problem("unavailable", self._closed)
        if self.size_bytes + item.size_bytes > self._max_bytes:
            raise Problem("busy", f"{self.size_bytes} bytes wait already")
        self._lanes.setdefault(item.sender, _Lane()).items.append(item)
        self.size_bytes += item.size_bytes
        self._filled.set()

    async def wait(self) -> None:
        """Wait until there is an item."""
        await self._filled.wait()

    def take(self, max_bytes: int) -> list[Q]:
        """Return the next items, in turns; the last one may exceed the bound."""
        taken: list[Q] = []
        size_bytes = 0
        while self._lanes and size_bytes < max_bytes:
            sender, lane = next(iter(self._lanes.items()))
            lane.credit_bytes += QUANTUM_BYTES
            while size_bytes < max_bytes and lane.affords_next():
                taken.append(lane.take())
                size_bytes += taken[-1].size_bytes
            if lane.items:
                self._lanes.move_to_end(sender)
            else:  # its credit ends with it: an idle sender saves nothing up
                del self._lanes[sender]
        self.size_bytes -= size_bytes
        if not self._lanes:
            self._filled.clear()
        return taken

    def close(self, reason: str) -> None:
        """Refuse all later items."""
        self._closed = reason


class _Lane(Generic[Q]):
    """The waiting items of one sender, and the bytes that it may still send at this turn."""

    def __init__(self) -> None:
        self.items: deque[Q] = deque()
        self.credit_bytes = 0

    def affords_next(self) -> bool:
        return bool(self.items) and self.items[0].size_bytes <= self.credit_bytes

    def take(self) -> Q:
        item = self.items.popleft()
        self.credit_bytes -= item.size_bytes
        return item
