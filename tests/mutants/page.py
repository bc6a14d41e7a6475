"""The results of mutants, kept between runs, and their table in docs/reliability.md.

A result holds as long as the file and its judges are those that were run.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Final

from tests.mutants.run import Verdict

HEAD: Final = ("file", "mutants", "judged", "found", "by time", "missed", "found of judged")


@dataclass(frozen=True)
class Result:
    """The verdict on one mutant; `digest` is of its file and of the tests that judged it."""

    file: str
    name: str
    digest: str
    verdict: Verdict


class Results:
    """The results in a file, one to a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [Result(**json.loads(line)) for line in lines]
        self._verdicts = {(each.file, each.name, each.digest): each.verdict for each in found}

    def verdict(self, file: str, name: str, digest: str) -> Verdict | None:
        """Return the verdict on a mutant, if it was judged by these very tests."""
        return self._verdicts.get((file, name, digest))

    def add(self, result: Result) -> None:
        """Keep a result at once, so that a run that is stopped loses none."""
        self._verdicts[result.file, result.name, result.digest] = result.verdict
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def table(counts: dict[str, int], verdicts: dict[str, list[Verdict]], day: date) -> str:
    """Return the figures by file as Markdown; `counts` are of all mutants, judged or not."""
    lines = [f"Made by `make mutants` on {day.isoformat()}.", ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    rows = {file: (counts[file], verdicts[file]) for file in counts if verdicts.get(file)}
    every = [verdict for _, found in rows.values() for verdict in found]
    for name, (count, found) in [*rows.items(), ("all", (sum(counts.values()), every))]:
        lines.append(f"| {' | '.join(_cells(name, count, found))} |")
    return "\n".join(lines)


def _cells(name: str, count: int, verdicts: list[Verdict]) -> list[str]:
    told = Counter(verdicts)
    seen = told["found"] + told["timeout"]
    figures = (count, len(verdicts), told["found"], told["timeout"], told["missed"])
    share = f"{100 * seen / len(verdicts):.1f} %" if verdicts else "-"
    return [name, *(f"{each:,}" for each in figures), share]
