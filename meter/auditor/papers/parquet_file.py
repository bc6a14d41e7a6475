"""Tables as Parquet, typed: a file for each.

    integer  int64             money   decimal(18, 2), yuan      moment  timestamp, µs, UTC
    text     string            count   decimal(18, 3)            date    date32
                               hours   decimal(18, 4)

Each file's metadata has the log, the period and the columns under `kashi`.
"""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from ledger.files import open_private
from meter.auditor.papers.tables import TABLES, Form, Row, Table, Value
from meter.values.units import hours_of

_GROUP: Final = 50_000  # rows that wait for their group to be written
_TYPES: Final[dict[Form, Any]] = {
    "integer": pa.int64(),
    "text": pa.string(),
    "date": pa.date32(),
    "moment": pa.timestamp("us", tz="UTC"),
    "money": pa.decimal128(18, 2),
    "count": pa.decimal128(18, 3),
    "hours": pa.decimal128(18, 4),
}


class ParquetWriter:
    """A file for each table, also for those without a row."""

    def __init__(self, folder: Path, about: str) -> None:
        self._files = {table.name: _File(folder, table, about) for table in TABLES}

    def row(self, table: Table, row: Row) -> None:
        """Add a row."""
        self._files[table.name].add(row)

    def close(self) -> None:
        """Finish all files."""
        for file in self._files.values():
            file.close()


class _File:
    def __init__(self, folder: Path, table: Table, about: str) -> None:
        fields = [pa.field(each.name, _TYPES[each.form]) for each in table.columns]
        self._schema = pa.schema(fields, metadata={"kashi": about})
        self._forms = [column.form for column in table.columns]
        self._raw = open_private(folder / f"{table.name}.parquet", new=True)
        self._writer = parquet.ParquetWriter(self._raw, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._raw.close()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._forms)
        arrays = [
            pa.array([_typed(form, value) for value in column], field.type)
            for form, column, field in zip(self._forms, columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._rows = []


def _typed(form: Form, value: Value) -> Any:
    if isinstance(value, str):
        return date.fromisoformat(value) if form == "date" else value
    if value is None:
        return None
    match form:
        case "money":
            return Decimal(value).scaleb(-2)
        case "count":
            return Decimal(value).scaleb(-3)
        case "hours":
            return Decimal(hours_of(value)).scaleb(-4)
        case _:
            return value
