"""Two periods or sizes told apart: figures that other sums give too, and the entries behind them.

The log is that of two and a half years of the Measures (`test_two_years`); figures of 2025 and 2026
follow from its story.
"""

import json
import shutil
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from meter.values.units import format_moment, format_money
from meter.views.movements import movements
from tests import histories
from tests.books import ALPHA, BETA, lifted, opened
from tests.commands import good, kashi
from tests.meter.test_amendments import hours
from tests.writer import Writer

FIGURES = {"accrued": 1, "claims": -1, "paid": 1, "enterprise": -1}
NAMES = {"accrued": "granted", "claims": "claimed", "paid": "paid", "enterprise": "cost"}


def words_for(log: Path, writer: Writer, a: object, b: object, *more: object) -> list[object]:
    return ["audit", "compare", a, b, log, *more, "--vkey", writer.verifier.format()]


def compared(log: Path, writer: Writer, a: object, b: object, *more: object) -> Any:
    """Compare by the command line, and return the JSON that it wrote."""
    target = log.parent / f"compared-{a}-{b}-{len(more)}"
    if not target.exists():
        good(kashi(*words_for(log, writer, a, b, target, *more)))
    return json.loads((target / "comparison.json").read_text())


def figures(found: Any) -> dict[tuple[str, str, str], tuple[str, str]]:
    return {
        (each["by"], each["name"], each["figure"]): (each["a"], each["b"])
        for each in found["figures"]
    }


