"""One invoice on two claims."""

from collections.abc import Iterable

from meter.rules.entries import AnyEntry, ClaimEnded, ClaimEntered, ClaimRevoked
from meter.rules.state import State
from meter.views.exceptions.rule import AuditException, Rule


class DoubleInvoices(Rule):
    """An invoice that two claims rest on, none of which was ended or revoked."""

    name = "double_invoice"
    meaning = "two claims rest on one invoice"
    meaning_zh = "两份核销申请使用同一发票"
    source = "each digital invoice has a number of its own, of 20 digits"
    source_zh = "每张数电发票有唯一的二十位号码"

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._claims: dict[str, tuple[int, ClaimEntered]] = {}

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, ClaimEntered):
            self._claims[entry.id] = number, entry
        elif isinstance(entry, ClaimEnded | ClaimRevoked):
            self._claims.pop(entry.claim, None)

    def found(self) -> Iterable[AuditException]:
        by_invoice: dict[str, list[tuple[int, str]]] = {}
        for number, claim in self._claims.values():
            for invoice in claim.invoices:
                by_invoice.setdefault(invoice.number, []).append((number, claim.id))
        for invoice_number, claims in sorted(by_invoice.items()):
            if len(claims) > 1:
                names = ", ".join(name for _, name in claims)
                details = f"invoice {invoice_number}", f"发票 {invoice_number}"
                yield self.told(names, details, *(n for n, _ in claims))
