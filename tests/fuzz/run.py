"""Fuzz one target in a process of its own, and keep the useful inputs.

It begins with its seeds and its kept corpus. An input that finds something goes to `findings/` and
ends the process. An input that reaches new code, which neither seeds nor corpus reach, enters the
corpus, as long as there is room.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.fuzz.seeds import HOME, corpus, kept, seeds, words

REPOSITORY = Path(__file__).parents[2]

MAX_INPUT_BYTES = 4_096  # of a kept input; an entry or a batch fits
MAX_KEPT = 30  # inputs of a target, so that the whole corpus is replayed in a moment
# An input that needs more of either is a finding. Most take milliseconds and 100 MB.
INPUT_SECONDS = 30
MEMORY_MB = 1_024
LIMITS = (
    *(f"-timeout={INPUT_SECONDS}", f"-report_slow_units={INPUT_SECONDS}"),
    f"-rss_limit_mb={MEMORY_MB}",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of fuzzing a target.

    `coverage` counts the places in the code that were reached, `new` the inputs that entered the
    corpus; `told` is the exception of a finding.
    """

    target: str
    runs: int
    coverage: int
    new: int
    findings: list[Path]
    told: str


def fuzz(
    target: str,
    seconds: int,
    max_runs: int = -1,
    home: Path = HOME,
    *,
    keep: bool = True,
) -> Outcome:
    """Fuzz until time or runs are over or something is found; with `keep`, store useful inputs.

    Corpus and findings lie in `home`.
    """
    findings = home / "findings"
    with tempfile.TemporaryDirectory(prefix="kashi-fuzz-") as folder:
        place = Path(folder)
        _lay_out(target, place, home)
        findings.mkdir(exist_ok=True)
        done = _inside(
            *(place, target, f"-max_total_time={seconds}", f"-runs={max_runs}"),
            *(f"-max_len={MAX_INPUT_BYTES}", f"-dict={place / 'words'}"),
            *(f"-artifact_prefix={findings / target}-", place / "grown", place / "start"),
        )
        found = [Path(name) for name in re.findall(r"Test unit written to (.*)", done.stdout)]
        if done.returncode and not found:
            raise RuntimeError(done.stdout)  # the fault is one of the harness
        new = _keep(target, place, home) if keep and not found else 0
    runs, coverage = _last_line(done.stdout)
    return Outcome(target, runs, coverage, new, found, _told(done.stdout))


def _lay_out(target: str, place: Path, home: Path) -> None:
    """Put seeds and kept inputs into one folder, and the words of the seeds into a file."""
    for name in ("start", "grown"):
        (place / name).mkdir()
    for data in [*seeds(target), *(path.read_bytes() for path in kept(target, home))]:
        (place / "start" / sha256(data).hexdigest()).write_bytes(data)
    (place / "words").write_text(words(target))


def _inside(place: Path, target: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    # By way of a shell: Linux counts as a process's memory what the one had that started it.
    shell = ("sh", "-c", '"$@"; exit $?', "sh")
    command = [*shell, sys.executable, "-m", "tests.fuzz.inside", target, *LIMITS, *arguments]
    # Sets have the same order each time, so that an input reaches the same places each time.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": str(place)}
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _keep(target: str, place: Path, home: Path) -> int:
    """Keep the grown inputs that reach a new place; returns their number."""
    merged = place / "merged"
    shutil.copytree(place / "start", merged)
    # Without counters, how often a place was reached does not matter.
    done = _inside(place, target, "-merge=1", "-use_counters=0", merged, place / "grown")
    if done.returncode:
        raise RuntimeError(done.stdout)
    held = {path.name for path in (place / "start").iterdir()}
    new = [path for path in sorted(merged.iterdir()) if path.name not in held]
    new = new[: max(0, MAX_KEPT - len(kept(target, home)))]
    for path in new:
        corpus(target, home).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, corpus(target, home))
    return len(new)


def _last_line(output: str) -> tuple[int, int]:
    """Return runs and coverage from the last line of libFuzzer that has them."""
    lines = re.findall(r"^#(\d+)\t.* cov: (\d+) ", output, re.MULTILINE)
    runs, coverage = lines[-1] if lines else (0, 0)
    return int(runs), int(coverage)


def _told(output: str) -> str:
    """Return the traceback of a finding, or the words of libFuzzer where there is none."""
    lines = [line for line in output.splitlines() if not line.startswith("INFO: Instrumenting")]
    begins = [place for place, line in enumerate(lines) if "Uncaught Python exception" in line]
    return "\n".join(lines[begins[0] :] if begins else lines[-20:])
