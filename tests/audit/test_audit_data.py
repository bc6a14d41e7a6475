"""Audit data after ISO 21378: a journal whose months follow each other and add up."""

import csv
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from meter.auditor.papers.accounts import nature_of
from meter.auditor.papers.audit_data import AUDIT_TABLES, OWN
from meter.values.units import format_money
from tests.commands import good, kashi
from tests.writer import Writer

PAGE = Path(__file__).parents[2] / "docs/audit.md"


def export(log: Path, writer: Writer, target: Path, *options: str) -> Path:
    key = writer.verifier.format()
    words = ["audit", "export", log, target, "--vkey", key, "--format", "audit-data", *options]
    good(kashi(*words))
    return target


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def of_months(found: list[dict[str, str]]) -> dict[str, dict[str, dict[str, str]]]:
    """Return balances by month and account."""
    months: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for each in found:
        months[each["Accounting_Period"]][each["GL_Account_Number"]] = each
    return months


@pytest.fixture(scope="module")
def folder(writer, log, tmp_path_factory) -> Path:
    return export(log, writer, tmp_path_factory.mktemp("audit-data") / "all")


def test_each_movement_has_a_debit_and_a_credit_of_the_same_amount(writer, folder):
    lines = iter(rows(folder, "GL_Details"))
    for number, entry in enumerate(writer.entries):
        for place, (source, target, fen) in enumerate(entry.postings):
            debit, credit = next(lines), next(lines)
            for line, own in ((debit, 1), (credit, 2)):
                assert line["Journal_ID"] == str(number)
                assert line["Journal_ID_Line_Number"] == str(2 * place + own)
                assert line["JE_Type_Code"] == entry.kind
                assert line["Functional_Currency_Code"] == "CNY"
            assert (debit["GL_Account_Number"], credit["GL_Account_Number"]) == (target, source)
            assert debit["Functional_Amount"] == format_money(fen)
            assert credit["Functional_Amount"] == format_money(-fen)
    assert next(lines, None) is None


def test_the_months_follow_each_other_and_end_with_what_the_books_hold(writer, folder):
    months = of_months(rows(folder, "GL_Accounts_Period_Balance"))
    told = rows(folder, "BAS_Accounting_Period")
    assert len(told) > 24
    assert [each["Period_End_Date"] for each in told[:-1]] == [
        each["Period_Start_Date"] for each in told[1:]
    ]
    lines: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for each in rows(folder, "GL_Details"):
        key = each["Accounting_Period"], each["GL_Account_Number"]
        lines[key].append(Decimal(each["Functional_Amount"]))
    held: dict[str, Decimal] = {}
    for month in (each["Accounting_Period"] for each in told):
        for account, each in months[month].items():
            moved = lines.pop((month, account), [])
            begin, debit, credit, end = (
                Decimal(each[f"{name}_Functional_Amount"])
                for name in ("Beginning", "Debit", "Credit", "Ending")
            )
            assert begin == held.pop(account, 0)
            assert debit == sum(fen for fen in moved if fen > 0)
            assert credit == -sum(fen for fen in moved if fen < 0)
            assert end == begin + debit - credit
            if end:
                held[account] = end
        assert set(held) <= set(months[month])
    assert not lines, "each line is of a month and an account that has a balance"
    books = {name: fen for name, fen in writer.log.book.balances.items() if fen}
    assert {name: format_money(fen) for name, fen in books.items()} == {
        name: str(amount) for name, amount in held.items()
    }


def test_a_part_begins_with_what_the_part_before_it_left(writer, log, folder, tmp_path):
    whole = rows(folder, "GL_Accounts_Period_Balance")
    years = sorted({each["Fiscal_Year"] for each in whole})
    parts = [export(log, writer, tmp_path / year, "--period", year) for year in years]
    for table in ("GL_Details", "GL_Accounts_Period_Balance", "BAS_Accounting_Period"):
        found = [each for part in parts for each in rows(part, table)]
        # A year has all its months, also those before the first entry of the ledger.
        first = rows(folder, table)[0]["Accounting_Period"]
        assert [each for each in found if each["Accounting_Period"] >= first] == rows(folder, table)
    months = [each["Accounting_Period"] for each in rows(parts[1], "BAS_Accounting_Period")]
    assert months == [f"{years[1]}-{month:02d}" for month in range(1, 13)]


