"""Prices above what others pay."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median_high
from typing import Final, NamedTuple

from msgspec import UNSET

from meter.rules.contract_terms import per_of
from meter.rules.entries import AnyEntry
from meter.rules.state import Contract, State
from meter.values.strict import Per
from meter.values.units import format_price
from meter.views.exceptions.rule import AuditException, Rule

MIN_CONTRACTS = 3  # with fewer there is no middle
_PER_ZH: Final[dict[Per, str]] = {"hour": "时", "day": "日", "month": "月"}


class _Price(NamedTuple):
    """The highest price of a device under a contract, 1/10000 yuan, and what entries set prices."""

    amount: int
    contract: str
    entries: list[int]


class HighPrices(Rule):
    """A contract's highest price, as amended, well above the median of its kind of device.

    Prices for an hour, a day and a month are not compared with each other.
    """

    name = "high_price"
    meaning = "the price is well above the median of its kind of device"
    meaning_zh = "单价明显高于同类设备的中位数"
    source = "judgement: the price sets what the city pays"
    source_zh = "本项目判断：单价决定财政支出"
    unit = "percent of the median"
    unit_zh = "%（占中位数）"
    default = 150

    def entry(self, number: int, entry: AnyEntry) -> None:
        """Look at no entry: a later one may amend a price."""

    def found(self) -> Iterable[AuditException]:
        for (device, per), prices in sorted(_prices_of(self.state).items()):
            middle = median_high(price.amount for price in prices)
            if len(prices) < MIN_CONTRACTS:
                continue
            for price in prices:
                if price.amount * 100 >= middle * self.threshold:
                    shown = format_price(price.amount), format_price(middle)
                    details = _details(device, per, *shown)
                    yield self.told(price.contract, details, *price.entries)


def _details(device: str, per: Per, price: str, middle: str) -> tuple[str, str]:
    return (
        f"{device}: {price} per {per}, median {middle}",
        f"{device}：每{_PER_ZH[per]} {price}，中位数 {middle}",
    )


def _prices_of(state: State) -> dict[tuple[str, Per], list[_Price]]:
    """Return the prices of all contracts by kind of device, and for how long a price is."""
    found: dict[tuple[str, Per], list[_Price]] = defaultdict(list)
    for name, contract in state.contracts.items():
        for device in {each for step in contract.steps for each in step.prices}:
            amount = max(
                price if isinstance(price, int) else price.amount
                for step in contract.steps
                if (price := step.prices.get(device)) is not None
            )
            highest = _Price(amount, name, _entries_of(contract, device))
            found[device, per_of(contract.agreed)].append(highest)
    return found


def _entries_of(contract: Contract, device: str) -> list[int]:
    """Return the entries that say a price of a device: the contract, and its amendments."""
    amended = [
        number
        for number, entry in contract.amendments
        if entry.prices is not UNSET and device in entry.prices
    ]
    return [contract.entry, *amended]
