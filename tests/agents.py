"""An agent for tests: its file, its rounds, and readings that a test makes or reads from rows."""

import base64
import re
import sqlite3
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from meter.agent.collect import slurm
from meter.agent.config import Config, read_config
from meter.agent.run import Agent
from meter.agent.status import status_of
from meter.agent.usage import Reading, Run
from meter.client import keygen, load_key, registration
from meter.rules.entries import UsageAccepted
from meter.values.units import parse_instant
from tests.services import (
    ORIGIN,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)

MAP = """
    [[contract]]
    account = "acc-a"
    contract = "A"

    [[contract]]
    account = "acc-b"
    contract = "B"

    [[device]]
    resource = "gpu:h100"
    device = "h100"

    [[device]]
    resource = "gpu:1g.10gb"
    device = "h100-1g.10gb"

    [[device]]
    resource = "npu:*"
    device = "ascend-910b"

    [[device]]
    resource = "shard"
    device = "h100"
    milli = 250
"""
SINCE = "2025-01-01T00:00:00+08:00"
NOON = "2025-03-01T12:00:00+08:00"
T0 = parse_instant("2025-03-01T08:00:00+08:00")
KINDS = {"h100": 100, "h100-1g.10gb": 8, "ascend-910b": 64}
PRICES = {"h100": "9.00", "h100-1g.10gb": "1.00", "ascend-910b": "4.50"}
NO_PAUSE = {"attempts": 1, "first_pause_seconds": 0}


def config(  # noqa: PLR0913 - one argument for each thing that a test chooses
    folder: Path,
    *,
    url: str = "http://127.0.0.1:9",
    genesis: str = "0" * 64,
    receipt_key: str = "",
    map_: str = MAP,
    slurm: str = "",
    source: str = "",
    service: str = "",
) -> Config:
    """Write an agent's file and key, and read the file; a `source` takes the place of Slurm."""
    folder.mkdir(exist_ok=True)
    key = folder / "pcl.key"
    if not key.exists():
        keygen(key, ORIGIN, "pcl", "pcl-1")
    file = folder / "agent.toml"
    text = f"""\
        spool = "{folder}/spool/spool.db"

        [service]
        url = "{url}"
        log = "{ORIGIN}"
        genesis = "{genesis}"
        receipt_key = "{receipt_key}"
        {service}

        [provider]
        id = "pcl"
        stream = "cluster"
        keyid = "pcl-1"
        key = "{key}"

        [slurm]
        cluster = "c1"
        since = {"" if "since" in slurm else f'"{SINCE}"'}
        {slurm}
    """
    text = re.sub(r"^\s*since = $", "", text, flags=re.MULTILINE)
    if source:
        text = re.sub(r"^\s*\[slurm\]\n.*", lambda _: source, text, flags=re.MULTILINE | re.DOTALL)
    file.write_text(dedent(text) + dedent(map_), encoding="utf-8")
    return read_config(file)


@dataclass(frozen=True)
class Golden:
    """The rows of one recorded case, in the order of `slurm.FIELDS`."""

    name: str
    rows: list[str]

    @property
    def runs(self) -> dict[str, Run]:
        rows, faults = slurm.rows_of("\n".join(self.rows), "c1")
        assert not faults
        return slurm.runs_of(rows, set())


def golden_rows(text: str) -> Iterator[str]:
    """Yield the rows of a recorded text as `sacct` prints them; `#` begins a remark."""
    head, *rows = [line for line in text.splitlines() if not line.startswith("#")]
    names = head.split("|")
    for row in rows:
        values = dict(zip(names, row.split("|"), strict=True))
        yield slurm.SEPARATOR.join(values[name] for name in slurm.FIELDS)


def golden(file: Path) -> Golden:
    return Golden(file.stem, list(golden_rows(file.read_text(encoding="utf-8"))))


def reading(at: int, *runs: Run, faults: tuple[str, ...] = (), since: int = 0) -> Reading:
    return Reading(at, since, {run.id: run for run in runs}, faults)


def run(raw: int, begin: int, end: int | None = None, **changes: object) -> Run:
    """Return a run of two cards of account acc-a: open, unless it has an end."""
    until = begin if end is None else end
    fields = {
        "id": f"slurm:c1:{raw}:{begin}",
        "account": "acc-a",
        "partition": "batch",
        "state": "RUNNING" if end is None else "COMPLETED",
        "allocation": "billing=1,cpu=1,gres/gpu:h100=2,gres/gpu=2,mem=200M,node=1",
        "begin": begin,
        "end": end,
        "ran": until - begin,
        "was_suspended": False,
        "standing": "open" if end is None else "ended",
    }
    return Run(**(fields | changes))


class Scheduler:
    """What the agent reads, one reading a round; `since` is how far back it wanted to look."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.since: list[int] = []

    async def collect(self, since: int) -> Reading:
        self.since.append(since)
        at, runs, faults = self.readings.pop(0)
        return reading(at, *runs, faults=faults, since=since)

    def says(self, at: int, *runs, faults: tuple[str, ...] = ()) -> None:
        self.readings.append((at, runs, faults))


@asynccontextmanager
async def clustered(database, folder: Path, *contracts: str, **settings):
    """Yield a service, an agent's file, and what its scheduler says."""
    async with serving(database, folder, NOON) as service:
        genesis = service.intake.state.genesis_hash
        key = base64.b64encode(receipt_key(service)).decode()
        made = {"url": service.url, "genesis": genesis, "receipt_key": key} | settings
        file = config(folder / "agent", **made)
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices=KINDS))
        own = registration(load_key(Path(file.provider.key)), ORIGIN, "pcl", "pcl-1")
        await service.ask("/v1/providers/pcl/keys", **own)
        await service.ask("/v1/enterprises", **enterprise_body())
        for contract in contracts or ("A", "B"):
            await service.ask("/v1/contracts", **contract_body(contract, prices=PRICES))
        yield service, file, Scheduler()


def agent_of(file, scheduler: Scheduler, **settings) -> Agent:
    return Agent(file, collect=scheduler.collect, **(NO_PAUSE | settings))


async def rounds(file, scheduler: Scheduler):
    """Run a round for each reading, each as a process of its own; return the last outcome."""
    outcome, status = None, None
    while scheduler.readings:
        async with agent_of(file, scheduler) as agent:
            outcome = await agent.once()
            status = status_of(agent.spool)
    return outcome, status


async def metered(service) -> dict[str, int]:
    """Return thousandths × seconds by run, of the records that count."""
    found: dict[str, int] = {}
    voided = {e.record for e in await service.entries() if e.kind == "void"}
    for number, entry in enumerate(await service.entries()):
        if isinstance(entry, UsageAccepted) and number not in voided:
            seconds = (entry.end - entry.start) // 1_000_000
            found[entry.run] = found.get(entry.run, 0) + entry.milli_devices * seconds
    return found


def make_due(file) -> None:
    """Let what waits be sent again now."""
    database = sqlite3.connect(file.spool)
    with database:
        database.execute("UPDATE waiting SET due = 1")
    database.close()
