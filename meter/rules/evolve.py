"""Apply entries to the state: loading, rebuilding and replaying a ledger all go through here.

The kind of an entry (`rules/kinds/`) applies it. The rules compute effects on money again and
compare them with the entry's postings. Only an audit decides whether the entry should exist at all.
(`decide` advances the state by the same functions while it judges a batch.)
"""

from collections.abc import Iterable

from ledger.canon import decode, spell
from ledger.errors import LedgerError
from meter.rules.effects import Diverged
from meter.rules.entries import Entry
from meter.rules.kinds.table import BY_ENTRY, read_entry
from meter.rules.months import turn_month
from meter.rules.snapshot import BadSnapshot, resume
from meter.rules.state import State


def evolve(state: State, entry: Entry) -> None:
    """Apply the next entry, whose number is `state.size`. Raises `Diverged`."""
    number = state.size
    turn_month(state, entry.at)
    kind = BY_ENTRY[type(entry)]
    kind.apply(state, number, entry)
    if kind.rows == "registration":
        state.add_registration(number, spell(entry))
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


def state_of(snapshot: bytes, registrations: Iterable[tuple[int, bytes]]) -> State:
    """Return the state of a snapshot, from the numbers and bytes of its registrations, in order.

    Raises `BadSnapshot`.
    """
    state = State()
    for number, data in registrations:
        try:
            register(state, number, read_entry(decode(data)))
        except (LedgerError, LookupError, ValueError) as error:
            raise BadSnapshot(f"entry {number}: {type(error).__name__}: {error}") from None
        state.add_registration(number, data)
    resume(state, snapshot)
    return state
