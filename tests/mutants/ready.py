"""A process that has read all tests, and knows which of them run which line.

It forks itself for each run. A fault within functions is planted in the fork (live.py), and judged
by the tests that run its statement; where none does, it is missed at once. A fault of what is
worked out while modules are imported is judged in a process that imports them anew (run.py).
"""

import gc
import os
import pickle
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from coverage import Coverage

from tests.mutants.known import Known
from tests.mutants.live import Fault, Key, faults, functions, plant
from tests.mutants.mutate import Mutant
from tests.mutants.run import (
    BEGUN,
    FORKS,
    TOLD,
    UNRUN,
    Begun,
    Copy,
    Judgement,
    JudgesError,
    Order,
    Run,
    limit_cpu,
    run_tests,
)

OURS: Final = ("ledger", "meter")  # whose lines are looked at
LINES: Final = "lines"  # which tests run which line
OTHERS: Final = 60  # tests of files that are not named as judges, at most
MEASURE_CPU_SECONDS: Final = 3_600  # for all tests, with their lines

_Cache: TypeAlias = "_lru_cache_wrapper[object]"
_Line = tuple[str, int]  # a file below the repository, and a line of it


@dataclass(frozen=True)
class _Asked:
    """A run in a fork: of tests in this order, with faults, or of whole files, with their lines."""

    tests: Sequence[str] = ()
    faults: Sequence[Fault] = ()
    files: frozenset[str] = frozenset()


class Ready:
    """A process with the tests of a copy, which judges mutants of some files, one by one.

    Where it is `pure`, tests that need a database are left out. Raises `JudgesError` where a test
    fails without a fault.
    """

    def __init__(
        self, copy: Copy, tests: Sequence[str], judged: Iterable[str], *, pure: bool
    ) -> None:
        self._copy = copy
        # What is in memory when the tests have been read, and which lines ran by then.
        self._functions: frozenset[Key]
        self._early: frozenset[_Line]
        self._forks, theirs = FORKS.Pipe()
        parts = (copy.root, copy.environment(), tests, theirs, pure)
        (copy.root / TOLD).write_text("")
        FORKS.Process(target=_prepare, args=parts, daemon=True).start()
        theirs.close()
        try:
            self._functions, self._early = self._forks.recv()
        except EOFError:
            told = (copy.root / TOLD).read_text(errors="replace")[-2_000:]
            raise JudgesError(f"the tests cannot be read:\n{told}") from None
        known = Known(copy.root, judged, pure=pure)
        if unknown := known.files_without(tests):
            self._measure(known, unknown)
        copy.seconds |= known.seconds(tests)
        copy.note_passing(known.passing(tests))
        self._tests = known.tests_by_line(tests)

    def judge(
        self, file: str, mutant: Mutant, tests: Sequence[str], hopes: Mapping[str, float]
    ) -> Judgement:
        """Return whether tests find a mutant of a file. Raises `JudgesError`.

        What a function gave while the tests were read is as it was. So where it ran by then and no
        test finds the fault, the modules are imported anew.
        """
        path = self._copy.root / file
        every = faults(path.read_text(encoding="utf-8"), mutant.source, path)
        if not every or any(each.key not in self._functions for each in every):
            return self._copy.judge(file, mutant.source, tests, hopes)
        chosen = self._chosen(file, mutant.lines, tests, hopes)
        judgement = Judgement("missed")
        if chosen:
            judgement = self._judge(file, mutant.source, _Asked(chosen, every))
        if judgement.verdict == "missed" and any(self._may_have_run(file, each) for each in every):
            files = sorted({test.partition("::")[0] for test in chosen}) or tests
            return self._copy.judge(file, mutant.source, files, hopes)
        return judgement

    def _judge(self, file: str, source: str, asked: _Asked) -> Judgement:
        def run_with(patience: int) -> Run:
            with self._copy.planted(file, source):  # for the commands that tests start
                return self._run(asked, patience)

        return self._copy.judged(run_with, asked.tests)

    def _may_have_run(self, file: str, fault: Fault) -> bool:
        """Return whether a function ran while the tests were read, or cannot be told apart."""
        ran = any((file, line) in self._early for line in fault.lines)
        return ran or not fault.lines

    def _chosen(
        self, file: str, lines: Iterable[int], tests: Sequence[str], hopes: Mapping[str, float]
    ) -> list[str]:
        """Return the tests that run a line, those with the most hope first."""
        every = (self._tests.get((file, line), frozenset()) for line in lines)
        found = {test for some in every for test in some}
        ordered = sorted(found, key=lambda test: (-hopes.get(test, 0.0), test))
        others = [each for each in ordered if each.partition("::")[0] not in tests]
        left = {*others[OTHERS:]}
        return [each for each in ordered if each not in left]

    def _measure(self, known: Known, files: Collection[str]) -> None:
        """Run files of tests without a fault, and keep which lines each test runs.

        One file after the other, so that a run that is stopped keeps what it has measured.
        """
        for file in files:
            run = self._run(_Asked(files=frozenset([file])), None)
            if run.status not in {0, UNRUN}:
                raise JudgesError(f"{file} ends with {run.status}:\n{run.told}")
            lines = pickle.loads((self._copy.root / LINES).read_bytes())
            known.add([file], lines, self._copy.seconds)

    def _run(self, asked: _Asked, patience: int | None) -> Run:
        def start() -> int:
            self._forks.send(asked)
            return self._forks.recv()

        def end_within(seconds: float) -> int | None:
            return self._forks.recv() if self._forks.poll(seconds) else None

        run = self._copy.watched(start, end_within, patience)
        if run.status is None:
            self._forks.recv()
        return run


