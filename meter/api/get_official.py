"""GET, for authority and auditor: registrations, money, and records to review.

Registrations are listed in the order of their entries, so new ones come last.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from meter.api.cursor import PageQuery, page_end, page_fields, place
from meter.api.get_enterprise import contract_page, page_by_entry
from meter.api.one_size import BEGIN, one_size
from meter.api.past import CODES, PastQuery, shown_at_one_size
from meter.api.responses import (
    ContractPage,
    CouponPage,
    CouponView,
    EnlistmentView,
    EnterprisePage,
    EnterpriseView,
    EvidenceView,
    KeyView,
    PoolPage,
    PoolView,
    ProviderPage,
    ProviderView,
    SuspectPage,
    SuspectView,
    TokenPage,
    TokenView,
    WithheldPage,
    WithheldView,
)
from meter.api.routes import Ask, Handler, Route
from meter.host.tokens import ListedToken
from meter.rules.commands import ProgrammeName
from meter.rules.state import Contract, Enterprise, Provider
from meter.tables import balances, pages
from meter.tables.pages import Suspect, ToReview
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS, Role
from meter.values.strict import Id, Uscc, Year
from meter.values.units import (
    MICROSECONDS,
    format_date,
    format_hours,
    format_instant,
    format_moment,
    format_money,
)


class CouponsQuery(PastQuery, frozen=True):
    """A page of coupons: of one programme, or of one year."""

    programme: ProgrammeName | UnsetType = UNSET
    year: Year | UnsetType = UNSET


Sought = Annotated[str, Meta(max_length=200)]


class PartiesQuery(PageQuery, frozen=True):
    """A page of enterprises or providers: of those whose id, USCC or name begins so."""

    q: Sought = ""


class ContractsQuery(PastQuery, frozen=True):
    """A page of contracts: of one enterprise, with one provider, or whose id or number begins so.

    A USCC, or the beginning of an enterprise's name, finds that enterprise's.
    """

    enterprise: Uscc | UnsetType = UNSET
    provider: Id | UnsetType = UNSET
    q: Sought = ""


class TokensQuery(PageQuery, frozen=True):
    """Which tokens: those of one role."""

    role: Role | UnsetType = UNSET


async def get_pools(ask: Ask) -> PoolPage:
    """All pools."""
    programme, year, size = place(ask, ("", 0, BEGIN))
    async with ask.reading() as connection:
        head, _, past, size = await shown_at_one_size(ask, connection, size, ())
        after = programme, year
        page = await pages.pools(connection, after, ask.query.limit, past)
    return PoolPage(
        pools=[_pool(each) for each in page.items],
        **page_fields(
            ask, head, page, lambda each: (each.programme, each.year, size), (*after, size)
        ),
    )


async def get_coupons(ask: Ask) -> CouponPage:
    """Coupons with what their contracts were granted."""
    query: CouponsQuery = ask.query
    enterprise, its_programme, its_year, size = place(ask, ("", "", 0, BEGIN))
    after = enterprise, its_programme, its_year
    programme = "" if query.programme is UNSET else query.programme
    year = 0 if query.year is UNSET else query.year
    async with ask.reading() as connection:
        head, known, past, size = await shown_at_one_size(ask, connection, size, ())
        page = await pages.coupons(connection, programme, year, after, query.limit)
        coupons = page.items
        if past is not None:
            names = [(each.enterprise, each.programme, each.year) for each in coupons]
            items = {name: balances.items_of(known.state, name, past) for name in names}
            coupons = await pages.past_coupons(connection, items, past)
    return CouponPage(
        coupons=[_coupon(each) for each in coupons],
        **page_fields(
            ask,
            head,
            page,
            lambda each: (each.enterprise, each.programme, each.year, size),
            (*after, size),
        ),
    )


async def get_enterprises(ask: Ask) -> EnterprisePage:
    """All enterprises, or those that are sought."""
    after = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
    found = [each for each in known.enterprises() if _is_firm(known, each, ask.query.q)]
    page = page_by_entry(found, after, ask.query.limit)
    return EnterprisePage(
        enterprises=[enterprise_view(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry,), after),
    )


async def get_contracts(ask: Ask) -> ContractPage:
    """Contracts and their totals."""
    query: ContractsQuery = ask.query

    def chosen(known: Registered) -> list[Contract]:
        return [
            contract
            for contract in known.contracts()
            if query.enterprise in (UNSET, contract.enterprise_at(known.size))
            and query.provider in (UNSET, contract.registered.provider)
            and _is_contract(known, contract, query.q)
        ]

    if query.enterprise is not UNSET:
        return await contract_page(ask, chosen, [f"enterprise:{query.enterprise}"])
    if query.provider is not UNSET:
        return await contract_page(ask, chosen, [f"provider:{query.provider}"])
    return await contract_page(ask, chosen, ())


async def get_providers(ask: Ask) -> ProviderPage:
    """All providers with their enlistments and keys, or those that are sought."""
    after = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
    found = [each for each in known.providers() if _is_provider(known, each, ask.query.q)]
    page = page_by_entry(found, after, ask.query.limit)
    return ProviderPage(
        providers=[provider_view(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry,), after),
    )


def _is_firm(known: Registered, enterprise: Enterprise, sought: str) -> bool:
    facts = enterprise.facts_at(known.size)
    return _begins(sought, facts.uscc, facts.name)


def _is_provider(known: Registered, provider: Provider, sought: str) -> bool:
    facts = provider.facts_at(known.size)
    return _begins(sought, facts.id, facts.uscc, facts.name)


def _is_contract(known: Registered, contract: Contract, sought: str) -> bool:
    firm = known.state.enterprises[contract.enterprise_at(known.size)]
    own = (contract.registered.id, contract.agreed.contract_no)
    return _begins(sought, *own) or _is_firm(known, firm, sought)


def _begins(sought: str, *names: str) -> bool:
    """Return whether a name begins so, whatever the case of its letters."""
    begin = sought.strip().casefold()
    return any(name.casefold().startswith(begin) for name in names)


async def get_suspects(ask: Ask) -> SuspectPage:
    """Batches signed by a key since others may have had it; none without a suspicion."""
    after = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        key = known.key(ask.path("keyid"))
        if key is None:
            raise Problem("not_found", f"no key {ask.path('keyid')}")
        page, reached = await pages.suspects(connection, key, after, ask.query.limit)
    return SuspectPage(
        suspects=[_suspect(each) for each in page.items],
        **page_end(ask, head, reached, more=page.more),
    )


async def get_withheld(ask: Ask) -> WithheldPage:
    """Records of which a fen or more is withheld, neither released nor voided."""
    after, size = place(ask, (-1, BEGIN))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        size = await one_size(connection, head, size, ("kind:void", "kind:release"))
        page = await pages.to_review(connection, size, (after,), ask.query.limit)
    return WithheldPage(
        withheld=[withheld_view(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (after, size)),
    )


async def get_tokens(ask: Ask) -> TokenPage:
    """Tokens that were made, and who signs in to the pages, also where that has ended."""
    query: TokensQuery = ask.query
    after = place(ask, ("",))
    role = "" if query.role is UNSET else query.role
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        page = await pages.tokens(connection, role, *after, query.limit)
    return TokenPage(
        tokens=[_token(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.identity.token_id,), after),
    )


def _pool(pool: pages.Pool) -> PoolView:
    return PoolView(
        pool.programme,
        pool.year,
        format_money(pool.amount),
        format_money(pool.issued),
        format_money(pool.amount - pool.issued),
        format_money(pool.granted),
        pool.programmes,
        _money(pool.stated),
        _money(pool.budget),
    )


def _money(fen: int | None) -> str | UnsetType:
    return UNSET if fen is None else format_money(fen)


def _coupon(coupon: pages.Coupon) -> CouponView:
    return CouponView(
        enterprise=coupon.enterprise,
        programme=coupon.programme,
        year=coupon.year,
        issued=format_money(coupon.issued),
        granted=format_money(coupon.granted),
        remaining=format_money(coupon.issued - coupon.granted),
        entitled=format_money(coupon.entitled),
        uncovered=format_money(coupon.entitled - coupon.granted),
    )


def enterprise_view(known: Registered, enterprise: Enterprise) -> EnterpriseView:
    """Return an enterprise as it is shown."""
    registered = enterprise.facts_at(known.size)
    return EnterpriseView(
        uscc=registered.uscc,
        entry=enterprise.entry,
        name=registered.name,
        kind=registered.applicant,
        founded_on=registered.founded_on,
        contracts=len(known.contracts_of(enterprise)),
        successor=known.successor(enterprise) or UNSET,
        succeeded=known.succeeded(enterprise),
    )


def provider_view(known: Registered, provider: Provider) -> ProviderView:
    """Return a provider as it is shown."""
    registered = provider.facts_at(known.size)
    return ProviderView(
        id=registered.id,
        entry=provider.entry,
        uscc=registered.uscc,
        name=registered.name,
        serves=[] if registered.serves is UNSET else registered.serves,
        enlistments=[
            EnlistmentView(name, each.devices, format_date(each.start), format_date(each.end))
            for name, each in known.enlistments_of(provider).items()
        ],
        keys=[KeyView(keyid, revoked) for keyid, revoked in known.keys_of(provider).items()],
    )


def _suspect(found: Suspect) -> SuspectView:
    return SuspectView(
        entry=found.entry,
        time=format_moment(found.at),
        batch=found.payload,
        stream=found.stream,
        seq=found.seq,
        counting=found.counting,
    )


def withheld_view(known: Registered, found: ToReview) -> WithheldView:
    """Return a record that waits for a reviewer as it is shown."""
    contract = known.state.contracts[found.contract]
    return WithheldView(
        entry=found.entry,
        time=format_moment(found.at),
        id=found.id,
        provider=found.provider,
        enterprise=contract.agreed.enterprise,
        contract=found.contract,
        device=found.device,
        milli_devices=found.milli_devices,
        starts=format_instant(found.starts // MICROSECONDS),
        ends=format_instant(found.ends // MICROSECONDS),
        device_hours=format_hours(found.withheld),
        amount=format_money(found.cost),
        evidence=[
            EvidenceView(
                limit,
                format_instant(start // MICROSECONDS),
                format_instant(end // MICROSECONDS),
                format_hours(device_time),
            )
            for limit, start, end, device_time in found.evidence
        ],
    )


def _token(known: Registered, token: ListedToken) -> TokenView:
    is_theirs = token.identity.role == "authority"
    return TokenView(
        id=token.identity.token_id,
        role=token.identity.role,
        subject=token.identity.subject,
        person=known.person_of_token(token.identity.token_id) if is_theirs else "",
        made_at=format_instant(token.made_at // MICROSECONDS),
        expires_at=_instant(token.expires_at),
        used_at=_instant(token.used_at),
        revoked_at=_instant(token.revoked_at),
        signs_in=token.signs_in,
    )


def _instant(microseconds: int | None) -> str:
    return "" if microseconds is None else format_instant(microseconds // MICROSECONDS)


def _route(  # noqa: PLR0913 - one argument for each option
    name: str,
    handler: Handler,
    summary: str,
    response: type[Struct],
    query: type[PageQuery] = PageQuery,
    *,
    codes: tuple[str, ...] = (),
) -> Route:
    path = f"/v1/{name}"
    return Route("GET", path, handler, summary, response, roles=OFFICIALS, query=query, codes=codes)


ROUTES: Final = [
    _route(
        "pools",
        get_pools,
        "The money of each programme and year",
        PoolPage,
        PastQuery,
        codes=("moved", *CODES),
    ),
    _route(
        "coupons",
        get_coupons,
        "Coupons and what they granted",
        CouponPage,
        CouponsQuery,
        codes=("moved", *CODES),
    ),
    _route(
        "enterprises",
        get_enterprises,
        "Enterprises that may be funded",
        EnterprisePage,
        PartiesQuery,
    ),
    _route(
        "contracts",
        get_contracts,
        "Contracts and their totals",
        ContractPage,
        ContractsQuery,
        codes=("moved", *CODES),
    ),
    _route(
        "providers",
        get_providers,
        "Providers, their enlistments and keys",
        ProviderPage,
        PartiesQuery,
    ),
    _route(
        "keys/{keyid}/suspects",
        get_suspects,
        "Batches that a stolen key may have signed",
        SuspectPage,
        codes=("not_found",),
    ),
    _route(
        "withheld", get_withheld, "Records that wait for a reviewer", WithheldPage, codes=("moved",)
    ),
    _route("tokens", get_tokens, "Tokens that were made, without secrets", TokenPage, TokensQuery),
]
