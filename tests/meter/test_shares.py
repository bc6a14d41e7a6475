"""Who checks the signatures of a batch, of several processes that audit together."""

from collections import Counter

import pytest

from meter.auditor.shares import ADDING, REPLAYING, Shares
from meter.rules.entries import BatchAccepted


def batch(records: int, *, voids: int = 0, purchases: int = 0) -> BatchAccepted:
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
        voids=voids,
        records=records,
        purchases=purchases,
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


def test_voids_and_purchases_are_as_much_work_as_records():
    found = checkers(3, *[batch(n % 90) for n in range(1_000)])
    assert checkers(3, *[batch(0, voids=n % 90) for n in range(1_000)]) == found
    assert checkers(3, *[batch(0, purchases=n % 90) for n in range(1_000)]) == found
    mixed = [batch(n % 90, voids=n % 7, purchases=n % 5) for n in range(1_000)]
    plain = [batch(n % 90 + n % 7 + n % 5) for n in range(1_000)]
    assert checkers(3, *mixed) == checkers(3, *plain)


def test_a_batch_goes_to_the_process_that_has_done_least():
    assert checkers(3, *[batch(1)] * 4) == [2, 1, 2, 1]


def test_signatures_are_shared_while_to_add_with_them_takes_longer_than_to_replay():
    # 397 microseconds of replay stand against 180 and 226, and 430 against 198 and 226.
    assert REPLAYING in checkers(2, *[batch(9)] * 100)
    assert REPLAYING not in checkers(2, *[batch(10)] * 100)
