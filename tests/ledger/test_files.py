"""The operations on files that hold what others may not read: rights, whatever was there before."""

import logging
import os
import stat
from pathlib import Path

import pytest

from ledger.errors import BadFolder
from ledger.files import (
    DISK,
    GroupFiles,
    close_to_others,
    files_of,
    lock,
    make_private,
    open_private,
    set_rights,
)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def descriptors() -> int:
    """Count the open descriptors of this process."""
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_what_is_made_has_its_rights_whatever_the_umask(tmp_path):
    for files, of_file, of_folder in ((DISK, 0o600, 0o700), (GroupFiles(), 0o640, 0o750)):
        folder = tmp_path / f"{of_file}"
        files.make_folder(folder)
        files.append(folder / "file", [b"one", b"two"])
        assert (mode(folder), mode(folder / "file")) == (of_folder, of_file)
        assert type(files_of(folder)) is type(files)
        files.append(folder / "file", [b"three"])
        assert (folder / "file").read_bytes() == b"onetwothree"
    assert files_of(tmp_path / "missing") is DISK
    assert files_of(folder / "file") is DISK
    make_private(tmp_path / "a" / "b")
    assert [mode(tmp_path / each) for each in ("a", "a/b")] == [0o700, 0o700]


def test_a_file_of_the_mode_of_a_group_folder_is_none(tmp_path):
    (tmp_path / "file").touch(0o750)
    (tmp_path / "file").chmod(0o750)
    assert files_of(tmp_path / "file") is DISK


def test_a_file_is_emptied_or_goes_on_or_may_not_be_there(tmp_path):
    path = tmp_path / "file"
    for options, written, held in (
        ({}, b"long", b"long"),
        ({}, b"x", b"x"),
        ({"append": True}, b"y", b"xy"),
    ):
        with open_private(path, **options) as file:
            file.write(written)
        assert path.read_bytes() == held
    # Two that append each write behind what the other wrote.
    with open_private(path, append=True) as one, open_private(path, append=True) as other:
        for file, written in ((one, b"1"), (other, b"2"), (one, b"3")):
            file.write(written)
            file.flush()
    assert path.read_bytes() == b"xy123"
    with pytest.raises(FileExistsError):
        open_private(path, new=True)
    with open_private(tmp_path / "new", new=True) as file:
        file.write(b"y")
    assert (tmp_path / "new").read_bytes() == b"y"


def test_a_file_that_was_open_is_closed_when_it_is_written(tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o666)
    open_private(path).close()
    assert mode(path) == 0o600
    open_private(path, mode=0o640).close()
    assert mode(path) == 0o640


def test_a_file_that_cannot_be_closed_to_others_is_not_opened(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "not ours")

    path = tmp_path / "file"
    path.touch()
    path.chmod(0o666)
    monkeypatch.setattr(os, "fchmod", refuse)
    before = descriptors()
    with pytest.raises(PermissionError, match="not ours"):
        open_private(path)
    assert descriptors() == before


def test_rights_of_group_and_others_are_taken_but_for_those_that_are_kept(tmp_path, caplog):
    tmp_path.chmod(0o757)
    with caplog.at_level(logging.WARNING):
        assert close_to_others(tmp_path, 0o050)
    assert mode(tmp_path) == 0o750
    assert f"{tmp_path} was open to others" in caplog.text
    assert not close_to_others(tmp_path, 0o050)
    assert close_to_others(tmp_path)
    assert mode(tmp_path) == 0o700
    assert not close_to_others(tmp_path)
    for kept, left in ((0, 0o700), (0o010, 0o710)):
        tmp_path.chmod(0o711)
        make_private(tmp_path, kept)
        assert mode(tmp_path) == left


def test_what_is_somebody_elses_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "not ours")

    tmp_path.chmod(0o755)
    monkeypatch.setattr(type(tmp_path), "chmod", refuse)
    with pytest.raises(BadFolder, match="is open to others, and is not ours to close"):
        close_to_others(tmp_path)


def test_a_whole_folder_is_closed_or_opened_to_the_group(tmp_path):
    log = tmp_path / "log"
    inner = log / "tile" / "0"
    inner.mkdir(parents=True)
    for path in (log / "checkpoint", inner / "000"):
        path.touch()
    for group_reads, of_file, of_folder in ((True, 0o640, 0o750), (False, 0o600, 0o700)):
        log.chmod(0o755)
        set_rights(log, group_reads=group_reads)
        assert [mode(each) for each in (log, log / "tile", inner)] == [of_folder] * 3
        assert [mode(each) for each in (log / "checkpoint", inner / "000")] == [of_file] * 2
    (inner / "000").chmod(0o644)  # nobody gets past the folder's own rights
    set_rights(log, group_reads=False)
    assert mode(inner / "000") == 0o644
    set_rights(tmp_path / "missing", group_reads=True)
    assert not (tmp_path / "missing").exists()
    set_rights(log / "checkpoint", group_reads=True)  # no folder
    assert mode(log / "checkpoint") == 0o600


def test_files_and_empty_folders_are_removed_and_renamed(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    DISK.rename(tmp_path / "one", tmp_path / "two")
    assert {each.name for each in tmp_path.iterdir()} == {"folder", "two"}
    assert (tmp_path / "two").read_text() == "one"
    DISK.remove(tmp_path / "two")
    DISK.remove(tmp_path / "folder")
    assert not [*tmp_path.iterdir()]


def test_bytes_and_names_are_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    DISK.append(tmp_path / "file", [b"x"])
    DISK.sync_folder(tmp_path)
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_a_folder_is_locked_by_one(tmp_path):
    before = descriptors()
    held = lock(tmp_path)
    with pytest.raises(BlockingIOError):
        lock(tmp_path)
    os.close(held)
    os.close(lock(tmp_path))
    assert descriptors() == before
