"""The metrics of the service, in Prometheus' form; docs/operations.md says what to watch.

No label names a person, a firm, a contract or a provider: `/metrics` is public. Witnesses are named
as the operator's policy has it. Money is in a registry of its own, which is not public: whoever
watches a sum learns what each record was worth, by its difference.
"""

from collections import Counter as Sums
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from meter.rules.entries import Posting
from meter.rules.state import Pool, PoolId
from meter.values.units import MICROSECONDS

_GROUP_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_COMMIT_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIGNATURE_BUCKETS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1)


M = TypeVar("M", Counter, Gauge)


@dataclass(slots=True)
class Tally:
    """What a group adds once it is committed; `granted` and `returned` are fen by pool."""

    results: Sums[str] = field(default_factory=Sums)
    plain: int = 0  # of the records, those that were judged by groups
    granted: Sums[PoolId] = field(default_factory=Sums)
    returned: Sums[PoolId] = field(default_factory=Sums)

    def add(self, postings: Iterable[Posting]) -> None:
        """Add an entry's postings between coupons and contracts."""
        for source, target, fen in postings:
            if source.startswith("coupon:") and target.startswith("accrued:"):
                self.granted[_pool_of(source)] += fen
            elif source.startswith("accrued:"):
                self.returned[_pool_of(target)] += fen


@lru_cache(maxsize=4_096)
def _pool_of(coupon: str) -> PoolId:
    _, programme, year, _ = coupon.split(":")
    return programme, int(year)


class Metrics:
    """One service's metrics, in registries of their own: the public ones, and those of money."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a scrape has its own time
        self.registry = CollectorRegistry()
        self.money = CollectorRegistry()
        self.batches = self._counter("kashi_batches", "Signed batches by outcome", "outcome")
        self.records = self._counter("kashi_records", "Records and voids by result", "result")
        self.plain_records = self._counter(
            "kashi_plain_records", "Accepted records that were judged by groups"
        )
        self.commands = self._counter("kashi_commands", "Authority commands by outcome", "outcome")
        self.refused = self._counter(
            "kashi_refused_requests", "Requests answered by a problem, by its code", "code"
        )
        self.granted_fen = self._money(
            Counter, "kashi_granted_fen", "Money that coupons gave to contracts"
        )
        self.returned_fen = self._money(
            Counter, "kashi_returned_fen", "Money that contracts gave back to coupons"
        )
        self.pool_fen = self._money(Gauge, "kashi_pool_fen", "Money of a programme's year")
        self.pool_left_fen = self._money(
            Gauge, "kashi_pool_left_fen", "Money of a programme's year that is not issued"
        )
        self.recoveries = self._counter(
            "kashi_recoveries", "Reloads of the state after a failed commit"
        )
        self.entries = self._gauge("kashi_ledger_entries", "Entries in the ledger")
        self.queue_bytes = self._gauge("kashi_queue_bytes", "Bytes waiting to be decided")
        self.anonymous_seconds = self._counter(
            "kashi_anonymous_seconds",
            "Time that work for unknown senders took: bad envelopes, and public proofs",
            "work",
        )
        self.event_streams = self._gauge("kashi_event_streams", "Open streams of events")
        self.ready = self._gauge("kashi_ready", "Whether the service can commit")
        self.clock_ahead = self._gauge(
            "kashi_clock_ahead_seconds", "The clock less the instant of the last entry"
        )
        self.published = self._gauge("kashi_published_entries", "Entries in the published log")
        self.publish_failures = self._counter(
            "kashi_publish_failures", "Failed writes of the log's folder"
        )
        self.publish_seconds = Histogram(
            "kashi_publish_seconds",
            "Time to publish committed entries",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.cosignatures = self._counter(
            "kashi_cosignatures", "Witnesses asked, by outcome", "witness", "outcome"
        )
        self.quorums_missed = self._counter(
            "kashi_quorums_missed", "Checkpoints without a quorum, held or published", "outcome"
        )
        self.cosignature_seconds = Histogram(
            "kashi_cosignature_seconds",
            "Time to ask witnesses to cosign a checkpoint",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.alerts = self._counter(
            "kashi_alerts", "Attempts to send an alert, by outcome", "means", "outcome"
        )
        self.alerts_waiting = self._gauge("kashi_alerts_waiting", "Alerts in the outbox")
        self.alerts_overdue = self._gauge(
            "kashi_alerts_overdue_seconds", "How long the first alert in the outbox has been due"
        )
        self.group_submissions = Histogram(
            "kashi_group_submissions",
            "Submissions decided and committed together",
            buckets=_GROUP_BUCKETS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "kashi_commit_seconds",
            "Time of a group's transaction",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.signature_seconds = Histogram(
            "kashi_signature_seconds",
            "Time to verify a posted envelope, or to sign a receipt",
            ["operation"],
            buckets=_SIGNATURE_BUCKETS,
            registry=self.registry,
        )

        # Looked up once: each batch counts in them.
        self.verify_seconds = self.signature_seconds.labels("verify")
        self.sign_seconds = self.signature_seconds.labels("sign")
        self.good_batches = self.batches.labels("ok")

    def count_group(
        self, tally: Tally, submissions: int, size: int, pools: Mapping[PoolId, Pool]
    ) -> None:
        """Count a group that is durable."""
        self.group_submissions.observe(submissions)
        for result, count in tally.results.items():
            self.records.labels(result).inc(count)
        self.plain_records.inc(tally.plain)
        _add_by_pool(self.granted_fen, tally.granted)
        _add_by_pool(self.returned_fen, tally.returned)
        self.set_ledger(size, pools)

    def set_alerts(self, waiting: int, due: int | None, now: int) -> None:
        """Set how many alerts wait, and when the first one is due; times in microseconds."""
        self.alerts_waiting.set(waiting)
        self.alerts_overdue.set(0 if due is None else max(0, now - due) / MICROSECONDS)

    def set_ledger(self, size: int, pools: Mapping[PoolId, Pool]) -> None:
        """Set the size of the ledger and the money of its pools."""
        self.entries.set(size)
        for (programme, year), pool in pools.items():
            self.pool_fen.labels(programme, str(year)).set(pool.amount)
            self.pool_left_fen.labels(programme, str(year)).set(pool.amount - pool.issued)

    def text(self) -> bytes:
        """Return the public metrics in the text format."""
        return generate_latest(self.registry)

    async def public_text(self) -> bytes:
        """Return the same, for a service of one process."""
        return self.text()

    def money_text(self) -> bytes:
        """Return the metrics of money in the text format."""
        return generate_latest(self.money)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _money(self, kind: type[M], name: str, about: str) -> M:
        return kind(name, about, ("programme", "year"), registry=self.money)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self.registry)


def _add_by_pool(counter: Counter, fen_by_pool: Mapping[PoolId, int]) -> None:
    for (programme, year), fen in fen_by_pool.items():
        counter.labels(programme, str(year)).inc(fen)
