import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from ledger.bundle import Segment, encode_bundle
from ledger.errors import BadFolder
from ledger.files import lock
from ledger.folder import FolderReader
from ledger.folder_process import FolderProcess, _Server
from ledger.note import Checkpoint, open_checkpoint, sign
from ledger.publish import OtherRoot, Publisher
from ledger.tiles import Tile
from ledger.tlog import Frontier, leaf_hash
from tests.ledger.exported import LOG, ORIGIN, entry_of, exported, segments

SIZES = [0, 1, 255, 256, 600, 1_300]


def root(size):
    hashes = (leaf_hash(entry_of(number)) for number in range(size))
    return Frontier.over(b"".join(hashes)).root()


def signed(size, root):
    return sign(Checkpoint(ORIGIN, size, root).format(), LOG)


def opened(note):
    return open_checkpoint(note, LOG.verifier)


def publisher(folder, write=FolderProcess):
    return Publisher.open(folder, signed, opened, root, write=write)


def is_locked(folder):
    try:
        os.close(lock(folder))
    except BlockingIOError:
        return True
    return False


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_the_process_writes_the_very_files_of_a_writer_here(tmp_path):
    with publisher(tmp_path / "log") as out:
        for start, end in itertools.pairwise(SIZES):
            out.publish(segments(start, end), root(end))
    alone = exported(tmp_path / "alone", SIZES[-1])
    found, expected = FolderReader(tmp_path / "log"), FolderReader(alone)
    assert found.files() > expected.files()  # with the partial tiles of earlier sizes
    for path in expected.files():
        assert (tmp_path / "log" / path).read_bytes() == (alone / path).read_bytes(), path


def test_what_is_raised_there_is_raised_here(tmp_path):
    folder = tmp_path / "log"
    with publisher(folder) as out:
        out.publish(segments(0, 5), root(5))
        with pytest.raises(OtherRoot):
            out.publish(segments(5, 6), root(7))
    (folder / "tile/0/000.p/5").write_bytes(bytes(160))
    with pytest.raises(BadFolder, match="do not fit together"):
        publisher(folder)
    (folder / "tile/0/000.p/5").unlink()
    (folder / "tile/0/000.p/5").mkdir()
    with pytest.raises(BadFolder, match="not a plain file"):
        publisher(folder)
    assert not is_locked(folder)


def test_a_disk_that_fails_is_an_os_error_and_the_folder_can_be_opened_again(tmp_path):
    folder = tmp_path / "log"
    with publisher(folder) as out:
        out.publish(segments(0, 3), root(3))
        (folder / "tile/entries/000.p/4").mkdir()  # in the way of a rename
        with pytest.raises(IsADirectoryError):
            out.publish(segments(3, 4), root(4))
        with pytest.raises(BadFolder):
            out.publish([], root(4))
    (folder / "tile/entries/000.p/4").rmdir()
    with publisher(folder) as out:
        out.publish(segments(3, 9), root(9))
    assert opened(FolderReader(folder).checkpoint()).size == 9


def test_a_process_that_is_killed_is_an_os_error(tmp_path):
    writers = []

    def write(*arguments):
        writers.append(FolderProcess(*arguments))
        return writers[-1]

    with publisher(tmp_path / "log", write) as out:
        out.publish(segments(0, 3), root(3))
        writers[0]._process.kill()
        with pytest.raises(ChildProcessError):
            out.publish(segments(3, 4), root(4))
    with publisher(tmp_path / "log") as out:
        assert out.size == 3


class Asking(FolderProcess):
    """Keeps the names of what it asks for."""

    def __init__(self, *arguments):
        self.asked = []
        super().__init__(*arguments)

    def _ask(self, method, *arguments):
        self.asked.append(method)
        return super()._ask(method, *arguments)


def test_small_segments_are_sent_once_they_are_a_mebibyte(tmp_path):
    part = Segment(1, encode_bundle([bytes(32 * 1024 - 2)]))
    assert part.size_bytes == 32 * 1024
    with Asking(tmp_path, 0, lock(tmp_path)) as writer:
        for _ in range(2):
            for _ in range(31):
                writer.extend(part)
            assert writer.asked == []
            writer.extend(part)
            assert writer.asked == ["extend_by"]
            writer.asked.clear()
        writer.extend(part)
        writer.settle()
        assert writer.asked == ["extend_by", "settle"]
    assert len(FolderReader(tmp_path).entries(Tile("entries", 0, 65))) == 65


def test_the_process_ends_with_its_parent_and_by_no_signal_to_end(tmp_path):
    with Asking(tmp_path, 0, lock(tmp_path)) as writer:
        writer.root()
        assert os.getsid(writer._process.pid) == writer._process.pid
        writer._process.terminate()
        assert writer.root() == root(0)
    assert writer._process.returncode == 0


PARENT = """
import sys, time
from pathlib import Path
from ledger.files import lock
from ledger.folder_process import FolderProcess, _Server
folder = Path(sys.argv[1])
writer = FolderProcess(folder, 0, lock(folder))
writer.root()
print(writer._process.pid, flush=True)
time.sleep(60)
"""


def test_where_the_parent_is_killed_the_lock_stays_until_the_process_has_ended(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    os.kill(child, signal.SIGSTOP)  # to others, it seems busy
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert is_locked(tmp_path)
    os.kill(child, signal.SIGTERM)
    os.kill(child, signal.SIGCONT)
    until(lambda: not is_locked(tmp_path))


def test_the_process_answers_each_call_and_tells_each_error(tmp_path):
    server, alone = _Server(tmp_path / "log", 0), exported(tmp_path / "alone", 5)
    assert server.answer("root", ()) == root(0)
    assert server.answer("extend_by", ([*segments(0, 2), *segments(2, 5)],)) is None
    assert server.answer("root", ()) == root(5)
    assert server.answer("settle", ()) is None
    assert server.answer("show", (signed(5, root(5)),)) is None
    written = FolderReader(tmp_path / "log")
    assert written.files() == FolderReader(alone).files()
    assert opened(written.checkpoint()).root == root(5)
    assert _Server(tmp_path / "log", 5).answer("root", ()) == root(5)
    missing = _Server(tmp_path / "log", 6).answer("root", ())
    assert isinstance(missing, BadFolder)
    assert "is missing" in missing.detail
    (tmp_path / "file").touch()
    assert isinstance(_Server(tmp_path / "file", 0).answer("root", ()), OSError)
