"""GET, for authority and auditor: who speaks for the authority, and what is proposed."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from meter.api.cursor import PageQuery, page_end, place
from meter.api.get_enterprise import page_by_entry
from meter.api.responses import (
    PersonPage,
    PersonView,
    ProposalPage,
    ProposalStatus,
    ProposalView,
)
from meter.api.routes import Ask, Route
from meter.rules.people import Person, Proposal
from meter.tables import pages
from meter.tables.pages import Closed
from meter.tables.registry import Registered
from meter.values.roles import OFFICIALS
from meter.values.units import format_moment

MAX_PROPOSALS_READ: Final = 1_000  # for a page, however few of them have the status
MAX_BODIES_BYTES: Final = 1_000_000  # of a page's proposals: a policy file has up to 256 KiB


class ProposalsQuery(PageQuery, frozen=True):
    """A page of proposals: of one status."""

    status: ProposalStatus | UnsetType = UNSET


async def get_persons(ask: Ask) -> PersonPage:
    """All persons, also those who have ended."""
    # Entry 0 names several, so a place is no entry, but how many were shown.
    (shown,) = place(ask, (0,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
    rest = known.persons()[shown:]
    page = rest[: ask.query.limit]
    return PersonPage(
        persons=[_person(known, *each) for each in page],
        **page_end(ask, head, (shown + len(page),), more=len(rest) > len(page)),
    )


async def get_proposals(ask: Ask) -> ProposalPage:
    """Proposals, and what became of them."""
    query: ProposalsQuery = ask.query
    (after,) = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        rest = page_by_entry(known.proposals(), (after,), MAX_PROPOSALS_READ)
        numbers = [each.entry for each in rest.items]
        closed = await pages.closed_proposals(connection, numbers)
    now = max(ask.context.clock.counted(), head.last_at)
    found: list[Proposal] = []
    size, read = 0, after
    for each in rest.items:
        if len(found) == query.limit or size > MAX_BODIES_BYTES:
            break
        read = each.entry
        if query.status in (UNSET, _status(known, each, closed.get(each.entry), now)):
            found.append(each)
            size += len(msgspec.json.encode(each.made.body))
    more = rest.more or read != max([after, *numbers])
    return ProposalPage(
        proposals=[_proposal(known, each, closed.get(each.entry), now) for each in found],
        **page_end(ask, head, (read,), more=more),
    )


def _person(known: Registered, name: str, person: Person) -> PersonView:
    ended = known.ended(person)
    return PersonView(
        id=name,
        entry=person.entry,
        tokens=known.tokens_of(name),
        ended=UNSET if ended is None else ended,
    )


def _proposal(
    known: Registered, proposal: Proposal, closed: Closed | None, now: int
) -> ProposalView:
    made = proposal.made
    return ProposalView(
        entry=proposal.entry,
        time=format_moment(made.at),
        until=format_moment(proposal.until),
        person=made.person,
        command=made.command,
        body=made.body,
        reason="" if made.reason is UNSET else made.reason,
        status=_status(known, proposal, closed, now),
        closed=UNSET if closed is None else closed.entry,
    )


def _status(
    known: Registered, proposal: Proposal, closed: Closed | None, now: int
) -> ProposalStatus:
    if closed is not None:
        return "confirmed" if closed.is_confirmed else "ended"
    if known.ended(known.state.people.persons[proposal.made.person]) is not None:
        return "ended"
    return "expired" if now >= proposal.until else "open"


ROUTES: Final = [
    Route(
        "GET",
        "/v1/persons",
        get_persons,
        "Persons who speak for the authority, and their tokens",
        PersonPage,
        roles=OFFICIALS,
        query=PageQuery,
    ),
    Route(
        "GET",
        "/v1/proposals",
        get_proposals,
        "Commands that were proposed, and what became of them",
        ProposalPage,
        roles=OFFICIALS,
        query=ProposalsQuery,
    ),
]
