import os
import shutil

import pytest

from ledger.bundle import Segment
from ledger.errors import BadBundle, BadFolder, MissingFile
from ledger.files import DISK
from ledger.folder import FolderReader, FolderWriter
from ledger.note import open_checkpoint
from ledger.tiles import Tile, level_tiles, tiles_of
from ledger.tlog import Tree, leaf_hash
from tests.ledger.exported import LOG, entry_of, exported, files_of, segments

SIZES = [0, 1, 2, 255, 256, 257, 513]


@pytest.mark.parametrize("size", SIZES)
def test_a_folder_holds_the_tiles_of_its_size_and_what_is_in_them(tmp_path, size):
    reader = FolderReader(exported(tmp_path / "out", size))
    tree = Tree()
    for number in range(size):
        tree.append(leaf_hash(entry_of(number)))
    with_files = {number // 256 for number in range(size) if files_of(number)}
    batches = {tile.path for tile in level_tiles("batches", size) if tile.index in with_files}
    assert reader.files() == {"checkpoint", *(tile.path for tile in tiles_of(size)), *batches}
    assert open_checkpoint(reader.checkpoint(), LOG.verifier).root == tree.root()
    for tile in tiles_of(size):
        numbers = range(tile.first, tile.first + tile.width)
        if tile.level == "entries":
            assert reader.entries(tile) == [entry_of(number) for number in numbers]
            beside = tile.beside("batches")
            found = reader.attachments(beside) if beside.path in batches else {}
            assert found == {n % 256: files_of(n) for n in numbers if files_of(n)}
        else:
            assert reader.hashes(tile) == tree.tile_hashes(tile.level, tile.index, tile.width)


def test_a_folder_proves_a_size_also_where_its_partial_tiles_have_become_full_ones(tmp_path):
    reader = FolderReader(exported(tmp_path / "out", 600))
    whole = Tree()
    for number in range(600):
        whole.append(leaf_hash(entry_of(number)))
    for size in (1, 200, 255, 512, 600):
        assert reader.tree(size).root() == whole.root(size)
        proof = reader.tree(size).inclusion_proof(size - 1, size)
        assert proof == whole.inclusion_proof(size - 1, size)
    with pytest.raises(MissingFile):
        reader.tree(601).root()
    with pytest.raises(MissingFile):
        FolderReader(tmp_path).tree(1).root()


@pytest.mark.parametrize("most", [1, 3, 255, 256, 257, 1_300])
def test_entries_make_the_same_folder_however_they_were_committed(tmp_path, most):
    alone, writer = exported(tmp_path / "alone", 1_300), FolderWriter(tmp_path / "out")
    for each in segments(0, 1_300, most):
        writer.extend(each)
    writer.finish((alone / "checkpoint").read_bytes())
    paths = FolderReader(alone).files()
    assert FolderReader(tmp_path / "out").files() == paths
    for path in paths:
        assert (tmp_path / "out" / path).read_bytes() == (alone / path).read_bytes(), path


def test_a_segment_that_is_not_what_it_says_is_refused(tmp_path):
    (whole,) = segments(0, 9)
    for count, bundle in ((8, whole.bundle), (10, whole.bundle), (9, whole.bundle[:-1])):
        with pytest.raises(BadBundle):
            FolderWriter(tmp_path / "out").extend(Segment(count, bundle))


def test_a_tile_of_attachments_is_there_only_where_an_entry_has_some(tmp_path):
    writer = FolderWriter(tmp_path / "out")
    for number in range(600):
        writer.add(b"entry", [b"file"] if number == 300 else [])
    writer.finish(b"checkpoint")
    files = FolderReader(tmp_path / "out").files()
    assert {path for path in files if "batches" in path} == {"batches/001"}


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadFolder):
        FolderWriter(tmp_path)


def test_until_it_is_finished_a_folder_has_no_checkpoint(tmp_path):
    writer = FolderWriter(tmp_path / "out")
    for number in range(513):
        writer.add(entry_of(number), files_of(number))
    assert (tmp_path / "out/tile/entries/001.tmp").exists()
    with pytest.raises(MissingFile):
        FolderReader(tmp_path / "out").checkpoint()


def test_the_checkpoint_is_written_after_all_else_is_safe(tmp_path, monkeypatch):
    writer = FolderWriter(tmp_path / "out")
    for number in range(300):
        writer.add(entry_of(number), files_of(number))
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("disk full"))
    with pytest.raises(pytest.fail.Exception):
        writer.finish(b"checkpoint")
    assert not (tmp_path / "out/checkpoint").exists()


def refused(call, *args, error=BadFolder):
    with pytest.raises(error) as caught:
        list(call(*args))
    return caught.value.detail


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path):
    reader = FolderReader(tmp_path / "nowhere")
    assert refused(reader.checkpoint, error=MissingFile) == "checkpoint is missing"
    assert "listed" in refused(reader.files)
    assert "000.p/3" in refused(reader.entries, Tile("entries", 0, 3), error=MissingFile)


def test_a_folder_that_goes_while_the_log_is_listed_is_left_out(tmp_path):
    reader = FolderReader(exported(tmp_path / "out", 3))
    gone = tmp_path / "out" / "gone.p"
    gone.mkdir()
    walk = reader._walk()
    found = {next(walk)}  # the names of the log's own folder are known now
    gone.rmdir()
    assert found | {*walk} == reader.files()


def test_a_folder_that_becomes_something_else_while_the_log_is_listed_is_told(tmp_path):
    changed = exported(tmp_path / "out", 3) / "changed.p"
    changed.mkdir()
    walk = FolderReader(tmp_path / "out")._walk()
    next(walk)
    changed.rmdir()
    changed.touch()
    with pytest.raises(NotADirectoryError):
        list(walk)


