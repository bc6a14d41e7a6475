"""The table of docs/reliability.md and its rows in the README, which only the harness writes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
PAGE = README.parent / "docs" / "reliability.md"
BEGIN = "<!-- faults: begin -->"
END = "<!-- faults: end -->"
HEAD = ("fault", "times", "responses checked", "lost", "doubled", "wrong", "longest gap, s")


@dataclass(frozen=True)
class Row:
    """The result of one fault."""

    title: str
    times: int
    answers: int
    lost: int
    doubled: int
    wrong: int
    longest_gap_seconds: float

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def told(self) -> str:
        """Return the result in a line."""
        return ", ".join(
            f"{name} {cell}" for name, cell in zip(HEAD[1:], self.cells()[1:], strict=True)
        )

    def cells(self) -> list[str]:
        counts = (self.times, self.answers, self.lost, self.doubled, self.wrong)
        return [self.title, *(f"{each:,}" for each in counts), f"{self.longest_gap_seconds:.1f}"]


def table(rows: Iterable[Row], day: date) -> str:
    """Return the rows as Markdown, below the day on which they were made."""
    lines = [f"Made by `make faults` on {day.isoformat()}.", ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines)


def rows_shown(page: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows whose faults a page shows between its markers."""
    between = page.partition(BEGIN)[2].partition(END)[0]
    return [row for row in rows if f"\n| {row.title} |" in between]


def put(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Put a text between two markers of a page."""
    before, has_begin, rest = page.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"the page has no place between {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
