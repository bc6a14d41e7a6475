"""One payment of the bank for two claims."""

from collections.abc import Iterable

from meter.rules.entries import AnyEntry, ClaimPaid
from meter.rules.state import State
from meter.views.exceptions.rule import AuditException, Rule


class DoubleReferences(Rule):
    """A bank's reference under which two claims were entered as paid."""

    name = "double_reference"
    meaning = "two claims were paid under one reference of the bank"
    meaning_zh = "两份核销申请登记了同一银行流水号"
    source = "judgement: one reference is one payment, of one claim"
    source_zh = "本项目判断：一个流水号对应一笔支付和一份申请"

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._paid: dict[str, dict[str, int]] = {}

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, ClaimPaid):
            self._paid.setdefault(entry.bank_reference, {}).setdefault(entry.claim, number)

    def found(self) -> Iterable[AuditException]:
        for reference, claims in sorted(self._paid.items()):
            if len(claims) > 1:
                details = f"reference {reference}", f"流水号 {reference}"
                yield self.told(", ".join(claims), details, *claims.values())
