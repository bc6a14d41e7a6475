"""Whom an entry concerns: the subjects under which it is found again.

    contract:TC-2025-0001             what is said of a contract, and what moves its money
    enterprise:91440300708461136T     the enterprise itself, its contracts and its coupons
    provider:pcl                      the provider itself, its keys, batches and contracts
    kind:void                         entries of one kind

An index tells which *segments* mention a subject; whoever reads one asks `subjects_of` about each
entry of it. So the index may name too many segments, but never too few.
"""

from collections.abc import Iterable, Iterator

from meter.rules.entries import (
    BatchAccepted,
    ContractFrozen,
    ContractRegistered,
    ContractUnfrozen,
    CouponIssued,
    CouponWithdrawn,
    EnterpriseRegistered,
    Entry,
    KeyRegistered,
    KeyRevoked,
    ProviderEnlisted,
    ProviderRegistered,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.state import State


def subjects_of(state: State, entry: Entry) -> set[str]:
    """Name all that an entry concerns; `state` knows the contracts and keys that it names."""
    found = {f"kind:{entry.kind}", *subjects_of_contracts(state, _moved_contracts(entry))}
    match entry:
        case (
            UsageAccepted()
            | RecordVoided()
            | RecordReleased()
            | ContractFrozen()
            | ContractUnfrozen()
        ):
            found |= subjects_of_contracts(state, [entry.contract])
        case ContractRegistered():
            found |= _parties(entry)
        case EnterpriseRegistered():
            found.add(f"enterprise:{entry.uscc}")
        case CouponIssued() | CouponWithdrawn():
            found.add(f"enterprise:{entry.enterprise}")
        case ProviderRegistered():
            found.add(f"provider:{entry.id}")
        case BatchAccepted() | ProviderEnlisted() | KeyRegistered():
            found.add(f"provider:{entry.provider}")
        case KeyRevoked():
            found.add(f"provider:{state.keys[entry.keyid].registered.provider}")
        case _:
            pass  # the genesis and policies concern all alike
    return found


def subjects_of_contracts(state: State, contracts: Iterable[str]) -> set[str]:
    """Name some contracts and their parties."""
    return {
        subject
        for contract in contracts
        for subject in _parties(state.contracts[contract].registered)
    }


def _parties(terms: ContractRegistered) -> set[str]:
    return {
        f"contract:{terms.id}",
        f"enterprise:{terms.enterprise}",
        f"provider:{terms.provider}",
    }


def _moved_contracts(entry: Entry) -> Iterator[str]:
    """Give the contracts whose grants or cost an entry moves: rule R may take from one for another.

    Their accounts are `accrued:<contract>:<year>` and `due:<contract>`.
    """
    for source, target, _ in entry.postings:
        for account in (source, target):
            kind, _, rest = account.partition(":")
            if kind in ("accrued", "due"):
                yield rest.partition(":")[0]
