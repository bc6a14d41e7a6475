"""Streams whose place is soon known."""

import pytest

from meter.api import events as edge


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Send heartbeats soon, so that the place of a stream is known."""
    monkeypatch.setattr(edge, "HEARTBEAT_SECONDS", 0.03)
