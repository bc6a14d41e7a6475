"""Has the rules' state digested, and its snapshot published, every so many entries.

One service does, its leader. It goes by the last digest that the database holds: so after a crash,
wherever it was, the next one goes on. The sequencer computes the digest, between two groups.
"""

import asyncio
from typing import Final

import msgspec

from meter.host import logs
from meter.intake import Intake
from meter.rules.commands import DigestState
from meter.rules.kinds.access_digests import SERVICE
from meter.tables import connections, load
from meter.values.problems import Problem

ENTRIES: Final = 100_000  # from a digest to the next one
PAUSE_SECONDS: Final = 60.0  # after a fault

_log: Final = logs.logger(__name__)


class StateDigests:
    """What puts the digests of one ledger's state into it."""

    def __init__(
        self, readers: connections.Readers, intake: Intake, entries: int = ENTRIES
    ) -> None:
        self._readers = readers
        self._intake = intake
        self._entries = entries

    async def run(self) -> None:
        """Put one digest after another, until cancelled or until nothing more is committed."""
        committed = self._intake.watermark
        # A start may need all connections there are, and nothing is due before the next commit.
        await committed.beyond(committed.size)
        while not committed.closed:
            try:
                await committed.beyond(await self._last() + self._entries)
                if not committed.closed:
                    await self.put()
            except Problem as problem:
                _log.warning("state_not_digested", exc_info=problem)
                await asyncio.sleep(PAUSE_SECONDS)

    async def put(self) -> int:
        """Put a digest; return the number of its entry. Raises `Problem`."""
        response = await self._intake.command(DigestState(), SERVICE, None)
        number: int = msgspec.json.decode(response.body)["entry"]
        return number

    async def _last(self) -> int:
        """Return the number of the newest digest, or 0."""
        async with connections.reading(self._readers, snapshot=False) as connection:
            return await load.newest_state_digest(connection)
