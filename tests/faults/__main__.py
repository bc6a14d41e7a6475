"""Run the catalogue, show the progress, and write the table."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.faults.catalogue import FAULTS, FAULTS_OF_FRONTS, Fault
from tests.faults.page import HEAD, PAGE, README, Row, put, rows_shown, table
from tests.faults.processes import CannotInject
from tests.faults.run import Outcome, run_fault

NAMES = [fault.name for fault in (*FAULTS, *FAULTS_OF_FRONTS)]


@click.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="May be repeated.")
@click.option("--times", type=click.IntRange(1), help="How often, instead of as often as usual.")
@click.option("--seed", default=0, show_default=True, help="Of the load and of the moments.")
@click.option("--fronts", is_flag=True, help="The faults of a service with fronts.")
def main(only: tuple[str, ...], times: int | None, seed: int, *, fronts: bool) -> None:
    """Inject faults into a real service under load, and check what it confirmed.

    A run of all faults as often as usual writes the table into docs/reliability.md, and the rows
    that the README shows into the README. Exit code 1 where anything was lost, doubled or wrong.
    """
    catalogue = FAULTS_OF_FRONTS if fronts else FAULTS
    chosen = [fault for fault in catalogue if fault.name in (only or NAMES)]
    console = Console()
    rows = list(_rows(chosen, times, seed, console))
    console.print(_shown(rows))
    if not fronts and len(rows) == len(FAULTS) and times is None:
        _write(rows, datetime.now(UTC).date())
        console.print(f"written into {PAGE.name} and {README.name}")
    sys.exit(0 if all(row.good for row in rows) else 1)


def _write(rows: list[Row], day: date) -> None:
    """Write all rows into their page, and some of them into the README."""
    page, readme = (file.read_text(encoding="utf-8") for file in (PAGE, README))
    PAGE.write_text(put(page, table(rows, day)), encoding="utf-8")
    README.write_text(put(readme, table(rows_shown(readme, rows), day)), encoding="utf-8")


def _rows(faults: list[Fault], times: int | None, seed: int, console: Console) -> Iterator[Row]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        for fault in faults:
            wanted = times or fault.times
            task = bar.add_task(fault.name, total=wanted)
            try:
                outcome = asyncio.run(
                    run_fault(fault, wanted, seed, lambda task=task: bar.advance(task))
                )
            except CannotInject as reason:
                console.print(f"{fault.name} is left out: {reason}")
                continue
            for text in outcome.found:
                console.print(
                    f"{fault.name}: {text}", style="bold red", markup=False, soft_wrap=True
                )
            row = _row(fault, outcome)
            console.print(f"{fault.name}: {row.told()}", highlight=False, soft_wrap=True)
            yield row


def _row(fault: Fault, outcome: Outcome) -> Row:
    found = outcome.found
    return Row(
        fault.title,
        outcome.times,
        outcome.answers,
        *(len(found.lost), len(found.doubled), len(found.wrong)),
        outcome.longest_gap_seconds,
    )


def _shown(rows: list[Row]) -> Table:
    shown = Table(*HEAD)
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in rows:
        shown.add_row(*row.cells(), style=None if row.good else "bold red")
    return shown


if __name__ == "__main__":
    main()
