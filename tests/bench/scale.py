"""The amounts of a measurement: in full, for a quick look, and for a test."""

from dataclasses import dataclass

from meter.auditor.papers.export import FORMATS


@dataclass(frozen=True)
class Scale:
    """`rounds` of each comparison; windows in seconds, amounts in records or entries."""

    rounds: int
    window_seconds: float
    copy_seconds: float
    copy_rows: int  # at most, in one round of the baseline
    batch_records: tuple[int, ...]
    clients: tuple[int, ...]
    audited_in_batches: int
    audited_singly: int
    papered_entries: int  # of the shorter log of which papers are written
    paper_rounds: int
    paper_forms: tuple[str, ...]  # of exports
    flat_small: int  # entries
    flat_large: int
    flat_window: int  # records
    restarts: int
    bodies: int  # of 8 MiB, at once
    latency_shares: tuple[int, ...]  # per cent of the measured maximum
    latency_seconds: float
    profile_seconds: float
    published_entries: int  # in batches
    published_singly: int  # records
    idle_seconds: float
    proofs: int
    read_records: int  # that a ledger has which is read
    paged_firms: int  # ten contracts each
    lookers: int  # people with a page open
    paged_entries: int  # of the ledger whose pages are shown
    questions: int  # of each kind
    paged_seconds: float  # of a window of posts beside pages
    snapshot_contracts: tuple[int, ...]


FULL = Scale(
    rounds=5,
    window_seconds=2.5,
    copy_seconds=1.0,
    copy_rows=100_000,
    batch_records=(1, 10, 100, 500, 2_000),
    clients=(1, 8, 64),
    audited_in_batches=100_000,
    audited_singly=10_000,
    papered_entries=10_000,
    paper_rounds=2,
    paper_forms=FORMATS,
    flat_small=10_000,
    flat_large=1_000_000,
    flat_window=20_000,
    restarts=3,
    bodies=8,
    latency_shares=(10, 20, 30, 40, 50, 60, 70, 80, 90),
    latency_seconds=1.5,
    profile_seconds=4.0,
    published_entries=1_000_000,
    published_singly=50_000,
    idle_seconds=10.0,
    proofs=1_000,
    read_records=25_000,
    paged_firms=50,
    lookers=100,
    paged_entries=1_000_000,
    questions=200,
    paged_seconds=10.0,
    snapshot_contracts=(100, 1_000),
)
QUICK = Scale(
    rounds=1,
    window_seconds=0.5,
    copy_seconds=0.3,
    copy_rows=50_000,
    batch_records=(1, 500),
    clients=(8, 64),
    audited_in_batches=4_000,
    audited_singly=500,
    papered_entries=1_000,
    paper_rounds=1,
    paper_forms=FORMATS,
    flat_small=2_000,
    flat_large=12_000,
    flat_window=2_000,
    restarts=1,
    bodies=2,
    latency_shares=(20, 50, 80),
    latency_seconds=0.5,
    profile_seconds=0.5,
    published_entries=20_000,
    published_singly=1_000,
    idle_seconds=1.0,
    proofs=100,
    read_records=3_000,
    paged_firms=50,
    lookers=100,
    paged_entries=40_000,
    questions=50,
    paged_seconds=2.0,
    snapshot_contracts=(100, 1_000),
)
TINY = Scale(
    rounds=1,
    window_seconds=0.1,
    copy_seconds=0.1,
    copy_rows=5_000,
    batch_records=(1, 50),
    clients=(2,),
    audited_in_batches=200,
    audited_singly=20,
    papered_entries=60,
    paper_rounds=1,
    paper_forms=("csv",),
    flat_small=200,
    flat_large=1_000,
    flat_window=200,
    restarts=1,
    bodies=1,
    latency_shares=(50,),
    latency_seconds=0.1,
    profile_seconds=0.1,
    published_entries=1_000,
    published_singly=20,
    idle_seconds=0.2,
    proofs=5,
    read_records=1_500,
    paged_firms=3,
    lookers=4,
    paged_entries=1_200,
    questions=3,
    paged_seconds=0.2,
    snapshot_contracts=(10,),
)
