"""Statements by month: other sums give the same, each amount is followed to its entries.

The log is that of two and a half years of the Measures (`test_two_years`).
"""

import io
import json
import re
import shutil
from collections import defaultdict
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import openpyxl
import pypdf
import pytest
import rfc8785
from msgspec import UNSET, to_builtins

from ledger.log import Log
from ledger.tlog import Frontier, leaf_hash
from meter.values.units import format_moment, format_money
from meter.views.statement import FIGURES, Month, Subject, digest, statement
from tests import histories
from tests.books import ALPHA, BETA, lifted, opened
from tests.commands import good, kashi
from tests.meter.test_amendments import hours
from tests.meter.test_two_years import GAMMA
from tests.writer import Writer

PROVIDERS = ("pcl", "lg", "szdex", "moxing")


def words_for(writer: Writer, log: Path, target: Path, *asked: str) -> list[object]:
    return ["audit", "statement", log, target, "--vkey", writer.verifier.format(), *asked]


def made(writer: Writer, log: Path, target: Path, *asked: str) -> Path:
    """Write a statement by the command line, which says of what."""
    said = good(kashi(*words_for(writer, log, target, *asked)))
    assert said.startswith(f"{target}: ")
    root = writer.log.root().hex()
    assert (f"根哈希 {root}，哈希 " if "zh" in asked else f"root {root}, hash ") in said
    return target


@pytest.fixture(scope="module")
def corrected(writer, log, tmp_path_factory) -> dict[str, Path]:
    """The month in which a record of November is voided, in each form."""
    folder = tmp_path_factory.mktemp("statement")
    asked = ("--month", "2026-03", "--firm", ALPHA)
    return {
        form: made(writer, log, folder / f"statement.{form}", *asked, "--format", form)
        for form in ("json", "xlsx", "pdf")
    }


def of(writer: Writer, month: str, kind: Any, name: str) -> dict[str, Any]:
    """Return a statement as plain values, by the views alone."""
    return to_builtins(_statement(writer, month, Subject(kind, name)))


def _statement(writer: Any, month: str, subject: Subject) -> Any:
    numbers = [n for n, each in enumerate(writer.entries) if format_moment(each.at)[:7] == month]
    before = sum(format_moment(each.at)[:7] < month for each in writer.entries)
    stop = before + len(numbers)
    span = Month(month, before, stop, over=stop < len(writer.entries))
    booked = [(number, writer.entries[number]) for number in numbers]
    return statement(writer.state, span, subject, booked, writer.entries.__getitem__)


def months_of(writer: Any) -> list[str]:
    return sorted({format_moment(entry.at)[:7] for entry in writer.entries})


def fen(text: str) -> int:
    return int(Fraction(text) * 100)


def expected(writer: Any, month: str) -> dict[tuple[str, str], dict[str, int]]:
    """Return figures by subject from postings and fields, without the views."""
    items = {e.id: e for e in writer.entries if e.kind in ("contract", "award")}
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in writer.entries:
        if format_moment(entry.at)[:7] != month:
            continue
        for figure, value, firm, item in [*moved(entry, items), *metered(entry, items)]:
            provider = getattr(items.get(item), "provider", "")
            for subject in (("firm", firm), ("contract", item), ("provider", provider)):
                is_told = subject[0] != "provider" or figure in ("cost", "withheld", "ineligible")
                if subject[1] and is_told:
                    found[subject][figure] += value
    return found


def moved(entry: Any, items: Any) -> Any:
    """Yield figure, fen, firm and item by the accounts of postings."""
    for source, target, value in entry.postings:
        for account, other, signed in ((source, target, -value), (target, source, value)):
            (kind, *own), across = account.split(":"), other.split(":")
            if kind == "enterprise":
                yield "cost", -signed, own[0], across[1]
            elif kind == "coupon" and across[0] == "pool":
                yield "issued", signed, own[2], ""
            elif kind == "accrued":
                yield "granted", signed, across[3], own[0]
            elif kind == "claims":
                yield "claimed", -signed, items[own[0]].enterprise, own[0]
            elif kind == "paid":
                yield "paid", signed, items[own[0]].enterprise, own[0]


