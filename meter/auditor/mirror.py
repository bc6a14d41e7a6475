"""A monitor's own copy of a log, whole at each checkpoint that it has followed.

    DIR/log         the copy, which `kashi verify DIR/log` verifies like any other folder
    DIR/new         tiles fetched for the next checkpoint, and not proved yet
    DIR/evidence    a file for each other branch and each rollback (`auditor.evidence`), and the
                    hashes of each branch in a folder
    DIR/alarms.json the incidents: alarms that are on
    DIR/acknowledged  what somebody said of them (`auditor.alarms`)
    DIR/tokens.json which tokens of the authority were told (`token_watch`)

Only proved tiles enter the copy, so no other branch of the log can reach it. Tiles are durable
before their checkpoint is written; a crash can leave tiles without one, which are fetched again.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import CannotCheck, MissingFile
from ledger.files import DISK, make_private
from ledger.folder import FolderReader
from ledger.note import Checkpoint, claimed_checkpoint
from ledger.tiles import CHECKPOINT, Level, Tile, edge_tile, has_tile, height_of
from meter.auditor.evidence import Evidence, read
from meter.auditor.verdict import replace_file


@dataclass(frozen=True, slots=True)
class Branch:
    """Another history of the log than the copy's, as far as its newest checkpoint goes."""

    number: int
    checkpoint: Checkpoint

    @property
    def name(self) -> str:
        return f"fork-{self.number}"


class Mirror:
    """A copy, locked by one process until `close`."""

    def __init__(self, folder: Path) -> None:
        """Open a copy, or begin one. Raises `CannotCheck` where another process has it."""
        self.log, self.new = folder / "log", folder / "new"
        self.evidence, self.alarms = folder / "evidence", folder / "alarms.json"
        self.tokens = folder / "tokens.json"
        self.hashes = self.evidence / "new"
        for each in (folder, self.log, self.evidence):
            make_private(each)
        self._lock = _lock(folder)

    def close(self) -> None:
        os.close(self._lock)

    def note(self) -> bytes:
        """Return the checkpoint of the copy, empty if there is none yet."""
        path = self.log / CHECKPOINT
        return FolderReader(self.log).checkpoint() if path.exists() else b""

    def entries(self, tile: Tile) -> list[bytes]:
        """Return the entries of a tile: of a new one, else of the copy's. Raises `LedgerError`."""
        try:
            return FolderReader(self.new).entries(tile)
        except MissingFile:
            return FolderReader(self.log).entries(tile)

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
                make_private(path.parent)
                _sync(staged)
                staged.rename(path)
            if path.exists():  # perhaps since an earlier call that failed
                folders.update(Path(tile.path).parents)
        for folder in folders:
            DISK.sync_folder(self.log / folder)
        replace_file(self.log / CHECKPOINT, note)
        self._drop_outgrown(old_size, size)
        self.clear_new()

    def clear_new(self) -> None:
        """Remove the tiles that are fetched and not proved."""
        shutil.rmtree(self.new, ignore_errors=True)

    def keep_evidence(self, name: str, evidence: Evidence) -> None:
        """Keep a file of evidence, in the place of an older one of that name."""
        replace_file(self.evidence / f"{name}.json", evidence.format())

    def forks(self) -> list[Branch]:
        """Return the other branches of which there is evidence, in the order of their numbers."""
        found = []
        for path in self.evidence.glob("fork-*.json"):
            number = path.stem.removeprefix("fork-")
            if number.isdecimal():
                theirs = read(path.read_bytes()).theirs
                found.append(Branch(int(number), claimed_checkpoint(theirs.encode())))
        return sorted(found, key=lambda branch: branch.number)

    def seed(self, branch: Branch | None) -> Path:
        """Return a folder for hashes that begins with those of a branch, or empty."""
        shutil.rmtree(self.hashes, ignore_errors=True)
        if branch is not None and (kept := self._hashes_of(branch)).is_dir():
            shutil.copytree(kept, self.hashes, copy_function=os.link)
        else:
            make_private(self.hashes)
        return self.hashes

    def keep_hashes(self, branch: Branch) -> None:
        """Keep the fetched hashes as those of a branch: its next ones are fetched to them."""
        shutil.rmtree(self._hashes_of(branch), ignore_errors=True)
        self.hashes.rename(self._hashes_of(branch))

    def drop_hashes(self) -> None:
        """Remove the fetched hashes, if they are of no branch."""
        shutil.rmtree(self.hashes, ignore_errors=True)

    def hashes_of(self, branch: Branch) -> FolderReader:
        """Return the reader of a branch's hashes, which may be missing."""
        return FolderReader(self._hashes_of(branch), grows=True)

    def _hashes_of(self, branch: Branch) -> Path:
        return self.evidence / branch.name

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
