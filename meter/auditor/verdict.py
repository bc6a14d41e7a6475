"""The work of `kashi verify`: fetch where needed, verify with the audit's rules, check receipts
against the ledger, and show the verdict.

With `Workers` it audits by ranges (`auditor.ranges`) where the log has digests and they are enough.
If that does not find all good, one audit of the whole gives the verdict, as it does without them.

A service may be writing to the folder. The checkpoint that is read first decides.

`Wanted` names the optional files: a trust policy, the state of an earlier run from which the log
must have grown, a state to write after a good verdict, and a folder that keeps fetched files.
"""

import asyncio
import contextlib
import gc
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from ledger.errors import BadNote, CannotCheck, Violation
from ledger.files import DISK, make_private
from ledger.folder import DRAFT, FolderReader
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.progress import Progress
from ledger.quorum import TrustPolicy
from ledger.report import Conclusion, Finding, Report, conclude
from ledger.seen import Seen
from ledger.tiles import Tile, find_tile
from ledger.verify import ENOUGH_TO_SHARE, FolderEntries, Judge, read_checkpoint, verify
from meter.auditor.fetch import check_kept, fetch
from meter.auditor.log_keys import key_findings, signing_key
from meter.auditor.ranges import NO_RANGE, Range, Reading, split, survey
from meter.auditor.replay import Audit, Gap, Signatures, Totals
from meter.auditor.shares import ADDING
from meter.languages import Speech
from meter.values.worded import worded
from meter.views.flags import Question
from meter.wire import stored_receipt
from meter.wire.stored_receipt import BadReceiptFile


@dataclass(frozen=True, slots=True)
class Wanted:
    """The optional files of a verification; all are paths."""

    policy: Path | None = None
    since: Path | None = None
    state: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Workers:
    """Who audits by ranges: processes of this machine, by default one for each core, or of Dask.

    `dask` is the address of a scheduler whose workers read the folder under the same path.
    """

    processes: int = 0
    dask: str = ""


_NOTHING_MORE: Final = Wanted()
_DASK_SECONDS: Final = 10  # to connect to its scheduler
_LEAST_RANGES: Final = 2
_LEAST_PROCESSES: Final = 4  # with fewer, one that decides and others beside it are as fast
# One line on a terminal of any width, without markup.
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "soft_wrap": True}

