"""The inside of one fuzzing process: a target under libFuzzer, guided by coverage.

    python -m tests.fuzz.inside TARGET [libFuzzer's options and folders]

`tests/fuzz/run.py` starts it. libFuzzer ends the process, with a status that is not 0 where it
found something.
"""

import shlex
import sys

import atheris

from tests.fuzz.mutation import mutate

NAME = sys.argv.pop(1)
PACKAGES = ["ledger", "meter"]
if NAME == "policy":
    PACKAGES.append("tomllib")  # in Python throughout; otherwise it would draw all attention

# Modules are instrumented while they are imported, so none of these may be imported before.
with atheris.instrument_imports(include=PACKAGES):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    # To merge, libFuzzer gives this, and its arguments, to a shell.
    sys.argv[0] = f"{shlex.quote(sys.executable)} -m tests.fuzz.inside {NAME}"
    atheris.Setup(sys.argv, run, custom_mutator=mutate)
    atheris.Fuzz()


def run(data: bytes) -> None:
    TARGETS[NAME](data)  # libFuzzer gives another meaning to what this returns


if __name__ == "__main__":
    main()
