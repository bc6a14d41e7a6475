"""Verify an exported log offline, with nothing but its folder and the log's public key.

Of the bytes (`prove`): the checkpoint is signed, the files are those that its size calls for, and
entries and tiles give the signed root. Of the meaning, in the order of the entries up to the first
that is wrong:

    every entry   canonical JSON with `v` 1, `kind`, `at` in microseconds never going back, `by`,
                  and `postings` [from, to, fen] that break no floor
    entry 0       `kind` "genesis", the `origin` of the checkpoint, and `floors`, the classes of
                  accounts that may not go below zero
    what it is    `Replay`, the caller's, sees each entry with its attachments and the tree that was
                  before it. What is attached is the replay's to judge, missing or not

Each entry is read and hashed once, and judged before anyone knows whether it was signed. What is
found counts as far as the very entries that were judged are proved afterwards; what comes after the
first that is not, a stranger may have made, and nothing is said of its meaning.

Other judges may sit beside the replay. On one core they are asked one after the other. On several,
other processes prove the bytes, hold the rules that every ledger keeps and ask the others, while
this one replays. Each judges all entries, and the first wrong one that any of them finds is named.
It is the same on any number of cores; where two find the same entry wrong, what is said of it need
not be.

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
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, TypeVar

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
from ledger.tlog import HASH_BYTES, TILE_WIDTH, Frontier, Tree, leaf_hash

__all__ = ["Check", "Judge", "Problem", "Replay", "Report", "Violation", "verify"]

Progress = Callable[[int, int], None]

_ENOUGH_TO_SHARE: Final = 10_000  # entries: below, other processes take longer to start than help


class Judge(Protocol):
    """Rules for entries; both methods raise `Violation`.

    Another `LedgerError` is taken for one, and any other exception for a bug, which goes through.
    """

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        """Judge one entry; `tree` is that of all entries before it, and perhaps of some after.

        `fields` are those of the canonical `data`, `None` where a replay foresaw them.
        """

    def finish(self) -> None:
        """Judge the whole, after the last entry."""


class Replay(Judge, Protocol):
    """The rules of what the ledger is about."""

    def foresees(self, data: bytes) -> bool:
        """Whether the replay itself has made these very bytes, with `canon`, for the next entry.

        So they are canonical, and nobody needs to decode them to know that.
        """


def verify(  # noqa: PLR0913 - what can be asked for, each by itself
    folder: Path,
    verifier: Verifier,
    replay: Replay | None = None,
    progress: Progress | None = None,
    beside: Sequence[Callable[[], Judge]] = (),
    *,
    cores: int = 1,
    policy: TrustPolicy | None = None,
    since: Checkpoint | None = None,
) -> Report:
    """The verdict on a folder; `progress` hears the steps done and their total, two an entry.

    `beside` make judges, for which other processes look by their names if there are several
    `cores`. `policy` says whose cosignatures are needed, and `since` is a checkpoint of the log
    from which it must have grown.
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
    source = _Source(reader, checkpoint)
    if cores > 1 and checkpoint.size >= _ENOUGH_TO_SHARE:
        proof, judged = _judge_on_several(source, replay, beside, cores, advance)
    else:
        proof, judged = _judge_on_one(source, replay, beside, advance)
    seen, other = _grown_since(since, checkpoint, proof) if since is not None else ([], [])
    found = [judged.problem] if judged.problem else []
    steps.done(proof.checks + seen + judged.checks, proof.problems + other + found)
    assert steps.problems or judged.size == checkpoint.size
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


# An entry and the files beside it, which nothing proves.
Entry = tuple[bytes, list[bytes]]


class _Source(NamedTuple):
    """A folder, and what was signed of it."""

    reader: FolderReader
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class _Judged:
    """How many entries the judges let pass, and what is wrong with the next or the whole.

    `tree` is that of the entries that were read for them, whoever made those.
    """

    size: int
    problem: Problem | None
    tree: Tree
    postings: int = 0

    @property
    def checks(self) -> list[Check]:
        return [Check("entries replayed", self.size), Check("postings", self.postings)]


