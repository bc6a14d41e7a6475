"""The agent's metrics, in Prometheus' form; docs/agent.md says what to watch.

They name devices and reasons, and no account, contract or run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meter.agent.run import Outcome
from meter.agent.status import Status


class AgentMetrics(Collector):
    """What the last rounds left; `note` is told of each."""

    def __init__(self) -> None:
        self._rounds: Counter[str] = Counter(good=0, trouble=0)
        self._status: Status | None = None
        self._clocks: Mapping[str, float] = {}

    def note(self, outcome: Outcome | None, status: Status | None) -> None:
        """Take in a round; one without an outcome was stopped."""
        is_good = outcome is not None and not outcome.faults
        self._rounds["good" if is_good else "trouble"] += 1
        self._status = status or self._status
        if outcome is not None:
            self._clocks = outcome.clock_ahead_seconds

    def collect(self) -> Iterator[Metric]:
        rounds = CounterMetricFamily("kashi_agent_rounds", "Rounds", labels=["outcome"])
        for outcome, count in self._rounds.items():
            rounds.add_metric([outcome], count)
        yield rounds
        yield _by("clock_ahead_seconds", "How far the clock here is ahead", "of", self._clocks)
        status = self._status
        if status is None:
            return
        for name, about, value in _gauges(status):
            yield GaugeMetricFamily(f"kashi_agent_{name}", about, value=value)
        standing = {"open": status.open, "doubtful": status.doubtful}
        yield _by("runs", "Runs that are not known to have ended", "standing", standing)
        quarantined = Counter(each.trouble.code for each in status.quarantined)
        yield _by("quarantined_runs", "Runs that are not reported", "reason", quarantined)
        questions = Counter(each.trouble.code for each in status.questions)
        yield _by("corrections_waiting", "Corrections for a person to approve", "reason", questions)
        yield _by("waiting_records", "Records that are sent again", "code", status.waiting)
        yield _by("refused_records", "Records that were refused", "code", status.refused)
        seconds = {name: milli / 1_000 for name, milli in status.milli_device_seconds.items()}
        yield _by("device_seconds", "Device-seconds by what became of them", "standing", seconds)


def _gauges(status: Status) -> Iterator[tuple[str, str, float | None]]:
    """Yield the name, the description and the value of each gauge without a label."""
    yield (
        "complete_reading_seconds",
        "When the last complete reading was, in seconds since 1970; 0 for never",
        status.complete_at or 0,
    )
    yield "unsent_batches", "Batches without a receipt", status.unsent
    yield (
        "oldest_unsent_seconds",
        "When the oldest of them was made, in seconds since 1970; 0 where there is none",
        status.unsent_since or 0,
    )
    yield (
        "receipt_seconds",
        "When the last receipt came, in seconds since 1970; 0 for never",
        status.receipt_at or 0,
    )
    yield (
        "summed_up_seconds",
        "The end of the last day that is summed up, in seconds since 1970, if one is",
        status.summed_up_until,
    )
    yield (
        "disagreeing_summaries",
        "Of the last 35 days that were summed up, those of which it has other figures",
        len(status.disagreeing),
    )


def _by(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"kashi_agent_{name}", about, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
