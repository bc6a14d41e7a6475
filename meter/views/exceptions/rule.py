"""What a rule of exceptions is, and what it finds.

An exception is no fault: it is lawful, or may be, and an auditor asks for its reasons.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from meter.rules.entries import AnyEntry
from meter.rules.state import State


@dataclass(frozen=True, slots=True, order=True)
class AuditException:
    """What a rule found: about whom or what, in English and Chinese, and what entries show it."""

    rule: str
    subject: str
    detail: str
    detail_zh: str
    entries: tuple[int, ...]


class Rule(ABC):
    """A rule that sees all entries in order, and `state` after the last one.

    `threshold` is a whole number of `unit`; a rule without one has none.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    meaning_zh: ClassVar[str]
    source: ClassVar[str]  # where the rule, or its threshold, comes from
    source_zh: ClassVar[str]
    unit: ClassVar[str] = ""
    unit_zh: ClassVar[str] = ""
    default: ClassVar[int | None] = None

    def __init__(self, state: State, threshold: int | None = None) -> None:
        self.state = state
        chosen = self.default if threshold is None else threshold
        self.threshold = 0 if chosen is None else chosen

    @abstractmethod
    def entry(self, number: int, entry: AnyEntry) -> None:
        """Take an entry."""

    @abstractmethod
    def found(self) -> Iterable[AuditException]:
        """Return what was found, once all entries are in."""

    def told(self, subject: str, details: tuple[str, str], *entries: int) -> AuditException:
        """Return an exception of this rule; its details are English and Chinese."""
        return AuditException(self.name, subject, *details, entries)


class EntryRule(Rule):
    """A rule that judges each entry by itself."""

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._found: list[AuditException] = []

    def entry(self, number: int, entry: AnyEntry) -> None:
        found = self.judge(number, entry)
        if found is not None:
            self._found.append(found)

    def found(self) -> Iterable[AuditException]:
        return self._found

    @abstractmethod
    def judge(self, number: int, entry: AnyEntry) -> AuditException | None:
        """Return what an entry is an exception for."""
