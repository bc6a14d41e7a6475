"""A folder for a ledger in a database of its own."""

from pathlib import Path

import pytest

from meter.host.data_folder import DATABASE_VARIABLE


@pytest.fixture
def data(database, tmp_path, monkeypatch) -> Path:
    """A folder for a ledger in an empty database of its own."""
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    return tmp_path / "data"
