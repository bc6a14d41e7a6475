"""The agent over files of jobs: CSV and JSON lines, by a mapping, and a real cluster's trace."""

import asyncio
import base64
import csv
import json
import os
import re
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.agent.adopt import adopt
from meter.agent.collect import job_file
from meter.agent.collect.columns import run_of
from meter.agent.config import read_config
from meter.agent.devices import thousandths_in
from meter.agent.doctor import examine
from meter.agent.run import Agent
from meter.agent.status import exit_code, status_of
from meter.client import keygen, load_key, registration
from meter.values.units import parse_instant
from tests.agents import NO_PAUSE, NOON, T0, config, metered
from tests.services import (
    ORIGIN,
    authorization,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)

PAGE = (Path(__file__).parents[2] / "docs/job-files.md").read_text(encoding="utf-8")
MAPPING = """
name = "bills"
form = "csv"
time = "seconds"
[columns]
run = ["job", "attempt"]
account = "team"
devices = "cards"
start = "begin"
end = "finish"
[constants]
resource = "gpu"
"""
HEAD = "job,attempt,team,cards,begin,finish\n"
MAP = """
[[contract]]
account = "acc-a"
contract = "A"
[[contract]]
account = "acc-b"
contract = "B"
[[device]]
resource = "gpu"
device = "h100"
"""
SOURCE = '[file]\npath = "jobs.csv"\nmapping = "jobs.toml"\nsince = "2024-01-01T00:00:00+08:00"\n'


def line(job: int, end: int | str, *, cards: str = "2", team: str = "acc-a", begin=T0) -> str:
    return f"{job},1,{team},{cards},{begin},{end}\n"


def name(job: int) -> str:
    return f"file:bills:{job}:1"


class Site:
    """A service, and an agent beside a file of jobs."""

    def __init__(self, service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.jobs = folder / "jobs.csv"

    def writes(self, text: str) -> None:
        with self.jobs.open("a", encoding="utf-8") as stream:
            stream.write(text)

    def changes(self, file: str, old: str, new: str) -> None:
        text = (self.folder / file).read_text(encoding="utf-8")
        assert old in text
        (self.folder / file).write_text(text.replace(old, new), encoding="utf-8")

    async def once(self):
        async with Agent(read_config(self.folder / "agent.toml"), **NO_PAUSE) as agent:
            outcome = await agent.once()
            return outcome, status_of(agent.spool)


@asynccontextmanager
async def site(  # noqa: PLR0913 - one argument for each thing that a test chooses
    database, folder: Path, *contracts: str, now=NOON, mapping=MAPPING, map_=MAP, source=SOURCE
):
    async with serving(database, folder, now) as service:
        made = config(
            folder / "agent",
            url=service.url,
            genesis=service.intake.state.genesis_hash,
            receipt_key=base64.b64encode(receipt_key(service)).decode(),
            map_=map_,
            source=source,
        )
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices={"h100": 10_000}))
        own = registration(load_key(Path(made.provider.key)), ORIGIN, "pcl", "pcl-1")
        await service.ask("/v1/providers/pcl/keys", **own)
        await service.ask("/v1/enterprises", **enterprise_body())
        for contract in contracts or ("A", "B"):
            await service.ask("/v1/contracts", **contract_body(contract, prices={"h100": "9.00"}))
        (folder / "agent/jobs.toml").write_text(mapping, encoding="utf-8")
        yield Site(service, folder / "agent")


# Files that grow, are read again, and are wrong


