"""Verify an exported log offline, with nothing but its folder and the log's public key.

First the bytes (`prove`): the checkpoint is signed, the files are those that its size calls for,
and entries and tiles give the signed root. Then the meaning, of the entries so proved and in their
order, up to the first that is wrong:

    every entry   canonical JSON with `v` 1, `kind`, `at` in microseconds never going back, `by`,
                  and `postings` [from, to, fen] that break no floor
    entry 0       `kind` "genesis", the `origin` of the checkpoint, and `floors`, the classes of
                  accounts that may not go below zero
    what it is    `Replay`, the caller's, sees each entry with its attachments and the tree that was
                  before it. What is attached is the replay's to judge, missing or not

A second replay may judge beside the first, on a second core together with the rules that every
ledger keeps: each judges all entries, and the first that either finds wrong is named.

More can be asked of the checkpoint than the log's signature: that enough witnesses have cosigned it
(`not_witnessed`), and that the log only grew since an earlier one (`rolled_back`, `forked`).

A log that is read as it grows is judged in the same way, part by part: see `ledger.following`.

Whatever the folder holds, the verdict is a `Report`. `CannotCheck` says that there is no verdict:
no folder, or no checkpoint that could be read.
"""

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from ledger import canon
from ledger.book import Book, Posting
from ledger.errors import BadFolder, BadNote, CannotCheck, LedgerError, NotWitnessed, Violation
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.prove import Proof, prove
from ledger.quorum import TrustPolicy, open_trusted
from ledger.report import Check, Problem, Report
from ledger.tiles import CHECKPOINT, Tile, level_tiles
from ledger.tlog import HASH_BYTES, TILE_WIDTH, Frontier, Tree, leaf_hash, split_hashes

__all__ = ["Check", "Problem", "Replay", "Report", "Violation", "verify"]

Progress = Callable[[int, int], None]

_ENOUGH_FOR_TWO: Final = 10_000  # entries: below, a second process takes longer to start than helps


class Replay(Protocol):
    """The rules of what the ledger is about; both methods raise `Violation`.

    Another `LedgerError` is taken for one, and any other exception for a bug, which goes through.
    """

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any],
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        """Judge one entry; `tree` is that of all entries before it."""

    def finish(self) -> None:
        """Judge the whole, after the last entry."""


def verify(  # noqa: PLR0913 - what can be asked for, each by itself
    folder: Path,
    verifier: Verifier,
    replay: Replay | None = None,
    progress: Progress | None = None,
    beside: Callable[[], Replay] | None = None,
    *,
    policy: TrustPolicy | None = None,
    since: Checkpoint | None = None,
) -> Report:
    """The verdict on a folder; `progress` hears the steps done and their total, two an entry.

    `beside` makes a second replay, for which another process looks by its name. `policy` says whose
    cosignatures are needed, and `since` is a checkpoint of the log from which it must have grown.
    """
    reader, steps = FolderReader(folder), _Steps()
    note = _checkpoint_bytes(reader, folder)
    try:
        checkpoint = open_checkpoint(note, verifier)
    except BadNote as error:
        problem = Problem(error.code, error.detail, file=CHECKPOINT)
        return Report(verifier.name, 0, b"", [problem], [])
    steps.done([Check("checkpoint signature", 1)])

    def advance(done: int) -> None:
        if progress is not None:
            progress(done, 2 * checkpoint.size)

    if policy is not None:
        steps.done(*_witnessed(note, policy))
    proof = prove(reader, checkpoint.size, checkpoint.root, advance)
    steps.done(proof.checks, proof.problems)
    if since is not None:
        steps.done(*_grown_since(since, checkpoint, proof))
    proved = _Proved(reader, checkpoint, proof)
    if beside is not None and proof.count >= _ENOUGH_FOR_TWO:
        replayed, postings = _replay_beside(proved, replay, beside, advance)
    else:
        both = [replay, beside() if beside else None]
        replayed, postings = _replay_by_the_books(proved, both, advance)
    checks = [Check("entries replayed", replayed.size), Check("postings", postings)]
    steps.done(checks, replayed.problems)
    assert steps.problems or replayed.size == checkpoint.size
    return Report(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
        problems=steps.problems,
        checks=steps.checks,
    )


