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

The copy is the only state: a restart replays it offline and goes on. `auditor.alarms` lists the
alarms, `auditor.mirror` the files of the folder.
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
from typing import Final

from ledger.errors import BadNote, CannotCheck, LedgerError, NotWitnessed
from ledger.folder import FolderReader
from ledger.following import Following, Unproved, tiles_between
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, open_note
from ledger.quorum import TrustPolicy, open_trusted
from ledger.report import Problem
from ledger.tiles import Level, Tile, height_of, level_tiles
from ledger.tlog import Frontier, split_hashes
from meter.auditor.alarms import Alarm, Alarms, Say
from meter.auditor.fetch import Source, open_source
from meter.auditor.log_keys import key_problems
from meter.auditor.mirror import Mirror
from meter.auditor.replay import Audit, Gap, check_files
from meter.auditor.verdict import no_collections
from meter.rules.state import signing
from meter.values.units import MICROSECONDS, format_instant

MAX_FORKS: Final = 10  # with evidence; each takes 32 bytes an entry
DIAGNOSIS_SECONDS: Final = 600  # between two, while the damage stays: each fetches all hashes


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a gap may be open, and how long the log may not grow."""

    gap_seconds: int
    silence_seconds: int


@dataclass(frozen=True, slots=True)
class Trust:
    """One of the log's keys, and the policy of witnesses for its checkpoints."""

    verifier: Verifier
    policy: TrustPolicy | None = None


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The monitor must stop in the middle of a part."""


class Monitor:
    """One log, followed into one folder. `clock` returns seconds since 1970."""

    def __init__(
        self,
        folder: Path,
        trust: Trust,
        limits: Limits,
        say: Say,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Open the folder, which `start` replays. Raises `CannotCheck`."""
        self._trust, self._limits, self._say, self._clock = trust, limits, say, clock
        self.mirror = Mirror(folder)
        self.alarms = Alarms(self.mirror.alarms, say, clock)
        self.polls: Counter[str] = Counter()
        self.polled_at = 0
        self.grown_at = self.mirror.grown_at() or clock()
        self.audit = Audit()
        self.following = Following(trust.verifier.name, self.audit, check_files)
        self._note = b""
        self._refused = b""
        self._diagnose_at = 0
        self._stopped = False

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
            await self._look(source, await source.checkpoint())
        except CannotCheck as error:
            self.polls["failed"] += 1
            self._say({"event": "failed", "at": self._now(), "detail": error.detail})
        else:
            self.polls["answered"] += 1
            self.polled_at = self._clock()
        self._look_at_the_time()

    async def _look(self, source: Source, note: bytes) -> None:
        if note == self._refused:
            return
        try:
            checkpoint = self._open_checkpoint(note)
        except BadNote as error:
            self.alarms.settle("untrusted", [str(error)])
            return
        missing = self._missing_witnesses(note)
        self.alarms.settle("untrusted", missing)
        if checkpoint.size <= self.size:
            self._compare(note, checkpoint)
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

    def _missing_witnesses(self, note: bytes) -> list[str]:
        if self._trust.policy is not None:
            try:
                open_trusted(note, self._trust.policy)
            except (BadNote, NotWitnessed) as error:
                return [str(error)]
        return []

    def _compare(self, note: bytes, checkpoint: Checkpoint) -> None:
        """Compare a checkpoint that has no more entries than the copy with the copy's tree."""
        if self.following.tree.root(checkpoint.size) != checkpoint.root:
            self._keep_fork(note, checkpoint)
            return
        rollback = []
        if checkpoint.size < self.size:
            folder = self.mirror.evidence_of("rollback", checkpoint)
            if not self.alarms.count("rollback"):
                self.mirror.keep_evidence(folder, note, self._note)
            rollback = [f"the log had {self.size} entries, and shows {checkpoint.size}"]
        self.alarms.settle("rollback", rollback)
        self.alarms.settle("damage", [])

    async def _follow(self, source: Source, note: bytes, checkpoint: Checkpoint) -> None:
        old_size = self.size
        try:
            await self._advance(source, checkpoint)
        except Unproved as error:
            self.alarms.settle("damage", [f"size {checkpoint.size}: {error.detail}"])
            if self._clock() >= self._diagnose_at:
                await self._diagnose(source, note, checkpoint)
            return
        self._diagnose_at = 0
        tiles = _new_tiles(old_size, checkpoint.size)
        self.mirror.adopt(tiles, note, old_size, checkpoint.size)
        self.grown_at = self._clock()
        self._report_growth(note)
        self._check_keys()
        self.alarms.settle("rollback", [])
        self.alarms.settle("damage", [])

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

    async def _diagnose(self, source: Source, note: bytes, checkpoint: Checkpoint) -> None:
        """Find out whether the checkpoint is of another branch, by the hashes of the whole log."""
        self._diagnose_at = self._clock() + DIAGNOSIS_SECONDS
        if self.alarms.count("fork") >= MAX_FORKS:
            return
        folder = self.mirror.evidence_of("fork", checkpoint)
        shutil.rmtree(folder, ignore_errors=True)
        await source.fetch(level_tiles(0, checkpoint.size), folder, self._go_on)
        ours = self.following.tree.root()
        reader = FolderReader(folder)
        then, now = await asyncio.to_thread(_roots, reader, self.size, checkpoint.size)
        if now == checkpoint.root and then != ours:
            self._keep_fork(note, checkpoint)
            self.alarms.settle("damage", [])
            self._diagnose_at = 0
        else:
            shutil.rmtree(folder)

    def _keep_fork(self, note: bytes, checkpoint: Checkpoint) -> None:
        """Keep both checkpoints; the copy grows on only where the log grows from it."""
        self._refused = note
        folder = self.mirror.evidence_of("fork", checkpoint)
        if folder.exists() or self.alarms.count("fork") < MAX_FORKS:
            self.mirror.keep_evidence(folder, note, self._note)
            detail = f"the log signed another history of {checkpoint.size} entries: {folder.name}"
            self.alarms.keep(Alarm("fork", detail))

    def _report_growth(self, note: bytes) -> None:
        """Report that the copy has grown, and the fault in the new part, if any."""
        self._note = note
        tree = self.following.tree
        event = {"event": "followed", "at": self._now(), "size": tree.size}
        self._say(event | {"judged": self.following.judged, "root": tree.root().hex()})
        if self.following.problem:
            self._keep_violation(self.following.problem)

    def _check_keys(self) -> None:
        """Check that the log's own keys signed; only an audit to the end knows them.

        The copy of the start was checked when it came, and may not name a newer key yet.
        """
        if self.following.problem is None:
            keys = self.audit.state.log_keys
            for problem in key_problems(self._note, self._trust.verifier, keys, self.size):
                self._keep_violation(problem)

    def _keep_violation(self, problem: Problem) -> None:
        where = "the ledger" if problem.entry is None else f"entry {problem.entry}"
        self.alarms.keep(Alarm("violation", f"{where}: {problem.code}: {problem.detail}"))

    def _look_at_the_time(self) -> None:
        now = self._clock()
        silent = now - self.grown_at > self._limits.silence_seconds
        since = f"no new checkpoint since {format_instant(self.grown_at)}"
        self.alarms.settle("silence", [since] if silent else [])
        oldest = (now - self._limits.gap_seconds) * MICROSECONDS
        gaps = [gap for gap in self.audit.gaps() if gap.since < oldest]
        self.alarms.settle("gap", map(_describe, gaps))

    def _go_on(self, _done: int) -> None:
        if self._stopped:
            raise Interrupted

    def _now(self) -> str:
        return format_instant(self._clock())


