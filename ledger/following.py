"""A log that is read as it grows: each part is proved by the next checkpoint, then judged.

`verify` judges a whole folder and forgets it. A `Following` keeps its tree and its judges, so that
a part costs what it holds, however long the log is:

    following = Following("kashi.example/city", Audit())
    following.advance(reader, checkpoint)     # the first 1000 entries
    following.advance(reader, later)          # the next 20

The tree only grows. So a checkpoint that proves a part proves also that all before it is unchanged;
one that does not, because an entry or a tile is wrong or because it is of another branch, changes
nothing here: `Unproved` is raised, and what was followed is followed still.

Of a folder only the tiles are read that are new since the last checkpoint, `tiles_between`. No
root proves what is attached to entries: `check_files`, the caller's, holds it against the entry, so
that a file that came damaged is not taken for a rule that was broken.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from ledger.errors import LedgerError
from ledger.folder import FolderReader
from ledger.note import Checkpoint
from ledger.report import Problem
from ledger.tiles import CHECKPOINT, Level, Tile, grown_tile, has_tile, height_of
from ledger.tlog import (
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
    Tree,
    leaf_hash,
    split_hashes,
)
from ledger.verify import Books, Entry, Replay, by_entry, entries_of, judge_entries

# Hears how many entries were read or judged since it heard last.
Progress = Callable[[int], None]
# Raises `LedgerError` unless these files belong to the entry of these bytes.
CheckFiles = Callable[[bytes, list[bytes]], None]

_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES


class Unproved(LedgerError):  # noqa: N818 - the name says what is wrong
    """What was read is not what the checkpoint stands for; `problem` names the file."""

    code = "unproved"

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.file}: {problem.code}: {problem.detail}")
        self.problem = problem


class Following:
    """`problem` is the first wrong entry; after it nothing is judged, and the tree still grows."""

    def __init__(
        self, origin: str, replay: Replay, check_files: CheckFiles = lambda _entry, _files: None
    ) -> None:
        self.tree = Tree()
        self.judged = 0
        self.problem: Problem | None = None
        self._frontier = Frontier()
        self._judges = [Books(origin), replay]
        self._check_files = check_files

    def advance(
        self, reader: FolderReader, checkpoint: Checkpoint, progress: Progress = lambda _: None
    ) -> None:
        """Take all entries up to a checkpoint with no fewer than there are. Raises `Unproved`."""
        leaves = self._read_leaves(reader, checkpoint.size, progress)
        frontier = self._frontier.copy()
        for leaf in chain.from_iterable(self._new_hashes(tile, leaves) for tile in leaves):
            frontier.append(leaf)
        if frontier.root() != checkpoint.root:
            detail = "it stands for other entries than these after those before"
            raise Unproved(Problem("bad_root", detail, file=CHECKPOINT))
        self._check_tiles(reader, b"".join(leaves.values()), checkpoint.size)
        self._frontier = frontier
        self._judge(reader, leaves, checkpoint.size, progress)

    def _read_leaves(
        self, reader: FolderReader, size: int, progress: Progress
    ) -> dict[Tile, bytes]:
        """The joined leaf hashes of each new tile, of which the first may begin with known ones."""
        files = reader.files()
        leaves: dict[Tile, bytes] = {}
        for tile in tiles_between(self.tree.size, size, "entries"):
            leaves[tile] = self._read_tile(reader, tile, files)
            if not leaves[tile].startswith(self._known(tile)):
                detail = "it holds others than the entries that were there"
                raise Unproved(Problem("bad_entry", detail, tile.first, tile.path))
            progress(tile.width)
        return leaves

    def _read_tile(self, reader: FolderReader, tile: Tile, files: set[str]) -> bytes:
        batches = tile.beside("batches")
        has_files = batches.path in files
        path = tile.path
        try:
            entries = list(reader.iter_entries(tile))
            path = batches.path
            attachments = reader.iter_attachments(batches) if has_files else iter(())
            for data, attached in zip(entries, by_entry(attachments, tile.width), strict=True):
                self._check_files(data, attached)
        except LedgerError as error:
            raise Unproved(Problem(error.code, error.detail, tile.first, path)) from error
        return b"".join(map(leaf_hash, entries))

    def _known(self, tile: Tile) -> bytes:
        width = min(self.tree.size - tile.first, tile.width)
        return self.tree.tile_hashes(0, tile.index, width) if width > 0 else b""

    def _new_hashes(self, tile: Tile, leaves: dict[Tile, bytes]) -> list[bytes]:
        return split_hashes(leaves[tile][len(self._known(tile)) :])

    def _check_tiles(self, reader: FolderReader, row: bytes, size: int) -> None:
        """Compare the new tiles of hashes with the leaves, from level 0 up.

        `row` holds the hashes of a level from the first new tile on.
        """
        for level in range(height_of(size)):
            first = (self.tree.size >> TILE_HEIGHT * level) // TILE_WIDTH
            for tile in tiles_between(self.tree.size, size, level):
                start = (tile.index - first) * _TILE_BYTES
                _check_tile(reader, tile, row[start : start + tile.width * HASH_BYTES])
            above, place = divmod(first, TILE_WIDTH)
            known = self.tree.tile_hashes(level + 1, above, place) if place else b""
            full = range(0, len(row) - _TILE_BYTES + 1, _TILE_BYTES)
            row = known + b"".join(
                Frontier.over(row[start : start + _TILE_BYTES]).root() for start in full
            )

    def _judge(
        self, reader: FolderReader, leaves: dict[Tile, bytes], size: int, progress: Progress
    ) -> None:
        if self.problem is None:
            entries = self._entries(reader, leaves, progress)
            self.problem = judge_entries(entries, self._judges, self.tree, size)
            self.judged = self.tree.size
        for tile in leaves:
            for leaf in self._new_hashes(tile, leaves):
                self.tree.append(leaf)

    def _entries(
        self, reader: FolderReader, leaves: dict[Tile, bytes], progress: Progress
    ) -> Iterator[Entry]:
        files = reader.files()
        for tile, hashes in leaves.items():
            skipped = len(self._known(tile)) // HASH_BYTES
            has_files = tile.beside("batches").path in files
            entries = entries_of(reader, tile, hashes, has_files=has_files)
            yield from (entry for place, entry in enumerate(entries) if place >= skipped)
            progress(tile.width)


def tiles_between(old: int, new: int, level: Level) -> Iterator[Tile]:
    """The tiles of a level that a log of `new` entries has, and had not when it had `old`."""
    height = TILE_HEIGHT * level if isinstance(level, int) else 0
    for index in range((old >> height) // TILE_WIDTH, -(-(new >> height) // TILE_WIDTH)):
        tile = grown_tile(new, Tile(level, index, 1))
        if tile is not None and not has_tile(old, tile):
            yield tile


def _check_tile(reader: FolderReader, tile: Tile, hashes: bytes) -> None:
    try:
        held = reader.hashes(tile)
    except LedgerError as error:
        raise Unproved(Problem(error.code, error.detail, tile.first, tile.path)) from error
    if held != hashes:
        detail = "it holds other hashes than the entries give"
        raise Unproved(Problem("bad_tile", detail, tile.first, tile.path))