def test_files_that_are_no_plain_files_are_not_read(tmp_path):
    out = exported(tmp_path / "out", 3)
    reader = FolderReader(out)
    (out / "checkpoint").rename(tmp_path / "elsewhere")
    (out / "checkpoint").symlink_to(tmp_path / "elsewhere")
    assert "plain" in refused(reader.checkpoint)
    (out / "checkpoint").unlink()
    os.mkfifo(out / "checkpoint")
    assert "plain" in refused(reader.checkpoint)
    (out / "checkpoint").unlink()
    (out / "checkpoint").mkdir()
    assert "plain" in refused(reader.checkpoint)


def test_a_file_that_cannot_be_read_is_told_with_its_reason(tmp_path):
    out = exported(tmp_path / "out", 3)
    shutil.rmtree(out / "tile")
    (out / "tile").touch()
    told = "tile/0/000.p/3 cannot be read: Not a directory"
    assert refused(FolderReader(out).hashes, Tile(0, 0, 3)).endswith(told)


def test_links_are_listed_and_not_followed(tmp_path):
    out = exported(tmp_path / "out", 3)
    before = FolderReader(out).files()
    (out / "round").symlink_to(out)
    (out / "pipe").symlink_to(tmp_path / "nowhere")
    assert FolderReader(out).files() == before | {"round", "pipe"}


def test_a_file_longer_than_it_may_be_is_not_read(tmp_path):
    out = exported(tmp_path / "out", 3)
    reader = FolderReader(out)
    for path, read in (
        ("checkpoint", reader.checkpoint),
        ("tile/0/000.p/3", lambda: reader.hashes(Tile(0, 0, 3))),
        ("tile/entries/000.p/3", lambda: reader.entries(Tile("entries", 0, 3))),
    ):
        with (out / path).open("r+b") as file:
            file.truncate(2**40)  # a hole: it takes no room on the disk
        assert str(2**40) in refused(read)


def test_three_entries_of_the_largest_size_are_read_and_a_byte_more_is_not(tmp_path):
    out, tile = exported(tmp_path / "out", 3), Tile("entries", 0, 3)
    largest = bytes(65_535)
    (out / tile.path).write_bytes((b"\xff\xff" + largest) * 3)
    assert FolderReader(out).entries(tile) == [largest] * 3
    with (out / tile.path).open("ab") as file:
        file.write(b"x")
    assert refused(FolderReader(out).entries, tile).endswith(
        f"{tile.path} has 196612 bytes, at most 196611 are right"
    )


def test_a_tile_of_hashes_that_is_cut_is_refused(tmp_path):
    out = exported(tmp_path / "out", 3)
    with (out / "tile/0/000.p/3").open("r+b") as file:
        file.truncate(95)
    assert "95 bytes" in refused(FolderReader(out).hashes, Tile(0, 0, 3))


def test_of_a_full_tile_each_partial_one_is_read_to_its_width(tmp_path):
    reader = FolderReader(exported(tmp_path / "out", 256), grows=True)
    for width in range(1, 257):
        tile = Tile("entries", 0, width)
        assert reader.entries(tile) == [entry_of(number) for number in range(width)]
        assert reader.attachments(tile.beside("batches")) == {
            number: files_of(number) for number in range(width) if files_of(number)
        }
        hashes = b"".join(leaf_hash(entry_of(number)) for number in range(width))
        assert reader.hashes(tile.beside(0)) == hashes


@pytest.mark.parametrize("level", [0, "entries", "batches"])
def test_a_tile_has_grown_into_a_wider_one_that_begins_with_it(tmp_path, level):
    reader = FolderReader(exported(tmp_path / "out", 10))
    tile, wider = Tile(level, 0, 9), Tile(level, 0, 10)
    path, right = tmp_path / "out" / tile.path, exported(tmp_path / "before", 9) / tile.path
    shutil.copy(right, path)
    assert reader.has_grown(tile, wider)
    path.write_bytes(bytes([right.read_bytes()[0] ^ 1]) + right.read_bytes()[1:])
    assert not reader.has_grown(tile, wider)
    # The wider one begins with these too, and they are not as wide as they say.
    for data in (right.read_bytes()[:-1], (tmp_path / "out" / wider.path).read_bytes()):
        path.write_bytes(data)
        refused(reader.has_grown, tile, wider, error=(BadBundle, BadFolder))


@pytest.mark.parametrize("data", [b"", b"\x03\x00\x00\x00\x01x", b"\x00\x00\x00\x00\x02x"])
def test_attachments_that_are_none_or_beside_no_entry_are_refused(tmp_path, data):
    out = exported(tmp_path / "out", 3)
    (out / "batches/000.p/3").write_bytes(data)
    tile = Tile("batches", 0, 3)
    refused(FolderReader(out).attachments, tile, error=BadBundle)


def test_an_attachment_is_not_read_before_it_is_known_to_be_there(tmp_path):
    out = exported(tmp_path / "out", 3)
    with (out / "batches/000.p/3").open("r+b") as file:
        file.write(b"\x00\xff\xff\xff\xff")
        file.truncate(2**40)
    refused(FolderReader(out).iter_attachments, Tile("batches", 0, 3), error=BadBundle)


def test_what_is_appended_is_in_the_file_before_it_is_synced(tmp_path, monkeypatch):
    path, sizes, fsync = tmp_path / "file", [], os.fsync

    def note(number: int) -> None:
        sizes.append(os.fstat(number).st_size)
        fsync(number)

    monkeypatch.setattr(os, "fsync", note)
    DISK.append(path, [b"one", b"two"])
    assert sizes == [6]
