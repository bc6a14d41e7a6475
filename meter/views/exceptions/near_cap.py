"""Grants that come close to the cap of a year, by coupons or awards."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from meter.rules.entries import AnyEntry, AwardMade, CouponAllotted, CouponIssued
from meter.rules.state import CouponId, State
from meter.values.units import format_money
from meter.views.exceptions.rule import AuditException, Rule

_OF_A_YEAR: Final = "applicant-year"  # other caps are for a firm's whole time, or for a project


class NearCap(Rule):
    """A firm that was granted nearly all that the cap of a year allows to all of its codes."""

    name = "near_cap"
    meaning = "granted in a year, nearly the cap"
    meaning_zh = "年度核给金额接近上限"
    source = "policy, section [cap]; the share is a judgement"
    source_zh = "政策 [cap] 一节；比例为本项目判断"
    unit = "percent"
    unit_zh = "%"
    default = 95

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._issues: dict[CouponId, int] = {}  # the last issue or award to a firm

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, CouponIssued | CouponAllotted | AwardMade):
            self._issues[self._of_firm((entry.enterprise, entry.programme, entry.year))] = number

    def found(self) -> Iterable[AuditException]:
        granted: dict[CouponId, int] = defaultdict(int)
        for coupon, fen in self.state.granted.items():
            granted[self._of_firm(coupon)] += fen
        for coupon, fen in sorted(granted.items()):
            enterprise, programme, year = coupon
            policy = self.state.policy_of(programme, year, self.state.size)
            cap = None if policy is None or policy.cap_per != _OF_A_YEAR else policy.cap
            if cap and coupon in self._issues and fen * 100 >= cap * self.threshold:
                held, most = format_money(fen), format_money(cap)
                details = (
                    f"{programme} {year}: {held} of {most}",
                    f"{programme} {year} 年：{held}，上限 {most}",
                )
                yield self.told(enterprise, details, self._issues[coupon])

    def _of_firm(self, coupon: CouponId) -> CouponId:
        """Return the coupon under the code of the firm's last successor."""
        enterprise, programme, year = coupon
        return self.state.last_successor(enterprise), programme, year
