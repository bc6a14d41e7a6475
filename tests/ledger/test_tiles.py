from contextlib import suppress
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadFolder, BadProof
from ledger.tiles import (
    Tile,
    edge_tile,
    grown_tile,
    has_tile,
    height_of,
    level_tiles,
    parse_tile_path,
    root_over,
    tile_path,
    tiles_of,
)
from ledger.tlog import Tree, leaf_hash

levels = st.integers(0, 7) | st.sampled_from(["entries", "batches"])


def paths(size):
    return [tile.path for tile in tiles_of(size)]


def test_a_full_tile_is_hashed_up_and_an_empty_one_is_not_there():
    assert paths(0) == []
    assert paths(1) == ["tile/entries/000.p/1", "tile/0/000.p/1"]
    assert paths(255) == ["tile/entries/000.p/255", "tile/0/000.p/255"]
    assert paths(256) == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert paths(257) == [
        *("tile/entries/000", "tile/entries/001.p/1"),
        *("tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"),
    ]
    assert paths(65_536)[-2:] == ["tile/1/000", "tile/2/000.p/1"]


def test_the_tiles_after_an_old_size_are_those_that_it_has_not():
    sizes = [0, 1, 2, 255, 256, 257, 300, 511, 512, 600, 65_535, 65_536, 65_537, 131_072]
    for old_size, size in combinations_with_replacement(sizes, 2):
        for level in ("entries", "batches", *range(8)):
            old, new = ([*level_tiles(level, each)] for each in (old_size, size))
            expected = [tile for tile in new if tile not in old]
            assert [*level_tiles(level, size, old_size)] == expected, (level, old_size, size)


def test_numbers_stand_in_groups_of_three_digits():
    assert tile_path(0, 1_234_067, 256) == "tile/0/x001/x234/067"
    assert tile_path("entries", 1_000, 5) == "tile/entries/x001/000.p/5"
    assert tile_path("batches", 999, 256) == "batches/999"


@given(levels, st.integers(0, 2**55), st.integers(1, 256))
def test_a_path_is_read_back(level, index, width):
    tile = Tile(level, index, width)
    assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "checkpoint",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "batches/000.p/999",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/٠٠٠",
        "tile/data/000",
        "tile/batches/000",
        "entries/000",
        "tile/0/../0/000",
        "tile/0/000\n",
    ],
)
def test_a_path_in_another_spelling_is_refused(path):
    with pytest.raises(BadFolder):
        parse_tile_path(path)


@given(st.text(max_size=40))
def test_any_text_is_one_path_or_none(path):
    with suppress(BadFolder):
        assert parse_tile_path(path).path == path


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 513, 65_535, 65_536, 70_000])
def test_a_log_has_the_tiles_that_are_listed_for_it_and_no_others(size):
    listed = set(tiles_of(size))
    last = size // 256
    around = [
        Tile(level, index, width)
        for level in ("entries", 0, 1, 2, 3)
        for index in {0, 1, max(last - 1, 0), last, last + 1}
        for width in {1, 2, 255, 256, size % 256 or 256}
    ]
    for tile in [*around, *listed]:
        assert has_tile(size, tile) == (tile in listed)


def test_a_full_tile_of_roots_begins_another_level():
    sizes = (0, 1, 255, 256, 65_535, 65_536, 2**24 - 1, 2**24)
    assert [height_of(size) for size in sizes] == [0, 1, 1, 2, 2, 3, 3, 4]


def test_a_tile_grows_with_the_log_and_is_at_its_edge_until_it_is_full():
    assert edge_tile("entries", 0) is None
    assert edge_tile("entries", 300) == Tile("entries", 1, 44)
    assert edge_tile("batches", 256) is None
    assert edge_tile(1, 300) == Tile(1, 0, 1)
    assert grown_tile(300, Tile(0, 1, 3)) == grown_tile(300, Tile(0, 1, 44)) == Tile(0, 1, 44)
    assert grown_tile(300, Tile("batches", 0, 3)) == Tile("batches", 0, 256)
    assert grown_tile(300, Tile(0, 1, 45)) is None
    assert grown_tile(300, Tile(0, 2, 1)) is None
    assert grown_tile(300, Tile(0, 1, 0)) is None


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600, 65_535, 65_536, 65_800])
def test_the_tiles_at_the_edge_give_the_root(size):
    tree = Tree()
    for number in range(size):
        tree.append(leaf_hash(b"%d" % number))
    edges = [edge_tile(level, size) for level in reversed(range(height_of(size)))]
    hashes = [tree.tile_hashes(edge.level, edge.index, edge.width) for edge in edges if edge]
    assert root_over(size, hashes) == tree.root()
    with pytest.raises(BadProof):
        root_over(size + 2, hashes)


def test_every_tile_says_which_entries_are_below_it():
    assert (Tile(1, 1, 3).first, Tile(1, 1, 3).span) == (65_536, 256)
    assert (Tile("entries", 2, 3).first, Tile(0, 2, 3).span) == (512, 1)
    assert Tile("entries", 2, 3).beside("batches") == Tile("batches", 2, 3)
