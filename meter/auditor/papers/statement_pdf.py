"""The picture of a statement as PDF, A4 across, in Chinese or English; its JSON is all it needs."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, Spacer

from meter.auditor.papers.pdf import HEADING, TEXT, TITLE, draw, tables_of
from meter.auditor.papers.statement_words import WORDS, Language
from meter.views.statement import FIGURES

Plain = dict[str, Any]

_WIDTH: Final = 261 * mm
_NAME, _TIME, _SHORT, _FIGURE = 30 * mm, 26 * mm, 17 * mm, 22 * mm
_NOTHING: Final = "0.00"


def picture(paper: Plain, language: Language) -> bytes:
    """Return the PDF of a statement's JSON (`statement.py`), which was decoded."""
    words = {name: str(text) for name, text in WORDS[language].items()}
    log = paper["log"]
    foot = f"{log['origin']}  {log['size']}  {log['root']}  {paper['hash']}"
    story = _story(paper, words)
    size = landscape(A4)
    return draw(story, title=words["title"], author=log["origin"], foot=foot, size=size)


def _story(paper: Plain, words: dict[str, str]) -> Iterator[Flowable]:
    log, made = paper["log"], paper["statement"]
    yield Paragraph(escape(words["title"]), TITLE)
    state = words["over"] if made["over"] else words["open"]
    for name, value in (
        (made["subject"]["kind"], f"{made['subject']['id']} {made['subject']['name']}"),
        ("month", f"{made['month']} ({state})"),
        ("range", f"{made['first']} - {made['last']}" if "first" in made else words["none"]),
        ("log", log["origin"]),
        ("size", str(log["size"])),
        ("root", log["root"]),
        ("hash", paper["hash"]),
        ("program", log["program"]),
    ):
        yield Paragraph(f"{escape(words[name])}: {escape(value)}", TEXT)
    yield Paragraph(escape(words["checkpoint"]), HEADING)
    for line in paper["checkpoint"].splitlines():
        yield Paragraph(escape(line), TEXT)
    figures = _figures_of(made)
    if not figures:
        yield Paragraph(escape(words["none"]), TEXT)
        return
    names = [words[name] for name in figures]
    yield Paragraph(escape(words["totals"]), HEADING)
    widths = [_FIGURE] * len(figures)
    yield from tables_of(names, [_texts(made["totals"], figures)], range(len(figures)), widths)
    yield Paragraph(escape(words["amounts"]), HEADING)
    yield from _amounts(made, figures, words)
    yield Paragraph(escape(words["lines"]), HEADING)
    yield from _lines(made, figures, words)
    yield Spacer(1, 2 * mm)


def _amounts(made: Plain, figures: Sequence[str], words: dict[str, str]) -> Iterator[Flowable]:
    head = [words[name] for name in ("item", "service", "correction", *figures, "entries")]
    rows = (
        [
            *(amount["contract"], amount["service"], words["yes"] if amount["correction"] else ""),
            *_texts(amount["figures"], figures),
            str(sum(last - first + 1 for first, last in amount["entries"])),
        ]
        for amount in made["amounts"]
    )
    widths = [_NAME, _TIME, _SHORT, *[_FIGURE] * len(figures), _SHORT]
    return tables_of(head, rows, range(3, 4 + len(figures)), widths)


def _lines(made: Plain, figures: Sequence[str], words: dict[str, str]) -> Iterator[Flowable]:
    named = "entry", "at", "kind", "id", "item", "service", "correction"
    head = [words[name] for name in (*named, *figures)]
    rows = (
        [
            *(
                str(line["entry"]),
                line["at"],
                line["kind"],
                line["id"],
                line["contract"],
                line["service"],
            ),
            words["yes"] if line["correction"] else "",
            *_texts(line["figures"], figures),
        ]
        for line in made["lines"]
    )
    # What the narrow columns leave is shared: the figures first, up to their width.
    narrow = [_SHORT * 0.8, _SHORT, _SHORT * 1.2, _SHORT]
    left = _WIDTH - sum(narrow)
    figure = min(_FIGURE, left / (len(figures) + 4))
    wide = (left - figure * len(figures)) / 3
    entry, kind, service, correction = narrow
    widths = [entry, wide, kind, wide, wide, service, correction, *[figure] * len(figures)]
    return tables_of(head, rows, range(7, 7 + len(figures)), widths)


def _figures_of(made: Plain) -> list[str]:
    """Return the figures that any line has."""
    return [
        name
        for name in FIGURES
        if any(line["figures"].get(name, _NOTHING) != _NOTHING for line in made["lines"])
    ]


def _texts(figures: dict[str, str], names: Sequence[str]) -> list[str]:
    """Return yuan with commas between thousands."""
    return [f"{Decimal(figures[name]):,}" for name in names]
