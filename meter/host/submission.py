"""A submission to the sequencer: a verified batch or a command, and the future of its outcome."""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from meter.rules.commands import Asked
from meter.rules.decide_command import CommandResponse
from meter.rules.state import StoredBatch
from meter.values.problems import Problem
from meter.wire.batch import SignedBatch

T = TypeVar("T")

COMMAND_BYTES: Final = 4_096  # what a command counts for in the queue


@dataclass(eq=False, slots=True)
class _Waiting(Generic[T]):
    """The future for which the sender waits."""

    outcome: "asyncio.Future[T]" = field(
        init=False, default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, outcome: T | Problem) -> None:
        """Set the outcome, unless the client has gone: what was committed stays committed."""
        if self.outcome.done():
            return
        if isinstance(outcome, Problem):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


@dataclass(eq=False, slots=True)
class BatchSubmission(_Waiting[StoredBatch]):
    """A batch that a provider signed, and the salt of its entry if it gets one."""

    signed: SignedBatch
    salt: str

    @property
    def sender(self) -> str:
        """The provider's id."""
        return self.signed.batch.provider

    @property
    def size_bytes(self) -> int:
        """The size of the envelope."""
        return len(self.signed.envelope)


@dataclass(eq=False, slots=True)
class CommandSubmission(_Waiting[CommandResponse]):
    """A command: by which token, under which idempotency key, with which salt."""

    command: Asked
    by: str
    request: str | None
    salt: str
    size_bytes = COMMAND_BYTES

    @property
    def sender(self) -> str:
        """The token; no id of a provider has a colon."""
        return f"token:{self.by}"


Submission = BatchSubmission | CommandSubmission
