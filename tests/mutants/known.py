"""Which lines each test runs, kept in build/ for the sources that it runs and for its own text."""

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
_Told = tuple[float, set[Line]]  # of a test: its seconds and its lines


class Known:
    """The lines that tests of the tree below `root` run of the sources that are judged.

    They hold while those sources and the test are the same, whatever else has changed: a test that
    runs other lines since then is not asked, so a fault may count as missed, and never the other
    way. Where it is `pure`, tests without a database alone.
    """

    def __init__(self, root: Path, judged: Iterable[str], *, pure: bool) -> None:
        self._root = root
        self._judged = frozenset(judged)
        self._pure = pure

    def files_without(self, files: Iterable[str]) -> list[str]:
        """Return the files of tests whose lines are not known."""
        return [file for file in files if self._held(file) is None]

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
            ran = {source for _, found in held.values() for source, _ in found}
            sources = {source: digest_of(self._root / source) for source in ran}
            self._path(file).write_bytes(pickle.dumps((sources, held)))

    def passing(self, files: Iterable[str]) -> list[str]:
        """Return the tests of these files that passed with all sources as they are."""
        return [test for file in files if self._is_same(file) for test, _ in self._tests_of(file)]

    def seconds(self, files: Iterable[str]) -> dict[str, float]:
        """Return how long each test of these files took."""
        return {test: seconds for file in files for test, (seconds, _) in self._tests_of(file)}

    def tests_by_line(self, files: Iterable[str]) -> dict[Line, set[str]]:
        """Return the tests of these files that run each line."""
        tests: defaultdict[Line, set[str]] = defaultdict(set)
        for file in files:
            for test, (_, lines) in self._tests_of(file):
                for line in lines:
                    tests[line].add(test)
        return dict(tests)

    def _tests_of(self, file: str) -> Iterable[tuple[str, _Told]]:
        return (self._held(file) or {}).items()

    def _held(self, file: str) -> dict[str, _Told] | None:
        """Return what was told of each test of a file, if that still holds."""
        sources, held = self._kept(file)
        return None if self._changed(sources) & self._judged else held

    def _is_same(self, file: str) -> bool:
        sources, held = self._kept(file)
        return held is not None and not self._changed(sources)

    def _kept(self, file: str) -> tuple[dict[str, bytes], dict[str, _Told] | None]:
        """Return the sources that the tests of a file ran, each with its digest, and what they did.

        It was kept for the very text of the tests.
        """
        path = self._path(file)
        return pickle.loads(path.read_bytes()) if path.exists() else ({}, None)

    def _changed(self, sources: Mapping[str, bytes]) -> set[str]:
        return {each for each, digest in sources.items() if digest_of(self._root / each) != digest}

    def _path(self, file: str) -> Path:
        path = self._root / file
        digests = sorted(digest_of(each) for each in {path, *_imported(self._root, path)})
        served = b"" if self._pure else b" with a database"
        digest = sha256(b"".join([file.encode(), served, *digests])).hexdigest()
        return KEPT / f"{digest[:32]}.lines"


@cache
def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file, of nothing where it is not there."""
    return sha256(path.read_bytes() if path.exists() else b"").digest()


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
