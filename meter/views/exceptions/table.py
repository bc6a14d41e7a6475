"""All rules of exceptions, and what they find in a ledger.

The questions of `views/flags.py` and the gaps of streams are exceptions too; both are known after
an audit.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from meter.rules.entries import AnyEntry
from meter.rules.state import State
from meter.views.exceptions.conflicts import Conflicts
from meter.views.exceptions.double_invoices import DoubleInvoices
from meter.views.exceptions.double_references import DoubleReferences
from meter.views.exceptions.high_prices import HighPrices
from meter.views.exceptions.key_changes import KeyChanges
from meter.views.exceptions.late_voids import LateVoids
from meter.views.exceptions.late_windows import LateWindows
from meter.views.exceptions.many_contracts import ManyContracts
from meter.views.exceptions.near_cap import NearCap
from meter.views.exceptions.open_disputes import OpenDisputes
from meter.views.exceptions.rule import AuditException, Rule
from meter.views.exceptions.two_persons import TwoPersons
from meter.views.exceptions.waived_gaps import WaivedGaps
from meter.views.exceptions.withheld import Withheld
from meter.views.exceptions.year_edges import YearEdges

RULES: Final[tuple[type[Rule], ...]] = (
    *(Withheld, LateWindows, LateVoids, YearEdges, Conflicts),
    *(KeyChanges, TwoPersons),
    *(NearCap, ManyContracts, HighPrices, DoubleInvoices),
    *(DoubleReferences, WaivedGaps, OpenDisputes),
)
BY_NAME: Final[Mapping[str, type[Rule]]] = {rule.name: rule for rule in RULES}


def rules_with(thresholds: Mapping[str, int], state: State) -> list[Rule]:
    """Return all rules, some with other thresholds than their own.

    Raises `ValueError` for a rule that is not there or has no threshold, and for a negative one.
    """
    for name, value in thresholds.items():
        if name not in BY_NAME or BY_NAME[name].default is None:
            known = ", ".join(each.name for each in RULES if each.default is not None)
            raise ValueError(f"no rule {name!r:.40} has a threshold: {known}")
        if value < 0:
            raise ValueError(f"the threshold of {name} is below zero")
    return [rule(state, thresholds.get(rule.name)) for rule in RULES]


def exceptions(
    rules: Iterable[Rule], entries: Iterable[tuple[int, AnyEntry]]
) -> list[AuditException]:
    """Return what rules find in all entries, in the order of the rules, then of subjects."""
    asked = list(rules)
    for number, entry in entries:
        for rule in asked:
            rule.entry(number, entry)
    return [each for rule in asked for each in sorted(rule.found())]