class _Steps:
    """What has been found so far, and when the step began that is being taken."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.problems: list[Problem] = []
        self._began = time.perf_counter_ns()

    def done(self, checks: Iterable[Check], problems: Iterable[Problem] = ()) -> None:
        """End a step, in which these were checked and found."""
        now = time.perf_counter_ns()
        self.checks += (replace(check, nanoseconds=now - self._began) for check in checks)
        self.problems += problems
        self._began = now


def _checkpoint_bytes(reader: FolderReader, folder: Path) -> bytes:
    if not folder.is_dir():
        raise CannotCheck(f"{folder} is not a folder")
    try:
        return reader.checkpoint()
    except BadFolder as error:
        raise CannotCheck(error.detail) from error


def _witnessed(note: bytes, policy: TrustPolicy) -> tuple[list[Check], list[Problem]]:
    try:
        cosigned = open_trusted(note, policy)
    except (BadNote, NotWitnessed) as error:
        return [], [Problem(error.code, error.detail, file=CHECKPOINT)]
    return [Check("cosignatures", len(cosigned.times))], []


def _grown_since(
    since: Checkpoint, checkpoint: Checkpoint, proof: Proof
) -> tuple[list[Check], list[Problem]]:
    """Whether the log begins with all that it had then."""
    if checkpoint.size < since.size:
        detail = f"the log had {since.size} entries, and now has {checkpoint.size}"
        return [], [Problem("rolled_back", detail, file=CHECKPOINT)]
    if proof.count < since.size:
        return [], []  # a problem of the bytes says why there is no telling
    hashes = b"".join(proof.leaf_hashes[: -(-since.size // TILE_WIDTH)])
    if Frontier.over(hashes[: since.size * HASH_BYTES]).root() != since.root:
        detail = f"its first {since.size} entries are others than those it had then"
        return [], [Problem("forked", detail, file=CHECKPOINT)]
    return [Check("entries as seen before", since.size)], []


# An entry that the root proves: its leaf hash, its bytes, and the files beside it, which nothing
# proves yet.
Entry = tuple[bytes, bytes, list[bytes]]


class _Proved(NamedTuple):
    """A folder, and how much of it the signed root proves."""

    reader: FolderReader
    checkpoint: Checkpoint
    proof: Proof


class _Replayed(NamedTuple):
    """How many entries the judges let pass, and what is wrong with the next or the whole."""

    size: int
    problems: list[Problem]


def _replay_by_the_books(
    proved: _Proved, judges: Sequence[Replay | None], advance: Callable[[int], None]
) -> tuple[_Replayed, int]:
    """Judge by the books first, then by the others; give the number of postings too."""
    books = Books(proved.checkpoint.origin)
    return _replay(proved, [books, *judges], advance), books.postings


def _replay_beside(
    proved: _Proved,
    replay: Replay | None,
    beside: Callable[[], Replay],
    advance: Callable[[int], None],
) -> tuple[_Replayed, int]:
    """The same in two processes at once, the second one by the books and `beside`."""
    context = multiprocessing.get_context("spawn")  # a fork would copy what other threads hold
    with ProcessPoolExecutor(1, context) as pool:
        other = pool.submit(_replay_there, proved, beside)
        here = _replay(proved, [replay], advance)
        there, postings = other.result()
    problems = sorted(
        there.problems + here.problems,
        # What only the whole shows comes last.
        key=lambda problem: here.size if problem.entry is None else problem.entry,
    )
    return _Replayed(min(here.size, there.size), problems[:1]), postings


def _replay_there(proved: _Proved, beside: Callable[[], Replay]) -> tuple[_Replayed, int]:
    gc.disable()  # what a replay makes, it keeps
    return _replay_by_the_books(proved, [beside()], lambda _: None)


def _replay(
    proved: _Proved, judges: Sequence[Replay | None], advance: Callable[[int], None]
) -> _Replayed:
    tree, size = Tree(), proved.checkpoint.size
    judging = [judge for judge in judges if judge is not None]
    problem = judge_entries(_proved_entries(proved, advance), judging, tree, size)
    return _Replayed(tree.size, [problem] if problem else [])


def judge_entries(
    entries: Iterable[Entry], judges: Sequence[Replay], tree: Tree, size: int
) -> Problem | None:
    """Show the entries to the judges and add them to the tree, up to the first that is wrong.

    When the tree has the `size`, the judges are asked about the whole.
    """
    try:
        for leaf, data, attachments in entries:
            fields = canon.decode(data)
            for judge in judges:
                judge.entry(tree.size, data, fields, attachments, tree)
            tree.append(leaf)
        if tree.size == size:
            for judge in judges:
                judge.finish()
    except LedgerError as error:
        number = error.entry if isinstance(error, Violation) else None
        if number is None and tree.size < size:
            number = tree.size
        return Problem(error.code, error.detail, number)
    return None


def _proved_entries(proved: _Proved, advance: Callable[[int], None]) -> Iterator[Entry]:
    reader, checkpoint, proof = proved
    size = checkpoint.size
    for tile, leaves in zip(level_tiles("entries", size), proof.leaf_hashes, strict=False):
        if tile.first >= proof.count:
            return
        right = min(tile.width, proof.count - tile.first)
        has_files = tile.beside("batches").path in proof.files
        yield from entries_of(reader, tile, leaves[: right * HASH_BYTES], has_files=has_files)
        advance(size + tile.first + tile.width)


def entries_of(
    reader: FolderReader, tile: Tile, leaves: bytes, *, has_files: bool
) -> Iterator[Entry]:
    """A tile's entries, as many as there are leaf hashes that were proved."""
    batches = tile.beside("batches")
    files = reader.iter_attachments(batches) if has_files else iter(())
    hashes = split_hashes(leaves)
    entries = list(islice(reader.iter_entries(tile), len(hashes)))
    # The file is read a second time, and may be another by now.
    if list(map(leaf_hash, entries)) != hashes:
        raise BadFolder(f"{tile.path} was changed while it was verified")
    return zip(hashes, entries, by_entry(files, tile.width), strict=False)


