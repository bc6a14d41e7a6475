"""The sheet of a sample: what a visit needs to know of each record, and what was found there.

A folder holds `sample.csv` and `sample.xlsx` with the same rows, and `about.json` with the log and
the figures of the method. Whoever visits fills in `audited_value`: what the record should have
given, in yuan. `read_audited` takes either file back, as a spreadsheet saved it.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, convert

from ledger.errors import BadNote, CannotCheck, LedgerError
from ledger.note import Checkpoint
from meter.auditor.papers.csv_file import CsvWriter
from meter.auditor.papers.log import PROGRAM, WRONG_FORM, VerifiedLog
from meter.auditor.papers.period import Period
from meter.auditor.papers.sample import (
    CERTAIN,
    Drawn,
    Method,
    Projection,
    Sample,
    draw,
    population,
)
from meter.auditor.papers.tables import Column, Row, Table
from meter.auditor.papers.target import new_folder, write_text
from meter.rules.entries import UsageAccepted
from meter.rules.state import State
from meter.values.units import format_money

SHEET: Final = Table(
    "sample",
    "the records of a sample",
    (
        Column("entry", "integer", "number of the entry"),
        Column("id", "text", "id of the record"),
        Column("provider", "text", "id of the provider"),
        Column("provider_name", "text", "its newest name"),
        Column("enterprise", "text", "USCC"),
        Column("enterprise_name", "text", "its newest name"),
        Column("contract", "text", "id of the contract"),
        Column("contract_no", "text", "number that its parties gave it"),
        Column("device", "text", "kind of device; none of a purchase"),
        Column("devices", "count", "how many at once"),
        Column("start", "moment", "begin of the use"),
        Column("end", "moment", "end of the use"),
        Column("device_hours", "hours", "devices × time"),
        Column("delivered_on", "date", "day of the delivery of a purchase"),
        Column("run", "text", "the job, as the provider named it"),
        Column("cost", "money", "what it cost"),
        Column("book_value", "money", "what the contract is entitled to by it"),
        Column("stratum", "integer", "0 for those that are taken whatever the seed"),
        Column("audited_value", "money", "to be filled in"),
        Column("remark", "text", "to be filled in"),
    ),
)
_MOST_DIGITS: Final = 15  # of a number, as a spreadsheet holds them
_ENTRY, _BOOK_VALUE, _AUDITED = "entry", "book_value", "audited_value"


class BadSheet(LedgerError):  # noqa: N818 - the name says what is wrong
    """A sheet that is not that of the sample, or is not filled in."""

    code = "bad_sheet"


@dataclass(frozen=True, slots=True)
class Asked:
    """From which size of which log a sample was drawn, and how."""

    made_of: Checkpoint
    period: Period
    method: Method
    size: int

    def drawn_again(self, log: VerifiedLog) -> Sample:
        """Return the sample, from the entries that the log had then: it may have grown since.

        Raises `CannotCheck` for a copy of before, and `BadSheet` for another log.
        """
        size, root = self.made_of.size, self.made_of.root
        if size > log.size and self.made_of.origin == log.origin:
            raise CannotCheck(
                f"the sample was drawn from {size} entries, and this copy of the log has"
                f" {log.size}: take a newer copy"
            )
        found = log.tree.root(min(size, log.size))
        if found != root:
            raise BadSheet(f"the sample is of the root {root.hex()}, and the log of {found.hex()}")
        items = population(islice(log.entries(), size), self.period)
        return draw(items, self.method, self.size, root.hex())

    def about(self) -> dict[str, Any]:
        """Return what a projection says of its sample's log."""
        made_of = self.made_of
        return {
            "origin": made_of.origin,
            "size": made_of.size,
            "root": made_of.root.hex(),
            "program": PROGRAM,
            "period": str(self.period),
        }


def read_about(folder: Path) -> Asked:
    """Return what `about.json` in the folder of a sample says. Raises `BadSheet`."""
    path = folder / "about.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        period = Period() if about["period"] == "all" else Period.parse(about["period"])
        root = bytes.fromhex(about["root"])
        made_of = Checkpoint(str(about["origin"]), int(about["size"]), root)
        return Asked(made_of, period, convert(about["method"], Method), int(about["asked"]))
    except (OSError, BadNote, *WRONG_FORM) as error:
        raise BadSheet(f"{path} does not say how the sample was drawn: {error!r:.200}") from None


