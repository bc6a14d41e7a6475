"""What a claim may be paid: the arithmetic of grounds, debts and set-off, in fen.

    V     = max(0, min(G − F, floor(bp·I/10000), floor(bp·P/10000)))
    debt  = max(0, paid − V)

`G` is granted to an item in a year, `F` forfeited of it; `I` is invoiced to the firm, `P` paid by
it. Example: 500,000.00 granted, 700,000.33 invoiced, 650,000.10 paid at 50 % give 325,000.05; where
100,000.00 are approved already, 225,000.05 can be approved.
"""

from collections.abc import Iterable, Sequence

from msgspec import UNSET, Struct, UnsetType

from meter.rules.entries import Ground
from meter.rules.rating import FULL_BP


class Grounds(Struct, frozen=True):
    """What bounds the payment for one item and year: G, F, bp, I and P.

    `invoiced` and `paid` are unset where the policy asks for no such evidence.
    """

    granted: int
    forfeited: int
    ratio_bp: int
    invoiced: int | UnsetType
    paid: int | UnsetType

    def limits(self) -> dict[Ground, int]:
        """Return the limit of each ground that is asked for."""
        found: dict[Ground, int] = {"granted": self.granted - self.forfeited}
        if self.invoiced is not UNSET:
            found["invoiced"] = self.ratio_bp * self.invoiced // FULL_BP
        if self.paid is not UNSET:
            found["paid"] = self.ratio_bp * self.paid // FULL_BP
        return found

    @property
    def limit(self) -> int:
        """The most that may be paid in all: V."""
        return max(0, min(self.limits().values()))

    @property
    def bound(self) -> Ground:
        """The ground that sets the limit; of equal ones the first of the three."""
        limits = self.limits()
        return min(limits, key=lambda ground: limits[ground])


def debt(paid: int, limit: int) -> int:
    """Return what a firm was paid beyond the limit."""
    return max(0, paid - limit)


def set_off(cash: int, debts: Iterable[int]) -> list[int]:
    """Return how much of each debt is set off against cash, in order, until either is used up."""
    taken = []
    for owed in debts:
        part = min(cash, owed)
        taken.append(part)
        cash -= part
    return taken


def count_paper(parts: Sequence[int], taken_back: int) -> int:
    """Return what the parts of one paper count, less what was taken back of it."""
    return max(0, sum(parts) - taken_back)
