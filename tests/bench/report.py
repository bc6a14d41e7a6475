"""The results of measurements as text: tables, bars that are met or missed, curves.

Each run puts its sections into `benchmarks/results.json`, beside the last ones of other runs, and
writes the pages anew from that file: it replaces the text between the markers, and keeps the prose
around them.

    <!-- measured: ingest -->
    …
    <!-- end: ingest -->
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table as RichTable

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("benchmarks.md", "scaling.md")
RESULTS = Path("benchmarks") / "results.json"
BARS = "bars"  # the page's section that all others add to

Row = tuple[str, ...]
# Shows the current measurement, and the part of the section that is done (0 to 1).
Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Table:
    head: Row
    rows: list[Row]
    caption: str = ""


@dataclass(frozen=True)
class Bar:
    """A requirement, and whether it is met."""

    what: str
    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Line:
    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One drawing; its file is `benchmarks/<name>.svg`."""

    name: str
    title: str
    x: str
    y: str
    lines: list[Line]
    logarithmic_x: bool = False
    logarithmic_y: bool = False


@dataclass(frozen=True)
class Section:
    """One measurement. `when` names day, commit and machine; later runs go on from `kept`."""

    name: str
    tables: list[Table]
    bars: list[Bar] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    when: str = ""


def spread(values: list[float]) -> str:
    """Show the median, and the least and the most beside it."""
    if len(values) == 1:
        return f"{values[0]:,.0f}"
    return f"{median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.1f}"


def counted(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


# The terminal


def show(section: Section, console: Console) -> None:
    tables = section.tables + ([_bars(section.bars)] if section.bars else [])
    for table in tables:
        shown = RichTable(title=table.caption or section.name, title_justify="left")
        for place, name in enumerate(table.head):
            shown.add_column(name, justify="right" if place else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def _bars(bars: list[Bar]) -> Table:
    rows = [(bar.what, bar.wanted, bar.measured, "yes" if bar.met else "**no**") for bar in bars]
    return Table(("bar", "wanted", "measured", "met"), rows)


# The page


def load(docs: Path) -> dict[str, Section]:
    """Return the sections of earlier runs."""
    results = docs / RESULTS
    if not results.exists():
        return {}
    return msgspec.json.decode(results.read_bytes(), type=dict[str, Section])


def write(docs: Path, sections: dict[str, Section]) -> None:
    """Keep the sections in `docs` and write the pages from them."""
    results = docs / RESULTS
    results.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(sections), indent=1).decode()
    results.write_text(text + "\n")
    shown = fill([(DOCS / page).read_text() for page in PAGES], sections)
    for page, filled in zip(PAGES, shown, strict=True):
        (docs / page).write_text(filled)


def fill(pages: list[str], sections: dict[str, Section]) -> list[str]:
    """Put each section between its markers, which one of the pages has."""
    bars = [bar for section in sections.values() for bar in section.bars]
    texts = {name: _markdown(section) for name, section in sections.items()}
    texts[BARS] = _table_markdown(_bars(bars))
    for name, text in texts.items():
        marked = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        put = [marked.subn(partial(_between, text), page) for page in pages]
        assert sum(found for _, found in put) == 1, f"the pages have no place for {name}"
        pages = [page for page, _ in put]
    return pages


def _between(text: str, match: re.Match[str]) -> str:
    return f"{match[1]}{text}\n{match[2]}"


def _markdown(section: Section) -> str:
    parts = [_table_markdown(table) for table in section.tables]
    parts += [f"![{curve.title}](benchmarks/{curve.name}.svg)" for curve in section.curves]
    return "\n\n".join([*parts, f"*{section.when}*"])


def _table_markdown(table: Table) -> str:
    sides = ("---", *("---:" for _ in table.head[1:]))
    lines = [f"| {' | '.join(row)} |" for row in (table.head, sides, *table.rows)]
    return "\n".join([f"{table.caption}\n"] * bool(table.caption) + lines)
