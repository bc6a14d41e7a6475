"""Pauses of a long computation, in which the event loop may serve others."""

import asyncio
import time
from typing import Final

BREATH_SECONDS: Final = 0.0003  # the longest wait of others, as far as the steps allow


class Breath:
    """When the loop was last free."""

    def __init__(self) -> None:
        self._taken = 0.0

    async def take(self) -> None:
        """Let requests and responses move on, where they have waited for a while."""
        if time.perf_counter() - self._taken > BREATH_SECONDS:
            await asyncio.sleep(0)
            self._taken = time.perf_counter()
