"""States that begin from a snapshot, as a worker of an audit has them."""

from collections.abc import Iterable
from copy import deepcopy

from ledger.canon import encode
from meter.rules.entries import Entry
from meter.rules.evolve import state_of
from meter.rules.kinds.table import BY_ENTRY
from meter.rules.snapshot import write
from meter.rules.state import State


def registrations(entries: Iterable[Entry]) -> list[tuple[int, bytes]]:
    """Return the registrations among all entries of a ledger."""
    return [
        (number, encode(entry))
        for number, entry in enumerate(entries)
        if BY_ENTRY[type(entry)].rows == "registration"
    ]


def begun_again(state: State, entries: Iterable[Entry]) -> State:
    """Return the state that a snapshot of one gives, with what is looked up beside it."""
    again = state_of(write(state), registrations(entries))
    again.records, again.unread = deepcopy(state.records), dict(state.unread)
    again.batches = dict(state.batches)
    again.in_use = deepcopy(state.in_use)
    again.touched.usage = deepcopy(state.touched.usage)
    again.summaries = dict(state.summaries)
    return again
