"""The rules, compiled and as written: both give the same bytes, and each can be chosen."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ledger.sources import is_compiled
from tests.conftest import stale_sources

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LISTED = [each["name"] for each in PYPROJECT["tool"]["setuptools"]["ext-modules"]]

# The tests of the rules, and of the bytes and books that come from them.
OF_THE_RULES = [
    *(f"tests/meter/test_{name}.py" for name in ("worked_examples", "rating", "capacity")),
    "tests/meter/decide",
    *(f"tests/meter/test_{name}.py" for name in ("invariants", "units")),
    *(f"tests/ledger/test_{name}.py" for name in ("book", "log", "tlog")),
]


def run(*arguments: str, pure: bool = False, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run Python here, with or without what is compiled."""
    environment = os.environ | {"KASHI_PURE": "1" if pure else ""}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, **more
    )


@pytest.fixture(scope="module")
def compiled() -> None:
    """Skip where nothing is compiled, except in CI: there a test fails."""
    if not is_compiled(import_module("ledger.book")) and "CI" not in os.environ:
        pytest.skip("nothing is compiled here")


def modules_that_are_compiled(*, pure: bool) -> list[str]:
    script = f"""if True:
        from importlib import import_module
        from ledger.sources import is_compiled
        print(*[name for name in {LISTED} if is_compiled(import_module(name))])
    """
    return run("-c", script, pure=pure, check=True).stdout.split()


@pytest.mark.usefixtures("compiled")
def test_what_is_listed_runs_compiled():
    assert modules_that_are_compiled(pure=False) == LISTED


def test_what_is_compiled_runs_as_written_where_that_is_asked_for():
    assert modules_that_are_compiled(pure=True) == []


@pytest.mark.usefixtures("compiled")
def test_random_histories_come_to_the_same_bytes():
    ours, reference = (
        json.loads(run("-m", "tests.histories", "300", pure=pure, check=True).stdout)
        for pure in (False, True)
    )
    assert (ours.pop("compiled"), reference.pop("compiled")) == (True, False)
    assert ours == reference
    # The most important kinds are there.
    kinds = ours["kinds"]
    assert (
        min(
            kinds[kind] for kind in ("usage", "void", "release", "issue", "withdrawal", "amendment")
        )
        > 50
    )
    assert ours["withheld"] > 100


@pytest.mark.long
@pytest.mark.usefixtures("compiled")
def test_the_rules_as_written_pass_the_same_tests():
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *OF_THE_RULES, pure=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout.splitlines()[-1]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a copy of all files that an installation needs."""
    copy = tmp_path / "sources"
    for name in ("ledger", "meter"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
    (copy / "deploy").mkdir()
    for name in ("deploy/compiling.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy / name)
    return copy


def installed(sources: Path, **environment: str) -> tuple[int, list[str]]:
    """Install a copy for an empty Python; returns pip's exit status and the compiled files."""
    target = sources.parent / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", target, sources], env=os.environ | environment, capture_output=True
    )
    return done.returncode, sorted(path.stem.split(".")[0] for path in target.rglob("*.so"))


@pytest.fixture
def hasty_compiler(tmp_path: Path) -> str:
    """A C compiler that does not optimise, for where only the names of its files are looked at."""
    program = tmp_path / "cc"
    program.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.long
@pytest.mark.usefixtures("compiled")
def test_an_installation_holds_what_is_listed_and_the_library_behind_it(sources, hasty_compiler):
    names = [name.rpartition(".")[2] for name in LISTED]
    assert installed(sources, CC=hasty_compiler) == (0, sorted([*names, "kashi__mypyc"]))


def test_without_a_compiler_the_rules_are_installed_as_written(sources):
    assert installed(sources, CC="/bin/false") == (0, [])


def test_where_compiling_is_a_must_an_installation_without_a_compiler_fails(sources):
    status, files = installed(sources, CC="/bin/false", KASHI_COMPILE="yes")
    assert status != 0
    assert files == []


def test_where_compiling_is_not_wanted_nothing_is_compiled(sources):
    assert installed(sources, KASHI_COMPILE="no") == (0, [])


def test_a_stale_library_in_a_room_is_found(tmp_path):
    room = tmp_path / "meter/rules"
    room.mkdir(parents=True)
    for name, age_seconds in (("rating", 60), ("state", 0)):
        source, library = room / f"{name}.py", room / f"{name}.cpython-311-x86_64-linux-gnu.so"
        source.touch()
        library.touch()
        newest = library.stat().st_mtime
        os.utime(source, (newest, newest))
        os.utime(library, (newest - age_seconds, newest - age_seconds))
    (room / "gone.cpython-311-x86_64-linux-gnu.so").touch()
    found = [each.name for each in stale_sources(tmp_path / "meter")]
    assert sorted(found) == ["gone.py", "rating.py"]