def _judge_on_one(
    source: _Source,
    replay: Replay | None,
    beside: Sequence[Callable[[], Judge]],
    advance: Callable[[int], None],
) -> tuple[Proof, _Judged]:
    """Judge by the books, then by the replay, then by those beside it, and prove what was read."""
    books, (reader, checkpoint) = Books(source.checkpoint.origin), source
    judges = [books, *([replay] if replay else []), *(make() for make in beside)]
    judged = replace(_judge(source, judges, replay, advance), postings=books.postings)
    proof = prove(reader, checkpoint.size, checkpoint.root, judged.tree, advance)
    return proof, _as_far_as_proved(judged, proof, checkpoint.size)


def _judge_on_several(
    source: _Source,
    replay: Replay | None,
    beside: Sequence[Callable[[], Judge]],
    cores: int,
    advance: Callable[[int], None],
) -> tuple[Proof, _Judged]:
    """The same with the replay in this process, and all else in as many as can be of use."""
    size = source.checkpoint.size
    count = min(cores - 1, max(1, len(beside)))
    first, *others = (beside[start::count] for start in range(count))
    context = multiprocessing.get_context("spawn")  # a fork would copy what other threads hold
    # What a judge makes, it keeps: a search for garbage would find none.
    with ProcessPoolExecutor(count, context, initializer=gc.disable) as pool:
        proving = pool.submit(_judge_on_one, source, None, first, _tell_nobody)
        judging = [pool.submit(_judge_apart, source, group) for group in others]
        here = _judge(source, [replay] if replay else [], replay, lambda done: advance(2 * done))
        proof, by_the_books = proving.result()
        found = [*(each.result() for each in judging), here]
    proved = [_as_far_as_proved(judged, proof, size) for judged in found]
    return proof, _together([by_the_books, *proved], size)


def _judge_apart(source: _Source, beside: Sequence[Callable[[], Judge]]) -> _Judged:
    return _judge(source, [make() for make in beside], None, _tell_nobody)


def _tell_nobody(_: int) -> None:
    """Nobody watches the progress of another process."""


def _judge(
    source: _Source,
    judges: Sequence[Judge],
    replay: Replay | None,
    advance: Callable[[int], None],
) -> _Judged:
    """Judge what the folder holds, signed or not."""
    tree = Tree()
    judging = Judging(judges, tree, replay)
    judging.take(_read_entries(source, tree, advance), source.checkpoint.size)
    return _Judged(judging.passed, judging.problem, tree)


def _as_far_as_proved(judged: _Judged, proof: Proof, size: int) -> _Judged:
    """What was found in entries that are those proved."""
    end, problem = _count_read(judged.tree, proof), judged.problem
    if judged.size >= end and end < size:
        problem = None  # with what was not signed
    passed = min(judged.size, end)
    if not problem and passed < proof.count:
        problem = Problem("bad_folder", "it was changed while it was verified", passed)
    return replace(judged, size=passed, problem=problem)


def _count_read(tree: Tree, proof: Proof) -> int:
    """How many of the proved entries are those in the tree, counted in whole tiles."""
    leaves, same = tree.leaf_hashes(), 0
    for proved in proof.leaf_hashes:
        if leaves[same * HASH_BYTES : same * HASH_BYTES + len(proved)] != proved:
            break
        same += len(proved) // HASH_BYTES
    return min(same, proof.count)


def _together(judged: Sequence[_Judged], size: int) -> _Judged:
    """What all have let pass, and the first that is wrong; what only the whole shows comes last."""
    problems = sorted(
        filter(None, (each.problem for each in judged)),
        key=lambda problem: size if problem.entry is None else problem.entry,
    )
    postings = sum(each.postings for each in judged)
    size = min(each.size for each in judged)
    return _Judged(size, next(iter(problems), None), judged[0].tree, postings)


