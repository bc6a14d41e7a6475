"""Whom an entry is told to, byte for byte.

Officials read all entries. An enterprise or a provider reads those about itself whose bytes hold
nothing that it may not know; `TOLD` says which kinds these are. What an entry's bytes would tell of
another firm is refused whatever its kind is.

    enterprise   not batches, whose salt is a secret of the provider; nor what concerns several
                 firms or officials: proposals, allocations, expiries, budgets
    provider     no entry that moves a contract's money, for it may name other contracts' grants
                 and the coupon; and no terms that name a project

What its own contract is entitled to and granted a provider is told elsewhere: by its receipts, by
the events of what others do to its records, and with the contract. All else tells it costs alone:
lists, months, statements, and the history of a contract.

An entry of the authority names the token and the person by ids, which name nobody.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, assert_never

from meter.rules.entries import (
    AnyEntry,
    EnterpriseAmended,
    EnterpriseRegistered,
    Entry,
    ProjectAudited,
    ProjectFunded,
)
from meter.rules.kinds.table import BY_ENTRY, BY_NAME
from meter.rules.state import State
from meter.views.events import Viewer, enterprises_of

Party = Literal["enterprise", "provider"]

_FIRM: Final[frozenset[Party]] = frozenset({"enterprise"})
_PROVIDER: Final[frozenset[Party]] = frozenset({"provider"})
_BOTH: Final = _FIRM | _PROVIDER
_OFFICIALS: Final[frozenset[Party]] = frozenset()

TOLD: Final[Mapping[str, frozenset[Party]]] = {
    # the ledger and its persons
    **dict.fromkeys(("genesis", "person", "person_end", "person_recovery"), _OFFICIALS),
    **dict.fromkeys(("token", "token_end", "proposal", "proposal_end"), _OFFICIALS),
    **dict.fromkeys(("log_key", "log_key_retirement"), _OFFICIALS),
    **dict.fromkeys(("receipt_key", "receipt_key_retirement"), _OFFICIALS),
    # programmes
    **dict.fromkeys(("policy", "budget", "allocation", "expiry", "year_closing"), _OFFICIALS),
    **dict.fromkeys(("project", "month_closing", "month_list"), _OFFICIALS),
    **dict.fromkeys(("access_digest", "state_digest"), _OFFICIALS),
    # providers
    **dict.fromkeys(("provider", "enlistment", "provider_amendment"), _PROVIDER),
    **dict.fromkeys(("key", "revocation", "batch", "summary"), _PROVIDER),
    # enterprises and contracts
    **dict.fromkeys(("enterprise", "enterprise_amendment", "succession"), _FIRM),
    **dict.fromkeys(("freeze", "unfreeze", "late_window"), _BOTH),
    **dict.fromkeys(("dispute", "dispute_dismissal"), _BOTH),
    "month_confirmation": _FIRM,
    **dict.fromkeys(("contract", "amendment", "contract_funds"), _FIRM),
    **dict.fromkeys(("usage", "purchase", "void", "release"), _FIRM),
    # money
    **dict.fromkeys(("issue", "allotment", "withdrawal"), _FIRM),
    **dict.fromkeys(("award", "award_change", "project_funds", "project_audit"), _FIRM),
    **dict.fromkeys(("claim", "claim_check", "claim_end", "approval", "notice"), _FIRM),
    **dict.fromkeys(("objection", "resolution", "claim_revocation"), _FIRM),
    **dict.fromkeys(("order", "payment", "payment_return"), _FIRM),
    **dict.fromkeys(("recovery", "red_invoice", "forfeit"), _FIRM),
}
if set(TOLD) != set(BY_NAME):
    raise TypeError(f"TOLD and KINDS differ: {set(TOLD) ^ set(BY_NAME)}")


def is_told(state: State, size: int, number: int, entry: AnyEntry, who: Viewer) -> bool:
    """Return whether a viewer may read an entry, by what the first `size` entries register."""
    match who.role:
        case "authority" | "auditor":
            return True
        case "provider":
            return "provider" in TOLD[entry.kind] and _is_providers(state, entry, who.subject)
        case "enterprise":
            return "enterprise" in TOLD[entry.kind] and _is_firms(state, size, number, entry, who)
        case unknown:
            assert_never(unknown)


def _is_providers(state: State, entry: AnyEntry, provider: str) -> bool:
    return f"provider:{provider}" in BY_ENTRY[type(entry)].subjects(state, entry)


def _is_firms(state: State, size: int, number: int, entry: AnyEntry, who: Viewer) -> bool:
    """Return whether an entry is about a firm, and about no other."""
    own = [state.last_successor(code, size) for code in _codes_of(state, number, entry)]
    named = {state.last_successor(code, size) for code in _codes_in(entry)}
    if isinstance(entry, ProjectFunded | ProjectAudited):  # it names none of them
        return who.subject in own
    return set(own) == {who.subject} >= named


def _codes_of(state: State, number: int, entry: AnyEntry) -> set[str]:
    if isinstance(entry, EnterpriseRegistered | EnterpriseAmended):
        return {entry.uscc}
    return enterprises_of(state, number, entry)


def _codes_in(entry: Entry) -> Iterator[str]:
    """Yield the enterprises that an entry's accounts name."""
    for posting in entry.postings:
        for account in posting[:2]:
            kind, _, rest = account.partition(":")
            if kind == "enterprise":
                yield rest
            elif kind == "coupon":
                yield rest.split(":")[2]
