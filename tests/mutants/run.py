"""A copy of the tree, in which the tests judge one mutant after the other.

The copy has no compiled module: the source that is changed is the one that runs. Each run of the
tests is a fork of a process that has imported what others wrote, and nothing of ours.
"""

import gc
import multiprocessing
import os
import py_compile
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import pytest
from hypothesis import Phase, settings

REPOSITORY: Final = Path(__file__).parents[2]
ROOMS: Final = ("ledger", "meter", "tests", "docs", "deploy")
FILES: Final = ("pyproject.toml", "README.md", "Makefile", "CONTRIBUTING.md")
DATABASE: Final = "KASHI_TEST_DATABASE_URL"

# A mutant that makes a test hang is found by the time that it takes.
PATIENCE: Final = 4  # times the time of the test without a fault
LEAST_SECONDS: Final = 10
LOOK_SECONDS: Final = 0.5
# A loop without end must not fill the machine, nor outlive us.
MOST_BYTES: Final = 3 << 30  # of address space
MOST_CPU_SECONDS: Final = 600

# Parts of pytest that find nothing here, and take time.
UNUSED: Final = ("-p", "no:cacheprovider", "-p", "no:unraisableexception")

FAILED: Final = 1  # pytest: some test failed
UNCOLLECTED: Final = 2  # pytest: a module could not be imported

Verdict = Literal["found", "timeout", "missed"]

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("pytest", "pytest_asyncio.plugin", "pytest_timeout", "xdist.plugin", "xdist.scheduler"),
        *("_hypothesis_pytestplugin", "hypothesis.stateful", "hypothesis.extra._patching"),
        *("aiohttp", "aiohttp.web", "asyncpg", "click.testing", "msgspec", "rich.console"),
        *("cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.x509"),
        *("anyio.pytest_plugin", "anyio._backends._asyncio", "platformdirs", "tomllib"),
    ]
)


class JudgesError(Exception):
    """The tests fail without a fault, or cannot be run."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on a mutant, and the test that found it, if it was one."""

    verdict: Verdict
    by: str | None = None


@dataclass(frozen=True)
class Run:
    """A run of tests, until the first that fails; `status` is None where it took too long."""

    status: int | None
    began: list[tuple[float, str]]  # when each test began, in seconds since the start
    seconds: float
    told: str

    @property
    def seconds_by_test(self) -> dict[str, float]:
        ends = [*self.began, (self.seconds, "")]
        return {test: end - begin for (begin, test), (end, _) in pairwise(ends)}


class Copy:
    """The copied tree; `database` is the DSN of a server for its tests, else they start theirs."""

    def __init__(self, root: Path, database: str | None = None) -> None:
        self.root = root
        self._database = database
        self._without_fault: dict[str, Run] = {}

    def without_fault(self, tests: str) -> Run:
        """Run a file of tests on the sources as they are, once. Raises `JudgesError`."""
        if tests not in self._without_fault:
            run = self._run([tests])
            if run.status != 0:
                raise JudgesError(f"{tests} ends with {run.status}:\n{run.told}")
            self._without_fault[tests] = run
        return self._without_fault[tests]

    def seconds_of(self, tests: Sequence[str]) -> dict[str, float]:
        """Return how long each test of some files takes. Raises `JudgesError`."""
        runs = [self.without_fault(each) for each in tests]
        return {test: seconds for run in runs for test, seconds in run.seconds_by_test.items()}

    def judge(
        self, file: str, source: str, tests: Sequence[str], first: Sequence[str] = ()
    ) -> Judgement:
        """Return whether tests find that a file has another source. Raises `JudgesError`.

        The tests that `first` names begin.
        """
        usual = self.seconds_of(tests)
        right = (self.root / file).read_text(encoding="utf-8")
        self._put(file, source)
        try:
            run = self._run(tests, first, usual)
        finally:
            self._put(file, right)
        return _judgement(run)

    def _put(self, file: str, source: str) -> None:
        """Write a source with its bytecode, which holds for its very bytes.

        By the usual rule, a mutant of the same size and second would pass for another.
        """
        path = self.root / file
        path.write_text(source, encoding="utf-8")
        by_bytes = py_compile.PycInvalidationMode.CHECKED_HASH
        py_compile.compile(str(path), doraise=True, invalidation_mode=by_bytes)

    def _run(
        self,
        tests: Sequence[str],
        first: Sequence[str] = (),
        usual: Mapping[str, float] | None = None,
    ) -> Run:
        """Run tests, none of them much longer than the seconds that are `usual`."""
        told, begun = self.root / "told", self.root / "begun"
        told.write_text("")
        begun.write_text("")
        parts = (self.root, self._environment(), tests, _Order(tuple(first), begun), told)
        process = _FORKS.Process(target=_run_tests, args=parts)
        start = time.monotonic()
        process.start()
        try:
            while process.exitcode is None and not _is_overdue(start, _began(begun), usual):
                process.join(LOOK_SECONDS)
        finally:
            status = process.exitcode
            if status is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.join()
        began = [(at - start, test) for at, test in _began(begun)]
        text = told.read_text(errors="replace")[-2_000:]
        return Run(status, began, time.monotonic() - start, text)

    def _environment(self) -> dict[str, str]:
        """Return the environment in which the commands that tests start import the copy."""
        ours = {"PYTHONPATH": str(self.root), "KASHI_COMPILE": "no"}
        return ours if self._database is None else ours | {DATABASE: self._database}


