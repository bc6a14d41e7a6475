"""Fuzz the targets one after the other and show the progress."""

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from tests.fuzz.run import Outcome, fuzz
from tests.fuzz.seeds import kept
from tests.fuzz.targets import TARGETS

COLUMNS = "{:<12} {:>12} {:>9} {:>7} {:>4}  {}"


@click.command()
@click.argument("targets", nargs=-1, type=click.Choice(list(TARGETS)))
@click.option("--seconds", default=60, show_default=True, help="For each target.")
@click.option("--replay", type=click.Path(path_type=Path, exists=True), help="Only this input.")
def main(targets: tuple[str, ...], seconds: int, replay: Path | None) -> None:
    """Fuzz TARGETS, or all. Exit code 1 where something was found."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if replay is not None:
        for target in targets:
            taken = TARGETS[target](replay.read_bytes())
            console.print(f"{target}: {'taken' if taken else 'refused'}")
        return
    console.print(COLUMNS.format("target", "runs", "coverage", "corpus", "new", "findings"))
    found = False
    for target in targets or TARGETS:
        outcome = fuzz(target, seconds)
        console.print(_row(outcome))
        found |= bool(outcome.findings)
        for path in outcome.findings:
            console.print(_told(outcome, path))
    sys.exit(1 if found else 0)


def _row(outcome: Outcome) -> str:
    return COLUMNS.format(
        outcome.target,
        f"{outcome.runs:,}",
        f"{outcome.coverage:,}",
        len(kept(outcome.target)),
        outcome.new,
        len(outcome.findings) or "-",
    )


def _told(outcome: Outcome, path: Path) -> str:
    """Return the finding, and the command that shows it again."""
    again = f"python -m tests.fuzz {outcome.target} --replay {os.path.relpath(path)}"
    return f"\n{outcome.told}\n\nTo see it again: {again}\n"


if __name__ == "__main__":
    main()
