"""The port to the sequencer: all that the API knows of a submission's way.

`meter/intake.py` stands behind it where the sequencer runs in this process, and
`meter/service/front.py` where another process leads.
"""

from typing import Protocol

from meter.host.watermark import Watermark
from meter.rules.commands import Asked
from meter.rules.decide_command import CommandResponse
from meter.rules.state import StoredBatch
from meter.wire.batch import SignedBatch


class Submissions(Protocol):
    """Takes what was verified, and returns once it is durable. Methods raise `Problem`."""

    @property
    def ready(self) -> bool:
        """Return whether it can commit."""
        ...

    @property
    def is_busy(self) -> bool:
        """Return whether submissions of this process wait or are decided."""
        ...

    @property
    def watermark(self) -> Watermark:
        """The size up to which entries are durable, as far as this process has heard."""
        ...

    @property
    def hears_first(self) -> bool:
        """Return whether this process knows of each commit before anybody is answered."""
        ...

    async def batch(self, signed: SignedBatch) -> StoredBatch:
        """Take a verified batch; return its stored receipt."""
        ...

    async def command(self, command: Asked, by: str, request: str | None) -> CommandResponse:
        """Take a command by a token's id and its idempotency key; return the answer."""
        ...
