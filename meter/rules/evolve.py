"""Apply one entry to the state: the only way from a ledger's entries to what they add up to.

A ledger that is loaded, rebuilt or replayed goes through here; what each entry does is told by its
kind (`rules/kinds/`). Effects on money are computed by the rules again and held against the entry's
postings. Whether the entry should be there at all, the audit decides. (`decide` advances the state
by the same functions while it judges a batch.)
"""

from meter.rules.effects import Diverged
from meter.rules.entries import Entry
from meter.rules.kinds.table import BY_ENTRY
from meter.rules.state import State


def evolve(state: State, entry: Entry) -> None:
    """Apply the next entry, whose number is `state.size`. Raises `Diverged`."""
    number = state.size
    BY_ENTRY[type(entry)].apply(state, number, entry)
    state.size = number + 1
    state.last_at = entry.at


def register(state: State, number: int, entry: Entry) -> None:
    """Apply an entry that the state is loaded from; neither size nor clock move."""
    kind = BY_ENTRY[type(entry)]
    if kind.rows != "registration":
        raise Diverged(f"an entry of kind {entry.kind} registers nothing")
    kind.apply(state, number, entry)
