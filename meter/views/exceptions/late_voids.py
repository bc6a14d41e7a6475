"""Voids that come long after the record."""

from collections.abc import Iterable

from meter.rules.entries import AcceptedEntry, AnyEntry, RecordVoided
from meter.rules.state import State
from meter.values.units import DAY_SECONDS, MICROSECONDS
from meter.views.exceptions.rule import AuditException, Rule


class LateVoids(Rule):
    """A void of a record that the ledger had for longer than the threshold."""

    name = "late_void"
    meaning = "the record was taken back long after it was taken"
    meaning_zh = "记录入账很久之后才被撤销"
    source = "judgement: as long as a record may be late by the shipped policies"
    source_zh = "本项目判断：与随附政策允许的迟报天数相同"
    unit = "days"
    unit_zh = "天"
    default = 35

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._taken: dict[int, int] = {}
        self._found: list[AuditException] = []

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, AcceptedEntry):
            self._taken[number] = entry.at
        elif isinstance(entry, RecordVoided):
            days = (entry.at - self._taken.pop(entry.record)) // (DAY_SECONDS * MICROSECONDS)
            if days >= self.threshold:
                details = (
                    f"{entry.id}: after {days} days, {entry.reason}",
                    f"{entry.id}：入账 {days} 天后，{entry.reason}",
                )
                self._found.append(self.told(entry.contract, details, entry.record, number))

    def found(self) -> Iterable[AuditException]:
        return self._found
