"""Plant the faults one at a time, show the progress, and print the table."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.conftest import server
from tests.mutants import page
from tests.mutants.judges import JUDGES, judges_of
from tests.mutants.mutate import Mutant, mutants
from tests.mutants.results import Results
from tests.mutants.run import REPOSITORY, Copy, Judgement, copied

Planted = tuple[str, Mutant]  # a file and its mutant
HOPE = 0.1  # what a test that has found nothing may find
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(JUDGES)), help="May be repeated.")
@click.option("--sample", type=click.IntRange(1), help="So many of all mutants, by chance.")
@click.option("--seed", default=0, show_default=True, help="Of the chance.")
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
    if sample is not None and sample < len(planted):
        planted = sorted(random.Random(seed).sample(planted, sample), key=lambda each: each[0])
    with server() as database, copied(database) as copy:
        results = Results(path, copy.root)
        missed = _missed(planted, copy, results, console)
        console.print(_table(files, results))
    sys.exit(1 if missed else 0)


def _mutants_of(file: str) -> list[Mutant]:
    return mutants((REPOSITORY / file).read_text(encoding="utf-8"))


def _missed(planted: list[Planted], copy: Copy, results: Results, console: Console) -> int:
    """Judge what has no result yet, print what was missed, and count which of it are faults."""
    missed = 0
    with _bar(console) as bar:
        task = bar.add_task("", total=len(planted))
        for file, mutant in planted:
            bar.update(task, description=file, refresh=True)
            if _judgement(file, mutant, copy, results).verdict == "missed":
                reason = page.NO_FAULTS.get(file, {}).get(mutant.name)
                missed += reason is None
                told = "missed" if reason is None else f"no fault: {reason}"
                console.print(f"{file}:{mutant.line}: {mutant.name}: {told}")
            bar.advance(task)
    return missed


def _judgement(file: str, mutant: Mutant, copy: Copy, results: Results) -> Judgement:
    """Return a judgement that is known, or judge: the tests begin that find most in their time."""
    tests = judges_of(file)
    known = results.judgement(file, mutant.name, tests)
    if known is not None:
        return known
    seconds, finds = copy.seconds_of(tests), results.finds(file)
    first = sorted(seconds, key=lambda test: (finds[test] + HOPE) / seconds[test], reverse=True)
    judgement = copy.judge(file, mutant.source, tests, first)
    results.add(file, mutant.name, tests, judgement)
    return judgement


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    # Without a thread of its own.
    columns = {"console": console, "disable": not console.is_terminal, "auto_refresh": False}
    with Progress(*COLUMNS, **columns) as bar:
        yield bar


def _table(files: list[str], results: Results) -> str:
    told = {
        file: {
            mutant.name: known and known.verdict
            for mutant in _mutants_of(file)
            for known in [results.judgement(file, mutant.name, judges_of(file))]
        }
        for file in files
    }
    return page.table(told, datetime.now(UTC).date())


if __name__ == "__main__":
    main()
