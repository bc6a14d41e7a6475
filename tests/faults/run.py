"""Inject one fault again and again: on one ledger for some time, then on the next."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.catalogue import Fault
from tests.faults.checker import Findings
from tests.faults.processes import Stuck
from tests.faults.stage import Stage, staged

TIMES_PER_LEDGER = 20  # then it is exported, audited and abandoned
MAX_STUCK = 5  # more would show nothing new, and each costs minutes

Advance = Callable[[], object]


@dataclass
class Outcome:
    """The result of a fault: how often it was injected, and the findings."""

    times: int = 0
    answers: int = 0
    stuck: int = 0
    longest_gap_seconds: float = 0.0
    found: Findings = field(default_factory=Findings)

    def add(self, stage: Stage) -> None:
        """Add the result on one ledger."""
        self.answers += stage.evidence.count
        self.found += stage.found
        self.longest_gap_seconds = max(self.longest_gap_seconds, stage.longest_gap_seconds)


async def run_fault(fault: Fault, times: int, seed: int, advance: Advance) -> Outcome:
    """Inject a fault this many times. Raises `CannotInject` where this machine cannot."""
    fault.check_possible()
    outcome = Outcome()
    while outcome.times < times and outcome.stuck < MAX_STUCK:
        end = min(times, outcome.times + TIMES_PER_LEDGER)
        with tempfile.TemporaryDirectory(prefix="kashi-faults-") as folder:
            async with staged(fault.ground, seed, Path(folder)) as stage:
                await _hurt(stage, fault, outcome, end, advance)
                outcome.add(stage)
        seed += 1
    return outcome


async def _hurt(stage: Stage, fault: Fault, outcome: Outcome, end: int, advance: Advance) -> None:
    """Inject up to the `end`th time; a stuck stage stops, and the next may go on."""
    try:
        while outcome.times < end:
            outcome.times += 1
            await fault.perform(stage, outcome.times - 1)
            advance()
        await stage.check()
    except Stuck as stuck:
        outcome.stuck += 1
        stage.found += Findings(wrong=[f"time {outcome.times}: {stuck}"])
