"""Measure, show, and write `docs/benchmarks.md`.

    python -m tests.bench                     everything, some half an hour
    python -m tests.bench --quick             everything at a small scale, to see that it works
    python -m tests.bench profile ingest      only these; the others' last results stay
    python -m tests.bench profile --step "one commit ahead" --out docs

The last keeps the profile as a step, beside those of earlier steps. Nothing is written without
`--out`, and nobody should use the machine meanwhile.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench import (
    amending,
    audit,
    beside,
    curves,
    flat,
    fronts,
    ingest,
    latency,
    machine,
    memory,
    pages,
    papers,
    profile,
    published,
    ranges,
    ratios,
    report,
    snapshots,
)
from tests.bench.report import Say, Section
from tests.bench.scale import FULL, QUICK, Scale
from tests.bench.servers import postgres

MEASUREMENTS = {
    "profile": profile.run,
    "ratios": ratios.run,
    "fronts": fronts.run,
    "ingest": ingest.run,
    "audit": audit.run,
    "ranges": ranges.run,
    "memory": memory.run,
    "papers": papers.run,
    "amending": amending.run,
    "snapshots": snapshots.run,
    "flat": flat.run,
    "latency": latency.run,
    "published": published.run,
    "beside": beside.run,
    "pages": pages.run,
}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--only", default="", help="The same names, with commas.")
@click.option("--quick", is_flag=True, help="A small scale, about a minute.")
@click.option("--out", type=click.Path(path_type=Path), help="Whose benchmarks.md is written.")
@click.option("--step", default="", help="Keep the profile under this name.")
def main(names: tuple[str, ...], only: str, out: Path | None, step: str, *, quick: bool) -> None:
    """Measure NAMES, or everything: profile, ratios, fronts, ingest, audit, flat, latency, …"""
    wanted = [*names, *filter(None, only.split(","))] or list(MEASUREMENTS)
    if unknown := set(wanted) - MEASUREMENTS.keys():
        raise click.UsageError(f"there is no {', '.join(sorted(unknown))}")
    sections = uvloop.run(measure(wanted, QUICK if quick else FULL, Console()))
    if out is not None:
        keep(out, sections, step)


async def measure(names: list[str], scale: Scale, console: Console) -> list[Section]:
    """Measure one after the other on one database server, and show each result at once."""
    when = machine.stamp()
    async with postgres() as server:
        sections = [await machine.describe(server)]
        report.show(sections[0], console)
        for name in names:
            with _progress(name, console) as say:
                sections.append(await MEASUREMENTS[name](server, scale, say))
            report.show(sections[-1], console)
    return [replace(section, when=when) for section in sections]


def keep(docs: Path, sections: list[Section], step: str = "") -> None:
    """Write the sections into `docs` beside those of earlier runs, and draw their curves."""
    kept = report.load(docs)
    for measured in sections:
        section = measured
        if section.name == "profile":
            section = profile.with_steps(section, kept.get(section.name), step)
        kept[section.name] = section
    report.write(docs, kept)
    for section in sections:
        for curve in section.curves:
            curves.draw(curve, docs / "benchmarks")


@contextmanager
def _progress(name: str, console: Console) -> Iterator[Say]:
    """Show the current measurement, how far it is, and for how long."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda what, done: bar.update(task, description=f"{name}: {what}", completed=done)
    console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")


if __name__ == "__main__":
    main()
