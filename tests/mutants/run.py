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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final, Literal

import pytest
from hypothesis import Phase, settings

from tests.mutants.judges import is_pure

REPOSITORY: Final = Path(__file__).parents[2]
ROOMS: Final = ("ledger", "meter", "tests", "docs", "deploy")
FILES: Final = ("pyproject.toml", "README.md", "Makefile", "CONTRIBUTING.md")
DATABASE: Final = "KASHI_TEST_DATABASE_URL"
TOLD: Final = "told"  # what pytest prints
BEGUN: Final = "begun"  # when each test began

# A mutant that makes a test hang is found by the time that it takes, twice.
PATIENCE: Final = 4  # times the time of the test in another run
LAST_PATIENCE: Final = 10  # times its time without the fault, measured at once
LEAST_SECONDS: Final = 2.5
UNKNOWN_SECONDS: Final = 5.0  # of a test that has not run yet, at most
NO_HOPE: Final = 0.1  # of such a test, in a second
NO_HOPES: Final[Mapping[str, float]] = MappingProxyType({})
LOOK_SECONDS: Final = 0.5
# A loop without end must not fill the machine, nor outlive us.
MOST_BYTES: Final = 3 << 30  # of address space
MOST_CPU_SECONDS: Final = 600

# Parts of pytest that find nothing here, and take time.
UNUSED: Final = ("-p", "no:cacheprovider", "-p", "no:unraisableexception")

FAILED: Final = 1  # pytest: some test failed
UNCOLLECTED: Final = 2  # pytest: a module could not be imported
UNRUN: Final = 5  # pytest: there was no test to run

Verdict = Literal["found", "timeout", "missed"]

# A process has one such server, whoever asks for it: nobody else among the tests does.
FORKS: Final = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
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
        """How long each test took that passed."""
        ends = [*self.began, (self.seconds, "")] if self.status == 0 else self.began
        return {test: end - begin for (begin, test), (end, _) in pairwise(ends)}


class Copy:
    """The copied tree; `database` is the DSN of a server for its tests, else they start theirs.

    `seconds` holds how long each test took when it last ran to its end.
    """

    def __init__(self, root: Path, database: str | None = None) -> None:
        self.root = root
        self.seconds: dict[str, float] = {}
        self._database = database
        self._passing: set[tuple[str, ...]] = set()

    def judge(
        self, file: str, source: str, tests: Sequence[str], hopes: Mapping[str, float] = NO_HOPES
    ) -> Judgement:
        """Return whether tests find that a file has another source. Raises `JudgesError`.

        The tests with the most hope begin: what they are expected to find in a second.
        """
        order = Order(dict(hopes), pure=is_pure(file))
        return self.judged(
            lambda patience: self._run_with(file, source, tests, order, patience), tests
        )

    def judged(self, run_with: Callable[[int], Run], tests: Sequence[str]) -> Judgement:
        """Return what a run of tests with a fault comes to; one that takes long is run again."""
        run = run_with(PATIENCE)
        if run.status == 0:
            return Judgement("missed")
        if run.status is None:  # The machine may have been slow.
            self._passing.discard(_found_by(run, tests))
            self._check_passing(_found_by(run, tests))
            run = run_with(LAST_PATIENCE)
        judgement = _judgement(run)
        if judgement.verdict != "missed":
            self._check_passing(_found_by(run, tests))
        return judgement

    def _check_passing(self, tests: tuple[str, ...]) -> None:
        """Raise `JudgesError` where a test fails, or files of tests are not read, without a fault.

        Each is asked once.
        """
        if tests not in self._passing:
            files = [each.partition("::")[0] for each in tests]
            run = self._run(files, Order(dict.fromkeys(tests, 1.0), alone=True))
            if run.status != (UNRUN if tests == tuple(files) else 0):
                raise JudgesError(f"{', '.join(tests)} ends with {run.status}:\n{run.told}")
            self._passing.add(tests)

    def _run_with(
        self, file: str, source: str, tests: Sequence[str], order: "Order", patience: int
    ) -> Run:
        with self.planted(file, source):
            return self._run(tests, order, patience)

    @contextmanager
    def planted(self, file: str, source: str) -> Iterator[None]:
        """Let a file have another source for a while."""
        right = (self.root / file).read_text(encoding="utf-8")
        self._put(file, source)
        try:
            yield
        finally:
            self._put(file, right)

    def _put(self, file: str, source: str) -> None:
        """Write a source with its bytecode, which holds for its very bytes.

        By the usual rule, a mutant of the same size and second would pass for another.
        """
        path = self.root / file
        path.write_text(source, encoding="utf-8")
        by_bytes = py_compile.PycInvalidationMode.CHECKED_HASH
        py_compile.compile(str(path), doraise=True, invalidation_mode=by_bytes)

    def _run(self, tests: Sequence[str], order: "Order", patience: int | None = None) -> Run:
        """Run tests, none of them longer than the usual time for `patience` times."""
        parts = (self.root, self.environment(), tests, [order, Begun(self.root / BEGUN)])
        process = FORKS.Process(target=run_tests, args=parts)

        def end_within(seconds: float) -> int | None:
            process.join(seconds)
            return process.exitcode

        def start() -> int:
            process.start()
            return process.pid or 0

        try:
            return self.watched(start, end_within, patience)
        finally:
            process.kill()
            process.join()

    def watched(
        self,
        start: Callable[[], int],
        end_within: Callable[[float], int | None],
        patience: int | None,
    ) -> Run:
        """Watch a process that runs tests, and kill it where one takes too long.

        `start` returns its number, and `end_within` its status, if it ends within some seconds.
        """
        told, begun = self.root / TOLD, self.root / BEGUN
        told.write_text("")
        begun.write_text("")
        began_at, status = time.monotonic(), None
        number = start()
        try:
            while status is None and not self._is_overdue(began_at, _began(begun), patience):
                status = end_within(LOOK_SECONDS)
        finally:
            if status is None:
                with suppress(ProcessLookupError):  # It has no group yet.
                    os.killpg(number, signal.SIGKILL)
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        began = [(at - began_at, test) for at, test in _began(begun)]
        text = told.read_text(errors="replace")[-2_000:]
        run = Run(status, began, time.monotonic() - began_at, text)
        self.seconds |= run.seconds_by_test
        return run

    def note_passing(self, tests: Iterable[str]) -> None:
        """Know that these tests pass without a fault."""
        self._passing |= {(each,) for each in tests}

    def _is_overdue(
        self, start: float, began: list[tuple[float, str]], patience: int | None
    ) -> bool:
        """Return whether the test that began last takes too long, or their import."""
        if patience is None:
            return False
        since, test = began[-1] if began else (start, "")
        usual = max(LEAST_SECONDS, self.seconds.get(test, UNKNOWN_SECONDS))
        return time.monotonic() - since > patience * usual

    def environment(self) -> dict[str, str]:
        """Return the environment in which the commands that tests start import the copy."""
        ours = {"PYTHONPATH": str(self.root), "KASHI_COMPILE": "no"}
        return ours if self._database is None else ours | {DATABASE: self._database}


