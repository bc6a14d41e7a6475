"""Honest, durable clients: each sends the same bytes until an answer settles the matter.

A lost connection, a 503 and silence settle nothing: the next address is tried, as a gateway would.
Every receipt and every answer is kept: they are the promises of the service.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self, TypeVar

from meter.client import BadReceipt, Refused, Service, Unreachable, VerifiedReceipt
from tests.faults.load import Command, Post, Step

ATTEMPT_SECONDS = 2.0  # then silence counts as a refusal
PAUSE_SECONDS = 0.02  # between attempts; short, so that gaps are the service's

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """A signed batch, and its receipt with the signature header."""

    post: Post
    body: bytes
    signature: str


@dataclass
class Evidence:
    """All that the service confirmed, and when; and where it contradicted itself or the rules."""

    receipts: dict[tuple[str, str, int], Kept] = field(default_factory=dict)
    answers: dict[str, tuple[Command, dict[str, Any]]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    unavailable: int = 0  # answers 503
    unanswered: int = 0  # attempts without an answer

    def keep_receipt(self, post: Post, receipt: VerifiedReceipt) -> None:
        self.moments.append(time.monotonic())
        kept = Kept(post, receipt.body, receipt.signature)
        if self.receipts.setdefault(post.id, kept) != kept:
            self.complaints.append(f"{post.id} was answered in two ways")

    def keep_answer(self, command: Command, answer: dict[str, Any]) -> None:
        self.moments.append(time.monotonic())
        if self.answers.setdefault(command.key, (command, answer)) != (command, answer):
            self.complaints.append(f"{command.key} was answered in two ways")

    @property
    def count(self) -> int:
        return len(self.receipts) + len(self.answers)

    def longest_gap_seconds(self, since: int) -> float:
        """Return the longest time between two good answers, from the `since`th on."""
        return max((after - before for before, after in pairwise(self.moments[since:])), default=0)


class Clients:
    """All clients of one stage; they share what they know of who answers.

    Addresses are tried in turn, beginning with the one that answered last; with `spread`, each
    request begins at another one.
    """

    def __init__(self, token: str, receipt_key: str, evidence: Evidence) -> None:
        self.evidence = evidence
        self._token = token
        self._receipt_key = receipt_key
        self._services: dict[str, Service] = {}
        self._current = ""
        self.spread = False
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def know(self, url: str) -> None:
        """Add this address, as the first to try."""
        if url not in self._services:
            service = Service(url, self._token, attempts=1)
            self._services[url] = await self._stack.enter_async_context(service)
        self._current = url

    def forget(self, url: str) -> None:
        """Remove this address."""
        if url == self._current:
            self._try_next()
        del self._services[url]

    async def carry_out(self, step: Step) -> None:
        """Send a step until it is settled, and keep the answer."""
        try:
            if isinstance(step, Post):
                await self._post(step)
            else:
                await self._command(step)
        except (Refused, BadReceipt) as error:
            name = step.key if isinstance(step, Command) else step.id
            self.evidence.complaints.append(f"{name} was refused: {error}")

    async def _post(self, post: Post) -> None:
        receipt = await self._until_settled(
            lambda service: service.post_batch(post.envelope, self._receipt_key)
        )
        self.evidence.keep_receipt(post, receipt)

    async def _command(self, command: Command) -> None:
        answer = await self._until_settled(
            lambda service: service.command(command.path, command.body, command.key)
        )
        self.evidence.keep_answer(command, answer)

    async def _until_settled(self, ask: Callable[[Service], Awaitable[T]]) -> T:
        while True:
            if self.spread:
                self._try_next()
            url = self._current
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    return await ask(self._services[url])
            except (Unreachable, TimeoutError):
                self.evidence.unanswered += 1
            except Refused as refused:
                if refused.status != 503:
                    raise
                self.evidence.unavailable += 1
            if url == self._current:
                self._try_next()
            await asyncio.sleep(PAUSE_SECONDS)

    def _try_next(self) -> None:
        urls = list(self._services)
        self._current = urls[(urls.index(self._current) + 1) % len(urls)]
