"""The auditor's daemon: follow a log, verify each new part with all its rules, and raise alarms.

A poll fetches the checkpoint and compares it with the monitor's copy:

    not signed, or too few witnesses     `untrusted`, and nothing is fetched
    no more entries than the copy has    the copy's root of that size must be the same, else `fork`;
                                         fewer than it has are a `rollback`
    more                                 the new tiles are fetched, proved together with all before
                                         (`ledger.following`), and the new entries decided again; a
                                         wrong one is a `violation`

Where new tiles do not prove their checkpoint, the hashes of the whole log are fetched anew. If they
give the signed root, but another root for the copy's entries, the log has two histories: a fork.
Otherwise a served file is damaged.

Each other history is one branch, with one alarm and one file of evidence, both brought up to date
as the branch grows. Its hashes are kept, so its next checkpoint costs what is new, and shows by its
root that it goes on from the one before.

A disk that cannot be written is an alarm: what is not written then is written at a later look. The
copy, the evidence and the incidents are the only state: a restart replays the copy offline and goes
on. Little free space is an alarm before that, so that somebody can make room.
`auditor.alarms` lists the alarms, `auditor.mirror` the files of the folder.
"""

import asyncio
import contextlib
import gc
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from ledger.errors import BadNote, CannotCheck, LedgerError, NotWitnessed
from ledger.folder import FolderReader
from ledger.following import Following, Unproved
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, open_note
from ledger.quorum import TrustPolicy, open_trusted
from ledger.report import Finding
from ledger.tiles import Level, Tile, height_of, level_tiles
from ledger.tlog import Tree
from meter.auditor import evidence
from meter.auditor.alarms import Alarm, Alarms, Say
from meter.auditor.evidence import Evidence, Kind
from meter.auditor.fetch import Source, open_source
from meter.auditor.log_keys import key_findings
from meter.auditor.mirror import Branch, Mirror
from meter.auditor.replay import Audit, Gap, check_files
from meter.auditor.token_watch import TokenWatch
from meter.auditor.verdict import no_collections
from meter.rules.state import signing
from meter.values.foreign_text import one_line
from meter.values.units import MICROSECONDS, format_instant
from meter.values.worded import worded

MAX_FORKS: Final = 10  # each takes 32 bytes an entry
DIAGNOSIS_SECONDS: Final = 600  # between two, while the damage stays: each fetches all hashes


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a gap may be open, how long the log may not grow, and what must stay free.

    Less than `free_bytes` is an alarm, which goes off once a quarter more is free again: so it does
    not flap about the limit.
    """

    gap_seconds: int
    silence_seconds: int
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Trust:
    """One of the log's keys, and the policy of witnesses for its checkpoints."""

    verifier: Verifier
    policy: TrustPolicy | None = None


