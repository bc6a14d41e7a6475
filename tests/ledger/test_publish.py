import contextlib
import os
import random
import shutil
import tempfile
import tracemalloc
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.bundle import Segment, decode_attachments, encode_bundle
from ledger.cosign import Cosigner, add_cosignatures
from ledger.errors import BadBundle, BadFolder, BadNote
from ledger.files import DISK, Files
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Signer, open_checkpoint, sign
from ledger.publish import Ahead, InUse, OtherRoot, Publisher
from ledger.tiles import edge_tile, find_tile, grown_tile, height_of
from ledger.tlog import Frontier, Tree, leaf_hash
from ledger.verify import verify
from tests.ledger.disks import AFTER, TORN, Broken, Disk
from tests.ledger.exported import LOG, ORIGIN, Hashes, entry_of, exported, files_of, segments

# From a published size to the next: within a tile, up to its end, beyond it, over it.
LONG = 70_000
WITNESS = Cosigner.from_seed("example.com/w1", bytes(range(32, 64)))
STEPS = [(0, 0), (0, 1), (1, 2), (0, 256), (255, 256), (256, 257), (250, 260), (254, 515)]
# Triples; the middle size, which is held back, is at the end of a tile or within one.
HELD_STEPS = [(0, 1), (255, 257), (250, 260), (254, 515)]


def by(signer):
    """Return the functions by which a signer makes and reads checkpoints."""

    def make(size, root):
        return sign(Checkpoint(signer.name, size, root).format(), signer)

    return make, lambda note: open_checkpoint(note, signer.verifier)


