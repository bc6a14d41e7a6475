"""The watermark: the size up to which entries are durable."""

import asyncio


class Watermark:
    """The number of durable entries; followers wait here for more."""

    def __init__(self) -> None:
        self.size = 0
        self.closed = False
        self._moved = asyncio.Event()

    def move(self, size: int) -> None:
        """Wake the followers: all entries below `size` are durable."""
        self.size = size
        self._wake()

    def close(self) -> None:
        """Wake the followers: nothing more will come."""
        self.closed = True
        self._wake()

    async def beyond(self, size: int) -> None:
        """Wait until more than `size` entries are durable, or for the end."""
        while self.size <= size and not self.closed:
            await self._moved.wait()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
