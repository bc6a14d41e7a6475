"""The file operations of whoever writes a folder that has to be whole after any crash.

They are as few as will do, for a test lets each of them fail, before or after it took effect. What
`append` wrote is safe from a power cut when it returns; a name that was made, changed or removed is
safe after `sync_folder` of the folder that it stands in.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final


class Files:
    """The real ones; all raise `OSError`."""

    def append(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write to the end of a file, which is made where it is missing, and sync it."""
        with path.open("ab") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, whose file, should there be one, is replaced."""
        old.replace(new)

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder that is empty."""
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
    """Have a folder to this process until the descriptor that this gives is closed.

    Raises `BlockingIOError` where another process has it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


DISK: Final = Files()