def _began(file: Path) -> list[tuple[float, str]]:
    """Return when each test began, as `_Order` writes it."""
    lines = (line.split(" ", 1) for line in file.read_text().splitlines())
    return [(float(at), test) for at, test in lines]


def _is_overdue(
    start: float, began: list[tuple[float, str]], usual: Mapping[str, float] | None
) -> bool:
    """Return whether the test that began last takes too long, or their import."""
    if usual is None:
        return False
    since, test = began[-1] if began else (start, "")
    return time.monotonic() - since > max(LEAST_SECONDS, PATIENCE * usual.get(test, 0))


def _judgement(run: Run) -> Judgement:
    last = run.began[-1][1] if run.began else None
    match run.status:
        case 0:
            return Judgement("missed")
        case None:
            return Judgement("timeout", last)
        # Once a test has begun, only the fault can have ended the process in another way.
        case status if status in {FAILED, UNCOLLECTED} or last:
            return Judgement("found", last)
        case status:
            raise JudgesError(f"pytest ended with {status}:\n{run.told}")


def _run_tests(
    root: Path, environment: dict[str, str], tests: Sequence[str], order: "_Order", told: Path
) -> None:
    """Run tests in this process, which ends with their status."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_SECONDS, MOST_CPU_SECONDS))
    os.chdir(root)
    os.environ.update(environment)
    with told.open("wb") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    _import_from(root)
    gc.freeze()  # what was imported before is no garbage
    # A failing example is looked for, but not the smallest, and a slow one fails nothing.
    phases = (Phase.explicit, Phase.generate, Phase.target)
    settings.register_profile("mutants", phases=phases, database=None, deadline=None)
    settings.load_profile("mutants")
    options = ["-x", "-q", *UNUSED, f"--basetemp={root}/tmp"]
    status = pytest.main([*options, *tests], plugins=[order])
    sys.stdout.flush()
    os._exit(status)


def _import_from(root: Path) -> None:
    """Import what is ours from this folder alone, and keep its bytecode there."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sys.path[:] = [str(root), *(each for each in sys.path if Path(each) != REPOSITORY)]
    for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
        del sys.modules[name]


@dataclass(frozen=True)
class _Order:
    """Lets some tests begin, and writes when each began."""

    first: tuple[str, ...]
    begun: Path

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = {test: place for place, test in enumerate(self.first)}
        items.sort(key=lambda item: places.get(item.nodeid, len(places)))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with self.begun.open("a") as file:
            file.write(f"{time.monotonic()} {nodeid}\n")


@contextmanager
def copied(database: str | None = None) -> Iterator[Copy]:
    """Copy the tree into a folder that goes away again."""
    with TemporaryDirectory(prefix="kashi-mutants-") as folder:
        root = Path(folder)
        ignored = shutil.ignore_patterns("*.so", "__pycache__", ".hypothesis", "findings")
        for room in ROOMS:
            shutil.copytree(REPOSITORY / room, root / room, ignore=ignored)
        for file in FILES:
            shutil.copy(REPOSITORY / file, root)
        yield Copy(root, database)
