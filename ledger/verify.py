"""Verify an exported log offline, with nothing but its folder and the log's public key.

First the bytes (`prove`): the checkpoint is signed, the files are those of its size, and entries
and tiles give the signed root. Then the meaning, entry by entry up to the first wrong one:

    every entry   canonical JSON with `v` 1, `kind`, `at` in microseconds never going back, `by`,
                  and `postings` [from, to, fen] that break no floor
    entry 0       `kind` "genesis", the `origin` of the checkpoint, and `floors`, the classes of
                  accounts that may not go below zero
    its subject   the caller's `Replay` judges each entry with its attachments, missing or not, and
                  with the tree before it

Each entry is read and hashed once, and judged before it is proved. A finding counts only if the
very bytes that were judged are proved afterwards. Entries after the first unproved one may be a
stranger's, so nothing is said of their meaning.

Other judges may sit beside the replay. On one core they judge one after the other. On several,
other processes prove the bytes, check the rules of every ledger and run these judges, while this
one replays; or workers elsewhere that read the same folder. Each judges all entries, and the first
wrong one that any of them finds is named. It is the same entry on any number of cores; only the
words may differ where two judges refuse it.

Two more checks can be asked for: that enough witnesses have cosigned the checkpoint
(`not_witnessed`), and that the log only grew since an earlier one (`rolled_back`, `forked`).

A writer may be at work in the folder. The checkpoint that is read first decides which entries are
judged; files of later entries are a notice.

`ledger.following` judges a growing log in the same way, part by part.

Whatever the folder holds, the verdict is a `Report`. `CannotCheck` means that there is no verdict:
no folder, no checkpoint that could be read, or a checkpoint that another key signed.
"""

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from ledger import canon
from ledger.book import Book, Posting
from ledger.errors import (
    BadFolder,
    BadNote,
    CannotCheck,
    LedgerError,
    MissingFile,
    NoCheckpoint,
    NotCanonical,
    NotSigned,
    NotWitnessed,
    OtherKey,
    Violation,
)
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Verifier, open_checkpoint, split_note
from ledger.progress import Done, Progress
from ledger.prove import Proof, prove
from ledger.quorum import TrustPolicy, open_trusted
from ledger.report import Check, Finding, Report
from ledger.tiles import CHECKPOINT, Tile, level_tiles
from ledger.tlog import HASH_BYTES, TILE_WIDTH, Frontier, Tree, leaf_hash

__all__ = ["Check", "Finding", "Judge", "Replay", "Report", "Violation", "verify"]

ENOUGH_TO_SHARE: Final = 10_000  # entries: with fewer, starting processes costs more than it saves


class Judge(Protocol):
    """Rules for entries; both methods raise `Violation`.

    Any other `LedgerError` counts as one too. Any other exception is a bug and passes through.
    """

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        """Judge one entry; `tree` holds all entries before it, and perhaps some after.

        `fields` are decoded from the canonical `data`, or None where a replay, here or in another
        process, foresaw it or decodes it.
        """

    def finish(self) -> None:
        """Judge the whole log, after the last entry."""

    @property
    def checks(self) -> Sequence[Check]:
        """Return the counts of what it checked itself."""


class Replay(Judge, Protocol):
    """The rules of the ledger's subject."""

    def foresees(self, data: bytes) -> bool:
        """Return whether the replay itself made these very bytes for the next entry, with `canon`.

        Then they are canonical, and nobody needs to decode them to know that.
        """


