"""Where the demonstration's usage comes from: a simulated cluster, or the trace of a real one.

A scenario says who takes part (`cast`), what the provider posts and when (`work`), and what it
counted for itself (`compare`), so that the ledger can be compared with it. It prints nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from msgspec.structs import replace

from meter.agent.simulate import CARDS_PER_NODE, Cluster, Rental
from meter.client import Stream
from meter.demo.cast import (
    CAP,
    CLUSTER,
    FIRST_OF_STARTUP,
    PROGRAMME,
    SECOND_OF_STARTUP,
    SHORT,
    STANDARD_CONTRACT,
    TRACE_CONTRACTS,
    TRACE_RULE,
    TRACE_YEARS,
    Cast,
    trace_cast,
)
from meter.demo.trace import Totals, TraceError, parse, records
from meter.rules.rating import DENOMINATOR, FULL_BP, seconds_by_year
from meter.values.policy import Policy, shipped_text
from meter.values.units import (
    DAY_SECONDS,
    format_instant,
    format_money,
    parse_date,
    parse_instant,
    parse_money,
    parse_price,
)
from meter.wire.batch import Batch, Record, Void

POLICY_VERSION: Final = "2024-12"
SEED: Final = 2025

CLUSTER_BEGINS: Final = parse_instant("2025-03-01T08:00:00+08:00")
CLUSTER_NODES: Final = 32
REPORT_SECONDS: Final = 3600

TRACE_VERSION: Final = "2024-12-trace"
TRACE_BEGINS: Final = parse_date("2025-08-25")
TRACE_LATENESS_DAYS: Final = 400
TRACE_MAX_DAYS: Final = TRACE_LATENESS_DAYS - 1  # all is posted a day after the trace's end
TRACE_BATCH_RECORDS: Final = 500


@dataclass(frozen=True, slots=True)
class Metered:
    """What a verified ledger's usage entries say.

    `device_time` is of all of them, `net_by_contract` without those that were voided; both in
    thousandths × seconds. `runs` counts the distinct `run`s.
    """

    device_time: int
    net_by_contract: Mapping[str, int]
    records: int
    runs: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure from both sides."""

    what: str
    counted: int
    in_ledger: int


class Scenario(Protocol):
    """What differs between the two demonstrations."""

    begins: int
    cast: Cast
    policy: Mapping[str, Any]
    rules: Policy
    title: str
    sides: tuple[str, str]
    coupon_runs_out: bool  # whether it must, or may

    def explain(self) -> Sequence[tuple[str, str]]:
        """Return how usage arises, as pairs of a name and a text."""

    def work(self, stream: Stream) -> list[tuple[int, Batch]]:
        """Return the batches, each with the instant at which it is posted."""

    def may_void(self, record: Record) -> bool:
        """Return whether the provider could want to take this record back."""

    def apply_void(self, record: Record) -> Batch:
        """Return the batch that voids it."""

    def compare(self, metered: Metered) -> list[Comparison]:
        """Compare the provider's own count with the ledger's."""


class ClusterScenario:
    """Three weeks of a simulated Ascend cluster, posted as they pass."""

    begins = CLUSTER_BEGINS
    cast = CLUSTER
    policy: Mapping[str, Any] = {"programme": PROGRAMME, "version": POLICY_VERSION}
    title = "A simulated cluster works for three weeks and posts usage that it signed"
    sides = ("counted by the cluster", "in the ledger")
    coupon_runs_out = True

    def __init__(self) -> None:
        self.rules = Policy.parse(shipped_text(PROGRAMME, POLICY_VERSION))

    def explain(self) -> Sequence[tuple[str, str]]:
        return (
            ("cluster", f"{CLUSTER_NODES} nodes of {CARDS_PER_NODE} Ascend cards, training jobs"),
            ("batches", "every hour the next slice of each job, signed with pcl-2025a"),
        )

    def work(self, stream: Stream) -> list[tuple[int, Batch]]:
        self._cluster = Cluster(
            seed=SEED,
            stream=stream,
            nodes=CLUSTER_NODES,
            rentals=[
                _rental(STANDARD_CONTRACT, 16, 0, 21),
                _rental(FIRST_OF_STARTUP, 8, 0, 12),
                _rental(SECOND_OF_STARTUP, 8, 3, 18),
            ],
            clock=CLUSTER_BEGINS,
        )
        batches = []
        while not self._cluster.idle:
            self._cluster.run_until(self._cluster.clock + REPORT_SECONDS)
            batches.append((self._cluster.clock, self._cluster.report()))
        return batches

    def may_void(self, record: Record) -> bool:
        return record.contract == FIRST_OF_STARTUP and record in self._cluster.failed

    def apply_void(self, record: Record) -> Batch:
        return self._cluster.apply_void([record], "node failed, not charged")

    def compare(self, metered: Metered) -> list[Comparison]:
        return [
            Comparison(
                f"{contract}, thousandths × seconds, less voids",
                counted,
                metered.net_by_contract.get(contract, 0),
            )
            for contract, counted in self._cluster.device_time.items()
        ]


