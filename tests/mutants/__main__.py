"""Plant the faults one at a time, show the progress, and print the table."""

import random
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.mutants.judges import JUDGES, judges_of
from tests.mutants.mutate import Mutant, mutants
from tests.mutants.page import Result, Results, table
from tests.mutants.run import REPOSITORY, Copy, Verdict, copied

Planted = tuple[str, Mutant]  # a file and its mutant


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(JUDGES)), help="May be repeated.")
@click.option("--sample", type=click.IntRange(1), help="So many of all mutants, by chance.")
@click.option("--seed", default=0, show_default=True, help="Of the chance.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    default=REPOSITORY / "build" / "mutants.jsonl",
    help="Where they are kept; what is judged there is not judged again.",
)
def main(only: tuple[str, ...], sample: int | None, seed: int, results: Path) -> None:
    """Judge mutants, and print each that no test found. Exit code 1 where there is one."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    every = {file: _mutants_of(file) for file in only or JUDGES}
    planted = [(file, each) for file, found in every.items() for each in found]
    if sample is not None and sample < len(planted):
        planted = sorted(random.Random(seed).sample(planted, sample), key=lambda each: each[0])
    verdicts = _judged(planted, Results(results), console)
    counts = {file: len(found) for file, found in every.items()}
    console.print(table(counts, verdicts, datetime.now(UTC).date()))
    sys.exit(1 if any("missed" in found for found in verdicts.values()) else 0)


def _mutants_of(file: str) -> list[Mutant]:
    return mutants((REPOSITORY / file).read_text(encoding="utf-8"))


def _judged(planted: list[Planted], results: Results, console: Console) -> dict[str, list[Verdict]]:
    """Judge what has no result yet; return the verdicts by file."""
    verdicts: defaultdict[str, list[Verdict]] = defaultdict(list)
    seconds: dict[str, float] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        copied() as copy,
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("", total=len(planted))
        for file, mutant in planted:
            bar.update(task, description=file)
            verdict = _verdict(file, mutant, results, copy, seconds)
            if verdict == "missed":
                console.print(f"missed: {file} {mutant.name}")
            verdicts[file].append(verdict)
            bar.advance(task)
    return verdicts


def _verdict(
    file: str, mutant: Mutant, results: Results, copy: Copy, seconds: dict[str, float]
) -> Verdict:
    """Return a verdict that is known, or judge; `seconds` has how long a file's tests take."""
    tests = judges_of(file)
    digest = copy.digest_of(file, tests)
    verdict = results.verdict(file, mutant.name, digest)
    if verdict is None:
        if file not in seconds:
            seconds[file] = copy.seconds_of(tests)
        verdict = copy.judge(file, mutant.source, tests, seconds[file])
        results.add(Result(file, mutant.name, digest, verdict))
    return verdict


if __name__ == "__main__":
    main()
