"""A log as a folder of files, laid out as `tiles` says: one process writes it, anyone reads it.

The writer holds one tile of entries and one of each level of hashes, however long the log is. It
writes the checkpoint last, after all else is on the disk: a folder with a checkpoint is whole. The
reader trusts nothing: it follows no links, opens no pipes, and reads no file beyond its limit. It
may read beside a writer: a partial tile goes only once the full one is there, which has its part.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final

from ledger import bundle
from ledger.bundle import Attachments, Segment
from ledger.canon import MAX_ENTRY_BYTES
from ledger.errors import BadBundle, BadFolder, CutBundle, CutFile, MissingFile
from ledger.files import DISK, Files, close_to_others
from ledger.note import MAX_NOTE_BYTES
from ledger.tiles import CHECKPOINT, Tile, edge_tile, has_tile, height_of, root_over, tile_path
from ledger.tlog import (
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
    TiledTree,
    leaf_hash,
)

DRAFT: Final = ".tmp"  # ends the name of a file that is not finished

# An entry's bytes and their length in the bundle.
_MAX_FRAMED_BYTES: Final = 2 + MAX_ENTRY_BYTES

_CHUNK_BYTES: Final = 1024 * 1024  # read at once of a file, which may be larger than memory


class FolderWriter:
    """Writes a log into a folder, from its first entry on or from where the folder ends.

    Added entries become drafts; `settle` makes them safe and gives them their names, and `show`
    replaces the checkpoint. After a method has raised, discard the writer: it no longer matches the
    folder.
    """

    def __init__(self, out: Path, files: Files = DISK, resume: int | None = None) -> None:
        """Begin a log in a folder that is empty or missing, or `resume` a log of that size.

        Raises `BadFolder` if a new log's folder is not empty, or a resumed log's last tiles are
        wrong.
        """
        if resume is None and out.is_dir():
            close_to_others(out)
        self._out, self._files = out, files
        self._unsynced: set[Path] = set()
        self._entered = {folder for folder in (out, *out.parents) if folder.is_dir()}
        self._enter(out)
        if resume is None and any(out.iterdir()):
            raise BadFolder(f"{out} is not empty")
        self.size = self._settled = resume or 0
        self._entries, self._hashes = _read_edge(FolderReader(out), self.size)
        # The file with the attachments of the last tile, except those that wait in memory.
        self._batches = self._find_batches()
        self._attachments = bytearray()
        self._drafts: dict[Tile, Path] = {}
        self._outgrown: list[Path] = []

    def add(self, data: bytes, attachments: Sequence[bytes] = ()) -> None:
        """Add the next entry and the files that belong to it."""
        self._fill([data], [(0, attachments)] if attachments else [])

    def extend(self, segment: Segment) -> None:
        """Add the next entries, tile by tile. Raises `BadBundle`.

        Each entry is hashed here, whatever hash is stored with it: so the root is that of the bytes
        that are written.
        """
        entries = bundle.decode_bundle(segment.bundle, segment.count)
        start = 0
        while start < len(entries):
            end = start + TILE_WIDTH - len(self._entries)
            beside = [(at - start, files) for at, files in segment.attachments if start <= at < end]
            self._fill(entries[start:end], beside)
            start = end

    def root(self) -> bytes:
        """Return the root over all added entries."""
        return root_over(self.size, map(bytes, reversed(self._hashes)))

    def finish(self, checkpoint: bytes) -> None:
        """Settle all added entries, then replace the checkpoint."""
        self.settle()
        self.show(checkpoint)

    def settle(self) -> None:
        """Name all drafts and make them safe from a crash; the checkpoint stays the one before."""
        if self.size > self._settled:
            self._write_edge()
        self._files.sync(self._drafts.values())
        for tile, draft in self._drafts.items():
            self._name(tile, draft)
        self._files.sync(self._unsynced)
        self._settled = self.size
        self._drafts.clear()
        self._unsynced.clear()

    def show(self, checkpoint: bytes) -> None:
        """Replace the checkpoint by that of all settled entries.

        Partial tiles that have become full are removed only afterwards: the checkpoint before may
        need them.
        """
        self._replace_checkpoint(checkpoint)
        for folder in self._outgrown:
            remove_partial(folder, self._files)
        self._outgrown.clear()

    def _fill(self, entries: list[bytes], attachments: Attachments) -> None:
        """Add entries that fit into the last tile, and their files by index among these entries."""
        first = len(self._entries)
        self._entries += entries
        self.size += len(entries)
        for index, files in attachments:
            self._attach(bundle.encode_attachment(first + index, files))
        self._add_hashes(0, b"".join(map(leaf_hash, entries)))
        if len(self._entries) == TILE_WIDTH:
            self._write_entries()
            self._entries.clear()

    def _find_batches(self) -> Path | None:
        edge = edge_tile("batches", self.size)
        return self._path(edge) if edge and self._path(edge).exists() else None

    def _attach(self, part: bytes) -> None:
        self._attachments += part
        if len(self._attachments) >= _CHUNK_BYTES:
            self._write_attachments()

    def _add_hashes(self, level: int, nodes: bytes) -> None:
        """Add joined hashes that fit into the last tile of the level."""
        if level == len(self._hashes):
            self._hashes.append(bytearray())
        hashes = self._hashes[level]
        hashes += nodes
        if len(hashes) == TILE_WIDTH * HASH_BYTES:
            full = bytes(hashes)
            hashes.clear()
            self._write_hashes(level, full)
            self._add_hashes(level + 1, Frontier.over(full).root())

    def _write_hashes(self, level: int, hashes: bytes) -> None:
        # The last node that was added is the last of its level and of this tile.
        last = (self.size >> TILE_HEIGHT * level) - 1
        self._write(Tile(level, last // TILE_WIDTH, len(hashes) // HASH_BYTES), hashes)

    def _write_entries(self) -> None:
        tile = Tile("entries", (self.size - 1) // TILE_WIDTH, len(self._entries))
        self._write(tile, bundle.encode_bundle(self._entries))
        batches = tile.beside("batches")
        if self._attachments or self._batches not in (None, self._draft(batches)):
            self._write_attachments()
        if self._batches:
            self._drafts[batches] = self._batches
            self._batches = None if batches.is_full else self._path(batches)

    def _write_attachments(self) -> None:
        """Append the waiting attachments to the draft, which begins with those that its tile had.

        The number of entries in the tile, and so the name of the file, is not known yet.
        """
        draft = self._draft(Tile("batches", (self.size - 1) // TILE_WIDTH, TILE_WIDTH))
        before = _chunks(self._batches) if self._batches not in (None, draft) else ()
        self._files.write(draft, chain(before, [bytes(self._attachments)]))
        self._attachments.clear()
        self._batches = draft

    def _write_edge(self) -> None:
        """Write the partial tiles that have changed."""
        if self._entries:
            self._write_entries()
        for level, hashes in enumerate(self._hashes):
            if hashes:
                self._write_hashes(level, bytes(hashes))

    def _write(self, tile: Tile, data: bytes) -> None:
        if not has_tile(self._settled, tile):
            draft = self._drafts[tile] = self._draft(tile)
            self._files.write(draft, [data])

    def _name(self, tile: Tile, draft: Path) -> None:
        path = self._path(tile)
        self._unsynced.add(self._enter(path.parent))
        # A crash leaves the same bytes. Others may have been read, under a checkpoint now lost.
        if path.exists() and not _has_same_bytes(path, draft):
            raise BadFolder(f"{tile.path} is there already, and holds something else")
        self._files.rename(draft, path)
        partial = path.with_name(f"{path.name}.p")
        if tile.is_full and partial.is_dir():
            self._outgrown.append(partial)

    def _replace_checkpoint(self, checkpoint: bytes) -> None:
        draft = self._out / f"{CHECKPOINT}{DRAFT}"
        self._files.append(draft, [checkpoint])
        self._files.rename(draft, self._out / CHECKPOINT)
        self._files.sync_folder(self._out)

    def _path(self, tile: Tile) -> Path:
        return self._out / tile.path

    def _draft(self, tile: Tile) -> Path:
        """Return the path of the draft of a tile: that of the full tile, whatever its width."""
        path = self._out / f"{tile_path(tile.level, tile.index, TILE_WIDTH)}{DRAFT}"
        self._enter(path.parent)
        return path

    def _enter(self, folder: Path) -> Path:
        """Make a folder if it is missing; its own name is safe after the next sync.

        A folder that was found in the log counts as new: it may have been made just before a crash.
        """
        if folder not in self._entered:
            self._unsynced.add(self._enter(folder.parent))
            if not folder.is_dir():
                self._files.make_folder(folder)
            self._entered.add(folder)
        return folder


def remove_partial(folder: Path, files: Files) -> None:
    """Remove a partial tile in all its widths."""
    for file in sorted(folder.iterdir()):
        files.remove(file)
    files.remove(folder)


class FolderReader:
    """Reads a folder of unknown origin. Raises `BadFolder` or `BadBundle`.

    In a folder that `grows`, a missing partial tile is read from the full one in its place.
    """

    def __init__(self, folder: Path, *, grows: bool = False) -> None:
        self._folder = folder
        self._grows = grows

    def checkpoint(self) -> bytes:
        return self._read(CHECKPOINT, MAX_NOTE_BYTES)

    def hashes(self, tile: Tile) -> bytes:
        """Return the joined hashes of a tile, as many as its width says."""
        data, _ = self._read_tile(tile, HASH_BYTES)
        if len(data) < tile.width * HASH_BYTES:
            raise CutFile(f"{tile.path} has only {len(data)} bytes")
        return data[: tile.width * HASH_BYTES]

    def tree(self, size: int) -> TiledTree:
        """Return the tree of a published size; its methods read the tiles that they need.

        They raise what `hashes` raises.
        """
        growing = FolderReader(self._folder, grows=True)
        return TiledTree(size, lambda *tile: growing.hashes(Tile(*tile)))

    def entries(self, tile: Tile) -> list[bytes]:
        return list(self.iter_entries(tile))

    def iter_entries(self, tile: Tile) -> Iterator[bytes]:
        """Return the entries one by one; where the framing breaks, `BadBundle` is raised."""
        data, found = self._read_tile(tile, _MAX_FRAMED_BYTES)
        entries = bundle.iter_bundle(data, found.width)
        return entries if found == tile else islice(entries, tile.width)

    def attachments(self, tile: Tile) -> dict[int, list[bytes]]:
        """Return the files of the entries of a tile, by index within the tile."""
        found: dict[int, list[bytes]] = {}
        for index, file in self.iter_attachments(tile):
            found.setdefault(index, []).append(file)
        return found

    def iter_attachments(self, tile: Tile) -> Iterator[tuple[int, bytes]]:
        """Yield the same one by one: the files of a tile may be larger than memory."""
        with self._open_tile(tile) as (file, size, found):
            if size == 0:
                raise CutBundle("a bundle without attachments has no place in a folder", 0)
            for index, data in bundle.iter_attachments(file.read, size):
                if index >= tile.width and found != tile:
                    return
                if index >= tile.width:
                    raise BadBundle(f"a file is beside entry {index} of {tile.width}", index)
                yield index, data

    def has_grown(self, tile: Tile, grown: Tile) -> bool:
        """Return whether a wider tile of the same place begins with this one.

        Raises what reading the tile raises, for a tile that holds less or more than its width says.
        """
        with self._open(tile.path) as (file, _), self._open(grown.path) as (wider, _):
            if not _begins_with(wider, file):
                return False
            following = wider.read(1)
        match tile.level:
            case "entries":
                self.entries(tile)
            case "batches":
                for _ in self.iter_attachments(tile):
                    pass
                # A file begins with the index of its entry, which has to be beyond this tile.
                return not following or following[0] >= tile.width
            case _:
                self.hashes(tile)
        return True

    def files(self) -> set[str]:
        """Return the paths of all files below the folder; links and the like count as files."""
        try:
            return set(self._walk())
        except OSError as error:
            raise BadFolder(f"the folder cannot be listed: {error.strerror}") from error

    def _walk(self) -> Iterator[str]:
        for name, folders, files in os.walk(self._folder, onerror=self._raise_unless_gone):
            folder = Path(name)
            for entry in files + [link for link in folders if (folder / link).is_symlink()]:
                yield (folder / entry).relative_to(self._folder).as_posix()

    def _raise_unless_gone(self, error: OSError) -> None:
        """Ignore a folder of partial tiles that was removed meanwhile, and not the log's own."""
        if not isinstance(error, FileNotFoundError) or Path(error.filename) == self._folder:
            raise error

    def _read(self, path: str, limit_bytes: int) -> bytes:
        with self._open(path) as (file, size):
            return _read_all(path, file, size, limit_bytes)

    def _read_tile(self, tile: Tile, limit_each_bytes: int) -> tuple[bytes, Tile]:
        """Return the content of a tile's file, and the tile of that file."""
        with self._open_tile(tile) as (file, size, found):
            limit_bytes = found.width * limit_each_bytes
            return _read_all(found.path, file, size, limit_bytes), found

    @contextmanager
    def _open_tile(self, tile: Tile) -> Iterator[tuple[BinaryIO, int, Tile]]:
        """Yield the file of a tile or of the full one in its place, its size, and which of them."""
        with ExitStack() as held:
            try:
                found = *held.enter_context(self._open(tile.path)), tile
            except MissingFile as missing:
                if tile.is_full or not self._grows:
                    raise
                full = replace(tile, width=TILE_WIDTH)
                try:
                    found = *held.enter_context(self._open(full.path)), full
                except MissingFile:
                    raise missing from None
            yield found

    @contextmanager
    def _open(self, path: str) -> Iterator[tuple[BinaryIO, int]]:
        """Open a file; yields it and its size."""
        place = self._folder / path
        try:
            # Opening a pipe waits for its writer, and a device may have no end.
            if not stat.S_ISREG(place.lstat().st_mode):
                raise BadFolder(f"{path} is not a plain file")
            with place.open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            raise MissingFile(f"{path} is missing") from error
        except OSError as error:
            raise BadFolder(f"{path} cannot be read: {error.strerror}") from error


def _read_edge(reader: FolderReader, size: int) -> tuple[list[bytes], list[bytearray]]:
    """Return the entries of the last tile, and the hashes of the last tiles that are partial."""
    hashes = []
    for level in range(height_of(size)):
        tile = edge_tile(level, size)
        hashes.append(bytearray(reader.hashes(tile)) if tile else bytearray())
    if (last := edge_tile("entries", size)) is None:
        return [], hashes
    entries = reader.entries(last)
    if b"".join(map(leaf_hash, entries)) != hashes[0]:
        raise BadFolder(f"{last.path} and {last.beside(0).path} do not fit together")
    return entries, hashes


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _has_same_bytes(path: Path, other: Path) -> bool:
    with path.open("rb") as file, other.open("rb") as start:
        return _begins_with(file, start) and not file.read(1)


def _begins_with(file: BinaryIO, start: BinaryIO) -> bool:
    while chunk := start.read(_CHUNK_BYTES):
        if file.read(len(chunk)) != chunk:
            return False
    return True


def _read_all(path: str, file: BinaryIO, size: int, limit_bytes: int) -> bytes:
    if size > limit_bytes:
        raise BadFolder(f"{path} has {size} bytes, at most {limit_bytes} are right")
    return file.read(size)
