"""Verification of a log as it grows: each part is proved by the next checkpoint, then judged.

`verify` judges a whole folder and forgets it. A `Following` keeps its tree and its judges, so the
cost of a part depends on its size alone, however long the log is:

    following = Following("kashi.example/city", Audit())
    following.advance(reader, checkpoint)     # the first 1000 entries
    following.advance(reader, later)          # the next 20

The tree only grows, so a checkpoint that proves a part also proves that nothing before it changed.
Where an entry or a tile is wrong, or the checkpoint is of another branch, `Unproved` is raised and
nothing changes: the next `advance` begins at the same place.

Only tiles that are new since the last checkpoint are read (`level_tiles`). No root proves the
files attached to an entry. The caller's `check_files` compares the two, so that a damaged file is
not taken for a broken rule.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from ledger.errors import BadFolder, LedgerError
from ledger.folder import FolderReader
from ledger.note import Checkpoint
from ledger.report import Finding
from ledger.tiles import CHECKPOINT, Tile, height_of, level_tiles
from ledger.tlog import (
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
    Tree,
    leaf_hash,
    split_hashes,
)
from ledger.verify import Books, Entry, Judging, Replay, attachments_of

# Called with the number of entries read or judged since the last call.
Advance = Callable[[int], None]
# Raises `LedgerError` unless the files belong to the entry with these bytes.
CheckFiles = Callable[[bytes, list[bytes]], None]

_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES


class Unproved(LedgerError):  # noqa: N818 - the name says what is wrong
    """The checkpoint does not prove what was read; `finding` names the file."""

    code = "unproved"

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.file}: {finding.code}: {finding.detail}")
        self.finding = finding


class Following:
    """A log that is verified part by part.

    `finding` is the first wrong entry. After it no entry is judged, and the tree still grows.
    """

    def __init__(
        self, origin: str, replay: Replay, check_files: CheckFiles = lambda _entry, _files: None
    ) -> None:
        self.tree = Tree()
        self._frontier = Frontier()
        self._judging = Judging([Books(origin), replay], self.tree, replay)
        self._check_files = check_files

    @property
    def judged(self) -> int:
        """The number of entries that were judged and found right."""
        return self._judging.passed

    @property
    def finding(self) -> Finding | None:
        return self._judging.finding

    def advance(
        self, reader: FolderReader, checkpoint: Checkpoint, progress: Advance = lambda _: None
    ) -> None:
        """Prove and judge all entries up to a checkpoint that is not smaller. Raises `Unproved`."""
        leaves = self._read_leaves(reader, checkpoint.size, progress)
        frontier = self._frontier.copy()
        for leaf in split_hashes(self._new_hashes(leaves)):
            frontier.append(leaf)
        if frontier.root() != checkpoint.root:
            detail = "its root is not that of the entries"
            raise Unproved(Finding("bad_root", detail, file=CHECKPOINT))
        self._check_tiles(reader, b"".join(leaves.values()), checkpoint.size)
        self._frontier = frontier
        self._judge(reader, leaves, checkpoint.size, progress)

    def _read_leaves(self, reader: FolderReader, size: int, progress: Advance) -> dict[Tile, bytes]:
        """Return the joined leaf hashes of each new tile; the first may begin with known ones."""
        leaves: dict[Tile, bytes] = {}
        for tile in level_tiles("entries", size, self.tree.size):
            leaves[tile] = self._read_tile(reader, tile)
            if not leaves[tile].startswith(self._known(tile)):
                detail = "it has changed entries that were proved before"
                raise Unproved(Finding("bad_entry", detail, tile.first, tile.path))
            progress(tile.width)
        return leaves

    def _read_tile(self, reader: FolderReader, tile: Tile) -> bytes:
        path = tile.path
        try:
            entries = reader.entries(tile)
            path = tile.beside("batches").path
            for data, attached in zip(entries, attachments_of(reader, tile), strict=True):
                self._check_files(data, attached)
        except LedgerError as error:
            raise Unproved(Finding(error.code, error.detail, tile.first, path)) from error
        return b"".join(map(leaf_hash, entries))

    def _known(self, tile: Tile) -> bytes:
        width = min(self.tree.size - tile.first, tile.width)
        return self.tree.tile_hashes(0, tile.index, width) if width > 0 else b""

    def _new_hashes(self, leaves: dict[Tile, bytes]) -> bytes:
        return b"".join(hashes[len(self._known(tile)) :] for tile, hashes in leaves.items())

    def _check_tiles(self, reader: FolderReader, row: bytes, size: int) -> None:
        """Compare the new tiles of hashes with the leaves, from level 0 up.

        `row` holds the hashes of a level from the first new tile on.
        """
        for level in range(height_of(size)):
            first = (self.tree.size >> TILE_HEIGHT * level) // TILE_WIDTH
            for tile in level_tiles(level, size, self.tree.size):
                start = (tile.index - first) * _TILE_BYTES
                _check_tile(reader, tile, row[start : start + tile.width * HASH_BYTES])
            above, place = divmod(first, TILE_WIDTH)
            known = self.tree.tile_hashes(level + 1, above, place) if place else b""
            full = range(0, len(row) - _TILE_BYTES + 1, _TILE_BYTES)
            row = known + b"".join(
                Frontier.over(row[start : start + _TILE_BYTES]).root() for start in full
            )

    def _judge(
        self, reader: FolderReader, leaves: dict[Tile, bytes], size: int, progress: Advance
    ) -> None:
        known = self.tree.size
        self.tree.extend(self._new_hashes(leaves))
        if self.finding is None:
            self._judging.take(_new_entries(reader, leaves, known, progress), size)


def _new_entries(
    reader: FolderReader, leaves: dict[Tile, bytes], known: int, progress: Advance
) -> Iterator[Entry]:
    """Yield all entries after the first `known` ones."""
    for tile, hashes in leaves.items():
        yield from islice(_entries_of(reader, tile, hashes), max(0, known - tile.first), None)
        progress(tile.width)


def _entries_of(reader: FolderReader, tile: Tile, leaves: bytes) -> Iterator[Entry]:
    """Return the entries of a tile, after a check that they have these leaf hashes."""
    entries = reader.entries(tile)
    # The file is read a second time, and may have changed.
    if b"".join(map(leaf_hash, entries)) != leaves:
        raise BadFolder(f"{tile.path} was changed while it was verified")
    return zip(entries, attachments_of(reader, tile), strict=False)


def _check_tile(reader: FolderReader, tile: Tile, hashes: bytes) -> None:
    try:
        held = reader.hashes(tile)
    except LedgerError as error:
        raise Unproved(Finding(error.code, error.detail, tile.first, tile.path)) from error
    if held != hashes:
        detail = "its hashes are not those of the entries"
        raise Unproved(Finding("bad_tile", detail, tile.first, tile.path))
