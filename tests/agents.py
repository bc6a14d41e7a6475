"""An agent for tests: its file, and readings that a test makes or reads from recorded rows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from meter.agent.collect import slurm
from meter.agent.config import Config, read_config
from meter.agent.usage import Reading, Run
from meter.client import keygen
from tests.services import ORIGIN

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
