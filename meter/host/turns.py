"""Turns: what each caller may have running, and what its work may cost.

    async with turns.turn(who):      # a read, which holds a connection of the database
        ...

A caller is the holder of one token. A few of its reads run at a time, some more wait, and each
further one is `busy`. The time that its reads take is a debt, of which a share is forgiven with
each second; beyond a credit its next read waits until the debt is paid. So whoever asks much
delays itself. Officials and all others have seats of their own, and neither has the last
connection, which is left for looking up tokens.

What pages fetch by themselves is `Spare`: while submissions are decided it has a share of the time.
What is done for a sender that nobody knows has a `Share` of the time, and beyond it is `busy`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from meter.host.tokens import Identity
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one token's reads, and the seats of all tokens of its kind."""

    seats: int
    running: int  # of one token at a time
    waiting: int  # of one token, beyond those
    share: float  # seconds of reading in a second, of one token
    credit_seconds: float  # of reading, before the share counts


OFFICIAL: Final = Bounds(seats=4, running=2, waiting=64, share=1.0, credit_seconds=5.0)
SUBJECT: Final = Bounds(seats=3, running=2, waiting=64, share=0.25, credit_seconds=2.0)
# The seats, and one connection for looking up tokens, and for whether the database answers.
CONNECTIONS: Final = OFFICIAL.seats + SUBJECT.seats + 1
LARGE_RESPONSES: Final = 2  # of one token at a time: each may be of some 12 MB
# Of what pages fetch by themselves, while submissions are decided.
SPARE_SHARE: Final = 0.1
SPARE_PIECE_SECONDS: Final = 0.05  # that a piece counts for at most: the rest it waited itself
SPARE_CREDIT_SECONDS: Final = 0.2
SPARE_LOOK_SECONDS: Final = 0.05  # for whether that is over
WAIT_SECONDS: Final = 10.0  # for a turn; then the client hears that it asks too much

NOBODY: Final = ""  # the sender of what came without a token

Clock = Callable[[], float]


class Debt:
    """Seconds of work that someone took, less a share of the time since."""

    def __init__(self, share: float, credit_seconds: float, clock: Clock = time.monotonic) -> None:
        self._share = share
        self._credit_seconds = credit_seconds
        self._clock = clock
        self._seconds = 0.0
        self._at = clock()

    def add(self, seconds: float) -> None:
        """Add work that was done."""
        self._seconds = self._rest() + seconds
        self._at = self._clock()

    def seconds_to_pay(self) -> float:
        """Return the time until the debt is within the credit again."""
        return max(0.0, self._rest() - self._credit_seconds) / self._share

    def is_paid(self) -> bool:
        """Return whether nothing is left of it."""
        return not self._rest()

    def _rest(self) -> float:
        return max(0.0, self._seconds - self._share * (self._clock() - self._at))


class _Caller:
    """The reads of one token."""

    def __init__(self, bounds: Bounds, clock: Clock) -> None:
        self.bounds = bounds
        self.open = 0
        self.places = asyncio.Semaphore(bounds.running)
        self.large = asyncio.Semaphore(LARGE_RESPONSES)
        self.debt = Debt(bounds.share, bounds.credit_seconds, clock)


class Turns:
    """The reads of a service, by token."""

    def __init__(
        self, official: Bounds = OFFICIAL, subject: Bounds = SUBJECT, clock: Clock = time.monotonic
    ) -> None:
        self._clock = clock
        self._bounds = {True: official, False: subject}
        self._seats = {kind: asyncio.Semaphore(each.seats) for kind, each in self._bounds.items()}
        self._callers: dict[str, _Caller] = {}

    @asynccontextmanager
    async def turn(self, who: Identity) -> AsyncIterator[None]:
        """Wait for a turn, and count the time that it takes. Raises `Problem` `busy`."""
        async with self._caller(who) as caller, AsyncExitStack() as held:
            async with _waiting():
                await held.enter_async_context(caller.places)
                if seconds := caller.debt.seconds_to_pay():
                    await asyncio.sleep(seconds)
                await held.enter_async_context(self._seats[who.role in OFFICIALS])
            began = self._clock()
            try:
                yield
            finally:
                caller.debt.add(self._clock() - began)

    @asynccontextmanager
    async def sending(self, who: Identity) -> AsyncIterator[None]:
        """Wait until a large response of a token may be made; it is held until its client has it.

        Raises `Problem` `busy`.
        """
        async with self._caller(who) as caller, AsyncExitStack() as held:
            async with _waiting():
                await held.enter_async_context(caller.large)
            yield

    @asynccontextmanager
    async def _caller(self, who: Identity) -> AsyncIterator[_Caller]:
        """Count a request of a token, which is forgotten once it has none and owes nothing."""
        bounds = self._bounds[who.role in OFFICIALS]
        caller = self._callers.get(who.token_id)
        if caller is None:
            caller = self._callers[who.token_id] = _Caller(bounds, self._clock)
        if caller.open >= bounds.running + bounds.waiting:
            raise Problem("busy", f"{caller.open} requests of {who.token_id} run or wait already")
        caller.open += 1
        try:
            yield caller
        finally:
            caller.open -= 1
            if not caller.open and caller.debt.is_paid():
                del self._callers[who.token_id]


@asynccontextmanager
async def _waiting() -> AsyncIterator[None]:
    """Wait for a turn, but not for ever."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield
    except TimeoutError:
        raise Problem("busy", f"no turn within {WAIT_SECONDS:g} s: ask for less") from None


class Spare:
    """Work that gives way: a piece at a time, and a share of the time while others are at work."""

    def __init__(
        self,
        share: float = SPARE_SHARE,
        credit_seconds: float = SPARE_CREDIT_SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._clock = clock
        self._debt = Debt(share, credit_seconds, clock)
        self._place = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, is_busy: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for a turn: until the debt is paid, or others are not `busy` any more."""
        async with self._place:
            while is_busy() and (seconds := self._debt.seconds_to_pay()):  # noqa: ASYNC110 - of time
                await asyncio.sleep(min(seconds, SPARE_LOOK_SECONDS))
            began = self._clock()
            try:
                yield
            finally:
                self._debt.add(min(self._clock() - began, SPARE_PIECE_SECONDS))


class Share:
    """A share of the time for one kind of work, of each sender: a token's id, or `NOBODY`."""

    def __init__(self, share: float, credit_seconds: float, clock: Clock = time.monotonic) -> None:
        self._new = partial(Debt, share, credit_seconds, clock)
        self._debts: dict[str, Debt] = {}

    def is_used_up(self, sender: str) -> bool:
        """Return whether a sender took its share and more."""
        debt = self._debts.get(sender)
        if debt is None:
            return False
        if debt.is_paid():
            del self._debts[sender]
        return debt.seconds_to_pay() > 0

    def charge(self, sender: str, seconds: float) -> None:
        """Count work that was done for a sender."""
        if sender not in self._debts:
            self._debts[sender] = self._new()
        self._debts[sender].add(seconds)
