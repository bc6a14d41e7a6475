"""Records that firms dispute."""

from collections.abc import Iterable

from msgspec import UNSET

from meter.rules.entries import AnyEntry
from meter.rules.kinds.disputes import open_disputes
from meter.views.exceptions.rule import AuditException, Rule


class OpenDisputes(Rule):
    """A record that a firm disputes; it is not voided, and the dispute not dismissed."""

    name = "open_dispute"
    meaning = "the firm disputes the record, and nobody has decided"
    meaning_zh = "企业对记录提出异议，尚无处理结果"
    source = "until then no claim for the contract and year is approved"
    source_zh = "处理之前，该合同该年度不予核准核销"

    def entry(self, number: int, entry: AnyEntry) -> None:
        """Look at no entry: a later one may decide."""

    def found(self) -> Iterable[AuditException]:
        for dispute in open_disputes(self.state):
            made = dispute.made
            reason = "" if made.reason is UNSET else made.reason
            details = (
                f"{made.id} of {made.provider}: {reason}",
                f"{made.provider} 的 {made.id}：{reason}",
            )
            yield self.told(made.contract, details, made.record, dispute.entry)
