"""Prices above what others pay."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median_high

from meter.rules.entries import AnyEntry, ContractRegistered
from meter.rules.state import State
from meter.values.units import format_price
from meter.views.exceptions.rule import AuditException, Rule

MIN_CONTRACTS = 3  # with fewer there is no middle


class HighPrices(Rule):
    """A contract's price for an hour, well above the median of its kind of device."""

    name = "high_price"
    meaning = "the price for an hour is well above the median of its kind of device"
    meaning_zh = "单价明显高于同类设备的中位数"
    source = "judgement: the price sets what the city pays"
    source_zh = "本项目判断：单价决定财政支出"
    unit = "percent of the median"
    default = 150

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._prices: dict[str, list[tuple[int, int, str]]] = defaultdict(list)

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, ContractRegistered):
            for device, price in entry.prices.items():
                if isinstance(price, int):
                    self._prices[device].append((price, number, entry.id))

    def found(self) -> Iterable[AuditException]:
        for device, prices in sorted(self._prices.items()):
            middle = median_high(price for price, _, _ in prices)
            if len(prices) < MIN_CONTRACTS:
                continue
            for price, number, contract in prices:
                if price * 100 >= middle * self.threshold:
                    detail = f"{device}: {format_price(price)}, median {format_price(middle)}"
                    yield self.told(contract, detail, number)