class _Pending(NamedTuple):
    """What was proved, and is not in the copy yet: the arguments of `Mirror.adopt`."""

    tiles: tuple[Tile, ...]
    note: bytes
    old_size: int
    size: int


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The monitor must stop in the middle of a part."""


class Monitor:
    """One log, followed into one folder. `clock` returns seconds since 1970."""

    def __init__(  # noqa: PLR0913 - one argument for each part
        self,
        folder: Path,
        trust: Trust,
        limits: Limits,
        say: Say,
        clock: Callable[[], int] = lambda: int(time.time()),
        *,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Open the folder, which `start` replays; `free` returns the bytes that are free there.

        Raises `CannotCheck`.
        """
        self._trust, self._limits, self._say, self._clock = trust, limits, say, clock
        self._folder, self._free = folder, free
        self.mirror = Mirror(folder)
        self.alarms = Alarms(self.mirror.alarms, say, clock)
        self.polls: Counter[str] = Counter()
        self.polled_at = 0
        self.grown_at = self.mirror.grown_at() or clock()
        self.audit = Audit(read=self.mirror.entries)
        self.following = Following(trust.verifier.name, self.audit, check_files)
        self._note = b""
        self._refused = b""
        self._diagnose_at = 0
        self._pending: _Pending | None = None
        self._owes_evidence = False
        self._branches = self.mirror.forks()
        self._shown: Branch | None = None  # the branch that the log showed last, if it did
        self._stopped = False
        self._asked: set[tuple[str, str, tuple[str, ...]]] = set()
        self._decisions_told = 0

    @property
    def size(self) -> int:
        """The number of entries in the copy."""
        return self.following.tree.size

    def start(self) -> None:
        """Replay the copy. Raises `CannotCheck` where it is damaged or of another log."""
        note = self.mirror.note()
        if not note:
            return
        try:
            checkpoint = self._read_checkpoint(note)
            with no_collections():
                self.following.advance(FolderReader(self.mirror.log), checkpoint, self._go_on)
            self._open_checkpoint(note)
        except (BadNote, Unproved) as error:
            log = self.mirror.log
            raise CannotCheck(f"move {log} away to fetch the log anew: {error}") from error
        self._report_growth(note)

    def stop(self) -> None:
        """Make the work in another thread end soon."""
        self._stopped = True

    def close(self) -> None:
        """Unlock the folder for another monitor."""
        self.mirror.close()

    async def poll(self, source: Source) -> None:
        """Check the log and the time once."""
        try:
            self._finish()
            await self._look(source, await source.checkpoint())
            self.alarms.save()
        except CannotCheck as error:
            self._report_failure(error.detail)
        except OSError as error:  # of the disk; those of the network are `CannotCheck`
            self._report_failure(f"{error}")
            self.alarms.settle("disk", {"": worded(f"cannot write: {error}")})
        else:
            self.polls["answered"] += 1
            self.polled_at = self._clock()
            self.alarms.settle("disk", {})
        self._look_at_the_time()
        self._look_at_the_disk()
        with contextlib.suppress(OSError):  # told already, or by the next look
            self.alarms.take_acknowledgements()
            self.alarms.save()

    def _report_failure(self, detail: str) -> None:
        self.polls["failed"] += 1
        self._say({"event": "failed", "at": self._now(), "detail": one_line(detail)})

    async def _look(self, source: Source, note: bytes) -> None:
        if note == self._refused:
            return
        try:
            checkpoint = self._open_checkpoint(note)
        except BadNote as error:
            self.alarms.settle("untrusted", {"": one_line(str(error))})
            return
        missing = self._missing_witnesses(note)
        self.alarms.settle("untrusted", missing)
        if checkpoint.size <= self.size:
            await self._compare(source, note, checkpoint)
        elif not missing:
            await self._follow(source, note, checkpoint)

    def _open_checkpoint(self, note: bytes) -> Checkpoint:
        """Return a checkpoint that a key of the log, valid for its size, has signed.

        The log's entries name its keys. Until one names the trusted key, that counts as valid too.
        """
        checkpoint, trusted = self._read_checkpoint(note), self._trust.verifier
        named = self.audit.state.log_keys
        known = {Verifier.parse(vkey) for vkey in signing(named, min(checkpoint.size, self.size))}
        open_note(note, known if trusted.format() in named else known | {trusted})
        return checkpoint

    def _read_checkpoint(self, note: bytes) -> Checkpoint:
        checkpoint = claimed_checkpoint(note)
        if checkpoint.origin != self._trust.verifier.name:
            raise BadNote(f"the checkpoint is of another log, {checkpoint.origin!r:.200}")
        return checkpoint

    def _missing_witnesses(self, note: bytes) -> dict[str, str]:
        if self._trust.policy is not None:
            try:
                open_trusted(note, self._trust.policy)
            except (BadNote, NotWitnessed) as error:
                return {"": str(error)}
        return {}

    async def _compare(self, source: Source, note: bytes, checkpoint: Checkpoint) -> None:
        """Compare a checkpoint that has no more entries than the copy with the copy's tree."""
        tree = self.following.tree
        if tree.root(checkpoint.size) != checkpoint.root:
            await self._keep_fork(source, note, checkpoint)
            return
        self._shown = None
        self.alarms.settle("damage", {})
        if checkpoint.size == self.size:
            self.alarms.settle("rollback", {})
            return
        self._owes_evidence |= not self.alarms.count("rollback")
        told = worded(f"the log had {self.size} entries, and shows {checkpoint.size}")
        self.alarms.settle("rollback", {"": told})
        if self._owes_evidence and checkpoint.size > 0:
            name = f"rollback-{checkpoint.size}-{checkpoint.root.hex()[:16]}"
            self.mirror.keep_evidence(name, self._evidence("rollback", note, tree))
            self._owes_evidence = False

    async def _follow(self, source: Source, note: bytes, checkpoint: Checkpoint) -> None:
        if await self._follow_branch(source, note, checkpoint):
            return
        old_size = self.size
        try:
            await self._advance(source, checkpoint)
        except Unproved as error:
            if not await self._diagnose(source, note, checkpoint):
                told = worded(f"size {checkpoint.size}: {error.detail}")
                self.alarms.settle("damage", {"": told})
            return
        tiles = tuple(_new_tiles(old_size, checkpoint.size))
        self._pending = _Pending(tiles, note, old_size, checkpoint.size)
        self._keep_problem()
        self._finish()

    async def _follow_branch(self, source: Source, note: bytes, checkpoint: Checkpoint) -> bool:
        """Return whether the branch that was shown last goes on, which costs its new hashes."""
        if (branch := self._shown) is None:
            return False
        tree = await self._fetch_tree(source, checkpoint, branch)
        goes_on = tree is not None and _begins(tree, branch)
        if goes_on and tree is not None and not _has_root(tree, self.following.tree):
            self._keep_branch(branch, note, checkpoint, tree)
            return True
        self.mirror.drop_hashes()
        return False

    def _finish(self) -> None:
        """Take over what was proved, also after a look in which the disk did not."""
        self.alarms.save()
        if self._pending is None:
            return
        self.mirror.adopt(*self._pending)
        self.grown_at = self._clock()
        self._diagnose_at = 0
        self._report_growth(self._pending.note)
        self._pending = None
        self._shown = None
        self._check_keys()
        self.alarms.settle("rollback", {})
        self.alarms.settle("damage", {})

    async def _advance(self, source: Source, checkpoint: Checkpoint) -> None:
        """Fetch, prove and judge the new tiles; leftovers that fail are fetched once more."""
        new, size = self.mirror.new, self.size
        for is_last in (not new.exists(), True):
            await source.fetch(_new_tiles(size, checkpoint.size), new, self._go_on)
            try:
                advance = self.following.advance
                await asyncio.to_thread(advance, FolderReader(new), checkpoint, self._go_on)
            except Unproved:
                self.mirror.clear_new()
                if is_last:
                    raise
            else:
                return

    async def _diagnose(self, source: Source, note: bytes, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint is of another branch, by the hashes of the whole log."""
        if self._clock() < self._diagnose_at:
            return False
        self._diagnose_at = self._clock() + DIAGNOSIS_SECONDS
        branch, tree = await self._find_branch(source, checkpoint)
        is_known = branch is not None and tree is None
        if not is_known and (tree is None or _has_root(tree, self.following.tree)):
            self.mirror.drop_hashes()
            return False
        self._diagnose_at = 0
        self._keep_branch(branch, note, checkpoint, tree)
        return True

    async def _keep_fork(self, source: Source, note: bytes, checkpoint: Checkpoint) -> None:
        """Keep the proof that a checkpoint, no larger than the copy, is of another branch."""
        if checkpoint.size == 0:
            told = worded("the checkpoint of no entries has a root that no tree has")
            self.alarms.settle("untrusted", {"": told})
            return
        try:
            branch, tree = await self._find_branch(source, checkpoint)
        except (CannotCheck, OSError):  # the two checkpoints prove it all the same
            branch, tree = None, None
        self._keep_branch(branch, note, checkpoint, tree)

    async def _find_branch(
        self, source: Source, checkpoint: Checkpoint
    ) -> tuple[Branch | None, Tree | None]:
        """Return the known branch that a checkpoint belongs to, and its tree, as far as known."""
        for branch in reversed(self._branches):
            if await asyncio.to_thread(self._is_within, branch, checkpoint):
                return branch, None
        for seed in (*reversed(self._branches), None):
            tree = await self._fetch_tree(source, checkpoint, seed)
            if tree is not None:
                return next((each for each in self._branches if _begins(tree, each)), None), tree
        return None, None

    async def _fetch_tree(
        self, source: Source, checkpoint: Checkpoint, seed: Branch | None
    ) -> Tree | None:
        """Return the tree of a checkpoint, None if the hashes do not prove it; a seed has some."""
        folder = self.mirror.seed(seed)
        await source.fetch(level_tiles(0, checkpoint.size), folder, self._go_on)
        tree = await asyncio.to_thread(_read_tree, FolderReader(folder), checkpoint.size)
        return tree if tree is not None and tree.root() == checkpoint.root else None

    def _is_within(self, branch: Branch, checkpoint: Checkpoint) -> bool:
        """Return whether the kept hashes of a branch begin with a smaller checkpoint's tree."""
        if checkpoint.size > branch.checkpoint.size:
            return False
        tree = _read_tree(self.mirror.hashes_of(branch), branch.checkpoint.size)
        return tree is not None and tree.root(checkpoint.size) == checkpoint.root

    def _keep_branch(
        self, branch: Branch | None, note: bytes, checkpoint: Checkpoint, tree: Tree | None
    ) -> None:
        """Raise the alarm of a branch, or bring it up to date; the copy stays as it is."""
        self.alarms.settle("rollback", {})
        self.alarms.settle("damage", {})
        if branch is None and tree is None and self._branches:
            branch = self._branches[-1]  # without its hashes, nobody can tell it from that one
        number = branch.number if branch else _next_number(self._branches)
        if number <= MAX_FORKS:
            grown = Branch(number, checkpoint)
            if branch is not None and checkpoint.size <= branch.checkpoint.size:
                grown = branch  # its newest checkpoint stays
            self._keep_alarm(grown)
            if grown is not branch:
                self._keep_newest(grown, note, tree)
            self._shown = grown
        self.mirror.drop_hashes()
        self._refused = note

    def _keep_newest(self, branch: Branch, note: bytes, tree: Tree | None) -> None:
        """Keep the evidence of a branch, and its hashes, if they are known."""
        larger = self.following.tree
        if tree is not None and branch.checkpoint.size > self.size:
            larger = tree
        self.mirror.keep_evidence(branch.name, self._evidence("fork", note, larger))
        if tree is not None:
            self.mirror.keep_hashes(branch)
        others = (each for each in self._branches if each.number != branch.number)
        self._branches = sorted([*others, branch], key=lambda each: each.number)

    def _keep_alarm(self, branch: Branch) -> None:
        size = branch.checkpoint.size
        file = f"evidence/{branch.name}.json"
        told = worded(f"the log signed another history, of {size} entries: {file}")
        self.alarms.keep(Alarm("fork", branch.name, told))

    def _evidence(self, kind: Kind, theirs: bytes, larger: Tree) -> Evidence:
        """Return the evidence of two checkpoints; `larger` is the tree of the larger one."""
        sizes = sorted([claimed_checkpoint(theirs).size, self.size])
        hashes = larger.consistency_proof(*sizes)
        return evidence.of(
            kind, self._clock(), self._note, theirs, larger.root(sizes[0]), tuple(hashes)
        )

    def _report_growth(self, note: bytes) -> None:
        """Report that the copy has grown, and the fault in the new part, if any."""
        self._note = note
        tree = self.following.tree
        event = {"event": "followed", "at": self._now(), "size": tree.size}
        self._say(event | {"judged": self.following.judged, "root": tree.root().hex()})
        self._keep_problem()
        self._report_questions()

    def _keep_problem(self) -> None:
        if self.following.finding:
            self._keep_violation(self.following.finding)

    def _report_questions(self) -> None:
        """Report each question once: a later one of its kind about the same contracts is no new.

        A decision is a question of its own each time, and an alarm where no two persons made it.
        """
        for decision in self.audit.decisions[self._decisions_told :]:
            if decision.is_alarming:
                self.alarms.keep(Alarm("recovered", f"entry {decision.entry}", str(decision)))
            else:
                self._say({"event": "question", "at": self._now(), "detail": str(decision)})
        self._decisions_told = len(self.audit.decisions)
        for question in self.audit.questions():
            if question.kind == "released":
                continue  # each release is a decision
            group = question.kind, question.provider, question.contracts
            if group not in self._asked:
                self._asked.add(group)
                self._say({"event": "question", "at": self._now(), "detail": str(question)})

    def _check_keys(self) -> None:
        """Check that the log's own keys signed; only an audit to the end knows them.

        The copy of the start was checked when it came, and may not name a newer key yet.
        """
        if self.following.finding is None:
            keys = self.audit.state.log_keys
            for finding in key_findings(self._note, self._trust.verifier, keys, self.size):
                self._keep_violation(finding)

    def _keep_violation(self, finding: Finding) -> None:
        if finding.entry is None:
            where = "the ledger"
            told = worded(f"the ledger: {finding.code}: {finding.detail}")
        else:
            where = f"entry {finding.entry}"
            told = worded(f"entry {finding.entry}: {finding.code}: {finding.detail}")
        self.alarms.keep(Alarm("violation", f"{where}: {finding.code}", told))

    def _look_at_the_time(self) -> None:
        now = self._clock()
        silent = now - self.grown_at > self._limits.silence_seconds
        grown_at = format_instant(self.grown_at)
        since = worded(f"no new checkpoint since {grown_at}")
        self.alarms.settle("silence", {"": since} if silent else {})
        # No instant of the log's clock is compared with one of ours: how long a gap was open when
        # the newest entry was made, by the log's, and how long that is ago, by ours.
        waited = (now - self.grown_at) * MICROSECONDS
        oldest = self.audit.state.last_at + waited - self._limits.gap_seconds * MICROSECONDS
        gaps = [gap for gap in self.audit.gaps() if gap.since < oldest]
        self.alarms.settle("gap", {_key(gap): _describe(gap) for gap in gaps})

    def _look_at_the_disk(self) -> None:
        free, limit = self._free(self._folder), self._limits.free_bytes
        enough = limit + limit // 4 if self.alarms.count("space") else limit
        told = worded(f"{free >> 20} MB are free, and {limit >> 20} MB should be")
        self.alarms.settle("space", {"": told} if free < enough else {})

    def _go_on(self, _done: int) -> None:
        if self._stopped:
            raise Interrupted

    def _now(self) -> str:
        return format_instant(self._clock())


async def run(
    monitor: Monitor,
    url: str,
    token: str | None,
    interval_seconds: float,
    tokens: TokenWatch | None = None,
) -> None:
    """Follow the log, and a service's tokens, until SIGINT or SIGTERM. Raises `CannotCheck`."""
    polling = asyncio.create_task(_poll_for_ever(monitor, url, token, interval_seconds, tokens))

    def stop() -> None:
        monitor.stop()
        polling.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError, Interrupted):
        await polling


