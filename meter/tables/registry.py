"""What is registered, as of the last commit: the one source from which queries are answered.

The sequencer's own state runs ahead of the database while a group is decided, and is thrown away
where the commit fails. So no query reads it. The registry grows by committed rows alone: the leader
hands over the rows of each commit (`take`), and a query whose snapshot is newer fetches what is
missing (`at`). A query sees the registrations of its own snapshot, whose size is its `as_of`; those
of later entries are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ledger import canon
from ledger.queries import load
from meter.rules.claim_book import Claim
from meter.rules.contract_terms import ContractTerms
from meter.rules.entries import ContractAmended
from meter.rules.evolve import register
from meter.rules.kinds.table import read_entry
from meter.rules.people import AuthorityToken, Person, Proposal
from meter.rules.state import (
    Award,
    Contract,
    EnlistedBatch,
    Enterprise,
    Key,
    Project,
    Provider,
    State,
    signing,
)
from meter.tables.connections import Connection
from meter.values.policy import Policy

_SQL: Final = load("meter.tables")

Held = TypeVar(
    "Held", Award, Contract, Enterprise, Key, Project, Provider, Proposal, AuthorityToken
)


@dataclass(frozen=True, slots=True)
class ActivePolicy:
    """A policy, the number of the entry that put it in force, and the text of its file."""

    entry: int
    policy: Policy
    content: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What the first `size` entries register.

    `state` may know more: what an entry of the snapshot names is looked up there, and what changes
    is asked for with the size.
    """

    state: State
    size: int

    def contract(self, name: str) -> Contract | None:
        """Return a contract that is registered by now."""
        return self._known(self.state.contracts.get(name))

    def enterprise(self, uscc: str) -> Enterprise | None:
        """Return an enterprise that is registered by now."""
        return self._known(self.state.enterprises.get(uscc))

    def provider(self, name: str) -> Provider | None:
        """Return a provider that is registered by now."""
        return self._known(self.state.providers.get(name))

    def key(self, keyid: str) -> Key | None:
        """Return a provider's key that is registered by now."""
        return self._known(self.state.keys.get(keyid))

    def claim(self, name: str) -> Claim | None:
        """Return a claim as it stands by now."""
        return self.state.claims.claim(name, self.size)

    def claims(self) -> list[Claim]:
        """Return all claims as they stand by now, in the order of their entries."""
        found = (self.claim(name) for name in self.state.claims.claims)
        return [claim for claim in found if claim is not None]

    def award(self, name: str) -> Award | None:
        """Return an award that is made by now."""
        return self._known(self.state.awards.get(name))

    def awards(self) -> list[Award]:
        """Return all awards in the order of their entries."""
        return self._all(self.state.awards.values())

    def project(self, name: str) -> Project | None:
        """Return a project that is registered by now."""
        return self._known(self.state.projects.get(name))

    def projects(self) -> list[Project]:
        """Return all projects in the order of their entries."""
        return self._all(self.state.projects.values())

    def contracts(self) -> list[Contract]:
        """Return all contracts in the order of their entries."""
        return self._all(self.state.contracts.values())

    def enterprises(self) -> list[Enterprise]:
        """Return all enterprises in the order of their entries."""
        return self._all(self.state.enterprises.values())

    def providers(self) -> list[Provider]:
        """Return all providers in the order of their entries."""
        return self._all(self.state.providers.values())

    def terms(self, contract: Contract) -> ContractTerms | Contract:
        """Return the terms of a contract as they are by now."""
        return self.state.terms_at(contract, self.size)

    def amendments_of(self, contract: Contract) -> list[ContractAmended]:
        """Return the amendments of a contract by now, in the order of their entries."""
        return [entry for number, entry in contract.amendments if number < self.size]

    def contracts_of(self, enterprise: Enterprise) -> list[Contract]:
        """Return an enterprise's contracts of all programmes in the order of their entries."""
        own = [each for held in enterprise.contracts.values() for each in held]
        found = {each.entry: each for each in self._all([*own, *enterprise.left])}
        uscc = enterprise.registered.uscc
        held = (found[number] for number in sorted(found))
        return [each for each in held if each.enterprise_at(self.size) == uscc]

    def successor(self, enterprise: Enterprise) -> str:
        """Return the USCC of an enterprise's own successor, empty while it has none."""
        number, entry = enterprise.succession or (self.size, None)
        return "" if entry is None or number >= self.size else entry.successor

    def succeeded(self, enterprise: Enterprise) -> list[str]:
        """Return the USCCs of those whose place an enterprise took itself, in order."""
        held = ((uscc, self.state.enterprises[uscc]) for uscc in enterprise.succeeded)
        return [uscc for uscc, each in held if self.successor(each)]

    def keys_of(self, provider: Provider) -> dict[str, bool]:
        """Return the ids of a provider's keys, each with whether it is revoked."""
        return {
            keyid: key.revoked is not None and key.revoked < self.size
            for keyid, key in self.state.keys.items()
            if key.entry < self.size and key.registered.provider == provider.registered.id
        }

    def enlistments_of(self, provider: Provider) -> dict[str, EnlistedBatch]:
        """Return a provider's enlistments by the name of their batch."""
        return provider.enlistments_at(self.size)

    def is_frozen(self, contract: Contract) -> bool:
        """Return whether new records of a contract are refused."""
        return contract.frozen_at(self.size)

    def policy_of(self, programme: str, year: int) -> Policy | None:
        """Return the newest policy of a programme that touches a year."""
        return self.state.policy_of(programme, year, self.size)

    def policies(self) -> list[ActivePolicy]:
        """Return all policies in the order of their entries."""
        found = (
            ActivePolicy(number, self.state.policies[programme][version], str(entry.content))
            for (programme, version), (number, entry) in self.state.policy_entries.items()
            if number < self.size
        )
        return sorted(found, key=lambda each: each.entry)

    def proposals(self) -> list[Proposal]:
        """Return all proposals in the order of their entries."""
        return self._all(self.state.people.proposals.values())

    def person_of_token(self, token_id: str) -> str:
        """Return whose token it is, if the ledger names it by now; else an empty text."""
        token = self._known(self.state.people.tokens.get(token_id))
        return "" if token is None else token.person

    def persons(self) -> list[tuple[str, Person]]:
        """Return all persons by id, in the order of their entries."""
        people = self.state.people.persons.items()
        return [(name, person) for name, person in people if person.entry < self.size]

    def ended(self, held: Person | AuthorityToken) -> int | None:
        """Return the entry that has ended a person or token by now."""
        return held.ended if held.ended is not None and held.ended < self.size else None

    def tokens_of(self, person: str) -> list[str]:
        """Return the tokens of a person that have not ended by now."""
        return [
            name
            for name, token in self.state.people.tokens.items()
            if token.person == person and self._known(token) and self.ended(token) is None
        ]

    def log_keys(self) -> list[str]:
        """Return the vkeys that sign checkpoints, the oldest first."""
        return list(signing(self.state.log_keys, self.size))

    def receipt_key(self) -> tuple[str, str]:
        """Return id and base64 of the newest key that signs receipts."""
        keyid, key = list(signing(self.state.receipt_keys, self.size).items())[-1]
        return keyid, key.public_key

    def _known(self, held: Held | None) -> Held | None:
        return held if held is not None and held.entry < self.size else None

    def _all(self, held: Iterable[Held]) -> list[Held]:
        return [each for each in held if each.entry < self.size]


