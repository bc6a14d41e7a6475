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
from tests.mutants.results import Result
from tests.mutants.run import REPOSITORY, Verdict
from tests.mutants.sample import interval

PAGE: Final = REPOSITORY / "docs" / "reliability.md"
BEGIN: Final = "<!-- mutants: begin -->"
END: Final = "<!-- mutants: end -->"
FIGURES: Final = ("mutants", "judged", "found", "by time", "no fault", "missed")
HEAD: Final = ("file", *FIGURES, "found of faults")

NoFaults = Mapping[str, Mapping[str, str]]  # a reason by file and name of a mutant
NO_FAULTS: Final[NoFaults] = tomllib.loads(
    Path(__file__).with_name("no_faults.toml").read_text(encoding="utf-8")
)

Told = Mapping[str, Result | None]  # by name of a mutant; None where it was not judged


def write(text: str) -> None:
    """Put a table into docs/reliability.md."""
    page = put(PAGE.read_text(encoding="utf-8"), text, BEGIN, END)
    PAGE.write_text(page, encoding="utf-8")


def table(told: Mapping[str, Told], day: date, no_faults: NoFaults = NO_FAULTS) -> str:
    """Return the figures by file as Markdown, below what was judged and what a sample says."""
    rows = {file: _figures(each, no_faults.get(file, {})) for file, each in told.items()}
    every = sum(rows.values(), Counter())
    sample = sum(
        (
            _figures_at_first(each, no_faults.get(file, {}))
            for file, each in told.items()
            if rows[file]["judged"] < rows[file]["mutants"]
        ),
        Counter(),
    )
    lines = [_sentences(every, rows, day), *_estimate(every, sample), ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    lines += [_line(file, row) for file, row in rows.items() if row["judged"]]
    return "\n".join([*lines, _line("all", every)])


def _figures(told: Told, no_faults: Mapping[str, str]) -> Counter[str]:
    found = Counter(
        "not judged" if each is None else _figure(each.verdict, name in no_faults)
        for name, each in told.items()
    )
    return found + Counter({"mutants": len(told), "judged": len(told) - found["not judged"]})


def _figures_at_first(told: Told, no_faults: Mapping[str, str]) -> Counter[str]:
    """Return the figures of a sample, as they were before anyone wrote a test for it."""
    return Counter(
        _figure(each.first, name in no_faults) for name, each in told.items() if each and each.first
    )


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


def _estimate(every: Counter[str], sample: Counter[str]) -> list[str]:
    """Return what a sample of the files that were not judged whole says of all faults."""
    found, faults = _found_of_faults(sample)
    if not faults:
        return []
    left = (every["mutants"] - every["judged"]) * faults / sample.total()
    known_found, known = _found_of_faults(every)
    shares = [found / faults, *interval(found, faults)]
    of_sample = [100 * share for share in shares]
    of_all = [100 * (known_found + share * left) / (known + left) for share in shares]
    return [
        f"A sample by chance of files that are not judged whole has {faults:,} faults. Of these,",
        f"{found:,} were found before anyone wrote a test for the others: {_percents(of_sample)}.",
        f"So of all faults, with those that nobody judged, {_percents(of_all)} are found.",
    ]


def _found_of_faults(row: Counter[str]) -> tuple[int, int]:
    found = row["found"] + row["by time"]
    return found, found + row["missed"]


def _percents(shares: list[float]) -> str:
    share, least, most = (f"{each:.1f} %" for each in shares)
    return f"{share} (95 % interval by Wilson: {least} to {most})"


def _line(name: str, row: Counter[str]) -> str:
    found, faults = _found_of_faults(row)
    share = f"{100 * found / faults:.1f} %" if faults else "-"
    return f"| {' | '.join([name, *(f'{row[each]:,}' for each in FIGURES), share])} |"
