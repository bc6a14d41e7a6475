"""The work of `kashi what-if`: verify a log, and show what other policies would have paid."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from ledger.errors import CannotCheck
from ledger.progress import Progress
from meter.auditor.alternative import Cut, Difference, Outcome, Recorder
from meter.auditor.verdict import Verdict, verify_source
from meter.values.units import format_money

_NAMED: Final = ("year", "programme", "firm", "item", "figure")
_MONEY: Final = ("before", "after", "difference")


def verify_and_record(
    source: str, vkey: str, token: str | None, progress: Progress
) -> tuple[Verdict, Recorder]:
    """Return the verdict on a log, and the audit that led to it. Raises `CannotCheck`."""
    recorders: list[Recorder] = []

    def record(**parts: Any) -> Recorder:
        recorders.append(Recorder(**parts))
        return recorders[0]

    verdict = verify_source(source, vkey, (), token, progress, make_audit=record)
    return verdict, recorders[0]


def read_policies(paths: Iterable[Path]) -> list[str]:
    """Return the texts of policy files. Raises `CannotCheck`."""
    return [_read(path) for path in paths]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotCheck(f"the policy cannot be read from {path}: {error}") from None


def as_json(verdict: Verdict, outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as plain values: money as text, the log by its origin, size and root."""
    report = verdict.report
    return {
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "figures": [
            {**asdict(each), **_money(each), "item": each.item or None} for each in outcome.figures
        ],
        "totals": [{**asdict(each), **_money(each), "item": None} for each in totals(outcome)],
        "otherwise": [
            asdict(cut) | {"asked": _text(cut.asked), "allowed": _text(cut.allowed)}
            for cut in outcome.cuts
        ],
    }


def totals(outcome: Outcome) -> Iterator[Difference]:
    """Yield the sum of each figure of a programme and year; `enterprise` and `item` are empty."""

    def group(each: Difference) -> tuple[int, str, str]:
        return each.year, each.programme, each.figure

    for (year, programme, figure), found in groupby(sorted(outcome.figures, key=group), key=group):
        parts = list(found)
        before, after = sum(each.before for each in parts), sum(each.after for each in parts)
        yield Difference(year, programme, "", "", figure, before, after)


def show(verdict: Verdict, outcome: Outcome, console: Console) -> None:
    """Print what differs, the totals, and what was decided otherwise, for a person."""
    report = verdict.report
    changed = [each for each in outcome.figures if each.before != each.after]
    title = f"{report.origin}, {report.size} entries, root {report.root.hex()[:16]}"
    console.print(_table(title, changed))
    console.print(_table("by programme and year", list(totals(outcome))))
    if outcome.cuts:
        console.print(_cuts(outcome.cuts))
    equal = len(outcome.figures) - len(changed)
    console.print(f"{len(changed)} figures differ, {equal} do not")


def _table(title: str, figures: Iterable[Difference]) -> Table:
    table = Table(*_NAMED, title=title)
    for name in _MONEY:
        table.add_column(name, justify="right")
    for each in figures:
        named = str(each.year), each.programme, each.enterprise, each.item, each.figure
        table.add_row(*named, *_money(each).values())
    return table


def _cuts(cuts: Iterable[Cut]) -> Table:
    table = Table("entry", "kind", "firm", "refused as", title="decided otherwise")
    for name in ("asked", "allowed"):
        table.add_column(name, justify="right")
    for cut in cuts:
        sums = (_text(cut.asked) or "", _text(cut.allowed) or "")
        table.add_row(str(cut.entry), cut.kind, cut.enterprise, cut.code, *sums)
    return table


def _money(each: Difference) -> dict[str, str]:
    fen = each.before, each.after, each.after - each.before
    return dict(zip(_MONEY, map(format_money, fen), strict=True))


def _text(fen: int | None) -> str | None:
    return None if fen is None else format_money(fen)
