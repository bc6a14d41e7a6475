"""The watermark: the size up to which entries are durable."""

import asyncio


class Watermark:
    """How far the ledger is durable; whoever follows it waits here."""

    def __init__(self) -> None:
        self.size = 0
        self.closed = False
        self._moved = asyncio.Event()

    def move(self, size: int) -> None:
        """Tell that all entries below `size` are durable."""
        self.size = size
        self._wake()

    def close(self) -> None:
        """Tell that there is nothing more to wait for."""
        self.closed = True
        self._wake()

    async def beyond(self, size: int) -> None:
        """Wait until more than `size` entries are durable, or for the end."""
        while self.size <= size and not self.closed:
            await self._moved.wait()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
