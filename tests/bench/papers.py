"""An auditor's papers: what each costs beside `kashi verify` of the same log, at two lengths.

Every paper verifies the log first, in the same process, so a ratio of 1 is a paper that costs
nothing. Processor time and the most memory are those of the command with all its processes.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.audit import BATCH_RECORDS, Case
from tests.bench.report import Say, Section, Table
from tests.bench.scale import Scale
from tests.bench.servers import KASHI, Server
from tests.bench.workload import enterprise_of

GROWTH = 10  # of the log, from the first length to the second
MIB = 1024
_VERIFY = "verify"


@dataclass
class Cost:
    """Processor seconds, and the most KiB in memory, of each run."""

    seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)


@dataclass
class Log:
    """An exported log, and what its papers cost by their names."""

    case: Case
    key: Path
    costs: dict[str, Cost] = field(default_factory=dict)

    def papers(self, forms: Sequence[str]) -> dict[str, list[str]]:
        """The commands by name; OUT stands for a new folder."""
        log, vkey = str(self.case.folder), ["--vkey", str(self.case.vkey)]
        signed = ["--key", str(self.key), "--auditor", "bench"]
        exports = {
            f"export, {form}": ["audit", "export", log, "OUT", *vkey, "--format", form]
            for form in forms
        }
        firm = ["--enterprise", enterprise_of(0)]
        return {
            _VERIFY: ["verify", log, *vkey],
            "report": ["audit", "report", log, "OUT", *vkey, *signed],
            "evidence of a firm": ["audit", "evidence", log, "OUT", *vkey, *firm],
            "sample of 60": ["audit", "sample", log, "OUT", *vkey, "--size", "60"],
            "comparison of two sizes": [
                *("audit", "compare", "1", str(self.case.usage), log, "OUT", "--sizes", *vkey)
            ],
            **exports,
        }

    async def measure(self, name: str, words: list[str], number: int) -> None:
        """Run a command once."""
        out = str(self.case.folder.with_name(f"{self.case.name}.{name}.{number}"))
        named = [out if each == "OUT" else each for each in words]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.costing", KASHI, *named),
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
        assert process.returncode == 0, f"{name} failed"
        cost, used = self.costs.setdefault(name, Cost()), json.loads(told)
        cost.seconds.append(used["seconds"])
        cost.peaks.append(used["peak"])

    def times(self, name: str) -> float:
        """The processor time of a paper, divided by that of the verdict alone."""
        return median(self.costs[name].seconds) / median(self.costs[_VERIFY].seconds)

    def memory(self, name: str) -> float:
        return median(self.costs[name].peaks) / MIB


async def run(server: Server, scale: Scale, say: Say) -> Section:
    lengths = scale.papered_entries, scale.papered_entries * GROWTH
    key = server.folder / "auditor.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    logs = [Log(Case(f"papers-{each}", BATCH_RECORDS, 8, each), key) for each in lengths]
    for log in logs:
        say(f"fill and export a ledger of {log.case.wanted:,}", 0.0)
        await log.case.fill(server)
    for number in range(scale.paper_rounds):
        for log in logs:
            for name, words in log.papers(scale.paper_forms).items():
                say(f"{name}, {log.case.usage:,} entries", number / scale.paper_rounds)
                await log.measure(name, words, number)
    return Section("papers", [_table(logs)])


def _table(logs: list[Log]) -> Table:
    head = ("paper", *(f"{log.case.usage:,} entries: CPU ÷ `kashi verify`" for log in logs))
    head += tuple(f"{log.case.usage:,}: MiB" for log in logs)
    rows = [
        (
            name,
            *(f"{log.times(name):.2f}" for log in logs),
            *(f"{log.memory(name):,.0f}" for log in logs),
        )
        for name in logs[0].costs
    ]
    return Table(head, rows)
