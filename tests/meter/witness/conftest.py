"""The folder of a witness."""

from pathlib import Path

import pytest

from meter.witness.witness import initialise, trust
from tests.witnesses import LOG, NAME


@pytest.fixture
def folder(tmp_path) -> Path:
    """A witness that trusts a log."""
    made = tmp_path / "witness"
    initialise(made, NAME)
    trust(made, LOG.verifier.format())
    return made
