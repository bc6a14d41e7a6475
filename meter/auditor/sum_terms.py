"""The terms of a contract as its entries leave them, for the independent sums.

What was registered is corrected from the first day on; a supplement sets prices and rented devices
from its own day on, and amount and end of the whole. The newest counts: by its day, then by its
entry. Nothing of the core is used.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any, Final

_CORRECTED: Final = (
    *("amount", "signed_on", "from", "until", "use", "related_party", "enterprise"),
    *("policy", "class", "contract_no"),
)
_BY_KIND: Final = ("prices", "max_devices")


@dataclass(slots=True)
class Terms:
    """The entry of a contract, corrected, and its supplements in the order of their entries."""

    original: dict[str, Any]
    supplements: list[dict[str, Any]] = field(default_factory=list)

    def amend(self, fields: dict[str, Any]) -> "Terms":
        """Return the terms after an amendment."""
        if fields["mode"] == "supplement":
            return Terms(self.original, [*self.supplements, fields])
        original = dict(self.original)
        for name in _CORRECTED:
            original[name] = fields.get(name, original[name])
        for name in _BY_KIND:
            original[name] = original[name] | fields.get(name, {})
        return Terms(original, self.supplements)

    @property
    def whole(self) -> dict[str, Any]:
        """The terms of the whole contract: the newest amount and end."""
        whole = dict(self.original)
        for each in self._by_day():
            for name in ("amount", "until"):
                whole[name] = each.get(name, whole[name])
        return whole

    def kinds(self, name: str) -> set[str]:
        """Return the device kinds that ever have a price, or are limited."""
        return set().union(*(each.get(name, {}) for each in (self.original, *self.supplements)))

    def on(self, name: str, device: str, day: int) -> Any:
        """Return the price or the rented devices of a kind on a day, an ordinal; None without."""
        found = self.original[name].get(device)
        for each in self._by_day():
            if date.fromisoformat(each["effective"]).toordinal() <= day:
                found = each.get(name, {}).get(device, found)
        return found

    def price_on(self, device: str, day: int) -> int | Fraction | None:
        """Return the price per device-hour on a day, in 1/10000 yuan; None without."""
        price = self.on("prices", device, day)
        if price is None or isinstance(price, int):
            return price
        hours = 24
        if price["per"] == "month":
            date_ = date.fromordinal(day)
            hours *= monthrange(date_.year, date_.month)[1]
        return Fraction(price["amount"], hours)

    def additions(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the supplements that raise the amount or the end, each with the field.

        One that replaces another of the same day adds what is above both that and the day before.
        """
        found: list[tuple[str, dict[str, Any]]] = []
        for name in ("amount", "until"):
            held = self.original[name]
            day, before = "", held
            for each in self._by_day():
                if name not in each:
                    continue
                if each["effective"] != day:
                    day, before = each["effective"], held
                if each[name] > max(before, held):
                    found.append((name, each))
                held = each[name]
        return found

    def _by_day(self) -> list[dict[str, Any]]:
        return sorted(self.supplements, key=lambda each: str(each["effective"]))
