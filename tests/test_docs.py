"""The docs are true: their examples run, and each page names the code that it describes."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

from meter.rules.kinds.kind import Kind
from meter.rules.kinds.table import KINDS

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
LEDGER = REPOSITORY / "ledger/README.md"
CHINESE = sorted((DOCS / "zh").glob("*.md"))
PAGES = [*sorted(DOCS.glob("*.md")), *CHINESE, LEDGER]
RECORDS = sorted((DOCS / "adr").glob("*.md"))
OTHERS = [REPOSITORY / name for name in ("SECURITY.md", "tests/vectors/README.md")]
FIRST = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_give_what_it_shows(page):
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.failed == 0


def test_the_example_of_the_ledger_takes_twenty_lines():
    assert len(re.findall(r"^(>>>|\.\.\.) ", LEDGER.read_text(), re.MULTILINE)) <= 20


def test_each_chinese_page_shows_an_example_and_the_pages_are_those_of_each_reader():
    assert [page.stem for page in CHINESE] == ["auditors", "enterprises", "providers"]
    for page in CHINESE:
        assert ">>> " in page.read_text(encoding="utf-8"), page


def test_pages_with_python_are_really_run():
    assert sum(page.read_text().count(">>> ") for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_names_the_code_it_describes(page):
    assert re.search(r"`(meter|ledger)/[a-z_/]+\.py`", page.read_text())


@pytest.mark.parametrize("page", [*PAGES, *FIRST, *OTHERS], ids=lambda page: page.stem)
def test_the_files_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:meter|ledger|tests|deploy)/[\w/.-]+\.\w+)`", page.read_text())
    assert [name for name in named if not (REPOSITORY / name).is_file()] == []


def test_each_kind_of_entry_stands_beside_its_file():
    _, text = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Kinds of entries")
    told = {
        file: sorted(re.findall(r"`(\w+)`", kinds))
        for file, kinds in re.findall(r"^\| `(\w+)\.py` \| (.+) \|$", text, re.MULTILINE)
    }
    assert told == {
        file: sorted(each.name for each in vars(module).values() if isinstance(each, Kind))
        for file in told
        for module in [import_module(f"meter.rules.kinds.{file}")]
    }
    assert sum(map(len, told.values())) == len(KINDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_each_decision_tells_its_reason_and_its_bad_consequences(record):
    text = record.read_text()
    assert re.match(rf"# {int(record.stem[:4])}\. ", text)
    for heading in ("**Decision.**", "**Why.**", "**Bad consequences.**"):
        assert heading in text


@pytest.mark.parametrize("page", [*PAGES, *RECORDS, *OTHERS], ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_glossary_has_each_term_once_in_order_in_both_languages_and_says_where():
    groups = (DOCS / "glossary.md").read_text(encoding="utf-8").split("\n## ")[1:]
    terms = []
    for group in groups:
        rows = [line.strip("| ").split(" | ") for line in group.splitlines() if line[:2] == "| "]
        assert rows[0] == ["term", "中文", "meaning", "where"]
        assert all(len(row) == 4 for row in rows)
        assert [row for row in rows[1:] if not re.search(r"[\u4e00-\u9fff]", row[1])] == []
        assert [row for row in rows[1:] if not row[2].endswith(".")] == []
        names = [row[0].strip("`.").lower() for row in rows[1:]]
        assert names == sorted(names)
        terms += names
    assert len(terms) == len(set(terms)) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_leads_to_the_glossary(page):
    assert page.stem == "glossary" or "glossary.md)" in page.read_text()
