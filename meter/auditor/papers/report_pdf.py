"""The picture of a report as PDF, A4, in Chinese or English.

It is made from the payload alone and tells no time of its own, so the same payload gives the same
bytes. Chinese needs no font file: readers bring STSong-Light (ISO 32000-1, section 9.7.5.2).
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from meter.auditor.papers.report_words import WORDS

_FONT: Final = "STSong-Light"
_MARGIN: Final = 18 * mm
_TEXT: Final = ParagraphStyle("text", fontName=_FONT, fontSize=9, leading=13, wordWrap="CJK")
_CELL: Final = ParagraphStyle("cell", parent=_TEXT, fontSize=7.5, leading=10)
_RIGHT: Final = ParagraphStyle("right", parent=_CELL, alignment=2)
_HEADING: Final = ParagraphStyle("heading", parent=_TEXT, fontSize=12, leading=20, spaceBefore=6)
_TITLE: Final = ParagraphStyle("title", parent=_TEXT, fontSize=18, leading=28)
_LINES: Final = TableStyle(
    [
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, "black"),
        ("LINEBELOW", (0, 1), (-1, -1), 0.2, "grey"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
)


def picture(report: dict[str, Any]) -> bytes:
    """Return the PDF of a payload that was decoded."""
    pdfmetrics.registerFont(UnicodeCIDFont(_FONT))
    words = {name: str(text) for name, text in WORDS[report["language"]].items()}
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=words["title"],
        author=report["auditor"],
        invariant=1,
    )
    foot = f"{report['log']['origin']}  {report['log']['size']}  {report['log']['root']}"

    def number(canvas: Canvas, page: Any) -> None:
        canvas.setFont(_FONT, 7)
        canvas.drawString(_MARGIN, _MARGIN / 2, foot)
        canvas.drawRightString(A4[0] - _MARGIN, _MARGIN / 2, str(page.page))

    document.build(list(_story(report, words)), onFirstPage=number, onLaterPages=number)
    return file.getvalue()


def _story(report: dict[str, Any], words: dict[str, str]) -> Iterator[Flowable]:
    log = report["log"]
    yield Paragraph(escape(words["title"]), _TITLE)
    for name, value in (
        ("auditor", report["auditor"]),
        ("made_at", report["made_at"]),
        ("log", log["origin"]),
        ("size", f"{log['size']:,}"),
        ("root", log["root"]),
        ("program", log["program"]),
    ):
        yield Paragraph(f"{escape(words[name])}: {escape(str(value))}", _TEXT)
    yield Paragraph(escape(words["good"]), _TEXT)
    yield from _section(words, "signatures", ("name", "key_id"), report["signatures"])
    yield from _section(words, "checks", ("check", "count"), report["checks"], right=(1,))
    columns = tuple(report["totals"][0]) if report["totals"] else ("programme",)
    right = tuple(range(1, len(columns)))
    yield from _section(words, "totals", columns, map(_total, report["totals"]), right=right)
    of_rules = ("rule", "meaning", "threshold", "source")
    yield from _section(words, "rules", of_rules, map(_rule, report["rules"]))
    found = ("rule", "subject", "detail", "entries")
    yield from _section(words, "exceptions", found, report["exceptions"])
    questions = [
        {**each, "contracts": ", ".join(each["contracts"])} for each in report["questions"]
    ]
    asked = ("question", "provider", "contracts", "count", "entries")
    yield from _section(words, "questions", asked, questions)
    yield from _section(words, "gaps", ("provider", "stream", "first", "last"), report["gaps"])
    yield from _section(words, "notices", ("notice", "detail"), report["notices"])


def _total(total: dict[str, Any]) -> dict[str, str]:
    """Return yuan with commas between thousands."""
    named = {name: str(total[name]) for name in ("programme", "year")}
    return named | {name: f"{Decimal(total[name]):,}" for name in total if name not in named}


def _rule(rule: dict[str, Any]) -> dict[str, str]:
    threshold = f"{rule['threshold']} {rule['unit']}" if rule["unit"] else "—"
    return {
        "rule": rule["name"],
        "meaning": rule["meaning"],
        "threshold": threshold,
        "source": rule["source"],
    }


def _section(
    words: dict[str, str],
    heading: str,
    columns: Sequence[str],
    rows: Iterable[dict[str, Any]],
    right: Sequence[int] = (),
) -> Iterator[Flowable]:
    """Yield a heading and a table, or the word for none."""
    yield Paragraph(escape(words[heading]), _HEADING)
    cells = [
        [_cell(value, is_right=place in right) for place, value in enumerate(row.values())]
        for row in rows
    ]
    if not cells:
        yield Paragraph(escape(words["none"]), _TEXT)
        return
    head = [_cell(words[name], is_right=place in right) for place, name in enumerate(columns)]
    table = Table([head, *cells], repeatRows=1, hAlign="LEFT")
    table.setStyle(_LINES)
    yield table
    yield Spacer(1, 2 * mm)


def _cell(value: Any, *, is_right: bool) -> Paragraph:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Paragraph(escape(text), _RIGHT if is_right else _CELL)
