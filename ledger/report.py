"""The report of a verification."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the first entry that it concerns, and the file, where known."""

    code: str
    detail: str
    entry: int | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """How many things of one kind were checked and found right.

    `nanoseconds` is the time of the step; all checks of one step have the same.
    """

    name: str
    count: int
    nanoseconds: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Report:
    """`size` and `root` are the signed ones; 0 and empty if the checkpoint itself is bad."""

    origin: str
    size: int
    root: bytes
    problems: list[Problem]
    checks: list[Check]

    @property
    def ok(self) -> bool:
        return not self.problems
