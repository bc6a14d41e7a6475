r"""The work of `kashi audit statement`: a month of a contract, firm or provider, as one file.

    {"log":{…},"checkpoint":"kashi.test/books\n198\n…","hash":"<sha256>","statement":{…}}

The statement (`views/statement.py`) is the same in each form; `hash` is the sha256 of its canonical
JSON, so the PDF and the workbook can be held against the JSON, and each against one made later. The
same log gives the same bytes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import UNSET, to_builtins
from msgspec.json import encode

from ledger.files import open_private
from meter.auditor.papers.log import VerifiedLog
from meter.auditor.papers.period import Period
from meter.auditor.papers.statement_words import Language
from meter.auditor.papers.tables import Row, Table, table
from meter.rules.entries import AnyEntry
from meter.values.units import parse_moment
from meter.values.worded import worded
from meter.views.statement import (
    FIGURES,
    Month,
    Statement,
    StatementFigures,
    Subject,
    digest,
    record_named,
    statement,
)

Form = Literal["json", "pdf", "xlsx"]
_FIGURES: Final = tuple((name, "money", f"{name}, yuan") for name in FIGURES)
TOTALS: Final = table(
    "totals",
    "what was booked in all",
    ("figure", "text", "name of the figure"),
    ("amount", "money", "yuan"),
)
AMOUNTS: Final = table(
    "amounts",
    "what was booked under a contract for a time of service",
    ("contract", "text", "id of the contract or award; none of an issue"),
    ("service", "text", "month or months of service; or the year of the coupon"),
    ("correction", "text", "yes, where it began in an earlier month or changes what was booked"),
    *_FIGURES,
    ("entries", "integer", "how many entries; they are the lines of the same three columns"),
)
LINES: Final = table(
    "lines",
    "what each entry booked",
    ("entry", "integer", "number of the entry, from 0"),
    ("at", "moment", "when the ledger took it"),
    ("kind", "text", "kind of the entry"),
    ("id", "text", "id of the record or claim"),
    ("contract", "text", "id of the contract or award; none of an issue"),
    ("service", "text", "month or months of service; or the year of the coupon"),
    ("correction", "text", "yes, where it began in an earlier month or changes what was booked"),
    *_FIGURES,
)


@dataclass(frozen=True, slots=True)
class Paper:
    """A statement with what names its log, and its hash."""

    log: dict[str, Any]
    checkpoint: str
    hash: str
    statement: Statement


def month_of(text: str) -> Period:
    """Return the period of a month `2025-03`. Raises `ValueError`."""
    period = Period.parse(text)
    if str(period) != text or "-" not in text:
        raise ValueError(worded(f"not a month YYYY-MM: {text!r:.80}"))
    return period


def paper_of(log: VerifiedLog, period: Period, subject: Subject) -> Paper:
    """Return the statement of a month. Raises `Problem` for an unknown subject."""
    month, named = _survey(log, period)
    records: dict[int, AnyEntry] = {}
    entries = _entries(log, month, named, records)
    made = statement(log.state, month, subject, entries, records.__getitem__)
    return Paper(log.about(), log.verdict.note.decode(), digest(made), made)


def write_paper(paper: Paper, form: Form, language: Language, target: Path) -> None:
    """Write a statement into a new file. Raises `TooManyRows`."""
    if form == "xlsx":
        _write_workbook(paper, target)
        return
    if form == "pdf":
        from meter.auditor.papers.statement_pdf import picture  # noqa: PLC0415 - kashi[audit]

        data = picture(to_builtins(paper), language)
    else:
        data = encode(to_builtins(paper)) + b"\n"
    with open_private(target, new=True) as file:
        file.write(data)


def _survey(log: VerifiedLog, period: Period) -> tuple[Month, set[int]]:
    """Return where a month lies in the log, and the records that its entries change."""
    first = stop = 0
    over = False
    named: set[int] = set()
    for kept in log.entries():
        at = kept.entry.at
        if period.is_after(at):
            over = True
            break
        stop = kept.number + 1
        if period.is_before(at):
            first = stop
        else:
            number = record_named(kept.entry)
            named |= set() if number is None else {number}
    return Month(str(period), first, stop, over), named


def _entries(
    log: VerifiedLog, month: Month, named: set[int], records: dict[int, AnyEntry]
) -> Iterator[tuple[int, AnyEntry]]:
    """Yield the entries of a month, and keep the records that they name, which come before them."""
    for kept in log.entries():
        if kept.number == month.stop:
            return
        if kept.number in named:
            records[kept.number] = kept.entry
        if kept.number >= month.first:
            yield kept.number, kept.entry


def _write_workbook(paper: Paper, target: Path) -> None:
    from meter.auditor.papers.xlsx_file import XlsxWriter  # noqa: PLC0415 - needs kashi[audit]

    made = paper.statement
    about = {
        **paper.log,
        "month": made.month,
        **to_builtins(made.subject),
        **{
            name: value
            for name, value in (("first", made.first), ("last", made.last))
            if value is not UNSET
        },
        "over": made.over,
        "hash": paper.hash,
        "checkpoint": paper.checkpoint,
    }
    writer = XlsxWriter(
        target, (TOTALS, AMOUNTS, LINES), json.dumps(about, ensure_ascii=False, indent=2)
    )
    for table_, row in rows_of(made):
        writer.row(table_, row)
    writer.close()


def rows_of(made: Statement) -> Iterator[tuple[Table, Row]]:
    """Yield the rows of a statement with their tables."""
    for name, fen in zip(FIGURES, _fen(made.totals), strict=True):
        if fen is not None:
            yield TOTALS, (name, fen)
    for amount in made.amounts:
        named = amount.contract, amount.service, _yes(is_it=amount.correction)
        count = sum(last - first + 1 for first, last in amount.entries)
        yield AMOUNTS, (*named, *_fen(amount.figures), count)
    for line in made.lines:
        named = line.contract, line.service, _yes(is_it=line.correction)
        told = line.entry, parse_moment(line.at), line.kind, line.id
        yield LINES, (*told, *named, *_fen(line.figures))


def _yes(*, is_it: bool) -> str:
    return "yes" if is_it else "no"


def _fen(figures: StatementFigures) -> Iterator[int | None]:
    """Yield the figures in the order of `FIGURES`; None for those that a provider is not told."""
    for name in FIGURES:
        text = getattr(figures, name)
        yield None if text is UNSET else int(text.replace(".", ""))
