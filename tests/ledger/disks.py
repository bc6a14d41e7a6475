"""A disk that breaks at a chosen operation, and that can show what a power cut would leave.

    disk = Disk(tmp_path / "disk", stop=7, mode=TORN)
    with pytest.raises(Broken):
        Publisher.open(disk.root / "log", LOG, roots, disk)
    disk.after_power_cut(tmp_path / "after", Random(0))

The folder below `root` is what processes see; it stays when only the process ends. A power cut
keeps what was synced, any subset of the later changes of names, and of a file's later bytes all or
half: each folder is a dict of names, and a list of changes that wait for a sync. What is synced at
once is synced in some order, one after the other. The disk may go on after it broke: set `stop`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.files import Files

BEFORE, TORN, AFTER = "before", "torn", "after"

# A name stands for a file, or for a folder below.
_FOLDER = object()
_Names = dict[Path, dict[str, Any]]


@dataclass
class _File:
    data: bytes
    safe: int = 0  # bytes, from the first on


class Broken(OSError):  # noqa: N818 - the name says what the disk is
    pass


class Disk(Files):
    """Operation number `stop`, from 0 on, breaks before it is done, after it, or half-way."""

    def __init__(self, root: Path, stop: int | None = None, mode: str = BEFORE) -> None:
        """Begin with all that is below `root` now, synced."""
        root.mkdir(exist_ok=True)
        self.root, self.stop, self.mode = root, stop, mode
        self.operations: list[tuple[str, str]] = []
        self._files: dict[Path, _File] = {}
        self._safe: dict[Path, dict[str, Any]] = {}
        self._waiting: dict[Path, list[dict[str, Any]]] = {}
        self._order = random.Random(0)
        self._read(root)

    def append(self, path, chunks):
        data = b"".join(chunks)

        def append(part):
            self._write(path, part)
            self._make_safe(path)

        self._do("append", path, lambda: append(data), lambda: append(data[: len(data) // 2]))

    def write(self, path, chunks):
        data = b"".join(chunks)
        half = data[: len(data) // 2]
        self._do("write", path, lambda: self._write(path, data), lambda: self._write(path, half))

    def rename(self, old, new):
        def rename():
            super(Disk, self).rename(old, new)
            self._files[new] = self._files.pop(old)
            gone, there = {old.name: None}, {new.name: self._files[new]}
            if old.parent == new.parent:
                self._change(new.parent, gone | there)
            else:
                self._change(old.parent, gone)
                self._change(new.parent, there)

        self._do("rename", new, rename)

    def make_folder(self, path):
        def make():
            super(Disk, self).make_folder(path)
            self._safe[path] = {}
            self._change(path.parent, {path.name: _FOLDER})

        self._do("make", path, make)

    def remove(self, path):
        def remove():
            super(Disk, self).remove(path)
            self._files.pop(path, None)
            self._change(path.parent, {path.name: None})

        self._do("remove", path, remove)

    def sync(self, paths):
        paths = sorted(paths)
        for path in self._order.sample(paths, len(paths)):
            self.sync_folder(path)

    def sync_folder(self, path):
        self._do("sync", path, lambda: self._make_safe(path))

    def after_power_cut(self, out: Path, survives: Callable[[], bool]) -> Path:
        """Make a folder that a power cut may leave; `survives` decides on each change and file."""
        names = {folder: dict(held) for folder, held in self._safe.items()}
        for folder, changes in self._waiting.items():
            for change in changes:
                if survives():
                    names[folder] |= change
        self._copy(self.root, out, names, survives)
        return out

    def _write(self, path: Path, part: bytes) -> None:
        with path.open("ab") as file:
            file.write(part)
        if path not in self._files:
            self._files[path] = _File(b"")
            self._change(path.parent, {path.name: self._files[path]})
        self._files[path].data += part

    def _make_safe(self, path: Path) -> None:
        if path in self._files:
            self._files[path].safe = len(self._files[path].data)
        for change in self._waiting.pop(path, []):
            self._safe[path] |= change

    def _do(
        self,
        kind: str,
        path: Path,
        operation: Callable[[], None],
        half: Callable[[], None] = lambda: None,
    ) -> None:
        breaks = len(self.operations) == self.stop
        self.operations.append((kind, path.relative_to(self.root).as_posix()))
        if not breaks or self.mode == AFTER:
            operation()
        elif self.mode == TORN:
            half()
        if breaks:
            raise Broken

    def _change(self, folder: Path, change: dict[str, Any]) -> None:
        self._waiting.setdefault(folder, []).append(change)

    def _read(self, folder: Path) -> None:
        held = self._safe[folder] = {}
        for each in folder.iterdir():
            if each.is_dir():
                held[each.name] = _FOLDER
                self._read(each)
            else:
                data = each.read_bytes()
                held[each.name] = self._files[each] = _File(data, len(data))

    def _copy(
        self,
        folder: Path,
        out: Path,
        names: dict[Path, dict[str, Any]],
        survives: Callable[[], bool],
    ) -> None:
        out.mkdir()
        for name, held in names[folder].items():
            if held is _FOLDER:
                self._copy(folder / name, out / name, names, survives)
            elif held is not None:
                kept = len(held.data) if survives() else (held.safe + len(held.data)) // 2
                (out / name).write_bytes(held.data[:kept])
