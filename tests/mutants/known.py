"""Which lines each test runs, kept in build/ for the very sources and tests that showed it."""

import pickle
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.mutants.run import REPOSITORY

KEPT: Final = REPOSITORY / "build" / "mutants"
_IMPORTED: Final = re.compile(r"(?:from|import) tests([\w.]*)(?: import ([\w, ]+))?")

Line = tuple[str, int]  # a file below the repository, and a line of it


class Known:
    """The lines of tests of the tree below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        every = sorted([*root.glob("ledger/**/*.py"), *root.glob("meter/**/*.py")])
        self._sources = sha256(b"".join(digest_of(path) for path in every)).digest()

    def files_without(self, files: Iterable[str]) -> list[str]:
        """Return the files of tests whose lines are not known."""
        return [file for file in files if not self._path(file).exists()]

    def add(
        self,
        files: Collection[str],
        lines: Mapping[str, set[Line]],
        seconds: Mapping[str, float],
    ) -> None:
        """Keep the lines of the tests of these files, which have passed, and their time."""
        KEPT.mkdir(parents=True, exist_ok=True)
        for file in files:
            tests = [test for test in seconds if test.partition("::")[0] == file]
            held = {test: (seconds[test], lines.get(test, set())) for test in tests}
            self._path(file).write_bytes(pickle.dumps(held))

    def seconds(self, files: Iterable[str]) -> dict[str, float]:
        """Return how long each test of these files took."""
        return {test: seconds for file in files for test, (seconds, _) in self._held(file)}

    def tests_by_line(self, files: Iterable[str]) -> dict[Line, set[str]]:
        """Return the tests of these files that run each line."""
        tests: defaultdict[Line, set[str]] = defaultdict(set)
        for file in files:
            for test, (_, lines) in self._held(file):
                for line in lines:
                    tests[line].add(test)
        return dict(tests)

    def _held(self, file: str) -> Iterable[tuple[str, tuple[float, set[Line]]]]:
        held: dict[str, tuple[float, set[Line]]] = pickle.loads(self._path(file).read_bytes())
        return held.items()

    def _path(self, file: str) -> Path:
        path = self._root / file
        digests = sorted(digest_of(each) for each in {path, *_imported(self._root, path)})
        digest = sha256(b"".join([file.encode(), self._sources, *digests])).hexdigest()
        return KEPT / f"{digest[:32]}.lines"


@cache
def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file."""
    return sha256(path.read_bytes()).digest()


def _imported(root: Path, path: Path) -> set[Path]:
    """Return the files of tests/ that a file imports, and so on, and those of fixtures."""
    found = {*root.glob("tests/**/conftest.py")}
    left = [path]
    while left:
        text = left.pop().read_text(encoding="utf-8")
        for module, names in _IMPORTED.findall(text):
            folder = root / ("tests" + module.replace(".", "/"))
            inner = {folder / f"{name.strip()}.py" for name in names.split(",")}
            new = {each for each in {folder.with_suffix(".py"), *inner} if each.is_file()} - found
            found |= new
            left += new
    return found