async def test_a_file_is_read_on_and_what_was_read_is_not_reported_again(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.writes(HEAD + line(1, T0 + 100) + line(2, T0 + 50, cards="0.25", team="acc-b"))
        outcome, status = await place.once()
        first = {name(1): 200_000, name(2): 12_500}
        assert await metered(place.service) == first
        assert exit_code(status, outcome.faults) == 0
        place.writes(line(3, T0 + 10) + line(4, T0 + 20)[:-2])
        outcome, _ = await place.once()
        assert list(outcome.reading.runs) == [name(3)]  # the last line has no end yet
        place.writes(line(4, T0 + 20)[-2:])
        outcome, _ = await place.once()
        assert list(outcome.reading.runs) == [name(4)]
        outcome, status = await place.once()
        assert (outcome.reading.runs, outcome.report.receipts) == ({}, [])
        later = {name(3): 20_000, name(4): 40_000}
        assert await metered(place.service) == first | later


async def test_the_same_file_anew_reports_nothing_twice(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.writes(HEAD + "".join(line(job, T0 + job) for job in range(1, 30)))
        await place.once()
        found = await metered(place.service)
        async with Agent(read_config(place.folder / "agent.toml"), **NO_PAUSE) as agent:
            agent.spool.look_back(T0)
        outcome, _ = await place.once()
        assert len(outcome.reading.runs) == 29
        assert outcome.report.receipts == []
        # Put in its place again, with another line behind.
        text = place.jobs.read_text()
        place.jobs.unlink()
        place.writes(text + line(30, T0 + 30))
        await place.once()
        assert await metered(place.service) == found | {name(30): 60_000}


async def test_a_file_is_read_in_parts_and_a_round_reads_them_all(database, tmp_path, monkeypatch):
    monkeypatch.setattr(job_file, "MAX_LINES", 7)
    async with site(database, tmp_path) as place:
        place.writes(HEAD + "".join(line(job, T0 + 10) for job in range(50)))
        outcome, status = await place.once()
        assert await metered(place.service) == {name(job): 20_000 for job in range(50)}
        assert len(outcome.records) == 50
        assert status.unsent == 0


async def test_a_line_that_cannot_be_read_is_told_with_its_number_and_stops_no_other(
    database, tmp_path
):
    async with site(database, tmp_path) as place:
        bad = "7,1,acc-a,two,1,2\n"
        place.writes(HEAD + line(1, T0 + 10) + bad + line(2, T0 - 1) + line(3, T0 + 10))
        outcome, status = await place.once()
        assert await metered(place.service) == {name(1): 20_000, name(3): 20_000}
        told = [(each.run, each.trouble.detail, each.allocation) for each in status.quarantined]
        assert told == [
            ("line 3", "not a number of devices: 'two'", bad.strip()),
            ("line 4", "it ends before it begins", line(2, T0 - 1).strip()),
        ]
        assert exit_code(status, outcome.faults) == 3
        _, status = await place.once()
        assert len(status.quarantined) == 2  # they stay
        place.changes("jobs.csv", "two", "2")
        async with Agent(read_config(place.folder / "agent.toml"), **NO_PAUSE) as agent:
            agent.spool.look_back(T0)
        _, status = await place.once()
        assert [each.run for each in status.quarantined] == ["line 4"]


async def test_a_job_is_told_by_the_name_that_somebody_gave_it(database, tmp_path):
    named = "[red]a[/b]"  # a terminal's markup, elsewhere
    async with site(database, tmp_path, map_=MAP.replace("h100", "h200")) as place:
        place.writes(HEAD + line(1, T0 + 100).replace("1,", f"{named},", 1))
        status, told = await kashi(tmp_path / "agent", "once")
        assert f"not taken: file:bills:{named}:1:" in told
        assert (status, "unknown_device" in told) == (3, True)


async def test_the_last_line_of_a_run_counts_and_another_job_of_its_name_is_not_chosen_from(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(job_file.time, "time", lambda: T0 + 1_000.0)
    async with site(database, tmp_path) as place:
        place.writes(HEAD + line(1, "") + line(2, T0 + 10) + line(3, T0 + 10) + line(5, T0 + 10))
        _, status = await place.once()
        assert status.doubtful == 1
        place.writes(line(1, T0 + 50) + line(2, T0 + 8) + line(3, T0 + 99, begin=T0 + 70))
        place.writes(line(4, T0 + 9) + line(4, T0 + 12, begin=T0 + 10) + line(4, T0 + 9))
        _, status = await place.once()
        assert await metered(place.service) == {
            name(1): 100_000,
            name(2): 16_000,
            name(3): 20_000,
            name(5): 20_000,
        }
        held = {each.run: each.trouble.code for each in status.quarantined}
        assert held == {name(3): "twice", name(4): "twice"}


async def test_a_map_that_changes_has_the_file_read_anew(database, tmp_path):
    ignore = '[[ignore]]\naccount = "acc-b"\n'
    without = MAP.replace('[[contract]]\naccount = "acc-b"\ncontract = "B"\n', "")
    async with site(database, tmp_path, map_=without + ignore) as place:
        place.writes(HEAD + line(1, T0 + 10) + line(2, T0 + 10, team="acc-b"))
        _, status = await place.once()
        assert await metered(place.service) == {name(1): 20_000}
        assert status.quarantined == ()
        place.changes("agent.toml", ignore, ignore.replace("ignore", "contract") + 'contract = "B"')
        await place.once()
        assert await metered(place.service) == {name(1): 20_000, name(2): 20_000}


async def test_a_mapping_that_changes_has_the_file_read_anew(database, tmp_path):
    async with site(database, tmp_path, mapping=MAPPING.replace("seconds", "iso")) as place:
        place.writes(HEAD + line(1, T0 + 10))
        _, status = await place.once()
        assert [each.run for each in status.quarantined] == ["line 2"]
        place.changes("jobs.toml", "iso", "seconds")
        _, status = await place.once()
        assert status.quarantined == ()
        assert await metered(place.service) == {name(1): 20_000}


async def test_another_file_in_its_place_is_read_and_lines_of_the_old_one_stay_told(
    database, tmp_path
):
    async with site(database, tmp_path) as place:
        place.writes(HEAD + line(1, T0 + 10) + line(2, T0 - 10) + line(3, T0 + 10))
        await place.once()
        place.jobs.unlink()
        new = range(4, 12)  # it is longer
        place.writes(HEAD + "".join(line(job, T0 + 10) for job in new))
        outcome, status = await place.once()
        assert list(outcome.reading.runs) == [name(job) for job in new]
        assert set(await metered(place.service)) == {name(job) for job in (1, 3, *new)}
        assert [each.run for each in status.quarantined] == ["line 3"]
        assert status.questions == ()  # nobody misses the runs of the old file


async def test_a_file_that_became_shorter_is_read_anew(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.writes(HEAD + line(1, T0 + 10) + line(2, T0 + 10) + line(3, T0 - 10))
        await place.once()
        place.jobs.unlink()
        place.writes(HEAD + line(1, T0 + 10) + line(4, T0 + 10))
        outcome, status = await place.once()
        assert [each.run for each in outcome.records] == [name(4)]
        assert (len(await metered(place.service)), status.quarantined) == (3, ())


async def test_a_file_that_is_missing_or_lacks_a_column_is_trouble_and_the_next_round_goes_on(
    database, tmp_path
):
    async with site(database, tmp_path) as place:
        outcome, status = await place.once()
        assert "No such file" in outcome.faults[0]
        assert exit_code(status, outcome.faults) == 1
        place.writes("job,attempt,team\n1,1,acc-a\n")
        outcome, _ = await place.once()
        assert outcome.faults == ["line 1 has no column begin, cards, finish"]
        assert await wrong(place) == outcome.faults
        place.jobs.unlink()
        place.writes(HEAD)
        assert (await place.once())[0].faults == []
        place.writes(line(1, T0 + 10))
        await place.once()
        assert await metered(place.service) == {name(1): 20_000}
        assert await wrong(place) == []


async def wrong(place: Site) -> list[str]:
    """Return what doctor finds wrong, but the clock: the service's is a test's."""
    found = [each async for each in examine(read_config(place.folder / "agent.toml"))]
    assert len(found) == 4
    return [each.what for each in found if not each.is_good and "clock" not in each.what]


async def test_a_lost_spool_adopts_a_file_too(database, tmp_path):
    async with site(database, tmp_path) as place:
        token = await authorization(place.service, "pcl-agent", "provider", "pcl")
        (place.folder / "pcl.token").write_text(token.removeprefix("Bearer "))
        place.changes("agent.toml", "[provider]", 'token = "pcl.token"\n[provider]')
        place.writes(HEAD + line(1, T0 + 10) + line(2, T0 + 10))
        await place.once()
        file = read_config(place.folder / "agent.toml")
        for each in Path(file.spool).parent.iterdir():
            each.unlink()
        place.writes(line(3, T0 + 10))
        async with Agent(file, **NO_PAUSE) as agent:
            assert (await adopt(agent, file, T0 + 1_000)).slices == 2
        outcome, status = await place.once()
        assert [each.run for each in outcome.records] == [name(3)]
        assert (len(await metered(place.service)), status.unsent) == (3, 0)


# What a line tells


JSON = MAPPING.replace('"csv"', '"jsonl"').replace('"seconds"', '"iso"')


def layout(folder: Path, text: str = MAPPING):
    (folder / "x.toml").write_text(text, encoding="utf-8")
    return job_file.read_layout(folder / "x.toml")


def lines_read(folder: Path, text: str | bytes, mapping: str = MAPPING):
    """Return the runs of a file, and its lines that cannot be read."""
    data = text.encode() if isinstance(text, str) else text
    (folder / "jobs").write_bytes(data)
    (folder / "x.toml").write_text(mapping, encoding="utf-8")
    found = job_file.read(folder / "jobs", folder / "x.toml", None)
    assert found.faults == ()
    return found.runs, {each.number: each.reason for each in found.part.bad}


def test_lines_of_json_tell_the_same_as_csv(tmp_path):
    job = {"job": 7, "attempt": "1", "team": "acc-a", "cards": 1.5, "more": None}
    job |= {"begin": "2025-03-01T08:00:00+08:00", "finish": "2025-03-01T00:00:10Z"}
    text = json.dumps(job) + "\n\n" + json.dumps(job | {"job": 8, "begin": None}) + "\n"
    runs, bad = lines_read(tmp_path, text, JSON)
    same, _ = lines_read(tmp_path, HEAD + line(7, T0 + 10, cards="1.500"))
    assert (runs, bad) == (same, {})
    assert runs[name(7)].allocation == "milli/gpu=1500"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"1,1,acc-a,2,1\n", "it has 5 cells, and the first line 6"),
        (b"1,1,acc-a,2,1,2,3\n", "it has 7 cells, and the first line 6"),
        (b'1,1,"acc-a,2,1,2\n', "not a line of CSV: unexpected end of data"),
        (b"1,1,acc-\xff,2,1,2\n", "'utf-8' codec can't decode"),
        (b"1,1,acc-\x1b[2J,2,1,2\n", "a text holds the control character U+001B"),
        (b"1,1,acc-a,-2,1,2\n", "not a number of devices: '-2'"),
        (b"1,1,acc-a,1e3,1,2\n", "not a number of devices: '1e3'"),
        (b"1,1,acc-a,0.0001,1,2\n", "not a number of devices: '0.0001'"),
        (b"1,1,acc-a,2,1.5,2\n", "not a number of seconds: '1.5'"),
        (b"1,1,acc-a,2,1,soon\n", "not a number of seconds: 'soon'"),
        (b"1,1,acc-a,2,3,2\n", "it ends before it begins"),
        (b"a b,1,acc-a,2,1,2\n", "a run's name is 1 to 80 visible ASCII characters: 'a b:1'"),
        ("卡,1,acc-a,2,1,2\n".encode(), "a run's name is 1 to 80 visible ASCII"),
        (b"1" * 99 + b",1,acc-a,2,1,2\n", "a run's name is 1 to 80 visible ASCII"),
        (b"1,1," + b"a" * 201 + b",2,1,2\n", "account is longer than 200 characters"),
        (b"x" * (1 << 20) + b"y\n", "a line has more than 1048576 bytes"),
    ],
)
def test_a_line_of_csv_that_cannot_be_read_says_why(tmp_path, text, reason):
    data = HEAD.encode() + text + line(5, T0 + 1).encode()
    runs, bad = lines_read(tmp_path, data)
    assert list(runs) == [name(5)]
    assert list(bad) == [2]
    assert bad[2].startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("[1]", "not an object of JSON"),
        ('{"job":1,"job":2}', "a member stands twice in an object"),
        ('{"job":true}', "job is neither a text nor a number"),
        ('{"job":[1]}', "job is neither a text nor a number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"job":1,"attempt":1,"begin":"2025-03-01T08:00:00Z"}', "not a number of devices: ''"),
        ('{"job":1,"attempt":1,"cards":1,"begin":"2025-03-01T08:00:00"}', "not an instant"),
        (
            '{"job":1,"attempt":1,"cards":1e400,"begin":"2025-03-01T08:00:00Z"}',
            "not a number of devices: 'inf'",
        ),
    ],
)
def test_a_line_of_json_that_cannot_be_read_says_why(tmp_path, text, reason):
    runs, bad = lines_read(tmp_path, f"{text}\n", JSON)
    assert runs == {}
    assert bad[1].startswith(reason)