class Log:
    """The log up to a size, as a database holds it."""

    def __init__(self, size):
        self.size = size

    def __call__(self, size):
        return tree().root(size) if size <= self.size else None

    def publish(self, folder, files=DISK):
        with Publisher.open(folder, *by(LOG), self, files) as publisher:
            publisher.publish(segments(publisher.size, self.size), tree().root(self.size))

    def publish_witnessed(self, folder, files=DISK, given=lambda _: None):
        """Let a witness cosign the last checkpoint, and hold back one that is half-way there.

        `given` is called with each checkpoint that leaves the log.
        """
        with Publisher.open(folder, *by(LOG), self, files) as publisher:
            for size in ((publisher.size + self.size) // 2, self.size):
                note = publisher.settle(segments(publisher.size, size), tree().root(size))
                given(note)
            publisher.show(cosigned(note))


def cosigned(note, witness=WITNESS):
    text = note.decode().partition("\n\n")[0] + "\n"
    return add_cosignatures(note, [witness.cosign(text, 1_767_225_600)])


@cache
def tree():
    tree = Tree()
    for number in range(LONG):
        tree.append(leaf_hash(entry_of(number)))
    return tree


def grown(folder, *sizes, files=DISK):
    """Publish a log at each of these sizes in turn."""
    for size in sizes:
        Log(size).publish(folder, files)
    return folder


def contents(folder):
    return {path: (folder / path).read_bytes() for path in FolderReader(folder).files()}


def size_of(folder):
    return open_checkpoint(FolderReader(folder).checkpoint(), LOG.verifier).size


def edges_of(size):
    """Yield the paths of the partial tiles of a size, with those of attachments, if any."""
    for level in ("entries", "batches", *range(height_of(size))):
        tile = edge_tile(level, size)
        if tile and (level != "batches" or any(map(files_of, range(tile.first, size)))):
            yield tile.path


def is_kept(path, size):
    """Return whether a partial tile is kept: it has not become a full one."""
    return not grown_tile(size, find_tile(path)).is_full


@cache
def in_one_go(size):
    with tempfile.TemporaryDirectory(prefix="kashi-test-") as folder:
        return contents(exported(Path(folder) / "log", size))


def check_whole(folder, size, published=()):
    """Check that a folder equals an export of that size, with the partial tiles of older sizes.

    Beside them may be right partial tiles that a crash left, unless the full tile is there. Below
    the checkpoint may be lines of witnesses.
    """
    assert verify(folder, LOG.verifier, Hashes()).findings == []
    held, wanted = contents(folder), in_one_go(size)
    held["checkpoint"] = b"".join(held["checkpoint"].splitlines(keepends=True)[:5])
    assert {path: held.get(path) for path in wanted} == wanted
    assert all(is_kept(path, size) for path in held.keys() - wanted.keys())
    check_readable(held, size, published)


def check_recoverable(folder, published):
    """Check for a whole log, and files that the next publish handles; returns its size."""
    size = size_of(folder)
    report = verify(folder, LOG.verifier, Hashes())
    assert report.findings == []
    assert {notice.code for notice in report.notices} <= {"newer_files"}
    check_readable(contents(folder), size, [each for each in published if each <= size])
    return size


def check_readable(held, size, published):
    """Check that a reader of one of these checkpoints finds its tiles."""
    needed = {path for each in published for path in edges_of(each) if is_kept(path, size)}
    assert needed <= held.keys()


def broken_at_every_operation(tmp_path, start, stop, modes, publish=Log.publish):
    """Yield, for each operation from one size to the next, a disk that broke there, and its log."""
    before = tmp_path / "before"
    before.mkdir()
    if start:
        grown(before / "log", start, files=Disk(before))
    whole = Disk(shutil.copytree(before, tmp_path / "whole"))
    publish(Log(stop), whole.root / "log", whole)
    for number in range(len(whole.operations)):
        for mode in modes:
            disk = Disk(shutil.copytree(before, tmp_path / "disk"), number, mode)
            with pytest.raises(Broken):
                publish(Log(stop), disk.root / "log", disk)
            yield disk
            shutil.rmtree(disk.root)


@pytest.mark.parametrize("sizes", [(0,), (1,), (256,), (513,), (0, 1, 2, 3, 255, 256, 257, 300)])
def test_a_log_published_in_steps_is_the_log_exported_in_one_go(tmp_path, sizes):
    folder = grown(tmp_path / "log", *sizes)
    check_whole(folder, sizes[-1], sizes)
    needed = {path for size in sizes for path in edges_of(size) if is_kept(path, sizes[-1])}
    assert contents(folder).keys() == in_one_go(sizes[-1]).keys() | needed


def test_one_publisher_goes_on_for_long(tmp_path):
    roots, sizes = Log(1_000), [0, 1, 3, 200, 256, 257, 300, 511, 770, 771, 1_000]
    with Publisher.open(tmp_path / "log", *by(LOG), roots, Disk(tmp_path)) as publisher:
        for before, size in pairwise([0, *sizes]):
            publisher.publish(segments(before, size), roots(size))
            assert publisher.size == size
            check_whole(tmp_path / "log", size, [each for each in sizes if each <= size])
    folders = {path.name for path in (tmp_path / "log").rglob("*.p")}
    assert folders == {"003.p", "000.p"}  # the latter of level 1


def test_partial_tiles_go_when_the_full_one_is_published(tmp_path):
    folder = grown(tmp_path / "log", 3, 5)
    assert {"tile/0/000.p/3", "batches/000.p/3", "tile/0/000.p/5"} <= contents(folder).keys()
    grown(folder, 256)
    assert [path.name for path in folder.rglob("*.p")] == ["000.p"]
    assert "tile/1/000.p/1" in contents(folder)


def test_a_partial_tile_stays_while_the_full_one_is_not_beside_it(tmp_path):
    folder = grown(tmp_path / "log", 250)
    kept = {path: data for path, data in contents(folder).items() if path.endswith("000.p/250")}
    grown(folder, 300)
    for path, data in kept.items():
        place = folder / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        full = place.parent.with_suffix("")
        full.rename(tmp_path / "elsewhere")
        grown(folder, 300)
        assert place.read_bytes() == data
        (tmp_path / "elsewhere").rename(full)
        grown(folder, 300)
        assert not place.parent.exists()
    assert len(kept) == 3


class Waiting(Files):
    """A disk that counts how often it is waited for; what is synced at once is one wait."""

    waits = 0

    def append(self, path, chunks):
        self.waits += 1
        super().append(path, chunks)

    def sync(self, paths):
        self.waits += 1
        super().sync(paths)

    def sync_folder(self, path):
        self.waits += 1
        super().sync_folder(path)


@pytest.mark.parametrize(
    ("size", "syncs"),
    [
        (261, 3 + 3 + 2),  # entries, their hashes, their attachments; the folders; the checkpoint
        (1_000, 3 * 3 + 1 + 7 + 2),  # of three tiles; the level above has a wider one
    ],
)
def test_a_publish_waits_four_times_for_the_disk_and_syncs_only_what_it_wrote(
    tmp_path, monkeypatch, size, syncs
):
    disk, synced, fsync = Waiting(), [], os.fsync
    with Publisher.open(tmp_path / "log", *by(LOG), Log(size), disk) as publisher:
        publisher.publish(segments(0, 259), tree().root(259))
        disk.waits = 0
        monkeypatch.setattr(os, "fsync", lambda number: synced.append(fsync(number)))
        publisher.publish(segments(259, size), tree().root(size))
    assert (disk.waits, len(synced)) == (4, syncs)


def test_attachments_are_synced_once_however_large(tmp_path, monkeypatch):
    leaf, synced, fsync = leaf_hash(b"entry"), [], os.fsync
    one, two = (Frontier.over(leaf * count).root() for count in (1, 2))
    large = Segment(1, encode_bundle([b"entry"]), [(0, [bytes(1024 * 1024)] * 3)])
    with Publisher.open(tmp_path / "log", *by(LOG), {1: one, 2: two}.get) as publisher:
        publisher.publish([large], one)
        monkeypatch.setattr(os, "fsync", lambda number: synced.append(fsync(number)))
        publisher.publish([large], two)
    assert len(synced) == 8


def test_entries_may_be_added_in_parts_before_they_are_published(tmp_path):
    roots = Log(600)
    with Publisher.open(tmp_path / "log", *by(LOG), roots) as publisher:
        publisher.publish(segments(0, 3), roots(3))
        before = contents(tmp_path / "log")
        publisher.add(segments(3, 300))
        publisher.add(segments(300, 590))
        assert before.items() <= contents(tmp_path / "log").items()
        assert publisher.size == 3
        publisher.publish(segments(590, 600), roots(600))
    check_whole(tmp_path / "log", 600)


def test_where_nothing_is_new_no_file_is_touched(tmp_path):
    disk, roots = Disk(tmp_path), Log(3)
    with Publisher.open(tmp_path / "log", *by(LOG), roots, disk) as publisher:
        publisher.publish(segments(0, 3), roots(3))
        before = len(disk.operations)
        publisher.publish([], roots(3))
        assert len(disk.operations) == before


def test_what_is_settled_is_whole_but_for_its_checkpoint_and_what_was_shown_stays(tmp_path):
    folder = grown(tmp_path / "log", 250)
    before = contents(folder)
    with Publisher.open(folder, *by(LOG), Log(300)) as publisher:
        for size in (256, 300):
            note = publisher.settle(segments(publisher.size, size), tree().root(size))
            assert publisher.size == size
            assert before.items() <= contents(folder).items()
            beside = shutil.copytree(folder, tmp_path / str(size))
            (beside / "checkpoint").write_bytes(note)
            Publisher.open(beside, *by(LOG), Log(size)).close()
            check_whole(beside, size)
        publisher.show(note)
    check_whole(folder, 300)
    assert "tile/0/000.p/250" not in contents(folder)


def test_a_checkpoint_is_shown_only_if_it_is_the_one_settled_last(tmp_path):
    folder, settled = tmp_path / "log", {}
    for wrong in (3, 7, 9):
        with Publisher.open(folder, *by(LOG), Log(9)) as publisher:
            for size in (3, 5):
                settled[size] = publisher.settle(segments(publisher.size, size), tree().root(size))
            make, _ = by(LOG)
            note = settled.get(wrong) or make(wrong, tree().root(wrong))
            with pytest.raises(OtherRoot):
                publisher.show(note)
            with pytest.raises(BadFolder, match="opened again"):
                publisher.show(settled[5])
    assert "checkpoint" not in contents(folder)
    with Publisher.open(folder, *by(LOG), Log(9)) as publisher:
        note = publisher.settle(segments(0, 5), tree().root(5))
        publisher.settle(segments(5, 9), tree().root(9))
        with pytest.raises(OtherRoot):
            publisher.show(note)


def test_cosignatures_that_are_shown_stay_while_the_log_does_not_grow(tmp_path):
    folder, second = grown(tmp_path / "log", 3), Cosigner.from_seed("example.com/w2", bytes(32))
    with Publisher.open(folder, *by(LOG), Log(3)) as publisher:
        publisher.show(cosigned(publisher.settle([], tree().root(3))))
        first = contents(folder)["checkpoint"]
        publisher.publish([], tree().root(3))
        assert contents(folder)["checkpoint"] == first == cosigned(by(LOG)[0](3, tree().root(3)))
    with Publisher.open(folder, *by(LOG), Log(3)) as publisher:
        publisher.show(cosigned(publisher.settle([], tree().root(3)), second))
    assert contents(folder)["checkpoint"] == cosigned(first, second)
    check_whole(folder, 3)


def test_the_same_log_is_signed_with_the_same_bytes(tmp_path):
    folder = grown(tmp_path / "log", 300)
    before = contents(folder)
    (folder / "checkpoint").unlink()
    grown(folder, 300)
    assert contents(folder) == before


def test_no_second_root_of_a_size_is_signed(tmp_path):
    roots = Log(3)
    with Publisher.open(tmp_path / "log", *by(LOG), roots) as publisher:
        publisher.publish(segments(0, 3), roots(3))
        with pytest.raises(OtherRoot):
            publisher.publish([], roots(2))
    check_whole(tmp_path / "log", 3)


def test_entries_that_do_not_give_the_root_get_no_name_and_no_signature(tmp_path):
    folder, roots = grown(tmp_path / "log", 3), Log(300)
    before = contents(folder)
    with Publisher.open(folder, *by(LOG), roots) as publisher:
        with pytest.raises(OtherRoot):
            publisher.publish(segments(4, 301), roots(300))
        after = contents(folder)
        assert {path for path in after.keys() - before.keys() if not path.endswith(".tmp")} == set()
        assert before.items() <= after.items()
        with pytest.raises(BadFolder, match="opened again"):
            publisher.publish(segments(3, 300), roots(300))
    check_whole(grown(folder, 300), 300, [3])


def test_a_folder_ahead_of_its_log_is_refused(tmp_path):
    folder = grown(tmp_path / "log", 3)
    before = contents(folder)
    with pytest.raises(Ahead):
        Log(2).publish(folder)
    assert contents(folder) == before


def test_a_folder_of_another_log_is_refused(tmp_path):
    folder = grown(tmp_path / "log", 3)
    before = contents(folder)
    with pytest.raises(OtherRoot):
        Publisher.open(folder, *by(LOG), lambda _: bytes(32))
    with pytest.raises(BadNote):
        Publisher.open(folder, *by(Signer.from_seed(ORIGIN, bytes(32))), Log(3))
    assert contents(folder) == before


@pytest.mark.parametrize(
    "path", ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44", "checkpoint"]
)
def test_a_folder_whose_end_is_damaged_is_refused(tmp_path, path):
    folder = grown(tmp_path / "log", 300)
    data = bytearray((folder / path).read_bytes())
    for damage in (data[:-1], data + b"x", data[:-1] + bytes([data[-1] ^ 1])):
        (folder / path).write_bytes(damage)
        with pytest.raises((BadFolder, BadBundle, BadNote)):
            Log(301).publish(folder)
    if path != "checkpoint":
        (folder / path).unlink()
        with pytest.raises(BadFolder):
            Log(301).publish(folder)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/entries/001.p/44", "batches/000"])
def test_a_tile_with_other_bytes_is_never_replaced(tmp_path, path):
    folder, right = grown(tmp_path / "log", 200), in_one_go(300)[path]
    (folder / path).parent.mkdir(exist_ok=True)
    for other in (b"", right[:-1], right[:-1] + b"\0", right + b"\0"):
        (folder / path).write_bytes(other)
        with pytest.raises(BadFolder, match=path):
            grown(folder, 300)
        assert (folder / path).read_bytes() == other
        assert size_of(folder) == 200
    (folder / path).write_bytes(right)
    check_whole(grown(folder, 300), 300, [200])


def test_two_publishers_cannot_share_a_folder(tmp_path):
    first = Publisher.open(tmp_path / "log", *by(LOG), Log(3))
    with pytest.raises(InUse, match="another process"):
        grown(tmp_path / "log", 3)
    first.close()
    check_whole(grown(tmp_path / "log", 3), 3)


def test_a_publisher_that_cannot_open_lets_the_next_one_in(tmp_path):
    folder = grown(tmp_path / "log", 3)
    with pytest.raises(Ahead):
        Publisher.open(folder, *by(LOG), Log(2))
    check_whole(grown(folder, 4), 4, [3])


def test_what_is_not_of_the_log_is_left_alone(tmp_path):
    folder = grown(tmp_path / "log", 3)
    for path in ("notes", "notes.p/3", "tile/0/001.p/7"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"x")
    before = contents(folder)
    grown(folder, 3)
    assert contents(folder) == before


@pytest.mark.parametrize(("start", "stop"), STEPS)
def test_a_process_may_end_at_any_operation(tmp_path, start, stop):
    for disk in broken_at_every_operation(tmp_path, start, stop, [TORN, AFTER]):
        log, published = disk.root / "log", [start]
        if (log / "checkpoint").exists():
            published.append(check_recoverable(log, [start]))
        assert set(published) <= {start, stop}
        check_whole(grown(log, stop + 3, files=Disk(disk.root)), stop + 3, published)
        assert not list(log.rglob("*.tmp"))


@pytest.mark.parametrize(("start", "stop"), HELD_STEPS)
def test_a_process_may_end_while_witnesses_are_asked_and_before_and_after(tmp_path, start, stop):
    publish = Log.publish_witnessed
    for disk in broken_at_every_operation(tmp_path, start, stop, [TORN, AFTER], publish):
        log, published = disk.root / "log", [start]
        if (log / "checkpoint").exists():
            published.append(check_recoverable(log, [start]))
        assert set(published) <= {start, stop}
        publish(Log(stop + 3), log, Disk(disk.root))
        check_whole(log, stop + 3, published)
        assert not list(log.rglob("*.tmp"))


@pytest.mark.parametrize(("start", "stop"), STEPS)
def test_what_witnesses_are_asked_to_sign_survives_a_power_cut(tmp_path, start, stop):
    disk, some, given = Disk(tmp_path / "disk"), random.Random(0), []
    if start:
        grown(disk.root / "log", start, files=disk)

    def cut(note):
        for survives in (lambda: False, lambda: some.random() < 0.5):
            log = disk.after_power_cut(tmp_path / "after", survives) / "log"
            (log / "checkpoint").write_bytes(note)
            given.append(check_recoverable(log, [start]))
            shutil.rmtree(tmp_path / "after")

    Log(stop).publish_witnessed(disk.root / "log", disk, cut)
    assert given == [(start + stop) // 2] * 2 + [stop] * 2


@pytest.mark.parametrize(
    ("start", "stop", "publish"),
    [
        *((*step, Log.publish) for step in STEPS),
        *((*step, Log.publish_witnessed) for step in HELD_STEPS),
    ],
)
def test_the_power_may_fail_at_any_operation(tmp_path, start, stop, publish):
    some = random.Random(0)
    for disk in broken_at_every_operation(tmp_path, start, stop, [TORN], publish):
        for survives in (lambda: False, lambda: True, lambda: some.random() < 0.5):
            root = disk.after_power_cut(tmp_path / "after", survives)
            log, published = root / "log", [start]
            if start or (log / "checkpoint").exists():
                published.append(check_recoverable(log, [start]))
            assert set(published) <= {start, stop}
            check_whole(grown(log, stop, files=Disk(root)), stop, published)
            shutil.rmtree(root)


def test_the_power_may_fail_after_the_next_start_has_tidied_up(tmp_path):
    some = random.Random(0)
    for disk in broken_at_every_operation(tmp_path, 255, 256, [AFTER]):
        disk.stop = None
        Publisher.open(disk.root / "log", *by(LOG), Log(256), disk).close()
        root = disk.after_power_cut(tmp_path / "after", lambda: some.random() < 0.5)
        check_recoverable(root / "log", [255])
        shutil.rmtree(root)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_to_a_log_nothing_that_was_published_is_lost(tmp_path, seed):
    choose = random.Random(seed)
    disk, size, published = Disk(tmp_path / "0"), 0, [0]
    for turn in range(1, 8):
        size += choose.choice([1, 2, 50, 256, 300 - size % 256])
        disk.stop = len(disk.operations) + choose.randrange(40)
        disk.mode = choose.choice([TORN, AFTER])
        with contextlib.suppress(Broken):
            grown(disk.root / "log", size, files=disk)
            published.append(size)
        if choose.random() < 0.5:
            disk = Disk(disk.after_power_cut(tmp_path / str(turn), lambda: choose.random() < 0.5))
        if len(published) > 1 or (disk.root / "log/checkpoint").exists():
            assert published[-1] <= check_recoverable(disk.root / "log", published) <= size
    disk.stop = None
    check_whole(grown(disk.root / "log", size, files=disk), size, published)


@pytest.mark.parametrize("operation", [400, 1_000, 1_640])
def test_a_long_publish_may_be_cut_off_anywhere(tmp_path, operation):
    disk = Disk(tmp_path / "disk")
    log = grown(disk.root / "log", 300, files=disk)
    disk.stop = len(disk.operations) + operation
    with pytest.raises(Broken):
        grown(log, LONG, files=disk)
    assert size_of(log) == 300
    grown(log, LONG, files=disk)
    report = verify(log, LOG.verifier)
    assert (report.findings, report.size) == ([], LONG)


def test_attachments_larger_than_memory_are_copied_from_width_to_width(tmp_path):
    mebibyte, count = 1024 * 1024, 32
    frontier = Frontier.over(leaf_hash(b"entry") * (count + 1))
    roots = {count: Frontier.over(leaf_hash(b"entry") * count).root(), count + 1: frontier.root()}
    entry = encode_bundle([b"entry"])
    large = (Segment(1, entry, [(0, [bytes([number]) * mebibyte])]) for number in range(count))
    with Publisher.open(tmp_path / "log", *by(LOG), roots.get) as publisher:
        tracemalloc.start()
        publisher.publish(large, roots[count])
        publisher.publish([Segment(1, entry)], roots[count + 1])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < count // 2 * mebibyte
    bundle = (tmp_path / "log" / f"batches/000.p/{count + 1}").read_bytes()
    assert bundle == (tmp_path / "log" / f"batches/000.p/{count}").read_bytes()
    assert decode_attachments(bundle)[7] == [b"\x07" * mebibyte]