async def run(monitor: Monitor, url: str, token: str | None, interval_seconds: float) -> None:
    """Follow the log until SIGINT or SIGTERM. Raises `CannotCheck`."""
    polling = asyncio.create_task(_poll_for_ever(monitor, url, token, interval_seconds))

    def stop() -> None:
        monitor.stop()
        polling.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError, Interrupted):
        await polling


async def _poll_for_ever(
    monitor: Monitor, url: str, token: str | None, interval_seconds: float
) -> None:
    await asyncio.to_thread(monitor.start)
    gc.freeze()  # it stays, so the collector need not search it again
    async with open_source(url, token) as source:
        while True:
            await monitor.poll(source)
            await asyncio.sleep(interval_seconds)


def _new_tiles(old_size: int, size: int) -> Iterator[Tile]:
    levels: tuple[Level, ...] = ("entries", "batches", *range(height_of(size)))
    return chain.from_iterable(tiles_between(old_size, size, level) for level in levels)


def _roots(reader: FolderReader, old_size: int, size: int) -> tuple[bytes, bytes]:
    """Return the roots of an old size and of the whole by a folder's hashes, empty if damaged."""
    frontier, then = Frontier(), b""
    try:
        for tile in level_tiles(0, size):
            for leaf in split_hashes(reader.hashes(tile)):
                if frontier.size == old_size:
                    then = frontier.root()
                frontier.append(leaf)
    except LedgerError:
        return b"", b""
    return then, frontier.root()


def _describe(gap: Gap) -> str:
    since = format_instant(gap.since // MICROSECONDS)
    return (
        f"{gap.provider}, stream {gap.stream}: no batches {gap.first} to {gap.last} since {since}"
    )
