"""The work of `kashi audit compare`: two periods, or two sizes, of one verified log told apart.

    {"log":{…},"a":{"asked":"2025-03","count":31,"first":10,"last":40},"b":{…},
     "figures":[{"by":"contract","name":"A","figure":"granted","a":"144.00","b":"0.00",
                 "difference":"-144.00","entries":[[12,12],[15,18]]}]}

A figure is the sum of what entries move (`views/movements.py`); a size has all entries before it.
`entries` are those that one side alone has, as runs with both ends: they make the difference. The
workbook has them one by one.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.cells import cell_len

from meter.auditor.papers.log import VerifiedLog
from meter.auditor.papers.period import Period
from meter.auditor.papers.tables import OF_MOVEMENTS, Row, movement_row, table
from meter.auditor.papers.target import new_folder, write_text
from meter.languages import Speech
from meter.values.units import format_money
from meter.values.worded import worded
from meter.views.movements import FIGURES, Figure, Movement, add_to, movements

_DIFFERENCES: Final = table(
    "differences",
    "each figure of both sides",
    ("by", "text", "whose figure it is: programme, contract (or award), firm, provider, all"),
    ("name", "text", "its id"),
    ("figure", "text", "cost, issued, granted, claimed or paid"),
    ("a", "money", "the figure of the first side"),
    ("b", "money", "the figure of the second side"),
    ("difference", "money", "the second less the first"),
    ("entries", "integer", "how many entries of one side alone move it"),
)
_MOVEMENTS: Final = table(
    "movements",
    "what entries of one side alone move: they make the differences",
    ("side", "text", "a or b"),
    *OF_MOVEMENTS,
)
BY: Final = ("all", "programme", "firm", "contract", "provider")
# What a line begins with: of which, and the figure.
_WORDS: Final[Mapping[str, str]] = {
    "all": worded("all"),
    "programme": worded("programme"),
    "firm": worded("firm"),
    "contract": worded("contract"),
    "provider": worded("provider"),
    "cost": worded("cost"),
    "issued": worded("issued"),
    "granted": worded("granted"),
    "claimed": worded("claimed"),
    "paid": worded("paid"),
}
Key = tuple[str, str, Figure]  # one of `BY`, its name, the figure
_SHOWN: Final = 4  # runs of entries on a line
_RIGHT: Final = (3, 4, 5)
_MOST_DIGITS: Final = 15


@dataclass(slots=True)
class Side:
    """A period, or a size of the log, and which entries it has."""

    asked: Period | int
    first: int = -1
    last: int = -1
    count: int = 0

    def take(self, number: int, at: int) -> bool:
        """Count an entry where the side has it, and return whether it does."""
        has = number < self.asked if isinstance(self.asked, int) else at in self.asked
        if has:
            self.first = number if self.count == 0 else self.first
            self.last, self.count = number, self.count + 1
        return has

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        ends = {"first": self.first, "last": self.last} if self.count else {}
        return {"asked": str(self.asked), "count": self.count, **ends}


@dataclass(slots=True)
class Pair:
    """One figure of both sides, fen, and the entries of one side alone that move it."""

    a: int = 0
    b: int = 0
    entries: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and the pairs by whose they are, by name and figure."""

    a: Side
    b: Side
    pairs: dict[Key, Pair] = field(default_factory=dict)

    def take(self, log: VerifiedLog) -> Iterator[Row]:
        """Add up a log, and yield the rows of what entries of one side alone move."""
        for kept in log.entries():
            number, at = kept.number, kept.entry.at
            in_a, in_b = self.a.take(number, at), self.b.take(number, at)
            if not in_a and not in_b:
                continue
            for moved in movements(log.state, number, kept.entry):
                self._add(number, moved, in_a=in_a, in_b=in_b)
                if in_a != in_b:
                    yield "a" if in_a else "b", *movement_row(kept, moved)

    def _add(self, number: int, moved: Movement, *, in_a: bool, in_b: bool) -> None:
        for by, name in zip(BY, _names(moved), strict=True):
            if name:
                pair = self.pairs.setdefault((by, name, moved.figure), Pair())
                pair.a += moved.fen * in_a
                pair.b += moved.fen * in_b
                if in_a != in_b:
                    add_to(pair.entries, number)

    def sorted(self) -> list[tuple[Key, Pair]]:
        """Return the pairs by whose they are, by name and figure, in the order of `BY`."""
        return sorted(self.pairs.items(), key=lambda each: _place(each[0]))


