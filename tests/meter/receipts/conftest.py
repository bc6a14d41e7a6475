"""A ledger of two batches, whose stored receipts several tests look at."""

import pytest

from tests.proving import opened, use
from tests.writer import Writer


@pytest.fixture(scope="module")
def ledger() -> Writer:
    """Two batches, and entries before and after them."""
    writer = opened()
    use(writer, "r1")
    use(writer, "r2")
    writer.issue(2025, "1000.00")
    return writer


@pytest.fixture(scope="module")
def numbers(ledger: Writer) -> list[int]:
    return [number for number, entry in enumerate(ledger.entries) if entry.kind == "batch"]
