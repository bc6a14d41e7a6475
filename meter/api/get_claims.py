"""GET, for officials and firms: claims with their papers, and the accounts that they are paid from.

A firm sees its own. Who acted is told to officials only.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from msgspec import UNSET, UnsetType

from meter.api.cursor import PageQuery, page_fields, place
from meter.api.get_enterprise import page_by_entry
from meter.api.one_size import BEGIN, one_size
from meter.api.past import CODES, AsOfQuery, PastQuery, shown
from meter.api.responses import (
    AccountPage,
    AccountView,
    BookedView,
    ClaimPage,
    ClaimSummary,
    ClaimView,
    InvoiceView,
    ObjectionView,
    PaymentView,
    SharedInvoiceView,
    as_of,
)
from meter.api.routes import Ask, Route
from meter.rules.claim_book import Claim, ClaimState, invoice_name, payment_name
from meter.rules.entries import Invoice, Payment
from meter.rules.items import Item, known_item, make_grounds
from meter.rules.payable import debt
from meter.rules.state import Award, Contract
from meter.tables import pages
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Id, Uscc
from meter.values.units import MICROSECONDS, format_date, format_money


class OwnClaimsQuery(PastQuery, frozen=True):
    """A page of claims: in one state, or for one item."""

    state: ClaimState | UnsetType = UNSET
    item: Id | UnsetType = UNSET


class ClaimsQuery(OwnClaimsQuery, frozen=True):
    """A page of claims: of one firm too, or that were paid under a reference of the bank."""

    enterprise: Uscc | UnsetType = UNSET
    bank_reference: Id | UnsetType = UNSET


class ItemQuery(PageQuery, frozen=True):
    """A page of accounts: of one item."""

    item: Id | UnsetType = UNSET


async def get_claims(ask: Ask) -> ClaimPage:
    """Claims in the order of their entries."""
    return await _claim_page(ask, lambda known: [*known.contracts(), *known.awards()])


async def get_own_claims(ask: Ask) -> ClaimPage:
    """A firm's claims in the order of their entries."""
    return await _claim_page(ask, lambda known: own_items(ask, known))


async def _claim_page(ask: Ask, items: Callable[[Registered], list[Contract | Award]]) -> ClaimPage:
    """Return a page of the claims for some items."""
    (after, size), query = place(ask, (-1, BEGIN)), ask.query
    async with ask.reading() as connection:
        head, known, _, size = await shown(ask, connection, size)
    names = {_name(each) for each in items(known)}
    chosen = [
        claim
        for claim in known.claims()
        if getattr(query, "bank_reference", UNSET) in (UNSET, *claim.booked)
        and claim.entered.item in names
        and query.state in (UNSET, claim.state)
        and query.item in (UNSET, claim.entered.item)
        and getattr(query, "enterprise", UNSET) in (UNSET, firm_of(known, claim))
    ]
    page = page_by_entry(chosen, (after,), query.limit)
    return ClaimPage(
        claims=[ClaimSummary(**_summary(known, each)) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (after, size)),
    )


async def get_claim(ask: Ask) -> ClaimView:
    """A claim with its papers."""
    async with ask.reading() as connection:
        head, known, *_ = await shown(ask, connection)
    claim = known.claim(ask.path("claim"))
    if claim is None:
        raise Problem("unknown_claim", f"no claim {ask.path('claim')}")
    ask.must_be_theirs(enterprise=firm_of(known, claim))
    assert ask.who is not None, "claims are not public"
    official = ask.who.role in OFFICIALS
    entered = claim.entered
    return ClaimView(
        **_summary(known, claim),
        invoices=[_invoice_view(claim, each) for each in entered.invoices],
        payments=[_payment_view(claim, each) for each in entered.payments],
        delivery="" if entered.delivery is UNSET else entered.delivery,
        notice_from=_date(claim.notice[0]),
        notice_until=_date(claim.notice[1]),
        url=claim.url,
        objections=[ObjectionView(*each) for each in claim.objections.items()],
        booked=[BookedView(*each) for each in claim.booked.items()],
        shared_invoices=_shared(known, claim) if official else UNSET,
        maker=claim.maker if official else "",
        checker=claim.checker if official else "",
        approver=claim.approver if official else "",
        as_of=as_of(head.size, head.last_at),
    )


def _invoice_view(claim: Claim, invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        number=invoice.number,
        issued_on=invoice.issued_on,
        seller=invoice.seller,
        buyer=invoice.buyer,
        amount=format_money(invoice.amount),
        tax=format_money(invoice.tax),
        part=format_money(invoice.part),
        disallowed=format_money(claim.disallowed.get(invoice_name(invoice.number), 0)),
        sha256=invoice.sha256,
    )


def _payment_view(claim: Claim, payment: Payment) -> PaymentView:
    name = payment_name(payment.bank, payment.reference)
    return PaymentView(
        bank=payment.bank,
        reference=payment.reference,
        paid_on=payment.paid_on,
        amount=format_money(payment.amount),
        part=format_money(payment.part),
        disallowed=format_money(claim.disallowed.get(name, 0)),
    )