class Registry:
    """The registrations of committed entries. It only grows, and knows all below its size."""

    def __init__(self) -> None:
        self._state = State()
        self._size = 0
        self.newest = -1  # the number of the last registration that is known here

    @property
    def now(self) -> Registered:
        """The registrations as of the newest commit that is known here."""
        return Registered(self._state, self._size)

    def take(self, size: int, rows: Sequence[tuple[int, str, bytes]]) -> None:
        """Take the registrations of a commit: number, kind and bytes; `size` is that after it."""
        self._grow(size, ((number, data) for number, _, data in rows))

    async def at(self, connection: Connection, size: int) -> Registered:
        """Return what is registered at the size of a snapshot, which the connection sees."""
        if size > self._size:
            rows = await connection.fetch(_SQL["registrations_since"], self._size)
            self._grow(size, ((row["entry"], row["data"]) for row in rows))
        return Registered(self._state, size)

    def _grow(self, size: int, rows: Iterable[tuple[int, bytes]]) -> None:
        # Another query may have fetched the same rows meanwhile. Outside a snapshot a connection
        # also finds rows beyond the size, which a later commit will hand over.
        for number, data in rows:
            if self._size <= number < size:
                register(self._state, number, read_entry(canon.decode(data)))
                self.newest = number
        self._size = max(self._size, size)
