"""What a verification says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the first entry that it concerns, and the file, where known."""

    code: str
    detail: str
    entry: int | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """How many of something were checked and found right."""

    name: str
    count: int


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
