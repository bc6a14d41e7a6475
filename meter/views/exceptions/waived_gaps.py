"""Months that were closed though streams lacked numbers."""

from msgspec import UNSET

from meter.rules.entries import AnyEntry, MonthClosed
from meter.views.exceptions.rule import AuditException, EntryRule


class WaivedGaps(EntryRule):
    """A month that was closed while batches were missing, and the person who answers for it."""

    name = "waived_gaps"
    meaning = "a month was closed though batches were missing"
    meaning_zh = "批次缺号未补齐即已月结"
    source = "such a closing names a person and a reason"
    source_zh = "此类月结须指明责任人与理由"

    def judge(self, number: int, entry: AnyEntry) -> AuditException | None:
        if not isinstance(entry, MonthClosed) or entry.waiver is UNSET or not entry.gaps:
            return None
        waiver = entry.waiver
        details = (
            f"gaps: {entry.gaps}; {waiver.person} answers: {waiver.reason}",
            f"{entry.gaps} 处缺号，责任人 {waiver.person}：{waiver.reason}",
        )
        return self.told(entry.month, details, number)