def by_entry(files: Iterator[tuple[int, bytes]], width: int) -> Iterator[list[bytes]]:
    """For each entry of a tile its files, with no more than one file read ahead."""
    index, file = next(files, (width, b""))
    for entry in range(width):
        found: list[bytes] = []
        while index == entry:
            found.append(file)
            index, file = next(files, (width, b""))
        yield found


class _Fields(msgspec.Struct):
    """What every entry has; there is more in each that is not the ledger's to know."""

    v: Literal[1]
    kind: str
    at: int
    by: str
    postings: list[Posting]


class _GenesisFields(_Fields):
    kind: Literal["genesis"]
    origin: str
    floors: list[str]


_F = TypeVar("_F", bound=_Fields)


class Books:
    """The rules that every ledger keeps, whatever it is about."""

    def __init__(self, origin: str) -> None:
        self.postings = 0
        self._origin = origin
        self._last_at = 0
        self._book: Book | None = None

    def entry(
        self,
        number: int,  # noqa: ARG002 - each entry by itself
        data: bytes,  # noqa: ARG002
        entry: dict[str, Any],
        attachments: list[bytes],  # noqa: ARG002 - opaque to a ledger
        tree: Tree,  # noqa: ARG002
    ) -> None:
        fields = _convert(entry, _Fields)
        if self._book is None:
            self._book = self._open(_convert(entry, _GenesisFields))
        elif fields.kind == "genesis":
            raise Violation("bad_fields", "only entry 0 is a genesis")
        if fields.at < self._last_at:
            raise Violation("time_went_back", f"at {fields.at}, after one at {self._last_at}")
        self._last_at = fields.at
        self._book.post(fields.postings)
        self.postings += len(fields.postings)

    def finish(self) -> None:
        """A floor holds at each entry, so the whole needs no look."""

    def _open(self, genesis: _GenesisFields) -> Book:
        if genesis.origin != self._origin:
            raise Violation("other_origin", f"the genesis is of {genesis.origin!r:.200}")
        return Book(genesis.floors)


def _convert(entry: dict[str, Any], kind: type[_F]) -> _F:
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise Violation("bad_fields", str(error)) from error
