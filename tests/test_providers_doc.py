"""The examples of docs/providers.md run: in Python, with curl and openssl, and in Go."""

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from meter.wire.receipt import Accepted, parse_receipt
from tests.books import DEVICE
from tests.interop.programs import GO_CACHE
from tests.programs import program
from tests.services import (
    ORIGIN,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)

PAGE = (Path(__file__).parents[1] / "docs/providers.md").read_text(encoding="utf-8")
FLAGS = re.MULTILINE | re.DOTALL
CONTRACT = "TC-2025-0001"


def block(kind: str) -> str:
    """Join the page's blocks of one kind."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, FLAGS)
    assert found, kind
    return "\n".join(found)


@contextlib.asynccontextmanager
async def providing(database: str, folder: Path):
    """Yield a service with the page's contract, and a way to run a command as the provider."""
    async with serving(database, folder) as service:
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices={DEVICE: 4096}))
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/contracts", **contract_body(CONTRACT))
        await service.issue(2025, "500000.00")
        place = folder / "provider"
        place.mkdir()
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "KASHI": service.url,
            "LOG": ORIGIN,
            "GENESIS": service.intake.state.genesis_hash,
            "RECEIPT_KEY": base64.b64encode(receipt_key(service)).decode(),
            "TOKEN": service.http.headers["Authorization"].removeprefix("Bearer "),
            "GO111MODULE": "off",
            "GOCACHE": str(GO_CACHE),
        }

        async def run(*command: str) -> str:
            answer = await asyncio.to_thread(
                subprocess.run,
                command,
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert answer.returncode == 0, answer.stdout + answer.stderr
            return answer.stdout

        async def register(keyid: str, output: str) -> None:
            body = json.loads(output)
            assert body["keyid"] == keyid
            await service.ask("/v1/providers/pcl/keys", **body)

        yield service, place, run, register


async def metered(service) -> list[str]:
    return [entry.id for entry in await service.entries() if entry.kind == "usage"]


def accepted(receipt: Path) -> list[str]:
    results = parse_receipt(receipt.read_bytes()).results
    return [result.granted for result in results if isinstance(result, Accepted)]


async def test_the_authority_is_told_what_it_gives_a_provider(database, tmp_path):
    program("curl")
    async with providing(database, tmp_path) as (service, _, run, _):
        told = (await run("bash", "-eo", "pipefail", "-c", block("sh authority"))).splitlines()
        key = base64.b64encode(receipt_key(service)).decode()
        assert told == [service.intake.state.genesis_hash, key]


async def test_the_python_program_reports_usage(database, tmp_path):
    async with providing(database, tmp_path) as (service, place, run, register):
        await register("pcl-2025a", await run("bash", "-ec", block("sh key")))
        (place / "report.py").write_text(block("python"), encoding="utf-8")
        for _ in range(2):  # a record that is reported again is counted once
            assert await run(sys.executable, "report.py") == ""
        assert await metered(service) == ["slurm:4211:0"]
        assert accepted(place / "outbox/1.receipt.json") == ["144.00"]
        assert (await service.balance())["granted"] == "144.00"


def test_the_python_program_takes_about_ten_lines():
    (main,) = re.findall(
        r"^async def main.*?^asyncio.run", block("python"), re.MULTILINE | re.DOTALL
    )
    assert len(main.splitlines()) <= 10


async def test_the_session_with_curl_and_openssl_reports_usage(database, tmp_path):
    program("curl")
    program("openssl")
    async with providing(database, tmp_path) as (service, place, run, register):
        await register("pcl-2025b", await run("bash", "-ec", block("sh pem")))
        for _ in range(2):
            output = await run("bash", "-eo", "pipefail", "-c", block("sh post"))
            assert "Signature Verified Successfully" in output
        assert await metered(service) == ["slurm:4212:0"]
        assert accepted(place / "receipt.json") == ["144.00"]


async def test_the_session_with_curl_and_openssl_finds_a_receipt_that_is_not_signed(
    database, tmp_path
):
    program("curl")
    program("openssl")
    async with providing(database, tmp_path) as (_, place, run, register):
        await register("pcl-2025b", await run("bash", "-ec", block("sh pem")))
        post, check = re.findall(r"^```sh post\n(.*?)^```$", PAGE, FLAGS)
        bent = "sed -i s/144.00/244.00/ receipt.json\n"
        with pytest.raises(AssertionError, match="Verification Failure"):
            await run("bash", "-eo", "pipefail", "-c", post + bent + check)
        assert "244.00" in (place / "receipt.json").read_text()


async def test_the_go_program_reports_usage(database, tmp_path):
    program("go")
    program("openssl")
    async with providing(database, tmp_path) as (service, place, run, register):
        await register("pcl-2025b", await run("bash", "-ec", block("sh pem")))
        (place / "report.go").write_text(block("go"), encoding="utf-8")
        await run("go", "build", "-o", "report", "report.go")
        for _ in range(2):
            output = await run("./report")
            assert output.split()[:3] == ["slurm:4213:0", "accepted", "144.00"]
        assert await metered(service) == ["slurm:4213:0"]
        assert accepted(place / "go.receipt.json") == ["144.00"]
        assert await run("gofmt", "-l", "report.go") == ""
