"""Publish a growing log as a folder; after any crash, the next start completes it.

The folder alone is a full backup, attachments included. What a signed checkpoint covers stays for
good, and a tile that has its name never changes. The steps of a publish are, in this order:

    1  write each new tile as a draft
    2  compare the root over all entries with the one that the caller expects
    3  sync the drafts, rename them to their names, and sync each folder that has a new name
    4  sign the checkpoint
    5  write and sync its draft, rename it, sync the folder
    6  remove the partial tiles that have become full ones

So the checkpoint is the last complete state. A crash before step 5 leaves drafts, which the next
`open` removes, and tiles beyond the checkpoint; the next publish has to write those very bytes, and
is refused otherwise. A crash in step 6 leaves partial tiles, which the next `open` removes.

`settle` takes steps 1 to 4, `show` steps 5 and 6. Between them, others may be asked to sign the
checkpoint too, however long that takes: all that it covers is safe. If they do not sign, the
checkpoint in the folder stays the one before, and the next `settle` goes on from there.

A publish syncs each new file once, each folder with a new name once, and twice for the checkpoint.
A few entries take eight syncs: three files (entries, their hashes, their attachments), their three
folders, and the checkpoint's two. After an `open`, the folders above those are synced once too, up
to the log's own. The files are synced all at once, and so are the folders: a publish waits four
times for the disk, however many entries it has.

One process publishes to a folder; another is refused. This module reads no database, does not wait
and knows no time.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, Self

from ledger.bundle import Segment
from ledger.errors import BadFolder, LedgerError, MissingFile
from ledger.files import DISK, Files, lock
from ledger.folder import DRAFT, FolderReader, FolderWriter, remove_partial
from ledger.note import Checkpoint
from ledger.tiles import find_tile, has_tile

# The root that the log had at a size, None if it never had that many entries.
RootAt = Callable[[int], bytes | None]

# Opens a writer of a folder; arguments are the folder, its size, and the descriptor of its lock.
Write = Callable[[Path, int, int], AbstractContextManager["Writer"]]

# `Sign` makes the checkpoint of a size and a root, the same bytes each time. `Read` verifies one of
# unknown origin, or raises `BadNote`.
Sign = Callable[[int, bytes], bytes]
Read = Callable[[bytes], Checkpoint]


class Ahead(LedgerError):  # noqa: N818 - the name says what is wrong
    """More was published than the log holds: the log lost entries that others have seen."""

    code = "ahead"


class OtherRoot(LedgerError):  # noqa: N818 - the name says what is wrong
    """A published root, or one to be published, that is not the log's."""

    code = "other_root"


class InUse(LedgerError):  # noqa: N818 - the name says what is wrong
    """Another process publishes to the folder."""

    code = "log_in_use"


class Writer(Protocol):
    """The methods of `FolderWriter` that a publisher uses; `folder_process` has them too."""

    size: int

    def extend(self, segment: Segment) -> None: ...
    def root(self) -> bytes: ...
    def settle(self) -> None: ...
    def show(self, checkpoint: bytes) -> None: ...


