"""The authority's pages: what waits for it, a record under review, a proposal for another person.

A proposal shows who made it, why, and figures before and after it by now; it is confirmed by what
they were. The authority's other acts are in `acts.py`.
"""

from typing import Any, Final, get_args

import msgspec
from aiohttp import web
from msgspec import UNSET

from meter.api.cursor import Limit, PageQuery
from meter.api.day_responses import PoolForecast
from meter.api.get_claims import ClaimsQuery, get_claims
from meter.api.get_days import MoneyQuery
from meter.api.get_official import (
    CouponsQuery,
    PartiesQuery,
    get_coupons,
    get_enterprises,
    get_pools,
    get_providers,
    get_withheld,
)
from meter.api.get_own import get_enterprise, get_me, get_provider
from meter.api.get_people import ProposalsQuery, get_proposals
from meter.api.get_pool_forecast import get_pool_forecast
from meter.api.get_provider import get_streams
from meter.api.post import give
from meter.api.post_preview import previewed
from meter.api.preview_responses import PreviewView
from meter.api.responses import MadeEntry, PoolView, ProposalStatus, ProposalView, WithheldView
from meter.api.routes import Ask, answer, answers
from meter.console import act_view, acts, form, page
from meter.console import authority_view as view
from meter.console.act_forms import ACTS, values_of
from meter.console.entry_words import KINDS
from meter.console.formats import Language
from meter.console.words import spoken, words
from meter.host.sign_in import new_secret
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import MICROSECONDS, year_of

LISTED: Final = 10  # of each queue
SHOWN: Final = 50  # of a list
COUPONS: Final = 1_000  # that are compared
PROVIDERS: Final = 100  # that are looked at, with as many streams each
OPEN_CLAIMS: Final = ("entered", "checked", "noticed")


class ProposalsShown(ProposalsQuery, frozen=True, forbid_unknown_fields=False):
    """Which proposals are shown."""

    limit: Limit = SHOWN


