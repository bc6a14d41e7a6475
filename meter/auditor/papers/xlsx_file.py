"""Tables as one workbook: a sheet for each, and one that names the log. Times are of Beijing.

The same rows give the same bytes: nothing in a workbook tells when it was made.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import xlsxwriter  # type: ignore[import-untyped]

from ledger.errors import LedgerError
from ledger.files import open_private
from meter.auditor.papers.tables import Form, Row, Table, Value
from meter.values.units import SHANGHAI_OFFSET_SECONDS, hours_of

_MAX_ROWS: Final = 1_048_575  # below the heading; a limit of the format
MAX_LETTERS: Final = 32_767  # of a cell; the same
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a sheet knows no zone
_MADE: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - always the same
_FORMATS: Final[dict[Form, str]] = {
    "money": "#,##0.00",
    "count": "#,##0.000",
    "hours": "#,##0.0000",
    "moment": "yyyy-mm-dd hh:mm:ss",
}


class TooManyRows(LedgerError):  # noqa: N818 - the name says what is wrong
    """More rows than a sheet takes."""

    code = "too_many_rows"


class XlsxWriter:
    """One workbook, written row by row."""

    def __init__(self, path: Path, tables: Iterable[Table], about: str) -> None:
        open_private(path, new=True).close()
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = xlsxwriter.Workbook(str(path), options)
        self._book.set_properties({"created": _MADE})
        self._formats = {
            form: self._book.add_format({"num_format": text}) for form, text in _FORMATS.items()
        }
        sheet = self._book.add_worksheet("about")
        for number, line in enumerate(about.splitlines()):
            sheet.write_string(number, 0, line)
        self._sheets = {table.name: self._sheet(table) for table in tables}
        self._rows = dict.fromkeys(self._sheets, 0)

    def row(self, table: Table, row: Row) -> None:
        """Add a row. Raises `TooManyRows`."""
        self._rows[table.name] += 1
        number, sheet = self._rows[table.name], self._sheets[table.name]
        if number > _MAX_ROWS:
            raise TooManyRows(f"{table.name} has more than {_MAX_ROWS:,}; ask for a period")
        for place, (column, value) in enumerate(zip(table.columns, row, strict=True)):
            self._write(sheet, (number, place), column.form, value)

    def close(self) -> None:
        """Write the workbook."""
        self._book.close()

    def _sheet(self, table: Table) -> Any:
        sheet = self._book.add_worksheet(table.name)
        sheet.freeze_panes(1, 0)
        bold = self._book.add_format({"bold": True})
        for place, column in enumerate(table.columns):
            sheet.set_column(place, place, 22 if column.form in {"text", "moment"} else 14)
            sheet.write_string(0, place, column.name, bold)
        return sheet

    def _write(self, sheet: Any, cell: tuple[int, int], form: Form, value: Value) -> None:
        if value is None:
            return
        if isinstance(value, str):
            sheet.write_string(*cell, value if _fits(value) else _too_long(value))
        elif form == "moment":
            local = _EPOCH + timedelta(seconds=SHANGHAI_OFFSET_SECONDS, microseconds=value)
            sheet.write_datetime(*cell, local, self._formats[form])
        else:
            sheet.write_number(*cell, _number(form, value), self._formats.get(form))


def _fits(text: str) -> bool:
    """Return whether a cell holds a text: it counts in UTF-16."""
    return len(text) <= MAX_LETTERS // 2 or len(text.encode("utf-16-le")) // 2 <= MAX_LETTERS


def _too_long(text: str) -> str:
    """Return what stands for a text that its cell would cut without a word."""
    return f"{len(text)} letters, and a cell holds {MAX_LETTERS}: CSV and Parquet have them"


def _number(form: Form, value: int) -> float:
    """Return a figure as a cell holds it; fifteen digits of it are exact."""
    match form:
        case "money":
            return value / 100
        case "count":
            return value / 1_000
        case "hours":
            return hours_of(value) / 10_000
        case _:
            return value
