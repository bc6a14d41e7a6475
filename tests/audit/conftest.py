"""The ledger of two and a half years of the Measures, of which the tests here write papers."""

from pathlib import Path

import pytest

from tests.meter import test_two_years
from tests.writer import Writer


@pytest.fixture(scope="session")
def writer() -> Writer:
    """Its writer, which no test lets write on."""
    return test_two_years.told()


@pytest.fixture(scope="session")
def log(writer, tmp_path_factory) -> Path:
    """Its export, of which a test that changes it makes a copy."""
    return writer.export(tmp_path_factory.mktemp("log"))
