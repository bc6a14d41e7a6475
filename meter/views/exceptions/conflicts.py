"""Records that were sent again with another content."""

from collections.abc import Iterable

import msgspec

from meter.rules.entries import AnyEntry
from meter.views.exceptions.rule import AuditException, Rule


class Conflicts(Rule):
    """A record under an id that the ledger knew with another content; its receipt refused it."""

    name = "conflict"
    meaning = "one id was sent with two contents"
    meaning_zh = "同一编号先后报送了两种内容"
    source = "the receipts of batches"
    source_zh = "批次回执"

    def entry(self, number: int, entry: AnyEntry) -> None:
        """Look at no entry: what was refused is in receipts."""

    def found(self) -> Iterable[AuditException]:
        for (provider, stream, seq), batch in self.state.batches.items():
            for each in msgspec.json.decode(batch.receipt)["results"]:
                if each["status"] == "conflict":
                    details = (
                        f"{each['id']}, stream {stream}, batch {seq}",
                        f"{each['id']}，上报流 {stream}，批次 {seq}",
                    )
                    yield self.told(provider, details, each["entry"], batch.entries.first)
