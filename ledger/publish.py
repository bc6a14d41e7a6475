"""Keep a folder in step with a log that grows; whatever a crash leaves, the next start completes.

The folder alone is a full backup, attachments included. What a signed checkpoint covers is there
for good, and a tile that has its name is never changed. A publish does, in this order:

    1  write each new tile as a draft, and sync it
    2  compare the root over all entries with the one that the caller expects
    3  give the drafts their names, and sync each folder in which a name is new
    4  sign the checkpoint
    5  write and sync its draft, rename it, sync the folder
    6  remove the partial tiles that have become full ones

So the checkpoint is the last complete state. A crash before step 5 leaves drafts, which the next
`open` removes, and tiles beyond the checkpoint; the next publish has to write those very bytes, and
is refused otherwise. A crash in step 6 leaves partial tiles, which the next `open` removes.

`settle` takes the steps up to 4, `show` those from 5 on. In between, however long that takes,
others may be asked to sign the checkpoint too: all that it covers is safe. Should they not, the
next `settle` goes on from there, and the checkpoint in the folder stays the one before.

It syncs each new file once, each folder with a new name once, and the two of the checkpoint: for a
few entries, three files (entries, their hashes, their attachments) and their three folders, which
makes eight. After an `open`, it also syncs the folders above those once, up to the log's own.

One process publishes to a folder; another is refused. What is not done here: to read the database,
to wait, and to know the time.
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

# Begins to write a folder that has a size, and is locked by a descriptor.
Write = Callable[[Path, int, int], AbstractContextManager["Writer"]]

# Makes the checkpoint of a size and a root, the same bytes each time; and reads one that may be
# anyone's, or raises `BadNote`.
Sign = Callable[[int, bytes], bytes]
Read = Callable[[bytes], Checkpoint]


class Ahead(LedgerError):  # noqa: N818 - the name says what is wrong
    """More was published than the log holds: the log lost entries that others have seen."""

    code = "ahead"


class OtherRoot(LedgerError):  # noqa: N818 - the name says what is wrong
    """What was published, or is to be, is not what the log holds."""

    code = "other_root"


class InUse(LedgerError):  # noqa: N818 - the name says what is wrong
    """Another process publishes to the folder."""

    code = "log_in_use"


class Writer(Protocol):
    """What a publisher asks of `FolderWriter`, which may be elsewhere (`ledger.folder_process`)."""

    size: int

    def extend(self, segment: Segment) -> None: ...
    def root(self) -> bytes: ...
    def settle(self) -> None: ...
    def show(self, checkpoint: bytes) -> None: ...


class Publisher:
    """The one who writes a folder, until `close`.

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
        """Go on with a folder, which may be empty or yet to be made, after whatever happened to it.

        Without `write`, a `FolderWriter` writes it, in this process and with these `files`.
        Raises `Ahead` and `OtherRoot` where it does not belong to the log, `BadNote` where another
        has signed its checkpoint, `BadFolder` where it is damaged, `InUse` where another publishes.
        """
        with ExitStack() as held:
            if not folder.is_dir():
                files.make_folder(folder)
            locked = _lock(folder)
            held.callback(os.close, locked)
            shown = _checkpoint(folder)
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
            # What can be read after a crash may not be safe yet, and what now goes is needed by
            # the checkpoint before.
            files.sync_folder(folder.parent)
            files.sync_folder(folder)
            _tidy(folder, writer.size, files)
            return cls(writer, (sign, read), shown, held.pop_all())

    @property
    def size(self) -> int:
        """How many entries are settled, and after an `open` published: which ones come next."""
        return self._settled.size if self._settled else 0

    def publish(self, segments: Iterable[Segment], root: bytes) -> None:
        """Settle the next segments, and show the checkpoint of all, with no signature but ours.

        Where nothing was added, no file is touched.
        """
        self.show(self.settle(segments, root))

    def settle(self, segments: Iterable[Segment], root: bytes) -> bytes:
        """Add the next segments, and give the signed checkpoint of all that was added.

        `root` is theirs. If it is the checkpoint that is shown, it has all lines that are shown.
        Raises `OtherRoot`, `BadFolder`, `BadBundle` or `OSError`; then only another `open` goes on.
        """
        self.add(segments)
        with self._moving():
            if self._writer.root() != root:
                raise OtherRoot(f"the entries do not give the root of size {self._writer.size}")
            self._writer.settle()
            note = self._sign(self._writer.size, root)
            self._settled = self._read(note)
            if self._shown is not None and self._read(self._shown) == self._settled:
                return self._shown
            return note

    def show(self, note: bytes) -> None:
        """Replace the checkpoint by the one that was settled last, to which others may have signed.

        Raises as `settle` does.
        """
        with self._moving():
            if self._read(note) != self._settled:
                raise OtherRoot("the checkpoint is not that of the entries which were settled last")
            if note != self._shown:
                self._writer.show(note)
                self._shown = note

    def add(self, segments: Iterable[Segment]) -> None:
        """Add the next segments to what `settle` will sign: a long log need not be in memory."""
        with self._moving():
            for segment in segments:
                self._writer.extend(segment)

    def close(self) -> None:
        """Let another publisher have the folder."""
        self._held.close()

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Whatever raises inside leaves a writer that is not where the folder is."""
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
    """Two at once would mix their drafts, and the slower one would take the checkpoint back."""
    try:
        return lock(folder)
    except BlockingIOError:
        raise InUse(f"another process publishes to {folder}") from None


def _checkpoint(folder: Path) -> bytes | None:
    try:
        return FolderReader(folder).checkpoint()
    except MissingFile:
        return None


def check_root(published: Checkpoint, root_at: RootAt) -> None:
    """Hold what is published against the log. Raises `Ahead` or `OtherRoot`."""
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
            if each != full and full in names and _covers(size, (here / full).relative_to(folder)):
                remove_partial(here / each, files)


def _covers(size: int, path: Path) -> bool:
    tile = find_tile(path.as_posix())
    return tile is not None and has_tile(size, tile)