def _began(file: Path) -> list[tuple[float, str]]:
    """Return when each test began, as `_Begun` writes it."""
    lines = (line.split(" ", 1) for line in file.read_text().splitlines())
    return [(float(at), test) for at, test in lines]


def _found_by(run: Run, tests: Sequence[str]) -> tuple[str, ...]:
    """Return the test that ended a run, or all files where none of their tests has begun."""
    return (run.began[-1][1],) if run.began else tuple(tests)


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


def run_tests(
    root: Path,
    environment: Mapping[str, str],
    tests: Sequence[str],
    plugins: Sequence[object],
) -> None:
    """Run tests in this process, which ends with their status."""
    os.setsid()
    multiprocessing.current_process().daemon = False  # some tests start processes
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    limit_cpu()
    os.chdir(root)
    os.environ.update(environment)
    with (root / TOLD).open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    _import_from(root)
    gc.freeze()  # what was imported before is no garbage
    # A failing example is looked for, but not the smallest, and a slow one fails nothing.
    phases = (Phase.explicit, Phase.generate, Phase.target)
    settings.register_profile("mutants", phases=phases, database=None, deadline=None)
    settings.load_profile("mutants")
    options = ["-x", "-q", "--disable-warnings", *UNUSED, f"--basetemp={root}/tmp"]
    status = pytest.main([*options, *tests], plugins=[*plugins])
    sys.stdout.flush()
    os._exit(status)


def limit_cpu(seconds: int = MOST_CPU_SECONDS) -> None:
    """Let this process, or each that it forks, end when it has run so long."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _import_from(root: Path) -> None:
    """Import what is ours from this folder alone, and keep its bytecode there."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sys.path[:] = [str(root), *(each for each in sys.path if Path(each) != REPOSITORY)]
    for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
        del sys.modules[name]


@dataclass(frozen=True)
class Order:
    """Lets the tests begin that are hoped to find most, or runs none but those of a hope.

    Tests that are marked `long` are left out, and where what is judged is `pure`, those that need a
    database: they take longer than what they find is worth.
    """

    hopes: Mapping[str, float]
    alone: bool = False
    pure: bool = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        items.sort(key=lambda item: -self.hopes.get(item.nodeid, NO_HOPE))
        if self.alone:
            items[:] = [item for item in items if item.nodeid in self.hopes]
        if self.pure:
            items[:] = [item for item in items if "database" not in _fixtures_of(item)]


def _fixtures_of(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


@dataclass(frozen=True)
class Begun:
    """Writes when each test began."""

    file: Path

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with self.file.open("a") as file:
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
