"""The command `kashi` for tests: in this process, or as one of its own."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE

REPOSITORY = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-c", "from meter.cli.main import main; main()"]


def kashi(*words: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


def good(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def told(result: Result, code: int = 1) -> str:
    """Return the one line with which a failing command ends."""
    assert result.exit_code == code, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return only_line(result.stderr)


def only_line(errors: str) -> str:
    assert errors.endswith("\n")
    assert errors.count("\n") == 1, errors
    assert errors.startswith(("kashi: ", "could not check: "))
    return errors


def code(line: str) -> str:
    """The code of a line `kashi: code: sentence`."""
    found = re.fullmatch(r"kashi: ([a-z_]+): \S.*\n", line)
    assert found, line
    return found[1]


@contextlib.contextmanager
def elsewhere(dsn: str) -> Iterator[None]:
    """Let commands in this process use another database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_VARIABLE, dsn)
        yield


def environment(database: str | None = None) -> dict[str, str]:
    """Give the environment of a process, with the embedded database unless another is named."""
    kept = {name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE}
    named = {} if database is None else {DATABASE_VARIABLE: database}
    return kept | named | {"PYTHONPATH": str(REPOSITORY)}


def started(database: str | None, *words: object) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(database),
    )
