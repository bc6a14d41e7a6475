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
        self._sources = sha256(b"".join(_digest(path) for path in every)).digest()

    def files_without(self, files: Iterable[str]) -> list[str]:
        """Return the files of tests whose lines are not known."""
        return [file for file in files if not self._path(file).exists()]

    def add(self, files: Collection[str], lines: Mapping[str, set[Line]]) -> None:
        """Keep the lines of the tests of these files."""
        KEPT.mkdir(parents=True, exist_ok=True)
        for file in files:
            own = {test: found for test, found in lines.items() if test.partition("::")[0] == file}
            self._path(file).write_bytes(pickle.dumps(own))

    def tests_by_line(self, files: Iterable[str]) -> dict[Line, set[str]]:
        """Return the tests of these files that run each line."""
        tests: defaultdict[Line, set[str]] = defaultdict(set)
        for file in files:
            for test, lines in pickle.loads(self._path(file).read_bytes()).items():
                for line in lines:
                    tests[line].add(test)
        return dict(tests)

    def _path(self, file: str) -> Path:
        path = self._root / file
        digests = sorted(_digest(each) for each in {path, *_imported(self._root, path)})
        digest = sha256(b"".join([file.encode(), self._sources, *digests])).hexdigest()
        return KEPT / f"{digest[:32]}.lines"


@cache
def _digest(path: Path) -> bytes:
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
