"""Windows in which records of any age are taken."""

from meter.rules.entries import AnyEntry, LateWindowOpened
from meter.views.exceptions.rule import AuditException, EntryRule


class LateWindows(EntryRule):
    """A window in which a contract's records are taken whatever their age."""

    name = "late_window"
    meaning = "records of any age were taken for the contract"
    meaning_zh = "该合同曾不限期限接收记录"
    source = "policy, section [lateness], which the window sets aside"
    source_zh = "政策 [lateness] 一节，窗口期内不适用"

    def judge(self, number: int, entry: AnyEntry) -> AuditException | None:
        if not isinstance(entry, LateWindowOpened):
            return None
        details = (
            f"usage of {entry.starts} to {entry.ends}, taken before {entry.open_until}",
            f"{entry.starts} 至 {entry.ends} 的用量，{entry.open_until} 前接收",
        )
        return self.told(entry.contract, details, number)