def _prepare(
    root: Path, environment: Mapping[str, str], tests: Sequence[str], asked: Connection, pure: bool
) -> None:
    plugins = [Order({}, pure=pure), Begun(root / BEGUN), _Forks(root, asked)]
    run_tests(root, environment, tests, plugins)


class _Forks:
    """Lets pytest read the tests once, and run them in a fork as often as it is asked."""

    def __init__(self, root: Path, asked: Connection) -> None:
        self._root = root
        self._asked = asked
        self._reading = _coverage(root)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_parse(self) -> None:
        """Begin before any module of ours is imported."""
        self._reading.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Return in each fork, where the tests run then, and never here."""
        self._reading.stop()
        found = functions(self._root)
        caches = _caches()
        items = {item.nodeid: item for item in session.items}
        gc.freeze()  # what is in memory is no garbage, and is found no more
        lines = frozenset(line for line, _ in _lines(self._reading, self._root))
        self._asked.send((frozenset(found), lines))
        for asked in _received(self._asked):
            child = os.fork()
            if child == 0:
                os.setsid()
                if asked.tests:
                    limit_cpu()
                    session.items[:] = [items[each] for each in asked.tests]
                    plant(asked.faults, found)
                else:
                    limit_cpu(MEASURE_CPU_SECONDS)
                    session.items[:] = [
                        each for each in items.values() if _file(each) in asked.files
                    ]
                    session.config.pluginmanager.register(_Measuring(self._root, caches))
                return
            self._asked.send(child)
            _, status = os.waitpid(child, 0)
            self._asked.send(os.waitstatus_to_exitcode(status))
        os._exit(0)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _received(connection: Connection) -> Iterator[_Asked]:
    """Yield what comes until the other end has gone."""
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return


class _Measuring:
    """Writes which tests run which line, each as if it were alone.

    What is set up once for several tests counts as run by each of those that ask for it.
    """

    def __init__(self, root: Path, caches: list[_Cache]) -> None:
        self._root = root
        self._caches = caches
        self._running = ""  # the test that runs, or is set up
        self._shared: set[tuple[str, str]] = set()  # fixtures: below which node, and their names
        self._coverage = _coverage(root)
        self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        # What is left in a cache would be run by the first test alone.
        for each in self._caches:
            each.cache_clear()
        self._running = nodeid
        self._coverage.switch_context(nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        shared = fixturedef.baseid, fixturedef.argname
        self._shared.add(shared)
        self._coverage.switch_context(_context(*shared))
        try:
            return (yield)
        finally:
            self._coverage.switch_context(self._running)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._coverage.stop()
        lines: defaultdict[str, set[_Line]] = defaultdict(set)
        for line, contexts in _lines(self._coverage, self._root):
            for context in contexts:
                lines[context].add(line)
        own = {item.nodeid: lines[item.nodeid] for item in session.items}
        for item in session.items:
            for below, name in self._shared:
                if item.nodeid.startswith(below) and name in _asked_for(item):
                    own[item.nodeid] |= lines[_context(below, name)]
        (self._root / LINES).write_bytes(pickle.dumps(own))


def _context(below: str, name: str) -> str:
    return f"{name} of {below}"


def _asked_for(item: pytest.Item) -> Sequence[str]:
    """Return the names of the fixtures that a test and its fixtures ask for."""
    return item.fixturenames if isinstance(item, pytest.Function) else ()


def _caches() -> list[_Cache]:
    """Return the functions in memory that are ours and keep what they return."""
    found = (each for each in gc.get_objects() if isinstance(each, _lru_cache_wrapper))
    return [each for each in found if each.__module__.partition(".")[0] in {*OURS, "tests"}]


def _coverage(root: Path) -> Coverage:
    include = [f"{root}/{room}/*" for room in OURS]
    return Coverage(data_file=None, config_file=False, include=include, messages=False)


def _lines(coverage: Coverage, root: Path) -> Iterator[tuple[_Line, set[str]]]:
    """Yield the lines that were run, each with the names of the tests that ran it."""
    data = coverage.get_data()
    for path in data.measured_files():
        file = Path(path).relative_to(root).as_posix()
        for line, tests in data.contexts_by_lineno(path).items():
            yield (file, line), {test for test in tests if test}
