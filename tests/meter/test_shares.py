"""Who checks the signatures of a batch, of several processes that audit together."""

from collections import Counter

import pytest

from meter.auditor.shares import ADDING, REPLAYING, Shares
from meter.rules.entries import BatchAccepted


def batch(records: int) -> BatchAccepted:
    return BatchAccepted(
        at=1,
        by="pcl-1",
        postings=[],
        salt="00" * 16,
        provider="pcl",
        stream="main",
        seq=1,
        payload="",
        envelope="",
        receipt="",
        before=0,
        voids=0,
        records=records,
        purchases=0,
    )


def checkers(processes: int, *batches: BatchAccepted) -> list[int]:
    shares = Shares(processes)
    return [shares.checker(each) for each in batches]


def test_one_process_checks_all_signatures():
    assert set(checkers(1, *[batch(1), batch(500)] * 50)) == {REPLAYING}


def test_where_batches_are_large_the_process_that_replays_checks_no_signature():
    assert set(checkers(2, *[batch(500)] * 100)) == {ADDING}


def test_where_batches_are_small_it_takes_a_share_of_them():
    found = Counter(checkers(2, *[batch(1)] * 1_000))
    assert 0 < found[REPLAYING] < found[ADDING]


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_each_process_helps_with_the_signatures_of_single_records(processes):
    found = Counter(checkers(processes, *[batch(1)] * 1_000))
    assert set(range(2, processes)) <= set(found) <= set(range(processes))