def sums(writer: Writer, has) -> dict[tuple[str, str, str], int]:
    """Return figures by item and firm from what accounts move, without the views."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    items = {
        each.id: each.enterprise for each in writer.entries if each.kind in ("contract", "award")
    }
    for number, entry in enumerate(writer.entries):
        if not has(number, entry):
            continue
        for source, target, fen in entry.postings:
            for account, signed in ((source, -fen), (target, fen)):
                kind, owner, *_ = account.split(":")
                if kind not in FIGURES:
                    continue
                value = FIGURES[kind] * signed
                found["all", "all", NAMES[kind]] += value
                firm = owner if kind == "enterprise" else items[owner]
                found["firm", firm, NAMES[kind]] += value
                if kind != "enterprise":
                    found["contract", owner, NAMES[kind]] += value
    return found


def in_time(text: str) -> Any:
    return lambda _, entry: format_moment(entry.at).startswith(text)


def below(size: int) -> Any:
    return lambda number, _: number < size


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        (("2025", "2026"), (in_time("2025"), in_time("2026"))),
        (("2026-02", "2026"), (in_time("2026-02"), in_time("2026"))),
        ((150, 181, "--sizes"), (below(150), below(181))),
        ((198, 60, "--sizes"), (below(198), below(60))),
    ],
)
def test_both_sides_have_what_the_accounts_moved(log, writer, asked, has):
    found = figures(compared(log, writer, *asked))
    sides = [sums(writer, each) for each in has]
    keys = sides[0].keys() | sides[1].keys()
    assert len(keys) > 30
    told = {key for key in found if key[0] in ("all", "firm", "contract") and key[2] != "issued"}
    assert {key for key in told if key[2] != "cost" or key[0] != "contract"} == keys
    for key in keys:
        assert found[key] == tuple(format_money(side[key]) for side in sides), key


def test_the_figures_of_two_years_are_those_of_the_story(log, writer):
    found = figures(compared(log, writer, "2025", "2026"))
    assert found["contract", "S", "granted"] == ("248832.00", "0.00")
    assert found["contract", "A", "paid"] == ("0.00", "414720.00")  # 500,000.00 less 85,280.00 back
    assert found["programme", "corpus-coupon", "cost"] == ("3500000.00", "0.00")
    assert found["firm", ALPHA, "issued"] == ("2600000.00", "314720.00")
    assert found["provider", "szdex", "granted"] == ("900000.00", "0.00")


def test_the_parts_add_up_to_all(log, writer):
    found = figures(compared(log, writer, 150, 181, "--sizes"))
    for figure in ("cost", "issued", "granted", "claimed", "paid"):
        for side in (0, 1):
            whole = Fraction(found["all", "all", figure][side])
            for by in ("programme", "firm", "contract"):
                parts = [
                    Fraction(pair[side])
                    for key, pair in found.items()
                    if (key[0], key[2]) == (by, figure)
                ]
                assert sum(parts) == (0 if (by, figure) == ("contract", "issued") else whole)


@pytest.mark.parametrize(("a", "b", "options"), [("2025", "2026", ()), (150, 181, ("--sizes",))])
def test_the_entries_of_a_difference_make_it(log, writer, a, b, options):
    found = compared(log, writer, a, b, *options)
    first = range(found["a"]["first"], found["a"]["last"] + 1)
    for each in found["figures"]:
        difference = 0
        numbers = [n for one, last in each["entries"] for n in range(one, last + 1)]
        assert numbers == sorted(set(numbers))
        for number in numbers:
            sign = -1 if number in first else 1
            for moved in movements(writer.state, number, writer.entries[number]):
                names = {"all": "all", "programme": moved.programme, "firm": moved.enterprise}
                names |= {"contract": moved.item, "provider": moved.provider}
                if (names[each["by"]], moved.figure) == (each["name"], each["figure"]):
                    difference += sign * moved.fen
        assert each["difference"] == format_money(difference)


def test_a_workbook_has_the_same_figures_and_what_makes_them_and_always_the_same_bytes(
    log, writer, tmp_path
):
    for name in ("one", "two"):
        good(kashi(*words_for(log, writer, "2025", "2026", tmp_path / name)))
    one, two = ((tmp_path / name / "comparison.xlsx").read_bytes() for name in ("one", "two"))
    assert one == two
    text = (tmp_path / "one" / "comparison.json").read_text()
    found = json.loads(text)
    assert text == json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    book = openpyxl.load_workbook(tmp_path / "one" / "comparison.xlsx")
    asked = found["log"] | {side: found[side]["asked"] for side in "ab"}
    about = [row[0] for row in book["about"].values]
    assert about == json.dumps(asked, indent=2).splitlines()
    _, *rows = book["differences"].values
    told = [(*row[:3], *(f"{value:.2f}" for value in row[3:6])) for row in rows]
    assert told == [
        tuple(each[name] for name in ("by", "name", "figure", "a", "b", "difference"))
        for each in found["figures"]
    ]
    _, *moved = book["movements"].values
    for each in found["figures"]:
        if each["by"] == "contract":
            own = [row for row in moved if (row[4], row[7]) == (each["figure"], each["name"])]
            signed = sum(round(row[10] * 100) * (1 if row[0] == "b" else -1) for row in own)
            assert each["difference"] == format_money(signed)
            assert {row[1] for row in own} == {
                n for one, last in each["entries"] for n in range(one, last + 1)
            }


def test_what_is_printed_is_what_differs(log, writer):
    said = good(kashi(*words_for(log, writer, 150, 181, "--sizes"))).splitlines()
    found = compared(log, writer, 150, 181, "--sizes")
    differing = [each for each in found["figures"] if each["difference"] != "0.00"]
    assert said[0].endswith(f"198 entries, root {writer.log.root().hex()}")
    assert said[1:3] == ["150: entries 0 to 149", "181: entries 0 to 180"]
    assert [line.split()[:6] for line in said[4:-1]] == [
        [each[name] for name in ("by", "name", "figure", "a", "b", "difference")]
        for each in differing
    ]
    same = len(found["figures"]) - len(differing)
    assert said[-1] == f"{len(differing)} figures differ, {same} are the same"
    assert len(differing) > 30
    assert same > 30


def test_a_time_without_entries_has_none(log, writer):
    said = good(kashi(*words_for(log, writer, "2025-03", "2031"))).splitlines()
    assert said[2] == "2031: no entries"


def test_what_moved_until_a_size_is_what_is_held_then(tmp_path, monkeypatch):
    monkeypatch.setattr(histories, "STEPS", 600)
    writer = histories.history(3)
    log = writer.export(tmp_path / "log")
    size = writer.log.size
    assert size > 500
    found = compared(log, writer, 1, size, "--sizes")
    held = writer.log.book.balances
    granted = sum(fen for name, fen in held.items() if name.startswith("accrued:"))
    cost = sum(fen for name, fen in held.items() if name.startswith("due:"))
    assert granted > 0
    assert figures(found)["all", "all", "granted"] == ("0.00", format_money(granted))
    assert figures(found)["all", "all", "cost"] == ("0.00", format_money(cost))
    halves = [
        figures(compared(log, writer, *pair, "--sizes"))
        for pair in ((1, size // 2), (size // 2, size))
    ]
    for key, (_, last) in figures(found).items():
        assert halves[1][key][1] == last
        assert halves[1][key][0] == halves[0].get(key, ("", "0.00"))[1]


def test_a_cost_and_a_grant_go_with_a_contract_that_becomes_another_firms():
    books = opened(lifted(), now="2025-03-02T12:00:00+08:00")
    books.contract("A", amount="1000.00")
    books.enterprise(BETA)
    books.issue(2025, "200.00")
    books.contract("C", enterprise=BETA, amount="1000.00")
    books.issue(2025, "100.00", BETA)
    books.post([hours("a", "2025-03-01", 64)])
    number = books.correct("A", enterprise=BETA)
    moved = {
        (each.figure, each.enterprise, each.item): each.fen
        for each in movements(books.state, number, books.entries[number])
    }
    assert moved == {
        ("cost", ALPHA, "A"): -288_00,
        ("cost", BETA, "A"): 288_00,
        ("granted", ALPHA, "A"): -144_00,
        ("granted", BETA, "A"): 100_00,
    }


@pytest.mark.parametrize(
    "words",
    [
        ("2025", "03"),
        ("2025-13", "2026"),
        ("0", "5", "--sizes"),
        ("5", "199", "--sizes"),
        ("5", "2025-03", "--sizes"),
        ("x", "5", "--sizes"),
    ],
)
def test_what_is_no_period_or_size_is_told(log, writer, words):
    result = kashi(*words_for(log, writer, *words))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("could not compare: ")


def test_nothing_is_compared_of_a_log_that_is_violated(writer, log, tmp_path):
    bad = shutil.copytree(log, tmp_path / "bad")
    (tile,) = (bad / "tile" / "entries").glob("*.p/*")
    data = bytearray(tile.read_bytes())
    data[len(data) // 2] ^= 1
    tile.write_bytes(data)
    result = kashi(*words_for(bad, writer, "2025", "2026", tmp_path / "out"))
    assert result.exit_code == 1
    assert "VIOLATED" in result.stdout
    assert not (tmp_path / "out").exists()
