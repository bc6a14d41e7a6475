"""A published ledger, and a monitor of it, that several tests look at."""

from collections.abc import Iterator

import pytest

from tests.monitoring import Watch
from tests.sites import Site, published


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    with published(tmp_path / "www") as site:
        yield site


@pytest.fixture
def watch(site, tmp_path) -> Iterator[Watch]:
    watch = Watch(site, tmp_path / "data")
    yield watch
    watch.monitor.close()
