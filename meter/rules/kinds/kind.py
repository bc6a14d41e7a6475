"""A kind of entry in one value: all that the service and the audit do with entries of that kind.

A `Kind` joins the entry's struct (`rules/entries.py`, the home of the bytes) and its command
(`rules/commands.py`, the home of the requests' bodies) with the functions beside it. The functions
are pure: `judge` reads the state and changes nothing, `apply` puts the entry into the state.

This file also holds what several kinds share: the stamp, the outcome of a judgement, small checks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET

from meter.rules.commands import Command, RegisterProvider
from meter.rules.entries import (
    ContractRegistered,
    EnterpriseRegistered,
    Entry,
    Posting,
    ProviderRegistered,
)
from meter.rules.state import Contract, Enterprise, Project, State
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.text import ALIKE, folded
from meter.values.units import MICROSECONDS, add_months, parse_date

E = TypeVar("E", bound=Entry)
C = TypeVar("C", bound=Command)


@dataclass(frozen=True, slots=True)
class Stamp:
    """How an authority's entry was made: microseconds, token id, idempotency key, random hex.

    `checkpoint` is the signed note of all entries before, where the entry retires a log key.
    """

    at: int
    by: str
    request: str
    salt: str
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class Existing:
    """The number of an entry that already holds what the command asks for."""

    entry: int


# The fields of an entry that its command does not hold, and its postings.
Judged = tuple[dict[str, Any], list[Posting]] | Existing
# The number and the entry that hold an id.
Holder = tuple[int, Entry]

# What the tables keep of an entry:
#   registration   the entry itself; the state is loaded from these
#   totals         only the sums that it changes
#   batch, usage, purchase, void, release, summary   rows of their own
Rows = Literal["registration", "totals", "batch", "usage", "purchase", "void", "release", "summary"]


def holds_nothing(_state: State, _command: Any) -> Holder | None:
    """Return None: the command registers no id."""
    return None


def adds_nothing(_state: State, _entry: Any) -> dict[str, Any]:
    """Return no field: the response is the number of the entry alone."""
    return {}


def nothing_follows(_state: State, _number: int, _entry: Any) -> Iterable[Entry]:
    """Return no entry: the entry stands alone."""
    return ()


def concerns_all(_state: State, _entry: Any) -> Iterable[str]:
    """Return no subject: the entry concerns all alike."""
    return ()


@dataclass(frozen=True)
class Kind(Generic[E, C]):
    """One kind of entry.

    - `judge(state, command, stamp)` returns fields and postings of the entry, or `Existing`; it
      raises `Problem` with one of `codes`. None for entries that no command makes.
    - `apply(state, number, entry)` puts the entry into the state. It raises `Diverged`.
    - `register(state, number, entry)` puts what it registers into a state whose totals are loaded
      from rows; None where that is what `apply` does.
    - `subjects(state, entry)` names whom the entry concerns (`rules/subjects.py`).
    - `following(state, number, entry)` yields the entries that follow from it and belong to the
      same decision, before anything else; each is applied before the next is asked for.
    - `rows` names what the tables keep of it.
    - `holder(state, command)` returns the entry that holds the id of the command, if there is one.
    - `response(state, entry)` returns the fields of the response beside the entry's number.
    - `names_record`: the command names a record, which must be loaded before the command is judged.
    - `changes_terms`: the command changes the terms of its `contract`, whose usage must be loaded
      before the command is judged.
    - `names_numbers`: the numbers of all streams must be loaded before the command is judged.
    - `moves_money`: the command needs an idempotency key.
    - `firm(state, command)` returns the USCC of the enterprise that may give the command too, with
      a token of its own; it raises `Problem`. None for a command of the authority alone.
    - `persons`: how many persons of the authority give the command; none where an operator does,
      offline, or the service itself. Entry 0 of a ledger lists the kinds that one person gives
      (`rules/two_persons.py`).
    """

    entry: type[E]
    apply: Callable[[State, int, E], None]
    rows: Rows
    register: Callable[[State, int, E], None] | None = None
    subjects: Callable[[State, E], Iterable[str]] = concerns_all
    following: Callable[[State, int, E], Iterable[Entry]] = nothing_follows
    command: type[C] | None = None
    judge: Callable[[State, C, Stamp], Judged] | None = None
    holder: Callable[[State, C], Holder | None] = holds_nothing
    response: Callable[[State, E], dict[str, Any]] = adds_nothing
    codes: tuple[str, ...] = ()
    names_record: bool = False
    changes_terms: bool = False
    names_numbers: bool = False
    moves_money: bool = False
    firm: Callable[[State, C], str] | None = None
    persons: Literal[0, 1, 2] = 2

    @property
    def name(self) -> str:
        """The text of the entry's field `kind`."""
        name: str = next(f.default for f in msgspec.structs.fields(self.entry) if f.name == "kind")
        return name


NOTHING_MORE: Final[Judged] = ({}, [])


def active_policy(state: State, programme: str) -> Policy:
    """Return the policy that is in force. Raises `Problem` `unknown_programme`."""
    policy = state.active.get(programme)
    if policy is None:
        raise Problem("unknown_programme", f"{programme} has no active policy")
    return policy


def known_enterprise(state: State, uscc: str) -> Enterprise:
    """Return an enterprise. Raises `Problem` `unknown_enterprise`."""
    enterprise = state.enterprises.get(uscc)
    if enterprise is None:
        raise Problem("unknown_enterprise", f"no enterprise {uscc}")
    return enterprise


