"""The results of mutants, kept between runs; a result holds for the very text that gave it.

A fault that was found stays found while its file and the test that found it are the same, whatever
other tests come. One that was missed is judged again when any of its judges has changed.
"""

import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from tests.mutants.run import Judgement, Verdict


@dataclass(frozen=True)
class Result:
    """The verdict on one mutant, the test that found it, and the digest of what it holds for."""

    file: str
    name: str
    digest: str
    verdict: Verdict
    by: str | None

    @property
    def judgement(self) -> Judgement:
        return Judgement(self.verdict, self.by)


class Results:
    """The results in a file, one to a line, about the tree below `root`."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        self._root = root
        self._results: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            self._keep(Result(**json.loads(line)))

    def judgement(self, file: str, name: str, tests: Sequence[str]) -> Judgement | None:
        """Return the judgement on a mutant that holds today, if there is one."""
        result = self._result(file, name, tests)
        return result and result.judgement

    def _result(self, file: str, name: str, tests: Sequence[str]) -> Result | None:
        for result in reversed(self._results[file, name]):
            if self._is_there(result.by) and result.digest == digest_of(
                self._root, file, tests, result.by
            ):
                return result
        return None

    def _is_there(self, test: str | None) -> bool:
        return test is None or (self._root / test.partition("::")[0]).is_file()

    def add(self, file: str, name: str, tests: Sequence[str], judgement: Judgement) -> None:
        """Keep a judgement at once, so that a run that is stopped loses none."""
        digest = digest_of(self._root, file, tests, judgement.by)
        result = Result(file, name, digest, judgement.verdict, judgement.by)
        self._keep(result)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")

    def keep(self, held: Iterable[tuple[str, str, Sequence[str]]]) -> None:
        """Write the file anew with the results that hold, from file, name and tests of mutants."""
        results = (self._result(*each) for each in held)
        lines = [json.dumps(asdict(result)) for result in results if result]
        self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def finds(self, file: str) -> Counter[str]:
        """Return how many faults of a file each test has found."""
        every = (result for results in self._results.values() for result in results)
        return Counter(each.by for each in every if each.by and each.file == file)

    def _keep(self, result: Result) -> None:
        self._results[result.file, result.name].append(result)


def digest_of(root: Path, file: str, tests: Sequence[str], by: str | None) -> str:
    """Return 16 digits of the SHA-256 of a file and the test that found a fault, or all tests."""
    named = [by] if by else tests
    texts = [(root / file).read_bytes(), *(_text_of_test(root, each).encode() for each in named)]
    return sha256(b"".join(sha256(text).digest() for text in texts)).hexdigest()[:16]


@cache
def _text_of_test(root: Path, test: str) -> str:
    """Return a module of tests, or with `::NAME` that test of it and what it may use there.

    Its imports are left out, for other tests add theirs.
    """
    path, _, name = test.partition("::")
    text = (root / path).read_text(encoding="utf-8")
    if not name:
        return text
    function = name.partition("[")[0].partition("::")[0]
    kept = (each for each in ast.parse(text).body if _is_used_by(function, each))
    return "\n".join(map(ast.dump, kept))


def _is_used_by(test: str, statement: ast.stmt) -> bool:
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return name == test or not name.startswith(("test", "Test"))
        case _:
            return not isinstance(statement, ast.Import | ast.ImportFrom)
