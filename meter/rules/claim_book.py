"""The book of claims: what became of each, and the money of each item and year.

    entered → checked → approved → noticed → ordered → paid
    entered, checked, approved, noticed → ended

An *item* is a contract or an award. Each change makes a new version, which knows the number of its
entry, so the book can be read as it stood after any entry. The papers of a claim count from its
order on; they are bound to its item from its approval on, until it is revoked.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from meter.rules.entries import (
    AuthorityEntry,
    ClaimEntered,
    Invoice,
    Payment,
    Posting,
    RedInvoiceEntered,
)
from meter.rules.payable import count_paper

ClaimState = Literal["entered", "checked", "approved", "noticed", "ordered", "paid", "ended"]
ItemYear = tuple[str, int]  # item, year

OPEN: Final = ("entered", "checked", "approved", "noticed")
BOUND: Final = ("approved", "noticed", "ordered", "paid")
COUNTED: Final = ("ordered", "paid")


class Claim(Struct, frozen=True, kw_only=True):
    """A claim after the entry `number`; `entry` is the number of its first one.

    `maker`, `checker` and `approver` are persons, or the firm's token. `approved` and `cash` are
    fen; the `payee` is a USCC; `disallowed` is fen by paper. `notice` is its begin and end in
    microseconds, read at `url`. `objections` holds the numbers of those entries, each with whether
    it is resolved. `booked` has the date of each payment that was entered, by the bank's reference.
    """

    number: int
    entry: int
    entered: ClaimEntered
    maker: str
    state: ClaimState = "entered"
    checker: str = ""
    approver: str = ""
    approved: int = 0
    disallowed: dict[str, int] = {}
    notice: tuple[int, int] = (0, 0)
    url: str = ""
    objections: dict[int, bool] = {}
    cash: int = 0
    payee: str = ""
    booked: dict[str, str] = {}

    @property
    def item_year(self) -> ItemYear:
        """The item and the year that it claims for."""
        return self.entered.item, self.entered.year

    def papers(self) -> Iterator[tuple[str, Invoice | Payment]]:
        """Yield each invoice and payment with the name that binds it."""
        yield from ((invoice_name(each.number), each) for each in self.entered.invoices)
        yield from (
            (payment_name(each.bank, each.reference), each) for each in self.entered.payments
        )

    def allowed(self, name: str, paper: Invoice | Payment) -> int:
        """Return the part of a paper that the approval allowed."""
        return paper.part - self.disallowed.get(name, 0)


class Account(Struct, frozen=True, kw_only=True):
    """The money of an item and year after the entry `number`, in fen."""

    number: int = -1
    forfeited: int = 0
    payable: int = 0
    paid: int = 0

    @property
    def claimed(self) -> int:
        """What was approved and not taken back: C."""
        return self.payable + self.paid


class Counted(Struct, frozen=True):
    """The papers that count for an item and year, in fen: I and P."""

    invoiced: int
    paid: int


V = TypeVar("V", Claim, Account)


@dataclass
class ClaimBook:
    """All claims by id, and accounts by item and year; each with its versions, the newest last.

    `by_item` lists the claims of an item and year in the order of their entries, `by_paper` those
    that name a paper. `red` lists the red invoices of an item and year, `years` the years in which
    an item has an account.
    """

    claims: dict[str, list[Claim]] = field(default_factory=dict)
    accounts: dict[ItemYear, list[Account]] = field(default_factory=dict)
    years: dict[str, set[int]] = field(default_factory=dict)
    by_item: dict[ItemYear, list[str]] = field(default_factory=dict)
    by_paper: dict[str, list[str]] = field(default_factory=dict)
    red: dict[ItemYear, list[tuple[int, RedInvoiceEntered]]] = field(default_factory=dict)
    red_numbers: dict[str, tuple[int, RedInvoiceEntered]] = field(default_factory=dict)

    def enter(self, claim: Claim) -> None:
        """Add a new claim."""
        name = claim.entered.id
        self.claims[name] = [claim]
        self.by_item.setdefault(claim.item_year, []).append(name)
        for paper, _ in claim.papers():
            self.by_paper.setdefault(paper, []).append(name)

    def change(self, name: str, number: int, **changes: Any) -> None:
        """Add a version of a claim."""
        versions = self.claims[name]
        versions.append(replace(versions[-1], number=number, **changes))

    def move(self, item_year: ItemYear, number: int, *, payable: int = 0, paid: int = 0) -> None:
        """Add signed fen to what is payable and paid for an item and year."""
        now = self.account(item_year)
        self._set(item_year, number, payable=now.payable + payable, paid=now.paid + paid)

    def post(self, number: int, postings: Iterable[Posting]) -> None:
        """Move the money of an entry's postings between what is payable, paid and taken back."""
        for source, target, fen in postings:
            for account, change in ((source, -fen), (target, fen)):
                kind, item, year = account.split(":")
                if kind != "claims":
                    self.move((item, int(year)), number, **{kind: change})

    def forfeit(self, item_year: ItemYear, number: int, fen: int) -> None:
        """Set what is forfeited of an item and year."""
        self._set(item_year, number, forfeited=fen)

    def _set(self, item_year: ItemYear, number: int, **changes: int) -> None:
        changed = replace(self.account(item_year), number=number, **changes)
        self.accounts.setdefault(item_year, []).append(changed)
        self.years.setdefault(item_year[0], set()).add(item_year[1])

    def years_of(self, item: str) -> list[int]:
        """Return the years in which an item has an account."""
        return sorted(self.years.get(item, ()))

    def take_red(self, item_year: ItemYear, number: int, entry: RedInvoiceEntered) -> None:
        """Add a red invoice."""
        self.red.setdefault(item_year, []).append((number, entry))
        self.red_numbers[entry.red_number] = number, entry

    def claim(self, name: str, size: int | None = None) -> Claim | None:
        """Return a claim as it is, or as it was after the first `size` entries."""
        return _version(self.claims.get(name, []), size)

    def account(self, item_year: ItemYear, size: int | None = None) -> Account:
        """Return the money of an item and year, at a size as above."""
        return _version(self.accounts.get(item_year, []), size) or Account()

    def claims_of(self, item_year: ItemYear, size: int | None = None) -> list[Claim]:
        """Return the claims for an item and year in the order of their entries."""
        found = (self.claim(name, size) for name in self.by_item.get(item_year, []))
        return [claim for claim in found if claim is not None]

    def bound_to(self, paper: str) -> list[Claim]:
        """Return the claims that bind a paper, which are all of one item."""
        found = (self.claims[name][-1] for name in self.by_paper.get(paper, []))
        return [claim for claim in found if claim.state in BOUND]

    def shared_invoices(self, claim: Claim, size: int | None = None) -> list[tuple[str, str]]:
        """Return each invoice of a claim that another open claim names, with that claim's id."""
        return [
            (invoice.number, name)
            for invoice in claim.entered.invoices
            for name in self.by_paper.get(invoice_name(invoice.number), [])
            if name != claim.entered.id
            and (other := self.claim(name, size)) is not None
            and other.state in OPEN
        ]

    def counted(
        self, item_year: ItemYear, size: int | None = None, also: Claim | None = None
    ) -> Counted:
        """Return what counts of the papers; `also` is a claim whose approval is being decided."""
        claims = [each for each in self.claims_of(item_year, size) if each.state in COUNTED]
        if also is not None:
            claims.append(also)
        parts: dict[str, list[int]] = {}
        paid = 0
        for claim in claims:
            for name, paper in claim.papers():
                if isinstance(paper, Invoice):
                    parts.setdefault(name, []).append(claim.allowed(name, paper))
                else:
                    paid += claim.allowed(name, paper)
        taken_back: dict[str, int] = {}
        for number, red in self.red.get(item_year, []):
            name = invoice_name(red.number)
            if (size is None or number < size) and name in parts:
                taken_back[name] = taken_back.get(name, 0) + red.amount
                paid -= red.refunded
        invoiced = sum(count_paper(each, taken_back.get(name, 0)) for name, each in parts.items())
        return Counted(invoiced, max(0, paid))


def draft_claim(  # noqa: PLR0913, PLR0917 - the fields that a claim's papers need
    item: str,
    year: int,
    invoices: list[Invoice],
    payments: list[Payment],
    amount: int | UnsetType,
    delivery: str | UnsetType,
) -> Claim:
    """Return a claim that nobody has entered, to see what its papers would count."""
    entered = ClaimEntered(
        at=0,
        by="",
        salt="",
        postings=[],
        request="",
        person="",
        id="",
        item=item,
        year=year,
        amount=amount,
        invoices=invoices,
        payments=payments,
        delivery=delivery,
    )
    return Claim(number=-1, entry=-1, entered=entered, maker="")


def invoice_name(number: str) -> str:
    """Return the name that binds an invoice."""
    return number


def payment_name(bank: str, reference: str) -> str:
    """Return the name that binds a payment; no invoice's number has a colon."""
    return f"{bank}:{reference}"


def actor(entry: AuthorityEntry) -> str:
    """Return who acted: the person of an authority's token, else the firm's token itself."""
    return entry.person or entry.by


def _version(versions: list[V], size: int | None) -> V | None:
    if size is None:
        return versions[-1] if versions else None
    return next((each for each in reversed(versions) if each.number < size), None)