class Publisher:
    """The only writer of a folder, until `close`.

    with Publisher.open(folder, sign, read, root_at) as publisher:
        publisher.publish(segments_from(publisher.size), root)
    """

    def __init__(
        self,
        writer: Writer,
        signing: tuple[Sign, Read],
        shown: bytes | None,
        held: ExitStack,
    ) -> None:
        self._writer = writer
        self._sign, self._read = signing
        self._shown = shown
        self._settled = self._read(shown) if shown else None
        self._held = held
        self._is_whole = True

    @classmethod
    def open(  # noqa: PLR0913, PLR0917 - a folder, what the log knows, and how to write
        cls,
        folder: Path,
        sign: Sign,
        read: Read,
        root_at: RootAt,
        files: Files = DISK,
        write: Write | None = None,
    ) -> Self:
        """Open a folder, which may be missing, empty, or as a crash left it.

        Without `write`, a `FolderWriter` writes it, in this process and with these `files`. Raises
        `Ahead` and `OtherRoot` where the folder does not belong to the log, `BadNote` where another
        key has signed its checkpoint, `BadFolder` where it is damaged, `InUse` where another
        process publishes.
        """
        with ExitStack() as held:
            if not folder.is_dir():
                files.make_folder(folder)
            locked = _lock(folder)
            held.callback(os.close, locked)
            shown = _read_checkpoint(folder)
            published = read(shown) if shown else None
            if published is not None:
                check_root(published, root_at)
            size = published.size if published else 0
            writer = held.enter_context(
                write(folder, size, locked)
                if write
                else nullcontext(FolderWriter(folder, files, resume=size))
            )
            if published is not None and writer.root() != published.root:
                raise BadFolder(f"the last tiles do not give the root of size {published.size}")
            # After a crash, the checkpoint that is read may not be safe yet. It must be, before
            # the files go that only the one before it needs.
            files.sync_folder(folder.parent)
            files.sync_folder(folder)
            _tidy(folder, writer.size, files)
            return cls(writer, (sign, read), shown, held.pop_all())

    @property
    def size(self) -> int:
        """The number of settled entries: the next segment begins here."""
        return self._settled.size if self._settled else 0

    def publish(self, segments: Iterable[Segment], root: bytes) -> None:
        """Settle the next segments, and show their checkpoint with our signature alone.

        Without new entries, no file is touched.
        """
        self.show(self.settle(segments, root))

    def settle(self, segments: Iterable[Segment], root: bytes) -> bytes:
        """Add the next segments, and return the signed checkpoint of all added entries.

        `root` is the expected root of them all. If the folder shows this checkpoint already, the
        shown note is returned with all its lines. Raises `OtherRoot`, `BadFolder`, `BadBundle` or
        `OSError`; only a new `open` goes on after that.
        """
        self.add(segments)
        with self._guard():
            if self._writer.root() != root:
                raise OtherRoot(f"the entries do not give the root of size {self._writer.size}")
            self._writer.settle()
            note = self._sign(self._writer.size, root)
            self._settled = self._read(note)
            if self._shown is not None and self._read(self._shown) == self._settled:
                return self._shown
            return note

    def show(self, note: bytes) -> None:
        """Replace the checkpoint by the last settled one, which may have more signatures by now.

        Raises as `settle` does.
        """
        with self._guard():
            if self._read(note) != self._settled:
                raise OtherRoot("the checkpoint is not that of the entries which were settled last")
            if note != self._shown:
                self._writer.show(note)
                self._shown = note

    def add(self, segments: Iterable[Segment]) -> None:
        """Add the next segments for the next `settle`: a long log need not be in memory."""
        with self._guard():
            for segment in segments:
                self._writer.extend(segment)

    def close(self) -> None:
        """Release the folder for another publisher."""
        self._held.close()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Refuse all further calls if the body raises: the writer no longer matches the folder."""
        if not self._is_whole:
            raise BadFolder("a publish has failed: the folder must be opened again")
        self._is_whole = False
        yield
        self._is_whole = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lock(folder: Path) -> int:
    """Lock the folder: two publishers would mix their drafts and move the checkpoint back."""
    try:
        return lock(folder)
    except BlockingIOError:
        raise InUse(f"another process publishes to {folder}") from None


def _read_checkpoint(folder: Path) -> bytes | None:
    try:
        return FolderReader(folder).checkpoint()
    except MissingFile:
        return None


def check_root(published: Checkpoint, root_at: RootAt) -> None:
    """Compare a published checkpoint with the log. Raises `Ahead` or `OtherRoot`."""
    root = root_at(published.size)
    if root is None:
        raise Ahead(f"{published.size} entries are published, and the log holds fewer")
    if root != published.root:
        raise OtherRoot(f"the log has another root of size {published.size} than was published")


def _tidy(folder: Path, size: int, files: Files) -> None:
    """Remove drafts, and partial tiles beside a full one that the checkpoint covers."""
    for name, folders, names in os.walk(folder):
        here = Path(name)
        for each in names:
            if each.endswith(DRAFT):
                files.remove(here / each)
        for each in folders:
            full = each.removesuffix(".p")
            if full in names and _covers(size, (here / full).relative_to(folder)):
                remove_partial(here / each, files)


def _covers(size: int, path: Path) -> bool:
    tile = find_tile(path.as_posix())
    return tile is not None and has_tile(size, tile)
