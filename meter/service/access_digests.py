"""Closes each day of the access log, and has its digest put into the ledger.

One service does, its leader. It asks the database which closed day has rows and no entry yet: so
after a crash, wherever it was, the next one goes on. The rules take a day once.
"""

import asyncio
from typing import Final

from meter.host import logs
from meter.host.clock import WatchedClock
from meter.intake import Intake
from meter.rules.commands import DigestAccesses
from meter.rules.kinds.access_digests import SERVICE
from meter.tables import access_log, connections
from meter.values.problems import Problem
from meter.values.strict import Date
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, day_start, format_date

PAUSE_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 600  # after a day: each process writes once a minute

_log: Final = logs.logger(__name__)


class AccessDigests:
    """What puts the digests of one ledger's access log into it."""

    def __init__(self, readers: connections.Readers, intake: Intake, clock: WatchedClock) -> None:
        self._readers = readers
        self._intake = intake
        self._clock = clock

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self.look()
            except Problem as problem:
                _log.warning("access_log_not_digested", exc_info=problem)

    async def look(self) -> None:
        """Close the days that are over, and put the digests that are due. Raises `Problem`."""
        ended = self._clock.now() // MICROSECONDS - GRACE_SECONDS - DAY_SECONDS
        async with connections.reading(self._readers, snapshot=False) as connection:
            await access_log.close_days(connection, day_of(ended))
        while (command := await self._due()) is not None:
            await self._intake.command(command, SERVICE, f"access-digest-{command.day}")

    async def _due(self) -> DigestAccesses | None:
        async with connections.reading(self._readers) as connection:
            found = await access_log.closed_day(connection)
        if found is None:
            return None
        day, digest = found
        named = Date(format_date(day_start(day)))
        return DigestAccesses(day=named, rows=digest.rows, sha256=digest.hex)
