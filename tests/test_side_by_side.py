"""Tests that run side by side: how they are handed out, and what those leave that are killed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import in_use, remove_left_servers

REPOSITORY = Path(__file__).parents[1]

PROJECT = {
    "conftest.py": "from tests.conftest import *",
    "tests/interop/test_a.py": "def test_a(): pass\ndef test_b(): pass",
    "tests/test_c.py": """import pytest, time
def test_c(): pass
@pytest.mark.long
def test_d(): pass
def test_hangs(): time.sleep(600)
""",
}


def test_what_shares_and_what_is_long_goes_first_and_what_hangs_is_named(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  long: begins first\n")
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ("-n", "1", "-v", "--timeout", "3", "--rootdir", tmp_path, "-p", "no:cacheprovider")
    told = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    ).stdout
    ended = re.findall(r"^\[gw0\].* (?:PASSED|FAILED) \S+::(\w+)", told, re.MULTILINE)
    assert ended == ["test_a", "test_b", "test_d", "test_c", "test_hangs"], told
    assert "FAILED tests/test_c.py::test_hangs - Failed: Timeout" in told
    assert told.splitlines()[-1].startswith("=")
    assert "1 failed, 4 passed" in told.splitlines()[-1]


def test_a_folder_that_a_killed_test_left_is_removed_and_no_other(tmp_path):
    for name in ("kashi-test-left", "kashi-test-used", "kashi-test-new", "other"):
        (tmp_path / name / "data").mkdir(parents=True)
        if name != "kashi-test-new":
            os.utime(tmp_path / name, (0, 0))
    with in_use(tmp_path / "kashi-test-used"):
        remove_left_servers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "kashi-test-used",
        "kashi-test-new",
        "other",
    }
