"""Plant the faults one at a time, show the progress, and print the table."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.conftest import server
from tests.mutants import page
from tests.mutants.judges import JUDGES, is_pure, judges_of
from tests.mutants.mutate import Mutant, mutants
from tests.mutants.ready import Ready
from tests.mutants.results import Results
from tests.mutants.run import REPOSITORY, UNKNOWN_SECONDS, Copy, Judgement, copied
from tests.mutants.sample import order

Planted = tuple[str, Mutant]  # a file and its mutant
HOPE = 0.1  # what a test that has found nothing may find
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(JUDGES)), help="May be repeated.")
@click.option("--sample", type=click.IntRange(1), help="So many of all mutants, by chance.")
@click.option("--seed", type=click.IntRange(1), default=1, help="A new sample has a higher one.")
@click.option("--write", is_flag=True, help="Judge none; write what is known into the docs.")
@click.option(
    "--results",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=REPOSITORY / "tests" / "mutants" / "verdicts.jsonl",
    help="Where they are kept; what is judged there is not judged again.",
)
def main(only: tuple[str, ...], sample: int | None, seed: int, write: bool, path: Path) -> None:
    """Judge mutants, and print each that no test found. Exit code 1 where one is a fault."""
    if write:
        results = Results(path, REPOSITORY)
        judged = ((file, judges_of(file)) for file in JUDGES)
        results.keep((file, each.name, by) for file, by in judged for each in _mutants_of(file))
        page.write(_table(list(JUDGES), results))
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    files = list(only or JUDGES)
    planted = [(file, mutant) for file in files for mutant in _mutants_of(file)]
    if sample is not None:
        planted = _by_chance(planted, seed)[:sample]
    with server() as database, copied(database) as copy:
        results = Results(path, copy.root)
        judging = Judging(copy, results, files, None if sample is None else seed)
        missed = _missed(planted, judging, console)
        console.print(_table(files, results))
    sys.exit(1 if missed else 0)


def _mutants_of(file: str) -> list[Mutant]:
    return mutants((REPOSITORY / file).read_text(encoding="utf-8"))


def _by_chance(planted: list[Planted], seed: int) -> list[Planted]:
    by_name = {(file, mutant.name): (file, mutant) for file, mutant in planted}
    names: defaultdict[str, list[str]] = defaultdict(list)
    for file, mutant in planted:
        names[file].append(mutant.name)
    return [by_name[each] for each in order(names, seed)]


@dataclass
class Judging:
    """Judges what has no result yet, and keeps each result."""

    copy: Copy
    results: Results
    files: list[str]
    seed: int | None  # of the sample that draws them
    _ready: dict[bool, Ready] = field(default_factory=dict)  # by whether it is pure

    def judgement(self, file: str, mutant: Mutant) -> Judgement:
        """Return a judgement that is known, or judge: the tests that find most begin."""
        tests = judges_of(file)
        known = self.results.judgement(file, mutant.name, tests)
        if known is not None:
            return known
        ready = self._ready_for(is_pure(file))
        finds = self.results.finds(file)
        every = finds.keys() | self.copy.seconds.keys()
        hopes = {
            test: (finds[test] + HOPE) / self.copy.seconds.get(test, UNKNOWN_SECONDS)
            for test in every
        }
        judgement = ready.judge(file, mutant, tests, hopes)
        self.results.add(file, mutant.name, tests, judgement, seed=self.seed)
        return judgement

    def _ready_for(self, pure: bool) -> Ready:
        if pure not in self._ready:
            # What is pure has tests enough elsewhere too.
            files = (
                [file for file in JUDGES if is_pure(file)]
                if pure
                else [file for file in self.files if not is_pure(file)]
            )
            tests = sorted({test for file in files for test in judges_of(file)})
            judged = [file for file in self.files if is_pure(file) is pure]
            self._ready[pure] = Ready(self.copy, tests, judged, pure=pure)
        return self._ready[pure]


def _missed(planted: list[Planted], judging: Judging, console: Console) -> int:
    """Judge mutants, print what was missed, and count which of it are faults."""
    missed = 0
    with _bar(console) as bar:
        task = bar.add_task("", total=len(planted))
        for file, mutant in planted:
            bar.update(task, description=file, refresh=True)
            judgement = judging.judgement(file, mutant)
            if judgement.verdict == "missed":
                reason = page.NO_FAULTS.get(file, {}).get(mutant.name)
                missed += reason is None
                told = "missed" if reason is None else f"no fault: {reason}"
                console.print(f"{file}:{mutant.lines.start}: {mutant.name}: {told}")
            bar.advance(task)
    return missed


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    # Without a thread of its own.
    columns = {"console": console, "disable": not console.is_terminal, "auto_refresh": False}
    with Progress(*COLUMNS, **columns) as bar:
        yield bar


def _table(files: list[str], results: Results) -> str:
    told = {
        file: {
            mutant.name: results.seen(file, mutant.name, judges_of(file))
            for mutant in _mutants_of(file)
        }
        for file in files
    }
    return page.table(told, datetime.now(UTC).date())


if __name__ == "__main__":
    main()
