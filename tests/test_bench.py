"""The benchmark measures what it says; at this small scale its figures mean nothing."""

import io
import re
import time
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import islice
from urllib.parse import urlsplit

import asyncpg
import pytest
from rich.console import Console

from tests.bench import __main__ as bench
from tests.bench import copying, profile, published, report
from tests.bench.load import Feeds, Supply, Window, closed_loop, open_loop, percentile
from tests.bench.ratios import floor_program
from tests.bench.report import Section, Table
from tests.bench.scale import TINY
from tests.bench.servers import Ledger, postgres
from tests.bench.workload import HOUR_SECONDS, slices

FIGURE = r"[0-9][0-9,.]*"


@pytest.mark.long
async def test_everything_is_measured_and_the_page_shows_it(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    sections = await bench.measure(list(bench.MEASUREMENTS), TINY, console)
    bench.keep(tmp_path, sections)

    page = "".join((tmp_path / name).read_text() for name in report.PAGES)
    assert "fsync = on, synchronous_commit = on" in page
    for section in sections:
        shown = between(page, section.name)
        for table in section.tables:
            assert table.rows
            assert all(len(row) == len(table.head) for row in table.rows)
            assert all(" | ".join(row) in shown for row in table.rows)
        assert all(re.search(FIGURE, bar.measured) for bar in section.bars)
        assert all(f"](benchmarks/{curve.name}.svg)" in shown for curve in section.curves)
    bars = [bar for section in sections for bar in section.bars]
    assert len(bars) == len(between(page, "bars").splitlines()) - 2 >= 8
    assert {drawing(file) for file in tmp_path.glob("benchmarks/*.svg")} == {
        "Records a second, by size of batch",
        "Records a second, by size of the ledger",
        "Records a second with fronts, by cores",
        "Latency against load",
        "Amendment, by days of usage",
        "Gain of an audit by ranges, in the model",
        "Publish delay, by size of the ledger",
    }


async def test_the_load_is_what_a_city_would_see():
    """Capacity is checked and mostly suffices; some coupons last, some run out."""
    async with postgres() as server:
        ledger = await Ledger.make(server, "load")
        supply = Supply(Feeds(), clients=3, records=500)
        supply.top_up(15_000)
        async with ledger.serving() as service:
            window = await closed_loop(service, supply)
            assert service.peak_bytes() > 0
            assert service.cpu_seconds() > 0
        assert window.records == 15_000
        assert len(window.latencies) == 30
        connection = await asyncpg.connect(ledger.dsn)
        withheld = await connection.fetchval("SELECT count(*) FROM meter.record WHERE withheld")
        limited = await connection.fetchval(
            "SELECT count(DISTINCT subject) FROM meter.device_time WHERE scope = 'contract'"
        )
        short = await connection.fetch(
            "SELECT enterprise, bool_or(granted < entitled) AS short FROM meter.contract_year "
            "GROUP BY enterprise"
        )
        size = await connection.fetchval("SELECT size FROM ledger.head")
        await connection.close()
    assert max(entries for _, entries in window.answers) == size
    assert 0 < withheld < 300
    assert limited > 5
    assert Counter(row["short"] for row in short).keys() == {True, False}


async def test_the_floor_program_stores_all_that_it_answers():
    async with postgres() as server, floor_program(server) as program:
        supply = Supply(Feeds(), clients=2, records=50)
        supply.top_up(400)
        window = await closed_loop(program, supply)
        connection = await asyncpg.connect(database_of(server, "floor"))
        rows = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM batch),"
            " (SELECT sum(length(hashes)) FROM segment)"
        )
        await connection.close()
    assert window.records == 400
    assert list(rows) == [400, 8, 32 * 408]


def database_of(server, name: str) -> str:
    return urlsplit(server.postgres.dsn)._replace(path=f"/{name}").geturl()


async def test_a_latency_begins_when_the_batch_was_due_and_only_good_answers_count():
    async with postgres() as server:
        ledger = await Ledger.make(server, "due")
        supply = Supply(Feeds(), clients=1, records=1)
        supply.top_up(100)
        other = Feeds()
        next(other.slices["pcl"])
        conflicting = Supply(other, clients=1, records=1)  # the same numbers, other records
        conflicting.top_up(1)
        async with ledger.serving() as service:
            window = await open_loop(service, supply, batches_per_second=1e6, seconds=1e-4)
            assert window.records == 100
            # All were due at once and went one after the other: each waited longer than the last.
            assert window.latencies == sorted(window.latencies)
            with pytest.raises(RuntimeError, match="409, 0 of 1 accepted"):
                await closed_loop(service, conflicting)