def test_a_byte_order_mark_and_dos_ends_change_nothing(tmp_path):
    plain_runs, _ = lines_read(tmp_path, HEAD + line(1, T0 + 5))
    runs, bad = lines_read(tmp_path, "\ufeff" + (HEAD + line(1, T0 + 5)).replace("\n", "\r\n"))
    assert (runs, bad) == (plain_runs, {})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('resource = "gpu"', "", "neither a column nor a constant tells resource"),
        ('name = "bills"', 'name = "a b"', "name"),
        ('form = "csv"', 'form = "xml"', "form"),
        ('time = "seconds"', 'time = "local"', "time"),
        ('devices = "cards"', 'devices = "cards"\nuser = "x"', "user"),
        ('run = ["job", "attempt"]', "run = []", "run"),
        ("[columns]", "[columns", "line"),
    ],
)
def test_a_mapping_with_a_fault_is_refused_with_its_place(tmp_path, old, new, told):
    with pytest.raises(ValueError, match=rf"x\.toml: .*{told}"):
        layout(tmp_path, MAPPING.replace(old, new))


def test_an_agents_file_names_one_thing_that_is_read(tmp_path):
    config(tmp_path, source=SOURCE)
    with pytest.raises(ValueError, match=r"one of \[slurm\], \[kubernetes\] and \[file\]"):
        config(tmp_path, source="\n")
    with pytest.raises(ValueError, match=r"one of \[slurm\], \[kubernetes\] and \[file\]"):
        config(tmp_path, source=f'{SOURCE}\n[slurm]\ncluster = "c"\nsince = "{NOON}"\n')