async def show_overview(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what waits for the authority, and how its money stands."""
    now = ask.context.clock.counted()
    async with ask.at_once() as asked:
        queue = await answer(asked, get_withheld, PageQuery(limit=LISTED))
        proposals = await _open_proposals(asked)
        claims = [
            each
            for state in OPEN_CLAIMS
            for each in (
                await answer(asked, get_claims, ClaimsQuery(state=state, limit=LISTED))
            ).claims
        ]
        pools = await answer(asked, get_pools, PageQuery(limit=LISTED * 10))
        forecasts = [await _forecast(asked, each, now) for each in pools.pools]
        coupons = await answer(asked, get_coupons, CouponsQuery(limit=COUPONS))
        firms = await answer(asked, get_enterprises, PartiesQuery(limit=COUPONS))
        me = await answer(asked, get_me)
        providers = await answer(asked, get_providers, PartiesQuery(limit=PROVIDERS))
        streams = [
            (await answer(asked, get_streams, PageQuery(limit=PROVIDERS), provider=each.id)).streams
            for each in providers.providers
        ]
    return page.show(
        ask,
        "authority.html",
        language,
        queue=view.waiting(queue.withheld, now),
        queue_more=queue.more,
        proposals=proposals[:LISTED],
        proposals_more=len(proposals) > LISTED,
        kinds=_kinds(language),
        firms={each.uscc: each.name for each in firms.enterprises},
        centres={each.id: each.name for each in providers.providers},
        titles=view.titles(me.programmes, language),
        claims=claims,
        pools=view.pool_lines(pools.pools, forecasts, language),
        soonest=view.soonest(filter(None, forecasts), language, LISTED),
        coupons=view.scarcest(coupons.coupons, LISTED),
        largest=view.largest(coupons.coupons, LISTED),
        coupons_more=coupons.more,
        troubled=view.troubled(zip(providers.providers, streams, strict=True), now),
        as_of=queue.as_of,
    )


async def _open_proposals(ask: Ask) -> list[ProposalView]:
    """Return the proposals that wait, a few more than are listed; a page of them can be short."""
    waiting: list[ProposalView] = []
    async for found in answers(ask, get_proposals, ProposalsQuery(status="open")):
        waiting += found.proposals
        if len(waiting) > LISTED:
            break
    return waiting


def _kinds(language: Language) -> dict[str, str]:
    """Return what kinds of entries, and so their commands, are called."""
    return {name: getattr(text, language) for name, text in KINDS.items()}


async def show_proposals(ask: Ask, language: Language) -> web.StreamResponse:
    """List the proposals, or those of a status."""
    found = await answer(ask, get_proposals, ask.query)
    status = "" if ask.query.status is UNSET else ask.query.status
    return page.show(
        ask,
        "proposals.html",
        language,
        page=found,
        status=status,
        statuses=("", *get_args(ProposalStatus)),
        kinds=_kinds(language),
    )


async def _forecast(ask: Ask, pool: PoolView, now: int) -> PoolForecast | None:
    """Return the forecast of a pool of this year."""
    if pool.year != year_of(now // MICROSECONDS):
        return None
    found: PoolForecast = await answer(
        ask, get_pool_forecast, MoneyQuery(programme=pool.programme, year=pool.year)
    )
    return found


async def show_review(ask: Ask, language: Language) -> web.StreamResponse:
    """Show a record that waits for a reviewer; what is done with it is an act."""
    async with ask.at_once() as asked:
        record = await _record(asked, ask.path("withheld"))
        centre = await answer(asked, get_provider, provider=record.provider)
        firm = (await answer(asked, get_enterprise, uscc=record.enterprise)).enterprise
    return page.show(ask, "review.html", language, record=record, centre=centre, firm=firm)


def _made(body: bytes) -> MadeEntry:
    return msgspec.json.decode(body, type=MadeEntry)


def _key(ask: Ask) -> str:
    return str(ask.form.get("key", ""))


async def _record(ask: Ask, number: str) -> WithheldView:
    """Return a record of the queue by the number of its entry. Raises `not_found`."""
    async for queue in answers(ask, get_withheld, PageQuery(limit=1_000)):
        for each in queue.withheld:
            if str(each.entry) == number:
                return each  # type: ignore[no-any-return]
    raise Problem("not_found", f"no record of entry {number} waits for a reviewer")


async def show_proposal(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what is proposed, by whom and why, and what it would change by now."""
    return page.show(ask, "proposal.html", language, **await _proposed(ask, language))


async def send_proposal(ask: Ask, language: Language) -> web.StreamResponse:
    """Confirm a proposal as another person, or end one's own."""
    found = await _proposed(ask, language)
    act = ask.form.get("act", "")
    if act not in ("confirm", "end"):
        raise Problem("malformed", "act is confirm or end")
    if ask.form.get(form.SEAL) != found["seal"]:
        before = await acts.booked(ask)
        if before is not None:  # by the first of two clicks
            return page.see_other(f"/{language}/entries/{before}")
        stale = found | {"stale": True}
        return page.show_again(ask, "proposal.html", language, 409, **stale)
    path, names = f"/v1/proposals/{{proposal}}/{act}", {"proposal": ask.path("proposal")}
    try:
        response = await give(ask, path, {}, _key(ask), **names)
    except Problem as problem:
        refusal = getattr(spoken(language), f"refusal_{problem.code}", "")
        fault = f"{refusal} {page.told(problem.detail, language)}"
        refused = found | {"fault": fault.strip(), "code": problem.code}
        return page.show_again(ask, "proposal.html", language, problem.status, **refused)
    return page.see_other(f"/{language}/entries/{_made(response.body).entry}")


async def _proposed(ask: Ask, language: Language) -> dict[str, Any]:
    """Return what the page of a proposal shows. Raises `not_found`."""
    proposal, said = await _proposal(ask), words(language)
    act = ACTS.get(proposal.command)
    held = {} if act is None else values_of(act, proposal.body)
    now: PreviewView | None = None
    refusal: Problem | None = None
    if proposal.status == "open":
        try:
            now = await previewed(ask, proposal.command, proposal.body)
        except Problem as problem:
            refusal = problem
    names = {} if act is None else await acts.names(ask, act, proposal.body)
    figures = "" if now is None else acts.seal_of(now, proposal.body)
    return {
        "proposal": proposal,
        "title": _kinds(language)[proposal.command],
        "facts": [] if act is None else act_view.facts(act, held, names, said, language),
        "act": act,
        "now": now,
        "figures": [] if now is None else act_view.figure_lines(now.figures, said),
        "refusal": refusal,
        "seal": form.seal(str(proposal.entry), proposal.status, figures),
        "key": _key(ask) or new_secret(),
        "stale": False,
        "fault": "",
        "code": "",
    }


async def _proposal(ask: Ask) -> ProposalView:
    """Return a proposal by its number. Raises `not_found`."""
    number = ask.path("proposal")
    async for found in answers(ask, get_proposals, ProposalsQuery(limit=1_000)):
        for each in found.proposals:
            if str(each.entry) == number:
                return each  # type: ignore[no-any-return]
    raise Problem("not_found", f"no proposal {number}")


_ACTS_OF: Final = ("authority",)
_CODES: Final = ("same_person", "two_persons_needed", "proposal_closed")
ROUTES: Final = (
    *page.pages("authority", show_overview, OFFICIALS),
    *page.pages("review/{withheld}", show_review, OFFICIALS),
    *page.pages("proposals", show_proposals, OFFICIALS, ProposalsShown),
    *page.pages("proposals/{proposal}", show_proposal, OFFICIALS),
    *page.forms("proposals/{proposal}", send_proposal, _ACTS_OF, codes=_CODES),
)
