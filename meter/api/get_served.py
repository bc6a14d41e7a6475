"""GET, for providers: their contracts, what all of them cost, and what of it is withheld.

No other money is told.
"""

from typing import Final

from msgspec import UNSET, Struct, UnsetType

from meter.api.cursor import PageQuery, page_end, page_fields, place
from meter.api.get_enterprise import page_by_entry
from meter.api.get_official import withheld_view
from meter.api.one_size import BEGIN, one_size, parse_sums, sums_text
from meter.api.past import CODES, PastQuery, shown_at_one_size
from meter.api.responses import Page, WithheldPage, costs_by_reason
from meter.api.routes import Ask, Route
from meter.rules.state import Contract
from meter.tables import pages
from meter.tables.pages import Totals
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_money
from meter.wire.receipt import Reason


class ServedContract(Struct, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """A contract as its provider sees it: `name` is the enterprise's, `cost` has the other parts.

    What is withheld and ineligible was metered, and counts for no coupon.
    """

    id: str
    entry: int
    contract_no: str
    programme: str
    enterprise: str
    name: str
    starts: str
    ends: str
    frozen: bool
    cost: str
    withheld: str
    ineligible: str
    reasons: dict[Reason, str]


class ServedTotal(Struct, frozen=True, kw_only=True):
    """All contracts of a provider together."""

    contracts: int
    cost: str
    withheld: str
    ineligible: str


class ServedPage(Page, frozen=True, kw_only=True):
    """A provider's contracts in the order of their entries; the last page has the total of all."""

    contracts: list[ServedContract]
    total: ServedTotal | UnsetType = UNSET


async def get_served(ask: Ask) -> ServedPage:
    """A provider's contracts, with what they cost."""
    provider = ask.path("provider")
    after, size, sums = place(ask, (-1, BEGIN, "0 0 0 0"))
    async with ask.reading() as connection:
        subjects = [f"provider:{provider}"]
        head, known, past, size = await shown_at_one_size(ask, connection, size, subjects)
        if known.provider(provider) is None:
            raise Problem("unknown_provider", f"no provider {provider}")
        own = [each for each in known.contracts() if each.registered.provider == provider]
        page = page_by_entry(own, (after,), ask.query.limit)
        totals = await pages.totals(connection, page.items, past)
    found = [(each, totals[each.registered.id]) for each in page.items]
    lines = [(1, each.cost, each.withheld, sum(each.ineligible)) for _, each in found]
    added = [sum(column) for column in zip(parse_sums(sums, 4), *lines, strict=True)]
    end = page.items[-1].entry if page.items else after
    return ServedPage(
        contracts=[_served(known, contract, costs) for contract, costs in found],
        total=UNSET
        if page.more
        else ServedTotal(
            contracts=added[0],
            cost=format_money(added[1]),
            withheld=format_money(added[2]),
            ineligible=format_money(added[3]),
        ),
        **page_end(ask, head, (end, size, sums_text(added)), more=page.more),
    )


async def get_own_withheld(ask: Ask) -> WithheldPage:
    """A provider's records of which a fen or more is withheld, neither released nor voided."""
    provider = ask.path("provider")
    after, size = place(ask, (-1, BEGIN))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        if known.provider(provider) is None:
            raise Problem("unknown_provider", f"no provider {provider}")
        size = await one_size(connection, head, size, ("kind:void", "kind:release"))
        page = await pages.to_review(connection, size, (after,), ask.query.limit, provider)
    return WithheldPage(
        withheld=[withheld_view(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (after, size)),
    )


def _served(known: Registered, contract: Contract, totals: Totals) -> ServedContract:
    terms = known.terms(contract).agreed
    enterprise = known.enterprise(terms.enterprise)
    assert enterprise is not None, "a contract's enterprise is registered before it"
    return ServedContract(
        id=terms.id,
        entry=contract.entry,
        contract_no=terms.contract_no,
        programme=terms.programme,
        enterprise=terms.enterprise,
        name=enterprise.facts_at(known.size).name,
        starts=terms.starts,
        ends=terms.ends,
        frozen=known.is_frozen(contract),
        cost=format_money(totals.cost),
        withheld=format_money(totals.withheld),
        ineligible=format_money(sum(totals.ineligible)),
        reasons=costs_by_reason(totals.ineligible),
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/providers/{provider}/contracts",
        get_served,
        "A provider's contracts, with what they cost",
        ServedPage,
        roles=(*OFFICIALS, "provider"),
        query=PastQuery,
        codes=("unknown_provider", "moved", *CODES),
    ),
    Route(
        "GET",
        "/v1/providers/{provider}/withheld",
        get_own_withheld,
        "A provider's records that wait for a reviewer",
        WithheldPage,
        roles=(*OFFICIALS, "provider"),
        query=PageQuery,
        codes=("unknown_provider", "moved"),
    ),
]
