"""Proposals: commands that wait for another person.

`rules/two_persons.py` reads the command in one and decides who may confirm it. A confirmation is no
entry of its own: the command's entry names the proposal, and so closes it.
"""

from typing import Any, Final

from ledger.canon import encode
from meter.rules.commands import EndProposal, Propose
from meter.rules.entries import ProposalEnded, ProposalMade
from meter.rules.kinds.kind import NOTHING_MORE, Judged, Kind, Stamp
from meter.rules.people import Proposal
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import format_moment

MAX_BODY_BYTES: Final = 64_000  # of the 65,535 of an entry


def _judge_proposal(_state: State, command: Propose, _stamp: Stamp) -> Judged:
    """Take any command that can be read: it is judged when it is confirmed."""
    if len(encode(command.body)) > MAX_BODY_BYTES:
        raise Problem("too_large", f"a body of more than {MAX_BODY_BYTES} bytes fits in no entry")
    return NOTHING_MORE


def _apply_proposal(state: State, number: int, entry: ProposalMade) -> None:
    state.people.proposals[number] = Proposal(number, entry)


def _response(state: State, _entry: ProposalMade) -> dict[str, Any]:
    """Return until when it can be confirmed; `state` has just applied the entry."""
    return {"until": format_moment(state.people.proposals[state.size - 1].until)}


def _judge_end(state: State, command: EndProposal, stamp: Stamp) -> Judged:
    proposal = open_proposal(state, command.proposal, stamp.at)
    if proposal.made.person != state.people.person_of(stamp.by):
        raise Problem("not_its_maker", f"{proposal.made.person} proposed it")
    return NOTHING_MORE


def _apply_end(_state: State, _number: int, _entry: ProposalEnded) -> None:
    """Change nothing: each entry that names a proposal closes it."""


def known_proposal(state: State, number: int) -> Proposal:
    """Return a proposal. Raises `Problem` `unknown_proposal`."""
    proposal = state.people.proposals.get(number)
    if proposal is None:
        raise Problem("unknown_proposal", f"entry {number} is no proposal")
    return proposal


def open_proposal(state: State, number: int, now: int) -> Proposal:
    """Return a proposal that can be confirmed. Raises `unknown_proposal`, `proposal_closed`."""
    proposal = known_proposal(state, number)
    if proposal.closed is not None:
        raise Problem("proposal_closed", f"by entry {proposal.closed}", entry=proposal.closed)
    maker = state.people.persons[proposal.made.person]
    if maker.ended is not None:
        detail = f"with {proposal.made.person}, who made it, by entry {maker.ended}"
        raise Problem("proposal_closed", detail, entry=maker.ended)
    if now >= proposal.until:
        raise Problem("proposal_closed", f"it was open until {format_moment(proposal.until)}")
    return proposal


PROPOSAL: Kind[ProposalMade, Propose] = Kind(
    entry=ProposalMade,
    command=Propose,
    judge=_judge_proposal,
    apply=_apply_proposal,
    response=_response,
    rows="registration",
    codes=("too_large",),
    persons=1,
)
PROPOSAL_END: Kind[ProposalEnded, EndProposal] = Kind(
    entry=ProposalEnded,
    command=EndProposal,
    judge=_judge_end,
    apply=_apply_end,
    rows="registration",
    codes=("unknown_proposal", "proposal_closed", "not_its_maker"),
    persons=1,
)
