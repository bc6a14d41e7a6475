"""The work of `kashi audit export`: the tables of a verified log, or its books, in a new folder.

    csv       a file for each table, RFC 4180, with a byte order mark for spreadsheets
    xlsx      one workbook, a sheet for each table, times of Beijing
    parquet   a typed file for each table; money is decimal(18, 2), times are of UTC
    beancount, hledger, ledger   plain-text books (`books.py`)
    audit-data   a journal and balances after ISO 21378 (`audit_data.py`)

`about.json` beside them names the log by origin, size and root, the period, and the columns. A
folder is whole or not there: it gets its name when all is written.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from ledger.progress import Progress
from meter.auditor.papers.accounts import Accounts
from meter.auditor.papers.audit_data import AUDIT_TABLES, write_audit_data
from meter.auditor.papers.books import DIALECTS, write_books
from meter.auditor.papers.csv_file import CsvWriter
from meter.auditor.papers.log import VerifiedLog
from meter.auditor.papers.period import Period
from meter.auditor.papers.tables import (
    ACCOUNTS,
    MOVEMENTS,
    TABLES,
    Row,
    Table,
    movement_row,
    rows_of,
)
from meter.auditor.papers.target import new_folder, write_text
from meter.views.movements import movements

Format = Literal["csv", "xlsx", "parquet", "beancount", "hledger", "ledger", "audit-data"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


class TableWriter(Protocol):
    """What writes rows of tables; rows of different tables come in any order."""

    def row(self, table: Table, row: Row) -> None:
        """Add a row."""

    def close(self) -> None:
        """Finish all files."""


def export(
    log: VerifiedLog, form: Format, period: Period, target: Path, progress: Progress
) -> None:
    """Write the export into a new folder. Raises `BadTarget` and `TooManyRows`."""
    about = json.dumps(_about(log, form, period), ensure_ascii=False, indent=2) + "\n"
    with new_folder(target) as draft:
        if form in DIALECTS:
            write_books(log, DIALECTS[form](), period, draft, progress)
        elif form == "audit-data":
            write_audit_data(log, period, draft, progress)
        else:
            _write_tables(log, _WRITERS[form](draft, about), period, progress)
        write_text(draft / "about.json", about)


def _write_tables(
    log: VerifiedLog, writer: TableWriter, period: Period, progress: Progress
) -> None:
    accounts = Accounts()
    for kept in log.entries():
        at = kept.entry.at
        if period.is_after(at):
            break
        if period.is_before(at):
            accounts.open(kept.entry.postings)
        else:
            accounts.add(kept.entry.postings)
            for table, row in rows_of(kept):
                writer.row(table, row)
            for moved in movements(log.state, kept.number, kept.entry):
                writer.row(MOVEMENTS, movement_row(kept, moved))
        progress(kept.number + 1, log.size)
    for row in accounts.rows():
        writer.row(ACCOUNTS, row)
    writer.close()


def _about(log: VerifiedLog, form: Format, period: Period) -> dict[str, Any]:
    about: dict[str, Any] = {**log.about(), "period": str(period), "format": form}
    if form not in DIALECTS:
        tables = AUDIT_TABLES if form == "audit-data" else TABLES
        about["tables"] = [_columns(table) for table in tables]
    return about


def _columns(table: Table) -> dict[str, Any]:
    columns = [
        {"name": each.name, "form": each.form, "meaning": each.meaning} for each in table.columns
    ]
    return {"name": table.name, "meaning": table.meaning, "columns": columns}


def _csv(folder: Path, _about: str) -> TableWriter:
    return CsvWriter(folder, TABLES)


def _xlsx(folder: Path, about: str) -> TableWriter:
    from meter.auditor.papers.xlsx_file import XlsxWriter  # noqa: PLC0415 - needs kashi[audit]

    return XlsxWriter(folder / "ledger.xlsx", TABLES, about)


def _parquet(folder: Path, about: str) -> TableWriter:
    from meter.auditor.papers.parquet_file import ParquetWriter  # noqa: PLC0415 - the same

    return ParquetWriter(folder, about)


_WRITERS: Final[dict[str, Callable[[Path, str], TableWriter]]] = {
    "csv": _csv,
    "xlsx": _xlsx,
    "parquet": _parquet,
}
