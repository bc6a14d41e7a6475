"""Lists as CSV (RFC 4180) that spreadsheets open: a byte order mark first, lines end with CRLF.

A text that a spreadsheet would take for a formula, for it begins with `= + - @`, a tab or a return,
has an apostrophe before it. Money and other figures are as the API writes them.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Final

_FIGURE: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_file(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a file of a head and rows."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerows([_plain(cell) for cell in row] for row in [head, *rows])
    return text.getvalue().encode("utf-8-sig")


def _plain(cell: str) -> str:
    if cell.startswith(_FORMULA) and not _FIGURE.fullmatch(cell):
        return f"'{cell}"
    return cell