def metered(entry: Any, items: Any) -> Any:
    """Yield the same by the fields of an entry of a contract."""
    if not hasattr(entry, "entitled"):
        return
    firm, name = items[entry.contract].enterprise, entry.contract
    withheld = getattr(entry, "withheld_cost", UNSET)
    reasons = getattr(entry, "ineligible", UNSET)
    yield "entitled", sum(value for _, value in entry.entitled), firm, name
    yield "withheld", 0 if withheld is UNSET else withheld, firm, name
    yield "ineligible", 0 if reasons is UNSET else sum(value for _, value in reasons), firm, name


def test_each_month_of_each_subject_has_what_its_entries_book(writer):
    booked = 0
    for month in months_of(writer):
        sums = expected(writer, month)
        subjects = [("firm", each) for each in (ALPHA, BETA, GAMMA)]
        subjects += [("contract", each) for each in (*writer.state.contracts, *writer.state.awards)]
        subjects += [("provider", each) for each in PROVIDERS]
        assert sums.keys() <= set(subjects)
        for kind, name in subjects:
            totals = of(writer, month, kind, name)["totals"]
            own = sums[kind, name]
            assert {key: fen(text) for key, text in totals.items()} == {
                figure: own[figure] for figure in totals
            }, (month, kind, name)
            booked += any(own.values())
    assert booked > 40


def check_parts(found: dict[str, Any]) -> None:
    """Check that lines add up to amounts, amounts to totals, and that entries are theirs."""
    lines: dict[tuple[str, str, bool], list[dict[str, Any]]] = defaultdict(list)
    for line in found["lines"]:
        lines[line["contract"], line["service"], line["correction"]].append(line)
    assert len(lines) == len(found["amounts"])
    for amount in found["amounts"]:
        own = lines[amount["contract"], amount["service"], amount["correction"]]
        numbers = [n for first, last in amount["entries"] for n in range(first, last + 1)]
        assert numbers == [line["entry"] for line in own]
        for figure, text in amount["figures"].items():
            assert fen(text) == sum(fen(line["figures"][figure]) for line in own)
    for figure, text in found["totals"].items():
        assert fen(text) == sum(fen(each["figures"][figure]) for each in found["amounts"])
    for line in found["lines"]:
        assert found["first"] <= line["entry"] <= found["last"]


def test_each_amount_is_the_sum_of_its_entries(writer):
    for month in months_of(writer):
        for firm in (ALPHA, BETA, GAMMA):
            check_parts(of(writer, month, "firm", firm))


def test_the_months_of_a_large_ledger_add_up_to_what_is_held(monkeypatch):
    monkeypatch.setattr(histories, "STEPS", 600)
    writer = histories.history(3)
    assert len(writer.entries) > 500
    held = writer.log.book.balances
    for kind, names in (("contract", writer.state.contracts), ("firm", (ALPHA, BETA))):
        for name in names:
            totals: dict[str, int] = defaultdict(int)
            for month in months_of(writer):
                found = of(writer, month, kind, name)
                check_parts(found)
                for figure, text in found["totals"].items():
                    totals[figure] += fen(text)
            account = f"due:{name}" if kind == "contract" else f"enterprise:{name}"
            assert totals["cost"] == abs(held[account])
            contracts = [
                each
                for each in writer.state.contracts.values()
                if name in (each.registered.id, each.agreed.enterprise)
            ]
            shares = [share for each in contracts for share in each.shares.values()]
            assert totals["granted"] == sum(share.granted for share in shares)
            if kind == "contract":  # what was entitled stays with the firm of then
                assert totals["entitled"] == sum(share.entitled for share in shares)


def test_a_correction_lands_in_the_open_month_and_names_its_month_of_service(corrected):
    told = json.loads(corrected["json"].read_text())["statement"]
    (amount,) = (each for each in told["amounts"] if each["correction"])
    assert (amount["contract"], amount["service"], amount["entries"]) == (
        "A",
        "2025-11",
        [[147, 147]],
    )
    assert (amount["figures"]["cost"], amount["figures"]["granted"]) == ("-368640.00", "-85280.00")
    assert (told["month"], told["over"]) == ("2026-03", True)
    (line,) = (each for each in told["lines"] if each["entry"] == 147)
    assert (line["kind"], line["id"]) == ("void", "a-11")