def _rental(contract: str, nodes: int, first_day: int, days: int) -> Rental:
    start = CLUSTER_BEGINS + first_day * DAY_SECONDS
    return Rental(contract, "ascend-910b", nodes, start, start + days * DAY_SECONDS)


class TraceScenario:
    """The tasks of a cluster trace, all posted a day after the last has ended."""

    begins = TRACE_BEGINS
    title = "The tasks of a cluster trace become signed usage"
    sides = ("counted from the file", "metered or skipped")
    coupon_runs_out = False

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._trace = parse(text)
        days, rest = divmod(self._trace.end - self._trace.start, DAY_SECONDS)
        if days + bool(rest) > TRACE_MAX_DAYS:
            raise TraceError(f"its tasks lie more than {TRACE_MAX_DAYS} days apart")
        self._records = records(self._trace, TRACE_RULE, TRACE_BEGINS)
        self._ends = TRACE_BEGINS + self._trace.end - self._trace.start
        content = trace_policy()
        self.policy: Mapping[str, Any] = {
            "programme": PROGRAMME,
            "version": TRACE_VERSION,
            "content": content,
        }
        self.rules = Policy.parse(content)
        self.cast = trace_cast(_too_little(self._records, self.rules))

    def explain(self) -> Sequence[tuple[str, str]]:
        contracts = (
            (f"qos {qos}", ", ".join(names) + (" by byte 0 of its hash" if names[1:] else ""))
            for qos, names in TRACE_RULE.contracts.items()
        )
        return (
            ("file", f"{self._name}, {len(self._trace.tasks):,} tasks that held GPUs for a time"),
            *contracts,
            ("device kind", f"{', '.join(TRACE_RULE.devices)} by byte 1"),
            ("its hash", 'sha256("<gpu_spec>/<name>")'),
            ("devices", "num_gpu × gpu_milli thousandths of one"),
            ("from, to", "scheduled_time, deletion_time; cut where longer than 31 days"),
            ("second 0", f"is {format_instant(TRACE_BEGINS - self._trace.start)}"),
            ("policy", f"the shipped one, but for a lateness of {TRACE_LATENESS_DAYS} days"),
            ("posted", f"in batches of {TRACE_BATCH_RECORDS}, the day after the last task's end"),
        )

    def work(self, stream: Stream) -> list[tuple[int, Batch]]:
        self._stream = stream
        starts = range(0, len(self._records), TRACE_BATCH_RECORDS)
        parts = [self._records[start : start + TRACE_BATCH_RECORDS] for start in starts]
        return [(self._ends + DAY_SECONDS, stream.next_batch(part)) for part in parts]

    def may_void(self, record: Record) -> bool:
        return record.final is True

    def apply_void(self, record: Record) -> Batch:
        return self._stream.next_batch([], [Void(record.id, "on a broken node, not charged")])

    def compare(self, metered: Metered) -> list[Comparison]:
        file = Totals.of(self._text)
        skipped = [
            Comparison(f"tasks skipped, {reason}", file.skipped[reason], count)
            for reason, count in self._trace.skipped.items()
            if count or file.skipped[reason]
        ]
        return [
            Comparison("thousandths × seconds, voids too", file.device_time, metered.device_time),
            Comparison("tasks metered", file.tasks, metered.runs),
            Comparison("records, long tasks sliced", file.records, metered.records),
            *skipped,
        ]


def trace_policy() -> str:
    """Return the shipped policy's text under another version, with a lateness for a trace."""
    text = shipped_text(PROGRAMME, POLICY_VERSION)
    shipped = Policy.parse(text)
    days = shipped.lateness_seconds // DAY_SECONDS
    text = text.replace(f'version = "{POLICY_VERSION}"', f'version = "{TRACE_VERSION}"')
    text = text.replace(f"days = {days}\n", f"days = {TRACE_LATENESS_DAYS}\n")
    lateness_seconds = TRACE_LATENESS_DAYS * DAY_SECONDS
    wanted = replace(shipped, version=TRACE_VERSION, lateness_seconds=lateness_seconds)
    assert Policy.parse(text) == wanted, "nothing else in the file looks like these two lines"
    return text


def _too_little(usage: Sequence[Record], policy: Policy) -> str:
    """Return half of the entitlement of `SHORT` in the first year, and a fen."""
    prices = {
        str(body["id"]): {device: parse_price(text) for device, text in body["prices"].items()}
        for body in TRACE_CONTRACTS
        if body["enterprise"] == SHORT
    }
    numerators = dict.fromkeys(prices, 0)
    for record in usage:
        if record.contract in prices:
            seconds = dict(seconds_by_year([(record.start, record.end)])).get(TRACE_YEARS[0], 0)
            price = prices[record.contract][record.device]
            numerators[record.contract] += record.milli_devices * seconds * price
    ratio_bp = policy.ratio_bp["startup"]
    entitled = sum(ratio_bp * sum_ // (FULL_BP * DENOMINATOR) for sum_ in numerators.values())
    return format_money(min(entitled // 2 + 1, parse_money(CAP)))
