"""The commands on the page about foreign programs work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.ledgers import Ledger, copied, flip
from tests.interop.programs import GO_CACHE, GO_PATH, INSTALLED, need

REPOSITORY = Path(__file__).parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs/interop.md").read_text(), re.DOTALL)


def run(block: str, folder: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """Run a block like a reader whose virtual environment is this one."""
    need("golang.org/x/mod", (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir())
    need("aics_tlog", (INSTALLED / "python/aics_tlog").is_dir())
    words = block.replace(".venv/", f"{sys.prefix}/")
    settings = {"LEDGER": str(folder), "KEY": str(key), "GOCACHE": str(GO_CACHE)}
    return subprocess.run(
        ["bash", "-ec", words], cwd=REPOSITORY, env=os.environ | settings, capture_output=True
    )


@pytest.mark.parametrize("block", BLOCKS, ids=["go", "aics-tlog"])
def test_a_command_of_the_page_accepts_a_ledger_and_refuses_another(
    small_ledger: Ledger, tmp_path, block
):
    key = tmp_path / "log.vkey"
    key.write_text(f"{small_ledger.vkey}\n")
    folder = copied(small_ledger.folders[300], tmp_path / "copy")
    assert run(block, folder, key).returncode == 0
    flip(folder / "tile/0/000", 0)
    assert run(block, folder, key).returncode == 1
