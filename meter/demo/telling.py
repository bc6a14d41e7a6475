"""The output of the demonstration: steps, bars, tables, and money as people write it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final, Literal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from meter.values.units import FEN_PER_YUAN, parse_money
from meter.wire.receipt import Accepted

WIDTH: Final = 100  # columns that the widest table needs
REDRAW_STEPS: Final = 512  # drawing a bar costs more than an entry

Advance = Callable[[int, int], None]


class Story:
    """Prints the steps."""

    def __init__(self, console: Console) -> None:
        if not console.is_terminal:  # nobody can widen the window of a file
            console.width = max(console.width, WIDTH)
        self.console = console
        self._steps = count(1)

    def title(self, text: str) -> None:
        self.console.print(Text(text, style="bold"))

    def step(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(f"{next(self._steps)}  {text}", style="bold cyan"))

    def say(self, text: str, style: str = "") -> None:
        self.show(Text(text, style=style))

    def good(self, text: str) -> None:
        self.show(Text.assemble(("✓ ", "bold green"), text))

    def bad(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(f"✗ {text}", style="bold red"))

    def show(self, what: Text | Table) -> None:
        self.console.print(Padding(what, (0, 0, 0, 3), expand=False))

    @contextmanager
    def bar(self, title: str, *, passing: bool = False) -> Iterator[Advance]:
        """Show a bar with a count; yield the function that moves it. A passing bar disappears."""
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        hidden = passing and not self.console.is_terminal
        with Progress(
            *columns, console=self.console, transient=passing, disable=hidden
        ) as progress:
            task = progress.add_task(title, total=None)

            def advance(done: int, total: int) -> None:
                if done % REDRAW_STEPS == 0 or done == total or total < REDRAW_STEPS:
                    progress.update(task, completed=done, total=total)

            yield advance


def plain_table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    return table


def result_table(result: Accepted) -> Table:
    """Show the figures of a receipt's result."""
    columns = ("cost", "entitled", "granted", "uncovered")
    table = plain_table("record", *columns, "bound", right=columns)
    figures = (money_text(getattr(result, name)) for name in columns)
    table.add_row(result.id, *figures, " ".join(result.bound))
    return table


def fen_of(text: str) -> int:
    """Read yuan text with a sign, as receipts and balances have it."""
    return -parse_money(text[1:]) if text.startswith("-") else parse_money(text)


def money(fen: int) -> str:
    """Write yuan with commas, for people."""
    sign_, (yuan, rest) = "-" * (fen < 0), divmod(abs(fen), FEN_PER_YUAN)
    return f"{sign_}{yuan:,}.{rest:02d}"


def money_text(text: str) -> str:
    return money(fen_of(text))
