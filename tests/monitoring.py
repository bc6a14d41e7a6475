"""A monitor whose clock a test moves, and batches that only one branch of a log has."""

from pathlib import Path

from ledger.quorum import TrustPolicy
from meter.auditor.alarms import KINDS
from meter.auditor.fetch import open_source
from meter.auditor.monitor import Limits, Monitor, Trust
from tests.books import record
from tests.sites import NOON, START, Site
from tests.writer import Writer

DAY_SECONDS = 86_400
LIMITS = Limits(gap_seconds=DAY_SECONDS, silence_seconds=3600)


class Watch:
    """A monitor of a site, with a clock that stands still until the test moves it."""

    def __init__(self, site: Site, data: Path, policy: TrustPolicy | None = None) -> None:
        self.site, self.data, self.policy = site, data, policy
        self.trusted = site.writer.signer.verifier
        self.now = NOON
        self.lines: list[dict] = []
        self.restart()

    def restart(self) -> None:
        """Begin anew from the folder alone, which must be enough without the site."""
        if hasattr(self, "monitor"):
            self.monitor.close()
        trust = Trust(self.trusted, self.policy)
        self.monitor = Monitor(self.data, trust, LIMITS, self.lines.append, lambda: self.now)
        self.monitor.start()

    async def poll(self) -> None:
        async with open_source(self.site.url, None) as source:
            await self.monitor.poll(source)

    def alarms(self) -> set[str]:
        return {kind for kind in KINDS if self.monitor.alarms.count(kind)}

    def said(self, kind: str) -> list[str]:
        """Return when an alarm went on and off."""
        return [line["state"] for line in self.lines if line.get("alarm") == kind]

    def detail(self, kind: str) -> str:
        return [line for line in self.lines if line.get("alarm") == kind][-1]["detail"]


def grow(writer: Writer, batches: int) -> None:
    """Write batches that nobody else writes."""
    for number in range(len(writer.leaves), len(writer.leaves) + batches):
        one = record(f"t{number}", "A", START, START + 60, 1_000)
        writer.post([one], seq=10_000 + len(writer.leaves))


def failing(*_: object) -> None:
    """Stand for a write to a disk that is gone."""
    raise OSError("the disk is gone")