def _shared(known: Registered, claim: Claim) -> list[SharedInvoiceView]:
    book = known.state.claims
    return [SharedInvoiceView(*each) for each in book.shared_invoices(claim, known.size)]


async def get_accounts(ask: Ask) -> AccountPage:
    """What a firm was granted, has claimed and was paid, by item and year."""
    after, size = place(ask, (-1, BEGIN))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        size = await one_size(connection, head, size, [f"enterprise:{ask.path('uscc')}"])
        page = page_by_entry(own_items(ask, known), (after,), ask.query.limit)
        grants = await pages.grants(connection, [_name(each) for each in page.items])
    return AccountPage(
        accounts=[
            _account(known, item, year, fen)
            for item in _claimable(known, page.items)
            for year, fen in grants[item.name].items()
        ],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (after, size)),
    )


def own_items(ask: Ask, known: Registered) -> list[Contract | Award]:
    """Return contracts and awards of the URL's enterprise: the one that the query names, or all."""
    enterprise = known.enterprise(ask.path("uscc"))
    if enterprise is None:
        raise Problem("unknown_enterprise", f"no enterprise {ask.path('uscc')}")
    own: list[Contract | Award] = [*known.contracts_of(enterprise)]
    own += (each for each in known.awards() if each.made.enterprise == ask.path("uscc"))
    own.sort(key=lambda each: each.entry)
    found = [each for each in own if ask.query.item in (UNSET, _name(each))]
    if not found and ask.query.item is not UNSET:
        raise Problem("unknown_contract", f"{ask.path('uscc')} has no item {ask.query.item}")
    return found


def _name(item: Contract | Award) -> str:
    return item.made.id if isinstance(item, Award) else item.registered.id


def _claimable(known: Registered, items: Iterable[Contract | Award]) -> Iterator[Item]:
    """Yield those whose policy has rules for claims."""
    for each in items:
        with suppress(Problem):
            yield known_item(known.state, _name(each))


def _account(known: Registered, item: Item, year: int, granted: int) -> AccountView:
    state = known.state
    account = state.claims.account((item.name, year), known.size)
    counted = state.claims.counted((item.name, year), known.size)
    grounds = make_grounds(item, year, granted, account, counted)
    unclaimed = max(0, granted - account.forfeited - account.claimed)
    closed = state.closed.get((item.programme, year), known.size) < known.size
    return AccountView(
        item=item.name,
        year=year,
        granted=format_money(granted),
        forfeited=format_money(account.forfeited),
        lapsed=format_money(unclaimed if closed else 0),
        ratio_bp=item.ratios.get(year, item.ratio_bp),
        invoiced=_asked(grounds.invoiced),
        paid_by_firm=_asked(grounds.paid),
        limit=format_money(grounds.limit),
        payable=format_money(account.payable),
        paid=format_money(account.paid),
        debt=format_money(debt(account.paid, grounds.limit)),
    )


def _summary(known: Registered, claim: Claim) -> dict[str, Any]:
    entered = claim.entered
    return {
        "id": entered.id,
        "entry": claim.entry,
        "newest": claim.number,
        "item": entered.item,
        "programme": _programme(known, entered.item),
        "year": entered.year,
        "enterprise": firm_of(known, claim),
        "state": claim.state,
        "asked": "" if entered.amount is UNSET else format_money(entered.amount),
        "approved": format_money(claim.approved),
        "cash": format_money(claim.cash),
        "payee": claim.payee,
    }


def firm_of(known: Registered, claim: Claim) -> str:
    return known.state.owner_of(claim.entered.item, known.size)


def _programme(known: Registered, item: str) -> str:
    contract = known.state.contracts.get(item)
    if contract is None:
        return known.state.awards[item].made.programme
    return contract.registered.programme


def _asked(fen: int | UnsetType) -> str:
    """Return money, or nothing where the policy asks for no such evidence."""
    return "" if fen is UNSET else format_money(fen)


def _date(microseconds: int) -> str:
    return format_date(microseconds // MICROSECONDS) if microseconds else ""


ROUTES: Final = [
    Route(
        "GET",
        "/v1/claims",
        get_claims,
        "Claims in all their states",
        ClaimPage,
        roles=OFFICIALS,
        query=ClaimsQuery,
        codes=CODES,
    ),
    Route(
        "GET",
        "/v1/claims/{claim}",
        get_claim,
        "A claim with its papers",
        ClaimView,
        roles=(*OFFICIALS, "enterprise"),
        query=AsOfQuery,
        codes=("unknown_claim", *CODES),
    ),
    Route(
        "GET",
        "/v1/enterprises/{uscc}/claims",
        get_own_claims,
        "An enterprise's claims",
        ClaimPage,
        roles=(*OFFICIALS, "enterprise"),
        query=OwnClaimsQuery,
        codes=("unknown_enterprise", "unknown_contract", *CODES),
    ),
    Route(
        "GET",
        "/v1/enterprises/{uscc}/accounts",
        get_accounts,
        "What an enterprise was granted and paid, by item and year",
        AccountPage,
        roles=(*OFFICIALS, "enterprise"),
        query=ItemQuery,
        codes=("unknown_enterprise", "unknown_contract", "moved"),
    ),
]
