"""The fault harness in short: each fault once or twice, and planted faults that it must find.

`make faults` does the same hundreds of times; docs/reliability.md shows its results.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from meter.values.units import parse_instant
from meter.wire.batch import Batch
from tests.books import ORIGIN, record
from tests.conftest import memory_folder
from tests.faults import page
from tests.faults.catalogue import (
    FAULTS,
    FAULTS_OF_FRONTS,
    ON_ITS_OWN,
    WITH_FRONTS,
    Fault,
    cut_connection,
)
from tests.faults.checker import Export, Findings, Totals, check_export, judge
from tests.faults.clients import Evidence, Kept
from tests.faults.load import Command, Load, Post, taken
from tests.faults.page import Row
from tests.faults.processes import CannotInject
from tests.faults.proxy import Cut
from tests.faults.stage import staged
from tests.writer import Writer

TOGETHER = [fault for fault in FAULTS if fault.ground == ON_ITS_OWN]
APART = [fault for fault in FAULTS if fault.ground != ON_ITS_OWN]
KILLS = ("kill-service", "kill-postgres", "kill-both", "stop-postgres")
SHORT_TIMES = {"kill-embedded": 3, "disk-full": 1, "clock-jumps": 3, "all-clocks-jump": 3}


@pytest.fixture
def folder():
    with memory_folder() as folder:
        yield folder


def needs(fault: Fault) -> None:
    try:
        fault.check_possible()
    except CannotInject as reason:
        pytest.skip(str(reason))


# The service


@pytest.mark.long
async def test_one_ledger_bears_all_faults_one_after_another(folder):
    async with staged(ON_ITS_OWN, 0, folder) as stage:
        for fault in TOGETHER:
            for number in range(2 if fault.name in KILLS else 1):
                await fault.perform(stage, number)
        assert list(await stage.check()) == []
    assert stage.evidence.unavailable + stage.evidence.unanswered > 0
    assert stage.evidence.count > 84 * len(TOGETHER)


@pytest.mark.long
async def test_one_ledger_of_a_service_with_fronts_bears_all_its_faults(folder):
    async with staged(WITH_FRONTS, 0, folder) as stage:
        for fault in FAULTS_OF_FRONTS:
            await fault.perform(stage, 0)
        assert list(await stage.check()) == []
    assert stage.evidence.count > 84 * len(FAULTS_OF_FRONTS)


@pytest.mark.long
@pytest.mark.parametrize("fault", APART, ids=lambda fault: fault.name)
async def test_nothing_is_lost_doubled_or_wrong_after(fault, folder):
    needs(fault)
    async with staged(fault.ground, 0, folder) as stage:
        for number in range(SHORT_TIMES[fault.name]):
            await fault.perform(stage, number)
        assert list(await stage.check()) == []


async def test_a_database_that_confirms_and_forgets_is_found(folder):
    async with staged(ON_ITS_OWN, 0, folder) as stage:
        await cut_connection(Cut.FORGET)(stage, 0)
        assert stage.found.lost
        out = await stage.export()
        found, _ = await check_export(
            out, stage.data.log_vkey, stage.evidence, stage.load.device_time()
        )
    assert found.lost
    assert any("batch_left_out" in text for text in found.wrong)


# The load


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (taken(Load(seed).actors, 40) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    posts = [step for part in first for step in part if isinstance(step, Post)]
    assert sum(len(post.batch.voids) for post in posts) > 20
    assert len({post.id for post in posts}) == len(posts)


def test_the_load_does_not_report_the_future():
    load = Load(0)
    for part in taken(load.actors, 500):
        for post in (step for step in part if isinstance(step, Post)):
            for each in post.batch.records:
                assert each.end < parse_instant("2026-01-12T00:00:00+08:00")


# The checker, by planted faults


@pytest.fixture
def told(tmp_path) -> tuple[Export, Evidence]:
    """Return an honest ledger of three batches, and the answers to its clients."""
    writer = Writer()
    writer.activate()
    writer.provider()
    writer.key()
    writer.enterprise()
    writer.contract()
    issue = writer.issue(2025, "500000.00")
    evidence = Evidence()
    for seq in (1, 2, 3):
        hours = f"2025-03-01T0{seq}:00:00+08:00", f"2025-03-01T0{seq + 1}:00:00+08:00"
        writer.post([record(f"r{seq}", "A", *hours, 8_000, run="job")], seq=seq)
        batch = Batch(log=ORIGIN, provider="pcl", stream="main", seq=seq)
        kept = Kept(Post(b"", batch), writer.receipts[-1], writer.signatures[-1])
        evidence.receipts[kept.post.id] = kept
    request = writer.entries[issue].request
    evidence.answers[request] = Command("/v1/coupons", {}, request), {"entry": issue}
    writer.export(tmp_path / "out")
    return Export.read(tmp_path / "out"), evidence


def test_an_honest_ledger_is_good(told):
    assert list(judge(*told)) == []


BATCH_2 = ("pcl", "main", 2)


def without_batch(export: Export, _: Evidence) -> None:
    del export.batches[BATCH_2]


def without_record(export: Export, _: Evidence) -> None:
    export.entries[export.records["pcl", "r2"][0]]["id"] = "r9"


def cut_short(export: Export, _: Evidence) -> None:
    del export.entries[export.batches[BATCH_2][0] :]


def without_command(export: Export, evidence: Evidence) -> None:
    (command, _), *_ = evidence.answers.values()
    del export.requests[command.key]


def batch_twice(export: Export, _: Evidence) -> None:
    export.batches[BATCH_2].append(99)


def record_twice(export: Export, _: Evidence) -> None:
    export.records["pcl", "r2"].append(99)


def command_twice(export: Export, evidence: Evidence) -> None:
    (command, _), *_ = evidence.answers.values()
    export.requests[command.key].append(99)


def another_receipt(_: Export, evidence: Evidence) -> None:
    kept = evidence.receipts[BATCH_2]
    body = kept.body.replace(b'"18.00"', b'"18.01"')
    assert body != kept.body
    evidence.receipts[BATCH_2] = replace(kept, body=body)


def another_signature(_: Export, evidence: Evidence) -> None:
    evidence.receipts[BATCH_2] = replace(evidence.receipts[BATCH_2], signature="no")


def a_fen_more(export: Export, _: Evidence) -> None:
    entry = export.entries[export.records["pcl", "r2"][0]]
    entry["postings"][-1][-1] += 1


def two_answers(_: Export, evidence: Evidence) -> None:
    evidence.complaints.append("a client was answered in two ways")


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("lost", without_batch),
        ("lost", without_record),
        ("lost", cut_short),
        ("lost", without_command),
        ("doubled", batch_twice),
        ("doubled", record_twice),
        ("doubled", command_twice),
        ("wrong", another_receipt),
        ("wrong", another_signature),
        ("wrong", a_fen_more),
        ("wrong", two_answers),
    ],
)
def test_a_planted_fault_is_found(
    kind: str, plant: Callable[[Export, Evidence], None], told: tuple[Export, Evidence]
):
    plant(*told)
    found = list(judge(*told))
    assert found
    assert all(text.startswith(f"{kind}: ") for text in found)


def test_sums_that_differ_from_those_without_faults_are_named(told):
    totals = told[0].totals()
    assert totals.differences(totals) == []
    assert totals.accounts["due:A"] == 3 * 36_00
    moved = Totals(dict(totals.accounts, **{"due:A": 1}), totals.records)
    assert moved.differences(totals) == ["due:A is 1, without faults 10800"]
    fewer = Totals(totals.accounts, {})
    assert len(fewer.differences(totals)) == 3


def test_findings_are_counted_once():
    found = Findings(lost=["a"])
    found += Findings(lost=["a", "b"], wrong=["c"])
    assert list(found) == ["lost: a", "lost: b", "wrong: c"]


# The page


def rows_of(text: str) -> dict[str, list[str]]:
    """Read the table between the markers; returns the cells by the title of their row."""
    between = text.partition(page.BEGIN)[2].partition(page.END)[0]
    lines = [line for line in between.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {title: rest for title, *rest in cells}


def test_the_page_has_a_dated_row_for_each_fault_and_nothing_was_lost():
    text = page.PAGE.read_text(encoding="utf-8")
    rows = rows_of(text)
    assert rows.keys() == {fault.title for fault in FAULTS}
    for title, (times, responses, *counts, _) in rows.items():
        assert counts == ["0", "0", "0"], title
        assert int(times) > 0
        assert int(responses.replace(",", "")) > 0
    assert re.search(r"on 20\d\d-\d\d-\d\d\.", text.partition(page.BEGIN)[2])


def test_the_readme_shows_ten_rows_of_the_page_as_they_are():
    lines = page.PAGE.read_text(encoding="utf-8").splitlines()
    readme = page.README.read_text(encoding="utf-8")
    shown = readme.partition(page.BEGIN)[2].partition(page.END)[0].splitlines()
    assert [line for line in shown if line not in lines] == []
    assert len(rows_of(readme)) == 10


def test_a_run_writes_only_the_rows_that_a_page_shows():
    rows = [Row(title, 3, 1_284, 0, 0, 0, 0.5) for title in ("disk", "disk full", "clock")]
    text = f"{page.BEGIN}\n| fault | times |\n| disk full | 1 |\n{page.END}\n| clock | 2 |\n"
    written = page.put(text, page.table(page.rows_shown(text, rows), date(2026, 11, 24)))
    assert rows_of(written) == {"disk full": ["3", "1,284", "0", "0", "0", "0.5"]}


def test_the_whole_run_kills_two_hundred_times():
    assert sum(fault.times for fault in FAULTS if fault.name in {*KILLS, "kill-embedded"}) >= 200


def test_the_table_goes_between_the_markers_and_nowhere_else():
    row = Row("a fault", 3, 1_284, 0, 0, 1, 0.52)
    table = page.table([row], date(2026, 11, 24))
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    written = page.put(text, table)
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert rows_of(written) == {"a fault": ["3", "1,284", "0", "0", "1", "0.5"]}
    assert page.put(written, table) == written
    assert not row.good
    with pytest.raises(ValueError, match="no place"):
        page.put("nothing", table)