def verify(  # noqa: PLR0913 - independent options
    folder: Path,
    verifier: Verifier,
    replay: Replay | None = None,
    progress: Progress | None = None,
    beside: Sequence[Callable[[], Judge]] = (),
    *,
    note: bytes = b"",
    cores: int = 1,
    workers: Executor | None = None,
    policy: TrustPolicy | None = None,
    since: Checkpoint | None = None,
) -> Report:
    """Return the verdict on a folder; `progress` gets the steps done and their total, two an entry.

    `note` is its checkpoint, where the caller has read that.

    `beside` are makers of more judges; with several `cores`, other processes import them by name.
    Those are processes of this machine, or `workers` that read the folder under the same path.
    `policy` names the cosignatures that are needed, and `since` is an earlier checkpoint from which
    the log must have grown.
    """
    reader, steps = FolderReader(folder, grows=True), _Steps()
    note = note or read_checkpoint(folder)
    try:
        checkpoint = open_checkpoint(note, verifier)
    except NotSigned as error:
        signers = " and ".join(each.label for each in split_note(note)[1])
        detail = f"{signers} signed the checkpoint, not {verifier.label}"
        raise OtherKey(detail) from error
    except BadNote as error:
        finding = Finding(error.code, error.detail, file=CHECKPOINT)
        return Report(verifier.name, 0, b"", [finding], [])
    steps.done([Check("checkpoint signature", 1)])

    def advance(done: int) -> None:
        if progress is not None:
            progress(done, 2 * checkpoint.size)

    if policy is not None:
        steps.done(*_check_cosignatures(note, policy))
    source = _Source(reader, checkpoint)
    if cores > 1 and checkpoint.size >= ENOUGH_TO_SHARE:
        count = min(cores - 1, max(1, len(beside)))
        with _own_workers(count) if workers is None else nullcontext(workers) as pool:
            shares = [beside[start::count] for start in range(count)]
            proof, judged = _judge_on_several(source, replay, shares, pool, advance)
    else:
        proof, judged = _judge_on_one(source, replay, beside, advance)
    seen, other = _check_growth(since, checkpoint, proof) if since is not None else ([], [])
    found = [judged.finding] if judged.finding else []
    steps.done(proof.checks + seen + judged.all_checks, proof.findings + other + found)
    assert steps.findings or judged.size == checkpoint.size
    return Report(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
        findings=steps.findings,
        checks=steps.checks,
        notices=proof.notices,
    )


