"""How the pages of a report look: what is drawn where, held against `report_page.txt`.

Where another look is meant, remove that file: the test that fails then writes it anew. Look at it.
"""

import io
import re
from pathlib import Path

import pypdf

from meter.auditor.papers.pdf import ROWS_OF_PART, draw, tables_of
from meter.auditor.papers.report import FIGURES
from meter.auditor.papers.report_pdf import picture

PAGE = Path(__file__).with_name("report_page.txt")
NAMES = {"title": "A table", "author": "kashi", "foot": "foot"}
PAYLOAD = {
    "language": "en",
    "auditor": "An auditor",
    "made_at": "2026-01-01T00:00:00+08:00",
    "log": {"origin": "kashi.test/books", "size": 12_345, "root": "ab" * 32, "program": "kashi 0"},
    "signatures": [{"name": "kashi.test/books", "key_id": "01020304"}],
    "checks": [{"name": "sums", "count": 1_000}, {"name": "postings", "count": 20}],
    "totals": [
        {"programme": "training-coupon", "year": year} | dict.fromkeys(FIGURES, figure)
        for year, figure in ((2025, "12345.60"), (2026, "0.10"))
    ],
    "rules": [
        {
            "name": name,
            "meaning": "What this rule looks for, in words that need two lines of their cell.",
            "threshold": 3,
            "unit": unit,
            "source": "a standard",
        }
        for name, unit in (("late_void", "days"), ("two_persons", ""))
    ],
    "exceptions": [
        {"rule": "late_void", "subject": f"record {number}", "detail": "late", "entries": [1, 2]}
        for number in range(40)
    ],
    "questions": [
        {
            "kind": "moved",
            "provider": "pcl",
            "contracts": ["A", "B"],
            "count": 1,
            "entries": [3],
        }
    ],
    "gaps": [],
}


def test_a_report_is_drawn_as_it_was_looked_at():
    pages = pypdf.PdfReader(io.BytesIO(picture(PAYLOAD))).pages
    drawn = "\n".join(
        f"page {page.mediabox}\n{page.get_contents().get_data().decode('latin-1')}"
        for page in pages
    )
    if not PAGE.exists():
        PAGE.write_text(drawn, encoding="utf-8")
        raise AssertionError(f"{PAGE.name} was written: look at it")
    assert drawn == PAGE.read_text(encoding="utf-8")


def test_each_cell_of_a_table_begins_at_the_top_of_its_row():
    head, rows = ["short", "topmost " * 9], [["highest " * 9, "brief"]]
    drawn = draw(tables_of(head, rows, [], [80, 80]), **NAMES)
    page = pypdf.PdfReader(io.BytesIO(drawn)).pages[0]
    tops: dict[str, float] = {}

    def note(text: str, box: list[float], line: list[float], *_: object) -> None:
        if text.strip():
            tops.setdefault(text.split(maxsplit=1)[0], box[5] + line[5])

    page.extract_text(visitor_text=note)
    assert tops["short"] == tops["topmost"] > tops["highest"] == tops["brief"] > tops["foot"]


def test_a_long_table_has_each_row_once_and_a_head_on_each_page():
    count = 2 * ROWS_OF_PART + 1
    parts = list(tables_of(["head"], ([f"row{n}."] for n in range(count)), [0]))
    assert len(parts) == 3
    pages = [
        page.extract_text() for page in pypdf.PdfReader(io.BytesIO(draw(parts, **NAMES))).pages
    ]
    assert re.findall(r"row(\d+)\.", "".join(pages)) == [str(number) for number in range(count)]
    assert all("head" in page for page in pages)
    assert len(pages) > 10


def test_a_question_is_told_in_the_reports_language():
    def words(language: str) -> str:
        pages = pypdf.PdfReader(io.BytesIO(picture(PAYLOAD | {"language": language}))).pages
        return "".join("".join(page.extract_text() for page in pages).split())

    meaning = "voided, and posted again under another contract or year (moved)"
    assert "".join(meaning.split()) in words("en")
    assert "(moved)" in words("zh")
    assert "voided" not in words("zh")


def test_a_report_of_one_total_is_drawn_and_one_of_none_says_so():
    def words(count: int) -> list[str]:
        data = picture(PAYLOAD | {"totals": PAYLOAD["totals"][:count]})
        pages = pypdf.PdfReader(io.BytesIO(data)).pages
        return "\n".join(page.extract_text() for page in pages).split()

    two, one, none = map(words, (2, 1, 0))
    assert ["12,345.60" in each for each in (two, one, none)] == [True, True, False]
    assert [each.count("None") for each in (two, one, none)] == [1, 1, 2]
