"""Sends alerts, again and again until they are taken, or for three days.

After an attempt in vain the next one is 5 s later, then 1 min, 10 min, 1 h, 3 h, 8 h, and five
times 12 h. Then the target is off: the other targets of its owner are told, its page says so, and
what it did not take is sent when its owner turns it on again. A receiver may get a message twice,
under one id: where a service ends between an answer and its note.

One message at a time goes to a target, the oldest first, and a slow one holds up no other. Nothing
goes to a token or person that has ended.
"""

import asyncio
import time
from functools import partial
from typing import Final

from meter.host import logs
from meter.host.clock import WatchedClock
from meter.host.metrics import Metrics
from meter.publish.mail import Mail
from meter.publish.webhooks import Outcome, Webhooks
from meter.tables import alerts, connections
from meter.tables.alerts import Attempt, Due, Target
from meter.tables.registry import Registry
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS

DELAYS: Final = (5, 60, 600, 3_600, 3 * 3_600, 8 * 3_600, *(5 * (12 * 3_600,)))  # seconds
POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 32  # targets

_log: Final = logs.logger(__name__)


class Alerts:
    """The sender of one service, its leader."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it needs
        self,
        readers: connections.Readers,
        registry: Registry,
        clock: WatchedClock,
        webhooks: Webhooks,
        mail: Mail | None,
        metrics: Metrics,
    ) -> None:
        self._readers = readers
        self._registry = registry
        self._clock = clock
        self._webhooks = webhooks
        self._mail = mail
        self._metrics = metrics
        self._sending: dict[str, asyncio.Task[None]] = {}  # by target
        self._is_known = False  # the key that receivers ask for

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        try:
            while True:
                await self._begin()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            tasks = list(self._sending.values())
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """Begin to send one message to each target that has any and is not at work."""
        room = AT_ONCE - len(self._sending)
        try:
            async with connections.reading(self._readers, snapshot=False) as connection:
                if not self._is_known:
                    await alerts.keep_webhook_key(connection, self._webhooks.public_key)
                    self._is_known = True
                now, busy = self._clock.counted(), list(self._sending)
                found = await alerts.due(connection, now, busy, room) if room else []
                self._metrics.set_alerts(*await alerts.waiting(connection), now)
        except Problem as problem:
            _log.debug("alerts_wait", detail=problem.detail)
            return
        for each in found:
            task = asyncio.create_task(self._send(each))
            self._sending[each.target.id] = task
            task.add_done_callback(partial(self._sent, each.target.id))

    def _sent(self, target: str, _: "asyncio.Task[None]") -> None:
        del self._sending[target]

    async def _send(self, due: Due) -> None:
        try:
            if not self._may_read(due):
                await self._turn_off(due.target, "ended")
                return
            began = time.monotonic()
            outcome = await self._attempt(due)
            await self._settle(due, outcome, round((time.monotonic() - began) * 1_000))
        except Problem as problem:  # the database is away: it is sent once more
            _log.warning("alert_not_settled", alert=due.id, detail=problem.detail)

    def _may_read(self, due: Due) -> bool:
        """Return whether its owner is somebody still; of the authority, the ledger says so too."""
        owner, people = due.target.owner, self._registry.now.state.people
        is_known = due.target.role != "authority" or people.person_of(owner) is not None
        return due.may_read and is_known

    async def _attempt(self, due: Due) -> Outcome:
        target = due.target
        if target.means == "webhook":
            now = self._clock.counted() // MICROSECONDS
            return await self._webhooks.send(target.address, due.id, due.body, now)
        if self._mail is None:
            return Outcome(is_taken=False, detail="the service sends no mail")
        return await self._mail.send(target, due)

    async def _settle(self, due: Due, outcome: Outcome, ms: int) -> None:
        now = self._clock.counted()
        self._metrics.alerts.labels(
            due.target.means, "taken" if outcome.is_taken else "failed"
        ).inc()
        is_last = outcome.is_over or due.attempts >= len(DELAYS)
        waits = not outcome.is_taken and not is_last
        due_at = now + DELAYS[due.attempts] * MICROSECONDS if waits else None
        attempt = Attempt(now, outcome.is_taken, outcome.detail, ms)
        async with connections.reading(self._readers, snapshot=False) as connection:
            await alerts.settle(connection, due.id, attempt, due_at)
        if not outcome.is_taken and is_last:
            await self._turn_off(due.target, "failed")

    async def _turn_off(self, target: Target, why: alerts.Why) -> None:
        async with connections.reading(self._readers, snapshot=False) as connection:
            await alerts.turn_off(connection, target, self._clock.counted(), why)
        _log.warning("alert_target_off", target=target.id, why=why)