async def _poll_for_ever(
    monitor: Monitor,
    url: str,
    token: str | None,
    interval_seconds: float,
    tokens: TokenWatch | None,
) -> None:
    await asyncio.to_thread(monitor.start)
    gc.freeze()  # it stays, so the collector need not search it again
    async with open_source(url, token) as source:
        while True:
            await monitor.poll(source)
            if tokens is not None:
                await tokens.look()
            await asyncio.sleep(interval_seconds)


def _new_tiles(old_size: int, size: int) -> Iterator[Tile]:
    levels: tuple[Level, ...] = ("entries", "batches", *range(height_of(size)))
    return chain.from_iterable(level_tiles(level, size, old_size) for level in levels)


def _read_tree(reader: FolderReader, size: int) -> Tree | None:
    """Return the tree of a folder's leaf hashes, None if some are missing or damaged."""
    tree = Tree()
    try:
        for tile in level_tiles(0, size):
            tree.extend(reader.hashes(tile))
    except LedgerError:
        return None
    return tree


def _has_root(tree: Tree, older: Tree) -> bool:
    """Return whether a tree goes on from an older one."""
    return tree.root(older.size) == older.root()


def _begins(tree: Tree, branch: Branch) -> bool:
    """Return whether a tree goes on from the newest checkpoint of a branch."""
    older = branch.checkpoint
    return older.size <= tree.size and tree.root(older.size) == older.root


def _next_number(branches: list[Branch]) -> int:
    return 1 + max((each.number for each in branches), default=0)


def _key(gap: Gap) -> str:
    return f"{gap.provider} {gap.stream} {gap.first} {gap.last}"


def _describe(gap: Gap) -> str:
    since = format_instant(gap.since // MICROSECONDS)
    return worded(
        f"{gap.provider}, stream {gap.stream}: no batches {gap.first} to {gap.last} since {since}"
    )
