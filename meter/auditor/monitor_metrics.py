"""The metrics of a monitor, in Prometheus' form.

No label names anybody; the details of an alarm stand in the monitor's own lines.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meter.auditor.alarms import KINDS
from meter.auditor.monitor import Monitor

MAX_INCIDENTS: Final = 100  # of a monitor for which each stream has a gap


class MonitorMetrics(Collector):
    """The state of a monitor, read at each scrape."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        monitor = self._monitor
        alarms = GaugeMetricFamily("kashi_monitor_alarms", "Alarms that are on", labels=["kind"])
        for kind in KINDS:
            alarms.add_metric([kind], monitor.alarms.count(kind))
        yield alarms
        yield _incidents(monitor)
        polls = CounterMetricFamily("kashi_monitor_polls", "Polls of the log", labels=["outcome"])
        for outcome in ("answered", "failed"):
            polls.add_metric([outcome], monitor.polls[outcome])
        yield polls
        for name, about, value in (
            ("entries", "Entries in the copy, all proved", monitor.size),
            ("judged", "Entries in the copy that were decided again", monitor.following.judged),
            ("grown_seconds", "When the copy last grew, in seconds since 1970", monitor.grown_at),
            (
                "polled_seconds",
                "When the log last answered, in seconds since 1970",
                monitor.polled_at,
            ),
        ):
            yield GaugeMetricFamily(f"kashi_monitor_{name}", about, value=value)


def _incidents(monitor: Monitor) -> Metric:
    """Return since when each incident is on, of the oldest ones."""
    family = GaugeMetricFamily(
        "kashi_monitor_incident_seconds",
        "When an alarm went on, in seconds since 1970",
        labels=["kind", "incident", "acknowledged"],
    )
    for each in monitor.alarms.incidents()[:MAX_INCIDENTS]:
        acknowledged = "no" if each.acknowledged is None else "yes"
        family.add_metric([each.alarm.kind, each.id, acknowledged], each.at)
    return family
