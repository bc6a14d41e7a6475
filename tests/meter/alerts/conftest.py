"""A receiver of webhooks, and a service that looks often whether it has something to send."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meter.publish import alerts as sender
from tests.alerts import Receiver, receiving


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.02)


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path) as receiver:
        yield receiver