def test_what_begins_in_the_month_that_books_it_is_no_correction():
    books = opened(lifted(), now="2025-03-02T12:00:00+08:00")
    books.contract("A", amount="1000.00")
    books.issue(2025, "10.00")
    days = {"feb": "2025-02-27", "both": "2025-02-28", "march": "2025-03-01"}
    books.post([hours(name, day, 1, 25 if name == "both" else 1) for name, day in days.items()])
    lines = of(books, "2025-03", "firm", ALPHA)["lines"]
    assert {each["id"]: (each["service"], each["correction"]) for each in lines} == {
        "": ("2025", False),  # the issue
        "feb": ("2025-02", True),
        "both": ("2025-02/2025-03", True),
        "march": ("2025-03", False),
    }


def test_the_hash_is_of_the_canonical_json(corrected, writer):
    told = json.loads(corrected["json"].read_text())
    assert told["hash"] == sha256(rfc8785.dumps(told["statement"])).hexdigest()
    assert (told["log"]["size"], told["log"]["root"]) == (198, writer.log.root().hex())
    assert told["checkpoint"] == writer.checkpoint()
    own = told["statement"]
    first, last = own["first"], own["last"]
    ends = (first - 1, first, last, last + 1)
    assert [format_moment(writer.entries[n].at)[:7] for n in ends] == [
        "2026-02",
        "2026-03",
        "2026-03",
        "2026-06",
    ]


def test_the_same_log_gives_the_same_bytes(writer, log, corrected, tmp_path):
    asked = ("--month", "2026-03", "--firm", ALPHA)
    for form, path in corrected.items():
        again = made(writer, log, tmp_path / f"again.{form}", *asked, "--format", form)
        assert again.read_bytes() == path.read_bytes()


def cut(writer: Writer, size: int) -> Writer:
    """Return the writer of the first entries alone."""
    twin = writer.twin()
    twin.leaves = twin.leaves[:size]
    twin.files = {number: files for number, files in twin.files.items() if number < size}
    frontier = Frontier.over(b"".join(map(leaf_hash, twin.leaves)))
    twin.log = Log(frontier, writer.log.book, writer.log.last_at)
    return twin


def test_a_month_that_is_over_has_the_same_statement_at_every_size(writer, corrected, tmp_path):
    whole = json.loads(corrected["json"].read_text())
    asked = ("--month", "2026-03", "--firm", ALPHA, "--format", "json")
    found = []
    for size in (whole["statement"]["last"], whole["statement"]["last"] + 3):
        less = cut(writer, size)
        path = made(less, less.export(tmp_path / f"{size}"), tmp_path / f"{size}.json", *asked)
        found.append(json.loads(path.read_text()))
    assert found[0]["statement"]["over"] is False
    assert found[0]["hash"] != whole["hash"]
    assert found[1]["log"]["size"] < whole["log"]["size"]
    assert found[1]["statement"] == whole["statement"]
    assert found[1]["hash"] == whole["hash"]