def active_enterprise(state: State, uscc: str) -> Enterprise:
    """Return an enterprise without a successor. Raises `Problem`."""
    enterprise = known_enterprise(state, uscc)
    if enterprise.succession is not None:
        number, entry = enterprise.succession
        raise Problem("succeeded", f"{uscc} was succeeded by {entry.successor}", entry=number)
    return enterprise


def known_contract(state: State, name: str) -> Contract:
    """Return a contract. Raises `Problem` `unknown_contract`."""
    contract = state.contracts.get(name)
    if contract is None:
        raise Problem("unknown_contract", f"no contract {name}")
    return contract


def known_project(state: State, name: str) -> Project:
    """Return a project. Raises `Problem` `unknown_project`."""
    project = state.projects.get(name)
    if project is None:
        raise Problem("unknown_project", f"no project {name}")
    return project


def item_holder(state: State, name: str) -> Holder | None:
    """Return the entry that holds an id: contracts, awards and projects share one space of ids."""
    contract, award = state.contracts.get(name), state.awards.get(name)
    if contract is not None:
        return contract.entry, contract.registered
    if award is not None:
        return award.entry, award.made
    project = state.projects.get(name)
    return None if project is None else (project.entry, project.registered)


def serves(state: State, uscc: str, policy: Policy) -> bool:
    """Return whether an organisation is a provider under a programme.

    All that have devices are under each that funds device-time, others under those that they name.
    """
    name = state.provider_usccs.get(uscc)
    return name is not None and is_served(state.providers[name].registered, policy)


def is_served(provider: ProviderRegistered | RegisterProvider, policy: Policy) -> bool:
    """Return whether a provider has contracts under a programme."""
    if policy.meter == "device-time":
        return provider.serves is UNSET
    return provider.serves is not UNSET and policy.programme in provider.serves


def applied_programmes(state: State, uscc: str) -> set[str]:
    """Return the programmes under which an organisation has contracts, awards or coupons."""
    enterprise = state.enterprises.get(uscc)
    applied = set() if enterprise is None else set(enterprise.contracts)
    return applied | {programme for name, programme, _ in state.coupons if name == uscc}


def check_applicant(state: State, policy: Policy, enterprise: EnterpriseRegistered) -> None:
    """Raise `Problem` where a programme cannot fund an organisation."""
    if enterprise.applicant not in policy.applicants:
        known = ", ".join(sorted(policy.applicants))
        raise Problem("not_applicant", f"{policy.programme} funds {known}")
    for code in state.firm_of(enterprise.uscc):
        if serves(state, code, policy):
            name = state.provider_usccs[code]
            raise Problem("role_conflict", f"{code} is {name}, which serves the programme")


def is_startup(policy: Policy, enterprise: EnterpriseRegistered, day: str) -> bool:
    """Return whether an enterprise was a startup on a day."""
    startup_until = add_months(enterprise.founded_on, policy.startup_months)
    # Dates of one form compare as text.
    return enterprise.applicant == "enterprise" and day < startup_until


def class_on(policy: Policy, enterprise: EnterpriseRegistered, day: str) -> str | None:
    """Return the class that follows from the founding, or None where the policy derives none."""
    return policy.derived_class("startup" if is_startup(policy, enterprise, day) else "standard")


def check_spelling(state: State, what: str, id_: str) -> None:
    """Raise `Problem` `looks_alike` where people could take another id for this one."""
    known = state.spelled.get((what, folded(id_)))
    if known is not None and known != id_:
        raise Problem("looks_alike", f"{what} {known} {ALIKE}")


def note_spelling(state: State, what: str, id_: str) -> None:
    """Note how a registered id is spelled."""
    state.spelled[what, folded(id_)] = id_


def check_period(starts: str, ends: str) -> None:
    """Raise `Problem` `bad_dates` for an empty period."""
    if ends <= starts:
        detail = f"the period from {starts} until {ends} is empty"
        raise Problem("bad_dates", detail, field="until")


def check_not_in_future(field: str, day: str, stamp: Stamp) -> None:
    """Raise `Problem` `bad_dates` for a day that has not begun in Shanghai."""
    if parse_date(day) * MICROSECONDS > stamp.at:
        raise Problem("bad_dates", f"{field} lies in the future", field=field)


def check_another_person(state: State, stamp: Stamp, *others: str) -> None:
    """Raise `Problem` `same_person` where the one who acts is among others who acted before.

    In a trial ledger one person does all.
    """
    assert state.genesis is not None, "entry 0 comes first"
    person = state.people.person_of(stamp.by) or stamp.by
    if person in others and not state.genesis.one_person:
        raise Problem("same_person", f"{person} acted on it before: another person does this")


def check_names(field: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `Problem` `looks_alike` for a name that people could take for a known one."""
    spelled = {folded(each): each for each in known}
    for name in names:
        other = spelled.get(folded(name), name)
        if other != name:
            detail = f"{other} is known, and {name} {ALIKE}"
            raise Problem("looks_alike", detail, field=field)


def contract_subjects(state: State, name: str) -> set[str]:
    """Return the subjects of a contract: itself and its parties, earlier ones too."""
    contract = state.contracts[name]
    corrected = (entry.enterprise for _, entry in contract.amendments)
    earlier = {f"enterprise:{each}" for each in corrected if each is not UNSET}
    return parties_of(contract.registered) | earlier


def parties_of(terms: ContractRegistered) -> set[str]:
    """Return the subjects of a contract from its terms."""
    return {
        f"contract:{terms.id}",
        f"enterprise:{terms.enterprise}",
        f"provider:{terms.provider}",
    }
