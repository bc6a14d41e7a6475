"""GET, for every token: who it is, the policies, and its own enterprise or provider.

Officials also search: by an exact id, or by the beginning of a name.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct

from ledger import canon
from meter.api.cursor import PageQuery, page_fields, place
from meter.api.get_enterprise import page_by_entry
from meter.api.get_official import enterprise_view, provider_view
from meter.api.responses import (
    ClassView,
    EnterpriseDetail,
    FoundKind,
    FoundView,
    Me,
    Named,
    PolicyPage,
    PolicyView,
    ProgrammeView,
    ProviderView,
    SearchView,
    as_of,
)
from meter.api.routes import Ask, Route
from meter.host.tokens import Identity
from meter.tables import pages
from meter.tables.connections import Connection
from meter.tables.registry import ActivePolicy, Registered
from meter.values.policy import FundingClass
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_date, format_money

NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,14}")
MAX_FOUND: Final = 20  # of a search; who finds more writes more


class SearchQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What is searched for: an id, a USCC, a digest, a number, or the beginning of a name."""

    q: Annotated[str, Meta(min_length=1, max_length=200)]


async def get_me(ask: Ask) -> Me:
    """The role of the token, whose it is, and the programmes that concern it."""
    assert ask.who is not None, "the route is not public"
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
    return Me(
        token=ask.who.token_id,
        role=ask.who.role,
        subject=ask.who.subject or UNSET,
        person=known.person_of_token(ask.who.token_id) or UNSET,
        name=_name(known, ask.who) or UNSET,
        programmes=list(_programmes(known, _own_programmes(known, ask.who))),
        as_of=as_of(head.size, head.last_at),
    )


def _name(known: Registered, who: Identity) -> str:
    held = known.enterprise(who.subject) or known.provider(who.subject)
    return held.facts_at(known.size).name if held is not None else ""


def _own_programmes(known: Registered, who: Identity) -> set[str]:
    """Return the programmes under which a token's subject has something; of officials all."""
    if who.role == "enterprise":
        return _programmes_of_firm(known, who.subject)
    if who.role == "provider":
        contracts = (each.agreed for each in known.contracts())
        return {each.programme for each in contracts if each.provider == who.subject}
    return {each.policy.programme for each in known.policies()}


def _programmes_of_firm(known: Registered, uscc: str) -> set[str]:
    firm = known.state.firm_of(uscc)
    awards = (each.made for each in known.awards() if each.made.enterprise in firm)
    contracts = (each.agreed for each in known.contracts() if each.agreed.enterprise in firm)
    return {each.programme for each in contracts} | {each.programme for each in awards}


def _programmes(known: Registered, names: set[str]) -> Iterator[ProgrammeView]:
    """Yield programmes by name, each with the title of its newest version and all its years."""
    versions = [each.policy for each in known.policies()]
    for name in sorted(names):
        own = [policy for policy in versions if policy.programme == name]
        years = sorted({year for policy in own for year in policy.years})
        yield ProgrammeView(name, own[-1].title, own[-1].title_en, years)


async def get_policies(ask: Ask) -> PolicyPage:
    """The policies that were put in force."""
    after = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
    page = page_by_entry(known.policies(), after, ask.query.limit)
    return PolicyPage(
        policies=[_policy(each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry,), after),
    )


def _policy(active: ActivePolicy) -> PolicyView:
    policy = active.policy
    return PolicyView(
        entry=active.entry,
        programme=policy.programme,
        version=policy.version,
        title=policy.title,
        title_en=policy.title_en,
        meter=policy.meter,
        starts=format_date(policy.valid_from),
        ends=format_date(policy.valid_until),
        classes=[_class(each) for each in policy.classes.values()],
        cap=UNSET if policy.cap is None else format_money(policy.cap),
        pool=UNSET if policy.pool is None else format_money(policy.pool),
        pool_owner=policy.pool_owner,
        content=active.content,
    )


def _class(found: FundingClass) -> ClassView:
    return ClassView(
        name=found.name,
        title=found.title,
        title_en=found.title_en,
        ratio=UNSET if found.ratio_bp is None else found.ratio_bp,
        fixed=UNSET if found.fixed is None else format_money(found.fixed),
        cap=UNSET if found.cap is None else format_money(found.cap),
    )


