"""The services that the tests of questions ask."""

import pytest

from tests.asking import NOW, Past, open_all, right
from tests.services import serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_all(service)
        yield service


@pytest.fixture
async def past(service):
    past = Past(service, 3)
    await past.steps(45)
    await service.usage([right(f"w{n}", "W", milli_devices=700) for n in range(3)], seq=500)
    return past
