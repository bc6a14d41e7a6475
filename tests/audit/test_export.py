"""The exports of a verified log: tables that add up, and books that other programs accept.

The log is that of two and a half years of the Measures (`test_two_years`).
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meter.auditor.papers import export as papers
from meter.auditor.papers import tables
from meter.auditor.papers.books import Beancount
from meter.auditor.papers.export import FORMATS
from meter.auditor.papers.log import verified
from meter.auditor.papers.period import Period
from meter.auditor.papers.tables import CLAIMS, TABLES
from meter.values.units import format_moment, format_money, parse_instant
from tests.commands import good, kashi
from tests.programs import program
from tests.writer import Writer

PROGRAMS = {
    "beancount": ["bean-check", "books.beancount"],
    "hledger": ["hledger", "check", "--strict", "-f", "books.journal"],
    "ledger": ["ledger", "--pedantic", "-f", "books.ledger", "balance"],
}
BOOKS = sorted(PROGRAMS)
PAGE = Path(__file__).parents[2] / "docs/audit.md"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(writer, log, tmp_path_factory) -> Path:
    """All tables as CSV."""
    return export(log, writer, tmp_path_factory.mktemp("export") / "csv", "csv")


def words_for(log: Path, writer: Writer, target: Path, form: str, *options: str) -> list[object]:
    key = writer.verifier.format()
    return ["audit", "export", log, target, "--vkey", key, "--format", form, *options]


def export(log: Path, writer: Writer, target: Path, form: str, *options: str) -> Path:
    """Export by the command line, which says of what."""
    said = good(kashi(*words_for(log, writer, target, form, *options)))
    about = json.loads((target / "about.json").read_text())
    assert said == f"{target}: {about['origin']}, {about['size']} entries, root {about['root']}\n"
    assert (about["size"], about["root"]) == (writer.log.size, writer.log.root().hex())
    return target


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def total(found: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(each[column]) for each in found), Decimal())


def check(folder: Path, form: str) -> subprocess.CompletedProcess[str]:
    """Run the program that reads a book; where it is missing, skip, or fail in CI."""
    name, *words = PROGRAMS[form]
    found = program(name, f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return subprocess.run([found, *words], cwd=folder, capture_output=True, text=True)


def book_of(folder: Path) -> Path:
    (found,) = folder.glob("books.*")
    return found


# Tables


def test_each_entry_stands_in_the_table_with_its_exact_bytes(writer, folder):
    found = rows(folder, "entries")
    assert [each["json"].encode() for each in found] == writer.leaves
    assert [int(each["entry"]) for each in found] == list(range(len(writer.leaves)))
    assert [each["at"] for each in found] == [format_moment(each.at) for each in writer.entries]
    persons = {getattr(each, "person", "") for each in writer.entries}
    assert {each["person"] for each in found} == persons


def test_the_tables_of_an_export_are_described_beside_them(folder):
    about = json.loads((folder / "about.json").read_text())
    assert [each["name"] for each in about["tables"]] == [table.name for table in TABLES]
    for told, table in zip(about["tables"], TABLES, strict=True):
        assert told["meaning"] == table.meaning
        assert [tuple(each.values()) for each in told["columns"]] == [
            (each.name, each.form, each.meaning) for each in table.columns
        ]


def test_the_accounts_hold_what_the_books_hold(writer, folder):
    found = {each["account"]: each for each in rows(folder, "accounts")}
    closing = {name: each["closing"] for name, each in found.items() if each["closing"] != "0.00"}
    held = {name: format_money(fen) for name, fen in writer.log.book.balances.items() if fen}
    assert closing == held
    assert total(list(found.values()), "closing") == 0
    assert {each["opening"] for each in found.values()} == {"0.00"}


def test_the_records_add_up_to_the_costs_and_grants_of_their_contracts(writer, folder):
    records = [*rows(folder, "usage"), *rows(folder, "purchases"), *rows(folder, "changes")]
    assert {each["contract"] for each in records} == set(writer.state.contracts)
    amended = dict.fromkeys(writer.state.contracts, 0)
    for each in writer.entries:
        if each.kind == "amendment":
            amended[each.contract] += each.cost
    for name, fen in amended.items():
        own = [each for each in records if each["contract"] == name]
        due = writer.log.book.balance(f"due:{name}")
        assert total(own, "cost") == Decimal(due - fen).scaleb(-2)


def test_what_a_record_was_granted_is_what_its_entry_moved(folder):
    moved = dict.fromkeys(range(len(rows(folder, "entries"))), Decimal())
    for each in rows(folder, "postings"):
        fen = Decimal(each["amount"])
        moved[int(each["entry"])] += fen * each["to_account"].startswith("accrued:")
        moved[int(each["entry"])] -= fen * each["from_account"].startswith("accrued:")
    records = [*rows(folder, "usage"), *rows(folder, "purchases"), *rows(folder, "changes")]
    assert {int(each["entry"]): Decimal(each["granted"]) for each in records} == {
        int(each["entry"]): moved[int(each["entry"])] for each in records
    }
    assert min(Decimal(each["granted"]) for each in records) < 0 < total(records, "granted")


def test_the_movements_add_up_to_what_accounts_hold(writer, folder):
    held = {name: Decimal(fen).scaleb(-2) for name, fen in writer.log.book.balances.items() if fen}
    of = {"granted": ("accrued", 1), "claimed": ("claims", -1), "paid": ("paid", 1)}
    moved = rows(folder, "movements")
    for figure, (account_class, sign) in of.items():
        found: dict[str, Decimal] = {}
        for each in moved:
            if each["figure"] == figure:
                name = f"{account_class}:{each['contract']}:{each['year']}"
                found[name] = found.get(name, Decimal()) + sign * Decimal(each["amount"])
        assert {name: yuan for name, yuan in found.items() if yuan} == {
            name: yuan for name, yuan in held.items() if name.startswith(f"{account_class}:")
        }
    costs = [each for each in moved if each["figure"] == "cost"]
    assert total(costs, "amount") == sum(
        yuan for name, yuan in held.items() if name.startswith("due:")
    )


def test_each_column_is_described(folder):
    about = json.loads((folder / "about.json").read_text())
    for table in about["tables"]:
        with (folder / f"{table['name']}.csv").open(encoding="utf-8-sig") as file:
            assert next(csv.reader(file)) == [each["name"] for each in table["columns"]]
    assert [each["name"] for each in about["tables"]] == [table.name for table in TABLES]


def test_a_spreadsheet_reads_chinese_and_no_formula(folder):
    raw = (folder / "parties.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert "甲机器人" in raw.decode()
    from meter.auditor.papers.csv_file import _text

    assert _text("text", "=1+1") == "'=1+1"
    assert _text("money", -5) == "-0.05"  # a figure is none


def test_a_month_has_its_own_entries_and_the_balances_around_it(writer, log, folder, tmp_path):
    months = {each["at"][:7] for each in rows(folder, "entries")}
    month = sorted(months)[len(months) // 2]
    part = export(log, writer, tmp_path / "month", "csv", "--period", month)
    assert rows(part, "entries") == [
        each for each in rows(folder, "entries") if each["at"].startswith(month)
    ]
    opening = {}
    for each in rows(folder, "postings"):
        if each["date"] < month:
            fen = Decimal(each["amount"])
            opening[each["from_account"]] = opening.get(each["from_account"], 0) - fen
            opening[each["to_account"]] = opening.get(each["to_account"], 0) + fen
    found = {each["account"]: each for each in rows(part, "accounts")}
    assert {name for name, each in found.items() if Decimal(each["opening"])} == {
        name for name, fen in opening.items() if fen
    }
    for name, each in found.items():
        assert Decimal(each["opening"]) == opening.get(name, 0)
        moved = Decimal(each["received"]) - Decimal(each["given"])
        assert Decimal(each["closing"]) == Decimal(each["opening"]) + moved


def test_months_follow_each_other_without_a_gap(writer, log, folder, tmp_path):
    years = sorted({each["at"][:4] for each in rows(folder, "entries")})
    parts = [export(log, writer, tmp_path / year, "csv", "--period", year) for year in years]
    assert [each for part in parts for each in rows(part, "postings")] == rows(folder, "postings")
    ends = {each["account"]: each["closing"] for each in rows(parts[0], "accounts")}
    for part in parts[1:]:
        begins = {each["account"]: each["opening"] for each in rows(part, "accounts")}
        assert {name: begins[name] for name in ends} == ends
        ends = {each["account"]: each["closing"] for each in rows(part, "accounts")}


@pytest.mark.parametrize("text", ["2025-13", "25", "2025-3", "2025-03-01", "0000", "９９９９", ""])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(ValueError, match="not a year"):
        Period.parse(text)


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [("2025-12", "2025-12-01", "2026-01-01"), ("2025", "2025-01-01", "2026-01-01")],
)
def test_a_period_begins_and_ends_at_midnight_of_shanghai(text, first, after):
    period = Period.parse(text)
    starts, ends = (parse_instant(f"{day}T00:00:00+08:00") * 1_000_000 for day in (first, after))
    assert [at in period for at in (starts - 1, starts, ends - 1, ends)] == [0, 1, 1, 0]
    assert (period.is_before(starts - 1), period.is_after(ends)) == (True, True)
    assert str(period) == text


def test_parquet_is_written_in_groups_of_rows(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    module = pytest.importorskip("meter.auditor.papers.parquet_file")
    monkeypatch.setattr(module, "_GROUP", 2)
    for count, groups in ((3, [2, 1]), (4, [2, 2])):
        folder = tmp_path / f"{count}"
        folder.mkdir()
        writer = module.ParquetWriter(folder, "about")
        for number in range(count):
            writer.row(CLAIMS, (number, 0, "order", "C1", 100))
        writer.close()
        held = parquet.ParquetFile(folder / "claims.parquet").metadata
        sizes = [held.row_group(each).num_rows for each in range(held.num_row_groups)]
        assert [each for each in sizes if each] == groups


def test_parquet_has_the_same_rows_typed(writer, log, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    part = export(log, writer, tmp_path / "parquet", "parquet")
    for table in TABLES:
        found = parquet.read_table(part / f"{table.name}.parquet")
        assert [list(map(as_text, row.values())) for row in found.to_pylist()] == [
            list(row.values()) for row in rows(folder, table.name)
        ]
        assert b'"root": "' in found.schema.metadata[b"kashi"]
    usage = parquet.read_table(part / "usage.parquet").schema
    assert str(usage.field("cost").type) == "decimal128(18, 2)"
    assert str(usage.field("start").type) == "timestamp[us, tz=UTC]"


def as_text(value: object) -> str:
    """Return a typed value as CSV has it."""
    if isinstance(value, datetime):
        return format_moment((value - EPOCH) // timedelta(microseconds=1))
    return "" if value is None else str(value)


def test_a_workbook_has_the_same_figures_and_always_the_same_bytes(writer, log, folder, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    parts = [export(log, writer, tmp_path / name, "xlsx") for name in ("one", "two")]
    one, two = ((part / "ledger.xlsx").read_bytes() for part in parts)
    assert one == two
    book = openpyxl.load_workbook(parts[0] / "ledger.xlsx")
    assert book.properties.created.isoformat() == "2000-01-01T00:00:00"
    assert book.sheetnames == ["about", *(table.name for table in TABLES)]
    assert writer.log.root().hex() in "".join(row[0].value for row in book["about"].iter_rows())
    for table in TABLES:
        head, *found = book[table.name].iter_rows(values_only=True)
        assert list(head) == [column.name for column in table.columns]
        told = rows(folder, table.name)
        assert len(found) == len(told)
        money = [column.name for column in table.columns if column.form == "money"]
        for row, expected in zip(found, told, strict=True):
            cells = dict(zip(head, row, strict=True))
            assert {f"{cells[name]:.2f}" for name in money if expected[name]} == {
                expected[name] for name in money if expected[name]
            }
        for row, expected in zip(found, told, strict=True):
            for column, cell in zip(table.columns, row, strict=True):
                assert as_shown(cell) == as_read(column.form, expected[column.name])
        sheet = book[table.name]
        assert sheet.freeze_panes == "A2"
        assert all(cell.font.bold for cell in sheet[1])
        assert not any(cell.font.bold for row in sheet.iter_rows(2) for cell in row)
        widths = [
            round(each.width - 0.71)  # what the file adds for the edges of a cell
            for each in sheet.column_dimensions.values()
            for _ in range(each.min, each.max + 1)
        ]
        assert widths == [22 if each.form in {"text", "moment"} else 14 for each in table.columns]
    # Texts stand in the rows, which are written one after the other.
    assert "xl/sharedStrings.xml" not in zipfile.ZipFile(parts[0] / "ledger.xlsx").namelist()


def as_shown(cell: Any) -> Any:
    """Return what a cell holds: moments to the millisecond, numbers with four decimals."""
    if isinstance(cell, datetime):
        return round(cell.replace(tzinfo=UTC).timestamp(), 3)
    return round(cell, 4) if isinstance(cell, float) else cell


def as_read(form: str, text: str) -> Any:
    """Return the same of a text of the CSV."""
    if not text:
        return None
    match form:
        case "moment":
            local = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return round(local.timestamp(), 3)
        case "text" | "date":
            return text
        case _:
            return round(float(text), 4)


def test_a_workbook_says_where_a_text_is_too_long_for_a_cell(tmp_path):
    openpyxl, writing = (
        pytest.importorskip(name) for name in ("openpyxl", "meter.auditor.papers.xlsx_file")
    )
    one = tables.table("one", "", *((name, "text", "") for name in ("whole", "long", "wide")))
    writer = writing.XlsxWriter(tmp_path / "a.xlsx", [one], "about")
    writer.row(one, ("a" * 32_767, "a" * 32_768, "𠀀" * 16_384))
    writer.close()
    _, found = openpyxl.load_workbook(tmp_path / "a.xlsx")["one"].iter_rows(values_only=True)
    end = "letters, and a cell holds 32767: CSV and Parquet have them"
    assert found == ("a" * 32_767, f"32768 {end}", f"16384 {end}")


def test_a_workbook_says_where_a_table_is_too_long(writer, log, tmp_path, monkeypatch):
    xlsx_file = pytest.importorskip("meter.auditor.papers.xlsx_file")
    monkeypatch.setattr(xlsx_file, "_MAX_ROWS", 5)
    result = kashi(*words_for(log, writer, tmp_path / "long", "xlsx"))
    assert result.exit_code == 2
    assert (
        "could not write: too_many_rows: postings has more than 5; ask for a period"
        in result.stderr
    )
    assert not (tmp_path / "long").exists()


# Books


@pytest.mark.parametrize("form", BOOKS)
@pytest.mark.parametrize("period", ["", "2026", "2025-12"])
def test_another_program_accepts_a_book(writer, log, tmp_path, form, period):
    options = ["--period", period] if period else []
    folder = export(log, writer, tmp_path / form, form, *options)
    checked = check(folder, form)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert writer.log.root().hex() in book_of(folder).read_text().splitlines()[0]


@pytest.mark.parametrize("form", BOOKS)
def test_another_program_finds_an_amount_that_was_changed_by_a_fen(writer, log, tmp_path, form):
    folder = export(log, writer, tmp_path / form, form, "--period", "2026")
    book = book_of(folder)
    text = book.read_text()
    # Both sides of one transaction, so that it still balances.
    side = r"([ ]+\S+  )(-?[\d.]+) CNY\n"
    two = re.compile(rf"(?m)^(\S+ \* .*\n){side}{side}(?![ ])")

    def move(match: re.Match[str]) -> str:
        head, one, first, other, second = match.groups()
        assert Decimal(first) == -Decimal(second)
        cent = Decimal("0.01")
        return f"{head}{one}{Decimal(first) + cent} CNY\n{other}{Decimal(second) - cent} CNY\n"

    changed = two.sub(move, text, count=1)
    assert changed != text
    book.write_text(changed)
    assert check(folder, form).returncode != 0


@pytest.mark.parametrize("form", BOOKS)
def test_another_program_finds_a_transaction_that_was_left_out(writer, log, tmp_path, form):
    folder = export(log, writer, tmp_path / form, form)
    book = book_of(folder)
    text = book.read_text()
    changed = re.sub(r"(?m)^\S+ \* .*usage.*\n(?:[ ]+.*\n)+", "", text, count=1)
    assert changed != text
    book.write_text(changed)
    assert check(folder, form).returncode != 0


def test_a_month_asserts_what_it_has_moved_alone(writer, log, tmp_path):
    text = book_of(export(log, writer, tmp_path / "book", "beancount")).read_text()
    asserted = re.findall(r"(?m)^\S+ balance (\S+)", text)
    opened = re.findall(r"(?m)^\S+ open (\S+)", text)
    months = set(re.findall(r"(?m)^(\S+) balance", text))
    assert set(asserted) == set(opened)
    assert len(asserted) < len(opened) * len(months) / 2


def test_a_book_moves_what_the_ledger_moves(writer, log, tmp_path):
    """The balances that hledger adds up are those of the ledger."""
    folder = export(log, writer, tmp_path / "hledger", "hledger")
    check(folder, "hledger")
    words = ["balance", "-f", "books.journal", "--flat", "--no-total", "-O", "csv"]
    told = subprocess.run(["hledger", *words], cwd=folder, capture_output=True, text=True).stdout
    found = dict(list(csv.reader(told.splitlines()))[1:])
    assert found == {
        name: f"{format_money(fen)} CNY" for name, fen in writer.log.book.balances.items() if fen
    }


def test_two_accounts_that_beancount_cannot_tell_apart_get_two_names():
    book = Beancount()
    opened = [book.declare(name, "2025-01-01") for name in ("due:a.b", "due:a_b", "due:a-b")]
    assert [each.split()[2] for each in opened] == [
        "Expenses:Due:A-b",
        "Expenses:Due:A-b-2",
        "Expenses:Due:A-b-3",
    ]


@pytest.mark.parametrize("form", ["csv", "hledger"])
def test_each_entry_is_told_when_it_was_written(writer, log, tmp_path, form):
    told = []
    with verified(str(log), writer.verifier.format(), None, lambda *_: None) as held:
        papers.export(held, form, Period(), tmp_path / form, lambda *each: told.append(each))
    assert told == [(number, writer.log.size) for number in range(1, writer.log.size + 1)]


# What may go wrong


def test_no_export_is_made_of_a_log_that_is_violated(writer, log, tmp_path):
    bad = shutil.copytree(log, tmp_path / "bad")
    (tile,) = (bad / "tile" / "entries").glob("*/*") or (bad / "tile" / "entries").iterdir()
    data = bytearray(tile.read_bytes())
    data[len(data) // 2] ^= 1
    tile.write_bytes(data)
    result = kashi(*words_for(bad, writer, tmp_path / "out", "csv"))
    assert result.exit_code == 1
    assert "VIOLATED" in result.stdout
    assert not (tmp_path / "out").exists()


def test_an_export_replaces_nothing(writer, log, tmp_path):
    (tmp_path / "there").mkdir()
    result = kashi(*words_for(log, writer, tmp_path / "there", "csv"))
    assert (result.exit_code, "bad_target" in result.stderr) == (2, True)
    assert list((tmp_path / "there").iterdir()) == []


def test_a_bad_period_is_told_before_the_log_is_verified(writer, tmp_path):
    result = kashi(
        *words_for(tmp_path / "no log", writer, tmp_path / "out", "csv", "--period", "3")
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "could not write: not a year YYYY nor a month YYYY-MM: '3'\n"


def test_what_an_interrupted_export_left_is_begun_anew(writer, log, tmp_path):
    draft = tmp_path / "out.draft"
    draft.mkdir()
    (draft / "foreign.csv").write_text("left")
    folder = export(log, writer, tmp_path / "out", "csv")
    assert not (folder / "foreign.csv").exists()
    assert not draft.exists()


def test_an_export_is_closed_to_others(folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


# The page about it


def test_the_session_of_the_page_gives_what_it_shows(writer, log, tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    export(log, writer, tmp_path / "all", "parquet")
    monkeypatch.chdir(tmp_path / "all")
    asked = re.findall(r"```sql\n(.*?)```\n\n((?:\|[^\n]*\n)+)", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(asked) == 6
    for question, shown in asked:
        found = duckdb.sql(question)
        lines = [found.columns, ["---"] * len(found.columns), *found.fetchall()]
        assert shown.splitlines() == [f"| {' | '.join(map(str, line))} |" for line in lines]


def test_the_page_names_all_tables_and_forms():
    text = PAGE.read_text("utf-8")
    assert {table.name for table in TABLES} <= set(re.findall(r"`([a-z]+)`", text))
    assert set(FORMATS) <= set(re.findall(r"`([a-z-]+)`", text))
