"""The results of mutants, kept between runs; a result holds for the very text that gave it.

A fault that was found stays found while the function or class that it is in and the test that found
it are the same, whatever other code and tests come. One that was missed is judged again when any of
its judges has changed.
"""

import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from tests.mutants.judges import is_pure
from tests.mutants.run import Judgement, Verdict


@dataclass(frozen=True)
class Result:
    """The verdict on one mutant, the test that found it, and the digest of what it holds for.

    `first` is the verdict that a mutant had when the sample of `seed` drew it, else None: before
    anyone wrote a test for it.
    """

    file: str
    name: str
    digest: str
    verdict: Verdict
    by: str | None
    first: Verdict | None = None
    seed: int | None = None

    @property
    def judgement(self) -> Judgement:
        return Judgement(self.verdict, self.by)


@dataclass(frozen=True)
class Seen:
    """The verdict on a mutant that holds today, and that of the newest sample, each if any."""

    verdict: Verdict | None
    first: Verdict | None = None


class Results:
    """The results in a file, one to a line, about the tree below `root`."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        self._root = root
        self._results: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
        self._newest: Counter[bool] = Counter()  # seed of a sample, of pure files and of others
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            self._keep(Result(**json.loads(line)))

    def judgement(self, file: str, name: str, tests: Sequence[str]) -> Judgement | None:
        """Return the judgement on a mutant that holds today, if there is one."""
        result = self.result(file, name, tests)
        return result and result.judgement

    def result(self, file: str, name: str, tests: Sequence[str]) -> Result | None:
        """Return the result of a mutant that holds today, if there is one."""
        for result in reversed(self._results[file, name]):
            if self._is_there(result.by) and result.digest == digest_of(
                self._root, file, name, tests, result.by
            ):
                return result
        return None

    def seen(self, file: str, name: str, tests: Sequence[str]) -> "Seen":
        """Return the verdict that holds today, and that of the newest sample, which stays."""
        result, drawn = self.result(file, name, tests), self._drawn(file, name)
        return Seen(result and result.verdict, drawn and drawn.first)

    def _is_there(self, test: str | None) -> bool:
        return test is None or (self._root / test.partition("::")[0]).is_file()

    def add(
        self,
        file: str,
        name: str,
        tests: Sequence[str],
        judgement: Judgement,
        *,
        seed: int | None = None,
    ) -> None:
        """Keep a judgement at once, so that a run that is stopped loses none.

        `seed` is that of the sample that drew the mutant, if one did.
        """
        digest = digest_of(self._root, file, name, tests, judgement.by)
        drawn = self._drawn(file, name, seed)
        first, drawn_by = (drawn.first, drawn.seed) if drawn else (None, None)
        if seed is not None and drawn is None:
            first, drawn_by = judgement.verdict, seed
        result = Result(file, name, digest, judgement.verdict, judgement.by, first, drawn_by)
        self._keep(result)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")

    def keep(self, held: Iterable[tuple[str, str, Sequence[str]]]) -> None:
        """Write the file anew with the results that hold, from file, name and tests of mutants.

        What the newest sample drew stays, so that it says the same of the tests as it met them.
        """
        results = (self.result(*each) or self._drawn(*each[:2]) for each in held)
        lines = [json.dumps(asdict(result)) for result in results if result]
        self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _drawn(self, file: str, name: str, seed: int | None = None) -> Result | None:
        """Return the first result of a mutant in a sample, by default the newest of its group."""
        of = self._newest[is_pure(file)] if seed is None else seed
        return next((each for each in self._results[file, name] if each.seed == of), None)

    def finds(self, file: str) -> Counter[str]:
        """Return how many faults of a file each test has found."""
        every = (result for results in self._results.values() for result in results)
        return Counter(each.by for each in every if each.by and each.file == file)

    def _keep(self, result: Result) -> None:
        self._results[result.file, result.name].append(result)
        group = is_pure(result.file)
        self._newest[group] = max(self._newest[group], result.seed or 0)


def digest_of(root: Path, file: str, name: str, tests: Sequence[str], by: str | None) -> str:
    """Return 16 digits of the SHA-256 of what a mutant is in, and of the test that found it.

    Where none did, of all its tests.
    """
    named = [by] if by else tests
    texts = [_text_of_place(root, file, name), *(_text_of_test(root, each) for each in named)]
    return sha256(b"".join(sha256(text.encode()).digest() for text in texts)).hexdigest()[:16]


@cache
def _statements(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


@cache
def _text_of_place(root: Path, file: str, name: str) -> str:
    """Return the function or class that a mutant is in, or the whole module without imports."""
    place = name.partition(":")[0].partition(".")[0]
    every = _statements(root / file)
    named = [each for each in every if getattr(each, "name", None) == place]
    kept = named or [each for each in every if not isinstance(each, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.dump, kept))


@cache
def _text_of_test(root: Path, test: str) -> str:
    """Return a module of tests, or with `::NAME` that test of it and what it may use there.

    Its imports are left out, for other tests add theirs.
    """
    path, _, name = test.partition("::")
    every = _statements(root / path)
    if not name:
        return "\n".join(map(ast.dump, every))
    function = name.partition("[")[0].partition("::")[0]
    return "\n".join(ast.dump(each) for each in every if _is_used_by(function, each))


def _is_used_by(test: str, statement: ast.stmt) -> bool:
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return name == test or not name.startswith(("test", "Test"))
        case _:
            return not isinstance(statement, ast.Import | ast.ImportFrom)