def test_a_workbook_has_what_the_json_has(corrected):
    told = json.loads(corrected["json"].read_text())
    own = told["statement"]
    book = openpyxl.load_workbook(corrected["xlsx"])
    about = "\n".join(row[0] for row in book["about"].values)
    said = json.loads(about)
    assert (said["hash"], said["checkpoint"]) == (told["hash"], told["checkpoint"])
    assert (said["root"], said["month"], said["name"]) == (
        told["log"]["root"],
        "2026-03",
        "甲机器人",
    )
    assert (said["first"], said["last"]) == (own["first"], own["last"])

    def text(value: object) -> object:
        return f"{value:.2f}" if isinstance(value, int | float) else value

    _, *totals = book["totals"].values
    assert {name: text(value) for name, value in totals} == own["totals"]
    for name, places in (("amounts", slice(3, 11)), ("lines", slice(7, 15))):
        head, *rows = book[name].values
        assert head[places] == FIGURES
        for row, each in zip(rows, own[name], strict=True):
            assert dict(zip(FIGURES, map(text, row[places]), strict=True)) == each["figures"]
            named = dict(zip(head, row, strict=True))
            assert (named["contract"] or "", named["service"] or "") == (
                each["contract"],
                each["service"],
            )
            assert named["correction"] == ("yes" if each["correction"] else "no")
            if name == "lines":
                assert (named["entry"], named["kind"], named["id"] or "") == (
                    each["entry"],
                    each["kind"],
                    each["id"],
                )
                assert f"{named['at']:%Y-%m-%dT%H:%M:%S}+08:00" == each["at"]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_picture_has_the_words_and_amounts_of_the_json(
    writer, log, corrected, tmp_path, language
):
    told = json.loads(corrected["json"].read_text())
    own = told["statement"]
    asked = ("--month", "2026-03", "--firm", ALPHA, "--format", "pdf", "--lang", language)
    data = made(writer, log, tmp_path / "one.pdf", *asked).read_bytes()
    assert (data == corrected["pdf"].read_bytes()) == (language == "zh")
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)
    flat = re.sub(r"\s", "", text)
    title = {"zh": "月度对账单", "en": "Statementofamonth"}[language]
    for word in (title, ALPHA, "甲机器人", told["hash"], told["log"]["root"], "2025-11", "a-11"):
        assert word in flat, word
    for line in told["checkpoint"].splitlines():
        assert re.sub(r"\s", "", line) in flat
    shown = [each.replace(",", "") for each in re.findall(r"-?[0-9,]+\.[0-9]{2}(?![0-9])", text)]
    used = [name for name in FIGURES if any(x["figures"][name] != "0.00" for x in own["lines"])]
    rows = [own["totals"], *(each["figures"] for each in (*own["amounts"], *own["lines"]))]
    assert shown == [row[name] for row in rows for name in used]
    tokens = text.split()
    money = [at for at, each in enumerate(tokens) if re.fullmatch(r"-?[0-9,]+\.[0-9]{2}", each)]
    for row, each in enumerate(own["amounts"], 1):
        count = sum(last - first + 1 for first, last in each["entries"])
        assert tokens[money[(row + 1) * len(used) - 1] + 1] == str(count)


def test_a_provider_is_told_costs_alone(writer, log, tmp_path):
    asked = ("--month", "2025-12", "--provider", "pcl", "--format", "json")
    told = json.loads(made(writer, log, tmp_path / "one.json", *asked).read_text())["statement"]
    assert told["totals"] == {"cost": "368640.00", "withheld": "0.00", "ineligible": "0.00"}
    assert [line["entry"] for line in told["lines"]] == [81]
    assert of(writer, "2026-02", "provider", "pcl")["lines"] == []  # claims of its customers
    awards = set(writer.state.awards)
    assert awards
    for month in months_of(writer):
        named = {line["contract"] for line in of(writer, month, "provider", "pcl")["lines"]}
        assert not awards & named
    book = tmp_path / "one.xlsx"
    made(writer, log, book, *asked[:-1], "xlsx")
    _, *totals = openpyxl.load_workbook(book)["totals"].values
    assert [name for name, _ in totals] == ["cost", "withheld", "ineligible"]
    made(writer, log, tmp_path / "one.pdf", *asked[:-1], "pdf")


@pytest.mark.parametrize("form", ["json", "pdf", "xlsx"])
def test_a_month_without_entries_is_empty(writer, log, tmp_path, form):
    asked = ("--month", "2031-01", "--contract", "A", "--format")
    told = json.loads(made(writer, log, tmp_path / "one", *asked, "json").read_text())["statement"]
    assert (told["over"], told["amounts"], told["lines"]) == (False, [], [])
    assert "first" not in told
    made(writer, log, tmp_path / f"one.{form}", *asked, form)


