"""What the service counts, in Prometheus' form. No label names a person, a firm or a contract."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_GROUP_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class Metrics:
    """One service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.batches = Counter(
            "kashi_batches", "Signed batches by outcome", ["outcome"], registry=self.registry
        )
        self.records = Counter(
            "kashi_records", "Records and voids by result", ["status"], registry=self.registry
        )
        self.commands = Counter(
            "kashi_commands", "Authority commands by outcome", ["outcome"], registry=self.registry
        )
        self.entries = Gauge(
            "kashi_ledger_entries", "Entries in the ledger", registry=self.registry
        )
        self.queue_bytes = Gauge(
            "kashi_queue_bytes", "Bytes waiting to be decided", registry=self.registry
        )
        self.group_submissions = Histogram(
            "kashi_group_submissions",
            "Submissions decided and committed together",
            buckets=_GROUP_BUCKETS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "kashi_commit_seconds", "Time of a group's transaction", registry=self.registry
        )

    def text(self) -> bytes:
        """Give all metrics in the text format."""
        return generate_latest(self.registry)