class Judging:
    """Shows entries to judges one by one, as far as all let them pass.

    `passed` counts those, and `problem` is what is wrong with the next one or the whole. What
    `replay`, one of the judges, has foreseen is not decoded. The `tree` is grown by the caller.
    """

    def __init__(self, judges: Sequence[Judge], tree: Tree, replay: Replay | None = None) -> None:
        self.passed = 0
        self.problem: Problem | None = None
        self._judges = judges
        self._tree = tree
        self._foresees = replay.foresees if replay else _foresee_nothing

    def take(self, entries: Iterable[Entry], size: int) -> None:
        """Judge the next entries; when it were `size` in all, the judges are asked of the whole."""
        try:
            self._judge(entries, size)
        except LedgerError as error:
            number = error.entry if isinstance(error, Violation) else None
            if number is None and self.passed < size:
                number = self.passed
            self.problem = Problem(error.code, error.detail, number)

    def _judge(self, entries: Iterable[Entry], size: int) -> None:
        foresees, tree = self._foresees, self._tree
        asked = [judge.entry for judge in self._judges]
        for data, attachments in entries:
            fields = None if foresees(data) else canon.decode(data)
            for ask in asked:
                ask(self.passed, data, fields, attachments, tree)
            self.passed += 1
        if self.passed == size:
            for judge in self._judges:
                judge.finish()


def _foresee_nothing(_: bytes) -> bool:
    return False


def _read_entries(source: _Source, tree: Tree, advance: Callable[[int], None]) -> Iterator[Entry]:
    """All entries, as far as the files hold any; `tree` takes their hashes, a tile at a time."""
    reader, checkpoint = source
    files = reader.files()
    for tile in level_tiles("entries", checkpoint.size):
        entries: list[bytes] = []
        fault: LedgerError | None = None
        try:
            entries.extend(reader.iter_entries(tile))
        except LedgerError as error:
            fault = error
            del entries[tile.width - 1 :]  # whatever follows the last one is a fault of that one
        tree.extend(b"".join(map(leaf_hash, entries)))
        yield from zip(entries, attachments_of(reader, tile, files), strict=False)
        if fault:
            raise fault
        advance(tile.first + tile.width)


def attachments_of(reader: FolderReader, tile: Tile, files: set[str]) -> Iterator[list[bytes]]:
    """The attachments of a tile's entries; there may be no file of them in all of `files`."""
    batches = tile.beside("batches")
    if batches.path not in files:
        return repeat([], tile.width)
    return by_entry(reader.iter_attachments(batches), tile.width)


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
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class _GenesisFields(_Fields):
    kind: Literal["genesis"]
    origin: str
    floors: list[str]


_F = TypeVar("_F", bound=_Fields)

_decoder: Final = msgspec.json.Decoder(_Fields)
_genesis_decoder: Final = msgspec.json.Decoder(_GenesisFields)


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
        data: bytes,
        fields: dict[str, Any] | None,  # noqa: ARG002 - of which it needs few
        attachments: list[bytes],  # noqa: ARG002 - opaque to a ledger
        tree: Tree,  # noqa: ARG002
    ) -> None:
        entry = _read(data, _decoder)
        if self._book is None:
            self._book = self._open(_read(data, _genesis_decoder))
        elif entry.kind == "genesis":
            raise Violation("bad_fields", "only entry 0 is a genesis")
        if entry.at < self._last_at:
            raise Violation("time_went_back", f"at {entry.at}, after one at {self._last_at}")
        self._last_at = entry.at
        self._book.post(entry.postings)
        self.postings += len(entry.postings)

    def finish(self) -> None:
        """A floor holds at each entry, so the whole needs no look."""

    def _open(self, genesis: _GenesisFields) -> Book:
        if genesis.origin != self._origin:
            raise Violation("other_origin", f"the genesis is of {genesis.origin!r:.200}")
        return Book(genesis.floors)


def _read(data: bytes, decoder: "msgspec.json.Decoder[_F]") -> _F:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Violation("bad_fields", str(error)) from error
