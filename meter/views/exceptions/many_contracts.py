"""Enterprises with many contracts of one programme."""

from collections import defaultdict
from collections.abc import Iterable

from meter.rules.entries import AnyEntry, ContractRegistered
from meter.rules.state import State
from meter.views.exceptions.rule import AuditException, Rule


class ManyContracts(Rule):
    """An enterprise that signed many contracts of one programme in one year."""

    name = "many_contracts"
    meaning = "so many contracts of one firm were signed in a year"
    meaning_zh = "一家单位一年内签订多份合同"
    source = "judgement: one need may have been split"
    source_zh = "本项目判断：同一需求可能被拆分"
    unit = "contracts"
    unit_zh = "份合同"
    default = 10

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._signed: dict[tuple[str, str, str], list[int]] = defaultdict(list)

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, ContractRegistered):
            group = entry.enterprise, entry.programme, entry.signed_on[:4]
            self._signed[group].append(number)

    def found(self) -> Iterable[AuditException]:
        for (enterprise, programme, year), numbers in sorted(self._signed.items()):
            if len(numbers) >= self.threshold:
                details = (
                    f"{programme} {year}: {len(numbers)} contracts",
                    f"{programme} {year} 年：{len(numbers)} 份合同",
                )
                yield self.told(enterprise, details, *numbers)
