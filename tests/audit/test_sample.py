"""Samples of records: who is drawn, what errors mean for all, and the sheet of a visit."""

import csv
import json
import re
import shutil
from decimal import ROUND_UP, Decimal
from pathlib import Path
from random import Random

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.auditor.papers.log import KeptEntry
from meter.auditor.papers.period import Period
from meter.auditor.papers.sample import (
    METHODS,
    STRATA,
    Drawn,
    Item,
    Sample,
    Stratum,
    _factor,
    draw,
    population,
    project,
)
from meter.auditor.papers.sheet import SHEET, BadSheet, read_audited
from meter.values.units import format_money, parse_instant
from tests.books import DEVICE, lifted, record, void
from tests.commands import good, kashi
from tests.histories import history
from tests.writer import Writer

ROOT = "ab" * 32
EVER = Period()
START = parse_instant("2025-03-01T08:00:00+08:00")


def items(*values: int) -> list[Item]:
    return [Item(number, None, value) for number, value in enumerate(values, 10)]


def sizes(seed: int, count: int) -> list[int]:
    """Return book values as skewed as those of contracts are."""
    random = Random(seed)
    return [1 + int(random.paretovariate(1.2) * 1_000) for _ in range(count)]


# Who is drawn


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(2, 20), st.integers())
def test_of_monetary_units_each_record_that_holds_a_point_is_drawn(values, size, seed):
    sample = draw(items(*values), "monetary-unit", size, f"{seed}")
    points = range(sample.start, sum(values) + 1, sample.interval)
    expected, end = [], 0
    for item in items(*values):
        end += item.value
        if any(end - item.value < point <= end for point in points):
            expected.append(item.number)
    assert [each.item.number for each in sample.drawn] == expected
    assert 1 <= sample.start <= sample.interval == max(1, sum(values) // size)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.sampled_from(METHODS))
def test_what_is_as_large_as_an_interval_is_drawn_whatever_the_seed(values, method):
    for seed in "abc":
        sample = draw(items(*values), method, 5, seed)
        drawn = {each.item.number for each in sample.drawn}
        large = {each.number for each in items(*values) if each.value >= sample.interval}
        certain = {each.item.number for each in sample.drawn if each.stratum == 0}
        assert certain == (set() if method == "random" else large)
        assert certain <= drawn


def test_what_is_exactly_an_interval_is_certain_and_what_is_a_fen_less_is_not():
    for method in ("monetary-unit", "stratified"):
        sample = draw(items(100, 99, 100, 101), method, 4, ROOT)
        assert sample.interval == 100
        assert [each.item.number for each in sample.drawn if each.stratum == 0] == [10, 12, 13]
        assert sum(each.items for each in sample.strata) == 4


@pytest.mark.parametrize("method", METHODS)
def test_the_root_decides_who_is_drawn(method):
    population = items(*sizes(1, 500))
    one, again, other = (
        [each.item.number for each in draw(population, method, 20, root).drawn]
        for root in ("a", "a", "b")
    )
    assert one == again != other
    assert one == sorted(one)


def test_at_random_all_are_as_likely():
    times = dict.fromkeys(range(10, 20), 0)
    for seed in range(600):
        for each in draw(items(*range(1, 11)), "random", 3, str(seed)).drawn:
            times[each.item.number] += 1
    assert all(140 < count < 220 for count in times.values()), times  # 180 is expected


def test_strata_have_about_the_same_value_and_as_many_drawn():
    sample = draw(items(*sizes(2, 900)), "stratified", 61, ROOT)
    certain, *strata = sample.strata
    assert (certain.number, certain.drawn) == (0, certain.items)
    rest = sample.value - certain.value
    assert [each.number for each in strata] == list(range(1, STRATA + 1))
    assert all(abs(each.value - rest / STRATA) < sample.interval for each in strata)
    assert {each.drawn for each in strata} == {(61 - certain.items) // STRATA}
    assert sum(each.items for each in sample.strata) == sample.items == 900
    assert strata[0].items > strata[1].items > strata[2].items  # small records are many


def test_there_must_be_something_to_draw_from():
    with pytest.raises(ValueError, match="worth anything"):
        draw([], "random", 5, ROOT)


# What errors mean


def test_the_factors_are_those_of_the_textbook():
    """AICPA Audit Guide "Audit Sampling", table of confidence factors, 5 % risk."""
    cent = Decimal("0.01")
    found = [_factor(errors).quantize(cent, ROUND_UP) for errors in range(5)]
    assert found == [Decimal(text) for text in ("3.00", "4.75", "6.30", "7.76", "9.16")]


def units(*values: int, interval: int = 1_000) -> Sample:
    """Return a sample of monetary units with these book values."""
    drawn = [Drawn(item, 0 if item.value >= interval else 1) for item in items(*values)]
    told = [Stratum(1, 100, 100_000, len(values))]
    return Sample("monetary-unit", 100, 100, 100_000, interval, 1, told, drawn)


def test_taintings_are_projected_over_intervals():
    """By hand: 400 of 500 is a tainting of 0.8, 50 of 200 one of 0.25; 300 are known.

    The limit is 300 + 2.9957 × 1,000 + (4.7439 − 2.9957) × 800 + (6.2958 − 4.7439) × 250.
    """
    found = project(units(500, 200, 2_000, 100), [100, 150, 1_700, 100])
    assert (found.errors, found.known, found.projected) == (3, 300, 300 + 800 + 250)
    assert (found.lower, found.upper) == (None, 5_082)


def test_without_an_error_there_is_the_basic_precision():
    found = project(units(500, 200), [500, 200])
    assert (found.errors, found.projected, found.upper) == (0, 0, 2_996)


def test_what_is_too_low_in_the_books_lowers_the_estimate_and_not_the_limit():
    found = project(units(500, 200), [600, 200])
    assert (found.projected, found.upper) == (-200, 2_996)


def test_the_upper_limit_holds_in_nineteen_of_twenty_samples():
    values = sizes(3, 2_000)
    random = Random(4)
    wrong = {item.number for item in items(*values) if random.random() < 0.03}
    true = sum(item.value // 2 for item in items(*values) if item.number in wrong)
    held = 0
    for seed in range(200):
        sample = draw(items(*values), "monetary-unit", 60, str(seed))
        audited = [each.item.value - _error(each, wrong) for each in sample.drawn]
        held += project(sample, audited).upper >= true
    assert held >= 190


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_the_interval_holds_the_error_about_as_often_as_it_says(method):
    values = [1_000 + size % 1_000 for size in sizes(3, 1_000)]  # a normal estimate fits
    wrong = {item.number for item in items(*values) if item.number % 4 == 0}
    true = sum(item.value // 2 for item in items(*values) if item.number in wrong)
    held, estimates = 0, []
    for seed in range(200):
        sample = draw(items(*values), method, 120, str(seed))
        audited = [each.item.value - _error(each, wrong) for each in sample.drawn]
        found = project(sample, audited)
        held += found.lower <= true <= found.upper
        estimates.append(found.projected)
    assert 180 <= held < 200
    assert abs(sum(estimates) / len(estimates) - true) < true * Decimal("0.1")


def test_an_estimate_has_the_limits_that_are_worked_out_by_hand():
    """4 of 10 with errors of 0, 0, 2, 2: 100 · (1 − 4/10) · (4/3) / 4 = 20; 1.96 · √20 = 877/100.

    2 of 100 with 10, 30: 10,000 · (1 − 2/100) · 200 / 2 = 980,000. Of the certain one 7 are known.
    """
    drawn = [Drawn(item, 1) for item in items(*[500] * 4)]
    sample = Sample("random", 4, 10, 5_000, 1_250, 1, [Stratum(1, 10, 5_000, 4)], drawn)
    found = project(sample, [500, 500, 498, 498])
    assert (found.errors, found.known, found.projected) == (2, 0, 10)
    assert (found.lower, found.upper) == (1, 19)
    large, *small = items(9_000, *[500] * 6)
    strata = [Stratum(0, 1, 9_000, 1), Stratum(1, 10, 5_000, 4), Stratum(2, 100, 50_000, 2)]
    places = [Drawn(large, 0), *(Drawn(item, 1 + (n > 3)) for n, item in enumerate(small))]
    sample = Sample("stratified", 7, 111, 64_000, 9_000, 1, [*strata, Stratum(3, 0, 0, 0)], places)
    found = project(sample, [8_993, 500, 500, 498, 498, 490, 470])
    assert (found.errors, found.known, found.projected) == (5, 7, 7 + 10 + 2_000)
    # 1.96 · √980,020 = 1,940.32
    assert (found.lower, found.upper) == (2_017 - 1_940, 2_017 + 1_940)


def test_one_value_of_a_stratum_is_its_estimate_without_a_margin():
    one = Sample("random", 1, 3, 300, 300, 1, [Stratum(1, 3, 300, 1)], [Drawn(items(100)[0], 1)])
    found = project(one, [90])
    assert (found.projected, found.lower, found.upper) == (30, 30, 30)


def _error(drawn: Drawn, wrong: set[int]) -> int:
    return drawn.item.value // 2 if drawn.item.number in wrong else 0


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_who_sees_all_records_knows_the_error(method):
    population = items(*sizes(5, 30))
    sample = draw(population, method, 1_000, ROOT)
    assert len(sample.drawn) == 30
    found = project(sample, [each.item.value - 3 for each in sample.drawn])
    assert found.lower == found.projected == found.upper == 90
    assert found.errors == 30


def test_each_record_needs_a_value():
    with pytest.raises(ValueError, match="2 values are needed, and 1 are there"):
        project(units(1, 2), [1])


# The records of a ledger


def found(writer: Writer, period: Period = EVER) -> dict[str, int]:
    """Return the book values of a population by the ids of records."""
    kept = [KeptEntry(n, entry, b"") for n, entry in enumerate(writer.entries)]
    return {item.entry.id: item.value for item in population(kept, period)}


def test_the_population_is_what_stands_with_what_was_released():
    """By hand: 4 devices for an hour at 4.50 are 18.00, and half of it is 9.00."""
    writer = Writer("2025-03-10T12:00:00+08:00")
    writer.activate(lifted())
    writer.provider(devices={DEVICE: 4})
    writer.key()
    writer.enterprise()
    writer.contract("A", max_devices={DEVICE: 6})
    writer.issue(2025, "1000.00")
    writer.post(
        [record(f"r{n}", "A", START + n * 3_600, START + (n + 1) * 3_600, 4_000) for n in range(3)]
    )
    writer.post([record("full", "A", START, START + 3_600, 2_000)])
    assert found(writer) == {"r0": 900, "r1": 900, "r2": 900}
    writer.release("full")
    writer.post(voids=[void("r1")])
    assert found(writer) == {"r0": 900, "r2": 900, "full": 450}
    assert found(writer, Period.parse("2025-03")) == found(writer)
    assert found(writer, Period.parse("2025-02")) == {}


def test_from_each_stratum_come_two_at_least():
    sample = draw(items(*sizes(7, 300)), "stratified", 2, ROOT)
    assert [each.drawn for each in sample.strata[1:] if each.items >= 2] == [2, 2, 2]


# The sheet


def words_for(command: str, log: Path, writer: Writer, folder: Path) -> list[object]:
    return ["audit", command, log, folder, "--vkey", writer.verifier.format()]


@pytest.fixture(scope="module", params=METHODS)
def folder(request, writer, log, tmp_path_factory) -> Path:
    """A sample of six records."""
    target = tmp_path_factory.mktemp("sample") / "sample"
    words = [*words_for("sample", log, writer, target), "--size", 6, "--method", request.param]
    said = good(kashi(*words))
    about = json.loads((target / "about.json").read_text())
    assert (
        said == f"{target}: {about['drawn']} of {about['records']} records, root {about['root']}\n"
    )
    again = target.with_name("again")
    good(kashi(*words[:3], again, *words[4:]))
    for path in target.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    return target


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def filled(folder: Path, target: Path, audited: list[str], **changed: str) -> Path:
    """Fill in the CSV, as a visitor does."""
    rows = rows_of(folder / "sample.csv")
    with target.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row, value in zip(rows, audited, strict=True):
            writer.writerow(row | {"audited_value": value} | changed)
    return target


def test_the_sheet_has_what_a_visit_needs(writer, folder):
    rows = rows_of(folder / "sample.csv")
    assert list(rows[0]) == [column.name for column in SHEET.columns]
    for row in rows:
        entry = writer.entries[int(row["entry"])]
        assert (row["id"], row["contract"]) == (entry.id, entry.contract)
        agreed = writer.state.contracts[entry.contract].agreed
        facts = writer.state.enterprises[agreed.enterprise].facts
        assert (row["enterprise"], row["enterprise_name"]) == (agreed.enterprise, facts.name)
        provider = writer.state.providers[row["provider"]].facts_at(writer.state.size)
        assert row["provider_name"] == provider.name
        assert (row["audited_value"], row["remark"]) == ("", "")
    book = openpyxl.load_workbook(folder / "sample.xlsx")
    head, *cells = book["sample"].iter_rows(values_only=True)
    assert [dict(zip(head, each, strict=True))["entry"] for each in cells] == [
        int(row["entry"]) for row in rows
    ]


def test_a_sheet_that_was_filled_in_is_projected(writer, log, folder, tmp_path):
    values = [Decimal(row["book_value"]) for row in rows_of(folder / "sample.csv")]
    audited = [str(values[0] / 2), *map(str, values[1:])]
    audited[0] = f"{Decimal(audited[0]):.2f}"
    sheet = filled(folder, tmp_path / "found.csv", audited)
    words = [*words_for("project", log, writer, folder), "--sheet", sheet]
    found = json.loads(good(kashi(*words)))
    assert found["errors"] == 1
    assert found["root"] == writer.log.root().hex()
    assert Decimal(found["projected"]) > 0
    assert Decimal(found["upper"]) >= Decimal(found["projected"])
    # A workbook says the same.
    book = openpyxl.load_workbook(folder / "sample.xlsx")
    column = [each.name for each in SHEET.columns].index("audited_value") + 1
    for number, value in enumerate(audited, 2):
        book["sample"].cell(number, column, float(value))
    book.save(tmp_path / "found.xlsx")
    assert json.loads(good(kashi(*words[:-1], tmp_path / "found.xlsx"))) == found


def sample_of(folder: Path) -> Sample:
    """Return what the rows of a folder say of their sample."""
    rows = rows_of(folder / "sample.csv")
    drawn = [
        Drawn(Item(int(row["entry"]), None, int(Decimal(row["book_value"]) * 100)), 1)
        for row in rows
    ]
    return Sample("random", len(drawn), len(drawn), 1, 1, 1, [], drawn)


def refused(result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_a_sheet_whose_book_value_was_changed_is_refused(writer, log, folder, tmp_path):
    rows = rows_of(folder / "sample.csv")
    sheet = filled(folder, tmp_path / "a.csv", ["1.00"] * len(rows), book_value="7.77")
    words = [*words_for("project", log, writer, folder), "--sheet", sheet]
    told = refused(kashi(*words))
    assert f"bad_sheet: row 2: book_value is {rows[0]['book_value']} in the ledger" in told


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "audited_value is no number: ''"),
        ("n/a", "audited_value is no number: 'n/a'"),
        ("NaN", "audited_value is no number: 'NaN'"),
        ("1e999999999999", "audited_value is no number: '1e999999999999'"),
        ("1e-999999999999", "audited_value is no number: '1e-999999999999'"),
        ("1.005", "audited_value has more than two decimals"),
        ("-0.01", "audited_value is below zero"),
    ],
)
def test_a_value_that_was_not_filled_in_is_refused(folder, tmp_path, value, said):
    count = len(rows_of(folder / "sample.csv"))
    sheet = filled(folder, tmp_path / "a.csv", [*["1.00"] * (count - 1), value])
    with pytest.raises(BadSheet, match=re.escape(f"row {count + 1}: {said}")):
        read_audited(sheet, sample_of(folder))


def test_an_entry_that_is_no_number_is_told_with_its_row(folder, tmp_path):
    count = len(rows_of(folder / "sample.csv"))
    sheet = filled(folder, tmp_path / "a.csv", ["1.00"] * count, entry="x")
    with pytest.raises(BadSheet, match=re.escape("row 2: entry is no number: 'x'")):
        read_audited(sheet, sample_of(folder))


def test_a_sheet_that_lacks_a_record_is_refused(writer, log, folder, tmp_path):
    lines = (folder / "sample.csv").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.csv").write_bytes(b"".join(lines[:-1]))
    words = [*words_for("project", log, writer, folder), "--sheet", tmp_path / "a.csv"]
    assert "not the records of this sample" in refused(kashi(*words))


def test_a_sample_of_another_log_is_refused(writer, log, folder, tmp_path):
    other = history(3)
    export = other.export(tmp_path / "log")
    told = refused(kashi(*words_for("project", export, other, folder)))
    assert "drawn from 198 entries, and this copy of the log has 40" in told
    of_other = tmp_path / "sample"
    good(kashi(*words_for("sample", export, other, of_other), "--size", 2))
    told = refused(kashi(*words_for("project", log, writer, of_other)))
    assert f"the sample is of the root {other.log.root().hex()}" in told


def test_a_sample_is_projected_while_the_log_grows(tmp_path):
    writer = Writer("2025-03-10T12:00:00+08:00")
    writer.activate(lifted())
    writer.provider()
    writer.key()
    writer.enterprise()
    writer.contract("A")
    writer.post([record(f"r{n}", "A", START, START + 3_600, n * 1_000) for n in range(1, 6)])
    exports = [writer.export(tmp_path / "then")]
    target = tmp_path / "sample"
    good(kashi(*words_for("sample", exports[0], writer, target), "--size", 2))
    drawn = rows_of(target / "sample.csv")
    writer.post(voids=[void(drawn[0]["id"])])
    exports.append(writer.export(tmp_path / "now"))
    sheet = filled(target, tmp_path / "found.csv", [row["book_value"] for row in drawn])
    said = [
        good(kashi(*words_for("project", each, writer, target), "--sheet", sheet))
        for each in exports
    ]
    assert said[0] == said[1]
    about = json.loads((target / "about.json").read_text())
    assert json.loads(said[0]) | about == json.loads(said[0])
    later = tmp_path / "later"
    good(kashi(*words_for("sample", exports[1], writer, later), "--size", 2))
    told = refused(kashi(*words_for("project", exports[0], writer, later)))
    size = writer.log.size
    assert f"drawn from {size} entries, and this copy of the log has {size - 2}" in told


def test_a_sheet_may_be_sorted_otherwise(folder, tmp_path):
    sample = sample_of(folder)
    rows = rows_of(folder / "sample.csv")
    values = [f"{number}.00" for number in range(len(rows))]
    sheet = filled(folder, tmp_path / "a.csv", values)
    head, *lines = sheet.read_bytes().splitlines(keepends=True)
    sheet.write_bytes(head + b"".join(reversed(lines)))
    assert read_audited(sheet, sample) == [100 * number for number in range(len(rows))]
    sheet.write_bytes(head + b"".join([*lines[:-1], lines[0]]))
    with pytest.raises(BadSheet, match="not the records of this sample"):
        read_audited(sheet, sample)


@pytest.mark.parametrize(
    "about", [b"", b"{}", b"[]", b'{"root":1,"period":"x","method":"y"}', b"[" * 100_000]
)
def test_a_folder_that_is_no_sample_is_told(writer, log, folder, tmp_path, about):
    bad = Path(shutil.copytree(folder, tmp_path / "bad"))
    (bad / "about.json").write_bytes(about)
    assert "does not say how the sample was drawn" in refused(
        kashi(*words_for("project", log, writer, bad))
    )


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xff\xfe\x00"])
@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_no_bytes_end_in_a_traceback(tmp_path, data, suffix):
    sheet = tmp_path / f"a.{suffix}"
    sheet.write_bytes(data)
    with pytest.raises(BadSheet):
        read_audited(sheet, units(5))


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_bytes_that_are_no_sheet_are_told(tmp_path, suffix):
    sheet = tmp_path / f"a.{suffix}"
    sheet.write_bytes(b"\xff\xfe\x00")
    said = {"csv": "is no CSV in UTF-8", "xlsx": "is no workbook with a sheet sample"}[suffix]
    with pytest.raises(BadSheet, match=said):
        read_audited(sheet, units(5))


def test_money_is_shown_in_yuan(folder):
    about = json.loads((folder / "about.json").read_text())
    values = [Decimal(row["book_value"]) for row in rows_of(folder / "sample.csv")]
    assert sum(values) <= Decimal(about["book_value"])
    assert format_money(int(Decimal(about["interval"]) * 100)) == about["interval"]


@pytest.mark.parametrize(("first", "last"), [("1900", "9000"), ("1900-01", "9000-12")])
def test_periods_are_of_the_years_1900_to_9000(first, last):
    assert Period.parse(first).starts == "1900-01-01"
    assert Period.parse(last).ends == "9001-01-01"
    for text in ("1899", "9001", "1899-12", "9001-01"):
        with pytest.raises(ValueError, match="not a year YYYY"):
            Period.parse(text)


def test_what_is_open_at_an_end_is_no_year_and_no_month():
    assert [str(Period()), str(Period("2025-01-01")), str(Period(None, "2025-01-01"))] == (
        ["all"] * 3
    )
