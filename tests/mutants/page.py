"""The table of docs/reliability.md, which only the runner writes.

A mutant that no test can find, because it changes nothing that anyone sees, is no fault. It stands
in no_faults.toml with its reason:

    ["ledger/tlog.py"]
    "Frontier.root: size < 2 -> size <= 2" = "A tree of two is never asked here."
"""

import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from tests.faults.page import put
from tests.mutants.judges import is_pure
from tests.mutants.results import Seen
from tests.mutants.run import REPOSITORY, Verdict
from tests.mutants.sample import interval

PAGE: Final = REPOSITORY / "docs" / "reliability.md"
BEGIN: Final = "<!-- mutants: begin -->"
END: Final = "<!-- mutants: end -->"
FIGURES: Final = ("mutants", "judged", "found", "by time", "no fault", "missed")
HEAD: Final = ("file", *FIGURES, "found of faults")

# Samples are drawn of files whose tests need no database, and of the others, which take longer.
GROUPS: Final = {"rules and independent sums": True, "log, intake and audit": False}

NoFaults = Mapping[str, Mapping[str, str]]  # a reason by file and name of a mutant
NO_FAULTS: Final[NoFaults] = tomllib.loads(
    Path(__file__).with_name("no_faults.toml").read_text(encoding="utf-8")
)

Told = Mapping[str, Seen]  # by name of a mutant


def write(text: str) -> None:
    """Put a table into docs/reliability.md."""
    page = put(PAGE.read_text(encoding="utf-8"), text, BEGIN, END)
    PAGE.write_text(page, encoding="utf-8")


def table(told: Mapping[str, Told], day: date, no_faults: NoFaults = NO_FAULTS) -> str:
    """Return the figures by file as Markdown, below what was judged and what a sample says."""
    rows = {file: _figures(each, no_faults.get(file, {})) for file, each in told.items()}
    every = sum(rows.values(), Counter())
    lines = [_sentences(every, rows, day), *_estimate(told, rows, no_faults), ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    lines += [_line(file, row) for file, row in rows.items() if row["judged"]]
    return "\n".join([*lines, _line("all", every)])


def _figures(told: Told, no_faults: Mapping[str, str]) -> Counter[str]:
    found = Counter(
        _figure(each.verdict, name in no_faults) if each.verdict else "not judged"
        for name, each in told.items()
    )
    return found + Counter({"mutants": len(told), "judged": len(told) - found["not judged"]})


def _figure(verdict: Verdict, no_fault: bool) -> str:
    match verdict:
        case "timeout":
            return "by time"
        case "missed" if no_fault:
            return "no fault"
        case _:
            return verdict


def _sentences(every: Counter[str], rows: Mapping[str, Counter[str]], day: date) -> str:
    judged = f"{every['judged']:,} of {every['mutants']:,} mutants were judged"
    text = f"Made by `make mutants` on {day.isoformat()}: {judged}."
    left = [f"`{file}`" for file, row in rows.items() if row["mutants"] and not row["judged"]]
    return f"{text}\nNot run: {', '.join(left)}." if left else text


def _estimate(
    told: Mapping[str, Told], rows: Mapping[str, Counter[str]], no_faults: NoFaults
) -> list[str]:
    """Return what samples of the files that were not judged whole say of all faults."""
    lines, known, left = [], Counter[str](), []
    for title, pure in GROUPS.items():
        files = [file for file in rows if _is_run(told[file]) and is_pure(file) is pure]
        part = [file for file in files if rows[file]["judged"] < rows[file]["mutants"]]
        known += sum((rows[file] for file in files), Counter())
        sample = sum((_at_first(told[file], no_faults.get(file, {})) for file in part), Counter())
        found, faults = _found_of_faults(sample)
        if faults:
            shares = [found / faults, *interval(found, faults)]
            unknown = sum(rows[file]["mutants"] - rows[file]["judged"] for file in part)
            left.append((unknown * faults / sample.total(), shares))
            lines.append(f"| {title} | {faults:,} | {found:,} | {_percents(shares)} |")
    if not lines:
        return []
    found, faults = _found_of_faults(known)
    every = faults + sum(number for number, _ in left)
    whole = [(found + sum(n * shares[each] for n, shares in left)) / every for each in range(3)]
    return [
        "",
        "Samples by chance of the files judged in part, as the tests were when they met them, and",
        "what follows for all faults of the files that were run:",
        "",
        "| faults | tried | found | share | 95 % interval (Wilson) |",
        "|---|---:|---:|---:|---:|",
        *lines,
        f"| all, judged or not | | | {_percents(whole)} |",
    ]


def _is_run(told: Told) -> bool:
    return any(each.verdict or each.first for each in told.values())


def _at_first(told: Told, no_faults: Mapping[str, str]) -> Counter[str]:
    """Return the figures of a sample, as they were before anyone wrote a test for it."""
    return Counter(
        _figure(each.first, name in no_faults) for name, each in told.items() if each.first
    )


def _found_of_faults(row: Counter[str]) -> tuple[int, int]:
    found = row["found"] + row["by time"]
    return found, found + row["missed"]


def _percents(shares: list[float]) -> str:
    share, least, most = (f"{100 * each:.1f} %" for each in shares)
    return f"{share} | {least} to {most}"


def _line(name: str, row: Counter[str]) -> str:
    found, faults = _found_of_faults(row)
    share = f"{100 * found / faults:.1f} %" if faults else "-"
    return f"| {' | '.join([name, *(f'{row[each]:,}' for each in FIGURES), share])} |"
