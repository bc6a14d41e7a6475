"""Apply entries to the state: loading, rebuilding and replaying a ledger all go through here.

The kind of an entry (`rules/kinds/`) applies it. The rules compute effects on money again and
compare them with the entry's postings. Only an audit decides whether the entry should exist at all.
(`decide` advances the state by the same functions while it judges a batch.)
"""

from meter.rules.effects import Diverged
from meter.rules.entries import Entry
from meter.rules.kinds.table import BY_ENTRY
from meter.rules.months import turn_month
from meter.rules.state import State


def evolve(state: State, entry: Entry) -> None:
    """Apply the next entry, whose number is `state.size`. Raises `Diverged`."""
    number = state.size
    turn_month(state, entry.at)
    BY_ENTRY[type(entry)].apply(state, number, entry)
    proposal: object = getattr(entry, "proposal", None)
    if isinstance(proposal, int):  # confirmed or ended
        state.people.close(proposal, number)
    state.size = number + 1
    state.last_at = entry.at


def register(state: State, number: int, entry: Entry) -> None:
    """Apply a registration while a state is loaded; `size` and `last_at` do not change."""
    kind = BY_ENTRY[type(entry)]
    if kind.rows != "registration":
        raise Diverged(f"an entry of kind {entry.kind} registers nothing")
    (kind.register or kind.apply)(state, number, entry)