def sides_of(a: str, b: str, *, are_sizes: bool) -> tuple[Side, Side]:
    """Return two sides as they were asked for. Raises `ValueError`."""
    if not are_sizes:
        return Side(Period.parse(a)), Side(Period.parse(b))
    for text in (a, b):
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
            raise ValueError(worded(f"not a size: {text!r:.80}"))
    return Side(int(a)), Side(int(b))


def compare(log: VerifiedLog, a: Side, b: Side, target: Path | None = None) -> Comparison:
    """Compare two sides, and write the comparison into a new folder where one is named.

    Raises `BadTarget` and `TooManyRows`, and `ValueError` for a size that the log never had.
    """
    for side in (a, b):
        if isinstance(side.asked, int) and not 1 <= side.asked <= log.size:
            told = worded(f"the log has had 1 to {log.size} entries, never {side.asked}")
            raise ValueError(told)
    found = Comparison(a, b)
    if target is None:
        deque(found.take(log), maxlen=0)  # its rows are for a workbook
    else:
        with new_folder(target) as draft:
            _write(found, log, draft)
    return found


def _write(found: Comparison, log: VerifiedLog, draft: Path) -> None:
    from meter.auditor.papers.xlsx_file import XlsxWriter  # noqa: PLC0415 - needs kashi[audit]

    asked = {**log.about(), "a": str(found.a.asked), "b": str(found.b.asked)}
    tables = _DIFFERENCES, _MOVEMENTS
    writer = XlsxWriter(draft / "comparison.xlsx", tables, json.dumps(asked, indent=2))
    for row in found.take(log):
        writer.row(_MOVEMENTS, row)
    for key, pair in found.sorted():
        count = sum(last - first + 1 for first, last in pair.entries)
        writer.row(_DIFFERENCES, (*key, pair.a, pair.b, pair.b - pair.a, count))
    writer.close()
    text = json.dumps(as_json(found, log), ensure_ascii=False, indent=1) + "\n"
    write_text(draft / "comparison.json", text)


def as_json(found: Comparison, log: VerifiedLog) -> dict[str, Any]:
    """Return a comparison as plain values, money as text."""
    return {
        "log": log.about(),
        "a": found.a.as_json(),
        "b": found.b.as_json(),
        "figures": [
            {
                **dict(zip(("by", "name", "figure"), key, strict=True)),
                "a": format_money(pair.a),
                "b": format_money(pair.b),
                "difference": format_money(pair.b - pair.a),
                "entries": pair.entries,
            }
            for key, pair in found.sorted()
        ],
    }


def text_of(found: Comparison, log: VerifiedLog, speech: Speech) -> str:
    """Return what differs as lines for people, and how many figures do not."""
    say = speech.say
    asked = str(found.a.asked), str(found.b.asked)
    head = ("", "", "", *asked, say("difference"), say("entries"))
    rows = [head, *(_texts(key, pair, speech) for key, pair in found.sorted() if pair.a != pair.b)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    differing = len(rows) - 1
    about = {"origin": log.origin, "size": log.size, "root": log.root}
    return "\n".join(
        [
            say("{origin}, {size} entries, root {root}", **about),
            *(f"{side.asked}: {_ends(side, speech)}" for side in (found.a, found.b)),
            *(_line(row, widths) for row in rows),
            say(
                "{differing} figures differ, {equal} are the same",
                differing=differing,
                equal=len(found.pairs) - differing,
            ),
        ]
    )


def _texts(key: Key, pair: Pair, speech: Speech) -> tuple[str, ...]:
    by, name, figure = key
    shown = [f"{one}" if one == last else f"{one}-{last}" for one, last in pair.entries[:_SHOWN]]
    more = ["…"] if len(pair.entries) > _SHOWN else []
    figures = (format_money(fen) for fen in (pair.a, pair.b, pair.b - pair.a))
    return (
        speech.say(_WORDS[by]),
        name,
        speech.say(_WORDS[figure]),
        *figures,
        " ".join(shown + more),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return a row with its figures to the right."""
    cells = [
        _pad(text, width, is_right=place in _RIGHT)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _pad(text: str, width: int, *, is_right: bool) -> str:
    """Return a text with spaces; a Chinese letter takes two places."""
    spaces = " " * (width - cell_len(text))
    return spaces + text if is_right else text + spaces


def _ends(side: Side, speech: Speech) -> str:
    if not side.count:
        return speech.say("no entries")
    return speech.say("entries {first} to {last}", first=side.first, last=side.last)


def _names(moved: Movement) -> tuple[str, ...]:
    """Return whose a movement is, for each of `BY`; empty where it is nobody's."""
    return "all", moved.programme, moved.enterprise, moved.item, moved.provider


def _place(key: Key) -> tuple[int, str, int]:
    by, name, figure = key
    return BY.index(by), name, FIGURES.index(figure)
