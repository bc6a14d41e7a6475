"""What is registered, as lists for officials: enterprises, contracts, providers, policies, money.

A list is searched by the beginning of an id or a name, comes in pages, and is downloaded whole.
Contracts, coupons and pools are shown as of a past instant or size too. The authority's acts are
linked beside what they are about.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from msgspec import UNSET, Struct, structs

from meter.api.cursor import Limit, PageQuery
from meter.api.get_official import (
    ContractsQuery,
    CouponsQuery,
    PartiesQuery,
    get_contracts,
    get_coupons,
    get_enterprises,
    get_pools,
    get_providers,
)
from meter.api.get_own import get_policies
from meter.api.past import PastQuery
from meter.api.responses import (
    ContractSummary,
    CouponView,
    EnterpriseView,
    PoolView,
    ProviderView,
)
from meter.api.routes import Ask, Handler, Route, answer
from meter.console import page
from meter.console.csv_file import csv_file
from meter.console.export import EXPORTED, everything
from meter.console.formats import Language
from meter.console.past import read_as_of
from meter.values.roles import OFFICIALS

LISTED: Final = 50  # lines of a page
POLICIES: Final = 5  # of a page: each with its file

Row = Sequence[str]


class PartiesShown(PartiesQuery, frozen=True, forbid_unknown_fields=False):
    """Which enterprises or providers are shown."""

    limit: Limit = LISTED


class ContractsShown(ContractsQuery, frozen=True, forbid_unknown_fields=False):
    """Which contracts are shown."""

    limit: Limit = LISTED


class CouponsShown(CouponsQuery, frozen=True, forbid_unknown_fields=False):
    """Which coupons are shown."""

    limit: Limit = LISTED


class PoolsShown(PastQuery, frozen=True, forbid_unknown_fields=False):
    """Which pools are shown."""

    limit: Limit = LISTED


class PoliciesShown(PageQuery, frozen=True, forbid_unknown_fields=False):
    """Which policies are shown."""

    limit: Limit = POLICIES


def _shown(name: str, handler: Handler) -> page.Show:
    async def show(ask: Ask, language: Language) -> web.StreamResponse:
        found = await answer(ask, handler, _asked(ask))
        return page.show(
            ask,
            f"registers_{name}.html",
            language,
            page=found,
            q=getattr(ask.query, "q", ""),
            asked=getattr(ask.query, "as_of", ""),
            link=_link(ask),
            is_of_parties=isinstance(ask.query, PartiesQuery | ContractsQuery),
            has_past=isinstance(ask.query, PastQuery),
            list=name,
        )

    return show


def _asked(ask: Ask) -> Any:
    """Return the query of the API; a person names an instant in other ways."""
    if not isinstance(ask.query, PastQuery):
        return ask.query
    return structs.replace(ask.query, as_of=read_as_of(ask.query.as_of))


def _link(ask: Ask) -> str:
    """Return what a list is asked for, as a part of a URL, without the place of its page."""
    names = {field.encode_name for field in structs.fields(ask.query)}
    kept = names - {"after", "limit"}
    given = [(name, text) for name, text in ask.request.query.items() if name in kept and text]
    return urlencode(given)


def _exported(name: str, handler: Handler, head: Row, row: Callable[[Any], Row]) -> page.Show:
    async def export(ask: Ask, _language: Language) -> web.StreamResponse:
        query = structs.replace(_asked(ask), limit=EXPORTED)
        found = await everything(ask, handler, name, query)
        return page.download(ask, f"{name}.csv", csv_file(head, map(row, found)))

    return export


def _enterprise(each: EnterpriseView) -> Row:
    successor = "" if each.successor is UNSET else each.successor
    rest = (each.kind, each.founded_on, str(each.contracts), successor, str(each.entry))
    return (each.uscc, each.name, *rest)


def _contract(each: ContractSummary) -> Row:
    parties = (each.programme, each.enterprise, each.provider, each.ratio_class)
    terms = (each.amount, each.starts, each.ends, "yes" if each.frozen else "no")
    money = (each.cost, each.entitled, each.granted, each.uncovered, each.withheld)
    return (each.id, *parties, *terms, *money, each.ineligible, str(each.entry))


def _coupon(each: CouponView) -> Row:
    money = (each.issued, each.granted, each.remaining, each.entitled, each.uncovered)
    return (each.enterprise, each.programme, str(each.year), *money)


def _pool(each: PoolView) -> Row:
    drawing = " ".join(each.programmes)
    return (
        each.programme,
        str(each.year),
        each.amount,
        each.issued,
        each.left,
        each.granted,
        drawing,
    )


def _provider(each: ProviderView) -> Row:
    keys = " ".join(key.keyid for key in each.keys if not key.revoked)
    batches = " ".join(held.batch for held in each.enlistments)
    return (each.id, each.uscc, each.name, batches, keys, str(each.entry))


_CONTRACT_HEAD: Final = (
    *("contract", "programme", "enterprise", "provider", "class", "amount", "from", "until"),
    *("frozen", "cost", "entitled", "granted", "uncovered", "withheld", "ineligible", "entry"),
)
_COUPON_HEAD: Final = (
    *("enterprise", "programme", "year", "issued", "granted", "remaining", "entitled"),
    "uncovered",
)
_POOL_HEAD: Final = ("programme", "year", "amount", "issued", "left", "granted", "programmes")
_FIRM_HEAD: Final = ("uscc", "name", "kind", "founded_on", "contracts", "successor", "entry")
_PROVIDER_HEAD: Final = ("id", "uscc", "name", "enlistments", "keys", "entry")


def _list(
    name: str,
    handler: Handler,
    query: type[Struct],
    head: Row,
    row: Callable[[Any], Row],
) -> list[Route]:
    return [
        *page.pages(name, _shown(name, handler), OFFICIALS, query),
        *page.pages(f"{name}.csv", _exported(name, handler, head, row), OFFICIALS, query),
    ]


ROUTES: Final = (
    *_list("enterprises", get_enterprises, PartiesShown, _FIRM_HEAD, _enterprise),
    *_list("contracts", get_contracts, ContractsShown, _CONTRACT_HEAD, _contract),
    *_list("providers", get_providers, PartiesShown, _PROVIDER_HEAD, _provider),
    *_list("coupons", get_coupons, CouponsShown, _COUPON_HEAD, _coupon),
    *_list("pools", get_pools, PoolsShown, _POOL_HEAD, _pool),
    *page.pages("policies", _shown("policies", get_policies), OFFICIALS, PoliciesShown),
)
