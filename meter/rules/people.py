"""Who speaks for the authority: persons, their tokens, and what one proposes to another.

Values and look-ups only. `rules/kinds/people.py` and `rules/kinds/proposals.py` change them,
`rules/two_persons.py` decides by them.
"""

from dataclasses import dataclass, field
from typing import Final

from meter.rules.entries import ProposalMade
from meter.values.units import DAY_SECONDS, MICROSECONDS

PROPOSAL_DAYS: Final = 30
_PROPOSAL_MICROSECONDS: Final = PROPOSAL_DAYS * DAY_SECONDS * MICROSECONDS


@dataclass
class Person:
    """A person, and the numbers of the entries that name and end the person."""

    entry: int
    ended: int | None = None


@dataclass
class AuthorityToken:
    """A token of the authority and its person; `ended` is the number of the entry that ends it."""

    entry: int
    person: str
    ended: int | None = None


@dataclass
class Proposal:
    """A proposal; `closed` is the number of the entry that confirms or ends it."""

    entry: int
    made: ProposalMade
    closed: int | None = None

    @property
    def until(self) -> int:
        """The instant (microseconds) from which it cannot be confirmed."""
        return self.made.at + _PROPOSAL_MICROSECONDS


@dataclass
class People:
    """All persons and tokens by id, and all proposals by number."""

    persons: dict[str, Person] = field(default_factory=dict)
    tokens: dict[str, AuthorityToken] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)

    def person_of(self, token_id: str) -> str | None:
        """Return the person who acts with a token, if neither has ended."""
        token = self.tokens.get(token_id)
        if token is None or token.ended is not None:
            return None
        return None if self.persons[token.person].ended is not None else token.person

    def owner_of(self, token_id: str) -> str:
        """Return whose a token's idempotency keys are: its person's, else its own."""
        token = self.tokens.get(token_id)
        return f"token:{token_id}" if token is None else f"person:{token.person}"

    def active(self) -> list[str]:
        """Return the persons who have not ended, the oldest first."""
        return [name for name, person in self.persons.items() if person.ended is None]

    def tokens_of(self, person: str) -> list[str]:
        """Return the tokens of a person that have not ended, the oldest first."""
        return [
            name
            for name, token in self.tokens.items()
            if token.person == person and token.ended is None
        ]

    def close(self, proposal: int, number: int) -> None:
        """Note the entry that confirms or ends a proposal."""
        self.proposals[proposal].closed = number