def test_usage_of_two_months_names_both_and_another_contract_no_record_of_it():
    books = opened(lifted(), now="2025-03-02T12:00:00+08:00")
    for name in ("A", "B"):
        books.contract(name, amount="1000.00")
    books.issue(2025, "100.00")
    books.post([hours("a", "2025-02-28", 64, 25), hours("b", "2025-03-01", 64, contract="B")])
    books.void("a")
    found = of(books, "2025-03", "contract", "A")
    assert {each["service"] for each in found["lines"]} == {"2025-02/2025-03"}
    (moved,) = (
        each for each in of(books, "2025-03", "contract", "B")["lines"] if each["kind"] == "void"
    )
    assert (moved["id"], moved["service"], moved["figures"]["granted"]) == ("", "2025", "100.00")


def test_a_contract_that_becomes_another_firms_takes_cost_and_grant_along():
    books = opened(lifted(), now="2025-03-02T12:00:00+08:00")
    books.contract("A", amount="1000.00")
    books.enterprise(BETA, founded_on="2024-06-01")  # a startup: 60 % instead of 50 %
    books.issue(2025, "200.00")
    books.post([hours("a", "2025-03-01", 64)])
    books.at("2025-04-02T12:00:00+08:00")
    books.correct("A", enterprise=BETA)
    found = of(books, "2025-04", "firm", ALPHA)
    (left,) = (each for each in found["amounts"] if not each["service"])
    assert (left["figures"]["cost"], left["correction"]) == ("-288.00", True)
    totals = found["totals"]
    assert (totals["cost"], totals["granted"]) == ("-288.00", "-144.00")
    joined = of(books, "2025-04", "firm", BETA)["totals"]
    assert (totals["entitled"], joined["entitled"]) == ("0.00", "28.80")
    assert (joined["cost"], joined["granted"]) == ("288.00", "0.00")


def test_a_contract_has_the_number_of_the_end_of_the_month():
    books = opened(lifted(), now="2025-03-02T12:00:00+08:00")
    books.contract("A", contract_no="HT-1")
    books.at("2025-04-02T12:00:00+08:00")
    books.correct("A", contract_no="HT-2")
    months = ("2025-02", "2025-03", "2025-04")
    names = [of(books, month, "contract", "A")["subject"]["name"] for month in months]
    assert names == ["HT-1", "HT-1", "HT-2"]


def test_a_digest_changes_with_every_fen(writer):
    found = _statement(writer, "2026-03", Subject("firm", ALPHA))
    totals = to_builtins(found.totals)
    seen = {digest(found)}
    for figure in totals:
        changed = to_builtins(found)
        changed["totals"][figure] = format_money(fen(totals[figure]) + 1)
        seen.add(sha256(rfc8785.dumps(changed)).hexdigest())
    assert len(seen) == len(totals) + 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--month", "2025", "--firm", ALPHA), "not a month"),
        (("--month", "2025-13", "--firm", ALPHA), "not a year"),
        (("--month", "2025-03", "--firm", "nobody"), "unknown_enterprise"),
        (("--month", "2025-03", "--contract", "none"), "unknown_contract"),
        (("--month", "2025-03", "--provider", "none"), "unknown_provider"),
        (("--month", "2025-03"), "name one of"),
        (("--month", "2025-03", "--firm", ALPHA, "--contract", "A"), "name one of"),
    ],
)
def test_what_cannot_be_stated_is_told(writer, log, tmp_path, asked, said):
    target = tmp_path / "one.json"
    result = kashi(*words_for(writer, log, target, *asked, "--format", "json"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not target.exists()


def test_a_statement_replaces_nothing(writer, log, corrected):
    asked = ("--month", "2026-03", "--firm", ALPHA, "--format", "json")
    result = kashi(*words_for(writer, log, corrected["json"], *asked))
    assert (result.exit_code, "bad_target" in result.stderr) == (2, True)


def test_nothing_is_stated_of_a_log_that_is_violated(writer, log, tmp_path):
    bad = shutil.copytree(log, tmp_path / "bad")
    (tile,) = (bad / "tile" / "entries").glob("*.p/*")
    data = bytearray(tile.read_bytes())
    data[len(data) // 2] ^= 1
    tile.write_bytes(data)
    asked = ("--month", "2026-03", "--firm", ALPHA, "--format", "json")
    result = kashi(*words_for(writer, bad, tmp_path / "one.json", *asked))
    assert (result.exit_code, "VIOLATED" in result.stdout) == (1, True)
    assert not (tmp_path / "one.json").exists()
