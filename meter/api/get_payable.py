"""GET: what a claim may be paid and what bounds it, before it is entered too; and its steps.

The figures are those that an approval or an order of now would find, by the same functions of the
rules. A firm sees its own; who acted, and whose papers are bound, is told to officials only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from ledger import canon
from ledger.store import Head
from meter.api.claim_responses import (
    CeilingView,
    ClaimStepsView,
    ClaimStepView,
    DebtView,
    PayableView,
    UsedPaperView,
)
from meter.api.get_claims import firm_of, own_items
from meter.api.responses import as_of
from meter.api.routes import Ask, Route
from meter.rules.claim_book import BOUND, COUNTED, Account, Claim, draft_claim
from meter.rules.entries import AnyEntry, Invoice, Payment
from meter.rules.items import Item, accounts_of_firm, check_year, known_item, make_grounds
from meter.rules.kinds.projects import claims_ceiling
from meter.rules.kinds.table import read_entry
from meter.rules.payable import Grounds, debt, set_off
from meter.rules.subjects import subjects_of
from meter.tables import pages
from meter.tables.connections import Connection
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Fen, Id, Year
from meter.values.units import (
    MICROSECONDS,
    add_months,
    format_instant,
    format_money,
    parse_money,
)
from meter.wire.batch import Sha256Hex

# Each is a paper's name, a colon and yuan; they are divided by commas, which no name holds.
Parts = Annotated[str, Meta(max_length=40_000)]
_SHOWN_AMOUNTS: Final = ("amount", "cash")


class DraftQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A claim before it is entered: the item and year, and what is claimed for of each paper.

    An invoice is `NUMBER:YUAN`, a payment `BANK:REFERENCE:YUAN`; several are divided by commas.
    """

    item: Id
    year: Year
    amount: Fen | UnsetType = UNSET
    invoices: Parts = ""
    payments: Parts = ""
    delivery: Sha256Hex | UnsetType = UNSET


class ReviewQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What a reviewer would approve, and disallow: `NUMBER:YUAN` or `BANK:REFERENCE:YUAN`.

    Without `amount` all that can be approved is meant.
    """

    disallowed: Parts = ""
    amount: Fen | UnsetType = UNSET


async def get_draft(ask: Ask) -> PayableView:
    """What papers would let be approved, and what bounds it, before a claim is entered."""
    query: DraftQuery = ask.query
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        own_items(ask, known)
        item = known_item(known.state, query.item)
        claim = draft_claim(
            query.item,
            query.year,
            [
                Invoice(name, "", "", "", fen, 0, fen, "")
                for name, fen in _parts("invoices", query.invoices)
            ],
            [
                Payment(*_bank(name), "", fen, fen)
                for name, fen in _parts("payments", query.payments)
            ],
            query.amount,
            query.delivery,
        )
        return await _payable(connection, (head, known), item, claim)


async def get_claim_payable(ask: Ask) -> PayableView:
    """What can be approved of a claim now, what bounds it, and which debts its order sets off."""
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        claim = _own_claim(ask, known)
        disallowed = dict(_parts("disallowed", ask.query.disallowed))
        if disallowed:
            claim = replace(claim, disallowed=_checked(claim, disallowed))
        item = known_item(known.state, claim.entered.item)
        found = await _payable(connection, (head, known), item, claim, ask.query.amount)
    assert ask.who is not None, "claims are not public"
    if ask.who.role in OFFICIALS and claim.state in ("entered", "checked"):
        return replace(found, used_papers=list(_used(known, claim)))
    return found


def _own_claim(ask: Ask, known: Registered) -> Claim:
    """Return the claim of the URL. Raises `unknown_claim`, `not_found`."""
    claim = known.claim(ask.path("claim"))
    if claim is None:
        raise Problem("unknown_claim", f"no claim {ask.path('claim')}")
    ask.must_be_theirs(enterprise=firm_of(known, claim))
    return claim


def _parts(field: str, text: str) -> Iterator[tuple[str, int]]:
    """Yield names and fen of a list in the URL. Raises `malformed`."""
    for each in text.split(",") if text else ():
        name, _, yuan = each.rpartition(":")
        if not name:
            raise Problem("malformed", f"in the URL: {field}: a name, a colon and yuan")
        try:
            yield name, parse_money(yuan)
        except ValueError as error:
            raise Problem("malformed", f"in the URL: {field}: {error}") from None


def _bank(name: str) -> tuple[str, str]:
    bank, _, reference = name.partition(":")
    return bank, reference


def _checked(claim: Claim, disallowed: dict[str, int]) -> dict[str, int]:
    """Return what is disallowed. Raises `malformed` where the claim has less than that."""
    papers = dict(claim.papers())
    for name, fen in disallowed.items():
        if name not in papers or not 0 < fen <= papers[name].part:
            raise Problem("malformed", f"in the URL: disallowed: {name} has no such part")
    return disallowed


async def _payable(
    connection: Connection,
    snapshot: tuple[Head, Registered],
    item: Item,
    claim: Claim,
    to_approve: int | UnsetType = UNSET,
) -> PayableView:
    """Return the figures of a claim at the size of a snapshot. Raises `unknown_year`."""
    head, known = snapshot
    year = claim.entered.year
    check_year(item, year)
    accounts = accounts_of_firm(known.state, item.enterprise, item.programme)
    names = sorted({item.name, *(each.name for _, each in accounts)})
    book = _Book(known, await pages.grants(connection, names))
    is_counted = claim.state in COUNTED
    own = book.grounds(item, year, None if is_counted else claim)
    account = book.account(item, year)
    left = max(0, own.limit - account.claimed)
    can_be_approved = min(left, claim.entered.amount or left)
    is_approved = claim.state in BOUND
    amount = claim.approved
    if not is_approved:
        amount = can_be_approved if to_approve is UNSET else to_approve
    debts = []
    for of_year, each in accounts:
        owed = book.debt(each, of_year)
        if (each.name, of_year) == (item.name, year) and not is_counted:
            # As if the claim were paid, whose papers count then.
            owed = debt(account.paid + amount, own.limit)
        if owed:
            debts.append((each.name, of_year, owed))
    taken = sum(set_off(amount, (owed for *_, owed in debts)))
    return PayableView(
        item=item.name,
        programme=item.programme,
        year=year,
        seller=item.seller or "",
        buyer=known.state.last_successor(item.enterprise, known.size),
        open_until=add_months(f"{year + 1}-01-01", item.claims.months),
        notice_days=item.claims.notice_days,
        evidence=sorted(item.claims.evidence),
        missing=sorted(item.claims.evidence - set(_given(claim))),
        ratio_bp=own.ratio_bp,
        granted=format_money(own.granted),
        forfeited=format_money(own.forfeited),
        invoiced="" if own.invoiced is UNSET else format_money(own.invoiced),
        paid_by_firm="" if own.paid is UNSET else format_money(own.paid),
        limits={str(name): format_money(fen) for name, fen in own.limits().items()},
        bound=own.bound,
        limit=format_money(own.limit),
        claimed=format_money(account.claimed),
        claimed_then=format_money(account.claimed + (0 if is_approved else amount)),
        can_be_approved=format_money(can_be_approved),
        debt=format_money(book.debt(item, year)),
        debt_with_papers=format_money(debt(account.paid, own.limit)),
        debts=[DebtView(name, of_year, format_money(fen)) for name, of_year, fen in debts],
        cash=format_money(claim.cash if is_counted else amount - taken),
        ceiling=_ceiling(known, item),
        as_of=as_of(head.size, head.last_at),
    )


@dataclass(frozen=True, slots=True)
class _Book:
    """What a firm's items were granted (fen by name and year), claimed and paid, as of a size."""

    known: Registered
    grants: Mapping[str, Mapping[int, int]]

    def account(self, item: Item, year: int) -> Account:
        """Return what was claimed and paid of an item and year."""
        return self.known.state.claims.account((item.name, year), self.known.size)

    def grounds(self, item: Item, year: int, also: Claim | None = None) -> Grounds:
        """Return the grounds of payments; `also` is a claim whose papers count as well."""
        counted = self.known.state.claims.counted((item.name, year), self.known.size, also)
        granted = self.grants[item.name].get(year, 0)
        return make_grounds(item, year, granted, self.account(item, year), counted)

    def debt(self, item: Item, year: int) -> int:
        """Return what was paid beyond the limit, in fen."""
        return debt(self.account(item, year).paid, self.grounds(item, year).limit)