def write_sheet(log: VerifiedLog, sample: Sample, period: Period, target: Path) -> None:
    """Write the folder of a sample. Raises `BadTarget`."""
    from meter.auditor.papers.xlsx_file import XlsxWriter  # noqa: PLC0415 - needs kashi[audit]

    about = {**log.about(), "period": str(period), **as_json(sample)}
    text = json.dumps(about, ensure_ascii=False, indent=2) + "\n"
    with new_folder(target) as draft:
        writers = CsvWriter(draft, [SHEET]), XlsxWriter(draft / "sample.xlsx", [SHEET], text)
        for writer in writers:
            for drawn in sample.drawn:
                writer.row(SHEET, _row(drawn, log.state))
            writer.close()
        write_text(draft / "about.json", text)


def as_json(sample: Sample) -> dict[str, Any]:
    """Return the figures of a sample as plain values, money as text."""
    return {
        "method": sample.method,
        "asked": sample.size,
        "records": sample.items,
        "book_value": format_money(sample.value),
        "interval": format_money(sample.interval),
        "start": format_money(sample.start),
        "drawn": len(sample.drawn),
        "certain": sum(each.stratum == CERTAIN for each in sample.drawn),
        "strata": [asdict(each) | {"value": format_money(each.value)} for each in sample.strata],
    }


def projection_json(found: Projection) -> dict[str, Any]:
    """Return what errors mean for all as plain values, money as text."""
    lower = None if found.lower is None else format_money(int(found.lower))
    return {
        "errors": found.errors,
        "known": format_money(int(found.known)),
        "projected": format_money(int(found.projected)),
        "lower": lower,
        "upper": format_money(int(found.upper)),
        "confidence": "0.95",
    }


def read_audited(path: Path, sample: Sample) -> list[int]:
    """Return the audited values of a sheet, fen in the order of the sample.

    Raises `BadSheet` where rows, book values or audited values are not as they must be.
    """
    rows = enumerate(_xlsx_rows(path) if path.suffix == ".xlsx" else _csv_rows(path), 2)
    by_entry = [(_number(row, _ENTRY, n), n, row) for n, row in rows]
    by_entry.sort(key=itemgetter(0))  # a visit has its own order, say by provider
    if [entry for entry, _, _ in by_entry] != [each.item.number for each in sample.drawn]:
        raise BadSheet("its rows are not the records of this sample")
    for (_, n, row), each in zip(by_entry, sample.drawn, strict=True):
        if _fen(row, _BOOK_VALUE, n) != each.item.value:
            raise BadSheet(f"row {n}: book_value is {format_money(each.item.value)} in the ledger")
    return [_fen(row, _AUDITED, n) for _, n, row in by_entry]


def _row(drawn: Drawn, state: State) -> Row:
    entry, value = drawn.item.entry, drawn.item.value
    agreed = state.contracts[entry.contract].agreed
    provider = entry.provider, state.providers[entry.provider].facts_at(state.size).name
    enterprise = agreed.enterprise, state.enterprises[agreed.enterprise].facts.name
    contract = entry.contract, agreed.contract_no
    named = drawn.item.number, entry.id, *provider, *enterprise, *contract
    used: Row
    if isinstance(entry, UsageAccepted):
        run = None if entry.run is UNSET else entry.run
        used = entry.device, entry.milli_devices, entry.start, entry.end, entry.device_time
        used = *used, None, run
    else:
        used = *[None] * 5, entry.delivered_on, None
    return *named, *used, entry.cost, value, drawn.stratum, None, None


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadSheet(f"{path} is no CSV in UTF-8: {error}") from None


def _xlsx_rows(path: Path) -> Iterator[dict[str, str]]:
    import openpyxl  # type: ignore[import-untyped] # noqa: PLC0415 - needs kashi[audit]

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = book[SHEET.name].iter_rows(values_only=True)
        head = next(rows)
        for row in rows:
            yield dict(zip(head, ("" if each is None else str(each) for each in row), strict=True))
    except Exception as error:  # noqa: BLE001 - whatever its reader says of foreign bytes
        raise BadSheet(f"{path} is no workbook with a sheet {SHEET.name}: {error}") from None


def _fen(row: dict[str, str], column: str, number: int) -> int:
    fen = _number(row, column, number) * 100
    if fen != int(fen):
        raise BadSheet(f"row {number}: {column} has more than two decimals")
    if fen < 0:
        raise BadSheet(f"row {number}: {column} is below zero")
    return int(fen)


def _number(row: dict[str, str], column: str, number: int) -> Decimal:
    text = row.get(column) or ""
    try:
        found = Decimal(text.replace(",", ""))
    except InvalidOperation:
        raise BadSheet(f"row {number}: {column} is no number: {text!r:.40}") from None
    if not found.is_finite() or abs(found.adjusted()) > _MOST_DIGITS:
        raise BadSheet(f"row {number}: {column} is no number: {text!r:.40}")
    return found