async def get_enterprise(ask: Ask) -> EnterpriseDetail:
    """An enterprise, the providers of its contracts, and the programmes that it has a part in."""
    async with ask.reading() as connection:
        _, known = await ask.context.snapshot(connection)
    enterprise = known.enterprise(ask.path("uscc"))
    if enterprise is None:
        raise Problem("unknown_enterprise", f"no enterprise {ask.path('uscc')}")
    names = {each.registered.provider for each in known.contracts_of(enterprise)}
    providers = ((name, known.provider(name)) for name in sorted(names))
    return EnterpriseDetail(
        enterprise=enterprise_view(known, enterprise),
        providers=[Named(name, held.facts_at(known.size).name) for name, held in providers if held],
        programmes=list(_programmes(known, _programmes_of_firm(known, ask.path("uscc")))),
    )


async def get_provider(ask: Ask) -> ProviderView:
    """A provider with its enlistments and keys."""
    async with ask.reading() as connection:
        _, known = await ask.context.snapshot(connection)
    provider = known.provider(ask.path("provider"))
    if provider is None:
        raise Problem("unknown_provider", f"no provider {ask.path('provider')}")
    return provider_view(known, provider)


async def get_search(ask: Ask) -> SearchView:
    """What has an exact id, or a name that begins so."""
    asked = ask.query.q.strip()
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        found = [*_by_id(known, asked), *await _in_the_ledger(connection, known, asked)]
    found += _by_name(known, asked)
    return SearchView(
        found=found[:MAX_FOUND], more=len(found) > MAX_FOUND, as_of=as_of(head.size, head.last_at)
    )


def _by_id(known: Registered, asked: str) -> Iterator[FoundView]:
    """Yield what has this very id, or USCC."""
    enterprise, provider = known.enterprise(asked), known.provider(asked)
    if enterprise is not None:
        yield FoundView("enterprise", asked, enterprise.facts_at(known.size).name)
    if provider is not None:
        yield FoundView("provider", asked, provider.facts_at(known.size).name)
    for each in known.providers():
        if each.registered.uscc == asked:
            yield FoundView("provider", each.registered.id, each.facts_at(known.size).name)
    held: dict[FoundKind, object] = {
        "contract": known.contract(asked),
        "award": known.award(asked),
        "claim": known.claim(asked),
        "key": known.key(asked),
    }
    yield from (FoundView(kind, asked, "") for kind, thing in held.items() if thing is not None)
    project = known.project(asked)
    if project is not None:
        yield FoundView("project", asked, project.registered.title)
    if any(name == asked for name, _ in known.persons()):
        yield FoundView("person", asked, "")


async def _in_the_ledger(
    connection: Connection, known: Registered, asked: str
) -> Iterable[FoundView]:
    """Return the entry of this number, the batch of this digest, the records of this id."""
    found = []
    if NUMBER.fullmatch(asked) and int(asked) < known.size:
        found.append(FoundView("entry", asked, ""))
    async for _ in pages.entries_of_batch(connection, asked, -1):
        found.append(FoundView("batch", asked, ""))
        break
    providers = [each.registered.id for each in known.providers()]
    async for _, data in pages.entries_of_record(connection, asked, providers, -1):
        fields = canon.decode(data)
        if fields["kind"] == "usage":
            found.append(FoundView("record", asked, fields["provider"]))
    return found


def _by_name(known: Registered, asked: str) -> Iterator[FoundView]:
    """Yield the organisations whose name begins so, whatever the case of its letters."""
    begin = asked.casefold()
    for enterprise in known.enterprises():
        if enterprise.facts_at(known.size).name.casefold().startswith(begin):
            yield FoundView(
                "enterprise", enterprise.registered.uscc, enterprise.facts_at(known.size).name
            )
    for provider in known.providers():
        if provider.facts_at(known.size).name.casefold().startswith(begin):
            yield FoundView("provider", provider.registered.id, provider.facts_at(known.size).name)


_ALL: Final = (*OFFICIALS, "enterprise", "provider")
ROUTES: Final = [
    Route("GET", "/v1/me", get_me, "Who this token is", Me, roles=_ALL),
    Route(
        "GET",
        "/v1/policies",
        get_policies,
        "The policies that were put in force, with their files",
        PolicyPage,
        roles=_ALL,
        query=PageQuery,
    ),
    Route(
        "GET",
        "/v1/enterprises/{uscc}",
        get_enterprise,
        "An enterprise, the providers of its contracts, and its programmes",
        EnterpriseDetail,
        roles=(*OFFICIALS, "enterprise"),
        codes=("unknown_enterprise",),
    ),
    Route(
        "GET",
        "/v1/providers/{provider}",
        get_provider,
        "A provider with its enlistments and keys",
        ProviderView,
        roles=(*OFFICIALS, "provider"),
        codes=("unknown_provider",),
    ),
    Route(
        "GET",
        "/v1/search",
        get_search,
        "What has this id, or a name that begins so",
        SearchView,
        roles=OFFICIALS,
        query=SearchQuery,
    ),
]
