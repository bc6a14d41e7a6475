"""An exported log as a folder of files, laid out as `tiles` says: written once, read by anyone.

The writer holds one tile of entries and one of each level of hashes, however long the log is. It
writes the checkpoint last, after all else is on the disk: a folder with a checkpoint is whole. The
reader expects anything: no links or pipes are followed, and nothing longer than it may be is read.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from ledger import bundle
from ledger.canon import MAX_ENTRY_BYTES
from ledger.errors import BadBundle, BadFolder, MissingFile
from ledger.note import MAX_NOTE_BYTES
from ledger.tiles import CHECKPOINT, Tile
from ledger.tlog import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, leaf_hash

# An entry's bytes and their length in the bundle.
_MAX_FRAMED_BYTES: Final = 2 + MAX_ENTRY_BYTES


class FolderWriter:
    """Writes a log from its first entry on into a folder that is empty or not there yet."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise BadFolder(f"{out} is not empty")
        self.size = 0
        self._out = out
        self._entries: list[bytes] = []
        self._hashes: list[bytearray] = []
        self._attachments: BinaryIO | None = None
        self._folders = {out}

    def add(self, data: bytes, attachments: Sequence[bytes] = ()) -> None:
        """Add the next entry and the files that belong to it."""
        for file in attachments:
            self._attach(file)
        self._entries.append(data)
        self.size += 1
        self._add_hash(0, leaf_hash(data))
        if len(self._entries) == TILE_WIDTH:
            self._close_entries()

    def finish(self, checkpoint: bytes) -> None:
        """Write what is left, and once that is safe, the checkpoint."""
        if self._entries:
            self._close_entries()
        for level, hashes in enumerate(self._hashes):
            if hashes:
                self._write_tile(level, bytes(hashes))
        for folder in self._folders:
            _sync_folder(folder)
        draft = self._out / f"{CHECKPOINT}.tmp"
        _write(draft, checkpoint)
        draft.rename(self._out / CHECKPOINT)
        _sync_folder(self._out)

    def _attach(self, file: bytes) -> None:
        # The name of this file depends on how many entries the tile will get.
        if self._attachments is None:
            self._attachments = (self._out / "batches.tmp").open("xb")
        self._attachments.write(bundle.encode_attachment(len(self._entries), [file]))

    def _add_hash(self, level: int, node: bytes) -> None:
        if level == len(self._hashes):
            self._hashes.append(bytearray())
        hashes = self._hashes[level]
        hashes += node
        if len(hashes) == TILE_WIDTH * HASH_BYTES:
            full = bytes(hashes)
            hashes.clear()
            self._write_tile(level, full)
            self._add_hash(level + 1, Frontier.over(full).root())

    def _write_tile(self, level: int, hashes: bytes) -> None:
        # The node just added is the last of its level, and the last of this tile.
        last = (self.size >> TILE_HEIGHT * level) - 1
        self._write(Tile(level, last // TILE_WIDTH, len(hashes) // HASH_BYTES), hashes)

    def _close_entries(self) -> None:
        index, width = (self.size - 1) // TILE_WIDTH, len(self._entries)
        self._write(Tile("entries", index, width), bundle.encode_bundle(self._entries))
        self._entries.clear()
        if self._attachments is not None:
            _sync(self._attachments)
            self._attachments.close()
            path = self._path(Tile("batches", index, width))
            Path(self._attachments.name).rename(path)
            self._attachments = None

    def _write(self, tile: Tile, data: bytes) -> None:
        _write(self._path(tile), data)

    def _path(self, tile: Tile) -> Path:
        """Where the tile goes, in folders that are made and remembered on the way."""
        path = self._out / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folders.update(path.parents[: len(Path(tile.path).parts) - 1])
        return path


class FolderReader:
    """Reads a folder that anyone may have made. Raises `BadFolder` or `BadBundle`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def checkpoint(self) -> bytes:
        return self._read(CHECKPOINT, MAX_NOTE_BYTES)

    def hashes(self, tile: Tile) -> bytes:
        """The joined hashes of a tile, as many as its width says."""
        data = self._read(tile.path, tile.width * HASH_BYTES)
        if len(data) < tile.width * HASH_BYTES:
            raise BadFolder(f"{tile.path} has only {len(data)} bytes")
        return data

    def entries(self, tile: Tile) -> list[bytes]:
        return list(self.iter_entries(tile))

    def iter_entries(self, tile: Tile) -> Iterator[bytes]:
        """The entries of a bundle up to the place where its framing breaks, then `BadBundle`."""
        data = self._read(tile.path, tile.width * _MAX_FRAMED_BYTES)
        return bundle.iter_bundle(data, tile.width)

    def attachments(self, tile: Tile) -> dict[int, list[bytes]]:
        """The files beside the entries of a tile, by index within the tile."""
        found: dict[int, list[bytes]] = {}
        for index, file in self.iter_attachments(tile):
            found.setdefault(index, []).append(file)
        return found

    def iter_attachments(self, tile: Tile) -> Iterator[tuple[int, bytes]]:
        """The same one by one, for all of a tile's may be more than memory holds."""
        with self._open(tile.path) as (file, size):
            if size == 0:
                raise BadBundle("a bundle without attachments has no place in a folder", 0)
            for index, data in bundle.iter_attachments(file.read, size):
                if index >= tile.width:
                    raise BadBundle(f"a file is beside entry {index} of {tile.width}", index)
                yield index, data

    def files(self) -> set[str]:
        """The paths of all files below the folder; links and the like count as files."""
        try:
            return set(self._walk())
        except OSError as error:
            raise BadFolder(f"the folder cannot be listed: {error.strerror}") from error

    def _walk(self) -> Iterator[str]:
        for name, folders, files in os.walk(self._folder, onerror=_raise):
            folder = Path(name)
            for entry in files + [link for link in folders if (folder / link).is_symlink()]:
                yield (folder / entry).relative_to(self._folder).as_posix()

    def _read(self, path: str, limit_bytes: int) -> bytes:
        with self._open(path) as (file, size):
            if size > limit_bytes:
                raise BadFolder(f"{path} has {size} bytes, at most {limit_bytes} are right")
            return file.read(size)

    @contextmanager
    def _open(self, path: str) -> Iterator[tuple[BinaryIO, int]]:
        """The file and its size."""
        place = self._folder / path
        try:
            # To open a pipe would wait for its writer, and a device may have no end.
            if not stat.S_ISREG(place.lstat().st_mode):
                raise BadFolder(f"{path} is not a plain file")
            with place.open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            raise MissingFile(f"{path} is missing") from error
        except OSError as error:
            raise BadFolder(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error