class _Steps:
    """The findings so far, and the start of the current step."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.findings: list[Finding] = []
        self._began = time.perf_counter_ns()

    def done(self, checks: Iterable[Check], findings: Iterable[Finding] = ()) -> None:
        """End a step with its checks and findings."""
        now = time.perf_counter_ns()
        self.checks += (replace(check, nanoseconds=now - self._began) for check in checks)
        self.findings += findings
        self._began = now


def read_checkpoint(folder: Path) -> bytes:
    """Return the checkpoint of a folder, whoever signed it. Raises `CannotCheck`."""
    if not folder.is_dir():
        raise CannotCheck(f"{folder} is not a folder")
    try:
        note = FolderReader(folder).checkpoint()
        split_note(note)
    except BadFolder as error:
        raise CannotCheck(error.detail) from error
    except BadNote as error:
        raise NoCheckpoint(f"{folder / CHECKPOINT} is none: {error.detail}") from error
    return note


def _check_cosignatures(note: bytes, policy: TrustPolicy) -> tuple[list[Check], list[Finding]]:
    try:
        cosigned = open_trusted(note, policy)
    except (BadNote, NotWitnessed) as error:
        return [], [Finding(error.code, error.detail, file=CHECKPOINT)]
    return [Check("cosignatures", len(cosigned.times))], []


def _check_growth(
    since: Checkpoint, checkpoint: Checkpoint, proof: Proof
) -> tuple[list[Check], list[Finding]]:
    """Check that the log begins with all entries of the earlier checkpoint."""
    if checkpoint.size < since.size:
        detail = f"the log had {since.size} entries, and now has {checkpoint.size}"
        return [], [Finding("rolled_back", detail, file=CHECKPOINT)]
    if proof.count < since.size:
        return [], []  # a finding of the bytes was found already
    hashes = b"".join(proof.leaf_hashes[: -(-since.size // TILE_WIDTH)])
    if Frontier.over(hashes[: since.size * HASH_BYTES]).root() != since.root:
        detail = f"its first {since.size} entries are others than those it had then"
        return [], [Finding("forked", detail, file=CHECKPOINT)]
    return [Check("entries as seen before", since.size)], []


# An entry and its attachments, which no root proves.
Entry = tuple[bytes, list[bytes]]
_E = TypeVar("_E")


class _Source(NamedTuple):
    """A folder and its signed checkpoint."""

    reader: FolderReader
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class _Judgement:
    """How many entries the judges let pass, and the finding of the next one or of the whole.

    `tree` is that of all entries that were read for them, proved or not.
    """

    size: int
    finding: Finding | None
    tree: Tree
    checks: list[Check]

    @property
    def all_checks(self) -> list[Check]:
        return [Check("entries replayed", self.size), *self.checks]


def _judge_on_one(
    source: _Source,
    replay: Replay | None,
    beside: Sequence[Callable[[], Judge]],
    advance: Done,
    *,
    is_replayed: bool = False,
) -> tuple[Proof, _Judgement]:
    """Judge by the books, the replay and the judges beside it, and prove what was read.

    What `is_replayed` elsewhere is not decoded here.
    """
    reader, checkpoint = source
    books = Books(checkpoint.origin)
    judges = [books, *([replay] if replay else []), *(make() for make in beside)]
    judged = _judge(source, judges, replay, advance, is_replayed=is_replayed)
    proof = prove(reader, checkpoint.size, checkpoint.root, judged.tree, advance)
    return proof, _limit_to_proved(judged, proof, checkpoint.size)


def _own_workers(count: int) -> Executor:
    """Return processes of this machine."""
    context = multiprocessing.get_context("spawn")  # a fork would copy what other threads hold
    # A judge keeps all that it makes: a search for garbage would find none.
    return ProcessPoolExecutor(count, context, initializer=gc.disable)


def _judge_on_several(
    source: _Source,
    replay: Replay | None,
    shares: Sequence[Sequence[Callable[[], Judge]]],
    pool: Executor,
    advance: Done,
) -> tuple[Proof, _Judgement]:
    """Do the same, with the replay in this process and a share of the rest in each of the pool."""
    first, *others = shares
    is_replayed = replay is not None
    proving = pool.submit(
        _judge_on_one, source, None, first, _ignore_progress, is_replayed=is_replayed
    )
    judging = [
        pool.submit(_judge_apart, source, share, is_replayed=is_replayed) for share in others
    ]
    here = _judge(source, [replay] if replay else [], replay, lambda done: advance(2 * done))
    proof, by_the_books = proving.result()
    found = [*(each.result() for each in judging), here]
    proved = [_limit_to_proved(judged, proof, source.checkpoint.size) for judged in found]
    return proof, _combine([by_the_books, *proved], source.checkpoint.size)


def _judge_apart(
    source: _Source, beside: Sequence[Callable[[], Judge]], *, is_replayed: bool
) -> _Judgement:
    judges = [make() for make in beside]
    return _judge(source, judges, None, _ignore_progress, is_replayed=is_replayed)


def _ignore_progress(_: int) -> None:
    """Do nothing: nobody watches the progress of another process."""


def _judge(
    source: _Source,
    judges: Sequence[Judge],
    replay: Replay | None,
    advance: Done,
    *,
    is_replayed: bool = False,
) -> _Judgement:
    """Judge the entries that the folder holds, proved or not."""
    tree = Tree()
    judging = Judging(judges, tree, replay, is_replayed=is_replayed)
    judging.take(_read_entries(source, tree, advance), source.checkpoint.size)
    replay_last = sorted(judges, key=lambda judge: judge is replay)
    checks = _summed(check for judge in replay_last for check in judge.checks)
    return _Judgement(judging.passed, judging.finding, tree, checks)


def _limit_to_proved(judged: _Judgement, proof: Proof, size: int) -> _Judgement:
    """Return what was found in proved entries alone."""
    end, finding = _count_read(judged.tree, proof), judged.finding
    if judged.size >= end and end < size:
        finding = None  # it concerns an entry that is not proved
    passed = min(judged.size, end)
    if not finding and passed < proof.count:
        finding = Finding("changed", "it was changed while it was verified", passed)
    checks = judged.checks if passed == judged.size else []  # which count all that was read
    return replace(judged, size=passed, finding=finding, checks=checks)


def _count_read(tree: Tree, proof: Proof) -> int:
    """Return how many of the proved entries are in the tree, counted in whole tiles."""
    leaves, same = tree.leaf_hashes(), 0
    for proved in proof.leaf_hashes:
        if leaves[same * HASH_BYTES : same * HASH_BYTES + len(proved)] != proved:
            break
        same += len(proved) // HASH_BYTES
    return min(same, proof.count)


def _combine(judged: Sequence[_Judgement], size: int) -> _Judgement:
    """Return what all let pass, and the first finding; one of the whole log comes last."""
    findings = sorted(
        filter(None, (each.finding for each in judged)),
        # On one core, an entry is decoded before it is judged.
        key=lambda finding: (
            size if finding.entry is None else finding.entry,
            finding.code != NotCanonical.code,
        ),
    )
    size = min(each.size for each in judged)
    checks = _summed(check for each in judged for check in each.checks)
    return _Judgement(size, next(iter(findings), None), judged[0].tree, checks)


def _summed(checks: Iterable[Check]) -> list[Check]:
    """Return one check for each name: several judges may share the work of one."""
    counts: dict[str, int] = {}
    for check in checks:
        counts[check.name] = counts.get(check.name, 0) + check.count
    return [Check(name, count) for name, count in counts.items()]


class Judging:
    """Shows entries to judges one by one, until one refuses.

    `passed` counts the entries that passed, and `finding` is that of the next one or of the whole.
    An entry that `replay`, one of the judges, foresaw is not decoded, nor is any that `is_replayed`
    elsewhere. The caller grows the `tree`.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        tree: Tree,
        replay: Replay | None = None,
        *,
        is_replayed: bool = False,
    ) -> None:
        self.passed = 0
        self.finding: Finding | None = None
        self._judges = judges
        self._tree = tree
        self._foresees = replay.foresees if replay else lambda _: is_replayed

    def take(self, entries: Iterable[Entry], size: int) -> None:
        """Judge the next entries, and after `size` entries in all the whole log."""
        try:
            self._judge(entries, size)
        except LedgerError as error:
            number = error.entry if isinstance(error, Violation) else None
            if number is None and self.passed < size:
                number = self.passed
            self.finding = Finding(error.code, error.detail, number)

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


