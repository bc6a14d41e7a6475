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
from tests.mutants.run import REPOSITORY, Verdict

PAGE: Final = REPOSITORY / "docs" / "reliability.md"
BEGIN: Final = "<!-- mutants: begin -->"
END: Final = "<!-- mutants: end -->"
FIGURES: Final = ("mutants", "judged", "found", "by time", "no fault", "missed")
HEAD: Final = ("file", *FIGURES, "found of faults")

NoFaults = Mapping[str, Mapping[str, str]]  # a reason by file and name of a mutant
NO_FAULTS: Final[NoFaults] = tomllib.loads(
    Path(__file__).with_name("no_faults.toml").read_text(encoding="utf-8")
)

Told = Mapping[str, Verdict | None]  # by name of a mutant; None where it was not judged


def write(text: str) -> None:
    """Put a table into docs/reliability.md."""
    page = put(PAGE.read_text(encoding="utf-8"), text, BEGIN, END)
    PAGE.write_text(page, encoding="utf-8")


def table(told: Mapping[str, Told], day: date, no_faults: NoFaults = NO_FAULTS) -> str:
    """Return the figures by file as Markdown, below what was judged and what was not."""
    rows = {file: _figures(each, no_faults.get(file, {})) for file, each in told.items()}
    every = sum(rows.values(), Counter())
    lines = [_sentences(every, rows, day), ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    lines += [_line(file, row) for file, row in rows.items() if row["judged"]]
    return "\n".join([*lines, _line("all", every)])


def _figures(told: Told, no_faults: Mapping[str, str]) -> Counter[str]:
    found = Counter(_figure(verdict, name in no_faults) for name, verdict in told.items())
    return found + Counter({"mutants": len(told), "judged": len(told) - found["not judged"]})


def _figure(verdict: Verdict | None, no_fault: bool) -> str:
    match verdict:
        case None:
            return "not judged"
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


def _line(name: str, row: Counter[str]) -> str:
    seen = row["found"] + row["by time"]
    faults = seen + row["missed"]
    share = f"{100 * seen / faults:.1f} %" if faults else "-"
    return f"| {' | '.join([name, *(f'{row[each]:,}' for each in FIGURES), share])} |"
