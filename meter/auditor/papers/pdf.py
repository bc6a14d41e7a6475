"""What the PDFs of papers share: A4 pages with a foot, headings, tables, a font that has Chinese.

Nothing tells a time of its own, so the same content gives the same bytes. Chinese needs no font
file: readers bring STSong-Light (ISO 32000-1, section 9.7.5.2).
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Table, TableStyle

_FONT: Final = "STSong-Light"
_MARGIN: Final = 18 * mm
ROWS_OF_PART: Final = 400
pdfmetrics.registerFont(UnicodeCIDFont(_FONT))  # a paragraph measures its text when it is made
TEXT: Final = ParagraphStyle("text", fontName=_FONT, fontSize=9, leading=13, wordWrap="CJK")
_CELL: Final = ParagraphStyle("cell", parent=TEXT, fontSize=7.5, leading=10)
_RIGHT: Final = ParagraphStyle("right", parent=_CELL, alignment=2)
HEADING: Final = ParagraphStyle("heading", parent=TEXT, fontSize=12, leading=20, spaceBefore=6)
TITLE: Final = ParagraphStyle("title", parent=TEXT, fontSize=18, leading=28)
_LINES: Final = TableStyle(
    [
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, "black"),
        ("LINEBELOW", (0, 1), (-1, -1), 0.2, "grey"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
)


def draw(
    story: Iterable[Flowable], *, title: str, author: str, foot: str, size: tuple[float, float] = A4
) -> bytes:
    """Return the PDF of a story; each page has the foot and its number."""
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=size,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=title,
        author=author,
        invariant=1,
    )

    def number(canvas: Canvas, page: Any) -> None:
        canvas.setFont(_FONT, 7)
        canvas.drawString(_MARGIN, _MARGIN / 2, foot)
        canvas.drawRightString(size[0] - _MARGIN, _MARGIN / 2, str(page.page))

    document.build(list(story), onFirstPage=number, onLaterPages=number)
    return file.getvalue()


def tables_of(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[int],
    widths: Sequence[float] | None = None,
) -> Iterator[Table]:
    """Yield the parts of a table, each with its head; columns `right` hold figures.

    Each page costs as much as its table is long, so one long table would cost the square of that.
    """
    left = iter(rows)
    while part := list(islice(left, ROWS_OF_PART)):
        cells = [
            [_cell(text, is_right=place in right) for place, text in enumerate(row)]
            for row in (head, *part)
        ]
        table = Table(cells, colWidths=widths, repeatRows=1, hAlign="LEFT")
        table.setStyle(_LINES)
        yield table


def _cell(text: str, *, is_right: bool) -> Paragraph:
    return Paragraph(escape(text), _RIGHT if is_right else _CELL)
