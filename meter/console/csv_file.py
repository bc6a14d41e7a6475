"""Lists as CSV (RFC 4180) that spreadsheets open: a byte order mark first, lines end with CRLF.

A text that a spreadsheet would take for a formula, for it begins with `= + - @`, a tab or a return,
has an apostrophe before it. Money and other figures are as the API writes them.
"""

import csv
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Final

_FIGURE: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_file(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a file of a head and rows."""
    return BOM_UTF8 + csv_lines([head, *rows])


def csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Return lines of a file, which begins with a byte order mark and its head."""
    text = StringIO()
    csv.writer(text).writerows([_plain(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _plain(cell: str) -> str:
    if cell.startswith(_FORMULA) and not _FIGURE.fullmatch(cell):
        return f"'{cell}"
    return cell
