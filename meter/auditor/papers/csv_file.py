"""Tables as CSV (RFC 4180): UTF-8 with a byte order mark, so that spreadsheets read Chinese.

A text that a spreadsheet would take for a formula begins with an apostrophe. A missing value is
empty. Times are of Shanghai with their offset, money is yuan with two decimals.
"""

import csv
import io
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from ledger.files import open_private
from meter.auditor.papers.tables import Form, Row, Table, Value
from meter.values.units import format_hours, format_moment, format_money

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_WRITERS: Final[dict[Form, Callable[[int], str]]] = {
    "integer": str,
    "money": format_money,
    "count": lambda count: f"{count // 1_000}.{count % 1_000:03d}",
    "hours": format_hours,
    "moment": format_moment,
}


class CsvWriter:
    """A file for each table, also for those without a row."""

    def __init__(self, folder: Path, tables: Iterable[Table]) -> None:
        self._files = ExitStack()
        self._writers: dict[str, Any] = {}
        for table in tables:
            raw = open_private(folder / f"{table.name}.csv", new=True)
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            self._writers[table.name] = csv.writer(self._files.enter_context(text))
            self._writers[table.name].writerow(column.name for column in table.columns)

    def row(self, table: Table, row: Row) -> None:
        """Add a row."""
        cells = zip(table.columns, row, strict=True)
        self._writers[table.name].writerow(_text(column.form, value) for column, value in cells)

    def close(self) -> None:
        """Finish all files."""
        self._files.close()


def _text(form: Form, value: Value) -> str:
    """Return a value as a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return _WRITERS[form](value)
