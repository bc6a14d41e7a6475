import random

import pytest

from ledger.errors import BadFolder, Violation
from ledger.folder import FolderReader
from ledger.following import Following, Unproved
from ledger.note import Checkpoint, open_checkpoint
from ledger.report import Finding
from ledger.tiles import level_tiles, tiles_of
from ledger.tlog import Tree, leaf_hash
from tests.ledger.exported import LOG, ORIGIN, Hashes, entry_of, exported


def advance(following, folder, *progress):
    reader = FolderReader(folder)
    checkpoint = open_checkpoint(reader.checkpoint(), LOG.verifier)
    following.advance(reader, checkpoint, *progress)


def follow(tmp_path, *sizes):
    """Follow an honest log through these sizes; each size has a folder of its own."""
    following = Following(ORIGIN, Hashes())
    for size in sizes:
        advance(following, exported(tmp_path / str(size), size))
    return following


def only_new_tiles(folder, old_size, size):
    """Remove the tiles that a log of the old size had already."""
    new = set(all_between(old_size, size))
    for tile in [*tiles_of(size), *level_tiles("batches", size)]:
        if tile not in new:
            (folder / tile.path).unlink(missing_ok=True)


def all_between(old_size, size):
    levels = ["entries", "batches", *range(8)]
    return [tile for level in levels for tile in level_tiles(level, size, old_size)]


@pytest.mark.parametrize("seed", range(6))
def test_a_log_that_is_followed_in_parts_is_judged_as_the_whole(tmp_path, seed):
    choose = random.Random(seed)
    sizes = sorted(choose.sample(range(1, 700), 4))
    replay = Hashes()
    following = Following(ORIGIN, replay)
    for old_size, size in zip([0, *sizes], sizes, strict=False):
        folder = exported(tmp_path / str(size), size)
        only_new_tiles(folder, old_size, size)
        advance(following, folder)
        assert following.finding is None
        assert following.judged == following.tree.size == size
        assert replay.numbers == list(range(size))
    tree = Tree()
    for number in range(sizes[-1]):
        tree.append(leaf_hash(entry_of(number)))
    assert [following.tree.root(size) for size in sizes] == [tree.root(size) for size in sizes]


def test_a_log_with_a_third_level_of_tiles_is_followed(tmp_path):
    size = 256 * 256 + 3
    folder = exported(tmp_path / "out", size)
    following = follow(tmp_path, 700)
    advance(following, folder)
    assert following.tree.size == following.judged == size
    changed = bytearray((folder / "tile/1/000").read_bytes())
    changed[200 * 32] ^= 1
    (folder / "tile/1/000").write_bytes(changed)
    with pytest.raises(Unproved, match="tile/1/000: bad_tile"):
        advance(follow(tmp_path / "again", 700), folder)


def test_every_byte_of_a_part_counts_and_a_bad_part_changes_nothing(tmp_path):
    following = follow(tmp_path, 250)
    folder = exported(tmp_path / "next", 260)
    only_new_tiles(folder, 250, 260)
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        if name == "checkpoint" or name.startswith("batches"):
            continue
        for place in {0, 1, 7, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(Unproved):
                advance(following, folder)
            assert following.tree.size == following.judged == 250
        path.unlink()
        with pytest.raises(Unproved) as caught:
            advance(following, folder)
        assert caught.value.finding.file == name
        path.write_bytes(data)
    advance(following, folder)
    assert following.tree.size == following.judged == 260
    assert following.finding is None


def test_a_tile_of_which_one_entry_is_known_is_followed(tmp_path):
    following = follow(tmp_path, 1, 3, 257, 259)
    assert (following.tree.size, following.finding) == (259, None)


def test_each_tile_is_told_when_it_is_read_and_when_it_is_judged(tmp_path):
    following, told = Following(ORIGIN, Hashes()), []
    for size, widths in ((300, [256, 44]), (513, [256, 1])):
        advance(following, exported(tmp_path / f"{size}", size), told.append)
        assert told == widths * 2
        told.clear()


@pytest.mark.parametrize("changed", [3, 249, 255])
def test_another_branch_is_not_followed(tmp_path, changed):
    following = follow(tmp_path, 250)
    other = exported(tmp_path / "other", 520, {changed: entry_of(changed, by="mallory")})
    if changed < 250:
        with pytest.raises(Unproved, match="bad_entry"):
            advance(following, other)
        assert following.tree.size == 250
    else:
        # A reader who knew only the first 250 entries cannot see it.
        advance(following, other)
        assert following.tree.size == 520


def test_a_checkpoint_of_another_root_is_not_followed(tmp_path):
    following = follow(tmp_path, 250)
    reader = FolderReader(exported(tmp_path / "next", 260))
    with pytest.raises(Unproved, match="bad_root"):
        following.advance(reader, Checkpoint(ORIGIN, 260, bytes(32)))
    assert following.tree.size == 250


def test_after_a_wrong_entry_nothing_is_judged_and_the_tree_still_grows(tmp_path):
    replay = Hashes()
    following = Following(ORIGIN, replay)
    wrong = {7: entry_of(7, at=0)}
    for size in (5, 20, 300):
        advance(following, exported(tmp_path / str(size), size, wrong))
        assert following.tree.size == size
    assert (following.finding.code, following.finding.entry) == ("time_went_back", 7)
    assert following.judged == 7
    assert replay.numbers == list(range(7))


def test_a_file_that_does_not_belong_to_its_entry_is_damage_and_not_a_wrong_entry(tmp_path):
    def check(_entry, files):
        if b"damaged" in files:
            raise Violation("bad_files", "it came damaged")

    following = Following(ORIGIN, Hashes(), check)
    folder = exported(tmp_path / "out", 5)
    path = folder / "batches/000.p/5"
    honest = path.read_bytes()
    path.write_bytes(honest.replace(b"\x00\x00\x00\x0bfile 0 of 3", b"\x00\x00\x00\x07damaged"))
    with pytest.raises(Unproved, match="bad_files"):
        advance(following, folder)
    path.write_bytes(honest[:-1])
    with pytest.raises(Unproved, match="incomplete_file"):
        advance(following, folder)
    path.write_bytes(honest)
    advance(following, folder)
    assert following.finding is None


def test_entries_that_change_after_they_were_proved_are_told(tmp_path):
    class Changing(FolderReader):
        reads = 0

        def entries(self, tile):
            self.reads += 1
            entries = super().entries(tile)
            return entries if self.reads == 1 else [entry_of(9), *entries[1:]]

    following, folder = Following(ORIGIN, Hashes()), exported(tmp_path / "out", 3)
    checkpoint = open_checkpoint(FolderReader(folder).checkpoint(), LOG.verifier)
    following.advance(Changing(folder), checkpoint)
    told = "tile/entries/000.p/3 was changed while it was verified"
    assert following.finding == Finding(BadFolder.code, told, 0)
