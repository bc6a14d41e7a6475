"""Programs by others that tests run: where one is missing a test is skipped, and fails in CI."""

import os
import shutil
import subprocess
from typing import Any

import pytest


def program(name: str, path: str | None = None) -> str:
    """Return where a program is: on the PATH, or on another `path`."""
    found = shutil.which(name, path=path)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing, and CI installs it")
        pytest.skip(f"{name} is not installed")
    return found


def promtool(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run promtool, which reads metrics and alerts as Prometheus does."""
    command = [program("promtool"), *words]
    return subprocess.run(command, capture_output=True, text=True, **options)
