"""Two persons: which commands need them, and how one confirms what another proposed.

A person of the authority gives a command alone where entry 0 lists its kind in `alone`, a contract
up to `contract_limit`, a project without its audited investment. Any other command is proposed by
one person and confirmed by another, and decided on the state of then; its entry names the proposal.
An operator's offline command needs nobody, which its entry shows;
nor does what the service does by itself. In a trial ledger (`one_person`)
one person does all.
"""

from typing import Final

import msgspec
from msgspec import UNSET

from meter.rules.commands import (
    Asked,
    Command,
    ConfirmProposal,
    DigestAccesses,
    DigestState,
    Propose,
    RecoverPerson,
    RegisterContract,
    RegisterProject,
)
from meter.rules.entries import Entry, Genesis, ProposalEnded, ProposalMade
from meter.rules.kinds.access_digests import SERVICE
from meter.rules.kinds.kind import Stamp, check_another_person
from meter.rules.kinds.people import FEWEST_PERSONS
from meter.rules.kinds.proposals import PROPOSAL, PROPOSAL_END, known_proposal, open_proposal
from meter.rules.kinds.table import BY_COMMAND, KINDS, command_of
from meter.rules.people import Proposal
from meter.rules.state import State
from meter.values.origin import is_trial
from meter.values.problems import Problem
from meter.values.strict import Number, decode, is_id
from meter.values.text import folded

ALONE: Final = sorted(kind.name for kind in KINDS if kind.command and kind.persons == 1)
# By the name of its kind: what can be proposed.
PROPOSABLE: Final = {
    kind.name: kind
    for kind in KINDS
    if kind.command and kind.persons and kind not in (PROPOSAL, PROPOSAL_END)
}


def command_asked_for(state: State, asked: Asked) -> Command:
    """Return a command, or the one of the proposal that is to be confirmed. Raises `Problem`."""
    if not isinstance(asked, ConfirmProposal):
        return asked
    return proposed_command(known_proposal(state, asked.proposal).made)


def asked_by(entry: Entry) -> Asked:
    """Return what was asked for when an authority's entry was made. Raises `ValueError`."""
    proposal = getattr(entry, "proposal", UNSET)
    if proposal is UNSET or isinstance(entry, ProposalEnded):
        return command_of(entry)
    return ConfirmProposal(proposal=Number(proposal))


def proposed_command(proposal: Propose | ProposalMade) -> Command:
    """Return the command that a proposal holds. Raises `Problem` `malformed`."""
    kind = PROPOSABLE.get(proposal.command)
    if kind is None:
        raise Problem("malformed", f"no command {proposal.command!r:.80}: {', '.join(PROPOSABLE)}")
    assert kind.command is not None, "it can be proposed"
    try:
        command: Command = decode(msgspec.json.encode(proposal.body), kind.command)
    except (ValueError, RecursionError) as error:
        raise Problem("malformed", f"the body of {proposal.command}: {error}") from None
    return command


def acting_person(state: State, command: Command, stamp: Stamp) -> str:
    """Return the person of a command's token; none where a firm or the service gives it.

    Raises `unauthorized`.
    """
    if isinstance(command, DigestAccesses | DigestState):
        if stamp.by != SERVICE:
            raise Problem("unauthorized", "the service alone makes it")
        return ""
    if isinstance(command, RecoverPerson):
        if stamp.by != command.token:
            raise Problem("unauthorized", "its token is the one that it makes")
        return command.id
    person = state.people.person_of(stamp.by)
    if person is not None:
        return person
    if BY_COMMAND[type(command)].firm is None or stamp.by in state.people.tokens:
        raise Problem("unauthorized", "no such token, or it is no longer valid")
    return ""


def check_persons(state: State, asked: Asked, person: str, stamp: Stamp) -> Proposal | None:
    """Return the proposal that is confirmed, if one is. Raises `Problem`.

    `two_persons_needed`, `same_person`, `unknown_proposal`, `proposal_closed`, `malformed`.
    """
    genesis = state.genesis
    assert genesis is not None, "entry 0 comes first"
    if isinstance(asked, ConfirmProposal):
        proposal = open_proposal(state, asked.proposal, stamp.at)
        check_another_person(state, stamp, proposal.made.person)
        return proposal
    if isinstance(asked, Propose):
        proposed_command(asked)
    if person and needs_two(genesis, asked):
        name = BY_COMMAND[type(asked)].name
        raise Problem("two_persons_needed", f"propose it: POST /v1/proposals, command {name!r}")
    return None


def needs_two(genesis: Genesis, command: Command) -> bool:
    """Return whether a command needs two persons."""
    kind = BY_COMMAND[type(command)]
    if genesis.one_person or not kind.persons:
        return False
    if isinstance(command, RegisterContract) and command.amount > genesis.contract_limit:
        return True
    if isinstance(command, RegisterProject) and command.audited_investment is not UNSET:
        return True
    return kind.name not in genesis.alone


def check_genesis(entry: Genesis) -> None:
    """Raise `Problem` for persons or commands that entry 0 cannot name so."""
    ids = [first.id for first in entry.persons]
    tokens = [first.token for first in entry.persons]
    if not all(map(is_id, ids + tokens)):
        raise Problem("malformed", "a person or a token has no id")
    for what, names in (("persons", ids), ("tokens", tokens)):
        if len(set(map(folded, names))) != len(names):
            raise Problem("looks_alike", f"two {what} have ids that people could mix up")
    if entry.one_person and not is_trial(entry.origin):
        raise Problem("two_persons_needed", f"one person alone cannot run {entry.origin}")
    if len(ids) != 1 if entry.one_person else len(ids) < FEWEST_PERSONS:
        raise Problem("last_person", f"{len(ids)} persons are named")
    if entry.alone != sorted(set(entry.alone) & set(ALONE)) or entry.contract_limit < 0:
        raise Problem("two_persons_needed", f"one person alone gives {', '.join(entry.alone)}")
    if (entry.by, entry.person) != (tokens[0], ids[0]):
        raise Problem("unauthorized", "the first person's token makes entry 0")
