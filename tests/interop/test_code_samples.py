"""The samples of the API's description run as they stand, each by its own program."""

import asyncio
import json
import os
import sys
from html import escape
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from meter.api.examples import BODIES, PATHS
from meter.rules.commands import IssueCoupon
from tests.books import ALPHA
from tests.interop.programs import GO_CACHE, need
from tests.services import Service, serving

FILES = {"curl": "ask.sh", "Python": "ask.py", "Go": "ask.go"}
PROGRAMS = {"curl": ("bash", "-e"), "Python": (sys.executable,), "Go": ("go", "run")}


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path / "service") as service:
        await service.open_books(issued=None)
        assert PATHS["uscc"][1] == ALPHA
        yield service


async def samples(service: Service, method: str, path: str) -> dict[str, str]:
    operation = (await service.get("/openapi.json")).json["paths"][path][method]
    return {each["lang"]: each["source"] for each in operation["x-codeSamples"]}


async def run(service: Service, folder: Path, language: str, source: str) -> dict[str, Any]:
    """Run a sample as the authority, and return what it printed."""
    need("curl", which("curl"))
    need("go", which("go"))
    file = folder / FILES[language]
    file.write_text(source)
    token = service.http.headers["Authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        *PROGRAMS[language],
        file,
        env=os.environ | {"KASHI": service.url, "TOKEN": token, "GOCACHE": str(GO_CACHE)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("language", FILES)
async def test_samples_issue_a_coupon_and_ask_for_its_balance(service, tmp_path, language):
    command = (await samples(service, "post", "/v1/coupons"))[language]
    made = await run(service, tmp_path, language, command)
    assert made["entry"] == service.intake.watermark.size - 1
    question = (await samples(service, "get", "/v1/enterprises/{uscc}/balance"))[language]
    found = await run(service, tmp_path, language, question)
    assert found["issued"] == found["remaining"] == BODIES[IssueCoupon]["amount"]


async def test_the_page_shows_the_samples(service):
    page = (await service.get("/docs")).body.decode()
    for source in (await samples(service, "post", "/v1/coupons")).values():
        assert escape(source) in page
    assert "In curl, Python and Go:" in page
