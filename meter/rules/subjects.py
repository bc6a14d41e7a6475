"""The subjects of an entry: whom it concerns, and under what it is found again.

    contract:TC-2025-0001             entries about a contract, and those that move its money
    award:AW-2025-0001                entries about an award
    project:PJ-2025-0001              entries about a project, and its awards
    enterprise:91440300708461136T     the enterprise itself, its contracts, awards and coupons
    provider:pcl                      the provider itself, its keys, batches and contracts
    person:alice                      what a person of the authority did
    kind:void                         entries of one kind

An index names the *segments* that mention a subject. The reader of a segment calls `subjects_of`
for each of its entries, so the index may name too many segments, but never too few.
"""

from collections.abc import Iterable, Iterator

from meter.rules.entries import AuthorityEntry, Entry, RecordVoided
from meter.rules.kinds.kind import contract_subjects
from meter.rules.kinds.table import BY_ENTRY
from meter.rules.state import State


def subjects_of(state: State, entry: Entry) -> set[str]:
    """Return the subjects of an entry; `state` knows the contracts and keys that it names."""
    return {
        f"kind:{entry.kind}",
        *subjects_of_person(entry),
        *BY_ENTRY[type(entry)].subjects(state, entry),
        *subjects_of_contracts(state, _moved_contracts(state, entry)),
    }


def subjects_of_person(entry: Entry) -> Iterator[str]:
    """Yield the person who made an entry, if one did."""
    if isinstance(entry, AuthorityEntry | RecordVoided) and entry.person:
        yield f"person:{entry.person}"


def subjects_of_contracts(state: State, contracts: Iterable[str]) -> set[str]:
    """Return the subjects of some contracts: themselves and their parties."""
    return {subject for name in contracts for subject in contract_subjects(state, name)}


def _moved_contracts(state: State, entry: Entry) -> Iterator[str]:
    """Yield the contracts whose grants or cost an entry moves; rule R may move several.

    Their accounts are `accrued:<contract>:<year>` and `due:<contract>`. An award's money is moved
    by entries that name it.
    """
    for source, target, _ in entry.postings:
        for account in (source, target):
            kind, _, rest = account.partition(":")
            name = rest.partition(":")[0]
            if kind in ("accrued", "due") and name in state.contracts:
                yield name