# What to do where something could not be checked, by the code of the finding.
_COPY_AGAIN: Final = worded("copy all but the checkpoint into it once more, or fetch the log anew")
REMEDIES: Final[dict[str, str]] = {
    "missing_file": _COPY_AGAIN,
    "incomplete_file": _COPY_AGAIN,
    "missing_attachment": _COPY_AGAIN,
    "bad_folder": worded("see to the file, or copy it again"),
    "changed": worded("verify it again, or a copy at which nobody writes"),
    "not_signed": worded("name a key in the policy that has signed"),
    "not_witnessed": worded("ask the log for a checkpoint that enough witnesses have cosigned"),
    "newer_receipt": worded("verify a newer checkpoint"),
    "bad_receipt_file": worded("take the answer as it came"),
    "receipt_not_signed": worded("take the answer and its header Kashi-Signature as they came"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report on the ledger, what receipts prove against it, gaps and questions to ask about.

    `note` is the signed checkpoint that was judged.
    """

    report: Report
    receipts: int
    receipt_findings: list[Finding]
    gaps: list[Gap]
    questions: list[Question]
    note: bytes = b""

    @property
    def findings(self) -> list[Finding]:
        """All faults, those of the ledger's own bytes first."""
        return [*self.report.findings, *self.receipt_findings]

    @property
    def conclusion(self) -> Conclusion:
        """Return what follows from the findings; a gap or a question is none."""
        return conclude(self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        report = self.report
        return {
            "verdict": self.conclusion,
            "origin": report.origin,
            "size": report.size,
            "root": report.root.hex(),
            "checks": [
                {"name": check.name, "count": check.count, "seconds": check.nanoseconds / 10**9}
                for check in report.checks
            ],
            "receipts": self.receipts,
            "findings": [_fields(finding) for finding in self.findings],
            "notices": [
                {"code": notice.code, "detail": notice.detail} for notice in report.notices
            ],
            "gaps": [
                {
                    "provider": gap.provider,
                    "stream": gap.stream,
                    "first": gap.first,
                    "last": gap.last,
                }
                for gap in self.gaps
            ],
            "questions": [asdict(question) for question in self.questions],
        }


def verify_source(  # noqa: PLR0913 - one argument for each thing that the caller has
    source: str,
    vkey: str,
    receipts: Iterable[Path],
    token: str | None,
    progress: Progress,
    *,
    wanted: Wanted = _NOTHING_MORE,
    make_audit: Callable[..., Audit] | None = None,
    workers: Workers | None = None,
) -> Verdict:
    """Verify a folder, or a URL that serves one, by an audit that is made here, or by workers.

    An audit that the caller makes may keep all records, for those who ask for them afterwards.
    Raises `CannotCheck`.
    """
    verifier = read_key(vkey)
    asked = _Asked(
        verifier,
        policy=read_policy(wanted.policy) if wanted.policy else None,
        since=_read_state(wanted.since, verifier) if wanted.since else None,
        workers=workers,
    )
    kept = _tiles_below(wanted.cache)
    with _folder_of(source, verifier, wanted.cache, token, progress) as folder:
        verdict = _verify_folder(folder, asked, receipts, progress, make_audit)
        if kept and verdict.conclusion != "good" and _is_url(source):
            # A damaged file of the cache is no fault of the log.
            asyncio.run(check_kept(source, folder, kept, token))
    if wanted.state is not None and verdict.conclusion == "good":
        report = verdict.report
        checkpoint = Checkpoint(report.origin, report.size, report.root)
        replace_file(wanted.state, Seen(checkpoint, verifier.format()).format())
    return verdict


def read_key(vkey: str) -> Verifier:
    """Return the key of a text, or of the file that holds it. Raises `CannotCheck`."""
    if "+" in vkey and not Path(vkey).exists():
        return Verifier.parse(vkey)
    return Verifier.parse(_read_text(Path(vkey), worded("the key")).strip())


def read_policy(path: Path) -> TrustPolicy:
    """Read a trust policy. Raises `CannotCheck`."""
    return TrustPolicy.parse(_read_text(path, worded("the trust policy")))


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file durably; a crash leaves the old bytes or the new ones, whole."""
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)
    DISK.append(draft, [data])
    DISK.rename(draft, path)
    DISK.sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a checkpoint must fulfil, and who audits by ranges."""

    verifier: Verifier
    policy: TrustPolicy | None
    since: Checkpoint | None
    workers: Workers | None


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotCheck(f"{what} cannot be read from {path}: {error}") from None


def _read_state(path: Path, verifier: Verifier) -> Checkpoint:
    seen = Seen.parse(_read_text(path, worded("the state")).encode())
    # The log may have another key by now, and still is the same log.
    if seen.checkpoint.origin != verifier.name:
        raise CannotCheck(f"{path} is the state of another log, {seen.checkpoint.origin!r:.200}")
    return seen.checkpoint


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _tiles_below(cache: Path | None) -> list[Tile]:
    """Return the tiles that a cache holds, in the order of their names."""
    files = FolderReader(cache).files() if cache and cache.is_dir() else set()
    return [tile for tile in map(find_tile, sorted(files)) if tile]


@contextlib.contextmanager
def _folder_of(
    source: str, verifier: Verifier, cache: Path | None, token: str | None, progress: Progress
) -> Iterator[Path]:
    """Yield the folder itself, or one into which a URL was fetched."""
    if not _is_url(source):
        yield Path(source)
        return
    with contextlib.ExitStack() as stack:
        if cache is None:
            temporary = tempfile.TemporaryDirectory(prefix="kashi-verify-")
            folder = Path(stack.enter_context(temporary))
        else:
            folder = cache
            make_private(folder)
        with contextlib.suppress(BadNote):  # that checkpoint was kept: the verdict will say so
            asyncio.run(fetch(source, verifier, folder, token, progress))
        yield folder


def _verify_folder(
    folder: Path,
    asked: _Asked,
    receipts: Iterable[Path],
    progress: Progress,
    make_audit: Callable[..., Audit] | None,
) -> Verdict:
    verifier = asked.verifier
    note = read_checkpoint(folder)
    signer = signing_key(folder, note, verifier)

    def verified(
        replay: Audit | Reading,
        beside: Sequence[Callable[[], Judge]],
        cores: int,
        pool: Executor | None = None,
    ) -> Report:
        return verify(
            folder,
            signer,
            replay,
            progress,
            beside,
            note=note,
            cores=cores,
            workers=pool,
            policy=asked.policy,
            since=asked.since,
        )

    with no_collections():
        found = None
        if asked.workers is not None:
            found = _audit_by_ranges(asked.workers, _entries_of(folder, note, signer), verified)
        if found is None:
            cores = _cores()
            alone = cores == 1
            read = partial(_tile_again, _entries_of(folder, note, signer))
            make = make_audit or partial(Audit, read=read)
            audit = make(with_sums=alone, processes=cores)
            report = verified(audit, () if alone else judges_beside(cores), cores)
        else:
            audit, report = found
    if report.ok:  # only an audit to the end knows the keys
        findings = key_findings(note, verifier, audit.state.log_keys, report.size)
        report = replace(report, findings=findings)
    stored = list(receipts)
    findings = _receipt_findings(audit, stored) if report.ok else []
    # The audit of a bad ledger may have seen what was never signed.
    gaps, questions = (audit.gaps(), audit.questions()) if report.ok else ([], [])
    return Verdict(report, len(stored), findings, gaps, questions, note)


def _tile_again(source: FolderEntries, tile: Tile) -> list[bytes]:
    """Return the entries of a tile that were read before, though its file may end within the next.

    Raises `LedgerError`.
    """
    return list(source.entries(tile.first, tile.first + tile.width))


def _entries_of(folder: Path, note: bytes, signer: Verifier) -> FolderEntries:
    """Return the entries of a folder that a signed checkpoint counts; none if it is not signed."""
    try:
        size = open_checkpoint(note, signer).size
    except BadNote:
        size = 0
    return FolderEntries(FolderReader(folder, grows=True), size)


def _audit_by_ranges(
    workers: Workers, source: FolderEntries, verified: Callable[..., Report]
) -> tuple[Audit, Report] | None:
    """Return what an audit by ranges finds good: else one audit of the whole says what is wrong."""
    if source.size < ENOUGH_TO_SHARE:
        return None
    with _pool_of(workers) as (count, pool):
        if count < _LEAST_PROCESSES:
            return None
        ranges = split(*survey(source), source.size, count)
        if len(ranges) - ranges.count(NO_RANGE) < _LEAST_RANGES:
            return None
        reading = Reading(source, Range(source, *ranges[0]))
        report = verified(reading, judges_by_ranges(source, ranges[1:]), count, pool)
    return (reading.audit, report) if report.ok else None


def judges_by_ranges(
    source: FolderEntries, ranges: Sequence[tuple[int, int]]
) -> list[Callable[[], Judge]]:
    """Return the judges of all processes but this one, each of which has a range.

    `ledger.verify` gives them out in turn, and the first process proves the bytes; so the totals
    and the range of the second one stand in the same place of two turns.
    """
    first, second, *others = (partial(Range, source, *each) for each in ranges)
    return [first, Totals, *others, partial(Range, source, *NO_RANGE), second]


@contextlib.contextmanager
def _pool_of(workers: Workers) -> Iterator[tuple[int, Executor | None]]:
    """Yield how many processes there are with this one, and those of Dask. Raises `CannotCheck`."""
    if not workers.dask:
        yield workers.processes or _cores(), None
        return
    try:
        from distributed import Client  # noqa: PLC0415 - needs kashi[dask]
    except ImportError:
        raise CannotCheck("Dask is not installed: pip install 'kashi[dask]'") from None
    try:
        client = Client(workers.dask, timeout=_DASK_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise CannotCheck(f"Dask at {workers.dask}: {error}") from None
    with client:
        count = len(client.scheduler_info(n_workers=-1)["workers"])
        yield count + 1, client.get_executor()  # type: ignore[no-untyped-call]


def judges_beside(cores: int) -> list[Callable[[], Judge]]:
    """Return the judges that run beside an audit, for one process less than there are cores.

    `ledger.verify` gives them out in turn, so the last one goes to the process of the totals.
    """
    turns = [*range(ADDING + 1, cores), ADDING]
    return [Totals, *(partial(Signatures, turn, cores) for turn in turns)]


def _cores() -> int:
    """Count the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Switch the garbage collector off: a replay keeps nearly all objects, and makes no cycles.

    At the end they are frozen, or the next collection would have to search them all.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()
            gc.enable()


def _receipt_findings(audit: Audit, receipts: list[Path]) -> list[Finding]:
    findings = []
    for path in receipts:
        try:
            audit.check_receipt(*_read_receipt(path), audit.tree)
        except (OSError, UnicodeDecodeError) as error:
            raise CannotCheck(f"receipt {path}: {error}") from None
        except Violation as violation:
            findings.append(Finding(violation.code, violation.detail, file=str(path)))
    return findings


def _read_receipt(path: Path) -> tuple[bytes, str]:
    """Return receipt and signature, of a stored receipt or of a file with the signature beside."""
    data, header = path.read_bytes(), path.with_name(path.name + ".sig")
    if header.exists():
        return data, header.read_text(encoding="ascii").strip()
    try:
        stored = stored_receipt.parse(data)
    except BadReceiptFile as error:
        detail = f"{path}: there is no {header.name} beside it, and {error.detail}"
        raise BadReceiptFile(detail) from None
    return stored.receipt.encode(), stored.signature


def show(verdict: Verdict, console: Console, speech: Speech) -> None:
    """Print the verdict for a person."""
    report, say = verdict.report, speech.say
    title = say("{origin}, {size} entries", origin=report.origin, size=report.size)
    table = Table(say("check"), say("count"), say("seconds"), title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for check in report.checks:
        seconds = f"{check.nanoseconds / 10**9:.3f}"
        table.add_row(say(check.name), f"{check.count:,}", seconds)
    if verdict.receipts:
        table.add_row(say("receipts"), f"{verdict.receipts:,}")
    console.print(table)
    for gap in verdict.gaps:
        console.print(
            say("gap: {provider}, stream {stream}: no batches {first} to {last}", **asdict(gap)),
            **_PLAIN,
            style="yellow",
        )
    for notice in report.notices:
        told = speech.retell(notice.detail)
        console.print(
            say("notice: {code}: {told}", code=notice.code, told=told), **_PLAIN, style="yellow"
        )
    for question in verdict.questions:
        told = speech.retell(str(question))
        console.print(say("question: {told}", told=told), **_PLAIN, style="yellow")
    for finding in verdict.findings:
        console.print(
            _describe(finding, speech),
            **_PLAIN,
            style="bold red" if finding.is_violation else "bold yellow",
        )
    if verdict.conclusion == "good":
        console.print(
            say("good: root {root}", root=report.root.hex()), **_PLAIN, style="bold green"
        )


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "verdict": "violated" if finding.is_violation else "not_checked",
        "code": finding.code,
        "detail": finding.detail,
        "entry": finding.entry,
        "file": finding.file,
    }


def _describe(finding: Finding, speech: Speech) -> str:
    say = speech.say
    places = []
    if finding.entry is not None:
        places.append(say("entry {number}", number=finding.entry))
    if finding.file is not None:
        places.append(finding.file)
    told = speech.retell(finding.detail)
    line = f"{', '.join(places) or say('the ledger')}: {finding.code}: {told}"
    if finding.is_violation:
        return say("VIOLATED: {line}", line=line)
    remedy = say(REMEDIES[finding.code])
    return say("could not check: {line}: {remedy}", line=line, remedy=remedy)