def test_a_month_without_an_entry_has_its_balances(writer, log, folder, tmp_path):
    busy = {each["Accounting_Period"] for each in rows(folder, "GL_Details")}
    months = [each["Accounting_Period"] for each in rows(folder, "BAS_Accounting_Period")]
    quiet = next(month for month in months if month not in busy)
    part = export(log, writer, tmp_path / "quiet", "--period", quiet)
    assert rows(part, "GL_Details") == []
    (told,) = rows(part, "BAS_Accounting_Period")
    assert told["Accounting_Period"] == quiet
    found = rows(part, "GL_Accounts_Period_Balance")
    whole = of_months(rows(folder, "GL_Accounts_Period_Balance"))
    assert found == list(whole[quiet].values()) != []


def test_a_period_that_no_entry_reaches_is_empty(writer, log, tmp_path):
    part = export(log, writer, tmp_path / "late", "--period", "2999")
    for table in ("GL_Details", "GL_Accounts_Period_Balance", "BAS_Accounting_Period"):
        assert rows(part, table) == []


def test_each_account_party_and_person_is_named_once(writer, folder):
    details = rows(folder, "GL_Details")
    chart = rows(folder, "BAS_Chart_Of_Accounts")
    assert [each["GL_Account_Number"] for each in chart] == sorted(
        {each["GL_Account_Number"] for each in details}
    )
    assert all(each["Account_Type"] == nature_of(each["GL_Account_Number"]) for each in chart)
    assert {each["Account_Type"] for each in chart} == {
        "Assets", "Equity", "Expenses", "Liabilities",
    }  # fmt: skip
    users = [each["User_ID"] for each in rows(folder, "BAS_User")]
    acted = {each[name] for each in details for name in ("Created_User_ID", "Approved_Person_ID")}
    assert users == sorted(acted - {""})
    for table, parties in (
        ("BAS_Customer", writer.state.enterprises),
        ("BAS_Supplier", writer.state.providers),
    ):
        side = table.removeprefix("BAS_")
        found = {each[f"{side}_ID"]: each[f"{side}_Name"] for each in rows(folder, table)}
        size = len(writer.entries)
        assert found == {name: party.facts_at(size).name for name, party in parties.items()}


def test_who_confirmed_is_not_who_proposed(writer, folder):
    confirmed = {
        each["Journal_ID"]: (each["Created_User_ID"], each["Approved_Person_ID"])
        for each in rows(folder, "GL_Details")
        if each["Approved_Person_ID"]
    }
    assert confirmed
    for number, (creator, approver) in confirmed.items():
        entry = writer.entries[int(number)]
        assert approver == entry.person
        assert creator == writer.entries[entry.proposal].person != approver


def test_a_void_names_the_record_that_it_reverses(writer, folder):
    reversals = {
        int(each["Journal_ID"]): each["Reversal_Journal_ID"]
        for each in rows(folder, "GL_Details")
        if each["Reversal_Indicator"] == "1"
    }
    assert reversals == {
        number: str(entry.record)
        for number, entry in enumerate(writer.entries)
        if entry.kind == "void" and entry.postings
    }
    assert reversals


def test_the_page_tells_each_table_and_field_and_which_are_our_own(folder):
    about = json.loads((folder / "about.json").read_text())
    assert [each["name"] for each in about["tables"]] == [each.name for each in AUDIT_TABLES]
    page = PAGE.read_text()
    section = page.split("## Audit data after ISO 21378")[1].split("\n## ")[0]
    told = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            name, fields, _ = (cell.strip() for cell in line.strip("|").split("|"))
            told[name.strip("`")] = fields
    assert told == {
        table.name: ", ".join(
            f"*{column.name}*" if column.name in OWN else column.name for column in table.columns
        )
        for table in AUDIT_TABLES
    }
    assert {name.partition("_")[0] for name in told} == {"BAS", "GL"}
