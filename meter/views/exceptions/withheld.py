"""Records of which a part is withheld."""

from collections.abc import Iterable

from msgspec import UNSET

from meter.rules.entries import AnyEntry, RecordReleased, RecordVoided, UsageAccepted
from meter.rules.rating import cost
from meter.rules.state import State
from meter.values.units import format_money
from meter.views.exceptions.rule import AuditException, Rule


class Withheld(Rule):
    """A record of which a part is above what was rented or enlisted, and was not released."""

    name = "withheld"
    meaning = "a part of the record is above what was rented or enlisted"
    meaning_zh = "记录有一部分超出租用或入库的数量"
    source = "policy, section [enlistment]; contract, max_devices"
    source_zh = "政策 [enlistment] 一节；合同 max_devices"

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._held: dict[int, UsageAccepted] = {}

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, UsageAccepted) and entry.withheld is not UNSET:
            self._held[number] = entry
        elif isinstance(entry, RecordVoided | RecordReleased):
            self._held.pop(entry.record, None)

    def found(self) -> Iterable[AuditException]:
        for number, entry in self._held.items():
            shown = format_money(self._cost(number, entry))
            details = f"{entry.id}: {shown}", f"{entry.id}：{shown}"
            yield self.told(entry.contract, details, number)

    def _cost(self, number: int, entry: UsageAccepted) -> int:
        """Return the fen that are withheld now: an amendment may have changed the price since."""
        contract = self.state.contracts[entry.contract]
        if entry.withheld is UNSET or entry.withheld_cost is UNSET:
            return 0
        if all(amended < number for amended, _ in contract.amendments):
            return entry.withheld_cost
        numerator = sum(
            device_time * contract.price_on(entry.device, day)
            for day, device_time in entry.withheld
        )
        return cost(numerator, contract.terms.denominator)
