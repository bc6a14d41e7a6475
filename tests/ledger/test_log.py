import pytest

from ledger.book import Book
from ledger.errors import BadAppend, BadPosting, FloorBroken
from ledger.log import Log
from ledger.tlog import EMPTY_ROOT, Frontier, Tree, leaf_hash


def empty(**balances):
    return Log(Frontier(), Book(["pool"], balances), last_at=0)


def test_groups_follow_each_other_and_end_where_the_tree_does():
    log, tree = empty(), Tree()
    assert log.append(b"a", 5, [("x", "pool:a", 3)]) == 0
    assert log.append(b"b", 5, []) == 1
    first = log.take_group()
    assert log.append(b"c", 6, [("pool:a", "x", 2)]) == 2
    second = log.take_group()
    for entry in (b"a", b"b", b"c"):
        tree.append(leaf_hash(entry))
    assert (first.first, first.count, first.size, first.last_at) == (0, 2, 2, 5)
    assert (second.first, second.count, second.size, second.last_at) == (2, 1, 3, 6)
    assert (first.root, second.root) == (tree.root(2), tree.root())
    assert first.entries + second.entries == [b"a", b"b", b"c"]
    assert first.leaf_hashes + second.leaf_hashes == tree.tile_hashes(0, 0, 3)
    assert (first.balances, second.balances) == (
        {"x": -3, "pool:a": 3},
        {"x": -1, "pool:a": 1},
    )


def test_a_log_goes_on_from_a_stored_group():
    log = empty()
    for number in range(7):
        log.append(bytes([number]), number, [])
    group = log.take_group()
    again = Log(Frontier.from_bytes(group.size, group.frontier), Book(), group.last_at)
    for each in (log, again):
        each.append(b"next", 7, [])
    assert log.take_group() == again.take_group()


@pytest.mark.parametrize(
    ("data", "at", "postings", "error"),
    [
        (b"x" * 65_536, 5, [], BadAppend),
        (b"x", 4, [], BadAppend),
        (b"x", 5, [("pool:a", "x", 4)], FloorBroken),
        (b"x", 5, [("x", "y", 1), ("x", "x", 1)], BadPosting),
    ],
)
def test_a_refused_entry_changes_nothing(data, at, postings, error):
    log, same = empty(), empty()
    for each in (log, same):
        each.append(b"first", 5, [("x", "pool:a", 3)])
    with pytest.raises(error):
        log.append(data, at, postings)
    assert (log.size, log.root(), log.last_at) == (same.size, same.root(), same.last_at)
    assert log.take_group() == same.take_group()


def test_a_group_of_nothing_says_where_the_log_stands():
    group = empty().take_group()
    assert (group.first, group.count, group.size, group.root) == (0, 0, 0, EMPTY_ROOT)


def test_an_entry_may_be_as_long_as_a_bundle_can_say():
    assert empty().append(b"x" * 65_535, 0, []) == 0


def test_entries_are_added_together_as_they_are_one_by_one():
    one, many = empty(), empty()
    for data in (b"a", b"b", b"c"):
        one.append(data, 5, [("x", "pool:a", 1)])
    assert many.extend([b"a", b"b", b"c"], 5, [("x", "pool:a", 3)]) == 0
    assert many.take_group() == one.take_group()
    assert many.extend([b"d"], 5, []) == one.append(b"d", 5, []) == 3


@pytest.mark.parametrize(
    ("entries", "at", "postings", "error"),
    [
        ([b"d", b"x" * 65_536], 5, [], BadAppend),
        ([b"d", b"e"], 4, [], BadAppend),
        ([b"d", b"e"], 5, [("pool:a", "x", 4)], FloorBroken),
        ([b"d", b"e"], 5, [("x", "y", 0)], BadPosting),
        # Between the two, pool:a may have been below zero.
        ([b"d", b"e"], 5, [("pool:a", "x", 4), ("y", "pool:a", 4)], BadPosting),
    ],
)
def test_of_entries_that_are_refused_none_is_added(entries, at, postings, error):
    log, same = empty(), empty()
    for each in (log, same):
        each.append(b"first", 5, [("x", "pool:a", 3)])
    with pytest.raises(error):
        log.extend(entries, at, postings)
    assert log.take_group() == same.take_group()
