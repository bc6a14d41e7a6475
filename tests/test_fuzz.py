"""Every reader of hostile bytes keeps its promise: for known inputs, and for a moment of fuzzing.

`make fuzz` searches longer; the inputs that it keeps in `tests/fuzz/corpus/` are replayed here, on
any platform.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.run import MAX_INPUT_BYTES, MAX_KEPT, REPOSITORY, fuzz
from tests.fuzz.seeds import ABSURD, HOME, corpus, kept, seeds
from tests.fuzz.targets import TARGETS

MAX_CORPUS_BYTES = 300_000

needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris has no wheel for this Python or platform"
)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_kept_inputs_and_absurd_ones_are_read_or_refused_as_documented(target):
    inputs = [*seeds(target), *(path.read_bytes() for path in kept(target)), *ABSURD]
    verdicts = {verdict(target, data) for data in inputs}
    # A target that takes nothing, or everything, would show nothing.
    assert verdicts == {True, False}


def verdict(target: str, data: bytes) -> bool:
    try:
        return TARGETS[target](data)
    except BaseException as error:
        error.add_note(f"{target}: {data[:200]!r}, {len(data)} bytes")
        raise


def test_the_corpus_is_small_and_all_of_it_is_replayed():
    files = [path for path in (HOME / "corpus").glob("*/*") if path.is_file()]
    assert sorted(files) == sorted(path for target in TARGETS for path in kept(target))
    assert files
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) <= MAX_INPUT_BYTES
    assert sum(sizes) <= MAX_CORPUS_BYTES
    assert max(len(kept(target)) for target in TARGETS) <= MAX_KEPT


@needs_atheris
@pytest.mark.parametrize("target", TARGETS)
def test_a_moment_of_fuzzing_finds_nothing(target, tmp_path):
    given = {*seeds(target), *(path.read_bytes() for path in kept(target))}
    for seconds in (5, 60):  # a busy machine may need more to get beyond what is given
        outcome = fuzz(target, seconds, 2_000, tmp_path, keep=False)
        if outcome.runs > len(given) or outcome.findings:
            break
    assert outcome.findings == [], outcome.told
    assert outcome.runs > len(given)
    assert outcome.coverage > 0


@needs_atheris
def test_a_planted_fault_is_found_shown_and_seen_again(tmp_path):
    copied(tmp_path)
    tiles = tmp_path / "ledger/tiles.py"
    right, wrong = "if not 0 < tile.width <= TILE_WIDTH:", "if tile.width == 0:"
    assert right in tiles.read_text()
    tiles.write_text(tiles.read_text().replace(right, wrong))
    done = fuzzing(tmp_path, "tile", "--seconds", "60")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "AssertionError" in done.stdout
    (finding,) = (tmp_path / "tests/fuzz/findings").iterdir()
    again = f"tile --replay {finding.relative_to(tmp_path)}"
    assert f"python -m tests.fuzz {again}" in done.stdout
    assert "AssertionError" in fuzzing(tmp_path, *again.split()).stderr
    assert fuzzing(REPOSITORY, "tile", "--replay", str(finding)).stdout == "tile: refused\n"


@needs_atheris
def test_what_reaches_new_places_is_kept_until_there_is_no_room(tmp_path):
    first = fuzz("note", 60, 10_000, tmp_path)
    assert first.new == len(kept("note", tmp_path)) > 0
    full = corpus("trace", tmp_path)
    full.mkdir()
    for number in range(MAX_KEPT):
        (full / str(number)).write_bytes(b"%d" % number)
    assert fuzz("trace", 60, 10_000, tmp_path).new == 0
    assert len(kept("trace", tmp_path)) == MAX_KEPT


@needs_atheris
def test_json_is_changed_into_other_json():
    from random import Random

    from tests.fuzz.mutation import _changed_json

    changed = [_changed_json(data, Random(n)) for n, data in enumerate(seeds("batch") * 50)]
    assert {type(data) for data in changed} == {bytes}
    assert len(set(changed)) > len(changed) // 2
    assert _changed_json(b"not JSON", Random(0)) is None


def copied(folder: Path) -> None:
    """Copy the project without the parts that fuzzing does not need."""
    for name in ("ledger", "meter", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "corpus", "findings")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)


def fuzzing(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m tests.fuzz` on the project in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