CELLS = st.one_of(
    st.sampled_from(["1", "0.5", "0", "", "999999", f"{T0}", "acc-a", '"', "1.0", "-1", "inf"]),
    st.text(max_size=8),
)


@given(st.lists(st.lists(CELLS, min_size=5, max_size=7).map(",".join), max_size=4))
def test_no_file_whatever_stops_the_reader(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    data = (HEAD + "\n".join(rows) + "\n").encode(errors="surrogatepass")
    runs, bad = lines_read(folder, data)
    lines = data.count(b"\n") - 1
    assert len(runs) + len(bad) <= lines
    for each in runs.values():
        assert each.end is None or each.begin <= each.end
        assert all(0 < held < 10**10 for held in thousandths_in(each.allocation).values())


def test_shares_multiply_and_what_is_no_whole_thousandth_is_not_rounded(tmp_path):
    shared = layout(tmp_path, MAPPING.replace("[constants]", 'milli = "share"\n[constants]'))
    cells = {"job": "1", "attempt": "1", "team": "a", "begin": "1", "finish": "2"}
    assert run_of(shared, cells | {"cards": "2", "share": "460"}).allocation == "milli/gpu=920"
    assert run_of(shared, cells | {"cards": "0", "share": "460"}).allocation == ""
    with pytest.raises(ValueError, match="no whole number of thousandths"):
        run_of(shared, cells | {"cards": "0.5", "share": "333"})
    with pytest.raises(ValueError, match="not the thousandths of a device"):
        run_of(shared, cells | {"cards": "1", "share": "1001"})


# The trace of a real cluster

TRACE = SOURCE.replace('"jobs.toml"', '"cluster-trace-gpu-2023"')
CLASSES = ("LS", "BE", "Burstable", "Guaranteed")
TRACE_MAP = "".join(f'[[contract]]\naccount = "{n}"\ncontract = "{n}"\n' for n in CLASSES) + (
    '[[device]]\nresource = "gpu"\ndevice = "h100"\n'
)


@pytest.mark.long
async def test_a_real_clusters_trace_is_reported_to_the_device_second(
    database, tmp_path, real_data
):
    """In two parts, by the command; the trace is long past, so its contracts have a late window."""
    text = (real_data / "cluster-trace-gpu-2023-pods.csv").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    now = "2025-06-01T12:00:00+08:00"
    made = site(database, tmp_path, *CLASSES, now=now, map_=TRACE_MAP, source=TRACE)
    async with made as place:
        days = {"starts": "2025-01-01", "ends": "2025-06-01", "open_until": "2025-12-31"}
        for contract in CLASSES:
            path = f"/v1/contracts/{contract}/late-window"
            await place.service.ask(path, reason="a trace of before", **days)
        for part in (lines[:5_000], lines[5_000:], []):
            place.writes("".join(part))
            code, out = await kashi(place.folder, "once")
            assert code == 0, out
        entries = [e for e in await place.service.entries() if e.kind == "usage"]
        found = await metered(place.service)
        by_contract: Counter[str] = Counter()
        for each in entries:
            seconds = (each.end - each.start) // 1_000_000
            assert seconds <= 31 * 86_400
            by_contract[each.contract] += each.milli_devices * seconds
    # The same, from the columns and by other means.
    expected, by_class = {}, Counter()
    for row in csv.DictReader(text.splitlines()):
        if row["scheduled_time"] and int(row["num_gpu"]):
            held = int(row["num_gpu"]) * int(row["gpu_milli"])
            held *= int(row["deletion_time"]) - int(row["scheduled_time"])
            expected[f"file:openb:{row['name']}"] = held
            by_class[row["qos"]] += held
    assert len(expected) == 6_203
    assert found == expected
    assert by_contract == by_class
    assert len(entries) > len(expected)  # the longest are cut


async def kashi(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command of the agent; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("kashi")),
        *("agent", words[0], "--config", str(folder / "agent.toml"), *words[1:]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200"},
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


# The page


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def plain(text: str) -> str:
    """Return a text without what differs from run to run."""
    text = "".join(each for each in text.splitlines(keepends=True) if "clock here" not in each)
    return re.sub(r"\bnever\b|\d+ s ago", "N s ago", text)


async def test_the_page_runs(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices={"ascend-910b": 64}))
        await service.ask("/v1/enterprises", **enterprise_body())
        for contract in ("TC-2025-0001", "TC-2025-0002"):
            terms = contract_body(contract, prices={"ascend-910b": "4.50"})
            await service.ask("/v1/contracts", **terms)
        folder = tmp_path / "provider"
        folder.mkdir()
        body = keygen(folder / "pcl.key", ORIGIN, "pcl", "pcl-2025a")
        await service.ask("/v1/providers/pcl/keys", **body)
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
            "KASHI": service.url,
            "LOG": ORIGIN,
            "GENESIS": service.intake.state.genesis_hash,
            "RECEIPT_KEY": base64.b64encode(receipt_key(service)).decode(),
        }

        async def sh(script: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", script),
                cwd=folder,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await process.communicate()
            assert process.returncode == 0, out.decode()
            return out.decode()

        await sh(block("sh jobs") + block("sh mapping") + block("sh config"))
        assert plain(await sh(block("sh once"))) == plain(block("text once"))
        assert plain(await sh(block("sh mend"))) == plain(block("text mend"))
        assert await metered(service) == {
            "file:bills:4211:1": 8_000 * 3_600,
            "file:bills:4212:1": 500 * 1_800,
            "file:bills:4213:1": 2_000 * 600,
        }


def test_the_page_lists_what_a_mapping_can_tell():
    from meter.agent.collect.columns import Columns

    names = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert names == {"run" if each == "of_run" else each for each in Columns.__struct_fields__}
    assert parse_instant(re.findall(r'since = "([^"]+)"', PAGE)[0])
