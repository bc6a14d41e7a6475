"""A copy of the tree, in which the tests judge one mutant after the other.

The copy has no compiled module: the source that is changed is the one that runs.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

REPOSITORY: Final = Path(__file__).parents[2]
ROOMS: Final = ("ledger", "meter", "tests", "docs", "deploy")
FILES: Final = ("pyproject.toml", "README.md", "Makefile", "CONTRIBUTING.md")

# A mutant that makes a test hang is found by the time that it takes.
PATIENCE: Final = 4  # times the time of the tests without a fault
LEAST_SECONDS: Final = 60
MOST_BYTES: Final = 4 << 30  # of address space: a loop without end must not fill the machine

FAILED: Final = 1  # pytest: some test failed
UNCOLLECTED: Final = 2  # pytest: a module could not be imported

Verdict = Literal["found", "timeout", "missed"]


class JudgesError(Exception):
    """The tests fail without a fault, or cannot be run."""


class Copy:
    """The copied tree."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def digest_of(self, file: str, tests: list[str]) -> str:
        """Return the SHA-256 of a file and of the tests that judge it."""
        texts = [(self._root / each).read_bytes() for each in (file, *tests)]
        return sha256(b"".join(sha256(text).digest() for text in texts)).hexdigest()

    def seconds_of(self, tests: list[str]) -> float:
        """Run tests on the source as it is, and return how long they take. Raises `JudgesError`."""
        began = time.monotonic()
        status, told = self._run(tests, None)
        if status != 0:
            raise JudgesError(f"{' '.join(tests)} end with {status}:\n{told}")
        return time.monotonic() - began

    def judge(self, file: str, source: str, tests: list[str], seconds: float) -> Verdict:
        """Return whether tests find that a file has another source. Raises `JudgesError`."""
        path = self._root / file
        right = path.read_text(encoding="utf-8")
        path.write_text(source, encoding="utf-8")
        try:
            status, told = self._run(tests, max(LEAST_SECONDS, PATIENCE * seconds))
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            path.write_text(right, encoding="utf-8")
        if status not in {0, FAILED, UNCOLLECTED}:
            raise JudgesError(f"pytest ended with {status}:\n{told}")
        return "found" if status else "missed"

    def _run(self, tests: list[str], seconds: float | None) -> tuple[int, str]:
        """Run tests until the first that fails; return the status and the end of what they say."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        process = subprocess.Popen(
            command,
            cwd=self._root,
            env=_environment(self._root),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        resource.prlimit(process.pid, resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        try:
            told, _ = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return process.returncode, told[-2_000:]


@contextmanager
def copied() -> Iterator[Copy]:
    """Copy the tree into a folder that goes away again."""
    with TemporaryDirectory(prefix="kashi-mutants-") as folder:
        root = Path(folder)
        ignored = shutil.ignore_patterns("*.so", "__pycache__", ".hypothesis", "findings")
        for room in ROOMS:
            shutil.copytree(REPOSITORY / room, root / room, ignore=ignored)
        for file in FILES:
            shutil.copy(REPOSITORY / file, root)
        yield Copy(root)


def _environment(root: Path) -> dict[str, str]:
    """Return the environment in which the copy is imported, by the commands that tests start too.

    Nothing is written beside a source: a mutant of the same size and second would pass for it.
    """
    ours = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "KASHI_COMPILE": "no"}
    return os.environ | ours
