"""The session of docs/persons.md runs with curl, and prints what the page shows."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

from meter.service import setup
from tests.meter.test_proposals import City
from tests.services import serving

PAGE = (Path(__file__).parents[1] / "docs/persons.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


async def test_one_person_proposes_and_another_confirms_with_curl(database, tmp_path):
    authority = setup.Authority(("wang", "li"))
    async with serving(database, tmp_path, authority=authority) as service:
        await City(service).open_books()
        tokens = {
            name.upper(): service.folder.token_of(name).read_text().strip()
            for name in authority.persons
        }
        result = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", block("sh")],
            cwd=tmp_path,
            env=os.environ | tokens | {"KASHI": service.url},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout == block("text")
        assert (await service.balance())["issued"] == "500000.00"
