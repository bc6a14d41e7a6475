"""Which days of device-time in use a group of batches needs, before it is decided."""

import pytest

from meter.rules.measure import days_of_batch, days_of_batches
from meter.wire.batch import MAX_RECORD_SECONDS, Batch, Record
from tests.books import DAY, DEVICE, HOUR, ORIGIN, Books, lifted, opened, record

CONTRACT, PROVIDER = ("contract", "A", DEVICE), ("provider", "pcl", DEVICE)
START = 20_148 * DAY  # midnight of UTC, 1 March 2025


def books() -> Books:
    books = opened(lifted())
    books.contract("A")
    books.contract("B", max_devices={})
    return books


def batch(start: int, end: int, contract: str = "A") -> Batch:
    records = [Record("r", contract, DEVICE, 1_000, start, end)]
    return Batch(log=ORIGIN, provider="pcl", stream="main", seq=1, records=records)


def days(start: int, end: int, contract: str = "A") -> set:
    return set(days_of_batch(books().state, batch(start, end, contract)))


@pytest.mark.parametrize(
    ("start", "end", "touched"),
    [
        (START, START + 1, [0]),
        (START, START + DAY, [0]),
        (START, START + DAY + 1, [0, 1]),
        (START - 1, START + DAY, [-1, 0]),
        (START + DAY - 1, START + 3 * DAY, [0, 1, 2]),
    ],
)
def test_a_record_needs_the_days_of_utc_that_it_touches(start, end, touched):
    wanted = {20_148 + day for day in touched}
    assert days(start, end) == {(name, day) for name in (CONTRACT, PROVIDER) for day in wanted}


def test_a_contract_without_a_limit_and_an_unknown_one_need_the_providers_devices_alone():
    for contract in ("B", "none"):
        assert days(START, START + HOUR, contract) == {(PROVIDER, 20_148)}


def test_an_interval_that_no_record_can_have_needs_no_day():
    assert days(START + 1, START + 1) == days(START, START - HOUR) == set()
    assert days(START, START + MAX_RECORD_SECONDS + 1) == set()
    assert len(days(START, START + MAX_RECORD_SECONDS)) == 2 * MAX_RECORD_SECONDS // DAY


def test_a_group_needs_the_days_of_its_batches_and_of_the_records_that_are_there():
    open_books = books()
    open_books.post([record("there", "B", START, START + HOUR, 1_000)])
    needed = days_of_batches(open_books.state, [batch(START + 2 * DAY, START + 2 * DAY + 1)])
    assert needed == {(PROVIDER, 20_148), (PROVIDER, 20_150), (CONTRACT, 20_150)}
    assert days_of_batches(open_books.state, []) == {(PROVIDER, 20_148)}
