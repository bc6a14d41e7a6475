"""What each entry of whole histories changes is among what the state says it touched.

The tables keep only what was touched; what an entry forgets to name stays there as it was.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from meter.rules.evolve import evolve
from meter.rules.state import State
from tests.books import ALPHA, BETA, Books, lifted, opened, record, void
from tests.histories import history
from tests.meter import test_allocations, test_awards, test_periods

START, END = "2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00"


def amended() -> Books:
    """Two contracts of two firms; one changes its price and its firm, and has other money."""
    books = opened(lifted())
    books.enterprise(BETA)
    for name, enterprise in (("A", ALPHA), ("B", ALPHA), ("C", BETA)):
        books.contract(name, enterprise=enterprise)
    for enterprise in (ALPHA, BETA):
        books.issue(2025, "200.00", enterprise)
    for name in "ABC":
        books.post([record(name, name, START, END, 64_000)])
    books.fund_contract("A", "100.00")
    books.correct("A", prices={"ascend-910b": "4.00"})
    books.correct("A", enterprise=BETA)
    books.freeze("B")
    books.unfreeze("B")
    books.post(voids=[void("B")])
    books.void("A")
    books.withdraw(2025, "1.00")
    return books


def budgeted() -> Books:
    """A pool that a budget limits, and a later policy that states more."""
    books = opened(lifted(pool="100.00"))
    books.contract("A")
    books.budget(2025, "50.00")
    books.issue(2025, "50.00")
    books.budget(2025, "90.00")
    books.activate(lifted(pool="70.00", version="later"))
    return books


def awarded() -> Books:
    """Awards that are raised and lowered."""
    books = test_awards.audited()
    books.award("A", "event", "700000.00", project="P", base="9000000.00")
    books.award("B", "software", "900000.00", project="P", year=2026)
    books.change_award("A", "600000.00")
    books.change_award("A", "650000.00")
    return books


def expired() -> Books:
    """A year that ends with a rest."""
    books = test_periods.used().at(test_periods.OVER)
    books.expire(2025)
    books.close(2025)
    return books


def allocated() -> Books:
    """A pool that is divided among three."""
    books = test_allocations.three()
    names = list(books.state.enterprises)[:3]
    books.allocate(2025, *((uscc, "60.00") for uscc in names))
    return books


HISTORIES: dict[str, Callable[[], Books]] = {
    each.__name__: each for each in (amended, budgeted, awarded, expired, allocated)
} | {f"history {seed}": lambda seed=seed: history(seed) for seed in range(6)}


def rows(state: State) -> dict[str, dict]:
    """Return what the tables keep of money and time, by what is touched."""
    return {
        "contracts": {
            id_: (
                each.used,
                tuple(each.ineligible),
                tuple(segment.eligible for segment in each.segments),
                {year: replace(share) for year, share in each.shares.items()},
            )
            for id_, each in state.contracts.items()
            if each.used or each.shares
        },
        "awards": {id_: each.amount for id_, each in state.awards.items()},
        "coupons": dict(state.coupons),
        "pools": {
            id_: replace(each, programmes=list(each.programmes))
            for id_, each in state.pools.items()
        },
        "days": {
            (name, day): list(quarters)
            for name, use in state.in_use.items()
            for day, quarters in use.days.items()
            if any(quarters)
        },
    }


@pytest.mark.parametrize("name", HISTORIES)
def test_what_an_entry_changes_is_touched(name):
    books = HISTORIES[name]()
    state = State()
    before, changed = rows(state), dict.fromkeys(rows(state), 0)
    for entry in books.entries:
        evolve(state, entry)
        now, touched = rows(state), taken(state)
        for what in now:
            names = now[what].keys() | before[what].keys()
            other = {each for each in names if now[what].get(each) != before[what].get(each)}
            assert other <= touched[what], (entry.kind, what)
            changed[what] += len(other)
        before = now
    assert changed["pools"]
    assert sum(changed.values()) > 2


def taken(state: State) -> dict[str, set]:
    """Take what was touched, but for the usage, which a later amendment needs."""
    days = {(name, day) for name, use in state.in_use.items() for day in use.touched}
    for use in state.in_use.values():
        use.touched.clear()
    names = ("contracts", "awards", "coupons", "pools")
    found = {name: set(getattr(state.touched, name)) for name in names}
    for name in names:
        getattr(state.touched, name).clear()
    return found | {"days": days}
