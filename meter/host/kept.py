"""What was made once and may be used again, within bounds.

    async with kept.alone(key):          # whoever wants the same waits for it
        found = kept.get(key)
        if found is None:
            kept.keep(key, value, size)

Nothing is taken back: key or value holds all that it follows from, so a reader sees whether it
holds. What was asked for longest ago is forgotten first. Sizes are in the unit of the bound.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

MAX_KEPT_BYTES: Final = 32 * 1024 * 1024  # some hundred pages of ten contracts

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by key, of at most so large a size together; by default in bytes."""

    def __init__(self, max_size: int = MAX_KEPT_BYTES) -> None:
        self._max_size = max_size
        self._held: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._size = 0
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(self, key: Hashable) -> AsyncIterator[None]:
        """Wait until nobody else makes the value of a key."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def get(self, key: Hashable) -> V | None:
        """Return what is kept under a key."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def keep(self, key: Hashable, value: V, size: int) -> None:
        """Keep a value, and forget old ones that there is no room for."""
        _, before = self._held.pop(key, (None, 0))
        self._held[key] = value, size
        self._size += size - before
        while self._size > self._max_size:
            _, (_, oldest) = self._held.popitem(last=False)
            self._size -= oldest