async def test_what_is_copied_are_the_records_themselves(database):
    connection = await asyncpg.connect(database)
    await connection.execute(copying.TABLE)
    baseline = copying.Baseline(connection)
    assert await baseline.round(seconds=60, most_rows=copying.ROWS) > 0
    rows = await connection.fetch("SELECT * FROM record ORDER BY id")
    await baseline.close()
    assert [row["id"] for row in rows] == list(range(copying.ROWS))
    mine = [row for row in rows if row["provider"] == "pcl"]
    for row, record in zip(mine, islice(slices("pcl"), len(mine)), strict=True):
        assert (row["record_id"], row["run"]) == (record.id, f"slurm:{record.job}")
        assert (row["contract"], row["device"], row["milli_devices"]) == record.shape
        assert row["starts"].timestamp() == record.start
        assert row["ends"].timestamp() == record.start + HOUR_SECONDS
        assert (row["state"], row["final"]) == (record.state, record.final)


async def test_a_watcher_sees_the_last_checkpoint_before_it_ends(tmp_path):
    replace_checkpoint(tmp_path, 1)
    async with published.watching(tmp_path) as seen:
        for size in (2, 30):
            replace_checkpoint(tmp_path, size)
    sizes = [size for _, size in seen]
    assert (sizes[0], sizes[-1]) == (1, 30)
    moments = [moment for moment, _ in seen]
    assert moments == sorted(moments)
    assert moments[-1] < time.perf_counter()


def test_a_delay_runs_from_the_answer_to_the_first_checkpoint_that_covers_it():
    load = published.Load("any")
    load.take(Window(answers=[(10.0, 5), (10.5, 9), (11.5, 7)]))
    load.take(Window(answers=[(20.0, 12)]))
    load.find_delays([(9.0, 4), (11.0, 7), (12.0, 9), (12.0, 11), (20.25, 12)])
    assert load.delays == [[1.0, 1.5, 0.0], [0.25]]
    assert load.sizes == [9, 12]


def test_every_byte_of_a_published_log_is_weighed_once(tmp_path):
    files = {
        "checkpoint": b"kashi.example/bench\n257\n",
        "tile/entries/000": bytes(1_000),
        "tile/entries/001.p/1": bytes(100),
        "tile/0/000": bytes(256 * 32),
        "tile/1/000.p/1": bytes(32),
        "batches/000": bytes(5_000),
    }
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    weight = published.weigh(tmp_path, records=1)
    assert (weight.entries, weight.files) == (257, 6)
    assert weight.parts["entries"] == 1_100
    assert weight.parts["hashes"] == 257 * 32
    assert weight.parts["batches"] == 5_000
    assert weight.parts.total() == sum(map(len, files.values()))
    assert weight.on_disk >= weight.parts.total()


def test_a_run_of_one_measurement_leaves_the_others_as_they_were(tmp_path):
    audit = Section("audit", [Table(("a", "b"), [("older", "1")])])
    latency = Section("latency", [Table(("a", "b"), [("newer", "2")])])
    bench.keep(tmp_path, [audit])
    bench.keep(tmp_path, [latency])
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| older | 1 |" in between(page, "audit")
    assert "| newer | 2 |" in between(page, "latency")
    assert report.load(tmp_path) == {"audit": audit, "latency": latency}


def test_a_profile_that_is_kept_stands_beside_the_next(tmp_path):
    for step, cost in (("at first", 40.0), ("", 30.0), ("one parse", 20.0)):
        bench.keep(tmp_path, [profile_of(cost)], step)
    shown = between((tmp_path / "benchmarks.md").read_text(), "profile")
    assert "| µs of CPU a record | at first | one parse |" in shown
    assert "| decide | 40.0 | 20.0 |" in shown


def replace_checkpoint(folder, size):
    draft = folder / "draft"
    draft.write_text(f"kashi.example/bench\n{size}\n")
    draft.rename(folder / "checkpoint")


def profile_of(cost):
    stages = {"decide": cost}
    costs = [
        {"cpu": stages, "waited": stages, "service": cost, "database": 1.0, "rate": 1e6 / cost}
        for _ in profile.CASES
    ]
    return Section("profile", [], kept={profile.NOW: costs})


def test_a_percentile_is_the_value_of_the_nearest_rank():
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50.0, 99.0)
    assert percentile([7.0], 0.01) == percentile([7.0], 1.0) == 7.0


def between(page, name):
    """Return the text between the markers of a section."""
    return page.partition(f"<!-- measured: {name} -->\n")[2].partition(f"<!-- end: {name} -->")[0]


def drawing(file):
    """Check that a drawing stands alone, and return its title."""
    text = file.read_text()
    assert re.findall(r"https?://[^\"<> ]+", text) == ["http://www.w3.org/2000/svg"]
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
    assert "script" not in tags
    assert "path" in tags
    return re.search(r'class="title plot_title"[^>]*>([^<]+)<', text)[1]
