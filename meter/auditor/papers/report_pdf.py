"""The picture of a report as PDF, A4, in Chinese or English; it is made from the payload alone."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, Spacer

from meter.auditor.papers.pdf import HEADING, TEXT, TITLE, draw, tables_of
from meter.auditor.papers.report_words import WORDS
from meter.languages import Speech
from meter.views.flags import MEANINGS


def picture(report: dict[str, Any]) -> bytes:
    """Return the PDF of a payload that was decoded."""
    words = {name: str(text) for name, text in WORDS[report["language"]].items()}
    foot = f"{report['log']['origin']}  {report['log']['size']}  {report['log']['root']}"
    story = _story(report, words, Speech(report["language"]))
    return draw(story, title=words["title"], author=report["auditor"], foot=foot)


def _story(report: dict[str, Any], words: dict[str, str], speech: Speech) -> Iterator[Flowable]:
    log = report["log"]
    yield Paragraph(escape(words["title"]), TITLE)
    for name, value in (
        ("auditor", report["auditor"]),
        ("made_at", report["made_at"]),
        ("log", log["origin"]),
        ("size", f"{log['size']:,}"),
        ("root", log["root"]),
        ("program", log["program"]),
    ):
        yield Paragraph(f"{escape(words[name])}: {escape(str(value))}", TEXT)
    yield Paragraph(escape(words["good"]), TEXT)
    yield from _section(words, "signatures", ("name", "key_id"), report["signatures"])
    checks = [
        {"check": speech.say(each["name"]), "count": f"{each['count']:,}"}
        for each in report["checks"]
    ]
    yield from _section(words, "checks", ("check", "count"), checks, right=(1,))
    columns = tuple(report["totals"][0]) if report["totals"] else ("programme",)
    right = tuple(range(1, len(columns)))
    yield from _section(words, "totals", columns, map(_total, report["totals"]), right=right)
    of_rules = ("rule", "meaning", "threshold", "source")
    yield from _section(words, "rules", of_rules, map(_rule, report["rules"]))
    found = ("rule", "subject", "detail", "entries")
    yield from _section(words, "exceptions", found, report["exceptions"])
    asked = ("question", "provider", "contracts", "count", "entries")
    questions = (_question(each, speech) for each in report["questions"])
    yield from _section(words, "questions", asked, questions)
    yield from _section(words, "gaps", ("provider", "stream", "first", "last"), report["gaps"])


def _total(total: dict[str, Any]) -> dict[str, str]:
    """Return yuan with commas between thousands."""
    named = {name: str(total[name]) for name in ("programme", "year")}
    return named | {name: f"{Decimal(total[name]):,}" for name in total if name not in named}


def _rule(rule: dict[str, Any]) -> dict[str, str]:
    threshold = f"{rule['threshold']} {rule['unit']}" if rule["unit"] else "—"
    return {
        "rule": rule["name"],
        "meaning": rule["meaning"],
        "threshold": threshold,
        "source": rule["source"],
    }


def _question(question: dict[str, Any], speech: Speech) -> dict[str, Any]:
    kind = question["kind"]
    told = {"kind": f"{speech.say(MEANINGS[kind])} ({kind})"}
    return question | told | {"contracts": ", ".join(question["contracts"])}


def _section(
    words: dict[str, str],
    heading: str,
    columns: Sequence[str],
    rows: Iterable[dict[str, Any]],
    right: Sequence[int] = (),
) -> Iterator[Flowable]:
    """Yield a heading and a table, or the word for none."""
    yield Paragraph(escape(words[heading]), HEADING)
    cells = [[_text(value) for value in row.values()] for row in rows]
    if not cells:
        yield Paragraph(escape(words["none"]), TEXT)
        return
    yield from tables_of([words[name] for name in columns], cells, right)
    yield Spacer(1, 2 * mm)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
