"""The file operations for a folder that must be whole after any crash.

There are few of them, because a test lets each one fail, before or after it took effect. Bytes that
`append` wrote survive a power cut once it returns. A name that was made, changed or removed
survives one after `sync_folder` of its folder.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final


class Files:
    """The operations on the disk; all raise `OSError`."""

    def append(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write to the end of a file, which is made if it is missing, and sync it."""
        with path.open("ab") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file; a file that has the new name is replaced."""
        old.replace(new)

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def remove(self, path: Path) -> None:
        """Remove a file or an empty folder."""
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
