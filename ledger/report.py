"""What a verification says."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the first entry that it concerns, and the file, where known."""

    code: str
    detail: str
    entry: int | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """How many of something were checked and found right.

    The time is that of the step, and the same for all that one step checks together.
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
