"""A monitor's own copy of a log, whole at each checkpoint that it has followed.

    DIR/log         the copy, which `kashi verify DIR/log` verifies like any other folder
    DIR/new         tiles fetched for the next checkpoint, and not proved yet
    DIR/evidence    a folder for each fork and each rollback: the checkpoints, theirs and ours
    DIR/alarms.json the alarms that never go off
    DIR/tokens.json which tokens of the authority were told (`token_watch`)

Only proved tiles enter the copy, so no other branch of the log can reach it. Tiles are durable
before their checkpoint is written; a crash can leave tiles without one, which are fetched again.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ledger.errors import CannotCheck
from ledger.files import DISK
from ledger.folder import FolderReader
from ledger.note import Checkpoint
from ledger.tiles import CHECKPOINT, Level, Tile, edge_tile, has_tile, height_of
from meter.auditor.verdict import replace_file


class Mirror:
    """A copy, locked by one process until `close`."""

    def __init__(self, folder: Path) -> None:
        """Open a copy, or begin one. Raises `CannotCheck` where another process has it."""
        self.log, self.new = folder / "log", folder / "new"
        self.evidence, self.alarms = folder / "evidence", folder / "alarms.json"
        self.tokens = folder / "tokens.json"
        for each in (self.log, self.evidence):
            each.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)

    def close(self) -> None:
        os.close(self._lock)

    def note(self) -> bytes:
        """Return the checkpoint of the copy, empty if there is none yet."""
        path = self.log / CHECKPOINT
        return FolderReader(self.log).checkpoint() if path.exists() else b""

    def grown_at(self) -> int | None:
        """Return when that checkpoint came, in seconds since 1970."""
        path = self.log / CHECKPOINT
        return int(path.stat().st_mtime) if path.exists() else None

    def adopt(self, tiles: Iterable[Tile], note: bytes, old_size: int, size: int) -> None:
        """Move the new tiles and their checkpoint into the copy, then drop the tiles they replace.

        A tile without batches has no file of that kind.
        """
        folders: set[Path] = set()
        for tile in tiles:
            staged, path = self.new / tile.path, self.log / tile.path
            if staged.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _sync(staged)
                staged.rename(path)
                folders.update(Path(tile.path).parents)
        for folder in folders:
            DISK.sync_folder(self.log / folder)
        replace_file(self.log / CHECKPOINT, note)
        self._drop_outgrown(old_size, size)
        self.clear_new()

    def clear_new(self) -> None:
        """Remove the tiles that are fetched and not proved."""
        shutil.rmtree(self.new, ignore_errors=True)

    def evidence_of(self, kind: str, checkpoint: Checkpoint) -> Path:
        """Return the folder for the evidence of a checkpoint."""
        return self.evidence / f"{kind}-{checkpoint.size}-{checkpoint.root.hex()[:16]}"

    def keep_evidence(self, folder: Path, theirs: bytes, ours: bytes) -> None:
        """Keep the two checkpoints, beside the tiles that may be there already."""
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / CHECKPOINT, theirs)
        replace_file(folder / "ours", ours)
        DISK.sync_folder(self.evidence)

    def _drop_outgrown(self, old_size: int, size: int) -> None:
        levels: tuple[Level, ...] = ("entries", "batches", *range(height_of(old_size)))
        for tile in (edge_tile(level, old_size) for level in levels):
            if tile is not None and not has_tile(size, tile):
                path = self.log / tile.path
                path.unlink(missing_ok=True)
                if path.parent.is_dir() and not any(path.parent.iterdir()):
                    path.parent.rmdir()


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotCheck(f"another monitor has {folder}") from None
    return descriptor


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
