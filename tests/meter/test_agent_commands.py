"""The agent's commands, as processes, on scripts in Slurm's place."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from meter.agent.metrics import AgentMetrics
from meter.agent.status import status_of
from tests.agents import PRICES, T0, agent_of, clustered, metered, run
from tests.meter.test_agent_slurm import OPEN, SDIAG, Commands, row
from tests.programs import promtool
from tests.services import contract_body

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/agent.md").read_text(encoding="utf-8")
KASHI = str(Path(sys.executable).with_name("kashi"))


@pytest.fixture
def commands(tmp_path, monkeypatch) -> Commands:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = Commands(folder, monkeypatch)
    says(made, T0 + 100)
    return made


def says(commands: Commands, at: int, *rows: str, squeue: str = "") -> None:
    """Let Slurm say this from now on."""
    commands.prints("sacct", "".join(f"{each}\n" for each in rows))
    commands.prints("squeue", squeue)
    commands.prints("sdiag", SDIAG.format(at=at, queue=0))


def ended(raw: int, begin: int, seconds: int, account: str = "acc-a") -> str:
    times = {"Submit": f"{begin}", "Start": f"{begin}", "End": f"{begin + seconds}"}
    return row(JobIDRaw=f"{raw}", Account=account, ElapsedRaw=f"{seconds}", **times)


async def kashi(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run a command of the agent; returns its exit status, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(KASHI, "agent", words[0], "--config", str(folder / "agent/agent.toml"), *words[1:]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )
    out, complaint = await process.communicate()
    # The service of a test has a clock of its own.
    told = re.sub(r"^the clock here is .*\n", "", complaint.decode(), flags=re.MULTILINE)
    return process.returncode, out.decode(), told


async def test_exit_codes_tell_well_from_trouble_from_attention(database, tmp_path, commands):
    async with clustered(database, tmp_path) as (service, _, _):
        says(commands, T0 + 100, ended(1, T0, 50))
        status, out, complaint = await kashi(tmp_path, "once")
        assert (status, complaint) == (0, "")
        assert "open 0  doubtful 0  quarantine 0" in out
        says(commands, T0 + 200, ended(1, T0, 50), ended(2, T0, 60, "acc-none"))
        status, out, complaint = await kashi(tmp_path, "once")
        assert (status, complaint) == (3, "")
        assert "quarantine 1 (acc-none: no_contract, 60 s)" in out
        commands.script("sacct", "echo 'Connection refused' >&2; exit 1")
        status, _, complaint = await kashi(tmp_path, "once")
        assert (status, complaint) == (1, "kashi: sacct: exit 1: Connection refused\n")
        assert await metered(service) == {f"slurm:c1:1:{T0}": 50_000}


async def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(database, tmp_path, commands):
    async with clustered(database, tmp_path) as (service, _, _):
        says(commands, T0 + 100, ended(1, T0, 50))
        for _ in range(2):
            status, out, _ = await kashi(tmp_path, "once", "--dry-run")
            assert status == 0
            assert f'"id": "slurm:c1:1:{T0}:h100:{T0}:0", "contract": "A"' in out
        assert await metered(service) == {}


async def test_people_see_what_waits_and_approve_it(database, tmp_path, commands):
    async with clustered(database, tmp_path) as (service, _, _):
        names = [f"slurm:c1:{raw}:{T0}" for raw in (1, 2)]
        says(commands, T0 + 100, ended(1, T0, 50), ended(2, T0, 60, "acc-none"))
        await kashi(tmp_path, "once")
        says(commands, T0 + 200, ended(1, T0, 20), ended(2, T0, 60, "acc-none"))
        await kashi(tmp_path, "once")
        status, out, _ = await kashi(tmp_path, "quarantine")
        assert status == 3
        assert out.startswith(f"{names[1]}  acc-none  60 s  no_contract: acc-none in batch has no")
        status, out, _ = await kashi(tmp_path, "corrections")
        assert status == 3
        name, _, told = out.partition("  ")
        assert told.startswith("acc-a  20 s  shrunk: 50 s are reported, it ran for 20 s")
        assert name.startswith(f"{names[0]}@")
        for unfit, why in (
            (f"{names[1]}@12345678", f"no correction of {names[1]} waits"),
            (names[0], f"{names[0]} is not RUN@MARK, as `kashi agent corrections` tells it"),
        ):
            status, _, complaint = await kashi(tmp_path, "corrections", "approve", name, unfit)
            assert (status, complaint) == (1, f"kashi: {why}\n")
        await kashi(tmp_path, "once")
        assert await metered(service) == {names[0]: 50_000}  # all or none
        assert (await kashi(tmp_path, "corrections", "approve", name))[0] == 0
        assert await metered(service) == {names[0]: 50_000}  # not before the next round
        await kashi(tmp_path, "once")
        assert await metered(service) == {names[0]: 20_000}
        assert (await kashi(tmp_path, "corrections"))[:2] == (0, "")


async def test_an_approval_is_of_what_the_person_saw(database, tmp_path, commands):
    """The run changes again after it was listed, and once more after it was approved."""
    async with clustered(database, tmp_path) as (service, _, _):
        run_ = f"slurm:c1:1:{T0}"
        says(commands, T0 + 100, ended(1, T0, 50))
        await kashi(tmp_path, "once")
        seen = {}
        for seconds in (20, 10, 5):
            says(commands, T0 + 200, ended(1, T0, seconds))
            await kashi(tmp_path, "once")
            seen[seconds] = (await kashi(tmp_path, "corrections"))[1].partition("  ")[0]
            if seconds == 10:
                status, _, complaint = await kashi(tmp_path, "corrections", "approve", seen[20])
                told = f"it is another correction of {run_} now: shrunk: 50 s are reported, it ran"
                assert (status, complaint) == (1, f"kashi: {told} for 10 s\n")
                assert (await kashi(tmp_path, "corrections", "approve", seen[10]))[0] == 0
        assert len(set(seen.values())) == 3
        assert await metered(service) == {run_: 50_000}
        assert (await kashi(tmp_path, "corrections", "approve", seen[5]))[0] == 0
        assert (await kashi(tmp_path, "once"))[0] == 0
        assert await metered(service) == {run_: 5_000}


async def test_a_replay_finds_what_slurm_learnt_long_afterwards(database, tmp_path, commands):
    """The script prints the row only to who looks back far enough."""
    async with clustered(database, tmp_path) as (service, _, _):
        late = T0 + 3 * 3_600
        says(commands, late)
        await kashi(tmp_path, "once")
        (commands.folder / "old.txt").write_text(ended(1, T0 - 900_000, 50) + "\n")
        far = "2025-02-17T00:00:00"
        old = f"cat {commands.folder}/old.txt"
        commands.script(
            "sacct",
            f'while [ "$1" != -S ]; do shift; done; [[ "$2" > {far} ]] || {old}',
        )
        await kashi(tmp_path, "once")
        assert await metered(service) == {}
        status, _, complaint = await kashi(tmp_path, "replay", "--from", "2025-02-18T00:00+08:00")
        assert status == 1
        assert complaint.startswith("kashi: malformed: not an instant")
        assert (await kashi(tmp_path, "replay", "--from", "2025-02-18T00:00:00+08:00"))[0] == 0
        assert (await kashi(tmp_path, "replay", "--from", "2025-02-19T00:00:00+08:00"))[0] == 0
        status, _, _ = await kashi(tmp_path, "once")
        assert await metered(service) == {f"slurm:c1:1:{T0 - 900_000}": 50_000}


async def test_receipts_without_a_token_say_where_it_is_named(database, tmp_path, commands):
    async with clustered(database, tmp_path):
        says(commands, int(time.time()))
        await kashi(tmp_path, "once")
        status, _, complaint = await kashi(tmp_path, "receipts", tmp_path / "receipts")
        assert status == 1
        assert complaint.startswith("kashi: no_token: ")
        assert complaint.endswith("name its file in [service]\n")


async def test_status_is_read_from_the_spool_and_tells_what_is_old(database, tmp_path, commands):
    async with clustered(database, tmp_path):
        status, _, complaint = await kashi(tmp_path, "status")
        assert status == 1
        assert "kashi: spool: " in complaint
        now = int(time.time())
        says(commands, now)
        await kashi(tmp_path, "once")
        assert (await kashi(tmp_path, "status"))[0] == 0
        says(commands, now - 10_000)
        await kashi(tmp_path, "once")
        status, _, complaint = await kashi(tmp_path, "status")
        assert status == 1
        assert re.fullmatch(r"kashi: the last complete reading was 100\d\d s ago\n", complaint)


async def test_run_goes_on_whatever_stops_a_round_and_takes_the_map_as_it_is(
    database, tmp_path, commands
):
    """The metrics tell; the map, Slurm and the spool are at fault in turn."""
    async with clustered(database, tmp_path) as (service, _, _), running(tmp_path) as values:
        said = ended(1, T0, 50), ended(2, T0, 60, "acc-none"), row(**OPEN, JobIDRaw="3")
        says(commands, T0 + 100, *said)
        await until(values, "kashi_agent_quarantined_runs", 1, reason="no_contract")
        await until(values, "kashi_agent_runs", 1, standing="doubtful")
        await until(values, "kashi_agent_device_seconds", 50, standing="held")
        text = (tmp_path / "agent/agent.toml").read_text()
        (tmp_path / "agent/agent.toml").write_text("no map at all")
        trouble = (await values())['kashi_agent_rounds_total{outcome="trouble"}']
        await until(values, "kashi_agent_rounds_total", trouble + 2, outcome="trouble")
        text += '\n[[contract]]\naccount = "acc-none"\ncontract = "B"\n'
        (tmp_path / "agent/agent.toml").write_text(text)
        await until(values, "kashi_agent_device_seconds", 110, standing="held")
        found = await values()
        assert not any(name.startswith("kashi_agent_quarantined_runs") for name in found)
        assert found['kashi_agent_clock_ahead_seconds{of="slurm"}'] > 60
        assert len(await metered(service)) == 2
        # An approval waits for the round that has the spool, and no longer.
        status, _, complaint = await kashi(tmp_path, "corrections", "approve", "slurm:c1:1:1@0")
        assert (status, complaint) == (1, "kashi: no correction of slurm:c1:1:1 waits\n")
        assert (await kashi(tmp_path, "status"))[0] == 1  # its clock is of years ago


@contextlib.asynccontextmanager
async def running(folder: Path):
    """Run the agent with a round each second; yield what returns its metrics."""
    process = await asyncio.create_subprocess_exec(
        *(KASHI, "agent", "run", "--config", str(folder / "agent/agent.toml")),
        *("--every", "1", "--listen", "127.0.0.1:0"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )
    try:
        line = (await process.stderr.readline()).decode()
        url = re.fullmatch(r"metrics at (http://\S+)\n", line)[1]
        drained = asyncio.ensure_future(process.stderr.read())
        async with aiohttp.ClientSession() as session:

            async def values() -> dict[str, float]:
                async with session.get(url) as answer:
                    text = await answer.text()
                lines = (line for line in text.splitlines() if not line.startswith("#"))
                return {name: float(value) for name, value in (line.split() for line in lines)}

            yield values
    finally:
        process.send_signal(signal.SIGTERM)
        status = await process.wait()
        drained.cancel()
    assert status == 128 + signal.SIGTERM


async def until(values, name: str, wanted: float, **labels: str) -> None:
    (label,) = labels.items()
    async with asyncio.timeout(30):
        while (await values()).get(f'{name}{{{label[0]}="{label[1]}"}}', 0) < wanted:  # noqa: ASYNC110 - the agent tells nobody
            await asyncio.sleep(0.2)


# Metrics and alerts


async def test_the_page_lists_the_metrics_with_their_labels(database, tmp_path):
    from meter.exposition import serve_metrics

    metrics = AgentMetrics()
    async with clustered(database, tmp_path, "B") as (service, file, scheduler):
        seen = run(1, T0, T0 + 100)
        unsure = run(4, T0, standing="doubtful")
        scheduler.says(T0 + 200, seen, run(2, T0, T0 + 9, account="acc-b"), unsure)
        scheduler.says(T0 + 300, seen, run(3, T0, T0 + 9, account="no"))
        for _ in range(2):
            async with agent_of(file, scheduler) as agent:
                outcome = await agent.once()
                metrics.note(outcome, status_of(agent.spool))
        await service.ask("/v1/contracts", **contract_body("A", prices=PRICES))
    async with (
        serve_metrics(metrics, "127.0.0.1", 0) as url,
        aiohttp.ClientSession() as session,
        session.get(url) as answer,
    ):
        text = await answer.text()
    checked = promtool("check", "metrics", input=text)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = {}
    for name, labels in re.findall(r"^\| `(kashi_agent_\w+)` \| (.*?) \|", PAGE, re.MULTILINE):
        listed[name.removesuffix("_total")] = set(re.findall(r"`(\w+)`", labels))
    real = {}
    for family in metrics.collect():
        real[family.name] = {label for sample in family.samples for label in sample.labels}
    # Nothing was refused here.
    assert real.pop("kashi_agent_refused_records") == set()
    assert listed.pop("kashi_agent_refused_records") == {"code"}
    assert listed == real


# What makes each alert ring, as promtool writes series: a value each minute.
RINGING = {
    "KashiAgentDown": ['up{job="kashi-agent"}', "0x20"],
    "KashiAgentBlind": ["kashi_agent_complete_reading_seconds", "0x90"],
    "KashiAgentUnheard": ["kashi_agent_oldest_unsent_seconds", "60x90"],
    "KashiAgentQuarantine": ['kashi_agent_quarantined_runs{reason="no_contract"}', "1x90"],
    "KashiAgentDoubtful": ['kashi_agent_runs{standing="doubtful"}', "2x90"],
    "KashiAgentCorrections": ['kashi_agent_corrections_waiting{reason="shrunk"}', "1x90"],
    "KashiAgentRefused": ['kashi_agent_refused_records{code="too_late"}', "1x90"],
    "KashiAgentSummary": ["kashi_agent_disagreeing_summaries", "1x90"],
    "KashiAgentNoSummary": ["kashi_agent_summed_up_seconds", "-129600x90"],
    "KashiAgentClock": ['kashi_agent_clock_ahead_seconds{of="service"}', "-61x90"],
}
WELL = {
    'up{job="kashi-agent"}': "1x90",
    "kashi_agent_complete_reading_seconds": "0+60x90",
    "kashi_agent_oldest_unsent_seconds": "0x90",
    "kashi_agent_disagreeing_summaries": "0x90",
    "kashi_agent_summed_up_seconds": "-118800x90",
    'kashi_agent_runs{standing="doubtful"}': "0x90",
    'kashi_agent_clock_ahead_seconds{of="service"}': "60x90",
}


def ringing(folder: Path, series: dict[str, str], minutes: int) -> set[str]:
    """Return the alerts of the page that ring for these series after some minutes."""
    (rules,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    names = re.findall(r"alert: (\w+)", rules)
    assert set(names) == set(RINGING)
    found = set()
    inputs = "".join(
        f"      - series: '{name}'\n        values: '{v}'\n" for name, v in series.items()
    )
    for name in names:
        # An alert that is expected not to ring, and does, fails the test of promtool.
        test = (
            "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n"
            f"    input_series:\n{inputs}    alert_rule_test:\n"
            f"      - eval_time: {minutes}m\n        alertname: {name}\n        exp_alerts: []\n"
        )
        (folder / "test.yml").write_text(test, encoding="utf-8")
        done = promtool("test", "rules", str(folder / "test.yml"))
        if done.returncode:
            assert f'alertname="{name}"' in done.stdout + done.stderr, done.stdout + done.stderr
            found.add(name)
    return found


def test_the_pages_alerts_ring_for_their_reason_and_are_silent_otherwise(tmp_path):
    assert ringing(tmp_path, WELL, 80) == set()
    for name, (series, values) in RINGING.items():
        minutes = 15 if name == "KashiAgentDown" else 75
        assert ringing(tmp_path, WELL | {series: values}, minutes) == {name}


def test_the_pages_alerts_name_metrics_of_its_table():
    (rules,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    listed = set(re.findall(r"^\| `(kashi_agent_\w+)`", PAGE, re.MULTILINE))
    assert set(re.findall(r"kashi_agent_\w+", rules)) <= listed