def _read_entries(source: _Source, tree: Tree, advance: Done) -> Iterator[Entry]:
    """Yield all entries that the files hold; `tree` takes their hashes, a tile at a time."""
    reader, checkpoint = source
    for tile in level_tiles("entries", checkpoint.size):
        entries: list[bytes] = []
        fault: LedgerError | None = None
        try:
            entries.extend(reader.iter_entries(tile))
        except LedgerError as error:
            fault = error
        tree.extend(b"".join(map(leaf_hash, entries)))
        yield from zip(entries, attachments_of(reader, tile), strict=False)
        if fault:
            raise fault
        advance(tile.first + tile.width)


def attachments_of(reader: FolderReader, tile: Tile) -> Iterator[list[bytes]]:
    """Yield the attachments of each entry of a tile: none, where their bundle is missing."""
    try:
        yield from by_entry(reader.iter_attachments(tile.beside("batches")), tile.width)
    except MissingFile:  # raised before anything is yielded
        yield from repeat([], tile.width)


@dataclass(frozen=True, slots=True)
class FolderEntries:
    """The entries of a folder's first `size`, which can be read more than once, from any on."""

    reader: FolderReader
    size: int

    def entries(self, first: int, end: int) -> Iterator[bytes]:
        """Yield the entries from a number until another one. Raises `LedgerError`."""
        for tile in self._tiles(first, end):
            yield from _cut(self.reader.iter_entries(tile), tile, first, end)

    def with_files(self, first: int, end: int) -> Iterator[Entry]:
        """Yield the same, each with the files beside it."""
        for tile in self._tiles(first, end):
            held = zip(
                self.reader.iter_entries(tile), attachments_of(self.reader, tile), strict=False
            )
            yield from _cut(held, tile, first, end)

    def _tiles(self, first: int, end: int) -> Iterator[Tile]:
        for tile in level_tiles("entries", self.size, first):
            if tile.first >= end:
                return
            yield tile


def _cut(held: Iterable[_E], tile: Tile, first: int, end: int) -> Iterator[_E]:
    """Yield what a tile holds from a number until another one."""
    return islice(held, max(0, first - tile.first), max(0, end - tile.first))


def by_entry(files: Iterator[tuple[int, bytes]], width: int) -> Iterator[list[bytes]]:
    """Yield the files of each entry of a tile, with at most one file read ahead."""
    index, file = next(files, (width, b""))
    for entry in range(width):
        found: list[bytes] = []
        while index == entry:
            found.append(file)
            index, file = next(files, (width, b""))
        yield found


class _Fields(msgspec.Struct):
    """The fields of every entry; the ledger does not know the others."""

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
        self._postings = 0
        self._origin = origin
        self._last_at = 0
        self._book: Book | None = None

    def entry(
        self,
        number: int,  # noqa: ARG002 - each entry by itself
        data: bytes,
        fields: dict[str, Any] | None,  # noqa: ARG002 - it decodes the few that it needs
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
        self._postings += len(entry.postings)

    def finish(self) -> None:
        """Do nothing: the floors were checked at each entry."""

    @property
    def checks(self) -> Sequence[Check]:
        return [Check("postings", self._postings)]

    def _open(self, genesis: _GenesisFields) -> Book:
        if genesis.origin != self._origin:
            raise Violation("other_origin", f"the genesis is of {genesis.origin!r:.200}")
        return Book(genesis.floors)


def _read(data: bytes, decoder: "msgspec.json.Decoder[_F]") -> _F:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Violation("bad_fields", str(error)) from error
    except (ValueError, RecursionError) as error:  # of what nobody has decoded before
        raise NotCanonical(str(error)) from error
