"""When each token was last used: noted at every request, written at most once a minute.

What was noted and not yet written is lost with a process that is killed; nothing decides by it.
"""

import asyncio
from typing import Final

import asyncpg

from meter.host import logs
from meter.tables import tokens
from meter.tables.connections import Readers, reading
from meter.values.problems import Problem

PAUSE_SECONDS: Final = 60.0

_log: Final = logs.logger(__name__)


class TokenUse:
    """The tokens that were used since the last writing."""

    def __init__(self, connections: Readers) -> None:
        self._connections = connections
        self._used: dict[str, int] = {}

    def note(self, token_id: str, now: int) -> None:
        """Note that a token was used at `now` (microseconds)."""
        self._used[token_id] = now

    async def run(self) -> None:
        """Write what was noted, minute by minute, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted; what cannot be written waits for the next time."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with reading(self._connections, snapshot=False) as connection:
                await tokens.note_used(connection, used)
        except (Problem, asyncpg.PostgresError) as error:
            _log.warning("token_use_not_written", exc_info=error)
            self._used = used | self._used
