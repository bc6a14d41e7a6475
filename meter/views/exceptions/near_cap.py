"""Coupons that come close to the cap."""

from collections.abc import Iterable

from meter.rules.entries import AnyEntry, CouponAllotted, CouponIssued
from meter.rules.state import State
from meter.values.units import format_money
from meter.views.exceptions.rule import AuditException, Rule


class NearCap(Rule):
    """An enterprise that was granted nearly all that its cap of the year allows."""

    name = "near_cap"
    meaning = "granted in a year, nearly the cap"
    meaning_zh = "年度核给金额接近上限"
    source = "policy, section [cap]; the share is a judgement"
    source_zh = "政策 [cap] 一节；比例为本项目判断"
    unit = "percent"
    default = 95

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._issues: dict[tuple[str, str, int], int] = {}

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, CouponIssued | CouponAllotted):
            self._issues[entry.enterprise, entry.programme, entry.year] = number

    def found(self) -> Iterable[AuditException]:
        for coupon, fen in sorted(self.state.granted.items()):
            enterprise, programme, year = coupon
            cap = self.state.active[programme].cap
            if cap and coupon in self._issues and fen * 100 >= cap * self.threshold:
                detail = f"{programme} {year}: {format_money(fen)} of {format_money(cap)}"
                yield self.told(enterprise, detail, self._issues[coupon])
