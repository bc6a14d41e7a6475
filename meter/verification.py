"""What `kashi verify` does: fetch where needed, verify with the audit's rules, hold receipts
against the ledger, and show the verdict.
"""

import asyncio
import contextlib
import gc
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ledger.errors import BadNote, CannotCheck, Violation
from ledger.note import Verifier
from ledger.report import Problem, Report
from ledger.verify import verify
from meter.audit import Audit, Gap, Totals
from meter.fetch import fetch

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report on the ledger, what receipts prove against it, and the gaps to ask about."""

    report: Report
    receipts: int
    receipt_problems: list[Problem]
    gaps: list[Gap]

    @property
    def problems(self) -> list[Problem]:
        """All that is wrong, what the ledger's own bytes show first."""
        return [*self.report.problems, *self.receipt_problems]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a gap alone is a question, not a fault."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Give the verdict as plain values."""
        report = self.report
        return {
            "ok": self.ok,
            "origin": report.origin,
            "size": report.size,
            "root": report.root.hex(),
            "checks": [{"name": check.name, "count": check.count} for check in report.checks],
            "receipts": self.receipts,
            "problems": [
                {
                    "code": problem.code,
                    "detail": problem.detail,
                    "entry": problem.entry,
                    "file": problem.file,
                }
                for problem in self.problems
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
        }


def verify_source(
    source: str, vkey: str, receipts: Iterable[Path], token: str | None, progress: Progress
) -> Verdict:
    """Verify a folder, or a URL that serves one. Raises `CannotCheck`."""
    verifier = Verifier.parse(_key_text(vkey))
    if not source.startswith(("http://", "https://")):
        return _verify_folder(Path(source), verifier, receipts, progress)
    with tempfile.TemporaryDirectory(prefix="kashi-verify-") as folder:
        with contextlib.suppress(BadNote):  # that checkpoint was kept: the verdict will say so
            asyncio.run(fetch(source, verifier, Path(folder), token, progress))
        return _verify_folder(Path(folder), verifier, receipts, progress)


def _key_text(vkey: str) -> str:
    """Take a key's text, or the file that holds it."""
    if "+" in vkey and not Path(vkey).exists():
        return vkey
    try:
        return Path(vkey).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotCheck(f"the key cannot be read from {vkey}: {error}") from None


def _verify_folder(
    folder: Path, verifier: Verifier, receipts: Iterable[Path], progress: Progress
) -> Verdict:
    two = _cores() > 1
    audit = Audit(with_sums=not two)
    with _no_collections():
        report = verify(folder, verifier, audit, progress, Totals if two else None)
    report = _with_key_check(report, audit, verifier)
    stored = list(receipts)
    problems = _receipt_problems(audit, stored) if report.ok else []
    return Verdict(report, len(stored), problems, audit.gaps())


def _cores() -> int:
    """Count the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Spare the search for cycles in what a replay makes: it keeps nearly all, and makes none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _with_key_check(report: Report, audit: Audit, verifier: Verifier) -> Report:
    """Add what the audit alone cannot know: whether entry 0 names the key that signed."""
    genesis = audit.state.genesis
    if genesis is None or genesis.log_key == verifier.format():
        return report
    problem = Problem("wrong_log_key", f"entry 0 names another key: {genesis.log_key}", entry=0)
    return replace(report, problems=[*report.problems, problem])


def _receipt_problems(audit: Audit, receipts: list[Path]) -> list[Problem]:
    problems = []
    for path in receipts:
        try:
            signature = path.with_name(path.name + ".sig").read_text(encoding="ascii").strip()
            audit.check_receipt(path.read_bytes(), signature, audit.tree)
        except (OSError, UnicodeDecodeError) as error:
            raise CannotCheck(f"receipt {path}: {error}") from None
        except Violation as violation:
            problems.append(Problem(violation.code, violation.detail, file=str(path)))
    return problems


def show(verdict: Verdict, console: Console) -> None:
    """Print the verdict for a person."""
    report = verdict.report
    table = Table("check", "count", title=f"{report.origin}, {report.size} entries")
    table.columns[1].justify = "right"
    for check in report.checks:
        table.add_row(check.name, f"{check.count:,}")
    if verdict.receipts:
        table.add_row("receipts", f"{verdict.receipts:,}")
    console.print(table)
    for gap in verdict.gaps:
        console.print(
            f"question: {gap.provider}, stream {gap.stream}: no batches {gap.first} to {gap.last}",
            style="yellow",
            soft_wrap=True,
        )
    for problem in verdict.problems:
        console.print(
            _told(problem), style="bold red", highlight=False, markup=False, soft_wrap=True
        )
    if verdict.ok:
        console.print(
            f"good: root {report.root.hex()}", style="bold green", highlight=False, soft_wrap=True
        )


def _told(problem: Problem) -> str:
    places = []
    if problem.entry is not None:
        places.append(f"entry {problem.entry}")
    if problem.file is not None:
        places.append(problem.file)
    return f"VIOLATED: {', '.join(places) or 'the ledger'}: {problem.code}: {problem.detail}"
