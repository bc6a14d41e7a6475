"""The queue before the sequencer: order within a sender, turns among senders, and its bound."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.host.queue import QUANTUM_BYTES, Queue
from meter.values.problems import Problem
from tests.books import properties

MAX_BYTES = 64 * QUANTUM_BYTES


@dataclass(frozen=True)
class Item:
    sender: str
    number: int
    size_bytes: int


def queue_of(*items: Item, max_bytes: int = MAX_BYTES) -> Queue[Item]:
    queue: Queue[Item] = Queue(max_bytes)
    for item in items:
        queue.put(item)
    return queue


def flood(sender: str, count: int, size_bytes: int) -> list[Item]:
    return [Item(sender, number, size_bytes) for number in range(count)]


def drained(queue: Queue[Item], max_bytes: int) -> list[list[Item]]:
    """Take groups until nothing waits."""
    groups = []
    while queue:
        groups.append(queue.take(max_bytes))
    return groups


def test_items_of_one_sender_come_out_in_the_order_in_which_they_came():
    items = flood("a", 100, 10_000)
    groups = drained(queue_of(*items), 3 * QUANTUM_BYTES)
    assert [item for group in groups for item in group] == items
    assert len(groups) > 1


def test_a_flood_of_one_delays_another_by_no_more_than_its_own_turn():
    queue = queue_of(*flood("flood", 50, QUANTUM_BYTES))
    queue.put(Item("other", 0, 1_000))
    assert [item.sender for item in queue.take(4 * QUANTUM_BYTES)] == [
        "flood",
        "other",
        *["flood"] * 3,
    ]


def test_whoever_comes_during_a_flood_is_in_the_next_group():
    queue = queue_of(*flood("flood", 50, QUANTUM_BYTES))
    queue.take(4 * QUANTUM_BYTES)
    for sender in ("x", "y", "z"):
        queue.put(Item(sender, 0, 1_000))
    assert Counter(item.sender for item in queue.take(4 * QUANTUM_BYTES)) >= Counter("xyz")


def test_turns_are_by_bytes_and_not_by_items():
    """Sixteen senders of small items get as much as one of large ones, and no less."""
    queue = queue_of(*flood("large", 8, 4 * QUANTUM_BYTES), *flood("small", 2_048, 1_024))
    taken = Counter()
    for item in queue.take(16 * QUANTUM_BYTES):
        taken[item.sender] += item.size_bytes
    assert taken == {"large": 8 * QUANTUM_BYTES, "small": 8 * QUANTUM_BYTES}


def test_an_item_larger_than_a_turn_waits_until_its_credit_suffices_and_no_longer():
    queue = queue_of(Item("a", 0, 3 * QUANTUM_BYTES), *flood("b", 9, QUANTUM_BYTES))
    taken = [item.sender for item in queue.take(MAX_BYTES)]
    assert taken == ["b", "b", "a", *"b" * 7]


def test_an_item_larger_than_a_group_is_taken_and_ends_the_group():
    queue = queue_of(Item("a", 0, 20 * QUANTUM_BYTES), Item("a", 1, 1))
    assert [[item.number for item in group] for group in drained(queue, QUANTUM_BYTES)] == [
        [0],
        [1],
    ]


def test_a_group_ends_with_the_item_that_reaches_its_bound():
    queue = queue_of(*flood("a", 10, 400))
    assert [len(group) for group in drained(queue, 1_000)] == [3, 3, 3, 1]
    assert [len(group) for group in drained(queue_of(*flood("a", 4, 500)), 1_000)] == [2, 2]


def test_an_idle_sender_saves_nothing_up():
    queue = queue_of(*flood("a", 4, QUANTUM_BYTES // 2))
    queue.take(MAX_BYTES)
    for item in [*flood("b", 9, QUANTUM_BYTES), *flood("a", 9, QUANTUM_BYTES)]:
        queue.put(item)
    assert [item.sender for item in queue.take(6 * QUANTUM_BYTES)] == ["b", "a"] * 3


def test_beyond_its_bytes_the_queue_is_busy_and_takes_again_what_fits():
    queue = queue_of(*flood("a", 3, 300), max_bytes=1_000)
    with pytest.raises(Problem, match="busy: 900 bytes"):
        queue.put(Item("b", 0, 101))
    queue.put(Item("b", 0, 100))
    with pytest.raises(Problem, match="busy: 1000 bytes"):
        queue.put(Item("c", 0, 1))
    assert len(queue.take(300)) == 1
    queue.put(Item("c", 0, 300))
    assert len(queue) == 4


def test_a_closed_queue_gives_out_what_waits_and_takes_nothing():
    queue = queue_of(*flood("a", 2, 10))
    queue.close("this service ends")
    with pytest.raises(Problem, match="unavailable: this service ends"):
        queue.put(Item("a", 2, 10))
    assert len(queue.take(MAX_BYTES)) == 2
    assert len(queue) == 0


def test_its_bytes_are_those_of_what_waits():
    queue, sizes = queue_of(), []
    for item in flood("a", 3, 300):
        queue.put(item)
        sizes.append(queue.size_bytes)
    for _ in range(2):
        queue.take(500)
        sizes.append(queue.size_bytes)
    assert sizes == [300, 600, 900, 300, 0]


async def test_whoever_waits_wakes_when_something_comes_and_not_when_all_is_taken():
    queue = queue_of()
    waiting = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    for item in flood("a", 2, 10):
        queue.put(item)
    await waiting
    queue.take(1)
    await queue.wait()  # one is left
    queue.take(1)
    again = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()


ITEMS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 3 * QUANTUM_BYTES)), min_size=1, max_size=60
)


@properties
@given(ITEMS, st.integers(1, 8 * QUANTUM_BYTES))
def test_nothing_is_lost_doubled_or_overtaken_by_its_own(pairs, max_bytes):
    items = [Item(sender, number, size) for number, (sender, size) in enumerate(pairs)]
    groups = drained(queue_of(*items, max_bytes=sum(item.size_bytes for item in items)), max_bytes)
    taken = [item for group in groups for item in group]
    assert sorted(taken, key=lambda item: item.number) == items
    for sender in "abcd":
        numbers = [item.number for item in taken if item.sender == sender]
        assert numbers == sorted(numbers)
    for group in groups:
        sizes = [0, *accumulate(item.size_bytes for item in group)]
        assert all(size < max_bytes for size in sizes[:-1])


@properties
@given(ITEMS, st.integers(1, 8 * QUANTUM_BYTES))
def test_of_two_who_always_have_something_none_gets_more_than_a_turn_and_an_item_ahead(
    pairs, max_bytes
):
    largest = max(size for _, size in pairs)
    items = [Item(sender, n, size) for n, (_, size) in enumerate(pairs * 2) for sender in "ab"]
    queue = queue_of(*items, max_bytes=2**40)
    taken = Counter()
    while queue:
        for item in queue.take(max_bytes):
            taken[item.sender] += item.size_bytes
        if min(sum(i.size_bytes for i in items) // 2 - taken[s] for s in "ab") > 0:
            assert abs(taken["a"] - taken["b"]) <= 2 * QUANTUM_BYTES + 2 * largest
