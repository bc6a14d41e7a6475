"""The file operations for a folder that must be whole after any crash.

There are few of them, because a test lets each one fail, before or after it took effect. Bytes that
`append` wrote survive a power cut once it returns, those that `write` wrote after a `sync` of their
file. A name that was made, changed or removed survives one after a sync of its folder.

What is written may hold contracts and prices. So files and folders are the owner's alone, 0600 and
0700, whatever the umask and whatever was there. A warning says that something was closed to others.
"""

import fcntl
import logging
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

from ledger.errors import BadFolder

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
GROUP_FILE_MODE: Final = 0o640
GROUP_FOLDER_MODE: Final = 0o750
_OTHERS: Final = 0o077
# A file system makes what is synced meanwhile safe with the same write of its journal.
_SYNCING: Final = ThreadPoolExecutor(8, "sync")

_log: Final = logging.getLogger(__name__)


class Files:
    """The operations on the disk; all raise `OSError`."""

    file_mode = FILE_MODE
    folder_mode = FOLDER_MODE

    def append(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write to the end of a file, which is made if it is missing, and sync it."""
        with open_private(path, append=True, mode=self.file_mode) as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write to the end of a file, which is made if it is missing; `sync` makes it safe."""
        with open_private(path, append=True, mode=self.file_mode) as file:
            file.writelines(chunks)

    def sync(self, paths: Iterable[Path]) -> None:
        """Sync files and folders all at once, in any order."""
        list(_SYNCING.map(_sync, paths))

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file; a file that has the new name is replaced."""
        old.replace(new)

    def make_folder(self, path: Path) -> None:
        path.mkdir(self.folder_mode)
        path.chmod(self.folder_mode)  # whatever the umask

    def remove(self, path: Path) -> None:
        """Remove a file or an empty folder."""
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()

    def sync_folder(self, path: Path) -> None:
        _sync(path)


class GroupFiles(Files):
    """The same, in a folder that the group may read: a published log, for a web server."""

    file_mode = GROUP_FILE_MODE
    folder_mode = GROUP_FOLDER_MODE


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_of(folder: Path) -> Files:
    """Return the operations that keep to the rights of a folder."""
    return GroupFiles() if folder.is_dir() and _mode(folder) == GROUP_FOLDER_MODE else DISK


def open_private(
    path: Path, *, append: bool = False, new: bool = False, mode: int = FILE_MODE
) -> BinaryIO:
    """Open a file for writing, which is made where it is missing, and close it to others.

    It is emptied unless `append` is set. A `new` one may not be there before.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    flags |= os.O_APPEND if append else os.O_TRUNC
    descriptor = os.open(path, flags | (os.O_EXCL if new else 0), mode)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "ab" if append else "wb")


def make_private(folder: Path, kept: int = 0) -> None:
    """Make a folder, and those above it that are missing; one that is there is closed to others.

    They keep the bits in `kept`. Raises `BadFolder` where it belongs to somebody else.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(FOLDER_MODE, exist_ok=True)
    close_to_others(folder, kept)


def close_to_others(path: Path, kept: int = 0) -> bool:
    """Take a file's or folder's rights from group and others, but for the bits in `kept`.

    Returns whether they had some. Raises `BadFolder` where it belongs to somebody else.
    """
    mode = _mode(path)
    closed = mode & ~(_OTHERS & ~kept)
    if closed == mode:
        return False
    try:
        path.chmod(closed)
    except PermissionError:
        raise BadFolder(f"{path} is open to others, and is not ours to close") from None
    # The service's log drops the values of a message that another library wrote; this one is ours.
    _log.warning(f"{path} was open to others, and is closed now")
    return True


def set_rights(folder: Path, *, group_reads: bool) -> None:
    """Close all of a folder to others, or let the group read it. Raises `BadFolder`.

    Whose own rights are right already is not looked into: nobody gets past them.
    """
    files = GroupFiles() if group_reads else DISK
    if not folder.is_dir() or _mode(folder) == files.folder_mode:
        return
    close_to_others(folder)
    for where, _, names in os.walk(folder, topdown=False):
        for name in names:
            Path(where, name).chmod(files.file_mode)
        Path(where).chmod(files.folder_mode)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def lock(folder: Path) -> int:
    """Lock a folder for this process, until the returned descriptor is closed.

    Raises `BlockingIOError` where another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


DISK: Final = Files()
