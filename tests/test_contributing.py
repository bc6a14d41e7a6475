"""The commands of CONTRIBUTING.md exist, and `make all` is what CI runs."""

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
CI = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(
        re.findall(r"^make ([a-z]+)|`(?:CI=true )?make\s([a-z]+)", CONTRIBUTING, re.MULTILINE)
    )
    named = {name for names in named for name in names if name}
    assert {"setup", "check", "test", "interop", "all", "vectors", "fuzz"} <= named <= targets


def test_make_all_is_what_ci_runs():
    (steps,) = re.findall(r"^all: ([a-z ]+) ##", MAKEFILE, re.MULTILINE)
    called = re.findall(r"^ +(?:[A-Z_]+=\w+ )?(?:timed )?make ([a-z]+)(?: #.*)?$", CI, re.MULTILINE)
    assert called == steps.split()


def test_ci_tells_the_seconds_of_each_step_and_pytest_has_the_last_word():
    (body,) = re.findall(r"^main\(\) \{\n(.*?)^\}", CI, re.MULTILINE | re.DOTALL)
    assert body.splitlines()[-1] == "    make test"
    (timed,) = re.findall(r"^timed\(\) \{\n.*?^\}", CI, re.MULTILINE | re.DOTALL)
    told = subprocess.run(["bash", "-ec", f"{timed}\ntimed echo x"], capture_output=True, text=True)
    assert re.fullmatch(r"x\necho x: \d+ s\n", told.stdout)
    failed = subprocess.run(
        ["bash", "-ec", f"{timed}\ntimed false"], capture_output=True, text=True
    )
    assert (failed.returncode, failed.stdout) == (1, "")