def _given(claim: Claim) -> Iterator[str]:
    """Yield the evidence that a claim shows."""
    if claim.entered.invoices:
        yield "invoice"
    if claim.entered.payments:
        yield "payment"
    if claim.entered.delivery is not UNSET:
        yield "delivery"


def _ceiling(known: Registered, item: Item) -> CeilingView | UnsetType:
    """Return the ceiling of the item's project, where it has one; unknown until it is audited."""
    if item.project is UNSET:
        return UNSET
    try:
        found = claims_ceiling(known.state, known.state.projects[item.project])
    except Problem:
        return CeilingView(project=item.project, audited="", local="", claimed="", left="")
    if found is None:
        return UNSET
    return CeilingView(
        project=item.project,
        audited=format_money(found.audited),
        local=format_money(found.local),
        claimed=format_money(found.claimed),
        left=format_money(found.left),
    )


def _used(known: Registered, claim: Claim) -> Iterator[UsedPaperView]:
    """Yield the papers of a claim that the claims of other items bind."""
    for name, _ in claim.papers():
        for other in known.state.claims.bound_to(name):
            if other.entry < known.size and other.entered.item != claim.entered.item:
                yield UsedPaperView(name, other.entered.id)


async def get_claim_steps(ask: Ask) -> ClaimStepsView:
    """What was done with a claim, in order."""
    assert ask.who is not None, "claims are not public"
    official = ask.who.role in OFFICIALS
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        subject = f"claim:{_own_claim(ask, known).entered.id}"
        found = []
        async for number, data in pages.entries_about(
            connection, subject, -1, pages.MAX_ENTRIES_READ
        ):
            entry = read_entry(canon.decode(data))
            if number < head.size and subject in subjects_of(known.state, entry):
                found.append(_step(number, entry, official=official))
    return ClaimStepsView(steps=found, as_of=as_of(head.size, head.last_at))


def _step(number: int, entry: AnyEntry, *, official: bool) -> ClaimStepView:
    fields: dict[str, Any] = {name: getattr(entry, name, UNSET) for name in ("reason", "outcome")}
    person = getattr(entry, "person", "") or entry.by
    fen = next((getattr(entry, name) for name in _SHOWN_AMOUNTS if hasattr(entry, name)), UNSET)
    return ClaimStepView(
        entry=number,
        kind=entry.kind,
        time=format_instant(entry.at // MICROSECONDS),
        person=person if official else "",
        amount="" if fen is UNSET else format_money(fen),
        outcome=str(fields["outcome"] or ""),
        reason=str(fields["reason"] or ""),
    )


_CODES: Final = ("unknown_contract", "no_claims", "unknown_year")
ROUTES: Final = [
    Route(
        "GET",
        "/v1/enterprises/{uscc}/payable",
        get_draft,
        "What papers would let be approved, before a claim is entered",
        PayableView,
        roles=(*OFFICIALS, "enterprise"),
        query=DraftQuery,
        codes=("unknown_enterprise", *_CODES),
    ),
    Route(
        "GET",
        "/v1/claims/{claim}/payable",
        get_claim_payable,
        "What can be approved of a claim, and what bounds it",
        PayableView,
        roles=(*OFFICIALS, "enterprise"),
        query=ReviewQuery,
        codes=("unknown_claim",),
    ),
    Route(
        "GET",
        "/v1/claims/{claim}/steps",
        get_claim_steps,
        "What was done with a claim",
        ClaimStepsView,
        roles=(*OFFICIALS, "enterprise"),
        codes=("unknown_claim",),
    ),
]
