"""The report of a verification.

Three verdicts stay apart. A ledger is `violated` where its bytes contradict what was signed, or
what was signed breaks a rule. It is `not_checked` where something cannot be read, or is not at hand
in whole: a folder that is being copied, a file that has gone. That accuses nobody. Else it is
`good`.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

Conclusion = Literal["good", "violated", "not_checked"]

# All other codes are of violations.
NOT_CHECKED: Final = frozenset(
    {
        "missing_file",
        "incomplete_file",
        "bad_folder",
        "changed",
        "missing_attachment",
        "not_signed",
        "not_witnessed",
        "newer_receipt",
        "bad_receipt_file",
        "receipt_not_signed",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the first entry that it concerns, and the file, where known."""

    code: str
    detail: str
    entry: int | None = None
    file: str | None = None

    @property
    def is_violation(self) -> bool:
        return self.code not in NOT_CHECKED


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
    """`size` and `root` are the signed ones; 0 and empty if the checkpoint itself is bad.

    `notices` name files that were not looked at, because nothing signed needs them.
    """

    origin: str
    size: int
    root: bytes
    findings: list[Finding]
    checks: list[Check]
    notices: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


def conclude(findings: list[Finding]) -> Conclusion:
    """Return the verdict that follows from all findings: one violation decides it."""
    if any(finding.is_violation for finding in findings):
        return "violated"
    return "not_checked" if findings else "good"
